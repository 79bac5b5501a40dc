use super::{Writing, begin, rename};
use crate::model::{Incident, Name, Notice, RunResult, Silence};
use crate::record::{Batch, StoreError, cells};
use serde_json::{Map, Value as Json};
use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments as _, AssertSqlSafe};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

/// How many lists of names are kept apart. Kinds have few; past this, results bring their names
/// along, so that a list that keeps changing cannot fill the memory.
const MAX_SHAPES: usize = 4096;

static RESULTS: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new(
        "INSERT OR REPLACE INTO results \
         (check_id, at, status, latency_us, reasons, shape_id, facts, stands_ms) VALUES ",
        8,
    )
});

static STATES: LazyLock<Insert> =
    LazyLock::new(|| Insert::new("INSERT OR REPLACE INTO states (check_id, body) VALUES ", 2));

static INCIDENTS: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new(
        "INSERT OR REPLACE INTO incidents (id, check_name, opened_at, resolved_at, body) VALUES ",
        5,
    )
});

static NOTICES: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new("INSERT OR REPLACE INTO notices (id, channel, state, at, sent_at, body) VALUES ", 6)
});

static UNLINK: LazyLock<Insert> = LazyLock::new(|| {
    Insert::within("DELETE FROM notice_incidents WHERE notice_id IN (VALUES ", 1, ")")
});

static LINK: LazyLock<Insert> = LazyLock::new(|| {
    Insert::new("INSERT OR IGNORE INTO notice_incidents (notice_id, incident_id) VALUES ", 2)
});

/// Writes the whole batch in one transaction.
pub(super) async fn commit(writing: &mut Writing, batch: &Batch) -> Result<(), StoreError> {
    let Writing { conn, checks, shapes } = writing;
    let mut tx = begin(conn).await?;
    rename::all(&mut tx, checks, &batch.renamed).await?;
    write_results(&mut tx, checks, shapes, &batch.results).await?;
    for name in &batch.removed {
        sqlx::query("DELETE FROM states WHERE check_id = (SELECT id FROM checks WHERE name = ?)")
            .bind(&**name)
            .execute(&mut *tx)
            .await?;
    }
    let mut states = Vec::with_capacity(batch.states.len());
    for (name, state) in &batch.states {
        states.push((check_id(&mut tx, checks, name).await?, state));
    }
    STATES
        .run(&mut tx, &states, |args, (id, state)| {
            args.add(*id)?;
            args.add(serde_json::to_string(state)?)
        })
        .await?;
    write_incidents(&mut tx, &batch.incidents).await?;
    write_notices(&mut tx, &batch.notices).await?;
    for silence in &batch.silences {
        write_silence(&mut tx, silence).await?;
    }
    tx.commit().await?;
    Ok(())
}

async fn write_results(
    conn: &mut SqliteConnection,
    checks: &mut HashMap<Name, i64>,
    shapes: &mut HashMap<Box<[u8]>, i64>,
    results: &[RunResult],
) -> Result<(), StoreError> {
    let mut rows = Vec::with_capacity(results.len());
    let mut names = Vec::new();
    for result in results {
        let check = check_id(conn, checks, &result.check).await?;
        let shape = match facts_of(result) {
            Some(facts) => {
                cells::write_names(facts, &mut names)?;
                shape_id(conn, shapes, &names).await?
            }
            None => None,
        };
        rows.push(Row { check, shape, result });
    }
    // In the order of the table each page is visited once. The sort is stable: of two results
    // with one key the later one stays.
    rows.sort_by_key(|row| (row.check, row.result.at));
    RESULTS.run(conn, &rows, bind_result).await
}

struct Row<'a> {
    check: i64,
    shape: Option<i64>,
    result: &'a RunResult,
}

fn bind_result(args: &mut SqliteArguments, row: &Row<'_>) -> Result<(), BoxDynError> {
    let facts = match (facts_of(row.result), row.shape) {
        (Some(facts), Some(_)) => Some(cells::encode_values(facts)?),
        (Some(_), None) => Some(cells::encode(&row.result.facts)?),
        // An empty object is what a reader gets where there is nothing; anything else that is not
        // an object is kept as it is.
        (None, _) if row.result.facts.is_object() => None,
        (None, _) => Some(cells::encode(&row.result.facts)?),
    };
    args.add(row.check)?;
    args.add(row.result.at.as_millis())?;
    args.add(cells::result_code(row.result))?;
    args.add(cells::to_micros(row.result.latency_ms))?;
    args.add(cells::encode_reasons(&row.result.reasons)?)?;
    args.add(row.shape)?;
    args.add(facts)?;
    args.add(cells::millis(row.result.stands_for))
}

/// The facts of a result, if there are any to take apart.
fn facts_of(result: &RunResult) -> Option<&Map<String, Json>> {
    result.facts.as_object().filter(|facts| !facts.is_empty())
}

