//! The one task that writes to the store. Nobody waits for a disk but it.
//!
//! What is to be written gathers in an inbox, where a later state, incident or notice takes the
//! place of an earlier one; the task empties the inbox into one transaction at a time. While the
//! store fails, the inbox simply is not emptied.

mod inbox;
#[cfg(test)]
mod tests;

use super::{Batch, Store, StoreError};
use crate::clock::Clock;
use crate::model::{CheckState, Name, Notice, RunResult, Timestamp};
use inbox::{Inbox, MAX_BATCH, MAX_TRIAL, Ticket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How long ordinary results gather. Each is written within a second while the store is well; what
/// is left of it is for the writing itself.
const GATHER: Duration = Duration::from_millis(750);
/// The shortest time for that, where writing takes long.
const GATHER_AT_LEAST: Duration = Duration::from_millis(200);
/// A commit that takes longer counts as failed; it may yet succeed, and is repeated harmlessly.
const COMMIT_WITHIN: Duration = Duration::from_secs(5);
/// How long the store is left alone after a failure.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// How long the last writing before the end may take.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// How many failing tries are spent on finding what a damaged store still takes, each time.
const SEARCHES: u32 = 64;
/// How long after the last sign of damage the store counts as whole again: what is damaged is not
/// written to each second.
const DAMAGE_SHOWS: Duration = Duration::from_secs(600);

/// Gives what is to be kept to the task that writes. Cheap to clone; when the last clone goes, the
/// task writes what is left and ends.
#[derive(Clone, Debug)]
pub struct Writer {
    link: Arc<Link>,
}

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It is written; no crash undoes it.
    Durable,
    /// It is in memory only, since the store fails; it is written when the store is back.
    Waiting,
}

/// How the store is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StoreHealth {
    /// It takes what it is given.
    #[default]
    Ok,
    /// It does not; all goes on in memory.
    Failing {
        /// Since when.
        since: Timestamp,
        /// In the store's words.
        why: String,
        /// Results that wait in memory.
        waiting_results: usize,
        /// Results that found no room since it began to fail, and are lost.
        dropped_results: u64,
    },
}

/// What is done with the notices of a batch that is to be announced. It must not block.
pub type Announce = Box<dyn Fn(Vec<Notice>) + Send>;

/// Starts the task that writes.
///
/// `announce` is called from that task, in the order of the commits. The handle ends once a
/// [`Writer::stop`] (or the end of the last writer) is followed up.
pub fn spawn(
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    announce: Announce,
    health: watch::Sender<StoreHealth>,
) -> (Writer, JoinHandle<()>) {
    let shared = Arc::new(Shared::default());
    let task = Task {
        shared: Arc::clone(&shared),
        store,
        clock,
        announce,
        health,
        failing: None,
        damage: None,
        wrote_for: Duration::ZERO,
    };
    (Writer { link: Arc::new(Link(shared)) }, tokio::spawn(task.run()))
}

