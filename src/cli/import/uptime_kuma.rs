//! What Uptime Kuma watches: its database (version 1 and 2), or a backup of version 1.

use super::conditions::cel_text;
use super::draft::{Draft, Drafts, span};
use super::healthchecks::slug_of;
use super::source::Source;
use anyhow::Context as _;
use serde_json::{Value as Json, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _};
use std::collections::BTreeMap;
use std::path::Path;

/// Whether the file is a database of SQLite.
pub fn is_database(path: &Path) -> bool {
    use std::io::Read as _;
    let mut start = [0; 16];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && &start == b"SQLite format 3\0"
}

/// Reads a `kuma.db`, without changing anything there.
pub async fn read_database(path: &Path) -> anyhow::Result<Drafts> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true);
    let unreadable = || format!("{} cannot be read", path.display());
    let mut database = options.connect().await.with_context(unreadable)?;
    let monitors = rows(&mut database, "monitor").await.with_context(unreadable)?;
    let notifications = rows(&mut database, "notification").await.with_context(unreadable)?;
    let names: BTreeMap<String, Json> = rows(&mut database, "tag")
        .await
        .unwrap_or_default()
        .into_iter()
        .map(|tag| (tag["id"].to_string(), tag["name"].clone()))
        .collect();
    let mut tags: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    for tag in rows(&mut database, "monitor_tag").await.unwrap_or_default() {
        let name = names.get(&tag["tag_id"].to_string());
        let tag_of = json!({ "name": name, "value": tag["value"] });
        tags.entry(tag["monitor_id"].to_string()).or_default().push(tag_of);
    }
    let with_tags = |mut monitor: Json| {
        let tags = tags.get(&monitor["id"].to_string()).cloned().unwrap_or_default();
        monitor["tags"] = Json::from(tags);
        monitor
    };
    let monitors = monitors.into_iter().map(with_tags).collect();
    Ok(build(monitors, notifications))
}

/// All rows of a table, each as an object: which columns there are depends on the version.
async fn rows(database: &mut SqliteConnection, table: &str) -> sqlx::Result<Vec<Json>> {
    let columns: Vec<(String,)> = sqlx::query_as("SELECT name FROM pragma_table_info(?)")
        .bind(table)
        .fetch_all(&mut *database)
        .await?;
    // The names come from the database itself, and stand in quotes of both kinds.
    let pairs: Vec<String> = columns
        .into_iter()
        .filter(|(name,)| !name.contains(['\'', '"']))
        .map(|(name,)| format!("'{name}', \"{name}\""))
        .collect();
    if pairs.is_empty() {
        return Err(sqlx::Error::RowNotFound);
    }
    // A function of SQLite takes a limited number of values; objects can be put together.
    let pieces: Vec<String> =
        pairs.chunks(40).map(|piece| format!("json_object({})", piece.join(", "))).collect();
    let select = format!("SELECT {} FROM \"{table}\"", pieces.join(" || char(10) || "));
    let found: Vec<(String,)> =
        sqlx::query_as(AssertSqlSafe(select)).fetch_all(&mut *database).await?;
    let whole = |(text,): (String,)| {
        let mut row = serde_json::Map::new();
        for piece in serde_json::Deserializer::from_str(&text).into_iter::<Json>().flatten() {
            if let Json::Object(piece) = piece {
                row.extend(piece);
            }
        }
        Json::Object(row)
    };
    Ok(found.into_iter().map(whole).collect())
}

/// Reads a backup.
pub fn read(text: &str) -> anyhow::Result<Drafts> {
    let backup: Json = serde_json::from_str(text)
        .context("this is neither a kuma.db nor a backup of Uptime Kuma in JSON")?;
    let mut backup = Source::of(backup);
    Ok(build(backup.list("monitorList"), backup.list("notificationList")))
}

fn build(monitors: Vec<Json>, notifications: Vec<Json>) -> Drafts {
    let mut drafts = Drafts::default();
    let groups: BTreeMap<String, String> = monitors
        .iter()
        .filter(|monitor| monitor["type"] == "group")
        .map(|group| (group["id"].to_string(), group["name"].as_str().unwrap_or("").to_owned()))
        .collect();
    for monitor in monitors.into_iter().filter(|monitor| monitor["type"] != "group") {
        let group = groups.get(&monitor["parent"].to_string()).cloned();
        drafts.checks.push(read_monitor(Source::of(monitor), group));
    }
    for notification in notifications {
        let mut row = Source::of(notification);
        let name = row.text("name").unwrap_or_default();
        let config = row.text("config").unwrap_or_default();
        let config = Source::of(serde_json::from_str(&config).unwrap_or_default());
        match channel(&name, config) {
            Ok(channel) => drafts.channels.push(channel),
            Err(kind) => drafts.lost.push(format!("the notification {name}, of the type {kind}")),
        }
    }
    drafts.take_literally();
    drafts.tell_apart();
    drafts
}

