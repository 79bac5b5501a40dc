//! `websocket`: opens a WebSocket, talks over it, or stays subscribed to what comes.

mod door;
mod feed;
mod script;
mod words;

use crate::check::support::dial::{self, Route, route};
use crate::check::support::hide::Hidden;
use crate::check::support::value::printable;
use crate::check::support::{self, headers, millis, tls};
use crate::check::{Check, Kind, Run};
use crate::clock::Clock;
use crate::config::Section;
use crate::model::{Fact, FactSpec, FactType, Facts, Observation, OptionDoc};
use async_trait::async_trait;
use door::{Door, Open};
use feed::{Feed, Subscription};
use script::{Step, Talk};
use serde_json::Value as Json;
use std::fmt;
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

/// The keys of a `step`.
const STEP: &[OptionDoc] = &[
    OptionDoc::new("send", "string", "", "a text to send"),
    OptionDoc::new("send_json", "table", "", "a value to send as JSON").any(),
    OptionDoc::new(
        "expect",
        "list",
        "[]",
        "conditions on `text` and `json` of the message that is waited for",
    ),
    OptionDoc::new("timeout", "duration", "", "how long the step may take"),
];

/// The kind `websocket`.
pub const KIND: Kind = Kind {
    name: "websocket",
    summary: "opens a WebSocket, pings, and may talk over it or stay subscribed to a feed",
    options: &[
        OptionDoc::new("url", "string", "required", "what to open: ws:// or wss://"),
        OptionDoc::new("send", "string", "", "a text message to send once the socket is open"),
        OptionDoc::new(
            "wait_for_message",
            "boolean",
            "",
            "whether to wait for a first message; true with `send` and no `step`, else false",
        ),
        OptionDoc::new(
            "step",
            "list",
            "",
            "the turns of a conversation, each a [[check.websocket.step]] with `send` (text) or \
             `send_json` (any value), `expect` (conditions on `text` and `json` of a message; those \
             that do not fit are passed over) and a `timeout` of its own",
        ).keys(STEP),
        OptionDoc::new(
            "subscribe",
            "boolean",
            "false",
            "whether to stay connected between runs and count what comes: each run only looks at \
             the feed, `send` and `step` go out at each connection",
        ),
        OptionDoc::new(
            "count_if",
            "list",
            "[]",
            "with `subscribe`: conditions on `text` and `json` that a message must meet to count, \
             such as \"json.type != 'heartbeat'\"",
        ),
        OptionDoc::new("headers", "table", "", "headers to send when opening"),
        OptionDoc::new(
            "subprotocol",
            "string",
            "",
            "the protocol to ask for above WebSocket, or several with commas between them",
        ),
        OptionDoc::new(
            "max_message",
            "integer",
            "1048576",
            "the bytes that a message may have, 1 to 67108864; a longer one ends the connection",
        ),
        route::IP_VERSION,
        route::RESOLVER,
        route::PROXY,
        tls::INSECURE_SKIP_VERIFY,
        tls::CA_FILE,
        tls::CERT_FILE,
        tls::KEY_FILE,
        tls::SERVER_NAME,
    ],
    facts: &[
        FactSpec { summary: "looking up the name; absent with `subscribe`", ..dial::DNS_MS },
        FactSpec { summary: "connecting; absent with `subscribe`", ..dial::CONNECT_MS },
        FactSpec {
            summary: "the TLS handshake; absent without TLS and with `subscribe`",
            ..dial::TLS_MS
        },
        FactSpec::kept(
            "handshake_ms",
            FactType::Double,
            "ms",
            "from HTTP to an open WebSocket; absent with `subscribe`",
        ),
        FactSpec::kept(
            "pong_ms",
            FactType::Double,
            "ms",
            "from our ping to the server's pong; with `subscribe` the latest, once one came",
        ),
        FactSpec::kept(
            "first_message_ms",
            FactType::Double,
            "ms",
            "from `send`, or else from the opening, to the first message; absent without one",
        ),
        FactSpec::kept(
            "step_ms",
            FactType::Any,
            "ms",
            "list of how long each step took that was done; absent without steps",
        ),
        FactSpec::passing(
            "subprotocol",
            FactType::Text,
            "the protocol that the server chose; absent where it chose none",
        ),
        FactSpec::kept(
            "connected",
            FactType::Bool,
            "",
            "whether the feed is connected; only with `subscribe`, as all that follows on feeds",
        ),
        FactSpec::kept(
            "connected_seconds",
            FactType::Double,
            "s",
            "how long the connection of the feed has lasted; 0 where there is none",
        ),
        FactSpec::kept(
            "seconds_since_message",
            FactType::Double,
            "s",
            "since the last message that counts, over all connections; since the first run before \
             one came",
        ),
        FactSpec::kept(
            "messages_per_minute",
            FactType::Double,
            "1/min",
            "messages that count in the last 60 s; in the first minute the rate until now",
        ),
        FactSpec::kept("messages", FactType::Int, "", "messages that count since the first run"),
        FactSpec::kept(
            "reconnects",
            FactType::Int,
            "",
            "how often the feed was connected again since the first run",
        ),
        tls::CERT_DAYS_LEFT,
        tls::CERT_CHAIN_DAYS_LEFT,
        tls::CERT_CHAIN_LENGTH,
        tls::CERT_SUBJECT,
        tls::CERT_ISSUER,
        tls::CERT_NAMES,
        FactSpec::passing(
            "message",
            FactType::Text,
            "the first message, or the one that the last step was content with; with `subscribe` the \
             last that counts; its first 2 KiB are kept where the check is not well",
        ),
        FactSpec::passing("json", FactType::Any, "`message` as JSON; null if it is not"),
    ],
    example: r#"[[check]]
name = "ticker"
every = "30s"
expect = ["json.type == 'trade'"]
degraded_if = ["pong_ms > 250.0"]
[check.websocket]
url = "wss://stream.example.org/v1"
[[check.websocket.step]]
send_json = { type = "subscribe", channel = "trades" }
expect = ["json.type == 'subscribed'"]
timeout = "2s"
[[check.websocket.step]]
expect = ["json.type == 'trade'", "double(json.price) > 0.0"]
"#,
    well: "the handshake, and a message after `send`, where it is set",
    parse,
};

