//! When badness becomes an incident, and when it is over: a pure state machine.
//!
//! [`step`] takes one verdict and says what changed. It knows neither a clock nor a store nor a
//! channel; whoever drives it carries out the changes.
//!
//! ```text
//!             confirm_after bad and `for` is over          recover_after good
//!   no incident ───────────────────────────▶ open ───────────────────────▶ resolved
//!        │                                   │  ▲
//!        │         confirm_after times down  ▼  │  recover_after times degraded or better
//!        │                           degraded ⇄ down
//!        │                                   ▲
//!        │ unknown for unknown_after         │  confirmed as at an opening
//!        └────────────────────────────▶ unknown ──────────────────────────▶ resolved
//! ```
//!
//! A check that goes to and fro is flapping: its one incident stays open until that ends, and an
//! incident opens for it if none was.

mod agenda;
mod flapping;
mod people;

pub use agenda::{Agenda, Due, done, due, next, open_for_at_start};
pub use people::{acknowledge, expire_acknowledgement, snooze, unacknowledge};

use crate::model::{CheckState, Incident, Labels, Name, Severity, Status};
use crate::model::{Timestamp, Verdict, WELL_AGAIN};
use flapping::Turn;
use std::sync::Arc;
use std::time::Duration;

/// What a check asks of its incidents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The name of the check.
    pub check: Name,
    /// Its kind.
    pub kind: String,
    /// Bad verdicts in a row before an incident opens, at least 1.
    pub confirm_after: u32,
    /// Good verdicts in a row before it resolves, at least 1.
    pub recover_after: u32,
    /// How long badness must last before it opens.
    pub lasting: Duration,
    /// How long unknown verdicts in a row must last before an incident opens; never if absent.
    pub unknown_after: Option<Duration>,
    /// Whether going to and fro is looked for.
    pub flapping: bool,
    /// The severity of an incident that is down.
    pub severity: Severity,
    /// Copied into the incident.
    pub labels: Arc<Labels>,
    /// Copied into the incident.
    pub runbook: Option<String>,
}

/// One verdict, as an event.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// The verdict.
    pub verdict: &'a Verdict,
    /// When the run started.
    pub at: Timestamp,
    /// Time since the run before started, by the monotonic clock.
    pub elapsed: Duration,
}

/// What a verdict changed for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An incident opened.
    Opened(Incident),
    /// From degraded to down, or from unknown to either.
    Worsened(Incident),
    /// From down to degraded. It stands on the timeline; nobody is woken for it.
    Improved(Incident),
    /// The check goes to and fro from now on. The incident opened just now if none was open: then
    /// it is [`Incident::opened_at`] this very run.
    Flapping(Incident),
    /// The check goes to and fro no longer, but it is not well.
    FlappingEnded(Incident),
    /// The incident is over. It is no longer part of the state.
    Resolved(Incident),
}

impl Change {
    /// The incident as it is after the change.
    pub fn incident(&self) -> &Incident {
        match self {
            Self::Opened(incident)
            | Self::Worsened(incident)
            | Self::Improved(incident)
            | Self::Flapping(incident)
            | Self::FlappingEnded(incident)
            | Self::Resolved(incident) => incident,
        }
    }
}

/// Takes one verdict into `state`, and says what it changed.
///
/// `new_id` makes the id of an incident, should one open.
pub fn step(
    policy: &Policy,
    state: &mut CheckState,
    event: Judged<'_>,
    new_id: impl FnOnce() -> String,
) -> Option<Change> {
    let Judged { verdict, at, .. } = event;
    if state.status != verdict.status || state.last_run.is_none() {
        state.since = at;
    }
    let known = flapping::latest_known(state);
    let reasons = std::mem::replace(&mut state.reasons, verdict.reasons.clone());
    let reasons = if state.status.is_bad() { reasons } else { Vec::new() };
    let before = Before { known, bad_since: state.bad_since, reasons };
    state.status = verdict.status;
    state.last_run = Some(at);
    count(state, policy, &event);
    if let Some(incident) = &mut state.incident {
        let unknown = incident.status == Status::Unknown && verdict.status == Status::Unknown;
        if unknown || verdict.status.is_bad() {
            incident.reasons.clone_from(&verdict.reasons);
        }
    }

    match flapping::take(policy, state, before.known, verdict.status) {
        Some(Turn::Started(how)) => start_flapping(policy, state, before, at, &how, new_id),
        Some(Turn::Ended(how)) => end_flapping(policy, state, at, &how),
        None if state.incident.is_none() => open(policy, state, at, new_id),
        None if is_well(policy, state) && !state.flapping => resolve(state, at),
        None => shift_level(policy, state, at),
    }
}

