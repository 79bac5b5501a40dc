//! The configuration of Gatus (<https://github.com/TwiN/gatus#configuration>).

use super::conditions::{Became, translate};
use super::draft::{Draft, Drafts};
use super::healthchecks::slug_of;
use super::source::Source;
use anyhow::Context as _;
use regex::Regex;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What an endpoint's alerts say of thresholds, and what they say by default, by type.
type Defaults = BTreeMap<String, Source>;

/// Reads a `config.yaml`.
pub fn read(text: &str) -> anyhow::Result<Drafts> {
    // `$NAME` is read from the environment there as `${NAME}` is.
    static BARE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\$([A-Za-z_]\w*)").ok());
    let text = match &*BARE {
        Some(bare) => bare.replace_all(text, "$${$1}"),
        None => text.into(),
    };
    let config: Json =
        serde_saphyr::from_str(&text).context("this is not the configuration of Gatus in YAML")?;
    let mut config = Source::of(config);
    let mut drafts = Drafts::default();
    let mut alerting = config.table("alerting");
    let mut defaults = Defaults::new();
    for (name, mut provider) in std::mem::take(&mut alerting).tables() {
        defaults.insert(name.clone(), provider.table("default-alert"));
        match channel(&name, &mut provider) {
            Some(mut channel) => {
                provider.rest().for_each(|key| channel.lose(key));
                drafts.channels.push(channel);
            }
            None => drafts.lost.push(format!("alerting.{name}: there is no such channel here")),
        }
    }
    let mut endpoints = config.list("endpoints");
    endpoints.append(&mut config.list("services"));
    for endpoint in endpoints {
        drafts.checks.push(read_endpoint(Source::of(endpoint), &defaults));
    }
    for endpoint in config.list("external-endpoints") {
        drafts.checks.push(read_external(Source::of(endpoint), &defaults));
    }
    // How it is stored, shown and served is no matter of checks.
    config.forget(&["storage", "ui", "web", "metrics", "debug", "security", "concurrency"]);
    config.forget(&["disable-monitoring-lock", "skip-invalid-config-update"]);
    drafts.lost.extend(config.rest());
    drafts.tell_apart();
    Ok(drafts)
}

fn read_endpoint(mut source: Source, defaults: &Defaults) -> Draft {
    let url = source.text("url").unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or(("", &url));
    let mut dns = source.table("dns");
    let kind = match scheme {
        _ if !dns.is_empty() => "dns",
        "http" | "https" => "http",
        "ws" | "wss" => "websocket",
        "grpc" | "grpcs" => "grpc",
        "icmp" | "ssh" => "exec",
        _ => "tcp",
    };
    let mut draft = begin(&mut source, kind, defaults);
    match (kind, scheme) {
        ("dns", _) => {
            draft.option_if(
                "name",
                dns.text("query-name").map(|it| it.trim_end_matches('.').to_owned()),
            );
            draft.option_if("record", dns.text("query-type"));
            draft.option("server", rest);
        }
        ("http", _) => read_request(&mut source, &url, &mut draft),
        ("websocket", _) => {
            draft.option("url", &*url);
            draft.option_if("send", source.text("body"));
        }
        ("grpc", _) => draft.option("address", rest),
        ("exec", "icmp") => {
            draft.option("command", vec!["ping", "-n", "-c", "1", rest]);
            draft.key("expect", vec!["exit_code == 0"]);
        }
        ("exec", _) => {
            draft.off = true;
            draft.option("command", vec!["ssh", rest]);
            draft.lose("ssh: write the whole command, with its key");
            source.forget(&["ssh"]);
        }
        (_, "tls" | "starttls") => {
            draft.option("address", rest);
            draft.option("tls", true);
            if scheme == "starttls" {
                draft.lose("starttls: this speaks TLS from the start");
            }
        }
        (_, "tcp") => draft.option("address", rest),
        _ => {
            draft.option("address", rest);
            draft.lose(format!("{url}: there is no kind for it here; this only connects"));
        }
    }
    let mut client = source.table("client");
    read_client(&mut client, kind, &mut draft);
    let mut expect = Vec::new();
    for condition in source.list("conditions").iter().filter_map(Json::as_str) {
        match translate(condition, kind) {
            _ if scheme == "icmp" && condition.contains("CONNECTED") => {}
            Became::Condition(ours) => expect.push(ours),
            Became::OfItself => {}
            Became::Lost => draft.lose(format!("the condition {condition}")),
        }
    }
    if !expect.is_empty() && kind != "exec" {
        draft.key("expect", expect);
    }
    source.forget(&["ui"]);
    client.rest().for_each(|key| draft.lose(format!("client.{key}")));
    source.rest().for_each(|key| draft.lose(key));
    draft
}

