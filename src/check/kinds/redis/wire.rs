//! The protocol of Redis (RESP2), one command after the other.
//!
//! It is spoken here, and not by a client library, so that a peer that lies about lengths or never
//! ends costs bounded memory. See
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use super::trouble::Trouble;
use crate::check::support::dial::{self, Stream, Target};
use crate::check::support::tls::Certificate;
use crate::clock::Clock;
use bytes::{Buf, BytesMut};
use rustls::ClientConfig;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

/// More than this is not read from one connection.
const MOST_BYTES: usize = 4 << 20;

/// A line, such as an error, is shorter.
const MOST_LINE: usize = 64 << 10;

/// Answers hold fewer elements, however small they are.
const MOST_ELEMENTS: usize = 100_000;

/// Answers are nested less deep.
const MOST_DEPTH: usize = 16;

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
    stream: Box<dyn Transport>,
    buffer: BytesMut,
    read: usize,
    /// Where it leads.
    pub place: Place,
    /// The server's certificate, with TLS.
    pub certificate: Option<Certificate>,
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
                let dialled = dialled.map_err(|error| Trouble::Dial {
                    what: error.what,
                    certificate: error.certificate,
                })?;
                let stream: Box<Stream> = Box::new(dialled.stream);
                Self::new(stream, place, dialled.certificate)
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

    fn new(stream: Box<dyn Transport>, place: &Place, certificate: Option<Certificate>) -> Self {
        Self { stream, buffer: BytesMut::new(), read: 0, place: place.clone(), certificate }
    }

    /// Sends one command and gives its answer; an answer that says no is a trouble.
    pub async fn ask(&mut self, words: &[&str]) -> Result<Reply, Trouble> {
        let mut out = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
        self.stream.write_all(&out).await.map_err(Trouble::Lost)?;
        self.stream.flush().await.map_err(Trouble::Lost)?;
        match self.reply().await? {
            Reply::Error(said) => Err(Trouble::Refused(said)),
            reply => Ok(reply),
        }
    }

    /// Reads one answer. Lists that are not full yet wait on a stack, with what they still want.
    async fn reply(&mut self) -> Result<Reply, Trouble> {
        let mut open: Vec<(usize, Vec<Reply>)> = Vec::new();
        let mut elements = 0;
        loop {
            let line = self.line().await?;
            let (kind, rest) = line.split_at_checked(1).unwrap_or_default();
            let number = || rest.parse::<i64>().map_err(|_| Trouble::garbage(&line));
            let mut reply = match kind {
                "+" => Reply::Text(rest.to_owned()),
                "-" => Reply::Error(rest.to_owned()),
                ":" => Reply::Int(number()?),
                "$" => match usize::try_from(number()?) {
                    Err(_) => Reply::Nil,
                    Ok(length) => Reply::Text(self.bulk(length).await?),
                },
                "*" => match usize::try_from(number()?) {
                    Err(_) => Reply::Nil,
                    Ok(0) => Reply::List(Vec::new()),
                    Ok(count) => {
                        elements += count;
                        if elements > MOST_ELEMENTS {
                            return Err(Trouble::TooMuch);
                        }
                        if open.len() >= MOST_DEPTH {
                            return Err(Trouble::garbage("lists in lists without end"));
                        }
                        open.push((count, Vec::new()));
                        continue;
                    }
                },
                _ => return Err(Trouble::garbage(&line)),
            };
            loop {
                let Some((count, list)) = open.last_mut() else { return Ok(reply) };
                list.push(reply);
                if list.len() < *count {
                    break;
                }
                reply = Reply::List(open.pop().map(|(_, list)| list).unwrap_or_default());
            }
        }
    }

    async fn line(&mut self) -> Result<String, Trouble> {
        let mut seen = 0;
        loop {
            let found =
                self.buffer.get(seen..).unwrap_or_default().iter().position(|b| *b == b'\n');
            if let Some(at) = found {
                let line = self.buffer.split_to(seen + at + 1);
                let text = String::from_utf8_lossy(&line);
                return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
            }
            seen = self.buffer.len();
            if seen > MOST_LINE {
                return Err(Trouble::garbage("a line without end"));
            }
            self.more().await?;
        }
    }

    async fn bulk(&mut self, length: usize) -> Result<String, Trouble> {
        if length > MOST_BYTES {
            return Err(Trouble::TooMuch);
        }
        while self.buffer.len() < length + 2 {
            self.more().await?;
        }
        let bytes = self.buffer.split_to(length);
        self.buffer.advance(2);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn more(&mut self) -> Result<(), Trouble> {
        if self.read > MOST_BYTES {
            return Err(Trouble::TooMuch);
        }
        self.buffer.reserve(16 << 10);
        match self.stream.read_buf(&mut self.buffer).await.map_err(Trouble::Lost)? {
            0 => Err(Trouble::Lost(std::io::ErrorKind::UnexpectedEof.into())),
            more => {
                self.read += more;
                Ok(())
            }
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
