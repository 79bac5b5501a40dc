//! The workers that see to it that each notice arrives: one a recipient, so that a channel that
//! hangs delays nothing but itself.

mod worker;

use super::mailbox::{Mailbox, Terms};
use super::{Channel, Net};
use crate::clock::Clock;
use crate::model::{HeldBecause, Message, Name, Notice, NoticeState, Timestamp};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::Worker;

/// Where the outbox keeps what becomes of a notice.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Keeps the notices as they are now. Returns once they are durable, or once it is clear that
    /// the store is away and they wait in memory.
    async fn keep(&self, notices: Vec<Notice>);

    /// Gives copies of `notices`, in their order, to the fallback of `channel`, which fails. Returns
    /// as [`Ledger::keep`] does, and whether somebody took them: nobody does while the daemon stops.
    ///
    /// The notices bear the mark that they were given. It is kept right after this, so a crash in
    /// between gives them once more, which is better than never; whoever writes copies and marks
    /// together spares people that.
    async fn fall_back(&self, channel: &Name, notices: Vec<Notice>) -> bool;

    /// A recipient of a channel refuses messages or has failed for long (with the reason), or takes
    /// them again.
    async fn trouble(&self, channel: &Name, recipient: &str, trouble: Option<String>);
}

/// Puts a notice into a channel's words, as of a time. It may ask history first, but not for long:
/// its time counts as the channel's.
pub type Compose =
    Box<dyn for<'a> Fn(&'a Notice, Timestamp) -> BoxFuture<'a, Message> + Send + Sync>;

/// A configured channel.
pub struct Destination {
    /// Its name.
    pub name: Name,
    /// What delivers.
    pub channel: Arc<dyn Channel>,
    /// What it allows.
    pub terms: Terms,
    /// How long one try may take.
    pub timeout: Duration,
    /// Puts a notice into the channel's words.
    pub compose: Compose,
}

impl Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination").field("name", &self.name).finish_non_exhaustive()
    }
}

/// All mailboxes with their workers.
pub struct Outbox {
    clock: Arc<dyn Clock>,
    net: Net,
    ledger: Arc<dyn Ledger>,
    desks: Mutex<Desks>,
    /// The incidents that people are not to be told of now, for mailboxes that are opened later.
    /// Locked only while `desks` is.
    suppressed: Mutex<HashMap<String, HeldBecause>>,
    /// No new tries.
    stop: CancellationToken,
    /// Not even the one in flight.
    cut: CancellationToken,
}

impl Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}

type Desks = HashMap<(Name, String), Desk>;

/// One recipient: a mailbox and the worker that empties it.
struct Desk {
    shared: Arc<DeskShared>,
    gone: CancellationToken,
    worker: JoinHandle<()>,
}

struct DeskShared {
    mailbox: Mutex<Mailbox>,
    destination: Mutex<Arc<Destination>>,
    recipient: String,
    wake: Notify,
    sent: AtomicU64,
    rejected: AtomicU64,
    /// The monotonic milliseconds by which the worker looks at its mailbox again.
    back_by: AtomicU64,
    /// The monotonic milliseconds since when the worker is at what is due; the greatest number while
    /// nothing is.
    busy_since: AtomicU64,
}

/// What one recipient's outbox has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeskStats {
    /// The channel.
    pub channel: Name,
    /// The recipient, where the channel has several.
    pub recipient: String,
    /// Notices that are owed.
    pub depth: usize,
    /// Notices that were accepted since the start.
    pub sent: u64,
    /// Notices that were refused for good since the start.
    pub rejected: u64,
}

/// What [`Outbox::open`] found and did not want.
#[derive(Debug)]
#[must_use]
pub struct Leftovers {
    /// Mailboxes, by channel and recipient.
    mailboxes: Vec<(Name, String)>,
    /// What the store remembers as owed to a mailbox that there is none of.
    orphans: Vec<Notice>,
}

impl Outbox {
    /// An outbox without mailboxes; [`Outbox::open`] gives it some.
    pub fn new(clock: Arc<dyn Clock>, net: Net, ledger: Arc<dyn Ledger>) -> Self {
        Self {
            clock,
            net,
            ledger,
            desks: Mutex::new(HashMap::new()),
            suppressed: Mutex::new(HashMap::new()),
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
        }
    }

