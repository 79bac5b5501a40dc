//! What pings make of a heartbeat: a pure machine, told the time.
//!
//! ```text
//!            success                    failure, or nothing by alert_after
//!   new ───────────────▶ up ◀──────────────────────────────────────────────▶ down
//!    └────── failure, or a run that does not end within its grace ────────────┘
//! ```
//!
//! It decides as Healthchecks 4 does (`hc/api/models.py`, `Check.ping` and `Check.get_grace_start`),
//! so that whoever moves from there is told the same at the same moment.

use crate::model::{Facts, HeartbeatState, Observation, Phase, Ping, Signal, Timestamp};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// How much of the last line of a failed job's output a reason quotes, in characters.
const QUOTED: usize = 200;

/// The event of a ping that did not come.
pub const MISSED: &str = "missed";
/// The event of a ping that is due, while its grace runs.
pub const LATE: &str = "late";
/// The event of a look at a check of which nothing is heard.
pub const LOOK: &str = "look";

/// The facts that tell of one run. History keeps them with its end alone, so that windows count
/// each run once.
pub const OF_RUN: [&str; 3] = ["duration_ms", "exit_status", "body"];

/// When pings are expected, and which ones count.
#[derive(Clone, Debug)]
pub struct Terms {
    /// When the next one is due.
    pub expected: Expected,
    /// How much later it may come, and how long a run may take.
    pub grace: Duration,
    /// The HTTP methods that count; all of them if empty.
    pub methods: Vec<String>,
    /// The words that decide, if any do.
    pub filter: Filter,
    /// Whether only a person resumes a paused check, and no ping.
    pub manual_resume: bool,
}

/// When the next ping is due.
#[derive(Clone, Debug)]
pub enum Expected {
    /// So long after the latest one.
    Every(Duration),
    /// At the first time of a calendar that is strictly later than the latest one.
    At(Arc<dyn Calendar>),
}

/// Times that go on and on.
pub trait Calendar: Send + Sync + Debug {
    /// The first of them that is strictly later than `time`; `None` if there is none.
    fn after(&self, time: Timestamp) -> Option<Timestamp>;
}

/// Words in the body of a ping that say what it means, whatever its path says. They are looked for
/// as they are written, capitals and all. It is on where there is any word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// A run begins.
    pub start: Vec<String>,
    /// All went well.
    pub success: Vec<String>,
    /// It failed; stronger than the other two.
    pub failure: Vec<String>,
    /// Whether a body with none of them is a failure, and not ignored.
    pub default_fail: bool,
}

/// What a ping does, after methods, words and pauses had their say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// All went well.
    Success,
    /// It failed.
    Fail,
    /// A run begins.
    Start,
    /// It is noted and changes nothing.
    Log,
    /// It counts for nothing, and is noted.
    Ignore,
}

impl Action {
    /// The word for it in the fact `event`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Fail => "fail",
            Self::Start => "start",
            Self::Log => "log",
            Self::Ignore => "ignored",
        }
    }
}

impl Filter {
    fn action(&self, body: &str) -> Option<Action> {
        let has = |words: &[String]| words.iter().any(|word| body.contains(word.as_str()));
        if self.start.is_empty() && self.success.is_empty() && self.failure.is_empty() {
            None
        } else if has(&self.failure) {
            Some(Action::Fail)
        } else if has(&self.success) {
            Some(Action::Success)
        } else if has(&self.start) {
            Some(Action::Start)
        } else if self.default_fail {
            Some(Action::Fail)
        } else {
            Some(Action::Ignore)
        }
    }
}

impl Terms {
    /// What `ping` does to a check that is paused, or is not.
    pub fn action(&self, ping: &Ping, paused: bool) -> Action {
        if paused && self.manual_resume {
            return Action::Ignore;
        }
        // A method that does not count is stronger than words, and words are stronger than the path.
        if !self.methods.is_empty() && !self.methods.contains(&ping.method) {
            return Action::Ignore;
        }
        self.filter.action(&ping.body).unwrap_or(match ping.signal {
            Signal::Success | Signal::Exit(0) => Action::Success,
            Signal::Fail | Signal::Exit(_) => Action::Fail,
            Signal::Start => Action::Start,
            Signal::Log => Action::Log,
        })
    }

    /// Takes in a ping that came at `at` and does `action`.
    pub fn take(&self, state: &mut HeartbeatState, action: Action, ping: &Ping, at: Timestamp) {
        state.pings = state.pings.saturating_add(1);
        // A UUID means the same in any case.
        let rid = ping.rid.as_ref().map(|rid| rid.to_ascii_lowercase());
        match action {
            Action::Start => {
                state.last_start = Some(at);
                state.start_rid = rid;
                state.not_before = None;
            }
            Action::Success | Action::Fail => {
                state.last_ping = Some(at);
                state.duration = None;
                if let Some(start) = state.last_start {
                    let same = state.start_rid == rid;
                    if same {
                        state.duration = Some(at.since(start));
                    }
                    if same || action == Action::Fail || rid.is_none() {
                        state.last_start = None;
                        state.start_rid = None;
                    }
                }
                state.exit_status = match (ping.signal, action) {
                    (Signal::Exit(status), _) => u8::try_from(status).ok(),
                    (_, Action::Success) => Some(0),
                    _ => None,
                };
                state.not_before = None;
                state.body = Arc::clone(&ping.body);
                let failed = action == Action::Fail;
                state.phase = if failed { Phase::Down } else { Phase::Up };
                state.failure = failed.then(|| failure(state.exit_status, &ping.body));
            }
            Action::Log | Action::Ignore => {}
        }
        state.alert_after = self.deadline(state);
    }

