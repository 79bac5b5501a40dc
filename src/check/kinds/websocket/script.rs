//! What is said over an open WebSocket, and what must come back.

use super::words;
use crate::check::support::dial::Stream;
use crate::check::support::{excerpt, millis};
use crate::clock::Clock;
use crate::condition::{Condition, Scope, Seen, Variable};
use crate::config::Section;
use crate::model::{FactType, Facts};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value as Json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// What a ping carries, so that its pong is known.
pub const PING: &[u8] = b"watchbell";

/// Steps that a script may have.
const MOST_STEPS: usize = 50;

/// How much of an unfit message an error shows, in characters.
const SHOWN: usize = 200;

/// One turn of a conversation.
#[derive(Debug)]
pub struct Step {
    send: Option<String>,
    expect: Vec<Condition>,
    timeout: Option<Duration>,
}

/// What a condition on a message sees of it.
struct Heard<'a> {
    text: &'a str,
    json: &'a Json,
}

impl Scope for Heard<'_> {
    fn variable(&self, name: &str) -> Option<Seen<'_>> {
        match name {
            "text" => Some(Seen::Text(self.text)),
            "json" => Some(Seen::Json(self.json)),
            _ => None,
        }
    }
}

/// Takes conditions on a message from the list `key`.
pub fn read_conditions(section: &mut Section<'_>, key: &'static str) -> Vec<Condition> {
    const VARIABLES: [Variable<'static>; 2] = [
        Variable { name: "text", ty: FactType::Text },
        Variable { name: "json", ty: FactType::Any },
    ];
    let mut conditions = Vec::new();
    for (source, place) in section.strings(key) {
        match Condition::compile(&source, &VARIABLES, &[]) {
            Ok(condition) => conditions.push(condition),
            Err(problem) => {
                let found = place.error(problem.message);
                section.report(match problem.hint {
                    Some(hint) => found.hint(hint),
                    None => found,
                });
            }
        }
    }
    conditions
}

/// Whether a message meets all of `conditions`.
pub fn meets(conditions: &[Condition], text: &str) -> bool {
    conditions.is_empty() || unmet(conditions, text).is_none()
}

/// The first condition that a message does not meet, and why.
fn unmet(conditions: &[Condition], text: &str) -> Option<String> {
    let json = serde_json::from_str(text).unwrap_or(Json::Null);
    let scope = Heard { text, json: &json };
    conditions.iter().find_map(|condition| {
        let source = condition.source();
        match condition.holds(&scope) {
            Ok(true) => None,
            Ok(false) => Some(format!("{source} fails: {}", condition.explain(&scope))),
            Err(why) => Some(format!("{source} fails: {why}")),
        }
    })
}

/// Takes all `[[step]]`.
pub fn read_steps(section: &mut Section<'_>) -> Vec<Step> {
    let place = section.place_of("step");
    let mut steps = Vec::new();
    for mut table in section.tables("step") {
        let problem_place = table.place().clone();
        let text = table.optional::<String>("send");
        let json_place = table.place_of("send_json");
        let json = table.built("send_json", |value: toml::Value| {
            serde_json::to_string(&value).map_err(|error| format!("is no JSON: {error}"))
        });
        let has_send = text.is_some() || json.is_some();
        if text.is_some() && json.is_some() {
            table.error_at(&json_place, "there is a `send` already");
        }
        let has_expect = table.has("expect");
        let expect = read_conditions(&mut table, "expect");
        let timeout = table.duration("timeout");
        if !has_send && !has_expect {
            table.error_at(&problem_place, "neither sends nor expects anything");
        }
        steps.push(Step { send: text.or(json), expect, timeout });
        section.finish_child(table);
    }
    if steps.len() > MOST_STEPS {
        section.error_at(&place, format!("has more than {MOST_STEPS} steps"));
    }
    steps
}

/// What all of them send, for whoever looks for secrets in it.
pub fn sent(steps: &[Step]) -> impl Iterator<Item = &str> {
    steps.iter().filter_map(|step| step.send.as_deref())
}

