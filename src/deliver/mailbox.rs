//! What is owed to one recipient of one channel, and what of it goes next: pure, without I/O.
//!
//! A notice is *pending* until it was accepted, *held* while a limit speaks against it. Times are
//! milliseconds of the daemon's monotonic clock, so that a stepped wall clock neither delays a try
//! nor lets two through; [`axis`] puts what the store remembers on the same scale.

use super::{Outcome, backoff};
use crate::limit::{Cooldown, Window};
use crate::model::{HeldBecause, Incident, Moment, Name, Notice, NoticeState, Timestamp, What};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// What a channel allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Messages that it may accept in any span of `per`.
    pub count: u32,
    /// See `count`.
    pub per: Duration,
    /// Quiet time after an opening about the same check.
    pub cooldown: Duration,
}

/// What is owed to one recipient.
#[derive(Debug)]
pub struct Mailbox {
    channel: Name,
    recipient: String,
    rate: Window,
    storm: Window,
    cooldown: Cooldown,
    queue: Vec<Entry>,
    /// The incidents that the recipient knows of, and should hear the end of.
    told: HashSet<String>,
    /// Refusals in a row, over all notices.
    failures: u32,
    failing_since: i64,
    paused_until: i64,
    /// What changed since [`Mailbox::next`] last gave it out for the store.
    unsaved: Vec<Notice>,
}

#[derive(Debug)]
struct Entry {
    notice: Notice,
    due: i64,
    /// When the channel first refused it, since the start.
    refused_since: Option<i64>,
    held_since: i64,
}

/// What the mailbox wants next.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// Hand this one to the channel, then [`Mailbox::settle`] it.
    Send(Box<Notice>),
    /// Nothing before that time, unless something new is owed.
    Wait(i64),
    /// Nothing at all, unless something new is owed.
    Idle,
}

/// `at` on the monotonic scale of `now`; negative if it lies before the daemon's start.
pub fn axis(now: Moment, at: Timestamp) -> i64 {
    mono(now) - (now.wall.as_millis() - at.as_millis())
}

/// `now` on the monotonic scale.
pub fn mono(now: Moment) -> i64 {
    i64::try_from(now.mono.as_millis()).unwrap_or(i64::MAX)
}

/// Past so many messages in so long the rest come as one digest.
const STORM: (u32, Duration) = (10, Duration::from_secs(10));
/// How long a digest gathers after the first notice was held, where a slot is free before.
const GATHER_MS: i64 = 10_000;
/// After so long of refusals a notice is given up.
const GIVE_UP_MS: i64 = 24 * 3_600_000;
/// The longest wait that a channel is granted.
const LONGEST_WISH: Duration = Duration::from_secs(24 * 3600);
/// Retries that the store remembers as due later than this are tried by then all the same.
const LONGEST_WAIT_MS: i64 = 360_000;

impl Mailbox {
    /// A mailbox as the store remembers it: `past` holds the notices to this recipient that are
    /// owed, were accepted within the reach of the limits, or are about open incidents.
    pub fn restore(
        channel: Name,
        recipient: String,
        terms: Terms,
        mut past: Vec<Notice>,
        now: Moment,
    ) -> Self {
        let mut mailbox = Self {
            channel,
            recipient,
            rate: Window::new(terms.count, terms.per),
            storm: Window::new(STORM.0, STORM.1),
            cooldown: Cooldown::new(terms.cooldown),
            queue: Vec::new(),
            told: HashSet::new(),
            failures: 0,
            failing_since: 0,
            paused_until: i64::MIN,
            unsaved: Vec::new(),
        };
        past.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        for notice in past {
            if notice.is_owed() {
                let due = axis(now, notice.due_at).min(mono(now) + LONGEST_WAIT_MS);
                let since = axis(now, notice.at).min(mono(now));
                mailbox.overtake_openings(&notice);
                mailbox.queue.push(Entry { notice, due, refused_since: None, held_since: since });
            } else if let (NoticeState::Sent, Some(at)) = (notice.state, notice.sent_at) {
                // What was sent by a clock that was ahead counts as sent just now, not later.
                mailbox.remember(&notice, axis(now, at).min(mono(now)));
            }
        }
        mailbox
    }

