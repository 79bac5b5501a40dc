use super::{Conn, Writing, begin, rename};
use crate::model::{Incident, Name, Notice, RunResult};
use crate::record::{Batch, StoreError, cells};
use serde_json::{Map, Value as Json};
use std::collections::{BTreeMap, HashMap};

/// How many lists of names are kept apart. Kinds have few; past this, results bring their names
/// along, so that a list that keeps changing cannot fill the memory.
const MAX_SHAPES: usize = 4096;

/// Writes the whole batch in one transaction.
pub(super) async fn commit(writing: &mut Writing, batch: &Batch) -> Result<(), StoreError> {
    let Writing { conn, checks, shapes } = writing;
    let mut tx = begin(conn).await?;
    rename::all(&mut tx, checks, &batch.renamed).await?;
    let names = batch.results.iter().map(|result| &result.check);
    let names = names.chain(batch.states.iter().map(|(name, _)| name));
    learn_checks(&mut tx, checks, names).await?;
    write_results(&mut tx, checks, shapes, &batch.results).await?;
    if !batch.removed.is_empty() {
        let removed: Vec<&str> = batch.removed.iter().map(|name| &**name).collect();
        sqlx::query(
            "DELETE FROM states WHERE check_id IN (SELECT id FROM checks WHERE name = ANY($1))",
        )
        .bind(removed)
        .execute(&mut *tx)
        .await?;
    }
    write_states(&mut tx, checks, batch).await?;
    write_incidents(&mut tx, &batch.incidents).await?;
    write_notices(&mut tx, &batch.notices).await?;
    write_silences(&mut tx, batch).await?;
    tx.commit().await?;
    Ok(())
}

/// Gives a number to each check that has none.
async fn learn_checks<'n>(
    conn: &mut Conn,
    known: &mut HashMap<Name, i64>,
    names: impl Iterator<Item = &'n Name>,
) -> Result<(), StoreError> {
    let mut new: Vec<&str> =
        names.filter(|name| !known.contains_key(*name)).map(|name| &**name).collect();
    new.sort_unstable();
    new.dedup();
    if new.is_empty() {
        return Ok(());
    }
    let numbers: Vec<(String, i64)> = sqlx::query_as(
        "INSERT INTO checks (name) SELECT unnest($1::text[]) \
         ON CONFLICT (name) DO UPDATE SET name = EXCLUDED.name RETURNING name, id",
    )
    .bind(new)
    .fetch_all(conn)
    .await?;
    known.extend(numbers.into_iter().map(|(name, id)| (Name::from(name), id)));
    Ok(())
}

/// The columns of results.
#[derive(Default)]
struct Results {
    check: Vec<i64>,
    at: Vec<i64>,
    status: Vec<i16>,
    latency: Vec<i64>,
    stands: Vec<i64>,
    reasons: Vec<Option<String>>,
    shape: Vec<Option<i64>>,
    facts: Vec<Option<String>>,
}

async fn write_results(
    conn: &mut Conn,
    checks: &HashMap<Name, i64>,
    shapes: &mut HashMap<String, i64>,
    results: &[RunResult],
) -> Result<(), StoreError> {
    // One statement may not write a row twice; of two results with one key the later one stays.
    let rows: BTreeMap<(i64, i64), &RunResult> = results
        .iter()
        .filter_map(|result| Some(((*checks.get(&result.check)?, result.at.as_millis()), result)))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let mut columns = Results::default();
    let mut names = Vec::new();
    for ((check, at), result) in rows {
        let facts = result.facts.as_object().filter(|facts| !facts.is_empty());
        let shape = match facts {
            Some(facts) => {
                cells::write_names(facts, &mut names)?;
                shape_id(conn, shapes, &names).await?
            }
            None => None,
        };
        columns.check.push(check);
        columns.at.push(at);
        columns.status.push(i16::try_from(cells::result_code(result)).unwrap_or_default());
        columns.latency.push(cells::to_micros(result.latency_ms));
        columns.stands.push(cells::millis(result.stands_for));
        columns.reasons.push(cells::encode_reasons(&result.reasons)?);
        columns.shape.push(shape);
        columns.facts.push(values_of(&result.facts, facts, shape)?);
    }
    sqlx::query(
        "INSERT INTO results \
             (check_id, at, status, latency_us, stands_ms, reasons, shape_id, facts) \
         SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[], \
             $5::bigint[], $6::text[], $7::bigint[], $8::text[]) \
         ON CONFLICT (check_id, at) DO UPDATE SET status = EXCLUDED.status, \
             latency_us = EXCLUDED.latency_us, stands_ms = EXCLUDED.stands_ms, \
             reasons = EXCLUDED.reasons, shape_id = EXCLUDED.shape_id, facts = EXCLUDED.facts",
    )
    .bind(columns.check)
    .bind(columns.at)
    .bind(columns.status)
    .bind(columns.latency)
    .bind(columns.stands)
    .bind(columns.reasons)
    .bind(columns.shape)
    .bind(columns.facts)
    .execute(conn)
    .await?;
    Ok(())
}

fn values_of(
    whole: &Json,
    facts: Option<&Map<String, Json>>,
    shape: Option<i64>,
) -> Result<Option<String>, StoreError> {
    match (facts, shape) {
        (Some(facts), Some(_)) => cells::encode_values(facts).map(Some),
        // An empty object is what a reader gets where there is nothing.
        (None, _) if whole.is_object() => Ok(None),
        _ => cells::encode(whole).map(Some),
    }
}

