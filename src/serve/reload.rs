use super::problem::Problem;
use super::query::Query;
use super::router::{Answer, Shared, json};
use super::{ReloadError, Reloaded};
use crate::model::Name;
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
    /// Checks that have another name now.
    renamed: Vec<RenamedJson>,
}

/// A check that has another name now.
#[derive(Serialize, ToSchema)]
#[schema(as = Renamed)]
pub(super) struct RenamedJson {
    /// What it was called.
    #[schema(value_type = String)]
    from: Name,
    /// What it is called.
    #[schema(value_type = String)]
    to: Name,
}

/// `POST /api/v1/reload`: reads the configuration again, as SIGHUP does, and says what came of it.
pub(super) async fn reload(State(shared): State<Arc<Shared>>, uri: Uri) -> Answer {
    Query::none(&uri)?;
    match shared.api.control.reload().await {
        Ok(Reloaded { added, changed, removed, renamed }) => {
            let renamed = renamed.into_iter().map(|(from, to)| RenamedJson { from, to }).collect();
            json(&ReloadedJson { added, changed, removed, renamed })
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
