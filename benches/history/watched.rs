use async_trait::async_trait;
use chrono_tz::Tz;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use watchbell::clock::{Clock as _, System};
use watchbell::model::{Announcement, Incident, Notice, RunResult, Timestamp};
use watchbell::record::archive::rollup::{Level, Rollups};
use watchbell::record::{
    Batch, Days, IncidentFilter, NoticeFilter, Pace, Page, Paged, Part, Saved, Sealing, Store,
    StoreError,
};

/// A store that notes how long results waited to be durable.
#[derive(Debug)]
pub struct Watched {
    store: Arc<dyn Store>,
    time: System,
    waiting: Mutex<Waiting>,
}

/// What is noted.
#[derive(Debug, Default)]
struct Waiting {
    /// When how many were handed over, the oldest first.
    handed: VecDeque<(Duration, usize)>,
    written: u64,
    longest: Duration,
    commits: u64,
    slowest: Duration,
}

impl Watched {
    pub fn new(store: Arc<dyn Store>, time: System) -> Self {
        Self { store, time, waiting: Mutex::default() }
    }

    /// So many results are handed over now, in this order.
    pub fn handing(&self, results: usize) {
        let now = self.time.now().mono;
        self.waiting().handed.push_back((now, results));
    }

    /// How many are written, and the longest that one of them waited.
    pub fn written(&self) -> (u64, Duration) {
        let waiting = self.waiting();
        (waiting.written, waiting.longest)
    }

    /// How many transactions that took, and the slowest of them.
    pub fn commits(&self) -> (u64, Duration) {
        let waiting = self.waiting();
        (waiting.commits, waiting.slowest)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for Watched {
    async fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let start = self.time.now().mono;
        self.store.commit(batch).await?;
        let now = self.time.now().mono;
        let mut waiting = self.waiting();
        waiting.commits += 1;
        waiting.slowest = waiting.slowest.max(now - start);
        let mut left = batch.results.len();
        waiting.written += left as u64;
        // The writer keeps their order.
        while left > 0
            && let Some((since, results)) = waiting.handed.pop_front()
        {
            waiting.longest = waiting.longest.max(now - since);
            if results > left {
                waiting.handed.push_front((since, results - left));
            }
            left = left.saturating_sub(results);
        }
        Ok(())
    }

    async fn load(&self, since: Timestamp) -> Result<Saved, StoreError> {
        self.store.load(since).await
    }

    async fn results(&self, check: &str, page: &Page) -> Result<Paged<RunResult>, StoreError> {
        self.store.results(check, page).await
    }

    async fn incidents(
        &self,
        filter: &IncidentFilter,
        page: &Page,
    ) -> Result<Paged<Incident>, StoreError> {
        self.store.incidents(filter, page).await
    }

    async fn incident(&self, id: &str) -> Result<Option<Incident>, StoreError> {
        self.store.incident(id).await
    }

    async fn notices(
        &self,
        filter: &NoticeFilter,
        page: &Page,
    ) -> Result<Paged<Notice>, StoreError> {
        self.store.notices(filter, page).await
    }

    async fn notice(&self, id: &str) -> Result<Option<Notice>, StoreError> {
        self.store.notice(id).await
    }

    async fn forget_results(&self, before: Timestamp, at_most: u32) -> Result<u64, StoreError> {
        self.store.forget_results(before, at_most).await
    }

    async fn seal(&self, terms: &Sealing, now: Timestamp) -> Result<Pace, StoreError> {
        self.store.seal(terms, now).await
    }

    async fn rollups(
        &self,
        check: &str,
        parts: &[Part],
        zone: Tz,
    ) -> Result<Vec<Rollups>, StoreError> {
        self.store.rollups(check, parts, zone).await
    }

    async fn days(&self, span: (Timestamp, Timestamp)) -> Result<Days, StoreError> {
        self.store.days(span).await
    }

    async fn forget_blocks(&self, before: Timestamp, at_most: u32) -> Result<u64, StoreError> {
        self.store.forget_blocks(before, at_most).await
    }

    async fn forget_rollups(
        &self,
        level: Level,
        before: Timestamp,
        at_most: u32,
    ) -> Result<u64, StoreError> {
        self.store.forget_rollups(level, before, at_most).await
    }

    async fn forget_incidents(&self, before: Timestamp, at_most: u32) -> Result<u64, StoreError> {
        self.store.forget_incidents(before, at_most).await
    }

    async fn announcements(&self) -> Result<Vec<Announcement>, StoreError> {
        self.store.announcements().await
    }

    async fn put_announcement(&self, announcement: &Announcement) -> Result<(), StoreError> {
        self.store.put_announcement(announcement).await
    }

    async fn forget_announcement(&self, id: &str) -> Result<bool, StoreError> {
        self.store.forget_announcement(id).await
    }

    async fn forget_silences(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.store.forget_silences(before).await
    }

    async fn close(&self) {
        self.store.close().await;
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }
}
