//! Which message a later one answers, and which it makes out of date.

use super::{World, in_group, ok, secs};
use crate::deliver::mailbox::Earlier;
use crate::model::{Notice, What};

/// What was posted, each with what it answers and what it changes.
fn posts(world: &World) -> String {
    let posts = world.posted.iter().map(|(notice, earlier, handle)| {
        format!("{} as {}{}", super::words(notice), named(handle.as_deref()), told(earlier))
    });
    posts.collect::<Vec<_>>().join("\n")
}

fn named(handle: Option<&str>) -> &str {
    handle.unwrap_or("nothing")
}

fn told(earlier: &Earlier) -> String {
    let answers = earlier.answers.as_ref().map(|root| format!(" to {root}"));
    let live = earlier.live.iter().map(|(handle, now)| match now {
        None => format!(", {handle} says so"),
        Some(now) => format!(", {handle} says {}", state(now)),
    });
    answers.into_iter().chain(live).collect()
}

/// A notice with each of its incidents, and whether it is over.
fn state(notice: &Notice) -> String {
    let incidents = notice.incidents.iter().map(|incident| match incident.resolved_at {
        Some(_) => format!("{} (over)", incident.id),
        None => incident.id.clone(),
    });
    format!("{} {}", notice.what, incidents.collect::<Vec<_>>().join("+"))
}

#[test]
fn news_answers_the_message_that_told_of_the_incident_first() {
    let mut world = World::new(100, 0);
    world.owe(What::Opened, "a");
    world.owe(What::Opened, "b");
    world.run(secs(1), ok);
    world.owe(What::Worsened, "a");
    world.run(secs(1), ok);
    world.owe(What::Resolved, "b");
    world.restart();
    world.owe(What::Resolved, "a");
    world.run(secs(1), ok);
    insta::assert_snapshot!(posts(&world), @r"
    opened a as m1
    opened b as m2
    worsened a as m1 to m1, m1 says so
    resolved b as m2 to m2, m2 says so
    resolved a as m1 to m1, m1 says so
    ");
}

#[test]
fn a_message_that_stands_in_the_place_of_another_is_answered_from_then_on() {
    let mut world = World::new(100, 0);
    world.owe(What::Opened, "a");
    world.run(secs(1), ok);
    world.name = |number, _| Some(format!("m{number}"));
    world.owe(What::Worsened, "a");
    world.run(secs(1), ok);
    world.name = super::name;
    for restart in [false, true] {
        if restart {
            world.restart();
        }
        world.owe(What::Reminder, "a");
        world.run(secs(1), ok);
    }
    insta::assert_snapshot!(posts(&world), @r"
    opened a as m1
    worsened a as m2 to m1, m1 says so
    reminder a as m2 to m2, m2 says so
    reminder a as m2 to m2, m2 says so
    ");
}

#[test]
fn a_digest_says_how_all_that_it_lists_is_until_all_of_it_is_over() {
    let mut world = World::new(100, 0);
    let dress = in_group("shop", secs(30));
    for incident in ["a", "b", "c"] {
        world.owe_as(What::Opened, incident, &dress);
    }
    world.run(secs(100), ok);
    world.owe_as(What::Resolved, "b", &dress);
    // Long enough for the store to forget the resolution, but not the digest.
    world.run(secs(9_000), ok);
    world.restart();
    world.owe_as(What::Worsened, "c", &dress);
    world.run(secs(100), ok);
    world.owe_as(What::Resolved, "a", &dress);
    world.run(secs(1), ok);
    world.owe_as(What::Resolved, "c", &dress);
    world.run(secs(100), ok);
    insta::assert_snapshot!(posts(&world), @r"
    opened a as m1
    digest b+c as m4
    resolved b as m4 to m4, m4 says digest b (over)+c
    worsened c as m4 to m4, m4 says digest b (over)+c
    resolved a as m1 to m1, m1 says so
    digest ends c as m4 to m4, m4 says digest b (over)+c (over)
    ");
}

#[test]
fn a_digest_of_what_was_told_one_by_one_changes_each_of_those_messages() {
    let mut world = World::new(100, 0);
    for incident in ["a", "b"] {
        world.owe(What::Opened, incident);
    }
    world.run(secs(100), ok);
    let dress = in_group("shop", secs(30));
    for incident in ["z", "c"] {
        world.owe_as(What::Opened, incident, &dress);
    }
    world.owe_as(What::Worsened, "a", &dress);
    world.run(secs(100), ok);
    for incident in ["z", "a", "b", "c"] {
        world.owe_as(What::Resolved, incident, &dress);
    }
    world.run(secs(100), ok);
    insta::assert_snapshot!(posts(&world), @r"
    opened a as m1
    opened b as m2
    opened z as m3
    digest a+c as m6, m1 says digest a
    resolved z as m3 to m3, m3 says so
    digest ends a+b+c as m11, m1 says resolved a (over), m2 says resolved b (over), m6 says digest a (over)+c (over)
    ");
}
