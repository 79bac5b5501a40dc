mod service;

use crate::config::Section;
use crate::deliver::support::{SecretUrl, Veil, classify, exchange, required_url};
use crate::deliver::{Channel, ChannelKind, Endpoint, Net, Outcome, Preview};
use crate::model::{Acknowledgement, Format, Incident, Labels, Message, OptionDoc, Secret};
use crate::model::{Severity, Status, TimelineEntry, Timestamp, What};
use crate::render::{
    bounded_acknowledgement, bounded_dependents, bounded_labels, bounded_reasons, bounded_tried,
};
use async_trait::async_trait;
use hmac::{Hmac, Mac};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use sha2::Sha256;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Any service that takes JSON over HTTP.
pub const KIND: ChannelKind = ChannelKind {
    name: "webhook",
    summary: "any service that takes JSON over HTTP, signed if you like",
    options: &[
        OptionDoc::new("url", "secret", "required", "where to send"),
        OptionDoc::new("method", "string", "\"POST\"", "POST, PUT or PATCH"),
        OptionDoc::new("headers", "table", "{}", "headers to send along, such as an API key"),
        OptionDoc::new("secret", "secret", "", "signs each message: X-Watchbell-Signature"),
        OptionDoc::new(
            "success",
            "list",
            "any 2xx",
            "the status codes by which the receiver says that it has the message; after any other \
             2xx it is tried again",
        )
        .numbers(),
        OptionDoc::new("preset", "string", "", "a service by name, which has options of its own"),
    ],
    example: r#"[[channel]]
name = "pager"
[channel.webhook]
url = "https://pager.example/hooks/watchbell"
headers = { Authorization = "Bearer SECRET" }
secret = "SECRET"               # keep it out of the file: secret = "${PAGER_SECRET}"
"#,
    format: Format::Plain,
    template: include_str!("../../../alert-templates/webhook.jinja"),
    parse,
};

#[derive(Debug)]
struct Webhook {
    url: SecretUrl,
    method: Method,
    /// Marked as sensitive, so that they do not show.
    headers: HeaderMap,
    secret: Option<Secret>,
    /// The codes that mean acceptance; any 2xx where none are named.
    success: Vec<u16>,
    veil: Veil,
}

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Channel>> {
    if section.has("preset") {
        return service::parse(section);
    }
    section.optional::<String>("preset");
    let url = required_url(section, "url").map(SecretUrl::new);
    let method = section.built("method", |name: String| read_method(&name));
    let place = section.place_of("headers");
    let raw_headers: BTreeMap<String, Secret> = section.or("headers", BTreeMap::new());
    let headers = match read_headers(&raw_headers) {
        Ok(headers) => headers,
        Err(problem) => {
            section.error_at(&place, problem);
            return None;
        }
    };
    let secret = section.secret("secret");
    let success = section.built("success", read_success).unwrap_or_default();
    let url = url?;
    let secrets = url.secrets().chain(raw_headers.into_values()).chain(secret.clone());
    let veil = Veil::over(secrets);
    let method = method.unwrap_or(Method::POST);
    Some(Box::new(Webhook { url, method, headers, secret, success, veil }))
}

fn read_method(name: &str) -> Result<Method, String> {
    match &*name.to_ascii_uppercase() {
        "POST" => Ok(Method::POST),
        "PUT" => Ok(Method::PUT),
        "PATCH" => Ok(Method::PATCH),
        _ => Err(format!("`{name}` does not carry a body (use POST, PUT or PATCH)")),
    }
}

fn read_success(codes: Vec<u16>) -> Result<Vec<u16>, String> {
    match codes.iter().find(|code| !(100..600).contains(*code)) {
        Some(code) => Err(format!("{code} is not a status code (such as 202)")),
        None if codes.is_empty() => Err("is empty: name codes, or leave it out".to_owned()),
        None => Ok(codes),
    }
}

