use super::inbox::{Inbox, Incoming, Refusal, Rules, imitate};
use super::local::Local;
use axum::http::StatusCode;
use serde_json::{Value, json};

/// Discord's webhooks, as strict as Discord, and stricter: `allowed_mentions` must be there and
/// allow nobody.
///
/// <https://discord.com/developers/docs/resources/webhook#execute-webhook>,
/// <https://discord.com/developers/docs/resources/message#embed-object-embed-limits>
#[derive(Debug)]
pub struct Discord {
    /// What it was sent.
    pub inbox: Inbox,
    local: Local,
}

impl Discord {
    /// A new one.
    pub fn start() -> Self {
        let (local, inbox) = imitate(DiscordRules);
        Self { inbox, local }
    }

    /// The webhook's URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/api/webhooks/42/hush", self.local.port)
    }
}

struct DiscordRules;

impl Rules for DiscordRules {
    fn read(&self, request: &Incoming) -> Result<String, Refusal> {
        if request.path != "/api/webhooks/42/hush" {
            let body = json!({ "message": "Unknown Webhook", "code": 10015 });
            return Err(Refusal::new(404, body.to_string()));
        }
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

    fn accepted(&self) -> (StatusCode, String) {
        (StatusCode::NO_CONTENT, String::new())
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
