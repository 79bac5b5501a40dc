use serde::{Deserialize, Serialize};
use std::fmt;

/// What is done to get a check going again: the `action` of `[check.recover]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionName {
    /// Stop it, if it runs, and start it.
    Restart,
    /// Take it away and put it there anew.
    Recreate,
    /// Give it more of itself.
    ScaleUp,
    /// Let another take over.
    Failover,
}

impl ActionName {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Restart, Self::Recreate, Self::ScaleUp, Self::Failover];

    /// The word in the configuration, on the timeline and for whoever carries it out.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Recreate => "recreate",
            Self::ScaleUp => "scale_up",
            Self::Failover => "failover",
        }
    }

    /// The action that `word` names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}

impl fmt::Display for ActionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