impl Writer {
    /// Keeps an ordinary result, and the state of its check where that changed, to be written
    /// within a second. Never waits: when there is no room left the oldest result is dropped and
    /// counted (see [`Writer::dropped`]); the newest state of each check is always kept.
    pub fn record(&self, result: RunResult, state: Option<(Name, CheckState)>) {
        let mut inbox = self.link.0.inbox();
        if inbox.ended {
            self.link.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let wake = inbox.record(result, state);
        let dropped = inbox.take_dropped();
        drop(inbox);
        self.link.0.dropped.fetch_add(dropped, Ordering::Relaxed);
        if wake {
            self.link.0.wake.notify_one();
        }
    }

    /// Hands over a batch that must be durable at once. It takes its place in the order of commits
    /// with this very call, not when the future is first polled, and is written also if the future
    /// is dropped.
    ///
    /// What was recorded before is written with it or before it (a backlog of results, after the
    /// store was away, may follow it). With `announce`, its notices go to the callback once it is
    /// written, or once it is clear that the store fails: people are told either way.
    pub fn commit(
        &self,
        batch: Batch,
        announce: bool,
    ) -> impl Future<Output = Committed> + Send + use<> {
        let (done, outcome) = oneshot::channel();
        let mut inbox = self.link.0.inbox();
        if !inbox.ended {
            let announce = if announce { batch.notices.clone() } else { Vec::new() };
            inbox.commit(batch, Ticket { announce, done });
            let dropped = inbox.take_dropped();
            drop(inbox);
            self.link.0.dropped.fetch_add(dropped, Ordering::Relaxed);
            self.link.0.wake.notify_one();
        } else {
            tracing::error!("something was to be written after the writer ended");
        }
        async move { outcome.await.unwrap_or(Committed::Waiting) }
    }

    /// How many results were lost since the start, for want of room or because the store refused
    /// them.
    pub fn dropped(&self) -> u64 {
        self.link.0.dropped.load(Ordering::Relaxed)
    }

    /// Lets the task write what is left, for a few seconds at most, and end.
    pub fn stop(&self) {
        self.link.0.close();
    }
}

/// Tells the task when nobody is left who could give it anything.
#[derive(Debug)]
struct Link(Arc<Shared>);

impl Drop for Link {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[derive(Debug, Default)]
struct Shared {
    inbox: Mutex<Inbox>,
    wake: Notify,
    dropped: AtomicU64,
}

impl Shared {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.inbox().closed = true;
        self.wake.notify_one();
    }
}

/// What is known of a failure that lasts.
struct Failing {
    since: Timestamp,
    why: String,
    waiting_results: usize,
    /// [`Shared::dropped`] when it began.
    dropped_before: u64,
}

/// What is known of a store that is damaged, and takes the rest.
struct Damage {
    since: Timestamp,
    why: String,
    /// Until when on the monotonic clock it counts as damaged.
    until: Duration,
    /// [`Shared::dropped`] when it showed first.
    dropped_before: u64,
}

/// What the task does next.
enum Turn {
    Write,
    Stop,
}

struct Task {
    shared: Arc<Shared>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    announce: Announce,
    health: watch::Sender<StoreHealth>,
    failing: Option<Failing>,
    damage: Option<Damage>,
    /// How long the latest writing took.
    wrote_for: Duration,
}

impl Task {
    async fn run(mut self) {
        while let Turn::Write = self.next().await {
            self.write().await;
        }
        if timeout(STOP_WITHIN, self.drain()).await.is_err() {
            tracing::error!("the store did not take what was left to write; it is lost");
        }
        let mut inbox = self.shared.inbox();
        inbox.ended = true;
        inbox.clear();
    }

    /// Waits until there is something to do.
    async fn next(&mut self) -> Turn {
        // Gathering and writing take no longer together than the one alone may.
        let gather = GATHER.saturating_sub(self.wrote_for).max(GATHER_AT_LEAST);
        let pause = if self.failing.is_some() { RETRY_EVERY } else { gather };
        while self.shared.inbox().is_empty() {
            if self.shared.inbox().closed {
                return Turn::Stop;
            }
            self.shared.wake.notified().await;
        }
        let enough = sleep(pause);
        tokio::pin!(enough);
        loop {
            let (closed, urgent) = {
                let inbox = self.shared.inbox();
                (inbox.closed, inbox.is_urgent())
            };
            if closed {
                return Turn::Stop;
            }
            if self.failing.is_some() {
                self.release_tickets();
            } else if urgent {
                return Turn::Write;
            }
            tokio::select! {
                () = &mut enough => return Turn::Write,
                () = self.shared.wake.notified() => {}
            }
        }
    }

    /// Writes what is in the inbox, or as much of it as makes one transaction.
    async fn write(&mut self) {
        if self.failing.is_some() {
            // Nobody waits for a store that may hang; and what comes during the attempt is
            // announced at once, which must not overtake what came before.
            self.release_tickets();
        }
        let at_most = if self.failing.is_some() { MAX_TRIAL } else { MAX_BATCH };
        let taken = self.shared.inbox().take(at_most);
        let (batch, tickets) = taken.sort_out();
        let mut parts = vec![batch];
        parts.retain(|part| !part.is_empty());
        let start = self.clock.now().mono;
        let outcome = self.write_parts(parts).await;
        self.wrote_for = self.clock.now().mono.saturating_sub(start);
        for ticket in tickets {
            self.settle(ticket, outcome);
        }
    }

