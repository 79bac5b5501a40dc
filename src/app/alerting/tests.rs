//! The core together with mailboxes and a store in memory: years of outages in seconds.

use super::{Alerting, CheckSpec, Effect, Rules, own_spec};
use crate::deliver::Outcome;
use crate::deliver::mailbox::{Mailbox, Next, Terms, mono};
use crate::incident::Policy;
use crate::model::{
    Acknowledgement, CheckState, HeldBecause, Incident, Judgement, Matcher, Moment, Name, Notice,
    NoticeState, Silence, Timestamp, Verdict, What,
};
use crate::route::{Route, Routes};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

const START: i64 = 1_800_000_000_000;
const CHANNELS: [&str; 2] = ["chat", "mail"];

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn spec(name: &str, parents: &[&str]) -> CheckSpec {
    let own = own_spec(&name.into());
    CheckSpec {
        policy: Policy { kind: "http".to_owned(), recover_after: 1, ..own.policy },
        retry_every: secs(5),
        timeout: secs(10),
        parents: parents.iter().map(|parent| (*parent).into()).collect(),
        recovery: None,
    }
}

/// `core` stands under `shop`, which stands under `page`; `mail` stands alone.
fn family() -> Vec<CheckSpec> {
    let mut core = spec("core", &[]);
    core.policy.confirm_after = 2;
    vec![core, spec("shop", &["core"]), spec("page", &["shop"]), spec("alone", &[])]
}

fn rules() -> Rules {
    Rules {
        routes: Arc::new(Routes::new(Vec::<Route>::new(), CHANNELS.map(Name::from).to_vec())),
        channels: CHANNELS.map(|name| (name.into(), vec![String::new()])).into(),
        ..Rules::default()
    }
}

/// Everything but the network: the core, a mailbox a channel, a store, targets, and a clock.
struct World {
    core: Alerting,
    mailboxes: BTreeMap<&'static str, Mailbox>,
    now: Moment,
    states: BTreeMap<Name, CheckState>,
    notices: BTreeMap<String, Notice>,
    silences: BTreeMap<String, Silence>,
    /// Which targets fail.
    failing: BTreeSet<Name>,
    /// Runs that were asked for, and when they are due.
    soon: BTreeMap<Name, Duration>,
    /// What arrived where, in order.
    arrived: Vec<(&'static str, Notice)>,
    ids: u32,
}

impl World {
    fn new() -> Self {
        let now = Moment { wall: Timestamp::from_millis(START), mono: Duration::ZERO };
        let mut world = Self {
            core: Alerting::default(),
            mailboxes: BTreeMap::new(),
            now,
            states: BTreeMap::new(),
            notices: BTreeMap::new(),
            silences: BTreeMap::new(),
            failing: BTreeSet::new(),
            soon: BTreeMap::new(),
            arrived: Vec::new(),
            ids: 0,
        };
        world.restart();
        world
    }

    /// All that is not in the store is forgotten.
    fn restart(&mut self) {
        self.now.mono = Duration::ZERO;
        self.soon.clear();
        let states = self.states.clone().into_iter().collect();
        let notices: Vec<Notice> = self.notices.values().cloned().collect();
        let silences = self.silences.values().cloned().collect();
        self.core = Alerting::new(rules(), silences, states, &notices, self.now);
        let suppressed = self.core.suppressed();
        let terms =
            Terms { count: 1000, per: secs(3600), cooldown: secs(60), fallback_after: None };
        self.mailboxes = CHANNELS
            .into_iter()
            .map(|name| {
                let past = notices.iter().filter(|notice| *notice.channel == *name).cloned();
                let past = past.collect();
                let (name_, to) = (Name::from(name), String::new());
                (name, Mailbox::restore(name_, to, terms, past, &suppressed, self.now))
            })
            .collect();
        self.core.replace(family(), rules(), self.now);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        for effect in self.core.take_effects() {
            match effect {
                Effect::Record(_, state) => self.states.extend(state.map(|state| *state)),
                Effect::Commit(batch) => {
                    for name in batch.removed {
                        self.states.remove(&name);
                    }
                    self.states.extend(batch.states);
                    let silences = batch.silences.into_iter();
                    self.silences.extend(silences.map(|silence| (silence.id.clone(), silence)));
                    for notice in batch.notices {
                        self.notices.insert(notice.id.clone(), notice.clone());
                        let mailbox = self.mailboxes.get_mut(&*notice.channel).unwrap();
                        mailbox.owe(notice, self.now);
                    }
                }
                Effect::Suppress { incident, because } => {
                    for mailbox in self.mailboxes.values_mut() {
                        mailbox.suppress(&incident, because);
                    }
                }
                Effect::Run { check, after } => {
                    let due = self.now.mono + after;
                    let known = self.soon.entry(check).or_insert(due);
                    *known = due.min(*known);
                }
                Effect::Recover(_)
                | Effect::CancelRecovery(_)
                | Effect::Show(_)
                | Effect::Hide(_) => {}
            }
        }
    }