/// What all endpoints have.
fn begin(source: &mut Source, kind: &str, defaults: &Defaults) -> Draft {
    let name = source.text("name").unwrap_or_default();
    let group = source.text("group");
    let whole = match &group {
        Some(group) => format!("{group}-{name}"),
        None => name,
    };
    let mut draft = Draft::new(&whole, kind);
    draft.off = source.flag("enabled") == Some(false);
    let every = source.text("interval").filter(|_| kind != "heartbeat");
    draft.key_if("every", every);
    read_alerts(source, defaults, &mut draft);
    let mut labels = source.pairs("extra-labels").unwrap_or_default();
    if let Some(group) = group {
        labels.insert("group".to_owned(), group.into());
    }
    if !labels.is_empty() {
        draft.key("labels", labels);
    }
    draft
}

fn read_request(source: &mut Source, url: &str, draft: &mut Draft) {
    draft.option("url", url);
    let graphql = source.flag("graphql") == Some(true);
    let method = source.text("method").or_else(|| graphql.then(|| "POST".to_owned()));
    draft.option_if("method", method);
    let body = source.text("body").map(|body| match graphql {
        true => serde_json::json!({ "query": body }).to_string(),
        false => body,
    });
    draft.option_if("body", body);
    draft.option_if("headers", source.pairs("headers"));
}

fn read_client(client: &mut Source, kind: &str, draft: &mut Draft) {
    draft.key_if("timeout", client.text("timeout"));
    if kind != "http" {
        return;
    }
    if client.flag("insecure") == Some(true) {
        draft.option("insecure_skip_verify", true);
    }
    if client.flag("ignore-redirect") == Some(true) {
        draft.option("follow_redirects", false);
    }
    draft.option_if("proxy", client.text("proxy-url"));
    // Written as udp://1.1.1.1:53 there.
    let resolver = client.text("dns-resolver");
    draft.option_if("resolver", resolver.map(|it| it.rsplit('/').next().unwrap_or("").to_owned()));
    match client.text("network").as_deref() {
        Some("ip4") => draft.option("ip_version", 4),
        Some("ip6") => draft.option("ip_version", 6),
        _ => {}
    }
    let mut tls = client.table("tls");
    draft.option_if("cert_file", tls.text("certificate-file"));
    draft.option_if("key_file", tls.text("private-key-file"));
    tls.rest().for_each(|key| draft.lose(format!("client.tls.{key}")));
    let mut oauth2 = client.table("oauth2");
    if !oauth2.is_empty() {
        let mut ours = toml::Table::new();
        for (theirs, key) in [
            ("token-url", "token_url"),
            ("client-id", "client_id"),
            ("client-secret", "client_secret"),
        ] {
            if let Some(text) = oauth2.text(theirs) {
                ours.insert(key.to_owned(), text.into());
            }
        }
        let scopes = oauth2.list("scopes").into_iter();
        let scopes: Vec<String> = scopes.filter_map(|it| it.as_str().map(str::to_owned)).collect();
        ours.insert("scopes".to_owned(), scopes.into());
        draft.option("oauth2", ours);
    }
}

/// The first alert says how many runs count; who is told is said by routes here.
fn read_alerts(source: &mut Source, defaults: &Defaults, draft: &mut Draft) {
    let mut types = Vec::new();
    let mut thresholds = (None, None);
    for (index, alert) in source.list("alerts").into_iter().enumerate() {
        let mut alert = Source::of(alert);
        let Some(kind) = alert.text("type") else { continue };
        let mut default = defaults.get(&kind).cloned().unwrap_or_default();
        let mut number = |key: &str| alert.number(key).or_else(|| default.number(key));
        let (failure, success) = (number("failure-threshold"), number("success-threshold"));
        if index == 0 {
            thresholds = (failure, success);
        }
        if let Some(words) = alert.text("description") {
            draft.lose(format!("the description of its {kind} alert: {words}"));
        }
        types.push(kind);
    }
    draft.key_if("confirm_after", thresholds.0);
    draft.key_if("recover_after", thresholds.1);
    if types.len() > 1 {
        draft.lose(format!("that {} hear of it: say so in a route", types.join(" and ")));
    }
}