    /// Writes one part after the other, the last one first, and splits those that are refused.
    async fn write_parts(&mut self, mut parts: Vec<Batch>) -> Committed {
        let mut searches = SEARCHES;
        let (mut works, mut takes_results) = (false, false);
        let mut spoilt: Option<(Vec<Batch>, String)> = None;
        while let Some(part) = parts.pop() {
            match self.attempt(&part).await {
                Ok(()) => {
                    works = true;
                    takes_results |= !part.results.is_empty();
                }
                Err(Failure::Data(why)) => match inbox::split(part) {
                    Ok((first, second)) => parts.extend([second, first]),
                    Err(item) => self.give_up(&item, &why),
                },
                Err(Failure::Damage(why)) if searches > 0 => {
                    searches -= 1;
                    match inbox::split_by_check(part) {
                        Ok((first, second)) => parts.extend([second, first]),
                        Err(item) => {
                            let (items, last) = spoilt.get_or_insert_default();
                            items.push(*item);
                            *last = why;
                        }
                    }
                }
                Err(failure @ (Failure::Damage(_) | Failure::Store(_))) => {
                    let why = match failure {
                        Failure::Damage(why) => self.note_damage(&why),
                        Failure::Data(why) | Failure::Store(why) => why,
                    };
                    parts.push(part);
                    // The last part is the earliest one.
                    parts.reverse();
                    let spoilt = spoilt.map_or_else(Vec::new, |(items, _)| items);
                    self.wait_with(parts.into_iter().chain(spoilt), why);
                    return Committed::Waiting;
                }
            }
        }
        let outcome = match spoilt {
            Some((items, why)) => self.leave_out(items, why, takes_results),
            None => Committed::Durable,
        };
        if works && (outcome == Committed::Durable || takes_results) {
            self.recovered();
        }
        let now = self.clock.now().mono;
        if self.damage.as_ref().is_some_and(|damage| damage.until <= now) {
            self.damage = None;
            self.tell_health();
        }
        outcome
    }

    /// Puts back what the store does not take, since it fails.
    fn wait_with(&mut self, parts: impl DoubleEndedIterator<Item = Batch>, why: String) {
        let mut inbox = self.shared.inbox();
        parts.rev().for_each(|part| inbox.put_back(part));
        let dropped = inbox.take_dropped();
        let waiting = inbox.waiting_results();
        drop(inbox);
        self.shared.dropped.fetch_add(dropped, Ordering::Relaxed);
        self.failed(why, waiting);
    }

    /// Decides what becomes of `items`, for which the store is damaged. Results wait, unless
    /// others were written: then it is those of some checks alone that it will not take, and
    /// they would fill the room. All else waits in any case; it takes the place of itself.
    fn leave_out(&mut self, items: Vec<Batch>, why: String, takes_results: bool) -> Committed {
        let all = self.note_damage(&why);
        let (lost, kept): (Vec<_>, Vec<_>) =
            items.into_iter().partition(|item| takes_results && !item.results.is_empty());
        for item in &lost {
            self.give_up(item, &why);
        }
        let outcome = if kept.is_empty() { Committed::Durable } else { Committed::Waiting };
        if kept.iter().any(|item| !item.results.is_empty()) {
            self.wait_with(kept.into_iter(), all);
        } else {
            kept.into_iter().for_each(|item| self.shared.inbox().put_back(item));
            self.tell_health();
        }
        outcome
    }

    /// Remembers that the store is damaged, and says so in words for people.
    fn note_damage(&mut self, why: &str) -> String {
        let dropped_before = self.shared.dropped.load(Ordering::Relaxed);
        if self.damage.is_none() {
            tracing::error!(why, "the store is damaged; what can be written elsewhere in it is");
        }
        let now = self.clock.now();
        let damage = self.damage.get_or_insert_with(|| Damage {
            since: now.wall,
            why: String::new(),
            until: now.mono,
            dropped_before,
        });
        damage.until = now.mono + DAMAGE_SHOWS;
        damage.why = format!("it is damaged ({why}); restore a backup, or begin a new database");
        damage.why.clone()
    }

