//! What a channel's limits hold back is not lost, and says why it waits.

use crate::harness::{Daemon, PATIENCE, Setup, Target, Webhook, eventually};
use serde_json::Value;

/// The notices that open incidents, in a state.
async fn openings(daemon: &Daemon, state: &str) -> Vec<Value> {
    let mut notices = daemon.notices().await;
    notices.retain(|notice| notice["what"] == "opened" && notice["state"] == state);
    notices
}

#[tokio::test]
async fn the_last_slot_of_a_rate_limit_is_a_digest_of_what_it_held_back() {
    const CHECKS: usize = 6;
    let targets: Vec<Target> = (0..CHECKS).map(|_| Target::start()).collect();
    let late = Target::start();
    let webhook = Webhook::start();
    let checks: String = targets
        .iter()
        .enumerate()
        .map(|(number, target)| target.check(&format!("shop-{number}"), "confirm_after = 1"))
        .collect();
    let daemon = Setup::new()
        .tables(&webhook.channel("ops", "rate_limit = \"3/h\"\ncooldown = \"0s\""))
        .checks("shops.toml", &checks)
        .checks("late.toml", &late.check("late", "confirm_after = 1"))
        .start()
        .await;
    for number in 0..CHECKS {
        daemon.wait_for_status(&format!("shop-{number}"), "up").await;
    }
    for target in &targets {
        target.answer(500);
    }
    let messages = webhook.inbox.wait_for_count(3).await;
    let what: Vec<&str> = messages.iter().map(|m| m.body["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["opened", "opened", "digest"]);

    // The slots are used up: what comes now is held, and says why.
    daemon.wait_for_status("late", "up").await;
    late.answer(500);
    daemon.wait_for_incident("late", "open", &[]).await;
    let told: Vec<String> = eventually("each opening to be told or held", PATIENCE, async || {
        let told: Vec<String> = webhook
            .inbox
            .messages()
            .iter()
            .flat_map(|message| message.body["incidents"].as_array().unwrap().clone())
            .map(|incident| incident["check"].as_str().unwrap().to_owned())
            .collect();
        let held = openings(&daemon, "held").await;
        (told.len() + held.len() == CHECKS + 1).then_some(told)
    })
    .await;
    let held = openings(&daemon, "held").await;
    assert!(held.iter().any(|notice| notice["checks"][0] == "late"), "{held:#?}");
    for notice in &held {
        assert_eq!(notice["held_because"], "rate_limit", "{notice:#}");
    }
    println!("{} told in 3 messages, {} held by the rate limit", told.len(), held.len());

    // Whoever was told hears the end of it, beyond all limits; the others need not.
    late.answer(200);
    for target in &targets {
        target.answer(200);
    }
    for check in &told {
        webhook.inbox.wait_for(3, &[&format!("UP {check}")]).await;
    }
    eventually("nothing to be owed", PATIENCE, async || {
        let notices = daemon.notices().await;
        let owed = |notice: &Value| notice["state"] == "held" || notice["state"] == "pending";
        (!notices.iter().any(owed)).then_some(())
    })
    .await;
    let after: Vec<Value> =
        webhook.inbox.messages().into_iter().skip(3).map(|message| message.body).collect();
    assert!(after.iter().all(|body| body["what"] == "resolved"), "{after:#?}");
    assert_eq!(after.len(), told.len(), "{after:#?}");
    assert_eq!(openings(&daemon, "cancelled").await.len(), held.len());
}

#[tokio::test]
async fn a_cooldown_holds_the_second_opening_and_its_end_is_silent() {
    let target = Target::start();
    let webhook = Webhook::start();
    let mut daemon = Setup::new()
        .tables(&webhook.channel("ops", "rate_limit = \"100/h\"\ncooldown = \"1h\""))
        .checks("shop.toml", &target.check("shop", "confirm_after = 1"))
        .start()
        .await;
    daemon.wait_for_status("shop", "up").await;
    target.answer(500);
    webhook.inbox.wait_for(0, &["DOWN shop"]).await;
    target.answer(200);
    webhook.inbox.wait_for(1, &["UP shop"]).await;

    target.answer(500);
    let held = eventually("a held notice", PATIENCE, async || {
        openings(&daemon, "held").await.into_iter().next()
    })
    .await;
    assert_eq!(held["held_because"], "cooldown", "{held:#}");
    assert_eq!(held["checks"][0], "shop");

    // A restart does not forget the cooldown.
    assert_eq!(daemon.stop().0.code(), Some(0));
    daemon.start_again().await;
    assert_eq!(openings(&daemon, "held").await.len(), 1);

    target.answer(200);
    eventually("the held notice to be cancelled", PATIENCE, async || {
        (openings(&daemon, "cancelled").await.len() == 1).then_some(())
    })
    .await;
    let runs = target.count();
    eventually("two more runs", PATIENCE, async || (target.count() > runs + 1).then_some(())).await;
    assert_eq!(webhook.inbox.messages().len(), 2, "the end of an untold incident was told");
}
