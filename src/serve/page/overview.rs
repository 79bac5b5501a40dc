//! `GET /`: everything at a glance, the worst first.

use super::super::access::Visitor;
use super::super::router::{Answer, Shared};
use super::super::status::Counts;
use super::{Frame, Instant, is_web_address};
use crate::model::{CheckView, Incident, Status, Timestamp};
use axum::Extension;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use std::sync::Arc;

/// `GET /`.
pub(in crate::serve) async fn overview(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
) -> Answer {
    let daemon = shared.api.control.daemon();
    let mut checks = shared.api.board.all();
    let frame = Frame::with(&shared, &visitor, "overview", &checks, &daemon);
    checks.sort_by(|a, b| urgency(a).cmp(&urgency(b)).then_with(|| a.name.cmp(&b.name)));
    let mut incidents = shared.open_incidents_of(&checks, &daemon);
    incidents.sort_by_key(|incident| std::cmp::Reverse(incident.severity));
    let now = shared.api.clock.wall();
    let overview = Overview {
        frame,
        headline: headline(&Counts::of(&checks), checks.len()),
        incidents: incidents.iter().map(|incident| IncidentRow::new(incident, now)).collect(),
        checks: checks.iter().map(|check| CheckRow::new(check, now)).collect(),
    };
    shared.pages.show(StatusCode::OK, "overview.html", &overview)
}

/// Where a check stands on the page: less comes first.
fn urgency(check: &CheckView) -> (u8, bool) {
    let rank = match check.state.status {
        Status::Down => 0,
        Status::Degraded => 1,
        Status::Unknown => 2,
        Status::Up => 3,
    };
    (rank, check.state.incident.is_none())
}

#[derive(Serialize)]
struct Overview<'a> {
    frame: Frame,
    /// The whole state in one sentence.
    headline: String,
    incidents: Vec<IncidentRow<'a>>,
    checks: Vec<CheckRow<'a>>,
}

#[derive(Serialize)]
struct IncidentRow<'a> {
    check: &'a str,
    severity: &'a str,
    status: Status,
    opened: Instant,
    reasons: &'a [String],
    acknowledged: Option<&'a str>,
    suppressed_by: Option<&'a str>,
    /// No reminder for so long.
    snoozed: Option<Instant>,
    runbook: Option<&'a str>,
}

#[derive(Serialize)]
struct CheckRow<'a> {
    name: &'a str,
    kind: &'a str,
    labels: Vec<(&'a str, &'a str)>,
    status: Status,
    reasons: &'a [String],
    since: Instant,
}

impl<'a> IncidentRow<'a> {
    fn new(incident: &'a Incident, now: Timestamp) -> Self {
        let snoozed = incident.snoozed_until.filter(|until| *until > now);
        Self {
            check: &incident.check,
            severity: incident.severity.as_str(),
            status: incident.status,
            opened: Instant::new(incident.opened_at, now),
            reasons: &incident.reasons,
            acknowledged: incident.acknowledged.as_ref().map(|taken| &*taken.by),
            suppressed_by: incident.suppressed_by.map(|because| because.as_str()),
            snoozed: snoozed.map(|until| Instant::new(until, now)),
            runbook: incident.runbook.as_deref().filter(|url| is_web_address(url)),
        }
    }
}

impl<'a> CheckRow<'a> {
    fn new(check: &'a CheckView, now: Timestamp) -> Self {
        let state = &check.state;
        Self {
            name: &check.name,
            kind: check.kind,
            labels: check.labels.iter().map(|(key, value)| (&**key, &**value)).collect(),
            status: state.status,
            reasons: &state.reasons,
            since: Instant::new(state.since, now),
        }
    }
}

fn headline(counts: &Counts, total: usize) -> String {
    let some = |count: u64, what: &str| match count {
        0 => None,
        1 => Some(format!("1 check is {what}")),
        many => Some(format!("{many} checks are {what}")),
    };
    let parts: Vec<String> = [
        some(counts.down, "down"),
        some(counts.degraded, "degraded"),
        some(counts.unknown, "unknown"),
    ]
    .into_iter()
    .flatten()
    .collect();
    match (total, &parts[..]) {
        (0, _) => "No checks yet".to_owned(),
        (1, []) => "The one check is up".to_owned(),
        (_, []) => format!("All {total} checks are up"),
        (_, parts) => parts.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::headline;
    use crate::serve::status::Counts;

    #[test]
    fn the_headline_says_the_worst_first() {
        let check = |up, degraded, down, unknown| {
            let total = usize::try_from(up + degraded + down + unknown).unwrap();
            headline(&Counts { up, degraded, down, unknown }, total)
        };
        assert_eq!(check(0, 0, 0, 0), "No checks yet");
        assert_eq!(check(1, 0, 0, 0), "The one check is up");
        assert_eq!(check(12, 0, 0, 0), "All 12 checks are up");
        assert_eq!(check(3, 1, 2, 0), "2 checks are down, 1 check is degraded");
        assert_eq!(check(0, 0, 0, 4), "4 checks are unknown");
    }
}
