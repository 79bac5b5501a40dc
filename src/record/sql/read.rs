use super::{Db, Pool, Row, archive};
use crate::model::{Incident, Name, Notice, NoticeState, RunResult, Timestamp};
use crate::record::cells::ResultCells;
use crate::record::cursor::{Cursor, List, limit, paged};
use crate::record::{
    IncidentFilter, NoticeFilter, Page, Paged, Saved, StoreError, cells, retention,
};
use serde::de::DeserializeOwned;
use sqlx::{QueryBuilder, Row as _};

/// What a start needs to know. A row that cannot be read is named and left out: watching goes on
/// with the others.
pub(super) async fn load(readers: &Pool, since: Timestamp) -> Result<Saved, StoreError> {
    let mut saved = Saved::default();
    let states: Vec<(String, String)> = sqlx::query_as(
        "SELECT c.name, s.body FROM states s JOIN checks c ON c.id = s.check_id ORDER BY c.id",
    )
    .fetch_all(readers)
    .await?;
    for (name, body) in states {
        match cells::decode(&body, || format!("the state of check {name}")) {
            Ok(state) => saved.states.push((name.into(), state)),
            Err(error) => saved.unreadable.push(error.to_string()),
        }
    }
    let notices: Vec<(String, String)> = sqlx::query_as(
        "SELECT id, body FROM notices WHERE id IN ( \
             SELECT id FROM notices WHERE state IN ($1, $2) \
             UNION SELECT id FROM notices WHERE sent_at >= $3 \
             UNION SELECT n.notice_id FROM incidents i \
                 JOIN notice_incidents n ON n.incident_id = i.id WHERE i.resolved_at IS NULL \
             UNION SELECT told.notice_id FROM notices n \
                 JOIN notice_incidents owed ON owed.notice_id = n.id \
                 JOIN notice_incidents told ON told.incident_id = owed.incident_id \
                 WHERE n.state IN ($4, $5) \
         ) ORDER BY at, id",
    )
    .bind(NoticeState::Pending.as_str())
    .bind(NoticeState::Held.as_str())
    .bind(since.as_millis())
    .bind(NoticeState::Pending.as_str())
    .bind(NoticeState::Held.as_str())
    .fetch_all(readers)
    .await?;
    for (id, body) in notices {
        match cells::decode(&body, || format!("notice {id}")) {
            Ok(notice) => saved.notices.push(notice),
            Err(error) => saved.unreadable.push(error.to_string()),
        }
    }
    let silences: Vec<(String, String)> =
        sqlx::query_as("SELECT id, body FROM silences WHERE ends_at >= $1 ORDER BY id")
            .bind(since.before(retention::SILENCES).as_millis())
            .fetch_all(readers)
            .await?;
    for (id, body) in silences {
        match cells::decode(&body, || format!("silence {id}")) {
            Ok(silence) => saved.silences.push(silence),
            Err(error) => saved.unreadable.push(error.to_string()),
        }
    }
    Ok(saved)
}

/// The results of a check, newest first.
pub(super) async fn results(
    readers: &Pool,
    check: &str,
    page: &Page,
) -> Result<Paged<RunResult>, StoreError> {
    let before = match &page.cursor {
        Some(text) => Cursor::decode(List::Results, text)?.at.as_millis(),
        // No clock gets there, so nothing is lost by leaving out this one millisecond.
        None => i64::MAX,
    };
    let rows = sqlx::query(
        "SELECT r.at, CAST(r.status AS BIGINT), r.latency_us, r.reasons, s.names, r.facts, r.stands_ms \
         FROM results r LEFT JOIN shapes s ON s.id = r.shape_id \
         WHERE r.check_id = (SELECT id FROM checks WHERE name = $1) AND r.at < $2 \
         ORDER BY r.at DESC LIMIT $3",
    )
    .bind(check)
    .bind(before)
    .bind(limit(page) + 1)
    .fetch_all(readers)
    .await?;
    let name = Name::from(check);
    let rows = rows.iter().map(|row| result(&name, row)).collect::<Result<Vec<_>, _>>()?;
    let wanted = usize::try_from(limit(page) + 1).unwrap_or(usize::MAX);
    let items = archive::with_blocks(readers, &name, before, wanted, rows).await?;
    Ok(paged(items, page, List::Results, |last| Cursor { at: last.at, id: String::new() }))
}