    /// Takes in that the latest success or failure was judged to be down, or not: conditions may
    /// think otherwise than the job.
    pub fn settle(&self, state: &mut HeartbeatState, down: bool) {
        state.phase = if down { Phase::Down } else { Phase::Up };
        if !down {
            state.failure = None;
        }
        state.alert_after = self.deadline(state);
    }

    /// Lets what is owed go by these terms, where other ones were in force.
    pub fn adopt(&self, state: &mut HeartbeatState) {
        state.alert_after = self.deadline(state);
    }

    /// Nothing came in time: it is down since [`HeartbeatState::alert_after`].
    pub fn go_down(&self, state: &mut HeartbeatState) {
        let grace = humantime::format_duration(self.grace);
        let expected = self.next_expected(state);
        let started = state.last_start.filter(|start| expected.is_none_or(|due| *start <= due));
        let away = match state.not_before {
            Some(_) => "; Watchbell itself was away then, and so a ping may have been lost",
            None => "",
        };
        state.failure = Some(match (started, expected, state.last_ping) {
            (Some(start), _, _) => {
                format!("the run that began at {start} did not end within {grace}{away}")
            }
            (None, Some(due), Some(last)) => format!(
                "no ping came: the next one was due by {due}, with a grace of {grace}; the last \
                 one was at {last}{away}"
            ),
            _ => format!("no ping came in time{away}"),
        });
        state.phase = Phase::Down;
        state.alert_after = self.deadline(state);
    }

    /// Takes in that the daemon starts at `now` and could hear nothing before: what is owed by now
    /// has its grace once more, and so no restart raises a false alarm. A ping is owed once only, so
    /// many restarts do not put the alarm off for ever.
    pub fn restart(&self, state: &mut HeartbeatState, now: Timestamp) {
        let owed = self.grace_start(state).is_some_and(|start| start <= now);
        if owed && state.not_before.is_none() {
            state.not_before = Some(now.after(self.grace));
        }
        state.alert_after = self.deadline(state);
    }

    /// When the next ping is due, of a check that is up.
    pub fn next_expected(&self, state: &HeartbeatState) -> Option<Timestamp> {
        let last = state.last_ping.filter(|_| state.phase == Phase::Up)?;
        match &self.expected {
            Expected::Every(period) => Some(last.after(*period)),
            Expected::At(calendar) => calendar.after(last),
        }
    }

    /// Since when its grace runs: the next ping is due, or a run has begun.
    fn grace_start(&self, state: &HeartbeatState) -> Option<Timestamp> {
        let start = state.last_start.filter(|_| state.phase != Phase::Down);
        self.next_expected(state).into_iter().chain(start).min()
    }

    fn deadline(&self, state: &HeartbeatState) -> Option<Timestamp> {
        let deadline = self.grace_start(state)?.after(self.grace);
        Some(state.not_before.map_or(deadline, |earliest| deadline.max(earliest)))
    }

    /// What there is to judge at `now`, since `event` happened.
    pub fn observe(
        &self,
        state: &HeartbeatState,
        event: &'static str,
        now: Timestamp,
    ) -> Observation {
        let mut facts = self.facts(state, event, now);
        let mut latency = state.duration.unwrap_or_default();
        if event == MISSED {
            // What the latest run said is no excuse for one that never came.
            facts = facts.filtered(|name| !OF_RUN.contains(&name));
            latency = Duration::ZERO;
        }
        let observation = match (state.phase, &state.failure) {
            (Phase::New, _) => Observation::undecided(facts, "pinged", "it was not pinged yet"),
            (_, Some(why)) => Observation::failed(facts, why.as_str()),
            (_, None) => Observation::found(facts),
        };
        Observation { latency, ..observation }
    }

    /// What is known at `now`, since `event` happened.
    pub fn facts(&self, state: &HeartbeatState, event: &'static str, now: Timestamp) -> Facts {
        let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        let mut facts = Facts::default();
        facts.set("event", event);
        facts.set("pinged", state.phase != Phase::New);
        facts.set("pings", i64::try_from(state.pings).unwrap_or(i64::MAX));
        if let Some(last) = state.last_ping {
            facts.set("last_ping", seconds(now.since(last)));
            facts.set("body", &*state.body);
        }
        let late = self.next_expected(state).map_or(Duration::ZERO, |due| now.since(due));
        facts.set("late_seconds", seconds(late));
        if let Some(duration) = state.duration {
            facts.set("duration_ms", duration.as_secs_f64() * 1000.0);
        }
        if let Some(status) = state.exit_status {
            facts.set("exit_status", i64::from(status));
        }
        facts.set("running", state.last_start.is_some());
        if let Some(start) = state.last_start {
            facts.set("running_seconds", seconds(now.since(start)));
        }
        facts
    }
}

/// Why a job failed, as far as it said so.
fn failure(status: Option<u8>, body: &str) -> String {
    let mut why = match status {
        Some(status) => format!("the job ended with exit status {status}"),
        None => "the job reported a failure".to_owned(),
    };
    if let Some(line) = body.lines().map(str::trim).rfind(|line| !line.is_empty()) {
        why.push_str(": ");
        why.push_str(&crate::check::support::excerpt(line, QUOTED));
    }
    why
}
