//! A check that gets another name keeps all that is known of it.

use crate::harness::{
    Daemon, Mood, PATIENCE, Postgres, Setup, Signal, Target, Webhook, eventually,
};

/// What the channels have in common: they hold nothing back.
const CHANNEL: &str = "rate_limit = \"1000/h\"\ncooldown = \"0s\"";

async fn ends_up_as(daemon: &Daemon, names: &[&str]) {
    eventually(&format!("the checks to be {names:?}"), PATIENCE, async || {
        let checks = daemon.list("/api/v1/checks").await;
        let known: Vec<&str> = checks.iter().map(|it| it["name"].as_str().unwrap()).collect();
        (known == names).then_some(())
    })
    .await;
}

/// The times of a check's results, oldest first.
async fn times(daemon: &Daemon, check: &str) -> Vec<String> {
    let results = daemon.list(&format!("/api/v1/checks/{check}/results?limit=1000")).await;
    results.iter().rev().map(|it| it["at"].as_str().unwrap().to_owned()).collect()
}

async fn keeps_its_past(history: &str) {
    let target = Target::start();
    let (webhook, late) = (Webhook::start(), Webhook::start());
    let mut daemon = Setup::new()
        .history(history)
        .tables(&webhook.channel("ops", CHANNEL))
        .tables(&late.channel("late", CHANNEL))
        .checks("shop.toml", &target.check("shop", "confirm_after = 1"))
        .start()
        .await;
    daemon.wait_for_status("shop", "up").await;
    late.inbox.set(Mood::Status(503));
    target.answer(500);
    webhook.inbox.wait_for(0, &["DOWN shop"]).await;
    let incident = daemon.wait_for_incident("shop", "open", &[]).await;
    let silence = serde_json::json!({"matchers": ["name=shop"], "for": "1h", "comment": "moving"});
    let (status, silence) = daemon.post_json("/api/v1/silences", &silence).await;
    assert_eq!(status, 201, "{silence}");
    eventually("results to be written", PATIENCE, async || {
        (times(&daemon, "shop").await.len() > 2).then_some(())
    })
    .await;
    let before = times(&daemon, "shop").await;

    let keys = "confirm_after = 1\nrenamed_from = \"shop\"";
    daemon.rewrite_checks("shop.toml", &target.check("store", keys));
    let (status, done) = daemon.post("/api/v1/reload").await;
    assert_eq!(status, 200, "{done}");
    let expected = serde_json::json!({
        "added": 0, "changed": 0, "removed": 0, "renamed": [{"from": "shop", "to": "store"}],
    });
    assert_eq!(done, expected);
    let line = "configuration reloaded: +0 checks, ~0, -0, shop is now store";
    assert!(daemon.log().contains(line), "{}", daemon.log());
    ends_up_as(&daemon, &["store"]).await;
    assert_eq!(daemon.get_text("/api/v1/checks/shop").await.0, 404);
    for restart in [false, true] {
        if restart {
            daemon.kill();
            daemon.start_again().await;
        }
        let now = daemon.wait_for_incident("store", "open", &[]).await;
        assert_eq!(now["id"], incident["id"]);
        assert_eq!(now["suppressed_by"], "silence", "{now:#}");
        let id = silence["id"].as_str().unwrap();
        let silence = daemon.get(&format!("/api/v1/silences/{id}")).await;
        assert!(silence["matchers"].to_string().contains("store"), "{silence:#}");
        eventually("the results to be under the new name", PATIENCE, async || {
            times(&daemon, "store").await.starts_with(&before).then_some(())
        })
        .await;
    }
    // Whoever was not told yet hears of it under the name that it has.
    late.inbox.set(Mood::Working);
    late.inbox.wait_for(0, &["DOWN store"]).await;
    target.answer(200);
    webhook.inbox.wait_for(1, &["UP store"]).await;
    assert_eq!(webhook.inbox.messages().len(), 2, "{:#?}", webhook.inbox.messages());

    // That the old name still stands there changes nothing.
    daemon.signal(Signal::HUP);
    eventually("another reload", PATIENCE, async || {
        daemon.log().contains("+0 checks, ~0, -0\n").then_some(())
    })
    .await;
    assert!(times(&daemon, "store").await.len() > before.len());
}

#[tokio::test]
async fn a_renamed_check_keeps_its_history_its_incident_and_its_silence() {
    keeps_its_past("store = \"sqlite:watchbell.db\"").await;
}

#[tokio::test]
async fn a_renamed_check_keeps_them_in_postgresql_as_well() {
    let postgres = Postgres::start().await;
    postgres.run("postgres", "CREATE ROLE watchbell LOGIN").await;
    postgres.run("postgres", "CREATE DATABASE history OWNER watchbell").await;
    keeps_its_past(&format!("store = \"{}\"", postgres.url("watchbell", "history"))).await;
}

#[tokio::test]
async fn a_heartbeat_with_another_name_is_pinged_at_its_address_as_before() {
    let uuid = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278";
    let check = |name: &str, keys: &str| {
        format!(
            "[[check]]\nname = \"{name}\"\n{keys}\n[check.heartbeat]\nuuid = \"{uuid}\"\n\
             period = \"1h\"\n"
        )
    };
    let daemon = Setup::new().checks("job.toml", &check("backup", "")).start().await;
    let ping = format!("/ping/{uuid}");
    assert_eq!(daemon.get_text(&ping).await.0, 200);
    let before = daemon.wait_for_status("backup", "up").await;
    daemon.rewrite_checks("job.toml", &check("nightly", "renamed_from = \"backup\""));
    assert_eq!(daemon.post("/api/v1/reload").await.0, 200);
    let now = daemon.get("/api/v1/checks/nightly").await;
    assert_eq!((&now["status"], &now["since"]), (&before["status"], &before["since"]));
    assert_eq!(now["facts"], before["facts"]);
    assert_eq!(daemon.get_text(&ping).await.0, 200);
}

#[tokio::test]
async fn a_name_cannot_be_taken_over_from_a_check_that_is_there_or_by_two() {
    let target = Target::start();
    let one = |name: &str, keys: &str| target.check(name, keys);
    let setup = Setup::new()
        .checks("1.toml", &one("there", ""))
        .checks("2.toml", &one("a", "renamed_from = \"there\""))
        .checks("3.toml", &one("b", "renamed_from = \"gone\""))
        .checks("4.toml", &one("c", "renamed_from = \"gone\""))
        .checks("5.toml", &one("d", "renamed_from = \"d\""))
        .checks("6.toml", &one("e", "depends_on = [\"gone\"]"));
    let said = setup.command(&["validate"]).await.all();
    for words in [
        "2.toml:5:16: check.renamed_from: the check `there` still exists",
        "4.toml:5:16: check.renamed_from: another check was renamed from `gone` already",
        "5.toml:5:16: check.renamed_from: is the name that the check has",
        "6.toml:5:15: check.depends_on: there is no check `gone` (it is called `b` now)",
    ] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
}
