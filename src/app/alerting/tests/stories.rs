//! What the design promises of alerts, one story each.

use super::super::own::CHANNEL;
use super::super::{CheckSpec, Effect, Refused, Rules};
use super::world::{START, World, rules, secs, spec};
use crate::deliver::Outcome;
use crate::model::{
    ActionName, HeldBecause, Moment, Name, Notice, NoticeState, Status, Timestamp, Verdict, What,
};
use crate::recover::Outcome as Attempt;
use crate::recover::plan::RecoveryPolicy;
use crate::route::{
    Escalation, OwnOptions, Route, RouteOptions, Routes, Times, Window, Windows, compile_when,
};
use chrono_tz::Tz;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

pub fn to(channels: &[&str]) -> OwnOptions {
    let to = channels.iter().map(|name| (*name).into()).collect();
    OwnOptions { to: Some(to), ..OwnOptions::default() }
}

pub fn escalate(after: u64, channel: &str) -> Option<Vec<Escalation>> {
    Some(vec![Escalation { after: secs(after), to: vec![channel.into()] }])
}

/// One route for everything, over `channels`.
pub fn routed(own: OwnOptions, channels: &[&str]) -> Rules {
    let options = RouteOptions::new(Tz::UTC).nested(own).unwrap();
    let routes = vec![Route::new(None, false, options, Vec::new())];
    let everybody = channels.iter().map(|name| Name::from(*name)).collect();
    Rules { routes: Arc::new(Routes::new(routes, everybody)), ..rules(channels) }
}

/// A maintenance window for one check, in seconds after the start.
pub fn window(check: &'static str, from: u64, until: u64) -> Arc<Windows> {
    let at = |after| Timestamp::from_millis(START).after(secs(after));
    Arc::new(Windows::new(vec![Window {
        name: "works".into(),
        when: Some(compile_when(&format!("name == '{check}'")).unwrap()),
        zone: Tz::UTC,
        times: Times::Once { start: at(from), end: at(until) },
    }]))
}

pub fn mended(mut spec: CheckSpec) -> CheckSpec {
    spec.recovery = Some(RecoveryPolicy {
        action: ActionName::Restart,
        max_attempts: 2,
        window: secs(600),
        cooldown: secs(30),
        dry_run: false,
    });
    spec
}

fn alone() -> Vec<CheckSpec> {
    vec![spec("alone", &[])]
}

fn fail(world: &mut World, names: &[&str]) {
    world.failing.extend(names.iter().map(|name| Name::from(*name)));
}

fn refuse_chat(notice: &Notice) -> Outcome {
    match &*notice.channel {
        "chat" => Outcome::Retry { after: None, why: "no".to_owned() },
        _ => Outcome::accepted(),
    }
}

// Dependencies

#[test]
fn a_child_that_fails_first_waits_for_its_parent_and_is_not_told() {
    let mut world = World::new();
    world.settle(secs(30));
    fail(&mut world, &["core", "shop", "page"]);
    world.run("page");
    world.run("shop");
    world.accept();
    world.pass(secs(6));
    world.accept();
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
    fail(&mut world, &["core", "shop"]);
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
    fail(&mut world, &["shop"]);
    world.run("shop");
    world.pass(Duration::ZERO);
    world.accept();
    assert_eq!(world.words("chat"), ["opened shop"]);
}

#[test]
fn a_paused_parent_has_no_say() {
    let mut world = World::new();
    fail(&mut world, &["core", "shop"]);
    world.settle(secs(60));
    assert_eq!(world.words("chat"), ["opened core"]);
    world.pause("core", true);
    world.settle(secs(60));
    assert_eq!(world.words("chat"), ["opened core", "opened shop"]);
}

