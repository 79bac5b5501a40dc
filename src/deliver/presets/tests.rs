use super::{ALL, Shipped, find, read_options};
use crate::config::{Interpolator, Problems, Section, SourceFile};
use crate::deliver::ChannelKind;
use crate::deliver::kinds;
use crate::deliver::support::testing::{NOW, hostile_messages, message_about, messages, read};
use crate::model::{Message, What};
use crate::render::preset::{Call, Encoding, Options, Preset};
use crate::render::sample;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeSet;
use std::path::Path;

fn webhook() -> &'static ChannelKind {
    kinds::find("webhook").unwrap()
}

/// The table of the example of a preset.
fn table(shipped: &Shipped, preset: &Preset) -> String {
    let example = shipped.example(preset);
    example.split_once("[channel.webhook]\n").unwrap().1.to_owned()
}

/// The options that the table `text` gives to `preset`.
fn options(preset: &Preset, text: &str) -> Options {
    let file = SourceFile::in_memory("daemon.toml", text);
    let mut problems = Problems::default();
    let base = Path::new("/etc/watchbell");
    let mut section = Section::root(&file, base, &Interpolator::new(base), &mut problems);
    section.optional::<String>("preset");
    read_options(preset, &mut section).unwrap().0
}

fn plain_body(message: &Message) -> Json {
    json!({
        "what": message.what, "at": message.at, "daemon": message.daemon, "text": message.title,
        "incidents": [],
    })
}

/// What one preset makes of messages of every sort.
fn told(shipped: &Shipped) -> (Preset, Vec<(What, Vec<Call>)>) {
    let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("alert-templates");
    let preset = find(shipped.name, Some(&templates)).unwrap();
    let options = options(&preset, &table(shipped, &preset));
    let mut all = messages(webhook());
    for what in [What::Reminder, What::Escalated, What::Flapping, What::RecoveryStopped] {
        all.push(message_about(webhook(), what, &sample::incidents()[..1]));
        all.push(message_about(webhook(), what, &[sample::eventful()]));
    }
    all.extend(hostile_messages(webhook()).into_iter().map(|mut message| {
        message.incidents.truncate(3);
        message
    }));
    let told = all.iter().map(|message| {
        let calls = preset.calls(message, &options, NOW, &plain_body).unwrap();
        (message.what, calls)
    });
    let told = told.collect();
    (preset, told)
}

fn body(preset: &Preset, call: &Call) -> Json {
    match preset.head.encode {
        Encoding::Json => serde_json::from_slice(&call.body).unwrap(),
        Encoding::Form => {
            let fields = url::form_urlencoded::parse(&call.body);
            Json::Object(
                fields.map(|(name, value)| (name.into(), value.into())).collect::<Map<_, _>>(),
            )
        }
    }
}

/// What is wrong with `value` by `schema`: the part of JSON Schema that the schemas here are
/// written in, with `x-maxBytes` for a limit in bytes and `x-names` for the names of an object.
fn flaws(schema: &Json, value: &Json, path: &str) -> Vec<String> {
    let mut flaws = Vec::new();
    let mut wrong = |what: String| flaws.push(format!("{path}: {what}"));
    let number = |limit: &Json| limit.as_f64().unwrap();
    let text = value.as_str();
    let length = text.map(|text| text.chars().count() as f64);
    let mut below = Vec::new();
    for (keyword, says) in schema.as_object().unwrap() {
        match &**keyword {
            "$comment" => {}
            "type" => {
                let fits = match says.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_i64(),
                    "null" => value.is_null(),
                    other => panic!("unknown type {other}"),
                };
                if !fits {
                    wrong(format!("is not of type {says}: {value}"));
                }
            }
            "enum" if !says.as_array().unwrap().contains(value) => {
                wrong(format!("{value} is none of {says}"));
            }
            "required" => {
                for name in says.as_array().unwrap() {
                    if value.get(name.as_str().unwrap()).is_none() {
                        wrong(format!("{name} is missing"));
                    }
                }
            }
            "properties" => {
                for (name, schema) in says.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        below.push((schema, value, format!("{path}.{name}")));
                    }
                }
            }
            "additionalProperties" => {
                let known = schema["properties"].as_object().unwrap();
                for name in value.as_object().into_iter().flat_map(Map::keys) {
                    if !known.contains_key(name) {
                        wrong(format!("does not know `{name}`"));
                    }
                }
            }
            "items" => match value {
                Json::Array(items) => {
                    below.extend(items.iter().map(|item| (says, item, format!("{path}[]"))));
                }
                Json::Object(fields) => {
                    let fields = fields.iter();
                    below.extend(fields.map(|(name, it)| (says, it, format!("{path}.{name}"))));
                }
                _ => {}
            },
            "maxLength" if length.is_some_and(|length| length > number(says)) => {
                wrong(format!("is longer than {says}"));
            }
            "minLength" if length.is_some_and(|length| length < number(says)) => {
                wrong(format!("is shorter than {says}"));
            }
            "pattern" if text.is_some_and(|text| !matches(says, text)) => {
                wrong(format!("{value} is not like {says}"));
            }
            "minimum" if value.as_f64().is_some_and(|value| value < number(says)) => {
                wrong(format!("{value} is less than {says}"));
            }
            "maximum" if value.as_f64().is_some_and(|value| value > number(says)) => {
                wrong(format!("{value} is more than {says}"));
            }
            "minItems" if value.as_array().is_some_and(|it| (it.len() as f64) < number(says)) => {
                wrong("has too few items".to_owned());
            }
            "maxItems" if value.as_array().is_some_and(|it| it.len() as f64 > number(says)) => {
                wrong("has too many items".to_owned());
            }
            "x-maxBytes" => {
                let bytes = text.map_or_else(|| value.to_string().len(), str::len);
                if bytes as f64 > number(says) {
                    wrong(format!("is {bytes} bytes long, more than {says}"));
                }
            }
            "x-names" => {
                for name in value.as_object().into_iter().flat_map(Map::keys) {
                    if !matches(says, name) {
                        wrong(format!("the name `{name}` is not like {says}"));
                    }
                }
            }
            "anyOf" => {
                let each: Vec<_> = says
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|it| self::flaws(it, value, path))
                    .collect();
                if each.iter().all(|flaws| !flaws.is_empty()) {
                    wrong(format!("fits none of the schemas: {each:?}"));
                }
            }
            "enum" | "maxLength" | "minLength" | "pattern" | "minimum" | "maximum" | "minItems"
            | "maxItems" => {}
            other => panic!("unknown keyword {other}"),
        }
    }
    for (schema, value, path) in below {
        flaws.extend(self::flaws(schema, value, &path));
    }
    flaws
}

