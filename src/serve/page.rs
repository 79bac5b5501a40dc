use super::DaemonStatus;
use super::problem::Problem;
use super::router::{Answer, Shared};
use super::status::Counts;
use crate::model::{CheckView, Incident, Status, Timestamp};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::{HeaderValue, header};
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

const TEMPLATE: &str = "overview.html";
const STYLE: &str = include_str!("page/watchbell.css");
const SCRIPT: &str = include_str!("page/live.js");
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
/// The most checks that the page lists; the worst stand first, so the rest is well.
const MOST_CHECKS: usize = 1000;
/// The most incidents that the page lists.
const MOST_INCIDENTS: usize = 50;

/// The page's template and the files that it refers to, ready to be sent.
#[derive(Debug)]
pub(super) struct Pages {
    templates: Environment<'static>,
    assets: Vec<Asset>,
}

/// A file that the page refers to. Its name holds a hash of its content, so that a browser may
/// keep it for good.
#[derive(Debug)]
struct Asset {
    key: &'static str,
    file: String,
    content_type: &'static str,
    content: &'static str,
}

impl Asset {
    fn new(key: &'static str, ending: &str, content: &'static str) -> Self {
        let hash = Sha256::digest(content);
        let hash: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let content_type = match ending {
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            _ => "image/svg+xml",
        };
        Self { key, file: format!("{key}.{hash}.{ending}"), content_type, content }
    }
}

impl Pages {
    /// Compiles the template.
    pub(super) fn new() -> Result<Self, minijinja::Error> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        // The name ends in `.html`, which turns the escaping on.
        templates.add_template(TEMPLATE, include_str!("page/overview.html"))?;
        let assets = vec![
            Asset::new("watchbell", "css", STYLE),
            Asset::new("live", "js", SCRIPT),
            Asset::new("icon-up", "svg", include_str!("page/icon-up.svg")),
            Asset::new("icon-degraded", "svg", include_str!("page/icon-degraded.svg")),
            Asset::new("icon-down", "svg", include_str!("page/icon-down.svg")),
            Asset::new("icon-unknown", "svg", include_str!("page/icon-unknown.svg")),
        ];
        Ok(Self { templates, assets })
    }

    fn link(&self, key: &str) -> String {
        let asset = self.assets.iter().find(|asset| asset.key == key);
        asset.map(|asset| format!("/assets/{}", asset.file)).unwrap_or_default()
    }

    fn render(&self, overview: &Overview<'_>) -> Result<String, minijinja::Error> {
        self.templates.get_template(TEMPLATE)?.render(minijinja::value::Serde(overview))
    }
}

/// `GET /assets/{file}`.
pub(super) async fn asset(
    State(shared): State<Arc<Shared>>,
    file: Result<Path<String>, PathRejection>,
) -> Answer {
    let file = file.map(|Path(file)| file).unwrap_or_default();
    let asset = shared.pages.assets.iter().find(|asset| asset.file == file);
    let Some(asset) = asset else {
        return Err(Problem::not_found("There is no such file; load the page again."));
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
    ];
    Ok((headers, asset.content).into_response())
}

/// `GET /`: everything at a glance, the worst first.
pub(super) async fn overview(State(shared): State<Arc<Shared>>) -> Answer {
    let daemon = shared.api.control.daemon();
    let mut checks = shared.api.board.all();
    checks.sort_by(|a, b| urgency(a).cmp(&urgency(b)).then_with(|| a.name.cmp(&b.name)));
    let mut incidents = shared.open_incidents_of(&checks, &daemon);
    incidents.sort_by_key(|incident| std::cmp::Reverse(incident.severity));
    let overview = Overview::new(&shared, &daemon, &checks, &incidents);
    let html = shared.pages.render(&overview).map_err(|error| {
        tracing::error!(error = format!("{error:#}"), "the page could not be made");
        Problem::internal()
    })?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ];
    Ok((headers, html).into_response())
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

/// What the template is given.
#[derive(Serialize)]
struct Overview<'a> {
    name: &'a str,
    /// The whole state in one sentence.
    headline: String,
    /// The status that colours the headline.
    worst: Status,
    counts: Vec<(Status, u64)>,
    incidents: Vec<IncidentRow<'a>>,
    more_incidents: usize,
    checks: Vec<CheckRow<'a>>,
    more_checks: usize,
    style: String,
    script: String,
    icon: String,
    now: Instant,
    version: &'a str,
    uptime: String,
    store: &'a str,
    store_error: Option<&'a str>,
    not_ready: Option<&'a str>,
    outbox_depth: u64,
    lag: String,
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
    confirmed: bool,
    /// Who paused it, if somebody did.
    paused_by: Option<&'a str>,
    flapping: bool,
    reasons: &'a [String],
    since: Instant,
    latency: Option<String>,
    last_run: Option<Instant>,
}

