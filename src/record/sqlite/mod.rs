//! The store in one file on this machine.

#[path = "../sql/announce.rs"]
mod announce;
#[path = "../sql/archive.rs"]
mod archive;
#[path = "../sql/forget.rs"]
mod forget;
#[path = "../sql/read.rs"]
mod read;
#[path = "../sql/rename.rs"]
mod rename;
#[path = "../sql/store.rs"]
mod store;
#[cfg(test)]
mod tests;
mod write;

use super::StoreError;
use super::turn::{self, Lease, Turns};
use crate::model::Name;
use async_trait::async_trait;
use sqlx::error::DatabaseError;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteError, SqliteJournalMode, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, Transaction};
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;
use std::time::Duration;

// What the files in `sql` go by.
use SqliteStore as This;
use sqlx::{Sqlite as Db, SqliteConnection as Conn, SqlitePool as Pool, sqlite::SqliteRow as Row};

pub(super) static MIGRATOR: Migrator = sqlx::migrate!("src/record/migrations/sqlite");

/// Readers at one time; the rest of them waits for a turn.
const READERS: u32 = 3;
/// How long to wait for another process that holds the database: less than a writer waits for a
/// commit, so that the error says what the matter was.
const BUSY: Duration = Duration::from_secs(4);
/// How long a reader waits for its turn.
const READER_TURN: Duration = Duration::from_secs(5);
/// How long an unused reading connection stays open.
const READER_IDLE: Duration = Duration::from_secs(60);

/// History in an SQLite file in WAL mode, for one daemon.
///
/// One connection writes, so that writers wait for their turn in order instead of running into
/// SQLite's lock; a few others read beside it.
#[derive(Debug)]
pub struct SqliteStore {
    options: SqliteConnectOptions,
    readers: Pool,
    turns: Turns<Writing>,
    /// The number of the check at which the forgetting of results goes on.
    forget_from: AtomicI64,
    /// The number of the check after which sealing goes on.
    seal_from: AtomicI64,
}

impl SqliteStore {
    /// Opens the database at `path`, makes it if there is none, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Open`] if the folder is missing or cannot be written to, or if the file is no
    /// database; [`StoreError::Newer`] if a newer version has written it.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let explain = |error| explain_open(path, error);
        check_place(path)?;
        // What checks found is nobody else's business. SQLite gives the files beside it the same rights;
        // where none can be made, it says why.
        let _ = File::options().create_new(true).write(true).mode(0o600).open(path);
        let options = writing_options(path);
        let made = options.clone().create_if_missing(true);
        let mut conn = made.connect().await.map_err(explain)?;
        migrate(&mut conn, path).await?;
        let idle = Writing::over(conn).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(READER_TURN)
            .idle_timeout(READER_IDLE)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(reading_options(path));
        Ok(Self {
            options,
            readers,
            turns: Turns::new(idle),
            forget_from: AtomicI64::new(0),
            seal_from: AtomicI64::new(0),
        })
    }

    /// Waits for the turn to write.
    async fn lease(&self) -> Result<Lease<'_, Writing>, StoreError> {
        let connect = || async { Writing::over(self.options.connect().await?).await };
        self.turns.lease(connect).await
    }
}

/// Whether an error of SQLite blames a value: one that breaks a constraint, is too big, or is of
/// the wrong type.
pub(super) fn is_about_data(error: &dyn DatabaseError) -> bool {
    const TOOBIG: i32 = 18;
    const CONSTRAINT: i32 = 19;
    const MISMATCH: i32 = 20;
    matches!(primary_code(error), Some(TOOBIG | CONSTRAINT | MISMATCH))
}

/// Whether SQLite found a page that is not what it should be.
pub(super) fn is_damage(error: &dyn DatabaseError) -> bool {
    const CORRUPT: i32 = 11;
    primary_code(error) == Some(CORRUPT)
}

/// The connection that writes, and the numbers that it knows from what it has written. They live
/// and die together: after a rollback nobody knows which of the numbers are still true.
#[derive(Debug)]
struct Writing {
    conn: Conn,
    checks: HashMap<Name, i64>,
    /// By the JSON array of the names.
    shapes: HashMap<Box<[u8]>, i64>,
}

