//! Dialling with a stopwatch: name, connection and TLS are timed apart, and a failure is told in
//! words that a person understands.

mod proxy;
mod reach;
pub mod route;
mod stream;

pub use reach::look_up;
pub use route::Route;
pub use stream::Stream;

use super::tls::{self, Chain, Tls};
use crate::clock::Clock;
use crate::model::{FactSpec, FactType, Facts};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

/// The fact of [`Phases::dns`].
pub const DNS_MS: FactSpec =
    FactSpec::kept("dns_ms", FactType::Double, "ms", "looking up the name");

/// The fact of [`Phases::connect`].
pub const CONNECT_MS: FactSpec = FactSpec::kept("connect_ms", FactType::Double, "ms", "connecting");

/// The fact of [`Phases::tls`].
pub const TLS_MS: FactSpec =
    FactSpec::kept("tls_ms", FactType::Double, "ms", "the TLS handshake; absent without TLS");

/// Where to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A name to look up, or an address.
    pub host: Host,
    /// The port.
    pub port: u16,
}

impl Target {
    /// Where a URL leads; `None` if it names no host, or no port and a scheme without one.
    pub fn of(url: &Url) -> Option<Self> {
        Some(Self { host: url.host()?.to_owned(), port: url.port_or_known_default()? })
    }

    /// Reads `host:port`, where an IPv6 address stands in brackets.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        Some(Self { host: Host::parse(host).ok()?, port })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// How long each part of dialling took; `None` where it did not come to that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// Looking up the name; zero for an address.
    pub dns: Option<Duration>,
    /// Connecting by TCP.
    pub connect: Option<Duration>,
    /// The TLS handshake.
    pub tls: Option<Duration>,
}

impl Phases {
    /// Those of a connection that stood already: it cost nothing.
    pub fn none(secure: bool) -> Self {
        let nothing = Some(Duration::ZERO);
        Self { dns: nothing, connect: nothing, tls: nothing.filter(|_| secure) }
    }

    /// Adds those of another connection.
    pub fn add(&mut self, other: Self) {
        let sum = |a: Option<Duration>, b: Option<Duration>| match (a, b) {
            (Some(a), Some(b)) => Some(a + b),
            (one, other) => one.or(other),
        };
        self.dns = sum(self.dns, other.dns);
        self.connect = sum(self.connect, other.connect);
        self.tls = sum(self.tls, other.tls);
    }

    /// Writes them down as `dns_ms`, `connect_ms` and `tls_ms`.
    pub fn note(&self, facts: &mut Facts) {
        for (fact, span) in [(DNS_MS, self.dns), (CONNECT_MS, self.connect), (TLS_MS, self.tls)] {
            if let Some(span) = span {
                facts.set(fact.name, super::millis(span));
            }
        }
    }
}

/// A connection that stands.
#[derive(Debug)]
pub struct Dialled {
    /// To talk over.
    pub stream: Stream,
    /// The other end.
    pub peer: SocketAddr,
    /// How long it took.
    pub phases: Phases,
    /// What the server's certificates say, where it showed some that can be read.
    pub chain: Option<Arc<Chain>>,
    /// Which protocol the server chose among those that TLS offered.
    pub alpn: Alpn,
}

/// Why there is no connection.
#[derive(Debug)]
pub struct DialError {
    /// For people.
    pub what: String,
    /// How long the parts took that came before.
    pub phases: Phases,
    /// What the server's certificates say, where they are the cause.
    pub chain: Option<Arc<Chain>>,
}

/// What a server chose among the protocols that TLS offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// None: it does not know of such a choice, or there is no TLS.
    Silent,
    /// HTTP/2.
    Http2,
    /// Something else.
    Other,
}

/// Looks `target` up, connects, and does a TLS handshake where `tls` is given: by the plain way.
///
/// # Errors
///
/// As of [`dial_by`].
pub async fn dial(
    clock: &dyn Clock,
    target: &Target,
    tls: Option<&Arc<ClientConfig>>,
) -> Result<Dialled, DialError> {
    static PLAIN: Route = Route { ip_version: route::IpVersion::Any, resolver: None, proxy: None };
    let secure = tls.map(|config| Secure { config, name: None });
    dial_by(clock, target, secure, &PLAIN, Aim::Tunnel).await
}

