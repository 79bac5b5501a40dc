use super::escape::{clean, short};
use super::headline;
use super::letter::Letter;
use super::links::{self, ActionContext, LinkContext};
use super::past::{self, PreviousContext};
use super::words::{self, Tone};
use crate::model::{Acknowledgement, Incident, Labels, Severity, Status, TimelineEntry, Timestamp};
use crate::model::{Name, What};
use chrono_tz::Tz;
use serde::Serialize;

/// How many reasons of an incident, and how many characters of each.
const REASONS: usize = 5;
pub(super) const REASON: usize = 500;
/// How many labels of an incident, and how many characters of each name and value.
const LABELS: usize = 20;
const LABEL: usize = 120;
/// How many lines of an incident's timeline, the latest ones.
const TIMELINE: usize = 10;
/// How many of the things that were tried, the latest ones.
const TRIED: usize = 5;
/// How many of the checks that depend on it.
const DEPENDENTS: usize = 10;
/// How many characters of a name or an address.
pub(super) const NAME: usize = 200;
const ADDRESS: usize = 1_000;

/// One incident, as templates see it.
#[derive(Debug, Serialize)]
pub struct IncidentContext {
    /// Its id.
    pub id: String,
    /// The name of the check.
    pub check: String,
    /// The kind of the check, such as `http`.
    pub kind: String,
    /// `down`, `degraded` or `unknown`: what was confirmed last, also after the end.
    pub status: Status,
    /// `critical`, `warning` or `info`.
    pub severity: Severity,
    /// `DOWN`, `DEGRADED`, `UNKNOWN`, or when it is over `UP`, or `CLOSED` if it was withdrawn.
    pub state: &'static str,
    /// What a message says before the name of the check: `DOWN`, `STILL DOWN`, `ESCALATED: DOWN`,
    /// `FLAPPING`, `no longer flapping, still DOWN`, `RECOVERY STOPPED`, `UP`, …
    pub heading: String,
    /// What a message says after the name of the check, on one line: a reason, how long it has
    /// gone on, or what else the message is about.
    pub gist: String,
    /// 🔴, 🟡, 🟢 or 🔵.
    pub icon: &'static str,
    /// The colour that goes with it, such as `#d73a49`.
    pub color: String,
    /// The first reason; `no reason is known` where there is none.
    pub reason: String,
    /// The first reasons.
    pub reasons: Vec<String>,
    /// How many reasons there are beyond those.
    pub more_reasons: usize,
    /// The first reasons where `gist` does not say all there is to say; else empty.
    pub details: Vec<String>,
    /// The labels: `labels.team`. Say `labels.team|default("")` for one that not every check has.
    pub labels: Labels,
    /// What an alert that was sent in says beside its labels; empty for all others.
    pub annotations: Labels,
    /// Where to read what to do; none if the check does not say.
    pub runbook: Option<String>,
    /// Who has taken it on; none if nobody has, or no longer.
    pub acknowledged: Option<String>,
    /// What they said; none if nothing.
    pub acknowledged_note: Option<String>,
    /// No reminder and no escalation before, RFC 3339 in UTC; none if it is not snoozed by now.
    pub snoozed_until: Option<Timestamp>,
    /// The same in the daemon's time zone, for people.
    pub snoozed: Option<String>,
    /// How often people were reminded of it, or were to be.
    pub reminders: u32,
    /// How the check goes to and fro, such as `43% of the last 21 results changed`; none if it
    /// does not.
    pub flapping: Option<String>,
    /// What recovery did to get it going again, the latest of it, the oldest first; without what
    /// `gist` says already.
    pub tried: Vec<TimelineContext>,
    /// The first of the checks that depend on it, by name.
    pub dependents: Vec<String>,
    /// How many depend on it beyond those.
    pub more_dependents: usize,
    /// The same in words, such as `3 checks depend on it: a, b, c`; none where none does.
    pub impact: Option<String>,
    /// Why it is over although nobody knows that the check is well, such as `the check was
    /// removed`; none otherwise.
    pub withdrawn: Option<String>,
    /// When it was confirmed, RFC 3339 in UTC.
    pub opened_at: Timestamp,
    /// When the first of its bad verdicts came, RFC 3339 in UTC.
    pub began_at: Timestamp,
    /// When it was over, RFC 3339 in UTC; none while it is open.
    pub resolved_at: Option<Timestamp>,
    /// `opened_at` in the daemon's time zone, for people.
    pub opened: String,
    /// `began_at` in the daemon's time zone, for people.
    pub began: String,
    /// `resolved_at` in the daemon's time zone, for people; none while it is open.
    pub resolved: Option<String>,
    /// How long it lasted, or has lasted by now: `4m 10s`.
    pub duration: String,
    /// What the check saw last, such as the status and the first of the body, without what the
    /// reasons say already; none where history holds nothing of it.
    pub seen: Option<String>,
    /// The latest results as a line of signs, the oldest first: a block by how long the run took
    /// (`▃` is as long as usual), `✕` for down, `!` for degraded, `?` for unknown; none where
    /// history has less than two.
    pub sparkline: Option<String>,
    /// How the check was before; none where history does not reach back.
    pub previous: Option<PreviousContext>,
    /// The address of the incident's page; none unless `public_url` is set.
    pub incident_page: Option<String>,
    /// The address of the check's page; none unless `public_url` is set.
    pub check_page: Option<String>,
    /// Where to read on: the runbook and these pages, as far as there are any.
    pub links: Vec<LinkContext>,
    /// What a person may do about it at once, by a link that works once. Only in messages about this
    /// incident alone that say that it opened, worsened or goes on, and only with `public_url`. For
    /// email and your own templates; chats show them as buttons by themselves.
    pub actions: Vec<ActionContext>,
    /// What happened, the oldest first.
    pub timeline: Vec<TimelineContext>,
}

