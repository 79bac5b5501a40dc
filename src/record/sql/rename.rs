use super::Conn;
use crate::model::{Incident, Name, Notice};
use crate::record::{StoreError, cells};
use std::collections::HashMap;

/// How many incidents and notices of a check say its new name: the latest, by which limits and digests
/// go. What is older is found by the new name, and says the one by which it was told.
const LATEST: i64 = 1000;

/// Gives the past of checks to their new names; `known` are the numbers of the checks.
pub(super) async fn all(
    conn: &mut Conn,
    known: &mut HashMap<Name, i64>,
    renamed: &[(Name, Name)],
) -> Result<(), StoreError> {
    for (old, new) in renamed {
        if let Some(id) = known.get(old).copied() {
            take_over(conn, (old, new), id).await?;
            known.remove(old);
            known.insert(new.clone(), id);
        }
        notices(conn, old, new).await?;
        incidents(conn, old, new).await?;
    }
    Ok(())
}

/// The number stays, and gets another name.
async fn take_over(conn: &mut Conn, (old, new): (&Name, &Name), id: i64) -> Result<(), StoreError> {
    // A check of that name that is no longer there: no check can be called so, and it is forgotten in
    // its time.
    sqlx::query("UPDATE checks SET name = name || '~' || id WHERE name = $1 AND id <> $2")
        .bind(&**new)
        .bind(id)
        .execute(&mut *conn)
        .await?;
    sqlx::query("UPDATE checks SET name = $1 WHERE name = $2")
        .bind(&**new)
        .bind(&**old)
        .execute(conn)
        .await?;
    Ok(())
}

async fn notices(conn: &mut Conn, old: &Name, new: &Name) -> Result<(), StoreError> {
    let found: Vec<(String, String)> = sqlx::query_as(
        "SELECT n.id, n.body FROM notices n WHERE n.id IN ( \
             SELECT l.notice_id FROM notice_incidents l JOIN incidents i ON i.id = l.incident_id \
             WHERE i.check_name = $1) \
         ORDER BY n.at DESC, n.id DESC LIMIT $2",
    )
    .bind(&**old)
    .bind(LATEST)
    .fetch_all(&mut *conn)
    .await?;
    for (id, body) in found {
        // What cannot be read is left as it is.
        let Ok(mut notice) = serde_json::from_str::<Notice>(&body) else { continue };
        if notice.rename(old, new) {
            sqlx::query("UPDATE notices SET body = $1 WHERE id = $2")
                .bind(cells::encode(&notice)?)
                .bind(id)
                .execute(&mut *conn)
                .await?;
        }
    }
    Ok(())
}

async fn incidents(conn: &mut Conn, old: &Name, new: &Name) -> Result<(), StoreError> {
    let found: Vec<(String, i64, String)> = sqlx::query_as(
        "SELECT id, opened_at, body FROM incidents WHERE check_name = $1 \
         ORDER BY opened_at DESC, id DESC LIMIT $2",
    )
    .bind(&**old)
    .bind(LATEST)
    .fetch_all(&mut *conn)
    .await?;
    for (id, _, body) in &found {
        // An alert that was sent in keeps its name, and so does what cannot be read.
        let Ok(mut incident) = serde_json::from_str::<Incident>(body) else { continue };
        if incident.rename(old, new) {
            sqlx::query("UPDATE incidents SET check_name = $1, body = $2 WHERE id = $3")
                .bind(&**new)
                .bind(cells::encode(&incident)?)
                .bind(id)
                .execute(&mut *conn)
                .await?;
        }
    }
    if let Some((_, oldest, _)) = found.last() {
        sqlx::query(
            "UPDATE incidents SET check_name = $1 WHERE check_name = $2 AND opened_at < $3",
        )
        .bind(&**new)
        .bind(&**old)
        .bind(*oldest)
        .execute(conn)
        .await?;
    }
    Ok(())
}
