//! Anything may happen to a mailbox, in any order; what people see of it keeps its promises.

use super::{World, fail, ok, refuse, secs, words};
use crate::deliver::Outcome;
use crate::deliver::mailbox::settle::lane_of;
use crate::deliver::mailbox::{Next, Terms, is_end, sort};
use crate::model::{Group, HeldBecause, Notice, NoticeState, Timestamp, What};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What may happen to a mailbox. Numbers are checks.
#[derive(Clone, Debug)]
enum Act {
    Open {
        check: u8,
        urgent: bool,
        mute: u64,
    },
    Tell(u8, What),
    /// What the fallback of another channel is told of an incident, which may be over.
    Copy(u8, What),
    Resolve(u8),
    Suppress(u8, HeldBecause),
    Unsuppress(u8),
    /// A person tries one of the rejected notices again.
    Retry,
    Turn(u8),
    Run(u64),
    Pass(u64),
    Restart,
    StepWall(i64),
    Reshape(u32),
}

fn act() -> impl Strategy<Value = Act> {
    let check = 0u8..6;
    let telling = prop_oneof![
        3 => Just(What::Worsened),
        2 => Just(What::Reminder),
        2 => Just(What::Escalated),
        1 => Just(What::Flapping),
        1 => Just(What::FlappingEnded),
        1 => Just(What::RecoveryStopped),
    ];
    let copied = prop_oneof![Just(What::Opened), Just(What::Worsened), Just(What::Resolved)];
    let because = prop_oneof![
        Just(HeldBecause::Dependency),
        Just(HeldBecause::Silence),
        Just(HeldBecause::Maintenance),
        Just(HeldBecause::Flapping),
    ];
    let mute = prop_oneof![6 => Just(0u64), 1 => 1u64..3_000_000];
    prop_oneof![
        6 => (check.clone(), prop::bool::weighted(0.15), mute)
            .prop_map(|(check, urgent, mute)| Act::Open { check, urgent, mute }),
        4 => (check.clone(), telling).prop_map(|(check, what)| Act::Tell(check, what)),
        1 => (check.clone(), copied).prop_map(|(check, what)| Act::Copy(check, what)),
        5 => check.clone().prop_map(Act::Resolve),
        2 => (check.clone(), because).prop_map(|(check, because)| Act::Suppress(check, because)),
        2 => check.prop_map(Act::Unsuppress),
        1 => Just(Act::Retry),
        10 => any::<u8>().prop_map(Act::Turn),
        2 => (1u64..100_000).prop_map(Act::Run),
        5 => prop_oneof![1u64..60_000, 1u64..2_000_000].prop_map(Act::Pass),
        1 => Just(Act::Restart),
        1 => (-60_000i64..60_000).prop_map(Act::StepWall),
        1 => (1u32..6).prop_map(Act::Reshape),
    ]
}

/// By its check an incident is in a group, or in none.
fn group_of(check: u8) -> Option<Group> {
    match check % 3 {
        1 => Some(Group { key: "one".to_owned(), window: secs(30) }),
        2 => Some(Group { key: "two".to_owned(), window: secs(120) }),
        _ => None,
    }
}

fn mood(mood: u8) -> impl Fn(&Notice) -> Outcome + Copy {
    move |notice| match mood {
        0..=170 => Outcome::accepted(),
        171..=240 => fail(notice),
        241..=248 => refuse(notice),
        _ => Outcome::Retry { after: Some(secs(60)), why: "429".to_owned() },
    }
}

/// A world, what the checks are like in it, and a naive account of what people were told.
struct History {
    world: World,
    /// The open incident of each check.
    open: BTreeMap<u8, String>,
    had: BTreeMap<u8, u32>,
    /// When each incident ended.
    ended: BTreeMap<String, i64>,
    /// When each notice may be told at the earliest.
    mute: BTreeMap<String, i64>,
    /// Whether the wall clock was stepped, after which a restart knows times only roughly.
    stepped: bool,
    blurred: bool,
    most: usize,
    /// The notices that are digests or were tried: nothing holds them.
    loose: BTreeSet<String>,
    /// What each message tells of, by its handle.
    tells: BTreeMap<String, BTreeSet<String>>,
    /// Whether a message stands in the place of one that was gone.
    replaced: bool,
    /// Whether a restart no longer knows exactly which message tells of what: times are known
    /// roughly, or the store has forgotten what stood in whose place.
    vague: bool,
}

/// Some messages have no name, and some that are to be answered are gone.
fn names(number: u32, answers: Option<String>) -> Option<String> {
    let gone = number.is_multiple_of(5);
    let own = (!number.is_multiple_of(7)).then(|| format!("m{number}"));
    answers.filter(|_| !gone).or(own)
}

