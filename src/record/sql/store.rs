//! The contract of a store, kept in SQL that SQLite and PostgreSQL both understand.
//!
//! The files of this folder are modules of `sqlite` as well as of `postgres`: they are compiled once for
//! each, and `super` says for which. What the two do not have in common (opening, and writing many
//! rows at once) stands there.

use super::{This, announce, archive, forget, read, write};
use crate::model::{Announcement, Incident, Notice, RunResult, Timestamp};
use crate::record::archive::rollup::{Level, Rollups};
use crate::record::{
    Batch, Days, IncidentFilter, NoticeFilter, Pace, Page, Paged, Part, Saved, Sealing, Store,
    StoreError,
};
use async_trait::async_trait;
use chrono_tz::Tz;

#[async_trait]
impl Store for This {
    async fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut lease = self.lease().await?;
        write::commit(lease.writing()?, batch).await?;
        lease.done();
        Ok(())
    }

    async fn load(&self, since: Timestamp) -> Result<Saved, StoreError> {
        read::load(&self.readers, since).await
    }

    async fn results(&self, check: &str, page: &Page) -> Result<Paged<RunResult>, StoreError> {
        read::results(&self.readers, check, page).await
    }

    async fn incidents(
        &self,
        filter: &IncidentFilter,
        page: &Page,
    ) -> Result<Paged<Incident>, StoreError> {
        read::incidents(&self.readers, filter, page).await
    }

    async fn incident(&self, id: &str) -> Result<Option<Incident>, StoreError> {
        read::incident(&self.readers, id).await
    }

    async fn notices(
        &self,
        filter: &NoticeFilter,
        page: &Page,
    ) -> Result<Paged<Notice>, StoreError> {
        read::notices(&self.readers, filter, page).await
    }

    async fn notice(&self, id: &str) -> Result<Option<Notice>, StoreError> {
        read::notice(&self.readers, id).await
    }

    async fn forget_results(&self, before: Timestamp, at_most: u32) -> Result<u64, StoreError> {
        forget::results(self, before, at_most).await
    }

    async fn seal(&self, terms: &Sealing, now: Timestamp) -> Result<Pace, StoreError> {
        archive::step(self, terms, now).await
    }

    async fn rollups(
        &self,
        check: &str,
        parts: &[Part],
        zone: Tz,
    ) -> Result<Vec<Rollups>, StoreError> {
        archive::rollups(&self.readers, &check.into(), parts, zone).await
    }

    async fn days(&self, span: (Timestamp, Timestamp)) -> Result<Days, StoreError> {
        archive::days(&self.readers, span).await
    }

    async fn forget_blocks(&self, before: Timestamp, at_most: u32) -> Result<u64, StoreError> {
        let mut lease = self.lease().await?;
        let gone = forget::blocks(lease.writing()?, before, at_most).await?;
        lease.done();
        Ok(gone)
    }

    async fn forget_rollups(
        &self,
        level: Level,
        before: Timestamp,
        at_most: u32,
    ) -> Result<u64, StoreError> {
        let mut lease = self.lease().await?;
        let gone = forget::rollups(lease.writing()?, level, before, at_most).await?;
        lease.done();
        Ok(gone)
    }

    async fn forget_incidents(&self, before: Timestamp, at_most: u32) -> Result<u64, StoreError> {
        let mut lease = self.lease().await?;
        let gone = forget::incidents(lease.writing()?, before, at_most).await?;
        lease.done();
        Ok(gone)
    }

    async fn announcements(&self) -> Result<Vec<Announcement>, StoreError> {
        announce::all(&self.readers).await
    }

    async fn put_announcement(&self, announcement: &Announcement) -> Result<(), StoreError> {
        let mut lease = self.lease().await?;
        announce::put(lease.writing()?, announcement).await?;
        lease.done();
        Ok(())
    }

    async fn forget_announcement(&self, id: &str) -> Result<bool, StoreError> {
        let mut lease = self.lease().await?;
        let was_there = announce::forget(lease.writing()?, id).await?;
        lease.done();
        Ok(was_there)
    }

    async fn forget_silences(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut lease = self.lease().await?;
        let gone = forget::silences(lease.writing()?, before).await?;
        lease.done();
        Ok(gone)
    }

    async fn close(&self) {
        self.readers.close().await;
        self.turns.close().await;
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1 FROM checks LIMIT 1").fetch_optional(&self.readers).await?;
        Ok(())
    }
}
