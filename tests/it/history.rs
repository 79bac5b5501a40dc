//! History lies in PostgreSQL as it does in SQLite, and answers for the past.

use crate::harness::{PATIENCE, Postgres, Setup, Signal, Target, Webhook, eventually};

#[tokio::test]
async fn a_daemon_with_its_history_in_postgres_loses_nothing_when_either_dies() {
    let mut postgres = Postgres::start().await;
    postgres.run("postgres", "CREATE ROLE watchbell LOGIN").await;
    postgres.run("postgres", "CREATE DATABASE history OWNER watchbell").await;
    let url = postgres.url("watchbell", "history");
    let target = Target::start();
    let webhook = Webhook::start();
    let channel = webhook.channel("ops", "rate_limit = \"1000/h\"\ncooldown = \"0s\"");
    let mut daemon = Setup::new()
        .history(&format!("store = \"{url}\""))
        .tables(&channel)
        .checks("shop.toml", &target.check("shop", "confirm_after = 1"))
        .start()
        .await;
    daemon.wait_for_status("shop", "up").await;

    // A second daemon is kept off.
    let other = Setup::new().history(&format!("store = \"{url}\"")).tables(&channel);
    let refused = other.command(&["run"]).await.all();
    assert!(refused.contains("another watchbell uses the database history"), "{refused}");

    // The daemon dies with an incident open, and finds it again.
    target.answer(500);
    webhook.inbox.wait_for(0, &["DOWN shop"]).await;
    let opened = daemon.wait_for_incident("shop", "open", &[]).await;
    // What was sent and not noted yet would be sent once more.
    eventually("the notice to be noted as sent", PATIENCE, async || {
        let notices = daemon.notices().await;
        notices.iter().any(|notice| notice["state"] == "sent").then_some(())
    })
    .await;
    daemon.kill();
    daemon.start_again().await;
    let found = daemon.wait_for_incident("shop", "open", &[]).await;
    assert_eq!(found["id"], opened["id"]);

    // The database dies; checks and alerts go on, and what happened is written afterwards.
    postgres.service.stop();
    webhook.inbox.wait_for(0, &["DOWN watchbell:store"]).await;
    target.answer(200);
    webhook.inbox.wait_for(0, &["UP shop"]).await;
    postgres.start_again().await;
    daemon.wait_for_incident("watchbell:store", "resolved", &[]).await;
    eventually("the end to be written", PATIENCE, async || {
        let ended = daemon.list("/api/v1/incidents?state=resolved").await;
        ended.iter().any(|incident| incident["id"] == opened["id"]).then_some(())
    })
    .await;
    assert_eq!(webhook.inbox.saying(&["DOWN shop"]).len(), 1);

    // It answers for the past.
    let uptime = daemon.get("/api/v1/checks/shop/uptime").await;
    let day = &uptime["windows"][0];
    let share = day["uptime"].as_f64().unwrap();
    assert!(day["name"] == "24h" && 0.0 < share && share < 1.0, "{day:#}");
    assert!(day["down_seconds"].as_f64() > Some(0.0), "{day:#}");
    let latency = daemon.get("/api/v1/checks/shop/latency?window=1h&points=10").await;
    assert!(latency["total"]["p99_ms"].as_f64() > Some(0.0), "{latency:#}");
    let (status, csv) = daemon.get_text("/api/v1/checks/shop/export?format=csv").await;
    assert!(status == 200 && csv.starts_with("check,at,status,"), "{csv}");
    assert!(csv.contains(",down,") && csv.contains(",up,"), "{csv}");
    daemon.signal(Signal::TERM);
}
