use super::{Agenda, Due, done, due, next, open_for_at_start};
use crate::incident::people::disregard;
use crate::incident::{acknowledge, expire_acknowledgement, snooze, unacknowledge};
use crate::model::{Acknowledgement, HeldBecause, Incident, Status, Timestamp};
use proptest::prelude::*;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// What happens to an incident from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Somebody takes it on, until a minute or for good.
    Take(Option<u32>),
    GiveBack,
    /// Until a minute.
    Snooze(u32),
    Suppress,
    Release,
    Worsen,
    /// The daemon starts again.
    Restart,
}

fn at(minute: u32) -> Timestamp {
    Timestamp::from_millis(i64::from(minute) * 60_000)
}

fn opened() -> Incident {
    Incident::new("1".to_owned(), "shop".into(), "http", Status::Down, at(0))
}

fn act(incident: &mut Incident, act: Act, minute: u32) {
    let now = at(minute);
    match act {
        Act::Take(until) => {
            let until = until.map(at);
            let taken = Acknowledgement { by: "alice".to_owned(), note: None, at: now, until };
            acknowledge(incident, taken);
        }
        Act::GiveBack => {
            unacknowledge(incident, "alice", now);
        }
        Act::Snooze(until) => snooze(incident, "alice", at(until), now),
        Act::Suppress => incident.suppressed_by = Some(HeldBecause::Silence),
        Act::Release => incident.suppressed_by = None,
        Act::Worsen => disregard(incident, now),
        Act::Restart => {
            let saved = serde_json::to_string(incident).unwrap();
            *incident = serde_json::from_str(&saved).unwrap();
        }
    }
}

/// What came to be due and when: `r60` is a reminder in minute 60, `e15@20` the steps up to 15
/// minutes in minute 20.
fn told(due: &Due, minute: u32) -> Vec<String> {
    let remind = due.remind.then(|| format!("r{minute}"));
    let escalate = due.escalate.map(|step| format!("e{}@{minute}", step.as_secs() / 60));
    escalate.into_iter().chain(remind).collect()
}

/// Lets so many minutes pass, and looks only when the timer or an act says so.
fn play(agenda: &Agenda<'_>, acts: &[(u32, Act)], minutes: u32) -> Vec<String> {
    let mut incident = opened();
    let mut out = Vec::new();
    let mut minute = 0;
    while minute <= minutes {
        for (_, done) in acts.iter().filter(|(when, _)| *when == minute) {
            act(&mut incident, *done, minute);
        }
        let (open_for, now) = (MINUTE * minute, at(minute));
        expire_acknowledgement(&mut incident, now);
        let due = due(&incident, agenda, open_for, now);
        done(&mut incident, &due, open_for, now);
        out.extend(told(&due, minute));
        let wait = next(&incident, agenda, open_for, now);
        assert_ne!(wait, Some(Duration::ZERO), "nothing is due any more");
        let timer = wait.map(|wait| minute + u32::try_from(wait.as_secs() / 60).unwrap());
        let event = acts.iter().map(|(when, _)| *when).filter(|when| *when > minute).min();
        let Some(wake) = timer.into_iter().chain(event).min() else { break };
        minute = wake;
    }
    out
}

fn minutes(list: &[u64]) -> Vec<Duration> {
    list.iter().map(|minutes| Duration::from_secs(60 * minutes)).collect()
}

fn check(remind: Option<u32>, steps: &[u64], acts: &[(u32, Act)], expected: &str) {
    let steps = minutes(steps);
    let agenda =
        Agenda { remind_every: remind.map(|every| MINUTE * every), escalate_after: &steps };
    assert_eq!(play(&agenda, acts, 10_000).join(" "), expected);
}

#[test]
fn each_gap_between_reminders_is_twice_the_one_before_up_to_a_day() {
    check(Some(240), &[], &[], "r240 r720 r1680 r3120 r4560 r6000 r7440 r8880");
    check(Some(3000), &[], &[], "r3000 r6000 r9000");
    check(None, &[], &[], "");
}

#[test]
fn escalation_counts_from_the_opening() {
    check(None, &[15, 60], &[], "e15@15 e60@60");
    check(None, &[60, 0, 15], &[], "e0@0 e15@15 e60@60");
}

#[test]
fn nothing_is_due_while_somebody_has_it() {
    check(Some(2000), &[15], &[(5, Act::Take(None))], "");
    check(Some(8000), &[15], &[(5, Act::Take(None)), (20, Act::GiveBack)], "e15@20 r8000");
    check(Some(8000), &[15, 40], &[(5, Act::Take(Some(50)))], "e40@50 r8000");
}

#[test]
fn missed_reminders_come_as_one() {
    let acts = [(5, Act::Take(Some(5000)))];
    check(Some(60), &[], &acts, "r5000 r5120 r5360 r5840 r6800 r8240 r9680");
}

#[test]
fn the_end_of_a_snooze_reminds_once() {
    check(None, &[], &[(5, Act::Snooze(60))], "r60");
    check(None, &[], &[(5, Act::Snooze(60)), (10, Act::Snooze(90))], "r90");
    check(None, &[], &[(5, Act::Snooze(60)), (10, Act::Take(Some(90)))], "r90");
    check(None, &[30], &[(5, Act::Snooze(60))], "e30@60 r60");
    check(None, &[], &[(5, Act::Snooze(60)), (10, Act::Worsen)], "");
}

