//! When somebody is to be reminded of an open incident, and when others are to hear of it.
//!
//! All that was done stands in the incident, so that a restart changes nothing. Spans count from
//! the opening by the monotonic clock; only what a person named as a time is compared with the
//! wall clock.

use crate::model::{Incident, Timestamp};
use std::time::Duration;

/// The gap between two reminders grows up to this, or to `remind_every` if that is longer.
const LONGEST_GAP: Duration = Duration::from_secs(24 * 60 * 60);

/// What the route of an incident asks for while it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agenda<'a> {
    /// The time from the opening to the first reminder; each gap after it is twice as long as the
    /// one before, up to a day.
    pub remind_every: Option<Duration>,
    /// How long after the opening each step of the escalation is due, in any order.
    pub escalate_after: &'a [Duration],
}

/// What is due now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// The steps after [`Incident::escalated`] (exclusive) up to this (inclusive) are due.
    pub escalate: Option<Duration>,
    /// One reminder is due, however many were missed.
    pub remind: bool,
}

impl Due {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        !self.remind && self.escalate.is_none()
    }
}

/// What is due for `incident`, which has been open for `open_for`.
///
/// Nothing is while somebody has it or it is snoozed. A suppressed incident gets no reminder.
pub fn due(incident: &Incident, agenda: &Agenda<'_>, open_for: Duration, now: Timestamp) -> Due {
    if incident.resolved_at.is_some() || is_taken(incident, now) || is_snoozed(incident, now) {
        return Due::default();
    }
    Due {
        escalate: steps(incident, agenda).filter(|step| *step <= open_for).max(),
        remind: reminder_at(incident, agenda).is_some_and(|at| at <= open_for),
    }
}

/// How long until something may be due, or an acknowledgement or a snooze ends; none if only an
/// event can change anything. What is due already gives zero: book it with [`done`] first.
pub fn next(
    incident: &Incident,
    agenda: &Agenda<'_>,
    open_for: Duration,
    now: Timestamp,
) -> Option<Duration> {
    if incident.resolved_at.is_some() {
        return None;
    }
    let until = |at: Timestamp| at.since(now);
    if is_taken(incident, now) {
        // The end of a snooze changes nothing as long as somebody has it.
        return incident.acknowledged.as_ref()?.until.map(until);
    }
    if is_snoozed(incident, now) {
        return incident.snoozed_until.map(until);
    }
    steps(incident, agenda)
        .chain(reminder_at(incident, agenda))
        .map(|at| at.saturating_sub(open_for))
        .min()
}

/// Books `due`, so that it is not due again.
pub fn done(incident: &mut Incident, due: &Due, open_for: Duration, now: Timestamp) {
    if due.remind {
        incident.reminders = incident.reminders.saturating_add(1);
        incident.reminded = Some(open_for);
        incident.snoozed_until = None;
    }
    if let Some(step) = due.escalate {
        incident.escalated = Some(step);
        let after = humantime::format_duration(step);
        incident.note(now, "escalated", format!("open for {after}, and nobody has taken it on"));
    }
}

/// How long `incident` has been open, for a daemon that starts at `now`: by the wall clock, but at
/// least as long as was booked, so that a clock that was set back silences nothing.
pub fn open_for_at_start(incident: &Incident, now: Timestamp) -> Duration {
    let booked = incident.reminded.max(incident.escalated).unwrap_or_default();
    now.since(incident.opened_at).max(booked)
}

fn is_taken(incident: &Incident, now: Timestamp) -> bool {
    let taken = incident.acknowledged.as_ref();
    taken.is_some_and(|taken| taken.until.is_none_or(|until| now < until))
}

fn is_snoozed(incident: &Incident, now: Timestamp) -> bool {
    incident.snoozed_until.is_some_and(|until| now < until)
}

/// How long after the opening the next reminder is due, once the incident is neither taken nor
/// snoozed; none while it is suppressed.
fn reminder_at(incident: &Incident, agenda: &Agenda<'_>) -> Option<Duration> {
    if incident.suppressed_by.is_some() {
        return None;
    }
    if incident.snoozed_until.is_some() {
        return Some(Duration::ZERO);
    }
    let first = agenda.remind_every.filter(|every| !every.is_zero())?;
    let times = 1_u32.checked_shl(incident.reminders).unwrap_or(u32::MAX);
    let gap = first.saturating_mul(times).min(first.max(LONGEST_GAP));
    Some(incident.reminded.unwrap_or_default().saturating_add(gap))
}

/// The steps of the escalation that are not done.
fn steps(incident: &Incident, agenda: &Agenda<'_>) -> impl Iterator<Item = Duration> {
    let done = incident.escalated;
    agenda.escalate_after.iter().copied().filter(move |step| done.is_none_or(|done| *step > done))
}

#[cfg(test)]
mod tests;