fn matches(pattern: &Json, text: &str) -> bool {
    regex::Regex::new(pattern.as_str().unwrap()).unwrap().is_match(text)
}

#[test]
fn names_are_unique_and_every_preset_is_documented() {
    let names: BTreeSet<&str> = ALL.iter().map(|shipped| shipped.name).collect();
    assert_eq!(names.len(), ALL.len());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    for Shipped { name, .. } in ALL {
        assert!(readme.contains(&format!("docs/channels/{name}.md")), "{name} in README.md");
    }
    for shipped in ALL {
        let name = shipped.name;
        let head = shipped.read().unwrap().head;
        let page = std::fs::read_to_string(root.join(format!("docs/channels/{name}.md")))
            .unwrap_or_else(|_| panic!("docs/channels/{name}.md is missing"));
        assert!(page.contains(&format!("preset = \"{name}\"")), "{name}");
        assert!(page.contains(&head.docs) || name == "generic", "{name}: {}", head.docs);
        assert_eq!(page.matches("\n5. ").count(), 1, "{name}: five steps");
        let options: BTreeSet<&str> = head.options.iter().map(|option| &*option.name).collect();
        assert_eq!(options.len(), head.options.len(), "{name}");
        for option in &head.options {
            let what = format!("{name}.{}", option.name);
            assert!(page.contains(&format!("`{}`", option.name)), "{what} in its page");
            assert!(!option.summary.is_empty(), "{what}");
            assert!(!option.is_required() || !option.hint.is_empty(), "{what} needs a hint");
        }
    }
}

#[test]
fn every_example_validates() {
    for shipped in ALL {
        let preset = shipped.read().unwrap();
        let (channel, problems) = read(webhook(), &table(shipped, &preset));
        assert_eq!(problems, "", "{}", shipped.name);
        assert!(channel.is_some(), "{}", shipped.name);
    }
}

#[test]
fn every_body_is_what_its_service_documents() {
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/deliver/presets/schemas");
    let mut found = Vec::new();
    for shipped in ALL {
        let file = schemas.join(format!("{}.json", shipped.name));
        let schema: Json = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let (preset, told) = told(shipped);
        for (what, calls) in &told {
            for call in calls {
                for flaw in flaws(&schema, &body(&preset, call), "") {
                    found.push(format!("{} {what}: {flaw:.400}", shipped.name));
                }
            }
        }
    }
    found.dedup();
    assert_eq!(found.join("\n"), "");
}

#[test]
fn no_text_from_outside_calls_anybody() {
    let chats = ["google-chat", "mattermost", "rocketchat", "zulip"];
    for shipped in ALL.iter().filter(|shipped| chats.contains(&shipped.name)) {
        let (preset, told) = told(shipped);
        for call in told.iter().flat_map(|(_, calls)| calls) {
            let said = body(&preset, call).to_string();
            for shout in ["@everyone", "@here", "<!channel>", "<users/"] {
                assert!(!said.contains(shout), "{}: {shout}", shipped.name);
            }
        }
    }
}

