//! What can go wrong with a PostgreSQL server, in words.

use crate::check::support::tls;
use crate::check::support::value::excerpt;
use std::io;

/// How much of a server's message goes into an error.
const MOST_WORDS: usize = 300;

/// What went wrong.
#[derive(Debug)]
pub enum Trouble {
    /// No connection came about, in words.
    Dial(String),
    /// There is no connection by the socket.
    Socket(io::Error),
    /// The server speaks no TLS, and it is wanted.
    NoTls,
    /// The server wants a way to log in that is not known here.
    Method,
    /// The server said no.
    Refused(Refusal),
    /// The connection broke.
    Lost(io::Error),
    /// What came is not what a PostgreSQL server says.
    Garbage(String),
    /// More came than is read.
    Endless,
    /// A statement cannot be sent.
    Unsendable(String),
    /// The first row is too large.
    LargeRow,
    /// An answer is not the JSON that was asked for.
    Json(serde_json::Error),
}

/// What a server says no with.
///
/// The codes are told by <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
#[derive(Clone, Debug, Default)]
pub struct Refusal {
    /// The five letters that say what it is.
    pub code: String,
    /// In words.
    pub message: String,
    /// What might help.
    pub hint: Option<String>,
}

impl Refusal {
    /// Whether a query cannot stand where we put it. Its syntax may be wrong as it is: then a
    /// second try, alone, says so in the right words.
    pub fn is_about_its_place(&self) -> bool {
        // syntax_error, feature_not_supported
        matches!(self.code.as_str(), "42601" | "0A000")
    }

    /// Whether the server ended a statement, and nothing is wrong with it.
    pub fn is_about_time(&self) -> bool {
        // query_canceled, admin_shutdown and its like
        self.code == "57014" || self.code.starts_with("57P")
    }

    /// The server's own message, with what its code means.
    pub fn words(&self) -> String {
        let message = excerpt(&self.message, MOST_WORDS);
        match self.code.as_str() {
            "28P01" | "28000" => format!("authentication failed: {message}"),
            "42501" => format!("permission denied: {message}"),
            "57014" => format!("timeout: {message}"),
            "53300" => format!("no free connection: {message}"),
            "57P01" | "57P02" => format!("the server is stopping: {message}"),
            "57P03" => format!("the server is not ready: {message}"),
            "3D000" => format!("no such database: {message}"),
            "25006" => format!("{message} (`read_only = false` lets the queries write)"),
            code => format!("the server answered error {code}: {message}"),
        }
    }
}

impl Trouble {
    /// In words for people. `target` is where the server is, `doing` what it was asked for.
    pub fn words(&self, target: &str, doing: &str) -> String {
        match self {
            Self::Dial(what) if what.starts_with("connection refused") && !what.contains(';') => {
                format!("{what}: no server listens there")
            }
            Self::Dial(what) => what.clone(),
            Self::Socket(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
                    format!("connection refused: no server has the socket {target}")
                }
                _ => format!("cannot connect ({target}): {error}"),
            },
            Self::NoTls => format!("TLS: {target} does not offer it, and `sslmode` wants it"),
            Self::Method => {
                format!("{target} wants a login other than by password or certificate")
            }
            Self::Refused(refusal) => refusal.words(),
            Self::Lost(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                format!("{doing}: {target} closed the connection")
            }
            Self::Lost(error) if tls_words(error).is_some() => tls_words(error).unwrap_or_default(),
            Self::Lost(error) => {
                format!("{doing} ({target}): {}", excerpt(&error.to_string(), MOST_WORDS))
            }
            Self::Garbage(what) => {
                format!("{target} does not speak as PostgreSQL does: {}", excerpt(what, MOST_WORDS))
            }
            Self::Endless => format!("{target} answered more than 64 MiB: select less"),
            Self::Unsendable(what) => format!("the query cannot be sent: {what}"),
            Self::LargeRow => "the first row is larger than 1 MiB: select less".to_owned(),
            Self::Json(error) => format!("the server's answer was not understood: {error}"),
        }
    }
}

/// What TLS says of a connection that it ended: a server refuses a client certificate only after
/// the handshake.
fn tls_words(error: &io::Error) -> Option<String> {
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(tls::explain(inner))
}
