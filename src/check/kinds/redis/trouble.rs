//! What can go wrong with a Redis server, in words.

use crate::check::support::tls::{self, Chain};
use crate::check::support::value::excerpt;
use std::io;
use std::sync::Arc;

/// How much of a server's message goes into an error.
const MOST_WORDS: usize = 300;

/// What went wrong.
#[derive(Debug)]
pub enum Trouble {
    /// No connection came about, in words; with the certificates that were the cause.
    Dial { what: String, chain: Option<Arc<Chain>> },
    /// There is no connection by the socket.
    Socket(io::Error),
    /// The server refused the user or the password, in its words.
    Login(String),
    /// The server said no, in its words.
    Refused(String),
    /// The connection broke.
    Lost(io::Error),
    /// What came is not what a Redis server says.
    Garbage(String),
    /// More came than is read.
    TooMuch,
    /// There was no answer in time.
    Late,
}

impl Trouble {
    /// That something is not what a Redis server says.
    pub fn garbage(what: &str) -> Self {
        Self::Garbage(excerpt(what, 60))
    }

    /// Whether the user may not do what was asked, or the server does not know it: another server
    /// that speaks the protocol, or an older one.
    pub fn is_about_rights(&self) -> bool {
        let Self::Refused(said) = self else { return false };
        let lower = said.to_ascii_lowercase();
        said.starts_with("NOPERM")
            || ["unknown command", "unknown subcommand", "not supported", "unsupported"]
                .iter()
                .any(|words| lower.contains(words))
    }

    /// Whether the server is well and said no.
    pub fn is_an_answer(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// In words for people. `target` is where the server is.
    pub fn words(&self, target: &str) -> String {
        match self {
            Self::Dial { what, .. } => {
                if what.starts_with("connection refused") && !what.contains(';') {
                    format!("{what}: no server listens there")
                } else {
                    what.clone()
                }
            }
            Self::Socket(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                    format!("connection refused: no server has the socket {target}")
                }
                _ => format!("cannot connect ({target}): {error}"),
            },
            Self::Login(said) if said.starts_with("WRONGPASS") => {
                "authentication failed: the server refused the user or the password".to_owned()
            }
            Self::Login(said) => format!("authentication failed: {}", plain(said)),
            Self::Refused(said) => refused(said),
            Self::Lost(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                format!("lost the connection: {target} closed it")
            }
            Self::Lost(error) if tls_words(error).is_some() => tls_words(error).unwrap_or_default(),
            Self::Lost(error) => {
                format!(
                    "lost the connection ({target}): {}",
                    excerpt(&error.to_string(), MOST_WORDS)
                )
            }
            Self::Garbage(what) => format!("{target} does not speak as Redis does: {what}"),
            Self::TooMuch => format!("{target} answered more than 1 MiB: ask for less"),
            Self::Late => format!("timeout: {target} did not answer"),
        }
    }
}

/// A refusal with what its first word means.
fn refused(said: &str) -> String {
    let (code, rest) = said.split_once(' ').unwrap_or((said, ""));
    let rest = excerpt(rest, MOST_WORDS);
    match code {
        "NOAUTH" => "authentication failed: the server wants a password".to_owned(),
        "NOPERM" => format!("permission denied: {rest}"),
        "LOADING" | "MASTERDOWN" => format!("the server is not ready: {rest}"),
        _ => format!("the server answered error {code}: {rest}"),
    }
}

/// A refusal without its first word.
fn plain(said: &str) -> String {
    let rest = said.split_once(' ').map_or(said, |(_, rest)| rest);
    excerpt(rest, MOST_WORDS)
}

/// What TLS says of a connection that it ended: a server refuses a client certificate only after
/// the handshake.
fn tls_words(error: &io::Error) -> Option<String> {
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(tls::explain(inner))
}