fn read_monitor(mut source: Source, group: Option<String>) -> Draft {
    let theirs = source.text("type").unwrap_or_default();
    let kind = match &*theirs {
        "http" | "keyword" | "json-query" | "real-browser" => "http",
        "push" => "heartbeat",
        "dns" => "dns",
        "postgres" => "postgres",
        "redis" => "redis",
        "grpc-keyword" => "grpc",
        "websocket-upgrade" => "websocket",
        "port" => "tcp",
        _ => "exec",
    };
    let name = source.text("name").unwrap_or_default();
    let mut draft = Draft::new(&name, kind);
    draft.off = source.flag("active") == Some(false);
    let seconds = |it: Option<i64>| it.filter(|it| *it > 0).map(span);
    let interval = seconds(source.number("interval"));
    if kind == "heartbeat" {
        draft.option("slug", slug_of(&name));
        draft.option("period", interval.unwrap_or_else(|| span(60)));
        draft.lose("its token: whoever pushed pings /ping/KEY/SLUG now, with /fail for a failure");
    } else {
        draft.key_if("every", interval);
        draft.key_if(
            "retry_every",
            seconds(source.number("retry_interval").or_else(|| source.number("retryInterval"))),
        );
        draft.key_if("timeout", seconds(source.number("timeout")));
        draft
            .key_if("confirm_after", source.number("maxretries").map(|retries| retries.max(0) + 1));
    }
    labels(&mut source, group, &mut draft);
    for (key, what) in [
        ("upside_down", "upside down: up is what does not answer; say so in `expect`"),
        ("upsideDown", "upside down: up is what does not answer; say so in `expect`"),
        ("proxy_id", "its proxy: see the option `proxy`"),
        ("proxyId", "its proxy: see the option `proxy`"),
    ] {
        if source.flag(key) == Some(true) {
            draft.lose(what);
        }
    }
    if let Some(about) = source.text("description") {
        draft.lose(format!("its description: {about}"));
    }
    by_kind(&theirs, source, &mut draft);
    draft
}

fn labels(source: &mut Source, group: Option<String>, draft: &mut Draft) {
    let mut labels = toml::Table::new();
    for tag in source.list("tags") {
        let mut tag = Source::of(tag);
        if let Some(key) = tag.text("name") {
            let value = tag.text("value").unwrap_or_else(|| "yes".to_owned());
            labels.insert(key, value.into());
        }
    }
    if let Some(group) = group {
        labels.insert("group".to_owned(), group.into());
    }
    if !labels.is_empty() {
        draft.key("labels", labels);
    }
}

fn by_kind(theirs: &str, mut source: Source, draft: &mut Draft) {
    let host = source.text("hostname").unwrap_or_default();
    let port = source.number("port");
    let connection = source.text("database_connection_string");
    let connection = connection.or_else(|| source.text("databaseConnectionString"));
    match theirs {
        "http" | "keyword" | "json-query" | "real-browser" => {
            if theirs == "real-browser" {
                draft.lose("that a browser loads the page: this asks for it alone");
            }
            read_request(theirs, &mut source, draft);
        }
        "push" => {}
        "port" => draft.option("address", format!("{host}:{}", port.unwrap_or(80))),
        "dns" => {
            draft.option("name", host);
            let record = source.text("dns_resolve_type");
            draft.option_if("record", record);
            let server = source.text("dns_resolve_server").unwrap_or_default();
            let server = server.split(',').next().unwrap_or_default().trim().to_owned();
            if !server.is_empty() {
                draft.option("server", server);
            }
        }
        "postgres" => {
            draft.option("url", connection.unwrap_or_default());
            let query = source.text("database_query").or_else(|| source.text("databaseQuery"));
            draft.option_if("query", query);
        }
        "redis" => draft.option("url", connection.unwrap_or_default()),
        "grpc-keyword" => {
            let url = source.text("grpc_url").or_else(|| source.text("grpcUrl"));
            draft.option("address", url.unwrap_or_default());
            draft.lose("its method and keyword: this asks by the standard health protocol");
        }
        "websocket-upgrade" => draft.option("url", source.text("url").unwrap_or_default()),
        "ping" | "tailscale-ping" => {
            draft.key("expect", vec!["exit_code == 0"]);
            draft.option("command", vec!["ping", "-n", "-c", "1", &host]);
        }
        other => {
            draft.off = true;
            draft.option("command", vec!["true"]);
            draft.lose(format!("there is no kind for `{other}` here; a plugin may do it"));
        }
    }
}

