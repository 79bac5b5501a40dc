//! The one task that owns the state of every check: it takes verdicts in, and says who is told.

use super::gauges::Gauges;
use super::plan::PlannedCheck;
use super::task::CheckTask;
use crate::clock::Clock;
use crate::deliver::outbox::Outbox;
use crate::incident::{self, Change, Judged, Policy};
use crate::model::{
    Board, CheckState, CheckView, Facts, Incident, Judgement, Labels, Name, Notice, RunResult,
    Severity, Status, Timestamp, Verdict, What,
};
use crate::record::writer::{StoreHealth, Writer};
use crate::record::{Batch, Saved};
use crate::route::Routes;
use crate::schedule::{Finished, Scheduler};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

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
    /// What is counted for the API.
    pub gauges: Arc<Gauges>,
}

/// What can happen to the monitor.
#[derive(Debug)]
pub enum Event {
    /// A part of the daemon itself fails (with the reason), or works again.
    Own {
        /// The name of the incident, which starts with `watchbell:`.
        name: Name,
        /// Why it fails; nothing if it works.
        trouble: Option<String>,
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
    /// There is a new plan: the tasks of its checks, the routes, the channels.
    Reload {
        /// The checks.
        tasks: Vec<Arc<CheckTask>>,
        /// Who hears what.
        routes: Arc<Routes>,
        /// The names of all channels.
        channels: Vec<Name>,
        /// Answered when it is in force.
        done: oneshot::Sender<()>,
    },
    /// No run is at work any more: take in what has come, and end.
    Stop,
}

/// The state of everything, and the one who changes it.
pub struct Monitor {
    parts: Parts,
    routes: Arc<Routes>,
    watched: HashMap<Name, Watched>,
    /// What the daemon watches of itself.
    own: BTreeMap<Name, CheckState>,
    /// The recipients that refuse, per channel.
    refusing: HashMap<Name, BTreeMap<String, String>>,
    /// Who was owed something about each open incident, and so hears its end.
    hearers: HashMap<String, BTreeSet<(Name, String)>>,
    ids: ulid::Generator,
}

#[derive(Debug)]
struct Watched {
    task: Arc<CheckTask>,
    labels: Arc<Labels>,
    state: CheckState,
    /// When its latest run came in, by the monotonic clock; none since the start.
    seen: Option<Duration>,
}

impl Monitor {
    /// A monitor that goes on where `saved` ended.
    pub fn new(parts: Parts, routes: Arc<Routes>, saved: &Saved) -> Self {
        let mut hearers: HashMap<String, BTreeSet<(Name, String)>> = HashMap::new();
        for notice in &saved.notices {
            for incident in &notice.incidents {
                let address = (notice.channel.clone(), notice.recipient.clone());
                hearers.entry(incident.id.clone()).or_default().insert(address);
            }
        }
        let own = saved.states.iter().filter(|(name, _)| is_own(name)).cloned().collect();
        Self {
            parts,
            routes,
            watched: HashMap::new(),
            own,
            refusing: HashMap::new(),
            hearers,
            ids: ulid::Generator::new(),
        }
    }

    /// Takes the first plan, with the states that the store remembers.
    pub fn start(&mut self, tasks: Vec<Arc<CheckTask>>, channels: &[Name], saved: Saved) {
        let mut states: HashMap<Name, CheckState> =
            saved.states.into_iter().filter(|(name, _)| !is_own(name)).collect();
        for task in tasks {
            let state = states.remove(&task.planned.name);
            self.watch(task, state);
        }
        for (name, state) in states {
            self.forget(&name, state, "the check is no longer configured");
        }
        self.forget_channels(channels);
    }