#[test]
fn a_degraded_parent_holds_a_child_only_until_it_is_confirmed() {
    let degraded = || Verdict { status: Status::Degraded, reasons: vec!["slow".to_owned()] };
    let mut world = World::new();
    world.settle(secs(30));
    world.hanging.insert("core".into());
    world.judged("core", degraded(), Duration::ZERO);
    fail(&mut world, &["shop"]);
    world.run("shop");
    world.accept();
    assert_eq!(world.words("chat"), [""; 0]);
    world.pass(secs(5));
    world.judged("core", degraded(), Duration::ZERO);
    world.pass(secs(1));
    world.run("shop");
    world.accept();
    let words: BTreeSet<String> = world.words("chat").into_iter().collect();
    assert_eq!(words, ["opened core".to_owned(), "opened shop".to_owned()].into());
}

#[test]
fn a_parent_that_is_removed_holds_nobody_any_more() {
    for restarts in [false, true] {
        let mut world = World::new();
        fail(&mut world, &["core", "shop"]);
        world.settle(secs(60));
        assert_eq!(world.words("chat"), ["opened core"]);
        let specs = vec![spec("shop", &[])];
        let rules = world.rules.clone();
        if restarts {
            world.specs = specs;
            world.restart();
        } else {
            world.reload(specs, rules);
        }
        world.settle(secs(60));
        let words: BTreeSet<String> = world.words("chat").into_iter().collect();
        assert!(words.contains("opened shop"), "{restarts}: {words:?}");
        assert!(words.contains("resolved core"), "{restarts}: {words:?}");
    }
}

#[test]
fn other_parents_after_a_reload_have_the_say() {
    let mut world = World::new();
    fail(&mut world, &["core", "shop"]);
    world.settle(secs(60));
    let specs = vec![spec("core", &[]), spec("alone", &[]), spec("shop", &["alone"])];
    world.reload(specs, world.rules.clone());
    world.settle(secs(30));
    assert_eq!(world.words("chat"), ["opened core", "opened shop"]);
}

#[test]
fn a_child_of_which_nothing_is_known_is_told_once_its_parent_is_well() {
    let mut shop = spec("shop", &["core"]);
    shop.policy.unknown_after = Some(secs(30));
    let mut world = World::with(vec![spec("core", &[]), shop], rules(&["chat"]));
    fail(&mut world, &["core"]);
    world.unknown.insert("shop".into());
    world.settle(secs(120));
    assert_eq!(world.words("chat"), ["opened core"]);
    world.failing.clear();
    world.settle(secs(60));
    assert_eq!(world.words("chat"), ["opened core", "opened shop", "resolved core"]);
}

#[test]
fn a_parent_that_never_answers_holds_a_child_only_for_a_while() {
    for restarts in [false, true] {
        let mut world = World::new();
        world.settle(secs(30));
        world.hanging.insert("core".into());
        fail(&mut world, &["shop"]);
        world.run("shop");
        world.accept();
        assert_eq!(world.words("chat"), [""; 0]);
        if restarts {
            world.restart();
        }
        for _ in 0..45 {
            world.pass(secs(1));
            world.accept();
        }
        assert_eq!(world.words("chat"), ["opened shop"], "{restarts}");
    }
}

#[test]
fn a_run_that_began_before_its_parent_was_well_is_followed_by_another() {
    let mut world = World::new();
    fail(&mut world, &["core", "shop"]);
    world.settle(secs(60));
    world.failing.remove("core");
    world.run("core");
    // The run that this asks for finds one at work, which began long ago, and comes to nothing.
    world.soon.clear();
    world.pass(secs(1));
    world.judged("shop", Verdict::down("refused"), secs(5));
    world.accept();
    assert!(!world.words("chat").contains(&"opened shop".to_owned()));
    world.pass(Duration::ZERO);
    world.accept();
    assert!(world.words("chat").contains(&"opened shop".to_owned()));
}

#[test]
fn a_child_that_is_paused_while_it_is_held_is_told_once_it_runs_again() {
    let mut world = World::new();
    fail(&mut world, &["core", "shop"]);
    world.settle(secs(60));
    world.pause("shop", true);
    world.failing.remove("core");
    world.settle(secs(60));
    assert_eq!(world.words("chat"), ["opened core", "resolved core"]);
    world.pause("shop", false);
    world.settle(secs(10));
    assert_eq!(world.words("chat"), ["opened core", "resolved core", "opened shop"]);
}

