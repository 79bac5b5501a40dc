//! People operate the daemon from a chat in Telegram.

use crate::harness::{Daemon, Mood, PATIENCE, Setup, Signal, Target, Telegram, eventually};
use serde_json::{Value, json};

const ANN: u64 = 4_242;

/// A daemon with one check, which is well, and a chat in which Ann may operate.
async fn shop(telegram: &Telegram, target: &Target) -> Daemon {
    let topic = Telegram::TOPIC;
    let keys = format!(
        "message_thread_id = {topic}\nsilent_below = \"critical\"\noperate = {{ users = [{ANN}] }}"
    );
    let check = target.check("shop", "confirm_after = 1");
    let daemon =
        Setup::new().tables(&telegram.channel(&keys)).checks("shop.toml", &check).start().await;
    daemon.wait_for_status("shop", "up").await;
    daemon
}

fn ann() -> Value {
    Telegram::person(ANN, "ann")
}

/// Waits until the only incident that is open is acknowledged, and gives it.
async fn acknowledged(daemon: &Daemon) -> Value {
    eventually("an acknowledgement", PATIENCE, async || {
        let open = daemon.list("/api/v1/incidents?state=open").await;
        open.into_iter().find(|incident| incident["acknowledged"].is_object())
    })
    .await
}

#[tokio::test]
async fn an_operator_asks_takes_on_and_silences_and_a_stranger_does_not() {
    let (telegram, target) = (Telegram::start(), Target::start());
    let daemon = shop(&telegram, &target).await;
    telegram.write(&ann(), "/status", None);
    telegram.said(0, &["test: 1 up", "No open incident."]).await;
    let answer = &telegram.inbox.messages()[0].body;
    assert_eq!(answer["message_thread_id"], Telegram::TOPIC, "{answer:#}");

    target.answer(500);
    let alert = telegram.said(1, &["DOWN", "shop"]).await;
    let sent = telegram.message(alert);
    assert_eq!(sent["message_thread_id"], Telegram::TOPIC);
    assert_eq!(sent.get("disable_notification"), None, "critical makes a sound");
    let row = sent["reply_markup"]["inline_keyboard"][0].as_array().unwrap();
    assert_eq!((&row[0]["text"], &row[1]["text"]), (&"Acknowledge".into(), &"Silence 2h".into()));

    // Nobody else gets anywhere, nor gets an answer.
    let eve = Telegram::person(666, "eve");
    let heard = telegram.inbox.messages().len();
    telegram.press(&eve, alert, "Acknowledge");
    telegram.toast("You are not allowed to do this.").await;
    telegram.write(&eve, "/ack shop", None);
    telegram.write(&eve, "/status", None);
    telegram.write_elsewhere(&ann(), "/ack shop");
    telegram.write(&ann(), "/status@another_bot", None);
    telegram.write(&ann(), "good morning", None);
    telegram.all_dealt_with().await;
    let open = daemon.wait_for_incident("shop", "open", &[]).await;
    assert_eq!(open["acknowledged"], Value::Null, "{open:#}");
    assert_eq!(telegram.inbox.messages().len(), heard);
    let log = daemon.log();
    let named: Vec<&str> = log.lines().filter(|line| line.contains("may not operate")).collect();
    assert_eq!(named.len(), 2, "{named:#?}");

    telegram.press(&ann(), alert, "Acknowledge");
    telegram.toast("You have taken shop on.").await;
    assert_eq!(acknowledged(&daemon).await["acknowledged"]["by"], "@ann");
    telegram.said(heard, &["shop: acknowledged by @ann"]).await;
    assert_eq!(telegram.message(alert).get("reply_markup"), None, "the buttons are gone");
    assert!(daemon.log().contains("an acknowledgement was asked for"));

    telegram.write(&ann(), "/check shop", None);
    telegram.said(heard, &["shop down for", "acknowledged by @ann", "500"]).await;
    telegram.write(&ann(), "/check shup", None);
    telegram.said(heard, &["There is no check `shup`: did you mean `shop`?"]).await;
    telegram.write(&ann(), "/incidents", None);
    telegram.said(heard, &["shop down for", open["id"].as_str().unwrap()]).await;
    telegram.write(&ann(), "/snooze shop 2h", None);
    telegram.said(heard, &["shop: no reminder until"]).await;
    target.answer(200);
    telegram.said(heard, &["UP", "shop"]).await;

    telegram.write(&ann(), "/silence shop 2h moving house", None);
    telegram.said(heard, &["name=\"shop\" is silent until", "by @ann"]).await;
    let silence = daemon.list("/api/v1/silences?state=active").await.remove(0);
    assert_eq!((&silence["author"], &silence["comment"]), (&"@ann".into(), &"moving house".into()));
    let heard = telegram.inbox.messages().len();
    target.answer(500);
    let again = daemon.wait_for_incident("shop", "open", &[]).await;
    assert_eq!(again["suppressed_by"], "silence", "{again:#}");
    telegram.write(&ann(), "/ack", None);
    telegram.said(heard, &["shop: acknowledged by @ann"]).await;
    assert!(telegram.inbox.saying(&["DOWN"]).len() == 1, "the second alert is held");
    assert_eq!(telegram.refusals(), [""; 0]);
}

