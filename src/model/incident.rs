use super::{HeartbeatState, HeldBecause, Labels, Name, Origin, Severity, Status, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;

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
    pub incident: Option<Box<Incident>>,
    /// When the row of unknown verdicts began that goes on now.
    #[serde(default)]
    pub unknown_since: Option<Timestamp>,
    /// How long that row has lasted, by the monotonic clock.
    #[serde(default)]
    pub unknown_for: Duration,
    /// Which of the latest results differed from the one before: the lowest bit is the latest.
    #[serde(default)]
    pub changes: u32,
    /// Whether it goes to and fro too often to be told each time.
    #[serde(default)]
    pub flapping: bool,
    /// Who stopped its runs, if somebody did.
    #[serde(default)]
    pub paused: Option<Paused>,
    /// What was tried to get it going again.
    #[serde(default)]
    pub recovery: RecoveryState,
    /// What came by pings, of a check that waits for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Box<HeartbeatState>>,
}

/// A check whose runs a person stopped for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Who.
    pub by: String,
    /// Since when.
    pub at: Timestamp,
}

/// What was tried lately to get a check going again, kept over restarts. `recover::plan` moves it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecoveryState {
    /// When each attempt that still counts began, oldest first, by the wall clock.
    pub attempts: Vec<Timestamp>,
    /// Not again before.
    pub not_before: Option<Timestamp>,
    /// Since when the breaker is open: the attempts are spent.
    pub open_since: Option<Timestamp>,
    /// Whether the one attempt of a half-open breaker has begun.
    pub half_open: bool,
    /// Whether an attempt is at work; after a restart, was when the daemon ended.
    pub running: bool,
    /// How long the check is left alone after that attempt, jitter included.
    pub cooldown: Duration,
    /// When the latest attempt ended, until a run that began after it was judged.
    pub unjudged: Option<Timestamp>,
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
            unknown_since: None,
            unknown_for: Duration::ZERO,
            changes: 0,
            flapping: false,
            paused: None,
            recovery: RecoveryState::default(),
            heartbeat: None,
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
    /// The confirmed status: degraded, down, or unknown for so long that somebody should look.
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
    pub acknowledged: Option<Acknowledgement>,
    /// Why people are not told, while they are not.
    pub suppressed_by: Option<HeldBecause>,
    /// The latest reasons, in words.
    pub reasons: Vec<String>,
    /// The labels of the check when it opened.
    pub labels: Labels,
    /// Where to read what to do.
    pub runbook: Option<String>,
    /// What happened, oldest first.
    pub timeline: Vec<TimelineEntry>,
    /// No reminder and no escalation before.
    #[serde(default)]
    pub snoozed_until: Option<Timestamp>,
    /// How many reminders were owed.
    #[serde(default)]
    pub reminders: u32,
    /// How long it had been open when the latest reminder came to be owed.
    #[serde(default)]
    pub reminded: Option<Duration>,
    /// The escalation steps up to this time after the opening are done.
    #[serde(default)]
    pub escalated: Option<Duration>,
    /// The checks that stand on this one, directly or over others; the first of them by name.
    #[serde(default)]
    pub dependents: Vec<Name>,
    /// Where it comes from if no check found it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Box<Origin>>,
}

/// Somebody has taken an incident on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Acknowledgement {
    /// Who.
    pub by: String,
    /// What they said.
    pub note: Option<String>,
    /// When.
    pub at: Timestamp,
    /// Until when it counts, if not until the end.
    pub until: Option<Timestamp>,
}

/// How the timeline begins to say what the first run after an attempt at recovery found.
pub const NEXT_RUN_SAYS: &str = "the next run says: ";

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

/// The timeline of one incident holds so many entries; a long flutter between degraded and down
/// keeps its beginning and its latest ones.
const TIMELINE_MAX: usize = 200;

impl Incident {
    /// An incident that opens at `at`, with nothing else known about it.
    pub fn new(id: String, check: Name, kind: &str, status: Status, at: Timestamp) -> Self {
        Self {
            id,
            check,
            kind: kind.to_owned(),
            status,
            severity: Severity::Critical,
            opened_at: at,
            began_at: at,
            resolved_at: None,
            acknowledged: None,
            suppressed_by: None,
            reasons: Vec::new(),
            labels: Labels::new(),
            runbook: None,
            timeline: Vec::new(),
            snoozed_until: None,
            reminders: 0,
            reminded: None,
            escalated: None,
            dependents: Vec::new(),
            origin: None,
        }
    }

