//! A WebSocket that stays open between runs, and what comes over it.

use super::door::{Door, Open};
use super::script::{self, PING, Step, Talk};
use super::words;
use crate::check::support::dial::Stream;
use crate::check::support::millis;
use crate::check::support::tls::Chain;
use crate::clock::Clock;
use crate::condition::Condition;
use crate::model::{Facts, Timestamp};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// How often the server is pinged.
const PING_EVERY: Duration = Duration::from_secs(15);

/// How long a pong may take before the connection counts as dead.
const PONG_PATIENCE: Duration = Duration::from_secs(10);

/// The first pause before a connection that failed is tried again, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A connection that lasted so long was a good one: the next try follows at once.
const GOOD: Duration = Duration::from_secs(10);

/// A longer message is counted and not remembered, in bytes.
const REMEMBERED: usize = 64 * 1024;

/// What to subscribe to, and how.
pub struct Subscription {
    /// Where it is.
    pub door: Door,
    /// The message that goes first.
    pub send: Option<String>,
    /// What follows it.
    pub steps: Vec<Step>,
    /// What a message must meet to count.
    pub count_if: Vec<Condition>,
}

/// A subscription and the task that holds its connection, from the first run on until it is
/// dropped.
pub struct Feed {
    subscription: Arc<Subscription>,
    running: Mutex<Option<Running>>,
}

struct Running {
    task: JoinHandle<()>,
    state: Arc<Mutex<State>>,
    /// Whether the first try to connect is over.
    settled: watch::Receiver<bool>,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let running = self.running.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = running.take() {
            running.task.abort();
        }
    }
}

/// What is known of the feed at one moment.
#[derive(Debug)]
struct State {
    /// When the subscription began. All moments here are of the monotonic clock.
    began: Duration,
    /// Since when it is connected, or since when not.
    since: Duration,
    /// Why it is not connected; `None` if it is.
    trouble: Option<String>,
    /// When the last message came that counts; the beginning before the first.
    heard: Duration,
    messages: i64,
    minute: Minute,
    connections: i64,
    pong: Option<Duration>,
    last: Option<Utf8Bytes>,
    chain: Option<Arc<Chain>>,
}

impl Feed {
    /// A feed that connects at its first run.
    pub fn new(subscription: Subscription) -> Self {
        Self { subscription: Arc::new(subscription), running: Mutex::default() }
    }

    /// Writes down how the feed is; the first time, once it is connected or cannot be.
    ///
    /// # Errors
    ///
    /// It is not connected, in words.
    pub async fn look(
        &self,
        clock: &Arc<dyn Clock>,
        timeout: Duration,
        facts: &mut Facts,
    ) -> Result<(), String> {
        let (state, mut settled) = self.running(clock, timeout);
        // Ends also where the task is gone; what is known then is that it is not connected.
        let _ = settled.wait_for(|settled| *settled).await;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.note(clock.now().mono, clock.wall(), facts)
    }

    fn running(
        &self,
        clock: &Arc<dyn Clock>,
        timeout: Duration,
    ) -> (Arc<Mutex<State>>, watch::Receiver<bool>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = running.as_ref().filter(|running| !running.task.is_finished());
        if let Some(running) = alive {
            return (Arc::clone(&running.state), running.settled.clone());
        }
        let state = Arc::new(Mutex::new(State::new(clock.now().mono)));
        let (settle, settled) = watch::channel(false);
        let holder = Holder {
            subscription: Arc::clone(&self.subscription),
            clock: Arc::clone(clock),
            state: Arc::clone(&state),
            timeout,
        };
        let task = tokio::spawn(async move { holder.hold(settle).await });
        *running = Some(Running { task, state: Arc::clone(&state), settled: settled.clone() });
        (state, settled)
    }
}

/// The task that holds a connection.
struct Holder {
    subscription: Arc<Subscription>,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
    timeout: Duration,
}

