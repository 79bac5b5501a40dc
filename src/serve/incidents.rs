use super::OperateError;
use super::access::Visitor;
use super::body::Fields;
use super::checks::List;
use super::problem::{Problem, shown};
use super::query::{Query, read_id};
use super::router::{Answer, Shared, json};
use crate::model::{Incident, IncidentView};
use crate::record::{IncidentFilter, Page, Paged};
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use bytes::Bytes;
use http::Uri;
use std::sync::Arc;

/// `GET /api/v1/incidents`: newest first.
pub(super) async fn list(State(shared): State<Arc<Shared>>, uri: Uri) -> Answer {
    let query = Query::read(&uri, &["state", "check"], &[])?;
    let open = query.word("state", &["open", "resolved"], |word| match word {
        "open" => Some(true),
        "resolved" => Some(false),
        _ => None,
    })?;
    let filter = IncidentFilter { open, check: query.one("check").map(str::to_owned) };
    let page = query.page()?;
    let found = match open {
        Some(true) => open_ones(shared.open_incidents(), &filter, page),
        _ => shared.api.store.incidents(&filter, &page).await?,
    };
    let items = found.items.iter().map(IncidentView::from).collect();
    json(&List { items, next: found.next })
}

/// The open incidents are all in memory, where they are newest, and where they stand also while
/// the store is away. Their ids sort by the time of opening, so that an id is a cursor.
pub(super) fn open_ones(
    mut open: Vec<Incident>,
    filter: &IncidentFilter,
    page: Page,
) -> Paged<Incident> {
    open.retain(|incident| {
        filter.check.as_deref().is_none_or(|check| check == &*incident.check)
            && page.cursor.as_ref().is_none_or(|cursor| incident.id < *cursor)
    });
    open.sort_by(|a, b| b.id.cmp(&a.id));
    let more = open.len() > page.limit as usize;
    open.truncate(page.limit as usize);
    let next = open.last().filter(|_| more).map(|last| last.id.clone());
    Paged { items: open, next }
}

/// `GET /api/v1/incidents/{id}`.
///
/// An open one is taken from memory, where it is newest, and where it stands also while the store
/// is away.
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    Query::none(&uri)?;
    let id = read_id(id, "incident")?;
    json(&IncidentView::from(&find(&shared, &id).await?))
}

/// The incident with this id, open or not.
pub(super) async fn find(shared: &Shared, id: &str) -> Result<Incident, Problem> {
    if let Some(open) = shared.open_incidents().into_iter().find(|incident| incident.id == id) {
        return Ok(open);
    }
    shared.api.store.incident(id).await?.ok_or_else(|| missing(id))
}

/// `POST /api/v1/incidents/{id}/ack`: somebody takes it on; answers with the incident.
pub(super) async fn acknowledge(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
    body: Bytes,
) -> Answer {
    Query::none(&uri)?;
    let id = read_id(id, "incident")?;
    let mut fields = Fields::read(&body, &["by", "note", "for", "until"])?;
    let by = fields.person("by", &visitor)?;
    let note = fields.text("note")?;
    let now = shared.api.clock.wall();
    let until = fields.end("until", now, now)?;
    let done = shared.api.control.acknowledge(&id, &by, note.as_deref(), until).await;
    answer(&shared, &id, done).await
}

/// `DELETE /api/v1/incidents/{id}/ack`: nobody has it any more; answers with the incident.
pub(super) async fn unacknowledge(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
    body: Bytes,
) -> Answer {
    Query::none(&uri)?;
    let id = read_id(id, "incident")?;
    let by = Fields::read(&body, &["by"])?.person("by", &visitor)?;
    let done = shared.api.control.unacknowledge(&id, &by).await;
    answer(&shared, &id, done).await
}

/// `POST /api/v1/incidents/{id}/snooze`: no reminder for a while; answers with the incident.
pub(super) async fn snooze(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
    body: Bytes,
) -> Answer {
    Query::none(&uri)?;
    let id = read_id(id, "incident")?;
    let mut fields = Fields::read(&body, &["by", "for", "until"])?;
    let by = fields.person("by", &visitor)?;
    let now = shared.api.clock.wall();
    let until = fields.end("until", now, now)?;
    let until = until
        .ok_or_else(|| Problem::bad_body("Say how long: `for`, such as \"2h\", or `until`."))?;
    let done = shared.api.control.snooze(&id, &by, until).await;
    answer(&shared, &id, done).await
}

/// The incident as it is now, or why nothing was done to it.
async fn answer(shared: &Shared, id: &str, done: Result<Incident, OperateError>) -> Answer {
    match done {
        Ok(incident) => json(&IncidentView::from(&incident)),
        // Those who operate know the open ones only.
        Err(OperateError::NotFound) => match shared.api.store.incident(id).await? {
            Some(known) if known.resolved_at.is_some() => {
                Err(Problem::conflict("The incident is resolved already."))
            }
            _ => Err(missing(id)),
        },
        Err(error) => Err(Problem::operate(error, "There is no such incident.")),
    }
}

fn missing(id: &str) -> Problem {
    Problem::not_found(format!("There is no incident `{}`.", shown(id)))
}
