use super::{
    Decision, Gates, Hold, Idle, RecoveryPolicy, Waiting, began, decide, ended, judged, stopped,
    taken_back, well_again,
};
use crate::model::{ActionName, HeldBecause, Incident, RecoveryState, Status, Timestamp};
use proptest::prelude::*;
use std::time::Duration;

const OPEN: Gates = Gates {
    latest: Status::Down,
    suppressed_by: None,
    acknowledged: false,
    flapping: false,
    paused: false,
};

fn policy() -> RecoveryPolicy {
    RecoveryPolicy {
        action: ActionName::Restart,
        max_attempts: 3,
        window: minutes(60),
        cooldown: minutes(5),
        dry_run: false,
    }
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

fn at(minute: i64) -> Timestamp {
    Timestamp::from_millis(1_772_356_812_000 + minute * 60_000)
}

fn incident() -> Incident {
    Incident::new("01".into(), "shop-api".into(), "http", Status::Down, at(0))
}

/// A check that stays down, with a clock that goes on minute by minute.
struct Story {
    state: RecoveryState,
    lines: Vec<String>,
}

impl Story {
    fn new() -> Self {
        Self { state: RecoveryState::default(), lines: Vec::new() }
    }

    /// Asks once a minute, carries out what comes, and notes what is new. Each attempt takes a
    /// minute and does not help.
    fn run(&mut self, minutes: std::ops::Range<i64>, gates: Gates) -> &mut Self {
        for minute in minutes {
            let now = at(minute);
            ended(&policy(), &mut self.state, now);
            judged(&mut self.state, now);
            let decision = decide(&policy(), &mut self.state, &incident(), &gates, now);
            match decision {
                Decision::Attempt { .. } => began(&policy(), &mut self.state, now, 0.0),
                Decision::Stopped => stopped(&mut self.state, now),
                _ => {}
            }
            let line = match decision {
                Decision::Wait { until, because } => {
                    let until = (until.as_millis() - at(0).as_millis()) / 60_000;
                    format!("wait until {until}: {because:?}")
                }
                other => format!("{other:?}"),
            };
            let known = self.lines.last().is_some_and(|last| last.ends_with(&line));
            if !known {
                self.lines.push(format!("{minute}: {line}"));
            }
        }
        self
    }
}

#[test]
fn a_check_that_nothing_helps_is_tried_a_few_times_then_once_a_window() {
    let mut story = Story::new();
    insta::assert_snapshot!(story.run(0..160, OPEN).lines.join("\n"), @r"
    0: Attempt { number: 1, of: 3, half_open: false }
    1: wait until 6: Cooldown
    6: Attempt { number: 2, of: 3, half_open: false }
    7: wait until 12: Cooldown
    12: Attempt { number: 3, of: 3, half_open: false }
    13: wait until 18: Cooldown
    18: Stopped
    19: wait until 78: Breaker
    78: Attempt { number: 1, of: 3, half_open: true }
    79: wait until 84: Cooldown
    84: Stopped
    85: wait until 144: Breaker
    144: Attempt { number: 1, of: 3, half_open: true }
    145: wait until 150: Cooldown
    150: Stopped
    151: wait until 210: Breaker
    ");
}

#[test]
fn a_check_that_was_well_again_finds_the_breaker_closed_but_its_attempts_counted() {
    let mut story = Story::new();
    story.run(0..20, OPEN);
    assert!(story.state.open_since.is_some());
    well_again(&mut story.state);
    story.lines.clear();
    insta::assert_snapshot!(story.run(30..70, OPEN).lines.join("\n"), @r"
    30: Stopped
    31: wait until 90: Breaker
    ");
}

#[test]
fn an_attempt_that_the_end_of_the_daemon_cut_off_counts_and_is_over() {
    let mut state = RecoveryState::default();
    began(&policy(), &mut state, at(0), 1.0);
    let stored = serde_json::to_string(&state).unwrap();
    let mut state: RecoveryState = serde_json::from_str(&stored).unwrap();
    let ask = |state: &mut RecoveryState, minute| {
        decide(&policy(), state, &incident(), &OPEN, at(minute))
    };
    assert_eq!(ask(&mut state, 1), Decision::Nothing(Idle::Running));
    ended(&policy(), &mut state, at(2));
    assert_eq!(ask(&mut state, 2), Decision::Nothing(Idle::Unjudged));
    judged(&mut state, at(1));
    assert_eq!(ask(&mut state, 3), Decision::Nothing(Idle::Unjudged));
    judged(&mut state, at(3));
    // The cooldown runs from the end of the attempt, and a jitter of 1 adds a fifth.
    let wait = Decision::Wait { until: at(8), because: Waiting::Cooldown };
    assert_eq!(ask(&mut state, 3), wait);
    assert_eq!(ask(&mut state, 8), Decision::Attempt { number: 2, of: 3, half_open: false });
}

#[test]
fn what_was_stored_before_recovery_was_there_is_still_read() {
    let old = r#"{"attempts":[],"not_before":null,"open_since":null,"running":false}"#;
    for stored in [old, "{}"] {
        let state: RecoveryState = serde_json::from_str(stored).unwrap();
        assert_eq!(state, RecoveryState::default());
    }
}

#[test]
fn an_attempt_that_never_started_does_not_count() {
    let mut state = RecoveryState::default();
    began(&policy(), &mut state, at(0), 0.5);
    taken_back(&mut state);
    let decision = decide(&policy(), &mut state, &incident(), &OPEN, at(0));
    assert_eq!(decision, Decision::Attempt { number: 1, of: 3, half_open: false });
}

#[test]
fn only_what_is_down_now_is_tried() {
    let ask = |incident: &Incident, latest| {
        let gates = Gates { latest, ..OPEN };
        decide(&policy(), &mut RecoveryState::default(), incident, &gates, at(9))
    };
    let nothing = Decision::Nothing(Idle::NotDown);
    for latest in [Status::Up, Status::Degraded, Status::Unknown] {
        assert_eq!(ask(&incident(), latest), nothing);
    }
    let degraded = Incident { status: Status::Degraded, ..incident() };
    assert_eq!(ask(&degraded, Status::Down), nothing);
    let over = Incident { resolved_at: Some(at(1)), ..incident() };
    assert_eq!(ask(&over, Status::Down), nothing);
    assert!(matches!(ask(&incident(), Status::Down), Decision::Attempt { .. }));
}

#[test]
fn each_gate_holds_and_says_which_it_is() {
    fn check(gates: Gates, expected: Option<Hold>) {
        let state = &mut RecoveryState::default();
        let held = match decide(&policy(), state, &incident(), &gates, at(0)) {
            Decision::Held(hold) => Some(hold),
            _ => None,
        };
        assert_eq!(held, expected, "{gates:?}");
    }
    let suppressed = |why| Gates { suppressed_by: Some(why), ..OPEN };
    check(OPEN, None);
    check(Gates { paused: true, acknowledged: true, ..OPEN }, Some(Hold::Paused));
    check(Gates { flapping: true, ..OPEN }, Some(Hold::Flapping));
    check(Gates { acknowledged: true, ..OPEN }, Some(Hold::Acknowledged));
    check(suppressed(HeldBecause::Dependency), Some(Hold::Dependency));
    check(suppressed(HeldBecause::Silence), Some(Hold::Silence));
    check(suppressed(HeldBecause::Maintenance), Some(Hold::Maintenance));
    check(suppressed(HeldBecause::Flapping), Some(Hold::Flapping));
    check(suppressed(HeldBecause::Cooldown), None);
    check(suppressed(HeldBecause::RateLimit), None);
}

#[test]
fn a_shorter_cooldown_after_a_reload_counts_at_once() {
    let mut state = RecoveryState::default();
    began(&policy(), &mut state, at(0), 0.0);
    ended(&policy(), &mut state, at(0));
    judged(&mut state, at(0));
    let shorter = RecoveryPolicy { cooldown: Duration::ZERO, ..policy() };
    let decision = decide(&shorter, &mut state, &incident(), &OPEN, at(1));
    assert_eq!(decision, Decision::Attempt { number: 2, of: 3, half_open: false });
}

/// What may happen to a check.
#[derive(Clone, Copy, Debug)]
enum Event {
    Pass(u16),
    StepForward(u32),
    StepBack(u32),
    Ask(Gates, f64),
    End,
    TakeBack,
    Restart,
    Judge { started_ago: u16 },
    WellAgain,
}

fn gates() -> impl Strategy<Value = Gates> {
    let why = prop_oneof![
        8 => Just(None),
        1 => Just(Some(HeldBecause::Dependency)),
        1 => Just(Some(HeldBecause::Silence)),
        1 => Just(Some(HeldBecause::Storm)),
    ];
    let latest = prop_oneof![9 => Just(Status::Down), 1 => Just(Status::Up)];
    let rare = || prop::bool::weighted(0.05);
    (latest, why, rare(), rare(), rare()).prop_map(
        |(latest, suppressed_by, acknowledged, flapping, paused)| Gates {
            latest,
            suppressed_by,
            acknowledged,
            flapping,
            paused,
        },
    )
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => (0..400_u16).prop_map(Event::Pass),
        1 => (0..3_000_u32).prop_map(Event::StepForward),
        1 => (0..3_000_u32).prop_map(Event::StepBack),
        8 => (gates(), 0.0..=1.0).prop_map(|(gates, jitter)| Event::Ask(gates, jitter)),
        5 => Just(Event::End),
        1 => Just(Event::TakeBack),
        1 => Just(Event::Restart),
        5 => (0..100_u16).prop_map(|started_ago| Event::Judge { started_ago }),
        1 => Just(Event::WellAgain),
    ];
    prop::collection::vec(event, 1..80)
}

fn policies() -> impl Strategy<Value = RecoveryPolicy> {
    (1..5_u32, 1..1_500_u64, 0..400_u64).prop_map(|(max_attempts, window, cooldown)| {
        let (window, cooldown) = (Duration::from_millis(window), Duration::from_millis(cooldown));
        RecoveryPolicy { max_attempts, window, cooldown, ..policy() }
    })
}

/// What was booked, kept for ever; every question is answered by reading all of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Entry {
    Began { at: i64, rest: i64 },
    Ended { at: i64 },
    Judged { started: i64 },
    Opened { at: i64 },
    WellAgain,
}

#[derive(Debug, Default)]
struct Naive(Vec<Entry>);

impl Naive {
    fn is_running(&self) -> bool {
        self.0.iter().rev().find_map(|entry| match entry {
            Entry::Began { .. } => Some(true),
            Entry::Ended { .. } => Some(false),
            _ => None,
        }) == Some(true)
    }

    fn begins(&self) -> impl Iterator<Item = i64> {
        self.0.iter().filter_map(|entry| match entry {
            Entry::Began { at, .. } => Some(*at),
            _ => None,
        })
    }

    fn last(&self, what: impl Fn(&Entry) -> bool) -> Option<usize> {
        self.0.iter().rposition(what)
    }

    fn is_unjudged(&self) -> bool {
        let Some(end) = self.last(|entry| matches!(entry, Entry::Ended { .. })) else {
            return false;
        };
        let Entry::Ended { at } = self.0[end] else { unreachable!() };
        !self.0[end..].iter().any(|entry| match entry {
            Entry::Judged { started } => *started >= at,
            Entry::WellAgain => true,
            _ => false,
        })
    }

    fn rested_at(&self) -> Option<i64> {
        let begin = self.last(|entry| matches!(entry, Entry::Began { .. }))?;
        let Entry::Began { rest, .. } = self.0[begin] else { unreachable!() };
        self.0[begin..].iter().find_map(|entry| match entry {
            Entry::Ended { at } => Some(at + rest),
            _ => None,
        })
    }

    fn decide(&self, policy: &RecoveryPolicy, gates: &Gates, now: i64) -> Decision {
        let window = i64::try_from(policy.window.as_millis()).unwrap();
        let wait =
            |until, because| Decision::Wait { until: Timestamp::from_millis(until), because };
        if self.is_running() {
            return Decision::Nothing(Idle::Running);
        }
        if gates.latest != Status::Down {
            return Decision::Nothing(Idle::NotDown);
        }
        let hold = match (gates.paused, gates.suppressed_by) {
            (true, _) => Some(Hold::Paused),
            (_, Some(HeldBecause::Dependency)) => Some(Hold::Dependency),
            (_, Some(HeldBecause::Silence)) => Some(Hold::Silence),
            _ if gates.flapping => Some(Hold::Flapping),
            _ if gates.acknowledged => Some(Hold::Acknowledged),
            _ => None,
        };
        if let Some(hold) = hold {
            return Decision::Held(hold);
        }
        if self.is_unjudged() {
            return Decision::Nothing(Idle::Unjudged);
        }
        if let Some(until) = self.rested_at().filter(|until| *until > now) {
            return wait(until, Waiting::Cooldown);
        }
        let tried = self.begins().filter(|at| at + window > now).count();
        let (number, of) = (u32::try_from(tried).unwrap() + 1, policy.max_attempts);
        let breaker = self.last(|entry| matches!(entry, Entry::Opened { .. } | Entry::WellAgain));
        match breaker.map(|index| (index, self.0[index])) {
            Some((index, Entry::Opened { at })) => {
                let tried_since =
                    self.0[index..].iter().any(|entry| matches!(entry, Entry::Began { .. }));
                if tried_since {
                    Decision::Stopped
                } else if at + window > now {
                    wait(at + window, Waiting::Breaker)
                } else {
                    Decision::Attempt { number, of, half_open: true }
                }
            }
            _ if number > of => Decision::Stopped,
            _ => Decision::Attempt { number, of, half_open: false },
        }
    }
}

/// A check that lives through events, with everything noted by both clocks.
#[derive(Debug)]
struct Life {
    policy: RecoveryPolicy,
    state: RecoveryState,
    wall: i64,
    mono: i64,
    naive: Naive,
    /// Attempts by the monotonic clock.
    begins: Vec<i64>,
    ended: Option<i64>,
}

impl Life {
    fn new(policy: RecoveryPolicy) -> Self {
        let (wall, mono) = (1_000_000, 0);
        let (state, naive) = (RecoveryState::default(), Naive::default());
        Self { policy, state, wall, mono, naive, begins: Vec::new(), ended: None }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.wall)
    }

    fn pass(&mut self, millis: i64) {
        self.wall += millis;
        self.mono += millis;
    }

    fn ask(&mut self, gates: &Gates) -> Decision {
        let now = self.now();
        decide(&self.policy, &mut self.state, &incident(), gates, now)
    }

    fn live(&mut self, event: Event) -> Result<(), TestCaseError> {
        let now = self.now();
        match event {
            Event::Pass(millis) => self.pass(millis.into()),
            Event::StepForward(millis) => self.wall += i64::from(millis),
            Event::StepBack(millis) => self.wall -= i64::from(millis),
            Event::Ask(gates, jitter) => match self.ask(&gates) {
                Decision::Attempt { .. } => {
                    let closed = gates.paused || gates.flapping || gates.acknowledged;
                    let held = gates.suppressed_by.is_some_and(|why| why != HeldBecause::Storm);
                    prop_assert!(!closed && !held && gates.latest == Status::Down);
                    began(&self.policy, &mut self.state, now, jitter);
                    let rest = i64::try_from(self.state.cooldown.as_millis()).unwrap();
                    let least = i64::try_from(self.policy.cooldown.as_millis()).unwrap();
                    prop_assert!(rest >= least && rest <= least + least / 5);
                    self.naive.0.push(Entry::Began { at: self.wall, rest });
                    self.begins.push(self.mono);
                }
                Decision::Stopped => {
                    stopped(&mut self.state, now);
                    self.naive.0.push(Entry::Opened { at: self.wall });
                }
                _ => {}
            },
            Event::Restart | Event::End => {
                if matches!(event, Event::Restart) {
                    let stored = serde_json::to_string(&self.state).unwrap();
                    self.state = serde_json::from_str(&stored).unwrap();
                }
                if self.state.running {
                    self.naive.0.push(Entry::Ended { at: self.wall });
                    self.ended = Some(self.mono);
                }
                ended(&self.policy, &mut self.state, now);
            }
            Event::TakeBack => {
                if self.state.running {
                    let begin =
                        self.naive.last(|entry| matches!(entry, Entry::Began { .. })).unwrap();
                    self.naive.0.remove(begin);
                    self.begins.pop();
                }
                taken_back(&mut self.state);
            }
            Event::Judge { started_ago } => {
                let started = self.wall - i64::from(started_ago);
                judged(&mut self.state, Timestamp::from_millis(started));
                self.naive.0.push(Entry::Judged { started });
            }
            Event::WellAgain => {
                well_again(&mut self.state);
                self.naive.0.push(Entry::WellAgain);
            }
        }
        Ok(())
    }
}