// Acknowledgement, silence, maintenance

#[test]
fn neither_a_silence_nor_an_acknowledgement_holds_a_resolution() {
    let mut world = World::with(alone(), rules(&["chat"]));
    fail(&mut world, &["alone"]);
    world.settle(secs(20));
    world.silence("alone", secs(3600));
    world.acknowledge("alone", None);
    world.failing.clear();
    world.settle(secs(20));
    assert_eq!(world.words("chat"), ["opened alone", "resolved alone"]);
}

#[test]
fn a_silence_that_ends_with_the_incident_tells_nothing() {
    let mut world = World::with(alone(), rules(&["chat"]));
    world.silence("alone", secs(100));
    fail(&mut world, &["alone"]);
    world.settle(secs(90));
    // The silence is over, but nothing has looked since.
    world.now.wall = world.now.wall.after(secs(60));
    world.failing.clear();
    world.settle(secs(200));
    assert_eq!(world.words("chat"), [""; 0]);
    assert_eq!(world.suppressed.len(), 0, "nothing is remembered of what is over");
    assert!(world.kept.notices.values().all(|notice| notice.state == NoticeState::Cancelled));
}

#[test]
fn maintenance_that_begins_while_the_daemon_is_away_holds_from_the_start() {
    let mut world = World::with(alone(), rules(&["chat"]));
    world.rules.windows = window("alone", 100, 1000);
    world.restart();
    fail(&mut world, &["alone"]);
    world.settle_but(secs(20), |_| Outcome::accepted());
    world.failing.clear();
    world.settle(secs(20));
    fail(&mut world, &["alone"]);
    // The opening is held by the cooldown when the daemon ends.
    world.run("alone");
    world.accept();
    world.now.wall = Timestamp::from_millis(START).after(secs(500));
    let states = world.kept.states.clone().into_iter().collect();
    let notices: Vec<Notice> = world.kept.notices.values().cloned().collect();
    let now = Moment { mono: Duration::ZERO, ..world.now };
    let core = super::Alerting::new(world.rules.clone(), Vec::new(), states, &notices, now);
    let because: Vec<HeldBecause> = core.suppressed().into_values().collect();
    assert_eq!(because, [HeldBecause::Maintenance]);
}

#[test]
fn when_maintenance_ends_what_is_still_open_is_told_and_mended() {
    let mut world = World::with(vec![mended(spec("alone", &[]))], rules(&["chat"]));
    world.rules.windows = window("alone", 0, 100);
    world.restart();
    fail(&mut world, &["alone"]);
    world.settle(secs(90));
    assert_eq!((world.words("chat").len(), world.attempts.len()), (0, 0));
    assert_eq!(world.core.state("alone").unwrap().recovery.attempts.len(), 0);
    world.pass(secs(20));
    assert_eq!(world.attempts.len(), 1);
    world.accept();
    assert_eq!(world.words("chat"), ["opened alone"]);
}

#[test]
fn an_escalation_waits_for_the_end_of_an_acknowledgement_and_its_hearer_is_told_of_the_end() {
    let own = OwnOptions { escalate: escalate(60, "boss"), ..to(&["chat"]) };
    let mut world = World::with(alone(), routed(own, &["chat", "boss"]));
    fail(&mut world, &["alone"]);
    world.settle(secs(20));
    world.acknowledge("alone", Some(world.now.wall.after(secs(100))));
    world.settle(secs(90));
    assert_eq!(world.words("boss"), [""; 0]);
    world.settle(secs(20));
    assert_eq!(world.words("boss"), ["escalated alone"]);
    world.restart();
    world.failing.clear();
    world.settle(secs(20));
    assert_eq!(world.words("boss"), ["escalated alone", "resolved alone"]);
    assert_eq!(world.words("chat"), ["opened alone", "resolved alone"]);
}

