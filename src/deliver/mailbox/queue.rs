//! What is owed, in the order in which it came to be owed, with the ways to find it.

use super::sort;
use crate::model::{HeldBecause, Incident, Notice, NoticeState, What};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// One notice that is owed.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub notice: Notice,
    /// About one incident, a lower rank is accepted before a higher one goes.
    pub rank: u8,
    /// Not to be tried before.
    pub due: i64,
    /// When the channel first refused it, since the start.
    pub refused_since: Option<i64>,
    /// Since when it is held, for as long as it is.
    pub held_since: i64,
    /// Its route is mute until then.
    pub muted_until: Option<i64>,
}

impl Entry {
    pub fn new(notice: Notice, due: i64, held_since: i64, muted_until: Option<i64>) -> Self {
        let rank = sort::rank(&notice);
        Self { notice, rank, due, refused_since: None, held_since, muted_until }
    }

    /// Whether it says that something is over.
    pub fn is_end(&self) -> bool {
        self.rank == sort::LAST
    }

    /// Whether nobody can have heard of it, on its own or by a digest that is under way: only then
    /// may it be suppressed or cancelled.
    pub fn is_fresh(&self) -> bool {
        self.notice.attempts == 0 && self.notice.digest.is_none()
    }

    /// Whether an opening besides it would tell nothing new.
    pub fn opens(&self) -> bool {
        !self.is_end() && self.notice.what != What::Reminder
    }

    pub fn is_pending(&self) -> bool {
        self.notice.state == NoticeState::Pending
    }

    /// Why it is held, unless a digest carries it.
    pub fn held(&self) -> Option<HeldBecause> {
        let is_held = self.notice.state == NoticeState::Held && self.notice.digest.is_none();
        self.notice.held_because.filter(|_| is_held)
    }

    /// Whether people are not to be told now, whatever the limits say.
    pub fn is_suppressed(&self) -> bool {
        matches!(
            self.held(),
            Some(
                HeldBecause::Dependency
                    | HeldBecause::Silence
                    | HeldBecause::Maintenance
                    | HeldBecause::Flapping
            )
        )
    }

    /// Whether a limit holds it, so that it goes with the next digest.
    pub fn waits_for_digest(&self) -> bool {
        matches!(self.held(), Some(HeldBecause::RateLimit | HeldBecause::Storm))
    }

    pub fn is_digest(&self) -> bool {
        self.notice.what == What::Digest
    }
}

/// What a step makes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays as it is.
    Stay,
    /// It waits, and says why.
    Hold(HeldBecause),
    /// Nothing holds it any more.
    Release,
    /// It is no longer owed.
    Cancel,
}

