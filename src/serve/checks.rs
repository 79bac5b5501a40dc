use super::access::Visitor;
use super::body::Fields;
use super::problem::{Problem, shown};
use super::query::Query;
use super::router::{Answer, Shared, json};
use super::{OperateError, RunNowError};
use crate::model::{CheckView, Facts, Labels, Severity, Status, Timestamp, nearest};
use crate::record::Paged;
use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, Uri, header};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// JSON, one value a line.
const LINES: &str = "application/x-ndjson";

/// A check in the shape that the API promises.
#[derive(Serialize, ToSchema)]
#[schema(as = Check)]
pub(super) struct CheckJson<'a> {
    name: &'a str,
    kind: &'a str,
    status: Status,
    since: Timestamp,
    #[schema(value_type = Vec<String>)]
    reasons: &'a [String],
    #[schema(value_type = Object)]
    facts: &'a Facts,
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    labels: &'a Labels,
    severity: Severity,
    last_run: Option<Timestamp>,
    /// Null while it is paused.
    next_run: Option<Timestamp>,
    paused: bool,
    paused_by: Option<&'a str>,
    paused_at: Option<Timestamp>,
    /// Whether it goes to and fro too often to be told each time.
    flapping: bool,
    missed_runs: u64,
    /// The id of the open incident, if the badness is confirmed.
    incident: Option<&'a str>,
}

impl<'a> From<&'a CheckView> for CheckJson<'a> {
    fn from(view: &'a CheckView) -> Self {
        let state = &view.state;
        Self {
            name: &view.name,
            kind: view.kind,
            status: state.status,
            since: state.since,
            reasons: &state.reasons,
            facts: &view.facts,
            labels: &view.labels,
            severity: view.severity,
            last_run: state.last_run,
            next_run: view.next_run.filter(|_| state.paused.is_none()),
            paused: state.paused.is_some(),
            paused_by: state.paused.as_ref().map(|paused| &*paused.by),
            paused_at: state.paused.as_ref().map(|paused| paused.at),
            flapping: state.flapping,
            missed_runs: state.missed_runs,
            incident: state.incident.as_ref().map(|incident| incident.id.as_str()),
        }
    }
}

/// A piece of a list.
#[derive(Serialize)]
pub(super) struct List<T> {
    pub(super) items: Vec<T>,
    pub(super) next: Option<String>,
}

/// `GET /api/v1/checks`: by name; the cursor is the last name of the piece before.
///
/// With `Accept: application/x-ndjson` all of them are streamed, a line each.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: Uri,
) -> Answer {
    let query = Query::read(&uri, &["status", "kind", "label", "q"], &["label"])?;
    let wanted = Wanted::read(&query)?;
    let page = query.page()?;
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    if accepts.is_some_and(|types| types.split(',').any(|part| part.trim() == LINES)) {
        let mut all = shared.api.board.all();
        all.retain(|view| wanted.matches(view));
        return Ok(lines(all));
    }
    let limit = page.limit as usize;
    let after = page.cursor.as_deref().unwrap_or("");
    let all = shared.api.board.all();
    let start = all.partition_point(|view| !after.is_empty() && &*view.name <= after);
    let mut found = all[start..].iter().filter(|view| wanted.matches(view));
    let items: Vec<&Arc<CheckView>> = found.by_ref().take(limit).collect();
    let more = found.next().is_some();
    let next = items.last().filter(|_| more).map(|view| view.name.to_string());
    let items = items.into_iter().map(|view| CheckJson::from(&**view)).collect();
    json(&List { items, next })
}

/// Each check as JSON on a line of its own. They are written as they are sent, a few at a time.
fn lines(all: Vec<Arc<CheckView>>) -> Response {
    const AT_A_TIME: usize = 64;
    let pieces = futures_util::stream::iter(0..all.len().div_ceil(AT_A_TIME)).map(move |piece| {
        let from = piece * AT_A_TIME;
        let mut lines = Vec::new();
        for view in &all[from..all.len().min(from + AT_A_TIME)] {
            serde_json::to_writer(&mut lines, &CheckJson::from(&**view))?;
            lines.push(b'\n');
        }
        Ok::<_, serde_json::Error>(lines)
    });
    ([(header::CONTENT_TYPE, LINES)], Body::from_stream(pieces)).into_response()
}

/// `GET /api/v1/checks/{name}`.
pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    Query::none(&uri)?;
    let view = find(&shared, name)?;
    json(&CheckJson::from(&*view))
}

/// `GET /api/v1/checks/{name}/results`: newest first.
pub(super) async fn results(
    State(shared): State<Arc<Shared>>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    let page = Query::read(&uri, &[], &[])?.page()?;
    let view = find(&shared, name)?;
    let Paged { items, next } = shared.api.store.results(&view.name, &page).await?;
    json(&List { items, next })
}

