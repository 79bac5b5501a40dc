//! What is owed to one recipient of one channel, and what of it goes next: pure, without I/O.
//!
//! A notice is *pending* until it was accepted, and *held* while something speaks against it:
//!
//! ```text
//!                      suppression, mute hours, cooldown: over by themselves
//!          ┌──────────────────────────────────────────────────────────────┐
//!          ▼                                                              │
//! owed ─► pending ──► accepted (sent) or refused for good (rejected)     held ──► cancelled: it is
//!          │                  ▲                                           ▲       over, or a newer
//!          │                  │ a digest carries it                       │       notice says it all
//!          └──────────────────┴──── group, rate limit, storm ─────────────┘
//! ```
//!
//! [`Mailbox::next`] goes through the same steps each time that something has changed. Each looks at
//! what is owed and at what is known, and remembers nothing of its own, so that a restart comes to
//! the same: what is old news is cancelled (`stale`); what people are not to be told now is held,
//! then what cools down (`suppress`); groups and limits let through what they have room for
//! (`admit`, `lanes`); what they held long enough becomes a digest (`digest`); what a failing
//! channel does not take is given to its fallback (`fallback`); and of what is then pending one goes
//! (`pick`). Only what was never tried can be held or cancelled: whatever was handed to the channel
//! once may have arrived.
//!
//! Times are milliseconds of the daemon's monotonic clock, so that a stepped wall clock neither
//! delays a try nor lets two through; [`axis`] puts what the store remembers on the same scale.

mod admit;
mod digest;
mod fallback;
mod known;
mod lanes;
mod pick;
mod queue;
mod settle;
mod sort;
mod stale;
mod suppress;

pub use known::Earlier;
pub use sort::is_end;

use crate::limit::{Cooldown, Window};
use crate::model::{HeldBecause, Incident, Moment, Name, Notice, NoticeState, Timestamp, What};
use known::Known;
use lanes::Lanes;
use queue::{Entry, Queue};
use std::collections::HashMap;
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
    /// After so long of refusals in a row its fallback is told as well; none if it has no fallback.
    pub fallback_after: Option<Duration>,
}

/// What is owed to one recipient.
#[derive(Clone, Debug)]
pub struct Mailbox {
    channel: Name,
    recipient: String,
    terms: Terms,
    rate: Window,
    storm: Window,
    /// The same guard for ends, which no rate limit bounds.
    ends: Window,
    cooldown: Cooldown,
    lanes: Lanes,
    queue: Queue,
    known: Known,
    /// The incidents that people are not to be told of now, and why.
    suppressed: HashMap<String, HeldBecause>,
    /// Refusals in a row, over all notices.
    failures: u32,
    failing_since: i64,
    last_refusal: String,
    paused_until: i64,
    /// When the notice at work was handed out by [`Mailbox::next`].
    handed_at: Option<i64>,
    /// Whether something happened that the steps have not looked at yet.
    stale: bool,
    /// When time alone will have changed something that they look at.
    review_at: Option<i64>,
    /// What is to be given to the fallback.
    fallen: Vec<Notice>,
}

/// What changed in a mailbox, and is to be made durable before anything else is tried.
#[derive(Debug, Default)]
#[must_use]
pub struct Changes {
    /// The notices as they are now, for the store.
    pub notices: Vec<Notice>,
    /// Those of which the fallback of the channel is to get copies, in this order. They bear the
    /// mark that it got them, in `notices` as well: give them away first, or a crash in between
    /// loses them.
    pub fallen: Vec<Notice>,
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
/// After so long of refusals people are told that the channel fails, where it has no fallback.
const TROUBLE_AFTER: Duration = Duration::from_secs(300);

impl Mailbox {
    /// A mailbox as the store remembers it: `past` holds the notices to this recipient that are
    /// owed, were accepted within the reach of the limits, or are about open incidents.
    /// `suppressed` says of which incidents people are not to be told now.
    pub fn restore(
        channel: Name,
        recipient: String,
        terms: Terms,
        mut past: Vec<Notice>,
        suppressed: &HashMap<String, HeldBecause>,
        now: Moment,
    ) -> Self {
        let mut mailbox = Self {
            channel,
            recipient,
            terms,
            rate: Window::new(terms.count, terms.per),
            storm: Window::new(STORM.0, STORM.1),
            ends: Window::new(STORM.0, STORM.1),
            cooldown: Cooldown::new(terms.cooldown),
            lanes: Lanes::default(),
            queue: Queue::default(),
            known: Known::default(),
            suppressed: suppressed.clone(),
            failures: 0,
            failing_since: 0,
            last_refusal: String::new(),
            paused_until: i64::MIN,
            handed_at: None,
            stale: true,
            review_at: None,
            fallen: Vec::new(),
        };
        past.sort_by(|a, b| (a.at, &a.id).cmp(&(b.at, &b.id)));
        let mut sent: Vec<Notice> =
            past.iter().filter(|notice| notice.state == NoticeState::Sent).cloned().collect();
        for notice in past {
            if notice.is_owed() {
                mailbox.owe_again(notice, now);
            } else if let (NoticeState::Sent, Some(at)) = (notice.state, notice.sent_at) {
                // What was sent by a clock that was ahead counts as sent just now, not later.
                let at = axis(now, at).min(mono(now));
                mailbox.remember(&notice, at);
                if let Some(group) = settle::lane_of(&notice) {
                    mailbox.lanes.accepted(group, is_end(&notice), None, at);
                }
            }
        }
        // Which message a later one answers depends on which was there first.
        sent.sort_by_key(|notice| notice.sent_at);
        for notice in &sent {
            // The store knows it all already.
            let _ = mailbox.known.learn(notice);
        }
        mailbox
    }

