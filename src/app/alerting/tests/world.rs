//! The core together with mailboxes and a store in memory.

use super::super::{Alerting, CheckSpec, Effect, Rules, own_spec};
use crate::deliver::Outcome;
use crate::deliver::mailbox::{Changes, Mailbox, Next, Terms};
use crate::incident::Policy;
use crate::model::{
    Acknowledgement, CheckState, HeldBecause, Incident, Judgement, Matcher, Moment, Name, Notice,
    Silence, Status, Timestamp, Verdict, What,
};
use crate::recover::{Order, Outcome as Attempt};
use crate::route::{Route, Routes};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

pub const START: i64 = 1_800_000_000_000;

pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub fn spec(name: &str, parents: &[&str]) -> CheckSpec {
    let own = own_spec(&name.into());
    CheckSpec {
        policy: Policy { kind: "http".to_owned(), recover_after: 1, ..own.policy },
        retry_every: secs(5),
        timeout: secs(10),
        parents: parents.iter().map(|parent| (*parent).into()).collect(),
        recovery: None,
        heartbeat: None,
        renamed_from: None,
    }
}

/// `core` stands under `shop`, which stands under `page`; `alone` stands alone.
pub fn family() -> Vec<CheckSpec> {
    let mut core = spec("core", &[]);
    core.policy.confirm_after = 2;
    vec![core, spec("shop", &["core"]), spec("page", &["shop"]), spec("alone", &[])]
}

/// Every channel hears everything.
pub fn rules(channels: &[&str]) -> Rules {
    let names = channels.iter().map(|name| Name::from(*name)).collect();
    Rules {
        routes: Arc::new(Routes::new(Vec::<Route>::new(), names)),
        channels: channels.iter().map(|name| ((*name).into(), vec![String::new()])).collect(),
        ..Rules::default()
    }
}

/// What outlasts a restart.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    pub states: BTreeMap<Name, CheckState>,
    pub notices: BTreeMap<String, Notice>,
    pub silences: BTreeMap<String, Silence>,
}

/// Everything but the network: the core, a mailbox a channel, a store, targets, and a clock.
pub struct World {
    pub core: Alerting,
    pub mailboxes: BTreeMap<Name, Mailbox>,
    pub now: Moment,
    pub kept: Kept,
    pub specs: Vec<CheckSpec>,
    pub rules: Rules,
    /// Which targets fail.
    pub failing: BTreeSet<Name>,
    /// Of which targets nothing can be known.
    pub unknown: BTreeSet<Name>,
    /// Which runs come to no end.
    pub hanging: BTreeSet<Name>,
    /// Runs that were asked for, and when they are due.
    pub soon: BTreeMap<Name, Duration>,
    /// Attempts to get something going again that are at work.
    pub attempts: Vec<Order>,
    /// What arrived where, in order.
    pub arrived: Vec<(Name, Notice)>,
    /// The incidents that the mailboxes are to hold back.
    pub suppressed: HashMap<String, HeldBecause>,
    ids: u32,
}

impl World {
    pub fn new() -> Self {
        Self::with(family(), rules(&["chat", "mail"]))
    }

    pub fn with(specs: Vec<CheckSpec>, rules: Rules) -> Self {
        let now = Moment { wall: Timestamp::from_millis(START), mono: Duration::ZERO };
        let mut world = Self {
            core: Alerting::default(),
            mailboxes: BTreeMap::new(),
            now,
            kept: Kept::default(),
            specs,
            rules,
            failing: BTreeSet::new(),
            unknown: BTreeSet::new(),
            hanging: BTreeSet::new(),
            soon: BTreeMap::new(),
            attempts: Vec::new(),
            arrived: Vec::new(),
            suppressed: HashMap::new(),
            ids: 0,
        };
        world.restart();
        world
    }

