//! Who hears what, when, and never twice.

use crate::harness::{Daemon, PATIENCE, Received, Setup, Target, Webhook, eventually};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const UNLIMITED: &str = "rate_limit = \"10000/h\"\ncooldown = \"0s\"";

/// The notices about a check, oldest first.
async fn notices_about(daemon: &Daemon, check: &str) -> Vec<Value> {
    let mut notices = daemon.notices().await;
    notices.retain(|notice| notice["checks"].as_array().unwrap().contains(&json!(check)));
    notices.reverse();
    notices
}

async fn wait_for_held(daemon: &Daemon, check: &str, because: &str) -> Value {
    eventually(&format!("a notice about {check} held by {because}"), PATIENCE, async || {
        let mut notices = notices_about(daemon, check).await;
        notices.retain(|notice| notice["held_because"] == because && notice["state"] == "held");
        notices.pop()
    })
    .await
}

fn words(webhook: &Webhook) -> Vec<String> {
    let word = |body: &Value| {
        let incidents = body["incidents"].as_array().unwrap();
        let names: Vec<&str> = incidents.iter().map(|it| it["check"].as_str().unwrap()).collect();
        format!("{} {}", body["what"].as_str().unwrap(), names.join("+"))
    };
    webhook.inbox.messages().iter().map(|message| word(&message.body)).collect()
}

async fn run_now(daemon: &Daemon, target: &Target, runs: usize) {
    let (status, answer) = daemon.post("/api/v1/checks/shop/run").await;
    assert_eq!(status, 200, "{answer:#}");
    assert!(target.count() > runs);
}

/// A parent that runs rarely and a child that runs each second, both well.
async fn family(webhook: &Webhook) -> (Target, Target, Daemon) {
    let (parent, child) = (Target::start(), Target::start());
    let url = parent.url();
    let checks = format!(
        "[[check]]\nname = \"core\"\nevery = \"8s\"\nretry_every = \"500ms\"\nconfirm_after = 2\n\
         recover_after = 1\n[check.http]\nurl = \"{url}\"\n\n{}",
        child.check("shop", "confirm_after = 1\ndepends_on = [\"core\"]")
    );
    let daemon = Setup::new()
        .tables(&webhook.channel("ops", UNLIMITED))
        .checks("family.toml", &checks)
        .start()
        .await;
    daemon.wait_for_status("core", "up").await;
    daemon.wait_for_status("shop", "up").await;
    (parent, child, daemon)
}

#[tokio::test]
async fn a_child_that_fails_before_its_parent_raises_no_notice() {
    let webhook = Webhook::start();
    let (parent, child, daemon) = family(&webhook).await;
    child.answer(500);
    parent.answer(500);
    webhook.inbox.wait_for(0, &["DOWN core"]).await;
    let held = wait_for_held(&daemon, "shop", "dependency").await;
    assert_eq!(held["what"], "opened", "{held:#}");
    let incident = daemon.wait_for_incident("shop", "open", &[]).await;
    assert_eq!(incident["suppressed_by"], "dependency", "{incident:#}");

    child.answer(200);
    daemon.wait_for_incident("shop", "resolved", &[]).await;
    parent.answer(200);
    webhook.inbox.wait_for(1, &["UP core"]).await;
    let cancelled = notices_about(&daemon, "shop").await;
    assert!(cancelled.iter().all(|notice| notice["state"] == "cancelled"), "{cancelled:#?}");
    assert_eq!(words(&webhook), ["opened core", "resolved core"]);
}