/// Incidents, newest first.
pub(super) async fn incidents(
    readers: &Pool,
    filter: &IncidentFilter,
    page: &Page,
) -> Result<Paged<Incident>, StoreError> {
    let mut query = QueryBuilder::<Db>::new("SELECT id, body FROM incidents WHERE TRUE");
    match filter.open {
        Some(true) => query.push(" AND resolved_at IS NULL"),
        Some(false) => query.push(" AND resolved_at IS NOT NULL"),
        None => &mut query,
    };
    if let Some(check) = &filter.check {
        query.push(" AND check_name = ").push_bind(check.as_str());
    }
    if let Some(text) = &page.cursor {
        let cursor = Cursor::decode(List::Incidents, text)?;
        query.push(" AND (opened_at, id) < (").push_bind(cursor.at.as_millis());
        query.push(", ").push_bind(cursor.id).push(")");
    }
    query.push(" ORDER BY opened_at DESC, id DESC LIMIT ").push_bind(limit(page) + 1);
    let rows = query.build().fetch_all(readers).await?;
    let items = bodies(&rows, "incident")?;
    Ok(paged(items, page, List::Incidents, |last: &Incident| Cursor {
        at: last.opened_at,
        id: last.id.clone(),
    }))
}

/// One incident.
pub(super) async fn incident(readers: &Pool, id: &str) -> Result<Option<Incident>, StoreError> {
    let row = sqlx::query("SELECT id, body FROM incidents WHERE id = $1")
        .bind(id)
        .fetch_optional(readers)
        .await?;
    row.map(|row| body(&row, "incident")).transpose()
}

/// Notices, newest first.
pub(super) async fn notices(
    readers: &Pool,
    filter: &NoticeFilter,
    page: &Page,
) -> Result<Paged<Notice>, StoreError> {
    let mut query = QueryBuilder::<Db>::new("SELECT id, body FROM notices WHERE TRUE");
    if let Some(state) = filter.state {
        query.push(" AND state = ").push_bind(state.as_str());
    }
    if let Some(channel) = &filter.channel {
        query.push(" AND channel = ").push_bind(channel.as_str());
    }
    if let Some(incident) = &filter.incident {
        query
            .push(" AND id IN (SELECT notice_id FROM notice_incidents WHERE incident_id = ")
            .push_bind(incident.as_str())
            .push(")");
    }
    if let Some(text) = &page.cursor {
        let cursor = Cursor::decode(List::Notices, text)?;
        query.push(" AND (at, id) < (").push_bind(cursor.at.as_millis());
        query.push(", ").push_bind(cursor.id).push(")");
    }
    query.push(" ORDER BY at DESC, id DESC LIMIT ").push_bind(limit(page) + 1);
    let rows = query.build().fetch_all(readers).await?;
    let items = bodies(&rows, "notice")?;
    Ok(paged(items, page, List::Notices, |last: &Notice| Cursor {
        at: last.at,
        id: last.id.clone(),
    }))
}

/// One notice.
pub(super) async fn notice(readers: &Pool, id: &str) -> Result<Option<Notice>, StoreError> {
    let row = sqlx::query("SELECT id, body FROM notices WHERE id = $1")
        .bind(id)
        .fetch_optional(readers)
        .await?;
    row.map(|row| body(&row, "notice")).transpose()
}

pub(super) fn bodies<T: DeserializeOwned>(rows: &[Row], what: &str) -> Result<Vec<T>, StoreError> {
    rows.iter().map(|row| body(row, what)).collect()
}

fn body<T: DeserializeOwned>(row: &Row, what: &str) -> Result<T, StoreError> {
    let id: &str = row.try_get(0)?;
    cells::decode(row.try_get(1)?, || format!("{what} {id}"))
}

/// All results of a check that stand in rows, oldest first.
pub(super) async fn unsealed(readers: &Pool, check: &Name) -> Result<Vec<RunResult>, StoreError> {
    let rows = sqlx::query(
        "SELECT r.at, CAST(r.status AS BIGINT), r.latency_us, r.reasons, s.names, r.facts, r.stands_ms \
         FROM results r LEFT JOIN shapes s ON s.id = r.shape_id \
         WHERE r.check_id = (SELECT id FROM checks WHERE name = $1) ORDER BY r.at",
    )
    .bind(&**check)
    .fetch_all(readers)
    .await?;
    rows.iter().map(|row| result(check, row)).collect()
}

/// The result in a row with the columns time, status, latency, reasons, names and values of facts,
/// and how long it stands.
pub(super) fn result(check: &Name, row: &Row) -> Result<RunResult, StoreError> {
    let cells = ResultCells {
        at: row.try_get(0)?,
        code: row.try_get(1)?,
        latency_us: row.try_get(2)?,
        reasons: row.try_get(3)?,
        names: row.try_get(4)?,
        facts: row.try_get(5)?,
        stands_ms: row.try_get(6)?,
    };
    cells.read(check)
}
