//! Which notices of a route come together.

use crate::model::{Group, Incident};
use std::fmt::Write as _;
use std::time::Duration;

/// What the incidents of one group have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// The name of the check.
    Name,
    /// Its kind.
    Kind,
    /// How much it matters.
    Severity,
    /// How the check is.
    Status,
    /// The value of a label; an absent one is empty.
    Label(String),
}

impl GroupBy {
    /// The words that name something other than a label.
    pub const WORDS: [&str; 4] = ["name", "kind", "severity", "status"];

    /// Reads `name`, `kind`, `severity`, `status` or `labels.NAME`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "name" => Some(Self::Name),
            "kind" => Some(Self::Kind),
            "severity" => Some(Self::Severity),
            "status" => Some(Self::Status),
            _ => {
                let label = text.strip_prefix("labels.")?;
                (!label.is_empty()).then(|| Self::Label(label.to_owned()))
            }
        }
    }

    fn of<'a>(&self, incident: &'a Incident) -> &'a str {
        match self {
            Self::Name => &incident.check,
            Self::Kind => &incident.kind,
            Self::Severity => incident.severity.as_str(),
            Self::Status => incident.status.as_str(),
            Self::Label(label) => incident.labels.get(label).map_or("", String::as_str),
        }
    }
}

/// The group that `incident` belongs to on the route at `path`.
pub(super) fn group(path: &str, by: &[GroupBy], window: Duration, incident: &Incident) -> Group {
    let mut key = path.to_owned();
    for by in by {
        // In quotes, so that no two lists of values give the same key.
        let _ = write!(key, " {:?}", by.of(incident));
    }
    Group { key, window }
}
