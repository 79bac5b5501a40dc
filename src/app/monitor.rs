//! The one task that owns the state of all alerts: it gives events to the core, and carries out
//! what the core wants done.

mod heartbeat;

pub use heartbeat::Kept;

use super::alerting::heartbeat::LOOK_EVERY;
use super::alerting::{Alerting, CheckSpec, Effect, Rules};
use super::gauges::Gauges;
use super::plan::PlannedCheck;
use super::task::CheckTask;
use crate::clock::Clock;
use crate::deliver::outbox::Outbox;
use crate::model::{
    Beat, Board, CheckView, Facts, Moment, Name, Notice, Ping, RunResult, Timestamp,
};
use crate::record::Batch;
use crate::record::writer::{Committed, StoreHealth, Writer};
use crate::recover::{Order, Outcome, Recoverer, Started};
use crate::schedule::{Finished, Scheduler};
use crate::serve::{Feed, News};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

/// How often the core looks whether something is due.
const TICK: Duration = Duration::from_secs(1);

/// What the monitor works with.
#[derive(Debug)]
pub struct Parts {
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// What readers see.
    pub board: Arc<Board>,
    /// Where everything is kept.
    pub writer: Writer,
    /// Who delivers.
    pub outbox: Arc<Outbox>,
    /// Who is asked for an early second look.
    pub scheduler: Scheduler,
    /// Who tries to get checks going again.
    pub recoverer: Arc<Recoverer>,
    /// Where the ends of such attempts come in.
    pub events: mpsc::WeakSender<Event>,
    /// What is counted for the API.
    pub gauges: Arc<Gauges>,
    /// Who hears what happens.
    pub feed: Arc<Feed>,
}

/// Something that somebody wants from the core.
pub type Ask = Box<dyn FnOnce(&mut Alerting, Moment) + Send>;

/// What can happen to the monitor.
pub enum Event {
    /// A part of the daemon itself fails (with the reason), or works again.
    Own {
        /// The name of the incident, which starts with `watchbell:`.
        name: Name,
        /// Why it fails; nothing if it works.
        why: Vec<String>,
    },
    /// A recipient of a channel no longer takes messages, or takes them again.
    Channel {
        /// The channel.
        channel: Name,
        /// The recipient, where the channel has several.
        recipient: String,
        /// What it said; nothing if it accepts.
        trouble: Option<String>,
    },
    /// A channel has failed for so long that another is to be told in its place.
    FallBack {
        /// The channel.
        channel: Name,
        /// What it was owed, in order.
        notices: Vec<Notice>,
        /// Answered when the other is owed them.
        done: oneshot::Sender<()>,
    },
    /// An attempt to get a check going again is over.
    Recovered {
        /// The attempt.
        order: Order,
        /// What became of it.
        outcome: Outcome,
    },
    /// Somebody wants something from the core.
    Ask {
        /// What.
        ask: Ask,
        /// Answered when it is carried out.
        done: oneshot::Sender<()>,
    },
    /// A check was pinged.
    Ping {
        /// Which.
        check: Name,
        /// By what.
        ping: Box<Ping>,
        /// Whether this very ping made it.
        created: bool,
        /// Answered when it is taken in; what comes is done when it is durable.
        done: oneshot::Sender<Kept>,
    },
    /// A ping made a check.
    Add {
        /// The check.
        task: Arc<CheckTask>,
        /// Answered when it is there.
        done: oneshot::Sender<()>,
    },
    /// There is a new plan.
    Reload {
        /// The checks.
        tasks: Vec<Arc<CheckTask>>,
        /// Who hears what.
        rules: Rules,
        /// Answered when it is in force.
        done: oneshot::Sender<()>,
    },
    /// No run is at work any more: take in what has come, and end.
    Stop,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own { .. } => "Own",
            Self::Channel { .. } => "Channel",
            Self::FallBack { .. } => "FallBack",
            Self::Recovered { .. } => "Recovered",
            Self::Ask { .. } => "Ask",
            Self::Ping { .. } => "Ping",
            Self::Add { .. } => "Add",
            Self::Reload { .. } => "Reload",
            Self::Stop => "Stop",
        })
    }
}

/// The driver of the core.
pub struct Monitor {
    parts: Parts,
    core: Alerting,
    checks: HashMap<Name, Watched>,
    /// Done once all that was committed so far is durable, or waits for a store that is away.
    committed: Shared<BoxFuture<'static, ()>>,
    /// Attempts that may still be given up.
    attempts: HashMap<Name, Started>,
    /// Wall less monotonic time in milliseconds, at the latest tick.
    clock_offset: Option<i64>,
}

/// What the board shows of a check beside its state.
struct Watched {
    task: Arc<CheckTask>,
    facts: Arc<Facts>,
    next_run: Option<Timestamp>,
    /// When a heartbeat is overdue, by both clocks.
    deadline: Option<(Timestamp, Duration)>,
}

