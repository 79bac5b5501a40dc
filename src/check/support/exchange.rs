//! HTTP/1.1 over a connection that was dialled here.
//!
//! The connection has no task of its own: it is driven by whoever waits for it. So dropping the
//! future of a run ends all that the run began, and a run costs no spawn.

use super::dial::{self, Dialled, Stream};
use super::tls::Certificate;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::error::Error as _;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;

/// The bytes that the head of an answer may have.
const MAX_HEAD: usize = 128 * 1024;

/// A connection that speaks HTTP/1.1.
#[derive(Debug)]
pub struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once it is over.
    connection: Option<Connection<TokioIo<Stream>, Full<Bytes>>>,
    peer: SocketAddr,
    /// The server's certificate as it was at the handshake.
    pub certificate: Option<Certificate>,
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
    /// Speaks HTTP over `dialled`.
    ///
    /// # Errors
    ///
    /// In words.
    pub async fn over(dialled: Dialled) -> Result<Self, String> {
        let Dialled { stream, peer, certificate, .. } = dialled;
        let shaken = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| explain(&error, peer))?;
        let (sender, connection) = shaken;
        Ok(Self { sender, connection: Some(connection), peer, certificate })
    }

    /// Whether another request can go over it, as far as this end knows.
    pub async fn is_alive(&mut self) -> bool {
        // One poll shows an end of the connection that came while nobody looked.
        drive(&mut self.connection, std::future::ready(())).await;
        self.connection.is_some() && self.sender.is_ready()
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
        let answer = self.sender.try_send_request(request);
        drive(&mut self.connection, answer).await.map_err(|mut failed| SendError {
            unsent: failed.take_message(),
            what: explain(failed.error(), self.peer),
        })
    }

    /// Reads a body, up to `limit` bytes; more than that is not waited for.
    ///
    /// # Errors
    ///
    /// In words.
    pub async fn read(&mut self, mut body: Incoming, limit: usize) -> Result<Body, String> {
        let mut read = Body::default();
        while let Some(frame) = drive(&mut self.connection, body.frame()).await {
            let frame = frame.map_err(|error| {
                format!("{}, in the middle of the body", explain(&error, self.peer))
            })?;
            let Some(data) = frame.data_ref() else { continue };
            let room = limit - read.bytes.len();
            if data.len() > room {
                read.bytes.extend_from_slice(&data[..room]);
                read.truncated = true;
                break;
            }
            read.bytes.extend_from_slice(data);
        }
        Ok(read)
    }
}

/// Waits for `future` and keeps the connection going meanwhile.
async fn drive<F: Future>(
    connection: &mut Option<Connection<TokioIo<Stream>, Full<Bytes>>>,
    future: F,
) -> F::Output {
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
        format!("connection closed by {peer} before the whole answer came")
    } else if error.is_parse() {
        format!("the answer of {peer} is not HTTP/1.1: {error}")
    } else {
        format!("the exchange with {peer} failed: {error}")
    }
}
