use super::KIND;
use super::state::{Action, Calendar, Expected, Filter, Terms};
use crate::check::testing::{observe, parse, problems};
use crate::model::{HeartbeatState, Phase, Ping, PingAddress, Signal, Timestamp};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const UUID: &str = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + seconds * 1000)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Expects a ping each `period` seconds.
fn terms(period: u64, grace: u64) -> Terms {
    Terms {
        expected: Expected::Every(secs(period)),
        grace: secs(grace),
        methods: Vec::new(),
        filter: Filter::default(),
        manual_resume: false,
    }
}

fn ping(signal: Signal) -> Ping {
    Ping {
        address: PingAddress::Uuid(UUID.to_owned()),
        signal,
        method: "GET".to_owned(),
        rid: None,
        body: "".into(),
        create: false,
    }
}

/// Takes in what each pair of time and signal says.
fn after(terms: &Terms, pings: &[(i64, Signal)]) -> HeartbeatState {
    let mut state = HeartbeatState::default();
    for (time, signal) in pings {
        let ping = ping(*signal);
        terms.take(&mut state, terms.action(&ping, false), &ping, at(*time));
    }
    state
}

#[test]
fn a_ping_is_due_a_period_after_the_one_before_and_overdue_a_grace_later() {
    let terms = terms(60, 10);
    let state = after(&terms, &[(0, Signal::Success), (30, Signal::Exit(0))]);
    assert_eq!((state.phase, state.alert_after), (Phase::Up, Some(at(100))));
    assert_eq!(terms.next_expected(&state), Some(at(90)));
    assert_eq!(after(&terms, &[]).alert_after, None, "what was never pinged owes nothing");
    let failed = after(&terms, &[(0, Signal::Success), (30, Signal::Fail)]);
    assert_eq!((failed.phase, failed.alert_after), (Phase::Down, None));
}

#[test]
fn a_run_that_does_not_end_within_the_grace_is_overdue_also_where_nothing_came_before() {
    let terms = terms(60, 10);
    let state = after(&terms, &[(0, Signal::Start)]);
    assert_eq!((state.phase, state.alert_after), (Phase::New, Some(at(10))));
    let state = after(&terms, &[(0, Signal::Success), (5, Signal::Start)]);
    assert_eq!(state.alert_after, Some(at(15)));
    let state = after(&terms, &[(0, Signal::Fail), (5, Signal::Start)]);
    assert_eq!(state.alert_after, None, "it is down already");
    let mut state = after(&terms, &[(0, Signal::Start)]);
    terms.go_down(&mut state);
    assert_eq!((state.phase, state.alert_after), (Phase::Down, None));
    assert!(state.failure.unwrap().contains("did not end within 10s"));
}

#[test]
fn only_the_end_that_bears_the_id_of_a_start_tells_how_long_the_run_took() {
    let terms = terms(60, 10);
    let one = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278";
    let other = "5bf66975-d4c7-4bf5-bcc8-000000000000";
    // The id of the start and of the end, the signal of the end: the duration in seconds, and
    // whether the run goes on.
    let check = |start: Option<&str>, end: Option<&str>, signal, duration, running| {
        let rid = |id: Option<&str>| id.map(str::to_owned);
        let mut state = HeartbeatState::default();
        let begun = Ping { rid: rid(start), ..ping(Signal::Start) };
        terms.take(&mut state, Action::Start, &begun, at(0));
        let ended = Ping { rid: rid(end), ..ping(signal) };
        terms.take(&mut state, terms.action(&ended, false), &ended, at(4));
        let found = (state.duration.map(|span| span.as_secs()), state.last_start.is_some());
        assert_eq!(found, (duration, running), "{start:?} {end:?} {signal:?}");
    };
    check(None, None, Signal::Success, Some(4), false);
    check(Some(one), Some(one), Signal::Success, Some(4), false);
    check(Some(one), Some(&one.to_uppercase()), Signal::Exit(3), Some(4), false);
    check(Some(one), Some(other), Signal::Success, None, true);
    check(Some(one), Some(other), Signal::Fail, None, false);
    check(Some(one), None, Signal::Success, None, false);
    check(None, Some(one), Signal::Success, None, true);
    check(None, Some(one), Signal::Log, None, true);
}