impl Writing {
    async fn over(mut conn: Conn) -> Result<Self, StoreError> {
        let checks: Vec<(String, i64)> =
            sqlx::query_as("SELECT name, id FROM checks").fetch_all(&mut conn).await?;
        let shapes: Vec<(String, i64)> =
            sqlx::query_as("SELECT names, id FROM shapes").fetch_all(&mut conn).await?;
        Ok(Self {
            conn,
            checks: checks.into_iter().map(|(name, id)| (name.into(), id)).collect(),
            shapes: shapes
                .into_iter()
                .map(|(names, id)| (names.into_bytes().into_boxed_slice(), id))
                .collect(),
        })
    }
}

#[async_trait]
impl turn::Writing for Writing {
    async fn close(self) -> Result<(), sqlx::Error> {
        self.conn.close().await
    }
}

async fn begin(conn: &mut Conn) -> Result<Transaction<'_, Db>, sqlx::Error> {
    conn.begin_with("BEGIN IMMEDIATE").await
}

pub(super) fn writing_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        // A committed alert must survive a power cut.
        .synchronous(SqliteSynchronous::Full)
        // Can be chosen only before the first table is made.
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .busy_timeout(BUSY)
        .foreign_keys(false)
        .pragma("cache_size", "-4096")
        .pragma("wal_autocheckpoint", "2000")
        .pragma("journal_size_limit", "16777216")
        .statement_cache_capacity(32)
        .thread_name(|_| "sqlite-writer".to_owned())
        .disable_statement_logging()
}

pub(super) fn reading_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(BUSY)
        .pragma("query_only", "on")
        .pragma("cache_size", "-1024")
        .statement_cache_capacity(32)
        .thread_name(|_| "sqlite-reader".to_owned())
        .disable_statement_logging()
}

/// Finds in plain words what SQLite only calls "unable to open database file".
pub(super) fn check_place(path: &Path) -> Result<(), StoreError> {
    let refuse = |why: String| Err(StoreError::Open { path: path.to_owned(), why });
    if path.is_dir() {
        return refuse("it is a folder; name a file in it".to_owned());
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    match std::fs::metadata(folder) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => refuse(format!("{} is not a folder", folder.display())),
        Err(error) => refuse(format!(
            "its folder {} cannot be used ({error}); create it, or set `store` in [history]",
            folder.display()
        )),
    }
}

pub(super) fn explain_open(path: &Path, error: sqlx::Error) -> StoreError {
    const PERM: i32 = 3;
    const READONLY: i32 = 8;
    const CANTOPEN: i32 = 14;
    const NOTADB: i32 = 26;
    let code = error.as_database_error().and_then(primary_code);
    let path: PathBuf = path.to_owned();
    let why = match code {
        Some(NOTADB) => "the file is not an SQLite database; move it away, or set `store` in \
                         [history] to another file"
            .to_owned(),
        Some(PERM | READONLY | CANTOPEN) => {
            let reason = std::fs::OpenOptions::new().append(true).create(true).open(&path);
            let reason = match reason {
                Ok(_) => "SQLite cannot make its files beside it".to_owned(),
                Err(error) => error.to_string(),
            };
            format!(
                "{reason}; the user that runs watchbell must be able to write to the file and to \
                 its folder"
            )
        }
        _ => return error.into(),
    };
    StoreError::Open { path, why }
}

pub(super) async fn migrate(conn: &mut Conn, path: &Path) -> Result<(), StoreError> {
    match MIGRATOR.run(conn).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(found)) => Err(StoreError::Newer {
            place: path.display().to_string(),
            found,
            known: MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0),
        }),
        Err(MigrateError::Execute(error)) => Err(explain_open(path, error)),
        Err(error) => Err(error.into()),
    }
}

/// The result code of SQLite without what its upper bits say in addition.
fn primary_code(error: &dyn DatabaseError) -> Option<i32> {
    let error = error.try_downcast_ref::<SqliteError>()?;
    let code: i32 = DatabaseError::code(error)?.parse().ok()?;
    Some(code & 0xff)
}