    /// All that is not in the store is forgotten.
    pub fn restart(&mut self) {
        self.now.mono = Duration::ZERO;
        self.soon.clear();
        self.attempts.clear();
        self.mailboxes.clear();
        let states = self.kept.states.clone().into_iter().collect();
        let silences = self.kept.silences.values().cloned().collect();
        let past = self.past();
        self.core = Alerting::new(self.rules.clone(), silences, states, &past, self.now);
        self.suppressed = self.core.suppressed();
        self.open_mailboxes(&past);
        self.core.replace(self.specs.clone(), self.rules.clone(), self.now);
        self.carry_out();
    }

    /// A new configuration: mailboxes first, then the core, then what is not wanted any more.
    pub fn reload(&mut self, specs: Vec<CheckSpec>, rules: Rules) {
        (self.specs, self.rules) = (specs, rules);
        let past = self.past();
        self.open_mailboxes(&past);
        self.core.replace(self.specs.clone(), self.rules.clone(), self.now);
        self.carry_out();
        let wanted = &self.rules.channels;
        let gone = self.mailboxes.keys().filter(|name| !wanted.contains_key(*name)).cloned();
        for name in gone.collect::<Vec<Name>>() {
            let closed = self.mailboxes.remove(&name).unwrap().close("gone");
            self.keep_notices(closed);
        }
    }

    /// What the store gives at a start: what is owed, what else is about the same or about open
    /// incidents, and what was sent not long ago.
    fn past(&self) -> Vec<Notice> {
        let all = || self.kept.notices.values();
        let owed = all().filter(|notice| notice.is_owed());
        let mut about: BTreeSet<&str> =
            owed.flat_map(|notice| &notice.incidents).map(|it| &*it.id).collect();
        let states = self.kept.states.values();
        about.extend(states.filter_map(|state| Some(&*state.incident.as_ref()?.id)));
        let since = self.now.wall.before(secs(3600));
        all()
            .filter(|notice| {
                notice.is_owed()
                    || notice.sent_at.is_some_and(|at| at >= since)
                    || notice.incidents.iter().any(|it| about.contains(&*it.id))
            })
            .cloned()
            .collect()
    }

    fn open_mailboxes(&mut self, past: &[Notice]) {
        for name in self.rules.channels.keys() {
            let fallback_after = self.rules.fallbacks.get(name).map(|_| secs(300));
            let terms = Terms { count: 1000, per: secs(3600), cooldown: secs(60), fallback_after };
            if let Some(mailbox) = self.mailboxes.get_mut(name) {
                mailbox.set_terms(terms);
                continue;
            }
            let past = past.iter().filter(|notice| notice.channel == *name).cloned().collect();
            let to = String::new();
            let mailbox =
                Mailbox::restore(name.clone(), to, terms, past, &self.suppressed, self.now);
            self.mailboxes.insert(name.clone(), mailbox);
        }
    }

