use super::{Answer, Refusal, Time, answer, filters, holds_zero, query};
use crate::model::{Matcher, Silence, SilenceState, Timestamp};
use crate::serve::OperateError;
use crate::serve::access::Visitor;
use crate::serve::body::{LONGEST, new_id};
use crate::serve::router::Shared;
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use bytes::Bytes;
use http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use utoipa::ToSchema;

/// A silence as it is told.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = V2Silence)]
pub(in crate::serve) struct SilenceJson<'a> {
    id: &'a str,
    status: StatusJson,
    updated_at: Timestamp,
    #[schema(value_type = Vec<Matcher>)]
    matchers: &'a [Matcher],
    starts_at: Timestamp,
    ends_at: Timestamp,
    created_by: &'a str,
    comment: &'a str,
    #[schema(value_type = Object)]
    annotations: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = V2SilenceStatus)]
pub(in crate::serve) struct StatusJson {
    state: SilenceState,
}

impl<'a> SilenceJson<'a> {
    fn new(silence: &'a Silence, now: Timestamp) -> Self {
        Self {
            id: &silence.id,
            status: StatusJson { state: silence.state(now) },
            updated_at: silence.created_at,
            matchers: &silence.matchers,
            starts_at: silence.starts_at,
            ends_at: silence.ends_at,
            created_by: &silence.author,
            comment: &silence.comment,
            annotations: serde_json::Map::new(),
        }
    }
}

/// A silence as it is sent in.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedSilence {
    id: Option<String>,
    #[serde(default)]
    matchers: Vec<Matcher>,
    #[serde(default)]
    starts_at: Time,
    #[serde(default)]
    ends_at: Time,
    #[serde(default)]
    created_by: String,
    #[serde(default)]
    comment: String,
}

/// `GET /api/v2/silences`.
pub(super) async fn list(State(shared): State<Arc<Shared>>, uri: Uri) -> Answer {
    let found = shared.api.control.find_silences(&filters(&query(&uri))?)?;
    let now = shared.api.clock.wall();
    answer(&found.iter().map(|silence| SilenceJson::new(silence, now)).collect::<Vec<_>>())
}

/// `GET /api/v2/silence/{id}`.
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    id: Result<Path<String>, PathRejection>,
) -> Answer {
    let silence = known(&shared, id.map(|Path(id)| id).unwrap_or_default())?;
    answer(&SilenceJson::new(&silence, shared.api.clock.wall()))
}

/// `POST /api/v2/silences`: sets one, or changes the one with the id.
pub(super) async fn set(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Answer {
    let posted: PostedSilence = serde_json::from_slice(&body)
        .map_err(|error| Refusal::bad(format!("this is no silence: {error}")))?;
    let now = shared.api.clock.wall();
    let before = match posted.id.as_deref().filter(|id| !id.is_empty()) {
        Some(id) => Some(known(&shared, id.to_owned())?),
        None => None,
    };
    let silence = read(posted, before.as_ref(), &visitor, now)?;
    let control = &shared.api.control;
    let set = control.silence(silence).await?;
    if let Some(before) = before.filter(|before| before.id != set.id) {
        // What has been stays as it was.
        control.expire_silence(&before.id, &set.author).await?;
    }
    answer(&json!({ "silenceID": set.id }))
}

/// The silence that is wanted. It takes the place of the one `before` where that rewrites nothing
/// that has been.
fn read(
    posted: PostedSilence,
    before: Option<&Silence>,
    visitor: &Visitor,
    now: Timestamp,
) -> Result<Silence, Refusal> {
    let PostedSilence { matchers, starts_at, ends_at, created_by, comment, .. } = posted;
    let too_long = |text: &str| text.chars().count() > LONGEST;
    if matchers.iter().any(|it| it.name.is_empty() || too_long(&it.name) || too_long(&it.value)) {
        return Err(Refusal::bad(format!("a matcher has a name and up to {LONGEST} characters")));
    }
    if too_long(&created_by) || too_long(&comment) {
        return Err(Refusal::bad(format!("a text has up to {LONGEST} characters")));
    }
    let texts = matchers.iter().flat_map(|it| [&it.name, &it.value]);
    if texts.chain([&created_by, &comment]).any(|text| holds_zero(text)) {
        return Err(Refusal::bad("a text holds a zero character"));
    }
    let wanted = starts_at.0.unwrap_or(now);
    let ends_at = ends_at.0.ok_or_else(|| Refusal::bad("endsAt is missing"))?;
    if ends_at <= wanted || ends_at <= now {
        return Err(Refusal::bad("the end is not after the start, or lies in the past"));
    }
    let goes_on = before.filter(|before| {
        let kept_start = before.starts_at == wanted || before.starts_at > now && wanted >= now;
        before.ends_at > now && before.matchers == matchers && kept_start
    });
    let author = match created_by.trim() {
        "" => visitor.name().to_owned(),
        named => named.replace(char::is_control, " "),
    };
    Ok(Silence {
        id: goes_on.map_or_else(|| new_id(now), |before| before.id.clone()),
        matchers,
        starts_at: goes_on.map_or(wanted.max(now), |before| match before.starts_at > now {
            true => wanted,
            false => before.starts_at,
        }),
        ends_at,
        author,
        comment: comment.replace(char::is_control, " "),
        created_at: goes_on.map_or(now, |before| before.created_at),
    })
}

/// `DELETE /api/v2/silence/{id}`: ends it now. One that is over stays as it is.
pub(super) async fn expire(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    id: Result<Path<String>, PathRejection>,
) -> Answer {
    let silence = known(&shared, id.map(|Path(id)| id).unwrap_or_default())?;
    shared.api.control.expire_silence(&silence.id, visitor.name()).await?;
    Ok(StatusCode::OK.into_response())
}

fn known(shared: &Shared, id: String) -> Result<Silence, Refusal> {
    let mut silences = shared.api.control.silences().into_iter();
    silences.find(|silence| silence.id == id).ok_or_else(|| OperateError::NotFound.into())
}
