//! Stopping, starting again and reloading lose nothing and repeat nothing.

use crate::harness::{Daemon, Mood, PATIENCE, Setup, Signal, Target, Webhook, eventually};
use std::time::Duration;

/// What the channels have in common: they hold nothing back, and are patient.
const CHANNEL: &str = "rate_limit = \"1000/h\"\ncooldown = \"0s\"\ntimeout = \"60s\"";

/// Waits until the target has answered `count` times more.
async fn runs(target: &Target, count: usize) {
    let goal = target.count() + count;
    eventually("some more runs", PATIENCE, async || (target.count() >= goal).then_some(())).await;
}

#[tokio::test]
async fn sigterm_ends_within_ten_seconds_whatever_is_under_way() {
    let (slow, broken) = (Target::start(), Target::start());
    let (hanging, working) = (Webhook::start(), Webhook::start());
    slow.delay(Duration::from_secs(120));
    broken.answer(500);
    hanging.inbox.set(Mood::Hanging);
    let mut daemon = Setup::new()
        .tables(&hanging.channel("hanging", CHANNEL))
        .tables(&working.channel("working", CHANNEL))
        .checks("slow.toml", &slow.check("slow", "timeout = \"90s\""))
        .checks("broken.toml", &broken.check("broken", "confirm_after = 1"))
        .start()
        .await;
    working.inbox.wait_for(0, &["DOWN broken"]).await;
    eventually("the alert to hang", PATIENCE, async || {
        (hanging.inbox.attempts() > 0).then_some(())
    })
    .await;
    let (status, took) = daemon.stop();
    println!("stopped in {took:?} with a slow check and a hanging delivery");
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(took < Duration::from_secs(10), "it took {took:?}");

    // What hung is still owed; what was accepted is not sent again.
    hanging.inbox.set(Mood::Working);
    daemon.start_again().await;
    hanging.inbox.wait_for(0, &["DOWN broken"]).await;
    runs(&broken, 3).await;
    assert_eq!(working.inbox.messages().len(), 1);
    assert_eq!(hanging.inbox.messages().len(), 1);
}

#[tokio::test]
async fn a_restart_alerts_nothing_again_and_resolves_what_it_told() {
    let target = Target::start();
    let webhook = Webhook::start();
    let mut daemon = Setup::new()
        .tables(&webhook.channel("ops", CHANNEL))
        .checks("shop.toml", &target.check("shop", "confirm_after = 2"))
        .start()
        .await;
    daemon.wait_for_status("shop", "up").await;
    target.answer(500);
    webhook.inbox.wait_for(0, &["DOWN shop"]).await;
    let incident = daemon.wait_for_incident("shop", "open", &[]).await;
    for crash in [false, true] {
        if crash {
            daemon.kill();
        } else {
            assert_eq!(daemon.stop().0.code(), Some(0));
        }
        daemon.start_again().await;
        runs(&target, 4).await;
        let open = daemon.list("/api/v1/incidents?state=open").await;
        assert_eq!(open.len(), 1, "{open:#?}");
        assert_eq!(open[0]["id"], incident["id"]);
        assert_eq!(open[0]["opened_at"], incident["opened_at"]);
        assert_eq!(webhook.inbox.messages().len(), 1, "it alerted again");
    }
    target.answer(200);
    webhook.inbox.wait_for(1, &["UP shop"]).await;
    runs(&target, 2).await;
    assert_eq!(webhook.inbox.messages().len(), 2);
}

#[tokio::test]
async fn a_restart_loses_no_count_of_failures() {
    let target = Target::start();
    let mut daemon =
        Setup::new().checks("shop.toml", &target.check("shop", "confirm_after = 6")).start().await;
    daemon.wait_for_status("shop", "up").await;
    let before = target.count();
    target.answer(500);
    runs(&target, 4).await;
    daemon.wait_for_status("shop", "down").await;
    assert_eq!(daemon.stop().0.code(), Some(0));
    daemon.start_again().await;
    daemon.wait_for_incident("shop", "open", &[]).await;
    let failures = target.count() - before;
    assert!(failures < 9, "the count began anew: it took {failures} failures, not 6");
}

