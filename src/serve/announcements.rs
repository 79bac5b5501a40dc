//! What people tell the readers of the public status page in their own words. It goes straight to
//! the store: nobody is told of an announcement that is not durable.

use super::access::Visitor;
use super::body::{Fields, new_id};
use super::checks::List;
use super::problem::{Problem, shown};
use super::query::{Query, read_id};
use super::router::{Answer, Shared, created, json};
use crate::model::{
    Announcement, AnnouncementKind, AnnouncementUpdate, Name, Timestamp, did_you_mean,
};
use crate::record::StoreError;
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::IntoResponse as _;
use bytes::Bytes;
use http::{StatusCode, Uri};
use serde::Serialize;
use serde_json::Value as Json;
use std::sync::{Arc, Mutex, PoisonError};
use utoipa::ToSchema;

/// The longest title and the longest message, in characters.
pub(super) const LONGEST_TITLE: usize = 200;
pub(super) const LONGEST_BODY: usize = 10_000;
/// The most checks that one is about.
pub(super) const MOST_CHECKS: usize = 100;
/// The most announcements, and the most messages of one. All of them are in memory now and then.
const MOST: usize = 1000;
const MOST_UPDATES: usize = 200;
const KNOWN: [&str; 7] = ["title", "body", "kind", "checks", "starts_at", "ends_at", "by"];

/// An announcement in the shape that the API promises.
#[derive(Serialize, ToSchema)]
#[schema(as = Announcement)]
pub(super) struct AnnouncementJson<'a> {
    id: &'a str,
    title: &'a str,
    /// Where things stand by the latest message.
    kind: AnnouncementKind,
    /// `current` or `over`.
    state: &'static str,
    #[schema(value_type = Vec<String>)]
    checks: &'a [Name],
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// What was said, oldest first.
    #[schema(value_type = Vec<AnnouncementUpdate>)]
    updates: &'a [AnnouncementUpdate],
}

impl<'a> AnnouncementJson<'a> {
    fn new(announcement: &'a Announcement, now: Timestamp) -> Self {
        Self {
            id: &announcement.id,
            title: &announcement.title,
            kind: announcement.kind(),
            state: if announcement.is_over(now) { "over" } else { "current" },
            checks: &announcement.checks,
            starts_at: announcement.starts_at,
            ends_at: announcement.ends_at,
            created_at: announcement.created_at(),
            updated_at: announcement.updated_at(),
            updates: &announcement.updates,
        }
    }
}

/// The announcements as the store last gave them, so that readers of the public page cost it
/// nothing. One change is made at a time.
#[derive(Debug, Default)]
pub(super) struct Board {
    known: Mutex<Option<Arc<[Announcement]>>>,
    changing: tokio::sync::Mutex<()>,
}

impl Board {
    /// All announcements, newest first.
    pub(super) async fn all(&self, shared: &Shared) -> Result<Arc<[Announcement]>, StoreError> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let _changing = self.changing.lock().await;
        self.read(shared).await
    }

    fn known(&self) -> Option<Arc<[Announcement]>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Only for whoever holds `changing`, so that nothing older replaces something newer.
    async fn read(&self, shared: &Shared) -> Result<Arc<[Announcement]>, StoreError> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let all: Arc<[Announcement]> = shared.api.store.announcements().await?.into();
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&all));
        Ok(all)
    }

    fn forget(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// `GET /api/v1/announcements`: newest first; the cursor is the last id of the piece before.
pub(super) async fn list(State(shared): State<Arc<Shared>>, uri: Uri) -> Answer {
    let query = Query::read(&uri, &["state"], &[])?;
    let over = query.word("state", &["current", "over"], |word| match word {
        "current" => Some(false),
        "over" => Some(true),
        _ => None,
    })?;
    let page = query.page()?;
    let now = shared.api.clock.wall();
    let all = shared.board.all(&shared).await?;
    let mut found = all.iter().filter(|known| {
        over.is_none_or(|over| known.is_over(now) == over)
            && page.cursor.as_ref().is_none_or(|cursor| known.id < *cursor)
    });
    let piece: Vec<&Announcement> = found.by_ref().take(page.limit as usize).collect();
    let more = found.next().is_some();
    let next = piece.last().filter(|_| more).map(|last| last.id.clone());
    let items = piece.into_iter().map(|known| AnnouncementJson::new(known, now)).collect();
    json(&List { items, next })
}

/// `GET /api/v1/announcements/{id}`.
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    Query::none(&uri)?;
    let id = read_id(id, "announcement")?;
    let all = shared.board.all(&shared).await?;
    let known = all.iter().find(|known| known.id == id).ok_or_else(|| missing(&id))?;
    json(&AnnouncementJson::new(known, shared.api.clock.wall()))
}

/// `POST /api/v1/announcements`: makes one; answers with it.
pub(super) async fn add(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    uri: Uri,
    body: Bytes,
) -> Answer {
    Query::none(&uri)?;
    let now = shared.api.clock.wall();
    let change = Change::read(&shared, &visitor, &body)?;
    let required =
        |key: &str| Problem::bad_body(format!("An announcement has a `{key}`, which is a text."));
    let update = AnnouncementUpdate {
        at: now,
        kind: change.kind.unwrap_or(AnnouncementKind::Info),
        body: change.body.ok_or_else(|| required("body"))?,
        by: change.by,
    };
    let announcement = Announcement {
        id: new_id(now),
        title: change.title.ok_or_else(|| required("title"))?,
        checks: change.checks.unwrap_or_default(),
        starts_at: change.starts_at,
        ends_at: change.ends_at,
        updates: vec![update],
    };
    check_times(&announcement)?;
    let _changing = shared.board.changing.lock().await;
    if shared.board.read(&shared).await?.len() >= MOST {
        return Err(Problem::conflict(format!(
            "There are {MOST} announcements already: delete some that are over."
        )));
    }
    put(&shared, &announcement).await?;
    let place = format!("/api/v1/announcements/{}", announcement.id);
    created(&AnnouncementJson::new(&announcement, now), &place)
}