#[test]
fn words_decide_over_the_path_and_a_method_over_words() {
    let word = |word: &str| vec![word.to_owned()];
    let filter = Filter {
        start: word("BEGIN"),
        success: word("done"),
        failure: word("ERROR"),
        default_fail: false,
    };
    let strict = Filter { default_fail: true, ..filter.clone() };
    let check = |filter: &Filter, body: &str, signal, expected| {
        let terms = Terms { filter: filter.clone(), ..terms(60, 10) };
        let ping = Ping { body: body.into(), ..ping(signal) };
        assert_eq!(terms.action(&ping, false), expected, "{body} {signal:?}");
    };
    check(&filter, "BEGIN done ERROR", Signal::Success, Action::Fail);
    check(&filter, "BEGIN done", Signal::Fail, Action::Success);
    check(&filter, "BEGIN", Signal::Log, Action::Start);
    check(&filter, "begin Done error", Signal::Success, Action::Ignore);
    check(&strict, "begin Done error", Signal::Start, Action::Fail);
    check(&Filter::default(), "ERROR", Signal::Success, Action::Success);
    let terms = Terms { filter, methods: word("POST"), ..terms(60, 10) };
    let get = Ping { body: "done".into(), ..ping(Signal::Success) };
    assert_eq!(terms.action(&get, false), Action::Ignore);
    let post = Ping { method: "POST".to_owned(), ..get };
    assert_eq!(terms.action(&post, false), Action::Success);
    let by_hand = Terms { manual_resume: true, ..terms };
    assert_eq!(by_hand.action(&post, true), Action::Ignore);
    assert_eq!(by_hand.action(&post, false), Action::Success);
}

#[test]
fn a_failure_quotes_the_last_line_of_what_came() {
    let fail = |signal, body: &str| {
        let terms = terms(60, 10);
        let mut state = HeartbeatState::default();
        let ping = Ping { body: body.into(), ..ping(signal) };
        terms.take(&mut state, Action::Fail, &ping, at(0));
        state.failure.unwrap()
    };
    assert_eq!(fail(Signal::Exit(3), ""), "the job ended with exit status 3");
    let said = fail(Signal::Fail, "copying\nno space left \u{1b}on device\n\n");
    assert_eq!(said, "the job reported a failure: no space left  on device");
    assert!(fail(Signal::Fail, &"x".repeat(9_999)).len() < 300);
}

#[test]
fn a_restart_gives_what_is_owed_its_grace_once_more_and_only_once() {
    let terms = terms(60, 10);
    let mut state = after(&terms, &[(0, Signal::Success)]);
    let early = {
        let mut state = state.clone();
        terms.restart(&mut state, at(50));
        state
    };
    assert_eq!(early.alert_after, Some(at(70)), "nothing is owed yet");
    terms.restart(&mut state, at(500));
    assert_eq!(state.alert_after, Some(at(510)));
    terms.restart(&mut state, at(509));
    assert_eq!(state.alert_after, Some(at(510)));
    let mut missed = state.clone();
    terms.go_down(&mut missed);
    assert!(missed.failure.unwrap().contains("Watchbell itself was away"));
    let success = ping(Signal::Success);
    terms.take(&mut state, Action::Success, &success, at(505));
    assert_eq!(state.alert_after, Some(at(575)));
}

#[test]
fn what_a_condition_refuses_owes_no_next_ping_and_what_one_accepts_does() {
    let terms = terms(60, 10);
    let mut state = after(&terms, &[(0, Signal::Success)]);
    terms.settle(&mut state, true);
    assert_eq!((state.phase, state.alert_after), (Phase::Down, None));
    let mut state = after(&terms, &[(0, Signal::Exit(24))]);
    terms.settle(&mut state, false);
    assert_eq!((state.phase, state.alert_after, state.failure), (Phase::Up, Some(at(70)), None));
}