/// What is pushed to Gatus pings here.
fn read_external(mut source: Source, defaults: &Defaults) -> Draft {
    let every = source.table("heartbeat").text("interval");
    let slug = slug_of(&source.clone().text("name").unwrap_or_default());
    source.forget(&["token"]);
    let mut draft = begin(&mut source, "heartbeat", defaults);
    draft.option("slug", slug);
    if every.is_none() {
        draft.lose("it had no interval: say how often a ping is due");
    }
    draft.option("period", every.unwrap_or_else(|| "1d".to_owned()));
    draft.lose("its token: whoever pushed pings /ping/KEY/SLUG now, with /fail for a failure");
    source.rest().for_each(|key| draft.lose(key));
    draft
}

/// A name there, the preset here, and options by their names there and here.
type Preset = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Services that are presets of `webhook` here.
const PRESETS: [Preset; 11] = [
    ("googlechat", "google-chat", &[("webhook-url", "url")]),
    ("gotify", "gotify", &[("server-url", "url"), ("token", "token")]),
    (
        "matrix",
        "matrix",
        &[("server-url", "url"), ("access-token", "token"), ("internal-room-id", "room")],
    ),
    ("mattermost", "mattermost", &[("webhook-url", "url"), ("channel", "channel")]),
    ("ntfy", "ntfy", &[("url", "url"), ("topic", "topic"), ("token", "token")]),
    ("opsgenie", "opsgenie", &[("api-key", "api_key")]),
    ("pagerduty", "pagerduty", &[("integration-key", "routing_key")]),
    ("pushover", "pushover", &[("application-token", "token"), ("user-key", "user")]),
    ("rocketchat", "rocketchat", &[("webhook-url", "url")]),
    ("teams", "teams", &[("webhook-url", "url")]),
    ("teams-workflows", "teams", &[("webhook-url", "url")]),
];

fn channel(name: &str, provider: &mut Source) -> Option<Draft> {
    let kind = match name {
        "slack" | "discord" | "telegram" | "email" => name,
        _ => "webhook",
    };
    let mut draft = Draft::new(name, kind);
    if let Some((_, preset, options)) = PRESETS.iter().find(|(theirs, ..)| *theirs == name) {
        draft.option("preset", *preset);
        for (theirs, ours) in *options {
            draft.option_if(ours, provider.text(theirs));
        }
        return Some(draft);
    }
    match name {
        "slack" | "discord" => draft.option_if("webhook_url", provider.text("webhook-url")),
        "telegram" => {
            draft.option_if("token", provider.text("token"));
            draft.chat(provider.text("id"));
            draft.option_if("api_url", provider.text("api-url"));
        }
        "email" => {
            draft.option_if("host", provider.text("host"));
            let port = provider.number("port");
            draft.option_if("port", port);
            if port == Some(465) {
                draft.option("tls", "implicit");
            }
            let from = provider.text("from");
            draft.option_if("username", provider.text("username").or_else(|| from.clone()));
            draft.option_if("password", provider.text("password"));
            draft.option_if("from", from);
            draft.list("to", provider.text("to"));
        }
        "custom" => {
            draft.option_if("url", provider.text("url"));
            draft.option_if("method", provider.text("method"));
            draft.option_if("headers", provider.pairs("headers"));
        }
        _ => return None,
    }
    Some(draft)
}

#[cfg(test)]
mod tests {
    use super::read;
    use crate::cli::import::tests::assert_valid;