#[test]
fn a_pause_stops_reminders_and_escalation_and_keeps_the_incident_over_a_restart() {
    let own = OwnOptions {
        remind_every: Some(secs(60)),
        escalate: escalate(60, "boss"),
        ..to(&["chat"])
    };
    let mut world = World::with(alone(), routed(own, &["chat", "boss"]));
    fail(&mut world, &["alone"]);
    world.settle(secs(20));
    world.pause("alone", true);
    world.settle(secs(300));
    world.restart();
    world.settle(secs(300));
    assert_eq!((world.words("chat"), world.words("boss").len()), (vec!["opened alone".into()], 0));
    // Somebody asked for a run that was at work already: it counts for nothing.
    world.judged("alone", Verdict::UP, Duration::ZERO);
    assert!(world.incident("alone").is_some());
    world.pause("alone", false);
    world.settle(secs(10));
    assert_eq!(world.words("boss"), ["escalated alone"]);
}

#[test]
fn what_was_silenced_and_got_worse_is_told_once_when_the_silence_ends() {
    let mut world = World::with(alone(), rules(&["chat"]));
    world.silence("alone", secs(100));
    let degraded = || Verdict { status: Status::Degraded, reasons: vec!["slow".to_owned()] };
    world.judged("alone", degraded(), Duration::ZERO);
    fail(&mut world, &["alone"]);
    world.settle(secs(60));
    assert_eq!(world.words("chat"), [""; 0]);
    world.settle(secs(60));
    assert_eq!(world.words("chat").len(), 1, "{:?}", world.words("chat"));
}

#[test]
fn maintenance_holds_no_resolution() {
    let mut world = World::with(alone(), rules(&["chat"]));
    world.rules.windows = window("alone", 30, 1000);
    world.restart();
    fail(&mut world, &["alone"]);
    world.settle(secs(40));
    assert_eq!(world.incident("alone").unwrap().suppressed_by, Some(HeldBecause::Maintenance));
    world.failing.clear();
    world.settle(secs(20));
    assert_eq!(world.words("chat"), ["opened alone", "resolved alone"]);
}

// Openings

#[test]
fn what_has_not_run_never_alerts_and_what_is_down_at_the_first_start_does() {
    let mut world = World::new();
    world.hanging.insert("page".into());
    fail(&mut world, &["alone", "page"]);
    world.settle(secs(60));
    assert_eq!(world.words("chat"), ["opened alone"]);
}

// Routes and reloads

#[test]
fn after_a_change_of_routes_ends_go_to_whoever_was_told_and_nothing_is_announced_again() {
    let channels = ["chat", "mail"];
    let mut world = World::with(alone(), routed(to(&["chat"]), &channels));
    fail(&mut world, &["alone"]);
    world.settle(secs(30));
    world.reload(alone(), routed(to(&["mail"]), &channels));
    world.settle(secs(30));
    world.failing.clear();
    world.settle(secs(100));
    assert_eq!(world.words("chat"), ["opened alone", "resolved alone"]);
    assert_eq!(world.words("mail"), [""; 0]);
    fail(&mut world, &["alone"]);
    world.settle(secs(30));
    assert_eq!(world.words("mail"), ["opened alone"]);
}

#[test]
fn a_route_to_nobody_tells_nobody() {
    let mut world = World::with(alone(), routed(to(&[]), &["chat"]));
    fail(&mut world, &["alone"]);
    world.settle(secs(30));
    world.failing.clear();
    world.settle(secs(30));
    assert_eq!((world.words("chat").len(), world.kept.notices.len()), (0, 0));
}

#[test]
fn a_check_that_is_removed_or_of_another_kind_is_over_and_says_so() {
    let mut other = spec("alone", &[]);
    other.policy.kind = "tcp".to_owned();
    for (specs, why) in
        [(Vec::new(), "the check was removed"), (vec![other], "the check is of another kind now")]
    {
        let mut world = World::with(alone(), rules(&["chat"]));
        fail(&mut world, &["alone"]);
        world.settle(secs(30));
        world.reload(specs, world.rules.clone());
        world.accept();
        assert_eq!(world.words("chat"), ["opened alone", "resolved alone"]);
        let (_, end) = world.arrived.last().unwrap();
        assert_eq!(end.incidents[0].withdrawn(), Some(why));
        assert!(world.core.suppressed().is_empty());
    }
}

