use super::{Labels, Name, Severity, Status, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What the daemon remembers of a check between two runs, and over a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckState {
    /// The latest verdict.
    pub status: Status,
    /// When the latest verdict became what it is.
    pub since: Timestamp,
    /// Why, in words.
    pub reasons: Vec<String>,
    /// Bad verdicts in a row (degraded or down); unknown neither adds nor ends.
    pub bad_streak: u32,
    /// When that row began.
    pub bad_since: Option<Timestamp>,
    /// How long that row has lasted, by the monotonic clock: a clock step does not lengthen it.
    pub bad_for: Duration,
    /// Down verdicts in a row, for worsening.
    pub down_streak: u32,
    /// Good verdicts in a row.
    pub good_streak: u32,
    /// Verdicts better than down in a row, for improving.
    pub better_streak: u32,
    /// When the latest run started.
    pub last_run: Option<Timestamp>,
    /// Runs that fell due while the one before was still at work.
    pub missed_runs: u64,
    /// The open incident, if the badness is confirmed.
    pub incident: Option<Incident>,
}

impl CheckState {
    /// The state of a check that has not run yet.
    pub fn new(now: Timestamp) -> Self {
        Self {
            status: Status::Unknown,
            since: now,
            reasons: Vec::new(),
            bad_streak: 0,
            bad_since: None,
            bad_for: Duration::ZERO,
            down_streak: 0,
            good_streak: 0,
            better_streak: 0,
            last_run: None,
            missed_runs: 0,
            incident: None,
        }
    }
}

/// A confirmed run of bad verdicts of one check, from opened to resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// A ULID: sorts by time of opening.
    pub id: String,
    /// Whose incident it is; the daemon's own start with `watchbell:`.
    pub check: Name,
    /// The kind of the check.
    pub kind: String,
    /// The confirmed status: degraded or down.
    pub status: Status,
    /// How much it matters now.
    pub severity: Severity,
    /// When it was confirmed.
    pub opened_at: Timestamp,
    /// When the first of the bad verdicts came.
    pub began_at: Timestamp,
    /// When it was over, if it is.
    pub resolved_at: Option<Timestamp>,
    /// Who has taken it on.
    pub acknowledged: Option<String>,
    /// Why people are not told, while they are not.
    pub suppressed_by: Option<String>,
    /// The latest reasons, in words.
    pub reasons: Vec<String>,
    /// The labels of the check when it opened.
    pub labels: Labels,
    /// Where to read what to do.
    pub runbook: Option<String>,
    /// What happened, oldest first.
    pub timeline: Vec<TimelineEntry>,
}

/// What the timeline says where an incident ended because the check is well again.
pub const WELL_AGAIN: &str = "all that is expected holds again";

impl Incident {
    /// Why it is over although nobody knows that the check is well, such as `the check was
    /// removed`; none if it is open or the check is well.
    pub fn withdrawn(&self) -> Option<&str> {
        self.resolved_at?;
        let end = self.timeline.iter().rfind(|entry| entry.what == "resolved")?;
        (end.detail != WELL_AGAIN).then_some(&*end.detail)
    }

    /// How long it lasted, or has lasted by `now`, from the first bad verdict on: the time that
    /// alerts give as "since".
    pub fn duration(&self, now: Timestamp) -> Duration {
        self.resolved_at.unwrap_or(now).since(self.began_at)
    }
}

/// One line of an incident's story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// When.
    pub at: Timestamp,
    /// What: `failing`, `opened`, `worsened`, `improved`, `resolved`, …
    pub what: String,
    /// In words.
    pub detail: String,
}

/// An incident in the shape that the API promises.
#[derive(Clone, Debug, Serialize)]
pub struct IncidentView<'a> {
    /// See [`Incident::id`].
    pub id: &'a str,
    /// See [`Incident::check`].
    pub check: &'a str,
    /// See [`Incident::severity`].
    pub severity: Severity,
    /// The confirmed status.
    pub status: Status,
    /// `open` or `resolved`.
    pub state: &'static str,
    /// See [`Incident::opened_at`].
    pub opened_at: Timestamp,
    /// See [`Incident::resolved_at`].
    pub resolved_at: Option<Timestamp>,
    /// See [`Incident::acknowledged`].
    pub acknowledged: Option<&'a str>,
    /// See [`Incident::suppressed_by`].
    pub suppressed_by: Option<&'a str>,
    /// See [`Incident::reasons`].
    pub reasons: &'a [String],
    /// See [`Incident::labels`].
    pub labels: &'a Labels,
    /// See [`Incident::timeline`].
    pub timeline: &'a [TimelineEntry],
}

impl<'a> From<&'a Incident> for IncidentView<'a> {
    fn from(incident: &'a Incident) -> Self {
        Self {
            id: &incident.id,
            check: &incident.check,
            severity: incident.severity,
            status: incident.status,
            state: if incident.resolved_at.is_some() { "resolved" } else { "open" },
            opened_at: incident.opened_at,
            resolved_at: incident.resolved_at,
            acknowledged: incident.acknowledged.as_deref(),
            suppressed_by: incident.suppressed_by.as_deref(),
            reasons: &incident.reasons,
            labels: &incident.labels,
            timeline: &incident.timeline,
        }
    }
}