fn ids(notice: &Notice) -> BTreeSet<String> {
    notice.incidents.iter().map(|incident| incident.id.clone()).collect()
}

impl History {
    fn new(terms: Terms) -> Self {
        Self {
            world: World { name: names, ..World::with(terms) },
            open: BTreeMap::new(),
            had: BTreeMap::new(),
            ended: BTreeMap::new(),
            mute: BTreeMap::new(),
            stepped: false,
            blurred: false,
            replaced: false,
            vague: false,
            most: terms.count as usize,
            loose: BTreeSet::new(),
            tells: BTreeMap::new(),
        }
    }

    fn owe(&mut self, what: What, check: u8, incident: &str, urgent: bool, mute: u64) {
        let until = self.world.now.wall.after(Duration::from_millis(mute));
        let id = self.world.owe_as(what, incident, |notice| {
            notice.group = group_of(check);
            notice.urgent = urgent;
            notice.mute_until = (mute > 0).then_some(until);
        });
        self.mute.insert(id, self.world.real + i64::try_from(mute).unwrap());
    }

    fn take(&mut self, act: &Act) {
        match *act {
            Act::Open { check, urgent, mute } if !self.open.contains_key(&check) => {
                let number = self.had.entry(check).or_default();
                *number += 1;
                let id = format!("{check}:{number}");
                self.open.insert(check, id.clone());
                self.owe(What::Opened, check, &id, urgent, mute);
            }
            Act::Open { .. } => {}
            Act::Tell(check, what) => {
                if let Some(id) = self.open.get(&check).cloned() {
                    self.owe(what, check, &id, false, 0);
                }
            }
            Act::Copy(check, what) => {
                let Some(number) = self.had.get(&check) else { return };
                let id = format!("{check}:{number}");
                if self.open.contains_key(&check) {
                    if what != What::Resolved {
                        self.owe(what, check, &id, false, 0);
                    }
                } else if self.ended.get(&id).is_some_and(|at| self.world.real - at < 600_000) {
                    // A fallback that is told late of a beginning is told of the end, too.
                    self.owe(what, check, &id, false, 0);
                    self.owe(What::Resolved, check, &id, false, 0);
                }
            }
            Act::Resolve(check) => {
                if let Some(id) = self.open.remove(&check) {
                    self.owe(What::Resolved, check, &id, false, 0);
                    self.world.suppress(&id, None);
                    self.ended.insert(id, self.world.real);
                }
            }
            Act::Suppress(check, because) => {
                if let Some(id) = self.open.get(&check) {
                    self.world.suppress(id, Some(because));
                }
            }
            Act::Unsuppress(check) => {
                if let Some(id) = self.open.get(&check) {
                    self.world.suppress(id, None);
                }
            }
            Act::Retry => {
                // The daemon offers it for open incidents.
                let mut rejected = self.world.store.values().filter(|notice| {
                    notice.state == NoticeState::Rejected
                        && notice.incidents.iter().all(|one| self.world.open.contains(&one.id))
                });
                if let Some(notice) = rejected.next().cloned() {
                    self.world.mailbox.retry(notice, self.world.now);
                }
            }
            Act::Turn(how) => {
                self.turn(mood(how));
            }
            Act::Run(millis) => self.run(Duration::from_millis(millis)),
            Act::Pass(millis) => self.world.pass(Duration::from_millis(millis)),
            Act::Restart => {
                self.blurred |= self.stepped;
                self.vague |= self.stepped || self.replaced;
                let before = self.answered();
                self.world.restart();
                assert_eq!(self.answered(), before, "a restart forgets what can be answered");
            }
            Act::StepWall(by) => {
                self.stepped = true;
                let wall = self.world.now.wall.as_millis() + by;
                self.world.now.wall = Timestamp::from_millis(wall);
            }
            Act::Reshape(count) => {
                self.world.terms.count = count;
                self.most = self.most.max(count as usize);
                self.world.mailbox.set_terms(self.world.terms);
            }
        }
    }