/// The bytes that a message from a server may have.
const MAX_MESSAGE: usize = 1024 * 1024;

/// The bytes that `max_message` may allow.
const MAX_MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// How long a goodbye may take. The run has all that it wants by then.
const GOODBYE: Duration = Duration::from_millis(200);

/// How much of a message is kept where a check is not well, in bytes.
const KEPT_MESSAGE: usize = 2048;

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Check>> {
    let url_place = section.place_of("url");
    let url = support::required_url(section, "url", &["ws", "wss"]);
    let send = section.optional::<String>("send");
    let steps = script::read_steps(section);
    let wait_place = section.place_of("wait_for_message");
    let wait = section.optional::<bool>("wait_for_message");
    let subscribe = section.or("subscribe", false);
    if subscribe && wait == Some(true) {
        section.error_at(&wait_place, "has no meaning with `subscribe`, which never waits");
    }
    let has_count_if = section.has("count_if");
    let count_place = section.place_of("count_if");
    let count_if = script::read_conditions(section, "count_if");
    if has_count_if && !subscribe {
        section.error_at(&count_place, "has a meaning only with `subscribe = true`");
    }
    let headers_place = section.place_of("headers");
    let headers = headers::read(section);
    if let Err(what) = door::check_headers(&headers) {
        section.error_at(&headers_place, what);
    }
    let subprotocol = section.built("subprotocol", |text: String| door::read_subprotocol(&text));
    let max_message = section.built("max_message", |bytes: usize| match bytes {
        1..=MAX_MAX_MESSAGE => Ok(bytes),
        _ => Err(format!("is not between 1 and {MAX_MAX_MESSAGE}")),
    });
    let route = Route::read(section);
    let tls = tls::read(section, &[b"http/1.1"]);
    let url = url?;
    let max_message = max_message.unwrap_or(MAX_MESSAGE);
    let door = Door::new(url.clone(), headers, subprotocol, tls?, route, max_message)
        .map_err(|what| section.error_at(&url_place, what))
        .ok()?;
    let mut request = door.headers().clone();
    // Those of the handshake itself are no secrets.
    request.remove(http::header::SEC_WEBSOCKET_VERSION);
    request.remove(http::header::SEC_WEBSOCKET_PROTOCOL);
    let mut hidden = Hidden::of_request(&url, &request);
    headers::secrets(&request).iter().for_each(|secret| hidden.add_word(secret));
    let mut sent = Hidden::default();
    for text in send.as_deref().into_iter().chain(script::sent(&steps)) {
        sent.add_text(text);
    }
    let host = door.target.to_string();
    let wait = wait.unwrap_or(send.is_some() && steps.is_empty());
    let way = match subscribe {
        true => Way::Stay(Feed::new(Subscription { door, send, steps, count_if })),
        false => Way::Visit(Box::new(Visit { door, send, steps, wait })),
    };
    Some(Box::new(WebSocket { host, way, hidden, sent }))
}