impl Holder {
    /// Connects, listens, and connects again, for ever.
    async fn hold(&self, settle: watch::Sender<bool>) {
        let mut pause = Duration::ZERO;
        loop {
            let (lasted, why) = match self.connect().await {
                Ok(open) => {
                    let begun = self.now();
                    self.change(|state| {
                        state.trouble = None;
                        state.since = begun;
                        state.connections += 1;
                        state.chain = open.chain.clone();
                    });
                    settle.send_replace(true);
                    let why = self.listen(open.socket, open.peer).await;
                    (self.now().saturating_sub(begun), why)
                }
                Err(why) => (Duration::ZERO, why),
            };
            let now = self.now();
            self.change(|state| {
                if state.trouble.is_none() {
                    state.since = now;
                }
                state.trouble = Some(why);
            });
            settle.send_replace(true);
            pause = match lasted >= GOOD {
                true => Duration::ZERO,
                false => (pause * 2).clamp(PAUSE.0, PAUSE.1),
            };
            // Many checks of one server do not come back all at once.
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.8..1.2))).await;
        }
    }

    async fn connect(&self) -> Result<Open, String> {
        let mut doing = "no connection yet".to_owned();
        let connecting = async {
            let mut facts = Facts::default();
            let clock = &*self.clock;
            let mut open = self.subscription.door.open(clock, &mut facts).await?;
            doing = "the WebSocket is open".to_owned();
            let mut talk = Talk {
                clock,
                socket: &mut open.socket,
                peer: open.peer,
                pinged: None,
                heard: None,
                doing: &mut doing,
            };
            if let Some(text) = &self.subscription.send {
                talk.send(Message::text(text.as_str())).await?;
            }
            talk.take(&self.subscription.steps, &mut facts).await?;
            Ok(open)
        };
        match tokio::time::timeout(self.timeout, connecting).await {
            Ok(connected) => connected,
            Err(_) => {
                let span = humantime::format_duration(self.timeout);
                Err(format!("no subscription within {span}: {doing}"))
            }
        }
    }

    /// Counts what comes until the connection is over, and says why it is.
    async fn listen(&self, mut socket: WebSocketStream<Stream>, peer: SocketAddr) -> String {
        let mut pings = tokio::time::interval(PING_EVERY);
        pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pinged: Option<Duration> = None;
        let silent = || {
            let span = humantime::format_duration(PONG_PATIENCE);
            format!("{peer} does not answer pings within {span}")
        };
        loop {
            // A feed that never pauses must not keep a thread from all other checks.
            tokio::task::consume_budget().await;
            let received = tokio::select! {
                received = socket.next() => received,
                _ = pings.tick() => {
                    let now = self.now();
                    if pinged.is_some_and(|then| now.saturating_sub(then) >= PONG_PATIENCE) {
                        return silent();
                    }
                    pinged = pinged.or(Some(now));
                    let ping = socket.send(Message::Ping(Bytes::from_static(PING)));
                    match tokio::time::timeout(PONG_PATIENCE, ping).await {
                        Ok(Ok(())) => continue,
                        Ok(Err(error)) => return words::explain(&error, peer),
                        Err(_) => return silent(),
                    }
                }
            };
            let text = match received {
                None => return words::explain_close(None, peer),
                Some(Err(error)) => return words::explain(&error, peer),
                Some(Ok(Message::Close(frame))) => {
                    return words::explain_close(frame.as_ref(), peer);
                }
                Some(Ok(Message::Pong(payload))) if payload == PING => {
                    let took = pinged.take().map(|then| self.now().saturating_sub(then));
                    self.change(|state| state.pong = took.or(state.pong));
                    continue;
                }
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Binary(bytes))) => {
                    String::from_utf8_lossy(&bytes).into_owned().into()
                }
                Some(Ok(_)) => continue,
            };
            if script::meets(&self.subscription.count_if, &text) {
                let now = self.now();
                self.change(|state| state.hear(text, now));
            }
        }
    }

    fn now(&self) -> Duration {
        self.clock.now().mono
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl State {
    fn new(now: Duration) -> Self {
        Self {
            began: now,
            since: now,
            trouble: Some("no connection yet".to_owned()),
            heard: now,
            messages: 0,
            minute: Minute::default(),
            connections: 0,
            pong: None,
            last: None,
            chain: None,
        }
    }

    fn hear(&mut self, text: Utf8Bytes, now: Duration) {
        self.heard = now;
        self.messages += 1;
        self.minute.add(now);
        // A copy: the original may hold on to a buffer many times its size.
        self.last = (text.len() <= REMEMBERED).then(|| text.as_str().to_owned().into());
    }

    fn note(&mut self, now: Duration, wall: Timestamp, facts: &mut Facts) -> Result<(), String> {
        let seconds = |since: Duration| now.saturating_sub(since).as_secs_f64();
        facts.set("connected", self.trouble.is_none());
        facts.set("seconds_since_message", seconds(self.heard));
        facts.set("messages_per_minute", self.minute.rate(self.began, now));
        facts.set("messages", self.messages);
        facts.set("reconnects", (self.connections - 1).max(0));
        if let Some(pong) = self.pong {
            facts.set("pong_ms", millis(pong));
        }
        if let Some(chain) = &self.chain {
            chain.note(wall, facts);
        }
        if let Some(text) = &self.last {
            super::note_message(text, facts);
        }
        let Some(why) = &self.trouble else {
            facts.set("connected_seconds", seconds(self.since));
            return Ok(());
        };
        facts.set("connected_seconds", 0.0);
        match now.saturating_sub(self.since).as_secs() {
            0 | 1 => Err(why.clone()),
            gone => Err(format!("not connected for {gone}s: {why}")),
        }
    }
}

/// How many messages came in each second of the last minute.
#[derive(Clone, Debug)]
struct Minute {
    counts: [u32; 60],
    /// The second that was counted last.
    second: u64,
}

impl Default for Minute {
    fn default() -> Self {
        Self { counts: [0; 60], second: 0 }
    }
}

impl Minute {
    fn add(&mut self, now: Duration) {
        self.go_on(now);
        if let Some(count) = self.counts.get_mut(Self::place(self.second)) {
            *count = count.saturating_add(1);
        }
    }

    /// Messages a minute, over the last one; over the time since `began` while that is shorter.
    fn rate(&mut self, began: Duration, now: Duration) -> f64 {
        self.go_on(now);
        let sum: u64 = self.counts.iter().copied().map(u64::from).sum();
        let span = now.saturating_sub(began).as_secs_f64().clamp(1.0, 60.0);
        sum as f64 * 60.0 / span
    }

    /// Forgets the seconds that are a minute ago.
    fn go_on(&mut self, now: Duration) {
        let second = now.as_secs();
        let gone = second.saturating_sub(self.second).min(60);
        for step in 0..gone {
            if let Some(count) = self.counts.get_mut(Self::place(second - step)) {
                *count = 0;
            }
        }
        self.second = self.second.max(second);
    }

    fn place(second: u64) -> usize {
        usize::try_from(second % 60).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Minute;
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        #[test]
        fn a_minute_counts_as_a_list_of_moments_would(steps in prop::collection::vec(0u64..40_000, 0..60)) {
            let mut minute = Minute::default();
            let mut moments: Vec<u64> = Vec::new();
            let mut now = 5_000;
            for step in steps {
                now += step;
                minute.add(Duration::from_millis(now));
                moments.push(now / 1000);
                let seen = moments.iter().filter(|then| now / 1000 - **then < 60).count();
                if now >= 60_000 {
                    let rate = minute.rate(Duration::ZERO, Duration::from_millis(now));
                    prop_assert!((rate - seen as f64).abs() < 1e-9, "{rate} {seen}");
                }
            }
        }
    }

    #[test]
    fn the_first_minute_is_scaled() {
        let mut minute = Minute::default();
        for second in 100..110 {
            minute.add(Duration::from_secs(second));
        }
        let rate = |minute: &mut Minute, now| {
            minute.rate(Duration::from_secs(100), Duration::from_secs(now))
        };
        assert_eq!(rate(&mut minute, 110), 60.0);
        assert_eq!(rate(&mut minute, 160), 9.0);
        assert_eq!(rate(&mut minute, 500), 0.0);
    }
}
