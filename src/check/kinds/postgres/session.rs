//! One connection to a PostgreSQL server, and the transaction in it.

use super::trouble::Trouble;
use crate::model::Facts;
use futures_util::TryStreamExt;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value as Json;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Column, Connection, Row, TypeInfo, ValueRef};
use std::fmt;
use std::time::Duration;

/// More rows than these are not fetched.
const MOST_ROWS: i64 = 10_000;

/// A first row that is larger than this as JSON is not fetched.
const MOST_ROW_BYTES: usize = 1 << 20;

/// What the server says of itself. Each gives one text, and a role that may not see one still
/// gets the others.
///
/// Other people's rows of `pg_stat_activity` hide their type from a plain role, but not their
/// database and user, which background workers lack. A standby that has replayed all that it
/// received is behind nothing only while it still receives.
const BUILT_IN: [(&str, &str); 3] = [
    ("is_replica", "select pg_is_in_recovery()::int::text"),
    (
        "connections_used_percent",
        "select (count(*) * 100.0 / current_setting('max_connections')::int)::text \
         from pg_stat_activity where datid is not null and usesysid is not null \
         and coalesce(backend_type, 'client backend') = 'client backend'",
    ),
    (
        "replication_lag_seconds",
        "select case when not pg_is_in_recovery() then '0' \
         when pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() \
         and exists (select from pg_stat_wal_receiver) then '0' else greatest(0, \
         extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()))::text end",
    ),
];

/// What a query gave.
#[derive(Debug)]
pub struct Answer {
    /// How many rows, counted to [`MOST_ROWS`].
    pub rows: i64,
    /// The first of them.
    pub first: Option<Columns>,
}

/// One connection and the transaction in it.
pub struct Session {
    connection: PgConnection,
    /// Opens the transaction. The server ends a statement itself at the run's timeout: it would
    /// not notice that nobody waits any more.
    begin: String,
    /// Whether a transaction is open and healthy.
    begun: bool,
}

impl Session {
    /// Puts a fresh connection to work; `timeout` bounds each statement.
    pub fn new(connection: PgConnection, timeout: Duration) -> Self {
        let millis = timeout.as_millis().clamp(1, i32::MAX as u128);
        let begin = format!("begin; set local statement_timeout = {millis}; ");
        Self { connection, begin, begun: false }
    }

    /// Asks what the server says of itself: all at once, or one by one where it refuses.
    pub async fn built_in(&mut self, facts: &mut Facts) -> Result<(), Trouble> {
        let all: Vec<String> = BUILT_IN.iter().map(|(_, sql)| format!("({sql})")).collect();
        let texts = match self.texts(&format!("select {}", all.join(", "))).await {
            Ok(texts) => texts,
            Err(sqlx::Error::Database(_)) => {
                let mut texts = Vec::with_capacity(BUILT_IN.len());
                for (_, sql) in BUILT_IN {
                    match self.texts(sql).await {
                        Ok(text) => texts.extend(text),
                        Err(sqlx::Error::Database(_)) => texts.push(None),
                        Err(error) => return Err(Trouble::Query(error)),
                    }
                }
                texts
            }
            Err(error) => return Err(Trouble::Query(error)),
        };
        for ((name, _), text) in BUILT_IN.iter().zip(texts) {
            let Some(number) = text.and_then(|text| text.parse::<f64>().ok()) else { continue };
            match *name {
                "is_replica" => facts.set(name, number != 0.0),
                _ => facts.set(name, number),
            }
        }
        Ok(())
    }

    /// Runs `query` inside another one, which counts its rows, gives the first as JSON, and stops
    /// it where there are too many.
    pub async fn ask_inside(&mut self, query: &str) -> Result<Answer, Trouble> {
        let sql = format!(
            "select case when row_number() over () = 1 \
             then left(to_json(watchbell_row)::text, {most}) end \
             from (select * from (\n{query}\n) as watchbell_query limit {MOST_ROWS}) \
             as watchbell_row",
            most = MOST_ROW_BYTES + 1
        );
        let rows = self.send(&sql, "; commit").await.map_err(Trouble::Query)?;
        let text = match &rows.first {
            Some(row) => text_at(row, 0).map_err(Trouble::Query)?,
            None => None,
        };
        let first = match text {
            Some(text) if text.len() > MOST_ROW_BYTES => return Err(Trouble::LargeRow),
            Some(text) => Some(serde_json::from_str(&text).map_err(Trouble::Json)?),
            None => None,
        };
        Ok(Answer { rows: rows.count, first })
    }

