//! From a URL to an open WebSocket.

use super::words;
use crate::check::support::dial::{self, Aim, Dialled, Route, Stream, Target};
use crate::check::support::tls::{Chain, Tls};
use crate::check::support::{USER_AGENT, headers, millis};
use crate::clock::Clock;
use crate::model::Facts;
use http::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, Request, Uri};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use url::{Position, Url};

/// Buffers are allocated for each connection; a check reads little.
const BUFFER: usize = 8 * 1024;

/// Where a WebSocket is, and how it is opened.
pub struct Door {
    /// Where to dial.
    pub target: Target,
    secure: bool,
    /// The request that opens it, all but its key.
    request: Request<()>,
    tls: Tls,
    route: Route,
    max_message: usize,
}

/// An open WebSocket.
pub struct Open {
    /// To talk over.
    pub socket: WebSocketStream<Stream>,
    /// The other end.
    pub peer: SocketAddr,
    /// What the server's certificates said.
    pub chain: Option<Arc<Chain>>,
}

impl Door {
    /// How `url` is opened.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL, in words.
    pub fn new(
        mut url: Url,
        mut headers: HeaderMap,
        subprotocol: Option<HeaderValue>,
        tls: Tls,
        route: Route,
        max_message: usize,
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
        let secure = url.scheme() == "wss";
        Ok(Self { target, secure, request, tls, route, max_message })
    }

    /// The headers that open it.
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// Opens it, and writes down how long the parts of that took.
    ///
    /// # Errors
    ///
    /// Why it is not open, in words.
    pub async fn open(&self, clock: &dyn Clock, facts: &mut Facts) -> Result<Open, String> {
        let tls = self.secure.then(|| (&self.tls).into());
        let dialled = dial::dial_by(clock, &self.target, tls, &self.route, Aim::Tunnel).await;
        dial::note(&dialled, clock, facts);
        let Dialled { stream, peer, chain, .. } = dialled.map_err(|failed| failed.what)?;

        let start = clock.now().mono;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(BUFFER)
            .max_message_size(Some(self.max_message))
            .max_frame_size(Some(self.max_message));
        let opened =
            tokio_tungstenite::client_async_with_config(self.with_key()?, stream, Some(config));
        let (socket, answer) = opened.await.map_err(|error| words::explain(&error, peer))?;
        facts.set("handshake_ms", millis(clock.now().mono.saturating_sub(start)));
        if let Some(chosen) = answer.headers().get(SEC_WEBSOCKET_PROTOCOL) {
            facts.set("subprotocol", &*String::from_utf8_lossy(chosen.as_bytes()));
        }
        Ok(Open { socket, peer, chain })
    }

    fn with_key(&self) -> Result<Request<()>, String> {
        let mut request = self.request.clone();
        let key = HeaderValue::try_from(generate_key()).map_err(|error| error.to_string())?;
        request.headers_mut().insert(SEC_WEBSOCKET_KEY, key);
        Ok(request)
    }
}

/// Refuses what belongs to the handshake itself or cannot be sent in it.
///
/// # Errors
///
/// What that is, in words.
pub fn check_headers(headers: &HeaderMap) -> Result<(), String> {
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

/// Reads one name of a protocol, or several with commas between them.
///
/// # Errors
///
/// It is not one, in words.
pub fn read_subprotocol(text: &str) -> Result<HeaderValue, String> {
    // What RFC 6455, section 4.1 allows is what a header's name may hold (RFC 9110, `token`).
    let fine = text.split(',').all(|part| HeaderName::try_from(part.trim()).is_ok());
    HeaderValue::from_str(text)
        .ok()
        .filter(|_| fine)
        .ok_or_else(|| format!("`{text}` is not the name of a protocol"))
}
