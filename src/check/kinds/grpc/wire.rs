//! HTTP/2 over a connection that was dialled here, as a channel for tonic.

use crate::check::support::dial::{self, Dialled, Stream};
use crate::check::support::{USER_AGENT, excerpt, tls};
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT as USER_AGENT_HEADER};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::codegen::Service;

/// The bytes that an answer may have; that of the health protocol has two.
pub const MAX_MESSAGE: usize = 4096;

/// The bytes that the headers of an answer may have.
const MAX_HEADERS: u32 = 16 * 1024;

/// A connection that speaks HTTP/2. What drives it ends with it.
pub struct Wire {
    channel: Channel,
    tasks: Tasks,
}

impl Wire {
    /// Speaks HTTP/2 over `dialled`.
    ///
    /// # Errors
    ///
    /// In words.
    pub async fn over(dialled: Dialled, secure: bool) -> Result<Self, String> {
        let Dialled { stream, peer, .. } = dialled;
        let tasks = Tasks::default();
        let tongue = Tongue::default();
        let stream = Heard { stream, tongue: tongue.clone() };
        let peer = Peer { address: peer, secure, tongue };
        let shaken = http2::Builder::new(tasks.clone())
            .initial_stream_window_size(u32::from(u16::MAX))
            .max_header_list_size(MAX_HEADERS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| peer.explain(&error))?;
        let (sender, connection) = shaken;
        hyper::rt::Executor::execute(&tasks, async move {
            // How it ended is told to whoever waits for an answer over it.
            let _ = connection.await;
        });
        Ok(Self { channel: Channel { sender, peer }, tasks })
    }

    /// For a client of tonic.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // The tasks hold the set that holds them, so that nothing else would end them.
        self.tasks.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

/// What went wrong below gRPC, if that is why a call failed.
pub fn trouble(status: &tonic::Status) -> Option<String> {
    let mut cause = status.source();
    while let Some(inner) = cause {
        if let Some(Trouble(what)) = inner.downcast_ref() {
            return Some(what.clone());
        }
        cause = inner.source();
    }
    None
}

/// Where calls go.
#[derive(Clone)]
pub struct Channel {
    sender: SendRequest<Body>,
    peer: Peer,
}

/// The other end.
#[derive(Clone)]
struct Peer {
    address: SocketAddr,
    secure: bool,
    tongue: Tongue,
}

/// Why there is no answer of gRPC, for people.
#[derive(Debug)]
pub struct Trouble(String);

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Trouble {}

impl Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = Trouble;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Trouble>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Trouble>> {
        // A connection that is over says so in the answer to the call.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        request.headers_mut().insert(USER_AGENT_HEADER, HeaderValue::from_static(USER_AGENT));
        let peer = self.peer.clone();
        let answer = self.sender.send_request(request);
        Box::pin(async move {
            let answer = answer.await.map_err(|error| Trouble(peer.explain(&error)))?;
            let content = answer.headers().get(CONTENT_TYPE);
            let content = content.and_then(|value| value.to_str().ok()).unwrap_or("nothing");
            if content.starts_with("application/grpc") {
                return Ok(answer);
            }
            Err(Trouble(format!(
                "{} is a web server that does not speak gRPC here: it answered HTTP {} with {}",
                peer.address,
                answer.status(),
                excerpt(content, 60)
            )))
        })
    }
}

/// Runs what hyper runs beside a call, and can end it all.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).spawn(task);
    }
}

impl Peer {
    fn explain(&self, error: &hyper::Error) -> String {
        let peer = self.address;
        // What it said first tells more than how the connection came to its end.
        match self.tongue.get() {
            Spoken::Http1 => return format!("{peer} speaks HTTP/1, and so not gRPC"),
            Spoken::Tls if !self.secure => {
                return format!("{peer} wants TLS (`tls = true`, or https:// in `address`)");
            }
            _ => {}
        }
        if let Some(what) = self.tongue.tls() {
            return what;
        }
        let mut innermost: &dyn Error = error;
        while let Some(inner) = innermost.source() {
            innermost = inner;
            if let Some(io) = inner.downcast_ref::<io::Error>() {
                return dial::explain_io(io, peer);
            }
        }
        if error.is_closed() || error.is_canceled() || error.is_incomplete_message() {
            let perhaps = match (self.tongue.get(), self.secure) {
                (Spoken::Nothing, false) => " (does it want `tls = true`?)",
                _ => "",
            };
            return format!("connection closed by {peer} before an answer came{perhaps}");
        }
        let why = excerpt(&innermost.to_string(), 200);
        format!("{peer} does not speak HTTP/2, and so not gRPC: {why}")
    }
}

/// What the other end spoke, by its first bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Spoken {
    #[default]
    Nothing,
    Http1,
    Tls,
    Other,
}

impl Spoken {
    fn of(bytes: &[u8]) -> Self {
        match bytes {
            [b'H', b'T', b'T', b'P', ..] => Self::Http1,
            // An alert of TLS.
            [0x15, 3, ..] => Self::Tls,
            _ => Self::Other,
        }
    }
}

#[derive(Clone, Default)]
struct Tongue(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    spoken: Spoken,
    /// Why TLS failed, in words: hyper tells that to nobody who waits for an answer.
    tls: Option<String>,
}

impl Tongue {
    fn get(&self) -> Spoken {
        self.told().spoken
    }

    fn tls(&self) -> Option<String> {
        self.told().tls.clone()
    }

    fn hear(&self, bytes: &[u8]) {
        let mut told = self.told();
        if told.spoken == Spoken::Nothing && !bytes.is_empty() {
            told.spoken = Spoken::of(bytes);
        }
    }

    fn fail(&self, error: &io::Error) {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(tls) = tls {
            self.told().tls = Some(tls::explain(tls));
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream that remembers what it heard first.
struct Heard {
    stream: Stream,
    tongue: Tongue,
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.tongue.hear(buf.filled().get(before..).unwrap_or_default());
        if let Poll::Ready(Err(error)) = &read {
            self.tongue.fail(error);
        }
        read
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
