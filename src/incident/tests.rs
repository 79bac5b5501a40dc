use super::{Change, Judged, Policy, acknowledge, adopt, is_undecided, snooze, step, withdraw};
use crate::model::{Acknowledgement, CheckState, Incident, Severity, Status, Timestamp, Verdict};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

fn policy(confirm_after: u32, recover_after: u32, lasting_secs: u64) -> Policy {
    Policy {
        check: "shop".into(),
        kind: "http".to_owned(),
        confirm_after,
        recover_after,
        lasting: Duration::from_secs(lasting_secs),
        unknown_after: None,
        flapping: false,
        severity: Severity::Critical,
        labels: Arc::default(),
        runbook: None,
    }
}

fn status_of(letter: char) -> Status {
    match letter {
        'u' => Status::Up,
        'g' => Status::Degraded,
        'd' => Status::Down,
        _ => Status::Unknown,
    }
}

/// Takes in one verdict, so many times ten seconds after the start.
fn one(policy: &Policy, state: &mut CheckState, index: usize, status: Status) -> Option<Change> {
    let reasons = if status == Status::Up { vec![] } else { vec![format!("it is {status}")] };
    let verdict = Verdict { status, reasons };
    let at = Timestamp::from_millis(10_000 * i64::try_from(index).unwrap());
    let event = Judged { verdict: &verdict, at, elapsed: Duration::from_secs(10) };
    step(policy, state, event, || index.to_string())
}

fn letter_of(change: Option<&Change>) -> char {
    match change {
        None => '.',
        Some(Change::Opened(_)) => 'O',
        Some(Change::Worsened(_)) => 'W',
        Some(Change::Improved(_)) => 'I',
        Some(Change::Flapping(_)) => 'F',
        Some(Change::FlappingEnded(_)) => 'E',
        Some(Change::Resolved(_)) => 'R',
    }
}

/// What each verdict changed, and the confirmed status after it.
type Played = Vec<(char, Option<Status>)>;

/// Plays verdicts, one letter each and ten seconds apart: `u`p, de`g`raded, `d`own, `?` unknown.
/// Gives a letter for what each one changed: `O`pened, `W`orsened, `I`mproved, `F`lapping,
/// flapping `E`nded, `R`esolved or `.`.
fn play(policy: &Policy, verdicts: &str) -> Played {
    let mut state = CheckState::new(Timestamp::from_millis(0));
    let play = verdicts.chars().enumerate().map(|(index, letter)| {
        let change = one(policy, &mut state, index, status_of(letter));
        let level = state.incident.as_ref().map(|incident| incident.status);
        (letter_of(change.as_ref()), level)
    });
    play.collect()
}

/// The state after these verdicts.
fn after(policy: &Policy, verdicts: &str) -> CheckState {
    let mut state = CheckState::new(Timestamp::from_millis(0));
    for (index, letter) in verdicts.chars().enumerate() {
        one(policy, &mut state, index, status_of(letter));
    }
    state
}

fn incident_after(policy: &Policy, verdicts: &str) -> Incident {
    *after(policy, verdicts).incident.expect("it is open")
}

fn story(incident: &Incident) -> Vec<(&str, &str)> {
    incident.timeline.iter().map(|entry| (&*entry.what, &*entry.detail)).collect()
}

fn check(policy: &Policy, verdicts: &str, expected: &str) {
    let changes: String = play(policy, verdicts).iter().map(|(letter, _)| *letter).collect();
    assert_eq!(changes, expected, "{verdicts}");
}

#[test]
fn an_incident_opens_after_so_many_bad_verdicts_in_a_row() {
    check(&policy(3, 2, 0), "udduddd", "......O");
    check(&policy(1, 1, 0), "d", "O");
    check(&policy(3, 2, 0), "gdg", "..O");
}

#[test]
fn an_incident_resolves_after_so_many_good_verdicts_in_a_row() {
    check(&policy(1, 2, 0), "duduu", "O...R");
    check(&policy(1, 1, 0), "dudu", "OROR");
}

#[test]
fn unknown_neither_confirms_nor_resolves() {
    check(&policy(2, 2, 0), "d?d?u?u", "..O...R");
    check(&policy(1, 1, 0), "????", "....");
}

