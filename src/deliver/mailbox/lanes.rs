//! The groups of a route on their way through one mailbox.
//!
//! A group has two *lanes*, one for openings and what follows them, one for ends. A lane whose
//! window is open lets nothing through: what comes waits for the digest at the end of the window,
//! which opens the next one. A window in which nothing came is the last.

use super::queue::Queue;
use crate::model::Group;
use std::collections::HashMap;

/// While the channel fails and its fallback tells people, digests of one lane come so far apart:
/// they all arrive late on the channel itself.
pub(super) const PATIENCE_MS: i64 = 300_000;

/// The lanes that let nothing through now, or did not long ago.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes {
    openings: HashMap<String, Lane>,
    ends: HashMap<String, Lane>,
}

#[derive(Clone, Debug)]
struct Lane {
    /// The message that the window began with, as long as it is owed.
    front: Option<u64>,
    /// When the window ends. While the front is refused it lasts on, so that one digest tells all
    /// that came meanwhile.
    until: i64,
}

impl Lanes {
    /// Until when the lane lets nothing through; none if it does.
    pub fn closed_until(&self, queue: &Queue, key: &str, end: bool, at: i64) -> Option<Closed> {
        let lane = self.side(end).get(key)?;
        let front = lane.front.and_then(|front| queue.get(front));
        let until = match front {
            Some(front) if !front.notice.fell_back => return Some(Closed::UntilAccepted),
            Some(_) => lane.until.saturating_add(PATIENCE_MS),
            None => lane.until,
        };
        (until > at).then_some(Closed::Until(until))
    }

    /// Whether the entry is the one that opened the window.
    pub fn is_front(&self, key: &str, end: bool, seq: u64) -> bool {
        self.side(end).get(key).is_some_and(|lane| lane.front == Some(seq))
    }

    /// A message of the group is on its way: its window begins.
    pub fn lead(&mut self, group: &Group, end: bool, front: u64, at: i64) {
        let lane = Lane { front: Some(front), until: ends_at(group, at) };
        self.side_mut(end).insert(group.key.clone(), lane);
    }

    /// A message of the group, which was handed over at `at`, was accepted: the window counts from
    /// there.
    pub fn accepted(&mut self, group: &Group, end: bool, seq: Option<u64>, at: i64) {
        let until = ends_at(group, at);
        let lane = self.side_mut(end).entry(group.key.clone());
        let lane = lane.or_insert(Lane { front: None, until });
        if lane.front == seq {
            lane.front = None;
        }
        lane.until = lane.until.max(until);
    }

    /// The group's message did not get on its way: the next one leads.
    pub fn give_way(&mut self, key: &str, end: bool) {
        self.side_mut(end).remove(key);
    }

    /// Forgets windows that are over, and those whose message is held, no longer owed, or waits for
    /// another: nobody was told.
    pub fn refresh(&mut self, queue: &Queue, at: i64) {
        for side in [&mut self.openings, &mut self.ends] {
            side.retain(|_, lane| match lane.front {
                Some(front) => queue
                    .get(front)
                    .is_some_and(|front| front.is_pending() && !queue.must_follow(front)),
                None => lane.until > at,
            });
        }
    }

    fn side(&self, end: bool) -> &HashMap<String, Lane> {
        if end { &self.ends } else { &self.openings }
    }

    fn side_mut(&mut self, end: bool) -> &mut HashMap<String, Lane> {
        if end { &mut self.ends } else { &mut self.openings }
    }
}

/// How long a lane lets nothing through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// Until the message that it began with is accepted, and a window after that.
    UntilAccepted,
    /// Until that time.
    Until(i64),
}

fn ends_at(group: &Group, at: i64) -> i64 {
    at.saturating_add(super::millis(group.window))
}