#[test]
fn what_is_removed_while_it_is_silenced_ends_without_a_word() {
    let mut world = World::with(alone(), rules(&["chat"]));
    world.silence("alone", secs(3600));
    fail(&mut world, &["alone"]);
    world.settle(secs(30));
    world.reload(Vec::new(), world.rules.clone());
    world.settle(secs(100));
    assert_eq!(world.words("chat"), [""; 0]);
    assert!(world.kept.notices.values().all(|notice| !notice.is_owed()));
    assert!(world.kept.states.is_empty() && world.suppressed.is_empty());
}

#[test]
fn flapping_that_begins_twice_is_told_twice_and_is_one_incident() {
    let mut check = spec("alone", &[]);
    check.policy.flapping = true;
    check.policy.recover_after = 20;
    let mut world = World::with(vec![check], rules(&["chat"]));
    let flap = |world: &mut World| {
        for turn in 0..16 {
            let verdict = if turn % 2 == 0 { Verdict::down("refused") } else { Verdict::UP };
            world.judged("alone", verdict, Duration::ZERO);
            world.accept();
            world.pass(secs(10));
        }
    };
    flap(&mut world);
    world.restart();
    fail(&mut world, &["alone"]);
    world.settle(secs(250));
    flap(&mut world);
    world.failing.clear();
    world.settle(secs(300));
    let words = world.words("chat");
    let times = |what: &str| words.iter().filter(|word| word.starts_with(what)).count();
    assert_eq!(times("flapping alone"), 2, "{words:?}");
    let of_flapping: BTreeSet<&str> = world
        .arrived
        .iter()
        .filter(|(_, notice)| notice.what == What::Flapping)
        .map(|(_, notice)| &*notice.incidents[0].id)
        .collect();
    assert_eq!(of_flapping.len(), 1);
    assert_eq!(words.last().map(|word| &**word), Some("resolved alone"));
}

// The daemon's own incidents

#[test]
fn a_broken_channel_is_told_by_the_others_and_where_there_is_none_by_nobody() {
    for (channels, told) in [(&["chat", "mail"][..], 2), (&["chat"], 0)] {
        let mut world = World::with(alone(), rules(channels));
        world.core.channel(&"chat".into(), String::new(), Some("404".to_owned()), world.now);
        world.carry_out();
        world.accept();
        assert_eq!(world.core.other_incidents().count(), 1);
        world.restart();
        world.core.channel(&"chat".into(), String::new(), None, world.now);
        world.carry_out();
        world.accept();
        assert_eq!(world.core.other_incidents().count(), 0);
        assert_eq!((world.words("mail").len(), world.words("chat").len()), (told, 0));
        assert!(world.kept.states.keys().all(|name| !name.starts_with(CHANNEL)));
    }
}

#[test]
fn an_address_or_a_channel_that_is_gone_is_no_trouble_any_more() {
    let mut world = World::with(alone(), rules(&["chat", "mail"]));
    world.rules.channels.insert("mail".into(), vec!["a@x".to_owned(), "b@x".to_owned()]);
    world.reload(alone(), world.rules.clone());
    let mail = Name::from("mail");
    world.core.channel(&mail, "b@x".to_owned(), Some("no such user".to_owned()), world.now);
    world.carry_out();
    assert_eq!(world.core.other_incidents().count(), 1);
    let mut fewer = world.rules.clone();
    fewer.channels.insert(mail.clone(), vec!["a@x".to_owned()]);
    world.reload(alone(), fewer);
    assert_eq!(world.core.other_incidents().count(), 0);
    // The last words of workers that end.
    for (channel, recipient) in [("mail", "b@x"), ("pager", "")] {
        let why = Some("cut off".to_owned());
        world.core.channel(&channel.into(), recipient.to_owned(), why, world.now);
    }
    assert_eq!(world.core.other_incidents().count(), 0);
}

// Fallback

fn with_fallback() -> Rules {
    let mut rules = routed(to(&["chat"]), &["chat", "pager"]);
    rules.fallbacks.insert("chat".into(), "pager".into());
    rules
}