/// What is owed, and what changed of it since the store last heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    entries: BTreeMap<u64, Entry>,
    by_id: HashMap<String, u64>,
    by_incident: HashMap<String, BTreeSet<u64>>,
    /// How many openings are owed about each check.
    openings: HashMap<String, usize>,
    touched: BTreeSet<u64>,
    gone: Vec<Notice>,
    next: u64,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &Entry)> {
        self.entries.iter().map(|(seq, entry)| (*seq, entry))
    }

    pub fn get(&self, seq: u64) -> Option<&Entry> {
        self.entries.get(&seq)
    }

    /// For a change of its times, its attempts or its marks, which the store is told.
    pub fn edit(&mut self, seq: u64) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(&seq)?;
        self.touched.insert(seq);
        Some(entry)
    }

    /// For a change of its times only, which is not worth a word to the store.
    pub fn dues(&mut self) -> impl Iterator<Item = &mut i64> {
        self.entries.values_mut().map(|entry| &mut entry.due)
    }

    pub fn seq_of(&self, id: &str) -> Option<u64> {
        self.by_id.get(id).copied()
    }

    /// What is owed about an incident, oldest first.
    pub fn about(&self, incident: &str) -> impl Iterator<Item = (u64, &Entry)> {
        let seqs = self.by_incident.get(incident).into_iter().flatten();
        seqs.filter_map(|seq| Some((*seq, self.entries.get(seq)?)))
    }

    /// The incidents about which more than one notice is owed.
    pub fn crowded(&self) -> impl Iterator<Item = &str> {
        self.by_incident.iter().filter(|(_, seqs)| seqs.len() > 1).map(|(id, _)| &**id)
    }

    /// Whether something must be accepted before this one goes, since it is about the same
    /// incident and comes first in its story.
    pub fn must_follow(&self, entry: &Entry) -> bool {
        entry.rank > 0
            && entry
                .notice
                .incidents
                .iter()
                .any(|incident| self.about(&incident.id).any(|(_, other)| other.rank < entry.rank))
    }

    /// Whether anything else depends on whether `notice` was accepted.
    pub fn concerns_others(&self, notice: &Notice) -> bool {
        notice.incidents.iter().any(|incident| {
            self.by_incident.contains_key(&incident.id)
                || self.openings.contains_key(&**incident.subject())
        })
    }

    /// Adds an entry behind all others.
    pub fn push(&mut self, entry: Entry) -> u64 {
        let seq = self.next;
        self.next += 1;
        self.index(seq, &entry);
        self.entries.insert(seq, entry);
        seq
    }

    /// Says that the store does not know this entry as it is.
    pub fn touch(&mut self, seq: u64) {
        self.touched.insert(seq);
    }

    pub fn remove(&mut self, seq: u64) -> Option<Notice> {
        let entry = self.entries.remove(&seq)?;
        self.unindex(seq, &entry);
        self.touched.remove(&seq);
        Some(entry.notice)
    }

    /// Removes an entry that is no longer owed. The store is told.
    pub fn cancel(&mut self, seq: u64) {
        if let Some(mut notice) = self.remove(seq) {
            notice.state = NoticeState::Cancelled;
            notice.held_because = None;
            self.gone.push(notice);
        }
    }

    /// Keeps a notice for the store that is not owed any more.
    pub fn part_with(&mut self, notice: Notice) {
        self.gone.push(notice);
    }

    /// Asks about each entry what becomes of it, in order, and then carries that out. Gives whether
    /// anything changed.
    pub fn decide(&mut self, at: i64, mut choose: impl FnMut(&Self, u64, &Entry) -> Fate) -> bool {
        let fates: Vec<(u64, Fate)> = self
            .iter()
            .map(|(seq, entry)| (seq, choose(self, seq, entry)))
            .filter(|(_, fate)| *fate != Fate::Stay)
            .collect();
        for (seq, fate) in &fates {
            match fate {
                Fate::Stay => {}
                Fate::Hold(because) => self.hold(*seq, *because, at),
                Fate::Release => self.release(*seq),
                Fate::Cancel => self.cancel(*seq),
            }
        }
        !fates.is_empty()
    }

    pub fn hold(&mut self, seq: u64, because: HeldBecause, at: i64) {
        if let Some(entry) = self.edit(seq) {
            if entry.notice.state != NoticeState::Held {
                entry.held_since = at;
            }
            entry.notice.state = NoticeState::Held;
            entry.notice.held_because = Some(because);
        }
    }

    fn release(&mut self, seq: u64) {
        if let Some(entry) = self.edit(seq) {
            entry.notice.state = NoticeState::Pending;
            entry.notice.held_because = None;
        }
    }

    /// Gives an entry other incidents to tell of.
    pub fn retell(&mut self, seq: u64, incidents: Vec<Incident>) {
        let Some(mut entry) = self.entries.remove(&seq) else { return };
        self.unindex(seq, &entry);
        entry.notice.incidents = incidents;
        self.index(seq, &entry);
        self.entries.insert(seq, entry);
        self.touched.insert(seq);
    }

    /// What the store has to be told, each notice once.
    pub fn take_changes(&mut self) -> Vec<Notice> {
        let mut changes = std::mem::take(&mut self.gone);
        for seq in std::mem::take(&mut self.touched) {
            changes.extend(self.entries.get(&seq).map(|entry| entry.notice.clone()));
        }
        changes
    }

    fn index(&mut self, seq: u64, entry: &Entry) {
        self.by_id.insert(entry.notice.id.clone(), seq);
        for incident in &entry.notice.incidents {
            self.by_incident.entry(incident.id.clone()).or_default().insert(seq);
            if entry.notice.what == What::Opened {
                *self.openings.entry(incident.subject().to_string()).or_default() += 1;
            }
        }
    }

    fn unindex(&mut self, seq: u64, entry: &Entry) {
        self.by_id.remove(&entry.notice.id);
        for incident in &entry.notice.incidents {
            if let Some(seqs) = self.by_incident.get_mut(&incident.id) {
                seqs.remove(&seq);
                if seqs.is_empty() {
                    self.by_incident.remove(&incident.id);
                }
            }
            if entry.notice.what == What::Opened
                && let Some(count) = self.openings.get_mut(&**incident.subject())
            {
                *count -= 1;
                if *count == 0 {
                    self.openings.remove(&**incident.subject());
                }
            }
        }
    }
}
