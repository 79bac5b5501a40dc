use super::rows::TABLES;
use super::source::Source;
use super::{Step, UpkeepError, Watch, patient, place};
use crate::clock::Clock;
use crate::config::StoreAddress;
use crate::model::Secret;
use crate::record::lock::Lock;
use crate::record::retention::Steps;
use crate::record::{StoreError, postgres, sqlite};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, SqliteConnection};
use std::path::Path;
use std::time::Duration;

/// How many pages are given back in the first step beside a daemon, and in any.
const PAGES: (u32, u32) = (64, 4096);
/// What lies between two steps, so that the daemon goes first.
const PAUSE: Duration = Duration::from_millis(20);

/// Space that was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vacuumed {
    /// Bytes on the disk before.
    pub before: u64,
    /// Bytes on the disk after.
    pub after: u64,
    /// Whether all was written anew; not so beside a daemon.
    pub is_whole: bool,
}

/// Gives space back to the system. With the store to itself it writes all of it anew; beside a
/// daemon it gives back what is free, a little at a time.
///
/// # Errors
/// Why not. What was given back stays so.
pub async fn vacuum(
    address: &StoreAddress,
    clock: &dyn Clock,
    watch: Watch<'_>,
) -> Result<Vacuumed, UpkeepError> {
    match address {
        StoreAddress::Sqlite(path) => vacuum_file(path, clock, watch).await,
        StoreAddress::Postgres(url) => vacuum_database(address, url, watch).await,
    }
}

async fn vacuum_file(
    path: &Path,
    clock: &dyn Clock,
    watch: Watch<'_>,
) -> Result<Vacuumed, UpkeepError> {
    let address = StoreAddress::Sqlite(path.to_owned());
    let mut source = Source::look(&address).await?;
    let version = source.version().await?;
    source.close().await;
    if version.is_none() {
        return Err(UpkeepError::Foreign(place(&address)));
    }
    let lock = match Lock::take(path) {
        Ok(lock) => Some(lock),
        Err(StoreError::Shared { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let size = || std::fs::metadata(path).map_or(0, |found| found.len());
    let mut conn = sqlite::writing_options(path).connect().await?;
    sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut conn).await?;
    let before = size();
    if lock.is_some() {
        watch(Step::Begins { what: "pages", of: 0 });
        sqlx::query("VACUUM").execute(&mut conn).await?;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut conn).await?;
    } else {
        in_steps(&mut conn, clock, watch).await?;
        sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut conn).await?;
    }
    conn.close().await?;
    Ok(Vacuumed { before, after: size(), is_whole: lock.is_some() })
}

/// Gives free pages back while somebody else writes.
async fn in_steps(
    conn: &mut SqliteConnection,
    clock: &dyn Clock,
    watch: Watch<'_>,
) -> Result<(), UpkeepError> {
    const FREE: &str = "PRAGMA freelist_count";
    let all: i64 = sqlx::query_scalar(FREE).fetch_one(&mut *conn).await?;
    watch(Step::Begins { what: "pages", of: u64::try_from(all).unwrap_or_default() });
    let mut steps = Steps::new(PAGES);
    let mut left = all;
    while left > 0 {
        let sql = format!("PRAGMA incremental_vacuum({})", steps.size());
        let start = clock.now();
        sqlx::query(AssertSqlSafe(sql)).execute(&mut *conn).await?;
        steps = steps.after(clock.now().mono.saturating_sub(start.mono));
        let now: i64 = sqlx::query_scalar(FREE).fetch_one(&mut *conn).await?;
        if now >= left {
            // The daemon frees as much as is given back; or the file is an old one that cannot
            // become smaller this way.
            break;
        }
        left = now;
        watch(Step::Done(u64::try_from(all - left).unwrap_or_default()));
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

async fn vacuum_database(
    address: &StoreAddress,
    url: &Secret,
    watch: Watch<'_>,
) -> Result<Vacuumed, UpkeepError> {
    let mut source = Source::open(address).await?;
    let before = size(&mut source).await?;
    source.close().await;
    let mut conn = postgres::connect(&patient(url)?).await?;
    let is_whole = match postgres::lock(&mut conn, &place(address)).await {
        Ok(()) => true,
        Err(StoreError::Shared { .. }) => false,
        Err(error) => return Err(error.into()),
    };
    watch(Step::Begins { what: "tables", of: TABLES.len() as u64 });
    for (done, table) in (1..).zip(&TABLES) {
        let how = if is_whole { "FULL, ANALYZE" } else { "ANALYZE" };
        let sql = format!("VACUUM ({how}) {}", table.name);
        sqlx::query(AssertSqlSafe(sql)).execute(&mut conn).await?;
        watch(Step::Done(done));
    }
    let after = size_of(&mut conn).await?;
    conn.close().await?;
    Ok(Vacuumed { before, after, is_whole })
}

async fn size(source: &mut Source) -> Result<u64, UpkeepError> {
    match source {
        Source::Postgres(conn) => size_of(conn).await,
        Source::Sqlite(_) => Ok(0),
    }
}

async fn size_of(conn: &mut PgConnection) -> Result<u64, UpkeepError> {
    let mut bytes = 0;
    for table in &TABLES {
        let size: i64 = sqlx::query_scalar("SELECT pg_total_relation_size($1::regclass)")
            .bind(table.name)
            .fetch_one(&mut *conn)
            .await?;
        bytes += u64::try_from(size).unwrap_or_default();
    }
    Ok(bytes)
}
