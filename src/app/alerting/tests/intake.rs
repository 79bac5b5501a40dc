//! Alerts that other programs send in, one story each.

use super::world::{World, rules, secs};
use crate::model::{Alert, HeldBecause, Labels, Moment, Name, Origin, Severity, subject_of};

fn alert(pairs: &[(&str, &str)], now: Moment, holds: u64) -> Alert {
    let labels: Labels =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let origin = Origin {
        subject: subject_of(&labels),
        annotations: [("summary".to_owned(), "load is high".to_owned())].into(),
        generator_url: None,
        starts_at: now.wall.before(secs(30)),
        ends_at: now.wall.after(secs(holds)),
        updated_at: now.wall,
    };
    Alert { labels, origin }
}

/// The sender says it, and it holds for so many seconds; zero means that it is over.
fn send(world: &mut World, instance: &str, holds: u64) {
    let labels = [("alertname", "HighLoad"), ("instance", instance), ("severity", "warning")];
    let alert = alert(&labels, world.now, holds);
    world.core.alerts(vec![alert], world.now).unwrap();
    world.carry_out();
    world.accept();
}

fn world() -> World {
    World::with(Vec::new(), rules(&["chat"]))
}

#[test]
fn an_alert_opens_at_once_and_its_end_is_told() {
    let mut world = world();
    send(&mut world, "a", 240);
    assert_eq!(world.words("chat"), ["opened HighLoad"]);
    let incident = world.arrived[0].1.incidents[0].clone();
    assert_eq!((incident.severity, &*incident.reasons[0]), (Severity::Warning, "load is high"));
    assert_eq!((&*incident.labels["instance"], &*incident.kind), ("a", "alertmanager"));
    assert_eq!(
        incident.opened_at.since(incident.began_at),
        secs(30),
        "it began before it was sent"
    );
    world.pass(secs(60));
    send(&mut world, "a", 240);
    assert_eq!(world.words("chat").len(), 1, "it goes on, which is nothing new");
    send(&mut world, "a", 0);
    assert_eq!(world.words("chat"), ["opened HighLoad", "resolved HighLoad"]);
    assert!(world.kept.states.is_empty(), "nothing is left of it");
    send(&mut world, "a", 0);
    assert_eq!(world.words("chat").len(), 2, "the end of what is over is nothing new");
}

#[test]
fn an_alert_that_nobody_renews_is_over() {
    let mut world = world();
    send(&mut world, "a", 240);
    world.pass(secs(239));
    world.accept();
    assert_eq!(world.words("chat").len(), 1);
    world.pass(secs(1));
    world.accept();
    assert_eq!(world.words("chat"), ["opened HighLoad", "resolved HighLoad"]);
    let end = world.arrived[1].1.incidents[0].clone();
    assert_eq!(end.withdrawn(), Some("its sender did not renew it"));
}

#[test]
fn a_step_of_the_clock_ends_no_alert() {
    let mut world = world();
    send(&mut world, "a", 240);
    world.now.wall = world.now.wall.after(secs(86_400));
    world.pass(secs(200));
    world.accept();
    assert_eq!(world.words("chat"), ["opened HighLoad"]);
}

#[test]
fn alerts_of_one_name_are_told_apart_and_do_not_cool_each_other_down() {
    let mut world = world();
    send(&mut world, "a", 240);
    send(&mut world, "b", 240);
    assert_eq!(world.words("chat"), ["opened HighLoad", "opened HighLoad"]);
    send(&mut world, "a", 0);
    assert_eq!(world.words("chat").len(), 3);
    assert_eq!(world.core.other_incidents().count(), 1);
    send(&mut world, "a", 240);
    assert_eq!(world.words("chat").len(), 3, "the same one again is cooled down");
    world.pass(secs(60));
    world.accept();
    assert_eq!(world.words("chat").len(), 4);
}

#[test]
fn a_restart_repeats_nothing_and_gives_the_sender_time() {
    let mut world = world();
    send(&mut world, "a", 60);
    world.now.wall = world.now.wall.after(secs(3600));
    world.restart();
    world.accept();
    world.pass(secs(299));
    world.accept();
    assert_eq!(world.words("chat"), ["opened HighLoad"]);
    send(&mut world, "a", 240);
    world.pass(secs(100));
    world.accept();
    assert_eq!(world.words("chat"), ["opened HighLoad"]);
    world.restart();
    world.pass(secs(300));
    world.accept();
    assert_eq!(world.words("chat"), ["opened HighLoad", "resolved HighLoad"]);
}

#[test]
fn a_silence_matches_the_labels_of_an_alert() {
    let mut world = world();
    world.silence("HighLoad", secs(100));
    send(&mut world, "a", 240);
    assert_eq!(world.words("chat").len(), 0);
    let standings = world.core.standings(world.now.wall);
    assert_eq!(standings[0].incident.suppressed_by, Some(HeldBecause::Silence));
    assert_eq!(standings[0].silenced_by.len(), 1);
    assert_eq!(standings[0].receivers, [Name::from("chat")]);
    world.pass(secs(101));
    world.accept();
    assert_eq!(world.words("chat"), ["opened HighLoad"], "it is told when the silence ends");
}

#[test]
fn a_reload_leaves_alerts_alone() {
    let mut world = world();
    send(&mut world, "a", 240);
    world.reload(Vec::new(), rules(&["chat"]));
    world.accept();
    assert_eq!(world.words("chat"), ["opened HighLoad"]);
}
