//! The worker that empties one mailbox.

use super::{DeskShared, Destination, Ledger, lock};
use crate::clock::Clock;
use crate::deliver::mailbox::{Changes, Earlier, Next, mono};
use crate::deliver::{Net, Outcome};
use crate::model::{Live, Message, Name, Notice, NoticeState, Timestamp, What};
use futures_util::FutureExt;
use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

pub(super) struct Worker {
    clock: Arc<dyn Clock>,
    net: Net,
    ledger: Arc<dyn Ledger>,
    desk: Arc<DeskShared>,
    stop: CancellationToken,
    cut: CancellationToken,
    /// Whether the ledger was last told that the channel fails; nothing was told at first.
    troubled: Option<bool>,
}

impl Worker {
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        net: Net,
        ledger: Arc<dyn Ledger>,
        desk: Arc<DeskShared>,
        stop: CancellationToken,
        cut: CancellationToken,
    ) -> Self {
        Self { clock, net, ledger, desk, stop, cut, troubled: None }
    }

    pub(super) async fn run(mut self) {
        loop {
            let now = self.clock.now();
            self.is_back_by(now.mono);
            self.is_busy_since(now.mono);
            let new_id = || ulid::Ulid::new().to_string();
            let (changed, next) = lock(&self.desk.mailbox).next(now, new_id);
            let channel = lock(&self.desk.destination).name.clone();
            if is_awaited(&changed) {
                self.keep(&channel, changed).await;
            } else {
                // It takes its place among what is written; nobody needs to wait for the disk.
                let _ = self.keep(&channel, changed).now_or_never();
            }
            self.tell_trouble(&channel).await;
            if self.stop.is_cancelled() {
                return;
            }
            match next {
                Next::Send(notice) => {
                    let timeout = lock(&self.desk.destination).timeout;
                    self.is_back_by(now.mono.saturating_add(timeout));
                    let Some(outcome) = self.send(&notice).await else { return };
                    self.settle(&notice, outcome).await;
                }
                Next::Wait(until) => {
                    let span = u64::try_from(until - mono(now)).unwrap_or(0);
                    let span = Duration::from_millis(span);
                    self.is_back_by(now.mono.saturating_add(span));
                    self.is_busy_since(Duration::MAX);
                    self.sleep(span).await;
                }
                Next::Idle => {
                    self.is_back_by(Duration::MAX);
                    self.is_busy_since(Duration::MAX);
                    self.sleep(Duration::MAX).await;
                }
            }
        }
    }

    /// Makes changes durable. What falls back is given away first, so that a crash in between
    /// repeats it; the other way round it would be lost.
    async fn keep(&self, channel: &Name, changes: Changes) {
        let Changes { mut notices, fallen } = changes;
        if !fallen.is_empty() {
            let ids: HashSet<String> = fallen.iter().map(|notice| notice.id.clone()).collect();
            if !self.ledger.fall_back(channel, fallen).await {
                // The store keeps them as it knows them, so that the next start gives them away.
                notices.retain(|notice| !ids.contains(&notice.id));
            }
        }
        if !notices.is_empty() {
            self.ledger.keep(notices).await;
        }
    }

    /// Says once that the channel has failed for long.
    async fn tell_trouble(&mut self, channel: &Name) {
        let trouble = lock(&self.desk.mailbox).trouble(self.clock.now()).map(str::to_owned);
        if trouble.is_some() && self.troubled != Some(true) {
            self.troubled = Some(true);
            self.ledger.trouble(channel, &self.desk.recipient, trouble).await;
        }
    }

    /// `None` if the daemon stops before the channel answers: the notice stays in the outbox.
    async fn send(&self, notice: &Notice) -> Option<Outcome> {
        let destination = Arc::clone(&lock(&self.desk.destination));
        let earlier = lock(&self.desk.mailbox).earlier(notice);
        let net = Net { patience: destination.timeout / 2, ..self.net.clone() };
        let send = AssertUnwindSafe(async {
            let message = compose(&destination, notice, earlier, self.clock.wall()).await;
            destination.channel.send(&net, &message).await
        })
        .catch_unwind();
        tokio::select! {
            answer = tokio::time::timeout(destination.timeout, send) => Some(match answer {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_panic)) => {
                    Outcome::Retry { after: None, why: "the channel's code failed".to_owned() }
                }
                Err(_elapsed) => {
                    let span = humantime::format_duration(destination.timeout);
                    Outcome::Retry { after: None, why: format!("no answer within {span}") }
                }
            }),
            () = self.cut.cancelled() => None,
        }
    }

    async fn settle(&mut self, notice: &Notice, outcome: Outcome) {
        let refusal = match &outcome {
            Outcome::Accepted { .. } => None,
            Outcome::Retry { why, .. } | Outcome::Rejected { why } => Some(why.clone()),
        };
        let accepted = refusal.is_none();
        let changed =
            lock(&self.desk.mailbox).settle(&notice.id, outcome, self.clock.now(), rand::random());
        let changes = &changed.notices;
        // Digests of before may be among the changes, with what became of their incidents.
        let of_this =
            |other: &Notice| other.id == notice.id || other.digest.as_deref() == Some(&*notice.id);
        let settled: Vec<&Notice> = changes.iter().filter(|other| of_this(other)).collect();
        let count = |state| settled.iter().filter(|notice| notice.state == state).count() as u64;
        self.desk.sent.fetch_add(count(NoticeState::Sent), Ordering::Relaxed);
        let rejected = count(NoticeState::Rejected);
        self.desk.rejected.fetch_add(rejected, Ordering::Relaxed);
        let (channel, id) = (&notice.channel, &notice.id);
        match &refusal {
            None => tracing::info!(%channel, notice = %id, what = %notice.what, "notice sent"),
            Some(why) if rejected > 0 => {
                tracing::error!(%channel, notice = %id, %why, "notice refused for good");
            }
            Some(why) => tracing::warn!(%channel, notice = %id, %why, "notice not accepted yet"),
        }
        // Before anything else is tried, so that a crash repeats this one at most.
        self.keep(channel, changed).await;
        if rejected > 0 && self.troubled != Some(true) {
            self.troubled = Some(true);
            self.ledger.trouble(channel, &self.desk.recipient, refusal).await;
        } else if accepted && self.troubled != Some(false) {
            self.troubled = Some(false);
            self.ledger.trouble(channel, &self.desk.recipient, None).await;
        }
    }

    /// Promises to look at the mailbox by then, so that others can see when it does not.
    fn is_back_by(&self, mono: Duration) {
        let millis = u64::try_from(mono.as_millis()).unwrap_or(u64::MAX);
        self.desk.back_by.store(millis, Ordering::Relaxed);
    }

    /// Says since when it is at what is due; never, while nothing is.
    fn is_busy_since(&self, mono: Duration) {
        let millis = u64::try_from(mono.as_millis()).unwrap_or(u64::MAX);
        self.desk.busy_since.store(millis, Ordering::Relaxed);
    }

    async fn sleep(&self, span: Duration) {
        tokio::select! {
            () = tokio::time::sleep(span) => {}
            () = self.desk.wake.notified() => {}
            () = self.stop.cancelled() => {}
        }
    }
}

