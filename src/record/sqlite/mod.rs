//! The store in one file on this machine.

mod forget;
mod read;
#[cfg(test)]
mod tests;
mod write;

use super::{Batch, IncidentFilter, NoticeFilter, Page, Paged, Saved, Store, StoreError};
use crate::model::{Incident, Name, Notice, RunResult, Timestamp};
use async_trait::async_trait;
use sqlx::error::DatabaseError;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteConnection, SqliteError, SqliteJournalMode,
    SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

static MIGRATOR: Migrator = sqlx::migrate!("src/record/migrations/sqlite");

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
    readers: SqlitePool,
    /// Whose turn it is to write.
    turn: Arc<Semaphore>,
    /// The writing connection, while nobody uses it. It is put back only after all went well:
    /// SQLite ends a transaction by itself on some errors, and what the connection then takes to
    /// be its state is wrong.
    idle: Mutex<Option<Writing>>,
    /// The number of the check at which the forgetting of results goes on.
    forget_from: AtomicI64,
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
            turn: Arc::new(Semaphore::new(1)),
            idle: Mutex::new(Some(idle)),
            forget_from: AtomicI64::new(0),
        })
    }

    /// Waits for the turn to write.
    async fn lease(&self) -> Result<Lease<'_>, StoreError> {
        let turn = Arc::clone(&self.turn);
        let permit = turn.acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writing = match idle {
            Some(writing) => writing,
            None => Writing::over(self.options.connect().await?).await?,
        };
        Ok(Lease { store: self, held: Some((writing, permit)) })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut lease = self.lease().await?;
        write::commit(lease.writing()?, batch).await?;
        lease.done();
        Ok(())
    }

    async fn load(&self, since: Timestamp) -> Result<Saved, StoreError> {
        read::load(&self.readers, since).await
    }

    async fn results(&self, check: &str, page: &Page) -> Result<Paged<RunResult>, StoreError> {
        read::results(&self.readers, check, page).await
    }

    async fn incidents(
        &self,
        filter: &IncidentFilter,
        page: &Page,
    ) -> Result<Paged<Incident>, StoreError> {
        read::incidents(&self.readers, filter, page).await
    }

    async fn incident(&self, id: &str) -> Result<Option<Incident>, StoreError> {
        read::incident(&self.readers, id).await
    }

    async fn notices(
        &self,
        filter: &NoticeFilter,
        page: &Page,
    ) -> Result<Paged<Notice>, StoreError> {
        read::notices(&self.readers, filter, page).await
    }

    async fn notice(&self, id: &str) -> Result<Option<Notice>, StoreError> {
        read::notice(&self.readers, id).await
    }

    async fn forget_results(&self, before: Timestamp, at_most: u32) -> Result<u64, StoreError> {
        forget::results(self, before, at_most).await
    }

    async fn forget_incidents(&self, before: Timestamp, at_most: u32) -> Result<u64, StoreError> {
        let mut lease = self.lease().await?;
        let gone = forget::incidents(lease.writing()?, before, at_most).await?;
        lease.done();
        Ok(gone)
    }

    async fn forget_silences(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut lease = self.lease().await?;
        let gone = forget::silences(lease.writing()?, before).await?;
        lease.done();
        Ok(gone)
    }

    async fn close(&self) {
        self.readers.close().await;
        let Ok(_turn) = self.turn.acquire().await else { return };
        self.turn.close();
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writing) = idle
            && let Err(error) = writing.conn.close().await
        {
            tracing::warn!(%error, "the database was not closed properly");
        }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1 FROM checks LIMIT 1").fetch_optional(&self.readers).await?;
        Ok(())
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

/// The connection that writes, and the numbers that it knows from what it has written. They live
/// and die together: after a rollback nobody knows which of the numbers are still true.
#[derive(Debug)]
struct Writing {
    conn: SqliteConnection,
    checks: HashMap<Name, i64>,
    /// By the JSON array of the names.
    shapes: HashMap<Box<[u8]>, i64>,
}

impl Writing {
    async fn over(mut conn: SqliteConnection) -> Result<Self, StoreError> {
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

/// The turn to write. Unless it ends well, its connection is closed; the next turn begins only
/// when that is over, so that a hanging disk does not gather up connections.
struct Lease<'s> {
    store: &'s SqliteStore,
    held: Option<(Writing, OwnedSemaphorePermit)>,
}

impl Lease<'_> {
    fn writing(&mut self) -> Result<&mut Writing, StoreError> {
        let held = self.held.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        Ok(&mut held.0)
    }

    fn done(mut self) {
        if let Some((writing, _permit)) = self.held.take() {
            let mut idle = self.store.idle.lock().unwrap_or_else(PoisonError::into_inner);
            *idle = Some(writing);
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some((writing, permit)) = self.held.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move {
                if let Err(error) = writing.conn.close().await {
                    tracing::debug!(%error, "a failed database connection did not close properly");
                }
                drop(permit);
            });
        }
    }
}

fn writing_options(path: &Path) -> SqliteConnectOptions {
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

fn reading_options(path: &Path) -> SqliteConnectOptions {
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
fn check_place(path: &Path) -> Result<(), StoreError> {
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

fn explain_open(path: &Path, error: sqlx::Error) -> StoreError {
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

async fn migrate(conn: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
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
