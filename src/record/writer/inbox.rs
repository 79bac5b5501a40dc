use super::Committed;
use crate::model::{CheckState, Incident, Name, Notice, RunResult, Silence};
use crate::record::Batch;
use std::collections::{BTreeMap, HashMap, VecDeque};
use tokio::sync::oneshot;

/// Results that wait for the store; past this the oldest are dropped.
pub(super) const MAX_WAITING: usize = 100_000;
/// Results in one transaction. With many checks each result lies on a page of its own, and the
/// more come at once the more of them share one.
pub(super) const MAX_BATCH: usize = 20_000;
/// Results in one transaction while the store fails: small ones get through where a disk is slow,
/// and what cannot wait goes with the first.
pub(super) const MAX_TRIAL: usize = 2_000;

/// What waits to be written, each thing once, in its latest form.
///
/// Results are bounded. Of the others there is one to each check, open incident, notice and
/// silence, and none of them may be lost.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Old and new names of checks; what lies here bears the new ones.
    renamed: Vec<(Name, Name)>,
    results: VecDeque<RunResult>,
    /// `None` where the state is to be dropped.
    states: HashMap<Name, Option<CheckState>>,
    /// By id, and so in the order of time.
    incidents: BTreeMap<String, Incident>,
    notices: BTreeMap<String, Notice>,
    silences: BTreeMap<String, Silence>,
    tickets: Vec<Ticket>,
    /// The latest taking left results behind, which waited long enough.
    backlog: bool,
    dropped: u64,
    /// No more will come, or so it is meant; the task writes what there is and ends.
    pub closed: bool,
    /// The task is gone.
    pub ended: bool,
}

/// Somebody who waits for a commit.
#[derive(Debug)]
pub(super) struct Ticket {
    /// The notices to announce.
    pub announce: Vec<Notice>,
    /// Where the outcome goes.
    pub done: oneshot::Sender<Committed>,
}

impl Inbox {
    /// Adds a result and a state, and tells whether the task has to hear of it.
    pub fn record(&mut self, result: RunResult, state: Option<(Name, CheckState)>) -> bool {
        let was_empty = self.is_empty();
        self.push(result);
        self.states.extend(state.map(|(name, state)| (name, Some(state))));
        was_empty || self.results.len() == MAX_BATCH
    }

    /// Adds a batch that somebody waits for.
    pub fn commit(&mut self, batch: Batch, ticket: Ticket) {
        for (old, new) in batch.renamed {
            self.rename(&old, &new);
            self.renamed.push((old, new));
        }
        for result in batch.results {
            self.push(result);
        }
        self.states.extend(batch.removed.into_iter().map(|name| (name, None)));
        self.states.extend(batch.states.into_iter().map(|(name, state)| (name, Some(state))));
        self.incidents.extend(batch.incidents.into_iter().map(|item| (item.id.clone(), item)));
        self.notices.extend(batch.notices.into_iter().map(|item| (item.id.clone(), item)));
        self.silences.extend(batch.silences.into_iter().map(|item| (item.id.clone(), item)));
        self.tickets.push(ticket);
    }

    /// Puts back what could not be written: it is older than all that is here.
    pub fn put_back(&mut self, mut batch: Batch) {
        for (old, new) in &self.renamed {
            rename(&mut batch, old, new);
        }
        self.renamed.splice(..0, std::mem::take(&mut batch.renamed));
        for result in batch.results.into_iter().rev() {
            if self.results.len() < MAX_WAITING {
                self.results.push_front(result);
            } else {
                self.dropped += 1;
            }
        }
        for name in batch.removed {
            self.states.entry(name).or_insert(None);
        }
        for (name, state) in batch.states {
            self.states.entry(name).or_insert(Some(state));
        }
        for incident in batch.incidents {
            self.incidents.entry(incident.id.clone()).or_insert(incident);
        }
        for notice in batch.notices {
            self.notices.entry(notice.id.clone()).or_insert(notice);
        }
        for silence in batch.silences {
            self.silences.entry(silence.id.clone()).or_insert(silence);
        }
    }

    /// Takes what makes one transaction: everything, but at most so many results. Those that stay
    /// behind are the newest.
    pub fn take(&mut self, at_most: usize) -> Taken {
        let results = if self.results.len() > at_most {
            self.results.drain(..at_most).collect()
        } else {
            // The room goes along, so that a burst does not hold memory for ever.
            std::mem::take(&mut self.results)
        };
        self.backlog = !self.results.is_empty();
        Taken {
            renamed: std::mem::take(&mut self.renamed),
            results,
            states: std::mem::take(&mut self.states),
            incidents: std::mem::take(&mut self.incidents),
            notices: std::mem::take(&mut self.notices),
            silences: std::mem::take(&mut self.silences),
            tickets: self.take_tickets(),
        }
    }

    /// Takes those who wait, and leaves what they wait for.
    pub fn take_tickets(&mut self) -> Vec<Ticket> {
        std::mem::take(&mut self.tickets)
    }

    /// How many results were dropped since this was last asked.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// How many results wait.
    pub fn waiting_results(&self) -> usize {
        self.results.len()
    }

