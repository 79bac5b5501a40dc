//! Where one mail server is away or silent, another takes the mails.

use crate::harness::{Daemon, PATIENCE, Setup, Smtp, Target, eventually, free_port};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;

/// A daemon whose mails go to `first`, or else to `second`, with a check that is well.
async fn shop(first: u16, second: &Smtp, target: &Target) -> Daemon {
    let channel = format!(
        "[[channel]]\nname = \"mail\"\ncooldown = \"0s\"\n[channel.email]\nhost = \"127.0.0.1\"\n\
         port = {first}\nfallback_hosts = [\"127.0.0.1:{}\"]\ntls = \"none\"\n\
         from = \"Watchbell <watchbell@shop.example>\"\nto = [\"ops@shop.example\"]\n",
        second.port
    );
    let check = target.check("shop", "confirm_after = 1");
    let daemon = Setup::new().tables(&channel).checks("shop.toml", &check).start().await;
    daemon.wait_for_status("shop", "up").await;
    daemon
}

/// The port of something that takes connections and never says a word, and how many it took.
async fn silent() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&taken);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            held.push(stream);
        }
    });
    (port, taken)
}

/// The next server was asked within the same try.
async fn assert_no_second_try(daemon: &Daemon) {
    for notice in daemon.notices().await {
        // What has just arrived may not be noted yet.
        assert!(notice["attempts"].as_u64().unwrap() <= 1, "{notice:#}");
        assert_eq!(notice["last_error"], Value::Null, "{notice:#}");
    }
}

#[tokio::test]
async fn the_second_server_takes_what_the_first_that_is_down_cannot() {
    let (second, target) = (Smtp::start().await, Target::start());
    let daemon = shop(free_port(), &second, &target).await;
    target.answer(500);
    second.inbox.wait_for(0, &["DOWN shop"]).await;
    target.answer(200);
    second.inbox.wait_for(1, &["UP shop"]).await;
    assert_no_second_try(&daemon).await;
}

#[tokio::test]
async fn a_first_server_that_hangs_costs_one_mail_some_seconds() {
    let (second, target) = (Smtp::start().await, Target::start());
    let (first, taken) = silent().await;
    let daemon = shop(first, &second, &target).await;
    for round in 0..2 {
        target.answer(500);
        second.inbox.wait_for(2 * round, &["DOWN shop"]).await;
        target.answer(200);
        second.inbox.wait_for(2 * round + 1, &["UP shop"]).await;
    }
    assert_eq!(taken.load(Ordering::SeqCst), 1, "the good one is remembered");
    assert_no_second_try(&daemon).await;
}

#[tokio::test]
async fn a_mail_that_the_first_server_refuses_goes_to_no_other() {
    let (first, second, target) = (Smtp::start().await, Smtp::start().await, Target::start());
    first.set("554 5.7.1 this is spam");
    let daemon = shop(first.port, &second, &target).await;
    target.answer(500);
    let refused = eventually("the mail to be rejected", PATIENCE, async || {
        let notices = daemon.notices().await;
        notices.into_iter().find(|notice| notice["state"] == "rejected")
    })
    .await;
    assert!(refused["last_error"].to_string().contains("this is spam"), "{refused}");
    assert!(second.inbox.messages().is_empty());
}
