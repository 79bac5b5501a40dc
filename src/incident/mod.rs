//! When badness becomes an incident, and when it is over: a pure state machine.
//!
//! [`step`] takes one verdict and says what changed. It knows neither a clock nor a store nor a
//! channel; whoever drives it carries out the changes.
//!
//! ```text
//!             confirm_after bad and `for` is over          recover_after good
//!   no incident ───────────────────────────▶ open ───────────────────────▶ resolved
//!                                            │  ▲
//!                  confirm_after times down  ▼  │  recover_after times degraded or better
//!                                    degraded ⇄ down
//! ```

use crate::model::{CheckState, Incident, Labels, Name, Severity, Status};
use crate::model::{Timestamp, Verdict, WELL_AGAIN};
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
    /// The severity of an incident that is down.
    pub severity: Severity,
    /// Copied into the incident.
    pub labels: Labels,
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
    /// From degraded to down.
    Worsened(Incident),
    /// From down to degraded. It stands on the timeline; nobody is woken for it.
    Improved(Incident),
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
    state.status = verdict.status;
    state.reasons.clone_from(&verdict.reasons);
    state.last_run = Some(at);
    count(state, policy, &event);

    match &mut state.incident {
        None => open(policy, state, at, new_id),
        Some(incident) => {
            if verdict.status.is_bad() {
                incident.reasons.clone_from(&verdict.reasons);
            }
            if verdict.status == Status::Up && state.good_streak >= policy.recover_after {
                resolve(state, at)
            } else {
                change_level(policy, state, at)
            }
        }
    }
}

/// Ends the open incident without a good verdict, since the check is no longer there.
pub fn withdraw(state: &mut CheckState, at: Timestamp, why: &str) -> Option<Change> {
    let mut incident = state.incident.take()?;
    incident.resolved_at = Some(at);
    incident.note(at, "resolved", why.to_owned());
    Some(Change::Resolved(incident))
}

/// Whether the check should run again soon, since its badness is not decided yet.
pub fn is_undecided(state: &CheckState) -> bool {
    match &state.incident {
        None => state.status.is_bad(),
        Some(incident) => incident.status == Status::Degraded && state.status == Status::Down,
    }
}

/// Keeps the rows of equal verdicts. Unknown neither adds to one nor ends it.
///
/// Counts stop where they no longer matter, so that the state of a steady check stays equal.
fn count(state: &mut CheckState, policy: &Policy, event: &Judged<'_>) {
    let longer = |streak: u32, limit: u32| streak.saturating_add(1).min(limit);
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

fn open(
    policy: &Policy,
    state: &mut CheckState,
    at: Timestamp,
    new_id: impl FnOnce() -> String,
) -> Option<Change> {
    let confirmed = state.status.is_bad()
        && state.bad_streak >= policy.confirm_after
        && state.bad_for >= policy.lasting;
    if !confirmed {
        return None;
    }
    let began_at = state.bad_since.unwrap_or(at);
    let mut incident = Incident {
        severity: policy.severity.of(state.status),
        began_at,
        reasons: state.reasons.clone(),
        labels: policy.labels.clone(),
        runbook: policy.runbook.clone(),
        ..Incident::new(new_id(), policy.check.clone(), &policy.kind, state.status, at)
    };
    if began_at < at {
        incident.note(began_at, "failing", "the first bad verdict".to_owned());
    }
    let detail = format!("{}: {}", state.status, state.reasons.join("; "));
    incident.note(at, "opened", detail);
    state.incident = Some(incident.clone());
    Some(Change::Opened(incident))
}

fn resolve(state: &mut CheckState, at: Timestamp) -> Option<Change> {
    let mut incident = state.incident.take()?;
    incident.resolved_at = Some(at);
    incident.note(at, "resolved", WELL_AGAIN.to_owned());
    Some(Change::Resolved(incident))
}

fn change_level(policy: &Policy, state: &mut CheckState, at: Timestamp) -> Option<Change> {
    let incident = state.incident.as_mut()?;
    let worse = incident.status == Status::Degraded
        && state.status == Status::Down
        && state.down_streak >= policy.confirm_after;
    let better = incident.status == Status::Down
        && state.status == Status::Degraded
        && state.better_streak >= policy.recover_after;
    if !worse && !better {
        return None;
    }
    incident.status = state.status;
    incident.severity = policy.severity.of(state.status);
    let detail = format!("{}: {}", state.status, state.reasons.join("; "));
    incident.note(at, if worse { "worsened" } else { "improved" }, detail);
    let incident = incident.clone();
    Some(if worse { Change::Worsened(incident) } else { Change::Improved(incident) })
}

#[cfg(test)]
mod tests;
