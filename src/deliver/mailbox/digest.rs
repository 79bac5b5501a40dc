//! Step: what waited together goes together.

use super::lanes::{Closed, PATIENCE_MS};
use super::queue::Entry;
use super::{GATHER_MS, Mailbox, mono};
use crate::model::{Group, HeldBecause, Incident, Moment, Notice, What};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// A lane of a group: its key, and whether it is that of ends.
type LaneKey = (String, bool);

impl Mailbox {
    /// Makes the digests that are due: of groups whose window is over, of what a limit held back,
    /// of many ends at once. `room` is what the rate limit leaves for those of groups; without it
    /// the group waits for the digest of the rate limit.
    pub(super) fn make_digests(
        &mut self,
        now: Moment,
        mut room: usize,
        new_id: &mut impl FnMut() -> String,
    ) {
        let at = mono(now);
        self.lanes.refresh(&self.queue, at);
        for ((key, end), members) in self.groups() {
            if self.lanes.closed_until(&self.queue, &key, end, at).is_some() {
                continue;
            }
            if !end && room == 0 {
                for seq in members {
                    self.queue.hold(seq, HeldBecause::RateLimit, at);
                }
                self.stale = true;
                continue;
            }
            room -= usize::from(!end);
            let newest = members.last().and_then(|seq| self.queue.get(*seq));
            let group = newest.and_then(|entry| entry.notice.group.clone());
            self.make_digest(&members, HeldBecause::Group, group, now, new_id());
        }
        for end in [false, true] {
            if self.digest_from(end, at).is_some_and(|from| from <= at) {
                let members: Vec<u64> = self.waiting(end).map(|(seq, _)| seq).collect();
                let first = self.waiting(end).find_map(|(_, entry)| entry.held());
                let because = first.unwrap_or(HeldBecause::RateLimit);
                self.make_digest(&members, because, None, now, new_id());
            }
        }
    }

    /// When the next digest may be made, unless something is accepted before.
    pub(super) fn digest_wake(&mut self, at: i64) -> Option<i64> {
        let groups = self.groups().into_keys().filter_map(|(key, end)| {
            match self.lanes.closed_until(&self.queue, &key, end, at) {
                Some(Closed::Until(until)) => Some(until),
                Some(Closed::UntilAccepted) => None,
                None => Some(at),
            }
        });
        let first = groups.min();
        [first, self.digest_from(false, at), self.digest_from(true, at)].into_iter().flatten().min()
    }

    /// What waits for the windows of groups, by lane.
    fn groups(&self) -> BTreeMap<LaneKey, Vec<u64>> {
        let mut groups: BTreeMap<LaneKey, Vec<u64>> = BTreeMap::new();
        for (seq, entry) in self.queue.iter() {
            if let (Some(HeldBecause::Group), Some(group)) = (entry.held(), &entry.notice.group) {
                groups.entry((group.key.clone(), entry.is_end())).or_default().push(seq);
            }
        }
        groups
    }

    fn waiting(&self, end: bool) -> impl Iterator<Item = (u64, &Entry)> {
        let waiting = self.queue.iter().filter(|(_, entry)| entry.waits_for_digest());
        waiting.filter(move |(_, entry)| entry.is_end() == end)
    }

    /// From when on what a limit holds may go as a digest, if there is anything. One that is under
    /// way and not accepted yet goes first: what comes meanwhile comes together after it.
    fn digest_from(&mut self, end: bool, at: i64) -> Option<i64> {
        let first = self.waiting(end).map(|(_, entry)| entry.held_since).min()?;
        let mut under_way = self.queue.iter().filter(|(_, entry)| {
            entry.is_digest() && entry.is_end() == end && entry.notice.group.is_none()
        });
        let gathered = match under_way.next_back() {
            Some((_, digest)) if !digest.notice.fell_back => return None,
            Some((_, digest)) => digest.held_since.max(first) + PATIENCE_MS,
            None => first + GATHER_MS,
        };
        let slot = match end {
            true => self.ends.free_from(1, at),
            false => self.rate.free_from(1, at).max(self.storm.free_from(1, at)),
        };
        Some(slot.max(gathered))
    }

    fn make_digest(
        &mut self,
        members: &[u64],
        because: HeldBecause,
        group: Option<Group>,
        now: Moment,
        id: String,
    ) {
        let at = mono(now);
        let mut told: BTreeSet<u64> = members.iter().copied().collect();
        let is_end =
            members.first().and_then(|seq| self.queue.get(*seq)).is_some_and(Entry::is_end);
        if !is_end {
            told.extend(self.told_along(&told));
        }
        let mut newest: BTreeMap<String, Incident> = BTreeMap::new();
        // The fallback knows it all already if it was given each.
        let mut fell_back = true;
        let mut stands_in = true;
        for seq in told {
            if self.queue.get(seq).is_some_and(|entry| entry.held() != Some(because)) {
                self.queue.hold(seq, because, at);
            }
            let Some(entry) = self.queue.edit(seq) else { continue };
            entry.notice.digest = Some(id.clone());
            fell_back &= entry.notice.fell_back;
            stands_in &= entry.notice.stands_in;
            for incident in &entry.notice.incidents {
                newest.insert(incident.id.clone(), incident.clone());
            }
        }
        let mut incidents: Vec<Incident> = newest.into_values().collect();
        if is_end {
            incidents
                .iter_mut()
                .for_each(|over| over.resolved_at = over.resolved_at.or(Some(now.wall)));
        }
        // Roots first: what much stands on explains the rest.
        incidents.sort_by(|a, b| {
            let order = |incident: &Incident| {
                (Reverse(incident.dependents.len()), Reverse(incident.severity), incident.began_at)
            };
            order(a).cmp(&order(b)).then_with(|| a.id.cmp(&b.id))
        });
        let (channel, recipient) = (self.channel.clone(), self.recipient.clone());
        let mut digest = Notice::new(id, What::Digest, channel, recipient, incidents, now.wall);
        digest.held_because = Some(because);
        digest.group = group.clone();
        digest.fell_back = fell_back;
        digest.stands_in = stands_in;
        let seq = self.queue.push(Entry::new(digest, at, at, None));
        self.queue.touch(seq);
        // Its slot may have been another's.
        self.stale = true;
        if let Some(group) = group {
            self.lanes.lead(&group, is_end, seq, at);
        }
    }

    /// Whatever else is owed about these incidents is told by the digest, too; on its own it would
    /// come after, as old news.
    fn told_along(&self, members: &BTreeSet<u64>) -> Vec<u64> {
        let members = members.iter().filter_map(|seq| self.queue.get(*seq));
        let about: HashSet<&str> = members
            .flat_map(|entry| &entry.notice.incidents)
            .map(|incident| &*incident.id)
            .collect();
        let along = self.queue.iter().filter(|(_, entry)| {
            let notice = &entry.notice;
            notice.digest.is_none()
                && !entry.is_end()
                && !entry.is_suppressed()
                && !matches!(notice.what, What::Digest | What::Test)
                && notice.incidents.iter().all(|incident| about.contains(&*incident.id))
        });
        along.map(|(seq, _)| seq).collect()
    }
}
