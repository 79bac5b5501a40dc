use super::{Facts, Name, Status, Timestamp};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// What one run of a check found: facts, or the error that it met. Not an opinion.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// What was found, also where an error came later.
    pub facts: Facts,
    /// Why the target could not be observed: refused, timed out, not understood.
    pub error: Option<String>,
    /// The fact that says that the error tells nothing of the target: the server answers, but
    /// limits how often it may be asked. Such a run is unknown and not down.
    pub undecided: Option<&'static str>,
    /// How long the run took.
    pub latency: Duration,
}

impl Observation {
    /// An observation that met `error`, together with what was found before.
    pub fn failed(facts: Facts, error: impl Into<String>) -> Self {
        Self { facts, error: Some(error.into()), ..Self::default() }
    }

    /// An observation that cannot tell how the target is, as the fact `because` says as well.
    pub fn undecided(facts: Facts, because: &'static str, error: impl Into<String>) -> Self {
        Self { undecided: Some(because), ..Self::failed(facts, error) }
    }

    /// An observation without an error. The runner fills in the latency.
    pub fn found(facts: Facts) -> Self {
        Self { facts, ..Self::default() }
    }
}

/// A status with the reasons for it, in words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The opinion.
    pub status: Status,
    /// Why it is not up; empty when it is.
    pub reasons: Vec<String>,
}

impl Verdict {
    /// All is well.
    pub const UP: Self = Self { status: Status::Up, reasons: Vec::new() };

    /// Down for one reason.
    pub fn down(reason: impl Into<String>) -> Self {
        Self { status: Status::Down, reasons: vec![reason.into()] }
    }
}

/// One run of a check, judged: the message from the runner to whoever keeps its state.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// When the run started.
    pub started: Timestamp,
    /// The opinion.
    pub verdict: Verdict,
    /// How long the run took.
    pub latency: Duration,
    /// The facts that the history keeps.
    pub facts: Facts,
}

/// One run as the history keeps it and the API shows it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunResult {
    /// Whose result it is.
    #[serde(skip)]
    pub check: Name,
    /// When the run started.
    pub at: Timestamp,
    /// The verdict.
    pub status: Status,
    /// How long the run took, in milliseconds.
    pub latency_ms: f64,
    /// Why it was not up.
    pub reasons: Vec<String>,
    /// The facts that are kept, as a JSON object.
    #[schema(value_type = Object)]
    pub facts: serde_json::Value,
    /// For how long it says how the check is, if no other run follows: past that nobody knows.
    #[serde(skip)]
    pub stands_for: Duration,
    /// Whether it fell into maintenance, of which no uptime counts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub maintenance: bool,
}

impl RunResult {
    /// The result of a run of `check`.
    pub fn new(check: Name, run: Judgement) -> Self {
        Self {
            check,
            at: run.started,
            status: run.verdict.status,
            latency_ms: run.latency.as_secs_f64() * 1000.0,
            reasons: run.verdict.reasons,
            // Facts are plain JSON; there is nothing in them that could fail.
            facts: serde_json::to_value(&run.facts).unwrap_or_default(),
            stands_for: Duration::ZERO,
            maintenance: false,
        }
    }
}