#[test]
fn a_processor_above_80_percent_for_10_minutes_opens_after_ten_minutes_and_not_before() {
    // `degraded_if = ["cpu_percent > 80.0"]` with `for = "10m"`.
    let busy = policy(1, 1, 600);
    check(&busy, &"g".repeat(61), &format!("{}O", ".".repeat(60)));
    // One run of rest, and the ten minutes begin anew.
    let rested = format!("{}u{}", "g".repeat(60), "g".repeat(61));
    check(&busy, &rested, &format!("{}O", ".".repeat(121)));
}

#[test]
fn worsening_and_improving_need_as_many_verdicts() {
    check(&policy(2, 2, 0), "ggddgg", ".O.W.I");
    check(&policy(2, 2, 0), "ggdgd", ".O...");
}

#[test]
fn badness_must_last_before_it_counts() {
    check(&policy(1, 1, 20), "ddd", "..O");
    check(&policy(1, 1, 20), "ddudd", ".....");
    check(&policy(4, 1, 20), "dddd", "...O");
}

#[test]
fn a_clock_step_does_not_make_badness_last_longer() {
    let policy = policy(1, 1, 3600);
    let mut state = CheckState::new(Timestamp::from_millis(0));
    let verdict = Verdict::down("refused");
    for at in [0, 86_400_000] {
        let at = Timestamp::from_millis(at);
        let event = Judged { verdict: &verdict, at, elapsed: Duration::from_secs(10) };
        assert_eq!(step(&policy, &mut state, event, String::new), None);
    }
}

#[test]
fn a_bad_check_is_undecided_until_it_is_confirmed() {
    let policy = policy(2, 1, 0);
    let mut state = CheckState::new(Timestamp::from_millis(0));
    let verdict = Verdict::down("refused");
    let event =
        Judged { verdict: &verdict, at: Timestamp::from_millis(0), elapsed: Duration::ZERO };
    step(&policy, &mut state, event, String::new);
    assert!(is_undecided(&state));
    step(&policy, &mut state, event, String::new);
    assert!(!is_undecided(&state));
}

#[test]
fn a_withdrawn_incident_says_why() {
    let policy = policy(1, 1, 0);
    let mut state = CheckState::new(Timestamp::from_millis(0));
    let verdict = Verdict::down("refused");
    let event =
        Judged { verdict: &verdict, at: Timestamp::from_millis(0), elapsed: Duration::ZERO };
    step(&policy, &mut state, event, String::new);
    let change = withdraw(&mut state, Timestamp::from_millis(5), "the check was removed");
    let incident = change.as_ref().map(Change::incident).expect("it was open");
    assert_eq!(incident.timeline.last().map(|entry| &*entry.detail), Some("the check was removed"));
    assert_eq!(state.incident, None);
}

/// A policy under which unknown verdicts are told after 20 seconds.
fn asking(confirm_after: u32, recover_after: u32) -> Policy {
    let unknown_after = Some(Duration::from_secs(20));
    Policy { unknown_after, ..policy(confirm_after, recover_after, 0) }
}

/// A policy under which going to and fro is looked for.
fn flapping(confirm_after: u32, recover_after: u32) -> Policy {
    Policy { flapping: true, ..policy(confirm_after, recover_after, 0) }
}

#[test]
fn unknown_is_told_once_it_has_lasted() {
    check(&asking(3, 2), "u???????", "...O....");
    check(&asking(3, 2), "u??u??u", ".......");
    check(&asking(3, 2), "???uu", "..O.R");
    let never = Policy { unknown_after: None, ..asking(1, 1) };
    check(&never, "???????????", "...........");
}

#[test]
fn an_unknown_incident_matters_less_and_says_since_when() {
    let incident = incident_after(&asking(3, 2), "u???");
    assert_eq!((incident.status, incident.severity), (Status::Unknown, Severity::Warning));
    assert_eq!(incident.reasons, ["it is unknown"]);
    assert_eq!(incident.began_at, Timestamp::from_millis(10_000));
    let expected = [("failing", "the first unknown verdict"), ("opened", "unknown: it is unknown")];
    assert_eq!(story(&incident), expected);
    let info = Policy { severity: Severity::Info, ..asking(3, 2) };
    assert_eq!(incident_after(&info, "u???").severity, Severity::Info);
}

#[test]
fn good_verdicts_of_before_do_not_resolve_an_unknown_incident() {
    check(&asking(1, 2), "uuuu???uu", "......O.R");
    check(&asking(1, 2), "???u?u", "..O..R");
}