/// A conversation over an open WebSocket.
pub struct Talk<'a> {
    /// Where the time comes from.
    pub clock: &'a dyn Clock,
    /// To talk over.
    pub socket: &'a mut WebSocketStream<Stream>,
    /// The other end.
    pub peer: SocketAddr,
    /// When the ping left that no pong came for yet.
    pub pinged: Option<Duration>,
    /// The first message, or the one that the last step was content with.
    pub heard: Option<Utf8Bytes>,
    /// What it is at, for whoever cuts it off.
    pub doing: &'a mut String,
}

impl Talk<'_> {
    /// Pings.
    ///
    /// # Errors
    ///
    /// The connection is over, in words.
    pub async fn ping(&mut self) -> Result<(), String> {
        self.pinged = Some(self.clock.now().mono);
        self.send(Message::Ping(Bytes::from_static(PING))).await
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// The connection is over, in words.
    pub async fn send(&mut self, message: Message) -> Result<(), String> {
        let sent = self.socket.send(message).await;
        sent.map_err(|error| words::explain(&error, self.peer))
    }

    /// The next message, or the pong to the ping (then `None`), whose time is noted in `facts`.
    ///
    /// # Errors
    ///
    /// The connection is over, in words.
    pub async fn next(&mut self, facts: &mut Facts) -> Result<Option<Utf8Bytes>, String> {
        loop {
            // A buffer holds hundreds of tiny frames, and nobody would see the timeout meanwhile.
            tokio::task::consume_budget().await;
            let received = match self.socket.next().await {
                Some(received) => received.map_err(|error| words::explain(&error, self.peer))?,
                None => return Err(words::explain_close(None, self.peer)),
            };
            match received {
                Message::Pong(payload) if payload == PING => {
                    if let Some(pinged) = self.pinged.take() {
                        let took = self.clock.now().mono.saturating_sub(pinged);
                        facts.set("pong_ms", millis(took));
                        return Ok(None);
                    }
                }
                Message::Text(text) => return Ok(Some(text)),
                Message::Binary(bytes) => {
                    return Ok(Some(String::from_utf8_lossy(&bytes).into_owned().into()));
                }
                Message::Close(frame) => {
                    return Err(words::explain_close(frame.as_ref(), self.peer));
                }
                _ => {}
            }
        }
    }

    /// Takes all steps, and notes in `facts` how long each took.
    ///
    /// # Errors
    ///
    /// Which step failed, and why, in words.
    pub async fn take(&mut self, steps: &[Step], facts: &mut Facts) -> Result<(), String> {
        let mut took = Vec::new();
        for (step, number) in steps.iter().zip(1..) {
            let start = self.clock.now().mono;
            *self.doing = format!("step {number} waits for its message");
            self.step(step, number, facts).await?;
            let span = self.clock.now().mono.saturating_sub(start);
            took.push(Json::from((millis(span) * 1000.0).round() / 1000.0));
            facts.set("step_ms", Json::Array(took.clone()));
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step, number: i32, facts: &mut Facts) -> Result<(), String> {
        let told = |what: String| format!("step {number}: {what}");
        if let Some(text) = &step.send {
            self.send(Message::text(text.as_str())).await.map_err(told)?;
        }
        if step.expect.is_empty() {
            return Ok(());
        }
        let mut passed = 0;
        let mut last = String::new();
        let waiting = async {
            loop {
                let Some(text) = self.next(facts).await? else { continue };
                match unmet(&step.expect, &text) {
                    None => {
                        self.heard = Some(text);
                        return Ok(());
                    }
                    Some(why) => {
                        passed += 1;
                        last = format!("`{}`: {why}", excerpt(&text, SHOWN));
                        *self.doing = format!(
                            "step {number}: none of {passed} messages fits, the last {last}"
                        );
                    }
                }
            }
        };
        let Some(timeout) = step.timeout else { return waiting.await.map_err(told) };
        match tokio::time::timeout(timeout, waiting).await {
            Ok(done) => done.map_err(told),
            Err(_) => {
                let span = humantime::format_duration(timeout);
                Err(told(match passed {
                    0 => format!("no message within {span}"),
                    _ => format!("none of {passed} messages within {span} fits, the last {last}"),
                }))
            }
        }
    }
}
