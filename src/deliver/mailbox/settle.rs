//! What the channel said, and what follows from it.

use super::{Changes, GIVE_UP_MS, LONGEST_WISH, Mailbox, millis, mono, sort};
use crate::deliver::{Outcome, backoff};
use crate::model::{Moment, Notice, NoticeState, Try, What};
use std::time::Duration;

impl Mailbox {
    /// Takes in what the channel said to the notice `id`. Gives what changes by that.
    ///
    /// `jitter` is a random number from 0 to 1.
    pub fn settle(&mut self, id: &str, outcome: Outcome, now: Moment, jitter: f64) -> Changes {
        let handed_at = self.handed_at.take().unwrap_or_else(|| mono(now));
        if let Some(seq) = self.queue.seq_of(id) {
            if let Some(entry) = self.queue.edit(seq) {
                entry.notice.tried(once(&outcome, now, handed_at));
            }
            match outcome {
                Outcome::Accepted { handle } => self.accepted(seq, handle, now, handed_at),
                Outcome::Rejected { why } => {
                    self.recovered(mono(now));
                    self.refused(seq, &why);
                }
                Outcome::Retry { after, why } => self.put_off(seq, after, why, now, jitter),
            }
        }
        self.take_changes()
    }

    fn accepted(&mut self, seq: u64, handle: Option<String>, now: Moment, handed_at: i64) {
        let at = mono(now);
        self.recovered(at);
        let taken = self.take(seq);
        for mut notice in taken {
            notice.state = NoticeState::Sent;
            notice.sent_at = Some(now.wall);
            // A digest stands for those that it carries.
            notice.handle = handle.clone().filter(|_| notice.digest.is_none());
            for digest in self.known.learn(&notice) {
                self.queue.part_with(digest);
            }
            self.remember(&notice, at);
            if let Some(group) = lane_of(&notice) {
                self.lanes.accepted(group, sort::is_end(&notice), Some(seq), handed_at);
                self.stale = true;
            }
            self.stale |= notice.what == What::Digest || self.queue.concerns_others(&notice);
            self.queue.part_with(notice);
        }
    }

    /// The channel will never take it.
    fn refused(&mut self, seq: u64, why: &str) {
        self.stale = true;
        for (index, mut notice) in self.take(seq).into_iter().enumerate() {
            notice.state = NoticeState::Rejected;
            notice.held_because = None;
            notice.last_error = Some(why.to_owned());
            // A digest stands for those that it carries.
            if index == 0 {
                self.fall_back_refused(&mut notice);
            }
            self.queue.part_with(notice);
        }
    }

    /// The channel does not take it now.
    fn put_off(
        &mut self,
        seq: u64,
        after: Option<Duration>,
        why: String,
        now: Moment,
        jitter: f64,
    ) {
        self.stale = true;
        let at = mono(now);
        let Some(entry) = self.queue.edit(seq) else { return };
        // What was held, or what lay there while the daemon was away, was not tried.
        let tried_for = at - *entry.refused_since.get_or_insert(at);
        if tried_for >= GIVE_UP_MS {
            let why = format!("given up after 24 hours; the last answer was: {why}");
            self.refused(seq, &why);
            return;
        }
        let age = Duration::from_millis(u64::try_from(tried_for).unwrap_or(0));
        let after = after.map(|after| after.min(LONGEST_WISH));
        let own = backoff::wait(entry.notice.attempts, age, jitter);
        let wait = own.max(after.unwrap_or_default());
        entry.due = at + millis(wait);
        entry.notice.due_at = now.wall.after(wait);
        entry.notice.last_error = Some(why.clone());
        if self.failures == 0 {
            self.failing_since = at;
        }
        self.failures = self.failures.saturating_add(1);
        self.last_refusal = why;
        self.pause(at, after, jitter);
    }

    /// Removes an entry, and those that it carries if it is a digest.
    fn take(&mut self, seq: u64) -> Vec<Notice> {
        let mut taken: Vec<Notice> = self.queue.remove(seq).into_iter().collect();
        if let Some(digest) = taken.first().filter(|notice| notice.what == What::Digest) {
            let carried: Vec<u64> = self
                .queue
                .iter()
                .filter(|(_, entry)| entry.notice.digest.as_deref() == Some(&digest.id))
                .map(|(seq, _)| seq)
                .collect();
            taken.extend(carried.into_iter().filter_map(|seq| self.queue.remove(seq)));
        }
        taken
    }

    /// Puts an accepted notice into the limits and into what is known.
    pub(super) fn remember(&mut self, notice: &Notice, at: i64) {
        let is_end = sort::is_end(notice);
        for incident in &notice.incidents {
            // A digest of the past may tell of what ended since.
            if is_end || incident.resolved_at.is_some() {
                self.known.end(&incident.id);
            } else {
                self.known.hear(&incident.id);
            }
            if notice.what == What::Opened {
                self.cooldown.opened(incident.subject(), at);
            }
        }
        if notice.digest.is_none() && sort::counts(notice) {
            self.rate.accept(at);
            self.storm.accept(at);
        }
        if notice.digest.is_none() && sort::counts_as_end(notice) {
            self.ends.accept(at);
        }
    }

    /// The channel answers: whatever waited for it is due.
    fn recovered(&mut self, at: i64) {
        if self.is_failing() {
            for due in self.queue.dues() {
                *due = (*due).min(at);
            }
            self.stale = true;
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

    pub(super) fn is_failing(&self) -> bool {
        self.failures >= 2
    }
}

/// What is remembered of the time at which it was handed over.
fn once(outcome: &Outcome, now: Moment, handed_at: i64) -> Try {
    let took_ms = u64::try_from(mono(now) - handed_at).unwrap_or(0);
    let error = match outcome {
        Outcome::Accepted { .. } => None,
        Outcome::Retry { why, .. } | Outcome::Rejected { why } => Some(why.clone()),
    };
    Try { at: now.wall.before(Duration::from_millis(took_ms)), took_ms, error }
}

/// The group in whose lane it went on its own, or as the digest of a window.
pub(super) fn lane_of(notice: &Notice) -> Option<&crate::model::Group> {
    let on_its_own = notice.digest.is_none() && !notice.urgent && notice.what != What::Test;
    notice.group.as_ref().filter(|_| on_its_own)
}
