use super::checks::List;
use super::problem::{Problem, shown};
use super::query::Query;
use super::router::{Answer, Shared, json};
use crate::model::{Incident, IncidentView};
use crate::record::{IncidentFilter, Page, Paged};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
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
fn open_ones(mut open: Vec<Incident>, filter: &IncidentFilter, page: Page) -> Paged<Incident> {
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
    let Ok(Path(id)) = id else {
        return Err(Problem::not_found("The id of the incident in the address cannot be read."));
    };
    if let Some(incident) = shared.open_incidents().iter().find(|incident| incident.id == id) {
        return json(&IncidentView::from(incident));
    }
    match shared.api.store.incident(&id).await? {
        Some(incident) => json(&IncidentView::from(&incident)),
        None => Err(Problem::not_found(format!("There is no incident `{}`.", shown(&id)))),
    }
}
