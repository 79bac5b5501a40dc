//! No secret is seen where it does not belong: one is planted in every place that takes one, every
//! target gives back what it is sent, and then all outputs are searched.
//!
//! The places come from the registries, so that a new option for a secret fails here until it is
//! planted as well.

use crate::harness::{Daemon, Finished, KEY, PATIENCE, Setup, Webhook, eventually, hear, hostile};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use watchbell::app::plan::{self, LoadOptions};
use watchbell::check::kinds;
use watchbell::deliver::{kinds as channels, presets};
use watchbell::render::preset::OptionType;

/// How all secrets but a few end, by which a long text is searched for any of them at once.
const END: &str = "xq7ZvWb1kLmT";

/// A secret, and where it stands.
struct Plant {
    place: String,
    /// The secret as it is, in small letters, and in base64 wherever it may begin there.
    forms: Vec<String>,
}

impl Plant {
    fn new(place: &str, secret: &str) -> Self {
        let encoded = (0..3).map(|shift| {
            let whole = STANDARD.encode(format!("{}{secret}", &"___"[..shift]));
            // What shares its letters with neighbours is left out.
            whole[4..whole.len() - 5].to_owned()
        });
        let plain = [secret.to_owned(), secret.to_lowercase()];
        Self { place: place.to_owned(), forms: plain.into_iter().chain(encoded).collect() }
    }
}

/// The secrets that are planted.
#[derive(Default)]
struct Plants(Vec<Plant>);

impl Plants {
    /// A secret that stands nowhere else.
    fn at(&mut self, place: &str) -> String {
        let text = format!("Planted{:03}{END}", self.0.len());
        self.0.push(Plant::new(place, &text));
        text
    }

    /// Says which of them are in `text`, plain or in base64.
    fn found_in(&self, text: &str) -> Vec<String> {
        let any = Plant::new("", END).forms.iter().any(|form| text.contains(form));
        let worth_it = self.0.iter().filter(|plant| any || !plant.forms[0].ends_with(END));
        let found = worth_it.filter(|plant| plant.forms.iter().any(|form| text.contains(form)));
        found.map(|plant| plant.place.clone()).collect()
    }

    fn assert_none_in(&self, what: &str, text: &str) {
        let found = self.found_in(text);
        if found.is_empty() {
            return;
        }
        let lines = text.lines().filter(|line| !self.found_in(line).is_empty());
        let lines: Vec<String> = lines.take(5).map(|it| it.chars().take(600).collect()).collect();
        panic!("{what} shows the secrets of {found:?}:\n{}", lines.join("\n"));
    }

    fn has(&self, place: &str) -> bool {
        self.0.iter().any(|plant| plant.place == place)
    }
}

#[test]
fn what_is_planted_is_found_plain_and_in_base64() {
    let mut plants = Plants::default();
    let secrets: Vec<String> = (0..30).map(|n| plants.at(&n.to_string())).collect();
    plants.0.push(Plant::new("key", KEY));
    for (n, secret) in secrets.iter().enumerate() {
        for user in ["", "a", "ab", "anna"] {
            let encoded = STANDARD.encode(format!("{user}:{secret}"));
            for text in [format!("a {encoded} b"), format!("http://{user}:{secret}@host/")] {
                assert_eq!(plants.found_in(&text), [n.to_string()], "{text}");
            }
        }
    }
    assert_eq!(plants.found_in(&format!("Bearer {KEY}")), ["key"]);
    assert_eq!(plants.found_in("Planted"), [""; 0]);
}

/// A web server that refuses everything, and gives back all that it was sent.
fn web() -> u16 {
    hostile(|stream| {
        let heard = hear(stream);
        let length = heard.len();
        let head = "HTTP/1.1 401 Unauthorized\r\nContent-Type: text/plain\r\nConnection: close\r\n";
        let quoted: String = heard.lines().next().unwrap_or_default().into();
        _ = write!(stream, "{head}X-Asked: {quoted}\r\nContent-Length: {length}\r\n\r\n{heard}");
    })
}

