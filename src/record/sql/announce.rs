use super::{Pool, Writing, read};
use crate::model::Announcement;
use crate::record::{StoreError, cells};

/// All announcements, newest first.
pub(super) async fn all(readers: &Pool) -> Result<Vec<Announcement>, StoreError> {
    let rows = sqlx::query("SELECT id, body FROM announcements ORDER BY id DESC")
        .fetch_all(readers)
        .await?;
    read::bodies(&rows, "announcement")
}

/// Writes one, in the place of the one with the same id.
pub(super) async fn put(
    writing: &mut Writing,
    announcement: &Announcement,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO announcements (id, body) VALUES ($1, $2) \
         ON CONFLICT (id) DO UPDATE SET body = EXCLUDED.body",
    )
    .bind(announcement.id.as_str())
    .bind(cells::encode(announcement)?)
    .execute(&mut writing.conn)
    .await?;
    Ok(())
}

/// Deletes one. Gives whether there was one.
pub(super) async fn forget(writing: &mut Writing, id: &str) -> Result<bool, StoreError> {
    let deleted = sqlx::query("DELETE FROM announcements WHERE id = $1")
        .bind(id)
        .execute(&mut writing.conn)
        .await?;
    Ok(deleted.rows_affected() > 0)
}