    /// One try to write `batch`. While the store is known to fail, those who commit meanwhile do
    /// not wait for the outcome.
    async fn attempt(&mut self, batch: &Batch) -> Result<(), Failure> {
        let store = Arc::clone(&self.store);
        let commit = timeout(COMMIT_WITHIN, store.commit(batch));
        tokio::pin!(commit);
        loop {
            tokio::select! {
                biased;
                done = &mut commit => return match done {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(error)) => Err(Failure::from(error)),
                    Err(_) => Err(Failure::Store(format!(
                        "the store did not answer within {} s",
                        COMMIT_WITHIN.as_secs()
                    ))),
                },
                () = self.shared.wake.notified(), if self.failing.is_some() => {
                    self.release_tickets();
                }
            }
        }
    }

    fn release_tickets(&self) {
        let tickets = self.shared.inbox().take_tickets();
        for ticket in tickets {
            self.settle(ticket, Committed::Waiting);
        }
    }

    fn settle(&self, ticket: Ticket, outcome: Committed) {
        if !ticket.announce.is_empty() {
            (self.announce)(ticket.announce);
        }
        // Whoever committed may not care for the outcome.
        let _ = ticket.done.send(outcome);
    }

    fn recovered(&mut self) {
        let Some(failing) = self.failing.take() else { return };
        let dropped = self.shared.dropped.load(Ordering::Relaxed) - failing.dropped_before;
        tracing::info!(dropped_results = dropped, "the store works again");
        self.tell_health();
    }

    fn failed(&mut self, why: String, waiting_results: usize) {
        let dropped_before = self.shared.dropped.load(Ordering::Relaxed);
        if self.failing.is_none() {
            tracing::error!(why, "the store fails; history waits in memory until it is back");
        }
        let since = self.clock.wall();
        let failing = self.failing.get_or_insert_with(|| Failing {
            since,
            why: String::new(),
            waiting_results: 0,
            dropped_before,
        });
        failing.why = why;
        failing.waiting_results = waiting_results;
        self.tell_health();
    }

    fn tell_health(&self) {
        let dropped = self.shared.dropped.load(Ordering::Relaxed);
        let health = match (&self.failing, &self.damage) {
            (Some(failing), _) => StoreHealth::Failing {
                since: failing.since,
                why: failing.why.clone(),
                waiting_results: failing.waiting_results,
                dropped_results: dropped - failing.dropped_before,
            },
            (None, Some(damage)) => StoreHealth::Failing {
                since: damage.since,
                why: damage.why.clone(),
                waiting_results: 0,
                dropped_results: dropped - damage.dropped_before,
            },
            (None, None) => StoreHealth::Ok,
        };
        self.health.send_replace(health);
    }

    /// Says goodbye to what the store will never take, so that the rest can go on.
    fn give_up(&self, item: &Batch, why: &str) {
        let (item, results) = (inbox::describe(item), item.results.len());
        tracing::error!(item, results, why, "the store refuses an item; it is lost");
        self.shared.dropped.fetch_add(results as u64, Ordering::Relaxed);
    }

    /// Writes until nothing is left, and ends.
    async fn drain(&mut self) {
        loop {
            {
                let mut inbox = self.shared.inbox();
                if inbox.is_empty() {
                    inbox.ended = true;
                    return;
                }
            }
            self.write().await;
            if self.failing.is_some() {
                sleep(RETRY_EVERY).await;
            }
        }
    }
}

/// Why a try to write failed.
enum Failure {
    /// Something in the batch is to blame.
    Data(String),
    /// The store is to blame, so trying again may help.
    Store(String),
    /// A part of the store is damaged: other parts may work.
    Damage(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        if error.is_about_data() {
            Self::Data(error.to_string())
        } else if error.is_damage() {
            Self::Damage(error.to_string())
        } else {
            Self::Store(error.to_string())
        }
    }
}
