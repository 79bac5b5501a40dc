//! What history says of a check, in the few words that a message has room for.

use super::escape::{clean, short};
use super::words;
use crate::model::{Incident, RunResult, Status, Timestamp, What};
use chrono_tz::Tz;
use serde::Serialize;
use serde_json::Value as Json;
use std::time::Duration;

/// How many results a sparkline shows.
pub const LATEST: usize = 30;
/// How many characters of what the check saw.
const SEEN: usize = 200;
/// Facts that hold what the other side said, the best first.
const SAID: [&str; 4] = ["body", "text", "message", "output"];
/// A day, and a week.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// See [`DAY`].
pub const WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What history says of the check that a message is about.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// The latest results, the newest first.
    pub results: Vec<RunResult>,
    /// The latest incidents of the check, the newest first; the one that is told may be among them.
    pub incidents: Vec<Incident>,
    /// Since when the check is known to have been watched with no incident missing above; none
    /// where nothing is known.
    pub known_since: Option<Timestamp>,
}

/// Whether a message that tells `what` also tells of the past. A resolution and a digest are short.
pub const fn tells_of_past(what: What) -> bool {
    match what {
        What::Opened | What::Worsened | What::Reminder | What::Escalated | What::Flapping => true,
        What::FlappingEnded
        | What::RecoveryStopped
        | What::Resolved
        | What::Digest
        | What::Test => false,
    }
}

/// Whether a message that tells `what` shows the last hour as a picture, where its channel can.
pub const fn shows_last_hour(what: What) -> bool {
    matches!(what, What::Opened | What::Worsened | What::Reminder)
}

/// Whether a message that tells `what` offers what a person may do about it at once.
pub const fn offers_actions(what: What) -> bool {
    matches!(what, What::Opened | What::Worsened | What::Reminder | What::Escalated)
}

/// How a check was before an incident.
#[derive(Debug, Serialize)]
pub struct PreviousContext {
    /// The share of the 24 hours before that no incident of it was down, such as `99.87%`; none if
    /// it was not watched for so long.
    pub uptime_24h: Option<String>,
    /// The same of the 7 days before.
    pub uptime_7d: Option<String>,
    /// When the incident before began, RFC 3339 in UTC; none where none is known.
    pub last_incident_at: Option<Timestamp>,
    /// The same in the daemon's time zone, for people.
    pub last_incident: Option<String>,
    /// How long that one lasted: `4m 10s`.
    pub last_duration: Option<String>,
    /// All of it in words, on one line.
    pub words: String,
}

impl PreviousContext {
    /// How the check was before `incident`; none where history has nothing to say of it.
    pub(super) fn of(past: &Past, incident: &Incident, zone: Tz) -> Option<Self> {
        let uptime_24h = uptime(past, incident, DAY).map(percent);
        let uptime_7d = uptime(past, incident, WEEK).map(percent);
        let before = |it: &&Incident| {
            it.id != incident.id && it.resolved_at.is_some_and(|end| end <= incident.opened_at)
        };
        let last = past.incidents.iter().find(before);
        let lasted = last.map(|last| words::span(last.duration(incident.began_at)));
        let mut parts = Vec::new();
        match (&uptime_24h, &uptime_7d) {
            (Some(day), Some(week)) => parts.push(format!("up {day} in 24h, {week} in 7d")),
            (Some(day), None) => parts.push(format!("up {day} in 24h")),
            _ => {}
        }
        match (last, &lasted) {
            (Some(last), Some(lasted)) => {
                let ago = words::span(incident.began_at.since(last.began_at));
                parts.push(format!("last {} {ago} before, for {lasted}", last.status));
            }
            _ if uptime_7d.is_some() => parts.push("no incident in that time".to_owned()),
            _ => {}
        }
        (!parts.is_empty()).then(|| Self {
            uptime_24h,
            uptime_7d,
            last_incident_at: last.map(|last| last.began_at),
            last_incident: last.map(|last| words::time(last.began_at, zone)),
            last_duration: lasted,
            words: parts.join("; "),
        })
    }
}

