//! Step: who goes on, by the groups and the limits.

use super::Mailbox;
use super::lanes::Lanes;
use super::queue::{Entry, Fate, Queue};
use crate::model::{HeldBecause, What};
use std::collections::HashSet;

impl Mailbox {
    /// Lets those through, in order, that are first of their group and have room in the limits;
    /// holds the others. What a limit holds already draws all that came after it to it, so that
    /// nothing overtakes. Gives the messages that the rate limit still leaves room for.
    pub(super) fn admit(&mut self, at: i64) -> usize {
        self.lanes.refresh(&self.queue, at);
        let waiting =
            self.queue.iter().filter(|(_, entry)| entry.held() == Some(HeldBecause::Group));
        let members = waiting.filter_map(|(_, entry)| {
            Some((entry.notice.group.as_ref()?.key.clone(), entry.is_end()))
        });
        let mut gate = Gate {
            members: members.collect(),
            rate: self.rate_room(at),
            storm: self.storm.free(at),
            ends: self.ends.free(at),
            lanes: &mut self.lanes,
            at,
        };
        self.queue.decide(at, |queue, seq, entry| {
            let notice = &entry.notice;
            let passes = notice.urgent
                || notice.digest.is_some()
                || matches!(notice.what, What::Test | What::Digest);
            if passes {
                Fate::Stay
            } else if entry.is_end() {
                gate.end(queue, seq, entry)
            } else {
                gate.opening(queue, seq, entry)
            }
        });
        gate.rate
    }

    /// Slots of the rate limit that are neither kept for a digest nor taken by one that is owed.
    fn rate_room(&mut self, at: i64) -> usize {
        let digests =
            || self.queue.iter().filter(|(_, entry)| entry.is_digest() && !entry.is_end());
        let grouped = digests().filter(|(_, entry)| entry.notice.group.is_some()).count();
        let others = digests().count() - grouped;
        let kept = self.rate.kept_for_digest().max(others);
        self.rate.free(at).saturating_sub(kept + grouped)
    }
}

/// What is left of the limits while the queue is gone through.
struct Gate<'m> {
    rate: usize,
    storm: usize,
    ends: usize,
    lanes: &'m mut Lanes,
    /// The lanes in which something waits already.
    members: HashSet<(String, bool)>,
    at: i64,
}

impl Gate<'_> {
    fn opening(&mut self, queue: &Queue, seq: u64, entry: &Entry) -> Fate {
        match entry.held() {
            Some(HeldBecause::Storm) => self.storm = 0,
            Some(HeldBecause::RateLimit) => self.rate = 0,
            _ => {}
        }
        // What has to follow is judged once it can go: as the first of a group it would hold up
        // what it waits for.
        if !entry.is_pending() || (entry.is_fresh() && queue.must_follow(entry)) {
            return Fate::Stay;
        }
        let group = entry.notice.group.as_ref();
        let leads = group.is_some_and(|group| self.lanes.is_front(&group.key, false, seq));
        if !leads && self.waits_for_group(queue, entry) {
            return Fate::Hold(HeldBecause::Group);
        }
        if self.rate == 0 || self.storm == 0 {
            if let Some(group) = group.filter(|_| leads) {
                self.lanes.give_way(&group.key, false);
            }
            let because = match self.rate {
                0 => HeldBecause::RateLimit,
                _ => HeldBecause::Storm,
            };
            return Fate::Hold(because);
        }
        self.rate -= 1;
        self.storm -= 1;
        if let Some(group) = group.filter(|_| !leads && entry.is_fresh()) {
            self.lanes.lead(group, false, seq, self.at);
        }
        Fate::Stay
    }

    /// No limit holds an end for good: it only comes together with others.
    fn end(&mut self, queue: &Queue, seq: u64, entry: &Entry) -> Fate {
        if entry.held() == Some(HeldBecause::Storm) {
            self.ends = 0;
        }
        if !entry.is_pending() || !entry.is_fresh() {
            return Fate::Stay;
        }
        match &entry.notice.group {
            _ if queue.must_follow(entry) => Fate::Stay,
            Some(group) if self.lanes.is_front(&group.key, true, seq) => Fate::Stay,
            Some(_) if self.waits_for_group(queue, entry) => Fate::Hold(HeldBecause::Group),
            Some(group) => {
                self.lanes.lead(group, true, seq, self.at);
                Fate::Stay
            }
            None if self.ends == 0 => Fate::Hold(HeldBecause::Storm),
            None => {
                self.ends -= 1;
                Fate::Stay
            }
        }
    }

    fn waits_for_group(&self, queue: &Queue, entry: &Entry) -> bool {
        let Some(group) = entry.notice.group.as_ref() else { return false };
        if !entry.is_fresh() || entry.notice.fell_back {
            return false;
        }
        let end = entry.is_end();
        self.lanes.closed_until(queue, &group.key, end, self.at).is_some()
            || self.members.contains(&(group.key.clone(), end))
    }
}
