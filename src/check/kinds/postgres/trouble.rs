//! What can go wrong with a PostgreSQL server, in words.

use crate::check::support::value::excerpt;
use sqlx::error::DatabaseError;
use std::io;

/// How much of a server's message goes into an error.
const MOST_WORDS: usize = 300;

/// What went wrong, and when.
#[derive(Debug)]
pub enum Trouble {
    /// No session came about.
    Connect(sqlx::Error),
    /// A statement failed, or the connection broke under it.
    Query(sqlx::Error),
    /// The first row is too large.
    LargeRow,
    /// The first row is not the JSON that was asked for.
    Json(serde_json::Error),
}

impl Trouble {
    /// Whether the server says that a query cannot stand where we put it. Its syntax may be wrong
    /// as it is: then a second try, alone, says so in the right words.
    pub fn is_about_its_place(&self) -> bool {
        let Self::Query(error) = self else { return false };
        let code = error.as_database_error().and_then(DatabaseError::code);
        // syntax_error, feature_not_supported
        matches!(code.as_deref(), Some("42601" | "0A000"))
    }

    /// In words for people. `target` is where the server is.
    pub fn words(&self, target: &str) -> String {
        match self {
            Self::Connect(error) => words_of(error, target, "cannot connect"),
            Self::Query(error) => words_of(error, target, "lost the connection"),
            Self::LargeRow => "the first row is larger than 1 MiB: select less".to_owned(),
            Self::Json(error) => format!("the server's answer was not understood: {error}"),
        }
    }
}

fn words_of(error: &sqlx::Error, target: &str, doing: &str) -> String {
    match error {
        sqlx::Error::Database(error) => database_words(error.as_ref()),
        sqlx::Error::Io(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                format!("connection refused by {target}: no server listens there")
            }
            io::ErrorKind::NotFound => {
                format!("connection refused: no server has a socket in {target}")
            }
            io::ErrorKind::UnexpectedEof => {
                format!("{doing}: {target} closed the connection")
            }
            _ => format!("{doing} ({target}): {}", excerpt(&error.to_string(), MOST_WORDS)),
        },
        sqlx::Error::Tls(error) => {
            format!("TLS with {target} failed: {}", excerpt(&error.to_string(), MOST_WORDS))
        }
        sqlx::Error::Protocol(text) => {
            format!("{target} does not speak as PostgreSQL does: {}", excerpt(text, MOST_WORDS))
        }
        other => format!("{doing} ({target}): {}", excerpt(&other.to_string(), MOST_WORDS)),
    }
}

/// The server's own message, with what its code means.
///
/// See <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn database_words(error: &dyn DatabaseError) -> String {
    let message = excerpt(error.message(), MOST_WORDS);
    let code = error.code().unwrap_or_default();
    match &*code {
        "28P01" | "28000" => format!("authentication failed: {message}"),
        "42501" => format!("permission denied: {message}"),
        "57014" => format!("timeout: {message}"),
        "53300" => format!("no free connection: {message}"),
        "57P01" | "57P02" => format!("the server is stopping: {message}"),
        "57P03" => format!("the server is not ready: {message}"),
        "3D000" => format!("no such database: {message}"),
        _ => format!("the server answered error {code}: {message}"),
    }
}
