use super::{Change, Judged, Policy, is_undecided, step, withdraw};
use crate::model::{CheckState, Labels, Severity, Status, Timestamp, Verdict};
use proptest::prelude::*;
use std::time::Duration;

fn policy(confirm_after: u32, recover_after: u32, lasting_secs: u64) -> Policy {
    Policy {
        check: "shop".into(),
        kind: "http".to_owned(),
        confirm_after,
        recover_after,
        lasting: Duration::from_secs(lasting_secs),
        severity: Severity::Critical,
        labels: Labels::new(),
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

/// Plays verdicts, one letter each and ten seconds apart: `u`p, de`g`raded, `d`own, `?` unknown.
/// Gives a letter for what each one changed: `O`pened, `W`orsened, `I`mproved, `R`esolved or `.`.
fn play(policy: &Policy, verdicts: &str) -> String {
    let mut state = CheckState::new(Timestamp::from_millis(0));
    let mut ids = 0;
    let mut out = String::new();
    for (index, letter) in verdicts.chars().enumerate() {
        let status = status_of(letter);
        let reasons = if status == Status::Up { vec![] } else { vec!["because".to_owned()] };
        let verdict = Verdict { status, reasons };
        let at = Timestamp::from_millis(10_000 * i64::try_from(index).unwrap());
        let event = Judged { verdict: &verdict, at, elapsed: Duration::from_secs(10) };
        let change = step(policy, &mut state, event, || {
            ids += 1;
            ids.to_string()
        });
        out.push(match change {
            None => '.',
            Some(Change::Opened(_)) => 'O',
            Some(Change::Worsened(_)) => 'W',
            Some(Change::Improved(_)) => 'I',
            Some(Change::Resolved(_)) => 'R',
        });
    }
    out
}

fn check(policy: &Policy, verdicts: &str, expected: &str) {
    assert_eq!(play(policy, verdicts), expected, "{verdicts}");
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

/// The same in the most naive way: it looks at the whole past each time.
fn naive(policy: &Policy, verdicts: &str) -> String {
    let mut level: Option<Status> = None;
    let mut past: Vec<Status> = Vec::new();
    let mut out = String::new();
    for letter in verdicts.chars() {
        let now = status_of(letter);
        if now != Status::Unknown {
            past.push(now);
        }
        let row = |is: fn(Status) -> bool| {
            u32::try_from(past.iter().rev().take_while(|status| is(**status)).count()).unwrap()
        };
        let bad = row(Status::is_bad);
        let good = row(|status| status == Status::Up);
        let down = row(|status| status == Status::Down);
        let better = row(|status| status != Status::Down);
        let change = match level {
            None if now.is_bad() && bad >= policy.confirm_after => 'O',
            Some(_) if now == Status::Up && good >= policy.recover_after => 'R',
            Some(Status::Degraded) if now == Status::Down && down >= policy.confirm_after => 'W',
            Some(Status::Down) if now == Status::Degraded && better >= policy.recover_after => 'I',
            _ => '.',
        };
        match change {
            'O' | 'W' | 'I' => level = Some(now),
            'R' => level = None,
            _ => {}
        }
        out.push(change);
    }
    out
}

proptest! {
    #[test]
    fn it_agrees_with_a_naive_model(
        verdicts in "[ugd?]{0,60}",
        confirm_after in 1u32..5,
        recover_after in 1u32..5,
    ) {
        let policy = policy(confirm_after, recover_after, 0);
        prop_assert_eq!(play(&policy, &verdicts), naive(&policy, &verdicts));
    }

    #[test]
    fn a_restart_at_any_step_changes_nothing(
        verdicts in "[ugd?]{1,40}",
        cut in 0usize..40,
    ) {
        let policy = policy(2, 2, 15);
        let mut kept = CheckState::new(Timestamp::from_millis(0));
        let mut restarted = kept.clone();
        for (index, letter) in verdicts.chars().enumerate() {
            if index == cut {
                let saved = serde_json::to_string(&restarted).unwrap();
                restarted = serde_json::from_str(&saved).unwrap();
            }
            let verdict = Verdict { status: status_of(letter), reasons: vec![] };
            let at = Timestamp::from_millis(10_000 * i64::try_from(index).unwrap());
            let event = Judged { verdict: &verdict, at, elapsed: Duration::from_secs(10) };
            let one = step(&policy, &mut kept, event, || "id".to_owned());
            let other = step(&policy, &mut restarted, event, || "id".to_owned());
            prop_assert_eq!(one, other);
        }
        prop_assert_eq!(kept, restarted);
    }
}