/// A mail server that does the same.
fn mail() -> u16 {
    hostile(|stream| {
        _ = stream.write_all(b"220 mail.example ESMTP\r\n");
        loop {
            let heard = hear(stream);
            if heard.is_empty() {
                return;
            }
            let answer = match heard.starts_with("EHLO") {
                true => "250-mail.example\r\n250 AUTH PLAIN LOGIN\r\n".to_owned(),
                false => format!("535 no: {}\r\n", heard.trim()),
            };
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// A server of the protocol of Redis that does the same.
fn keys() -> u16 {
    hostile(|stream| {
        let heard = hear(stream).replace("\r\n", " ");
        _ = write!(stream, "-ERR no: {heard}\r\n");
    })
}

/// Checks of every kind that takes a secret, all of which fail.
fn checks(plants: &mut Plants, web: u16, keys: u16) -> String {
    let mut text = String::new();
    let mut n = 0;
    let mut add = |kind: &str, table: String| {
        n += 1;
        let head = "every = \"1s\"\nconfirm_after = 1\ntimeout = \"3s\"\nflapping = false";
        let head = if kind == "heartbeat" { "" } else { head };
        let _ = write!(text, "[[check]]\nname = \"{kind}-{n}\"\n{head}\n{table}\n");
    };
    let mut at = |place: &str| plants.at(place);
    let url = format!("http://127.0.0.1:{web}/");
    let http = |rest: String| format!("[check.http]\nurl = \"{url}\"\n{rest}");
    let (user, query) = (at("http url password"), at("http url query"));
    add(
        "http",
        format!("[check.http]\nurl = \"http://anna:{user}@127.0.0.1:{web}/a?api_key={query}\""),
    );
    let headers = [at("http authorization"), at("http x-api-key"), at("http cookie")];
    add(
        "http",
        http(format!(
            "headers = {{ Authorization = \"Bearer {}\", X-Api-Key = \"{}\", Cookie = \"id={}\" }}",
            headers[0], headers[1], headers[2]
        )),
    );
    let password = at("http basic_auth");
    add("http", http(format!("basic_auth = {{ username = \"anna\", password = \"{password}\" }}")));
    add("http", http(format!("bearer_token = \"{}\"", at("http bearer_token"))));
    let secret = at("http oauth2");
    add(
        "http",
        http(format!(
            "oauth2 = {{ token_url = \"{url}\", client_id = \"anna\", client_secret = \"{secret}\" }}"
        )),
    );
    let password = at("http proxy");
    add("http", http(format!("proxy = \"http://anna:{password}@127.0.0.1:{web}\"")));
    let (path, sign, header) =
        (at("recover webhook url"), at("recover webhook secret"), at("recover webhook headers"));
    add(
        "http",
        http(format!(
            "[check.recover]\naction = \"restart\"\ncooldown = \"1s\"\nwebhook = {{ url = \
         \"{url}{path}\", secret = \"{sign}\", headers = {{ Authorization = \"{header}\" }} }}"
        )),
    );
    let password = at("postgres url");
    add(
        "postgres",
        format!("[check.postgres]\nurl = \"postgres://anna:{password}@127.0.0.1:{web}/shop\""),
    );
    let password = at("redis url");
    add("redis", format!("[check.redis]\nurl = \"redis://anna:{password}@127.0.0.1:{keys}/0\""));
    let password = at("redis sentinel");
    add(
        "redis",
        format!(
            "[check.redis]\nurl = \"redis://127.0.0.1:{keys}/0\"\nsentinel = {{ master = \"main\", \
         addresses = [\"127.0.0.1:{keys}\"], username = \"anna\", password = \"{password}\" }}"
        ),
    );
    let (path, header, other) = (at("rpc url"), at("rpc headers"), at("rpc reference"));
    add(
        "rpc",
        format!(
            "[check.rpc]\nurl = \"{url}v1/{path}\"\nchain = \"evm\"\nreference = [\"{url}v1/{other}\"]\n\
         headers = {{ Authorization = \"Bearer {header}\" }}"
        ),
    );
    let token = at("grpc metadata");
    add(
        "grpc",
        format!(
            "[check.grpc]\naddress = \"127.0.0.1:{web}\"\nmetadata = {{ authorization = \"Bearer {token}\" }}"
        ),
    );
    let (query, header) = (at("websocket url"), at("websocket headers"));
    add(
        "websocket",
        format!(
            "[check.websocket]\nurl = \"ws://127.0.0.1:{web}/feed?api_key={query}\"\n\
         headers = {{ Authorization = \"Bearer {header}\" }}"
        ),
    );
    let (variable, word) = (at("exec env"), at("exec command"));
    add(
        "exec",
        format!(
            "[check.exec]\ncommand = [\"/bin/false\", \"--password\", \"{word}\"]\n\
         env = {{ DB_PASSWORD = \"{variable}\" }}"
        ),
    );
    let uuid = "7f0e3c1a-5b7d-4c11-9a55-0d4c6b2f9e31";
    add("heartbeat", format!("[check.heartbeat]\nuuid = \"{uuid}\"\nperiod = \"1h\""));
    plants.0.push(Plant::new("heartbeat uuid", uuid));
    text
}

/// Channels of every kind that takes a secret, and every preset. All but `working` fail.
fn channels(plants: &mut Plants, web: u16, mail: u16) -> String {
    let url = format!("http://127.0.0.1:{web}");
    let mut text = String::new();
    let mut add = |name: &str, table: String| {
        let limits = "rate_limit = \"1000/h\"\ncooldown = \"0s\"\ntimeout = \"5s\"";
        let _ = write!(text, "[[channel]]\nname = \"{name}\"\n{limits}\n{table}\n");
    };
    let path = plants.at("slack webhook_url");
    add("slack", format!("[channel.slack]\nwebhook_url = \"{url}/services/{path}\""));
    let token = plants.at("slack token");
    add(
        "slack-bot",
        format!(
            "[channel.slack]\ntoken = \"xoxb-{token}\"\nchannel = \"#ops\"\napi_url = \"{url}/\""
        ),
    );
    let path = plants.at("discord webhook_url");
    add("discord", format!("[channel.discord]\nwebhook_url = \"{url}/api/webhooks/1/{path}\""));
    let token = plants.at("telegram token");
    add(
        "telegram",
        format!(
            "[channel.telegram]\ntoken = \"123456:{token}\"\nchat_id = 42\napi_url = \"{url}\"\n\
         operate = {{ users = [4242] }}"
        ),
    );
    let password = plants.at("email password");
    add(
        "email",
        format!(
            "[channel.email]\nhost = \"127.0.0.1\"\nport = {mail}\ntls = \"none\"\nusername = \"anna\"\n\
         password = \"{password}\"\nfrom = \"a@shop.example\"\nto = [\"b@shop.example\"]"
        ),
    );
    let (path, sign) = (plants.at("webhook url"), plants.at("webhook secret"));
    let header = plants.at("webhook headers");
    add(
        "webhook",
        format!(
            "[channel.webhook]\nurl = \"{url}/{path}\"\nsecret = \"{sign}\"\n\
         headers = {{ Authorization = \"Bearer {header}\" }}"
        ),
    );
    for shipped in presets::ALL {
        let preset = shipped.read().unwrap();
        let mut table = format!("[channel.webhook]\npreset = \"{}\"\n", shipped.name);
        for option in &preset.head.options {
            let secret =
                |plants: &mut Plants| plants.at(&format!("{} {}", shipped.name, option.name));
            let _ = match option.ty {
                OptionType::Secret => {
                    writeln!(table, "{} = \"{}\"", option.name, secret(plants))
                }
                OptionType::Url => {
                    writeln!(table, "{} = \"{url}/{}\"", option.name, secret(plants))
                }
                OptionType::Integer if option.is_required() => {
                    writeln!(table, "{} = {}", option.name, option.example)
                }
                OptionType::String if option.is_required() => {
                    writeln!(table, "{} = \"{}\"", option.name, option.example)
                }
                OptionType::Integer | OptionType::String => continue,
            };
        }
        add(shipped.name, table);
    }
    text
}

/// Fails if a registry knows an option for a secret that is not planted.
fn assert_all_are_planted(plants: &Plants) {
    let mut missing = BTreeSet::new();
    let kinds = kinds::ALL.iter().map(|kind| (kind.name, kind.options));
    let channels = channels::ALL.iter().map(|kind| (kind.name, kind.options));
    for (name, options) in kinds.chain(channels) {
        for option in options.iter().filter(|option| option.ty == "secret") {
            let place = format!("{name} {}", option.name);
            let is_planted = plants.0.iter().any(|plant| plant.place.starts_with(&place));
            if !is_planted {
                missing.insert(place);
            }
        }
    }
    assert!(missing.is_empty(), "nothing is planted in {missing:?}");
}

/// All that answers a GET, by the API's own description, and the pages.
async fn addresses(daemon: &Daemon) -> Vec<String> {
    let described = daemon.get("/openapi.json").await;
    let operations = described["paths"].as_object().unwrap().iter();
    let mut paths: BTreeSet<String> =
        operations.filter(|(_, it)| !it["get"].is_null()).map(|(path, _)| path.clone()).collect();
    let pages = [
        "/",
        "/status",
        "/status.json",
        "/status.atom",
        "/status.rss",
        "/incidents",
        "/notices",
        "/checks/{name}",
        "/incidents/{id}",
        "/incidents/{id}/postmortem.md",
        "/sign-in",
    ];
    paths.extend(pages.map(str::to_owned));
    // A stream, whose events the API gives as well; and pings, whose address is the secret.
    paths.retain(|path| !path.ends_with("/events") && !path.starts_with("/ping/"));
    let names = daemon.list("/api/v1/checks?limit=1000").await;
    let incidents = daemon.list("/api/v1/incidents?limit=1000").await;
    let mut all = Vec::new();
    for path in paths {
        let of = match path.as_str() {
            path if path.contains("{name}") => ("{name}", &names, "name"),
            path if path.contains("incidents/{id}") => ("{id}", &incidents, "id"),
            _ => {
                all.push(path);
                continue;
            }
        };
        for item in of.1 {
            all.push(path.replace(of.0, item[of.2].as_str().unwrap()));
        }
    }
    all
}

/// What is in the files below `folder` whose names begin with `stem`.
fn files(folder: &Path, stem: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(stem));
    named
        .map(|entry| {
            let bytes = fs::read(entry.path()).unwrap();
            (entry.path().display().to_string(), String::from_utf8_lossy(&bytes).into_owned())
        })
        .collect()
}

#[tokio::test]
async fn what_is_secret_is_in_no_log_answer_page_message_error_or_database() {
    let mut plants = Plants::default();
    let (web, keys) = (web(), keys());
    let working = Webhook::start();
    let limits = "rate_limit = \"1000/h\"\ncooldown = \"0s\"";
    let setup = Setup::new();
    let put = |name: &str, text: &str| fs::write(setup.folder().join(name), text).unwrap();
    let (key, ping) = (plants.at("api key by file"), plants.at("api ping_key"));
    put("key", &key);
    let credential = plants.at("api key by credential");
    put("credential", &credential);
    let variable = plants.at("label by environment");
    let heartbeat = plants.at("daemon heartbeat_url");
    let all = checks(&mut plants, web, keys);
    let tables = channels(&mut plants, web, mail());
    plants.0.push(Plant::new("the key of the story", KEY));
    assert_all_are_planted(&plants);
    let of_keys = "[[api.key]]\nname = \"by-file\"\nkey = \"${file:key}\"\nscopes = [\"read\"]\n";
    let folder = setup.folder().display().to_string();
    let setup = setup
        .daemon(&format!("heartbeat_url = \"http://127.0.0.1:{web}/ping/{heartbeat}\""))
        .api(&format!("ping_key = \"{ping}\""))
        .tables(of_keys)
        .tables(&tables)
        .tables(&working.channel("working", limits))
        .checks("all.toml", &all);

    let plan = plan::load(&setup.config(), LoadOptions::default()).unwrap();
    plants.assert_none_in("the plan in Debug", &format!("{plan:?}\n{plan:#?}"));
    drop(plan);

    let by_environment = format!(
        "[[check]]\nname = \"by-environment\"\nevery = \"1s\"\nconfirm_after = 1\n[check.http]\n\
         url = \"http://127.0.0.1:{web}/\"\nbearer_token = \"${{WATCHBELL_PLANTED}}\"\n"
    );
    let credentials = "[[api.key]]\nname = \"by-credential\"\nkey = \"${credential:credential}\"\n\
                       scopes = [\"read\"]\n";
    let daemon = setup
        .variable("RUST_LOG", "trace")
        .variable("WATCHBELL_PLANTED", &variable)
        .variable("CREDENTIALS_DIRECTORY", &folder)
        .tables(credentials)
        .checks("environment.toml", &by_environment)
        .start()
        .await;
    eventually("every channel to be tried", PATIENCE * 3, async || {
        let tried = daemon.notices().await;
        let tried = tried.iter().filter(|it| it["attempts"].as_u64().unwrap_or(0) > 0);
        let channels: BTreeSet<String> = tried.map(|it| it["channel"].to_string()).collect();
        (channels.len() >= tables.matches("[[channel]]").count()).then_some(())
    })
    .await;
    eventually("every check to be told", PATIENCE * 3, async || {
        let checks = daemon.list("/api/v1/checks?limit=1000").await;
        let told = checks.iter().filter(|it| !it["incident"].is_null()).count();
        // The heartbeat waits.
        (told + 1 == checks.len()).then_some(())
    })
    .await;
    working.inbox.wait_for(0, &["DOWN"]).await;
    // A bad reload, whose mistakes people are told.
    daemon.rewrite_checks("bad.toml", "[[check]]\nname = \"x\"\ntimeout = \"${file:key}\"\n");
    let (_, refused) = daemon.post("/api/v1/reload").await;
    daemon.wait_for_incident("watchbell:configuration", "open", &[]).await;
    fs::remove_file(daemon.setup().folder().join("checks.d/bad.toml")).unwrap();

    let mut outputs = vec![("a refused reload".to_owned(), refused.to_string())];
    for path in addresses(&daemon).await {
        let (_, text) = daemon.get_text(&path).await;
        outputs.push((format!("GET {path}"), text));
    }
    for message in working.inbox.messages() {
        outputs.push(("a message".to_owned(), format!("{} {}", message.text, message.body)));
    }
    let url = daemon.url("");
    for words in [
        &["status", "--json"][..],
        &["incidents", "--json"],
        &["notices", "--json"],
        &["history", "http-1", "--json"],
        &["report", "--json"],
    ] {
        let whole: Vec<&str> = words.iter().copied().chain(["--url", &url, "--key", KEY]).collect();
        let Finished { out, err, .. } = crate::harness::watchbell(&whole).await;
        outputs.push((words.join(" "), format!("{out}{err}")));
    }
    let names = daemon.list("/api/v1/checks?limit=1000").await;
    for name in names.iter().map(|it| it["name"].as_str().unwrap()) {
        let run = daemon.setup().command(&["check", name, "--json"]).await.all();
        outputs.push((format!("check {name}"), run));
    }
    for words in [&["validate"][..], &["notify", "test", "webhook"]] {
        outputs.push((words.join(" "), daemon.setup().command(words).await.all()));
    }
    let folder = daemon.setup().folder();
    outputs.extend(files(folder, "watchbell.db"));
    outputs.push(("the log".to_owned(), daemon.log()));
    let mut wrong = Vec::new();
    for (what, text) in &outputs {
        let found = plants.found_in(text);
        if found.is_empty() {
            continue;
        }
        if let Some(line) = text.lines().find(|line| !plants.found_in(line).is_empty()) {
            let line: String = line.chars().take(400).collect();
            wrong.push(format!("{what} shows the secrets of {found:?}: {line}"));
        }
    }
    assert!(wrong.is_empty(), "{} leaks:\n{}", wrong.len(), wrong.join("\n"));
    assert!(plants.has("slack token"), "the story has lost its plants");
}

#[tokio::test]
async fn a_mistake_beside_a_secret_does_not_quote_it() {
    let mut plants = Plants::default();
    let mut text = String::new();
    let mut add = |head: &str, line: String| {
        let _ = write!(text, "{head}\n{line}\n");
    };
    for kind in kinds::ALL {
        for option in kind.options.iter().filter(|option| option.ty == "secret") {
            let place = format!("{} {}", kind.name, option.name);
            let forms = ["\"not what {} is\"", "[\"{}\"]", "{ x = \"{}\" }", "\"ftp://a:{}@b:c/\""];
            for (n, form) in forms.iter().enumerate() {
                let value = form.replace("{}", &plants.at(&place));
                let head = format!(
                    "[[check]]\nname = \"{}-{}-{n}\"\n[check.{}]",
                    kind.name, option.name, kind.name
                );
                add(&head, format!("{} = {value}", option.name));
            }
        }
    }
    let setup = Setup::new();
    let planted = plants.at("file");
    fs::write(setup.folder().join("secret"), &planted).unwrap();
    let keys = [
        "name",
        "every",
        "cron",
        "time_zone",
        "timeout",
        "for",
        "severity",
        "unknown_after",
        "retry_every",
        "confirm_after",
        "runbook",
        "renamed_from",
        "public_name",
        "nobody",
    ];
    let lists = ["expect", "degraded_if", "depends_on"];
    for key in keys {
        let head = format!("[[check]]\n{key} = \"${{file:secret}}\"");
        add(&head, "[check.http]\nurl = \"http://127.0.0.1/\"".to_owned());
    }
    for key in lists {
        let head = format!("[[check]]\nname = \"with-{key}\"\n{key} = [\"${{file:secret}}\"]");
        add(&head, "[check.http]\nurl = \"http://127.0.0.1/\"".to_owned());
    }
    let setup = setup
        .daemon("time_zone = \"${file:secret}\"\npublic_url = \"${file:secret}\"")
        .tables(
            "[[channel]]\nname = \"${file:secret}\"\nrate_limit = \"${file:secret}\"\n\
             [channel.webhook]\nurl = \"${file:secret}\"\nmethod = \"${file:secret}\"\n\
             preset = \"${file:secret}\"\n",
        )
        .checks("all.toml", &text);
    let said = setup.command(&["validate"]).await;
    assert_eq!(said.code, 2, "{}", said.all());
    assert!(said.all().lines().count() > keys.len(), "{}", said.all());
    plants.assert_none_in("validate", &said.all());
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_does_not_show_its_password() {
    let mut plants = Plants::default();
    for (n, host) in ["127.0.0.1:1", "no-such-host.invalid", "[::bad"].iter().enumerate() {
        let password = plants.at(&format!("store {n}"));
        let store = format!("store = \"postgres://anna:{password}@{host}/history\"");
        let setup = Setup::new().history(&store).variable("RUST_LOG", "trace");
        for words in [&["run"][..], &["validate"], &["store", "check"]] {
            let said = setup.command(words).await.all();
            plants.assert_none_in(&format!("{words:?} with a store at {host}"), &said);
        }
    }
}