    /// Notices that are owed and not yet accepted.
    pub fn depth(&self) -> usize {
        self.queue.len()
    }

    /// Takes a new notice, which the store knows already.
    pub fn owe(&mut self, notice: Notice, now: Moment) {
        self.overtake_openings(&notice);
        let at = mono(now);
        self.queue.push(Entry { notice, due: at, refused_since: None, held_since: at });
    }

    /// Takes new terms; what was accepted before still counts.
    pub fn set_terms(&mut self, terms: Terms) {
        self.rate.reshape(terms.count, terms.per);
        self.cooldown.reshape(terms.cooldown);
    }

    /// What to do at `now`, and the notices that changed since this was last asked, for the store.
    ///
    /// `new_id` makes the id of a digest.
    pub fn next(&mut self, now: Moment, new_id: impl FnOnce() -> String) -> (Vec<Notice>, Next) {
        let mut changed = std::mem::take(&mut self.unsaved);
        let at = mono(now);
        self.drop_orphaned_resolutions(&mut changed);
        self.apply_cooldown(at, &mut changed);
        self.apply_limits(at, &mut changed);
        let digest_at = self.digest_from(at);
        if digest_at.is_some_and(|from| from <= at) {
            self.make_digest(now, new_id(), &mut changed);
        }
        let next = match self.pick(at) {
            Some(index) => Next::Send(Box::new(self.queue[index].notice.clone())),
            None => match self.wake_at(at) {
                Some(until) => Next::Wait(until.max(at + 1)),
                None => Next::Idle,
            },
        };
        (changed, next)
    }

    /// Takes in what the channel said to the notice `id`. Gives the notices that change by that.
    ///
    /// `jitter` is a random number from 0 to 1.
    pub fn settle(&mut self, id: &str, outcome: Outcome, now: Moment, jitter: f64) -> Vec<Notice> {
        let Some(index) = self.queue.iter().position(|entry| entry.notice.id == id) else {
            return Vec::new();
        };
        let at = mono(now);
        self.queue[index].notice.attempts += 1;
        match outcome {
            Outcome::Accepted => self.accepted(index, now),
            Outcome::Rejected { why } => {
                self.recovered(at);
                self.refused(index, why)
            }
            Outcome::Retry { after, why } => {
                // What was held, or what lay there while the daemon was away, was not tried.
                let tried_for = at - *self.queue[index].refused_since.get_or_insert(at);
                if tried_for >= GIVE_UP_MS {
                    let why = format!("given up after 24 hours; the last answer was: {why}");
                    return self.refused(index, why);
                }
                if self.failures == 0 {
                    self.failing_since = at;
                }
                self.failures = self.failures.saturating_add(1);
                let entry = &mut self.queue[index];
                let age = Duration::from_millis(u64::try_from(tried_for).unwrap_or(0));
                let after = after.map(|after| after.min(LONGEST_WISH));
                let own = backoff::wait(entry.notice.attempts, age, jitter);
                let wait = own.max(after.unwrap_or_default());
                entry.due = at + millis(wait);
                entry.notice.due_at = now.wall.after(wait);
                entry.notice.last_error = Some(why);
                self.pause(at, after, jitter);
                vec![self.queue[index].notice.clone()]
            }
        }
    }

    /// Cancels all that is owed, since the channel is no longer there.
    pub fn close(&mut self, why: &str) -> Vec<Notice> {
        let mut changed = std::mem::take(&mut self.unsaved);
        changed.extend(self.queue.drain(..).map(|mut entry| {
            entry.notice.state = NoticeState::Cancelled;
            entry.notice.held_because = None;
            entry.notice.last_error = Some(why.to_owned());
            entry.notice
        }));
        changed
    }

    /// Puts an accepted notice into the limits and into what is known.
    fn remember(&mut self, notice: &Notice, at: i64) {
        for incident in &notice.incidents {
            if notice.what == What::Resolved {
                self.told.remove(&incident.id);
            } else {
                self.told.insert(incident.id.clone());
            }
            if matches!(notice.what, What::Opened) {
                self.cooldown.opened(&incident.check, at);
            }
        }
        if notice.digest.is_none() && counts(notice) {
            self.rate.accept(at);
            self.storm.accept(at);
        }
    }

