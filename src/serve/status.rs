use super::problem::Problem;
use super::query::Query;
use super::router::{Answer, Shared, json};
use crate::model::{Status, Timestamp};
use axum::extract::State;
use http::Uri;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// How long the store may take to say that it is there.
const PING_BOUND: Duration = Duration::from_secs(2);

/// How the daemon is, in a word.
#[derive(Serialize, ToSchema)]
pub(super) struct Word {
    /// `ok` or `ready`.
    status: &'static str,
    timestamp: Timestamp,
}

/// The whole at a glance.
#[derive(Serialize, ToSchema)]
#[schema(as = Overview)]
pub(super) struct StatusJson<'a> {
    name: &'a str,
    version: &'a str,
    started_at: Timestamp,
    uptime_seconds: f64,
    timestamp: Timestamp,
    ready: bool,
    checks: CountsJson,
    open_incidents: usize,
    /// Notices that are owed: pending or held.
    outbox_depth: u64,
    store: StoreJson<'a>,
    /// How late the latest runs started.
    schedule_lag_ms: f64,
    /// Checks running at this moment.
    in_flight: u64,
    /// Runs that fell due while the one before was still at work, since the start.
    missed_runs: u64,
}

/// How many checks there are, and of each status.
#[derive(Serialize, ToSchema)]
#[schema(as = Counts)]
pub(super) struct CountsJson {
    total: usize,
    up: usize,
    degraded: usize,
    down: usize,
    unknown: usize,
    paused: usize,
}

/// How the store is.
#[derive(Serialize, ToSchema)]
#[schema(as = StoreStatus)]
pub(super) struct StoreJson<'a> {
    /// `ok` or `failing`.
    status: &'static str,
    engine: &'a str,
    error: Option<&'a str>,
    /// Results that are not written yet.
    waiting: u64,
    /// Results that found no room while the store was away.
    dropped: u64,
}

/// `GET /health`: the process answers. It says nothing about the checks.
pub(super) async fn health(State(shared): State<Arc<Shared>>) -> Answer {
    json(&Word { status: "ok", timestamp: shared.api.clock.wall() })
}

/// `GET /ready`: the store answers and the schedule runs.
pub(super) async fn ready(State(shared): State<Arc<Shared>>, uri: Uri) -> Answer {
    Query::none(&uri)?;
    let not_ready = |why: &str| Err(Problem::unavailable("not-ready", why));
    if let Err(why) = shared.api.control.daemon().ready {
        return not_ready(&why);
    }
    match tokio::time::timeout(PING_BOUND, shared.api.store.ping()).await {
        Ok(Ok(())) => json(&Word { status: "ready", timestamp: shared.api.clock.wall() }),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready: the store does not answer");
            not_ready("The store refuses; the daemon's log says why.")
        }
        Err(_) => not_ready(&format!("The store did not answer within {PING_BOUND:?}.")),
    }
}

/// `GET /api/v1/status`: the whole at a glance.
pub(super) async fn status(State(shared): State<Arc<Shared>>, uri: Uri) -> Answer {
    Query::none(&uri)?;
    let daemon = shared.api.control.daemon();
    let now = shared.api.clock.now();
    let totals = shared.api.board.totals();
    json(&StatusJson {
        name: &daemon.name,
        version: daemon.version,
        started_at: daemon.started.wall,
        uptime_seconds: now.mono.saturating_sub(daemon.started.mono).as_secs_f64(),
        timestamp: now.wall,
        ready: daemon.ready.is_ok(),
        checks: CountsJson {
            total: totals.checks(),
            up: totals.of(Status::Up),
            degraded: totals.of(Status::Degraded),
            down: totals.of(Status::Down),
            unknown: totals.of(Status::Unknown),
            paused: totals.paused,
        },
        open_incidents: totals.incidents + daemon.other_incidents.len(),
        outbox_depth: daemon.outbox_depth,
        store: StoreJson {
            status: if daemon.store.error.is_some() { "failing" } else { "ok" },
            engine: daemon.store.engine,
            error: daemon.store.error.as_deref(),
            waiting: daemon.store.waiting,
            dropped: daemon.store.dropped,
        },
        schedule_lag_ms: daemon.schedule_lag.as_secs_f64() * 1000.0,
        in_flight: daemon.in_flight,
        missed_runs: daemon.missed_runs,
    })
}
