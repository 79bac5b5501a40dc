//! `kill -9` at any moment of an outage, or of a storm of them, loses no alert.

use crate::harness::{Daemon, Inbox, Mood, PATIENCE, Setup, Target, Webhook, eventually};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// How often the daemon is killed, over all lanes together.
const KILLS: usize = 30;
/// Daemons that are killed side by side, to save time.
const LANES: usize = 3;

#[tokio::test]
async fn thirty_kills_during_outages_lose_no_alert() {
    let lanes = (0..LANES).map(|_| lane(KILLS / LANES));
    let mut sum = Counts::default();
    for counts in futures_util::future::join_all(lanes).await {
        sum.kills += counts.kills;
        sum.before_anybody_heard += counts.before_anybody_heard;
        sum.alerts += counts.alerts;
        sum.repeated += counts.repeated;
    }
    println!(
        "{} kills, {} of them before anybody had heard: {} alerts owed, 0 lost, {} repeated",
        sum.kills, sum.before_anybody_heard, sum.alerts, sum.repeated
    );
    assert_eq!(sum.kills, KILLS);
}

#[derive(Default)]
struct Counts {
    kills: usize,
    before_anybody_heard: usize,
    alerts: usize,
    repeated: usize,
}

async fn lane(rounds: usize) -> Counts {
    let target = Target::start();
    let (slow, quick) = (Webhook::start(), Webhook::start());
    slow.inbox.set(Mood::Slow(Duration::from_millis(400)));
    let keys = "rate_limit = \"10000/h\"\ncooldown = \"0s\"";
    let check = target.check("shop", "confirm_after = 2\nflapping = false");
    let mut daemon = Setup::new()
        .tables(&slow.channel("slow", keys))
        .tables(&quick.channel("quick", keys))
        .checks("shop.toml", &check)
        .start()
        .await;

    let mut counts = Counts::default();
    for _ in 0..rounds {
        daemon.wait_for_status("shop", "up").await;
        let before = [slow.inbox.messages().len(), quick.inbox.messages().len()];
        fail_and_kill(&mut daemon, &target).await;
        counts.kills += 1;
        let nobody_heard = quick.inbox.messages().len() == before[1];
        counts.before_anybody_heard += usize::from(nobody_heard);

        daemon.start_again().await;
        let incident = daemon.wait_for_incident("shop", "open", &[]).await;
        for (inbox, skip) in [(&slow.inbox, before[0]), (&quick.inbox, before[1])] {
            inbox.wait_for(skip, &["DOWN shop"]).await;
        }
        nothing_is_owed(&daemon).await;
        target.answer(200);
        for (inbox, skip) in [(&slow.inbox, before[0]), (&quick.inbox, before[1])] {
            inbox.wait_for(skip, &["UP shop"]).await;
        }
        nothing_is_owed(&daemon).await;
        for (inbox, skip) in [(&slow.inbox, before[0]), (&quick.inbox, before[1])] {
            counts.alerts += 2;
            counts.repeated += repeated(inbox, skip, incident["id"].as_str().unwrap());
        }
    }
    counts
}

/// Lets the target fail, and kills the daemon at a random moment from then until after the alert
/// has been accepted everywhere.
async fn fail_and_kill(daemon: &mut Daemon, target: &Target) {
    let answered = target.count();
    target.answer(500);
    eventually("the first failing answer", PATIENCE, async || {
        (target.count() > answered).then_some(())
    })
    .await;
    let moment = rand::random_range(0..1800);
    tokio::time::sleep(Duration::from_millis(moment)).await;
    daemon.kill();
}

async fn nothing_is_owed(daemon: &Daemon) {
    eventually("the outbox to be empty", PATIENCE, async || {
        let notices = daemon.notices().await;
        let over = |notice: &Value| notice["state"] == "sent" || notice["state"] == "cancelled";
        notices.iter().all(over).then_some(())
    })
    .await;
}

