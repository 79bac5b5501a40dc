//! A channel that hangs delays nothing but itself.

use crate::harness::{FiveChannels, Mood, PATIENCE, Setup, Target, eventually};
use std::time::Duration;

#[tokio::test]
async fn a_hanging_channel_delays_neither_checks_nor_other_channels() {
    let channels = FiveChannels::start().await;
    let (broken, healthy) = (Target::start(), Target::start());
    channels.slack.inbox.set(Mood::Hanging);
    let keys = "timeout = \"4s\"\nrate_limit = \"1000/h\"\ncooldown = \"0s\"";
    let daemon = Setup::new()
        .tables(&channels.toml(keys))
        .checks("broken.toml", &broken.check("broken", "confirm_after = 1"))
        .checks("healthy.toml", &healthy.check("healthy", "confirm_after = 1"))
        .start()
        .await;
    daemon.wait_for_status("broken", "up").await;
    daemon.wait_for_status("healthy", "up").await;

    let answers_before = healthy.count();
    broken.answer(500);
    eventually("the alert to hang in Slack", PATIENCE, async || {
        (channels.slack.inbox.attempts() > 0).then_some(())
    })
    .await;
    for (name, inbox) in channels.each().into_iter().filter(|(name, _)| *name != "slack") {
        let heard = inbox.wait_for(0, &["DOWN broken"]).await;
        let failed = broken.answers().iter().find(|(_, status)| *status == 500).unwrap().0;
        let delay = heard.at.duration_since(failed).unwrap_or_default();
        assert!(delay < Duration::from_secs(2), "{name} heard it after {delay:?}");
    }
    // The next alerts wait behind the hanging one in Slack, and nowhere else.
    broken.answer(200);
    for (_, inbox) in channels.each().into_iter().filter(|(name, _)| *name != "slack") {
        inbox.wait_for(0, &["UP broken"]).await;
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    let answers = healthy.answers();
    let gaps = answers[answers_before.saturating_sub(1)..]
        .windows(2)
        .map(|pair| pair[1].0.duration_since(pair[0].0).unwrap_or_default());
    let longest = gaps.max().unwrap();
    println!("longest time between two runs of a check of 1 s: {longest:?}");
    assert!(longest < Duration::from_millis(2500), "a check waited {longest:?}");
    assert_eq!(channels.slack.inbox.messages().len(), 0);

    channels.slack.inbox.set(Mood::Working);
    channels.slack.inbox.wait_for(0, &["DOWN broken"]).await;
    channels.slack.inbox.wait_for(0, &["UP broken"]).await;
    channels.assert_nothing_was_refused();
}

#[tokio::test]
async fn every_kind_of_refusal_is_tried_again_until_the_alert_is_there() {
    let channels = FiveChannels::start().await;
    let target = Target::start();
    channels.slack.inbox.set(Mood::Status(500));
    channels.discord.inbox.set(Mood::TooMany(1));
    channels.telegram.inbox.set(Mood::TooMany(1));
    channels.webhook.inbox.set(Mood::Status(503));
    channels.smtp.set("451 4.3.0 try again later");
    let check = target.check("shop", "confirm_after = 1");
    let keys = "rate_limit = \"1000/h\"\ncooldown = \"0s\"";
    let daemon =
        Setup::new().tables(&channels.toml(keys)).checks("shop.toml", &check).start().await;
    daemon.wait_for_status("shop", "up").await;
    target.answer(500);
    eventually("each channel to be tried twice", PATIENCE, async || {
        let notices = daemon.notices().await;
        let tried = |notice: &&serde_json::Value| {
            notice["state"] == "pending" && notice["attempts"].as_u64() >= Some(2)
        };
        (notices.iter().filter(tried).count() == 5).then_some(())
    })
    .await;
    for notice in daemon.notices().await {
        assert!(notice["last_error"].is_string(), "{notice:#}");
    }
    for (_, inbox) in channels.each() {
        inbox.set(Mood::Working);
    }
    channels.smtp.set("");
    channels.all_hear([0; 5], &["DOWN shop"]).await;

    // An answer that is broken or not understood is still an acceptance.
    channels.webhook.inbox.set(Mood::HalfReply);
    channels.slack.inbox.set(Mood::Garbage);
    target.answer(200);
    channels.all_hear([0; 5], &["UP shop"]).await;
    channels.assert_nothing_was_refused();
}