/// A TLS connection to be made.
#[derive(Clone, Copy, Debug)]
pub struct Secure<'a> {
    /// How.
    pub config: &'a Arc<ClientConfig>,
    /// The name to ask for and to verify, in the place of the target's.
    pub name: Option<&'a ServerName<'static>>,
}

impl<'a> From<&'a Tls> for Secure<'a> {
    fn from(tls: &'a Tls) -> Self {
        Self { config: &tls.config, name: tls.server_name.as_ref() }
    }
}

/// What is wanted of an HTTP proxy, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// A way through to the target.
    Tunnel,
    /// The proxy itself, which is told by each request where it is meant to go.
    Proxy,
}

/// Looks `target` up, connects by the way of `route`, and does a TLS handshake where `tls` is given.
///
/// # Errors
///
/// See [`DialError`]. Dropping the future ends what it began, apart from a name look-up, which the
/// operating system ends.
pub async fn dial_by(
    clock: &dyn Clock,
    target: &Target,
    tls: Option<Secure<'_>>,
    route: &Route,
    aim: Aim,
) -> Result<Dialled, DialError> {
    let mut phases = Phases::default();
    let mut start = clock.now().mono;
    let mut lap = || {
        let now = clock.now().mono;
        now.saturating_sub(std::mem::replace(&mut start, now))
    };
    let fail = |what, phases| DialError { what, phases, chain: None };

    let first = route.proxy.as_ref().map_or(target, |proxy| &proxy.target);
    let found = reach::look_up_by(clock, first, route).await;
    phases.dns = Some(if matches!(first.host, Host::Domain(_)) { lap() } else { Duration::ZERO });
    let addresses = found.map_err(|what| fail(what, phases))?;

    let connected = reach::connect_any(&addresses).await;
    let connected = match (&route.proxy, connected) {
        (None, connected) => connected,
        (Some(proxy), Err(what)) => Err(format!("proxy {}: {what}", proxy.target)),
        (Some(proxy), Ok(there)) if proxy.is_http() && aim == Aim::Proxy => Ok(there),
        (Some(proxy), Ok((tcp, peer))) => {
            let tunnelled = Box::pin(proxy::tunnel(clock, tcp, proxy, target, route)).await;
            tunnelled.map(|tcp| (tcp, peer))
        }
    };
    phases.connect = Some(lap());
    let (tcp, peer) = connected.map_err(|what| fail(what, phases))?;
    // Only a matter of latency, so a refusal is not worth a failure.
    let _ = tcp.set_nodelay(true);
    let Some(Secure { config, name }) = tls else {
        let (chain, alpn) = (None, Alpn::Silent);
        return Ok(Dialled { stream: Stream::Plain(tcp), peer, phases, chain, alpn });
    };

    let name = match name {
        Some(name) => name.clone(),
        None => server_name(target).map_err(|what| fail(what, phases))?,
    };
    let mut shaking = TlsConnector::from(Arc::clone(config)).connect(name, tcp);
    let mut refused = None;
    let shaken = std::future::poll_fn(|cx| {
        let polled = Pin::new(&mut shaking).poll(cx);
        if let Poll::Ready(Err(_)) = &polled {
            refused = tls::take_refused();
        }
        polled
    });
    let shaken = shaken.await;
    phases.tls = Some(lap());
    let stream = shaken.map_err(|error| {
        let chain = refused.and_then(|shown| Chain::of(&shown));
        DialError { what: explain_handshake(&error, peer), phases, chain }
    })?;
    let session = stream.get_ref().1;
    let chain = session.peer_certificates().and_then(Chain::of);
    let alpn = match session.alpn_protocol() {
        None => Alpn::Silent,
        Some(b"h2") => Alpn::Http2,
        Some(_) => Alpn::Other,
    };
    Ok(Dialled { stream: Stream::Tls(Box::new(stream)), peer, phases, chain, alpn })
}