    fn run(&mut self, name: &str) {
        let name = Name::from(name);
        self.soon.remove(&name);
        let verdict = match self.failing.contains(&name) {
            true => Verdict::down("refused"),
            false => Verdict::UP,
        };
        let judgement = Judgement {
            started: self.now.wall,
            verdict,
            latency: Duration::ZERO,
            facts: crate::model::Facts::default(),
        };
        self.core.judged(&name, judgement, 0, self.now);
        self.carry_out();
    }

    fn is_paused(&self, name: &Name) -> bool {
        self.core.state(name).is_some_and(|state| state.paused.is_some())
    }

    /// Lets each mailbox do all that it can do now.
    fn deliver(&mut self, answer: impl Fn(&Notice) -> Outcome) {
        let suppressed = self.core.suppressed();
        for (channel, mailbox) in &mut self.mailboxes {
            loop {
                self.ids += 1;
                let id = format!("digest-{}", self.ids);
                let (changes, next) = mailbox.next(self.now, || id.clone());
                let keep = |kept: &mut BTreeMap<String, Notice>, changed: Vec<Notice>| {
                    kept.extend(changed.into_iter().map(|notice| (notice.id.clone(), notice)));
                };
                keep(&mut self.notices, changes.notices);
                let Next::Send(notice) = next else { break };
                let outcome = answer(&notice);
                if outcome == Outcome::Accepted {
                    check_not_suppressed(&notice, &suppressed);
                    self.arrived.push((channel, (*notice).clone()));
                }
                let changes = mailbox.settle(&notice.id, outcome, self.now, 0.5);
                keep(&mut self.notices, changes.notices);
            }
        }
    }

    /// Time passes; what was asked for runs when it is due, and the core ticks.
    fn pass(&mut self, span: Duration) {
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
    fn settle(&mut self, span: Duration) {
        let end = self.now.mono + span;
        while self.now.mono < end {
            for spec in family() {
                if !self.is_paused(&spec.policy.check) {
                    self.run(&spec.policy.check);
                }
            }
            self.deliver(|_| Outcome::Accepted);
            self.pass(secs(10));
            self.deliver(|_| Outcome::Accepted);
        }
    }

    fn silence(&mut self, check: &str) {
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
            ends_at: self.now.wall.after(secs(600)),
            author: "alice".to_owned(),
            comment: String::new(),
            created_at: self.now.wall,
        };
        self.core.silence(silence, self.now).unwrap();
        self.carry_out();
    }

    fn open(&self) -> Vec<&Incident> {
        let states = family().into_iter().filter_map(|spec| self.core.state(&spec.policy.check));
        states.filter_map(|state| state.incident.as_ref()).collect()
    }

