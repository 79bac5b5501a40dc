//! What is kept: results, the state of each check, incidents, the outbox and silences.
//!
//! [`Store`] is the contract, [`sqlite`] keeps it; [`writer`] is the one task that writes, and
//! [`retention`] forgets what is too old.

pub mod archive;
mod cells;
#[cfg(test)]
mod contract;
mod cursor;
pub mod export;
mod lock;
pub mod postgres;
pub mod query;
pub mod retention;
pub mod sealing;
pub mod sqlite;
mod turn;
pub mod upkeep;
pub mod writer;

pub use lock::{Lock, lock};
pub use postgres::PgStore;
pub use retention::Retention;
pub use sqlite::SqliteStore;
pub use writer::{Committed, StoreHealth, Writer};

use crate::config::StoreAddress;
use crate::model::{
    Announcement, CheckState, Incident, Name, Notice, NoticeState, RunResult, Secret, Silence,
    Timestamp,
};
use archive::rollup::{Level, Rollups};
use archive::tally::Tally;
use async_trait::async_trait;
use chrono_tz::Tz;
use cursor::{Cursor, List};
use sqlx::postgres::PgConnectOptions;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Opens the store at `address`, makes what is missing there, and brings its schema up to date.
///
/// # Errors
/// Why it cannot be used, in words.
pub async fn open(address: &StoreAddress) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match address {
        StoreAddress::Sqlite(path) => Arc::new(SqliteStore::open(path).await?),
        StoreAddress::Postgres(url) => Arc::new(PgStore::open(postgres_options(url)?).await?),
    })
}

fn postgres_options(url: &Secret) -> Result<PgConnectOptions, StoreError> {
    url.expose().parse().map_err(|error: sqlx::Error| StoreError::Reach {
        place: "of PostgreSQL".to_owned(),
        why: url.redact(&error.to_string()),
    })
}

/// Where history lives. Every implementation passes the same contract tests.
#[async_trait]
pub trait Store: Send + Sync + Debug {
    /// Writes all of `batch` or nothing of it, durably: once this returns, a crash of the daemon
    /// or the machine does not undo it. Writing a batch again changes nothing, so a commit whose
    /// outcome is not known can be repeated.
    async fn commit(&self, batch: &Batch) -> Result<(), StoreError>;

    /// What the daemon needs in order to go on where it was: every check's state, and the notices
    /// that are still owed, were sent at or after `since`, or are about an incident that is open
    /// or that something is still owed about: a resolution goes to whoever heard the opening; and
    /// the silences that were not over for [`retention::SILENCES`] by then.
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

    /// One notice.
    async fn notice(&self, id: &str) -> Result<Option<Notice>, StoreError>;

    /// Deletes up to `at_most` results older than `before`, of each check the oldest first, in one
    /// short transaction. Gives how many it deleted; fewer than `at_most` means that it is done.
    async fn forget_results(&self, before: Timestamp, at_most: u32) -> Result<u64, StoreError>;

    /// Seals what is due of some checks, going on where the step before ended: their results become
    /// blocks and roll-ups, each in one transaction, so that a crash loses and doubles none.
    async fn seal(&self, terms: &Sealing, now: Timestamp) -> Result<Pace, StoreError>;

    /// The roll-ups of a check that begin within each of `parts`. Results that are not sealed yet
    /// count as well; the last of them for no longer than until the end of the part.
    async fn rollups(
        &self,
        check: &str,
        parts: &[Part],
        zone: Tz,
    ) -> Result<Vec<Rollups>, StoreError>;

    /// The days of all checks that begin within `span`, as far as they are sealed.
    async fn days(&self, span: (Timestamp, Timestamp)) -> Result<Days, StoreError>;

    /// Deletes up to `at_most` blocks of results that all are older than `before`. Gives how many
    /// it deleted; fewer than `at_most` means that it is done.
    async fn forget_blocks(&self, before: Timestamp, at_most: u32) -> Result<u64, StoreError>;

    /// Deletes up to `at_most` pages of roll-ups that end before `before`, as
    /// [`Store::forget_blocks`] does.
    async fn forget_rollups(
        &self,
        level: Level,
        before: Timestamp,
        at_most: u32,
    ) -> Result<u64, StoreError>;

    /// Deletes up to `at_most` incidents resolved before `before`, and the notices that are about
    /// no incident any more. Owed notices stay, and with them what they are about. Gives how many
    /// it deleted of whichever were more; fewer than `at_most` means that it is done.
    async fn forget_incidents(&self, before: Timestamp, at_most: u32) -> Result<u64, StoreError>;

    /// All announcements, newest first: people make them, so there are few.
    async fn announcements(&self) -> Result<Vec<Announcement>, StoreError>;

    /// Writes an announcement, durably, in the place of the one with the same id.
    async fn put_announcement(&self, announcement: &Announcement) -> Result<(), StoreError>;

    /// Deletes an announcement. Gives whether there was one.
    async fn forget_announcement(&self, id: &str) -> Result<bool, StoreError>;

    /// Deletes the silences that were over before `before`, all at once: people set them, so there
    /// are few. Gives how many.
    async fn forget_silences(&self, before: Timestamp) -> Result<u64, StoreError>;