#[test]
fn a_fallback_hears_what_follows_also_after_a_restart() {
    let mut check = spec("alone", &[]);
    check.policy.unknown_after = Some(secs(30));
    let mut world = World::with(vec![check], with_fallback());
    world.unknown.insert("alone".into());
    world.settle_but(secs(600), refuse_chat);
    assert_eq!(world.words("pager"), ["opened alone"]);
    world.restart();
    world.unknown.clear();
    fail(&mut world, &["alone"]);
    world.settle_but(secs(600), refuse_chat);
    assert_eq!(world.words("pager"), ["opened alone", "worsened alone"]);
    world.failing.clear();
    world.settle_but(secs(600), refuse_chat);
    assert_eq!(world.words("pager"), ["opened alone", "worsened alone", "resolved alone"]);
    world.settle(secs(600));
    assert_eq!(world.words("chat"), ["opened alone", "worsened alone", "resolved alone"]);
    assert_eq!(world.words("pager").len(), 3);
}

#[test]
fn an_opening_that_is_refused_for_good_after_the_end_falls_with_its_end_also_after_a_restart() {
    for restarts in [false, true] {
        let mut world = World::with(alone(), with_fallback());
        fail(&mut world, &["alone"]);
        world.run("alone");
        world.deliver(refuse_chat);
        world.failing.clear();
        world.run("alone");
        if restarts {
            world.restart();
        }
        world.pass(secs(60));
        world.deliver(|notice| match &*notice.channel {
            "chat" => Outcome::Rejected { why: "404".to_owned() },
            _ => Outcome::accepted(),
        });
        world.accept();
        assert_eq!(world.words("pager"), ["opened alone", "resolved alone"], "{restarts}");
    }
}

// Recovery

#[test]
fn an_attempt_whose_policy_is_taken_away_is_not_at_work_for_ever() {
    for restarts in [false, true] {
        let mended = || vec![mended(spec("alone", &[]))];
        let mut world = World::with(mended(), rules(&["chat"]));
        fail(&mut world, &["alone"]);
        world.run("alone");
        let order = world.attempts.pop().unwrap();
        if restarts {
            world.specs = alone();
            world.restart();
        } else {
            world.reload(alone(), world.rules.clone());
            let done = Attempt::Done("done".to_owned());
            world.core.recovered(&order, &done, world.now);
            world.carry_out();
        }
        world.reload(mended(), world.rules.clone());
        world.pass(secs(60));
        world.run("alone");
        world.run("alone");
        assert_eq!(world.attempts.len(), 1, "{restarts}");
    }
}

#[test]
fn a_clock_that_steps_back_asks_for_no_end_of_runs() {
    let mut world = World::with(vec![mended(spec("alone", &[]))], rules(&["chat"]));
    fail(&mut world, &["alone"]);
    world.run("alone");
    let order = world.attempts.pop().unwrap();
    world.failing.clear();
    world.run("alone");
    let done = Attempt::Done("done".to_owned());
    world.core.recovered(&order, &done, world.now);
    world.core.take_effects();
    world.now.wall = world.now.wall.before(secs(3600));
    let mut asked = 0;
    for _ in 0..10 {
        world.now.mono += secs(1);
        world.now.wall = world.now.wall.after(secs(1));
        let run = crate::model::Judgement {
            started: world.now.wall,
            verdict: Verdict::UP,
            latency: Duration::ZERO,
            facts: crate::model::Facts::default(),
        };
        world.core.judged(&"alone".into(), run, 0, world.now);
        let effects = world.core.take_effects();
        asked += effects.iter().filter(|it| matches!(it, Effect::Run { .. })).count();
    }
    assert!(asked <= 1, "{asked}");
}

#[test]
fn what_there_is_not_cannot_be_operated() {
    let mut world = World::new();
    let now = world.now;
    assert_eq!(world.core.unacknowledge("none", "alice", now), Err(Refused::Unknown));
    assert_eq!(world.core.pause("none", "alice", true, now), Err(Refused::Unknown));
    assert_eq!(world.core.expire_silence("none", now), Err(Refused::Unknown));
}
