use super::source::Source;
use super::{UpkeepError, newest};
use crate::config::StoreAddress;
use crate::record::{postgres, sqlite};

/// What a store is at first sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance {
    /// The version of its schema; none if there is no history in it.
    pub version: Option<i64>,
    /// The newest that this program knows.
    pub known: i64,
}

/// Opens a store for reading and says what it is. Nothing in it changes; a daemon may use it.
///
/// # Errors
/// If it cannot be opened.
pub async fn glance(address: &StoreAddress) -> Result<Glance, UpkeepError> {
    let known = match address {
        StoreAddress::Sqlite(_) => newest(&sqlite::MIGRATOR),
        StoreAddress::Postgres(_) => newest(&postgres::MIGRATOR),
    };
    let mut source = Source::look(address).await?;
    let version = source.version().await?;
    source.close().await;
    Ok(Glance { version, known })
}

/// Has SQLite look through its file without comparing indices: the first fault, if there is one.
/// A server looks after its own files.
///
/// # Errors
/// If it cannot be read.
pub async fn look_through(address: &StoreAddress) -> Result<Option<String>, UpkeepError> {
    let mut source = Source::look(address).await?;
    let said: Option<String> = match &mut source {
        Source::Sqlite(conn) => {
            sqlx::query_scalar("PRAGMA quick_check(1)").fetch_optional(conn).await?
        }
        Source::Postgres(_) => None,
    };
    source.close().await;
    Ok(said.filter(|said| said != "ok"))
}
