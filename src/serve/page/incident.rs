//! `GET /incidents` and `GET /incidents/{id}`.

use super::super::access::Visitor;
use super::super::incidents::{find, open_ones};
use super::super::problem::Problem;
use super::super::query::Query;
use super::super::router::{Answer, Shared};
use super::notices::Delivery;
use super::{Frame, Instant, is_web_address, may_read, segment, span};
use crate::model::{HeldBecause, Incident, Labels, Status, TimelineEntry, Timestamp, is_alert};
use crate::record::{IncidentFilter, NoticeFilter, Page, Paged};
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use http::{StatusCode, Uri};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// How many of those that are over stand on one page.
const PIECE: u32 = 50;
/// How many open ones do, at most.
const MOST_OPEN: u32 = 200;
/// How many deliveries stand on the page of an incident.
const DELIVERIES: u32 = 100;

#[derive(Serialize)]
struct List {
    frame: Frame,
    check: String,
    /// `open`, `resolved`, or empty for both.
    state: String,
    open: Vec<Row>,
    more_open: bool,
    /// None if only open ones were asked for.
    resolved: Option<Vec<Row>>,
    /// Whether this is not the first piece.
    is_later: bool,
    /// The address of the next piece.
    next: Option<String>,
    /// Why those that are over are not there.
    missing: Option<String>,
}

/// An incident in a list.
#[derive(Serialize)]
struct Row {
    id: String,
    check: String,
    status: Status,
    severity: &'static str,
    reason: Option<String>,
    opened: Instant,
    /// For how long it lasted, or has lasted so far.
    lasted: String,
    acknowledged: Option<String>,
    held: Option<&'static str>,
}

impl Row {
    fn new(incident: &Incident, now: Timestamp) -> Self {
        Self {
            id: incident.id.clone(),
            check: incident.check.to_string(),
            status: incident.status,
            severity: incident.severity.as_str(),
            reason: incident.reasons.first().cloned(),
            opened: Instant::new(incident.opened_at, now),
            lasted: span(incident.duration(now)),
            acknowledged: incident.acknowledged.as_ref().map(|taken| taken.by.clone()),
            held: incident.suppressed_by.map(why_held),
        }
    }
}

/// `GET /incidents`: the open ones, then those that are over, newest first.
pub(in crate::serve) async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    uri: Uri,
) -> Answer {
    let query = Query::lenient(&uri);
    let check = query.one("check").filter(|check| !check.is_empty()).map(str::to_owned);
    let state = query.one("state").filter(|state| matches!(*state, "open" | "resolved"));
    let cursor = query.one("cursor").filter(|cursor| !cursor.is_empty()).map(str::to_owned);
    let now = shared.api.clock.wall();
    let row = |incident: &Incident| Row::new(incident, now);
    let is_later = cursor.is_some();
    let mut open = Paged { items: Vec::new(), next: None };
    if state != Some("resolved") && !is_later {
        let filter = IncidentFilter { open: Some(true), check: check.clone() };
        let page = Page { limit: MOST_OPEN, cursor: None };
        open = open_ones(shared.open_incidents(), &filter, page);
    }
    let (mut resolved, mut next, mut missing) = (None, None, None);
    if state != Some("open") {
        let filter = IncidentFilter { open: Some(false), check: check.clone() };
        let page = Page { limit: PIECE, cursor };
        match shared.api.store.incidents(&filter, &page).await.map_err(Problem::from) {
            Ok(found) => {
                resolved = Some(found.items.iter().map(row).collect());
                next = found.next.map(|cursor| {
                    let mut query = url::form_urlencoded::Serializer::new(String::new());
                    query.extend_pairs(check.as_ref().map(|check| ("check", check)));
                    query.extend_pairs(state.map(|state| ("state", state)));
                    format!("/incidents?{}", query.append_pair("cursor", &cursor).finish())
                });
            }
            Err(problem) if problem.status == StatusCode::BAD_REQUEST => return Err(problem),
            // The open ones are in memory: they are what one looks for while all else fails.
            Err(problem) => missing = Some(problem.detail),
        }
    }
    let page = List {
        frame: Frame::new(&shared, &visitor, "incidents"),
        check: check.unwrap_or_default(),
        state: state.unwrap_or_default().to_owned(),
        more_open: open.next.is_some(),
        open: open.items.iter().map(row).collect(),
        resolved,
        is_later,
        next,
        missing,
    };
    shared.pages.show(StatusCode::OK, "incidents.html", &page)
}