/// Puts a notice into the words of its channel, and what that makes out of date where the channel
/// can change it.
async fn compose(
    destination: &Destination,
    notice: &Notice,
    earlier: Earlier,
    now: Timestamp,
) -> Message {
    let mut message = (destination.compose)(notice, now).await;
    message.answers = earlier.answers;
    if destination.channel.keeps_live() {
        for (handle, by_now) in earlier.live {
            let now = match by_now {
                Some(by_now) => Some((destination.compose)(&by_now, now).await),
                None => None,
            };
            message.live.push(Live { handle, now });
        }
    }
    message
}

/// Whether changes have to be durable before anything is sent: a digest and those that it carries,
/// or a crash would tell them again one by one; and what falls back.
fn is_awaited(changes: &Changes) -> bool {
    let of_a_digest = |notice: &Notice| notice.what == What::Digest || notice.digest.is_some();
    !changes.fallen.is_empty() || changes.notices.iter().any(of_a_digest)
}

#[cfg(test)]
mod tests {
    use super::super::{Compose, Destination, Ledger, Outbox};
    use crate::clock::{Clock as _, Manual};
    use crate::deliver::mailbox::Terms;
    use crate::deliver::support::testing::{NOW, net};
    use crate::deliver::{Channel, Net, Outcome, Preview};
    use crate::model::{Incident, Message, Name, Notice, NoticeState, Status, What};
    use async_trait::async_trait;
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;
    use tokio::sync::Notify;

