//! The store in a PostgreSQL database.

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
pub(super) mod tests;
mod write;

use super::StoreError;
use super::turn::{self, Lease, Turns};
use crate::model::Name;
use async_trait::async_trait;
use sqlx::error::DatabaseError;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Transaction};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

// What the files in `sql` go by.
use PgStore as This;
use sqlx::{PgConnection as Conn, PgPool as Pool, Postgres as Db, postgres::PgRow as Row};

pub(super) static MIGRATOR: Migrator = sqlx::migrate!("src/record/migrations/postgres");

/// Readers at one time; the rest of them waits for a turn.
const READERS: u32 = 4;
/// How long a reader waits for its turn.
const READER_TURN: Duration = Duration::from_secs(5);
/// How long an unused reading connection stays open.
const READER_IDLE: Duration = Duration::from_secs(60);
/// How long a statement may take: less than a writer waits for a commit, so that the error says what
/// the matter was.
const STATEMENT: &str = "4s";
/// The oldest PostgreSQL that is known to work, as it numbers itself.
const OLDEST: i32 = 140_000;
/// The number of the lock that the one daemon of a database holds: "wbell" in ASCII.
pub(super) const LOCK: i64 = 0x77_62_65_6c_6c;

/// History in a PostgreSQL database (14 or later), for one daemon.
///
/// One connection writes, and holds the lock that keeps a second daemon off; a few others read
/// beside it.
pub struct PgStore {
    options: PgConnectOptions,
    readers: Pool,
    turns: Turns<Writing>,
    /// The number of the check at which the forgetting of results goes on.
    forget_from: AtomicI64,
    /// The number of the check after which sealing goes on.
    seal_from: AtomicI64,
}

impl fmt::Debug for PgStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgStore").field("place", &place_of(&self.options)).finish_non_exhaustive()
    }
}

impl PgStore {
    /// Opens the database that `options` name, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Reach`] if the server cannot be reached or does not let us in;
    /// [`StoreError::Newer`] if a newer version has written it; [`StoreError::Shared`] if another
    /// daemon keeps its history there.
    pub async fn open(options: PgConnectOptions) -> Result<Self, StoreError> {
        let options = options
            .application_name("watchbell")
            .options([("statement_timeout", STATEMENT), ("client_min_messages", "warning")])
            .disable_statement_logging();
        let place = place_of(&options);
        let mut conn = connect(&options).await?;
        lock(&mut conn, &place).await?;
        migrate(&mut conn, &place).await?;
        let writing = Writing::over(conn).await?;
        let readers = PgPoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(READER_TURN)
            .idle_timeout(READER_IDLE)
            .connect_lazy_with(options.clone());
        Ok(Self {
            options,
            readers,
            turns: Turns::new(writing),
            forget_from: AtomicI64::new(0),
            seal_from: AtomicI64::new(0),
        })
    }

    /// Waits for the turn to write.
    async fn lease(&self) -> Result<Lease<'_, Writing>, StoreError> {
        let connect = || async {
            let mut conn = self.options.connect().await?;
            lock(&mut conn, &place_of(&self.options)).await?;
            Writing::over(conn).await
        };
        self.turns.lease(connect).await
    }
}

/// Whether an error of PostgreSQL blames a value: one that breaks a constraint (class 23), or is too
/// big or of the wrong form (class 22).
pub(super) fn is_about_data(error: &dyn DatabaseError) -> bool {
    error.code().is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}

/// Whether PostgreSQL found a page or an index that is not what it should be.
pub(super) fn is_damage(error: &dyn DatabaseError) -> bool {
    matches!(error.code().as_deref(), Some("XX001" | "XX002"))
}

/// The connection that writes, and the numbers that it knows from what it has written.
#[derive(Debug)]
struct Writing {
    conn: Conn,
    checks: HashMap<Name, i64>,
    /// By the JSON array of the names.
    shapes: HashMap<String, i64>,
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
            shapes: shapes.into_iter().collect(),
        })
    }
}

#[async_trait]
impl turn::Writing for Writing {
    async fn close(self) -> Result<(), sqlx::Error> {
        self.conn.close().await
    }
}

/// Connects to a server that can be used.
pub(super) async fn connect(options: &PgConnectOptions) -> Result<Conn, StoreError> {
    let place = place_of(options);
    let reach =
        |error: sqlx::Error| StoreError::Reach { place: place.clone(), why: error.to_string() };
    let mut conn = options.connect().await.map_err(reach)?;
    let version: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int")
        .fetch_one(&mut conn)
        .await?;
    if version < OLDEST {
        return Err(StoreError::Reach {
            place,
            why: format!("it is PostgreSQL {}; 14 or later is needed", version / 10_000),
        });
    }
    Ok(conn)
}

/// The server and the database, without what is secret.
pub(super) fn place_of(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    match options.get_socket() {
        Some(socket) => format!("{database} at {}", socket.display()),
        None => format!("{database} at {}:{}", options.get_host(), options.get_port()),
    }
}

async fn begin(conn: &mut Conn) -> Result<Transaction<'_, Db>, sqlx::Error> {
    conn.begin().await
}

pub(super) async fn lock(conn: &mut Conn, place: &str) -> Result<(), StoreError> {
    let got: bool =
        sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LOCK).fetch_one(conn).await?;
    if got { Ok(()) } else { Err(StoreError::Shared { place: place.to_owned() }) }
}

pub(super) async fn migrate(conn: &mut Conn, place: &str) -> Result<(), StoreError> {
    match MIGRATOR.run(conn).await {
        Ok(()) => Ok(()),
        Err(MigrateError::VersionMissing(found)) => Err(StoreError::Newer {
            place: place.to_owned(),
            found,
            known: MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0),
        }),
        Err(error) => Err(error.into()),
    }
}
