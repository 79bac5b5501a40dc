//! Who is told what, and when: the pure core of alerting.
//!
//! Events come in (a judged run, a tick, an acknowledgement, a silence), [`Effect`]s come out as
//! data; the monitor carries them out. No I/O and no clock in here, so that a test can play years
//! of outages in a second.
//!
//! ```text
//!   a run is judged ─▶ incident::step ─▶ gate (parents) ─▶ suppression ─▶ routes ─▶ notices
//!   a tick          ─▶ reminders, escalations, ends of silences and maintenance, recovery
//! ```
//!
//! What holds notices back for a while (limits, cooldown, groups, and incidents that are
//! suppressed) is the mailbox's business; here it is decided *which* incidents are suppressed.

mod dependency;
pub mod heartbeat;
mod intake;
mod notices;
mod operate;
pub mod own;
mod recovery;
mod rename;
mod suppression;
#[cfg(test)]
mod tests;
mod upkeep;

pub use intake::Crowded;
pub use operate::Refused;

use crate::check::kinds::heartbeat::state::Terms;
use crate::incident::{self, Change, Judged, Policy};
use crate::model::{
    CheckState, HeldBecause, Incident, Judgement, Moment, Name, Notice, RunResult, Silence,
    Timestamp, What, is_alert,
};
use crate::record::Batch;
use crate::recover::Order;
use crate::recover::plan::RecoveryPolicy;
use crate::route::{Routes, Silences, Windows};
use dependency::Gate;
use notices::Hearers;
use own::{is_own, own_spec};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// What a check asks of its alerts.
#[derive(Clone, Debug)]
pub struct CheckSpec {
    /// When its badness is an incident.
    pub policy: Policy,
    /// Time between runs while bad and not confirmed.
    pub retry_every: Duration,
    /// How long one run may take.
    pub timeout: Duration,
    /// The checks that it stands on.
    pub parents: Vec<Name>,
    /// What is tried to get it going again.
    pub recovery: Option<RecoveryPolicy>,
    /// When it is to be pinged; none if it runs by itself.
    pub heartbeat: Option<Arc<Terms>>,
    /// What it was called before.
    pub renamed_from: Option<Name>,
}

/// All that the configuration says about alerts.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Who hears what.
    pub routes: Arc<Routes>,
    /// When something is being worked on.
    pub windows: Arc<Windows>,
    /// The addresses of each channel.
    pub channels: BTreeMap<Name, Vec<String>>,
    /// The channel that stands in for another.
    pub fallbacks: BTreeMap<Name, Name>,
}

/// What is to be done.
#[derive(Debug)]
pub enum Effect {
    /// Keep an ordinary result, and the state of its check where that changed.
    Record(RunResult, Option<Box<(Name, CheckState)>>),
    /// Write this in one transaction; its notices go to the outbox then.
    Commit(Batch),
    /// From now on people are not told of the incident, or are told again.
    Suppress {
        /// The id of the incident.
        incident: String,
        /// Why not.
        because: Option<HeldBecause>,
    },
    /// Run a check again soon.
    Run {
        /// Which.
        check: Name,
        /// After so long.
        after: Duration,
    },
    /// Try to get a check going again.
    Recover(Order),
    /// An attempt that has not begun yet is not wanted any more.
    CancelRecovery(Name),
    /// A check has another name now, and all that is known of it goes with that.
    Rename {
        /// What it was called.
        old: Name,
        /// What it is called.
        new: Name,
    },
    /// What is known of a check changed.
    Show(Name),
    /// A check is no longer there.
    Hide(Name),
}

/// The state of everything that people may be told about.
#[derive(Debug, Default)]
pub struct Alerting {
    rules: Rules,
    silences: Silences,
    subjects: HashMap<Name, Box<Subject>>,
    /// Which checks stand on one.
    children: HashMap<Name, Vec<Name>>,
    /// Whose incident it is, by its id; only open ones.
    open: BTreeMap<String, Name>,
    /// Who was owed something about each open incident, and so hears its end.
    hearers: HashMap<String, Hearers>,
    /// The recipients that refuse, per channel.
    refusing: HashMap<Name, BTreeMap<String, String>>,
    /// The latest incidents that are over, for those who hear of them late.
    lately: VecDeque<Incident>,
    /// When silences and maintenance were last looked at.
    looked_at: Option<Timestamp>,
    /// Suppressions of incidents that are over, and when nobody needs to know of them any more.
    lifted: Vec<(Duration, String)>,
    /// Whether a plan was taken since the start.
    started: bool,
    /// The alerts that were sent in and hold, with until when, by the monotonic clock.
    sent: BTreeMap<Name, Duration>,
    ids: Ids,
    effects: Vec<Effect>,
}

