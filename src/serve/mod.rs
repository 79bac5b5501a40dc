//! The status API, the metrics and the web page. They read the board, the store, and what the
//! daemon says about itself through [`Control`]; what people want done goes there, too.

mod access;
mod act;
mod alertmanager;
mod announcements;
mod audit;
mod badge;
mod body;
mod certificate;
mod checks;
mod feed;
mod history;
mod incidents;
mod key;
mod keys;
mod link;
mod listen;
mod metrics;
mod notices;
mod openapi;
mod page;
mod ping;
mod problem;
mod query;
mod reload;
mod report;
mod room;
mod router;
mod silences;
mod status;
mod tagged;

#[cfg(test)]
mod tests;

pub use certificate::{Certificate, CertificateError};
pub use feed::{Feed, News, Verdict};
pub use key::{ApiKey, KeyError, Keys, Scope};
pub use link::{Deed, LINKS_LAST, Links, Permit};
pub use listen::{Door, serve};
pub use openapi::openapi;
use problem::Problem;

use crate::clock::Clock;
use crate::config::Origins;
use crate::model::{
    Alert, Board, Incident, Matcher, Moment, Name, Notice, NoticeState, Ping, PingAnswer,
    RunResult, Silence, Status, Timestamp,
};
use crate::record::Store;
use crate::record::query::Reach;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use chrono_tz::Tz;
use ipnet::IpNet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// What the API reads from and asks.
#[derive(Clone)]
pub struct Api {
    /// The current state of all checks.
    pub board: Arc<Board>,
    /// The history.
    pub store: Arc<dyn Store>,
    /// The daemon itself.
    pub control: Arc<dyn Control>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// What a reload may change.
    pub settings: Arc<ArcSwap<Settings>>,
    /// The links in alerts by which people act.
    pub links: Arc<Links>,
    /// What happens, for those who listen.
    pub feed: Arc<Feed>,
}

/// What the `[api]` table says about who may do what. A reload stores a new one; each request
/// reads the one of its moment.
#[derive(Debug, Default)]
pub struct Settings {
    /// Who may do what.
    pub keys: Keys,
    /// Whether everybody may see the page at `/`, also from other machines and without a key.
    pub public_status: bool,
    /// What questions about the past go by.
    pub spans: Spans,
    /// What the public status page shows.
    pub status_page: Arc<StatusPage>,
    /// Whose word is taken for where a request came from; this machine's always is.
    pub trusted_proxies: Vec<IpNet>,
    /// The web pages elsewhere whose scripts may read the API.
    pub allow_origins: Origins,
}

/// What the public status page shows, as the configuration says.
#[derive(Clone, Debug, Default)]
pub struct StatusPage {
    /// What stands at its top.
    pub title: String,
    /// A sentence below.
    pub description: Option<String>,
    /// The label by whose values the checks are grouped.
    pub group_by: Option<String>,
    /// Where people reach the daemon's pages, if the configuration says.
    pub url: Option<Url>,
    /// The zone of its times.
    pub zone: Tz,
    /// The checks that it shows; of all others it says nothing.
    pub checks: Vec<PublicCheck>,
}

/// A check that everybody may know of.
#[derive(Clone, Debug)]
pub struct PublicCheck {
    /// Its name in the configuration.
    pub name: Name,
    /// What the page calls it.
    pub shown: String,
}

/// A time in which it is known that checks fail, now or in the days ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedWork {
    /// From then on.
    pub starts_at: Timestamp,
    /// Until then.
    pub ends_at: Timestamp,
    /// The checks, by name, among those that were asked about.
    pub checks: Vec<Name>,
}

/// What questions about the past go by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spans {
    /// The zone whose days and months are meant.
    pub zone: Tz,
    /// How far back history reaches how finely.
    pub reach: Reach,
}

/// What the API asks of the daemon.
#[async_trait]
pub trait Control: Send + Sync {
    /// Runs the check now and gives its judged result, which goes its usual way too: into the
    /// history and, if need be, into an incident.
    ///
    /// The future is dropped when the client goes away or after [`RUN_BOUND`]; that may end the
    /// run, but must not leave the check out of its schedule.
    async fn run_now(&self, check: &str) -> Result<RunResult, RunNowError>;

    /// Somebody takes an open incident on. Gives the incident as it is then.
    ///
    /// Of this and all that changes something below: once it answers, the board and
    /// [`Control::silences`] show the change.
    async fn acknowledge(
        &self,
        incident: &str,
        by: &str,
        note: Option<&str>,
        until: Option<Timestamp>,
    ) -> Result<Incident, OperateError>;

    /// Nobody has it any more.
    async fn unacknowledge(&self, incident: &str, by: &str) -> Result<Incident, OperateError>;

    /// No reminder and no escalation before `until`; then one reminder, if it is still open.
    async fn snooze(
        &self,
        incident: &str,
        by: &str,
        until: Timestamp,
    ) -> Result<Incident, OperateError>;

    /// Sets a silence, in the place of the one with the same id if there is one. Its matchers are
    /// [`OperateError::Invalid`] if a regular expression among them is none, or if together they
    /// match what has no labels at all.
    async fn silence(&self, silence: Silence) -> Result<Silence, OperateError>;

    /// Ends a silence now. One that is over stays as it is.
    async fn expire_silence(&self, id: &str, by: &str) -> Result<Silence, OperateError>;

    /// All silences that are not forgotten yet, newest first.
    fn silences(&self) -> Vec<Silence>;

    /// Those of them that these matchers find. A regular expression that is none is
    /// [`OperateError::Invalid`].
    fn find_silences(&self, matchers: &[Matcher]) -> Result<Vec<Silence>, OperateError>;