impl Watched {
    fn new(task: Arc<CheckTask>, next_run: Option<Timestamp>) -> Self {
        Self { task, facts: Arc::default(), next_run, deadline: None }
    }
}

impl Monitor {
    /// A monitor with a core that knows the past, but no check yet.
    pub fn new(parts: Parts, core: Alerting) -> Self {
        let committed = futures_util::future::ready(()).boxed().shared();
        Self {
            parts,
            core,
            checks: HashMap::new(),
            committed,
            attempts: HashMap::new(),
            clock_offset: None,
        }
    }

    /// Takes a plan.
    pub fn take(&mut self, tasks: Vec<Arc<CheckTask>>, rules: Rules) {
        let now = self.parts.clock.now();
        let mut old = std::mem::take(&mut self.checks);
        let specs = tasks.iter().map(|task| spec(&task.planned)).collect();
        for task in tasks {
            let name = task.planned.name.clone();
            let watched = match old.remove(&name) {
                Some(watched) if Arc::ptr_eq(&watched.task, &task) => watched,
                known => {
                    let runs = task.planned.heartbeat.is_none();
                    let first = runs.then(|| task.planned.cadence.first(&name, now));
                    let before = task.planned.renamed_from.as_ref().filter(|_| known.is_none());
                    let before = before.and_then(|before| old.remove(before));
                    let facts = before.map(|before| before.facts);
                    let fresh = Watched::new(task, first.and_then(|first| first.shown(now)));
                    Watched { facts: facts.unwrap_or_default(), ..fresh }
                }
            };
            self.checks.insert(name, watched);
        }
        self.core.replace(specs, rules, now);
        self.carry_out();
        self.show_own();
    }