    /// One turn, and what must hold of it.
    fn turn(&mut self, answer: impl Fn(&Notice) -> Outcome) -> Next {
        self.check_that_nothing_was_overlooked();
        let known: BTreeSet<String> = self.world.store.keys().cloned().collect();
        let next = self.world.turn(answer);
        for (id, notice) in &self.world.store {
            if notice.what == What::Digest && !known.contains(id) {
                let carried = self.world.store.values();
                let mut fresh = carried
                    .filter(|member| member.digest.as_deref() == Some(id) && member.attempts == 0)
                    .flat_map(|member| &member.incidents);
                let listed = fresh.find(|incident| {
                    let because = self.world.suppressed.get(&incident.id);
                    because.is_some_and(|why| *why != HeldBecause::Flapping)
                });
                assert!(listed.is_none(), "{} lists what is suppressed", words(notice));
                self.loose.insert(id.clone());
            }
        }
        if let Next::Send(notice) = &next {
            self.check_that_it_may_go(notice);
            self.loose.insert(notice.id.clone());
        }
        self.check_that_the_store_knows();
        self.check_the_handles();
        next
    }

    /// The open incidents of which later news would answer a message.
    fn answered(&self) -> Vec<String> {
        let news = |id: &&String| {
            let (id, at) = ((**id).clone(), self.world.now.wall);
            let about = vec![super::incident(&id)];
            Notice::new(id, What::Worsened, "ops".into(), String::new(), about, at)
        };
        let open = self.open.values();
        let answers = |id: &&String| self.world.mailbox.earlier(&news(id)).answers.is_some();
        open.filter(answers).cloned().collect()
    }

    /// What is answered told of all that the answer is about, and whatever is brought up to date
    /// goes on telling of all that it told of, and of nothing else.
    fn check_the_handles(&mut self) {
        for (notice, earlier, handle) in self.world.posted.drain(..) {
            let about = ids(&notice);
            let root = earlier.answers.as_ref();
            self.replaced |= root.is_some() && handle.as_ref() != root;
            if self.vague {
                continue;
            }
            assert!(root.is_none_or(|root| about.is_subset(&self.tells[root])), "{root:?}");
            for (live, now) in &earlier.live {
                let listed = now.as_ref().map_or_else(|| about.clone(), ids);
                assert_eq!(listed, self.tells[live], "{live} for {}", words(&notice));
                let over = notice.incidents.iter().filter(|it| it.resolved_at.is_some());
                let mut told = over.filter_map(|it| {
                    now.as_ref()?.incidents.iter().find(|known| known.id == it.id)
                });
                assert!(told.all(|known| known.resolved_at.is_some()), "{live}");
            }
            assert!(root.is_none() || root == earlier.live.first().map(|(first, _)| first));
            if let Some(new) = handle.filter(|new| !self.tells.contains_key(new)) {
                let inherited = root.map(|root| self.tells[root].clone()).unwrap_or_default();
                self.tells.insert(new, about.union(&inherited).cloned().collect());
            }
        }
    }

    fn run(&mut self, span: Duration) {
        let end = self.world.real + i64::try_from(span.as_millis()).unwrap();
        loop {
            let left = end - self.world.real;
            let pass = match self.turn(ok) {
                Next::Send(_) => continue,
                Next::Wait(until) => (until - super::mono(self.world.now)).min(left),
                Next::Idle => left,
            };
            assert!(pass > 0 || left == 0, "it wants to be asked again at once");
            self.world.pass(Duration::from_millis(u64::try_from(pass).unwrap()));
            if pass == left {
                return;
            }
        }
    }

    /// The steps are skipped where nothing has changed: taking them would change nothing. That it
    /// wants to be woken too early does no harm.
    fn check_that_nothing_was_overlooked(&self) {
        let ask = |stale: bool| {
            let mut mailbox = self.world.mailbox.clone();
            mailbox.stale |= stale;
            let (changes, next) = mailbox.next(self.world.now, || "digest".to_owned());
            let brief = |notices: &[Notice]| {
                let brief = notices.iter().map(|notice| {
                    let (state, because) = (notice.state, notice.held_because);
                    format!("{} {} {state:?} {because:?}", notice.id, words(notice))
                });
                brief.collect::<Vec<_>>()
            };
            (brief(&changes.notices), brief(&changes.fallen), next)
        };
        let (lazy, eager) = (ask(false), ask(true));
        let is_early = match (&lazy.2, &eager.2) {
            (Next::Wait(lazy), Next::Wait(eager)) => lazy < eager,
            (Next::Wait(_), Next::Idle) => true,
            _ => false,
        };
        if is_early {
            assert_eq!((lazy.0, lazy.1), (eager.0, eager.1), "something was overlooked");
        } else {
            assert!(lazy == eager, "something was overlooked: {:?}", (eager.0, eager.1));
        }
    }

