use super::inbox::{Inbox, Incoming, Refusal, Rules, Sort, imitate};
use super::local::Local;
use super::posts::Posts;
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};

/// Slack's incoming webhooks and the methods of its Web API for a bot, as strict as Slack.
///
/// <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>,
/// <https://docs.slack.dev/reference/methods/chat.postMessage>,
/// <https://docs.slack.dev/reference/methods/chat.update>,
/// <https://docs.slack.dev/reference/block-kit/blocks>
#[derive(Debug)]
pub struct Slack {
    /// What it was sent.
    pub inbox: Inbox,
    /// What the bot has posted in its channel.
    pub posts: Posts,
    local: Local,
}

impl Slack {
    /// A new one.
    pub fn start() -> Self {
        let posts = Posts::default();
        let rules = SlackRules { posts: posts.clone(), sent: AtomicU32::new(0) };
        let (local, inbox) = imitate(rules);
        Self { inbox, posts, local }
    }

    /// The token of the only bot.
    pub const TOKEN: &'static str = "xoxb-1234567890-hush";
    /// The id of the only channel that it is in, which is called `#ops`.
    pub const CHANNEL: &'static str = "C0123OPS";

    /// A channel `slack` of the bot with more keys in its table.
    pub fn channel(&self, keys: &str) -> String {
        let (token, api) = (Self::TOKEN, self.api());
        format!(
            "[[channel]]\nname = \"slack\"\ncooldown = \"0s\"\nrate_limit = \"1000/h\"\n[channel.slack]\n\
             token = \"{token}\"\nchannel = \"#ops\"\napi_url = \"{api}\"\n{keys}\n"
        )
    }

    /// The Web API.
    pub fn api(&self) -> String {
        format!("http://127.0.0.1:{}/api", self.local.port)
    }

    /// The webhook's URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/services/T000/B000/hush", self.local.port)
    }
}

struct SlackRules {
    posts: Posts,
    /// How many messages the bot has posted.
    sent: AtomicU32,
}

impl SlackRules {
    /// Takes a call of the Web API, which answers 200 to whatever it refuses, too.
    fn call(&self, method: &str, request: &Incoming) -> Result<String, Refusal> {
        let refuse =
            |why: &str| Refusal::new(200, json!({ "ok": false, "error": why }).to_string());
        let token = request.headers.get("authorization").and_then(|word| word.to_str().ok());
        if token != Some(&format!("Bearer {}", Slack::TOKEN)) {
            return Err(refuse("invalid_auth"));
        }
        let body = &request.json;
        let text = read_message(body).map_err(|refusal| refuse(&refusal.body))?;
        let channel = body["channel"].as_str().unwrap_or_default();
        match method {
            "chat.postMessage" => {
                if channel != Slack::CHANNEL && channel != "#ops" {
                    return Err(refuse("channel_not_found"));
                }
                let parent = body.get("thread_ts").map(|ts| ts.as_str().unwrap_or_default());
                let answers = parent.map(|ts| self.posts.get(ts));
                // An answer to an answer would be outside of the thread.
                if answers.is_some_and(|post| post.is_none_or(|post| post.parent.is_some())) {
                    return Err(refuse("cannot_reply_to_message"));
                }
                if parent.is_none() && body.get("reply_broadcast").is_some() {
                    return Err(refuse("invalid_arguments"));
                }
                let ts = format!("1700000000.{:06}", self.sent.fetch_add(1, Ordering::Relaxed) + 1);
                self.posts.add(&ts, parent, text.clone(), body.clone());
            }
            "chat.update" => {
                // It takes no names.
                if channel != Slack::CHANNEL {
                    return Err(refuse("channel_not_found"));
                }
                let ts = body["ts"].as_str().unwrap_or_default();
                if self.posts.get(ts).is_none() {
                    return Err(refuse("message_not_found"));
                }
                if body.get("attachments").is_none() {
                    return Err(refuse("the old attachments would stay"));
                }
                self.posts.edit(ts, text.clone(), body.clone());
            }
            _ => return Err(refuse("unknown_method")),
        }
        Ok(text)
    }
}

impl Rules for SlackRules {
    fn read(&self, request: &Incoming) -> Result<String, Refusal> {
        if let Some(method) = request.path.strip_prefix("/api/") {
            return self.call(method, request);
        }
        if request.path != "/services/T000/B000/hush" {
            return Err(Refusal::new(404, "no_service"));
        }
        read_message(&request.json)
    }

    fn sort(&self, request: &Incoming) -> Sort {
        if request.path.ends_with("/chat.update") { Sort::Other } else { Sort::Message }
    }

    fn accepted(&self, request: &Incoming) -> (StatusCode, String) {
        if !request.path.starts_with("/api/") {
            return (StatusCode::OK, "ok".to_owned());
        }
        let latest = || self.posts.all().pop().map(|post| post.id);
        let ts = request.json["ts"].as_str().map(str::to_owned).or_else(latest);
        let said = json!({
            "ok": true,
            "channel": Slack::CHANNEL,
            "ts": ts,
            "message": { "type": "message", "text": request.json["text"] },
        });
        (StatusCode::OK, said.to_string())
    }

