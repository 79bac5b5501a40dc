//! A store that fails stops neither checks nor alerts.

use crate::harness::{PATIENCE, Setup, SmallDisk, Target, Webhook, eventually};

#[tokio::test]
async fn small_disk_full_under_the_store_stops_neither_checks_nor_alerts() {
    let disk = SmallDisk::mount(4);
    let target = Target::start();
    let webhook = Webhook::start();
    let store = disk.path().join("watchbell.db").display().to_string();
    let channel = webhook.channel("ops", "rate_limit = \"1000/h\"\ncooldown = \"0s\"");
    let check = target.check("shop", "confirm_after = 1");
    let daemon = Setup::new()
        .history(&format!("store = \"sqlite:{store}\""))
        .tables(&channel)
        .checks("shop.toml", &check)
        .start()
        .await;
    daemon.wait_for_status("shop", "up").await;

    disk.fill();
    let told = webhook.inbox.wait_for(0, &["DOWN watchbell:store"]).await;
    let id = told.body["incidents"][0]["id"].as_str().unwrap();
    let incident = daemon.get(&format!("/api/v1/incidents/{id}")).await;
    assert_eq!(
        (&incident["check"], &incident["state"]),
        (&"watchbell:store".into(), &"open".into())
    );
    target.answer(500);
    webhook.inbox.wait_for(0, &["DOWN shop"]).await;
    let runs = target.count();
    eventually("checks to go on", PATIENCE, async || (target.count() > runs + 2).then_some(()))
        .await;

    disk.free();
    daemon.wait_for_incident("watchbell:store", "resolved", &[]).await;
    webhook.inbox.wait_for(0, &["UP watchbell:store"]).await;
    let newest = async || {
        let results = daemon.list("/api/v1/checks/shop/results?limit=1").await;
        results.first().map(|result| result["at"].as_str().unwrap().to_owned())
    };
    let seen = newest().await;
    eventually("results to be written again", PATIENCE, async || {
        (newest().await > seen).then_some(())
    })
    .await;
    // What happened meanwhile was kept in memory, and is written now.
    let failed = daemon.list("/api/v1/checks/shop/results?limit=1000").await;
    assert!(failed.iter().any(|result| result["status"] == "down"), "{failed:#?}");
    target.answer(200);
    webhook.inbox.wait_for(0, &["UP shop"]).await;
    let downs = webhook.inbox.saying(&["DOWN shop"]).len();
    assert_eq!(downs, 1, "an alert was sent {downs} times");
}