fn read_headers(raw: &BTreeMap<String, Secret>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in raw {
        let header: HeaderName =
            name.parse().map_err(|_| format!("`{name}` is not the name of a header"))?;
        let mut value: HeaderValue = value
            .expose()
            .parse()
            .map_err(|_| format!("the value of `{name}` has characters that no header may have"))?;
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    Ok(headers)
}

#[async_trait]
impl Channel for Webhook {
    fn preview(&self, message: &Message) -> Result<Preview, String> {
        Preview::json(&Body::of(message))
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        Endpoint::of(self.url.expose()).into_iter().collect()
    }

    async fn send(&self, net: &Net, message: &Message) -> Outcome {
        let body = match self.preview(message) {
            Ok(preview) => preview.body.into_bytes(),
            Err(why) => return Outcome::Rejected { why },
        };
        let mut request = net
            .http
            .request(self.method.clone(), self.url.expose().clone())
            .header(CONTENT_TYPE, "application/json")
            .header("Idempotency-Key", &message.id)
            .header("X-Watchbell-Notice", &message.id);
        if let Some(secret) = &self.secret {
            let seconds = net.clock.wall().as_millis().div_euclid(1000);
            request = request.header("X-Watchbell-Signature", signature(secret, seconds, &body));
        }
        // The headers of the configuration replace those above.
        match exchange(net, request.headers(self.headers.clone()).body(body), &self.veil).await {
            Ok(answer) if self.success.contains(&answer.status.as_u16()) => Outcome::accepted(),
            Ok(answer) if answer.status.is_success() && !self.success.is_empty() => {
                let why = self.veil.clean(&format!("{}: {}", answer.status, answer.body.trim()));
                Outcome::Retry { after: answer.retry_after, why }
            }
            Ok(answer) => classify(&answer, &self.veil),
            Err(outcome) => outcome,
        }
    }
}

/// `t=SECONDS,v1=HEX`: the HMAC-SHA256 of `SECONDS.BODY`. A receiver that also looks at the time
/// cannot be fed an old message again.
fn signature(secret: &Secret, seconds: i64, body: &[u8]) -> String {
    let mut out = format!("t={seconds},v1=");
    // A key of any length will do, so this cannot fail.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) {
        mac.update(format!("{seconds}.").as_bytes());
        mac.update(body);
        for byte in mac.finalize().into_bytes() {
            let _ = write!(out, "{byte:02x}");
        }
    }
    out
}

/// The body that every receiver may count on.
#[derive(Debug, Serialize)]
pub(super) struct Body<'a> {
    what: What,
    at: Timestamp,
    daemon: &'a str,
    incidents: Vec<Subject<'a>>,
    text: String,
}

#[derive(Debug, Serialize)]
struct Subject<'a> {
    id: &'a str,
    check: &'a str,
    severity: Severity,
    reasons: Vec<String>,
    labels: Labels,
    opened_at: Timestamp,
    resolved_at: Option<Timestamp>,
    status: Status,
    acknowledged: Option<Acknowledgement>,
    /// What recovery did, the latest of it.
    tried: Vec<TimelineEntry>,
    /// The first of the checks that depend on it.
    dependents: Vec<String>,
}

