use super::inbox::{Inbox, Incoming, Refusal, Rules, Sort, imitate};
use super::local::Local;
use super::posts::Posts;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// Discord's webhooks, as strict as Discord, and stricter: `allowed_mentions` must be there and
/// allow nobody.
///
/// <https://discord.com/developers/docs/resources/webhook#execute-webhook>,
/// <https://discord.com/developers/docs/resources/webhook#edit-webhook-message>,
/// <https://discord.com/developers/docs/resources/message#embed-object-embed-limits>
#[derive(Debug)]
pub struct Discord {
    /// What it was sent.
    pub inbox: Inbox,
    /// What the webhook has posted.
    pub posts: Posts,
    local: Local,
}

impl Discord {
    /// The number of the server, and that of the channel.
    pub const SERVER: &'static str = "613425648685547541";
    /// See `SERVER`.
    pub const CHANNEL: &'static str = "697138785317814292";
    const HOOK: &'static str = "/api/webhooks/42/hush";

    /// A new one.
    pub fn start() -> Self {
        let posts = Posts::default();
        let rules = DiscordRules { posts: posts.clone(), sent: AtomicU64::new(0) };
        let (local, inbox) = imitate(rules);
        Self { inbox, posts, local }
    }

    /// The webhook's URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.local.port, Self::HOOK)
    }

    /// A channel `discord` with more keys in its table.
    pub fn channel(&self, keys: &str) -> String {
        let url = self.url();
        format!(
            "[[channel]]\nname = \"discord\"\ncooldown = \"0s\"\nrate_limit = \"1000/h\"\n[channel.discord]\n\
             webhook_url = \"{url}\"\n{keys}\n"
        )
    }
}

struct DiscordRules {
    posts: Posts,
    sent: AtomicU64,
}

impl DiscordRules {
    /// What a person sees of a message.
    fn read_message(&self, request: &Incoming) -> Result<String, Refusal> {
        let body = &request.json;
        let mut form = Form::default();
        form.text(&body["content"], "content", 2000);
        form.text(&body["username"], "username", 80);
        let embeds = body["embeds"].as_array().map(Vec::as_slice).unwrap_or_default();
        if embeds.len() > 10 {
            form.refuse("embeds", "Must be 10 or fewer in length.");
        }
        let before = form.length;
        for embed in embeds {
            form.embed(embed);
        }
        if form.length - before > 6000 {
            form.refuse("embeds", "Embed size exceeds maximum size of 6000");
        }
        if body["allowed_mentions"]["parse"] != json!([]) {
            form.refuse("allowed_mentions", "Must be there, and allow nobody");
        }
        form.files(request);
        if let Some(why) = form.refusal {
            let body = json!({ "message": "Invalid Form Body", "code": 50035, "errors": why });
            return Err(Refusal::new(400, body.to_string()));
        }
        if form.seen.iter().all(|text| text.trim().is_empty()) {
            let body = json!({ "message": "Cannot send an empty message", "code": 50006 });
            return Err(Refusal::new(400, body.to_string()));
        }
        Ok(form.seen.join("\n"))
    }
}

fn unknown(what: &str, code: u32) -> Refusal {
    Refusal::new(404, json!({ "message": format!("Unknown {what}"), "code": code }).to_string())
}

impl Rules for DiscordRules {
    fn takes(&self, method: &Method) -> bool {
        [Method::GET, Method::POST, Method::PATCH].contains(method)
    }

    fn sort(&self, request: &Incoming) -> Sort {
        if request.method == Method::POST { Sort::Message } else { Sort::Other }
    }

    fn read(&self, request: &Incoming) -> Result<String, Refusal> {
        let Some(rest) = request.path.strip_prefix(Discord::HOOK) else {
            return Err(unknown("Webhook", 10015));
        };
        if request.method == Method::GET && rest.is_empty() {
            return Ok(String::new());
        }
        if request.method == Method::POST && rest.is_empty() {
            let text = self.read_message(request)?;
            let id = (9_000 + self.sent.fetch_add(1, Ordering::Relaxed)).to_string();
            self.posts.add(&id, None, text.clone(), request.json.clone());
            return Ok(text);
        }
        let Some(id) = rest.strip_prefix("/messages/").filter(|_| request.method == Method::PATCH)
        else {
            return Err(Refusal::new(405, "405: Method Not Allowed"));
        };
        if self.posts.get(id).is_none() {
            return Err(unknown("Message", 10008));
        }
        let text = self.read_message(request)?;
        self.posts.edit(id, text.clone(), request.json.clone());
        Ok(text)
    }

