//! People operate the running daemon: by the command line, and by the API below it.

use crate::harness::{
    Daemon, Finished, KEY, PATIENCE, Setup, Target, client, eventually, watchbell,
};
use serde_json::Value;

/// A daemon with one check, which is well, and the default channel.
async fn shop(target: &Target) -> Daemon {
    let check = target.check("shop", "confirm_after = 1\nlabels = { team = \"web\" }");
    let daemon = Setup::new().checks("shop.toml", &check).start().await;
    daemon.wait_for_status("shop", "up").await;
    daemon
}

/// Runs a subcommand that talks to the daemon.
async fn ask(daemon: &Daemon, words: &[&str]) -> Finished {
    let url = daemon.url("");
    watchbell(&[words, &["--url", &url, "--key", KEY]].concat()).await
}

/// The same, where it must succeed.
async fn done(daemon: &Daemon, words: &[&str]) -> Finished {
    let done = ask(daemon, words).await;
    assert_eq!(done.code, 0, "{words:?}: {}", done.all());
    done
}

/// Waits until a notice tells `what` about the check and stands in `state`.
async fn wait_for_notice(daemon: &Daemon, what: &str, state: &str) -> Value {
    eventually(&format!("a notice `{what}` to be {state}"), PATIENCE, async || {
        let notices = daemon.notices().await;
        notices.into_iter().find(|notice| notice["what"] == what && notice["state"] == state)
    })
    .await
}

fn id(item: &Value) -> &str {
    item["id"].as_str().unwrap()
}

#[tokio::test]
async fn history_incidents_and_notices_are_read_from_the_running_daemon() {
    let target = Target::start();
    let daemon = shop(&target).await;
    let none = done(&daemon, &["incidents"]).await;
    assert_eq!(none.out, "no open incidents\n");
    assert_eq!(done(&daemon, &["silence", "list"]).await.out, "no silences\n");
    target.answer(500);
    let incident = daemon.wait_for_incident("shop", "open", &[]).await;
    wait_for_notice(&daemon, "opened", "sent").await;

    let listed = ask(&daemon, &["incidents"]).await;
    assert_eq!(listed.code, 2, "something is down: {}", listed.all());
    for part in [id(&incident), "shop", "down", "critical", "500"] {
        assert!(listed.out.contains(part), "no {part} in {}", listed.out);
    }
    for meant in [id(&incident), &id(&incident)[..24], "shop"] {
        let shown = ask(&daemon, &["incident", meant]).await;
        assert_eq!(shown.code, 2, "{}", shown.all());
        assert!(shown.out.contains("team=web") && shown.out.contains("opened"), "{}", shown.out);
    }
    assert_eq!(ask(&daemon, &["incidents", "--json"]).await.json()[0]["id"], incident["id"]);
    assert_eq!(done(&daemon, &["incidents", "--state", "resolved"]).await.out, "no incidents\n");
    let missing = ask(&daemon, &["incident", "shup"]).await;
    assert_eq!(missing.code, 3);
    assert!(missing.err.contains("did you mean `shop`?"), "{}", missing.err);

    let history = done(&daemon, &["history", "shop"]).await;
    assert!(history.out.contains("down") && history.out.contains("up"), "{}", history.out);
    let latest = done(&daemon, &["history", "shop", "--limit", "1", "--json"]).await.json();
    assert_eq!((latest.as_array().unwrap().len(), &latest[0]["status"]), (1, &"down".into()));
    let missing = ask(&daemon, &["history", "shup"]).await;
    assert!(missing.code == 3 && missing.err.contains("Did you mean `shop`?"), "{}", missing.err);

    let notices = done(&daemon, &["notices", "--state", "sent"]).await;
    for part in ["opened", "shop", "console", "sent"] {
        assert!(notices.out.contains(part), "no {part} in {}", notices.out);
    }
    assert_eq!(done(&daemon, &["notices", "--state", "held"]).await.out, "no notices\n");
}

