use super::{Conn, Pool, This, Writing, begin};
use crate::model::{NoticeState, Timestamp};
use crate::record::StoreError;
use crate::record::archive::rollup::Level;
use std::sync::atomic::Ordering;

/// Deletes the oldest results check by check, going on where the step before ended.
///
/// What to delete is found by a reader, so that the search holds up no writer.
pub(super) async fn results(
    store: &This,
    before: Timestamp,
    at_most: u32,
) -> Result<u64, StoreError> {
    let from = store.forget_from.load(Ordering::Relaxed);
    let mut spans = old_spans(&store.readers, from, i64::MAX, before, at_most).await?;
    let found: u32 = spans.iter().map(|span| span.results).sum();
    if found < at_most {
        let rest = at_most - found;
        spans.extend(old_spans(&store.readers, 0, from, before, rest).await?);
    }
    let Some(last) = spans.last().map(|span| span.check) else {
        forget_names(store).await?;
        return Ok(0);
    };
    let mut lease = store.lease().await?;
    let mut tx = begin(&mut lease.writing()?.conn).await?;
    let mut gone = 0;
    for span in &spans {
        gone += sqlx::query("DELETE FROM results WHERE check_id = $1 AND at <= $2")
            .bind(span.check)
            .bind(span.until)
            .execute(&mut *tx)
            .await?
            .rows_affected();
    }
    tx.commit().await?;
    lease.done();
    store.forget_from.store(last, Ordering::Relaxed);
    if gone < u64::from(at_most) {
        forget_names(store).await?;
    }
    Ok(gone)
}

/// Deletes blocks whose last result is too old.
pub(super) async fn blocks(
    writing: &mut Writing,
    before: Timestamp,
    at_most: u32,
) -> Result<u64, StoreError> {
    let gone = sqlx::query(
        "DELETE FROM blocks WHERE id IN ( \
             SELECT b.id FROM checks c CROSS JOIN blocks b \
             WHERE b.check_id = c.id AND b.last_at < $1 LIMIT $2)",
    )
    .bind(before.as_millis())
    .bind(i64::from(at_most))
    .execute(&mut writing.conn)
    .await?;
    Ok(gone.rows_affected())
}

/// Deletes old incidents and the notices that then are about nothing.
pub(super) async fn incidents(
    writing: &mut Writing,
    before: Timestamp,
    at_most: u32,
) -> Result<u64, StoreError> {
    let mut tx = begin(&mut writing.conn).await?;
    let incidents = sweep(
        &mut tx,
        "DELETE FROM incidents WHERE id IN ( \
             SELECT i.id FROM incidents i WHERE i.resolved_at < $1 AND NOT EXISTS ( \
                 SELECT 1 FROM notice_incidents l JOIN notices n ON n.id = l.notice_id \
                 WHERE l.incident_id = i.id AND n.state IN ($2, $3)) \
             ORDER BY i.resolved_at LIMIT $4) RETURNING id",
        "DELETE FROM notice_incidents WHERE incident_id = $1",
        before,
        at_most,
    )
    .await?;
    let notices = sweep(
        &mut tx,
        "DELETE FROM notices WHERE id IN ( \
             SELECT n.id FROM notices n WHERE n.at < $1 AND n.state NOT IN ($2, $3) AND NOT EXISTS ( \
                 SELECT 1 FROM notice_incidents l JOIN incidents i ON i.id = l.incident_id \
                 WHERE l.notice_id = n.id) \
             ORDER BY n.at LIMIT $4) RETURNING id",
        "DELETE FROM notice_incidents WHERE notice_id = $1",
        before,
        at_most,
    )
    .await?;
    tx.commit().await?;
    Ok(incidents.max(notices))
}

/// Deletes pages of roll-ups that end before `before`.
pub(super) async fn rollups(
    writing: &mut Writing,
    level: Level,
    before: Timestamp,
    at_most: u32,
) -> Result<u64, StoreError> {
    let gone = sqlx::query(
        "DELETE FROM rollups WHERE (check_id, level, page) IN ( \
             SELECT c.id, r.level, r.page FROM checks c CROSS JOIN rollups r \
             WHERE r.check_id = c.id AND r.level = $1 AND r.page < $2 LIMIT $3)",
    )
    .bind(level.code())
    .bind(before.before(level.longest_page()).as_millis())
    .bind(i64::from(at_most))
    .execute(&mut writing.conn)
    .await?;
    Ok(gone.rows_affected())
}