/// How many messages after the first `skip` came twice: at most one, the one that was in flight,
/// with the id that it had the first time.
fn repeated(inbox: &Inbox, skip: usize, incident: &str) -> usize {
    let mut tries: HashMap<(String, String), usize> = HashMap::new();
    for message in inbox.messages().into_iter().skip(skip) {
        let body = &message.body;
        assert_eq!(body["incidents"][0]["id"], incident, "an alert of another incident: {body:#}");
        assert!(!message.id.is_empty(), "a notice without an id: {message:?}");
        let what = body["what"].as_str().unwrap().to_owned();
        *tries.entry((what, message.id)).or_default() += 1;
    }
    let repeated: usize = tries.values().map(|tries| tries - 1).sum();
    assert_eq!(tries.len(), 2, "one opening and one resolution were owed: {tries:?}");
    assert!(repeated <= 1, "more than the one in flight was repeated: {tries:?}");
    repeated
}

/// Checks that fail at once.
const STORM: usize = 60;

#[tokio::test]
async fn thirty_kills_during_storms_lose_no_alert() {
    let lanes = (0..LANES).map(|_| stormy_lane(KILLS / LANES));
    let repeated: usize = futures_util::future::join_all(lanes).await.into_iter().sum();
    let owed = KILLS * STORM * 2;
    println!("{KILLS} kills in storms of {STORM}: {owed} news owed, 0 lost, {repeated} repeated");
}

async fn stormy_lane(rounds: usize) -> usize {
    let (target, webhook) = (Target::start(), Webhook::start());
    let checks: String = (0..STORM)
        .map(|number| {
            target.check(&format!("shop-{number}"), "confirm_after = 1\nflapping = false")
        })
        .collect();
    let mut daemon = Setup::new()
        .tables(&webhook.channel("ops", "rate_limit = \"10000/h\"\ncooldown = \"0s\""))
        .tables("[[route]]\nto = [\"ops\"]\ngroup_by = []\ngroup_window = \"1s\"\n")
        .checks("shops.toml", &checks)
        .start()
        .await;
    let mut repeated = 0;
    for _ in 0..rounds {
        for number in 0..STORM {
            daemon.wait_for_status(&format!("shop-{number}"), "up").await;
        }
        nothing_is_owed(&daemon).await;
        let before = webhook.inbox.messages().len();
        fail_and_kill(&mut daemon, &target).await;
        daemon.start_again().await;
        all_are_told(&webhook, before, Value::is_null).await;
        target.answer(200);
        all_are_told(&webhook, before, |resolved_at| !resolved_at.is_null()).await;
        nothing_is_owed(&daemon).await;
        repeated += repeated_news(&webhook, before);
    }
    repeated
}

/// Waits until there was news of each check, by whether it was resolved.
async fn all_are_told(webhook: &Webhook, skip: usize, news: impl Fn(&Value) -> bool) {
    eventually("news of each check", PATIENCE, async || {
        let mut told = BTreeSet::new();
        for message in webhook.inbox.messages().into_iter().skip(skip) {
            for incident in message.body["incidents"].as_array().unwrap() {
                if news(&incident["resolved_at"]) {
                    told.insert(incident["check"].as_str().unwrap().to_owned());
                }
            }
        }
        (told.len() == STORM).then_some(())
    })
    .await;
}

/// How often the same news came twice: only by the message in flight, with the id of the first.
fn repeated_news(webhook: &Webhook, skip: usize) -> usize {
    let mut carriers: HashMap<(String, bool), BTreeSet<String>> = HashMap::new();
    let mut ids: HashMap<String, usize> = HashMap::new();
    for message in webhook.inbox.messages().into_iter().skip(skip) {
        *ids.entry(message.id.clone()).or_default() += 1;
        for incident in message.body["incidents"].as_array().unwrap() {
            let news =
                (incident["id"].as_str().unwrap().to_owned(), incident["resolved_at"].is_null());
            carriers.entry(news).or_default().insert(message.id.clone());
        }
    }
    for (news, carriers) in carriers {
        assert_eq!(carriers.len(), 1, "{news:?} was told by several messages");
    }
    let repeated: usize = ids.values().map(|times| times - 1).sum();
    assert!(repeated <= 1, "more than the one in flight was repeated");
    repeated
}