    fn accepted(&self, request: &Incoming) -> (StatusCode, String) {
        if request.method == Method::GET {
            let hook = json!({
                "id": "42", "type": 1, "guild_id": Discord::SERVER, "channel_id": Discord::CHANNEL,
                "name": "Ops", "token": "hush",
            });
            return (StatusCode::OK, hook.to_string());
        }
        // Without `wait=true` it says nothing.
        let waits = request.query.split('&').any(|pair| pair == "wait=true");
        if request.method == Method::POST && !waits {
            return (StatusCode::NO_CONTENT, String::new());
        }
        let latest = || self.posts.all().pop().map(|post| post.id);
        let edited = request.path.rsplit_once("/messages/").map(|(_, id)| id.to_owned());
        let message = json!({
            "type": 0, "content": "", "embeds": request.json["embeds"],
            "id": edited.or_else(latest), "channel_id": Discord::CHANNEL, "webhook_id": "42",
        });
        (StatusCode::OK, message.to_string())
    }

    fn too_many(&self, seconds: u64) -> String {
        let message = "You are being rate limited.";
        json!({ "message": message, "retry_after": seconds as f64, "global": false }).to_string()
    }
}

#[derive(Default)]
struct Form {
    seen: Vec<String>,
    length: usize,
    refusal: Option<String>,
}

impl Form {
    fn refuse(&mut self, field: &str, why: &str) {
        self.refusal = Some(format!("{field}: {why}"));
    }

    fn embed(&mut self, embed: &Value) {
        self.text(&embed["title"], "title", 256);
        self.text(&embed["description"], "description", 4096);
        self.text(&embed["footer"]["text"], "footer", 2048);
        self.text(&embed["author"]["name"], "author", 256);
        let fields = embed["fields"].as_array().map(Vec::as_slice).unwrap_or_default();
        if fields.len() > 25 {
            self.refuse("fields", "Must be 25 or fewer in length.");
        }
        for field in fields {
            for (key, most) in [("name", 256), ("value", 1024)] {
                if field[key].as_str().is_none_or(str::is_empty) {
                    self.refuse(key, "This field is required");
                }
                self.text(&field[key], key, most);
            }
        }
        let color = &embed["color"];
        if !color.is_null() && color.as_u64().is_none_or(|color| color > 0xFF_FFFF) {
            self.refuse("color", "int value should be less than or equal to 16777215.");
        }
    }

    /// Each file is named by an attachment, and a picture of an embed is one of the files.
    fn files(&mut self, request: &Incoming) {
        let attachments = request.json["attachments"].as_array();
        let names: Vec<String> = attachments
            .into_iter()
            .flatten()
            .map(|attachment| format!("files[{}]", attachment["id"]))
            .collect();
        for (name, file) in &request.form {
            if !names.contains(name) {
                self.refuse("attachments", "A file that no attachment names");
            }
            if !file.starts_with(b"\x89PNG") {
                self.refuse(name, "Not a picture");
            }
        }
        if names.len() != request.form.len() {
            self.refuse("attachments", "An attachment without its file");
        }
        for embed in request.json["embeds"].as_array().into_iter().flatten() {
            let Some(url) = embed["image"]["url"].as_str() else { continue };
            let shown = url.strip_prefix("attachment://").is_some_and(|file| {
                let mut named = attachments.into_iter().flatten();
                named.any(|attachment| attachment["filename"] == file)
            });
            if !shown && !url.starts_with("https://") {
                self.refuse("image", "Not a well formed URL, and not an attachment");
            }
        }
    }

    /// Takes a text, counted in UTF-16 units so that the count is never too low.
    fn text(&mut self, value: &Value, field: &str, most: usize) {
        if value.is_null() {
            return;
        }
        let Some(text) = value.as_str() else {
            return self.refuse(field, "Could not interpret as string.");
        };
        let length = text.encode_utf16().count();
        if length > most {
            self.refuse(field, &format!("Must be {most} or fewer in length."));
        }
        self.length += length;
        self.seen.push(shown(text));
    }
}

/// A text as Discord shows it: a backslash before a punctuation mark is not seen.
fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let escapes =
            character == '\\' && characters.peek().is_some_and(char::is_ascii_punctuation);
        if !escapes {
            out.push(character);
        } else if let Some(escaped) = characters.next() {
            out.push(escaped);
        }
    }
    out
}