/// Whether no window holds more than `most` of `times`, which are in order.
fn fit(times: &[i64], window: Duration, most: u32) -> bool {
    let window = i64::try_from(window.as_millis()).unwrap();
    let most = usize::try_from(most).unwrap();
    times.windows(most + 1).all(|times| times[most] - times[0] >= window)
}

proptest! {
    #[test]
    fn decisions_are_those_of_a_model_that_forgets_nothing(
        policy in policies(),
        events in events(),
    ) {
        let mut life = Life::new(policy);
        for event in events {
            if matches!(event, Event::StepBack(_)) {
                continue;
            }
            if let Event::Ask(gates, _) = event {
                let expected = life.naive.decide(&life.policy, &gates, life.wall);
                prop_assert_eq!(life.ask(&gates), expected, "{:?}", life);
            }
            life.live(event)?;
        }
        let begins: Vec<i64> = life.naive.begins().collect();
        prop_assert!(fit(&begins, life.policy.window, life.policy.max_attempts), "{:?}", begins);
        for pair in life.naive.0.iter().filter(|entry| {
            matches!(entry, Entry::Began { .. } | Entry::Ended { .. })
        }).collect::<Vec<_>>().windows(3) {
            if let [Entry::Began { rest, .. }, Entry::Ended { at }, Entry::Began { at: next, .. }] = pair {
                prop_assert!(next - at >= *rest);
            }
        }
    }

    #[test]
    fn a_clock_that_steps_back_adds_no_attempt_and_delays_none_for_ever(
        policy in policies(),
        events in events(),
    ) {
        let mut life = Life::new(policy);
        for event in events {
            if !matches!(event, Event::StepForward(_)) {
                life.live(event)?;
            }
        }
        prop_assert!(fit(&life.begins, life.policy.window, life.policy.max_attempts));
        life.live(Event::End)?;
        // One question lets it see how late it is.
        life.ask(&OPEN);
        let longest = life.policy.window.max(life.policy.cooldown.mul_f64(1.2));
        life.pass(i64::try_from(longest.as_millis()).unwrap() + 1);
        life.live(Event::Judge { started_ago: 0 })?;
        let decision = life.ask(&OPEN);
        let goes_on = matches!(decision, Decision::Attempt { .. } | Decision::Stopped);
        prop_assert!(goes_on, "{:?} {:?}", decision, life);
    }
}