/// `POST /api/v1/checks/{name}/run`: answers with the result.
pub(super) async fn run(
    State(shared): State<Arc<Shared>>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answer {
    Query::none(&uri)?;
    let view = find(&shared, name)?;
    match shared.api.control.run_now(&view.name).await {
        Ok(result) => json(&result),
        Err(RunNowError::NotFound) => Err(unknown(&shared, &view.name)),
        Err(error @ (RunNowError::Busy(_) | RunNowError::Stopping)) => {
            Err(Problem::unavailable("cannot-run", error.to_string()))
        }
    }
}

/// `POST /api/v1/checks/{name}/pause`: stops its runs; answers with the check.
pub(super) async fn pause(
    shared: State<Arc<Shared>>,
    visitor: Extension<Visitor>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
    body: Bytes,
) -> Answer {
    set_paused(shared, visitor, name, uri, body, true).await
}

/// `POST /api/v1/checks/{name}/resume`: lets it run again; answers with the check.
pub(super) async fn resume(
    shared: State<Arc<Shared>>,
    visitor: Extension<Visitor>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
    body: Bytes,
) -> Answer {
    set_paused(shared, visitor, name, uri, body, false).await
}

async fn set_paused(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    name: Result<Path<String>, PathRejection>,
    uri: Uri,
    body: Bytes,
    paused: bool,
) -> Answer {
    Query::none(&uri)?;
    let view = find(&shared, name)?;
    let by = Fields::read(&body, &["by"])?.person("by", &visitor)?;
    match shared.api.control.pause(&view.name, &by, paused).await {
        Ok(()) => {
            let view = shared.api.board.get(&view.name);
            json(&CheckJson::from(&*view.ok_or_else(Problem::internal)?))
        }
        Err(OperateError::NotFound) => Err(unknown(&shared, &view.name)),
        Err(error) => Err(Problem::operate(error, "There is no such check.")),
    }
}

pub(super) fn find(
    shared: &Shared,
    name: Result<Path<String>, PathRejection>,
) -> Result<Arc<CheckView>, Problem> {
    let Ok(Path(name)) = name else {
        return Err(Problem::not_found("The name of the check in the address cannot be read."));
    };
    shared.api.board.get(&name).ok_or_else(|| unknown(shared, &name))
}

fn unknown(shared: &Shared, name: &str) -> Problem {
    // Comparing costs the lengths' product a name, so only what may be a typing error is compared.
    const LONGEST: usize = 64;
    let mut detail = format!("There is no check `{}`.", shown(name));
    if name.len() <= LONGEST {
        let all = shared.api.board.all();
        let near = nearest(name, all.iter().map(|view| &*view.name).filter(|n| n.len() <= LONGEST));
        if let Some(near) = near {
            detail.push_str(&format!(" Did you mean `{near}`?"));
        }
    }
    Problem::not_found(detail)
}

/// The filters of the list of checks; all that are given must match.
pub(super) struct Wanted<'q> {
    status: Option<Status>,
    kind: Option<&'q str>,
    labels: Vec<(&'q str, &'q str)>,
    /// In lower case.
    text: String,
}

impl<'q> Wanted<'q> {
    pub(super) fn read(query: &'q Query) -> Result<Self, Problem> {
        let statuses = Status::ALL.map(Status::as_str);
        let label = |text: &'q str| {
            text.split_once('=').ok_or_else(|| {
                Problem::bad_query(format!("`label` is `key=value`, not `{}`", shown(text)))
            })
        };
        Ok(Self {
            status: query.word("status", &statuses, Status::from_word)?,
            kind: query.one("kind"),
            labels: query.all("label").map(label).collect::<Result<_, _>>()?,
            text: query.one("q").unwrap_or("").trim().to_lowercase(),
        })
    }

    pub(super) fn matches(&self, view: &CheckView) -> bool {
        self.status.is_none_or(|status| view.state.status == status)
            && self.kind.is_none_or(|kind| view.kind == kind)
            && self
                .labels
                .iter()
                .all(|(key, value)| view.labels.get(*key).is_some_and(|known| known == value))
            && self.says(view)
    }

    /// Whether the text stands in the name, the kind, a label's value or a reason.
    fn says(&self, view: &CheckView) -> bool {
        let has = |text: &str| text.to_lowercase().contains(&self.text);
        self.text.is_empty()
            || has(&view.name)
            || has(view.kind)
            || view.labels.values().any(|value| has(value))
            || view.state.reasons.iter().any(|reason| has(reason))
    }
}
