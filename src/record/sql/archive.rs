//! Sealing results into blocks and roll-ups, and reading those.

use super::{Conn, Pool, This, Writing, begin, read};
use crate::model::{Name, RunResult, Timestamp};
use crate::record::archive::block::Newest;
use crate::record::archive::rollup::{self, Level, Packed, Rollups};
use crate::record::archive::seal::{Sealed, roll_up, seal};
use crate::record::{Days, Pace, Part, Sealing, StoreError};
use chrono_tz::Tz;
use sqlx::Row as _;
use std::sync::atomic::Ordering;

/// How many checks one step looks at.
const CHECKS: i64 = 64;

/// Seals what is due of the next checks.
pub(super) async fn step(
    store: &This,
    terms: &Sealing,
    now: Timestamp,
) -> Result<Pace, StoreError> {
    let from = store.seal_from.load(Ordering::Relaxed);
    let due = match due(store, terms, from, CHECKS).await {
        Err(error) if error.is_damage() => due_by_check(store, terms, from).await?,
        due => due?,
    };
    let mut pace =
        Pace { done: 0, more: i64::try_from(due.len()).is_ok_and(|seen| seen == CHECKS) };
    let too_old = now.before(terms.age).as_millis();
    for (id, name, oldest, full) in &due {
        let is_old = oldest.is_some_and(|oldest| oldest < too_old);
        if full.is_some() || is_old {
            pace.done += match seal_check(store, *id, &Name::from(name.as_str()), terms).await {
                // It keeps no other check from being sealed.
                Err(error) if error.is_damage() => {
                    tracing::error!(check = %name, %error, "its results could not be sealed");
                    0
                }
                sealed => sealed?,
            };
        }
    }
    let last = due.last().map_or(0, |(id, ..)| *id);
    store.seal_from.store(if pace.more { last } else { 0 }, Ordering::Relaxed);
    Ok(pace)
}

/// A check: its number and name, the time of its oldest result, and of the one that makes a block full.
type Due = (i64, String, Option<i64>, Option<i64>);

/// Up to `count` checks after number `from`.
async fn due(store: &This, terms: &Sealing, from: i64, count: i64) -> Result<Vec<Due>, StoreError> {
    let due = sqlx::query_as(
        "SELECT id, name, \
             (SELECT at FROM results WHERE check_id = c.id ORDER BY at LIMIT 1), \
             (SELECT at FROM results WHERE check_id = c.id ORDER BY at LIMIT 1 OFFSET $1) \
         FROM checks c WHERE id > $2 ORDER BY id LIMIT $3",
    )
    .bind(i64::from(terms.results))
    .bind(from)
    .bind(count)
    .fetch_all(&store.readers)
    .await?;
    Ok(due)
}