    fn words(&self, channel: &str) -> Vec<String> {
        let mine = self.arrived.iter().filter(|(name, _)| *name == channel);
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

#[test]
fn a_child_that_fails_first_waits_for_its_parent_and_is_not_told() {
    let mut world = World::new();
    world.settle(secs(30));
    world.failing.extend(["core".into(), "shop".into(), "page".into()]);
    world.run("page");
    world.run("shop");
    world.deliver(|_| Outcome::Accepted);
    world.pass(secs(6));
    world.deliver(|_| Outcome::Accepted);
    assert_eq!(world.words("chat"), ["opened core"]);
    world.settle(secs(60));
    assert_eq!(world.words("chat"), ["opened core"]);
    world.failing.clear();
    world.settle(secs(60));
    assert_eq!(world.words("chat"), ["opened core", "resolved core"]);
}

#[test]
fn a_child_that_stays_bad_is_told_once_its_parent_is_well() {
    let mut world = World::new();
    world.failing.extend(["core".into(), "shop".into()]);
    world.settle(secs(60));
    world.failing.remove("core");
    world.settle(secs(60));
    let words = world.words("chat");
    assert_eq!(words[0], "opened core");
    assert_eq!(
        BTreeSet::from_iter(&words[1..]),
        BTreeSet::from([&"resolved core".to_owned(), &"opened shop".to_owned(),])
    );
}

#[test]
fn a_child_whose_parent_is_well_is_told_at_once() {
    let mut world = World::new();
    world.settle(secs(30));
    world.failing.insert("shop".into());
    world.run("shop");
    world.pass(Duration::ZERO);
    world.deliver(|_| Outcome::Accepted);
    assert_eq!(world.words("chat"), ["opened shop"]);
}

#[test]
fn a_paused_parent_has_no_say() {
    let mut world = World::new();
    world.failing.extend(["core".into(), "shop".into()]);
    world.settle(secs(60));
    assert_eq!(world.words("chat"), ["opened core"]);
    world.core.pause("core", "alice", true, world.now).unwrap();
    world.carry_out();
    world.settle(secs(60));
    assert_eq!(world.words("chat"), ["opened core", "opened shop"]);
}

#[derive(Clone, Debug)]
enum Act {
    Fail(usize),
    Heal(usize),
    Run(usize),
    Pass(u64),
    Deliver(u8),
    Silence(usize),
    Acknowledge(usize),
    Pause(usize, bool),
    Restart,
    StepWall(i64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0usize..4).prop_map(Act::Fail),
        4 => (0usize..4).prop_map(Act::Heal),
        10 => (0usize..4).prop_map(Act::Run),
        5 => (1u64..300_000).prop_map(Act::Pass),
        6 => any::<u8>().prop_map(Act::Deliver),
        1 => (0usize..4).prop_map(Act::Silence),
        1 => (0usize..4).prop_map(Act::Acknowledge),
        1 => (0usize..4, any::<bool>()).prop_map(|(check, on)| Act::Pause(check, on)),
        1 => Just(Act::Restart),
        1 => (-60_000i64..60_000).prop_map(Act::StepWall),
    ]
}

const NAMES: [&str; 4] = ["core", "shop", "page", "alone"];

fn play(world: &mut World, act: Act) {
    match act {
        Act::Fail(check) => drop(world.failing.insert(NAMES[check].into())),
        Act::Heal(check) => drop(world.failing.remove(NAMES[check])),
        Act::Run(check) if world.is_paused(&NAMES[check].into()) => {}
        Act::Run(check) => world.run(NAMES[check]),
        Act::Pass(millis) => world.pass(Duration::from_millis(millis)),
        Act::Deliver(mood) => world.deliver(|notice| match mood {
            0..=190 => Outcome::Accepted,
            _ if notice.attempts > 3 => Outcome::Accepted,
            _ => Outcome::Retry { after: None, why: "no".to_owned() },
        }),
        Act::Silence(check) => world.silence(NAMES[check]),
        Act::Acknowledge(check) => {
            let incident = world.core.state(NAMES[check]).and_then(|state| state.incident.clone());
            let taken = Acknowledgement {
                by: "alice".to_owned(),
                note: None,
                at: world.now.wall,
                until: None,
            };
            if let Some(incident) = incident {
                world.core.acknowledge(&incident.id, taken, world.now).unwrap();
                world.carry_out();
            }
        }
        Act::Pause(check, on) => {
            world.core.pause(NAMES[check], "alice", on, world.now).unwrap();
            world.carry_out();
        }
        Act::Restart => world.restart(),
        Act::StepWall(by) => {
            world.now.wall = Timestamp::from_millis(world.now.wall.as_millis() + by);
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_nothing_is_told_twice_and_nobody_waits_for_an_end(
        acts in proptest::collection::vec(act(), 0..120),
    ) {
        let mut world = World::new();
        for act in acts {
            play(&mut world, act);
        }
        for name in NAMES {
            world.core.pause(name, "alice", false, world.now).unwrap();
            world.carry_out();
        }
        // Longer than any silence or retry lasts.
        world.settle(secs(1800));

        let open: BTreeSet<String> = world.open().iter().map(|it| it.id.clone()).collect();
        let suppressed = world.core.suppressed();
        for channel in CHANNELS {
            let mut told = BTreeSet::new();
            let mut ended = BTreeSet::new();
            for (_, notice) in world.arrived.iter().filter(|(name, _)| *name == channel) {
                for incident in &notice.incidents {
                    let id = &incident.id;
                    if incident.resolved_at.is_some() {
                        prop_assert!(told.contains(id), "an end nobody waited for: {:?}", notice);
                        prop_assert!(ended.insert(id.clone()), "two ends: {:?}", world.words(channel));
                    } else if notice.what == What::Opened {
                        prop_assert!(told.insert(id.clone()), "twice: {:?}", world.words(channel));
                    } else {
                        told.insert(id.clone());
                    }
                }
            }
            for id in &told {
                prop_assert!(open.contains(id) || ended.contains(id), "no end for {id}");
            }
            for id in &open {
                let is_told = told.contains(id) || suppressed.contains_key(id);
                prop_assert!(is_told, "{id} was never told: {:?}", world.words(channel));
            }
        }
        // Whose parent is well is told of, and whose parent is down is not.
        for name in ["shop", "page"] {
            let down = |name: &str| {
                world.core.state(name).is_some_and(|state| state.incident.is_some())
            };
            let parent = if name == "shop" { "core" } else { "shop" };
            if down(name) {
                let incident = world.core.state(name).unwrap().incident.clone().unwrap();
                prop_assert_eq!(incident.suppressed_by.is_some(), down(parent), "{}", name);
            }
        }
        let owed: Vec<&Notice> = world.notices.values().filter(|it| it.is_owed()).collect();
        for notice in owed {
            prop_assert_eq!(notice.state, NoticeState::Held, "{:?}", notice);
        }
    }

    #[test]
    fn the_order_in_which_checks_are_seen_to_fail_does_not_matter(
        order in Just(NAMES.to_vec()).prop_shuffle(),
        pauses in proptest::collection::vec(0u64..4_000, 4),
    ) {
        let mut world = World::new();
        world.settle(secs(30));
        world.failing.extend(NAMES.map(Name::from));
        for (name, pause) in order.into_iter().zip(pauses) {
            world.run(name);
            world.pass(Duration::from_millis(pause));
            world.deliver(|_| Outcome::Accepted);
        }
        world.settle(secs(60));
        let mut words = world.words("chat");
        words.sort();
        prop_assert_eq!(words, ["opened alone", "opened core"]);
        prop_assert!(mono(world.now) > 0);
    }
}