    pub fn carry_out(&mut self) {
        let mut given_up = Vec::new();
        for effect in self.core.take_effects() {
            match effect {
                Effect::Record(_, state) => self.kept.states.extend(state.map(|state| *state)),
                Effect::Rename { old, new } => {
                    for mailbox in self.mailboxes.values_mut() {
                        mailbox.rename(&old, &new);
                    }
                }
                Effect::Commit(batch) => {
                    for (old, new) in &batch.renamed {
                        if let Some(state) = self.kept.states.remove(old) {
                            self.kept.states.insert(new.clone(), state);
                        }
                        for notice in self.kept.notices.values_mut() {
                            notice.rename(old, new);
                        }
                    }
                    for name in batch.removed {
                        self.kept.states.remove(&name);
                    }
                    self.kept.states.extend(batch.states);
                    let silences = batch.silences.into_iter();
                    self.kept.silences.extend(silences.map(|it| (it.id.clone(), it)));
                    for notice in batch.notices {
                        self.kept.notices.insert(notice.id.clone(), notice.clone());
                        if let Some(mailbox) = self.mailboxes.get_mut(&notice.channel) {
                            mailbox.owe(notice, self.now);
                        }
                    }
                }
                Effect::Suppress { incident, because } => {
                    for mailbox in self.mailboxes.values_mut() {
                        mailbox.suppress(&incident, because);
                    }
                    match because {
                        Some(because) => self.suppressed.insert(incident, because),
                        None => self.suppressed.remove(&incident),
                    };
                }
                Effect::Run { check, after } => {
                    let due = self.now.mono + after;
                    let known = self.soon.entry(check).or_insert(due);
                    *known = due.min(*known);
                }
                Effect::Recover(order) => self.attempts.push(order),
                Effect::CancelRecovery(check) => {
                    // Every other attempt has begun by now, and goes on.
                    if self.ids.is_multiple_of(2) {
                        given_up.extend(self.attempts.extract_if(.., |it| it.check == check));
                    }
                }
                Effect::Show(_) | Effect::Hide(_) => {}
            }
        }
        for order in given_up {
            self.core.recovered(&order, &Attempt::NeverStarted, self.now);
            self.carry_out();
        }
    }

    /// All attempts at work come to their end.
    pub fn end_attempts(&mut self) {
        for order in std::mem::take(&mut self.attempts) {
            let done = Attempt::Done("done".to_owned());
            self.core.recovered(&order, &done, self.now);
            self.carry_out();
        }
    }

    pub fn run(&mut self, name: &str) {
        let name = Name::from(name);
        self.soon.remove(&name);
        if self.hanging.contains(&name) {
            return;
        }
        let verdict = if self.unknown.contains(&name) {
            Verdict { status: Status::Unknown, reasons: vec!["no word".to_owned()] }
        } else if self.failing.contains(&name) {
            Verdict::down("refused")
        } else {
            Verdict::UP
        };
        self.judged(&name, verdict, Duration::ZERO);
    }

    /// A run is over that took `latency`.
    pub fn judged(&mut self, name: &str, verdict: Verdict, latency: Duration) {
        let started = self.now.wall.before(latency);
        let facts = crate::model::Facts::default();
        let judgement = Judgement { started, verdict, latency, facts };
        self.core.judged(&name.into(), judgement, 0, self.now);
        self.carry_out();
    }

    pub fn is_paused(&self, name: &Name) -> bool {
        self.core.state(name).is_some_and(|state| state.paused.is_some())
    }

    /// Lets each mailbox do all that it can do now.
    pub fn deliver(&mut self, answer: impl Fn(&Notice) -> Outcome) {
        let suppressed = self.core.suppressed();
        for channel in self.mailboxes.keys().cloned().collect::<Vec<Name>>() {
            loop {
                let Self { mailboxes, ids, .. } = self;
                let mailbox = mailboxes.get_mut(&channel).unwrap();
                let (changes, next) = mailbox.next(self.now, || {
                    *ids += 1;
                    format!("digest-{ids}")
                });
                self.keep(&channel, changes);
                let Next::Send(notice) = next else { break };
                let outcome = answer(&notice);
                if outcome.is_accepted() {
                    check_not_suppressed(&notice, &suppressed);
                    self.arrived.push((channel.clone(), (*notice).clone()));
                }
                let mailbox = self.mailboxes.get_mut(&channel).unwrap();
                let changes = mailbox.settle(&notice.id, outcome, self.now, 0.5);
                self.keep(&channel, changes);
            }
        }
    }

    pub fn accept(&mut self) {
        self.deliver(|_| Outcome::accepted());
    }

    fn keep(&mut self, channel: &Name, changes: Changes) {
        if !changes.fallen.is_empty() {
            self.core.fall_back(channel, &changes.fallen, self.now);
            self.carry_out();
        }
        self.keep_notices(changes.notices);
    }

    fn keep_notices(&mut self, notices: Vec<Notice>) {
        self.kept.notices.extend(notices.into_iter().map(|notice| (notice.id.clone(), notice)));
    }

