//! A check and an incident as the overview shows them.

use super::super::past::Seen;
use super::super::strip::{self, Scene};
use super::super::{Instant, is_web_address, millis, percent, segment};
use crate::model::{Beat, CheckView, Incident, Status, Timestamp};
use chrono_tz::Tz;
use serde::Serialize;

/// So many reasons of a check are shown.
const REASONS: usize = 3;

/// An open incident, or a check that is bad and not confirmed yet.
#[derive(Serialize)]
pub(super) struct Alarm<'a> {
    check: &'a str,
    /// The page of the check, if it has one.
    check_link: Option<String>,
    /// The page of the incident, if it is one already.
    incident_link: Option<String>,
    status: Status,
    severity: &'a str,
    since: Instant,
    reasons: &'a [String],
    more_reasons: usize,
    acknowledged: Option<&'a str>,
    suppressed_by: Option<&'a str>,
    /// No reminder for so long.
    snoozed: Option<Instant>,
    runbook: Option<&'a str>,
}

impl<'a> Alarm<'a> {
    pub(super) fn of_incident(incident: &'a Incident, now: Timestamp) -> Self {
        let snoozed = incident.snoozed_until.filter(|until| *until > now);
        let (reasons, more_reasons) = first_of(&incident.reasons);
        Self {
            check: &incident.check,
            check_link: incident.is_of_check().then(|| link_of(&incident.check)),
            incident_link: Some(format!("/incidents/{}", segment(&incident.id))),
            status: incident.status,
            severity: incident.severity.as_str(),
            since: Instant::new(incident.began_at, now),
            reasons,
            more_reasons,
            acknowledged: incident.acknowledged.as_ref().map(|taken| &*taken.by),
            suppressed_by: incident.suppressed_by.map(|because| because.as_str()),
            snoozed: snoozed.map(|until| Instant::new(until, now)),
            runbook: incident.runbook.as_deref().filter(|url| is_web_address(url)),
        }
    }

    pub(super) fn of_check(check: &'a CheckView, now: Timestamp) -> Self {
        let (reasons, more_reasons) = first_of(&check.state.reasons);
        Self {
            check: &check.name,
            check_link: Some(link_of(&check.name)),
            incident_link: None,
            status: check.state.status,
            severity: check.severity.of(check.state.status).as_str(),
            since: Instant::new(check.state.since, now),
            reasons,
            more_reasons,
            acknowledged: None,
            suppressed_by: None,
            snoozed: None,
            runbook: None,
        }
    }
}

fn first_of(reasons: &[String]) -> (&[String], usize) {
    let shown = reasons.get(..REASONS).unwrap_or(reasons);
    (shown, reasons.len() - shown.len())
}

fn link_of(check: &str) -> String {
    format!("/checks/{}", segment(check))
}

/// A line of the table.
#[derive(Serialize)]
pub(super) struct Row<'a> {
    name: &'a str,
    link: String,
    kind: &'a str,
    status: Status,
    since: Instant,
    reasons: &'a [String],
    more_reasons: usize,
    /// Bad, and not an incident yet.
    unconfirmed: bool,
    incident_link: Option<String>,
    /// Who paused it, if somebody did.
    paused_by: Option<&'a str>,
    flapping: bool,
    has_run: bool,
    /// Days until a certificate expires, and how bad that is.
    certificate: Option<(i64, &'static str)>,
    latency: Option<String>,
    /// Drawings; there is no text from outside in them.
    spark: Option<String>,
    beats: String,
    days: String,
    uptimes: [Uptime; 4],
}

#[derive(Serialize)]
struct Uptime {
    of: &'static str,
    said: Option<String>,
    /// `down` and `degraded` colour what is not good.
    mood: &'static str,
}

/// What rows are drawn from, beside their check.
pub(super) struct Light<'a> {
    pub(super) zone: Tz,
    pub(super) now: Timestamp,
    /// The number of this day.
    pub(super) today: u16,
    pub(super) beats: &'a [Beat],
    pub(super) seen: &'a Seen,
}

impl<'a> Row<'a> {
    pub(super) fn new(check: &'a CheckView, light: &Light<'_>) -> Self {
        let state = &check.state;
        let link = link_of(&check.name);
        let scene = Scene { link: &link, zone: light.zone, now: light.now, stretched: false };
        let number = |fact| check.facts.get(fact).and_then(|fact| fact.as_number());
        let (reasons, more_reasons) = match state.status {
            Status::Up => (&[][..], 0),
            _ => first_of(&state.reasons),
        };
        let incident = state.incident.as_ref();
        let [day, week, month, quarter] = light.seen.uptimes;
        let uptimes = [("24 h", day), ("7 d", week), ("30 d", month), ("90 d", quarter)];
        Self {
            name: &check.name,
            kind: check.kind,
            status: state.status,
            since: Instant::new(state.since, light.now),
            reasons,
            more_reasons,
            unconfirmed: state.status.is_bad() && incident.is_none(),
            incident_link: incident.map(|it| format!("/incidents/{}", segment(&it.id))),
            paused_by: state.paused.as_ref().map(|paused| &*paused.by),
            flapping: state.flapping,
            has_run: state.last_run.is_some(),
            certificate: number("cert_chain_days_left")
                .or_else(|| number("cert_days_left"))
                .map(|days| days as i64)
                .map(|days| (days, certificate_mood(days))),
            latency: number("latency_ms").filter(|_| state.last_run.is_some()).map(millis),
            spark: strip::spark(light.beats),
            beats: strip::beats(light.beats, scene),
            days: strip::days(&light.seen.days, light.today, scene),
            uptimes: uptimes.map(|(of, share)| Uptime {
                of,
                said: share.map(percent),
                mood: uptime_mood(share),
            }),
            link,
        }
    }
}

const fn certificate_mood(days: i64) -> &'static str {
    match days {
        ..7 => "down",
        7..21 => "degraded",
        _ => "",
    }
}

/// How an uptime is coloured.
pub(in crate::serve::page) fn uptime_mood(share: Option<f64>) -> &'static str {
    match share {
        Some(..0.99) => "down",
        Some(0.99..0.999) => "degraded",
        _ => "",
    }
}