/// One line of an incident's story.
#[derive(Debug, Serialize)]
pub struct TimelineContext {
    /// When, RFC 3339 in UTC.
    pub at: Timestamp,
    /// When, in the daemon's time zone, for people.
    pub time: String,
    /// What: `failing`, `opened`, `worsened`, `improved`, `recovery`, `resolved`, …
    pub what: String,
    /// In words.
    pub detail: String,
}

impl IncidentContext {
    /// What the templates are given for `incident` as a part of `letter`.
    pub(super) fn of(incident: &Incident, letter: &Letter<'_>) -> Self {
        let (now, zone) = (letter.now, letter.zone);
        let among_others = letter.incidents.len() != 1;
        // A message about many speaks of states; about one it speaks of what is new.
        let what = if among_others { What::Digest } else { letter.what };
        let tone = Tone::of(what, std::slice::from_ref(incident));
        let reasons: Vec<String> = bounded_reasons(&incident.reasons);
        let headline = headline::of(incident, what, now);
        let says_all = headline.says_reason
            && reasons.len() < 2
            && reasons.iter().all(|reason| short(reason, headline::REASON) == *reason);
        let told = |entry: &TimelineEntry| TimelineContext::of(entry, zone);
        let story = &incident.timeline[incident.timeline.len().saturating_sub(TIMELINE)..];
        let taken = acknowledged(incident, now).map(bounded_acknowledgement);
        let mut tried: Vec<TimelineContext> = bounded_tried(incident).iter().map(told).collect();
        tried.retain(|attempt| attempt.detail != headline.gist);
        let snoozed_until =
            incident.snoozed_until.filter(|until| incident.resolved_at.is_none() && *until > now);
        let runbook = incident.runbook.as_deref().map(|runbook| clean(runbook, ADDRESS));
        let pages = letter.background.pages;
        let incident_page = pages.and_then(|root| links::incident(root, incident));
        let check_page = pages.and_then(|root| links::check(root, incident));
        let past = letter.background.past.filter(|_| !among_others);
        Self {
            id: clean(&incident.id, NAME),
            check: clean(&incident.check, NAME),
            kind: clean(&incident.kind, NAME),
            status: incident.status,
            severity: incident.severity,
            state: words::state(incident),
            heading: headline.heading,
            icon: tone.icon(),
            color: tone.hex(),
            reason: headline::reason(incident, REASON),
            more_reasons: incident.reasons.len().saturating_sub(REASONS),
            details: if says_all { Vec::new() } else { untold(&reasons, &headline.gist) },
            reasons,
            gist: headline.gist,
            labels: bounded_labels(&incident.labels),
            annotations: match &incident.origin {
                Some(origin) => bounded_annotations(&origin.annotations),
                None => Labels::new(),
            },
            links: links::all(&runbook, &incident_page, &check_page),
            actions: match among_others {
                true => Vec::new(),
                false => letter.background.actions.iter().map(ActionContext::of).collect(),
            },
            runbook,
            incident_page,
            check_page,
            seen: past.and_then(|past| past::seen(past, incident)),
            sparkline: past.and_then(|past| past::sparkline(&past.results)),
            previous: past.and_then(|past| PreviousContext::of(past, incident, zone)),
            acknowledged: taken.as_ref().map(|taken| taken.by.clone()),
            acknowledged_note: taken.and_then(|taken| taken.note),
            snoozed_until,
            snoozed: snoozed_until.map(|until| words::time(until, zone)),
            reminders: incident.reminders,
            flapping: headline::flapping(incident),
            tried,
            dependents: bounded_dependents(&incident.dependents),
            more_dependents: incident.dependents.len().saturating_sub(DEPENDENTS),
            impact: impact(&incident.dependents),
            withdrawn: incident.withdrawn().map(|why| clean(why, REASON)),
            opened_at: incident.opened_at,
            began_at: incident.began_at,
            resolved_at: incident.resolved_at,
            opened: words::time(incident.opened_at, zone),
            began: words::time(incident.began_at, zone),
            resolved: incident.resolved_at.map(|at| words::time(at, zone)),
            duration: words::span(incident.duration(now)),
            timeline: story.iter().map(told).collect(),
        }
    }
}

