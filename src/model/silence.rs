use super::Timestamp;
use serde::{Deserialize, Serialize};

/// A time in which nobody wants to hear of certain incidents, set by a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// A ULID.
    pub id: String,
    /// Which incidents: those that all of these match.
    pub matchers: Vec<Matcher>,
    /// From when on.
    pub starts_at: Timestamp,
    /// Until when; a silence that was ended early ends at that moment.
    pub ends_at: Timestamp,
    /// Who set it.
    pub author: String,
    /// Why.
    pub comment: String,
    /// When it was set.
    pub created_at: Timestamp,
}

impl Silence {
    /// Whether it is in force at `now`.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.starts_at <= now && now < self.ends_at
    }
}

/// A test on one label, as Alertmanager knows it: `team="shop"`, `name=~"shop-.*"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Matcher {
    /// The label; `name`, `alertname`, `kind` and `severity` are there for every incident.
    pub name: String,
    /// What it is compared with; a label that is absent is empty.
    pub value: String,
    /// Whether `value` is a regular expression, which must match all of the label.
    #[serde(default)]
    pub is_regex: bool,
    /// Whether it has to match; otherwise it must not.
    #[serde(default = "yes")]
    pub is_equal: bool,
}

const fn yes() -> bool {
    true
}
