//! The configuration files as JSON Schema, made of what the registries and `config::docs` say.
//!
//! Draft 7, which taplo and the editors above it read. A text may always hold `${NAME}`, whose
//! value only the daemon knows, so what limits a text lets that through.

use crate::check::kinds as checks;
use crate::config::docs;
use crate::deliver::{kinds as channels, presets};
use crate::model::{OptionDoc, Shape};
use crate::recover::actions as ways;
use crate::render::preset::{OptionType, Preset};
use serde_json::{Map, Value as Json, json};

const DRAFT: &str = "http://json-schema.org/draft-07/schema#";

/// A span of time as `config::parse_duration` reads it.
const DURATION: &str = r"^\s*(0|(\d+(\.\d+)?\s*(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds|second|secs|sec|s|minutes|minute|mins|min|m|hours|hour|hrs|hr|h|days|day|d|weeks|week|wks|wk|w|months|month|M|years|year|yrs|yr|y)\s*)+)$|\$\{";

/// A rate as `config::Rate` reads it.
const RATE: &str = r"^\s*\+?0*[1-9]\d*\s*/\s*(\d+(\.\d+)?\s*)?[a-zµM]+[0-9a-zµM. ]*$|\$\{";

/// What a text with a reference in it looks like.
const REFERENCE: &str = r"\$\{";

/// What a name is.
const NAME: &str = r"^[A-Za-z0-9][A-Za-z0-9._-]*$|\$\{";

/// `daemon.toml`.
///
/// # Errors
///
/// A preset that ships cannot be read.
pub fn daemon() -> anyhow::Result<Json> {
    let mut kinds = Map::new();
    for kind in channels::ALL {
        let mut schema = match kind.name {
            "webhook" => webhook(kind.options)?,
            _ => table(kind.options),
        };
        describe(&mut schema, kind.summary);
        kinds.insert(kind.name.to_owned(), schema);
    }
    let mut channel = one_of(table(docs::CHANNEL), kinds);
    named(&mut channel);
    let mut route = table(docs::ROUTE);
    route["properties"]["route"] = list(json!({ "$ref": "#/definitions/route" }));
    let mut maintenance = table(docs::MAINTENANCE);
    named(&mut maintenance);
    // A date and time of TOML's own counts as a text, too.
    maintenance["oneOf"] =
        json!([{ "required": ["start", "end"] }, { "required": ["cron", "duration"] }]);
    let mut key = table(docs::KEY);
    key["oneOf"] = json!([{ "required": ["key"] }, { "required": ["key_hash"] }]);
    let mut api = table(docs::API);
    api["properties"]["key"]["items"] = key;
    // The outer routes have to say who hears.
    let top_route = json!({ "allOf": [{ "$ref": "#/definitions/route" }], "required": ["to"] });
    Ok(json!({
        "$schema": DRAFT,
        "title": "Watchbell: daemon.toml",
        "description": "The daemon's own settings. Texts may hold ${NAME}, ${file:PATH} and \
                        ${credential:NAME}.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "daemon": titled(table(docs::DAEMON), "The daemon itself"),
            "history": titled(table(docs::HISTORY), "Where history is kept, and how long"),
            "api": titled(api, "The status API and the page"),
            "status_page": titled(table(docs::STATUS_PAGE), "The public status page"),
            "recovery": titled(table(docs::RECOVERY), "What recovery actions have in common"),
            "channel": titled(list(channel), "Where alerts go"),
            "route": titled(list(top_route), "Who hears what; the first match wins"),
            "maintenance": titled(list(maintenance), "When it is known that things fail"),
        },
        "definitions": { "route": route },
    }))
}

/// A file in `checks.d`.
pub fn checks() -> Json {
    let kinds = checks::ALL.iter().map(|kind| {
        let mut schema = table(kind.options);
        describe(&mut schema, kind.summary);
        (kind.name.to_owned(), schema)
    });
    let mut check = one_of(table(docs::CHECK), kinds.collect());
    named(&mut check);
    let mut recover = table(docs::RECOVER);
    for way in ways::ALL {
        for option in way.options {
            recover["properties"][option.name] = schema_of(option);
        }
    }
    recover["oneOf"] = ways::ALL.iter().map(|way| json!({ "required": [way.name] })).collect();
    check["properties"]["recover"] = titled(recover, "How it is got going again");
    json!({
        "$schema": DRAFT,
        "title": "Watchbell: checks",
        "description": "What is watched. Texts may hold ${NAME}, ${file:PATH} and \
                        ${credential:NAME}.",
        "type": "object",
        "additionalProperties": false,
        "properties": { "check": titled(list(check), "One thing watched each") },
    })
}

/// A table with these keys and no others.
fn table(options: &[OptionDoc]) -> Json {
    let properties: Map<String, Json> =
        options.iter().map(|option| (option.name.to_owned(), schema_of(option))).collect();
    let mut schema =
        json!({ "type": "object", "additionalProperties": false, "properties": properties });
    let required: Vec<&str> = options
        .iter()
        .filter(|option| option.default == "required")
        .map(|option| option.name)
        .collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// A table that has exactly one of these tables within it.
fn one_of(mut schema: Json, kinds: Map<String, Json>) -> Json {
    schema["oneOf"] = kinds.keys().map(|kind| json!({ "required": [kind] })).collect();
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.extend(kinds);
    }
    schema
}