/// Takes a policy into `state` that has changed, and says what that changed: nobody is left
/// flapping where that is no longer looked for. The next [`step`] would do the same.
pub fn adopt(policy: &Policy, state: &mut CheckState, at: Timestamp) -> Option<Change> {
    if policy.flapping {
        return None;
    }
    match flapping::stop(state)? {
        Turn::Ended(how) => end_flapping(policy, state, at, &how),
        Turn::Started(_) => None,
    }
}

/// Ends the open incident without a good verdict, since the check is no longer there.
pub fn withdraw(state: &mut CheckState, at: Timestamp, why: &str) -> Option<Change> {
    flapping::stop(state);
    let mut incident = state.incident.take()?;
    incident.resolved_at = Some(at);
    incident.note(at, "resolved", why.to_owned());
    Some(Change::Resolved(*incident))
}

/// Whether the check should run again soon, since its badness is not decided yet.
pub fn is_undecided(state: &CheckState) -> bool {
    match &state.incident {
        None => state.status.is_bad(),
        Some(incident) => match incident.status {
            Status::Unknown => state.status.is_bad(),
            Status::Degraded => state.status == Status::Down,
            Status::Down | Status::Up => false,
        },
    }
}

/// What a step still needs of the state that it found.
struct Before {
    /// The latest verdict that was not unknown.
    known: Option<Status>,
    /// When the latest row of bad verdicts began, if it went on.
    bad_since: Option<Timestamp>,
    /// Why the latest verdict was bad, if it was.
    reasons: Vec<String>,
}

/// Keeps the rows of equal verdicts. Unknown neither adds to a row of known ones nor ends it.
///
/// Counts stop where they no longer matter, so that the state of a steady check stays equal.
fn count(state: &mut CheckState, policy: &Policy, event: &Judged<'_>) {
    let longer = |streak: u32, limit: u32| streak.saturating_add(1).min(limit);
    if event.verdict.status == Status::Unknown {
        if state.unknown_since.is_some() {
            let limit = policy.unknown_after.unwrap_or_default();
            state.unknown_for = state.unknown_for.saturating_add(event.elapsed).min(limit);
        } else {
            state.unknown_since = Some(event.at);
        }
    } else {
        state.unknown_since = None;
        state.unknown_for = Duration::ZERO;
    }
    match event.verdict.status {
        Status::Unknown => {}
        Status::Up => {
            state.bad_streak = 0;
            state.bad_since = None;
            state.bad_for = Duration::ZERO;
            state.down_streak = 0;
            state.good_streak = longer(state.good_streak, policy.recover_after);
            state.better_streak = longer(state.better_streak, policy.recover_after);
        }
        Status::Degraded | Status::Down => {
            match state.bad_since {
                None => state.bad_since = Some(event.at),
                Some(_) => {
                    state.bad_for = state.bad_for.saturating_add(event.elapsed).min(policy.lasting);
                }
            }
            state.good_streak = 0;
            state.bad_streak = longer(state.bad_streak, policy.confirm_after);
            if event.verdict.status == Status::Down {
                state.down_streak = longer(state.down_streak, policy.confirm_after);
                state.better_streak = 0;
            } else {
                state.down_streak = 0;
                state.better_streak = longer(state.better_streak, policy.recover_after);
            }
        }
    }
}

/// Whether bad verdicts have come for long enough, and the latest is one of them.
fn is_confirmed(policy: &Policy, state: &CheckState) -> bool {
    state.status.is_bad()
        && state.bad_streak >= policy.confirm_after
        && state.bad_for >= policy.lasting
}

/// Whether good verdicts have come for long enough, and the latest is one of them.
fn is_well(policy: &Policy, state: &CheckState) -> bool {
    state.status == Status::Up && state.good_streak >= policy.recover_after
}

fn open(
    policy: &Policy,
    state: &mut CheckState,
    at: Timestamp,
    new_id: impl FnOnce() -> String,
) -> Option<Change> {
    let lost = state.status == Status::Unknown
        && policy.unknown_after.is_some_and(|after| state.unknown_for >= after);
    let began_at = if lost {
        // Only what comes from now on says that it is well.
        state.good_streak = 0;
        state.unknown_since
    } else if is_confirmed(policy, state) {
        state.bad_since
    } else {
        return None;
    };
    let began_at = began_at.unwrap_or(at);
    let incident = fresh(policy, new_id(), state.status, state.reasons.clone(), began_at, at);
    state.incident = Some(Box::new(incident.clone()));
    Some(Change::Opened(incident))
}