/// Deletes the silences that were over before `before`.
pub(super) async fn silences(writing: &mut Writing, before: Timestamp) -> Result<u64, StoreError> {
    let gone = sqlx::query("DELETE FROM silences WHERE ends_at < $1")
        .bind(before.as_millis())
        .execute(&mut writing.conn)
        .await?;
    Ok(gone.rows_affected())
}

/// Carries out `delete`, which spares what is owed and gives the ids of what it deleted, and
/// `unlink` for each of them. Gives their number.
async fn sweep(
    conn: &mut Conn,
    delete: &'static str,
    unlink: &'static str,
    before: Timestamp,
    at_most: u32,
) -> Result<u64, StoreError> {
    let ids: Vec<String> = sqlx::query_scalar(delete)
        .bind(before.as_millis())
        .bind(NoticeState::Pending.as_str())
        .bind(NoticeState::Held.as_str())
        .bind(i64::from(at_most))
        .fetch_all(&mut *conn)
        .await?;
    for id in &ids {
        sqlx::query(unlink).bind(id.as_str()).execute(&mut *conn).await?;
    }
    Ok(ids.len() as u64)
}

/// The oldest results of one check.
struct Span {
    check: i64,
    /// The time of the last of them.
    until: i64,
    results: u32,
}

async fn old_spans(
    readers: &Pool,
    from: i64,
    to: i64,
    before: Timestamp,
    at_most: u32,
) -> Result<Vec<Span>, StoreError> {
    // The cross join makes the planner go from check to check, where each one's oldest lie first.
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT r.check_id, r.at FROM checks c CROSS JOIN results r \
         WHERE c.id >= $1 AND c.id < $2 AND r.check_id = c.id AND r.at < $3 \
         ORDER BY c.id, r.at LIMIT $4",
    )
    .bind(from)
    .bind(to)
    .bind(before.as_millis())
    .bind(i64::from(at_most))
    .fetch_all(readers)
    .await?;
    let mut spans: Vec<Span> = Vec::new();
    for (check, at) in rows {
        match spans.last_mut() {
            Some(span) if span.check == check => {
                span.until = at;
                span.results += 1;
            }
            _ => spans.push(Span { check, until: at, results: 1 }),
        }
    }
    Ok(spans)
}

/// Deletes the names of checks of which nothing is left.
async fn forget_names(store: &This) -> Result<(), StoreError> {
    const NOTHING_LEFT: &str = "SELECT id FROM checks c WHERE NOT EXISTS \
        (SELECT 1 FROM states WHERE check_id = c.id) AND NOT EXISTS \
        (SELECT 1 FROM results WHERE check_id = c.id) AND NOT EXISTS \
        (SELECT 1 FROM blocks WHERE check_id = c.id) AND NOT EXISTS \
        (SELECT 1 FROM rollups WHERE check_id = c.id) LIMIT 1000";
    let found: Vec<i64> = sqlx::query_scalar(NOTHING_LEFT).fetch_all(&store.readers).await?;
    if found.is_empty() {
        return Ok(());
    }
    let mut lease = store.lease().await?;
    let Writing { conn, checks, .. } = lease.writing()?;
    let mut tx = begin(conn).await?;
    let mut gone = Vec::new();
    for id in found {
        // Since the search a result may have come in.
        let deleted = sqlx::query(
            "DELETE FROM checks WHERE id = $1 \
             AND NOT EXISTS (SELECT 1 FROM states WHERE check_id = checks.id) \
             AND NOT EXISTS (SELECT 1 FROM results WHERE check_id = checks.id)",
        )
        .bind(id)
        .execute(&mut *tx)
        .await?;
        if deleted.rows_affected() > 0 {
            gone.push(id);
        }
    }
    tx.commit().await?;
    checks.retain(|_, id| !gone.contains(id));
    lease.done();
    Ok(())
}
