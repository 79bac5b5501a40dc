use super::source::Source;
use super::{UpkeepError, newest, patient, place};
use crate::config::StoreAddress;
use crate::record::lock::Lock;
use crate::record::{SqliteStore, Store as _, postgres, sqlite};
use sqlx::Connection as _;

/// How a schema was brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The version before; none if there was no history.
    pub from: Option<i64>,
    /// The version now.
    pub to: i64,
}

/// Brings the schema of the store at `address` up to date, and makes the store if there is none. A
/// start of the daemon does the same, but lets PostgreSQL work for a few seconds only.
///
/// # Errors
/// Why not: a daemon uses it, or a newer version has written it. Nothing is changed then.
pub async fn migrate(address: &StoreAddress) -> Result<Migrated, UpkeepError> {
    match address {
        StoreAddress::Sqlite(path) => {
            let _lock = Lock::take(path)?;
            let from = if path.exists() { version(address).await? } else { None };
            SqliteStore::open(path).await?.close().await;
            Ok(Migrated { from, to: newest(&sqlite::MIGRATOR) })
        }
        StoreAddress::Postgres(url) => {
            let mut conn = postgres::connect(&patient(url)?).await?;
            postgres::lock(&mut conn, &place(address)).await?;
            let from = version(address).await?;
            postgres::migrate(&mut conn, &place(address)).await?;
            conn.close().await?;
            Ok(Migrated { from, to: newest(&postgres::MIGRATOR) })
        }
    }
}

async fn version(address: &StoreAddress) -> Result<Option<i64>, UpkeepError> {
    let mut source = Source::look(address).await?;
    let version = source.version().await?;
    source.close().await;
    Ok(version)
}