#[test]
fn confirmed_badness_worsens_an_unknown_incident() {
    check(&asking(2, 1), "???ggdd", "..O.W.W");
    check(&asking(2, 1), "???dd", "..O.W");
    check(&asking(2, 1), "???dudd", "..O.R.O");
    let lasting = Policy { lasting: Duration::from_secs(20), ..asking(1, 1) };
    check(&lasting, "???ddd", "..O..W");
    assert!(is_undecided(&after(&asking(2, 1), "???d")));
    assert!(!is_undecided(&after(&asking(2, 1), "???dd")));
}

#[test]
fn an_open_incident_is_not_changed_by_unknown_verdicts() {
    check(&asking(1, 1), "d??????????", "O..........");
    assert_eq!(incident_after(&asking(1, 1), "d????").reasons, ["it is down"]);
}

#[test]
fn a_clock_step_does_not_make_unknown_last_longer() {
    let mut state = CheckState::new(Timestamp::from_millis(0));
    let verdict = Verdict { status: Status::Unknown, reasons: vec![] };
    for at in [0, 86_400_000] {
        let at = Timestamp::from_millis(at);
        let event = Judged { verdict: &verdict, at, elapsed: Duration::from_secs(10) };
        assert_eq!(step(&asking(1, 1), &mut state, event, String::new), None);
    }
}

#[test]
fn going_to_and_fro_is_one_incident_not_many() {
    check(&flapping(1, 1), "udududududududud", ".OROROF.........");
    check(&flapping(3, 2), "udududududududud", "......F.........");
    check(&policy(1, 1, 0), "udududududud", ".ORORORORORO");
}

#[test]
fn five_changes_are_not_flapping() {
    check(&flapping(3, 2), "ududud", "......");
    check(&flapping(3, 2), "uduuduuuuudd", "............");
}

#[test]
fn unknown_results_are_no_change() {
    check(&flapping(3, 2), "u?u?u?u?u?u?u?u?u?", "..................");
    check(&flapping(3, 2), "u?d?u?d?u?d?u", "............F");
}

#[test]
fn an_incident_that_flapping_opens_has_the_latest_bad_status() {
    let incident = incident_after(&flapping(5, 2), "ududugu");
    assert_eq!((incident.status, incident.severity), (Status::Degraded, Severity::Warning));
    let how = "36 % of the last 21 results changed";
    assert_eq!(incident.reasons, [format!("it goes to and fro: {how}"), "it is degraded".into()]);
    assert_eq!(incident.began_at, Timestamp::from_millis(50_000));
    let expected = [
        ("failing", "the first bad verdict"),
        ("opened", "degraded: it is degraded"),
        ("flapping", how),
    ];
    assert_eq!(story(&incident), expected);
    assert_eq!(incident_after(&flapping(5, 2), "ugugugd").status, Status::Down);
}

#[test]
fn a_check_that_is_well_when_flapping_ends_is_resolved() {
    let steady = "u".repeat(20);
    let expected = format!("......F{}R{}", ".".repeat(13), ".".repeat(6));
    check(&flapping(3, 2), &format!("udududu{steady}"), &expected);
}

#[test]
fn a_check_that_is_bad_when_flapping_ends_stays_open() {
    let (bad, quiet) = ("d".repeat(15), ".".repeat(14));
    check(&flapping(4, 2), &format!("udududu{bad}uu"), &format!("......F{quiet}E.R"));
}

#[test]
fn flapping_that_is_turned_off_ends() {
    let on = flapping(1, 2);
    let off = Policy { flapping: false, ..on.clone() };
    let mut state = after(&on, "udududu");
    assert!(state.flapping);
    let mut stepped = state.clone();
    let change = adopt(&off, &mut state, Timestamp::from_millis(70_000));
    assert_eq!(letter_of(change.as_ref()), 'E');
    assert!(!state.flapping && state.incident.is_some());
    assert_eq!(adopt(&off, &mut state, Timestamp::from_millis(70_000)), None);
    assert_eq!(letter_of(one(&off, &mut stepped, 7, Status::Unknown).as_ref()), 'E');
    assert_eq!(letter_of(one(&off, &mut stepped, 8, Status::Up).as_ref()), 'R');
}