impl TimelineContext {
    fn of(entry: &TimelineEntry, zone: Tz) -> Self {
        Self {
            at: entry.at,
            time: words::time(entry.at, zone),
            what: clean(&entry.what, NAME),
            detail: clean(&entry.detail, REASON),
        }
    }
}

/// The reasons without those that only put `gist` in other words.
fn untold(reasons: &[String], gist: &str) -> Vec<String> {
    reasons.iter().filter(|reason| !reason.ends_with(&format!(": {gist}"))).cloned().collect()
}

/// Who has taken `incident` on, if that still counts at `now`; of one that is over, who had.
pub(super) fn acknowledged(incident: &Incident, now: Timestamp) -> Option<&Acknowledgement> {
    let counts = |taken: &&Acknowledgement| {
        incident.resolved_at.is_some() || taken.until.is_none_or(|until| until > now)
    };
    incident.acknowledged.as_ref().filter(counts)
}

/// The first reasons of an incident, clean and bounded, as every message shows them.
pub fn bounded_reasons(reasons: &[String]) -> Vec<String> {
    reasons.iter().take(REASONS).map(|reason| clean(reason, REASON)).collect()
}

/// The labels of an incident, clean and bounded, as every message shows them.
pub fn bounded_labels(labels: &Labels) -> Labels {
    let cleaned = |(name, value): (&String, &String)| (clean(name, LABEL), clean(value, LABEL));
    labels.iter().take(LABELS).map(cleaned).collect()
}

/// What the sender of an alert says beside its labels, clean and bounded.
fn bounded_annotations(annotations: &Labels) -> Labels {
    let cleaned = |(name, value): (&String, &String)| (clean(name, LABEL), clean(value, REASON));
    annotations.iter().take(LABELS).map(cleaned).collect()
}

/// Who has taken an incident on, clean and bounded, as every message shows it.
pub fn bounded_acknowledgement(taken: &Acknowledgement) -> Acknowledgement {
    let note = taken.note.as_deref().map(|note| clean(note, REASON));
    Acknowledgement {
        by: clean(&taken.by, NAME),
        note: note.filter(|note| !note.is_empty()),
        at: taken.at,
        until: taken.until,
    }
}

/// The first of the checks that depend on one, clean and bounded, as every message shows them.
pub fn bounded_dependents(dependents: &[Name]) -> Vec<String> {
    dependents.iter().take(DEPENDENTS).map(|name| clean(name, NAME)).collect()
}

/// What recovery did, the latest of it, clean and bounded, as every message shows it.
pub fn bounded_tried(incident: &Incident) -> Vec<TimelineEntry> {
    let tried = || incident.timeline.iter().filter(|entry| entry.what == "recovery");
    let latest = tried().skip(tried().count().saturating_sub(TRIED));
    let cleaned = |entry: &TimelineEntry| TimelineEntry {
        detail: clean(&entry.detail, REASON),
        ..entry.clone()
    };
    latest.map(cleaned).collect()
}

/// `3 checks depend on it: a, b, c`.
fn impact(dependents: &[Name]) -> Option<String> {
    let count = headline::depend_on_it(dependents.len())?;
    let names = bounded_dependents(dependents).join(", ");
    Some(match dependents.len().saturating_sub(DEPENDENTS) {
        0 => format!("{count}: {names}"),
        more => format!("{count}: {names} and {more} more"),
    })
}