#[test]
fn a_suppressed_incident_escalates_but_does_not_remind() {
    let acts = [(0, Act::Suppress), (5, Act::Snooze(10)), (9000, Act::Release)];
    check(Some(2000), &[15], &acts, "e15@15 r9000");
}

#[test]
fn an_escalation_stands_on_the_timeline() {
    let mut incident = opened();
    let due = Due { escalate: Some(MINUTE * 15), remind: true };
    done(&mut incident, &due, MINUTE * 16, at(16));
    let story: Vec<_> = incident.timeline.iter().map(|line| (&*line.what, &*line.detail)).collect();
    assert_eq!(story, [("escalated", "open for 15m, and nobody has taken it on")]);
    assert_eq!((incident.reminders, incident.reminded), (1, Some(MINUTE * 16)));
}

#[test]
fn nothing_is_due_for_a_resolved_incident() {
    let steps = minutes(&[1]);
    let agenda = Agenda { remind_every: Some(MINUTE), escalate_after: &steps };
    let incident = Incident { resolved_at: Some(at(5)), ..opened() };
    assert!(due(&incident, &agenda, MINUTE * 60, at(60)).is_empty());
    assert_eq!(next(&incident, &agenda, MINUTE * 60, at(60)), None);
}

#[test]
fn a_clock_that_steps_reminds_nobody() {
    let agenda = Agenda { remind_every: Some(MINUTE * 60), escalate_after: &[] };
    let incident = opened();
    assert!(due(&incident, &agenda, MINUTE * 59, at(1_000_000)).is_empty());
    assert_eq!(next(&incident, &agenda, MINUTE * 59, at(1_000_000)), Some(MINUTE));
}

#[test]
fn a_clock_that_was_set_back_before_a_restart_silences_nothing() {
    let incident = Incident { reminded: Some(MINUTE * 120), ..opened() };
    assert_eq!(open_for_at_start(&incident, at(7)), MINUTE * 120);
    assert_eq!(open_for_at_start(&incident, at(200)), MINUTE * 200);
}

/// The same in the most naive way: it looks every minute, and at the whole past each time.
fn naive(remind: Option<u32>, steps: &[u64], acts: &[(u32, Act)], minutes: u32) -> Vec<String> {
    let mut reminded: Vec<u32> = Vec::new();
    let mut escalated: Vec<u64> = Vec::new();
    let mut out = Vec::new();
    for minute in 0..=minutes {
        let past: Vec<(u32, Act)> = acts.iter().copied().filter(|(at, _)| *at <= minute).collect();
        let latest = |is: fn(Act) -> bool| past.iter().rev().find(|(_, act)| is(*act)).copied();
        let taken = match latest(|act| matches!(act, Act::Take(_) | Act::GiveBack | Act::Worsen)) {
            Some((_, Act::Take(until))) => until.is_none_or(|until| minute < until),
            _ => false,
        };
        let snooze = match latest(|act| matches!(act, Act::Snooze(_) | Act::Worsen)) {
            // A reminder in the minute of the snooze came before it only if it was not due then.
            Some((at, Act::Snooze(until))) => {
                reminded.iter().all(|told| *told < at).then_some(until)
            }
            _ => None,
        };
        let suppressed = latest(|act| matches!(act, Act::Suppress | Act::Release));
        let suppressed = matches!(suppressed, Some((_, Act::Suppress)));
        if taken || snooze.is_some_and(|until| minute < until) {
            continue;
        }
        let open = steps.iter().filter(|step| **step <= u64::from(minute));
        let open: Vec<u64> = open.filter(|step| !escalated.contains(step)).copied().collect();
        if let Some(last) = open.iter().max() {
            out.push(format!("e{last}@{minute}"));
        }
        escalated.extend(open);
        let mut gap = remind;
        for _ in &reminded {
            gap = gap.zip(remind).map(|(gap, first)| (2 * gap).min(first.max(24 * 60)));
        }
        let since = minute - reminded.last().copied().unwrap_or(0);
        if !suppressed && (snooze.is_some() || gap.is_some_and(|gap| since >= gap)) {
            out.push(format!("r{minute}"));
            reminded.push(minute);
        }
    }
    out
}

fn acts() -> impl Strategy<Value = Vec<(u32, Act)>> {
    let act = prop_oneof![
        (1u32..400).prop_map(|until| Act::Take(Some(until))),
        Just(Act::Take(None)),
        Just(Act::GiveBack),
        (1u32..400).prop_map(Act::Snooze),
        Just(Act::Suppress),
        Just(Act::Release),
        Just(Act::Worsen),
        Just(Act::Restart),
    ];
    proptest::collection::vec((0u32..400, act), 0..10).prop_map(|mut acts| {
        acts.sort_by_key(|(minute, _)| *minute);
        acts
    })
}

proptest! {
    #[test]
    fn a_timer_misses_nothing_and_agrees_with_a_naive_model(
        acts in acts(),
        remind in proptest::option::of(1u32..90),
        steps in proptest::collection::vec(0u64..400, 0..4),
    ) {
        let spans = minutes(&steps);
        let remind_every = remind.map(|every| MINUTE * every);
        let agenda = Agenda { remind_every, escalate_after: &spans };
        prop_assert_eq!(play(&agenda, &acts, 500), naive(remind, &steps, &acts, 500));
    }
}