#[tokio::test]
async fn what_was_answered_before_a_restart_is_not_answered_again() {
    let (telegram, target) = (Telegram::start(), Target::start());
    let mut daemon = shop(&telegram, &target).await;
    target.answer(500);
    let alert = telegram.said(0, &["DOWN", "shop"]).await;
    telegram.write(&ann(), "/ack on it", Some(alert));
    telegram.said(1, &["shop: acknowledged by @ann"]).await;
    assert_eq!(acknowledged(&daemon).await["acknowledged"]["note"], "on it");
    let (status, _) = daemon.stop();
    assert!(status.success());
    assert_eq!(telegram.waiting(), 0, "Telegram knows how far the bot got");
    let heard = telegram.inbox.messages().len();

    telegram.write(&ann(), "/status", None);
    daemon.start_again().await;
    telegram.said(heard, &["test: 1", "shop"]).await;
    telegram.all_dealt_with().await;
    assert_eq!(telegram.inbox.messages().len(), heard + 1);
}

#[tokio::test]
async fn the_bot_goes_on_after_telegram_was_away_and_says_who_else_polls() {
    let (mut telegram, target) = (Telegram::start(), Target::start());
    let daemon = shop(&telegram, &target).await;
    telegram.write(&ann(), "/help", None);
    telegram.said(0, &["/silence NAME 2h"]).await;
    telegram.go_away();
    let noticed = || daemon.log().contains("Telegram does not say").then_some(());
    eventually("the daemon to notice", PATIENCE, async || noticed()).await;
    telegram.come_back();
    telegram.write(&ann(), "/status", None);
    telegram.said(1, &["test: 1 up"]).await;

    let poll = format!("{}/bot{}/GetUpdates", telegram.url(), Telegram::TOKEN);
    let other = crate::harness::client().post(poll).json(&json!({ "timeout": 0 }));
    assert_eq!(other.send().await.unwrap().status(), 200);
    let told = || daemon.log().contains("another program polls Telegram").then_some(());
    eventually("the conflict to be told", PATIENCE, async || told()).await;
    telegram.write(&ann(), "/incidents", None);
    telegram.said(2, &["No open incident."]).await;
    assert!(!daemon.log().contains(Telegram::TOKEN), "the token is in the log");
    assert_eq!(telegram.inbox.mood(), Mood::Working);
    assert_eq!(telegram.refusals(), [""; 0]);
}

#[tokio::test]
async fn a_reload_changes_who_may_operate() {
    let (telegram, target) = (Telegram::start(), Target::start());
    let daemon = shop(&telegram, &target).await;
    let reload = async |from: &str, to: &str, count: usize| {
        let path = daemon.setup().config();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
        daemon.signal(Signal::HUP);
        let done =
            || (daemon.log().matches("configuration reloaded").count() == count).then_some(());
        eventually("the reload", PATIENCE, async || done()).await;
    };
    let eve = Telegram::person(666, "eve");
    telegram.write(&eve, "/help", None);
    telegram.all_dealt_with().await;
    assert_eq!(telegram.inbox.messages().len(), 0);

    reload("users = [4242]", "users = [4242, 666]", 1).await;
    telegram.write(&eve, "/status", None);
    telegram.said(0, &["test: 1 up"]).await;
    telegram.all_dealt_with().await;

    reload("operate = ", "# operate = ", 2).await;
    telegram.write(&eve, "/status", None);
    assert_eq!(telegram.waiting(), 1, "nobody polls any more");
    assert_eq!(telegram.inbox.messages().len(), 1);
    assert_eq!(telegram.refusals(), [""; 0]);
}