/// `PATCH /api/v1/announcements/{id}`: `body` and `kind` are a new message, all else replaces what
/// was there; answers with the announcement.
pub(super) async fn change(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
    body: Bytes,
) -> Answer {
    Query::none(&uri)?;
    let id = read_id(id, "announcement")?;
    let change = Change::read(&shared, &visitor, &body)?;
    let now = shared.api.clock.wall();
    let _changing = shared.board.changing.lock().await;
    let all = shared.board.read(&shared).await?;
    let known = all.iter().find(|known| known.id == id).ok_or_else(|| missing(&id))?;
    let mut changed = known.clone();
    if change.body.is_some() || change.kind.is_some() {
        if changed.updates.len() >= MOST_UPDATES {
            return Err(Problem::conflict(format!(
                "It has {MOST_UPDATES} messages already: make another announcement."
            )));
        }
        changed.updates.push(AnnouncementUpdate {
            // Messages stay in their order, also where the clock went back.
            at: now.max(known.updated_at()),
            kind: change.kind.unwrap_or_else(|| known.kind()),
            body: change.body.unwrap_or_default(),
            by: change.by,
        });
    }
    changed.title = change.title.unwrap_or(changed.title);
    changed.checks = change.checks.unwrap_or(changed.checks);
    changed.starts_at = change.starts_at.or(changed.starts_at);
    changed.ends_at = change.ends_at.or(changed.ends_at);
    check_times(&changed)?;
    put(&shared, &changed).await?;
    json(&AnnouncementJson::new(&changed, now))
}

/// `DELETE /api/v1/announcements/{id}`.
pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    Query::none(&uri)?;
    let id = read_id(id, "announcement")?;
    let _changing = shared.board.changing.lock().await;
    shared.board.forget();
    let forgotten = shared.api.store.forget_announcement(&id).await;
    shared.public.forget();
    match forgotten? {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => Err(missing(&id)),
    }
}

/// Writes it, for whoever holds `changing`.
async fn put(shared: &Shared, announcement: &Announcement) -> Result<(), Problem> {
    // Whether it was written is not known either where the store fails.
    shared.board.forget();
    let written = shared.api.store.put_announcement(announcement).await;
    shared.public.forget();
    Ok(written?)
}

/// What somebody says about an announcement.
struct Change {
    title: Option<String>,
    body: Option<String>,
    kind: Option<AnnouncementKind>,
    checks: Option<Vec<Name>>,
    starts_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
    by: String,
}

impl Change {
    fn read(shared: &Shared, visitor: &Visitor, body: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::read(body, &KNOWN)?;
        let title = fields.text_up_to("title", LONGEST_TITLE)?;
        let kind = fields.text("kind")?.map(|word| {
            AnnouncementKind::from_word(&word).ok_or_else(|| {
                let all = AnnouncementKind::ALL.map(AnnouncementKind::as_str).join(", ");
                Problem::bad_body(format!("`kind` is one of {all}, not `{}`.", shown(&word)))
            })
        });
        let checks = fields.take("checks").map(|checks| read_checks(shared, checks));
        Ok(Self {
            title: title.map(|title| title.replace(['\n', '\t'], " ")),
            body: fields.text_up_to("body", LONGEST_BODY)?,
            kind: kind.transpose()?,
            checks: checks.transpose()?,
            starts_at: fields.time("starts_at")?,
            ends_at: fields.time("ends_at")?,
            by: fields.person("by", visitor)?,
        })
    }
}

fn read_checks(shared: &Shared, value: Json) -> Result<Vec<Name>, Problem> {
    let refuse = || Problem::bad_body(format!("`checks` is a list of up to {MOST_CHECKS} names."));
    let Json::Array(items) = value else { return Err(refuse()) };
    if items.len() > MOST_CHECKS {
        return Err(refuse());
    }
    let all = shared.api.board.all();
    let mut names: Vec<Name> = Vec::new();
    for item in items {
        let Json::String(name) = item else { return Err(refuse()) };
        let Some(known) = shared.api.board.get(&name) else {
            let name = shown(&name);
            let near = did_you_mean(&name, all.iter().map(|view| &*view.name));
            let near = near.map(|near| format!("; {near}")).unwrap_or_default();
            return Err(Problem::invalid(format!("There is no check `{name}`{near}.")));
        };
        if !names.contains(&known.name) {
            names.push(known.name.clone());
        }
    }
    Ok(names)
}

fn check_times(announcement: &Announcement) -> Result<(), Problem> {
    match (announcement.starts_at, announcement.ends_at) {
        (Some(start), Some(end)) if end <= start => {
            Err(Problem::invalid("`ends_at` is no later than `starts_at`."))
        }
        _ => Ok(()),
    }
}

fn missing(id: &str) -> Problem {
    Problem::not_found(format!("There is no announcement `{}`.", shown(id)))
}
