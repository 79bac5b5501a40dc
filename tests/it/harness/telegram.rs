mod chat;

use self::chat::Chat;
use super::inbox::{Inbox, Incoming, Refusal, Rules, Sort, imitate_beside};
use super::local::Local;
use super::posts::Posts;
use super::{PATIENCE, eventually};
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

/// Telegram's Bot API, as strict as its documentation.
///
/// <https://core.telegram.org/bots/api#sendmessage>, <https://core.telegram.org/bots/api#html-style>,
/// <https://core.telegram.org/bots/api#editmessagetext>,
/// <https://core.telegram.org/bots/api#sendphoto>
pub struct Telegram {
    /// What it was sent.
    pub inbox: Inbox,
    local: Local,
    chat: Chat,
}

impl fmt::Debug for Telegram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Telegram({:?})", self.inbox)
    }
}

impl Telegram {
    /// The token of the only bot.
    pub const TOKEN: &'static str = "123456:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";
    /// The only chat that it is a member of.
    pub const CHAT: i64 = -1_001_234_567_890;
    /// The only topic in it.
    pub const TOPIC: i64 = 17;
    /// The name of the bot.
    pub const BOT: &'static str = "ops_watch_bot";

    /// A new one.
    pub fn start() -> Self {
        let inbox = Inbox::new();
        let chat = Chat::new(inbox.clone());
        let rules = TelegramRules { last: AtomicI64::new(0), chat: chat.clone() };
        let local = imitate_beside(rules, inbox.clone(), chat.router());
        Self { inbox, local, chat }
    }

    /// A channel `telegram` with more keys in its table.
    pub fn channel(&self, keys: &str) -> String {
        let (url, token, chat) = (self.url(), Self::TOKEN, Self::CHAT);
        format!(
            "[[channel]]\nname = \"telegram\"\ncooldown = \"0s\"\n[channel.telegram]\n\
             token = \"{token}\"\nchat_id = {chat}\napi_url = \"{url}\"\n{keys}\n"
        )
    }

    /// A person, as Telegram describes them.
    pub fn person(id: u64, name: &str) -> Value {
        json!({ "id": id, "is_bot": false, "first_name": name, "username": name })
    }

    /// Somebody writes to the chat, in answer to a message of the bot if `to` is one.
    pub fn write(&self, user: &Value, text: &str, to: Option<i64>) {
        self.chat.write(user, Self::CHAT, text, to);
    }

    /// The same in a chat that the bot was added to by somebody else.
    pub fn write_elsewhere(&self, user: &Value, text: &str) {
        self.chat.write(user, -1_009_999_999_999, text, None);
    }

    /// Somebody presses a button below a message of the bot.
    pub fn press(&self, user: &Value, message: i64, label: &str) {
        self.chat.press(user, message, label);
    }

    /// Waits for the bot to say `words`, after the `skip` first messages, and gives the id of the
    /// latest message that does.
    pub async fn said(&self, skip: usize, words: &[&str]) -> i64 {
        self.inbox.wait_for(skip, words).await;
        self.chat.find(words).unwrap()
    }

    /// A message of the bot as it was sent, with the keyboard that it has now.
    pub fn message(&self, id: i64) -> Value {
        self.chat.message(id)
    }

    /// Waits until a press was answered with these words.
    pub async fn toast(&self, words: &str) {
        let found = || self.chat.toasts().iter().any(|toast| toast == words).then_some(());
        eventually(&format!("an answer `{words}`"), PATIENCE, async || found()).await;
    }

    /// Waits until no update is left that the bot has not dealt with.
    pub async fn all_dealt_with(&self) {
        let done = || (self.chat.waiting() == 0).then_some(());
        eventually("the bot to deal with all updates", PATIENCE, async || done()).await;
    }

    /// How many updates nobody has confirmed.
    pub fn waiting(&self) -> usize {
        self.chat.waiting()
    }

    /// The messages of the bot as people see them by now.
    pub fn posts(&self) -> Posts {
        self.chat.posts()
    }

    /// What its rules refused of all methods.
    pub fn refusals(&self) -> Vec<String> {
        [self.inbox.refusals(), self.chat.refusals()].concat()
    }

    /// Nobody reaches it any more.
    pub fn go_away(&mut self) {
        self.local.stop();
    }

    /// It is there again.
    pub fn come_back(&mut self) {
        self.local.start_again();
    }

    /// The base of the API.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.local.port)
    }
}

struct TelegramRules {
    last: AtomicI64,
    chat: Chat,
}

impl Rules for TelegramRules {
    fn read(&self, request: &Incoming) -> Result<String, Refusal> {
        let Some(method) = request.path.strip_prefix(&format!("/bot{}/", Telegram::TOKEN)) else {
            return Err(refusal(401, "Unauthorized"));
        };
        let method = method.to_ascii_lowercase();
        if method == "sendphoto" {
            return read_photo(request);
        }
        let body = &request.json;
        let seen = read_text(body)?;
        match &*method {
            "sendmessage" => self.last.store(self.chat.sent(body, &seen)?, Ordering::Relaxed),
            "editmessagetext" => {
                self.last.store(self.chat.edited(body, &seen)?, Ordering::Relaxed);
            }
            _ => return Err(refusal(404, "Not Found")),
        }
        Ok(seen)
    }

    fn sort(&self, request: &Incoming) -> Sort {
        match request.path.to_ascii_lowercase().ends_with("/sendmessage") {
            true => Sort::Message,
            false => Sort::Other,
        }
    }

    fn accepted(&self, _request: &Incoming) -> (StatusCode, String) {
        let message_id = self.last.load(Ordering::Relaxed);
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

fn check_chat(chat: &Value) -> Result<(), Refusal> {
    let number = chat.as_i64().or_else(|| chat.as_str()?.parse().ok());
    match number {
        Some(Telegram::CHAT) => Ok(()),
        _ => Err(refusal(400, "Bad Request: chat not found")),
    }
}

/// What a person sees of a text.
fn read_text(body: &Value) -> Result<String, Refusal> {
    check_chat(&body["chat_id"])?;
    let Some(text) = body["text"].as_str() else {
        return Err(refusal(400, "Bad Request: message text is empty"));
    };
    let seen = match &body["parse_mode"] {
        Value::Null => text.to_owned(),
        Value::String(mode) if mode.eq_ignore_ascii_case("html") => parse_html(text)
            .map_err(|why| refusal(400, &format!("Bad Request: can't parse entities: {why}")))?,
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

/// The caption of a photo.
fn read_photo(request: &Incoming) -> Result<String, Refusal> {
    let text = |name: &str| {
        let part = request.form.get(name).map(|part| part.to_vec()).unwrap_or_default();
        String::from_utf8(part).unwrap()
    };
    check_chat(&json!(text("chat_id")))?;
    if !request.form.get("photo").is_some_and(|photo| photo.starts_with(b"\x89PNG")) {
        return Err(refusal(400, "Bad Request: there is no photo in the request"));
    }
    let caption = text("caption");
    if caption.encode_utf16().count() > 1024 {
        return Err(refusal(400, "Bad Request: message caption is too long"));
    }
    Ok(caption)
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