fn read_request(theirs: &str, source: &mut Source, draft: &mut Draft) {
    draft.option("url", source.text("url").unwrap_or_default());
    draft.option_if("method", source.text("method").filter(|method| method != "GET"));
    draft.option_if("body", source.text("body"));
    let headers = source.text("headers").unwrap_or_default();
    let mut headers = Source::of(
        json!({ "headers": serde_json::from_str::<Json>(&headers).unwrap_or_default() }),
    );
    draft.option_if("headers", headers.pairs("headers"));
    let user = source.text("basic_auth_user");
    let password = source.text("basic_auth_pass");
    if let (Some(user), Some(password)) = (user, password) {
        let mut pair = toml::Table::new();
        pair.insert("username".to_owned(), user.into());
        pair.insert("password".to_owned(), password.into());
        draft.option("basic_auth", pair);
    }
    if source.flag("ignore_tls").or_else(|| source.flag("ignoreTls")) == Some(true) {
        draft.option("insecure_skip_verify", true);
    }
    match source.number("maxredirects") {
        Some(0) => draft.option("follow_redirects", false),
        Some(10) | None => {}
        Some(most) => draft.option("max_redirects", most.clamp(1, 50)),
    }
    let mut expect = vec![statuses(source)];
    if theirs == "keyword"
        && let Some(word) = source.text("keyword")
    {
        let inverted = source.flag("invert_keyword").or_else(|| source.flag("invertKeyword"));
        let not = if inverted == Some(true) { "!" } else { "" };
        expect.push(format!("{not}text.contains({})", cel_text(&word)));
    }
    if theirs == "json-query" {
        let path = source.text("json_path").or_else(|| source.text("jsonPath"));
        let value = source.text("expected_value").or_else(|| source.text("expectedValue"));
        let words = format!(
            "the answer's {} being {}: such as `body.status == 'ok'` in `expect`",
            path.unwrap_or_default(),
            value.unwrap_or_default()
        );
        draft.lose(words);
    }
    draft.key("expect", expect);
    if source.flag("expiry_notification").or_else(|| source.flag("expiryNotification"))
        == Some(true)
    {
        draft.key("degraded_if", vec!["cert_days_left < 14"]);
    }
}

/// The codes that are well, from `["200-299", "401"]`.
fn statuses(source: &mut Source) -> String {
    let mut ranges = source.list("accepted_statuscodes");
    if let Some(text) = source.text("accepted_statuscodes_json") {
        ranges = serde_json::from_str(&text).unwrap_or_default();
    }
    let condition = |range: &Json| {
        let (from, to) = range.as_str()?.split_once('-').unwrap_or((range.as_str()?, ""));
        let from: u16 = from.trim().parse().ok()?;
        Some(match to.trim().parse::<u16>() {
            Ok(to) => format!("status >= {from} && status <= {to}"),
            Err(_) => format!("status == {from}"),
        })
    };
    let conditions: Vec<String> = ranges.iter().filter_map(condition).collect();
    match conditions.as_slice() {
        [] => "status >= 200 && status <= 299".to_owned(),
        several => several.join(" || "),
    }
}

