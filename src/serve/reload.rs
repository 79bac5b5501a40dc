use super::ReloadError;
use super::problem::Problem;
use super::query::Query;
use super::router::{Answer, Shared, json};
use axum::extract::State;
use http::{StatusCode, Uri};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// How many checks a reload changed.
#[derive(Serialize, ToSchema)]
#[schema(as = Reloaded)]
pub(super) struct ReloadedJson {
    added: usize,
    changed: usize,
    removed: usize,
}

/// `POST /api/v1/reload`: reads the configuration again, as SIGHUP does, and says what came of it.
pub(super) async fn reload(State(shared): State<Arc<Shared>>, uri: Uri) -> Answer {
    Query::none(&uri)?;
    match shared.api.control.reload().await {
        Ok(done) => {
            json(&ReloadedJson { added: done.added, changed: done.changed, removed: done.removed })
        }
        Err(ReloadError::Configuration(problems)) => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "bad-configuration",
            "The configuration cannot be used; the old one goes on",
            problems.join("\n"),
        )),
        Err(error @ ReloadError::Stopping) => {
            Err(Problem::unavailable("stopping", error.to_string()))
        }
    }
}
