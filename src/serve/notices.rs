use super::checks::List;
use super::query::Query;
use super::router::{Answer, Shared, json};
use crate::model::{HeldBecause, Notice, NoticeState, Timestamp, What};
use crate::record::NoticeFilter;
use axum::extract::State;
use http::Uri;
use serde::Serialize;
use std::sync::Arc;

/// A notice in the shape that the API promises.
#[derive(Serialize)]
struct NoticeJson<'a> {
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
    attempts: u32,
    last_error: Option<&'a str>,
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
            attempts: notice.attempts,
            last_error: notice.last_error.as_deref(),
            at: notice.at,
            due_at: notice.is_owed().then_some(notice.due_at),
            sent_at: notice.sent_at,
        }
    }
}

/// `GET /api/v1/notices`: newest first.
pub(super) async fn list(State(shared): State<Arc<Shared>>, uri: Uri) -> Answer {
    const STATES: [&str; 5] = ["pending", "sent", "held", "rejected", "cancelled"];
    let query = Query::read(&uri, &["state", "channel", "incident"], &[])?;
    let filter = NoticeFilter {
        state: query.word("state", &STATES, NoticeState::from_word)?,
        channel: query.one("channel").map(str::to_owned),
        incident: query.one("incident").map(str::to_owned),
    };
    let found = shared.api.store.notices(&filter, &query.page()?).await?;
    let items = found.items.iter().map(NoticeJson::from).collect();
    json(&List { items, next: found.next })
}
