//! A feed over a WebSocket: held between runs, found out when it goes quiet, let go with its check.

use crate::harness::{Local, PATIENCE, Setup, Signal, eventually};
use futures_util::{SinkExt, StreamExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

/// A server that sends a price ten times a second, and a heartbeat beside it.
struct Prices {
    local: Local,
    is_quiet: Arc<AtomicBool>,
    open: Arc<AtomicUsize>,
    ever: Arc<AtomicUsize>,
}

impl Prices {
    fn start() -> Self {
        let is_quiet = Arc::new(AtomicBool::new(false));
        let (open, ever) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let shared = (Arc::clone(&is_quiet), Arc::clone(&open), Arc::clone(&ever));
        let local = Local::start(move |listener| {
            let shared = shared.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (is_quiet, open, ever) = shared.clone();
                    tokio::spawn(async move {
                        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else {
                            return;
                        };
                        open.fetch_add(1, Ordering::SeqCst);
                        ever.fetch_add(1, Ordering::SeqCst);
                        let mut ticks = tokio::time::interval(Duration::from_millis(100));
                        loop {
                            tokio::select! {
                                heard = socket.next() => {
                                    if !matches!(heard, Some(Ok(_))) {
                                        break;
                                    }
                                }
                                _ = ticks.tick() => {
                                    let text = match is_quiet.load(Ordering::SeqCst) {
                                        true => r#"{"type": "heartbeat"}"#,
                                        false => r#"{"type": "price", "eur": 7}"#,
                                    };
                                    if socket.send(Message::text(text)).await.is_err() {
                                        break;
                                    }
                                }
                            }
                        }
                        open.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            }
        });
        Self { local, is_quiet, open, ever }
    }

    fn check(&self, threshold: &str) -> String {
        format!(
            "[[check]]\nname = \"prices\"\nevery = \"1s\"\nconfirm_after = 1\nrecover_after = 1\n\
             expect = [\"seconds_since_message < {threshold}\"]\n[check.websocket]\n\
             url = \"ws://127.0.0.1:{}/\"\nsubscribe = true\n\
             count_if = [\"json.type != 'heartbeat'\"]\n\n",
            self.local.port
        )
    }

    async fn wait_until_open(&self, count: usize) {
        let what = format!("{count} connections");
        eventually(&what, PATIENCE, async || {
            (self.open.load(Ordering::SeqCst) == count).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_feed_that_goes_quiet_is_found_within_a_second() {
    let mut prices = Prices::start();
    let daemon = Setup::new().checks("a.toml", &prices.check("3.0")).start().await;
    let up = daemon.wait_for_status("prices", "up").await;
    assert_eq!(up["facts"]["connected"], true, "{up:#}");
    eventually("some messages", PATIENCE, async || {
        let check = daemon.get("/api/v1/checks/prices").await;
        check["facts"]["messages"].as_i64().filter(|count| *count >= 15)
    })
    .await;
    assert_eq!(prices.ever.load(Ordering::SeqCst), 1, "all runs share a connection");

    // Heartbeats go on, and do not count.
    prices.is_quiet.store(true, Ordering::SeqCst);
    let incident = daemon.wait_for_incident("prices", "open", &[]).await;
    let reason = incident["reasons"][0].as_str().unwrap();
    let seconds = reason.split("seconds_since_message is ").nth(1).unwrap();
    let digits: String = seconds.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let seconds: f64 = digits.trim_end_matches('.').parse().unwrap();
    println!("found {seconds} s after the last message");
    // It was a run of every second that found it, so it was quiet for no more than one longer; the
    // rest is for a machine that is busy.
    assert!((3.0..6.0).contains(&seconds), "{reason}");

    prices.is_quiet.store(false, Ordering::SeqCst);
    daemon.wait_for_status("prices", "up").await;

    // A server that goes away and comes back.
    prices.local.stop();
    let down = daemon.wait_for_status("prices", "down").await;
    assert!(down["reasons"].to_string().contains("connection"), "{down:#}");
    prices.open.store(0, Ordering::SeqCst);
    prices.local.start_again();
    let up = daemon.wait_for_status("prices", "up").await;
    assert!(up["facts"]["reconnects"].as_i64().is_some_and(|count| count >= 1), "{up:#}");
    prices.wait_until_open(1).await;

    // A changed check opens a connection of its own, and the old one ends; so does a removed one.
    daemon.rewrite_checks("a.toml", &prices.check("30.0"));
    let before = prices.ever.load(Ordering::SeqCst);
    daemon.signal(Signal::HUP);
    eventually("another connection", PATIENCE, async || {
        (prices.ever.load(Ordering::SeqCst) > before).then_some(())
    })
    .await;
    prices.wait_until_open(1).await;
    daemon.rewrite_checks("a.toml", "");
    daemon.signal(Signal::HUP);
    prices.wait_until_open(0).await;
}