/// A time, exactly and as people say it.
#[derive(Serialize)]
struct Instant {
    exact: String,
    /// How long ago.
    ago: String,
}

impl Instant {
    fn new(at: Timestamp, now: Timestamp) -> Self {
        Self { exact: at.to_string(), ago: span(now.since(at)) }
    }
}

impl<'a> Overview<'a> {
    fn new(
        shared: &Shared,
        daemon: &'a DaemonStatus,
        checks: &'a [Arc<CheckView>],
        incidents: &[&'a Incident],
    ) -> Self {
        let moment = shared.api.clock.now();
        let now = moment.wall;
        let counts = Counts::of(checks);
        let worst = [Status::Down, Status::Degraded, Status::Unknown]
            .into_iter()
            .find(|status| counts.get(*status) > 0)
            .unwrap_or(if checks.is_empty() { Status::Unknown } else { Status::Up });
        let troubled = daemon.store.error.is_some() || daemon.ready.is_err();
        let worst = if worst == Status::Up && troubled { Status::Degraded } else { worst };
        let mark = shared.pages.link(&format!("icon-{worst}"));
        Self {
            name: &daemon.name,
            headline: headline(&counts, checks.len()),
            worst,
            counts: Status::ALL.map(|status| (status, counts.get(status))).to_vec(),
            more_incidents: incidents.len().saturating_sub(MOST_INCIDENTS),
            incidents: incidents
                .iter()
                .take(MOST_INCIDENTS)
                .map(|incident| IncidentRow::new(incident, now))
                .collect(),
            more_checks: checks.len().saturating_sub(MOST_CHECKS),
            checks: checks
                .iter()
                .take(MOST_CHECKS)
                .map(|check| CheckRow::new(check, now))
                .collect(),
            style: shared.pages.link("watchbell"),
            script: shared.pages.link("live"),
            icon: mark,
            now: Instant::new(now, now),
            version: daemon.version,
            uptime: span(moment.mono.saturating_sub(daemon.started.mono)),
            store: daemon.store.engine,
            store_error: daemon.store.error.as_deref(),
            not_ready: daemon.ready.as_ref().err().map(String::as_str),
            outbox_depth: daemon.outbox_depth,
            lag: millis(daemon.schedule_lag.as_secs_f64() * 1000.0),
        }
    }
}

impl<'a> IncidentRow<'a> {
    fn new(incident: &'a Incident, now: Timestamp) -> Self {
        Self {
            check: &incident.check,
            severity: incident.severity.as_str(),
            status: incident.status,
            opened: Instant::new(incident.opened_at, now),
            reasons: &incident.reasons,
            acknowledged: incident.acknowledged.as_ref().map(|taken| &*taken.by),
            suppressed_by: incident.suppressed_by.map(|because| because.as_str()),
            snoozed: incident
                .snoozed_until
                .filter(|until| *until > now)
                .map(|until| Instant { exact: until.to_string(), ago: span(until.since(now)) }),
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
            confirmed: state.incident.is_some(),
            paused_by: state.paused.as_ref().map(|paused| &*paused.by),
            flapping: state.flapping,
            reasons: &state.reasons,
            since: Instant::new(state.since, now),
            latency: check.facts.get("latency_ms").and_then(|fact| fact.as_number()).map(millis),
            last_run: state.last_run.map(|at| Instant::new(at, now)),
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

/// Only these become links: a `javascript:` address would run in the page.
fn is_web_address(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

/// A span as people say it, in its largest unit.
fn span(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

fn millis(millis: f64) -> String {
    match millis {
        ..10.0 => format!("{millis:.1} ms"),
        10.0..1000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.1} s", millis / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::status::Counts;
    use super::{headline, is_web_address, millis, span};
    use std::time::Duration;

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

    #[test]
    fn spans_and_latencies_read_well() {
        let said = |seconds| span(Duration::from_secs(seconds));
        assert_eq!([said(0), said(59), said(60), said(7199)], ["0 s", "59 s", "1 min", "1 h"]);
        assert_eq!([said(100_000), said(172_800)], ["27 h", "2 d"]);
        assert_eq!([millis(0.42), millis(12.3), millis(2345.0)], ["0.4 ms", "12 ms", "2.3 s"]);
    }

    #[test]
    fn only_web_addresses_become_links() {
        assert!(is_web_address("https://wiki.example/shop"));
        for bad in ["javascript:alert(1)", "data:text/html,x", "wiki/shop", ""] {
            assert!(!is_web_address(bad), "{bad}");
        }
    }
}