#[test]
fn worsening_clears_what_was_said_about_less() {
    let policy = policy(1, 1, 0);
    let mut state = after(&policy, "g");
    let incident = state.incident.as_mut().expect("it is open");
    acknowledge(incident, taken());
    snooze(incident, "bob", Timestamp::from_millis(1_000_000), Timestamp::from_millis(2));
    one(&policy, &mut state, 1, Status::Down);
    let incident = state.incident.expect("it is open");
    assert_eq!((&incident.acknowledged, incident.snoozed_until), (&None, None));
    let expected = [
        ("worsened", "down: it is down"),
        ("unacknowledged", "it is worse than alice knew"),
        ("snooze_ended", "it is worse than before"),
    ];
    assert_eq!(story(&incident)[3..], expected);
}

#[test]
fn a_resolved_incident_tells_who_had_it() {
    let policy = policy(1, 1, 0);
    let mut state = after(&policy, "d");
    acknowledge(state.incident.as_mut().expect("it is open"), taken());
    let change = one(&policy, &mut state, 1, Status::Up);
    assert_eq!(change.map(|change| change.incident().acknowledged.clone()), Some(Some(taken())));
}

fn taken() -> Acknowledgement {
    Acknowledgement {
        by: "alice".to_owned(),
        note: None,
        at: Timestamp::from_millis(1),
        until: None,
    }
}

/// The same in the most naive way: it looks at the whole past each time.
fn naive(policy: &Policy, verdicts: &str) -> Played {
    let all: Vec<Status> = verdicts.chars().map(status_of).collect();
    let mut level = None;
    // Where the open incident began to count good verdicts.
    let mut counts_from = 0;
    let mut flaps = false;
    let mut out = Vec::new();
    for index in 0..all.len() {
        let now = all[index];
        let known: Vec<Status> = known(&all[..=index]);
        let row = |from: usize, is: fn(Status) -> bool| {
            u32::try_from(known[from..].iter().rev().take_while(|status| is(**status)).count())
                .unwrap()
        };
        let bad = row(0, Status::is_bad);
        let confirmed = now.is_bad()
            && bad >= policy.confirm_after
            && Duration::from_secs(10) * (bad - 1) >= policy.lasting;
        let well = now == Status::Up
            && row(counts_from, |status| status == Status::Up) >= policy.recover_after;
        let unknown = all[..=index].iter().rev().take_while(|status| **status == Status::Unknown);
        let unknown = u32::try_from(unknown.count()).unwrap();
        let lost = unknown > 0
            && policy
                .unknown_after
                .is_some_and(|after| Duration::from_secs(10) * (unknown - 1) >= after);
        let flapped = flaps;
        flaps = policy.flapping && naive_flapping(&all[..=index]);
        let down = row(0, |status| status == Status::Down);
        let better = row(0, |status| status != Status::Down);
        let moved = match level {
            Some(Status::Unknown) if confirmed => Some(('W', now)),
            Some(Status::Degraded) if now == Status::Down && down >= policy.confirm_after => {
                Some(('W', now))
            }
            Some(Status::Down) if now == Status::Degraded && better >= policy.recover_after => {
                Some(('I', now))
            }
            _ => None,
        };
        let moved_to = moved.map(|(_, level)| level).or(level);
        let change;
        (change, level) = if flaps && !flapped {
            let worst = known.iter().rev().copied().find(|status| status.is_bad());
            ('F', moved_to.filter(|level| *level != Status::Unknown).or(worst))
        } else if flapped && !flaps {
            if well { ('R', None) } else { ('E', moved_to) }
        } else if level.is_none() && lost {
            counts_from = known.len();
            ('O', Some(Status::Unknown))
        } else if level.is_none() && confirmed {
            ('O', Some(now))
        } else if level.is_some() && well && !flaps {
            ('R', None)
        } else {
            (moved.map_or('.', |(letter, _)| letter), moved_to)
        };
        if level.is_none() {
            counts_from = 0;
        }
        out.push((change, level));
    }
    out
}

fn known(all: &[Status]) -> Vec<Status> {
    all.iter().copied().filter(|status| *status != Status::Unknown).collect()
}

/// Whether a check with this past goes to and fro, by the published formula.
fn naive_flapping(all: &[Status]) -> bool {
    let known = known(all);
    let mut flaps = false;
    for end in 1..=known.len() {
        let latest = &known[end.saturating_sub(21)..end];
        let mut changes = 0.0;
        for (age, pair) in latest.windows(2).rev().enumerate() {
            if pair[0] != pair[1] {
                let x = f64::from(20 - u32::try_from(age).unwrap());
                changes += (x - 1.0) * (1.25 - 0.75) / 19.0 + 0.75;
            }
        }
        let percent = changes * 100.0 / 20.0;
        // Binary fractions miss the limits by a hair.
        flaps = percent > 30.0 + 1e-9 || (flaps && percent > 25.0 + 1e-9);
    }
    flaps
}