/// A check, or a part of the daemon itself, with all that is known of its alerts.
#[derive(Debug)]
struct Subject {
    spec: CheckSpec,
    state: CheckState,
    /// When its latest run came in and when that one began, by the monotonic clock.
    seen: Option<Seen>,
    gate: Gate,
    /// How long its incident had been open at a monotonic time.
    open_for: Option<(Duration, Duration)>,
    /// When to look at its incident again, by the monotonic clock.
    wake: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    arrived: Duration,
    began: Duration,
}

impl Alerting {
    /// The core as the store remembers it, before it knows of any check.
    pub fn new(
        rules: Rules,
        silences: Vec<Silence>,
        states: Vec<(Name, CheckState)>,
        notices: &[Notice],
        now: Moment,
    ) -> Self {
        let mut core = Self {
            rules,
            silences: Silences::new(silences),
            looked_at: Some(now.wall),
            ..Self::default()
        };
        core.remember(notices);
        for (name, state) in states {
            let spec = match is_own(&name) {
                true => own_spec(&name),
                // A stand-in, until the configuration or the sender says what it is.
                false => absent_spec(&name, &state),
            };
            if is_alert(&name) {
                core.await_alert(&name, now);
            }
            core.insert(name, spec, Some(state), now);
        }
        // Whoever heard of what is over was told so in the transaction that ended it.
        core.hearers.retain(|incident, _| core.open.contains_key(incident));
        // What began or ended while the daemon was away counts before anything goes out.
        let names: Names = core.open.values().cloned().collect();
        for name in names {
            if core.suppress(&name, now) {
                core.keep(&name);
            }
        }
        core
    }

    /// What is to be done now, in this order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// The incidents of which people are not told at the moment.
    pub fn suppressed(&self) -> HashMap<String, HeldBecause> {
        let open = self.subjects.values().filter_map(|subject| subject.state.incident.as_deref());
        open.filter_map(|incident| Some((incident.id.clone(), incident.suppressed_by?))).collect()
    }

    /// What is known of a check.
    pub fn state(&self, name: &str) -> Option<&CheckState> {
        self.subjects.get(name).map(|subject| &subject.state)
    }

    /// The open incidents that are of no check: the daemon's own, and alerts that were sent in.
    pub fn other_incidents(&self) -> impl Iterator<Item = &Incident> {
        let others = self.open.values().filter(|name| !is_check(name));
        others.filter_map(|name| self.subjects.get(name)?.state.incident.as_deref())
    }

    /// All channels.
    pub fn channels(&self) -> Vec<Name> {
        self.rules.channels.keys().cloned().collect()
    }

    /// The silences that are not forgotten, newest first.
    pub fn silences(&self) -> Vec<Silence> {
        self.silences.all().cloned().collect()
    }

