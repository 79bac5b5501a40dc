//! The core together with mailboxes and a store in memory: years of outages in seconds.

mod intake;
mod rename;
mod stories;
mod world;

use super::{Alerting, CheckSpec, Rules};
use crate::deliver::Outcome;
use crate::deliver::mailbox::mono;
use crate::model::{HeldBecause, Name, Notice, NoticeState, Status, Timestamp, Verdict, What};
use crate::route::OwnOptions;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;
use stories::{escalate, mended, routed, to, window};
use world::{Kept, World, family, rules, secs, spec};

const CHANNELS: [&str; 3] = ["chat", "mail", "pager"];
const NAMES: [&str; 4] = ["core", "shop", "page", "alone"];

#[derive(Clone, Debug)]
enum Act {
    Fail(usize),
    Lose(usize),
    Heal(usize),
    Flap(usize),
    Run(usize),
    Pass(u64),
    Deliver(u8),
    Silence(usize),
    Acknowledge(usize, Option<u64>),
    Snooze(usize),
    Pause(usize, bool),
    EndAttempts,
    /// The channel `mail` breaks, or works again.
    Break(bool),
    Reload(usize, usize),
    Restart,
    /// A crash before the latest act was written.
    Crash,
    StepWall(i64),
}

fn act() -> impl Strategy<Value = Act> {
    let check = || 0..NAMES.len();
    prop_oneof![
        8 => check().prop_map(Act::Fail),
        2 => check().prop_map(Act::Lose),
        8 => check().prop_map(Act::Heal),
        1 => check().prop_map(Act::Flap),
        20 => check().prop_map(Act::Run),
        10 => (1u64..300_000).prop_map(Act::Pass),
        12 => any::<u8>().prop_map(Act::Deliver),
        2 => check().prop_map(Act::Silence),
        2 => (check(), prop::option::of(1u64..300)).prop_map(|(it, by)| Act::Acknowledge(it, by)),
        1 => check().prop_map(Act::Snooze),
        2 => (check(), any::<bool>()).prop_map(|(check, on)| Act::Pause(check, on)),
        3 => Just(Act::EndAttempts),
        1 => any::<bool>().prop_map(Act::Break),
        2 => (0usize..3, 0usize..3).prop_map(|(specs, rules)| Act::Reload(specs, rules)),
        2 => Just(Act::Restart),
        2 => Just(Act::Crash),
        2 => (-60_000i64..60_000).prop_map(Act::StepWall),
    ]
}

/// Configurations of checks: the family, one whose root was removed, one with other parents.
fn specs(which: usize) -> Vec<CheckSpec> {
    let mut specs = match which {
        0 => family(),
        1 => vec![spec("shop", &[]), spec("page", &["shop"]), spec("alone", &[])],
        _ => vec![
            spec("core", &[]),
            spec("shop", &["core"]),
            spec("alone", &[]),
            spec("page", &["core", "alone"]),
        ],
    };
    for spec in &mut specs {
        spec.policy.unknown_after = Some(secs(30));
    }
    let alone = specs.iter_mut().find(|spec| *spec.policy.check == *"alone").unwrap();
    alone.policy.flapping = true;
    *alone = mended(alone.clone());
    specs
}

/// Configurations of routes; `chat` always hears.
fn routes(which: usize) -> Rules {
    match which {
        0 => Rules { windows: window("shop", 100, 600), ..rules(&CHANNELS) },
        1 => {
            let own = OwnOptions {
                group_by: Some(Vec::new()),
                remind_every: Some(secs(300)),
                escalate: escalate(120, "pager"),
                ..to(&["chat", "mail"])
            };
            routed(own, &CHANNELS)
        }
        _ => {
            let mut rules = routed(to(&["chat"]), &CHANNELS);
            rules.fallbacks.insert("chat".into(), "pager".into());
            rules
        }
    }
}

/// What a crash may take back: the store before the latest act, if nothing went out since.
type Earlier = Option<Kept>;