async fn check_id(
    conn: &mut SqliteConnection,
    known: &mut HashMap<Name, i64>,
    name: &Name,
) -> Result<i64, StoreError> {
    if let Some(id) = known.get(name) {
        return Ok(*id);
    }
    let id = sqlx::query_scalar(
        "INSERT INTO checks (name) VALUES (?) \
         ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id",
    )
    .bind(&**name)
    .fetch_one(conn)
    .await?;
    known.insert(Name::clone(name), id);
    Ok(id)
}

async fn shape_id(
    conn: &mut SqliteConnection,
    known: &mut HashMap<Box<[u8]>, i64>,
    names: &[u8],
) -> Result<Option<i64>, StoreError> {
    if let Some(id) = known.get(names) {
        return Ok(Some(*id));
    }
    if known.len() >= MAX_SHAPES {
        return Ok(None);
    }
    let id = sqlx::query_scalar(
        "INSERT INTO shapes (names) VALUES (?) \
         ON CONFLICT (names) DO UPDATE SET names = excluded.names RETURNING id",
    )
    .bind(String::from_utf8_lossy(names).into_owned())
    .fetch_one(conn)
    .await?;
    known.insert(names.into(), id);
    Ok(Some(id))
}

async fn write_incidents(
    conn: &mut SqliteConnection,
    incidents: &[Incident],
) -> Result<(), StoreError> {
    INCIDENTS
        .run(conn, incidents, |args, incident| {
            args.add(incident.id.as_str())?;
            args.add(&*incident.check)?;
            args.add(incident.opened_at.as_millis())?;
            args.add(incident.resolved_at.map(|at| at.as_millis()))?;
            args.add(serde_json::to_string(incident)?)
        })
        .await
}

async fn write_notices(conn: &mut SqliteConnection, all: &[Notice]) -> Result<(), StoreError> {
    // What a notice is about goes by its latest version alone.
    let mut seen = HashSet::new();
    let notices: Vec<&Notice> =
        all.iter().rev().filter(|notice| seen.insert(notice.id.as_str())).collect();
    NOTICES
        .run(conn, &notices, |args, notice| {
            args.add(notice.id.as_str())?;
            args.add(&*notice.channel)?;
            args.add(notice.state.as_str())?;
            args.add(notice.at.as_millis())?;
            args.add(notice.sent_at.map(|at| at.as_millis()))?;
            args.add(serde_json::to_string(notice)?)
        })
        .await?;
    UNLINK.run(conn, &notices, |args, notice| args.add(notice.id.as_str())).await?;
    let links: Vec<(&str, &str)> = notices
        .iter()
        .flat_map(|notice| {
            notice.incidents.iter().map(|incident| (notice.id.as_str(), incident.id.as_str()))
        })
        .collect();
    LINK.run(conn, &links, |args, (notice, incident)| {
        args.add(*notice)?;
        args.add(*incident)
    })
    .await
}

async fn write_silence(conn: &mut SqliteConnection, silence: &Silence) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO silences (id, ends_at, body) VALUES (?, ?, ?) \
         ON CONFLICT (id) DO UPDATE SET ends_at = excluded.ends_at, body = excluded.body",
    )
    .bind(silence.id.as_str())
    .bind(silence.ends_at.as_millis())
    .bind(cells::encode(silence)?)
    .execute(conn)
    .await?;
    Ok(())
}

/// A statement over many rows, in as few statements as possible: each statement is a trip to SQLite's
/// thread and back, which costs more than the rows do.
struct Insert {
    /// The largest first, the last for a single row.
    statements: [(usize, Arc<str>); 3],
    columns: usize,
}

impl Insert {
    fn new(head: &str, columns: usize) -> Self {
        Self::within(head, columns, "")
    }

    /// The same for a statement that goes on after its rows.
    fn within(head: &str, columns: usize, tail: &str) -> Self {
        let row = format!("({})", vec!["?"; columns].join(","));
        let statements = [256, 16, 1].map(|rows| {
            (rows, Arc::from(format!("{head}{}{tail}", vec![row.as_str(); rows].join(","))))
        });
        Self { statements, columns }
    }

    async fn run<T: Sync>(
        &self,
        conn: &mut SqliteConnection,
        mut rows: &[T],
        bind: impl Fn(&mut SqliteArguments, &T) -> Result<(), BoxDynError> + Send + Sync,
    ) -> Result<(), StoreError> {
        for (size, sql) in &self.statements {
            while let Some((chunk, rest)) = rows.split_at_checked(*size) {
                let mut args = SqliteArguments::default();
                args.reserve(size * self.columns, 0);
                for row in chunk {
                    bind(&mut args, row).map_err(sqlx::Error::Encode)?;
                }
                sqlx::query_with(AssertSqlSafe(Arc::clone(sql)), args).execute(&mut *conn).await?;
                rows = rest;
            }
        }
        Ok(())
    }
}
