//! What is kept: results, the state of each check, incidents and the outbox.

use crate::model::{CheckState, Incident, Name, Notice, NoticeState, RunResult, Timestamp};
use async_trait::async_trait;
use std::fmt::Debug;

/// Where history lives. Every implementation passes the same contract tests.
#[async_trait]
pub trait Store: Send + Sync + Debug {
    /// Writes all of `batch` or nothing of it, durably: once this returns, a crash of the daemon
    /// or the machine does not undo it.
    async fn commit(&self, batch: &Batch) -> Result<(), StoreError>;

    /// What the daemon needs in order to go on where it was: every check's state, and the notices
    /// that are still owed, were sent at or after `since`, or are about an incident that is open.
    async fn load(&self, since: Timestamp) -> Result<Saved, StoreError>;

    /// The results of a check, newest first.
    async fn results(&self, check: &str, page: &Page) -> Result<Paged<RunResult>, StoreError>;

    /// Incidents, newest first.
    async fn incidents(
        &self,
        filter: &IncidentFilter,
        page: &Page,
    ) -> Result<Paged<Incident>, StoreError>;

    /// One incident.
    async fn incident(&self, id: &str) -> Result<Option<Incident>, StoreError>;

    /// Notices, newest first.
    async fn notices(
        &self,
        filter: &NoticeFilter,
        page: &Page,
    ) -> Result<Paged<Notice>, StoreError>;

    /// Deletes up to `at_most` results older than `before`, the oldest first, in one short
    /// transaction. Gives how many it deleted; fewer than `at_most` means that it is done.
    async fn forget_results(&self, before: Timestamp, at_most: u32) -> Result<u64, StoreError>;

    /// Deletes up to `at_most` incidents resolved before `before`, and the notices about them that
    /// are no longer owed.
    async fn forget_incidents(&self, before: Timestamp, at_most: u32) -> Result<u64, StoreError>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// What one transaction writes. Everything but the results replaces what stands under its key.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// New results.
    pub results: Vec<RunResult>,
    /// The states of checks.
    pub states: Vec<(Name, CheckState)>,
    /// Checks whose state is to be dropped; their results stay until they are too old.
    pub removed: Vec<Name>,
    /// Incidents, open or resolved.
    pub incidents: Vec<Incident>,
    /// Notices in whatever state.
    pub notices: Vec<Notice>,
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.results.is_empty()
            && self.states.is_empty()
            && self.removed.is_empty()
            && self.incidents.is_empty()
            && self.notices.is_empty()
    }

    /// Adds what came after this batch. A later state, incident or notice replaces an earlier one.
    pub fn append(&mut self, later: Self) {
        self.results.extend(later.results);
        self.states.extend(later.states);
        self.removed.extend(later.removed);
        self.incidents.extend(later.incidents);
        self.notices.extend(later.notices);
    }
}

/// What a start needs to know of the past.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    /// The states of checks.
    pub states: Vec<(Name, CheckState)>,
    /// The notices that still matter, oldest first.
    pub notices: Vec<Notice>,
}

/// Which piece of a list is wanted.
#[derive(Clone, Debug)]
pub struct Page {
    /// How many items at most, 1 to 1,000.
    pub limit: u32,
    /// Where the piece before ended, as that answer's `next` said.
    pub cursor: Option<String>,
}

/// A piece of a list.
#[derive(Clone, Debug)]
pub struct Paged<T> {
    /// The items.
    pub items: Vec<T>,
    /// The cursor of the next piece, if there is more.
    pub next: Option<String>,
}

/// Which incidents are wanted.
#[derive(Clone, Debug, Default)]
pub struct IncidentFilter {
    /// Open ones only, or resolved ones only.
    pub open: Option<bool>,
    /// Those of one check.
    pub check: Option<String>,
}

/// Which notices are wanted.
#[derive(Clone, Debug, Default)]
pub struct NoticeFilter {
    /// In one state.
    pub state: Option<NoticeState>,
    /// Of one channel.
    pub channel: Option<String>,
    /// About one incident.
    pub incident: Option<String>,
}

/// Why the store could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or could not be reached.
    #[error("the store failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the store's schema could not be brought up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// What stands there cannot be read.
    #[error("the store holds something unreadable in {place}: {why}")]
    Unreadable {
        /// The table and key.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// A cursor that no list of this store gave out.
    #[error("`{0}` is not a cursor of this list")]
    Cursor(String),
}