    fn owe_again(&mut self, notice: Notice, now: Moment) {
        let at = mono(now);
        let due = axis(now, notice.due_at).min(at + LONGEST_WAIT_MS);
        let since = axis(now, notice.at).min(at);
        // Only what was tried, or is a digest, is known to have led its group.
        let led = notice.state == NoticeState::Pending
            && (notice.attempts > 0 || notice.what == What::Digest);
        let group = settle::lane_of(&notice).filter(|_| led).cloned();
        let muted_until = muted_until(&notice, now);
        let entry = Entry::new(notice, due, since, muted_until);
        let end = entry.is_end();
        let seq = self.queue.push(entry);
        if let Some(group) = group {
            self.lanes.lead(&group, end, seq, since);
        }
    }

    /// What the recipient was sent before of the incidents of `notice`, which is about to go.
    pub fn earlier(&self, notice: &Notice) -> Earlier {
        self.known.earlier(notice)
    }

    /// Notices that are owed and not yet accepted.
    pub fn depth(&self) -> usize {
        self.queue.len()
    }

    /// Takes a new notice, which the store knows already. One that it has, or that is not owed, is
    /// none.
    pub fn owe(&mut self, notice: Notice, now: Moment) {
        if notice.is_owed() && self.queue.seq_of(&notice.id).is_none() {
            let muted_until = muted_until(&notice, now);
            self.queue.push(Entry::new(notice, mono(now), mono(now), muted_until));
            self.stale = true;
        }
    }

    /// From now on people are not to be told of `incident`, or, without a reason, they are again.
    /// Gives whether that concerns anything that is owed.
    pub fn suppress(&mut self, incident: &str, because: Option<HeldBecause>) -> bool {
        let before = match because {
            Some(because) => self.suppressed.insert(incident.to_owned(), because),
            None => self.suppressed.remove(incident),
        };
        let concerns = before != because && self.queue.about(incident).next().is_some();
        self.stale |= concerns;
        concerns
    }

    /// A check has another name now: what is owed bears that, and its cooldown goes on. What was sent
    /// stays as it was told.
    pub fn rename(&mut self, old: &str, new: &Name) {
        self.cooldown.rename(old, new);
        self.known.rename(old, new);
        let about = |entry: &Entry| entry.notice.clone().rename(old, new);
        let concerned: Vec<u64> =
            self.queue.iter().filter(|(_, entry)| about(entry)).map(|(seq, _)| seq).collect();
        for seq in concerned {
            let Some(mut notice) = self.queue.get(seq).map(|entry| entry.notice.clone()) else {
                continue;
            };
            notice.rename(old, new);
            self.queue.retell(seq, notice.incidents);
        }
        self.stale = true;
    }

