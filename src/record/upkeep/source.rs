use super::rows::{Rows, Table};
use super::{UpkeepError, newest, patient, place};
use crate::config::StoreAddress;
use crate::record::{StoreError, postgres, sqlite};
use futures_util::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use sqlx::{
    AssertSqlSafe, ColumnIndex, ConnectOptions as _, Connection as _, Decode, PgConnection, Row,
    SqliteConnection, Type,
};
use std::path::Path;

/// A store as it is at one moment, whoever goes on writing to it.
#[derive(Debug)]
pub(super) enum Source {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Source {
    /// The store at `address`, whose schema is the newest.
    pub async fn open(address: &StoreAddress) -> Result<Self, UpkeepError> {
        let place = place(address);
        let mut source = Self::look(address).await?;
        let known = match address {
            StoreAddress::Sqlite(_) => newest(&sqlite::MIGRATOR),
            StoreAddress::Postgres(_) => newest(&postgres::MIGRATOR),
        };
        match source.version().await? {
            None => Err(UpkeepError::Foreign(place)),
            Some(found) if found > known => Err(StoreError::Newer { place, found, known }.into()),
            Some(found) if found < known => Err(UpkeepError::Outdated { place, found, known }),
            Some(_) => Ok(source),
        }
    }

    /// Whatever is at `address`.
    pub async fn look(address: &StoreAddress) -> Result<Self, UpkeepError> {
        match address {
            StoreAddress::Sqlite(path) => {
                sqlite::check_place(path)?;
                if !path.exists() {
                    return Err(UpkeepError::Missing(path.display().to_string()));
                }
                let options = sqlite::reading_options(path);
                let mut conn = options.connect().await.map_err(|error| explain(path, error))?;
                sqlx::query("BEGIN").execute(&mut conn).await?;
                // Only what is read takes the moment.
                sqlx::query("SELECT count(*) FROM sqlite_master")
                    .execute(&mut conn)
                    .await
                    .map_err(|error| explain(path, error))?;
                Ok(Self::Sqlite(conn))
            }
            StoreAddress::Postgres(url) => {
                let mut conn = postgres::connect(&patient(url)?).await?;
                sqlx::query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    .execute(&mut conn)
                    .await?;
                Ok(Self::Postgres(conn))
            }
        }
    }

    /// The version of its schema; none if it is no history of Watchbell.
    pub async fn version(&mut self) -> Result<Option<i64>, UpkeepError> {
        const VERSION: &str = "SELECT max(version) FROM _sqlx_migrations WHERE success";
        match self {
            Self::Sqlite(conn) => {
                let found: Option<i64> = sqlx::query_scalar(
                    "SELECT 1 FROM sqlite_master WHERE name = '_sqlx_migrations'",
                )
                .fetch_optional(&mut *conn)
                .await?;
                if found.is_none() {
                    return Ok(None);
                }
                Ok(sqlx::query_scalar(VERSION).fetch_one(conn).await?)
            }
            Self::Postgres(conn) => {
                let found: bool =
                    sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
                        .fetch_one(&mut *conn)
                        .await?;
                if !found {
                    return Ok(None);
                }
                Ok(sqlx::query_scalar(VERSION).fetch_one(conn).await?)
            }
        }
    }

    /// How many tables there are, of whatever program.
    pub async fn tables(&mut self) -> Result<i64, UpkeepError> {
        Ok(match self {
            Self::Sqlite(conn) => {
                sqlx::query_scalar("SELECT count(*) FROM sqlite_master").fetch_one(conn).await?
            }
            Self::Postgres(conn) => {
                sqlx::query_scalar(
                    "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()",
                )
                .fetch_one(conn)
                .await?
            }
        })
    }

    /// How many rows a table has.
    pub async fn count(&mut self, table: &Table) -> Result<u64, UpkeepError> {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {}", table.name));
        let count: i64 = match self {
            Self::Sqlite(conn) => sqlx::query_scalar(sql).fetch_one(conn).await?,
            Self::Postgres(conn) => sqlx::query_scalar(sql).fetch_one(conn).await?,
        };
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// All rows of a table, some at a time.
    pub fn read<'s>(
        &'s mut self,
        table: &'static Table,
    ) -> BoxStream<'s, Result<Rows, StoreError>> {
        let sql = AssertSqlSafe(table.select());
        match self {
            Self::Sqlite(conn) => in_batches(table, sqlx::query(sql).fetch(conn)),
            Self::Postgres(conn) => in_batches(table, sqlx::query(sql).fetch(conn)),
        }
    }

    /// Lets go of it.
    pub async fn close(self) {
        let closed = match self {
            Self::Sqlite(conn) => conn.close().await,
            Self::Postgres(conn) => conn.close().await,
        };
        if let Err(error) = closed {
            tracing::debug!(%error, "a database that was read did not close properly");
        }
    }
}

fn in_batches<'s, R>(
    table: &'static Table,
    rows: BoxStream<'s, Result<R, sqlx::Error>>,
) -> BoxStream<'s, Result<Rows, StoreError>>
where
    R: Row + 's,
    usize: ColumnIndex<R>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> String: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
{
    let batches = rows.try_chunks(table.at_once).map(|chunk| match chunk {
        Ok(rows) => Rows::of(table, &rows),
        // What came before the error goes with it: nobody could use the rest.
        Err(error) => Err(error.1.into()),
    });
    batches.boxed()
}

fn explain(path: &Path, error: sqlx::Error) -> UpkeepError {
    sqlite::explain_open(path, error).into()
}
