use super::OperateError;
use super::checks::List;
use super::problem::{Problem, shown};
use super::query::Query;
use super::router::{Answer, Shared, json};
use crate::model::{HeldBecause, Notice, NoticeState, Timestamp, Try, What};
use crate::record::NoticeFilter;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use http::Uri;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// A notice in the shape that the API promises.
#[derive(Serialize, ToSchema)]
#[schema(as = Notice)]
pub(super) struct NoticeJson<'a> {
    id: &'a str,
    incidents: Vec<&'a str>,
    checks: Vec<&'a str>,
    what: What,
    channel: &'a str,
    recipient: &'a str,
    state: NoticeState,
    held_because: Option<HeldBecause>,
    /// The digest that carried it, if one did.
    digest: Option<&'a str>,
    /// What it comes together with, if its route groups.
    group: Option<&'a str>,
    /// Held until then, since its route is mute at this hour.
    mute_until: Option<Timestamp>,
    attempts: u32,
    last_error: Option<&'a str>,
    /// The first time that it was handed to the channel, and the latest ones: oldest first.
    tries: &'a [Try],
    at: Timestamp,
    /// Not tried before; null once nothing is owed.
    due_at: Option<Timestamp>,
    sent_at: Option<Timestamp>,
}

impl<'a> From<&'a Notice> for NoticeJson<'a> {
    fn from(notice: &'a Notice) -> Self {
        let mut checks: Vec<&str> = Vec::new();
        for incident in &notice.incidents {
            if !checks.contains(&&*incident.check) {
                checks.push(&incident.check);
            }
        }
        Self {
            id: &notice.id,
            incidents: notice.incidents.iter().map(|incident| incident.id.as_str()).collect(),
            checks,
            what: notice.what,
            channel: &notice.channel,
            recipient: &notice.recipient,
            state: notice.state,
            held_because: notice.held_because,
            digest: notice.digest.as_deref(),
            group: notice.group.as_ref().map(|group| &*group.key),
            mute_until: notice.mute_until,
            attempts: notice.attempts,
            last_error: notice.last_error.as_deref(),
            tries: &notice.tries,
            at: notice.at,
            due_at: notice.is_owed().then_some(notice.due_at),
            sent_at: notice.sent_at,
        }
    }
}

/// `GET /api/v1/notices`: newest first.
pub(super) async fn list(State(shared): State<Arc<Shared>>, uri: Uri) -> Answer {
    let states = NoticeState::ALL.map(NoticeState::as_str);
    let query = Query::read(&uri, &["state", "channel", "incident"], &[])?;
    let filter = NoticeFilter {
        state: query.word("state", &states, NoticeState::from_word)?,
        channel: query.one("channel").map(str::to_owned),
        incident: query.one("incident").map(str::to_owned),
    };
    let found = shared.api.store.notices(&filter, &query.page()?).await?;
    let items = found.items.iter().map(NoticeJson::from).collect();
    json(&List { items, next: found.next })
}

/// `POST /api/v1/notices/{id}/retry`: tries it at once; answers with the notice.
pub(super) async fn retry(
    State(shared): State<Arc<Shared>>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    Query::none(&uri)?;
    let Ok(Path(id)) = id else {
        return Err(Problem::not_found("The id of the notice in the address cannot be read."));
    };
    let missing = format!("There is no notice `{}`.", shown(&id));
    match shared.api.control.retry_notice(&id).await {
        Ok(notice) => json(&NoticeJson::from(&notice)),
        // The outbox forgets what is settled; the store does not.
        Err(OperateError::NotFound) => match shared.api.store.notice(&id).await? {
            Some(notice) => {
                Err(Problem::conflict(format!("The notice is {} already.", notice.state.as_str())))
            }
            None => Err(Problem::not_found(missing)),
        },
        Err(error) => Err(Problem::operate(error, missing)),
    }
}