    /// Nothing that is suppressed goes, unless it was tried before or a digest carried it.
    fn check_that_it_may_go(&self, notice: &Notice) {
        let may_wait = notice.attempts == 0
            && !self.loose.contains(&notice.id)
            && !matches!(notice.what, What::Resolved | What::Digest | What::Test);
        if !may_wait {
            return;
        }
        let boring = matches!(notice.what, What::Worsened | What::Reminder | What::Escalated);
        let because = self.world.suppressed.get(&notice.incidents[0].id);
        let held = because.filter(|why| **why != HeldBecause::Flapping || boring);
        assert!(held.is_none(), "{} was sent in spite of {held:?}", words(notice));
        let quiet_until = self.mute.get(&notice.id).copied().unwrap_or_default();
        let quiet = !self.blurred && quiet_until > self.world.real;
        assert!(!quiet, "{} was sent in mute hours", words(notice));
    }

    /// What is owed is owed in the store as well, exactly so: a restart finds all of it.
    fn check_that_the_store_knows(&self) {
        let owed: BTreeMap<&str, &Notice> = self
            .world
            .mailbox
            .queue
            .iter()
            .map(|(_, entry)| (&*entry.notice.id, &entry.notice))
            .collect();
        let stored: BTreeMap<&str, &Notice> = self
            .world
            .store
            .values()
            .filter(|notice| notice.is_owed())
            .map(|notice| (&*notice.id, notice))
            .collect();
        assert!(owed == stored, "the store knows something else");
    }

    /// Lets everything come to its end, and looks at the whole.
    fn finish(mut self) {
        self.run(secs(20 * 3600));
        let open: Vec<String> = self.open.values().cloned().collect();
        for id in &open {
            self.world.suppress(id, None);
        }
        self.run(secs(20 * 3600));
        assert_eq!(self.world.mailbox.depth(), 0, "something is still owed");
        self.check_beginnings_and_ends(&open);
        self.check_the_fallback();
        if !self.blurred {
            self.check_the_limit();
            self.check_the_groups();
        }
    }

    fn check_beginnings_and_ends(&self, open: &[String]) {
        let mut told = BTreeSet::new();
        let mut ended = BTreeSet::new();
        for (_, notice) in &self.world.arrived {
            for incident in &notice.incidents {
                let id = &incident.id;
                if is_end(notice) {
                    assert!(told.contains(id), "{id} ends, and nobody knew: {:?}", self.words());
                    assert!(ended.insert(id.clone()), "{id} ends twice: {:?}", self.words());
                } else {
                    assert!(!ended.contains(id), "{id} goes on after its end: {:?}", self.words());
                    let is_news = told.insert(id.clone()) || notice.what != What::Opened;
                    assert!(is_news, "{id} opens again: {:?}", self.words());
                }
            }
        }
        let given_up: BTreeSet<&str> = self
            .world
            .store
            .values()
            .filter(|notice| notice.state == NoticeState::Rejected)
            .flat_map(|notice| &notice.incidents)
            .map(|incident| &*incident.id)
            .collect();
        for id in open {
            let is_told = told.contains(id) || given_up.contains(&**id);
            assert!(is_told, "{id} is open, and nobody knows: {:?}", self.words());
        }
        for id in &told {
            let is_open = open.contains(id);
            let has_end = is_open || ended.contains(id) || given_up.contains(&**id);
            assert!(has_end, "{id} has no end: {:?}", self.words());
        }
    }

    fn check_the_fallback(&self) {
        let mut given = BTreeSet::new();
        for notice in &self.world.fallen {
            assert!(given.insert(&notice.id), "{} was given away twice", words(notice));
        }
        for (index, notice) in self.world.fallen.iter().enumerate().filter(|(_, n)| is_end(n)) {
            for incident in &notice.incidents {
                // A digest may list it once more; the fallback knows that it is over.
                let later = self.world.fallen[index..].iter();
                let mut later = later.filter(|later| {
                    !is_end(later) && later.what != What::Digest && later.id < notice.id
                });
                assert!(!later.any(|later| later.is_about(&incident.id)), "in the wrong order");
            }
        }
    }

    fn check_the_limit(&self) {
        let counted = self.world.arrived.iter().filter(|(_, notice)| sort::counts(notice));
        let sent: Vec<i64> = counted.map(|(at, _)| *at).collect();
        for from in &sent {
            let within = sent.iter().filter(|at| (*from..*from + 3_600_000).contains(at)).count();
            assert!(within <= self.most, "{within} in an hour: {:?}", self.words());
        }
    }