/// Asks for a reload and waits until the log has `count` lines that say `word`.
async fn reload(daemon: &Daemon, word: &str) {
    let said = |daemon: &Daemon| daemon.log().matches(word).count();
    let before = said(daemon);
    daemon.signal(Signal::HUP);
    eventually(&format!("the log to say `{word}`"), PATIENCE, async || {
        (said(daemon) > before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_bad_reload_keeps_the_old_plan_and_a_good_one_keeps_the_state() {
    let (one, two) = (Target::start(), Target::start());
    let webhook = Webhook::start();
    let daemon = Setup::new()
        .tables(&webhook.channel("ops", CHANNEL))
        .checks("one.toml", &one.check("one", "confirm_after = 1"))
        .checks("two.toml", &two.check("two", "confirm_after = 1"))
        .start()
        .await;
    daemon.wait_for_status("two", "up").await;
    one.answer(500);
    webhook.inbox.wait_for(0, &["DOWN one"]).await;
    let incident = daemon.wait_for_incident("one", "open", &[]).await;

    // A typing mistake in one file, and a new check in another: none of it counts.
    daemon.rewrite_checks("two.toml", &two.check("two", "confrim_after = 1"));
    daemon.rewrite_checks("three.toml", &two.check("three", "confirm_after = 1"));
    reload(&daemon, "confrim_after").await;
    runs(&two, 3).await;
    let names = |checks: Vec<serde_json::Value>| -> Vec<String> {
        checks.iter().map(|check| check["name"].as_str().unwrap().to_owned()).collect()
    };
    let mut known = names(daemon.list("/api/v1/checks").await);
    known.retain(|name| !name.starts_with("watchbell:"));
    known.sort();
    assert_eq!(known, ["one", "two"]);
    assert_eq!(daemon.get_text("/ready").await.0, 200);
    webhook.inbox.wait_for(0, &["DOWN watchbell:"]).await;

    // Mended: the new check comes, the failing one keeps its incident and its silence.
    daemon.rewrite_checks("two.toml", &two.check("two", "confirm_after = 2"));
    daemon.signal(Signal::HUP);
    eventually("the new check to be known", PATIENCE, async || {
        names(daemon.list("/api/v1/checks").await).contains(&"three".to_owned()).then_some(())
    })
    .await;
    daemon.wait_for_status("three", "up").await;
    webhook.inbox.wait_for(0, &["UP watchbell:"]).await;
    runs(&one, 3).await;
    let open = daemon.list("/api/v1/incidents?state=open").await;
    assert_eq!((open.len(), &open[0]["id"]), (1, &incident["id"]));
    assert_eq!(webhook.inbox.saying(&["DOWN one"]).len(), 1, "it alerted again");

    // A failing check that is removed resolves, and says why.
    std::fs::remove_file(daemon.setup().folder().join("checks.d/one.toml")).unwrap();
    daemon.signal(Signal::HUP);
    let over = daemon.wait_for_incident("one", "resolved", &[]).await;
    assert_eq!(over["id"], incident["id"]);
    let last = over["timeline"].as_array().unwrap().last().unwrap();
    assert!(last["detail"].as_str().unwrap().contains("removed"), "{last:#}");
    webhook.inbox.wait_for(1, &["CLOSED one", "the check was removed"]).await;
}

/// Puts `new` in the place of `old` in daemon.toml.
fn rewrite_daemon(daemon: &Daemon, old: &str, new: &str) {
    let path = daemon.setup().config();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(old), "no {old} in {text}");
    std::fs::write(&path, text.replace(old, new)).unwrap();
}

#[tokio::test]
async fn a_crash_loses_no_resolution_of_an_incident_that_lasted() {
    let target = Target::start();
    let webhook = Webhook::start();
    // The limits look back one second, so that the opening soon lies before that.
    let channel = webhook.channel("ops", CHANNEL).replace("1000/h", "1000/s");
    let mut daemon = Setup::new()
        .tables(&channel)
        .checks("shop.toml", &target.check("shop", "confirm_after = 1"))
        .start()
        .await;
    target.answer(500);
    webhook.inbox.wait_for(0, &["DOWN shop"]).await;
    runs(&target, 3).await;
    webhook.inbox.set(Mood::Hanging);
    let before = webhook.inbox.attempts();
    target.answer(200);
    eventually("the resolution to hang", PATIENCE, async || {
        (webhook.inbox.attempts() > before).then_some(())
    })
    .await;
    daemon.kill();
    webhook.inbox.set(Mood::Working);
    daemon.start_again().await;
    webhook.inbox.wait_for(1, &["UP shop"]).await;
}

#[tokio::test]
async fn an_incident_that_opens_during_a_reload_is_told() {
    let (one, two) = (Target::start(), Target::start());
    let (before, after) = (Webhook::start(), Webhook::start());
    before.inbox.set(Mood::Hanging);
    let old = before.channel("before", CHANNEL);
    let daemon = Setup::new()
        .tables(&format!("{old}[[route]]\nto = [\"before\"]\n"))
        .checks("one.toml", &one.check("one", "confirm_after = 1"))
        .checks("two.toml", &two.check("two", "confirm_after = 1"))
        .start()
        .await;
    daemon.wait_for_status("two", "up").await;
    one.answer(500);
    eventually("the alert to hang", PATIENCE, async || (before.inbox.attempts() > 0).then_some(()))
        .await;
    // The old channel is replaced while a try of it is in flight, which takes a minute to end.
    rewrite_daemon(&daemon, &old, &after.channel("after", CHANNEL));
    rewrite_daemon(&daemon, "to = [\"before\"]", "to = [\"after\"]");
    daemon.signal(Signal::HUP);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    two.answer(500);
    after.inbox.wait_for(0, &["DOWN two"]).await;
}

#[tokio::test]
async fn sigterm_ends_a_reload_that_is_under_way() {
    let target = Target::start();
    let (hanging, other) = (Webhook::start(), Webhook::start());
    hanging.inbox.set(Mood::Hanging);
    let old = hanging.channel("hanging", CHANNEL);
    let mut daemon = Setup::new()
        .tables(&old)
        .checks("shop.toml", &target.check("shop", "confirm_after = 1"))
        .start()
        .await;
    target.answer(500);
    eventually("the alert to hang", PATIENCE, async || {
        (hanging.inbox.attempts() > 0).then_some(())
    })
    .await;
    rewrite_daemon(&daemon, &old, &other.channel("other", CHANNEL));
    daemon.signal(Signal::HUP);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (status, took) = daemon.stop();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(took < Duration::from_secs(10), "it took {took:?}");
}

#[tokio::test]
async fn nothing_stays_owed_to_a_channel_that_is_gone() {
    let target = Target::start();
    let (kept, gone) = (Webhook::start(), Webhook::start());
    let old = gone.channel("gone", CHANNEL);
    let daemon = Setup::new()
        .tables(&kept.channel("kept", CHANNEL))
        .tables(&old)
        .checks("shop.toml", &target.check("shop", "confirm_after = 1"))
        .start()
        .await;
    target.answer(500);
    gone.inbox.wait_for(0, &["DOWN shop"]).await;
    kept.inbox.wait_for(0, &["DOWN shop"]).await;
    rewrite_daemon(&daemon, &old, "");
    reload(&daemon, "configuration reloaded").await;
    target.answer(200);
    kept.inbox.wait_for(1, &["UP shop"]).await;
    eventually("nothing to be owed", Duration::from_secs(5), async || {
        let notices = daemon.notices().await;
        notices.iter().all(|notice| notice["state"] != "pending").then_some(())
    })
    .await;
    let cancelled = daemon.list("/api/v1/notices?state=cancelled").await;
    assert_eq!((cancelled.len(), &cancelled[0]["channel"]), (1, &"gone".into()), "{cancelled:#?}");
    assert!(cancelled[0]["last_error"].as_str().unwrap().contains("configured"), "{cancelled:#?}");
}

#[tokio::test]
async fn a_second_daemon_leaves_the_history_of_the_first_alone() {
    let daemon = Setup::new().start().await;
    let address = daemon.url("").replace("http://", "");
    rewrite_daemon(&daemon, &address, "127.0.0.1:0");
    let second = daemon.setup().command(&["run"]).await;
    assert_eq!(second.code, 3, "{}", second.all());
    assert!(second.all().contains("another watchbell uses"), "{}", second.all());
}

#[tokio::test]
async fn a_third_party_hears_that_the_daemon_lives_and_two_daemons_can_watch_each_other() {
    let uuid = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278";
    let check = format!(
        "[[check]]\nname = \"other\"\n[check.heartbeat]\nuuid = \"{uuid}\"\nperiod = \"2m\"\n"
    );
    let watcher = Setup::new().checks("other.toml", &check).start().await;
    assert_eq!(watcher.get("/api/v1/checks/other").await["status"], "unknown");
    let address = watcher.url(&format!("/ping/{uuid}"));
    let key = format!("heartbeat_url = \"{address}\"");
    let watched = Setup::new().daemon(&key).start().await;
    watcher.wait_for_status("other", "up").await;
    assert!(!watched.log().contains(uuid), "the address is a secret");
}