    /// Opens a mailbox for each recipient of `destinations`. Gives what there is of others, which
    /// stays as it is until [`Outbox::close`]: by then nobody should send anything there any more.
    ///
    /// A mailbox that is open already goes on with the new settings. A new one starts with what
    /// `past` holds for it: the notices that the store remembers. `suppressed` says of which
    /// incidents people are not to be told now, beside those that [`Outbox::suppress`] named.
    pub fn open(
        &self,
        destinations: Vec<Destination>,
        past: &[Notice],
        suppressed: &HashMap<String, HeldBecause>,
    ) -> Leftovers {
        let mut wanted = HashMap::new();
        for destination in destinations {
            let destination = Arc::new(destination);
            for recipient in destination.channel.recipients() {
                let key = (destination.name.clone(), recipient);
                wanted.insert(key, Arc::clone(&destination));
            }
        }
        let mut desks = lock(&self.desks);
        for (incident, because) in suppressed {
            self.suppress_at(&desks, incident, Some(*because));
        }
        for (key, destination) in &wanted {
            if let Some(desk) = desks.get(key) {
                lock(&desk.shared.mailbox).set_terms(destination.terms);
                *lock(&desk.shared.destination) = Arc::clone(destination);
                desk.shared.wake.notify_one();
            } else {
                let desk = self.start_desk(&key.1, Arc::clone(destination), past);
                desks.insert(key.clone(), desk);
            }
        }
        // What is owed to a mailbox that is to be closed is known best by itself.
        let orphans = past
            .iter()
            .filter(|notice| notice.is_owed())
            .filter(|notice| {
                !desks.contains_key(&(notice.channel.clone(), notice.recipient.clone()))
            })
            .cloned()
            .collect();
        let mailboxes = desks.keys().filter(|key| !wanted.contains_key(*key)).cloned().collect();
        Leftovers { mailboxes, orphans }
    }

    /// Closes mailboxes that are no longer wanted. What is owed to them is cancelled, and says so.
    ///
    /// It waits for the tries in flight there, each of which ends by the timeout of its channel:
    /// their outcomes are still kept. If the future is dropped, the next start cancels the rest.
    pub async fn close(&self, leftovers: Leftovers) {
        let closed: Vec<Desk> = {
            let mut desks = lock(&self.desks);
            leftovers.mailboxes.iter().filter_map(|key| desks.remove(key)).collect()
        };
        for desk in &closed {
            desk.gone.cancel();
        }
        let mut orphans: Vec<Notice> = leftovers.orphans.into_iter().map(cancelled).collect();
        for desk in closed {
            if desk.worker.await.is_err() {
                tracing::error!("the worker of a removed channel ended badly");
            }
            orphans.extend(lock(&desk.shared.mailbox).close(GONE));
        }
        if !orphans.is_empty() {
            warn_cancelled(&orphans);
            self.ledger.keep(orphans).await;
        }
    }

    fn start_desk(&self, recipient: &str, destination: Arc<Destination>, past: &[Notice]) -> Desk {
        let past = past
            .iter()
            .filter(|notice| notice.channel == destination.name && notice.recipient == recipient)
            .cloned()
            .collect();
        let mailbox = Mailbox::restore(
            destination.name.clone(),
            recipient.to_owned(),
            destination.terms,
            past,
            &lock(&self.suppressed),
            self.clock.now(),
        );
        let shared = Arc::new(DeskShared {
            mailbox: Mutex::new(mailbox),
            destination: Mutex::new(destination),
            recipient: recipient.to_owned(),
            wake: Notify::new(),
            sent: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            back_by: AtomicU64::new(u64::MAX),
            busy_since: AtomicU64::new(u64::MAX),
        });
        let gone = self.stop.child_token();
        let worker = Worker::new(
            Arc::clone(&self.clock),
            self.net.clone(),
            Arc::clone(&self.ledger),
            Arc::clone(&shared),
            gone.clone(),
            self.cut.clone(),
        );
        Desk { shared, gone, worker: tokio::spawn(worker.run()) }
    }

    /// The addresses of `channel`; none if it is not configured.
    pub fn recipients(&self, channel: &str) -> Vec<String> {
        let desks = lock(&self.desks);
        let mut recipients: Vec<String> = desks
            .keys()
            .filter(|(name, _)| **name == *channel)
            .map(|(_, recipient)| recipient.clone())
            .collect();
        recipients.sort();
        recipients
    }

    /// Takes notices that the store knows already.
    pub fn owe(&self, notices: Vec<Notice>) {
        let mut nobodys = Vec::new();
        let desks = lock(&self.desks);
        for notice in notices {
            let key = (notice.channel.clone(), notice.recipient.clone());
            match desks.get(&key) {
                Some(desk) => {
                    lock(&desk.shared.mailbox).owe(notice, self.clock.now());
                    desk.shared.wake.notify_one();
                }
                // Somebody heard of an incident by a channel that a reload has removed since.
                None => nobodys.push(cancelled(notice)),
            }
        }
        drop(desks);
        // Once it stops there are no mailboxes, and what is owed stays so until the next start.
        if !nobodys.is_empty() && !self.stop.is_cancelled() {
            warn_cancelled(&nobodys);
            let ledger = Arc::clone(&self.ledger);
            tokio::spawn(async move { ledger.keep(nobodys).await });
        }
    }

    /// From now on people are not to be told of `incident`, or, without a reason, they are again.
    /// What was not tried yet is held; mailboxes that are opened later know of it as well.
    pub fn suppress(&self, incident: &str, because: Option<HeldBecause>) {
        self.suppress_at(&lock(&self.desks), incident, because);
    }