    /// Takes one judged run in.
    pub fn judged(&mut self, name: &Name, run: Judgement, missed: u64, now: Moment) {
        let Some(subject) = self.subjects.get_mut(name) else { return };
        if subject.state.paused.is_some() {
            // Somebody asked for this run, or it was at work already. It counts for nothing.
            let result = self.result(name, run, now);
            self.effects.push(Effect::Record(result, None));
            return;
        }
        let before = subject.state.clone();
        let elapsed = match (subject.seen, before.last_run) {
            (Some(seen), _) => now.mono.saturating_sub(seen.arrived),
            (None, Some(last_run)) => run.started.since(last_run),
            (None, None) => Duration::ZERO,
        };
        // A ping tells how long a job took, which says nothing of when its parents were asked.
        let took = if subject.spec.heartbeat.is_some() { Duration::ZERO } else { run.latency };
        let began = now.mono.saturating_sub(took);
        subject.seen = Some(Seen { arrived: now.mono, began });
        let event = Judged { verdict: &run.verdict, at: run.started, elapsed };
        let (policy, ids) = (&subject.spec.policy, &mut self.ids);
        let change = incident::step(policy, &mut subject.state, event, || ids.fresh(run.started));
        subject.state.missed_runs += missed;
        if incident::is_undecided(&subject.state) {
            let after = subject.spec.retry_every;
            self.effects.push(Effect::Run { check: name.clone(), after });
        }
        // A steady check's state differs in its last run only, which the results tell as well.
        let steady = CheckState { last_run: before.last_run, ..subject.state.clone() } == before;
        // A change is written together with its notices, or a crash in between would lose them.
        let apart = change.is_none() && (!steady || before.last_run.is_none());
        let state = apart.then(|| Box::new((name.clone(), subject.state.clone())));
        log_change(name, &before, subject);
        let started = run.started;
        let result = self.result(name, run, now);
        self.effects.push(Effect::Record(result, state));
        if let Some(change) = change {
            self.changed(name, change, now);
        }
        self.verify_recovery(name, started, now);
        self.follow_up(name, now);
        self.follow_up_children(name, now);
        self.effects.push(Effect::Show(name.clone()));
    }

    /// The run as history keeps it.
    fn result(&self, name: &Name, run: Judgement, now: Moment) -> RunResult {
        let maintenance = self.subjects.get(name).is_some_and(|subject| {
            let Policy { check, kind, severity, labels, .. } = &subject.spec.policy;
            self.rules.windows.cover(check, kind, *severity, labels, now.wall)
        });
        RunResult { maintenance, ..RunResult::new(name.clone(), run) }
    }

    /// Carries out what a verdict changed.
    fn changed(&mut self, name: &Name, change: Change, now: Moment) {
        let what = match &change {
            Change::Opened(_) => Some(What::Opened),
            Change::Worsened(_) => Some(What::Worsened),
            Change::Improved(_) => None,
            Change::Flapping(_) => Some(What::Flapping),
            Change::FlappingEnded(_) => Some(What::FlappingEnded),
            Change::Resolved(_) => Some(What::Resolved),
        };
        let incident = change.incident().clone();
        if what == Some(What::Resolved) {
            self.resolved(name, incident, now);
            return;
        }
        if !self.open.contains_key(&incident.id) {
            self.opened(name, &incident, now);
        }
        if matches!(what, Some(What::Opened | What::Worsened | What::Flapping)) {
            self.shut_gate(name);
        }
        // Before the notices are owed, so that none slips out.
        self.reconsider(name, now);
        let Some(incident) = self.incident(name).cloned() else { return };
        let notices = match what {
            Some(what) => self.owed(what, &incident, now),
            None => Vec::new(),
        };
        log_incident(&incident, what, notices.len());
        self.commit(name, incident, notices);
    }

    fn opened(&mut self, name: &Name, incident: &Incident, now: Moment) {
        self.open.insert(incident.id.clone(), name.clone());
        let dependents = self.dependents(name);
        let Some(subject) = self.subjects.get_mut(name) else { return };
        subject.open_for = Some((Duration::ZERO, now.mono));
        if let Some(incident) = &mut subject.state.incident {
            incident.dependents = dependents;
        }
    }

    /// Tells all who were owed something about the incident that it is over.
    fn resolved(&mut self, name: &Name, mut incident: Incident, now: Moment) {
        self.open.remove(&incident.id);
        if let Some(subject) = self.subjects.get_mut(name) {
            subject.gate = Gate::Open;
            subject.open_for = None;
        }
        self.end_recovery(name);
        let notices = self.resolutions(&incident, now);
        if incident.suppressed_by.is_some() {
            // Not before the mailboxes have cancelled what is held.
            self.lifted.push((now.mono.saturating_add(LIFT_AFTER), incident.id.clone()));
        }
        incident.suppressed_by = None;
        self.remember_end(&incident);
        log_incident(&incident, Some(What::Resolved), notices.len());
        self.commit(name, incident, notices);
    }