fn list(items: Json) -> Json {
    json!({ "type": "array", "items": items })
}

fn titled(mut schema: Json, text: &str) -> Json {
    describe(&mut schema, text);
    schema
}

fn describe(schema: &mut Json, text: &str) {
    schema["description"] = json!(text);
}

fn named(schema: &mut Json) {
    schema["properties"]["name"]["pattern"] = json!(NAME);
}

fn schema_of(option: &OptionDoc) -> Json {
    let plain = || by_type(option.ty);
    let mut schema = match option.shape {
        Shape::Plain => plain(),
        Shape::Words(words) => match option.ty {
            "list" => list(any_of([json!({ "enum": words }), reference()])),
            "duration" => any_of([json!({ "enum": words }), plain()]),
            _ => any_of([json!({ "enum": words }), reference()]),
        },
        Shape::Or(other) => any_of([plain(), by_type(other)]),
        Shape::WordsOr(words, other) => {
            any_of([json!({ "enum": words }), reference(), by_type(other)])
        }
        Shape::Numbers => list(json!({ "type": "integer" })),
        Shape::Keys(keys) => match option.ty {
            "list" => list(table(keys)),
            _ => table(keys),
        },
        Shape::Any => json!({}),
    };
    describe(&mut schema, option.summary);
    if let Some(default) = default_of(option.default) {
        schema["default"] = default;
    }
    schema
}

fn by_type(ty: &str) -> Json {
    match ty {
        "duration" => json!({ "type": "string", "pattern": DURATION }),
        "rate" => json!({ "type": "string", "pattern": RATE }),
        "list" => list(json!({ "type": "string" })),
        "table" => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        "secret" => json!({ "type": "string" }),
        other => json!({ "type": other }),
    }
}

fn any_of(schemas: impl IntoIterator<Item = Json>) -> Json {
    json!({ "anyOf": schemas.into_iter().collect::<Vec<_>>() })
}

fn reference() -> Json {
    json!({ "type": "string", "pattern": REFERENCE })
}

/// A default that is written in TOML; none where it is told in words.
fn default_of(text: &str) -> Option<Json> {
    let table: ::toml::Table = ::toml::from_str(&format!("default = {text}")).ok()?;
    serde_json::to_value(table.get("default")?).ok()
}

/// `[channel.webhook]`: its own keys, or those of the preset that it names. Which keys a preset of
/// the user's own takes nobody knows here, so such a table may have any.
fn webhook(options: &[OptionDoc]) -> anyhow::Result<Json> {
    let mut schema = table(options);
    let mut taken = schema["properties"].as_object().cloned().unwrap_or_default();
    let own: Vec<&str> = options.iter().map(|option| option.name).collect();
    let mut cases = vec![json!({
        "if": { "not": { "required": ["preset"] } },
        "then": { "required": ["url"], "propertyNames": { "enum": own } },
    })];
    let mut names = Vec::new();
    for shipped in presets::ALL {
        let preset = shipped.read()?;
        names.push(shipped.name);
        cases.push(case_of(shipped.name, &preset));
        for option in &preset.head.options {
            let mut schema = by_option_type(option.ty);
            describe(&mut schema, &option.summary);
            match taken.get_mut(&option.name) {
                Some(known) if known["type"] == schema["type"] => {}
                Some(known) => *known = any_of([known.take(), schema]),
                None => {
                    taken.insert(option.name.clone(), schema);
                }
            }
        }
    }
    if let Some(preset) = taken.get_mut("preset") {
        // The names are for completion: the folder of templates may hold others.
        preset["anyOf"] = json!([{ "enum": names }, { "type": "string" }]);
    }
    schema["properties"] = Json::Object(taken);
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("required");
        schema.remove("additionalProperties");
    }
    schema["allOf"] = Json::Array(cases);
    Ok(schema)
}

/// What holds of the table if it names this preset.
fn case_of(name: &str, preset: &Preset) -> Json {
    let options = &preset.head.options;
    let keys: Vec<&str> = ["preset", "headers", "secret"]
        .into_iter()
        .chain(options.iter().map(|option| &*option.name))
        .collect();
    let required: Vec<&str> =
        options.iter().filter(|option| option.is_required()).map(|option| &*option.name).collect();
    let types: Map<String, Json> =
        options.iter().map(|option| (option.name.clone(), by_option_type(option.ty))).collect();
    json!({
        "if": { "required": ["preset"], "properties": { "preset": { "const": name } } },
        "then": { "propertyNames": { "enum": keys }, "required": required, "properties": types },
    })
}

fn by_option_type(ty: OptionType) -> Json {
    match ty {
        OptionType::Integer => json!({ "type": "integer" }),
        OptionType::String | OptionType::Secret | OptionType::Url => json!({ "type": "string" }),
    }
}

#[cfg(test)]
mod tests;
