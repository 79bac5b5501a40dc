use super::{World, fail, ok, secs};
use crate::model::{HeldBecause, NoticeState, Timestamp, What};

#[test]
fn what_is_suppressed_goes_once_that_ends() {
    for because in [HeldBecause::Dependency, HeldBecause::Silence, HeldBecause::Maintenance] {
        let mut world = World::new(10, 0);
        world.suppress("a", Some(because));
        let opening = world.owe(What::Opened, "a");
        world.run(secs(3600), ok);
        assert_eq!(world.words().len(), 0);
        assert_eq!(world.held(&opening), Some(because));
        world.restart();
        world.run(secs(3600), ok);
        assert_eq!(world.words().len(), 0);
        world.suppress("a", None);
        world.run(secs(1), ok);
        assert_eq!(world.words(), ["opened a"]);
    }
}

#[test]
fn what_is_suppressed_and_over_sends_nothing() {
    let mut world = World::new(10, 0);
    world.suppress("a", Some(HeldBecause::Dependency));
    let opening = world.owe(What::Opened, "a");
    world.run(secs(60), ok);
    let end = world.owe(What::Resolved, "a");
    world.suppress("a", None);
    world.run(secs(60), ok);
    assert_eq!(world.words().len(), 0);
    assert_eq!(world.store[&opening].state, NoticeState::Cancelled);
    assert_eq!(world.store[&end].state, NoticeState::Cancelled);
}

#[test]
fn nothing_suppresses_the_resolution_of_what_was_told() {
    let mut world = World::new(10, 0);
    world.owe(What::Opened, "a");
    world.run(secs(1), ok);
    world.suppress("a", Some(HeldBecause::Silence));
    world.owe(What::Worsened, "a");
    world.owe(What::Resolved, "a");
    world.run(secs(1), ok);
    assert_eq!(world.words(), ["opened a", "resolved a"]);
}

#[test]
fn what_was_tried_is_not_suppressed_any_more() {
    let mut world = World::new(10, 0);
    let opening = world.owe(What::Opened, "a");
    world.turn(fail);
    world.suppress("a", Some(HeldBecause::Silence));
    world.run(secs(60), ok);
    assert_eq!(world.words(), ["opened a"]);
    assert_eq!(world.store[&opening].attempts, 2);
}

#[test]
fn flapping_holds_only_what_it_makes_boring() {
    let mut world = World::new(10, 0);
    world.suppress("a", Some(HeldBecause::Flapping));
    world.owe(What::Opened, "a");
    world.run(secs(1), ok);
    world.owe(What::Flapping, "a");
    world.run(secs(1), ok);
    let worsened = world.owe(What::Worsened, "a");
    world.run(secs(1), ok);
    world.owe(What::FlappingEnded, "a");
    world.run(secs(1), ok);
    assert_eq!(world.words(), ["opened a", "flapping a", "flapping_ended a"]);
    assert_eq!(world.held(&worsened), Some(HeldBecause::Flapping));
    world.suppress("a", None);
    world.run(secs(1), ok);
    assert_eq!(world.words()[3..], ["worsened a"]);
}

#[test]
fn what_is_suppressed_is_in_no_digest_and_takes_no_slot() {
    let mut world = World::new(2, 0);
    world.suppress("a", Some(HeldBecause::Maintenance));
    for id in ["a", "b", "c"] {
        world.owe(What::Opened, id);
    }
    world.run(secs(60), ok);
    assert_eq!(world.words(), ["opened b", "digest c"]);
    world.suppress("a", None);
    world.run(secs(3600), ok);
    assert_eq!(world.words()[2..], ["digest a"]);
}

#[test]
fn what_waited_for_a_limit_leaves_it_when_it_is_suppressed() {
    let mut world = World::new(1, 0);
    world.owe(What::Opened, "a");
    world.run(secs(1), ok);
    let opening = world.owe(What::Opened, "b");
    world.run(secs(1), ok);
    world.suppress("b", Some(HeldBecause::Silence));
    world.run(secs(4000), ok);
    assert_eq!(world.held(&opening), Some(HeldBecause::Silence));
    assert_eq!(world.words(), ["opened a"]);
}

#[test]
fn a_mute_route_speaks_when_its_hours_are_over() {
    let mut world = World::new(10, 0);
    let until = world.now.wall.after(secs(600));
    let opening = world.owe_as(What::Opened, "a", |notice| notice.mute_until = Some(until));
    world.run(secs(599), ok);
    assert_eq!(world.held(&opening), Some(HeldBecause::Silence));
    assert_eq!(world.words().len(), 0);
    world.run(secs(2), ok);
    assert_eq!(world.words(), ["opened a"]);
    assert_eq!(world.arrived[0].0, 600_000);
}

#[test]
fn a_clock_step_makes_no_mute_hour_longer() {
    let mut world = World::new(10, 0);
    let until = world.now.wall.after(secs(600));
    world.owe_as(What::Opened, "a", |notice| notice.mute_until = Some(until));
    world.run(secs(1), ok);
    world.now.wall = Timestamp::from_millis(world.now.wall.as_millis() - 365 * 86_400_000);
    world.restart();
    world.run(secs(601), ok);
    assert_eq!(world.words(), ["opened a"]);
}

#[test]
fn after_a_suppression_the_cooldown_still_counts() {
    let mut world = World::new(10, 600);
    world.owe(What::Opened, "a:1");
    world.run(secs(1), ok);
    world.owe(What::Resolved, "a:1");
    world.suppress("a:2", Some(HeldBecause::Dependency));
    let opening = world.owe(What::Opened, "a:2");
    world.run(secs(60), ok);
    world.suppress("a:2", None);
    world.run(secs(60), ok);
    assert_eq!(world.held(&opening), Some(HeldBecause::Cooldown));
    world.run(secs(600), ok);
    assert_eq!(world.words(), ["opened a:1", "resolved a:1", "opened a:2"]);
}