    /// Cancels the openings that `notice` makes old news, where nobody can have heard of them.
    fn overtake_openings(&mut self, notice: &Notice) {
        if matches!(notice.what, What::Resolved | What::Worsened) {
            let mut changed = std::mem::take(&mut self.unsaved);
            for incident in &notice.incidents {
                self.cancel_held_openings(&incident.id, &mut changed);
            }
            self.unsaved = changed;
        }
    }

    fn cancel_held_openings(&mut self, incident: &str, changed: &mut Vec<Notice>) {
        self.queue.retain_mut(|entry| {
            let notice = &mut entry.notice;
            let never_tried = notice.state == NoticeState::Held
                && notice.attempts == 0
                && notice.digest.is_none()
                && notice.what != What::Resolved;
            if !never_tried || !notice.is_about(incident) {
                return true;
            }
            notice.state = NoticeState::Cancelled;
            changed.push(notice.clone());
            false
        });
    }

    /// A resolution of which nobody here knows the opening, and nobody will, is not owed.
    fn drop_orphaned_resolutions(&mut self, changed: &mut Vec<Notice>) {
        let ranks = self.first_ranks();
        let orphaned: HashSet<String> = self
            .queue
            .iter()
            .map(|entry| &entry.notice)
            .filter(|notice| notice.what == What::Resolved && notice.attempts == 0)
            .filter(|notice| {
                notice.incidents.iter().all(|incident| {
                    let opening_is_owed = ranks.get(&*incident.id).is_some_and(|rank| *rank < LAST);
                    !self.told.contains(&incident.id) && !opening_is_owed
                })
            })
            .map(|notice| notice.id.clone())
            .collect();
        if orphaned.is_empty() {
            return;
        }
        self.queue.retain_mut(|entry| {
            let drop = orphaned.contains(&entry.notice.id);
            if drop {
                entry.notice.state = NoticeState::Cancelled;
                changed.push(entry.notice.clone());
            }
            !drop
        });
    }

    /// The lowest rank that is owed about each incident.
    fn first_ranks(&self) -> HashMap<&str, u8> {
        let mut ranks = HashMap::new();
        for notice in self.queue.iter().map(|entry| &entry.notice) {
            let own = rank(notice.what);
            for incident in &notice.incidents {
                let first = ranks.entry(&*incident.id).or_insert(own);
                *first = own.min(*first);
            }
        }
        ranks
    }

    fn apply_cooldown(&mut self, at: i64, changed: &mut Vec<Notice>) {
        for entry in &mut self.queue {
            let notice = &mut entry.notice;
            if notice.what != What::Opened || notice.attempts > 0 {
                continue;
            }
            let quiet = notice
                .incidents
                .iter()
                .any(|incident| self.cooldown.quiet_until(&incident.check, at).is_some());
            match (notice.state, notice.held_because) {
                (NoticeState::Pending, _) if quiet => {
                    hold(entry, HeldBecause::Cooldown, at, changed);
                }
                (NoticeState::Held, Some(HeldBecause::Cooldown)) if !quiet => {
                    notice.state = NoticeState::Pending;
                    notice.held_because = None;
                    changed.push(notice.clone());
                }
                _ => {}
            }
        }
    }

    /// Holds what the limits leave no room for. What a limit holds already draws all that came
    /// after it to it, so that nothing overtakes.
    fn apply_limits(&mut self, at: i64, changed: &mut Vec<Notice>) {
        let digest_owed = self.queue.iter().any(|entry| entry.notice.what == What::Digest);
        let kept = self.rate.kept_for_digest().max(usize::from(digest_owed));
        let mut rate_room = self.rate.free(at).saturating_sub(kept);
        let mut storm_room = self.storm.free(at);
        for entry in &mut self.queue {
            if waits_for_digest(entry) {
                match entry.notice.held_because {
                    Some(HeldBecause::Storm) => storm_room = 0,
                    _ => rate_room = 0,
                }
                continue;
            }
            let notice = &entry.notice;
            let waits_its_turn = notice.state == NoticeState::Pending
                && notice.what != What::Digest
                && counts(notice);
            if !waits_its_turn {
                continue;
            }
            if rate_room == 0 {
                hold(entry, HeldBecause::RateLimit, at, changed);
            } else if storm_room == 0 {
                hold(entry, HeldBecause::Storm, at, changed);
            } else {
                rate_room -= 1;
                storm_room -= 1;
            }
        }
    }

