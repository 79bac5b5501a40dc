//! What people do with a whole store: bring it up to date, check it, copy it, back it up, make it
//! smaller. None of it goes through [`super::Store`], which is for the one daemon that uses it.

mod backup;
mod check;
mod copy;
mod draft;
mod glance;
mod migrate;
mod rows;
mod sink;
mod source;
mod vacuum;

pub use backup::{Backup, backup};
pub use check::{Checked, Fault, check};
pub use copy::{Copied, copy};
pub use glance::{Glance, glance, look_through};
pub use migrate::{Migrated, migrate};
pub use vacuum::{Vacuumed, vacuum};

use super::{StoreError, postgres, postgres_options};
use crate::config::StoreAddress;
use crate::model::Secret;
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use std::path::PathBuf;

/// How far a long piece of work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A part begins.
    Begins {
        /// What it deals with.
        what: &'static str,
        /// How much there is to do; nothing if nobody knows.
        of: u64,
    },
    /// So much of the part is done, in all.
    Done(u64),
}

/// Who wants to hear how far it is.
pub type Watch<'a> = &'a (dyn Fn(Step) + Send + Sync);

/// Why something could not be done with a store.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is none.
    #[error("there is no database {0}")]
    Missing(String),
    /// Something else is in the database.
    #[error("the database {0} holds no history of Watchbell")]
    Foreign(String),
    /// An older version has written it.
    #[error(
        "the database {place} was written by an older Watchbell (its schema is {found}, that of \
         this version {known}): bring it up to date first, with `watchbell store migrate`"
    )]
    Outdated {
        /// The file, or the server and its database.
        place: String,
        /// The version of the schema there.
        found: i64,
        /// The newest one that is known here.
        known: i64,
    },
    /// History is where some is to be copied.
    #[error(
        "the database {place} holds history already (in the table {table}): a copy goes into a \
         file that is not there yet, or into a new database"
    )]
    NotEmpty {
        /// The file, or the server and its database.
        place: String,
        /// The first table that is not empty.
        table: &'static str,
    },
    /// A file is where another is to be written.
    #[error("{} exists already; `--force` replaces it", .0.display())]
    Exists(PathBuf),
    /// A database that is to be replaced may be in use.
    #[error(
        "{} is in use, or was not closed properly: a file beside it holds what belongs to it. \
         Choose another name",
        .0.display()
    )]
    Open(PathBuf),
    /// A file could not be written.
    #[error("{} cannot be written: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// What was written is not what was read.
    #[error(
        "the table {table} has {found} rows in the copy and {expected} in the original, so the \
         copy was given up"
    )]
    Differs {
        /// The table.
        table: &'static str,
        /// How many there were.
        expected: u64,
        /// How many there are.
        found: u64,
    },
}

impl From<sqlx::Error> for UpkeepError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What people call the store at `address`: its file, or its database and server. No password.
pub fn place(address: &StoreAddress) -> String {
    match address {
        StoreAddress::Sqlite(path) => path.display().to_string(),
        StoreAddress::Postgres(url) => postgres_options(url)
            .map_or_else(|_| "of PostgreSQL".to_owned(), |options| postgres::place_of(&options)),
    }
}

/// How to connect to PostgreSQL for work that takes as long as it takes.
fn patient(url: &Secret) -> Result<PgConnectOptions, StoreError> {
    let options = postgres_options(url)?;
    let options = options.application_name("watchbell store");
    let options = options.options([("statement_timeout", "0"), ("client_min_messages", "warning")]);
    Ok(options.disable_statement_logging())
}

/// The newest schema that `migrator` knows.
fn newest(migrator: &sqlx::migrate::Migrator) -> i64 {
    migrator.iter().map(|migration| migration.version).max().unwrap_or(0)
}