struct WebSocket {
    host: String,
    way: Way,
    /// What no fact and no error shows, even if the server repeats it.
    hidden: Hidden,
    /// What looks like a secret in what is sent; nothing that is kept shows it.
    sent: Hidden,
}

enum Way {
    Visit(Box<Visit>),
    Stay(Feed),
}

/// A conversation that each run has anew.
struct Visit {
    door: Door,
    send: Option<String>,
    steps: Vec<Step>,
    wait: bool,
}

impl fmt::Debug for WebSocket {
    /// Names the host alone: a token may stand in the rest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").field("target", &self.host).finish_non_exhaustive()
    }
}

#[async_trait]
impl Check for WebSocket {
    async fn run(&self, run: &Run) -> Observation {
        let mut facts = Facts::default();
        let patience = support::patience(run.timeout);
        let outcome = match &self.way {
            Way::Stay(feed) => feed.look(&run.shared.clock, patience, &mut facts).await,
            Way::Visit(visit) => {
                let mut doing = format!("no connection to {} yet", self.host);
                let talking = visit.talk(&*run.shared.clock, &mut facts, &mut doing);
                match tokio::time::timeout(patience, talking).await {
                    Ok(outcome) => outcome,
                    Err(_) => {
                        let span = humantime::format_duration(run.timeout);
                        Err(format!("no answer within {span}: {doing}"))
                    }
                }
            }
        };
        self.clean(&mut facts);
        match outcome {
            Ok(()) => Observation::found(facts),
            Err(what) => Observation::failed(facts, self.hidden.hide(what.into())),
        }
    }

    fn evidence(&self, observation: &Observation) -> Facts {
        let mut kept = Facts::default();
        if let Some(Fact::Text(text)) = observation.facts.get("message") {
            let start = text.get(..text.floor_char_boundary(2 * KEPT_MESSAGE)).unwrap_or_default();
            kept.set("message", printable(&self.sent.hide(start.into()), KEPT_MESSAGE));
        }
        for name in tls::TELLING.iter().map(|fact| fact.name) {
            if let Some(fact) = observation.facts.get(name) {
                kept.set(name, fact.clone());
            }
        }
        kept
    }
}

impl WebSocket {
    /// Takes the check's secrets out of what the server said.
    fn clean(&self, facts: &mut Facts) {
        let Some(Fact::Text(text)) = facts.get("message") else { return };
        let cleaned = self.hidden.hide((&**text).into());
        if *cleaned != **text {
            let cleaned = cleaned.into_owned();
            note_message(&cleaned, facts);
        }
    }
}

impl Visit {
    async fn talk(
        &self,
        clock: &dyn Clock,
        facts: &mut Facts,
        doing: &mut String,
    ) -> Result<(), String> {
        let Open { mut socket, peer, .. } = self.door.open(clock, facts).await?;
        "the WebSocket is open, and no pong came".clone_into(doing);
        let mut talk = Talk { clock, socket: &mut socket, peer, pinged: None, heard: None, doing };
        // The ping goes first: an answer to what is sent may take a server its time.
        talk.ping().await?;
        let sent = clock.now().mono;
        if let Some(text) = &self.send {
            talk.send(Message::text(text.as_str())).await?;
        }
        talk.take(&self.steps, facts).await?;
        while talk.pinged.is_some() || (self.wait && talk.heard.is_none()) {
            let missing = match talk.pinged {
                Some(_) => "the WebSocket is open, and no pong came",
                None => "the WebSocket is open, and no message came",
            };
            missing.clone_into(talk.doing);
            if let Some(text) = talk.next(facts).await?
                && talk.heard.is_none()
            {
                let took = clock.now().mono.saturating_sub(sent);
                facts.set("first_message_ms", millis(took));
                talk.heard = Some(text);
            }
        }
        if let Some(text) = &talk.heard {
            note_message(text, facts);
        }
        let _ = tokio::time::timeout(GOODBYE, socket.close(None)).await;
        Ok(())
    }
}

fn note_message(text: &str, facts: &mut Facts) {
    facts.set("message", text);
    facts.set("json", serde_json::from_str::<Json>(text).unwrap_or(Json::Null));
}

#[cfg(test)]
mod tests;
