//! Dialling with a stopwatch: name, connection and TLS are timed apart, and a failure is told in
//! words that a person understands.

use super::tls::{self, Certificate};
use crate::clock::Clock;
use crate::model::{FactSpec, FactType, Facts};
use futures_util::stream::{FuturesUnordered, StreamExt};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
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
    /// The server's certificate, where it showed one that can be read.
    pub certificate: Option<Certificate>,
}

/// Why there is no connection.
#[derive(Debug)]
pub struct DialError {
    /// For people.
    pub what: String,
    /// How long the parts took that came before.
    pub phases: Phases,
    /// The server's certificate, where it is known and the cause.
    pub certificate: Option<Certificate>,
}

/// Looks `target` up, connects, and does a TLS handshake where `tls` is given.
///
/// The addresses of a name are tried in the order of the resolver, each a quarter of a second
/// after the one before or at once when that one failed (RFC 8305), so that a network with broken
/// IPv6 does not fail a check that every browser would pass.
///
/// # Errors
///
/// See [`DialError`]. Dropping the future ends what it began, apart from a name look-up, which the
/// operating system ends.
pub async fn dial(
    clock: &dyn Clock,
    target: &Target,
    tls: Option<&Arc<ClientConfig>>,
) -> Result<Dialled, DialError> {
    let mut phases = Phases::default();
    let mut start = clock.now().mono;
    let mut lap = || {
        let now = clock.now().mono;
        now.saturating_sub(std::mem::replace(&mut start, now))
    };
    let fail = |what, phases| DialError { what, phases, certificate: None };

    let found = look_up(target).await;
    phases.dns = Some(if matches!(target.host, Host::Domain(_)) { lap() } else { Duration::ZERO });
    let addresses = found.map_err(|what| fail(what, phases))?;

    let connected = connect_any(&addresses).await;
    phases.connect = Some(lap());
    let (tcp, peer) = connected.map_err(|what| fail(what, phases))?;
    // Only a matter of latency, so a refusal is not worth a failure.
    let _ = tcp.set_nodelay(true);
    let Some(config) = tls else {
        return Ok(Dialled { stream: Stream::Plain(tcp), peer, phases, certificate: None });
    };

    let name = server_name(target).map_err(|what| fail(what, phases))?;
    let shaken = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await;
    phases.tls = Some(lap());
    let stream = shaken.map_err(|error| {
        let (what, certificate) = explain_handshake(&error, peer);
        DialError { what, phases, certificate }
    })?;
    let chain = stream.get_ref().1.peer_certificates();
    let certificate = chain.and_then(|chain| chain.first()).and_then(Certificate::read);
    Ok(Dialled { stream: Stream::Tls(Box::new(stream)), peer, phases, certificate })
}

/// Writes down what dialling found, also where it failed: the phases and `cert_days_left`.
pub fn note(dialled: &Result<Dialled, DialError>, clock: &dyn Clock, facts: &mut Facts) {
    let (phases, certificate) = match dialled {
        Ok(dialled) => (dialled.phases, dialled.certificate),
        Err(failed) => (failed.phases, failed.certificate),
    };
    phases.note(facts);
    if let Some(certificate) = certificate {
        certificate.note(clock.wall(), facts);
    }
}

/// What went wrong on a connection to `peer` that stood already.
pub fn explain_io(error: &io::Error, peer: SocketAddr) -> String {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls::explain(error).0;
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

/// A connection, with TLS or without.
#[derive(Debug)]
pub enum Stream {
    /// Without.
    Plain(TcpStream),
    /// With; boxed, since it is many times the size.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

/// A name with more addresses than that has the rest ignored.
const MAX_ADDRESSES: usize = 8;

/// How long one address has before the next is tried beside it (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// The addresses of `target`, in the order of the operating system's resolver.
///
/// # Errors
///
/// Why there are none, in words.
pub async fn look_up(target: &Target) -> Result<Vec<SocketAddr>, String> {
    let name = match &target.host {
        Host::Ipv4(address) => {
            return Ok(vec![SocketAddr::new(IpAddr::V4(*address), target.port)]);
        }
        Host::Ipv6(address) => {
            return Ok(vec![SocketAddr::new(IpAddr::V6(*address), target.port)]);
        }
        Host::Domain(name) => name,
    };
    let found = ask_resolver(name.clone(), target.port).await;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found.map_err(|error| explain_look_up(&error, name))? {
        if addresses.len() < MAX_ADDRESSES && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(format!("DNS: {name} has no address"));
    }
    Ok(addresses)
}

/// Look-ups at one time. The system's resolver holds a thread for as long as it asks, also after
/// the check has given up, and others need threads of the same pool.
static LOOK_UPS: Semaphore = Semaphore::const_new(256);

async fn ask_resolver(name: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    // The semaphore is never closed.
    let permit = LOOK_UPS.acquire().await.map_err(io::Error::other)?;
    let asking = tokio::spawn(async move {
        let found = tokio::net::lookup_host((name, port)).await;
        drop(permit);
        found.map(Vec::from_iter)
    });
    asking.await.map_err(io::Error::other)?
}

async fn connect_any(addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), String> {
    if let &[address] = addresses {
        return match TcpStream::connect(address).await {
            Ok(stream) => Ok((stream, address)),
            Err(error) => Err(explain_connect(&error, address)),
        };
    }
    let mut waiting = addresses.iter().copied();
    let mut attempts = FuturesUnordered::new();
    let mut failures: Vec<String> = Vec::new();
    loop {
        let more = match waiting.next() {
            Some(address) => {
                attempts.push(async move { (TcpStream::connect(address).await, address) });
                true
            }
            None => false,
        };
        let ended = if more && waiting.len() > 0 {
            tokio::time::timeout(HEAD_START, attempts.next()).await.ok()
        } else {
            Some(attempts.next().await)
        };
        match ended {
            Some(Some((Ok(stream), address))) => return Ok((stream, address)),
            Some(Some((Err(error), address))) => failures.push(explain_connect(&error, address)),
            Some(None) => return Err(failures.join("; ")),
            None => {}
        }
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

fn explain_look_up(error: &io::Error, name: &str) -> String {
    let text = error.to_string();
    if text.contains("not known") || text.contains("No address") {
        format!("DNS: no such host {name}")
    } else if text.contains("Temporary failure") {
        format!("DNS: no answer about {name} from the resolver")
    } else {
        format!("DNS: cannot look up {name}: {}", plain(error))
    }
}

fn explain_connect(error: &io::Error, address: SocketAddr) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("connection refused by {address}"),
        io::ErrorKind::ConnectionReset => format!("connection reset by {address}"),
        io::ErrorKind::TimedOut => format!("no answer from {address}"),
        io::ErrorKind::HostUnreachable => format!("no route to {address}"),
        io::ErrorKind::NetworkUnreachable => format!("no network leads to {address}"),
        _ => format!("cannot connect to {address}: {}", plain(error)),
    }
}

fn explain_handshake(error: &io::Error, peer: SocketAddr) -> (String, Option<Certificate>) {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return tls::explain(error);
    }
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            format!("TLS: {peer} closed the connection during the handshake")
        }
        _ => format!("TLS: {}", explain_io(error, peer)),
    };
    (what, None)
}

/// The error without the number that only a programmer wants.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.strip_prefix("failed to lookup address information: ").unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Target, connect_any, dial};
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
