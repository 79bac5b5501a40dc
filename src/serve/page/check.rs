//! `GET /checks/{name}`: how one check is, was, and why.

mod calendar;
mod chart;
mod seen;

use super::super::access::Visitor;
use super::super::checks::find;
use super::super::query::Query;
use super::super::router::{Answer, Shared};
use super::overview::uptime_mood;
use super::past::{Day, day_number};
use super::strip::{Scene, beats};
use super::{Frame, Instant, is_web_address, may_read, millis, percent, segment, span};
use crate::model::{CheckView, Incident, RunResult, Status, Timestamp};
use crate::record::archive::rollup::{Level, Rollup, Rollups};
use crate::record::query::{self, Span};
use crate::record::{IncidentFilter, Page, Part, StoreError};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Extension, Router};
use chart::{Chart, SPANS};
use http::{StatusCode, Uri};
use seen::{FactRow, Phase, ResultRow};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The longest that the page waits for each thing that it asks of the store.
const PATIENCE: Duration = Duration::from_secs(3);
/// The results of one page.
const RESULTS: u32 = 50;
/// Where only what is bad is wanted, so many are looked through at a time, and so often.
const LOOKED_THROUGH: u32 = 500;
const LOOKS: usize = 8;
/// How many incidents are listed, and how many are shaded in the chart.
const INCIDENTS: usize = 10;
const SHADED: u32 = 200;
const DAY: Duration = Duration::from_secs(86_400);
/// The spans that uptime is told for.
const WINDOWS: [(&str, u32); 5] =
    [("24 hours", 1), ("7 days", 7), ("30 days", 30), ("90 days", 90), ("1 year", 365)];

/// The pages of checks, which are no part of what the API describes.
pub(in crate::serve) fn of_checks() -> Router<Arc<Shared>> {
    Router::new().route("/checks/{name}", get(check))
}

async fn check(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    let view = match find(&shared, name) {
        Ok(view) => view,
        Err(problem) => {
            let frame = Frame::new(&shared, &visitor, "");
            let missing = Missing { frame, why: problem.detail };
            return shared.pages.show(StatusCode::NOT_FOUND, "missing.html", &missing);
        }
    };
    let asked = Asked::read(&uri);
    let may_read = may_read(&shared, &visitor);
    let now = shared.api.clock.wall();
    let of_check = IncidentFilter { check: Some(view.name.to_string()), open: None };
    let newest = Page { limit: SHADED, cursor: None };
    let (past, results, incidents, configuration) = tokio::join!(
        within(past(&shared, &view, asked.span)),
        within(results(&shared, &view.name, &asked)),
        within(shared.api.store.incidents(&of_check, &newest)),
        async {
            match may_read {
                true => shared.api.control.configuration(&view.name).await,
                false => None,
            }
        }
    );
    let is_away = past.is_none() || results.is_none() || incidents.is_none();
    let past = past.unwrap_or_default();
    let (results, next) = results.unwrap_or_default();
    let incidents = incidents.map(|incidents| incidents.items).unwrap_or_default();
    let content = Content::new(&view, &asked, now);
    let page = CheckPage {
        frame: Frame::new(&shared, &visitor, ""),
        is_away,
        may_read,
        facts: if may_read { seen::facts(&view.facts) } else { Vec::new() },
        phases: seen::phases(&view.facts),
        beats: {
            let (latest, _) = shared.api.board.beats(&view.name);
            let zone = shared.api.settings.load().spans.zone;
            beats(&latest, Scene { link: &content.link, zone, now, stretched: true })
        },
        uptimes: past.uptimes(),
        calendar: past.calendar(&shared, &content.link, now),
        chart: past.chart(&incidents, now),
        spans: spans(&content.link, &asked),
        results: results.into_iter().map(|it| ResultRow::new(it, now, may_read)).collect(),
        older: next.map(|cursor| asked.link(&content.link, &[("cursor", &cursor)])),
        is_first: asked.cursor.is_none() && asked.before.is_none(),
        bad_only: asked.bad_only,
        all_link: Asked { bad_only: false, ..asked.first() }.link(&content.link, &[]),
        bad_link: Asked { bad_only: true, ..asked.first() }.link(&content.link, &[]),
        incidents: incidents.iter().take(INCIDENTS).map(|it| IncidentRow::new(it, now)).collect(),
        more_incidents: incidents.len() > INCIDENTS,
        configuration,
        content,
    };
    shared.pages.show(StatusCode::OK, "check.html", &page)
}

