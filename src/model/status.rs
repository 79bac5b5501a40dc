use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// How a check is, by its latest verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All that was expected held.
    Up,
    /// It works, but a `degraded_if` condition holds.
    Degraded,
    /// An expectation failed, or the check could not reach its target.
    Down,
    /// Nobody can say: it has not run yet, or the daemon could not run it.
    Unknown,
}

impl Status {
    /// Every status, best first.
    pub const ALL: [Self; 4] = [Self::Up, Self::Degraded, Self::Down, Self::Unknown];

    /// The word that users read and write.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it counts towards an incident.
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Degraded | Self::Down)
    }

    /// The status that `word` names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How much an incident matters. Ordered: `Info < Warning < Critical`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look at it in working hours.
    Warning,
    /// Wake somebody.
    Critical,
}

impl Severity {
    /// The word that users read and write.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The severity of an incident of a check of severity `self` that is `status`: degraded and
    /// unknown have the lesser of warning and the check's own.
    pub fn of(self, status: Status) -> Self {
        match status {
            Status::Degraded | Status::Unknown => self.min(Self::Warning),
            Status::Up | Status::Down => self,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