    #[test]
    fn a_configuration_becomes_checks_and_channels_and_says_what_it_leaves_out() {
        let config = r#"
storage: { type: sqlite, path: /data/data.db }
alerting:
  slack:
    webhook-url: "$SLACK_WEBHOOK_URL"
    default-alert: { failure-threshold: 5, send-on-resolved: true }
  email: { from: a@example.org, username: a, password: "${PW}", host: mail.example.org, port: 587, to: "b@example.org,c@example.org" }
  pagerduty: { integration-key: "0123456789abcdef0123456789abcdef" }
  zapier: { url: x }
endpoints:
  - name: front end
    group: core
    url: "https://twin.sh/health"
    interval: 5m
    headers: { Authorization: "Bearer ${TOKEN}" }
    client: { insecure: true, timeout: 5s, dns-resolver: "tcp://8.8.8.8:53", identity-aware-proxy: { audience: x } }
    conditions:
      - "[STATUS] == 200"
      - "[BODY].status == UP"
      - "[RESPONSE_TIME] < 150"
      - "[IP] == 1.2.3.4"
    alerts:
      - type: slack
        description: "it broke"
      - type: pagerduty
        failure-threshold: 2
  - name: graph
    url: https://api.example.org/graphql
    graphql: true
    body: "{ users { id } }"
    enabled: false
    conditions: ["[STATUS] == 200", "len([BODY].data.users) > 0"]
  - name: dns
    url: "8.8.8.8"
    dns: { query-name: "example.com.", query-type: "A" }
    conditions: ["[BODY] == 93.184.216.34", "[DNS_RCODE] == NOERROR"]
  - { name: tcp, url: "tcp://127.0.0.1:6379", conditions: ["[CONNECTED] == true"] }
  - { name: ping, url: "icmp://example.org", conditions: ["[CONNECTED] == true"] }
  - { name: tls, url: "starttls://smtp.example.org:587", conditions: ["[CERTIFICATE_EXPIRATION] > 48h"] }
  - { name: ws, url: "wss://example.org/", body: "hi", conditions: ["[CONNECTED] == true"] }
external-endpoints:
  - { name: Nightly Job, group: core, token: potato, heartbeat: { interval: 30m } }
maintenance: { start: "23:00", duration: 1h }
"#;
        let drafts = read(config).unwrap();
        insta::assert_snapshot!(drafts.to_string(), @r#"
        # not carried over: alerting.zapier: there is no such channel here
        # not carried over: maintenance
        # Jobs ping by slug: set `ping_key` under [api] in daemon.toml.

        # not carried over: the description of its slack alert: it broke
        # not carried over: that slack and pagerduty hear of it: say so in a route
        # not carried over: the condition [IP] == 1.2.3.4
        # not carried over: client.identity-aware-proxy
        [[check]]
        name = "core-front-end"
        every = "5m"
        confirm_after = 5
        labels = { group = "core" }
        timeout = "5s"
        expect = ["status == 200", "body.status == 'UP'", "latency_ms < 150.0"]
        [check.http]
        url = "https://twin.sh/health"
        headers = { Authorization = "Bearer ${TOKEN}" }
        insecure_skip_verify = true
        resolver = "8.8.8.8:53"

        # [[check]]
        # name = "graph"
        # expect = ["status == 200", "size(body.data.users) > 0"]
        # [check.http]
        # url = "https://api.example.org/graphql"
        # method = "POST"
        # body = '{"query":"{ users { id } }"}'

        [[check]]
        name = "dns"
        expect = ["'93.184.216.34' in answers", "rcode == 'NOERROR'"]
        [check.dns]
        name = "example.com"
        record = "A"
        server = "8.8.8.8"

        [[check]]
        name = "tcp"
        [check.tcp]
        address = "127.0.0.1:6379"

        [[check]]
        name = "ping"
        expect = ["exit_code == 0"]
        [check.exec]
        command = ["ping", "-n", "-c", "1", "example.org"]

        # not carried over: starttls: this speaks TLS from the start
        [[check]]
        name = "tls"
        expect = ["cert_days_left >= 2"]
        [check.tcp]
        address = "smtp.example.org:587"
        tls = true

        [[check]]
        name = "ws"
        [check.websocket]
        url = "wss://example.org/"
        send = "hi"

        # not carried over: its token: whoever pushed pings /ping/KEY/SLUG now, with /fail for a failure
        [[check]]
        name = "core-Nightly-Job"
        labels = { group = "core" }
        [check.heartbeat]
        slug = "nightly-job"
        period = "30m"

        # Channels: put these into daemon.toml, without the `# `.
        #
        # [[channel]]
        # name = "slack"
        # [channel.slack]
        # webhook_url = "${SLACK_WEBHOOK_URL}"
        #
        # [[channel]]
        # name = "email"
        # [channel.email]
        # host = "mail.example.org"
        # port = 587
        # username = "a"
        # password = "${PW}"
        # from = "a@example.org"
        # to = ["b@example.org", "c@example.org"]
        #
        # [[channel]]
        # name = "pagerduty"
        # [channel.webhook]
        # preset = "pagerduty"
        # routing_key = "0123456789abcdef0123456789abcdef"
        "#);
        assert_valid(&drafts.to_string());
        assert!(read("a: [").is_err());
    }
}
