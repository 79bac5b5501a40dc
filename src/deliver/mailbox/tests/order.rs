use super::{World, fail, ok, secs};
use crate::model::{HeldBecause, NoticeState, What};

#[test]
fn an_opening_and_its_resolution_arrive_in_order() {
    let mut world = World::new(10, 0);
    world.owe(What::Opened, "a");
    world.owe(What::Resolved, "a");
    world.run(secs(1), ok);
    assert_eq!(world.words(), ["opened a", "resolved a"]);
}

#[test]
fn an_incident_that_is_over_before_anybody_was_told_sends_nothing() {
    let mut world = World::new(1, 0);
    world.owe(What::Opened, "a");
    world.run(secs(1), ok);
    let opening = world.owe(What::Opened, "b");
    world.run(secs(1), ok);
    let resolution = world.owe(What::Resolved, "b");
    world.run(secs(2), ok);
    assert_eq!(world.words(), ["opened a"]);
    assert_eq!(world.store[&opening].state, NoticeState::Cancelled);
    assert_eq!(world.store[&resolution].state, NoticeState::Cancelled);
}

#[test]
fn an_opening_that_was_tried_still_goes_and_then_its_resolution() {
    let mut world = World::new(10, 0);
    world.owe(What::Opened, "a");
    world.run(secs(5), fail);
    world.owe(What::Resolved, "a");
    world.run(secs(60), ok);
    assert_eq!(world.words(), ["opened a", "resolved a"]);
}

#[test]
fn a_crash_right_after_a_resolution_sends_no_stale_opening() {
    let mut world = World::new(10, 600);
    world.owe(What::Opened, "a");
    world.run(secs(1), ok);
    let opening = world.owe(What::Opened, "a:2");
    world.run(secs(1), ok);
    assert_eq!(world.held(&opening), Some(HeldBecause::Cooldown));
    // The store has the resolution; the mailbox has not heard of it.
    let before = world.store.clone();
    let resolution = world.owe(What::Resolved, "a:2");
    world.store.extend(before);
    world.restart();
    world.run(secs(900), ok);
    assert_eq!(world.words(), ["opened a"]);
    assert_eq!(world.store[&opening].state, NoticeState::Cancelled);
    assert_eq!(world.store[&resolution].state, NoticeState::Cancelled);
}