/// What people are told by; else the type for which there is no channel.
fn channel(name: &str, mut config: Source) -> Result<Draft, String> {
    let theirs = config.text("type").unwrap_or_default();
    let of_kind = |kind: &str, options: &[(&str, &str)], config: &mut Source| {
        let mut draft = Draft::new(name, kind);
        for (theirs, ours) in options {
            draft.option_if(ours, config.text(theirs));
        }
        draft
    };
    let preset = |preset: &str, options: &[(&str, &str)], config: &mut Source| {
        let mut draft = of_kind("webhook", options, config);
        draft.option("preset", preset);
        draft
    };
    let config = &mut config;
    Ok(match &*theirs {
        "slack" => of_kind("slack", &[("slackwebhookURL", "webhook_url")], config),
        "discord" => of_kind("discord", &[("discordWebhookUrl", "webhook_url")], config),
        "telegram" => {
            let mut draft = of_kind("telegram", &[("telegramBotToken", "token")], config);
            draft.chat(config.text("telegramChatID"));
            draft
        }
        "smtp" => {
            let options = [
                ("smtpHost", "host"),
                ("smtpUsername", "username"),
                ("smtpPassword", "password"),
                ("smtpFrom", "from"),
            ];
            let mut draft = of_kind("email", &options, config);
            draft.option_if("port", config.number("smtpPort"));
            if config.flag("smtpSecure") == Some(true) {
                draft.option("tls", "implicit");
            }
            draft.list("to", config.text("smtpTo"));
            draft
        }
        "webhook" => of_kind("webhook", &[("webhookURL", "url")], config),
        "ntfy" => preset(
            "ntfy",
            &[("ntfyserverurl", "url"), ("ntfytopic", "topic"), ("ntfyaccesstoken", "token")],
            config,
        ),
        "gotify" => preset(
            "gotify",
            &[("gotifyserverurl", "url"), ("gotifyapplicationToken", "token")],
            config,
        ),
        "teams" => preset("teams", &[("webhookUrl", "url")], config),
        "GoogleChat" => preset("google-chat", &[("googleChatWebhookURL", "url")], config),
        "mattermost" => preset("mattermost", &[("mattermostWebhookUrl", "url")], config),
        "rocket.chat" => preset("rocketchat", &[("rocketwebhookURL", "url")], config),
        "PagerDuty" => preset("pagerduty", &[("pagerdutyIntegrationKey", "routing_key")], config),
        "pushover" => preset(
            "pushover",
            &[("pushoverapptoken", "token"), ("pushoveruserkey", "user")],
            config,
        ),
        "matrix" => preset(
            "matrix",
            &[("homeserverUrl", "url"), ("accessToken", "token"), ("internalRoomId", "room")],
            config,
        ),
        _ => return Err(theirs),
    })
}

#[cfg(test)]
mod tests {
    use super::{is_database, read, read_database};
    use crate::cli::import::tests::assert_valid;
    use serde_json::json;
    use sqlx::ConnectOptions as _;
    use sqlx::sqlite::SqliteConnectOptions;