#[derive(Serialize)]
struct Shown {
    frame: Frame,
    id: String,
    check: String,
    /// The page of the check, if it has one.
    check_page: Option<String>,
    headline: String,
    status: Status,
    severity: &'static str,
    is_open: bool,
    began: Instant,
    opened: Instant,
    resolved: Option<Instant>,
    lasted: String,
    /// Why it is over although nobody knows that the check is well.
    withdrawn: Option<String>,
    reasons: Vec<String>,
    labels: Labels,
    annotations: Labels,
    /// Where the sender of an alert shows what it is about.
    source: Option<String>,
    runbook: Option<String>,
    acknowledged: Option<Taken>,
    snoozed: Option<Instant>,
    held: Option<&'static str>,
    dependents: Vec<String>,
    timeline: Vec<Step>,
    /// None for those who may not see who was told.
    deliveries: Option<Vec<Delivery>>,
    more_deliveries: bool,
    /// Why the deliveries are not there.
    missing: Option<String>,
}

#[derive(Serialize)]
struct Taken {
    by: String,
    note: Option<String>,
    at: Instant,
    until: Option<Instant>,
}

/// A line of the timeline.
#[derive(Serialize)]
struct Step {
    at: Instant,
    /// How long after the first bad verdict.
    after: String,
    /// What the line is drawn with: a status, or empty.
    mood: &'static str,
    what: String,
    detail: String,
}

/// `GET /incidents/{id}`.
pub(in crate::serve) async fn one(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    id: Result<Path<String>, PathRejection>,
) -> Answer {
    let incident = find(&shared, &read_id(id)?).await?;
    let now = shared.api.clock.wall();
    let (mut deliveries, mut more_deliveries, mut missing) = (None, false, None);
    if may_read(&shared, &visitor) {
        let filter =
            NoticeFilter { incident: Some(incident.id.clone()), ..NoticeFilter::default() };
        let page = Page { limit: DELIVERIES, cursor: None };
        match shared.api.store.notices(&filter, &page).await.map_err(Problem::from) {
            Ok(found) => {
                more_deliveries = found.next.is_some();
                // In the order of the story.
                let told = found.items.iter().rev();
                deliveries = Some(told.map(|notice| Delivery::new(notice, now)).collect());
            }
            Err(problem) => missing = Some(problem.detail),
        }
    }
    let page = shown(&shared, &visitor, &incident, now);
    let page = Shown { deliveries, more_deliveries, missing, ..page };
    shared.pages.show(StatusCode::OK, "incident.html", &page)
}

pub(super) fn read_id(id: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    let unreadable = |_| Problem::not_found("The id of the incident in the address is no text.");
    id.map(|Path(id)| id).map_err(unreadable)
}

fn shown(shared: &Shared, visitor: &Visitor, incident: &Incident, now: Timestamp) -> Shown {
    let known = shared.api.board.get(&incident.check).filter(|_| incident.origin.is_none());
    let is_link = |url: &String| is_web_address(url);
    let origin = incident.origin.as_deref();
    let in_future = |at: Timestamp| (at > now).then(|| Instant::new(at, now));
    Shown {
        frame: Frame::new(shared, visitor, "incidents"),
        id: incident.id.clone(),
        check: incident.check.to_string(),
        check_page: known.map(|check| format!("/checks/{}", segment(&check.name))),
        headline: headline(incident, now),
        status: incident.status,
        severity: incident.severity.as_str(),
        is_open: incident.resolved_at.is_none(),
        began: Instant::new(incident.began_at, now),
        opened: Instant::new(incident.opened_at, now),
        resolved: incident.resolved_at.map(|at| Instant::new(at, now)),
        lasted: long_span(incident.duration(now)),
        withdrawn: incident.withdrawn().map(str::to_owned),
        reasons: incident.reasons.clone(),
        labels: incident.labels.clone(),
        annotations: origin.map(|origin| origin.annotations.clone()).unwrap_or_default(),
        source: origin.and_then(|origin| origin.generator_url.clone()).filter(is_link),
        runbook: incident.runbook.clone().filter(is_link),
        acknowledged: incident.acknowledged.as_ref().map(|taken| Taken {
            by: taken.by.clone(),
            note: taken.note.clone(),
            at: Instant::new(taken.at, now),
            until: taken.until.map(|until| Instant::new(until, now)),
        }),
        snoozed: incident.snoozed_until.and_then(in_future),
        held: incident.suppressed_by.map(why_held),
        dependents: incident.dependents.iter().map(ToString::to_string).collect(),
        timeline: timeline(incident, now),
        deliveries: None,
        more_deliveries: false,
        missing: None,
    }
}