#[test]
fn facts_tell_what_is_known_at_that_moment() {
    let terms = terms(60, 10);
    let state = after(&terms, &[(0, Signal::Start), (4, Signal::Exit(0)), (50, Signal::Start)]);
    let observation = terms.observe(&state, "late", at(69));
    let facts = serde_json::to_string(&observation.facts).unwrap();
    insta::assert_snapshot!(facts, @r#"{"event":"late","pinged":true,"pings":3,"last_ping":65,"body":"","late_seconds":5,"duration_ms":4000.0,"exit_status":0,"running":true,"running_seconds":19}"#);
    assert_eq!((observation.error, observation.latency), (None, secs(4)));
    let fresh = terms.observe(&HeartbeatState::default(), "look", at(0));
    assert_eq!(fresh.undecided, Some("pinged"));
}

#[tokio::test]
async fn outside_of_a_daemon_nobody_knows_how_a_heartbeat_is() {
    let check = parse(&KIND, &format!("uuid = \"{UUID}\"\nperiod = \"1d\"")).unwrap();
    let observation = observe(&*check).await;
    assert!(observation.undecided.is_some());
    assert!(observation.error.unwrap().contains("watchbell status"));
}

#[test]
fn the_grace_is_an_hour_or_the_period_where_that_is_shorter() {
    let grace = |table: &str| {
        let check = parse(&KIND, &format!("slug = \"a\"\n{table}")).unwrap();
        check.heartbeat().unwrap().grace
    };
    assert_eq!(grace("period = \"1d\""), secs(3600));
    assert_eq!(grace("period = \"30s\""), secs(30));
    assert_eq!(grace("cron = \"0 3 * * *\""), secs(3600));
    assert_eq!(grace("period = \"1d\"\ngrace = \"5m\""), secs(300));
}

#[test]
fn a_mistake_in_the_table_is_told_with_what_to_do() {
    let check = |table: &str, words: &[&str]| {
        let said = problems(&KIND, table);
        for word in words {
            assert!(said.contains(word), "no `{word}` in:\n{said}");
        }
        assert_eq!(said.lines().count(), words.len(), "{said}");
    };
    check("", &["a.toml:1:1: does not say at which address", "add `period`, such as"]);
    check(
        "uuid = \"a\"\nslug = \"A b\"\nperiod = \"1ms\"\ncron = \"0 3 * * *\"\ngrace = \"2y\"\n\
         methods = [\"PUT\"]\nfilter_start = [\"\"]\nfilter_default = \"what\"",
        &[
            "a.toml:1:8: uuid: is no UUID",
            "a.toml:2:8: slug: `A b` is no slug",
            "a.toml:3:10: period: is too short: the shortest is 1s",
            "a.toml:4:8: cron: there is `period` already",
            "a.toml:5:9: grace: is too long: the longest is 366d",
            "methods: `PUT` is not one of GET, HEAD, POST",
            "filter_start: holds an empty word",
            "filter_default: `what` is neither ignore nor fail",
        ],
    );
    let zone = "slug = \"a\"\nperiod = \"1d\"\ntime_zone = \"UTC\"";
    check(zone, &["a.toml:3:13: time_zone: has a meaning only beside `cron`"]);
    let alone = "slug = \"a\"\nperiod = \"1d\"\nfilter_default = \"fail\"";
    check(alone, &["has no effect without `filter_start`"]);
}

/// Each seventh second.
#[derive(Debug)]
struct Sevenths;

impl Calendar for Sevenths {
    fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let seconds = (time.as_millis() - at(0).as_millis()).div_euclid(1000);
        Some(at((seconds.div_euclid(7) + 1) * 7))
    }
}

/// Looks at each second anew, with the whole story so far in its hands.
struct Naive {
    /// Time, action, and which of a few ids.
    story: Vec<(i64, Action, Option<u8>)>,
    /// Nothing is known before the first end or miss.
    up: Option<bool>,
    /// When it went down by itself.
    missed: Vec<i64>,
    /// Without a period each seventh second counts.
    period: Option<i64>,
    grace: i64,
}