    fn check_the_groups(&self) {
        let mut lanes: BTreeMap<(&str, bool), Vec<i64>> = BTreeMap::new();
        let mut windows = BTreeMap::new();
        for (at, notice) in &self.world.arrived {
            if let Some(group) = lane_of(notice) {
                lanes.entry((&group.key, is_end(notice))).or_default().push(*at);
                windows.insert(&*group.key, i64::try_from(group.window.as_millis()).unwrap());
            }
        }
        // With a fallback, people have the digests of a long failure already.
        let most = if self.world.fallen.is_empty() { 2 } else { usize::MAX };
        for ((key, _), sent) in lanes {
            for from in &sent {
                let until = from + windows[key];
                let within = sent.iter().filter(|at| (*from..until).contains(at)).count();
                assert!(within <= most, "{within} of group {key} in a window: {:?}", self.words());
            }
        }
    }

    fn words(&self) -> Vec<String> {
        let arrived = self.world.arrived.iter();
        arrived.map(|(at, notice)| format!("{at} {}", words(notice))).collect()
    }
}

fn terms() -> impl Strategy<Value = Terms> {
    let cooldown = prop_oneof![Just(0u64), Just(900)];
    let fallback = prop_oneof![2 => Just(None), 1 => Just(Some(secs(300)))];
    (1u32..6, cooldown, fallback).prop_map(|(count, cooldown, fallback_after)| Terms {
        count,
        per: secs(3600),
        cooldown: secs(cooldown),
        fallback_after,
    })
}

/// What may happen in the life of a mailbox whose channel never fails, and after which it does
/// nothing until something new comes.
fn calm_act() -> impl Strategy<Value = Act> {
    let check = 0u8..6;
    prop_oneof![
        6 => (check.clone(), prop::bool::weighted(0.15))
            .prop_map(|(check, urgent)| Act::Open { check, urgent, mute: 0 }),
        2 => check.clone().prop_map(|check| Act::Tell(check, What::Worsened)),
        4 => check.prop_map(Act::Resolve),
        6 => prop_oneof![1u64..20_000, 1u64..2_000_000].prop_map(Act::Run),
    ]
}

/// The suite takes some hundreds of histories; PROPTEST_CASES asks for more.
fn cases() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(asked.unwrap_or(400)) }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn whatever_happens_nothing_is_lost_and_nothing_told_twice(
        acts in proptest::collection::vec(act(), 0..80),
        terms in terms(),
    ) {
        let mut history = History::new(terms);
        for act in &acts {
            history.take(act);
        }
        history.finish();
    }

    #[test]
    fn a_restart_at_any_step_changes_nothing_that_people_see(
        acts in proptest::collection::vec((calm_act(), any::<bool>()), 0..60),
        count in 1u32..6,
    ) {
        let terms = Terms { count, per: secs(3600), cooldown: secs(0), fallback_after: None };
        let mut steady = History::new(terms);
        let mut shaken = History::new(terms);
        for (act, restart) in &acts {
            steady.take(act);
            shaken.take(act);
            if *restart {
                shaken.take(&Act::Restart);
            }
        }
        steady.run(secs(20 * 3600));
        shaken.run(secs(20 * 3600));
        prop_assert_eq!(steady.words(), shaken.words());
    }
}

#[test]
fn an_opening_that_was_tried_is_the_only_one_whatever_the_clock_says() {
    let open = |check| Act::Open { check, urgent: false, mute: 0 };
    let mut history =
        History::new(Terms { count: 3, per: secs(3600), cooldown: secs(0), fallback_after: None });
    for act in [
        open(3),
        Act::Turn(171),
        Act::StepWall(-1),
        Act::Copy(3, What::Opened),
        Act::Restart,
        open(0),
    ] {
        history.take(&act);
    }
    history.finish();
}

#[test]
fn an_end_that_was_tried_is_the_only_one_whatever_the_clock_says() {
    let mut history =
        History::new(Terms { count: 1, per: secs(3600), cooldown: secs(0), fallback_after: None });
    for act in [
        Act::Open { check: 2, urgent: false, mute: 0 },
        Act::Turn(0),
        Act::Resolve(2),
        Act::Turn(171),
        Act::StepWall(-1),
        Act::Copy(2, What::Worsened),
        Act::Restart,
    ] {
        history.take(&act);
    }
    history.finish();
}

#[test]
fn a_digest_that_a_person_retries_tells_nothing_that_was_told_meanwhile() {
    let open = |check| Act::Open { check, urgent: false, mute: 0 };
    let mut history =
        History::new(Terms { count: 2, per: secs(3600), cooldown: secs(0), fallback_after: None });
    for act in [
        open(0),
        open(1),
        Act::Run(10_001),
        open(2),
        Act::Run(10_000),
        Act::Reshape(5),
        Act::Turn(241),
        Act::Retry,
        Act::Turn(171),
        Act::Retry,
        open(0),
    ] {
        history.take(&act);
    }
    history.finish();
}