    /// From when on the held notices may go as a digest, if there are any.
    fn digest_from(&mut self, at: i64) -> Option<i64> {
        let first = self.digest_members().map(|entry| entry.held_since).min()?;
        let slot = self.rate.free_from(1, at).max(self.storm.free_from(1, at));
        Some(slot.max(first + GATHER_MS))
    }

    fn digest_members(&self) -> impl Iterator<Item = &Entry> {
        self.queue.iter().filter(|entry| waits_for_digest(entry))
    }

    fn make_digest(&mut self, now: Moment, id: String, changed: &mut Vec<Notice>) {
        let mut incidents: Vec<Incident> = Vec::new();
        let mut because = None;
        for entry in self.queue.iter_mut().filter(|entry| waits_for_digest(entry)) {
            entry.notice.digest = Some(id.clone());
            because = because.or(entry.notice.held_because);
            changed.push(entry.notice.clone());
            for incident in &entry.notice.incidents {
                incidents.retain(|known| known.id != incident.id);
                incidents.push(incident.clone());
            }
        }
        // Whatever else is owed about these incidents is told by the digest, too; on its own it
        // would come after, as old news.
        for entry in &mut self.queue {
            let notice = &mut entry.notice;
            let is_told = notice.digest.is_none()
                && matches!(notice.what, What::Opened | What::Worsened)
                && notice.incidents.iter().all(|i| incidents.iter().any(|known| known.id == i.id));
            if is_told {
                notice.digest = Some(id.clone());
                hold(entry, HeldBecause::RateLimit, mono(now), changed);
            }
        }
        let (channel, recipient) = (self.channel.clone(), self.recipient.clone());
        let mut digest = Notice::new(id, What::Digest, channel, recipient, incidents, now.wall);
        digest.held_because = because;
        changed.push(digest.clone());
        let at = mono(now);
        self.queue.push(Entry { notice: digest, due: at, refused_since: None, held_since: at });
    }

    /// The notice that goes now. While the channel fails, only its head knocks, so that all goes in
    /// order once it is back; each fourth knock is another's, in case the head itself is to blame.
    fn pick(&mut self, at: i64) -> Option<usize> {
        if self.paused_until > at {
            return None;
        }
        let digest_room = self.rate.free(at) > 0;
        let failing = self.is_failing();
        let ranks = self.first_ranks();
        let must_follow = |notice: &Notice| {
            let own = rank(notice.what);
            let ids = notice.incidents.iter().map(|incident| &*incident.id);
            ids.filter_map(|id| ranks.get(id)).any(|first| *first < own)
        };
        let mut able = self.queue.iter().enumerate().filter(|(_, entry)| {
            entry.notice.state == NoticeState::Pending
                && (failing || entry.due <= at)
                && (entry.notice.what != What::Digest || digest_room)
                && !must_follow(&entry.notice)
        });
        if failing && self.failures.is_multiple_of(4) {
            able.min_by_key(|(_, entry)| entry.notice.attempts).map(|(index, _)| index)
        } else {
            able.next().map(|(index, _)| index)
        }
    }