    /// Lets go of the database, so that what it keeps beside the main file is folded in.
    async fn close(&self);

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// When results are sealed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealing {
    /// So many of one check make a block.
    pub results: u32,
    /// Fewer do where the oldest is older than this.
    pub age: Duration,
    /// The zone whose days the roll-ups have.
    pub zone: Tz,
}

/// A span, looked at in minutes, hours or days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// How finely.
    pub level: Level,
    /// From then on.
    pub from: Timestamp,
    /// Until just before then.
    pub to: Timestamp,
}

/// How a long piece of work goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// What this step did.
    pub done: u64,
    /// Whether the next step may find more to do.
    pub more: bool,
}

/// The tallies of days, by check, each by the start of its day.
pub type Days = Vec<(Name, Vec<(Timestamp, Tally)>)>;

/// What one transaction writes. Everything replaces what stands under its key (of a result: its
/// check and time); of two items with one key the later one stays.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Checks that have another name now, as old and new, in this order and before all else: their
    /// past goes with the new name, with the incidents and the notices that still matter. Where there
    /// is something under the new name already, it is put aside; where there is nothing under the old
    /// one, nothing happens.
    pub renamed: Vec<(Name, Name)>,
    /// New results.
    pub results: Vec<RunResult>,
    /// The states of checks.
    pub states: Vec<(Name, CheckState)>,
    /// Checks whose state is to be dropped, unless `states` has a new one; their results stay
    /// until they are too old.
    pub removed: Vec<Name>,
    /// Incidents, open or resolved.
    pub incidents: Vec<Incident>,
    /// Notices in whatever state.
    pub notices: Vec<Notice>,
    /// Silences, in force or over.
    pub silences: Vec<Silence>,
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many items there are to write.
    pub fn len(&self) -> usize {
        self.renamed.len()
            + self.results.len()
            + self.states.len()
            + self.removed.len()
            + self.incidents.len()
            + self.notices.len()
            + self.silences.len()
    }

    /// Adds what came after this batch. A later state, incident, notice or silence replaces an
    /// earlier one.
    #[cfg(test)]
    fn append(&mut self, later: Self) {
        self.renamed.extend(later.renamed);
        self.results.extend(later.results);
        if !later.removed.is_empty() {
            self.states.retain(|(name, _)| !later.removed.contains(name));
        }
        self.states.extend(later.states);
        self.removed.extend(later.removed);
        self.incidents.extend(later.incidents);
        self.notices.extend(later.notices);
        self.silences.extend(later.silences);
    }
}

/// What a start needs to know of the past.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    /// The states of checks.
    pub states: Vec<(Name, CheckState)>,
    /// The notices that still matter, oldest first.
    pub notices: Vec<Notice>,
    /// The silences that are not forgotten yet, in the order of their ids.
    pub silences: Vec<Silence>,
    /// What could not be read, and was left out so that the rest can go on.
    pub unreadable: Vec<String>,
}

/// Which piece of a list is wanted.
#[derive(Clone, Debug)]
pub struct Page {
    /// How many items at most, 1 to 1,000.
    pub limit: u32,
    /// Where the piece before ended, as that answer's `next` said.
    pub cursor: Option<String>,
}

impl Page {
    /// The first piece of a check's results from before `at`.
    pub fn of_results_before(at: Timestamp, limit: u32) -> Self {
        let cursor = Cursor { at, id: String::new() };
        Self { limit, cursor: Some(cursor.encode(List::Results)) }
    }
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
    /// There is no database at that place, and none can be made.
    #[error("the database {} cannot be opened: {why}", path.display())]
    Open {
        /// Where it is meant to be.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The server cannot be reached, or is not one that can be used.
    #[error("the database {place} cannot be used: {why}")]
    Reach {
        /// The server and its database.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// Another daemon keeps its history there.
    #[error(
        "another watchbell uses the database {place}; give each its own, or stop the other one"
    )]
    Shared {
        /// The server and its database.
        place: String,
    },
    /// The schema is one that this version does not know.
    #[error(
        "the database {place} was written by a newer Watchbell (its schema is {found}, this \
         version knows {known}): start that version again, or restore a backup from before"
    )]
    Newer {
        /// The file, or the server and its database.
        place: String,
        /// The version of the schema there.
        found: i64,
        /// The newest version of the schema that is known here.
        known: i64,
    },
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

impl StoreError {
    /// Whether what was to be written is to blame and not the store, so that trying the same
    /// again would fail again.
    pub fn is_about_data(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Encode(_)) => true,
            Self::Database(sqlx::Error::Database(error)) => {
                error.kind() != sqlx::error::ErrorKind::Other
                    || sqlite::is_about_data(&**error)
                    || postgres::is_about_data(&**error)
            }
            _ => false,
        }
    }

    /// Whether something that was written can no longer be read, so that what has to do with it fails
    /// for as long as that lasts, and the rest need not.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Unreadable { .. } => true,
            Self::Database(sqlx::Error::Database(error)) => {
                sqlite::is_damage(&**error) || postgres::is_damage(&**error)
            }
            _ => false,
        }
    }
}