    fn suppress_at(&self, desks: &Desks, incident: &str, because: Option<HeldBecause>) {
        match because {
            Some(because) => lock(&self.suppressed).insert(incident.to_owned(), because),
            None => lock(&self.suppressed).remove(incident),
        };
        for desk in desks.values() {
            if lock(&desk.shared.mailbox).suppress(incident, because) {
                desk.shared.wake.notify_one();
            }
        }
    }

    /// A check has another name now.
    pub fn rename(&self, old: &str, new: &Name) {
        for desk in lock(&self.desks).values() {
            lock(&desk.shared.mailbox).rename(old, new);
            desk.shared.wake.notify_one();
        }
    }

    /// A person wants `notice`, as the store knows it, to be tried now: one that waits for its next
    /// try is due, one that was given up is owed again, unless that would be old news (then it is
    /// cancelled). What something holds stays held. Gives it as it is then, and sees to it that the
    /// store hears of that; nothing if its channel is no longer configured.
    pub fn retry(&self, notice: Notice) -> Option<Notice> {
        let desks = lock(&self.desks);
        let desk = desks.get(&(notice.channel.clone(), notice.recipient.clone()))?;
        let retried = lock(&desk.shared.mailbox).retry(notice, self.clock.now());
        desk.shared.wake.notify_one();
        Some(retried)
    }

    /// What each recipient's worker has done.
    pub fn stats(&self) -> Vec<DeskStats> {
        let mut stats: Vec<DeskStats> = lock(&self.desks)
            .iter()
            .map(|((channel, recipient), desk)| DeskStats {
                channel: channel.clone(),
                recipient: recipient.clone(),
                depth: lock(&desk.shared.mailbox).depth(),
                sent: desk.shared.sent.load(Ordering::Relaxed),
                rejected: desk.shared.rejected.load(Ordering::Relaxed),
            })
            .collect();
        stats.sort_by(|a, b| (&a.channel, &a.recipient).cmp(&(&b.channel, &b.recipient)));
        stats
    }

    /// The channel of a worker that should have looked at its mailbox before this monotonic time and
    /// did not, or that ended by a bug; none while all are at work.
    pub fn stands_still(&self, before: Duration) -> Option<Name> {
        let before = u64::try_from(before.as_millis()).unwrap_or(u64::MAX);
        let still = |desk: &Desk| {
            desk.worker.is_finished() || desk.shared.back_by.load(Ordering::Relaxed) < before
        };
        let desks = lock(&self.desks);
        desks.iter().find(|(_, desk)| still(desk)).map(|((channel, _), _)| channel.clone())
    }

    /// The channels of which a worker has been at one delivery for longer than `span` by the monotonic
    /// time `now`, or should have looked at its mailbox so long ago: what else is due there waits.
    pub fn stuck(&self, now: Duration, span: Duration) -> Vec<Name> {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let Some(before) = now.checked_sub(span).map(millis) else { return Vec::new() };
        let is_stuck = |desk: &Desk| {
            let DeskShared { busy_since, back_by, .. } = &*desk.shared;
            desk.worker.is_finished()
                || busy_since.load(Ordering::Relaxed) < before
                || back_by.load(Ordering::Relaxed) < before
        };
        let desks = lock(&self.desks);
        let stuck = desks.iter().filter(|(_, desk)| is_stuck(desk));
        let mut channels: Vec<Name> = stuck.map(|((channel, _), _)| channel.clone()).collect();
        channels.sort();
        channels.dedup();
        channels
    }

    /// Stops: nothing new is tried, what is in flight has until `grace` is over; the rest stays in
    /// the outbox.
    pub async fn stop(&self, grace: Duration) {
        self.stop.cancel();
        let desks: Vec<Desk> = lock(&self.desks).drain().map(|(_, desk)| desk).collect();
        let cut = self.cut.clone();
        let all = futures_util::future::join_all(desks.into_iter().map(|desk| desk.worker));
        tokio::pin!(all);
        if tokio::time::timeout(grace, &mut all).await.is_err() {
            cut.cancel();
            // What has just been accepted is kept; a store that hangs is not waited for.
            let _ = tokio::time::timeout(CUT, all).await;
        }
    }
}

/// How long the tries that are cut off may take to notice.
const CUT: Duration = Duration::from_secs(1);

const GONE: &str = "the channel is no longer configured";

fn cancelled(mut notice: Notice) -> Notice {
    notice.state = NoticeState::Cancelled;
    notice.held_because = None;
    notice.last_error = Some(GONE.to_owned());
    notice
}

fn warn_cancelled(notices: &[Notice]) {
    for Notice { id, channel, what, .. } in notices {
        tracing::warn!(%channel, notice = %id, %what, "notice cancelled: {GONE}");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