    fn wake_at(&mut self, at: i64) -> Option<i64> {
        let failing = self.is_failing();
        let digest = self.digest_from(at);
        let digest_slot = self.rate.free_from(1, at);
        let (cooldown, paused_until) = (&self.cooldown, self.paused_until);
        let queue = self.queue.iter().filter_map(|entry| match entry.notice.state {
            NoticeState::Pending if entry.notice.what == What::Digest => {
                Some(entry.due.max(digest_slot).max(paused_until))
            }
            NoticeState::Pending if failing => Some(paused_until),
            NoticeState::Pending => Some(entry.due.max(paused_until)),
            NoticeState::Held => entry
                .notice
                .incidents
                .iter()
                .filter_map(|incident| cooldown.quiet_until(&incident.check, at))
                .max()
                .filter(|_| entry.notice.held_because == Some(HeldBecause::Cooldown)),
            NoticeState::Sent | NoticeState::Rejected | NoticeState::Cancelled => None,
        });
        queue.filter(|wake| *wake > at).chain(digest).min()
    }

    fn accepted(&mut self, index: usize, now: Moment) -> Vec<Notice> {
        let at = mono(now);
        self.recovered(at);
        let mut changed = vec![self.queue.remove(index).notice];
        self.take_members(index_id(&changed), &mut changed);
        for notice in &mut changed {
            notice.state = NoticeState::Sent;
            notice.sent_at = Some(now.wall);
            self.remember(notice, at);
        }
        changed
    }

    fn refused(&mut self, index: usize, why: String) -> Vec<Notice> {
        let mut changed = vec![self.queue.remove(index).notice];
        self.take_members(index_id(&changed), &mut changed);
        for notice in &mut changed {
            notice.state = NoticeState::Rejected;
            notice.held_because = None;
            notice.last_error = Some(why.clone());
        }
        changed
    }

    /// Moves the notices that the digest `id` carries from the queue to `changed`.
    fn take_members(&mut self, id: String, changed: &mut Vec<Notice>) {
        let (members, rest) = std::mem::take(&mut self.queue)
            .into_iter()
            .partition(|entry| entry.notice.digest.as_deref() == Some(&id));
        self.queue = rest;
        changed.extend(members.into_iter().map(|entry: Entry| entry.notice));
    }

    /// The channel answers: whatever waited for it is due.
    fn recovered(&mut self, at: i64) {
        if self.is_failing() {
            for entry in &mut self.queue {
                entry.due = entry.due.min(at);
            }
        }
        self.failures = 0;
        self.paused_until = i64::MIN;
    }

    /// A second refusal in a row is the channel's: then nothing is tried for a while.
    fn pause(&mut self, at: i64, after: Option<Duration>, jitter: f64) {
        let mut until = after.map_or(i64::MIN, |after| at + millis(after));
        if self.is_failing() {
            let age = Duration::from_millis(u64::try_from(at - self.failing_since).unwrap_or(0));
            until = until.max(at + millis(backoff::wait(self.failures, age, jitter)));
        }
        self.paused_until = self.paused_until.max(until);
    }

    fn is_failing(&self) -> bool {
        self.failures >= 2
    }
}

/// About one incident a lower rank is accepted before a higher one goes.
fn rank(what: What) -> u8 {
    match what {
        What::Opened | What::Digest | What::Test => 0,
        What::Worsened
        | What::Reminder
        | What::Escalated
        | What::Flapping
        | What::FlappingEnded
        | What::RecoveryStopped => 1,
        What::Resolved => LAST,
    }
}

const LAST: u8 = 2;

/// Whether a notice waits for the limits and counts in them.
fn counts(notice: &Notice) -> bool {
    !notice.urgent && !matches!(notice.what, What::Resolved | What::Test)
}

fn is_held(entry: &Entry) -> bool {
    entry.notice.state == NoticeState::Held
}

fn waits_for_digest(entry: &Entry) -> bool {
    is_held(entry)
        && entry.notice.digest.is_none()
        && matches!(entry.notice.held_because, Some(HeldBecause::RateLimit | HeldBecause::Storm))
}

fn hold(entry: &mut Entry, because: HeldBecause, at: i64, changed: &mut Vec<Notice>) {
    entry.notice.state = NoticeState::Held;
    entry.notice.held_because = Some(because);
    entry.held_since = at;
    changed.push(entry.notice.clone());
}

fn index_id(changed: &[Notice]) -> String {
    changed.first().map(|notice| notice.id.clone()).unwrap_or_default()
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests;