/// The same check by check, where the results of one of them are damaged: it counts as having none.
async fn due_by_check(store: &This, terms: &Sealing, from: i64) -> Result<Vec<Due>, StoreError> {
    let checks: Vec<(i64, String)> =
        sqlx::query_as("SELECT id, name FROM checks WHERE id > $1 ORDER BY id LIMIT $2")
            .bind(from)
            .bind(CHECKS)
            .fetch_all(&store.readers)
            .await?;
    let mut all = Vec::with_capacity(checks.len());
    for (id, name) in checks {
        match due(store, terms, id - 1, 1).await {
            Ok(due) => all.extend(due),
            Err(error) if error.is_damage() => {
                tracing::error!(check = %name, %error, "its results could not be sealed");
                all.push((id, name, None, None));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Seals the oldest results of one check. The last one of all stays, since nobody knows yet how
/// long it stands.
async fn seal_check(
    store: &This,
    id: i64,
    name: &Name,
    terms: &Sealing,
) -> Result<u64, StoreError> {
    let rows = sqlx::query(
        "SELECT r.at, CAST(r.status AS BIGINT), r.latency_us, r.reasons, s.names, r.facts, r.stands_ms \
         FROM results r LEFT JOIN shapes s ON s.id = r.shape_id \
         WHERE r.check_id = $1 ORDER BY r.at LIMIT $2",
    )
    .bind(id)
    .bind(i64::from(terms.results) + 1)
    .fetch_all(&store.readers)
    .await?;
    let mut results =
        rows.iter().map(|row| read::result(name, row)).collect::<Result<Vec<_>, _>>()?;
    let Some(next) = results.pop() else { return Ok(0) };
    if results.is_empty() {
        return Ok(0);
    }
    let sealed = seal(&results, Some(next.at), terms.zone)
        .map_err(|error| error.at(format!("the results of check {name}")))?;
    let mut lease = store.lease().await?;
    let wrote = write(lease.writing()?, id, name, &sealed, terms.zone).await?;
    lease.done();
    Ok(if wrote { u64::from(sealed.count) } else { 0 })
}

/// Writes what is sealed and deletes its rows, if they are still those that were read.
async fn write(
    writing: &mut Writing,
    id: i64,
    name: &Name,
    sealed: &Sealed,
    zone: Tz,
) -> Result<bool, StoreError> {
    let mut tx = begin(&mut writing.conn).await?;
    let gone = sqlx::query("DELETE FROM results WHERE check_id = $1 AND at BETWEEN $2 AND $3")
        .bind(id)
        .bind(sealed.first.as_millis())
        .bind(sealed.last.as_millis())
        .execute(&mut *tx)
        .await?
        .rows_affected();
    if gone != u64::from(sealed.count) {
        // One more came in between, by a clock that went back. The next step finds it.
        tx.rollback().await?;
        return Ok(false);
    }
    sqlx::query(
        "INSERT INTO blocks (check_id, first_at, last_at, results, body) VALUES ($1,$2,$3,$4,$5)",
    )
    .bind(id)
    .bind(sealed.first.as_millis())
    .bind(sealed.last.as_millis())
    .bind(i64::from(sealed.count))
    .bind(sealed.block.as_slice())
    .execute(&mut *tx)
    .await?;
    for (level, rollups) in &sealed.rollups {
        for (page, more) in rollup::by_page(*level, rollups, zone) {
            add_to_page(&mut tx, id, name, *level, page, &more).await?;
        }
    }
    tx.commit().await?;
    Ok(true)
}

async fn add_to_page(
    conn: &mut Conn,
    id: i64,
    name: &Name,
    level: Level,
    page: Timestamp,
    more: &Rollups,
) -> Result<(), StoreError> {
    let old: Option<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
        "SELECT tallies, sketches FROM rollups WHERE check_id = $1 AND level = $2 AND page = $3",
    )
    .bind(id)
    .bind(level.code())
    .bind(page.as_millis())
    .fetch_optional(&mut *conn)
    .await?;
    let old = old.map(|(tallies, sketches)| Packed { tallies, sketches });
    let packed = rollup::add(old, more)
        .map_err(|error| error.at(format!("the roll-ups of check {name} from {page} on")))?;
    sqlx::query(
        "INSERT INTO rollups (check_id, level, page, tallies, sketches) VALUES ($1,$2,$3,$4,$5) \
         ON CONFLICT (check_id, level, page) DO UPDATE \
         SET tallies = EXCLUDED.tallies, sketches = EXCLUDED.sketches",
    )
    .bind(id)
    .bind(level.code())
    .bind(page.as_millis())
    .bind(packed.tallies)
    .bind(packed.sketches)
    .execute(conn)
    .await?;
    Ok(())
}

/// Adds to `rows`, the newest results before a time, those in blocks, until there are `wanted` of
/// them or no more.
pub(super) async fn with_blocks(
    readers: &Pool,
    check: &Name,
    before: i64,
    wanted: usize,
    rows: Vec<RunResult>,
) -> Result<Vec<RunResult>, StoreError> {
    let mut newest = Newest::new(check, before, wanted, rows);
    let mut cursor = (i64::MAX, i64::MAX);
    loop {
        let next = sqlx::query(
            "SELECT id, last_at, body FROM blocks \
             WHERE check_id = (SELECT id FROM checks WHERE name = $1) \
               AND first_at < $2 AND (last_at, id) < ($3, $4) \
             ORDER BY last_at DESC, id DESC LIMIT 1",
        )
        .bind(&**check)
        .bind(before)
        .bind(cursor.0)
        .bind(cursor.1)
        .fetch_optional(readers)
        .await?;
        let Some(row) = next else { return Ok(newest.take()) };
        cursor = (row.try_get(1)?, row.try_get(0)?);
        if !newest.needs(cursor.0) {
            return Ok(newest.take());
        }
        newest.add(cursor.1, row.try_get(2)?)?;
    }
}

/// The roll-ups of a check that begin within each of `parts`, with what is not sealed yet.
pub(super) async fn rollups(
    readers: &Pool,
    check: &Name,
    parts: &[Part],
    zone: Tz,
) -> Result<Vec<Rollups>, StoreError> {
    let recent = read::unsealed(readers, check).await?;
    let mut all = Vec::with_capacity(parts.len());
    for part in parts {
        let mut rollups = pages(readers, check, part).await?;
        rollup::merge(&mut rollups, &roll_up(part.level, &recent, Some(part.to), zone));
        rollups.retain(|start, _| part.from <= *start && *start < part.to);
        all.push(rollups);
    }
    Ok(all)
}

/// The roll-ups on all pages that `part` touches.
async fn pages(readers: &Pool, check: &Name, part: &Part) -> Result<Rollups, StoreError> {
    let pages: Vec<(i64, Vec<u8>, Vec<u8>)> = sqlx::query_as(
        "SELECT page, tallies, sketches FROM rollups \
         WHERE check_id = (SELECT id FROM checks WHERE name = $1) AND level = $2 \
           AND page >= $3 AND page < $4",
    )
    .bind(&**check)
    .bind(part.level.code())
    .bind(part.from.before(part.level.longest_page()).as_millis())
    .bind(part.to.as_millis())
    .fetch_all(readers)
    .await?;
    let mut all = Rollups::new();
    for (page, tallies, sketches) in pages {
        let page = Timestamp::from_millis(page);
        let more = rollup::unpack(&Packed { tallies, sketches })
            .map_err(|error| error.at(format!("the roll-ups of check {check} from {page} on")))?;
        rollup::merge(&mut all, &more);
    }
    Ok(all)
}

const _: () = assert!(Level::Day.code() == 2, "as the index and the question of days have it");

/// The tallies by day of all checks, as far as they are sealed.
pub(super) async fn days(
    readers: &Pool,
    (from, to): (Timestamp, Timestamp),
) -> Result<Days, StoreError> {
    // The level stands in the words, since the index of days is found by them.
    let pages = sqlx::query(
        "SELECT c.name, r.tallies FROM checks c CROSS JOIN rollups r \
         WHERE r.check_id = c.id AND r.level = 2 AND r.page >= $1 AND r.page < $2 \
         ORDER BY c.id, r.page",
    )
    .bind(from.before(Level::Day.longest_page()).as_millis())
    .bind(to.as_millis())
    .fetch_all(readers)
    .await?;
    let mut all = Days::new();
    for row in &pages {
        let name: &str = row.try_get(0)?;
        let tallies = rollup::unpack_tallies(row.try_get(1)?)
            .map_err(|error| error.at(format!("the days of check {name}")))?;
        let days = tallies.into_iter().filter(|(start, _)| from <= *start && *start < to);
        match all.last_mut() {
            Some((last, known)) if **last == *name => known.extend(days),
            _ => all.push((name.into(), days.collect())),
        }
    }
    Ok(all)
}
