//! A PostgreSQL that goes away for long loses no result, as long as they fit into the room that they
//! have to wait in, and costs little memory.

use crate::harness::{Daemon, PATIENCE, Postgres, Setup, Target, Webhook, eventually};
use serde_json::Value;
use std::time::Duration;

/// How many checks there are, each every second.
const CHECKS: usize = 60;

/// For how long it is away. `WATCHBELL_AWAY_SECONDS=600` lets it be ten minutes.
fn away() -> Duration {
    let seconds = std::env::var("WATCHBELL_AWAY_SECONDS").ok();
    Duration::from_secs(seconds.and_then(|text| text.parse().ok()).unwrap_or(8))
}

#[tokio::test]
async fn a_postgres_that_is_away_loses_no_result_and_no_alert() {
    let mut postgres = Postgres::start().await;
    postgres.run("postgres", "CREATE ROLE watchbell LOGIN").await;
    postgres.run("postgres", "CREATE DATABASE history OWNER watchbell").await;
    let (target, webhook) = (Target::start(), Webhook::start());
    let checks: String =
        (0..CHECKS).map(|number| target.check(&format!("shop-{number}"), "")).collect();
    let daemon = Setup::new()
        .history(&format!("store = \"{}\"", postgres.url("watchbell", "history")))
        .tables(&webhook.channel("ops", "rate_limit = \"10000/h\"\ncooldown = \"0s\""))
        .tables("[[route]]\nto = [\"ops\"]\ngroup_by = []\ngroup_window = \"1s\"\n")
        .checks("shops.toml", &checks)
        .start()
        .await;
    for number in 0..CHECKS {
        daemon.wait_for_status(&format!("shop-{number}"), "up").await;
    }
    let before = daemon.memory();

    postgres.service.stop();
    webhook.inbox.wait_for(0, &["DOWN watchbell:store"]).await;
    target.answer(500);
    webhook.inbox.wait_for(0, &["DOWN", "shop-"]).await;
    let mut most = 0;
    let until = tokio::time::Instant::now() + away();
    while tokio::time::Instant::now() < until {
        most = most.max(daemon.memory());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    target.answer(200);
    let runs = target.count();
    eventually("checks to go on", PATIENCE, async || (target.count() > runs + 2).then_some(()))
        .await;
    let waiting = daemon.get("/api/v1/status").await["store"]["waiting"].clone();

    postgres.start_again().await;
    daemon.wait_for_incident("watchbell:store", "resolved", &[]).await;
    let back = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    // The oldest goes first, so that all is written once something new is.
    eventually("all that waited to be written", 2 * PATIENCE, async || {
        let newest = daemon.list("/api/v1/checks/shop-0/results?limit=1").await;
        (seconds(newest.first()?) > back.as_secs_f64()).then_some(())
    })
    .await;
    let (mut results, mut longest) = (0, 0.0_f64);
    for number in 0..CHECKS {
        let found = all_results(&daemon, &format!("shop-{number}")).await;
        results += found.len();
        for pair in found.windows(2) {
            longest = longest.max(seconds(&pair[0]) - seconds(&pair[1]));
        }
    }
    let dropped = daemon.get("/api/v1/status").await["store"]["dropped"].clone();
    println!(
        "PostgreSQL away for {:?} under {CHECKS} checks a second: {waiting} results waited, \
         {results} written, {dropped} lost, no two of a check further apart than {longest:.1} s; \
         memory {:.1} MB before, {:.1} MB at most, {:.1} MB after",
        away(),
        before as f64 / 1e6,
        most as f64 / 1e6,
        daemon.memory() as f64 / 1e6,
    );
    assert_eq!(dropped, 0);
    assert!(results as u64 >= waiting.as_u64().unwrap(), "only {results} of {waiting}");
    // A busy machine is late; whatever was lost while the database was away would be more.
    assert!(longest < away().as_secs_f64().min(6.0), "a gap of {longest} s");
    assert!(most < before + (120 << 20), "memory grew from {before} to {most}");
}

/// All results of a check, newest first.
async fn all_results(daemon: &Daemon, check: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut path = format!("/api/v1/checks/{check}/results?limit=1000");
    loop {
        let answer = daemon.get(&path).await;
        all.extend(answer["items"].as_array().unwrap().iter().cloned());
        let Some(next) = answer["next"].as_str() else { return all };
        path = format!("/api/v1/checks/{check}/results?limit=1000&cursor={next}");
    }
}

fn seconds(result: &Value) -> f64 {
    let at = chrono::DateTime::parse_from_rfc3339(result["at"].as_str().unwrap()).unwrap();
    at.timestamp_millis() as f64 / 1e3
}
