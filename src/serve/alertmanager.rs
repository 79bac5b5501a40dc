//! What an Alertmanager answers, so that Prometheus can send its alerts here and `amtool` can list
//! and silence: version 2 of its API
//! (<https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>).

pub(super) mod alerts;
pub(super) mod silences;

use super::query::Query;
use super::router::{Shared, json};
use super::{OperateError, Problem};
use crate::model::{Matcher, Timestamp};
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::DateTime;
use http::{StatusCode, Uri, header};
use serde::Serialize;
use serde::de::{Deserialize, Deserializer};
use serde_json::json as object;
use std::sync::Arc;

/// What a handler gives: errors are a text in JSON there.
type Answer = Result<Response, Refusal>;

/// Why something is not done.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    why: String,
}

impl Refusal {
    fn bad(why: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, why: why.into() }
    }
}

impl From<OperateError> for Refusal {
    fn from(error: OperateError) -> Self {
        let status = match error {
            OperateError::NotFound => StatusCode::NOT_FOUND,
            OperateError::Invalid(_) => StatusCode::BAD_REQUEST,
            OperateError::Conflict(_) | OperateError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self { status, why: error.to_string() }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { status: problem.status, why: problem.detail }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let text = serde_json::Value::String(self.why).to_string();
        (self.status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
    }
}

/// What may be read.
pub(super) fn reading() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/v2/status", get(status))
        .route("/api/v2/receivers", get(receivers))
        .route("/api/v2/alerts", get(alerts::list))
        .route("/api/v2/alerts/groups", get(alerts::groups))
        .route("/api/v2/silences", get(silences::list))
        .route("/api/v2/silence/{id}", get(silences::one))
        .route("/-/healthy", get(fine))
        .route("/-/ready", get(fine))
}

/// What sends something in.
pub(super) fn pushing() -> Router<Arc<Shared>> {
    Router::new().route("/api/v2/alerts", post(alerts::take))
}

/// What people do.
pub(super) fn operating() -> Router<Arc<Shared>> {
    Router::new()
        .route("/api/v2/silences", post(silences::set))
        .route("/api/v2/silence/{id}", axum::routing::delete(silences::expire))
}

async fn fine() -> &'static str {
    "OK"
}

/// `GET /api/v2/status`.
async fn status(State(shared): State<Arc<Shared>>) -> Answer {
    let daemon = shared.api.control.daemon();
    answer(&object!({
        "cluster": { "status": "disabled", "name": &*daemon.name, "peers": [] },
        "versionInfo": {
            "version": daemon.version,
            "revision": "",
            "branch": "",
            "buildUser": "watchbell",
            "buildDate": "",
            "goVersion": "",
        },
        "config": { "original": "# This is Watchbell. Its configuration is daemon.toml.\n" },
        "uptime": daemon.started.wall,
    }))
}

/// `GET /api/v2/receivers`.
async fn receivers(State(shared): State<Arc<Shared>>) -> Answer {
    let channels = shared.api.control.receivers().await?;
    answer(&channels.iter().map(|name| object!({ "name": &**name })).collect::<Vec<_>>())
}

fn answer(value: &impl Serialize) -> Answer {
    Ok(json(value)?)
}

/// The matchers of a search: each `filter` is one.
fn filters(query: &Query) -> Result<Vec<Matcher>, Refusal> {
    let read = |text: &str| Matcher::parse(text).map_err(Refusal::bad);
    query.all("filter").map(read).collect()
}

/// Whether it holds what no database takes in a text.
fn holds_zero(text: &str) -> bool {
    text.contains('\0')
}

/// The parameters of a request. Those that Alertmanager does not know it passes over.
fn query(uri: &Uri) -> Query {
    Query::lenient(uri)
}

/// A time of RFC 3339; one before the epoch, such as the year 1 that `amtool` sends, is none.
#[derive(Clone, Copy, Debug, Default)]
struct Time(Option<Timestamp>);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else {
            return Ok(Self(None));
        };
        if text.is_empty() {
            return Ok(Self(None));
        }
        let time = DateTime::parse_from_rfc3339(&text).map_err(serde::de::Error::custom)?;
        Ok(Self(Some(time.to_utc().into()).filter(|at: &Timestamp| at.as_millis() > 0)))
    }
}
