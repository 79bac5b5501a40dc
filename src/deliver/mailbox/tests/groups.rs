use super::{World, fail, in_group, ok, secs, words};
use crate::model::{HeldBecause, Notice, NoticeState, Severity, Timestamp, What};

fn group(notice: &mut Notice) {
    in_group("g", secs(30))(notice);
}

#[test]
fn the_first_of_a_group_goes_at_once_and_the_rest_as_one_digest_a_window() {
    let mut world = World::new(100, 0);
    world.owe_as(What::Opened, "a", group);
    world.run(secs(1), ok);
    let held = world.owe_as(What::Opened, "b", group);
    world.owe_as(What::Opened, "c", group);
    world.run(secs(28), ok);
    assert_eq!(world.words(), ["opened a"]);
    assert_eq!(world.held(&held), Some(HeldBecause::Group));
    world.run(secs(2), ok);
    assert_eq!(world.words(), ["opened a", "digest b+c"]);
    assert_eq!(world.arrived[1].0, 30_000);
    assert_eq!(world.arrived[1].1.held_because, Some(HeldBecause::Group));
    assert_eq!(world.store[&held].state, NoticeState::Sent);
    // The digest opened another window.
    world.owe_as(What::Opened, "d", group);
    world.run(secs(31), ok);
    assert_eq!(world.words()[2..], ["digest d"]);
    // An empty one is the last.
    world.run(secs(31), ok);
    world.owe_as(What::Opened, "e", group);
    world.run(secs(1), ok);
    assert_eq!(world.words()[3..], ["opened e"]);
}

#[test]
fn groups_do_not_wait_for_each_other_nor_ends_for_openings() {
    let mut world = World::new(100, 0);
    world.owe_as(What::Opened, "a", group);
    world.owe_as(What::Opened, "b", in_group("other", secs(60)));
    world.owe_as(What::Resolved, "a", group);
    world.run(secs(1), ok);
    assert_eq!(world.words(), ["opened a", "opened b", "resolved a"]);
}

#[test]
fn resolutions_of_a_group_come_as_one_digest_after_the_first() {
    let mut world = World::new(100, 0);
    for id in ["a", "b", "c", "d"] {
        world.owe_as(What::Opened, id, group);
    }
    world.run(secs(31), ok);
    assert_eq!(world.words(), ["opened a", "digest b+c+d"]);
    for id in ["b", "a", "d"] {
        world.owe_as(What::Resolved, id, group);
    }
    world.run(secs(31), ok);
    assert_eq!(world.words()[2..], ["resolved b", "digest ends a+d"]);
    world.owe_as(What::Resolved, "c", group);
    world.run(secs(31), ok);
    assert_eq!(world.words()[4..], ["digest ends c"]);
    assert_eq!(world.mailbox.depth(), 0);
}

#[test]
fn a_digest_of_ends_lists_only_what_its_reader_has_heard_of() {
    let mut world = World::new(100, 0);
    for id in ["a", "b", "c"] {
        world.owe_as(What::Opened, id, group);
    }
    // Over before the window is.
    world.owe_as(What::Resolved, "b", group);
    world.run(secs(31), ok);
    assert_eq!(world.words(), ["opened a", "digest c"]);
    world.owe_as(What::Resolved, "a", group);
    world.owe_as(What::Resolved, "c", group);
    world.run(secs(31), ok);
    assert_eq!(world.words()[2..], ["resolved a", "digest ends c"]);
}

#[test]
fn a_storm_in_a_group_is_one_alert_and_one_digest_right_after_its_window() {
    let mut world = World::new(10, 1800);
    for id in 0..1000 {
        world.owe_as(What::Opened, &format!("i{id:03}"), group);
        world.run(std::time::Duration::from_millis(1), ok);
    }
    world.run(secs(600), ok);
    assert_eq!(world.arrived.len(), 2);
    assert_eq!(world.arrived[1].1.incidents.len(), 999);
    assert_eq!(world.arrived[1].0, 30_000);
}

#[test]
fn urgent_notices_wait_for_no_group() {
    let mut world = World::new(100, 0);
    for id in ["a", "b", "c"] {
        world.owe_as(What::Opened, id, |notice| {
            group(notice);
            notice.urgent = id == "c";
        });
    }
    world.run(secs(1), ok);
    assert_eq!(world.words(), ["opened a", "opened c"]);
}

#[test]
fn without_room_in_the_rate_limit_a_group_waits_for_its_digest() {
    let mut world = World::new(2, 0);
    world.owe_as(What::Opened, "a", group);
    world.run(secs(1), ok);
    world.owe_as(What::Opened, "b", group);
    let alone = world.owe(What::Opened, "c");
    world.run(secs(5), ok);
    assert_eq!(world.held(&alone), Some(HeldBecause::RateLimit));
    world.run(secs(60), ok);
    assert_eq!(world.words(), ["opened a", "digest c"]);
    world.run(secs(3600), ok);
    assert_eq!(world.words()[2..], ["digest b"]);
}

#[test]
fn while_the_channel_fails_a_group_gathers_one_digest() {
    let mut world = World::new(100, 0);
    world.owe_as(What::Opened, "a", group);
    world.run(secs(1), fail);
    for id in ["b", "c", "d"] {
        world.owe_as(What::Opened, id, group);
        world.run(secs(40), fail);
    }
    world.run(secs(90), ok);
    assert_eq!(world.words(), ["opened a", "digest b+c+d"]);
}

#[test]
fn a_group_goes_on_with_its_window_after_a_restart() {
    let mut world = World::new(100, 0);
    world.owe_as(What::Opened, "a", group);
    world.run(secs(10), ok);
    world.restart();
    world.owe_as(What::Opened, "b", group);
    world.run(secs(19), ok);
    assert_eq!(world.words(), ["opened a"]);
    world.restart();
    world.run(secs(2), ok);
    assert_eq!(world.words(), ["opened a", "digest b"]);
    assert_eq!(world.arrived[1].0, 30_000);
    world.restart();
    world.owe_as(What::Opened, "c", group);
    world.run(secs(2), ok);
    assert_eq!(world.words().len(), 2);
}

#[test]
fn a_group_whose_first_is_suppressed_before_it_goes_has_another_first() {
    let mut world = World::new(100, 0);
    world.owe_as(What::Opened, "a", group);
    world.suppress("a", Some(HeldBecause::Dependency));
    world.owe_as(What::Opened, "b", group);
    world.run(secs(5), ok);
    assert_eq!(world.words(), ["opened b"]);
    world.suppress("a", None);
    world.run(secs(26), ok);
    assert_eq!(world.words(), ["opened b", "digest a"]);
}

#[test]
fn a_digest_lists_the_roots_first() {
    let mut world = World::new(1, 0);
    world.owe(What::Opened, "first");
    world.run(secs(1), ok);
    let owe = |world: &mut World, id: &str, dependents: usize, severity, began: i64| {
        world.owe_as(What::Opened, id, |notice| {
            notice.incidents[0].dependents = vec!["other".into(); dependents];
            notice.incidents[0].severity = severity;
            notice.incidents[0].began_at = Timestamp::from_millis(began);
        });
    };
    owe(&mut world, "late", 0, Severity::Critical, 9);
    owe(&mut world, "mild", 0, Severity::Warning, 1);
    owe(&mut world, "early", 0, Severity::Critical, 2);
    owe(&mut world, "root", 3, Severity::Warning, 9);
    world.run(secs(3600), ok);
    assert_eq!(words(&world.arrived[1].1), "digest root+early+late+mild");
}
