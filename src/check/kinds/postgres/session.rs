//! One connection to a PostgreSQL server, and the transactions in it.

use super::address::Address;
use super::trouble::{Refusal, Trouble};
use super::wire::{Outcome, Rows, Wire};
use crate::check::support::tls::Chain;
use crate::clock::Clock;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value as Json;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// More rows than these are not counted.
const MOST_ROWS: i64 = 10_000;

/// A first row that is larger than this as JSON is not fetched.
const MOST_ROW_BYTES: usize = 1 << 20;

/// What a query gave.
#[derive(Debug)]
pub struct Answer {
    /// How many rows, counted to [`MOST_ROWS`].
    pub rows: i64,
    /// The first of them.
    pub first: Option<Columns>,
}

/// One connection, and how each transaction in it begins.
pub struct Session {
    wire: Wire,
    clock: Arc<dyn Clock>,
    read_only: bool,
    /// When the run that this is for is over, on the clock's `mono`.
    deadline: Duration,
    spent: bool,
}

impl Session {
    /// Connects and logs in. The server ends each statement itself before `deadline`.
    pub async fn open(
        address: &Address,
        clock: &Arc<dyn Clock>,
        deadline: Duration,
        read_only: bool,
    ) -> Result<Self, Trouble> {
        let wire = Wire::connect(address, &**clock).await?;
        Ok(Self { wire, clock: Arc::clone(clock), read_only, deadline, spent: false })
    }

    /// The version that the server says it has.
    pub fn version(&self) -> &str {
        &self.wire.version
    }

    /// The server's certificates, with TLS.
    pub fn chain(&self) -> Option<&Chain> {
        self.wire.chain.as_deref()
    }

    /// Whether the connection is of no more use.
    pub fn is_spent(&self) -> bool {
        self.spent
    }

    /// Opens a transaction. Its settings end with it, also behind a pooler.
    ///
    /// The server would not notice that nobody waits any more for a statement: it has to end it
    /// itself, a little before the run is given up, so that its words are still heard.
    fn begin(&self, read_only: bool) -> String {
        let left = self.deadline.saturating_sub(self.clock.now().mono);
        let margin = (left / 20).min(Duration::from_millis(250));
        let millis = (left - margin).as_millis().clamp(1, i32::MAX as u128);
        let mode = if read_only { " read only" } else { "" };
        format!("begin{mode}; set local statement_timeout = {millis}; ")
    }

    /// Asks for texts: the first column of the first row of each statement, up to the one that the
    /// server refuses.
    pub async fn texts(
        &mut self,
        statements: &[String],
    ) -> Result<(Vec<Option<String>>, Option<Refusal>), Trouble> {
        let whole = format!("{}{}; commit", self.begin(true), statements.join(";\n"));
        let outcome = self.send(&whole).await?;
        let texts = outcome.answers.into_iter().map(|rows| first_text(rows.first));
        Ok((texts.collect(), outcome.refusal))
    }

    /// Runs `query` inside another one, which counts its rows, gives the first as JSON, and stops
    /// it where there are too many.
    pub async fn ask_inside(&mut self, query: &str) -> Result<Answer, Trouble> {
        let rows = self
            .rows(&format!(
                "select case when row_number() over () = 1 \
                 then left(to_json(watchbell_row)::text, {most}) end \
                 from (select * from (\n{query}\n) as watchbell_query limit {MOST_ROWS}) \
                 as watchbell_row",
                most = MOST_ROW_BYTES + 1
            ))
            .await?;
        let first = match first_text(rows.first) {
            Some(text) if text.len() > MOST_ROW_BYTES => return Err(Trouble::LargeRow),
            Some(text) => Some(serde_json::from_str(&text).map_err(Trouble::Json)?),
            None => None,
        };
        Ok(Answer { rows: rows.count, first })
    }

    /// Runs `query` as it stands, for one that cannot stand inside another.
    pub async fn ask_alone(&mut self, query: &str) -> Result<Answer, Trouble> {
        let rows = self.rows(query).await?;
        let first = rows.first.map(|values| {
            let columns = rows.columns.into_iter().zip(values);
            Columns(columns.map(|((name, ty), text)| (name, typed(ty, text))).collect())
        });
        Ok(Answer { rows: rows.count, first })
    }

    /// Says goodbye.
    pub async fn close(self) {
        if !self.spent {
            self.wire.close().await;
        }
    }

    /// The rows of one query, in a transaction of its own.
    async fn rows(&mut self, query: &str) -> Result<Rows, Trouble> {
        let whole = format!("{}{query}\n; commit", self.begin(self.read_only));
        let outcome = self.send(&whole).await?;
        match outcome.refusal {
            Some(refusal) => Err(Trouble::Refused(refusal)),
            None => Ok(outcome.answers.into_iter().next().unwrap_or_default()),
        }
    }

    async fn send(&mut self, whole: &str) -> Result<Outcome, Trouble> {
        let sent = self.wire.query(whole, MOST_ROWS).await;
        self.spent = !matches!(&sent, Ok(outcome) if !outcome.cut);
        let outcome = sent?;
        if outcome.refusal.is_some() {
            // The next statement needs a transaction that is not aborted.
            let ended = self.wire.query("rollback", MOST_ROWS).await;
            self.spent = ended.is_err();
            ended?;
        }
        Ok(outcome)
    }
}

fn first_text(row: Option<Vec<Option<String>>>) -> Option<String> {
    row.and_then(|row| row.into_iter().next()).flatten()
}

/// A value that came as text: numbers, bools and JSON as what they are.
///
/// The numbers of types stand in `pg_type.dat` of the server's source, and never change.
fn typed(ty: u32, text: Option<String>) -> Json {
    let Some(text) = text else { return Json::Null };
    let parsed = match ty {
        16 => Some(Json::Bool(text == "t")),
        // int8, int2, int4, oid, json, float4, float8, numeric, jsonb
        20 | 21 | 23 | 26 | 114 | 700 | 701 | 1700 | 3802 => serde_json::from_str(&text).ok(),
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