async fn shape_id(
    conn: &mut Conn,
    known: &mut HashMap<String, i64>,
    names: &[u8],
) -> Result<Option<i64>, StoreError> {
    let names = String::from_utf8_lossy(names);
    if let Some(id) = known.get(&*names) {
        return Ok(Some(*id));
    }
    if known.len() >= MAX_SHAPES {
        return Ok(None);
    }
    let id = sqlx::query_scalar(
        "INSERT INTO shapes (names) VALUES ($1) \
         ON CONFLICT (names) DO UPDATE SET names = EXCLUDED.names RETURNING id",
    )
    .bind(&*names)
    .fetch_one(conn)
    .await?;
    known.insert(names.into_owned(), id);
    Ok(Some(id))
}

async fn write_states(
    conn: &mut Conn,
    checks: &HashMap<Name, i64>,
    batch: &Batch,
) -> Result<(), StoreError> {
    let mut states = BTreeMap::new();
    for (name, state) in &batch.states {
        if let Some(id) = checks.get(name) {
            states.insert(*id, cells::encode(state)?);
        }
    }
    if states.is_empty() {
        return Ok(());
    }
    let (ids, bodies): (Vec<i64>, Vec<String>) = states.into_iter().unzip();
    sqlx::query(
        "INSERT INTO states (check_id, body) SELECT * FROM unnest($1::bigint[], $2::text[]) \
         ON CONFLICT (check_id) DO UPDATE SET body = EXCLUDED.body",
    )
    .bind(ids)
    .bind(bodies)
    .execute(conn)
    .await?;
    Ok(())
}

/// The last of each id, in the order of the ids.
fn latest<T>(items: &[T], id: impl Fn(&T) -> &str) -> Vec<&T> {
    let by_id: BTreeMap<&str, &T> = items.iter().map(|item| (id(item), item)).collect();
    by_id.into_values().collect()
}

async fn write_incidents(conn: &mut Conn, all: &[Incident]) -> Result<(), StoreError> {
    let incidents = latest(all, |incident| &incident.id);
    if incidents.is_empty() {
        return Ok(());
    }
    let bodies = incidents.iter().map(cells::encode).collect::<Result<Vec<_>, _>>()?;
    sqlx::query(
        "INSERT INTO incidents (id, check_name, opened_at, resolved_at, body) \
         SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[]) \
         ON CONFLICT (id) DO UPDATE SET check_name = EXCLUDED.check_name, \
             opened_at = EXCLUDED.opened_at, resolved_at = EXCLUDED.resolved_at, \
             body = EXCLUDED.body",
    )
    .bind(incidents.iter().map(|it| it.id.as_str()).collect::<Vec<_>>())
    .bind(incidents.iter().map(|it| &*it.check).collect::<Vec<_>>())
    .bind(incidents.iter().map(|it| it.opened_at.as_millis()).collect::<Vec<_>>())
    .bind(incidents.iter().map(|it| it.resolved_at.map(|at| at.as_millis())).collect::<Vec<_>>())
    .bind(bodies)
    .execute(conn)
    .await?;
    Ok(())
}

async fn write_notices(conn: &mut Conn, all: &[Notice]) -> Result<(), StoreError> {
    let notices = latest(all, |notice| &notice.id);
    if notices.is_empty() {
        return Ok(());
    }
    let bodies = notices.iter().map(cells::encode).collect::<Result<Vec<_>, _>>()?;
    let ids: Vec<&str> = notices.iter().map(|it| it.id.as_str()).collect();
    sqlx::query(
        "INSERT INTO notices (id, channel, state, at, sent_at, body) \
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], \
             $6::text[]) \
         ON CONFLICT (id) DO UPDATE SET channel = EXCLUDED.channel, state = EXCLUDED.state, \
             at = EXCLUDED.at, sent_at = EXCLUDED.sent_at, body = EXCLUDED.body",
    )
    .bind(&ids)
    .bind(notices.iter().map(|it| &*it.channel).collect::<Vec<_>>())
    .bind(notices.iter().map(|it| it.state.as_str()).collect::<Vec<_>>())
    .bind(notices.iter().map(|it| it.at.as_millis()).collect::<Vec<_>>())
    .bind(notices.iter().map(|it| it.sent_at.map(|at| at.as_millis())).collect::<Vec<_>>())
    .bind(bodies)
    .execute(&mut *conn)
    .await?;
    sqlx::query("DELETE FROM notice_incidents WHERE notice_id = ANY($1)")
        .bind(&ids)
        .execute(&mut *conn)
        .await?;
    let (about, incidents): (Vec<&str>, Vec<&str>) = notices
        .iter()
        .flat_map(|notice| {
            notice.incidents.iter().map(|incident| (notice.id.as_str(), incident.id.as_str()))
        })
        .unzip();
    sqlx::query(
        "INSERT INTO notice_incidents (notice_id, incident_id) \
         SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING",
    )
    .bind(about)
    .bind(incidents)
    .execute(conn)
    .await?;
    Ok(())
}

async fn write_silences(conn: &mut Conn, batch: &Batch) -> Result<(), StoreError> {
    for silence in &batch.silences {
        sqlx::query(
            "INSERT INTO silences (id, ends_at, body) VALUES ($1, $2, $3) \
             ON CONFLICT (id) DO UPDATE SET ends_at = EXCLUDED.ends_at, body = EXCLUDED.body",
        )
        .bind(silence.id.as_str())
        .bind(silence.ends_at.as_millis())
        .bind(cells::encode(silence)?)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}
