//! What a recipient knows.

use std::collections::{HashSet, VecDeque};

/// Ends that are remembered, so that late news about them are not told: those of the fallback of
/// another channel come minutes after the incident.
const ENDS: usize = 10_000;

/// The incidents that a recipient has heard of. It does not matter in which order it learns what
/// was sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    told: HashSet<String>,
    over: HashSet<String>,
    oldest: VecDeque<String>,
}

impl Known {
    /// Something about the incident was accepted.
    pub fn hear(&mut self, incident: &str) {
        if !self.over.contains(incident) {
            self.told.insert(incident.to_owned());
        }
    }

    /// Its end was accepted, or is not to be told since nobody heard of the beginning.
    pub fn end(&mut self, incident: &str) {
        self.told.remove(incident);
        if self.over.insert(incident.to_owned()) {
            self.oldest.push_back(incident.to_owned());
            if self.oldest.len() > ENDS
                && let Some(oldest) = self.oldest.pop_front()
            {
                self.over.remove(&oldest);
            }
        }
    }

    /// Whether the recipient has heard of it, and not of its end.
    pub fn was_told(&self, incident: &str) -> bool {
        self.told.contains(incident)
    }

    /// Whether nothing about it is to be told any more.
    pub fn is_over(&self, incident: &str) -> bool {
        self.over.contains(incident)
    }
}
