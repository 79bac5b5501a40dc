use crate::config::Section;
use crate::model::{ActionName, OptionDoc, Secret};
use crate::recover::{Action, ActionKind, Order, Tools};
use crate::render::bounded_reasons;
use async_trait::async_trait;
use hmac::{Hmac, Mac};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde_json::json;
use sha2::Sha256;
use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

/// A service that takes an order over HTTP.
pub const KIND: ActionKind = ActionKind {
    name: "webhook",
    summary: "a service that is told over HTTP, signed if you like",
    options: &[OptionDoc::new(
        "webhook",
        "table",
        "required",
        "`url`, and if need be `method` (POST, PUT, PATCH, DELETE), `headers`, `body` in place of \
         the JSON, and `secret`, which signs: X-Watchbell-Signature",
    )
    .keys(&[
        OptionDoc::new("url", "secret", "required", "where to send the order"),
        OptionDoc::new("method", "string", "\"POST\"", "POST, PUT, PATCH or DELETE"),
        OptionDoc::new("headers", "table", "", "headers to send along"),
        OptionDoc::new("body", "secret", "", "what to send in place of the JSON"),
        OptionDoc::new("secret", "secret", "", "signs each order: X-Watchbell-Signature"),
    ])],
    actions: &ActionName::ALL,
    example: r#"[check.recover]
action = "scale_up"
webhook = { url = "https://scaler.example/shop-api", secret = "SECRET" }
"#,
    parse,
};

struct Webhook {
    /// It may hold a secret, so only its host is shown.
    url: Url,
    method: Method,
    /// Marked as sensitive, so that they do not show.
    headers: HeaderMap,
    /// What is sent in place of the order.
    body: Option<Secret>,
    secret: Option<Secret>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook({} {})", self.method, self.host())
    }
}

fn parse(section: &mut Section<'_>) -> Option<Arc<dyn Action>> {
    if !section.has("webhook") {
        section.required::<String>("webhook");
    }
    let mut table = section.table("webhook")?;
    let webhook = read(&mut table);
    section.finish_child(table);
    Some(Arc::new(webhook?))
}

fn read(table: &mut Section<'_>) -> Option<Webhook> {
    if !table.has("url") {
        table.required::<String>("url");
    }
    let url = table.url("url", &["https", "http"]);
    let method = table.built("method", |name: String| match &*name.to_ascii_uppercase() {
        "POST" => Ok(Method::POST),
        "PUT" => Ok(Method::PUT),
        "PATCH" => Ok(Method::PATCH),
        "DELETE" => Ok(Method::DELETE),
        _ => Err(format!("`{name}` does not order anything (use POST, PUT, PATCH or DELETE)")),
    });
    let has_headers = table.has("headers");
    let headers = table.built("headers", |raw: BTreeMap<String, Secret>| read_headers(&raw));
    let body = table.secret("body");
    let secret = table.secret("secret");
    if has_headers && headers.is_none() {
        return None;
    }
    Some(Webhook {
        url: url?,
        method: method.unwrap_or(Method::POST),
        headers: headers.unwrap_or_default(),
        body,
        secret,
    })
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
impl Action for Webhook {
    fn describe(&self, order: &Order) -> String {
        format!("{} by a {} to {}", order.action, self.method, self.host())
    }

    async fn run(&self, tools: &Tools, order: &Order) -> Result<String, String> {
        let body = self.body(order);
        let mut request = tools.http.request(self.method.clone(), self.url.clone());
        if self.body.is_none() && !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(secret) = &self.secret {
            let seconds = tools.clock.wall().as_millis().div_euclid(1000);
            let signature = signature(secret, seconds, body.as_bytes());
            request = request.header("X-Watchbell-Signature", signature);
        }
        // The headers of the configuration replace those above.
        let request = request.headers(self.headers.clone()).body(body);
        let (method, host) = (&self.method, self.host());
        match request.send().await {
            // What it says beside the status might quote a secret back.
            Ok(answer) if answer.status().is_success() => {
                Ok(format!("{host} answered the {method} with {}", answer.status()))
            }
            Ok(answer) => Err(format!("{host} answered the {method} with {}", answer.status())),
            Err(error) => Err(format!("{host} could not be told: {}", causes(error))),
        }
    }
}

impl Webhook {
    fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        match self.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// What is sent; a DELETE says all by its address.
    fn body(&self, order: &Order) -> String {
        match &self.body {
            Some(body) => body.expose().to_owned(),
            None if self.method == Method::DELETE => String::new(),
            None => json!({
                "check": &*order.check,
                "incident": order.incident,
                "action": order.action,
                "attempt": order.attempt,
                "of": order.of,
                "reasons": bounded_reasons(&order.reasons),
            })
            .to_string(),
        }
    }
}

/// `t=SECONDS,v1=HEX`: the HMAC-SHA256 of `SECONDS.BODY`, as the webhook channel signs.
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

/// An error with all its causes, without the address.
fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    super::quoted(&words)
}

#[cfg(test)]
mod tests;
