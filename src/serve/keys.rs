use super::checks::List;
use super::query::Query;
use super::router::{Answer, Shared, json};
use crate::model::Timestamp;
use axum::extract::State;
use http::Uri;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// What may be told of a key: everything but the key.
#[derive(Serialize, ToSchema)]
#[schema(as = Key)]
pub(super) struct KeyJson<'a> {
    name: &'a str,
    scopes: Vec<&'static str>,
    expires_at: Option<Timestamp>,
    expired: bool,
    /// Since the daemon started.
    last_used_at: Option<Timestamp>,
}

/// `GET /api/v1/keys`: in the order of the configuration.
pub(super) async fn list(State(shared): State<Arc<Shared>>, uri: Uri) -> Answer {
    Query::none(&uri)?;
    let now = shared.api.clock.wall();
    let settings = shared.api.settings.load();
    let items = settings.keys.iter().map(|key| KeyJson {
        name: &key.name,
        scopes: key.scopes.iter().map(|scope| scope.as_str()).collect(),
        expires_at: key.expires,
        expired: key.is_over(now),
        last_used_at: key.last_used(),
    });
    json(&List { items: items.collect(), next: None })
}
