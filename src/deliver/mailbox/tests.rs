use super::{Mailbox, Next, Terms, mono};
use crate::deliver::Outcome;
use crate::model::{HeldBecause, Incident, Moment, Notice, NoticeState};
use crate::model::{Status, Timestamp, What};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const START: i64 = 1_800_000_000_000;

fn incident(id: &str) -> Incident {
    let check = format!("check-{}", id.split(':').next().unwrap_or_default()).into();
    let at = Timestamp::from_millis(START);
    Incident::new(id.to_owned(), check, "http", Status::Down, at)
}

/// A mailbox with a store beside it, a clock, and a record of what arrived when.
struct World {
    terms: Terms,
    mailbox: Mailbox,
    now: Moment,
    store: BTreeMap<String, Notice>,
    arrived: Vec<(i64, Notice)>,
    ids: u32,
}

impl World {
    fn new(count: u32, cooldown_secs: u64) -> Self {
        let per = Duration::from_secs(3600);
        let terms = Terms { count, per, cooldown: Duration::from_secs(cooldown_secs) };
        let now = Moment { wall: Timestamp::from_millis(START), mono: Duration::ZERO };
        Self {
            terms,
            mailbox: Mailbox::restore("ops".into(), String::new(), terms, vec![], now),
            now,
            store: BTreeMap::new(),
            arrived: Vec::new(),
            ids: 0,
        }
    }

    fn id(&mut self) -> String {
        self.ids += 1;
        format!("n{:06}", self.ids)
    }

    fn owe(&mut self, what: What, incident_id: &str) -> String {
        let id = self.id();
        let about = vec![incident(incident_id)];
        let notice =
            Notice::new(id.clone(), what, "ops".into(), String::new(), about, self.now.wall);
        self.keep(vec![notice.clone()]);
        self.mailbox.owe(notice, self.now);
        id
    }

    fn keep(&mut self, changed: Vec<Notice>) {
        for notice in changed {
            self.store.insert(notice.id.clone(), notice);
        }
    }

    fn pass(&mut self, span: Duration) {
        self.now.wall = self.now.wall.after(span);
        self.now.mono += span;
    }

    fn restart(&mut self) {
        self.now.mono = Duration::ZERO;
        let past = self.store.values().cloned().collect();
        self.mailbox = Mailbox::restore("ops".into(), String::new(), self.terms, past, self.now);
    }

    /// Lets the mailbox do one thing. Gives what it wanted next.
    fn turn(&mut self, answer: impl Fn(&Notice) -> Outcome) -> Next {
        let id = self.id();
        let (changed, next) = self.mailbox.next(self.now, || id);
        self.keep(changed);
        if let Next::Send(notice) = &next {
            let outcome = answer(notice);
            if outcome == Outcome::Accepted {
                self.arrived.push((self.now.wall.as_millis(), (**notice).clone()));
            }
            let changed = self.mailbox.settle(&notice.id, outcome, self.now, 0.5);
            self.keep(changed);
        }
        next
    }

    /// Lets it work until nothing can be done before `span` is over; time jumps to each wake-up.
    fn run(&mut self, span: Duration, answer: impl Fn(&Notice) -> Outcome + Copy) {
        let end = mono(self.now) + i64::try_from(span.as_millis()).unwrap();
        loop {
            let wake = match self.turn(answer) {
                Next::Send(_) => continue,
                Next::Wait(until) => until.min(end),
                Next::Idle => end,
            };
            let left = u64::try_from(wake - mono(self.now)).unwrap();
            self.pass(Duration::from_millis(left));
            if wake == end {
                return;
            }
        }
    }

    fn held(&self, id: &str) -> Option<HeldBecause> {
        self.store[id].held_because
    }

    fn words(&self) -> Vec<String> {
        let list = |notice: &Notice| {
            notice.incidents.iter().map(|i| i.id.clone()).collect::<Vec<_>>().join("+")
        };
        self.arrived.iter().map(|(_, notice)| format!("{} {}", notice.what, list(notice))).collect()
    }
}

fn ok(_: &Notice) -> Outcome {
    Outcome::Accepted
}

fn fail(_: &Notice) -> Outcome {
    Outcome::Retry { after: None, why: "no".to_owned() }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn an_opening_and_its_resolution_arrive_in_order() {
    let mut world = World::new(10, 0);
    world.owe(What::Opened, "a");
    world.owe(What::Resolved, "a");
    world.run(secs(1), ok);
    assert_eq!(world.words(), ["opened a", "resolved a"]);
}

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
    let cooled = world.owe(What::Opened, "a");
    let limited = world.owe(What::Opened, "b");
    world.run(secs(1), ok);
    assert_eq!(world.held(&cooled), Some(HeldBecause::Cooldown));
    assert_eq!(world.held(&limited), Some(HeldBecause::RateLimit));
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
    world.owe(What::Opened, "a");
    world.run(secs(590), ok);
    assert_eq!(world.words().len(), 1);
    world.run(secs(20), ok);
    assert_eq!(world.words(), ["opened a", "opened a"]);
}

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
        if notice.is_about("poison") { fail(notice) } else { Outcome::Accepted }
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
fn what_was_held_for_long_is_retried_as_eagerly_as_anything_else() {
    let mut world = World::new(10, 1800);
    world.owe(What::Opened, "a");
    world.run(secs(1), ok);
    world.owe(What::Opened, "a");
    world.run(secs(1799), ok);
    assert_eq!(world.words().len(), 1);
    world.turn(fail);
    world.run(secs(5), ok);
    assert_eq!(world.words(), ["opened a", "opened a"]);
}