    /// Works until it is told to stop.
    pub async fn run(
        mut self,
        mut finished: mpsc::Receiver<Finished>,
        mut events: mpsc::Receiver<Event>,
    ) {
        loop {
            tokio::select! {
                Some(finished) = finished.recv() => self.finished(finished),
                Some(event) = events.recv() => match event {
                    Event::Own { name, trouble } => self.own(&name, trouble),
                    Event::Channel { channel, recipient, trouble } => {
                        self.channel(&channel, recipient, trouble);
                    }
                    Event::Reload { tasks, routes, channels, done } => {
                        self.reload(tasks, routes, &channels);
                        // Whoever asked may have given up waiting.
                        let _ = done.send(());
                    }
                    Event::Stop => break,
                },
                else => break,
            }
        }
        while let Ok(finished) = finished.try_recv() {
            self.finished(finished);
        }
    }

    fn finished(&mut self, finished: Finished) {
        let now = self.parts.clock.now();
        let Some(watched) = self.watched.get_mut(&finished.name) else { return };
        let planned = &watched.task.planned;
        let Judgement { started, ref verdict, latency, ref facts } = finished.judgement;
        let before = watched.state.clone();
        let elapsed = match (watched.seen, before.last_run) {
            (Some(seen), _) => now.mono.saturating_sub(seen),
            (None, Some(last_run)) => started.since(last_run),
            (None, None) => Duration::ZERO,
        };
        watched.seen = Some(now.mono);
        let event = Judged { verdict, at: started, elapsed };
        let ids = &mut self.ids;
        let change =
            incident::step(&planned.policy, &mut watched.state, event, || fresh_id(ids, started));
        watched.state.missed_runs += finished.missed;
        if incident::is_undecided(&watched.state) {
            self.parts.scheduler.retry(&planned.name, planned.retry_every);
        }
        if before.last_run.is_none() && verdict.status == Status::Up {
            tracing::debug!(check = %planned.name, "first run: up");
        } else if before.status != watched.state.status {
            let (check, reasons) = (&planned.name, watched.state.reasons.join("; "));
            tracing::info!(
                %check,
                from = %before.status,
                to = %verdict.status,
                reasons,
                "status changed"
            );
        }
        self.parts.gauges.ran(verdict.status);
        let name = planned.name.clone();
        let mut shown = facts.clone();
        shown.set("latency_ms", latency.as_secs_f64() * 1000.0);
        self.parts.board.put(view(watched, shown, finished.next_run));
        // A steady check's state differs in its last run only, which the results tell as well.
        let steady = CheckState { last_run: before.last_run, ..watched.state.clone() } == before;
        // A change is written together with its notices, or a crash in between would lose them.
        let apart = change.is_none() && (!steady || before.last_run.is_none());
        let state = apart.then(|| (name.clone(), watched.state.clone()));
        let result = RunResult::new(name.clone(), finished.judgement);
        self.parts.writer.record(result, state);
        if let Some(change) = change {
            let state = watched.state.clone();
            self.carry_out(&name, state, change);
        }
    }

    /// Commits a change together with the notices that it owes, which then go to the outbox.
    fn carry_out(&mut self, name: &Name, state: CheckState, change: Change) {
        let incident = change.incident().clone();
        let what = match change {
            Change::Opened(_) => Some(What::Opened),
            Change::Worsened(_) => Some(What::Worsened),
            Change::Improved(_) => None,
            Change::Flapping(_) => Some(What::Flapping),
            Change::FlappingEnded(_) => Some(What::FlappingEnded),
            Change::Resolved(_) => Some(What::Resolved),
        };
        let addresses = match what {
            Some(What::Resolved) => self.heard(&incident.id),
            Some(_) => self.addresses(&incident),
            None => Vec::new(),
        };
        let at = self.parts.clock.wall();
        let owed = what.map(|what| addresses.into_iter().map(move |address| (what, address)));
        let notices: Vec<Notice> = owed
            .into_iter()
            .flatten()
            .map(|(what, (channel, recipient, urgent))| {
                let id = fresh_id(&mut self.ids, at);
                let about = vec![incident.clone()];
                Notice { urgent, ..Notice::new(id, what, channel, recipient, about, at) }
            })
            .collect();
        // What the daemon watches of itself has a state only while something is wrong.
        let over = is_own(name) && state.incident.is_none();
        let (check, id) = (&incident.check, &incident.id);
        match what {
            Some(what) => {
                tracing::info!(%check, incident = %id, notices = notices.len(), "incident {what}");
            }
            None => tracing::info!(%check, incident = %id, "incident improved"),
        }
        let batch = Batch {
            states: if over { Vec::new() } else { vec![(name.clone(), state)] },
            removed: if over { vec![name.clone()] } else { Vec::new() },
            incidents: vec![incident],
            notices,
            ..Batch::default()
        };
        // The writer announces the notices to the outbox by itself, in this order.
        drop(self.parts.writer.commit(batch, true));
    }

