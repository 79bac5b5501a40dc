use super::inbox::{Inbox, Incoming, Refusal, Rules, imitate};
use super::local::Local;
use axum::http::StatusCode;
use serde_json::Value;

/// Slack's incoming webhooks, as strict as Slack.
///
/// <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>,
/// <https://docs.slack.dev/reference/block-kit/blocks>
#[derive(Debug)]
pub struct Slack {
    /// What it was sent.
    pub inbox: Inbox,
    local: Local,
}

impl Slack {
    /// A new one.
    pub fn start() -> Self {
        let (local, inbox) = imitate(SlackRules);
        Self { inbox, local }
    }

    /// The webhook's URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/services/T000/B000/hush", self.local.port)
    }
}

struct SlackRules;

impl Rules for SlackRules {
    fn read(&self, request: &Incoming) -> Result<String, Refusal> {
        if request.path != "/services/T000/B000/hush" {
            return Err(Refusal::new(404, "no_service"));
        }
        let Value::Object(body) = &request.json else {
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

    fn accepted(&self) -> (StatusCode, String) {
        (StatusCode::OK, "ok".to_owned())
    }

    fn too_many(&self, _seconds: u64) -> String {
        "rate_limited".to_owned()
    }
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
            other => return Err(invalid(&format!("the type {other:?}"))),
        }
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
