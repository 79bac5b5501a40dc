use super::rows::{Cells, Kind, Rows, TABLES, Table};
use super::{UpkeepError, patient};
use crate::model::Secret;
use crate::record::{StoreError, postgres, sqlite};
use sqlx::error::BoxDynError;
use sqlx::sqlite::{
    SqliteArguments, SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous,
};
use sqlx::{
    Arguments as _, AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection,
    SqliteConnection,
};
use std::path::Path;

/// How many rows one statement writes into SQLite.
const AT_ONCE: usize = 50;

/// An empty store into which another is copied, in one transaction.
#[derive(Debug)]
pub(super) enum Sink {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Sink {
    /// A new database in an empty file that nobody else knows. Should the machine fail meanwhile,
    /// the file is nothing: it needs no journal.
    pub async fn file(path: &Path) -> Result<Self, UpkeepError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Off)
            .synchronous(SqliteSynchronous::Off)
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .foreign_keys(false)
            .disable_statement_logging();
        let mut conn = options.connect().await.map_err(|e| sqlite::explain_open(path, e))?;
        sqlite::migrate(&mut conn, path).await?;
        sqlx::query("BEGIN").execute(&mut conn).await?;
        Ok(Self::Sqlite(conn))
    }

    /// The database at `url`, which no daemon may use meanwhile, and in which is no history yet.
    pub async fn database(url: &Secret) -> Result<Self, UpkeepError> {
        let options = patient(url)?;
        let place = postgres::place_of(&options);
        let mut conn = postgres::connect(&options).await?;
        postgres::lock(&mut conn, &place).await?;
        postgres::migrate(&mut conn, &place).await?;
        sqlx::query("BEGIN").execute(&mut conn).await?;
        for table in &TABLES {
            let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", table.name);
            if sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut conn).await? {
                return Err(UpkeepError::NotEmpty { place, table: table.name });
            }
        }
        Ok(Self::Postgres(conn))
    }

    /// Writes some rows of a table.
    pub async fn write(&mut self, table: &Table, rows: &Rows) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(conn) => write_sqlite(conn, table, rows).await,
            Self::Postgres(conn) => write_postgres(conn, table, rows).await,
        }
    }

    /// How many rows a table has by now.
    pub async fn count(&mut self, table: &Table) -> Result<u64, StoreError> {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {}", table.name));
        let count: i64 = match self {
            Self::Sqlite(conn) => sqlx::query_scalar(sql).fetch_one(conn).await?,
            Self::Postgres(conn) => sqlx::query_scalar(sql).fetch_one(conn).await?,
        };
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// Makes what was written count.
    pub async fn finish(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(mut conn) => {
                sqlx::query("COMMIT").execute(&mut conn).await?;
                conn.close().await?;
            }
            Self::Postgres(mut conn) => {
                for table in TABLES.iter().filter(|table| table.is_numbered) {
                    // The numbers that come next go on after those that were brought along.
                    let sql = format!(
                        "SELECT setval(pg_get_serial_sequence('{0}', 'id'), \
                             (SELECT coalesce(max(id), 0) + 1 FROM {0}), FALSE)",
                        table.name
                    );
                    sqlx::query(AssertSqlSafe(sql)).execute(&mut conn).await?;
                }
                sqlx::query("COMMIT").execute(&mut conn).await?;
                conn.close().await?;
            }
        }
        Ok(())
    }
}

async fn write_sqlite(
    conn: &mut SqliteConnection,
    table: &Table,
    rows: &Rows,
) -> Result<(), StoreError> {
    let mut from = 0;
    while from < rows.count {
        let count = if rows.count - from >= AT_ONCE { AT_ONCE } else { 1 };
        let row = format!("({})", vec!["?"; table.columns.len()].join(","));
        let values = vec![row.as_str(); count].join(",");
        let sql = format!("INSERT INTO {} ({}) VALUES {values}", table.name, table.names());
        let mut args = SqliteArguments::default();
        for row in from..from + count {
            for column in &rows.columns {
                bind(&mut args, column, row).map_err(sqlx::Error::Encode)?;
            }
        }
        sqlx::query_with(AssertSqlSafe(sql), args).execute(&mut *conn).await?;
        from += count;
    }
    Ok(())
}

fn bind(args: &mut SqliteArguments, column: &Cells, row: usize) -> Result<(), BoxDynError> {
    match column {
        Cells::Int(cells) => args.add(cells.get(row).copied().flatten()),
        Cells::Text(cells) => args.add(cells.get(row).and_then(Option::as_deref)),
        Cells::Bytes(cells) => args.add(cells.get(row).and_then(Option::as_deref)),
    }
}

async fn write_postgres(
    conn: &mut PgConnection,
    table: &Table,
    rows: &Rows,
) -> Result<(), StoreError> {
    let lists = (1..).zip(table.columns).map(|(number, (_, kind))| match kind {
        Kind::Int => format!("${number}::bigint[]"),
        Kind::Text => format!("${number}::text[]"),
        Kind::Bytes => format!("${number}::bytea[]"),
    });
    let lists: Vec<String> = lists.collect();
    let numbers = if table.is_numbered { "OVERRIDING SYSTEM VALUE " } else { "" };
    let sql = format!(
        "INSERT INTO {} ({}) {numbers}SELECT * FROM unnest({})",
        table.name,
        table.names(),
        lists.join(", ")
    );
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for column in &rows.columns {
        query = match column {
            Cells::Int(cells) => query.bind(cells),
            Cells::Text(cells) => query.bind(cells),
            Cells::Bytes(cells) => query.bind(cells),
        };
    }
    query.execute(conn).await?;
    Ok(())
}
