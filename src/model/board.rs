use super::{Beat, Beats, CheckState, Facts, Labels, Name, Severity, Status, Timestamp};
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
    pub facts: Arc<Facts>,
    /// When it is due next.
    pub next_run: Option<Timestamp>,
}

/// The current state of all checks, for readers: one writer replaces single entries, readers take
/// cheap copies and never wait for a run.
#[derive(Debug, Default)]
pub struct Board {
    checks: RwLock<Checks>,
}

#[derive(Debug, Default)]
struct Checks {
    by_name: BTreeMap<Name, Entry>,
    totals: Totals,
}

/// What is counted of all checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    by_status: [usize; Status::ALL.len()],
    /// Checks that somebody paused.
    pub paused: usize,
    /// Open incidents of checks.
    pub incidents: usize,
}

impl Totals {
    /// All checks.
    pub fn checks(&self) -> usize {
        self.by_status.iter().sum()
    }

    /// Those whose latest verdict is `status`.
    pub fn of(&self, status: Status) -> usize {
        self.by_status[status as usize]
    }

    fn add(&mut self, view: &CheckView) {
        self.by_status[view.state.status as usize] += 1;
        self.paused += usize::from(view.state.paused.is_some());
        self.incidents += usize::from(view.state.incident.is_some());
    }

    fn take_away(&mut self, view: &CheckView) {
        self.by_status[view.state.status as usize] -= 1;
        self.paused -= usize::from(view.state.paused.is_some());
        self.incidents -= usize::from(view.state.incident.is_some());
    }
}

impl<'a> FromIterator<&'a CheckView> for Totals {
    fn from_iter<T: IntoIterator<Item = &'a CheckView>>(checks: T) -> Self {
        let mut totals = Self::default();
        checks.into_iter().for_each(|check| totals.add(check));
        totals
    }
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
        let Checks { by_name, totals } = &mut *checks;
        totals.add(&view);
        match by_name.get_mut(&*view.name) {
            Some(entry) => {
                totals.take_away(&entry.view);
                entry.view = Arc::new(view);
            }
            None => {
                let entry = Entry { view: Arc::new(view), beats: Box::default() };
                by_name.insert(entry.view.name.clone(), entry);
            }
        }
    }

    /// Remembers a result of the check called `name`, if there is one. It allocates nothing.
    pub fn beat(&self, name: &str, beat: Beat) {
        if let Some(entry) = self.write().by_name.get_mut(name) {
            entry.beats.push(beat);
        }
    }

    /// Adds results of before the start of the daemon, oldest first.
    pub fn seed(&self, name: &str, past: impl IntoIterator<Item = Beat>) {
        if let Some(entry) = self.write().by_name.get_mut(name) {
            entry.beats.seed(past);
        }
    }

    /// The latest results of a check, oldest first, and whether those of before the start are among
    /// them.
    pub fn beats(&self, name: &str) -> (Vec<Beat>, bool) {
        let checks = self.read();
        checks
            .by_name
            .get(name)
            .map(|entry| (entry.beats.all(), entry.beats.is_seeded()))
            .unwrap_or_default()
    }

    /// A check has another name now. Nothing happens if the new one is taken.
    pub fn rename(&self, old: &str, new: &Name) {
        let mut checks = self.write();
        if checks.by_name.contains_key(new) {
            return;
        }
        if let Some(mut entry) = checks.by_name.remove(old) {
            entry.view = Arc::new(CheckView { name: new.clone(), ..CheckView::clone(&entry.view) });
            checks.by_name.insert(new.clone(), entry);
        }
    }

    /// Takes a check off the board.
    pub fn remove(&self, name: &str) {
        let mut checks = self.write();
        if let Some(entry) = checks.by_name.remove(name) {
            checks.totals.take_away(&entry.view);
        }
    }

    /// The check called `name`.
    pub fn get(&self, name: &str) -> Option<Arc<CheckView>> {
        self.read().by_name.get(name).map(|entry| Arc::clone(&entry.view))
    }

    /// What is counted of all checks, at no cost.
    pub fn totals(&self) -> Totals {
        self.read().totals
    }

    /// All checks, by name.
    pub fn all(&self) -> Vec<Arc<CheckView>> {
        self.read().by_name.values().map(|entry| Arc::clone(&entry.view)).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Checks> {
        self.checks.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Checks> {
        self.checks.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Board, CheckView, Totals};
    use crate::model::{CheckState, Incident, Paused, Severity, Status, Timestamp};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn view(name: &str, status: Status, paused: bool, broken: bool) -> CheckView {
        let at = Timestamp::from_millis(0);
        let mut state = CheckState::new(at);
        state.status = status;
        state.paused = paused.then(|| Paused { by: "anna".to_owned(), at });
        state.incident = broken
            .then(|| Incident::new("i".to_owned(), name.into(), "tcp", Status::Down, at))
            .map(Box::new);
        CheckView {
            name: name.into(),
            kind: "tcp",
            severity: Severity::Critical,
            labels: Arc::default(),
            state,
            facts: Arc::default(),
            next_run: None,
        }
    }

    proptest! {
        #[test]
        fn the_totals_are_those_of_a_count(
            steps in prop::collection::vec((0..6_u8, 0..4_usize, any::<bool>(), any::<bool>(), 0..4_u8), 0..60),
        ) {
            let board = Board::default();
            for (name, status, paused, broken, what) in steps {
                let name = format!("check-{name}");
                match what {
                    0 => board.remove(&name),
                    _ => board.put(view(&name, Status::ALL[status], paused, broken)),
                }
                let counted: Totals = board.all().iter().map(|view| &**view).collect();
                prop_assert_eq!(board.totals(), counted);
            }
        }
    }
}