impl Naive {
    fn is_end(action: Action) -> bool {
        matches!(action, Action::Success | Action::Fail)
    }

    /// The start of a run that no later ping has ended.
    fn running(&self) -> Option<i64> {
        let mut story = self.story.iter().enumerate();
        let (place, (time, _, id)) = story.rfind(|(_, (_, action, _))| *action == Action::Start)?;
        let ends = |(_, action, end): &(i64, Action, Option<u8>)| {
            Self::is_end(*action) && (end == id || *action == Action::Fail || end.is_none())
        };
        (!self.story[place + 1..].iter().any(ends)).then_some(*time)
    }

    fn due(&self) -> Option<i64> {
        let (last, ..) = self.story.iter().rfind(|(_, action, _)| Self::is_end(*action))?;
        match self.period {
            Some(period) => Some(last + period),
            None => (last + 1..).find(|second| second % 7 == 0),
        }
    }

    fn look(&mut self, now: i64) {
        if self.up == Some(false) {
            return;
        }
        let due = if self.up == Some(true) { self.due() } else { None };
        if [due, self.running()].into_iter().flatten().any(|begin| begin + self.grace <= now) {
            self.up = Some(false);
            self.missed.push(now);
        }
    }

    fn take(&mut self, now: i64, action: Action, id: Option<u8>) {
        self.look(now);
        self.story.push((now, action, id));
        if Self::is_end(action) {
            self.up = Some(action == Action::Success);
        }
        self.look(now);
    }
}

fn rid(id: u8) -> String {
    format!("5bf66975-d4c7-4bf5-bcc8-{id:012}")
}

/// Notes each time at which the check goes down by itself, up to `now`.
fn expire(terms: &Terms, state: &mut HeartbeatState, missed: &mut Vec<i64>, now: i64, last: i64) {
    while let Some(due) = state.alert_after.filter(|due| *due <= at(now)) {
        let second = (due.as_millis() - at(0).as_millis()) / 1000;
        missed.push(second.max(last));
        terms.go_down(state);
    }
}

proptest! {
    #[test]
    fn the_machine_agrees_with_a_look_at_the_whole_story_each_second(
        by_period in any::<bool>(),
        period in 1_i64..20,
        grace in 1_i64..10,
        pings in prop::collection::vec(
            (
                0_i64..12,
                prop::sample::select(vec![
                    Action::Success, Action::Success, Action::Success, Action::Fail,
                    Action::Start, Action::Start, Action::Log, Action::Ignore,
                ]),
                prop::option::of(0_u8..3),
            ),
            0..30,
        ),
    ) {
        let mut terms = terms(period.unsigned_abs(), grace.unsigned_abs());
        if !by_period {
            terms.expected = Expected::At(Arc::new(Sevenths));
        }
        let mut state = HeartbeatState::default();
        let period = by_period.then_some(period);
        let mut naive = Naive { story: Vec::new(), up: None, missed: Vec::new(), period, grace };
        let (mut now, mut missed) = (0, Vec::new());
        for (wait, action, id) in pings {
            for second in now..now + wait {
                naive.look(second);
            }
            let last = now;
            now += wait;
            expire(&terms, &mut state, &mut missed, now, last);
            let signal = if action == Action::Fail { Signal::Fail } else { Signal::Success };
            let ping = Ping { rid: id.map(rid), ..ping(signal) };
            terms.take(&mut state, action, &ping, at(now));
            expire(&terms, &mut state, &mut missed, now, now);
            naive.take(now, action, id);
            prop_assert_eq!(&missed, &naive.missed);
            let phase = match naive.up {
                None => Phase::New,
                Some(true) => Phase::Up,
                Some(false) => Phase::Down,
            };
            prop_assert_eq!(state.phase, phase);
            let running = state.last_start.map(|start| {
                (start.as_millis() - at(0).as_millis()) / 1000
            });
            prop_assert_eq!(running, naive.running());
        }
        for second in now..now + 60 {
            naive.look(second);
        }
        expire(&terms, &mut state, &mut missed, now + 59, now);
        prop_assert_eq!(&missed, &naive.missed);
    }
}