/// The story of `incident`, each step in words.
fn timeline(incident: &Incident, now: Timestamp) -> Vec<Step> {
    let step = |entry: &TimelineEntry| Step {
        at: Instant::new(entry.at, now),
        after: match entry.at.since(incident.began_at) {
            Duration::ZERO => String::new(),
            after => format!("+{}", long_span(after)),
        },
        mood: mood(entry, incident.status),
        what: step_words(&entry.what),
        detail: entry.detail.clone(),
    };
    incident.timeline.iter().map(step).collect()
}

fn mood(entry: &TimelineEntry, status: Status) -> &'static str {
    match &*entry.what {
        "opened" | "worsened" | "improved" => {
            let word = entry.detail.split(':').next().unwrap_or("");
            Status::from_word(word).unwrap_or(status).as_str()
        }
        "resolved" => "up",
        "failing" | "flapping" | "escalated" => "degraded",
        _ => "",
    }
}

/// What a step of a timeline was, for people.
pub(super) fn step_words(what: &str) -> String {
    let words = match what {
        "failing" => "First failure",
        "opened" => "Incident opened",
        "worsened" => "Got worse",
        "improved" => "Got better, but is not well",
        "flapping" => "Goes to and fro",
        "flapping_ended" => "Goes to and fro no longer",
        "acknowledged" => "Acknowledged",
        "unacknowledged" => "No longer acknowledged",
        "snoozed" => "Snoozed",
        "snooze_ended" => "The snooze ended",
        "escalated" => "Escalated",
        "recovery" => "Recovery",
        "recovery_stopped" => "Recovery given up",
        "paused" => "The check was paused",
        "resumed" => "The check was resumed",
        "resolved" => "Resolved",
        other => return other.replace('_', " "),
    };
    words.to_owned()
}

/// The whole in one sentence.
pub(super) fn headline(incident: &Incident, now: Timestamp) -> String {
    let check = &incident.check;
    let lasted = long_span(incident.duration(now));
    let is_sent_in = incident.origin.as_ref().is_some_and(|origin| is_alert(&origin.subject));
    match (incident.resolved_at, is_sent_in) {
        (None, true) => format!("{check} fires, for {lasted}"),
        (Some(_), true) => format!("{check} fired for {lasted}"),
        (None, false) => format!("{check} is {}, for {lasted}", incident.status),
        (Some(_), false) => format!("{check} was {} for {lasted}", incident.status),
    }
}

/// A span in its two largest units.
pub(super) fn long_span(span: Duration) -> String {
    let seconds = span.as_secs();
    let two = |large: u64, large_word: &str, small: u64, small_word: &str| match small {
        0 => format!("{large} {large_word}"),
        _ => format!("{large} {large_word} {small} {small_word}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

/// Why people are not told of an incident, or of one now, in words.
pub(super) const fn why_held(because: HeldBecause) -> &'static str {
    match because {
        HeldBecause::Dependency => "something that it stands on is down, or is being looked at",
        HeldBecause::Silence => "somebody silenced it, or its route is mute at this hour",
        HeldBecause::Maintenance => "a maintenance window is open",
        HeldBecause::Flapping => "the check goes to and fro, and people know",
        HeldBecause::Group => "its route groups: it comes together with others",
        HeldBecause::Cooldown => "the channel heard about this check not long ago",
        HeldBecause::RateLimit => "the channel has had its share for now: it comes in a digest",
        HeldBecause::Storm => "there were too many at once: they come together",
    }
}

#[cfg(test)]
mod tests {
    use super::{headline, long_span, step_words};
    use crate::model::{Incident, Status, Timestamp};
    use std::time::Duration;

    #[test]
    fn a_headline_says_what_is_or_was_and_for_how_long() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let mut incident =
            Incident::new("1".to_owned(), "shop".into(), "http", Status::Down, at(60));
        incident.began_at = at(0);
        assert_eq!(headline(&incident, at(150)), "shop is down, for 2 min 30 s");
        incident.resolved_at = Some(at(3660));
        assert_eq!(headline(&incident, at(9999)), "shop was down for 1 h 1 min");
    }

    #[test]
    fn spans_have_two_units() {
        let said = [0, 59, 60, 61, 3600, 7199, 86_400, 90_000]
            .map(|seconds| long_span(Duration::from_secs(seconds)));
        let expected = ["0 s", "59 s", "1 min", "1 min 1 s", "1 h", "1 h 59 min", "1 d", "1 d 1 h"];
        assert_eq!(said, expected);
    }

    #[test]
    fn a_step_that_is_new_here_is_told_by_its_own_word() {
        assert_eq!(step_words("opened"), "Incident opened");
        assert_eq!(step_words("moved_on"), "moved on");
    }
}