    /// A person wants `notice`, as the store knows it, to be tried now. One that waits for another
    /// try is due; one that was given up is owed again, unless that would be old news; whatever
    /// something holds stays held. Gives the notice as it is then, for which the store is told.
    pub fn retry(&mut self, mut notice: Notice, now: Moment) -> Notice {
        let at = mono(now);
        if let Some(seq) = self.queue.seq_of(&notice.id) {
            let is_pending = self.queue.get(seq).is_some_and(Entry::is_pending);
            if let Some(entry) = self.queue.edit(seq).filter(|_| is_pending) {
                entry.due = at;
                entry.notice.due_at = now.wall;
                self.paused_until = i64::MIN;
            }
            return self.queue.get(seq).map_or(notice, |entry| entry.notice.clone());
        }
        if notice.state != NoticeState::Rejected {
            return notice;
        }
        notice.digest = None;
        notice.due_at = now.wall;
        let is_told = |incident: &Incident| {
            self.known.was_told(&incident.id)
                || self.queue.about(&incident.id).any(|(_, entry)| entry.opens())
        };
        let is_over = |incident: &Incident| self.known.is_over(&incident.id);
        let was_about_nothing = notice.incidents.is_empty();
        if notice.what == What::Digest && !is_end(&notice) {
            // Some of what it carried may have been told since, or be tried by itself.
            notice.incidents.retain(|incident| !is_told(incident));
        }
        let is_old = !is_end(&notice)
            && !was_about_nothing
            && notice.incidents.iter().all(|incident| {
                is_over(incident) || (notice.what == What::Opened && is_told(incident))
            });
        if is_old {
            notice.state = NoticeState::Cancelled;
            self.queue.part_with(notice.clone());
            return notice;
        }
        notice.state = NoticeState::Pending;
        let seq = self.queue.push(Entry::new(notice.clone(), at, at, None));
        self.queue.touch(seq);
        self.paused_until = i64::MIN;
        self.stale = true;
        notice
    }

    /// Takes new terms; what was accepted before still counts.
    pub fn set_terms(&mut self, terms: Terms) {
        self.terms = terms;
        self.rate.reshape(terms.count, terms.per);
        self.cooldown.reshape(terms.cooldown);
        self.stale = true;
    }

    /// What changed since this was last asked, and what to do at `now`.
    ///
    /// `new_id` makes the ids of digests.
    pub fn next(&mut self, now: Moment, mut new_id: impl FnMut() -> String) -> (Changes, Next) {
        let at = mono(now);
        if self.stale || self.review_at.is_some_and(|review_at| review_at <= at) {
            self.review(now, &mut new_id);
        }
        let picked = self.pick(at);
        let next = match picked.and_then(|seq| self.queue.get(seq)) {
            Some(entry) => {
                self.handed_at = Some(at);
                Next::Send(Box::new(entry.notice.clone()))
            }
            None => match self.wake_at(at) {
                Some(until) => Next::Wait(until),
                None => Next::Idle,
            },
        };
        (self.take_changes(), next)
    }

    /// Takes the steps, in order, after which what is pending may go.
    fn review(&mut self, now: Moment, new_id: &mut impl FnMut() -> String) {
        let at = mono(now);
        self.stale = false;
        self.overtake();
        self.hold_suppressed(at);
        self.drop_old_news(at);
        self.prune_digests();
        self.hold_cooling(at);
        let mut room = self.admit(at);
        // What was held just now may be overtaken already, and what had to follow it may go.
        while self.overtake() {
            room = self.admit(at);
        }
        self.drop_orphans();
        loop {
            self.make_digests(now, room, new_id);
            if !self.fall_back(at) {
                break;
            }
            // What has fallen back no longer keeps its group waiting, nor what had to follow it.
            self.overtake();
            room = self.admit(at);
        }
        let moments =
            [self.quiet_ends(at), self.digest_wake(at), self.fallback_from(), self.trouble_from()];
        self.review_at = moments.into_iter().flatten().filter(|moment| *moment > at).min();
    }

    fn take_changes(&mut self) -> Changes {
        let fallen = std::mem::take(&mut self.fallen);
        Changes { notices: self.queue.take_changes(), fallen }
    }

    /// Cancels all that is owed, since the channel is no longer there.
    pub fn close(&mut self, why: &str) -> Vec<Notice> {
        let owed: Vec<u64> = self.queue.iter().map(|(seq, _)| seq).collect();
        for seq in owed {
            if let Some(entry) = self.queue.edit(seq) {
                entry.notice.last_error = Some(why.to_owned());
            }
            self.queue.cancel(seq);
        }
        self.queue.take_changes()
    }
}

/// Until when the route of `notice` is mute, by the monotonic clock: a step of the wall clock
/// silences nothing for longer than was meant.
fn muted_until(notice: &Notice, now: Moment) -> Option<i64> {
    let until = notice.mute_until?;
    Some(axis(now, until).min(mono(now).saturating_add(millis(until.since(notice.at)))))
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

#[cfg(test)]
mod tests;