    /// Who hears of `incident` by the routes; they are remembered for its end.
    fn addresses(&mut self, incident: &Incident) -> Vec<(Name, String, bool)> {
        let mut addresses = Vec::new();
        let now = self.parts.clock.wall();
        for target in self.routes.hearing(incident, now).targets {
            for recipient in self.parts.outbox.recipients(&target.channel) {
                addresses.push((target.channel.clone(), recipient, target.urgent));
            }
        }
        let hearers = self.hearers.entry(incident.id.clone()).or_default();
        for (channel, recipient, _) in &addresses {
            hearers.insert((channel.clone(), recipient.clone()));
        }
        addresses
    }

    /// Who was owed something about an incident.
    fn heard(&mut self, incident: &str) -> Vec<(Name, String, bool)> {
        let hearers = self.hearers.remove(incident).unwrap_or_default();
        hearers.into_iter().map(|(channel, recipient)| (channel, recipient, false)).collect()
    }

    /// Takes in how a part of the daemon itself is.
    fn own(&mut self, name: &Name, trouble: Option<String>) {
        let at = self.parts.clock.wall();
        if trouble.is_none() && !self.own.contains_key(name) {
            return;
        }
        let mut state = self.own.remove(name).unwrap_or_else(|| CheckState::new(at));
        let verdict = match trouble {
            Some(reason) => Verdict::down(reason),
            None => Verdict::UP,
        };
        let event = Judged { verdict: &verdict, at, elapsed: Duration::ZERO };
        let ids = &mut self.ids;
        let change = incident::step(&own_policy(name), &mut state, event, || fresh_id(ids, at));
        if state.incident.is_some() {
            self.own.insert(name.clone(), state.clone());
        }
        if let Some(change) = change {
            self.carry_out(name, state, change);
        }
        self.show_own();
    }

    fn show_own(&self) {
        let open = self.own.values().filter_map(|state| state.incident.clone());
        self.parts.gauges.own.store(Arc::new(open.map(Arc::new).collect()));
    }

    fn channel(&mut self, channel: &Name, recipient: String, trouble: Option<String>) {
        let refusing = self.refusing.entry(channel.clone()).or_default();
        match trouble {
            Some(why) => {
                refusing.insert(recipient, why);
            }
            None => {
                refusing.remove(&recipient);
            }
        }
        let reasons: Vec<String> = refusing
            .iter()
            .map(|(recipient, why)| match recipient.is_empty() {
                true => format!("the channel refused a message: {why}"),
                false => format!("the channel refused a message to {recipient}: {why}"),
            })
            .collect();
        let trouble = (!reasons.is_empty()).then(|| reasons.join("; "));
        self.own(&format!("{CHANNEL}{channel}").into(), trouble);
    }

    fn reload(&mut self, tasks: Vec<Arc<CheckTask>>, routes: Arc<Routes>, channels: &[Name]) {
        self.routes = routes;
        let mut old = std::mem::take(&mut self.watched);
        for task in tasks {
            match old.remove(&task.planned.name) {
                Some(watched) if Arc::ptr_eq(&watched.task, &task) => {
                    self.watched.insert(task.planned.name.clone(), watched);
                }
                watched => self.watch(task, watched.map(|watched| watched.state)),
            }
        }
        for (name, watched) in old {
            self.parts.board.remove(&name);
            self.forget(&name, watched.state, "the check was removed");
        }
        self.forget_channels(channels);
    }