    /// Time passes; what was asked for runs when it is due, and the core ticks.
    pub fn pass(&mut self, span: Duration) {
        let end = self.now.mono + span;
        loop {
            let due = self.soon.iter().min_by_key(|(_, due)| **due);
            let due = due.map(|(name, due)| (name.clone(), (*due).max(self.now.mono)));
            let (name, at) = match due {
                Some((name, due)) if due <= end => (Some(name), due),
                _ => (None, end),
            };
            let step = at - self.now.mono;
            self.now = Moment { wall: self.now.wall.after(step), mono: at };
            match name {
                Some(name) if self.is_paused(&name) => drop(self.soon.remove(&name)),
                Some(name) => self.run(&name),
                None => break,
            }
        }
        self.core.tick(self.now);
        self.carry_out();
    }

    /// All checks run each ten seconds for so long, and all channels accept.
    pub fn settle(&mut self, span: Duration) {
        self.settle_but(span, |_| Outcome::accepted());
    }

    /// As [`World::settle`], with channels that answer otherwise.
    pub fn settle_but(&mut self, span: Duration, answer: impl Fn(&Notice) -> Outcome) {
        let end = self.now.mono + span;
        while self.now.mono < end {
            for spec in self.specs.clone() {
                if !self.is_paused(&spec.policy.check) {
                    self.run(&spec.policy.check);
                }
            }
            self.end_attempts();
            self.deliver(&answer);
            self.pass(secs(10));
            self.deliver(&answer);
        }
    }

    pub fn silence(&mut self, check: &str, lasting: Duration) {
        self.ids += 1;
        let matcher = Matcher {
            name: "name".to_owned(),
            value: check.to_owned(),
            is_regex: false,
            is_equal: true,
        };
        let silence = Silence {
            id: format!("silence-{:05}", self.ids),
            matchers: vec![matcher],
            starts_at: self.now.wall,
            ends_at: self.now.wall.after(lasting),
            author: "alice".to_owned(),
            comment: String::new(),
            created_at: self.now.wall,
        };
        self.core.silence(silence, self.now).unwrap();
        self.carry_out();
    }

    pub fn acknowledge(&mut self, check: &str, until: Option<Timestamp>) {
        let Some(incident) = self.incident(check) else { return };
        let at = self.now.wall;
        let taken = Acknowledgement { by: "alice".to_owned(), note: None, at, until };
        self.core.acknowledge(&incident.id, taken, self.now).unwrap();
        self.carry_out();
    }

    pub fn pause(&mut self, check: &str, paused: bool) {
        if self.core.pause(check, "alice", paused, self.now).is_ok() {
            self.carry_out();
        }
    }

    pub fn incident(&self, check: &str) -> Option<Incident> {
        self.core.state(check)?.incident.as_deref().cloned()
    }

    pub fn open(&self) -> Vec<Incident> {
        self.specs.iter().filter_map(|spec| self.incident(&spec.policy.check)).collect()
    }

    pub fn words(&self, channel: &str) -> Vec<String> {
        let mine = self.arrived.iter().filter(|(name, _)| **name == *channel);
        mine.map(|(_, notice)| {
            let names: Vec<&str> = notice.incidents.iter().map(|it| &*it.check).collect();
            format!("{} {}", notice.what, names.join("+"))
        })
        .collect()
    }
}

/// What was not tried before is not told while its incident is suppressed.
fn check_not_suppressed(notice: &Notice, suppressed: &HashMap<String, HeldBecause>) {
    if notice.attempts > 0 || matches!(notice.what, What::Resolved | What::Digest) {
        return;
    }
    for incident in &notice.incidents {
        let because = suppressed.get(&incident.id).filter(|because| because.holds(notice.what));
        assert_eq!(because, None, "{} {} went out", notice.what, incident.check);
    }
}
