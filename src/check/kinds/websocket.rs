//! `websocket`: opens a WebSocket, pings, and may wait for a message.

use crate::check::support::dial::{self, Dialled, Stream, Target};
use crate::check::support::tls;
use crate::check::support::{self, USER_AGENT, excerpt, headers, millis};
use crate::check::{Check, Kind, Run};
use crate::clock::Clock;
use crate::config::Section;
use crate::model::{FactSpec, FactType, Facts, Observation, OptionDoc};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, Request, Uri};
use rustls::ClientConfig;
use serde_json::Value as Json;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use url::{Position, Url};

/// The kind `websocket`.
pub const KIND: Kind = Kind {
    name: "websocket",
    summary: "opens a WebSocket, pings, and may send a message and wait for one",
    options: &[
        OptionDoc::new("url", "string", "required", "what to open: ws:// or wss://"),
        OptionDoc::new("send", "string", "", "a text message to send once the socket is open"),
        OptionDoc::new(
            "wait_for_message",
            "boolean",
            "",
            "whether to wait for a first message; true with `send`, false without",
        ),
        OptionDoc::new("headers", "table", "", "headers to send when opening"),
        OptionDoc::new("subprotocol", "string", "", "the protocol to ask for above WebSocket"),
        tls::INSECURE_SKIP_VERIFY,
        tls::CA_FILE,
    ],
    facts: &[
        dial::DNS_MS,
        dial::CONNECT_MS,
        dial::TLS_MS,
        FactSpec::kept("handshake_ms", FactType::Double, "ms", "from HTTP to an open WebSocket"),
        FactSpec::kept("pong_ms", FactType::Double, "ms", "from our ping to the server's pong"),
        FactSpec::kept(
            "first_message_ms",
            FactType::Double,
            "ms",
            "from `send`, or else from the opening, to the first message; absent without one",
        ),
        tls::CERT_DAYS_LEFT,
        FactSpec::passing("message", FactType::Text, "the first message, if one came"),
        FactSpec::passing("json", FactType::Any, "the first message as JSON; null if it is not"),
    ],
    example: r#"[[check]]
name = "ticker"
every = "30s"
expect = ["json.type == 'welcome'"]
degraded_if = ["pong_ms > 250.0"]
[check.websocket]
url = "wss://stream.example.org/v1"
send = '{"type": "hello"}'
"#,
    well: "the handshake, and a message after `send`, where it is set",
    parse,
};

/// The bytes that a message from a server may have.
const MAX_MESSAGE: usize = 1024 * 1024;

/// Buffers are allocated for each run; a check reads little.
const BUFFER: usize = 8 * 1024;

/// How long a goodbye may take. The run has all that it wants by then.
const GOODBYE: Duration = Duration::from_millis(200);

const PING: &[u8] = b"watchbell";

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Check>> {
    let url_place = section.place_of("url");
    let url = support::required_url(section, "url", &["ws", "wss"]);
    let send = section.optional::<String>("send");
    let wait = section.or("wait_for_message", send.is_some());
    let headers_place = section.place_of("headers");
    let headers = headers::read(section);
    if let Err(what) = check_headers(&headers) {
        section.error_at(&headers_place, what);
    }
    let subprotocol = section.built("subprotocol", |text: String| read_subprotocol(&text));
    let tls = tls::read_config(section, &[b"http/1.1"]);
    let opening = Opening::new(url?, headers, subprotocol)
        .map_err(|what| section.error_at(&url_place, what))
        .ok()?;
    Some(Box::new(WebSocket { opening, tls: tls?, send, wait }))
}

/// Refuses what belongs to the handshake itself or cannot be sent in it.
fn check_headers(headers: &HeaderMap) -> Result<(), String> {
    for (name, value) in headers {
        if *name == SEC_WEBSOCKET_PROTOCOL {
            return Err("`Sec-WebSocket-Protocol` follows from `subprotocol`".to_owned());
        }
        let ours = *name == CONNECTION || *name == UPGRADE;
        if ours || name.as_str().starts_with("sec-websocket-") {
            return Err(format!("`{name}` belongs to the handshake and cannot be set"));
        }
        if value.to_str().is_err() {
            return Err(format!("the value of `{name}` is not plain ASCII"));
        }
    }
    Ok(())
}

fn read_subprotocol(text: &str) -> Result<HeaderValue, String> {
    // What RFC 6455, section 4.1 allows is what a header's name may hold (RFC 9110, `token`).
    let fine = text.split(',').all(|part| HeaderName::try_from(part.trim()).is_ok());
    HeaderValue::from_str(text)
        .ok()
        .filter(|_| fine)
        .ok_or_else(|| format!("`{text}` is not the name of a protocol"))
}

struct WebSocket {
    opening: Opening,
    tls: Arc<ClientConfig>,
    send: Option<String>,
    wait: bool,
}

impl fmt::Debug for WebSocket {
    /// Names the host alone: a token may stand in the rest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").field("target", &self.opening.target).finish_non_exhaustive()
    }
}

/// The request that opens the socket, all but its key.
struct Opening {
    target: Target,
    secure: bool,
    request: Request<()>,
}

#[async_trait]
impl Check for WebSocket {
    async fn run(&self, run: &Run) -> Observation {
        let mut facts = Facts::default();
        match self.talk(&*run.shared.clock, &mut facts).await {
            Ok(()) => Observation::found(facts),
            Err(what) => Observation::failed(facts, what),
        }
    }
}