    fn too_many(&self, _seconds: u64) -> String {
        "rate_limited".to_owned()
    }
}

/// What a person sees of a message.
fn read_message(body: &Value) -> Result<String, Refusal> {
    let Value::Object(body) = body else {
        return Err(Refusal::new(400, "invalid_payload"));
    };
    let mut seen = Vec::new();
    if let Some(text) = body.get("text") {
        let text = text.as_str().ok_or_else(|| Refusal::new(400, "invalid_payload"))?;
        if text.chars().count() > 40_000 {
            return Err(Refusal::new(400, "msg_too_long"));
        }
        seen.push(text.to_owned());
    }
    read_blocks(body.get("blocks"), &mut seen)?;
    let attachments = body.get("attachments").and_then(Value::as_array);
    for attachment in attachments.into_iter().flatten() {
        read_blocks(attachment.get("blocks"), &mut seen)?;
        for key in ["pretext", "title", "text", "fallback", "footer"] {
            seen.extend(attachment[key].as_str().map(str::to_owned));
        }
    }
    if seen.iter().all(|text| text.trim().is_empty()) {
        return Err(Refusal::new(400, "no_text"));
    }
    Ok(seen.join("\n"))
}

fn read_blocks(blocks: Option<&Value>, seen: &mut Vec<String>) -> Result<(), Refusal> {
    let Some(blocks) = blocks else { return Ok(()) };
    let invalid = |why: &str| Refusal::new(400, format!("invalid_blocks: {why}"));
    let blocks = blocks.as_array().ok_or_else(|| invalid("not a list"))?;
    if blocks.len() > 50 {
        return Err(invalid("more than 50"));
    }
    for block in blocks {
        match block["type"].as_str() {
            Some("divider") => {}
            Some("header") => {
                if block["text"]["type"] != "plain_text" {
                    return Err(invalid("a header is plain text"));
                }
                seen.push(text_object(&block["text"], 150)?);
            }
            Some("section") => {
                let fields = block["fields"].as_array();
                if block["text"].is_null() && fields.is_none() {
                    return Err(invalid("an empty section"));
                }
                if !block["text"].is_null() {
                    seen.push(text_object(&block["text"], 3000)?);
                }
                if fields.is_some_and(|fields| fields.is_empty() || fields.len() > 10) {
                    return Err(invalid("1 to 10 fields"));
                }
                for field in fields.into_iter().flatten() {
                    seen.push(text_object(field, 2000)?);
                }
            }
            Some("context") => {
                let elements = block["elements"].as_array().ok_or_else(|| invalid("elements"))?;
                if elements.is_empty() || elements.len() > 10 {
                    return Err(invalid("1 to 10 elements"));
                }
                for element in elements {
                    seen.push(text_object(element, 2000)?);
                }
            }
            Some("actions") => read_buttons(block, seen)?,
            other => return Err(invalid(&format!("the type {other:?}"))),
        }
    }
    Ok(())
}

/// <https://docs.slack.dev/reference/block-kit/block-elements/button-element>
fn read_buttons(block: &Value, seen: &mut Vec<String>) -> Result<(), Refusal> {
    let invalid = |why: &str| Refusal::new(400, format!("invalid_blocks: {why}"));
    let elements = block["elements"].as_array().ok_or_else(|| invalid("elements"))?;
    if elements.is_empty() || elements.len() > 25 {
        return Err(invalid("1 to 25 elements"));
    }
    let mut ids = Vec::new();
    for button in elements {
        if button["type"] != "button" || button["text"]["type"] != "plain_text" {
            return Err(invalid("a button bears plain text"));
        }
        let id = button["action_id"].as_str().unwrap_or_default();
        if id.is_empty() || ids.contains(&id) {
            return Err(invalid("each button has an action_id of its own"));
        }
        ids.push(id);
        let url = button["url"].as_str().unwrap_or_default();
        if !url.starts_with("http") || url.len() > 3000 {
            return Err(invalid("url"));
        }
        seen.push(text_object(&button["text"], 75)?);
    }
    Ok(())
}

/// The text of a text object, unescaped as Slack shows it.
fn text_object(object: &Value, most: usize) -> Result<String, Refusal> {
    let invalid = |why: String| Refusal::new(400, format!("invalid_blocks: {why}"));
    let (Some(kind), Some(text)) = (object["type"].as_str(), object["text"].as_str()) else {
        return Err(invalid(format!("not a text object: {object}")));
    };
    let length = text.chars().count();
    if length == 0 || length > most {
        return Err(invalid(format!("{length} characters, 1 to {most} are allowed")));
    }
    match kind {
        "plain_text" => Ok(text.to_owned()),
        "mrkdwn" => {
            // Broadcasts and mentions are written <!channel>, <@U1>: no text from outside may
            // hold one.
            if text.contains("<!") || text.contains("<@") {
                return Err(invalid("it mentions somebody".to_owned()));
            }
            Ok(text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
        }
        other => Err(invalid(format!("the text type {other}"))),
    }
}
