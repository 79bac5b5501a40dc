//! The shapes of what is sent in, as strict as those who read it.

use super::super::announcements::{LONGEST_BODY, LONGEST_TITLE, MOST_CHECKS};
use super::super::body::LONGEST;
use crate::model::AnnouncementKind;
use serde_json::{Value as Json, json};

/// A span such as `2h`: what every reader of spans takes. Spans of several parts are taken, too.
pub(super) const SPAN: &str = "^([1-9][0-9]{0,2}(s|m|h|d)|[1-9][0-9]?w|[1-9]y)$";
/// A text without control characters other than a new line and a tab.
const TEXT: &str = "^[^\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f]*$";

/// The same with at least one character that is no blank.
const SAID: &str = "^[^\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f]*\
[^\\u0000-\\u0020\\u007f-\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]\
[^\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f]*$";

/// All of them, by name.
pub(super) fn all() -> Vec<(String, Json)> {
    let matcher = json!({
        "oneOf": [
            { "type": "string", "description": "Such as `team=\"shop\"`", "minLength": 1 },
            matcher(false),
        ],
    });
    let silence = fields(
        json!({
            "matchers": { "type": "array", "minItems": 1, "maxItems": 100, "items": matcher },
            "starts_at": time("From then on; from now on if nothing is said"),
            "ends_at": time("Until then"),
            "for": span(),
            "author": text("Who; the name of the key if nobody says"),
            "comment": text("Why"),
        }),
        json!({ "required": ["matchers"], "oneOf": one_of("for", "ends_at") }),
    );
    let shapes = [
        ("By", fields(json!({ "by": by() }), json!({}))),
        (
            "Acknowledge",
            fields(
                json!({
                    "by": by(),
                    "note": text("What others should know"),
                    "for": span(),
                    "until": time("Until then; until the end if nothing is said"),
                }),
                json!({ "not": {
                    "required": ["for", "until"],
                    "properties": { "for": { "type": "string" }, "until": { "type": "string" } },
                } }),
            ),
        ),
        (
            "Snooze",
            fields(
                json!({ "by": by(), "for": span(), "until": time("Until then") }),
                json!({ "oneOf": one_of("for", "until") }),
            ),
        ),
        ("NewSilence", silence),
        ("NewAnnouncement", announcement(json!(["title", "body"]))),
        ("AnnouncementChange", announcement(json!([]))),
        ("V2NewSilence", v2_silence()),
        ("V2NewAlert", v2_alert()),
        ("Problem", problem()),
    ];
    shapes.map(|(name, shape)| (name.to_owned(), shape)).into()
}

/// An object of these fields and no others.
fn fields(properties: Json, more: Json) -> Json {
    let mut shape =
        json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if let (Json::Object(shape), Json::Object(more)) = (&mut shape, more) {
        shape.extend(more);
    }
    shape
}

/// Exactly one of two texts.
fn one_of(a: &str, b: &str) -> Json {
    let there =
        |key: &str| json!({ "required": [key], "properties": { key: { "type": "string" } } });
    json!([there(a), there(b)])
}

/// What is said anew, or changed.
fn announcement(required: Json) -> Json {
    let of = |most: usize, about: &str| json!({ "type": "string", "description": about, "maxLength": most, "pattern": SAID });
    let kinds = AnnouncementKind::ALL.map(AnnouncementKind::as_str);
    let names = json!({ "type": "array", "maxItems": MOST_CHECKS, "items": { "type": "string" } });
    fields(
        json!({
            "title": of(LONGEST_TITLE, "What it is about, in one line"),
            "body": of(LONGEST_BODY, "Plain text; an empty line begins a new paragraph"),
            "kind": { "type": "string", "enum": kinds, "description": "Where things stand" },
            "checks": names,
            "starts_at": time("From then on, of work that is planned"),
            "ends_at": time("Until then"),
            "by": by(),
        }),
        json!({ "required": required }),
    )
}

fn text(about: &str) -> Json {
    let types = ["string", "null"];
    json!({ "type": types, "description": about, "maxLength": LONGEST, "pattern": TEXT })
}

fn by() -> Json {
    text("Who; the name of the key if nobody says")
}

fn time(about: &str) -> Json {
    json!({ "type": ["string", "null"], "format": "date-time", "description": about })
}

/// An Alertmanager takes an empty text for no time.
fn maybe_time(about: &str) -> Json {
    let time = json!({ "type": "string", "format": "date-time" });
    let empty = json!({ "type": ["string", "null"], "maxLength": 0 });
    json!({ "description": about, "anyOf": [time, empty] })
}

fn span() -> Json {
    json!({ "type": ["string", "null"], "description": "For so long, such as `2h`", "pattern": SPAN })
}

/// As an object; an Alertmanager takes others along with what it knows.
fn matcher(more: bool) -> Json {
    let text = |least: usize| {
        json!({
            "type": "string",
            "minLength": least,
            "maxLength": LONGEST,
            "pattern": "^[^\\u0000]*$",
        })
    };
    json!({
        "type": "object",
        "additionalProperties": more,
        "required": ["name", "value"],
        "properties": {
            "name": text(1),
            "value": text(0),
            "isRegex": { "type": "boolean", "default": false },
            "isEqual": { "type": "boolean", "default": true },
        },
    })
}

fn v2_silence() -> Json {
    json!({
        "type": "object",
        "required": ["matchers", "endsAt"],
        "properties": {
            "id": { "type": ["string", "null"], "description": "Of the one to change" },
            "matchers": { "type": "array", "minItems": 1, "items": matcher(true) },
            "startsAt": maybe_time("From then on; from now on if nothing is said"),
            "endsAt": { "type": "string", "format": "date-time" },
            "createdBy": { "type": "string", "maxLength": LONGEST },
            "comment": { "type": "string", "maxLength": LONGEST },
        },
    })
}

fn v2_alert() -> Json {
    let pairs = json!({
        "type": "object",
        "maxProperties": 128,
        "additionalProperties": { "type": "string" },
    });
    let mut labels = pairs.clone();
    if let Json::Object(labels) = &mut labels {
        labels.insert("minProperties".to_owned(), json!(1));
    }
    json!({
        "type": "object",
        "required": ["labels"],
        "properties": {
            "labels": labels,
            "annotations": pairs,
            "startsAt": maybe_time("Since when it holds"),
            "endsAt": maybe_time("Until when, if it is not sent again"),
            "generatorURL": { "type": ["string", "null"] },
        },
    })
}

fn problem() -> Json {
    json!({
        "type": "object",
        "description": "A problem document of RFC 9457",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": { "type": "string", "format": "uri", "description": "For programs" },
            "title": { "type": "string", "description": "The same whatever the occurrence" },
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "detail": { "type": "string", "description": "This occurrence, and what to do" },
        },
    })
}