    /// Commits a change together with the notices that it owes.
    fn commit(&mut self, name: &Name, incident: Incident, notices: Vec<Notice>) {
        let Some(subject) = self.subjects.get(name) else { return };
        // What is no check has a state only while something is wrong.
        let over = !is_check(name) && subject.state.incident.is_none();
        self.effects.push(Effect::Commit(Batch {
            states: if over { Vec::new() } else { vec![(name.clone(), subject.state.clone())] },
            removed: if over { vec![name.clone()] } else { Vec::new() },
            incidents: vec![incident],
            notices,
            ..Batch::default()
        }));
        self.effects.push(Effect::Show(name.clone()));
    }

    /// Writes the state of a check, and its incident as it is now.
    fn keep(&mut self, name: &Name) {
        match self.incident(name).cloned() {
            Some(incident) => self.commit(name, incident, Vec::new()),
            None => {
                let Some(subject) = self.subjects.get(name) else { return };
                let states = vec![(name.clone(), subject.state.clone())];
                self.effects.push(Effect::Commit(Batch { states, ..Batch::default() }));
                self.effects.push(Effect::Show(name.clone()));
            }
        }
    }

    fn incident(&self, name: &Name) -> Option<&Incident> {
        self.subjects.get(name)?.state.incident.as_deref()
    }

    fn incident_mut(&mut self, name: &Name) -> Option<&mut Incident> {
        self.subjects.get_mut(name)?.state.incident.as_deref_mut()
    }

    fn insert(&mut self, name: Name, spec: CheckSpec, state: Option<CheckState>, now: Moment) {
        let state = state.unwrap_or_else(|| CheckState::new(now.wall));
        let incident = state.incident.as_deref();
        let subject = Subject {
            gate: Gate::restored(incident, now),
            open_for: incident.map(|open| (incident::open_for_at_start(open, now.wall), now.mono)),
            wake: now.mono,
            seen: None,
            spec,
            state,
        };
        if let Some(incident) = &subject.state.incident {
            self.open.insert(incident.id.clone(), name.clone());
        }
        self.subjects.insert(name, Box::new(subject));
    }
}

impl Subject {
    /// How long its incident has been open, by the monotonic clock.
    fn open_for(&self, now: Moment) -> Duration {
        let (before, at) = self.open_for.unwrap_or((Duration::ZERO, now.mono));
        before.saturating_add(now.mono.saturating_sub(at))
    }
}

/// Makes ids that sort by time; those of one millisecond keep the order in which they were made.
struct Ids(ulid::Generator);

impl std::fmt::Debug for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ids")
    }
}

impl Default for Ids {
    fn default() -> Self {
        Self(ulid::Generator::new())
    }
}

impl Ids {
    fn fresh(&mut self, at: Timestamp) -> String {
        let datetime = std::time::SystemTime::from(at.to_datetime());
        let id = self.0.generate_from_datetime(datetime).unwrap_or_else(|_| ulid::Ulid::new());
        id.to_string()
    }
}

/// How long after the end of an incident its suppression is lifted.
const LIFT_AFTER: Duration = Duration::from_secs(60);
/// How many incidents that are over are remembered.
const LATELY: usize = 256;

/// Whether the name is that of a check, or of one that was there.
fn is_check(name: &str) -> bool {
    !is_own(name) && !is_alert(name)
}

/// A check of which only the state is known, as a restart finds it before the plan is taken in.
fn absent_spec(name: &Name, state: &CheckState) -> CheckSpec {
    let kind = state.incident.as_ref().map(|incident| incident.kind.clone()).unwrap_or_default();
    let spec = own_spec(name);
    CheckSpec { policy: Policy { kind, ..spec.policy }, ..spec }
}

fn log_change(name: &Name, before: &CheckState, subject: &Subject) {
    let (from, to) = (before.status, subject.state.status);
    if before.last_run.is_none() && to == crate::model::Status::Up {
        tracing::debug!(check = %name, "first run: up");
    } else if from != to {
        let reasons = subject.state.reasons.join("; ");
        tracing::info!(check = %name, %from, %to, reasons, "status changed");
    }
}

fn log_incident(incident: &Incident, what: Option<What>, notices: usize) {
    let (check, id) = (&incident.check, &incident.id);
    let word = what.map_or("improved", What::as_str);
    tracing::info!(%check, incident = %id, notices, "incident {word}");
}

/// All names of a set, cheap to hold while the core changes.
type Names = BTreeSet<Name>;
