//! What the API tells of the past of a check: uptime, latency, and everything for a spreadsheet.

use super::checks::find;
use super::problem::{Problem, shown};
use super::query::Query;
use super::router::{Answer, Shared, json};
use crate::model::{Status, Timestamp};
use crate::record::archive::rollup::{Level, Rollup, Rollups};
use crate::record::query::{self, Span};
use crate::record::{Page, Paged, Part, export};
use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::IntoResponse as _;
use chrono::{DateTime, Months};
use http::{Uri, header};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

const DAY: Duration = Duration::from_secs(86_400);
/// The spans that uptime is told for, back from now.
const WINDOWS: [(&str, Duration); 5] = [
    ("24h", DAY),
    ("7d", Duration::from_secs(7 * 86_400)),
    ("30d", Duration::from_secs(30 * 86_400)),
    ("90d", Duration::from_secs(90 * 86_400)),
    ("1y", Duration::from_secs(365 * 86_400)),
];
/// How many days, the latest ones.
const DAYS: u32 = 90;
/// How many months of the calendar, the latest ones.
const MONTHS: u32 = 12;
/// How many points a series has if nobody says, and at most.
const POINTS: u32 = 100;
const MOST_POINTS: u32 = 1000;
/// How long a series is if nobody says, and at most.
const LONGEST: Duration = Duration::from_secs(3660 * 86_400);

/// What is known of a span of time.
#[derive(Serialize, ToSchema)]
#[schema(as = Uptime)]
pub(super) struct UptimeJson {
    /// From when on; the finest border that is still kept.
    from: Timestamp,
    to: Timestamp,
    /// The share of time that the check was up or degraded, of the time that it was known to be that
    /// or down.
    uptime: Option<f64>,
    up_seconds: f64,
    degraded_seconds: f64,
    down_seconds: f64,
    unknown_seconds: f64,
    maintenance_seconds: f64,
    /// Time of which nobody knows anything: the daemon did not run, or the check did not exist.
    unwatched_seconds: f64,
    runs: u64,
}

impl UptimeJson {
    fn new(from: Timestamp, to: Timestamp, rollup: &Rollup) -> Self {
        let tally = &rollup.tally;
        let of = |status| tally.time_of(status).as_secs_f64();
        let known: Duration = Status::ALL.into_iter().map(|status| tally.time_of(status)).sum();
        let unwatched = to.since(from).saturating_sub(known + tally.maintenance());
        Self {
            from,
            to,
            uptime: tally.uptime(),
            up_seconds: of(Status::Up),
            degraded_seconds: of(Status::Degraded),
            down_seconds: of(Status::Down),
            unknown_seconds: of(Status::Unknown),
            maintenance_seconds: tally.maintenance().as_secs_f64(),
            unwatched_seconds: unwatched.as_secs_f64(),
            runs: tally.all_runs(),
        }
    }
}

/// An uptime with what its span is called.
#[derive(Serialize, ToSchema)]
#[schema(as = NamedUptime)]
pub(super) struct NamedJson {
    name: String,
    #[serde(flatten)]
    uptime: UptimeJson,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Uptimes)]
pub(super) struct UptimesJson {
    windows: Vec<NamedJson>,
    /// Months of the calendar, the latest first.
    months: Vec<NamedJson>,
    /// Days of the calendar, the latest first.
    days: Vec<NamedJson>,
}

/// `GET /api/v1/checks/{name}/uptime`.
pub(super) async fn uptime(
    State(shared): State<Arc<Shared>>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    Query::none(&uri)?;
    let view = find(&shared, name)?;
    let spans = shared.api.settings.load().spans;
    let now = shared.api.clock.wall();
    let months = months(now, spans.zone);
    let first = months.last().map_or(now, |(_, from, _)| *from);
    // All at once: what is not sealed yet is read and counted a single time.
    let mut parts = vec![Part { level: Level::Day, from: first, to: now }];
    let windows = WINDOWS.map(|(name, length)| {
        let span = Span { from: now.before(length), to: now };
        let of_window = query::parts(span, spans.reach, spans.zone, now);
        let start = of_window.first().map_or(span.from, |part| part.from);
        parts.extend(&of_window);
        (name, start, of_window.len())
    });
    let mut rollups = shared.api.store.rollups(&view.name, &parts, spans.zone).await?.into_iter();
    let days = rollups.next().unwrap_or_default();
    let windows = windows.into_iter().map(|(name, from, count)| {
        let rollup = sum(rollups.by_ref().take(count).collect::<Vec<_>>().iter());
        NamedJson { name: name.to_owned(), uptime: UptimeJson::new(from, now, &rollup) }
    });
    let windows = windows.collect();
    let months = months.into_iter().map(|(name, from, to)| {
        let rollup = total(days.range(from..to).map(|(_, rollup)| rollup));
        NamedJson { name, uptime: UptimeJson::new(from, to, &rollup) }
    });
    let months = months.collect();
    let latest = days.iter().rev().take(DAYS as usize).map(|(from, rollup)| {
        let to = Level::Day.span_of(*from, spans.zone).1.min(now);
        let day = from.to_datetime().with_timezone(&spans.zone).format("%Y-%m-%d");
        NamedJson { name: day.to_string(), uptime: UptimeJson::new(*from, to, rollup) }
    });
    json(&UptimesJson { windows, months, days: latest.collect() })
}