#[test]
fn a_digest_is_as_many_requests_as_the_service_wants() {
    for (name, expected) in [("pagerduty", 3), ("opsgenie", 3), ("ntfy", 1), ("matrix", 1)] {
        let shipped = ALL.iter().find(|shipped| shipped.name == name).unwrap();
        let (_, told) = told(shipped);
        let digest = told.iter().find(|(what, _)| *what == What::Digest).unwrap();
        assert_eq!(digest.1.len(), expected, "{name}");
    }
}

#[test]
fn an_incident_is_opened_and_resolved_under_one_key() {
    let shipped = ALL.iter().find(|shipped| shipped.name == "pagerduty").unwrap();
    let (preset, told) = told(shipped);
    let digest = told.iter().find(|(what, _)| *what == What::Digest).unwrap();
    let said: Vec<String> = digest
        .1
        .iter()
        .map(|call| body(&preset, call))
        .map(|body| format!("{} {}", body["event_action"], body["dedup_key"]).replace('"', ""))
        .collect();
    insta::assert_snapshot!(said.join("\n"), @r"
    trigger 01JNA8Y8PK0000000000000000
    trigger 01JNA8Y8PK0000000000000001
    resolve 01JNA8Y8PK0000000000000002
    ");
}

#[test]
fn a_worse_alert_ends_under_its_other_severities() {
    let shipped = ALL.iter().find(|shipped| shipped.name == "alertmanager").unwrap();
    let (preset, told) = told(shipped);
    let said: Vec<String> = told[..3]
        .iter()
        .flat_map(|(what, calls)| calls.iter().map(move |call| (what, call)))
        .flat_map(|(what, call)| {
            let alerts = body(&preset, call);
            let line = |alert: &Json| {
                let (severity, ends) = (&alert["labels"]["severity"], &alert["endsAt"]);
                format!("{what} {severity} {ends}").replace('"', "")
            };
            alerts.as_array().unwrap().iter().map(line).collect::<Vec<_>>()
        })
        .collect();
    insta::assert_snapshot!(said.join("\n"), @r"
    opened critical 2026-03-08T09:20:12.000Z
    worsened critical 2026-03-08T09:20:12.000Z
    worsened warning 2026-03-01T09:20:12.000Z
    worsened info 2026-03-01T09:20:12.000Z
    resolved critical 2026-03-01T09:20:12.000Z
    resolved warning 2026-03-01T09:20:12.000Z
    resolved info 2026-03-01T09:20:12.000Z
    ");
}

#[test]
fn a_file_in_the_templates_folder_goes_before_what_ships() {
    let folder = tempfile::tempdir().unwrap();
    let presets = folder.path().join("presets");
    std::fs::create_dir(&presets).unwrap();
    let head = "+++\nsummary = \"mine\"\ndocs = \"\"\nurl = \"https://x.example\"\n+++\n";
    std::fs::write(presets.join("ntfy.jinja"), format!("{head}{{}}")).unwrap();
    let mine = find("ntfy", Some(folder.path())).unwrap();
    assert_eq!(mine.head.summary, "mine");
    assert!(find("gotify", Some(folder.path())).unwrap().head.summary.starts_with("Gotify"));
    let mut problems = Vec::new();
    for (name, text) in [
        ("a", format!("{head}{{\n  \"a\": {{{{ incident.chek }}}}\n}}")),
        ("b", format!("{head}{{ \"a\": {{{{ title }}}} }}{{")),
        ("c", format!("{head}{{% if %}}")),
        ("d", head.replace("docs", "dox")),
        ("e", "{}".to_owned()),
    ] {
        std::fs::write(presets.join(format!("{name}.jinja")), text).unwrap();
        let tried = find(name, Some(folder.path())).and_then(|preset| {
            let tried = preset.try_out(&Options::default(), &plain_body);
            tried.map_err(|error| (error.to_string(), None))
        });
        problems.push(tried.unwrap_err().0.replace(&*presets.to_string_lossy(), "presets"));
    }
    let (message, hint) = find("pagerdutty", None).unwrap_err();
    problems.push(format!("{message} ({})", hint.unwrap()));
    problems.push(find("../ntfy", Some(folder.path())).unwrap_err().0);
    insta::assert_snapshot!(problems.join("\n"), @r#"
    presets/a.jinja:7: `incident.chek` is not defined (a name that is not always there needs `|default("")`)
    presets/b.jinja: the body for `opened` is not JSON: trailing characters at line 6 column 67
    the preset cannot be used: presets/c.jinja:6: unexpected end of block, at `%}`
    the preset cannot be used: presets/d.jinja:3: unknown field `dox`, expected one of `summary`, `docs`, `each`, `encode`, `url`, `method`, `headers`, `accepts`, `accepted_when`, `option`
    the preset cannot be used: presets/e.jinja:1: a preset begins with its head, between two lines of `+++`
    there is no preset `pagerdutty` (did you mean `pagerduty`?)
    there is no preset `../ntfy`
    "#);
}