    /// Takes in alerts that another program sends. [`OperateError::Conflict`] if some found no
    /// room; the others were taken in then.
    async fn take_alerts(&self, alerts: Vec<Alert>) -> Result<(), OperateError>;

    /// The open incidents that these matchers find, with who hears of each and what holds it back.
    async fn standings(&self, matchers: Vec<Matcher>) -> Result<Vec<Standing>, OperateError>;

    /// All channels.
    async fn receivers(&self) -> Result<Vec<Name>, OperateError>;

    /// Stops the runs of a check, or lets it run again. Doing it twice changes nothing.
    async fn pause(&self, check: &str, by: &str, paused: bool) -> Result<(), OperateError>;

    /// Tries a notice at once that waits for its next try, or once more one that was refused.
    async fn retry_notice(&self, id: &str) -> Result<Notice, OperateError>;

    /// Reads the configuration again. A bad one changes nothing.
    async fn reload(&self) -> Result<Reloaded, ReloadError> {
        Err(ReloadError::Stopping)
    }

    /// The maintenance windows among whose checks some of these are, that are open now or open by
    /// `until`, each with its next time alone.
    async fn planned_work(
        &self,
        _checks: Vec<Name>,
        _until: Timestamp,
    ) -> Result<Vec<PlannedWork>, OperateError> {
        Ok(Vec::new())
    }

    /// The table of a check in the configuration in force, without secrets; none where it stands in
    /// no file.
    async fn configuration(&self, _check: &str) -> Option<String> {
        None
    }

    /// Takes a ping in, and gives its answer once it is durable; while the store is away, once it
    /// is in memory.
    async fn ping(&self, _ping: Ping) -> PingAnswer {
        PingAnswer::NotFound
    }

    /// What the daemon knows about itself. Asked on each scrape and page, so it must be cheap.
    fn daemon(&self) -> DaemonStatus;
}

/// An open incident, with what others ask about it.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The incident.
    pub incident: Incident,
    /// The channels that hear of it.
    pub receivers: Vec<Name>,
    /// The ids of the silences that hold it back.
    pub silenced_by: Vec<String>,
    /// The fingerprints of the incidents that it is a consequence of.
    pub inhibited_by: Vec<String>,
}

/// The longest that a run on demand may take.
pub const RUN_BOUND: Duration = Duration::from_secs(600);

/// Why a check did not run now.
#[derive(Debug, thiserror::Error)]
pub enum RunNowError {
    /// No check has that name.
    #[error("there is no such check")]
    NotFound,
    /// Something stands in the way for now, in words.
    #[error("{0}")]
    Busy(String),
    /// The daemon is about to end.
    #[error("the daemon is stopping")]
    Stopping,
}

/// How many checks a reload changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// New ones.
    pub added: usize,
    /// Those with another configuration.
    pub changed: usize,
    /// Those that are no longer there.
    pub removed: usize,
    /// Those that have another name now, as old and new.
    pub renamed: Vec<(Name, Name)>,
}

impl fmt::Display for Reloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { added, changed, removed, renamed } = self;
        write!(f, "+{added} checks, ~{changed}, -{removed}")?;
        for (old, new) in renamed {
            write!(f, ", {old} is now {new}")?;
        }
        Ok(())
    }
}

/// Why the old configuration goes on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReloadError {
    /// All that is wrong with the new one, a line each.
    #[error("the configuration cannot be used; the old one goes on")]
    Configuration(Vec<String>),
    /// The daemon is about to end.
    #[error("the daemon is stopping")]
    Stopping,
}

/// Why something that a person asked for was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperateError {
    /// There is no such thing.
    #[error("there is no such thing")]
    NotFound,
    /// It cannot be done to it as it is, in words.
    #[error("{0}")]
    Conflict(String),
    /// It makes no sense as it was asked for, in words.
    #[error("{0}")]
    Invalid(String),
    /// The daemon is about to end.
    #[error("the daemon is stopping")]
    Stopping,
}

/// What the daemon knows about itself, as plain data.
#[derive(Clone, Debug)]
pub struct DaemonStatus {
    /// `daemon.name`, which titles the page.
    pub name: Name,
    /// The version of the program.
    pub version: &'static str,
    /// When it started, by both clocks.
    pub started: Moment,
    /// Whether the schedule runs, or in words why it does not. The store is asked apart.
    pub ready: Result<(), String>,
    /// Notices that are owed: pending or held.
    pub outbox_depth: u64,
    /// How the store is.
    pub store: StoreView,
    /// How late the latest runs started.
    pub schedule_lag: Duration,
    /// Checks running at this moment.
    pub in_flight: u64,
    /// Runs that fell due while the one before was still at work, since the start.
    pub missed_runs: u64,
    /// Finished runs since the start; statuses that are absent count as zero.
    pub runs: Vec<(Status, u64)>,
    /// Notices since the start, by channel and the state that they ended in.
    pub notices: Vec<NoticeCount>,
    /// The open incidents that no check on the board holds: the daemon's own (`watchbell:…`), and
    /// alerts that were sent in.
    pub other_incidents: Vec<Arc<Incident>>,
}

/// How the store is.
#[derive(Clone, Debug)]
pub struct StoreView {
    /// What it is: `sqlite` or `postgres`.
    pub engine: &'static str,
    /// What it said when it last refused, in words without secrets; `None` while all is well.
    pub error: Option<String>,
    /// Results that wait in memory until the store takes them.
    pub waiting: u64,
    /// Results that were given up, since the memory for waiting ones is bounded.
    pub dropped: u64,
}

/// How many notices of one channel came to one end.
#[derive(Clone, Debug)]
pub struct NoticeCount {
    /// The channel.
    pub channel: Name,
    /// `sent`, `rejected` or `cancelled`.
    pub state: NoticeState,
    /// How many.
    pub count: u64,
}