/// The latest months, with their names, the latest first; that goes until now.
fn months(now: Timestamp, zone: chrono_tz::Tz) -> Vec<(String, Timestamp, Timestamp)> {
    let today = now.to_datetime().with_timezone(&zone);
    let mut months = Vec::new();
    let mut to = now;
    for back in 0..MONTHS {
        let Some(month) = today.checked_sub_months(Months::new(back)) else { break };
        let from = Level::Day.page_of(month.to_utc().into(), zone);
        months.push((month.format("%Y-%m").to_string(), from, to));
        to = from;
    }
    months
}

fn total<'r>(rollups: impl Iterator<Item = &'r Rollup>) -> Rollup {
    let mut total = Rollup::default();
    rollups.for_each(|rollup| total.merge(rollup));
    total
}

fn sum<'r>(parts: impl Iterator<Item = &'r Rollups>) -> Rollup {
    total(parts.flat_map(Rollups::values))
}

/// How long runs took that found the check up or degraded, in milliseconds. Quantiles are right
/// within 1%.
#[derive(Serialize, ToSchema)]
#[schema(as = Latency)]
pub(super) struct LatencyJson {
    at: Timestamp,
    runs: u64,
    min_ms: Option<f64>,
    mean_ms: Option<f64>,
    p50_ms: Option<f64>,
    pub(super) p95_ms: Option<f64>,
    p99_ms: Option<f64>,
    max_ms: Option<f64>,
}

impl LatencyJson {
    pub(super) fn new(at: Timestamp, rollup: &Rollup) -> Self {
        let known = rollup.tally.latency_ms();
        // A quantile is no better than its bucket, but never beyond what was really seen.
        let quantile = |q| {
            let (min, _, max) = known?;
            Some(rollup.sketch.quantile(q)?.clamp(min, max))
        };
        Self {
            at,
            runs: rollup.sketch.count(),
            min_ms: known.map(|(min, ..)| min),
            mean_ms: known.map(|(_, mean, _)| mean),
            p50_ms: quantile(0.5),
            p95_ms: quantile(0.95),
            p99_ms: quantile(0.99),
            max_ms: known.map(|(.., max)| max),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = LatencySeries)]
pub(super) struct SeriesJson {
    from: Timestamp,
    to: Timestamp,
    /// Of the whole span.
    total: LatencyJson,
    /// The oldest first; spans of which nothing is known are left out.
    items: Vec<LatencyJson>,
}

/// `GET /api/v1/checks/{name}/latency?window=24h&points=100`.
pub(super) async fn latency(
    State(shared): State<Arc<Shared>>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    let query = Query::read(&uri, &["window", "points"], &[])?;
    let window = window(&query)?;
    let points = match query.one("points") {
        None => POINTS,
        Some(text) => {
            let points = text.parse().ok().filter(|points| (1..=MOST_POINTS).contains(points));
            points.ok_or_else(|| {
                let text = shown(text);
                Problem::bad_query(format!(
                    "`points` is a whole number from 1 to {MOST_POINTS}, not `{text}`"
                ))
            })?
        }
    };
    let view = find(&shared, name)?;
    let spans = shared.api.settings.load().spans;
    let to = shared.api.clock.wall();
    let level = query::level_for(window, points, spans.reach);
    let from = level.span_of(to.before(window), spans.zone).0;
    let part = Part { level, from, to };
    let rollups = shared.api.store.rollups(&view.name, &[part], spans.zone).await?;
    let items = rollups.iter().flat_map(|rollups| query::series(rollups, from, to, points));
    json(&SeriesJson {
        from,
        to,
        total: LatencyJson::new(from, &sum(rollups.iter())),
        items: items.map(|point| LatencyJson::new(point.at, &point.rollup)).collect(),
    })
}

fn window(query: &Query) -> Result<Duration, Problem> {
    span_of(query, "24h").map(|(window, _)| window)
}

/// How far back is asked for, and in the words of whoever asks.
pub(super) fn span_of<'q>(
    query: &'q Query,
    otherwise: &'q str,
) -> Result<(Duration, &'q str), Problem> {
    let text = query.one("window").unwrap_or(otherwise);
    let window = crate::config::parse_duration(text).ok();
    let window = window.filter(|window| !window.is_zero() && *window <= LONGEST);
    window.map(|window| (window, text)).ok_or_else(|| {
        let text = shown(text);
        Problem::bad_query(format!("`window` is a span such as 24h or 30d, not `{text}`"))
    })
}

