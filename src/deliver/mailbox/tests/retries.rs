use super::{World, fail, ok, secs};
use crate::deliver::Outcome;
use crate::deliver::mailbox::Next;
use crate::model::{Notice, NoticeState, What};
use std::time::Duration;

#[test]
fn after_an_hour_away_all_arrives_in_order() {
    let mut world = World::new(100, 0);
    for id in ["a", "b", "c"] {
        world.owe(What::Opened, id);
    }
    world.run(secs(3600), fail);
    world.run(secs(400), ok);
    assert_eq!(world.words(), ["opened a", "opened b", "opened c"]);
}

#[test]
fn one_message_that_is_never_accepted_does_not_stop_the_others() {
    let mut world = World::new(100, 0);
    for id in ["poison", "b", "c"] {
        world.owe(What::Opened, id);
    }
    let answer = |notice: &Notice| {
        if notice.is_about("poison") { fail(notice) } else { Outcome::accepted() }
    };
    world.run(secs(120), answer);
    assert_eq!(world.words(), ["opened b", "opened c"]);
}

#[test]
fn what_is_never_accepted_is_given_up_after_a_day() {
    let mut world = World::new(10, 0);
    let id = world.owe(What::Opened, "a");
    world.run(secs(24 * 3600 + 600), fail);
    assert_eq!(world.store[&id].state, NoticeState::Rejected);
    let error = world.store[&id].last_error.clone().unwrap();
    assert!(error.contains("given up after 24 hours"), "{error}");
}

#[test]
fn each_try_is_remembered_with_its_answer_and_of_many_the_first_and_the_latest() {
    let mut world = World::new(10, 0);
    let id = world.owe(What::Opened, "a");
    world.run(secs(2), fail);
    world.run(secs(60), ok);
    let notice = &world.store[&id];
    let answers: Vec<bool> = notice.tries.iter().map(|once| once.error.is_none()).collect();
    assert_eq!(answers.last(), Some(&true));
    assert!(answers[..answers.len() - 1].iter().all(|accepted| !accepted), "{answers:?}");
    assert_eq!(notice.attempts as usize, answers.len());
    assert!(notice.tries.is_sorted_by_key(|once| once.at));

    let id = world.owe(What::Opened, "b");
    let owed_at = world.store[&id].at;
    world.run(secs(12 * 3600), fail);
    let notice = &world.store[&id];
    assert!(notice.attempts as usize > Notice::TRIES, "{}", notice.attempts);
    assert_eq!(notice.tries.len(), Notice::TRIES);
    assert_eq!(notice.tries[0].at, owed_at);
    assert!(notice.tries[1].at.since(owed_at) > secs(10 * 3600));
}

#[test]
fn the_other_sides_wish_to_wait_is_granted() {
    let mut world = World::new(10, 0);
    world.owe(What::Opened, "a");
    world.owe(What::Opened, "b");
    let busy = |_: &Notice| Outcome::Retry { after: Some(secs(120)), why: "429".to_owned() };
    world.turn(busy);
    assert!(matches!(world.turn(ok), Next::Wait(until) if until >= 120_000));
}

#[test]
fn the_other_sides_wish_to_wait_outlasts_a_restart() {
    let mut world = World::new(10, 0);
    world.owe(What::Opened, "a");
    world.turn(|_| Outcome::Retry { after: Some(secs(120)), why: "429".to_owned() });
    world.restart();
    assert_eq!(world.turn(ok), Next::Wait(120_000));
}

#[test]
fn what_was_held_for_long_is_retried_as_eagerly_as_anything_else() {
    let mut world = World::new(10, 1800);
    world.owe(What::Opened, "a");
    world.run(secs(1), ok);
    world.owe(What::Opened, "a:2");
    world.run(secs(1799), ok);
    assert_eq!(world.words().len(), 1);
    world.turn(fail);
    world.run(secs(5), ok);
    assert_eq!(world.words(), ["opened a", "opened a:2"]);
}

#[test]
fn what_was_held_for_a_day_is_not_given_up_at_its_first_try() {
    let mut world = World::new(10, 90_000);
    world.owe(What::Opened, "a");
    world.run(secs(1), ok);
    let second = world.owe(What::Opened, "a:2");
    world.run(secs(89_999), ok);
    world.turn(fail);
    assert_eq!(world.store[&second].state, NoticeState::Pending);
    world.run(secs(5), ok);
    assert_eq!(world.words(), ["opened a", "opened a:2"]);
}

#[test]
fn what_was_owed_before_a_day_off_is_not_given_up_at_the_first_try() {
    let mut world = World::new(10, 0);
    let id = world.owe(What::Opened, "a");
    world.turn(fail);
    world.pass(secs(2 * 86_400));
    world.restart();
    world.turn(fail);
    assert_eq!(world.store[&id].state, NoticeState::Pending);
    world.run(secs(60), ok);
    assert_eq!(world.words(), ["opened a"]);
}

#[test]
fn no_wish_to_wait_silences_a_channel_for_more_than_a_day() {
    let mut world = World::new(10, 0);
    world.owe(What::Opened, "a");
    world.turn(|_| Outcome::Retry { after: Some(Duration::MAX), why: "429".to_owned() });
    assert!(matches!(world.turn(ok), Next::Wait(until) if until <= 86_400_000));
}
