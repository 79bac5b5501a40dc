//! What Telegram answers.

use crate::deliver::Outcome;
use crate::deliver::support::{Answer, Veil, classify};
use serde::Deserialize;
use std::time::Duration;
use teloxide::types::MessageId;

/// What the Bot API says: <https://core.telegram.org/bots/api#making-requests>.
#[derive(Debug, Deserialize)]
pub(super) struct Said {
    ok: bool,
    error_code: Option<u16>,
    description: Option<String>,
    #[serde(default)]
    parameters: Parameters,
}

impl Said {
    /// The number of the message that was accepted. It stands before all else that the answer
    /// repeats of the message, which may be longer than what is read of it.
    pub fn message_id(body: &str) -> Option<MessageId> {
        #[derive(Deserialize)]
        struct Sent {
            result: MessageId,
        }
        if let Ok(sent) = serde_json::from_str::<Sent>(body) {
            return Some(sent.result);
        }
        const START: &str = "{\"ok\":true,\"result\":{\"message_id\":";
        let rest = body.trim_start().strip_prefix(START)?;
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        rest.get(..digits)?.parse().ok().map(MessageId)
    }
}

#[derive(Debug, Default, Deserialize)]
struct Parameters {
    retry_after: Option<u64>,
    migrate_to_chat_id: Option<i64>,
}

/// What an answer means.
pub(super) fn judge(mut answer: Answer, veil: &Veil) -> Outcome {
    let said: Option<Said> = serde_json::from_str(&answer.body).ok();
    let Some(said) = said else {
        if answer.status.is_success() {
            // The body of a message that was accepted says so in its first bytes, however long
            // it is.
            if answer.body.trim_start().starts_with("{\"ok\":true") {
                return Outcome::accepted();
            }
            let why = veil.clean(&format!("this is not Telegram's answer: {}", answer.body));
            return Outcome::Retry { after: answer.retry_after, why };
        }
        return classify(&answer, veil);
    };
    if said.ok {
        return Outcome::accepted();
    }
    // The code in the body is the one that counts; a relay may answer with another status.
    if let Some(code) = said.error_code.and_then(|code| reqwest::StatusCode::from_u16(code).ok()) {
        answer.status = code;
    }
    answer.retry_after =
        said.parameters.retry_after.map(Duration::from_secs).or(answer.retry_after);
    let mut why = said.description.unwrap_or_else(|| answer.body.clone());
    if let Some(id) = said.parameters.migrate_to_chat_id {
        why = format!("{why}: set chat_id = {id}");
    }
    answer.body = why;
    if answer.status.is_success() {
        return Outcome::Rejected { why: veil.clean(&answer.body) };
    }
    classify(&answer, veil)
}