/// All that is known of a check's latest `window`.
pub(super) async fn whole(
    shared: &Shared,
    check: &str,
    window: Duration,
) -> Result<Rollup, Problem> {
    let spans = shared.api.settings.load().spans;
    let now = shared.api.clock.wall();
    let span = Span { from: now.before(window), to: now };
    let parts = query::parts(span, spans.reach, spans.zone, now);
    Ok(sum(shared.api.store.rollups(check, &parts, spans.zone).await?.iter()))
}

/// One hour of the week.
#[derive(Serialize, ToSchema)]
#[schema(as = HourOfWeek)]
pub(super) struct HeatJson {
    /// 1 is Monday.
    weekday: u32,
    hour: u32,
    uptime: Option<f64>,
    #[serde(flatten)]
    latency: LatencyJson,
}

/// The week by the hour.
#[derive(Serialize, ToSchema)]
#[schema(as = HeatMap)]
pub(super) struct HeatsJson {
    from: Timestamp,
    to: Timestamp,
    /// Hours of which nothing is known are left out.
    items: Vec<HeatJson>,
}

/// `GET /api/v1/checks/{name}/heat?window=30d`: by hour and weekday.
pub(super) async fn heat(
    State(shared): State<Arc<Shared>>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    let window = window(&Query::read(&uri, &["window"], &[])?)?;
    let view = find(&shared, name)?;
    let spans = shared.api.settings.load().spans;
    let to = shared.api.clock.wall();
    let from = Level::Hour.span_of(to.before(window), spans.zone).0;
    let part = Part { level: Level::Hour, from, to };
    let rollups = shared.api.store.rollups(&view.name, &[part], spans.zone).await?;
    let cells = rollups.iter().flat_map(|rollups| query::heat(rollups, spans.zone));
    let items: Vec<HeatJson> = cells
        .map(|((weekday, hour), rollup)| HeatJson {
            weekday,
            hour,
            uptime: rollup.tally.uptime(),
            latency: LatencyJson::new(from, &rollup),
        })
        .collect();
    json(&HeatsJson { from, to, items })
}

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Csv,
    JsonLines,
}

/// `GET /api/v1/checks/{name}/export?format=csv|jsonl&from=…&to=…`: the results from the one time on
/// and until before the other, or all of them, newest first, streamed.
pub(super) async fn export(
    State(shared): State<Arc<Shared>>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    let query = Query::read(&uri, &["format", "from", "to"], &[])?;
    let shape = query.word("format", &["csv", "jsonl"], |word| match word {
        "csv" => Some(Shape::Csv),
        "jsonl" => Some(Shape::JsonLines),
        _ => None,
    })?;
    let shape = shape.unwrap_or(Shape::JsonLines);
    let (from, to) = (time(&query, "from")?, time(&query, "to")?);
    let view = find(&shared, name)?;
    let (kind, ending) = match shape {
        Shape::Csv => ("text/csv; charset=utf-8", "csv"),
        Shape::JsonLines => ("application/jsonl; charset=utf-8", "jsonl"),
    };
    // The name is one of the configuration, and so plain.
    let file = format!("attachment; filename=\"{}.{ending}\"", view.name);
    let first = match to {
        Some(to) => Page::of_results_before(to, 1000),
        None => Page { limit: 1000, cursor: None },
    };
    let pages = futures_util::stream::try_unfold(Some((true, first)), move |next| {
        let (shared, view) = (Arc::clone(&shared), Arc::clone(&view));
        async move {
            let Some((is_first, page)) = next else { return Ok::<_, Failed>(None) };
            let Paged { mut items, mut next } = shared.api.store.results(&view.name, &page).await?;
            let found = items.len();
            items.retain(|result| from.is_none_or(|from| from <= result.at));
            if items.len() < found {
                next = None;
            }
            let written = export::write(&items, shape == Shape::Csv, is_first)?;
            let next = next.map(|cursor| (false, Page { limit: 1000, cursor: Some(cursor) }));
            Ok(Some((Bytes::from(written), next)))
        }
    });
    let head = [(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, file)];
    Ok((head, Body::from_stream(pages)).into_response())
}

fn time(query: &Query, key: &str) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = query.one(key) else { return Ok(None) };
    match DateTime::parse_from_rfc3339(text) {
        Ok(time) => Ok(Some(time.to_utc().into())),
        Err(_) => Err(Problem::bad_query(format!(
            "`{key}` is a time as in RFC 3339, such as 2031-05-01T08:00:00Z, not `{}`",
            shown(text)
        ))),
    }
}

type Failed = Box<dyn std::error::Error + Send + Sync>;
