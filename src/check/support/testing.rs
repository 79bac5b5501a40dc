//! What the tests of several kinds share: small servers, certificates, and a way to run a check.

use crate::check::{Check, Kind, Run, Shared};
use crate::clock::{Clock, System};
use crate::config::{Interpolator, Problems, Section, SourceFile};
use crate::model::Observation;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What a run is given, on the machine's clocks.
pub fn run() -> Run {
    run_on(Arc::new(System::start()))
}

/// What a run is given, on `clock`.
pub fn run_on(clock: Arc<dyn Clock>) -> Run {
    let shared = Shared::new(clock).expect("what checks share");
    Run { shared: Arc::new(shared), timeout: Duration::from_secs(10) }
}

/// Reads the inside of a kind's table; the error is all problems, one a line.
pub fn parse(kind: &Kind, table: &str) -> Result<Box<dyn Check>, String> {
    let file = SourceFile::in_memory("a.toml", table);
    let base = Path::new("/nonexistent");
    let mut problems = Problems::default();
    let mut section = Section::root(&file, base, &Interpolator::new(base), &mut problems);
    let parsed = (kind.parse)(&mut section);
    section.finish(&mut problems);
    let lines: Vec<String> = problems.sorted().iter().map(ToString::to_string).collect();
    if lines.is_empty() { Ok(parsed.expect("a check")) } else { Err(lines.join("\n")) }
}

/// The problems of a table that is wrong.
pub fn problems(kind: &Kind, table: &str) -> String {
    parse(kind, table).expect_err("problems")
}

/// Runs a check once, in a time that no test reaches unless something hangs.
pub async fn observe(check: &dyn Check) -> Observation {
    within(check.run(&run())).await
}

/// Waits for `future`, but not for ever.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("an end within 10s")
}

/// What a [`Server`] does with a request.
#[derive(Debug)]
pub enum Reply {
    /// Answers and keeps the connection.
    Keep(String),
    /// Answers and ends the connection.
    Close(String),
    /// Ends the connection with a reset.
    Reset,
    /// Answers, and never ends.
    Endless(String),
    /// Answers so far, and then says nothing more.
    Stall(String),
}

/// A web server that does what a test tells it.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// The requests that came, each as it stood on the wire.
    pub requests: mpsc::UnboundedReceiver<String>,
    /// How many connections came.
    pub connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Serves plain HTTP. `reply` is given the request and its number among those of its
    /// connection, from 1.
    pub async fn plain(reply: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(None, reply).await
    }

    /// Serves HTTPS.
    pub async fn tls(
        config: Arc<ServerConfig>,
        reply: impl Fn(&str, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(TlsAcceptor::from(config)), reply).await
    }

    /// The next request that came.
    pub fn request(&mut self) -> String {
        self.requests.try_recv().expect("a request")
    }

    async fn start(
        tls: Option<TlsAcceptor>,
        reply: impl Fn(&str, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let (log, requests) = mpsc::unbounded_channel();
        let reply = Arc::new(reply);
        let counter = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut running = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let (tls, log, reply) = (tls.clone(), log.clone(), Arc::clone(&reply));
                running.spawn(async move {
                    match tls {
                        None => serve(stream, &log, &*reply).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &log, &*reply).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { address, requests, connections, task }
    }
}

/// An answer with a body.
pub fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
}

/// Lets a test see the socket below TLS, to reset it.
trait Raw {
    fn tcp(&self) -> &TcpStream;
}

impl Raw for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Raw for tokio_rustls::server::TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Raw>(
    mut stream: S,
    log: &mpsc::UnboundedSender<String>,
    reply: &(dyn Fn(&str, usize) -> Reply + Send + Sync),
) -> Option<()> {
    for number in 1.. {
        let request = read_request(&mut stream).await?;
        let _ = log.send(request.clone());
        match reply(&request, number) {
            Reply::Keep(text) => stream.write_all(text.as_bytes()).await.ok()?,
            Reply::Close(text) => {
                stream.write_all(text.as_bytes()).await.ok()?;
                stream.shutdown().await.ok()?;
                return None;
            }
            Reply::Reset => {
                #[expect(deprecated, reason = "the stream is dropped at once, so nothing blocks")]
                stream.tcp().set_linger(Some(Duration::ZERO)).ok()?;
                return None;
            }
            Reply::Endless(text) => {
                stream.write_all(text.as_bytes()).await.ok()?;
                loop {
                    stream.write_all(&[b'x'; 4096]).await.ok()?;
                }
            }
            Reply::Stall(text) => {
                stream.write_all(text.as_bytes()).await.ok()?;
                std::future::pending::<()>().await;
            }
        }
    }
    None
}

async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let wanted = head
                .to_ascii_lowercase()
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= wanted.unwrap_or(0) {
                return Some(text.into_owned());
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// A certificate authority of a test's own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, in PEM.
    pub pem: String,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Authorities of one name but different keys would be a case of its own.
        let name = rcgen::DnValue::Utf8String(rand::random::<u64>().to_string());
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    /// A server with a certificate for `name` that is valid through the years given.
    pub fn server(&self, name: &str, from: i32, until: i32) -> Arc<ServerConfig> {
        let key = KeyPair::generate().expect("a key");
        let params = params(name, from, until);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        server_config(&certificate, &key)
    }
}

/// A server whose certificate vouches for itself, as `openssl req -x509` makes it, and that
/// certificate in PEM.
pub fn self_signed(name: &str, from: i32, until: i32) -> (Arc<ServerConfig>, String) {
    let key = KeyPair::generate().expect("a key");
    let mut params = params(name, from, until);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).expect("a certificate");
    (server_config(&certificate, &key), certificate.pem())
}

/// A temporary file.
pub fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    file
}

fn params(name: &str, from: i32, until: i32) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    params
}

fn server_config(certificate: &rcgen::Certificate, key: &KeyPair) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a configuration");
    Arc::new(config)
}