#[tokio::test]
async fn nothing_is_operated_without_a_key_or_with_a_typing_error() {
    let target = Target::start();
    let daemon = shop(&target).await;
    let url = daemon.url("");
    for words in [
        &["pause", "shop"][..],
        &["resume", "shop"],
        &["silence", "add", "shop", "--for", "2h"],
        &["ack", "01ARZ3NDEKTSV4RRFFQ69G5FAV"],
    ] {
        let refused = watchbell(&[words, &["--url", &url]].concat()).await;
        assert_eq!(refused.code, 3, "{words:?}: {}", refused.all());
        assert!(refused.err.contains("--key"), "{words:?}: {}", refused.err);
    }
    for (words, part) in [
        (&["silence", "add", "shop"][..], "--for"),
        (&["silence", "add", "two words", "--for", "2h"], "one of =, !=, =~ and !~"),
        (&["silence", "add", "shop", "--until", "tomorrow"], "RFC 3339"),
        (&["silence", "expire", "01NONE"], "`watchbell silence list` lists them"),
        (&["ack", "shop", "--for", "2 moons"], "is not a duration"),
        (&["ack", "shop"], "there is no open incident `shop`"),
        (&["snooze", "shop", "2h"], "`watchbell incidents` lists them"),
        (&["pause", "shup"], "Did you mean `shop`?"),
    ] {
        let refused = ask(&daemon, words).await;
        assert_eq!(refused.code, 3, "{words:?}: {}", refused.all());
        assert!(refused.err.contains(part), "{words:?}: {}", refused.err);
    }
    let posted = client().post(daemon.url("/api/v1/silences")).bearer_auth(KEY);
    let posted = posted.body(r#"{"matchers": ["shop"], "untill": "x"}"#).send().await.unwrap();
    assert_eq!(posted.status(), 400);
    assert!(posted.text().await.unwrap().contains("`untill` is not a field here"));
}

#[tokio::test]
async fn an_incident_is_taken_on_and_given_back() {
    let target = Target::start();
    let daemon = shop(&target).await;
    target.answer(500);
    let incident = daemon.wait_for_incident("shop", "open", &[]).await;
    let path = format!("/api/v1/incidents/{}", id(&incident));

    let taken = ["ack", "shop", "--note", "on it", "--for", "2h", "--by", "ann"];
    let said = done(&daemon, &taken).await;
    assert!(said.out.contains("acknowledged by ann until"), "{}", said.out);
    let taken = &daemon.get(&path).await["acknowledged"];
    assert_eq!((&taken["by"], &taken["note"]), (&"ann".into(), &"on it".into()));
    assert!(taken["at"].is_string() && taken["until"].is_string(), "{taken:#}");
    let listed = ask(&daemon, &["incidents"]).await;
    assert!(listed.out.contains("acknowledged by ann"), "{}", listed.out);
    let shown = ask(&daemon, &["incident", "shop"]).await;
    assert!(shown.out.contains("on it"), "{}", shown.out);
    let timeline = daemon.get(&path).await["timeline"].to_string();
    assert!(timeline.contains("acknowledged"), "{timeline}");

    let said = done(&daemon, &["snooze", &id(&incident)[..24], "3h"]).await;
    assert!(said.out.contains("no reminder until"), "{}", said.out);
    assert!(daemon.get(&path).await["snoozed_until"].is_string());

    let said = done(&daemon, &["ack", id(&incident), "--undo"]).await;
    assert_eq!(said.out, "shop: no longer acknowledged\n");
    assert_eq!(daemon.get(&path).await["acknowledged"], Value::Null);
    let (status, again) = daemon.post(&format!("{path}/ack")).await;
    assert_eq!((status, &again["acknowledged"]["by"]), (200, &"test".into()), "{again:#}");

    target.answer(200);
    let known = daemon.wait_for_incident("shop", "resolved", &[]).await;
    assert_eq!(known["id"], incident["id"]);
    let late = ask(&daemon, &["ack", id(&incident)]).await;
    assert!(late.code == 3 && late.err.contains("resolved already"), "{}", late.all());
    assert_eq!(daemon.post(&format!("{path}/ack")).await.0, 409);
    assert_eq!(daemon.post("/api/v1/incidents/01NONE/ack").await.0, 404);
}

#[tokio::test]
async fn a_silence_holds_the_opening_over_a_restart_and_its_end_lets_it_out() {
    let target = Target::start();
    let mut daemon = shop(&target).await;
    let words =
        ["silence", "add", "team=web", "name=~sh.*", "--for", "2h", "--comment", "moving house"];
    let said = done(&daemon, &words).await;
    assert!(said.out.contains("silenced until"), "{}", said.out);
    let silence = daemon.list("/api/v1/silences?state=active").await.remove(0);
    assert_eq!(silence["matchers"], serde_json::json!(["team=\"web\"", "name=~\"sh.*\""]));
    let bad = ask(&daemon, &["silence", "add", "name=~(", "--for", "2h"]).await;
    assert_eq!(bad.code, 3, "{}", bad.all());

    target.answer(500);
    let incident = daemon.wait_for_incident("shop", "open", &[]).await;
    assert_eq!(incident["suppressed_by"], "silence", "{incident:#}");
    let held = wait_for_notice(&daemon, "opened", "held").await;
    assert_eq!(held["held_because"], "silence", "{held:#}");
    let listed = done(&daemon, &["notices", "--state", "held"]).await;
    assert!(listed.out.contains("silence"), "{}", listed.out);

    daemon.kill();
    daemon.start_again().await;
    let listed = done(&daemon, &["silence", "list"]).await;
    for part in [id(&silence), "active", "team=\"web\"", "moving house"] {
        assert!(listed.out.contains(part), "no {part} in {}", listed.out);
    }
    assert_eq!(wait_for_notice(&daemon, "opened", "held").await["id"], held["id"]);

    done(&daemon, &["silence", "expire", &id(&silence)[..24]]).await;
    assert_eq!(wait_for_notice(&daemon, "opened", "sent").await["id"], held["id"]);
    assert_eq!(done(&daemon, &["silence", "list"]).await.out, "no silences\n");
    let over = done(&daemon, &["silence", "list", "--state", "expired", "--json"]).await.json();
    assert_eq!(over[0]["id"], silence["id"]);
    target.answer(200);
    wait_for_notice(&daemon, "resolved", "sent").await;
}

#[tokio::test]
async fn a_paused_check_stands_still_over_a_restart_until_it_is_resumed() {
    let (target, clock) = (Target::start(), Target::start());
    let mut daemon = Setup::new()
        .checks("shop.toml", &target.check("shop", "confirm_after = 1"))
        .checks("clock.toml", &clock.check("clock", ""))
        .start()
        .await;
    target.answer(500);
    let incident = daemon.wait_for_incident("shop", "open", &[]).await;

    let said = done(&daemon, &["pause", "shop", "--by", "ann"]).await;
    assert!(said.out.contains("`watchbell resume shop`"), "{}", said.out);
    let shown = daemon.get("/api/v1/checks/shop").await;
    assert_eq!((&shown["paused"], &shown["paused_by"]), (&true.into(), &"ann".into()));
    assert_eq!((&shown["next_run"], &shown["incident"]), (&Value::Null, &incident["id"]));
    let listed = ask(&daemon, &["status"]).await;
    assert!(listed.out.contains("paused by ann"), "{}", listed.out);

    // The other check tells how much time has gone by.
    let runs = async |more: usize| {
        let from = clock.count();
        let gone = || (clock.count() >= from + more).then_some(());
        eventually("the other check to run", PATIENCE, async || gone()).await;
    };
    runs(1).await;
    let count = target.count();
    runs(3).await;
    daemon.kill();
    daemon.start_again().await;
    runs(3).await;
    assert_eq!(target.count(), count, "it ran while it was paused");
    let shown = daemon.get("/api/v1/checks/shop").await;
    assert_eq!((&shown["paused"], &shown["incident"]), (&true.into(), &incident["id"]));

    target.answer(200);
    done(&daemon, &["resume", "shop"]).await;
    daemon.wait_for_incident("shop", "resolved", &[]).await;
    assert!(daemon.get("/api/v1/checks/shop").await["next_run"].is_string());
    assert_eq!(done(&daemon, &["resume", "shop"]).await.code, 0, "twice is fine");
}
