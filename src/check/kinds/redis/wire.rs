//! A connection to a Redis server, one command after the other.
//!
//! The `redis` crate speaks the protocol. The connection is our own: dialled and encrypted as those of
//! every other kind, and with a bound on what is read, so that a peer that never ends costs bounded
//! memory.

use super::trouble::Trouble;
use crate::check::support::dial::{self, Stream, Target};
use crate::check::support::tls::Chain;
use crate::clock::Clock;
use redis::{RedisError, Value};
use rustls::ClientConfig;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::UnixStream;

/// More than this is not read from one connection.
const MOST_BYTES: usize = 1 << 20;

/// How much of what a stranger says first is kept, to be shown.
const FIRST: usize = 60;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// By TCP.
    Tcp(Target),
    /// By a socket.
    Socket(PathBuf),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(target) => target.fmt(f),
            Self::Socket(path) => path.display().fmt(f),
        }
    }
}

/// How to log in.
#[derive(Clone, Default)]
pub struct Login {
    /// The ACL user; the default one where there is none.
    pub user: Option<String>,
    /// The password; nobody logs in without one.
    pub password: Option<String>,
    /// The number of the database.
    pub database: u32,
    /// Where the connection is encrypted.
    pub tls: Option<Arc<ClientConfig>>,
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// Nothing.
    Nil,
    /// A whole number.
    Int(i64),
    /// A text; bytes that are none lose what is odd about them.
    Text(String),
    /// Several answers.
    List(Vec<Reply>),
    /// No, within a list.
    Error(String),
}

/// A connection that is logged in.
pub struct Wire {
    stream: Bounded,
    /// Where it leads.
    pub place: Place,
    /// The server's certificates, with TLS.
    pub chain: Option<Arc<Chain>>,
}

trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

impl Wire {
    /// Connects and logs in.
    pub async fn connect(place: &Place, login: &Login, clock: &dyn Clock) -> Result<Self, Trouble> {
        let mut wire = match place {
            Place::Socket(path) => {
                let stream = UnixStream::connect(path).await.map_err(Trouble::Socket)?;
                Self::new(Box::new(stream), place, None)
            }
            Place::Tcp(target) => {
                let dialled = dial::dial(clock, target, login.tls.as_ref()).await;
                let dialled = dialled
                    .map_err(|error| Trouble::Dial { what: error.what, chain: error.chain })?;
                let stream: Box<Stream> = Box::new(dialled.stream);
                Self::new(stream, place, dialled.chain)
            }
        };
        if let Some(password) = &login.password {
            let mut words = vec!["AUTH"];
            words.extend(login.user.as_deref());
            words.push(password);
            wire.ask(&words).await.map_err(|trouble| match trouble {
                Trouble::Refused(said) => Trouble::Login(said),
                other => other,
            })?;
        }
        if login.database != 0 {
            wire.ask(&["SELECT", &login.database.to_string()]).await?;
        }
        // A name for `CLIENT LIST`; who may not have one has none.
        match wire.ask(&["CLIENT", "SETNAME", "watchbell"]).await {
            Ok(_) | Err(Trouble::Refused(_)) => Ok(wire),
            Err(trouble) => Err(trouble),
        }
    }

    fn new(stream: Box<dyn Transport>, place: &Place, chain: Option<Arc<Chain>>) -> Self {
        let stream = Bounded { stream, left: MOST_BYTES, first: Vec::new(), failed: None };
        Self { stream, place: place.clone(), chain }
    }

    /// Sends one command and gives its answer; an answer that says no is a trouble.
    pub async fn ask(&mut self, words: &[&str]) -> Result<Reply, Trouble> {
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(*word);
        });
        let stream = &mut self.stream.stream;
        stream.write_all(&command.get_packed_command()).await.map_err(Trouble::Lost)?;
        stream.flush().await.map_err(Trouble::Lost)?;
        self.stream.first.clear();
        // One answer follows one command, so that nothing of the next is ever read ahead.
        let mut decoder = Default::default();
        let answer = redis::parse_redis_value_async(&mut decoder, &mut self.stream).await;
        match answer.map_err(|error| self.stream.trouble(&error)).map(Reply::from)? {
            Reply::Error(said) => Err(Trouble::Refused(said)),
            reply => Ok(reply),
        }
    }
}

/// What is read of a connection, up to a bound.
struct Bounded {
    stream: Box<dyn Transport>,
    /// How many bytes may still come.
    left: usize,
    /// The first of what came.
    first: Vec<u8>,
    /// Why reading ended.
    failed: Option<Trouble>,
}

impl Bounded {
    /// What is wrong, where no answer could be made of what came.
    fn trouble(&mut self, error: &RedisError) -> Trouble {
        if let Some(trouble) = self.failed.take() {
            return trouble;
        }
        if self.first.is_empty() {
            return Trouble::garbage(&error.to_string());
        }
        Trouble::garbage(String::from_utf8_lossy(&self.first).lines().next().unwrap_or_default())
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            self.failed = Some(Trouble::TooMuch);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        let new = buf.filled().get(before..).unwrap_or_default();
        let room = FIRST.saturating_sub(self.first.len());
        let first = new.get(..room.min(new.len())).unwrap_or_default();
        self.first.extend_from_slice(first);
        self.left = self.left.saturating_sub(new.len());
        match read {
            Ok(()) if new.is_empty() => {
                self.failed = Some(Trouble::Lost(io::ErrorKind::UnexpectedEof.into()));
                Poll::Ready(Ok(()))
            }
            Ok(()) => Poll::Ready(Ok(())),
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(Trouble::Lost(error));
                Poll::Ready(Err(kind.into()))
            }
        }
    }
}

impl From<Value> for Reply {
    fn from(value: Value) -> Self {
        let text = |bytes: &[u8]| Self::Text(String::from_utf8_lossy(bytes).into_owned());
        match value {
            Value::Nil => Self::Nil,
            Value::Int(number) => Self::Int(number),
            Value::BulkString(bytes) => text(&bytes),
            Value::SimpleString(said) => Self::Text(said),
            Value::Okay => Self::Text("OK".to_owned()),
            Value::Array(items) | Value::Set(items) => {
                Self::List(items.into_iter().map(Self::from).collect())
            }
            Value::ServerError(error) => Self::Error(match error.details() {
                Some(details) => format!("{} {details}", error.code()),
                None => error.code().to_owned(),
            }),
            // The rest belongs to RESP3, which nobody asked for.
            other => Self::Text(format!("{other:?}")),
        }
    }
}

impl Reply {
    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, also where it came as text.
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The elements of a list; none of anything else.
    pub fn items(&self) -> &[Reply] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// A list of names and values as a map.
    pub fn fields(&self) -> BTreeMap<&str, &Reply> {
        let pairs = self.items().chunks_exact(2);
        pairs.filter_map(|pair| Some((pair.first()?.text()?, pair.get(1)?))).collect()
    }

    /// The answer as JSON.
    pub fn into_json(self) -> Json {
        match self {
            Self::Nil => Json::Null,
            Self::Int(number) => number.into(),
            Self::Text(text) | Self::Error(text) => text.into(),
            Self::List(items) => items.into_iter().map(Self::into_json).collect(),
        }
    }
}
