use super::{Beat, Beats, CheckState, Facts, Labels, Name, Severity, Timestamp};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

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
    checks: RwLock<BTreeMap<Name, Entry>>,
}

#[derive(Debug)]
struct Entry {
    view: Arc<CheckView>,
    /// Boxed, since the map moves its entries.
    beats: Box<Beats>,
}

impl Board {
    /// Puts `view` in the place of the one of that name.
    pub fn put(&self, view: CheckView) {
        let mut checks = self.write();
        match checks.get_mut(&*view.name) {
            Some(entry) => entry.view = Arc::new(view),
            None => {
                let entry = Entry { view: Arc::new(view), beats: Box::default() };
                checks.insert(entry.view.name.clone(), entry);
            }
        }
    }

    /// Remembers a result of the check called `name`, if there is one. It allocates nothing.
    pub fn beat(&self, name: &str, beat: Beat) {
        if let Some(entry) = self.write().get_mut(name) {
            entry.beats.push(beat);
        }
    }

    /// Adds results of before the start of the daemon, oldest first.
    pub fn seed(&self, name: &str, past: impl IntoIterator<Item = Beat>) {
        if let Some(entry) = self.write().get_mut(name) {
            entry.beats.seed(past);
        }
    }

    /// The latest results of a check, oldest first, and whether those of before the start are among
    /// them.
    pub fn beats(&self, name: &str) -> (Vec<Beat>, bool) {
        let checks = self.read();
        checks
            .get(name)
            .map(|entry| (entry.beats.all(), entry.beats.is_seeded()))
            .unwrap_or_default()
    }

    /// Takes a check off the board.
    pub fn remove(&self, name: &str) {
        self.write().remove(name);
    }

    /// The check called `name`.
    pub fn get(&self, name: &str) -> Option<Arc<CheckView>> {
        self.read().get(name).map(|entry| Arc::clone(&entry.view))
    }

    /// All checks, by name.
    pub fn all(&self) -> Vec<Arc<CheckView>> {
        self.read().values().map(|entry| Arc::clone(&entry.view)).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Name, Entry>> {
        self.checks.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Name, Entry>> {
        self.checks.write().unwrap_or_else(PoisonError::into_inner)
    }
}
