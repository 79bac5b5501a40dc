//! Servers that do what a test tells them.

use rustls::ServerConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

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

/// A server that answers whoever connects as web servers answer what is no HTTP; it ends with the
/// test's runtime.
pub async fn stranger() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Whoever is gone need not hear it.
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    address
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
