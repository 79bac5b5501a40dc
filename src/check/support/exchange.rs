//! HTTP over a connection that was dialled here.
//!
//! An HTTP/1.1 connection has no task of its own: it is driven by whoever waits for it. So dropping
//! the future of a run ends all that the run began, and a run costs no spawn. HTTP/2 needs tasks,
//! since a server may speak at any time; they end with the [`Link`].

use super::dial::{self, Alpn, Dialled, Stream};
use super::tls::Chain;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::error::Error as _;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use tokio::task::JoinSet;

/// The bytes that the head of an answer may have.
const MAX_HEAD: usize = 128 * 1024;

/// The bytes that an HTTP/2 server may send before somebody reads them.
const WINDOW: u32 = 256 * 1024;

/// Which versions of HTTP to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versions {
    /// HTTP/2 where a server chooses it, else HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1.
    One,
    /// HTTP/2, also where there is no TLS to choose it by (RFC 9113, section 3.3).
    Two,
}

impl Versions {
    /// What TLS offers to the server (RFC 7301).
    pub const fn alpn(self) -> &'static [&'static [u8]] {
        match self {
            Self::Auto => &[b"h2", b"http/1.1"],
            Self::One => &[b"http/1.1"],
            Self::Two => &[b"h2"],
        }
    }
}

type Http1 = http1::Connection<TokioIo<Stream>, Full<Bytes>>;

/// A connection that speaks HTTP.
#[derive(Debug)]
pub struct Link {
    wire: Wire,
    peer: SocketAddr,
    /// What the server's certificates said at the handshake.
    pub chain: Option<Arc<Chain>>,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the usual one, and a box would cost each run an allocation"
)]
enum Wire {
    One {
        sender: http1::SendRequest<Full<Bytes>>,
        /// `None` once it is over.
        connection: Option<Http1>,
    },
    Two {
        sender: http2::SendRequest<Full<Bytes>>,
        tasks: Tasks,
    },
}

/// Why a request has no answer.
#[derive(Debug)]
pub struct SendError {
    /// For people.
    pub what: String,
    /// The request, if the server cannot have seen it: then it may be sent again over another
    /// connection, whatever it does.
    pub unsent: Option<Request<Full<Bytes>>>,
}

/// A body that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// What came, up to the limit.
    pub bytes: Vec<u8>,
    /// Whether there was more.
    pub truncated: bool,
}

impl Link {
    /// Speaks HTTP over `dialled`, in one of `versions`.
    ///
    /// # Errors
    ///
    /// In words.
    pub async fn over(dialled: Dialled, versions: Versions) -> Result<Self, String> {
        let Dialled { stream, peer, chain, alpn, .. } = dialled;
        let two = match (versions, alpn) {
            (Versions::One, _) | (Versions::Auto, Alpn::Silent | Alpn::Other) => false,
            (_, Alpn::Http2) => true,
            (Versions::Two, Alpn::Silent) if matches!(stream, Stream::Plain(_)) => true,
            (Versions::Two, _) => return Err(format!("{peer} does not speak HTTP/2")),
        };
        let wire = match two {
            false => {
                let shaken = http1::Builder::new()
                    .max_buf_size(MAX_HEAD)
                    .handshake(TokioIo::new(stream))
                    .await
                    .map_err(|error| explain(&error, peer))?;
                Wire::One { sender: shaken.0, connection: Some(shaken.1) }
            }
            true => {
                let tasks = Tasks::default();
                let (sender, connection) = http2::Builder::new(tasks.clone())
                    .initial_stream_window_size(WINDOW)
                    .initial_connection_window_size(WINDOW)
                    .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
                    .handshake(TokioIo::new(stream))
                    .await
                    .map_err(|error| explain(&error, peer))?;
                hyper::rt::Executor::execute(&tasks, async move {
                    // How it ended is told to whoever waits for an answer over it.
                    let _ = connection.await;
                });
                Wire::Two { sender, tasks }
            }
        };
        Ok(Self { wire, peer, chain })
    }

    /// Whether it speaks HTTP/2.
    pub const fn is_http2(&self) -> bool {
        matches!(self.wire, Wire::Two { .. })
    }

    /// Whether another request can go over it, as far as this end knows.
    pub async fn is_alive(&mut self) -> bool {
        match &mut self.wire {
            Wire::One { sender, connection } => {
                // One poll shows an end of the connection that came while nobody looked.
                drive(connection, std::future::ready(())).await;
                connection.is_some() && sender.is_ready()
            }
            Wire::Two { sender, .. } => sender.is_ready() && !sender.is_closed(),
        }
    }

    /// Sends `request` and waits for the head of the answer.
    ///
    /// # Errors
    ///
    /// See [`SendError`].
    pub async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, SendError> {
        let sent = match &mut self.wire {
            Wire::One { sender, connection } => {
                let answer = sender.try_send_request(request);
                drive(connection, answer).await
            }
            Wire::Two { sender, .. } => sender.try_send_request(request).await,
        };
        sent.map_err(|mut failed| SendError {
            unsent: failed.take_message(),
            what: explain(failed.error(), self.peer),
        })
    }

    /// Reads a body, up to `limit` bytes; more than that is not waited for. What came before a
    /// failure stands in `read`.
    ///
    /// # Errors
    ///
    /// In words.
    pub async fn read(
        &mut self,
        mut body: Incoming,
        limit: usize,
        read: &mut Body,
    ) -> Result<(), String> {
        loop {
            // A buffer holds thousands of tiny chunks, and nobody would see the timeout meanwhile.
            tokio::task::consume_budget().await;
            let frame = match &mut self.wire {
                Wire::One { connection, .. } => drive(connection, body.frame()).await,
                Wire::Two { .. } => body.frame().await,
            };
            let Some(frame) = frame else { return Ok(()) };
            let frame = frame.map_err(|error| {
                format!("{}, in the middle of the body", explain(&error, self.peer))
            })?;
            let Some(data) = frame.data_ref() else { continue };
            let room = limit.saturating_sub(read.bytes.len());
            if let Some(fitting) = data.get(..room).filter(|_| data.len() > room) {
                read.bytes.extend_from_slice(fitting);
                read.truncated = true;
                return Ok(());
            }
            read.bytes.extend_from_slice(data);
        }
    }
}

/// The tasks of an HTTP/2 connection.
#[derive(Clone, Debug, Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl<F: Future + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, future: F) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that are over need not be remembered.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            future.await;
        });
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Wire::Two { tasks, .. } = &self.wire {
            // The tasks hold on to the set themselves, so it does not end by being dropped.
            tasks.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        }
    }
}

/// Waits for `future` and keeps the connection going meanwhile.
async fn drive<F: Future>(connection: &mut Option<Http1>, future: F) -> F::Output {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        if let Some(running) = connection
            && let Poll::Ready(_) = Pin::new(running).poll(cx)
        {
            // How it ended is told to whoever waits for an answer over it.
            *connection = None;
        }
        future.as_mut().poll(cx)
    })
    .await
}

fn explain(error: &hyper::Error, peer: SocketAddr) -> String {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return dial::explain_io(io, peer);
        }
        cause = inner.source();
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        format!("connection closed by {peer} before an answer came")
    } else if error.is_parse_too_large() {
        format!("the head of {peer}'s answer is longer than {} KiB", MAX_HEAD / 1024)
    } else if error.is_parse() {
        format!("the answer of {peer} is not HTTP/1.1: {error}")
    } else {
        let why = error.source().map(|why| format!(": {why}")).unwrap_or_default();
        format!("the exchange with {peer} failed: {error}{why}")
    }
}