fn fresh(
    policy: &Policy,
    id: String,
    status: Status,
    reasons: Vec<String>,
    began_at: Timestamp,
    at: Timestamp,
) -> Incident {
    let mut incident = Incident {
        severity: policy.severity.of(status),
        began_at,
        labels: Labels::clone(&policy.labels),
        runbook: policy.runbook.clone(),
        ..Incident::new(id, policy.check.clone(), &policy.kind, status, at)
    };
    if began_at < at {
        let word = if status == Status::Unknown { "unknown" } else { "bad" };
        incident.note(began_at, "failing", format!("the first {word} verdict"));
    }
    incident.note(at, "opened", format!("{status}: {}", reasons.join("; ")));
    incident.reasons = reasons;
    incident
}

fn resolve(state: &mut CheckState, at: Timestamp) -> Option<Change> {
    let mut incident = state.incident.take()?;
    incident.resolved_at = Some(at);
    incident.note(at, "resolved", WELL_AGAIN.to_owned());
    Some(Change::Resolved(*incident))
}

/// Lets the open incident become worse or better, if the verdicts of late say so.
fn shift_level(policy: &Policy, state: &mut CheckState, at: Timestamp) -> Option<Change> {
    let confirmed = is_confirmed(policy, state);
    let incident = state.incident.as_deref_mut()?;
    let worse = match incident.status {
        Status::Unknown => confirmed,
        Status::Degraded => {
            state.status == Status::Down && state.down_streak >= policy.confirm_after
        }
        Status::Down | Status::Up => false,
    };
    let better = incident.status == Status::Down
        && state.status == Status::Degraded
        && state.better_streak >= policy.recover_after;
    if worse {
        worsen(policy, incident, state.status, &state.reasons, at);
        Some(Change::Worsened(incident.clone()))
    } else if better {
        set_level(policy, incident, state.status);
        incident.note(at, "improved", format!("{}: {}", state.status, state.reasons.join("; ")));
        Some(Change::Improved(incident.clone()))
    } else {
        None
    }
}

fn worsen(
    policy: &Policy,
    incident: &mut Incident,
    status: Status,
    reasons: &[String],
    at: Timestamp,
) {
    set_level(policy, incident, status);
    incident.note(at, "worsened", format!("{status}: {}", reasons.join("; ")));
    people::disregard(incident, at);
}

fn set_level(policy: &Policy, incident: &mut Incident, status: Status) {
    incident.status = status;
    incident.severity = policy.severity.of(status);
}

/// Makes sure that an incident is open for a check that goes to and fro from now on.
fn start_flapping(
    policy: &Policy,
    state: &mut CheckState,
    before: Before,
    at: Timestamp,
    how: &str,
    new_id: impl FnOnce() -> String,
) -> Option<Change> {
    shift_level(policy, state, at);
    // It takes a change to start, so that one of the latest two known verdicts is bad.
    let (status, reasons) = if state.status.is_bad() {
        (state.status, state.reasons.clone())
    } else {
        (before.known.filter(|known| known.is_bad()).unwrap_or(Status::Degraded), before.reasons)
    };
    let incident = match &mut state.incident {
        Some(incident) => {
            if incident.status == Status::Unknown {
                worsen(policy, incident, status, &reasons, at);
            }
            incident
        }
        none => {
            let began_at = state.bad_since.or(before.bad_since).unwrap_or(at);
            none.insert(Box::new(fresh(policy, new_id(), status, reasons, began_at, at)))
        }
    };
    incident.reasons.insert(0, format!("it goes to and fro: {how}"));
    incident.note(at, "flapping", how);
    Some(Change::Flapping(Incident::clone(incident)))
}

fn end_flapping(
    policy: &Policy,
    state: &mut CheckState,
    at: Timestamp,
    how: &str,
) -> Option<Change> {
    state.incident.as_mut()?.note(at, "flapping_ended", how);
    if is_well(policy, state) {
        return resolve(state, at);
    }
    shift_level(policy, state, at);
    state.incident.as_deref().cloned().map(Change::FlappingEnded)
}

#[cfg(test)]
mod tests;