/// The percentage of `span` before `incident` in which no other incident of the check was down.
fn uptime(past: &Past, incident: &Incident, span: Duration) -> Option<f64> {
    let end = incident.began_at;
    let start = end.before(span);
    if past.known_since.is_none_or(|since| since > start) {
        return None;
    }
    let others = past.incidents.iter().filter(|it| it.id != incident.id);
    let down = others.filter(|it| it.status == Status::Down).map(|it| {
        let over = it.resolved_at.unwrap_or(end).min(end);
        over.since(it.began_at.max(start))
    });
    let share = down.sum::<Duration>().as_secs_f64() / span.as_secs_f64();
    Some(100.0 * (1.0 - share.min(1.0)))
}

/// Two decimals at most, and never rounded up to a 100 that it was not.
fn percent(share: f64) -> String {
    let text = format!("{:.2}", (share * 100.0).floor() / 100.0);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// The latest results, the oldest first: a block by how long the run took, `▃` for as long as
/// usual; `✕` for down, `!` for degraded, `?` for unknown.
pub(super) fn sparkline(results: &[RunResult]) -> Option<String> {
    let shown = &results[..results.len().min(LATEST)];
    let well = shown.iter().filter(|run| run.status == Status::Up);
    let mut spans: Vec<f64> = well.map(|run| run.latency_ms).collect();
    spans.sort_by(f64::total_cmp);
    let usual = spans.get(spans.len() / 2).copied().unwrap_or_default();
    let sign = |run: &RunResult| match run.status {
        Status::Up => block(run.latency_ms, usual),
        Status::Degraded => '!',
        Status::Down => '✕',
        Status::Unknown => '?',
    };
    (shown.len() > 1).then(|| shown.iter().rev().map(sign).collect())
}

/// How a span compares with the usual one.
fn block(span: f64, usual: f64) -> char {
    match span / usual.max(f64::MIN_POSITIVE) {
        ..=0.5 => '▁',
        ..=0.8 => '▂',
        ..=1.3 => '▃',
        ..=2.0 => '▅',
        _ => '▇',
    }
}

/// What the latest bad run of `incident` saw, without what its reasons say already.
pub(super) fn seen(past: &Past, incident: &Incident) -> Option<String> {
    let bad = |run: &&RunResult| run.status != Status::Up && run.at >= incident.began_at;
    let facts = &past.results.iter().find(bad)?.facts;
    let is_told = |text: &str| incident.reasons.iter().any(|reason| reason.contains(text));
    let mut parts = Vec::new();
    let status = plain(&facts["status"]).map(|status| clean(&status, 40));
    if let Some(status) = status.filter(|status| !is_told(status)) {
        parts.push(format!("status {status}"));
    }
    let said = SAID.iter().filter_map(|name| plain(&facts[*name])).map(|text| clean(&text, SEEN));
    let mut said = said.filter(|text| !text.is_empty());
    if let Some(text) = said.next().filter(|text| !is_told(text.trim_end_matches('…'))) {
        parts.push(text);
    }
    (!parts.is_empty()).then(|| short(&parts.join(" · "), SEEN))
}

/// A fact as text; none where it holds nothing.
fn plain(fact: &Json) -> Option<String> {
    match fact {
        Json::Null => None,
        Json::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::{DAY, Past, PreviousContext, WEEK, percent, seen, sparkline};
    use crate::model::{Incident, RunResult, Status, Timestamp};
    use crate::render::sample;
    use serde_json::{Value as Json, json};
    use std::time::Duration;

    fn run(status: Status, latency_ms: f64, facts: Json) -> RunResult {
        let at = Timestamp::from_millis(1_772_356_600_000);
        RunResult {
            check: "shop-api".into(),
            at,
            status,
            latency_ms,
            reasons: Vec::new(),
            facts,
            stands_for: Duration::from_secs(60),
            maintenance: false,
        }
    }

    fn previous(incidents: Vec<Incident>, known_for: Option<Duration>) -> Option<String> {
        let told = sample::incidents().remove(0);
        let known_since = known_for.map(|span| told.began_at.before(span));
        let past = Past { results: Vec::new(), incidents, known_since };
        PreviousContext::of(&past, &told, chrono_tz::UTC).map(|previous| previous.words)
    }

    fn earlier(before: Duration, lasted: u64, status: Status) -> Incident {
        let told = sample::incidents().remove(0);
        let began_at = told.began_at.before(before);
        let resolved_at = Some(began_at.after(Duration::from_secs(lasted)));
        Incident {
            id: format!("{lasted}"),
            began_at,
            opened_at: began_at,
            resolved_at,
            status,
            ..told
        }
    }

    #[test]
    fn how_it_was_before_is_said_as_far_as_it_is_known() {
        let told = sample::incidents().remove(0);
        let hour = Duration::from_secs(3_600);
        let check = |incidents: &[Incident], known_for, expected: Option<&str>| {
            let mut all = vec![told.clone()];
            all.extend_from_slice(incidents);
            assert_eq!(previous(all, known_for).as_deref(), expected);
        };
        check(&[], None, None);
        check(&[], Some(hour), None);
        check(&[], Some(DAY), Some("up 100% in 24h"));
        check(&[], Some(WEEK), Some("up 100% in 24h, 100% in 7d; no incident in that time"));
        let (slow, down) = (
            earlier(2 * hour, 3_600, Status::Degraded),
            earlier(30 * hour, 5 * 3_600, Status::Down),
        );
        check(
            std::slice::from_ref(&down),
            Some(WEEK),
            Some("up 100% in 24h, 97.02% in 7d; last down 1day 6h before, for 5h"),
        );
        check(
            &[slow, earlier(25 * hour, 7_200, Status::Down)],
            Some(DAY),
            Some("up 95.83% in 24h; last degraded 2h before, for 1h"),
        );
        check(&[down], None, Some("last down 1day 6h before, for 5h"));
    }

    #[test]
    fn a_share_is_not_made_better_than_it_was() {
        for (share, expected) in
            [(100.0, "100%"), (99.999, "99.99%"), (99.9, "99.9%"), (90.0, "90%"), (0.0, "0%")]
        {
            assert_eq!(percent(share), expected);
        }
    }

    #[test]
    fn a_sparkline_shows_the_oldest_first_and_marks_what_was_bad() {
        let line = |runs: &[(Status, f64)]| {
            let runs: Vec<_> =
                runs.iter().rev().map(|(status, ms)| run(*status, *ms, Json::Null)).collect();
            sparkline(&runs)
        };
        let up = Status::Up;
        assert_eq!(line(&[(up, 5.0)]), None);
        assert_eq!(line(&[(up, 0.0), (Status::Down, 0.0)]).as_deref(), Some("▁✕"));
        let runs = [
            (up, 40.0),
            (up, 10.0),
            (up, 30.0),
            (up, 80.0),
            (up, 50.0),
            (up, 45.0),
            (up, 900.0),
            (Status::Degraded, 900.0),
            (Status::Unknown, 0.0),
            (Status::Down, 1.0),
        ];
        assert_eq!(line(&runs).as_deref(), Some("▃▁▂▅▃▃▇!?✕"));
        assert_eq!(line(&[(up, 1.0); 100]).map(|line| line.chars().count()), Some(30));
    }

    #[test]
    fn what_was_seen_is_bounded_and_not_said_twice() {
        let incident = sample::incidents().remove(0);
        let check = |facts: Json, expected: Option<&str>| {
            let results = vec![run(Status::Up, 1.0, json!({})), run(Status::Down, 1.0, facts)];
            let past = Past { results, ..Past::default() };
            assert_eq!(seen(&past, &incident).as_deref(), expected);
        };
        check(json!({}), None);
        check(json!({ "status": 503 }), None);
        check(json!({ "status": 404 }), Some("status 404"));
        check(json!({ "status": 503, "output": "disk\n full" }), Some("disk full"));
        check(
            json!({ "status": 502, "body": {"db": "down"} }),
            Some(r#"status 502 · {"db":"down"}"#),
        );
        let long = json!({ "status": 502, "text": "x".repeat(10_000) });
        let past = Past { results: vec![run(Status::Down, 1.0, long)], ..Past::default() };
        assert_eq!(seen(&past, &incident).map(|text| text.chars().count()), Some(200));
    }
}