    /// Whether it should be written without gathering more.
    pub fn is_urgent(&self) -> bool {
        !self.tickets.is_empty() || self.backlog || self.results.len() >= MAX_BATCH
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.renamed.is_empty()
            && self.results.is_empty()
            && self.states.is_empty()
            && self.incidents.is_empty()
            && self.notices.is_empty()
            && self.silences.is_empty()
            && self.tickets.is_empty()
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        *self = Self { closed: self.closed, ended: self.ended, ..Self::default() };
    }

    /// What lies here about a check goes with its new name.
    fn rename(&mut self, old: &Name, new: &Name) {
        for result in self.results.iter_mut().filter(|result| result.check == *old) {
            result.check = new.clone();
        }
        if let Some(state) = self.states.remove(old) {
            self.states.insert(new.clone(), state);
        }
        for incident in self.incidents.values_mut() {
            incident.rename(old, new);
        }
        for notice in self.notices.values_mut() {
            notice.rename(old, new);
        }
    }

    fn push(&mut self, result: RunResult) {
        if self.results.len() >= MAX_WAITING {
            self.results.pop_front();
            self.dropped += 1;
        }
        self.results.push_back(result);
    }
}

/// What came out of the inbox, as it lay there: it is put in order after the inbox is open again,
/// so that nobody who records waits for that.
#[derive(Debug)]
pub(super) struct Taken {
    renamed: Vec<(Name, Name)>,
    results: VecDeque<RunResult>,
    states: HashMap<Name, Option<CheckState>>,
    incidents: BTreeMap<String, Incident>,
    notices: BTreeMap<String, Notice>,
    silences: BTreeMap<String, Silence>,
    tickets: Vec<Ticket>,
}

impl Taken {
    /// The transaction, and who waits for it.
    pub fn sort_out(self) -> (Batch, Vec<Ticket>) {
        let mut batch = Batch {
            renamed: self.renamed,
            results: self.results.into(),
            states: Vec::with_capacity(self.states.len()),
            removed: Vec::new(),
            incidents: self.incidents.into_values().collect(),
            notices: self.notices.into_values().collect(),
            silences: self.silences.into_values().collect(),
        };
        for (name, state) in self.states {
            match state {
                Some(state) => batch.states.push((name, state)),
                None => batch.removed.push(name),
            }
        }
        (batch, self.tickets)
    }
}

/// What a batch says about a check goes with its new name.
fn rename(batch: &mut Batch, old: &Name, new: &Name) {
    for result in batch.results.iter_mut().filter(|result| result.check == *old) {
        result.check = new.clone();
    }
    for (name, _) in batch.states.iter_mut().filter(|(name, _)| name == old) {
        *name = new.clone();
    }
    for name in batch.removed.iter_mut().filter(|name| *name == old) {
        *name = new.clone();
    }
    for incident in &mut batch.incidents {
        incident.rename(old, new);
    }
    for notice in &mut batch.notices {
        notice.rename(old, new);
    }
}

/// Two halves of a batch, the earlier one first; a batch of one item comes back.
pub(super) fn split(mut batch: Batch) -> Result<(Batch, Batch), Box<Batch>> {
    fn take_some<T>(from: &mut Vec<T>, room: &mut usize) -> Vec<T> {
        let some = from.len().min(*room);
        *room -= some;
        from.drain(..some).collect()
    }
    if batch.len() < 2 {
        return Err(Box::new(batch));
    }
    let mut room = batch.len() / 2;
    // The fields are filled as they stand here: what is owed comes first, since a crash between
    // the halves should rather repeat an alert than lose it. Names come before what bears them.
    let first = Batch {
        renamed: take_some(&mut batch.renamed, &mut room),
        silences: take_some(&mut batch.silences, &mut room),
        notices: take_some(&mut batch.notices, &mut room),
        incidents: take_some(&mut batch.incidents, &mut room),
        removed: take_some(&mut batch.removed, &mut room),
        states: take_some(&mut batch.states, &mut room),
        results: take_some(&mut batch.results, &mut room),
    };
    Ok((first, batch))
}

/// The same with the results of each check beside each other, so that what is wrong with those of one
/// check is found in few steps; results of one check alone stay together.
pub(super) fn split_by_check(mut batch: Batch) -> Result<(Batch, Batch), Box<Batch>> {
    batch.results.sort_by(|one, other| one.check.cmp(&other.check));
    let only_results = batch.len() == batch.results.len();
    let check = |result: Option<&RunResult>| result.map(|result| Name::clone(&result.check));
    if only_results && check(batch.results.first()) == check(batch.results.last()) {
        return Err(Box::new(batch));
    }
    split(batch)
}

/// What the one item of a batch is.
pub(super) fn describe(item: &Batch) -> String {
    let result = item.results.first().map(|it| format!("a result of check {}", it.check));
    let state = || item.states.first().map(|(name, _)| format!("the state of check {name}"));
    let incident = || item.incidents.first().map(|it| format!("incident {}", it.id));
    let notice = || item.notices.first().map(|it| format!("notice {}", it.id));
    let silence = || item.silences.first().map(|it| format!("silence {}", it.id));
    let renamed =
        || item.renamed.first().map(|(old, new)| format!("the renaming of {old} to {new}"));
    let removed = || item.removed.first().map(|name| format!("the removal of check {name}"));
    result
        .or_else(state)
        .or_else(incident)
        .or_else(notice)
        .or_else(silence)
        .or_else(removed)
        .or_else(renamed)
        .unwrap_or_else(|| "nothing".to_owned())
}
