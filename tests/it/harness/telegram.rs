use super::inbox::{Inbox, Incoming, Refusal, Rules, imitate};
use super::local::Local;
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicI64, Ordering};

/// Telegram's Bot API, as strict as its documentation.
///
/// <https://core.telegram.org/bots/api#sendmessage>, <https://core.telegram.org/bots/api#html-style>
#[derive(Debug)]
pub struct Telegram {
    /// What it was sent.
    pub inbox: Inbox,
    local: Local,
}

impl Telegram {
    /// The token of the only bot.
    pub const TOKEN: &'static str = "123456:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";
    /// The only chat that it is a member of.
    pub const CHAT: i64 = -1_001_234_567_890;

    /// A new one.
    pub fn start() -> Self {
        let (local, inbox) = imitate(TelegramRules { next: AtomicI64::new(1) });
        Self { inbox, local }
    }

    /// The base of the API.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.local.port)
    }
}

struct TelegramRules {
    next: AtomicI64,
}

impl Rules for TelegramRules {
    fn read(&self, request: &Incoming) -> Result<String, Refusal> {
        let Some(method) = request.path.strip_prefix(&format!("/bot{}/", Telegram::TOKEN)) else {
            return Err(refusal(401, "Unauthorized"));
        };
        if !method.eq_ignore_ascii_case("sendMessage") {
            return Err(refusal(404, "Not Found"));
        }
        let body = &request.json;
        let chat = &body["chat_id"];
        if chat.as_i64() != Some(Telegram::CHAT)
            && chat.as_str() != Some(&Telegram::CHAT.to_string())
        {
            return Err(refusal(400, "Bad Request: chat not found"));
        }
        let Some(text) = body["text"].as_str() else {
            return Err(refusal(400, "Bad Request: message text is empty"));
        };
        let seen = match &body["parse_mode"] {
            Value::Null => text.to_owned(),
            Value::String(mode) if mode.eq_ignore_ascii_case("html") => {
                parse_html(text).map_err(|why| {
                    refusal(400, &format!("Bad Request: can't parse entities: {why}"))
                })?
            }
            _ => return Err(refusal(400, "Bad Request: unsupported parse_mode")),
        };
        if seen.trim().is_empty() {
            return Err(refusal(400, "Bad Request: message text is empty"));
        }
        if seen.encode_utf16().count() > 4096 {
            return Err(refusal(400, "Bad Request: message is too long"));
        }
        Ok(seen)
    }

    fn accepted(&self) -> (StatusCode, String) {
        let message_id = self.next.fetch_add(1, Ordering::Relaxed);
        let chat = json!({ "id": Telegram::CHAT, "title": "Ops", "type": "supergroup" });
        let message =
            json!({ "message_id": message_id, "date": 1_700_000_000, "chat": chat, "text": "…" });
        (StatusCode::OK, json!({ "ok": true, "result": message }).to_string())
    }

    fn too_many(&self, seconds: u64) -> String {
        json!({
            "ok": false,
            "error_code": 429,
            "description": format!("Too Many Requests: retry after {seconds}"),
            "parameters": { "retry_after": seconds },
        })
        .to_string()
    }
}

fn refusal(status: u16, description: &str) -> Refusal {
    let body = json!({ "ok": false, "error_code": status, "description": description });
    Refusal::new(status, body.to_string())
}

/// What a person sees of a text in Telegram's HTML style, or what is wrong with it.
fn parse_html(text: &str) -> Result<String, String> {
    const TAGS: &[&str] = &[
        "b",
        "strong",
        "i",
        "em",
        "u",
        "ins",
        "s",
        "strike",
        "del",
        "span",
        "tg-spoiler",
        "tg-emoji",
        "a",
        "code",
        "pre",
        "blockquote",
    ];
    let mut seen = String::new();
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['<', '>', '&']) {
        seen.push_str(&rest[..at]);
        let offset = text.len() - rest.len() + at;
        rest = &rest[at..];
        if rest.starts_with('&') {
            let end = rest.find(';').ok_or(format!("bare `&` at byte offset {offset}"))?;
            seen.push(entity(&rest[1..end]).ok_or(format!("unknown entity at {offset}"))?);
            rest = &rest[end + 1..];
            continue;
        }
        if rest.starts_with('>') {
            return Err(format!("bare `>` at byte offset {offset}"));
        }
        let end = rest.find('>').ok_or(format!("unclosed start tag at byte offset {offset}"))?;
        let tag = &rest[1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            let expected = open.pop();
            if expected != Some(name.trim()) {
                return Err(format!(
                    "unmatched end tag at byte offset {offset}, expected {expected:?}, found {name}"
                ));
            }
            continue;
        }
        let (name, attributes) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
        if !TAGS.contains(&name) {
            return Err(format!("unsupported start tag \"{name}\" at byte offset {offset}"));
        }
        if attributes.matches('"').count() % 2 != 0 {
            return Err(format!("an attribute without its closing quote at byte offset {offset}"));
        }
        open.push(name);
    }
    seen.push_str(rest);
    match open.last() {
        Some(tag) => Err(format!("can't find end tag corresponding to start tag \"{tag}\"")),
        None => Ok(seen),
    }
}

fn entity(name: &str) -> Option<char> {
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}