fn play(world: &mut World, earlier: &mut Earlier, act: Act) {
    let before = world.kept.clone();
    let goes_out = matches!(act, Act::Deliver(_));
    match act {
        Act::Fail(check) => {
            world.unknown.remove(NAMES[check]);
            world.failing.insert(NAMES[check].into());
        }
        Act::Lose(check) => drop(world.unknown.insert(NAMES[check].into())),
        Act::Heal(check) => {
            world.unknown.remove(NAMES[check]);
            world.failing.remove(NAMES[check]);
        }
        Act::Flap(check) if world.is_paused(&NAMES[check].into()) => {}
        Act::Flap(check) => {
            for turn in 0..10 {
                let verdict = if turn % 2 == 0 { Verdict::down("refused") } else { Verdict::UP };
                world.judged(NAMES[check], verdict, Duration::ZERO);
            }
        }
        Act::Run(check) if world.is_paused(&NAMES[check].into()) => {}
        Act::Run(check) => world.run(NAMES[check]),
        Act::Pass(millis) => world.pass(Duration::from_millis(millis)),
        Act::Deliver(mood) => world.deliver(|notice| match mood {
            0..=150 => Outcome::accepted(),
            151..=200 if notice.attempts > 3 => Outcome::accepted(),
            201.. if *notice.channel != *"chat" => Outcome::accepted(),
            _ => Outcome::Retry { after: None, why: "no".to_owned() },
        }),
        Act::Silence(check) => world.silence(NAMES[check], secs(600)),
        Act::Acknowledge(check, lasting) => {
            let until = lasting.map(|lasting| world.now.wall.after(secs(lasting)));
            world.acknowledge(NAMES[check], until);
        }
        Act::Snooze(check) => {
            if let Some(incident) = world.incident(NAMES[check]) {
                let until = world.now.wall.after(secs(100));
                world.core.snooze(&incident.id, "bob", until, world.now).unwrap();
                world.carry_out();
            }
        }
        Act::Pause(check, on) => world.pause(NAMES[check], on),
        Act::EndAttempts => world.end_attempts(),
        Act::Break(on) => break_mail(world, on),
        Act::Reload(checks, rules) => world.reload(specs(checks), routes(rules)),
        Act::Restart => world.restart(),
        Act::Crash => {
            if let Some(earlier) = earlier.take() {
                world.kept = earlier;
            }
            world.restart();
        }
        Act::StepWall(by) => {
            world.now.wall = Timestamp::from_millis(world.now.wall.as_millis() + by);
        }
    }
    *earlier = (!goes_out).then_some(before);
}

fn break_mail(world: &mut World, on: bool) {
    let trouble = on.then(|| "no".to_owned());
    world.core.channel(&"mail".into(), String::new(), trouble, world.now);
    world.carry_out();
}

/// PROPTEST_CASES asks for more histories than the suite takes.
fn cases() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn nothing_is_lost_nothing_is_told_twice_and_nobody_waits_for_an_end(
        start in (0usize..3, 0usize..3),
        acts in proptest::collection::vec(act(), 0..120),
    ) {
        let mut world = World::with(specs(start.0), routes(start.1));
        let mut earlier = None;
        for act in acts {
            play(&mut world, &mut earlier, act);
        }
        for name in NAMES {
            world.pause(name, false);
        }
        break_mail(&mut world, false);
        // Longer than any silence or retry lasts.
        world.settle(secs(1800));

        let open: BTreeSet<String> = world.open().iter().map(|it| it.id.clone()).collect();
        let suppressed = world.core.suppressed();
        prop_assert_eq!(&world.suppressed, &suppressed);
        for channel in CHANNELS {
            let mut told = BTreeSet::new();
            let mut ended = BTreeSet::new();
            for (_, notice) in world.arrived.iter().filter(|(name, _)| **name == *channel) {
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
            for id in open.iter().filter(|_| channel == "chat") {
                let is_told = told.contains(id) || suppressed.contains_key(id);
                prop_assert!(is_told, "{id} was never told: {:?}", world.words(channel));
            }
        }
        // Whose parent is well is told of, and whose parent is down is not.
        for spec in &world.specs {
            let Some(incident) = world.incident(&spec.policy.check) else { continue };
            let holds = |status| matches!(status, Status::Down | Status::Unknown);
            let is_held = spec.parents.iter().any(|parent| {
                let state = world.core.state(parent).unwrap();
                holds(state.status) || state.incident.as_ref().is_some_and(|it| holds(it.status))
            });
            // Of one that goes to and fro and then says nothing it is not known that it has stopped.
            let flaps = world.core.state(&spec.policy.check).unwrap().flapping;
            let because = match is_held {
                true => Some(HeldBecause::Dependency),
                false => flaps.then_some(HeldBecause::Flapping),
            };
            prop_assert_eq!(incident.suppressed_by, because, "{}", spec.policy.check);
        }
        let owed: Vec<&Notice> = world.kept.notices.values().filter(|it| it.is_owed()).collect();
        for notice in owed {
            let is_right = match notice.held_because {
                Some(HeldBecause::Group) => true,
                _ => notice.incidents.iter().all(|it| suppressed.contains_key(&it.id)),
            };
            prop_assert!(notice.state == NoticeState::Held && is_right, "{:?}", notice);
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
            world.accept();
        }
        world.settle(secs(60));
        let mut words = world.words("chat");
        words.sort();
        prop_assert_eq!(words, ["opened alone", "opened core"]);
        prop_assert!(mono(world.now) > 0);
    }
}
