//! The API as a document of OpenAPI 3.1: the shapes come from the types that are answered, the
//! operations stand in [`operations`], which a test holds against the router.

mod bodies;
mod operation;
mod operations;

use super::alertmanager::{alerts, silences as v2_silences};
use super::query::Query;
use super::router::Answer;
use super::{announcements, checks, history, keys, notices, silences, status};
use crate::model::{IncidentView, RunResult};
use axum::response::IntoResponse;
use http::{Uri, header};
use operation::Operation;
use serde_json::{Map, Value as Json, json};
use std::sync::LazyLock;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

const ABOUT: &str = "Everything that the page shows, and everything that people do. Lists take \
`limit` and `cursor`, times are RFC 3339 in UTC, and an error is a problem document of RFC 9457 whose \
`detail` says what to do. Paths below /api/v2 answer as an Alertmanager does.";

static DOCUMENT: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", document()));

/// The document, as JSON for people to read.
pub fn openapi() -> &'static str {
    &DOCUMENT
}

/// `GET /openapi.json`.
pub(super) async fn serve(uri: Uri) -> Answer {
    Query::none(&uri)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], openapi()).into_response())
}

/// The document.
pub(super) fn document() -> Json {
    let mut paths: Map<String, Json> = Map::new();
    for Operation { path, method, document } in operations::all() {
        let item = paths.entry(path).or_insert_with(|| json!({}));
        if let Json::Object(item) = item {
            item.insert(method.to_owned(), Json::Object(document));
        }
    }
    let tag = |name: &str, about: &str| json!({ "name": name, "description": about });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Watchbell",
            "description": ABOUT,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
            "version": env!("CARGO_PKG_VERSION"),
        },
        "servers": [{ "url": "/" }],
        "tags": [
            tag("daemon", "The daemon itself"),
            tag("checks", "Checks and their history"),
            tag("incidents", "What is broken, and who looks after it"),
            tag("silences", "What nobody wants to hear of for a while"),
            tag("notices", "The outbox"),
            tag("announcements", "What people tell the readers of the public status page"),
            tag("page", "The page, pictures, and the links in alerts"),
            tag("heartbeats", "What jobs ping, on the wire of Healthchecks"),
            tag("alertmanager", "What an Alertmanager answers"),
        ],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "responses": operation::refusals(),
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key of an `[[api.key]]` table with the scope that is named. \
                                    On this machine itself reading needs none.",
                },
            },
        },
    })
}

type Shapes = Vec<(String, RefOr<Schema>)>;

/// Adds the shape of `T`, and those that stand within it.
fn add<T: ToSchema>(shapes: &mut Shapes) {
    shapes.push((T::name().into_owned(), T::schema()));
    T::schemas(shapes);
}

/// The shapes of answers and bodies, by name.
fn schemas() -> Map<String, Json> {
    let mut shapes = Shapes::new();
    add::<status::Word>(&mut shapes);
    add::<status::StatusJson<'_>>(&mut shapes);
    add::<checks::CheckJson<'_>>(&mut shapes);
    add::<RunResult>(&mut shapes);
    add::<history::UptimesJson>(&mut shapes);
    add::<history::SeriesJson>(&mut shapes);
    add::<history::HeatsJson>(&mut shapes);
    add::<IncidentView<'_>>(&mut shapes);
    add::<silences::SilenceJson<'_>>(&mut shapes);
    add::<notices::NoticeJson<'_>>(&mut shapes);
    add::<announcements::AnnouncementJson<'_>>(&mut shapes);
    add::<keys::KeyJson<'_>>(&mut shapes);
    add::<alerts::ToldAlert>(&mut shapes);
    add::<alerts::GroupJson>(&mut shapes);
    add::<v2_silences::SilenceJson<'_>>(&mut shapes);
    shapes.sort_by(|(a, _), (b, _)| a.cmp(b));
    let answers = shapes.into_iter().map(|(name, shape)| {
        let mut shape = serde_json::to_value(shape).unwrap_or_default();
        require_all(&mut shape);
        (name, shape)
    });
    answers.chain(bodies::all()).collect()
}

/// What an answer leaves out where it does not hold, in the place of null.
const LEFT_OUT: [&str; 1] = ["maintenance"];

/// Marks the fields of an answer as always there, also where they are null.
fn require_all(shape: &mut Json) {
    if let Some(parts) = shape.get_mut("allOf").and_then(Json::as_array_mut) {
        parts.iter_mut().for_each(require_all);
    }
    let Some(fields) = shape.get("properties").and_then(Json::as_object) else { return };
    let all = fields.keys().filter(|field| !LEFT_OUT.contains(&field.as_str()));
    let all: Vec<Json> = all.map(|field| Json::from(field.as_str())).collect();
    if let Json::Object(shape) = shape {
        shape.insert("required".to_owned(), Json::Array(all));
    }
}
