use super::inbox::{Inbox, Incoming, Refusal, Rules, imitate};
use super::local::Local;
use axum::http::{HeaderMap, StatusCode};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::time::SystemTime;

/// A receiver of webhooks that takes only what is signed with its secret.
#[derive(Debug)]
pub struct Webhook {
    /// What it was sent.
    pub inbox: Inbox,
    local: Local,
}

impl Webhook {
    /// The secret that it shares with the sender.
    pub const SECRET: &'static str = "a webhook secret that nobody guesses";

    /// A new one.
    pub fn start() -> Self {
        let (local, inbox) = imitate(WebhookRules);
        Self { inbox, local }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.local.port)
    }

    /// A channel that leads to it, with more keys.
    pub fn channel(&self, name: &str, keys: &str) -> String {
        let (url, secret) = (self.url(), Self::SECRET);
        format!(
            "[[channel]]\nname = \"{name}\"\n{keys}\n\
             [channel.webhook]\nurl = \"{url}\"\nsecret = \"{secret}\"\n"
        )
    }
}

struct WebhookRules;

impl Rules for WebhookRules {
    fn read(&self, request: &Incoming) -> Result<String, Refusal> {
        check_signature(&request.headers, &request.raw).map_err(|why| Refusal::new(401, why))?;
        let body = &request.json;
        for key in ["what", "at", "daemon", "incidents", "text"] {
            if body[key].is_null() {
                return Err(Refusal::new(422, format!("`{key}` is missing")));
            }
        }
        for incident in body["incidents"].as_array().into_iter().flatten() {
            for key in ["id", "check", "severity", "reasons", "labels", "opened_at"] {
                if incident[key].is_null() {
                    return Err(Refusal::new(422, format!("`incidents[].{key}` is missing")));
                }
            }
        }
        Ok(format!("{}: {}", body["what"], body["text"].as_str().unwrap_or_default()))
    }

    fn accepted(&self, _request: &Incoming) -> (StatusCode, String) {
        (StatusCode::ACCEPTED, String::new())
    }
}

/// `X-Watchbell-Signature: t=<unix seconds>,v1=<hex of HMAC-SHA256(secret, "<t>.<body>")>`
fn check_signature(headers: &HeaderMap, body: &[u8]) -> Result<(), String> {
    let header = headers.get("x-watchbell-signature").ok_or("no signature")?;
    let header = header.to_str().map_err(|error| error.to_string())?;
    let part = |name: &str| {
        header.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
    };
    let time = part("t").ok_or("no time in the signature")?;
    let signature = part("v1").ok_or("no v1 in the signature")?;
    let seconds: u64 = time.parse().map_err(|_| "the time is no number")?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    if now.abs_diff(seconds) > 300 {
        return Err("the signature is too old".to_owned());
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(Webhook::SECRET.as_bytes()).unwrap();
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    let expected: String =
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    if signature == expected { Ok(()) } else { Err("the signature is wrong".to_owned()) }
}