    /// Works until it is told to stop.
    pub async fn run(
        mut self,
        mut finished: mpsc::Receiver<Finished>,
        mut events: mpsc::Receiver<Event>,
    ) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(finished) = finished.recv() => self.finished(finished),
                Some(event) = events.recv() => {
                    if let Event::Stop = event {
                        break;
                    }
                    self.event(event);
                }
                _ = ticks.tick() => {
                    let now = self.parts.clock.now();
                    self.parts.gauges.monitor_is_alive(now.mono);
                    self.core.tick(now);
                    self.follow_wall(now);
                }
                else => break,
            }
            self.carry_out();
        }
        while let Ok(finished) = finished.try_recv() {
            self.finished(finished);
            self.carry_out();
        }
    }

    fn event(&mut self, event: Event) {
        let now = self.parts.clock.now();
        match event {
            Event::Own { name, why } => self.core.own(&name, why, now),
            Event::Channel { channel, recipient, trouble } => {
                self.core.channel(&channel, recipient, trouble, now);
            }
            Event::FallBack { channel, notices, done } => {
                self.core.fall_back(&channel, &notices, now);
                self.carry_out();
                // Whoever waited may have been stopped.
                let _ = done.send(());
            }
            Event::Recovered { order, outcome } => {
                self.attempts.remove(&order.check);
                self.core.recovered(&order, &outcome, now);
            }
            Event::Ask { ask, done } => {
                ask(&mut self.core, now);
                self.carry_out();
                let _ = done.send(());
            }
            Event::Ping { check, ping, created, done } => {
                self.ping(&check, &ping, created, done);
            }
            Event::Add { task, done } => {
                self.add(task);
                // Whoever asked may have gone away.
                let _ = done.send(());
            }
            Event::Reload { tasks, rules, done } => {
                self.take(tasks, rules);
                // Whoever asked may have given up waiting.
                let _ = done.send(());
            }
            Event::Stop => {}
        }
    }

    fn finished(&mut self, finished: Finished) {
        let now = self.parts.clock.now();
        let Finished { name, judgement, missed, next_run, .. } = finished;
        let Some(watched) = self.checks.get_mut(&name) else { return };
        if watched.task.planned.heartbeat.is_some() {
            return self.look(&name);
        }
        watched.facts = Arc::new(with_latency(&judgement.facts, judgement.latency));
        watched.next_run = next_run;
        self.parts.gauges.ran(judgement.verdict.status);
        self.core.judged(&name, judgement, missed, now);
    }

    /// Carries out what the core wants done, in its order.
    fn carry_out(&mut self) {
        let effects = self.core.take_effects();
        if effects.is_empty() {
            return;
        }
        let mut own_changed = false;
        for effect in effects {
            match effect {
                Effect::Record(mut result, state) => {
                    result.stands_for = self.stands_for(&result);
                    let RunResult { at, status, latency_ms, .. } = result;
                    self.parts.board.beat(&result.check, Beat { at, status, latency_ms });
                    self.parts.feed.tell(News::Verdict((&result).into()));
                    self.parts.writer.record(result, state.map(|state| *state));
                }
                Effect::Commit(batch) => {
                    own_changed |= !batch.incidents.is_empty() || !batch.silences.is_empty();
                    for incident in &batch.incidents {
                        self.parts.feed.tell(News::Incident(Arc::new(incident.clone())));
                    }
                    self.commit(batch);
                }
                Effect::Suppress { incident, because } => {
                    self.parts.outbox.suppress(&incident, because);
                }
                Effect::Run { check, after } => self.parts.scheduler.retry(&check, after),
                Effect::Recover(order) => self.recover(order),
                Effect::CancelRecovery(check) => {
                    if let Some(started) = self.attempts.get(&check) {
                        started.withdraw();
                    }
                }
                Effect::Rename { old, new } => {
                    self.parts.board.rename(&old, &new);
                    self.parts.outbox.rename(&old, &new);
                    own_changed = true;
                }
                Effect::Show(name) => self.show(&name),
                Effect::Hide(name) => self.parts.board.remove(&name),
            }
        }
        if own_changed {
            self.show_own();
        }
    }

    fn show_own(&self) {
        let own = self.core.other_incidents().cloned().map(Arc::new).collect();
        self.parts.gauges.own.store(Arc::new(own));
        self.parts.gauges.silences.store(Arc::new(self.core.silences()));
    }

    /// The writer announces the notices to the outbox by itself, in this order.
    fn commit(&mut self, batch: Batch) {
        let committed = self.parts.writer.commit(batch, true);
        self.committed = committed.map(|_: Committed| ()).boxed().shared();
    }

    /// Starts an attempt once it is booked durably, so that a crash does not repeat it.
    fn recover(&mut self, order: Order) {
        let Some(watched) = self.checks.get(&order.check) else { return };
        let Some(recovery) = watched.task.planned.recover.clone() else { return };
        let (check, attempt) = (order.check.clone(), order.clone());
        let events = self.parts.events.clone();
        let done = move |outcome| {
            tokio::spawn(async move {
                if let Some(events) = events.upgrade() {
                    // It fails only while the daemon stops; the attempt is booked already.
                    let _ = events.send(Event::Recovered { order: attempt, outcome }).await;
                }
            });
        };
        let booked = self.committed.clone();
        let (action, timeout) = (Arc::clone(&recovery.action), recovery.timeout);
        let started = self.parts.recoverer.start(order, booked, action, timeout, done);
        self.attempts.insert(check, started);
    }

    fn show(&self, name: &Name) {
        let (Some(watched), Some(state)) = (self.checks.get(name), self.core.state(name)) else {
            return;
        };
        let PlannedCheck { kind, policy, .. } = &watched.task.planned;
        self.parts.board.put(CheckView {
            name: name.clone(),
            kind: kind.name,
            severity: policy.severity,
            labels: Arc::clone(&policy.labels),
            state: state.clone(),
            facts: Arc::clone(&watched.facts),
            next_run: watched.next_run.filter(|_| state.paused.is_none()),
        });
    }

    /// For how long a result says how its check is: until the next run is due, and a little late.
    fn stands_for(&self, result: &RunResult) -> Duration {
        let Some(watched) = self.checks.get(&result.check) else { return Duration::ZERO };
        if watched.task.planned.heartbeat.is_some() {
            return LOOK_EVERY + LATEST;
        }
        let gap = watched.next_run.map_or(Duration::ZERO, |next| next.since(result.at));
        gap + gap.min(LATEST) + watched.task.planned.timeout
    }
}

/// The most that a run may be late before nobody knows how its check is.
const LATEST: Duration = Duration::from_secs(600);

/// The facts of a run as the board shows them.
fn with_latency(facts: &Facts, latency: Duration) -> Facts {
    facts.and("latency_ms", latency.as_secs_f64() * 1000.0)
}

fn spec(planned: &PlannedCheck) -> CheckSpec {
    CheckSpec {
        policy: planned.policy.clone(),
        retry_every: planned.retry_every,
        timeout: planned.timeout,
        parents: planned.depends_on.clone(),
        heartbeat: planned.heartbeat.as_ref().map(|heartbeat| Arc::clone(&heartbeat.terms)),
        renamed_from: planned.renamed_from.clone(),
        recovery: planned.recover.as_ref().map(|recovery| recovery.policy.clone()),
    }
}

/// What the health of the store means for its incident.
pub fn store_trouble(health: &StoreHealth) -> Option<String> {
    match health {
        StoreHealth::Ok => None,
        StoreHealth::Failing { why, waiting_results: 0, .. } => {
            Some(format!("the store fails: {why}; alerts go on"))
        }
        StoreHealth::Failing { why, .. } => {
            Some(format!("the store fails: {why}; results wait in memory, alerts go on"))
        }
    }
}