impl WebSocket {
    async fn talk(&self, clock: &dyn Clock, facts: &mut Facts) -> Result<(), String> {
        let tls = self.opening.secure.then_some(&self.tls);
        let dialled = dial::dial(clock, &self.opening.target, tls).await;
        dial::note(&dialled, clock, facts);
        let Dialled { stream, peer, .. } = dialled.map_err(|failed| failed.what)?;

        let start = clock.now().mono;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(BUFFER)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let opened = tokio_tungstenite::client_async_with_config(
            self.opening.with_key()?,
            stream,
            Some(config),
        );
        let (mut socket, _) = opened.await.map_err(|error| explain(&error, peer))?;
        facts.set("handshake_ms", millis(clock.now().mono.saturating_sub(start)));

        self.converse(clock, &mut socket, facts).await.map_err(|failed| match failed {
            Failed::Socket(error) => explain(&error, peer),
            Failed::Closed(frame) => explain_close(frame.as_ref(), peer),
        })?;
        let _ = tokio::time::timeout(GOODBYE, socket.close(None)).await;
        Ok(())
    }

    /// Pings, sends, and reads until all that is waited for has come.
    async fn converse(
        &self,
        clock: &dyn Clock,
        socket: &mut WebSocketStream<Stream>,
        facts: &mut Facts,
    ) -> Result<(), Failed> {
        // The ping goes first: an answer to `send` may take a server its time.
        let pinged = clock.now().mono;
        socket.send(Message::Ping(Bytes::from_static(PING))).await?;
        let sent = clock.now().mono;
        if let Some(text) = &self.send {
            socket.send(Message::text(text.as_str())).await?;
        }
        let (mut ponged, mut heard) = (false, false);
        while !ponged || (self.wait && !heard) {
            let received = match socket.next().await {
                Some(received) => received?,
                None => return Err(Failed::Closed(None)),
            };
            let now = clock.now().mono;
            match received {
                Message::Pong(payload) if payload == PING && !ponged => {
                    ponged = true;
                    facts.set("pong_ms", millis(now.saturating_sub(pinged)));
                }
                Message::Text(text) if !heard => {
                    heard = true;
                    facts.set("first_message_ms", millis(now.saturating_sub(sent)));
                    note_message(text.as_str(), facts);
                }
                Message::Binary(bytes) if !heard => {
                    heard = true;
                    facts.set("first_message_ms", millis(now.saturating_sub(sent)));
                    note_message(&String::from_utf8_lossy(&bytes), facts);
                }
                Message::Close(frame) => return Err(Failed::Closed(frame)),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Opening {
    fn new(
        mut url: Url,
        mut headers: HeaderMap,
        subprotocol: Option<HeaderValue>,
    ) -> Result<Self, String> {
        if let Some(authorization) = headers::take_userinfo(&mut url) {
            if headers.contains_key(AUTHORIZATION) {
                return Err("names a user, but there is an `Authorization` already".to_owned());
            }
            headers.insert(AUTHORIZATION, authorization);
        }
        let target = Target::of(&url).ok_or("names no host")?;
        let uri = Uri::try_from(&url[..Position::AfterQuery])
            .map_err(|error| format!("cannot be asked for: {error}"))?;
        if !headers.contains_key(HOST) {
            headers.insert(HOST, headers::host(&url).ok_or("names no host")?);
        }
        let agent = HeaderValue::from_static(USER_AGENT);
        headers.entry(http::header::USER_AGENT).or_insert(agent);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        if let Some(subprotocol) = subprotocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
        }
        let mut request = Request::new(());
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(Self { target, secure: url.scheme() == "wss", request })
    }

    fn with_key(&self) -> Result<Request<()>, String> {
        let mut request = self.request.clone();
        let key = HeaderValue::try_from(generate_key()).map_err(|error| error.to_string())?;
        request.headers_mut().insert(SEC_WEBSOCKET_KEY, key);
        Ok(request)
    }
}

/// Why a conversation ended early.
enum Failed {
    Socket(Error),
    Closed(Option<CloseFrame>),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Socket(error)
    }
}

fn note_message(text: &str, facts: &mut Facts) {
    facts.set("message", text);
    facts.set("json", serde_json::from_str::<Json>(text).unwrap_or(Json::Null));
}

fn explain(error: &Error, peer: SocketAddr) -> String {
    match error {
        Error::Http(answer) => {
            format!("the server refused the WebSocket with status {}", answer.status().as_u16())
        }
        Error::Io(error) => dial::explain_io(error, peer),
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => explain_close(None, peer),
        Error::Protocol(ProtocolError::HandshakeIncomplete) => {
            format!("connection closed by {peer} during the WebSocket handshake")
        }
        Error::Capacity(_) => format!("a message of {peer} is too large to be read: {error}"),
        other => excerpt(&format!("{peer} broke the protocol: {other}"), 300),
    }
}

fn explain_close(frame: Option<&CloseFrame>, peer: SocketAddr) -> String {
    match frame {
        None => format!("connection closed by {peer} before the check was done"),
        Some(frame) => {
            let reason = excerpt(frame.reason.as_str(), 123);
            let space = if reason.is_empty() { "" } else { ": " };
            format!("the server closed the WebSocket ({}{space}{reason})", u16::from(frame.code))
        }
    }
}

#[cfg(test)]
mod tests;