    /// Runs `query` as it stands, for one that cannot stand inside another.
    pub async fn ask_alone(&mut self, query: &str) -> Result<Answer, Trouble> {
        let rows = self.send(query, "; commit").await.map_err(Trouble::Query)?;
        let first = match &rows.first {
            Some(row) => Some(columns_of(row).map_err(Trouble::Query)?),
            None => None,
        };
        Ok(Answer { rows: rows.count, first })
    }

    /// Says goodbye; the server would log a line otherwise.
    pub async fn close(self) {
        _ = self.connection.close().await;
    }

    /// The first row of a query that gives texts.
    async fn texts(&mut self, sql: &str) -> Result<Vec<Option<String>>, sqlx::Error> {
        let row = self.send(sql, "").await?.first;
        let Some(row) = row else { return Ok(Vec::new()) };
        (0..row.columns().len()).map(|index| text_at(&row, index)).collect()
    }

    /// Sends `sql` within the transaction, followed by `end`; keeps the first row and counts the
    /// others.
    async fn send(&mut self, sql: &str, end: &str) -> Result<Rows, sqlx::Error> {
        let begin = if self.begun { "" } else { self.begin.as_str() };
        let whole = format!("{begin}{sql}\n{end}");
        // The query is the administrator's own, from the configuration.
        let result = {
            let mut stream = sqlx::raw_sql(AssertSqlSafe(whole)).fetch(&mut self.connection);
            let mut rows = Rows { count: 0, first: None };
            loop {
                match stream.try_next().await {
                    Ok(None) => break Ok(rows),
                    Ok(Some(_)) if rows.count == MOST_ROWS => break Ok(rows),
                    Ok(Some(row)) => {
                        rows.count += 1;
                        rows.first.get_or_insert(row);
                    }
                    Err(error) => break Err(error),
                }
            }
        };
        self.begun = result.is_ok() && end.is_empty();
        if let Err(sqlx::Error::Database(_)) = &result {
            // The next statement needs a transaction that is not aborted.
            sqlx::raw_sql("rollback").execute(&mut self.connection).await?;
        }
        result
    }
}

/// The rows of one query as they came.
struct Rows {
    count: i64,
    first: Option<PgRow>,
}

fn text_at(row: &PgRow, index: usize) -> Result<Option<String>, sqlx::Error> {
    let value = row.try_get_raw(index)?;
    if value.is_null() {
        return Ok(None);
    }
    value.as_str().map(|text| Some(text.to_owned())).map_err(sqlx::Error::Decode)
}

/// A row that came as texts, with numbers, bools and JSON as what they are.
fn columns_of(row: &PgRow) -> Result<Columns, sqlx::Error> {
    let mut columns = Vec::with_capacity(row.columns().len());
    for (index, column) in row.columns().iter().enumerate() {
        let value = match text_at(row, index)? {
            Some(text) => typed(column.type_info().name(), text),
            None => Json::Null,
        };
        columns.push((column.name().to_owned(), value));
    }
    Ok(Columns(columns))
}

fn typed(ty: &str, text: String) -> Json {
    let parsed = match ty {
        "BOOL" => Some(Json::Bool(text == "t")),
        "INT2" | "INT4" | "INT8" | "FLOAT4" | "FLOAT8" | "NUMERIC" | "OID" | "JSON" | "JSONB" => {
            serde_json::from_str(&text).ok()
        }
        _ => None,
    };
    parsed.unwrap_or(Json::String(text))
}

/// The columns of a row in their order. A JSON object would lose one of two that share a name.
#[derive(Debug, PartialEq)]
pub struct Columns(pub Vec<(String, Json)>);

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Columns;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a row as a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Columns, A::Error> {
                let mut columns = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    columns.push(pair);
                }
                Ok(Columns(columns))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}