/// Verdicts of every temper: wild ones, steady ones with trouble, and a change of temper.
fn verdicts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ugd?]{0,80}",
        "(u{1,9}|d{1,5}|g{1,5}|\\?{1,6}){0,16}",
        "(u{1,25}|d{1,25}|(ud){1,6}|(gd){1,4}|\\?{1,4}|ug){0,8}",
    ]
}

fn policies() -> impl Strategy<Value = Policy> {
    let spans = (0u64..40, proptest::option::of(0u64..60));
    (1u32..5, 1u32..5, spans, proptest::bool::weighted(0.8)).prop_map(
        |(confirm_after, recover_after, (lasting, unknown), flapping)| Policy {
            unknown_after: unknown.map(Duration::from_secs),
            flapping,
            ..policy(confirm_after, recover_after, lasting)
        },
    )
}

proptest! {
    #[test]
    fn it_agrees_with_a_naive_model(verdicts in verdicts(), policy in policies()) {
        prop_assert_eq!(play(&policy, &verdicts), naive(&policy, &verdicts));
    }

    #[test]
    fn a_restart_at_any_step_changes_nothing(
        verdicts in verdicts(),
        policy in policies(),
        cut in 0usize..80,
    ) {
        let mut kept = CheckState::new(Timestamp::from_millis(0));
        let mut restarted = kept.clone();
        for (index, letter) in verdicts.chars().enumerate() {
            if index == cut {
                let saved = serde_json::to_string(&restarted).unwrap();
                restarted = serde_json::from_str(&saved).unwrap();
            }
            let status = status_of(letter);
            let change = one(&policy, &mut kept, index, status);
            prop_assert_eq!(change, one(&policy, &mut restarted, index, status));
        }
        prop_assert_eq!(kept, restarted);
    }

    #[test]
    fn changes_come_in_an_order_that_people_understand(
        verdicts in verdicts(),
        policy in policies(),
    ) {
        let mut state = CheckState::new(Timestamp::from_millis(0));
        let mut open: Option<String> = None;
        let mut told_flapping = false;
        for (index, letter) in verdicts.chars().enumerate() {
            let change = one(&policy, &mut state, index, status_of(letter));
            let id = change.as_ref().map(|change| change.incident().id.clone());
            match change {
                None => {}
                Some(Change::Opened(_)) => {
                    prop_assert_eq!(&open, &None);
                    prop_assert!(!told_flapping);
                    open = id;
                }
                Some(Change::Flapping(incident)) => {
                    prop_assert!(!told_flapping);
                    prop_assert!(open.is_none() || open == id);
                    prop_assert_eq!(open.is_none(), incident.opened_at == state.last_run.unwrap());
                    told_flapping = true;
                    open = id;
                }
                Some(Change::FlappingEnded(_)) => {
                    prop_assert!(told_flapping && open == id);
                    told_flapping = false;
                }
                Some(Change::Resolved(incident)) => {
                    prop_assert!(open == id && !state.flapping);
                    let before = incident.timeline.iter().rev().nth(1).unwrap();
                    prop_assert!(!told_flapping || before.what == "flapping_ended");
                    (open, told_flapping) = (None, false);
                }
                Some(Change::Worsened(_) | Change::Improved(_)) => {
                    prop_assert_eq!(&open, &id);
                }
            }
            prop_assert_eq!(&open, &state.incident.as_ref().map(|incident| incident.id.clone()));
            prop_assert_eq!(told_flapping, state.flapping);
            prop_assert!(!state.flapping || open.is_some());
        }
    }

    #[test]
    fn the_state_of_a_steady_check_stays_equal(
        verdicts in verdicts(),
        policy in policies(),
        letter in "[ugd?]",
    ) {
        let mut state = after(&policy, &verdicts);
        let status = status_of(letter.chars().next().unwrap());
        for index in 100..130 {
            one(&policy, &mut state, index, status);
        }
        let before = state.clone();
        prop_assert_eq!(one(&policy, &mut state, 130, status), None);
        prop_assert_eq!(CheckState { last_run: before.last_run, ..state }, before);
    }
}