impl<'a> Body<'a> {
    /// The body that tells `message`.
    pub(super) fn of(message: &'a Message) -> Self {
        let subject = |incident: &'a Incident| Subject {
            id: &incident.id,
            check: &incident.check,
            severity: incident.severity,
            reasons: bounded_reasons(&incident.reasons),
            labels: bounded_labels(&incident.labels),
            opened_at: incident.opened_at,
            resolved_at: incident.resolved_at,
            status: incident.status,
            acknowledged: incident.acknowledged.as_ref().map(bounded_acknowledgement),
            tried: bounded_tried(incident),
            dependents: bounded_dependents(&incident.dependents),
        };
        Self {
            what: message.what,
            at: message.at,
            daemon: &message.daemon,
            incidents: message.incidents.iter().map(subject).collect(),
            text: format!("{}\n{}", message.title, message.text).trim_end().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{KIND, signature};
    use crate::deliver::Outcome;
    use crate::deliver::support::testing::{
        Fake, NOW, channel, hostile_messages, messages, net, read,
    };
    use crate::model::Secret;

    #[tokio::test]
    async fn only_the_codes_that_are_named_mean_that_it_arrived() {
        let fake = Fake::start().await;
        let table = format!("url = \"{}\"\nsuccess = [202, 409]", fake.url("/in"));
        let webhook = channel(&KIND, &table);
        let message = &messages(&KIND)[0];
        for (status, accepted, again) in
            [(202, true, false), (409, true, false), (200, false, true), (404, false, false)]
        {
            fake.answer(status, &[], "a login page");
            let outcome = webhook.send(&net(), message).await;
            assert_eq!(outcome.is_accepted(), accepted, "{status}: {outcome:?}");
            assert_eq!(matches!(outcome, Outcome::Retry { .. }), again, "{status}: {outcome:?}");
        }
    }

    #[tokio::test]
    async fn the_body_is_the_one_that_is_promised() {
        let fake = Fake::start().await;
        fake.answer(202, &[], "");
        let webhook = channel(&KIND, &format!("url = \"{}\"", fake.url("/in")));
        for message in messages(&KIND).iter().chain(&hostile_messages(&KIND)) {
            assert_eq!(webhook.send(&net(), message).await, Outcome::accepted());
            assert!(fake.last().body.len() < 2_500_000, "{}", fake.last().body.len());
        }
        insta::assert_json_snapshot!(fake.requests()[0].json(), @r#"
        {
          "what": "opened",
          "at": "2026-03-01T09:20:12.000Z",
          "daemon": "prod",
          "incidents": [
            {
              "id": "01JNA8Y8PK0000000000000000",
              "check": "shop-api",
              "severity": "critical",
              "reasons": [
                "status == 200 failed: status is 503"
              ],
              "labels": {
                "team": "shop",
                "tier": "1"
              },
              "opened_at": "2026-03-01T09:16:02.000Z",
              "resolved_at": null,
              "status": "down",
              "acknowledged": null,
              "tried": [],
              "dependents": []
            }
          ],
          "text": "🔴 DOWN shop-api — status == 200 failed: status is 503\nSince 2026-03-01 09:15:02 UTC\ncritical · http · team=shop · tier=1 · prod\nRunbook: https://wiki.example/shop-api"
        }
        "#);
        insta::assert_json_snapshot!(fake.requests()[2].json(), @r#"
        {
          "what": "resolved",
          "at": "2026-03-01T09:20:12.000Z",
          "daemon": "prod",
          "incidents": [
            {
              "id": "01JNA8Y8PK0000000000000002",
              "check": "billing",
              "severity": "critical",
              "reasons": [
                "status == 200 failed: status is 503"
              ],
              "labels": {
                "team": "shop",
                "tier": "1"
              },
              "opened_at": "2026-03-01T09:16:02.000Z",
              "resolved_at": "2026-03-01T09:20:12.000Z",
              "status": "down",
              "acknowledged": null,
              "tried": [],
              "dependents": []
            }
          ],
          "text": "🟢 UP billing — was down for 5m 10s · prod"
        }
        "#);
    }

    #[tokio::test]
    async fn a_receiver_can_check_the_signature_and_drop_a_repeat() {
        let fake = Fake::start().await;
        fake.answer(200, &[], "");
        let text = format!(
            "url = \"{}\"\nmethod = \"put\"\nsecret = \"hunter2\"\nheaders = {{ X-Key = \"k\" }}",
            fake.url("/in?a=b")
        );
        let message = &messages(&KIND)[0];
        assert_eq!(channel(&KIND, &text).send(&net(), message).await, Outcome::accepted());
        let request = fake.last();
        assert_eq!((request.method.as_str(), request.uri.query()), ("PUT", Some("a=b")));
        assert_eq!(request.headers["x-key"], "k");
        assert_eq!(request.headers["content-type"], "application/json");
        assert_eq!(request.headers["idempotency-key"], *message.id);
        assert_eq!(request.headers["x-watchbell-notice"], *message.id);
        let expected = signature(&Secret::new("hunter2"), NOW.as_millis() / 1000, &request.body);
        assert_eq!(request.headers["x-watchbell-signature"], *expected);
    }

    #[test]
    fn the_signature_is_the_hmac_of_time_and_body() {
        // printf '1772356812.{"a":1}' | openssl dgst -sha256 -hmac hunter2
        assert_eq!(
            signature(&Secret::new("hunter2"), 1_772_356_812, br#"{"a":1}"#),
            "t=1772356812,v1=6e97f7f3cb81b007f478e06497eac76e05fd70aa0d2bf5b263e49d7d5090df4d"
        );
    }

    #[tokio::test]
    async fn secrets_do_not_show() {
        let fake = Fake::start().await;
        fake.answer(403, &[], "bad key topsecret or hunter2 at /in/0123456789abcdef");
        let text = format!(
            "url = \"{}\"\nsecret = \"hunter2\"\nheaders = {{ X-Key = \"topsecret\" }}",
            fake.url("/in/0123456789abcdef")
        );
        let webhook = channel(&KIND, &text);
        let outcome = webhook.send(&net(), &messages(&KIND)[0]).await;
        let why = "403 Forbidden: bad key [secret] or [secret] at [secret]".to_owned();
        assert_eq!(outcome, Outcome::Rejected { why });
        let shown = format!("{webhook:?}");
        for secret in ["hunter2", "topsecret", "0123456789abcdef"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn problems_say_what_to_do() {
        let problems = [
            "",
            "url = \"https://x.example\"\nmethod = \"GET\"",
            "url = \"https://x.example\"\nheaders = { \"a b\" = \"c\" }",
            "url = \"https://x.example\"\nheaders = { a = \"b\\nc\" }",
            "url = \"ftp://x.example\"",
        ]
        .map(|text| read(&KIND, text).1);
        insta::assert_snapshot!(problems.join("\n"), @r"
        daemon.toml:1:1: url: is missing
        daemon.toml:2:10: method: `GET` does not carry a body (use POST, PUT or PATCH)
        daemon.toml:2:11: headers: `a b` is not the name of a header
        daemon.toml:2:11: headers: the value of `a` has characters that no header may have
        daemon.toml:1:7: url: `ftp://` is not supported here (use https:// or http://)
        ");
    }
}