/// What the store says within [`PATIENCE`]; none if it fails or is away.
async fn within<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the page of a check lacks a part of its past");
            None
        }
        Err(_elapsed) => None,
    }
}

/// What the address asks for. What makes no sense is left out.
#[derive(Clone, Debug)]
struct Asked {
    /// The name of the span of the chart, its length, and how many points it has.
    span: (&'static str, Duration, u32),
    bad_only: bool,
    /// Results of before then.
    before: Option<Timestamp>,
    cursor: Option<String>,
}

impl Asked {
    fn read(uri: &Uri) -> Self {
        let query = Query::lenient(uri);
        let wanted = query.one("span").unwrap_or_default();
        let [_, _, otherwise, ..] = SPANS;
        Self {
            span: SPANS.into_iter().find(|(name, ..)| *name == wanted).unwrap_or(otherwise),
            bad_only: query.one("only") == Some("bad"),
            before: query
                .one("before")
                .and_then(|millis| millis.parse().ok())
                .map(Timestamp::from_millis),
            cursor: query.one("cursor").filter(|text| !text.is_empty()).map(str::to_owned),
        }
    }

    /// The same from the newest result on.
    fn first(&self) -> Self {
        Self { before: None, cursor: None, ..self.clone() }
    }

    /// The address of this, with `more` parameters.
    fn link(&self, page: &str, more: &[(&str, &str)]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if self.span.0 != "24h" {
            query.append_pair("span", self.span.0);
        }
        if self.bad_only {
            query.append_pair("only", "bad");
        }
        query.extend_pairs(more);
        let query = query.finish();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{page}{mark}{query}#results")
    }
}

#[derive(Serialize)]
struct SpanLink {
    name: &'static str,
    link: String,
    is_here: bool,
}

fn spans(page: &str, asked: &Asked) -> Vec<SpanLink> {
    let link = |(name, length, points)| {
        let link = Asked { span: (name, length, points), ..asked.first() }.link(page, &[]);
        SpanLink { name, link: link.replace("#results", "#latency"), is_here: name == asked.span.0 }
    };
    SPANS.map(link).into_iter().collect()
}

/// The wanted results, and the cursor of what comes after them.
async fn results(
    shared: &Shared,
    name: &str,
    asked: &Asked,
) -> Result<(Vec<RunResult>, Option<String>), StoreError> {
    let limit = if asked.bad_only { LOOKED_THROUGH } else { RESULTS };
    let mut page = match (&asked.cursor, asked.before) {
        (Some(cursor), _) => Page { limit, cursor: Some(cursor.clone()) },
        (None, Some(before)) => Page::of_results_before(before, limit),
        (None, None) => Page { limit, cursor: None },
    };
    let mut found = Vec::new();
    for _ in 0..if asked.bad_only { LOOKS } else { 1 } {
        let piece = match shared.api.store.results(name, &page).await {
            // One that was made up, or of another store: the newest are a better answer than none.
            Err(StoreError::Cursor(_)) => {
                page.cursor = None;
                shared.api.store.results(name, &page).await?
            }
            piece => piece?,
        };
        let wanted = |result: &RunResult| !asked.bad_only || result.status != Status::Up;
        found.extend(piece.items.into_iter().filter(wanted));
        page.cursor = piece.next;
        if page.cursor.is_none() || found.len() >= RESULTS as usize {
            break;
        }
    }
    Ok((found, page.cursor))
}

/// The roll-ups that the page is made of.
#[derive(Debug, Default)]
struct Past {
    /// Of each of [`WINDOWS`].
    windows: Vec<Rollup>,
    days: BTreeMap<u16, Day>,
    points: Vec<query::Point>,
    total: Rollup,
    from: Timestamp,
    step: Duration,
}

async fn past(
    shared: &Shared,
    view: &CheckView,
    (_, length, count): (&str, Duration, u32),
) -> Result<Past, StoreError> {
    let spans = shared.api.settings.load().spans;
    let now = shared.api.clock.wall();
    // All at once: what is not sealed yet is read and counted a single time.
    let year = Level::Day.span_of(now.before(DAY * u32::from(calendar::DAYS - 1)), spans.zone).0;
    let level = query::level_for(length, count, spans.reach);
    let from = level.span_of(now.before(length), spans.zone).0;
    let mut parts =
        vec![Part { level: Level::Day, from: year, to: now }, Part { level, from, to: now }];
    let windows = WINDOWS.map(|(_, days)| {
        let of_window = query::parts(
            Span { from: now.before(DAY * days), to: now },
            spans.reach,
            spans.zone,
            now,
        );
        parts.extend(&of_window);
        of_window.len()
    });
    let mut rollups = shared.api.store.rollups(&view.name, &parts, spans.zone).await?.into_iter();
    let days = rollups.next().unwrap_or_default();
    let series = rollups.next().unwrap_or_default();
    let windows = windows.map(|count| total(rollups.by_ref().take(count).collect()));
    let number = |start: &Timestamp| day_number(*start, spans.zone);
    Ok(Past {
        windows: windows.to_vec(),
        days: days.iter().map(|(start, it)| (number(start), Day::of(&it.tally))).collect(),
        points: query::series(&series, from, now, count),
        total: total(vec![series]),
        from,
        step: (now.since(from) / count.max(1)).max(match level {
            Level::Minute => Duration::from_secs(60),
            Level::Hour => Duration::from_secs(3600),
            Level::Day => DAY,
        }),
    })
}

fn total(parts: Vec<Rollups>) -> Rollup {
    let mut total = Rollup::default();
    parts.iter().flat_map(Rollups::values).for_each(|rollup| total.merge(rollup));
    total
}

#[derive(Serialize)]
struct UptimeRow {
    name: &'static str,
    uptime: Option<String>,
    mood: &'static str,
    down: Option<String>,
    degraded: Option<String>,
    unknown: Option<String>,
    maintenance: Option<String>,
    runs: u64,
}

#[derive(Serialize)]
struct ChartView {
    svg: String,
    times: String,
    p50: String,
    p95: String,
    p99: String,
    bands: String,
    has_incidents: bool,
    has_maintenance: bool,
    highest: String,
    from: Instant,
    to: Instant,
    /// The percentiles of the whole span.
    total: [(&'static str, String); 4],
    runs: u64,
}

impl Past {
    fn uptimes(&self) -> Vec<UptimeRow> {
        let rows = WINDOWS.iter().zip(&self.windows).map(|((name, _), rollup)| {
            let tally = &rollup.tally;
            let some = |time: Duration| (!time.is_zero()).then(|| span(time));
            UptimeRow {
                name,
                uptime: tally.uptime().map(percent),
                mood: uptime_mood(tally.uptime()),
                down: some(tally.time_of(Status::Down)),
                degraded: some(tally.time_of(Status::Degraded)),
                unknown: some(tally.time_of(Status::Unknown)),
                maintenance: some(tally.maintenance()),
                runs: tally.all_runs(),
            }
        });
        rows.collect()
    }

    fn calendar(&self, shared: &Shared, link: &str, now: Timestamp) -> Option<String> {
        let zone = shared.api.settings.load().spans.zone;
        let today = day_number(now, zone);
        (!self.days.is_empty()).then(|| calendar::calendar(&self.days, today, link, zone))
    }

    /// Nothing if there is nothing to draw.
    fn chart(&self, incidents: &[Incident], now: Timestamp) -> Option<ChartView> {
        let spots = chart::spots(&self.points);
        let mut bands = chart::maintenance(&self.points, self.step);
        bands.extend(chart::bands_of(incidents, self.from, now));
        let (from, to, step) = (self.from, now, self.step);
        let chart = Chart { spots: &spots, bands: &bands, from, to, step };
        let (min, _, max) = self.total.tally.latency_ms()?;
        let quantile = |q| {
            let exact = self.total.sketch.quantile(q).unwrap_or(max);
            millis(exact.clamp(min, max))
        };
        let [times, p50, p95, p99] = chart.data();
        Some(ChartView {
            svg: chart.svg(),
            times,
            p50,
            p95,
            p99,
            bands: chart.bands(),
            has_incidents: bands.iter().any(|band| band.what == "incident"),
            has_maintenance: bands.iter().any(|band| band.what == "maintenance"),
            highest: millis(chart.highest()),
            from: Instant::new(from, now),
            to: Instant::new(to, now),
            total: [
                ("median", quantile(0.5)),
                ("p95", quantile(0.95)),
                ("p99", quantile(0.99)),
                ("slowest", millis(max)),
            ],
            runs: self.total.tally.all_runs(),
        })
    }
}

#[derive(Serialize)]
struct IncidentRow<'a> {
    link: String,
    severity: &'a str,
    status: Status,
    opened: Instant,
    is_open: bool,
    lasted: String,
    reason: &'a str,
}

impl<'a> IncidentRow<'a> {
    fn new(incident: &'a Incident, now: Timestamp) -> Self {
        Self {
            link: format!("/incidents/{}", segment(&incident.id)),
            severity: incident.severity.as_str(),
            status: incident.status,
            opened: Instant::new(incident.opened_at, now),
            is_open: incident.resolved_at.is_none(),
            lasted: span(incident.duration(now)),
            reason: incident.reasons.first().map_or("", String::as_str),
        }
    }
}

/// What the check says of itself now.
#[derive(Serialize)]
struct Content {
    name: String,
    link: String,
    kind: &'static str,
    status: Status,
    since: Instant,
    reasons: Vec<String>,
    severity: &'static str,
    labels: Vec<(String, String, String)>,
    paused_by: Option<String>,
    paused_at: Option<Instant>,
    flapping: bool,
    unconfirmed: bool,
    incident_link: Option<String>,
    runbook: Option<String>,
    last_run: Option<Instant>,
    next_run: Option<Instant>,
    missed_runs: u64,
    latency: Option<String>,
    span: &'static str,
}

impl Content {
    fn new(view: &CheckView, asked: &Asked, now: Timestamp) -> Self {
        let state = &view.state;
        let incident = state.incident.as_ref();
        let label = |(key, value): (&String, &String)| {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("label", &format!("{key}={value}"));
            (key.clone(), value.clone(), format!("/?{}", query.finish()))
        };
        let latency = view.facts.get("latency_ms").and_then(|fact| fact.as_number());
        Self {
            name: view.name.to_string(),
            link: format!("/checks/{}", segment(&view.name)),
            kind: view.kind,
            status: state.status,
            since: Instant::new(state.since, now),
            reasons: if state.status == Status::Up { Vec::new() } else { state.reasons.clone() },
            severity: view.severity.as_str(),
            labels: view.labels.iter().map(label).collect(),
            paused_by: state.paused.as_ref().map(|paused| paused.by.clone()),
            paused_at: state.paused.as_ref().map(|paused| Instant::new(paused.at, now)),
            flapping: state.flapping,
            unconfirmed: state.status.is_bad() && incident.is_none(),
            incident_link: incident.map(|it| format!("/incidents/{}", segment(&it.id))),
            runbook: incident
                .and_then(|it| it.runbook.clone())
                .filter(|address| is_web_address(address)),
            last_run: state.last_run.map(|at| Instant::new(at, now)),
            next_run: view
                .next_run
                .filter(|_| state.paused.is_none())
                .map(|at| Instant::new(at.max(now), now)),
            missed_runs: state.missed_runs,
            latency: latency.filter(|_| state.last_run.is_some()).map(millis),
            span: asked.span.0,
        }
    }
}

/// What the template is given.
#[derive(Serialize)]
struct CheckPage<'a> {
    frame: Frame,
    #[serde(rename = "check")]
    content: Content,
    /// The store did not answer all that was asked.
    is_away: bool,
    may_read: bool,
    facts: Vec<FactRow>,
    phases: Vec<Phase>,
    /// A drawing, as the ones below; there is no text from outside in them.
    beats: String,
    uptimes: Vec<UptimeRow>,
    calendar: Option<String>,
    chart: Option<ChartView>,
    spans: Vec<SpanLink>,
    results: Vec<ResultRow>,
    older: Option<String>,
    is_first: bool,
    bad_only: bool,
    all_link: String,
    bad_link: String,
    incidents: Vec<IncidentRow<'a>>,
    more_incidents: bool,
    /// As TOML, without secrets.
    configuration: Option<String>,
}

/// What stands where there is no such check.
#[derive(Serialize)]
struct Missing {
    frame: Frame,
    why: String,
}
