use super::{CheckState, Facts, Labels, Name, Severity, Timestamp};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// A check as the API and the page show it. Replaced whole after each run.
#[derive(Clone, Debug)]
pub struct CheckView {
    /// Its name.
    pub name: Name,
    /// Its kind.
    pub kind: &'static str,
    /// Of an incident when it is down.
    pub severity: Severity,
    /// Its labels.
    pub labels: Arc<Labels>,
    /// What is known of it.
    pub state: CheckState,
    /// The kept facts of the latest run.
    pub facts: Facts,
    /// When it is due next.
    pub next_run: Option<Timestamp>,
}

/// The current state of all checks, for readers: one writer replaces single entries, readers take
/// cheap copies and never wait for a run.
#[derive(Debug, Default)]
pub struct Board {
    checks: RwLock<BTreeMap<Name, Arc<CheckView>>>,
}

impl Board {
    /// Puts `view` in the place of the one of that name.
    pub fn put(&self, view: CheckView) {
        let mut checks = self.checks.write().unwrap_or_else(PoisonError::into_inner);
        checks.insert(view.name.clone(), Arc::new(view));
    }

    /// Takes a check off the board.
    pub fn remove(&self, name: &str) {
        self.checks.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// The check called `name`.
    pub fn get(&self, name: &str) -> Option<Arc<CheckView>> {
        self.checks.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// All checks, by name.
    pub fn all(&self) -> Vec<Arc<CheckView>> {
        self.checks.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
