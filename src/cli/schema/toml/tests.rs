use super::super::{checks as checks_file, daemon as daemon_file};
use super::{DURATION, NAME, RATE, checks, daemon};
use crate::app::plan::{self, LoadOptions};
use crate::check::kinds as check_kinds;
use crate::config::{Rate, WITNESSED, parse_duration};
use crate::deliver::kinds as channel_kinds;
use crate::model::name_problem;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What `daemon.toml` can say beside channels: each table and each key whose value is a table.
const DAEMON: &str = r#"
[daemon]
own_incidents = {}
[history]
keep = {}
[api]
tls = { cert_file = "cert.pem", key_file = "key.pem" }
create_heartbeats = {}
[[api.key]]
name = "ops"
key = "${KEY}"
scopes = ["read"]
[status_page]
[recovery]
[[route]]
when = "severity == 'critical'"
to = []
escalate = [{ after = "15m", to = ["screen"] }]
[[route.route]]
[[maintenance]]
name = "night"
cron = "30 2 * * sun"
duration = "90m"
[[channel]]
name = "screen"
[channel.console]
[[channel]]
name = "phone"
[channel.telegram]
token = "${TOKEN}"
chat_id = 1
operate = { users = [1] }
"#;

/// The tables within the tables of kinds, which their examples do not all show.
const CHECKS: &str = r#"
[[check]]
name = "tables"
[check.http]
url = "https://shop.example"
basic_auth = { username = "a" }
oauth2 = { token_url = "https://id.example", client_id = "a", client_secret = "${SECRET}" }
[[check]]
name = "rpc"
[check.rpc]
url = "https://node.example"
batch = [{ method = "a" }]
call = { to = "0x", data = "0x" }
[[check]]
name = "redis"
[check.redis]
url = "redis://cache.example"
sentinel = { master = "a", addresses = ["a"] }
[[check]]
name = "postgres"
[check.postgres]
url = "postgres://db.example"
queries = { a = "select 1" }
[[check]]
name = "websocket"
[check.websocket]
url = "wss://feed.example"
step = [{ send = "a" }]
[[check]]
name = "system"
[check.system]
processes = [{ name = "a" }, { regex = "a" }, { pid_file = "/a" }, { cgroup = "a" }]
"#;

/// The types of JSON that a type of Rust is read from; `any` where it looks for itself.
fn json_types(ty: &str) -> &'static [&'static str] {
    match ty {
        "table" => &["object"],
        "tables" => &["array of object"],
        _ if ty.starts_with("alloc::vec::Vec<") => match () {
            () if ty.contains("String") || ty.contains("PathBuf") => &["array of string"],
            () => &["array of integer"],
        },
        _ if ty.contains("BTreeMap<") => &["object"],
        _ if ["String", "PathBuf", "Secret", "Severity", "Moment"]
            .iter()
            .any(|end| ty.ends_with(end)) =>
        {
            &["string"]
        }
        "bool" => &["boolean"],
        "u16" | "u32" | "u64" | "usize" | "i32" | "i64" => &["integer"],
        _ if ["Value", "Chat", "any"].iter().any(|end| ty.ends_with(end)) => &["any"],
        other => panic!("which type of JSON is {other}?"),
    }
}

/// What the readers asked for: the types of each key, by its path.
fn asked() -> BTreeMap<String, BTreeSet<String>> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("checks.d")).unwrap();
    let load = |daemon: &str, checks: &str| {
        std::fs::write(folder.path().join("daemon.toml"), daemon).unwrap();
        std::fs::write(folder.path().join("checks.d/a.toml"), checks).unwrap();
        let options = LoadOptions { without_secrets: true };
        // What is wrong with it does not matter here, only what was looked at.
        let _ = plan::load(&folder.path().join("daemon.toml"), options);
    };
    load(DAEMON, CHECKS);
    for kind in channel_kinds::ALL {
        load(kind.example, "");
    }
    for kind in check_kinds::ALL {
        load("", kind.example);
    }
    for way in super::ways::ALL {
        load("", &format!("[[check]]\nname = \"a\"\n[check.tcp]\n{}", way.example));
    }
    let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, ty) in WITNESSED.take() {
        // A route within a route has the same keys.
        let mut path = path;
        while path.starts_with("route.route.") || path == "route.route" {
            path = path["route.".len()..].to_owned();
        }
        // Which of the keys of a table are the user's own only the table can say.
        if path.ends_with('*') {
            continue;
        }
        keys.entry(path).or_default().extend(json_types(ty).iter().map(ToString::to_string));
    }
    keys
}

