//! Checks that get another name.

use super::world::{World, family, rules, secs, spec};
use crate::deliver::Outcome;

/// The one check `shop`, which failed and was told.
fn failing() -> World {
    let mut world = World::with(vec![spec("shop", &[])], rules(&["chat"]));
    world.failing.insert("shop".into());
    world.settle(secs(60));
    assert_eq!(world.words("chat"), ["opened shop"]);
    world
}

/// `shop` is called `store` from now on.
fn rename(world: &mut World) {
    let mut store = spec("store", &[]);
    store.renamed_from = Some("shop".into());
    world.failing.insert("store".into());
    let rules = world.rules.clone();
    world.reload(vec![store], rules);
}

#[test]
fn an_incident_goes_on_under_the_new_name_over_reload_and_restart() {
    for restart in [false, true] {
        let mut world = failing();
        let before = world.incident("shop").unwrap();
        if restart {
            let mut store = spec("store", &[]);
            store.renamed_from = Some("shop".into());
            world.specs = vec![store];
            world.failing.insert("store".into());
            world.restart();
        } else {
            rename(&mut world);
        }
        let now = world.incident("store").unwrap();
        assert_eq!((&now.id, now.opened_at), (&before.id, before.opened_at));
        let last = now.timeline.last().unwrap();
        assert_eq!((&*last.what, &*last.detail), ("renamed", "the check was called shop before"));
        assert!(world.core.state("shop").is_none(), "the old name is still there");
        world.settle(secs(60));
        assert_eq!(world.words("chat").len(), 1, "it was told again");
        world.restart();
        world.failing.clear();
        world.settle(secs(60));
        assert_eq!(world.words("chat"), ["opened shop", "resolved store"]);
        assert!(world.kept.states.contains_key("store") && world.kept.states.len() == 1);
    }
}

#[test]
fn what_is_owed_is_told_under_the_new_name() {
    let mut world = World::with(vec![spec("shop", &[])], rules(&["chat"]));
    world.failing.insert("shop".into());
    let refuse = |_: &crate::model::Notice| Outcome::Retry { after: None, why: "503".to_owned() };
    world.settle_but(secs(30), refuse);
    rename(&mut world);
    world.settle(secs(60));
    assert_eq!(world.words("chat"), ["opened store"]);
}

#[test]
fn a_cooldown_goes_on_under_the_new_name() {
    let mut world = World::with(vec![spec("shop", &[])], rules(&["chat"]));
    world.failing.insert("shop".into());
    world.settle(secs(20));
    world.failing.clear();
    world.settle(secs(10));
    assert_eq!(world.words("chat"), ["opened shop", "resolved shop"]);
    rename(&mut world);
    world.settle(secs(20));
    assert!(world.incident("store").is_some());
    assert_eq!(world.words("chat").len(), 2, "the cooldown began anew");
    world.settle(secs(60));
    assert_eq!(world.words("chat").last().map(|word| &**word), Some("opened store"));
}

#[test]
fn a_silence_and_a_pause_go_on_under_the_new_name() {
    let mut world = World::with(vec![spec("shop", &[])], rules(&["chat"]));
    world.silence("shop", secs(3600));
    rename(&mut world);
    world.settle(secs(120));
    assert!(world.incident("store").is_some());
    assert_eq!(world.words("chat"), [""; 0], "the silence was lost");
    world.restart();
    world.settle(secs(60));
    assert_eq!(world.words("chat"), [""; 0], "the silence was lost by the restart");

    let mut world = World::with(vec![spec("shop", &[])], rules(&["chat"]));
    world.pause("shop", true);
    rename(&mut world);
    assert!(world.is_paused(&"store".into()));
}

#[test]
fn a_name_that_is_taken_over_once_is_not_taken_over_again() {
    let mut world = failing();
    rename(&mut world);
    let id = world.incident("store").unwrap().id;
    rename(&mut world);
    assert_eq!(world.incident("store").unwrap().id, id);
    // Where both are known already, each keeps its own.
    let mut world = World::with(family(), rules(&["chat"]));
    let mut specs = family();
    specs.retain(|spec| &*spec.policy.check != "alone");
    specs[0].renamed_from = Some("alone".into());
    world.failing.insert("alone".into());
    world.settle(secs(60));
    let rules = world.rules.clone();
    world.reload(specs, rules);
    assert!(world.incident("core").is_none(), "it took over what is not its own");
    world.accept();
    assert_eq!(world.words("chat").last().map(|word| &**word), Some("resolved alone"));
}
