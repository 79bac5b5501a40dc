use super::{World, fail, incident, ok, refuse, secs};
use crate::model::{HeldBecause, NoticeState, Severity, What};

#[test]
fn what_worsened_while_its_opening_was_held_is_told_once() {
    let mut world = World::new(10, 0);
    world.suppress("a", Some(HeldBecause::Dependency));
    let opening = world.owe(What::Opened, "a");
    world.run(secs(1), ok);
    world.owe(What::Worsened, "a");
    world.run(secs(1), ok);
    world.suppress("a", None);
    world.run(secs(1), ok);
    assert_eq!(world.words(), ["worsened a"]);
    assert_eq!(world.store[&opening].state, NoticeState::Cancelled);
    world.owe(What::Resolved, "a");
    world.run(secs(1), ok);
    assert_eq!(world.words()[1..], ["resolved a"]);
}

#[test]
fn what_passes_the_cooldown_tells_the_opening_too() {
    for what in [What::Worsened, What::Escalated, What::Flapping, What::RecoveryStopped] {
        let mut world = World::new(10, 600);
        world.owe(What::Opened, "a:1");
        world.owe(What::Resolved, "a:1");
        world.run(secs(1), ok);
        let opening = world.owe(What::Opened, "a:2");
        world.run(secs(1), ok);
        assert_eq!(world.held(&opening), Some(HeldBecause::Cooldown));
        world.owe(what, "a:2");
        world.run(secs(900), ok);
        assert_eq!(world.words()[2..], [format!("{what} a:2")]);
        assert_eq!(world.store[&opening].state, NoticeState::Cancelled);
        world.owe(What::Resolved, "a:2");
        world.run(secs(1), ok);
        assert_eq!(world.words()[3..], ["resolved a:2"]);
    }
}

#[test]
fn an_escalation_takes_over_what_worsened_while_it_was_held() {
    let mut world = World::new(10, 0);
    world.suppress("a", Some(HeldBecause::Silence));
    world.owe(What::Escalated, "a");
    world.run(secs(1), ok);
    world.owe_as(What::Worsened, "a", |notice| notice.incidents[0].severity = Severity::Info);
    world.run(secs(1), ok);
    world.suppress("a", None);
    world.run(secs(1), ok);
    assert_eq!(world.words(), ["escalated a"]);
    assert_eq!(world.arrived[0].1.incidents[0].severity, Severity::Info);
}

#[test]
fn reminders_do_not_queue() {
    let mut world = World::new(10, 0);
    world.owe(What::Opened, "a");
    world.run(secs(1), ok);
    world.owe(What::Reminder, "a");
    world.run(secs(60), fail);
    let second = world.owe(What::Reminder, "a");
    world.run(secs(60), fail);
    assert_eq!(world.store[&second].state, NoticeState::Cancelled);
    world.run(secs(60), ok);
    assert_eq!(world.words(), ["opened a", "reminder a"]);
}

#[test]
fn a_reminder_gives_way_to_news() {
    for what in [What::Worsened, What::Resolved, What::Flapping, What::Escalated] {
        let mut world = World::new(10, 0);
        world.owe(What::Opened, "a");
        world.run(secs(1), ok);
        let reminder = world.owe(What::Reminder, "a");
        world.owe(what, "a");
        world.run(secs(60), ok);
        assert_eq!(world.words(), ["opened a".to_owned(), format!("{what} a")]);
        assert_eq!(world.store[&reminder].state, NoticeState::Cancelled);
    }
}

#[test]
fn an_escalation_to_somebody_new_is_followed_by_the_end() {
    let mut world = World::new(10, 0);
    world.owe(What::Escalated, "a");
    world.run(secs(1), ok);
    world.restart();
    world.owe(What::Resolved, "a");
    world.run(secs(1), ok);
    assert_eq!(world.words(), ["escalated a", "resolved a"]);
}

#[test]
fn an_opening_is_never_told_twice() {
    let mut world = World::new(10, 0);
    world.owe(What::Opened, "a");
    // As the fallback of another channel gets it.
    world.owe(What::Opened, "a");
    world.run(secs(1), ok);
    world.owe(What::Opened, "a");
    world.run(secs(1), ok);
    world.restart();
    world.owe(What::Opened, "a");
    world.run(secs(1), ok);
    world.owe(What::Resolved, "a");
    world.owe(What::Resolved, "a");
    world.run(secs(1), ok);
    world.owe(What::Opened, "a");
    world.owe(What::Resolved, "a");
    world.run(secs(1), ok);
    assert_eq!(world.words(), ["opened a", "resolved a"]);
    assert_eq!(world.mailbox.depth(), 0);
}

#[test]
fn what_was_given_up_is_owed_again_when_somebody_wants_it() {
    let mut world = World::new(10, 0);
    let id = world.owe(What::Opened, "a");
    world.turn(refuse);
    assert_eq!(world.store[&id].state, NoticeState::Rejected);
    let retried = world.mailbox.retry(world.store[&id].clone(), world.now);
    assert_eq!((retried.state, retried.attempts), (NoticeState::Pending, 1));
    world.turn(fail);
    let retried = world.mailbox.retry(world.store[&id].clone(), world.now);
    assert_eq!(retried.due_at, world.now.wall);
    world.turn(ok);
    assert_eq!(world.words(), ["opened a"]);
    assert_eq!(world.store[&id].attempts, 3);
    // What was sent stays sent.
    let again = world.mailbox.retry(world.store[&id].clone(), world.now);
    assert_eq!(again.state, NoticeState::Sent);
    assert_eq!(world.mailbox.depth(), 0);
}

#[test]
fn what_was_given_up_and_is_old_news_is_not_owed_again() {
    let mut world = World::new(10, 0);
    let id = world.owe(What::Opened, "a");
    world.turn(refuse);
    world.owe(What::Worsened, "a");
    world.run(secs(1), ok);
    let retried = world.mailbox.retry(world.store[&id].clone(), world.now);
    assert_eq!(retried.state, NoticeState::Cancelled);
    world.run(secs(1), ok);
    assert_eq!(world.words(), ["worsened a"]);
    assert_eq!(world.store[&id].state, NoticeState::Cancelled);
}

#[test]
fn nobody_can_hurry_what_is_held() {
    let mut world = World::new(10, 0);
    world.suppress("a", Some(HeldBecause::Silence));
    let id = world.owe(What::Opened, "a");
    world.run(secs(1), ok);
    let retried = world.mailbox.retry(world.store[&id].clone(), world.now);
    assert_eq!(retried, world.store[&id]);
    world.run(secs(1), ok);
    assert_eq!(world.words().len(), 0);
}

#[test]
fn a_digest_for_a_fallback_lists_nothing_that_is_over_there() {
    let mut world = World::new(10, 0);
    world.owe(What::Opened, "a");
    world.owe(What::Resolved, "a");
    world.run(secs(1), ok);
    world.owe_as(What::Digest, "a", |notice| notice.incidents.push(incident("b")));
    world.owe_as(What::Digest, "a", |_| {});
    world.run(secs(1), ok);
    assert_eq!(world.words()[2..], ["digest b"]);
    assert_eq!(world.mailbox.depth(), 0);
}
