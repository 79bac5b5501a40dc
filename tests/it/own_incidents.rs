//! What the daemon says of itself, each by a real fault.

use crate::harness::{Daemon, Mood, PATIENCE, Setup, Signal, Target, Webhook, eventually};

/// What the channels have in common: they hold nothing back.
const CHANNEL: &str = "rate_limit = \"1000/h\"\ncooldown = \"0s\"";

/// How many incidents of the daemon's own there were and are.
async fn own(daemon: &Daemon) -> Vec<String> {
    let all = daemon.list("/api/v1/incidents?limit=1000").await;
    let names = all.iter().map(|incident| incident["check"].as_str().unwrap().to_owned());
    names.filter(|name| name.starts_with("watchbell:")).collect()
}

#[tokio::test]
async fn a_configuration_that_cannot_be_used_is_told_with_its_places_until_it_is_mended() {
    let target = Target::start();
    let webhook = Webhook::start();
    let good = target.check("shop", "confirm_after = 1");
    let daemon = Setup::new()
        .tables(&webhook.channel("ops", CHANNEL))
        .checks("shop.toml", &good)
        .start()
        .await;
    daemon.rewrite_checks("shop.toml", &target.check("shop", "confrim_after = 1\ntimeout = \"x\""));
    daemon.signal(Signal::HUP);
    let told = webhook.inbox.wait_for(0, &["DOWN watchbell:configuration"]).await;
    let reasons = told.body["incidents"][0]["reasons"].as_array().unwrap().clone();
    let says = |words: &str| reasons.iter().any(|it| it.as_str().unwrap().contains(words));
    assert!(says("the old one goes on"), "{reasons:#?}");
    assert!(
        says("shop.toml:") && says("confrim_after") && says("is not a duration"),
        "{reasons:#?}"
    );
    // Another mistake is the same incident, which says so.
    daemon.rewrite_checks("shop.toml", &target.check("shop", "sevrity = \"info\""));
    daemon.signal(Signal::HUP);
    let id = told.body["incidents"][0]["id"].as_str().unwrap().to_owned();
    eventually("the incident to say what is wrong now", PATIENCE, async || {
        let incident = daemon.get(&format!("/api/v1/incidents/{id}")).await;
        incident["reasons"].to_string().contains("sevrity").then_some(())
    })
    .await;
    daemon.rewrite_checks("shop.toml", &good);
    daemon.signal(Signal::HUP);
    webhook.inbox.wait_for(1, &["UP watchbell:configuration"]).await;
    assert_eq!(webhook.inbox.messages().len(), 2, "it was told more than once");
}

#[tokio::test]
async fn a_restart_begins_without_a_bad_configuration_that_was_mended_meanwhile() {
    let target = Target::start();
    let webhook = Webhook::start();
    let mut daemon = Setup::new()
        .tables(&webhook.channel("ops", CHANNEL))
        .checks("shop.toml", &target.check("shop", "confirm_after = 1"))
        .start()
        .await;
    daemon.rewrite_checks("shop.toml", "[[check]]\n");
    daemon.signal(Signal::HUP);
    webhook.inbox.wait_for(0, &["DOWN watchbell:configuration"]).await;
    daemon.kill();
    daemon.rewrite_checks("shop.toml", &target.check("shop", "confirm_after = 1"));
    daemon.start_again().await;
    webhook.inbox.wait_for(1, &["UP watchbell:configuration"]).await;
}

#[tokio::test]
async fn a_channel_that_fails_is_told_by_the_others_and_sets_off_nothing_more() {
    let target = Target::start();
    let (broken, working, last) = (Webhook::start(), Webhook::start(), Webhook::start());
    broken.inbox.set(Mood::Status(503));
    let fails_soon = format!("{CHANNEL}\nfallback = \"working\"\nfallback_after = \"1s\"");
    let daemon = Setup::new()
        .tables(&broken.channel("broken", &fails_soon))
        .tables(&working.channel("working", CHANNEL))
        .tables(&last.channel("last", CHANNEL))
        .checks("shop.toml", &target.check("shop", "confirm_after = 1"))
        .start()
        .await;
    daemon.wait_for_status("shop", "up").await;
    target.answer(500);
    for channel in [&working, &last] {
        channel.inbox.wait_for(0, &["DOWN watchbell:channel:broken", "503"]).await;
    }
    assert_eq!(own(&daemon).await, ["watchbell:channel:broken"]);
    broken.inbox.set(Mood::Working);
    broken.inbox.wait_for(0, &["DOWN shop"]).await;
    for channel in [&working, &last] {
        channel.inbox.wait_for(0, &["UP watchbell:channel:broken"]).await;
    }
    assert_eq!(own(&daemon).await, ["watchbell:channel:broken"]);
    assert!(broken.inbox.saying(&["watchbell:"]).is_empty(), "it was told of itself");
    let told = working.inbox.saying(&["watchbell:channel:broken"]).len();
    assert_eq!(told, 2, "it was told {told} times");
}

#[tokio::test]
async fn a_channel_whose_stand_in_fails_as_well_sets_off_nothing_more() {
    let target = Target::start();
    let (one, two) = (Webhook::start(), Webhook::start());
    one.inbox.set(Mood::Status(503));
    two.inbox.set(Mood::Status(503));
    let to_two = format!("{CHANNEL}\nfallback = \"two\"\nfallback_after = \"1s\"");
    let daemon = Setup::new()
        .tables(&one.channel("one", &to_two))
        .tables(&two.channel("two", CHANNEL))
        .checks("shop.toml", &target.check("shop", "confirm_after = 1"))
        .start()
        .await;
    daemon.wait_for_status("shop", "up").await;
    target.answer(500);
    daemon.wait_for_incident("watchbell:channel:one", "open", &[]).await;
    let tries = (one.inbox.attempts(), two.inbox.attempts());
    eventually("both to be tried on", PATIENCE, async || {
        (one.inbox.attempts() > tries.0 && two.inbox.attempts() > tries.1).then_some(())
    })
    .await;
    assert_eq!(own(&daemon).await, ["watchbell:channel:one"]);
    two.inbox.set(Mood::Working);
    two.inbox.wait_for(0, &["DOWN watchbell:channel:one"]).await;
    one.inbox.set(Mood::Working);
    two.inbox.wait_for(0, &["UP watchbell:channel:one"]).await;
    assert!(one.inbox.saying(&["watchbell:"]).is_empty(), "it was told of itself");
}

#[tokio::test]
async fn a_delivery_that_comes_to_no_end_is_told_by_the_other_channels() {
    let target = Target::start();
    let (hanging, working) = (Webhook::start(), Webhook::start());
    hanging.inbox.set(Mood::Hanging);
    let patient = format!("{CHANNEL}\ntimeout = \"10s\"");
    let daemon = Setup::new()
        .daemon("own_incidents = { outbox_stuck = \"1s\" }")
        .tables(&hanging.channel("hanging", &patient))
        .tables(&working.channel("working", CHANNEL))
        .checks("shop.toml", &target.check("shop", "confirm_after = 1"))
        .start()
        .await;
    daemon.wait_for_status("shop", "up").await;
    target.answer(500);
    working.inbox.wait_for(0, &["DOWN watchbell:outbox:hanging"]).await;
    hanging.inbox.set(Mood::Working);
    working.inbox.wait_for(0, &["UP watchbell:outbox:hanging"]).await;
    hanging.inbox.wait_for(0, &["DOWN shop"]).await;
    assert!(hanging.inbox.saying(&["watchbell:"]).is_empty(), "it was told of itself");
}
