use super::OperateError;
use super::access::Visitor;
use super::body::{Fields, LONGEST, new_id};
use super::checks::List;
use super::problem::{Problem, shown};
use super::query::{Query, read_id};
use super::router::{Answer, Shared, created, json};
use crate::model::{Matcher, Silence, SilenceState, Timestamp};
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use bytes::Bytes;
use http::Uri;
use serde::Serialize;
use serde_json::Value as Json;
use std::sync::Arc;
use utoipa::ToSchema;

/// The most matchers of one silence.
const MOST_MATCHERS: usize = 100;

/// A silence in the shape that the API promises.
#[derive(Serialize, ToSchema)]
#[schema(as = Silence)]
pub(super) struct SilenceJson<'a> {
    id: &'a str,
    state: SilenceState,
    /// As people write them, such as `team="shop"`.
    matchers: Vec<String>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    author: &'a str,
    comment: &'a str,
    created_at: Timestamp,
}

impl<'a> SilenceJson<'a> {
    fn new(silence: &'a Silence, now: Timestamp) -> Self {
        Self {
            id: &silence.id,
            state: silence.state(now),
            matchers: silence.matchers.iter().map(ToString::to_string).collect(),
            starts_at: silence.starts_at,
            ends_at: silence.ends_at,
            author: &silence.author,
            comment: &silence.comment,
            created_at: silence.created_at,
        }
    }
}

/// `GET /api/v1/silences`: newest first; the cursor is the last id of the piece before.
pub(super) async fn list(State(shared): State<Arc<Shared>>, uri: Uri) -> Answer {
    let query = Query::read(&uri, &["state"], &[])?;
    let words = SilenceState::ALL.map(SilenceState::as_str);
    let state = query.word("state", &words, SilenceState::from_word)?;
    let page = query.page()?;
    let now = shared.api.clock.wall();
    let mut silences = shared.api.control.silences();
    silences.retain(|silence| {
        state.is_none_or(|state| silence.state(now) == state)
            && page.cursor.as_ref().is_none_or(|cursor| silence.id < *cursor)
    });
    silences.sort_by(|a, b| b.id.cmp(&a.id));
    let more = silences.len() > page.limit as usize;
    silences.truncate(page.limit as usize);
    let next = silences.last().filter(|_| more).map(|last| last.id.clone());
    let items = silences.iter().map(|silence| SilenceJson::new(silence, now)).collect();
    json(&List { items, next })
}

/// `GET /api/v1/silences/{id}`.
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    Query::none(&uri)?;
    let id = read_id(id, "silence")?;
    let silences = shared.api.control.silences();
    let found = silences.iter().find(|silence| silence.id == id).ok_or_else(|| missing(&id))?;
    json(&SilenceJson::new(found, shared.api.clock.wall()))
}

/// `POST /api/v1/silences`: sets a new one.
pub(super) async fn add(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    uri: Uri,
    body: Bytes,
) -> Answer {
    const KNOWN: [&str; 6] = ["matchers", "starts_at", "ends_at", "for", "author", "comment"];
    Query::none(&uri)?;
    let now = shared.api.clock.wall();
    let mut fields = Fields::read(&body, &KNOWN)?;
    let matchers = read_matchers(fields.take("matchers"))?;
    // Nobody's silence changes what has been.
    let starts_at = fields.time("starts_at")?.unwrap_or(now).max(now);
    let ends_at = fields.end("ends_at", starts_at, now)?;
    let ends_at = ends_at.ok_or_else(|| {
        Problem::bad_body("Say how long it counts: `for`, such as \"2h\", or `ends_at`.")
    })?;
    let silence = Silence {
        id: new_id(now),
        matchers,
        starts_at,
        ends_at,
        author: fields.person("author", &visitor)?,
        comment: fields.text("comment")?.unwrap_or_default(),
        created_at: now,
    };
    let set = match shared.api.control.silence(silence).await {
        Ok(set) => set,
        Err(error) => return Err(Problem::operate(error, "There is no such silence.")),
    };
    created(&SilenceJson::new(&set, now), &format!("/api/v1/silences/{}", set.id))
}

/// `DELETE /api/v1/silences/{id}`: ends it now. One that is over stays as it is.
pub(super) async fn expire(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    id: Result<Path<String>, PathRejection>,
    uri: Uri,
    body: Bytes,
) -> Answer {
    Query::none(&uri)?;
    let id = read_id(id, "silence")?;
    let by = Fields::read(&body, &["by"])?.person("by", &visitor)?;
    match shared.api.control.expire_silence(&id, &by).await {
        Ok(silence) => json(&SilenceJson::new(&silence, shared.api.clock.wall())),
        Err(OperateError::NotFound) => Err(missing(&id)),
        Err(error) => Err(Problem::operate(error, "There is no such silence.")),
    }
}

fn missing(id: &str) -> Problem {
    Problem::not_found(format!("There is no silence `{}`.", shown(id)))
}

/// Texts such as `team=shop`, or objects as Alertmanager has them. Whether a regular expression is
/// one, [`super::Control::silence`] finds out.
fn read_matchers(value: Option<Json>) -> Result<Vec<Matcher>, Problem> {
    let Some(Json::Array(items)) = value else {
        return Err(Problem::bad_body("`matchers` is a list, such as [\"team=shop\"]."));
    };
    if items.is_empty() {
        return Err(Problem::invalid(
            "A silence has at least one matcher: without any it would silence everything.",
        ));
    }
    if items.len() > MOST_MATCHERS {
        return Err(Problem::bad_body(format!("A silence has up to {MOST_MATCHERS} matchers.")));
    }
    items.into_iter().map(read_matcher).collect()
}

fn read_matcher(item: Json) -> Result<Matcher, Problem> {
    const KNOWN: [&str; 4] = ["name", "value", "isRegex", "isEqual"];
    let refuse = |why: String| Problem::bad_body(format!("A matcher is not understood: {why}."));
    let matcher = match item {
        Json::String(text) => Matcher::parse(&text).map_err(refuse)?,
        Json::Object(object) => {
            let fields = Fields::over(object, &KNOWN)?;
            serde_json::from_value(fields.into()).map_err(|error| refuse(error.to_string()))?
        }
        _ => return Err(refuse("it is a text such as team=shop, or an object".to_owned())),
    };
    let too_long = |text: &str| text.chars().count() > LONGEST;
    if matcher.name.contains('\0') || matcher.value.contains('\0') {
        // No database takes one in a text.
        return Err(refuse("its name and value hold no zero character".to_owned()));
    }
    if matcher.name.is_empty() || too_long(&matcher.name) || too_long(&matcher.value) {
        return Err(refuse(format!("its name and value have up to {LONGEST} characters")));
    }
    Ok(matcher)
}