    fn watch(&mut self, task: Arc<CheckTask>, state: Option<CheckState>) {
        let name = task.planned.name.clone();
        let now = self.parts.clock.wall();
        let mut state = state.unwrap_or_else(|| CheckState::new(now));
        let kind = task.planned.kind.name;
        if state.incident.as_ref().is_some_and(|incident| incident.kind != kind) {
            let why = "the check is of another kind now";
            if let Some(change) = incident::withdraw(&mut state, now, why) {
                state = CheckState::new(now);
                self.carry_out(&name, state.clone(), change);
            }
        }
        let labels = Arc::new(task.planned.policy.labels.clone());
        let watched = Watched { task, labels, state, seen: None };
        let start = self.parts.clock.now();
        let first = watched.task.planned.cadence.first(&name, start).shown(start);
        self.parts.board.put(view(&watched, Facts::default(), first));
        self.watched.insert(name, watched);
    }

    /// Ends what is known of a check that is no longer there.
    fn forget(&mut self, name: &Name, mut state: CheckState, why: &str) {
        let now = self.parts.clock.wall();
        if let Some(change) = incident::withdraw(&mut state, now, why) {
            self.carry_out(name, state, change);
        }
        let batch = Batch { removed: vec![name.clone()], ..Batch::default() };
        drop(self.parts.writer.commit(batch, false));
    }

    fn forget_channels(&mut self, channels: &[Name]) {
        self.refusing.retain(|channel, _| channels.contains(channel));
        let gone: Vec<Name> = self
            .own
            .keys()
            .filter(|name| {
                let channel = name.strip_prefix(CHANNEL);
                channel.is_some_and(|channel| channels.iter().all(|known| **known != *channel))
            })
            .cloned()
            .collect();
        for name in gone {
            if let Some(state) = self.own.remove(&name) {
                self.forget(&name, state, "the channel is no longer configured");
            }
        }
        self.show_own();
    }
}

/// The incident of the daemon's own when the store fails.
pub const STORE: &str = "watchbell:store";
/// The incident of the daemon's own when a reload found a configuration that cannot be used.
pub const CONFIG: &str = "watchbell:config";
const CHANNEL: &str = "watchbell:channel:";

fn is_own(name: &str) -> bool {
    name.starts_with("watchbell:")
}

fn own_policy(name: &Name) -> Policy {
    Policy {
        check: name.clone(),
        kind: "watchbell".to_owned(),
        confirm_after: 1,
        recover_after: 1,
        lasting: Duration::ZERO,
        unknown_after: None,
        flapping: false,
        severity: Severity::Critical,
        labels: Labels::new(),
        runbook: None,
    }
}

fn view(watched: &Watched, facts: Facts, next_run: Option<Timestamp>) -> CheckView {
    let PlannedCheck { name, kind, policy, .. } = &watched.task.planned;
    CheckView {
        name: name.clone(),
        kind: kind.name,
        severity: policy.severity,
        labels: Arc::clone(&watched.labels),
        state: watched.state.clone(),
        facts,
        next_run,
    }
}

/// A ULID of that time; those of one millisecond keep the order in which they were made.
fn fresh_id(ids: &mut ulid::Generator, at: Timestamp) -> String {
    let datetime = std::time::SystemTime::from(at.to_datetime());
    let id = ids.generate_from_datetime(datetime).unwrap_or_else(|_| ulid::Ulid::new());
    id.to_string()
}

/// What the health of the store means for its incident.
pub fn store_trouble(health: &StoreHealth) -> Option<String> {
    match health {
        StoreHealth::Ok => None,
        StoreHealth::Failing { why, .. } => {
            Some(format!("the store fails: {why}; results wait in memory, alerts go on"))
        }
    }
}