#[test]
fn what_was_held_for_a_day_is_not_given_up_at_its_first_try() {
    let mut world = World::new(10, 90_000);
    world.owe(What::Opened, "a");
    world.run(secs(1), ok);
    let second = world.owe(What::Opened, "a");
    world.run(secs(89_999), ok);
    world.turn(fail);
    assert_eq!(world.store[&second].state, NoticeState::Pending);
    world.run(secs(5), ok);
    assert_eq!(world.words(), ["opened a", "opened a"]);
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
fn what_was_sent_by_a_clock_ahead_of_time_silences_nothing_for_longer_than_the_limits_last() {
    let mut world = World::new(2, 600);
    world.owe(What::Opened, "a");
    world.owe(What::Opened, "b");
    world.run(secs(60), ok);
    world.now.wall = Timestamp::from_millis(START - 365 * 86_400_000);
    world.restart();
    world.owe(What::Opened, "a");
    world.owe(What::Opened, "c");
    world.run(secs(3700), ok);
    let words = world.words();
    assert!(words.iter().filter(|word| word.contains('c')).count() == 1, "{words:?}");
    assert!(words.iter().filter(|word| word.contains('a')).count() == 2, "{words:?}");
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

#[test]
fn no_wish_to_wait_silences_a_channel_for_more_than_a_day() {
    let mut world = World::new(10, 0);
    world.owe(What::Opened, "a");
    world.turn(|_| Outcome::Retry { after: Some(Duration::MAX), why: "429".to_owned() });
    assert!(matches!(world.turn(ok), Next::Wait(until) if until <= 86_400_000));
}

/// What may happen to a mailbox.
#[derive(Clone, Debug)]
enum Act {
    Open(u8),
    Worsen(u8),
    Resolve(u8),
    Turn(u8),
    Pass(u64),
    Restart,
    StepWall(i64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0u8..6).prop_map(Act::Open),
        1 => (0u8..6).prop_map(Act::Worsen),
        3 => (0u8..6).prop_map(Act::Resolve),
        8 => any::<u8>().prop_map(Act::Turn),
        4 => (1u64..2_000_000).prop_map(Act::Pass),
        1 => Just(Act::Restart),
        1 => (-60_000i64..0).prop_map(Act::StepWall),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn whoever_heard_the_opening_hears_the_resolution_and_nobody_else(
        acts in proptest::collection::vec(act(), 0..80),
        count in 1u32..5,
        cooldown in prop_oneof![Just(0u64), Just(900u64)],
    ) {
        let mut world = World::new(count, cooldown);
        // Which incident of a check is open: the check's number and how many it has had.
        let mut open: BTreeMap<u8, String> = BTreeMap::new();
        let mut had = BTreeMap::<u8, u32>::new();
        let mut steps = false;
        for act in acts {
            match act {
                Act::Open(check) if !open.contains_key(&check) => {
                    let number = had.entry(check).or_default();
                    *number += 1;
                    let id = format!("{check}-{number}");
                    world.owe(What::Opened, &id);
                    open.insert(check, id);
                }
                Act::Worsen(check) => {
                    if let Some(id) = open.get(&check).cloned() {
                        world.owe(What::Worsened, &id);
                    }
                }
                Act::Resolve(check) => {
                    if let Some(id) = open.remove(&check) {
                        world.owe(What::Resolved, &id);
                    }
                }
                Act::Open(_) => {}
                Act::Turn(mood) => {
                    world.turn(|notice| match mood {
                        0..=170 => Outcome::Accepted,
                        171..=250 => fail(notice),
                        _ => Outcome::Retry { after: Some(secs(60)), why: "429".to_owned() },
                    });
                }
                Act::Pass(millis) => world.pass(Duration::from_millis(millis)),
                Act::Restart => world.restart(),
                Act::StepWall(by) => {
                    steps = true;
                    world.now.wall = Timestamp::from_millis(world.now.wall.as_millis() + by);
                }
            }
        }
        world.run(secs(20 * 3600), ok);

        let mut told = BTreeSet::new();
        let mut ended = BTreeSet::new();
        for (_, notice) in &world.arrived {
            for incident in &notice.incidents {
                let first = match notice.what {
                    What::Resolved => {
                        prop_assert!(told.contains(&incident.id), "orphan {}", incident.id);
                        ended.insert(incident.id.clone())
                    }
                    What::Worsened => {
                        told.insert(incident.id.clone());
                        true
                    }
                    _ => told.insert(incident.id.clone()) || notice.what == What::Digest,
                };
                prop_assert!(first, "{} {} twice", notice.what, incident.id);
            }
        }
        for id in open.values() {
            prop_assert!(told.contains(id), "{id} is open and was not told: {:?}", world.words());
        }
        for id in &told {
            let is_open = open.values().any(|known| known == id);
            prop_assert!(is_open || ended.contains(id), "{id} has no end");
        }
        if !steps {
            let sent: Vec<i64> = world
                .arrived
                .iter()
                .filter(|(_, notice)| notice.what != What::Resolved)
                .map(|(at, _)| *at)
                .collect();
            for from in &sent {
                let within = sent.iter().filter(|at| (*from..*from + 3_600_000).contains(at));
                prop_assert!(within.count() <= count as usize);
            }
        }
    }
}
