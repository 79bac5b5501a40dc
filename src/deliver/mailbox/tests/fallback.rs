use super::{World, fail, in_group, ok, refuse, secs, words};
use crate::deliver::mailbox::Terms;
use crate::model::{NoticeState, What};

fn world() -> World {
    let terms =
        Terms { count: 10, per: secs(3600), cooldown: secs(0), fallback_after: Some(secs(300)) };
    World::with(terms)
}

fn fallen(world: &World) -> Vec<String> {
    world.fallen.iter().map(words).collect()
}

#[test]
fn what_a_channel_does_not_take_for_long_is_given_to_its_fallback_once() {
    let mut world = world();
    let first = world.owe(What::Opened, "a");
    world.owe(What::Resolved, "a");
    world.run(secs(299), fail);
    assert_eq!(fallen(&world).len(), 0);
    world.run(secs(2), fail);
    assert_eq!(fallen(&world), ["opened a", "resolved a"]);
    assert!(world.store[&first].fell_back);
    // While it still fails, the next one falls at once.
    world.owe(What::Opened, "b");
    world.turn(fail);
    assert_eq!(fallen(&world)[2..], ["opened b"]);
    world.restart();
    world.run(secs(3600), fail);
    assert_eq!(fallen(&world).len(), 3);
    // It arrives late on its own channel, too.
    world.run(secs(600), ok);
    assert_eq!(world.words(), ["opened a", "resolved a", "opened b"]);
}

#[test]
fn what_a_channel_will_never_take_is_given_to_its_fallback_at_once() {
    let mut world = world();
    let id = world.owe(What::Opened, "a");
    world.turn(refuse);
    assert_eq!(fallen(&world), ["opened a"]);
    assert!(world.store[&id].fell_back);
    assert_eq!(world.store[&id].state, NoticeState::Rejected);
    world.owe(What::Resolved, "a");
    world.run(secs(60), ok);
    assert_eq!(fallen(&world).len(), 1);
    assert_eq!(world.words().len(), 0);
}

#[test]
fn a_channel_without_a_fallback_gives_nothing_away() {
    let mut world = World::new(10, 0);
    world.owe(What::Opened, "a");
    world.run(secs(4000), fail);
    world.turn(refuse);
    assert_eq!(fallen(&world).len(), 0);
}

#[test]
fn a_group_that_cannot_be_told_reaches_the_fallback_in_digests() {
    let mut world = world();
    world.owe_as(What::Opened, "a", in_group("g", secs(30)));
    for id in ["b", "c", "d"] {
        world.owe_as(What::Opened, id, in_group("g", secs(30)));
    }
    world.run(secs(700), fail);
    assert_eq!(fallen(&world), ["opened a", "digest b+c+d"]);
    world.run(secs(600), ok);
    assert_eq!(world.words().len(), 2);
}

#[test]
fn a_channel_that_fails_for_long_is_in_trouble_until_it_accepts() {
    let mut world = World::new(10, 0);
    world.owe(What::Opened, "a");
    world.run(secs(299), fail);
    assert_eq!(world.mailbox.trouble(world.now), None);
    world.run(secs(2), fail);
    assert_eq!(world.mailbox.trouble(world.now), Some("no"));
    world.run(secs(60), ok);
    assert_eq!(world.mailbox.trouble(world.now), None);
}