    #[test]
    fn a_backup_becomes_checks_and_channels() {
        let slack = json!({ "type": "slack", "slackwebhookURL": "https://hooks.slack.com/services/T0/B0/x" });
        let apprise = json!({ "type": "apprise", "appriseURL": "x" });
        let backup = json!({
            "version": "1.23.0",
            "notificationList": [
                { "id": 1, "name": "Ops Slack", "config": slack.to_string() },
                { "id": 2, "name": "Apprise", "config": apprise.to_string() },
            ],
            "monitorList": [
                { "id": 1, "type": "group", "name": "Shop" },
                {
                    "id": 2, "name": "Shop API", "parent": 1, "type": "keyword", "active": true,
                    "url": "https://shop.example.com/health", "method": "GET", "interval": 60,
                    "retryInterval": 20, "maxretries": 2, "timeout": 48, "keyword": "it's ${ok}",
                    "invertKeyword": false, "expiryNotification": true, "ignoreTls": false,
                    "maxredirects": 10, "accepted_statuscodes": ["200-299", "401"],
                    "headers": "{\"X-Token\": \"a\"}", "upsideDown": false,
                    "tags": [{ "name": "tier", "value": "1" }, { "name": "prod", "value": "" }],
                    "basic_auth_user": "u", "basic_auth_pass": "p",
                },
                {
                    "id": 3, "name": "DB", "type": "postgres", "active": false, "interval": 60,
                    "databaseConnectionString": "postgres://u:p@db.example.com/shop",
                    "databaseQuery": "SELECT 1",
                },
                { "id": 4, "name": "Port", "type": "port", "hostname": "a.example.com", "port": 25,
                  "interval": 20, "upsideDown": true },
                { "id": 5, "name": "Ping", "type": "ping", "hostname": "b.example.com" },
                { "id": 6, "name": "Job", "type": "push", "interval": 3600, "pushToken": "t" },
                { "id": 7, "name": "Name", "type": "dns", "hostname": "example.com",
                  "dns_resolve_type": "MX", "dns_resolve_server": "1.1.1.1,8.8.8.8" },
                { "id": 8, "name": "Queue", "type": "mqtt", "hostname": "c" },
                { "id": 9, "name": "Shop API", "type": "json-query", "url": "https://x.example.com/",
                  "jsonPath": "$.state", "expectedValue": "ok" },
            ],
        });
        let drafts = read(&backup.to_string()).unwrap();
        insta::assert_snapshot!(drafts.to_string(), @r#"
        # not carried over: the notification Apprise, of the type apprise
        # Jobs ping by slug: set `ping_key` under [api] in daemon.toml.

        [[check]]
        name = "Shop-API"
        every = "1m"
        retry_every = "20s"
        timeout = "48s"
        confirm_after = 3
        labels = { group = "Shop", prod = "yes", tier = "1" }
        expect = ["status >= 200 && status <= 299 || status == 401", '''text.contains('it\'s $${ok}')''']
        degraded_if = ["cert_days_left < 14"]
        [check.http]
        url = "https://shop.example.com/health"
        headers = { X-Token = "a" }
        basic_auth = { password = "p", username = "u" }

        # [[check]]
        # name = "DB"
        # every = "1m"
        # [check.postgres]
        # url = "postgres://u:p@db.example.com/shop"
        # query = "SELECT 1"

        # not carried over: upside down: up is what does not answer; say so in `expect`
        [[check]]
        name = "Port"
        every = "20s"
        [check.tcp]
        address = "a.example.com:25"

        [[check]]
        name = "Ping"
        expect = ["exit_code == 0"]
        [check.exec]
        command = ["ping", "-n", "-c", "1", "b.example.com"]

        # not carried over: its token: whoever pushed pings /ping/KEY/SLUG now, with /fail for a failure
        [[check]]
        name = "Job"
        [check.heartbeat]
        slug = "job"
        period = "1h"

        [[check]]
        name = "Name"
        [check.dns]
        name = "example.com"
        record = "MX"
        server = "1.1.1.1"

        # not carried over: there is no kind for `mqtt` here; a plugin may do it
        # [[check]]
        # name = "Queue"
        # [check.exec]
        # command = ["true"]

        # not carried over: the answer's $.state being ok: such as `body.status == 'ok'` in `expect`
        [[check]]
        name = "Shop-API-2"
        expect = ["status >= 200 && status <= 299"]
        [check.http]
        url = "https://x.example.com/"

        # Channels: put these into daemon.toml, without the `# `.
        #
        # [[channel]]
        # name = "Ops-Slack"
        # [channel.slack]
        # webhook_url = "https://hooks.slack.com/services/T0/B0/x"
        "#);
        assert_valid(&drafts.to_string());
    }

    #[tokio::test]
    async fn a_database_is_read_whatever_columns_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kuma.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut database = options.connect().await.unwrap();
        // As many columns as version 2 has, and more than one call of a function takes.
        let more: Vec<String> = (0..120).map(|n| format!("more_{n} TEXT")).collect();
        let schema = format!(
            "CREATE TABLE monitor (id INTEGER, name TEXT, type TEXT, active BOOLEAN, url TEXT,
             interval INTEGER, maxretries INTEGER, retry_interval INTEGER, parent INTEGER,
             accepted_statuscodes_json TEXT, {});
             CREATE TABLE notification (id INTEGER, name TEXT, config TEXT);
             CREATE TABLE tag (id INTEGER, name TEXT);
             CREATE TABLE monitor_tag (id INTEGER, monitor_id INTEGER, tag_id INTEGER, value TEXT);
             INSERT INTO monitor (id, name, type, active, url, interval, maxretries, retry_interval,
             accepted_statuscodes_json) VALUES (7, 'Shop', 'http', 1, 'http://a.example.com/', 30, 1,
             10, '[\"200-299\"]');
             INSERT INTO notification VALUES (1, 'ops', '{{\"type\":\"ntfy\",\"ntfytopic\":\"t\"}}');
             INSERT INTO tag VALUES (3, 'team');
             INSERT INTO monitor_tag VALUES (1, 7, 3, 'shop');",
            more.join(", ")
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(schema)).execute(&mut database).await.unwrap();
        drop(database);
        assert!(is_database(&path));
        let drafts = read_database(&path).await.unwrap();
        insta::assert_snapshot!(drafts.to_string(), @r#"
        [[check]]
        name = "Shop"
        every = "30s"
        retry_every = "10s"
        confirm_after = 2
        labels = { team = "shop" }
        expect = ["status >= 200 && status <= 299"]
        [check.http]
        url = "http://a.example.com/"

        # Channels: put these into daemon.toml, without the `# `.
        #
        # [[channel]]
        # name = "ops"
        # [channel.webhook]
        # topic = "t"
        # preset = "ntfy"
        "#);
        assert_valid(&drafts.to_string());
    }
}
