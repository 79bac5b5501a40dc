use super::{START, World, ok, secs};
use crate::model::{HeldBecause, Timestamp, What};

#[test]
fn the_last_slot_of_a_window_carries_what_the_limit_held_back() {
    let mut world = World::new(3, 0);
    for id in ["a", "b", "c", "d"] {
        world.owe(What::Opened, id);
    }
    world.run(secs(60), ok);
    assert_eq!(world.words(), ["opened a", "opened b", "digest c+d"]);
    world.owe(What::Opened, "e");
    world.run(secs(3400), ok);
    assert_eq!(world.words().len(), 3);
    world.run(secs(300), ok);
    assert_eq!(world.words()[3], "digest e");
}

#[test]
fn a_held_notice_says_why() {
    let mut world = World::new(2, 600);
    world.owe(What::Opened, "a");
    world.run(secs(1), ok);
    let cooled = world.owe(What::Opened, "a:2");
    let limited = world.owe(What::Opened, "b");
    world.run(secs(1), ok);
    assert_eq!(world.held(&cooled), Some(HeldBecause::Cooldown));
    assert_eq!(world.held(&limited), Some(HeldBecause::RateLimit));
}

#[test]
fn a_resolution_passes_the_rate_limit() {
    let mut world = World::new(1, 0);
    world.owe(What::Opened, "a");
    world.run(secs(1), ok);
    world.owe(What::Resolved, "a");
    world.run(secs(1), ok);
    assert_eq!(world.words(), ["opened a", "resolved a"]);
}

#[test]
fn a_cooldown_holds_a_second_opening_until_it_is_over() {
    let mut world = World::new(10, 600);
    world.owe(What::Opened, "a");
    world.run(secs(1), ok);
    world.owe(What::Opened, "a:2");
    world.run(secs(590), ok);
    assert_eq!(world.words().len(), 1);
    world.run(secs(20), ok);
    assert_eq!(world.words(), ["opened a", "opened a:2"]);
}

#[test]
fn a_storm_comes_as_one_digest() {
    let mut world = World::new(100_000, 0);
    for id in 0..1000 {
        world.owe(What::Opened, &format!("i{id}"));
    }
    world.run(secs(30), ok);
    assert_eq!(world.arrived.len(), 11);
    assert_eq!(world.arrived[10].1.incidents.len(), 990);
}

#[test]
fn what_was_sent_by_a_clock_ahead_of_time_silences_nothing_for_longer_than_the_limits_last() {
    let mut world = World::new(2, 600);
    world.owe(What::Opened, "a");
    world.owe(What::Opened, "b");
    world.run(secs(60), ok);
    world.now.wall = Timestamp::from_millis(START - 365 * 86_400_000);
    world.restart();
    world.owe(What::Opened, "a:2");
    world.owe(What::Opened, "c");
    world.run(secs(3700), ok);
    let words = world.words();
    assert!(words.iter().filter(|word| word.contains('c')).count() == 1, "{words:?}");
    assert!(words.iter().filter(|word| word.contains('a')).count() == 2, "{words:?}");
}

#[test]
fn many_ends_at_once_come_as_one_digest_and_wait_for_no_limit() {
    let mut world = World::new(11, 0);
    for id in 0..30 {
        world.owe(What::Opened, &format!("i{id:02}"));
    }
    world.run(secs(30), ok);
    assert_eq!(world.arrived.len(), 11);
    for id in 0..30 {
        world.owe(What::Resolved, &format!("i{id:02}"));
    }
    world.run(secs(30), ok);
    let words = world.words();
    assert_eq!(words.len(), 22);
    assert!(words[11..21].iter().all(|word| word.starts_with("resolved ")), "{words:?}");
    assert!(words[21].starts_with("digest ends i10+i11+"), "{words:?}");
    assert_eq!(world.arrived[21].1.incidents.len(), 20);
    assert_eq!(world.arrived[21].1.held_because, Some(HeldBecause::Storm));
}