/// What the schema lets through: the types of each key, by its path.
fn described(schema: &Json) -> BTreeMap<String, BTreeSet<String>> {
    let mut keys = BTreeMap::new();
    let mut open = vec![(String::new(), schema.clone())];
    while let Some((path, table)) = open.pop() {
        let properties = table["properties"].as_object().cloned().unwrap_or_default();
        for (key, value) in properties {
            let path = if path.is_empty() { key } else { format!("{path}.{key}") };
            let mut types = BTreeSet::new();
            let mut values = vec![value];
            while let Some(value) = values.pop() {
                if let Some(words) = value["enum"].as_array() {
                    types.extend(words.iter().filter(|word| word.is_string()).map(|_| "string"));
                }
                match value["type"].as_str() {
                    None if value["anyOf"].is_null() && value["enum"].is_null() => {
                        types.insert("any");
                    }
                    None => values.extend(value["anyOf"].as_array().into_iter().flatten().cloned()),
                    Some("array") => {
                        let mut items = value["items"].clone();
                        if items["$ref"].is_string() || items["allOf"].is_array() {
                            items = schema["definitions"]["route"].clone();
                            if path != "route" {
                                types.insert("array of object");
                                continue;
                            }
                        }
                        let ty = items["type"]
                            .as_str()
                            .or_else(|| items["anyOf"].get(1)?["type"].as_str());
                        types.insert(match ty {
                            Some("object") => "array of object",
                            Some("integer") => "array of integer",
                            _ => "array of string",
                        });
                        open.push((path.clone(), items));
                    }
                    Some("object") => {
                        types.insert("object");
                        open.push((path.clone(), value.clone()));
                    }
                    Some("string") => {
                        types.insert("string");
                    }
                    Some("integer") => {
                        types.insert("integer");
                    }
                    Some("boolean") => {
                        types.insert("boolean");
                    }
                    Some(_) => {
                        types.insert("other");
                    }
                }
            }
            keys.insert(path, types.into_iter().map(ToOwned::to_owned).collect());
        }
    }
    keys
}

#[test]
fn the_schemas_know_the_keys_and_types_that_the_loader_reads_and_no_others() {
    let asked = asked();
    let mut known = described(&daemon().unwrap());
    known.extend(described(&checks()));
    known.remove("route.route");
    // Those of presets are held to them by what reads them.
    let of_webhook: Vec<&str> =
        channel_kinds::find("webhook").unwrap().options.iter().map(|option| option.name).collect();
    known.retain(|path, _| {
        path.strip_prefix("channel.webhook.").is_none_or(|key| of_webhook.contains(&key))
    });
    let mut problems = Vec::new();
    for (path, types) in &asked {
        let Some(known) = known.get(path) else {
            if path != "route" {
                problems.push(format!("{path} is read, and not in the schema"));
            }
            continue;
        };
        let fits = types.contains("any") || types.is_subset(known) && known.is_subset(types);
        // A table that may be given in the place of a text, for the sake of a message.
        let fits = fits || known.is_subset(types) && types.contains("object");
        if !fits {
            problems.push(format!("{path} is read as {types:?}, and {known:?} in the schema"));
        }
    }
    for path in known.keys().filter(|path| !asked.contains_key(*path)) {
        problems.push(format!("{path} is in the schema, and nobody reads it"));
    }
    assert!(problems.is_empty(), "see src/config/docs.rs:\n{}", problems.join("\n"));
}

#[test]
fn the_schemas_in_docs_are_those_of_the_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema");
    let files =
        [("daemon.schema.json", daemon_file().unwrap()), ("checks.schema.json", checks_file())];
    for (name, text) in files {
        let there = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        assert!(there == text, "docs/schema/{name} is not up to date: run `just schema`");
    }
}

#[test]
fn the_patterns_let_through_what_the_loader_does() {
    let check = |pattern: &str, text: &str, expected: bool| {
        let matches = regex::Regex::new(pattern).unwrap().is_match(text);
        assert_eq!(matches, expected, "{text:?} by {pattern}");
    };
    for text in [
        "0", "500ms", "30s", "5m", "1h 30m", "1h30m", "90d", "1.5h", "2 weeks", "3M", "1y", "5µs",
        "10secs", "", "5", "soon", "5x", "-5s", "5s!", "s", "1h30",
    ] {
        check(DURATION, text, parse_duration(text).is_ok());
    }
    for text in
        ["10/h", "5 / m", "3/10m", "100/d", "010/h", "10", "ten/h", "0/h", "-1/h", "/h", "10/"]
    {
        check(RATE, text, Rate::parse(text).is_ok());
    }
    for text in ["shop-api", "a.b_c", "1", "", "-a", "a b", "watchbell:store", "ä"] {
        check(NAME, text, name_problem(text).is_none());
    }
    for pattern in [DURATION, RATE, NAME] {
        check(pattern, "${SPAN}", true);
    }
}

#[test]
fn a_default_is_a_value_where_it_is_one() {
    assert_eq!(super::default_of("\"10s\""), Some(json!("10s")));
    assert_eq!(super::default_of("[]"), Some(json!([])));
    for words in ["", "required", "any 2xx", "none"] {
        assert_eq!(super::default_of(words), None, "{words}");
    }
}