    #[derive(Debug)]
    struct Closed;

    #[async_trait]
    impl Channel for Closed {
        fn preview(&self, _: &Message) -> Result<Preview, String> {
            Err("closed".to_owned())
        }

        async fn send(&self, _: &Net, _: &Message) -> Outcome {
            Outcome::Rejected { why: "404".to_owned() }
        }
    }

    /// A store whose daemon gives nothing to a fallback any more.
    #[derive(Default)]
    struct Stopping {
        kept: Mutex<Vec<Notice>>,
        told: Notify,
    }

    #[async_trait]
    impl Ledger for Stopping {
        async fn keep(&self, notices: Vec<Notice>) {
            self.kept.lock().unwrap().extend(notices);
        }

        async fn fall_back(&self, _: &Name, _: Vec<Notice>) -> bool {
            false
        }

        async fn trouble(&self, _: &Name, _: &str, _: Option<String>) {
            self.told.notify_one();
        }
    }

    /// A store that never answers.
    struct Stuck;

    #[async_trait]
    impl Ledger for Stuck {
        async fn keep(&self, _: Vec<Notice>) {
            std::future::pending().await
        }

        async fn fall_back(&self, _: &Name, _: Vec<Notice>) -> bool {
            true
        }

        async fn trouble(&self, _: &Name, _: &str, _: Option<String>) {}
    }

    /// The channel called `chat`.
    fn chat() -> Destination {
        let hour = Duration::from_secs(3600);
        let terms = Terms { count: 10, per: hour, cooldown: hour, fallback_after: Some(hour) };
        let compose: Compose = Box::new(|notice, at| {
            let message = Message {
                id: notice.id.clone(),
                what: notice.what,
                at,
                daemon: "here".into(),
                recipient: String::new(),
                incidents: notice.incidents.clone(),
                title: String::new(),
                text: String::new(),
                html: String::new(),
                picture: None,
                actions: Vec::new(),
                answers: None,
                live: Vec::new(),
            };
            Box::pin(std::future::ready(message))
        });
        let (name, channel) = ("chat".into(), Arc::new(Closed));
        Destination { name, channel, terms, timeout: hour, compose }
    }

    fn opening() -> Notice {
        let incident = Incident::new("1".to_owned(), "shop".into(), "http", Status::Down, NOW);
        let (id, to) = ("n".to_owned(), String::new());
        Notice::new(id, What::Opened, "chat".into(), to, vec![incident], NOW)
    }

    #[tokio::test]
    async fn a_worker_that_stands_still_is_seen_and_one_that_has_nothing_to_do_does_not() {
        let clock = Arc::new(Manual::at(NOW));
        let outbox = Outbox::new(Arc::clone(&clock) as _, net(), Arc::new(Stuck));
        outbox.close(outbox.open(vec![chat()], &[], &HashMap::new())).await;
        let day = Duration::from_secs(86_400);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        clock.advance(day);
        assert_eq!(outbox.stands_still(clock.now().mono), None, "nobody owes it anything");
        outbox.owe(vec![opening()]);
        assert!(outbox.stuck(clock.now().mono, day).is_empty(), "it has only just begun");
        let seen = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                clock.advance(day);
                match outbox.stands_still(clock.now().mono - Duration::from_secs(7200)) {
                    Some(channel) => return channel,
                    None => tokio::task::yield_now().await,
                }
            }
        });
        assert_eq!(&*seen.await.unwrap(), "chat");
        assert_eq!(outbox.stuck(clock.now().mono, day / 2), [Name::from("chat")]);
    }

    #[tokio::test]
    async fn what_nobody_gave_to_the_fallback_stays_owed_for_the_next_start() {
        let ledger = Arc::new(Stopping::default());
        let outbox = Outbox::new(Arc::new(Manual::at(NOW)), net(), Arc::clone(&ledger) as _);
        let leftovers = outbox.open(vec![chat()], &[], &HashMap::new());
        outbox.close(leftovers).await;
        outbox.owe(vec![opening()]);
        ledger.told.notified().await;
        let kept = ledger.kept.lock().unwrap();
        assert!(kept.iter().all(|notice| notice.state == NoticeState::Pending), "{kept:?}");
    }
}