    /// Whether it is about a part of the daemon itself.
    pub fn is_own(&self) -> bool {
        self.check.starts_with("watchbell:") && self.origin.is_none()
    }

    /// Whether a check of the configuration found it.
    pub fn is_of_check(&self) -> bool {
        self.origin.is_none() && !self.is_own()
    }

    /// What a cooldown runs for: the check, or the alert that was sent in. Alerts of one name
    /// differ in their labels, and are told apart.
    pub fn subject(&self) -> &Name {
        self.origin.as_ref().map_or(&self.check, |origin| &origin.subject)
    }

    /// Its labels together with those that every incident has, as matchers see them.
    pub fn all_labels(&self) -> Labels {
        let mut labels = self.labels.clone();
        let always = [
            ("alertname", &*self.check),
            ("kind", self.kind.as_str()),
            ("severity", self.severity.as_str()),
        ];
        if self.origin.is_none() {
            for (name, value) in always {
                labels.entry(name.to_owned()).or_insert_with(|| value.to_owned());
            }
        }
        labels
    }

    /// Takes in that a check has another name now. Gives whether that concerns it.
    pub fn rename(&mut self, old: &str, new: &Name) -> bool {
        let concerns = self.is_of_check() && *self.check == *old;
        if concerns {
            self.check = new.clone();
        }
        concerns
    }

    /// Adds a line to its story.
    pub fn note(&mut self, at: Timestamp, what: &str, detail: impl Into<String>) {
        if self.timeline.len() >= TIMELINE_MAX {
            self.timeline.remove(TIMELINE_MAX / 2);
        }
        self.timeline.push(TimelineEntry { at, what: what.to_owned(), detail: detail.into() });
    }
}

/// One line of an incident's story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimelineEntry {
    /// When.
    pub at: Timestamp,
    /// What: `failing`, `opened`, `worsened`, `improved`, `flapping`, `acknowledged`, `recovery`,
    /// `resolved`, …
    pub what: String,
    /// In words.
    pub detail: String,
}

/// An incident in the shape that the API promises.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Incident)]
pub struct IncidentView<'a> {
    /// A ULID: sorts by time of opening.
    pub id: &'a str,
    /// Whose incident it is; the daemon's own start with `watchbell:`.
    pub check: &'a str,
    /// How much it matters now.
    pub severity: Severity,
    /// The confirmed status.
    pub status: Status,
    /// `open` or `resolved`.
    pub state: &'static str,
    /// When it was confirmed.
    pub opened_at: Timestamp,
    /// When it was over, if it is.
    pub resolved_at: Option<Timestamp>,
    /// Who has taken it on.
    #[schema(value_type = Option<Acknowledgement>)]
    pub acknowledged: Option<&'a Acknowledgement>,
    /// Why people are not told, while they are not.
    pub suppressed_by: Option<HeldBecause>,
    /// No reminder and no escalation before.
    pub snoozed_until: Option<Timestamp>,
    /// The latest reasons, in words.
    #[schema(value_type = Vec<String>)]
    pub reasons: &'a [String],
    /// The labels of the check when it opened.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub labels: &'a Labels,
    /// What the sender of an alert says about it, beside its labels; empty for checks.
    pub annotations: BTreeMap<&'a str, &'a str>,
    /// Where the sender of an alert shows what it is about.
    pub generator_url: Option<&'a str>,
    /// The checks that stand on this one, directly or over others; the first of them by name.
    #[schema(value_type = Vec<String>)]
    pub dependents: &'a [Name],
    /// What happened, oldest first.
    #[schema(value_type = Vec<TimelineEntry>)]
    pub timeline: &'a [TimelineEntry],
}

impl<'a> From<&'a Incident> for IncidentView<'a> {
    fn from(incident: &'a Incident) -> Self {
        let origin = incident.origin.as_deref();
        let annotations = origin.map(|origin| origin.annotations.iter()).into_iter().flatten();
        Self {
            id: &incident.id,
            check: &incident.check,
            severity: incident.severity,
            status: incident.status,
            state: if incident.resolved_at.is_some() { "resolved" } else { "open" },
            opened_at: incident.opened_at,
            resolved_at: incident.resolved_at,
            acknowledged: incident.acknowledged.as_ref(),
            suppressed_by: incident.suppressed_by,
            snoozed_until: incident.snoozed_until,
            reasons: &incident.reasons,
            labels: &incident.labels,
            annotations: annotations.map(|(name, text)| (&**name, &**text)).collect(),
            generator_url: origin.and_then(|origin| origin.generator_url.as_deref()),
            dependents: &incident.dependents,
            timeline: &incident.timeline,
        }
    }
}