#[tokio::test]
async fn a_child_that_is_still_bad_when_its_parent_is_well_again_is_told_then() {
    let webhook = Webhook::start();
    let (parent, child, daemon) = family(&webhook).await;
    parent.answer(500);
    child.answer(500);
    webhook.inbox.wait_for(0, &["DOWN core"]).await;
    wait_for_held(&daemon, "shop", "dependency").await;
    parent.answer(200);
    webhook.inbox.wait_for(1, &["UP core"]).await;
    webhook.inbox.wait_for(1, &["DOWN shop"]).await;
    child.answer(200);
    webhook.inbox.wait_for(3, &["UP shop"]).await;
    let (mut told, mut expected) =
        (words(&webhook), vec!["opened core", "resolved core", "opened shop", "resolved shop"]);
    told.sort();
    expected.sort_unstable();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_silence_holds_the_opening_and_its_end_lets_it_go() {
    let (target, webhook) = (Target::start(), Webhook::start());
    let daemon = Setup::new()
        .tables(&webhook.channel("ops", UNLIMITED))
        .checks("shop.toml", &target.check("shop", "confirm_after = 1"))
        .start()
        .await;
    daemon.wait_for_status("shop", "up").await;
    let silence = json!({
        "matchers": ["name=shop"], "for": "1h", "author": "alice", "comment": "known",
    });
    let (status, made) = daemon.post_json("/api/v1/silences", &silence).await;
    assert_eq!(status, 201, "{made:#}");
    target.answer(500);
    wait_for_held(&daemon, "shop", "silence").await;
    assert_eq!(words(&webhook), Vec::<String>::new());

    let id = made["id"].as_str().unwrap();
    let (status, _) = daemon.delete(&format!("/api/v1/silences/{id}")).await;
    assert_eq!(status, 200);
    webhook.inbox.wait_for(0, &["DOWN shop"]).await;

    // What was told is told to be over, also while it is silenced again.
    daemon.post_json("/api/v1/silences", &silence).await;
    target.answer(200);
    webhook.inbox.wait_for(1, &["UP shop"]).await;
    assert_eq!(words(&webhook), ["opened shop", "resolved shop"]);
}

#[tokio::test]
async fn a_silence_outlasts_a_restart() {
    let (target, webhook) = (Target::start(), Webhook::start());
    let mut daemon = Setup::new()
        .tables(&webhook.channel("ops", UNLIMITED))
        .checks("shop.toml", &target.check("shop", "confirm_after = 1"))
        .start()
        .await;
    let silence = json!({ "matchers": ["name=~sh.*"], "for": "1h" });
    let (status, made) = daemon.post_json("/api/v1/silences", &silence).await;
    assert_eq!(status, 201, "{made:#}");
    target.answer(500);
    wait_for_held(&daemon, "shop", "silence").await;
    daemon.kill();
    daemon.start_again().await;
    wait_for_held(&daemon, "shop", "silence").await;
    let runs = target.count();
    eventually("two more runs", PATIENCE, async || (target.count() > runs + 1).then_some(())).await;
    assert_eq!(words(&webhook), Vec::<String>::new());
}

#[tokio::test]
async fn a_maintenance_window_holds_what_it_names() {
    let (shop, other, webhook) = (Target::start(), Target::start(), Webhook::start());
    let window = "[[maintenance]]\nname = \"move\"\nwhen = \"name == 'shop'\"\n\
                  start = \"2020-01-01T00:00:00Z\"\nend = \"2120-01-01T00:00:00Z\"\n";
    let daemon = Setup::new()
        .tables(&webhook.channel("ops", UNLIMITED))
        .tables(window)
        .checks("shop.toml", &shop.check("shop", "confirm_after = 1"))
        .checks("other.toml", &other.check("other", "confirm_after = 1"))
        .start()
        .await;
    shop.answer(500);
    other.answer(500);
    wait_for_held(&daemon, "shop", "maintenance").await;
    webhook.inbox.wait_for(0, &["DOWN other"]).await;
    assert_eq!(words(&webhook), ["opened other"]);
}

#[tokio::test]
async fn an_incident_is_escalated_and_remembered_until_somebody_takes_it_on() {
    let target = Target::start();
    let (chat, pager) = (Webhook::start(), Webhook::start());
    let route = "[[route]]\nto = [\"chat\"]\nremind_every = \"2s\"\n\
                 escalate = [{ after = \"3s\", to = [\"pager\"] }]\n";
    let daemon = Setup::new()
        .tables(&chat.channel("chat", UNLIMITED))
        .tables(&pager.channel("pager", UNLIMITED))
        .tables(route)
        .checks("shop.toml", &target.check("shop", "confirm_after = 1"))
        .start()
        .await;
    daemon.wait_for_status("shop", "up").await;
    target.answer(500);
    pager.inbox.wait_for(0, &["shop"]).await;
    assert_eq!(words(&pager), ["escalated shop"]);
    eventually("a reminder", PATIENCE, async || {
        words(&chat).contains(&"reminder shop".to_owned()).then_some(())
    })
    .await;
    let incident = daemon.wait_for_incident("shop", "open", &[]).await;
    let path = format!("/api/v1/incidents/{}/ack", incident["id"].as_str().unwrap());
    let (status, taken) =
        daemon.post_json(&path, &json!({ "by": "alice", "note": "looking" })).await;
    assert_eq!((status, &taken["acknowledged"]["by"]), (200, &json!("alice")), "{taken:#}");
    let heard = words(&chat).len();
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(words(&chat).len(), heard, "a reminder although somebody has taken it on");
    target.answer(200);
    pager.inbox.wait_for(1, &["UP shop"]).await;
    chat.inbox.wait_for(heard, &["UP shop", "alice"]).await;
    let (status, answer) = daemon.post_json(&path, &json!({ "by": "bob" })).await;
    assert_eq!(status, 409, "{answer:#}");
}

#[tokio::test]
async fn another_channel_stands_in_for_one_that_fails() {
    let target = Target::start();
    let (chat, mail) = (Webhook::start(), Webhook::start());
    chat.inbox.set(crate::harness::Mood::Status(500));
    let daemon =
        Setup::new()
            .tables(&chat.channel(
                "chat",
                &format!("{UNLIMITED}\nfallback = \"mail\"\nfallback_after = \"3s\""),
            ))
            .tables(&mail.channel("mail", UNLIMITED))
            .tables(
                "[[route]]\nwhen = \"kind != 'watchbell'\"\nto = [\"chat\"]\n\
                 [[route]]\nto = []\n",
            )
            .checks("shop.toml", &target.check("shop", "confirm_after = 1"))
            .start()
            .await;
    daemon.wait_for_status("shop", "up").await;
    target.answer(500);
    mail.inbox.wait_for(0, &["DOWN shop"]).await;
    target.answer(200);
    mail.inbox.wait_for(1, &["UP shop"]).await;
    assert_eq!(words(&mail), ["opened shop", "resolved shop"]);
}

#[tokio::test]
async fn a_check_that_goes_to_and_fro_is_one_incident() {
    let (target, webhook) = (Target::start(), Webhook::start());
    let url = target.url();
    let check = format!(
        "[[check]]\nname = \"shop\"\nevery = \"1s\"\nconfirm_after = 1\nrecover_after = 1\n\
         [check.http]\nurl = \"{url}\"\n"
    );
    let daemon = Setup::new()
        .tables(&webhook.channel("ops", UNLIMITED))
        .checks("shop.toml", &check)
        .start()
        .await;
    daemon.wait_for_status("shop", "up").await;
    let told = async |what: &str| {
        let all = words(&webhook);
        all.iter().filter(|word| **word == format!("{what} shop")).count()
    };
    let mut status = 500;
    let deadline = Instant::now() + PATIENCE;
    while told("flapping").await == 0 {
        assert!(Instant::now() < deadline, "it was never told to flap: {:?}", words(&webhook));
        let runs = target.count();
        target.answer(status);
        status = 700 - status;
        run_now(&daemon, &target, runs).await;
    }
    let before = words(&webhook).len();
    for _ in 0..12 {
        let runs = target.count();
        target.answer(status);
        status = 700 - status;
        run_now(&daemon, &target, runs).await;
    }
    assert_eq!(words(&webhook).len(), before, "{:?}", words(&webhook));
    target.answer(200);
    webhook.inbox.wait_for(before, &["UP shop"]).await;
    assert_eq!(told("opened").await + told("flapping").await, told("resolved").await + 1);
}

#[tokio::test]
async fn a_storm_of_a_thousand_checks_is_one_alert_and_one_digest() {
    const CHECKS: usize = 1000;
    const WINDOW: Duration = Duration::from_secs(5);
    let (target, webhook) = (Target::start(), Webhook::start());
    let checks: String = (0..CHECKS)
        .map(|number| target.check(&format!("shop-{number:03}"), "confirm_after = 1"))
        .collect();
    let daemon = Setup::new()
        .tables(&webhook.channel("ops", UNLIMITED))
        .tables(
            "[[route]]\nwhen = \"kind == 'http'\"\nto = [\"ops\"]\ngroup_by = []\n\
                 group_window = \"5s\"\n[[route]]\nto = []\n",
        )
        .checks("shops.toml", &checks)
        .start()
        .await;
    eventually("all checks to be well", PATIENCE, async || {
        (daemon.get("/api/v1/status").await["checks"]["up"] == CHECKS).then_some(())
    })
    .await;
    target.answer(500);
    let (first, digests) = all_heard(&webhook, 0, CHECKS).await;
    assert_eq!(
        (&first.body["what"], digests[0].body["what"].as_str()),
        (&json!("opened"), Some("digest"))
    );
    let waited = digests[0].at.duration_since(first.at).unwrap();
    let counts: Vec<usize> = digests.iter().map(|digest| names(&digest.body).len()).collect();
    println!("1 alert, and {waited:?} after it a digest; in all digests of {counts:?}");
    assert!(waited >= WINDOW, "{waited:?}");

    target.answer(200);
    let skip = webhook.inbox.messages().len();
    let (first, digests) = all_heard(&webhook, skip, CHECKS).await;
    assert_eq!(first.body["what"], "resolved");
    assert!(digests.iter().all(|digest| digest.body["what"] == "digest"));
}

/// The first message after the first `skip` ones, and those that came until all checks had been in
/// one: few, since a busy machine takes longer than a window to run a thousand checks.
async fn all_heard(webhook: &Webhook, skip: usize, checks: usize) -> (Received, Vec<Received>) {
    let messages = eventually("news of each check", PATIENCE, async || {
        let messages: Vec<Received> = webhook.inbox.messages().into_iter().skip(skip).collect();
        let told: BTreeSet<String> =
            messages.iter().flat_map(|message| names(&message.body)).collect();
        (told.len() == checks).then_some(messages)
    })
    .await;
    assert!(messages.len() <= 4, "{} messages", messages.len());
    (messages[0].clone(), messages[1..].to_vec())
}

fn names(body: &Value) -> BTreeSet<String> {
    let incidents = body["incidents"].as_array().unwrap();
    incidents.iter().map(|incident| incident["check"].as_str().unwrap().to_owned()).collect()
}