/// Writes down what dialling found, also where it failed: the phases and what the certificates say.
pub fn note(dialled: &Result<Dialled, DialError>, clock: &dyn Clock, facts: &mut Facts) {
    let (phases, chain) = match dialled {
        Ok(dialled) => (dialled.phases, &dialled.chain),
        Err(failed) => (failed.phases, &failed.chain),
    };
    phases.note(facts);
    if let Some(chain) = chain {
        chain.note(clock.wall(), facts);
    }
}

/// What went wrong on a connection to `peer` that stood already.
pub fn explain_io(error: &io::Error, peer: SocketAddr) -> String {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls::explain(error);
    }
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => format!("connection reset by {peer}"),
        io::ErrorKind::UnexpectedEof => format!("connection closed by {peer}"),
        io::ErrorKind::TimedOut => format!("connection to {peer} timed out"),
        _ => format!("connection to {peer} failed: {}", plain(error)),
    }
}

fn server_name(target: &Target) -> Result<ServerName<'static>, String> {
    match &target.host {
        Host::Ipv4(address) => Ok(ServerName::IpAddress((*address).into())),
        Host::Ipv6(address) => Ok(ServerName::IpAddress((*address).into())),
        Host::Domain(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
            .map_err(|_| format!("TLS: `{name}` cannot be the name in a certificate")),
    }
}

fn explain_handshake(error: &io::Error, peer: SocketAddr) -> String {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls::explain(error);
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            format!("TLS: {peer} closed the connection during the handshake")
        }
        _ => format!("TLS: {}", explain_io(error, peer)),
    }
}

/// The error without the number that only a programmer wants.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.strip_prefix("failed to lookup address information: ").unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::reach::connect_any;
    use super::{Target, dial};
    use crate::check::testing::within;
    use crate::clock::System;
    use std::net::SocketAddr;
    use std::time::Duration;
    use tokio::net::{TcpListener, TcpSocket, TcpStream};
    use url::Url;

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        (listener, address)
    }

    /// An address where nobody listens.
    async fn closed() -> SocketAddr {
        listener().await.1
    }

    fn target(url: &str) -> Target {
        Target::of(&Url::parse(url).expect("a URL")).expect("a target")
    }

    #[tokio::test]
    async fn a_refusal_names_who_refused() {
        let address = closed().await;
        let dialled = dial(&System::start(), &target(&format!("http://{address}")), None).await;
        let failed = dialled.expect_err("nobody listens");
        assert_eq!(failed.what, format!("connection refused by {address}"));
        assert_eq!(failed.phases.dns, Some(Duration::ZERO), "an address needs no look-up");
        assert!(failed.phases.connect.is_some());
    }

    #[tokio::test]
    async fn an_unknown_name_is_told_as_such() {
        let dialled = dial(&System::start(), &target("http://nobody.invalid"), None).await;
        let failed = dialled.expect_err("the name is reserved, RFC 6761");
        assert!(failed.what.starts_with("DNS: no "), "{}", failed.what);
        assert!(failed.what.contains("nobody.invalid"), "{}", failed.what);
        assert_eq!(failed.phases.connect, None);
    }

    #[tokio::test]
    async fn a_second_address_is_tried_where_the_first_refuses() {
        let (_listener, open) = listener().await;
        let (_, peer) = connect_any(&[closed().await, open]).await.expect("a connection");
        assert_eq!(peer, open);
    }

    #[tokio::test]
    async fn a_second_address_is_tried_where_the_first_says_nothing() {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let silent = socket.local_addr().expect("an address");
        let _listener = socket.listen(1).expect("a listener");
        // Once the queue of connections that nobody accepts is full, Linux says nothing to more.
        let mut queue = Vec::new();
        let attempt =
            || tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(silent));
        while let Ok(stream) = attempt().await {
            queue.push(stream);
            assert!(queue.len() < 100, "the queue of connections has no end");
        }
        let (_open, open) = listener().await;
        let (_, peer) = within(connect_any(&[silent, open])).await.expect("a connection");
        assert_eq!(peer, open);
    }

    #[tokio::test]
    async fn all_refusals_are_told() {
        let (one, other) = (closed().await, closed().await);
        let failed = connect_any(&[one, other]).await.expect_err("nobody listens");
        assert_eq!(failed, format!("connection refused by {one}; connection refused by {other}"));
    }
}
