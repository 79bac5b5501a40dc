//! Conversations, subscriptions, and peers that mean no good.

use super::super::KIND;
use crate::check::testing::{ask, check, error, fact, observe, problems, run, within};
use crate::check::{Check, Run};
use crate::model::Observation;
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// A server that does with each connection what `serve` does, and how many of them are open; it
/// ends with the test's runtime.
async fn serving<F>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Future<Output = Option<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let open = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&open);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            let (serving, counter) = (serve(stream), Arc::clone(&counter));
            tokio::spawn(async move {
                serving.await;
                counter.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (address, open)
}

/// A server that talks over an open WebSocket.
async fn talking<F>(
    talk: impl Fn(WebSocketStream<TcpStream>) -> F + Clone + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Future<Output = Option<()>> + Send + 'static,
{
    serving(move |stream| {
        let talk = talk.clone();
        async move { talk(tokio_tungstenite::accept_async(stream).await.ok()?).await }
    })
    .await
}

/// An exchange: news that nobody asked for, answers to orders, echoes of what it does not know.
async fn exchange(mut socket: WebSocketStream<TcpStream>) -> Option<()> {
    socket.send(Message::text(r#"{"type": "heartbeat"}"#)).await.ok()?;
    while let Some(Ok(message)) = socket.next().await {
        if !message.is_text() {
            continue;
        }
        let text = message.into_text().ok()?;
        let order: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        socket.send(Message::text(r#"{"type": "heartbeat"}"#)).await.ok()?;
        let answer = match order["op"].as_str() {
            Some("auth") => json!({"type": "welcome", "user": 7}),
            Some("subscribe") => json!({"type": "subscribed", "channel": order["channel"]}),
            _ => json!({"type": "error", "said": &*text}),
        };
        socket.send(Message::text(answer.to_string())).await.ok()?;
    }
    None
}

/// Runs a check again and again, on one clock, until `enough` is content with what it saw.
async fn observe_on(
    run: &Run,
    check: &dyn Check,
    enough: impl Fn(&Observation) -> bool,
) -> Observation {
    within(async {
        loop {
            let seen = check.run(run).await;
            if enough(&seen) {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

async fn observe_for(check: &dyn Check, timeout: Duration) -> Observation {
    let run = Run { timeout, ..run() };
    within(check.run(&run)).await
}

#[tokio::test]
async fn a_conversation_is_had_step_by_step_past_what_does_not_fit() {
    let (address, _) = talking(exchange).await;
    let table = format!(
        "url = 'ws://{address}'\n\
         [[step]]\nsend = '{{\"op\": \"auth\"}}'\nexpect = [\"json.type == 'welcome'\", 'json.user == 7']\n\
         [[step]]\nsend_json = {{ op = 'subscribe', channel = 'trades' }}\n\
         expect = [\"text.contains('subscribed')\"]\ntimeout = '5s'"
    );
    let seen = ask(&KIND, &table).await;
    assert_eq!(error(&seen), "no error");
    assert_eq!(fact(&seen, "json"), json!({"type": "subscribed", "channel": "trades"}));
    let took = fact(&seen, "step_ms");
    assert_eq!(took.as_array().map(Vec::len), Some(2), "{took}");
    assert!(fact(&seen, "pong_ms").is_f64());
}

#[tokio::test]
async fn a_step_that_fails_says_which_and_what_came_instead() {
    let (address, _) = talking(exchange).await;
    let table = format!(
        "url = 'ws://{address}'\n[[step]]\nsend = '{{\"op\": \"auth\"}}'\nexpect = [\"json.type == 'welcome'\"]\n\
         [[step]]\nsend = 'hunter2-0123456789'\nexpect = [\"json.type == 'subscribed'\"]"
    );
    let expected = "none of 2 messages within 300ms fits, the last \
                    `{\"type\":\"error\",\"said\":\"hunter2-0123456789\"}`: \
                    json.type == 'subscribed' fails: json.type is 'error'";
    let seen = ask(&KIND, &format!("{table}\ntimeout = '300ms'")).await;
    assert_eq!(error(&seen), format!("step 2: {expected}"));
    assert_eq!(fact(&seen, "step_ms").as_array().map(Vec::len), Some(1));

    let seen = observe_for(&*check(&KIND, &table), Duration::from_millis(400)).await;
    let started = "no answer within 400ms: step 2: none of 2 messages fits, the last ";
    assert!(error(&seen).starts_with(started), "{}", error(&seen));

    let table = format!(
        "url = 'ws://{address}'\n[[step]]\nexpect = [\"json.type == 'x'\"]\ntimeout = '100ms'"
    );
    let seen = ask(&KIND, &table).await;
    assert!(error(&seen).starts_with("step 1: none of 1 messages within 100ms fits"), "{seen:?}");
}

#[tokio::test]
async fn secrets_that_a_server_repeats_are_not_shown() {
    let (address, _) = talking(exchange).await;
    let table =
        format!("url = 'ws://{address}/?token=hunter2'\nsend = 'hunter2 k3y-0123456789abcdef'");
    let table = format!("{table}\n[[step]]\nexpect = [\"json.type == 'error'\"]");
    let check = check(&KIND, &table);
    let seen = observe(&*check).await;
    assert_eq!(fact(&seen, "json")["said"], "[secret] k3y-0123456789abcdef");
    let kept = serde_json::to_value(check.evidence(&seen)).expect("JSON");
    assert_eq!(kept["message"], r#"{"type":"error","said":"[secret] [secret]"}"#);
}

/// Sends what it is told to, at the pace that it is told, and then nothing more.
fn feeder(
    count: usize,
    pause: Duration,
    stays: bool,
) -> impl Fn(WebSocketStream<TcpStream>) -> std::pin::Pin<Box<dyn Future<Output = Option<()>> + Send>>
+ Clone
+ Send
+ Sync
+ 'static {
    move |mut socket| {
        Box::pin(async move {
            for number in 0..count {
                let kind = if number % 2 == 0 { "trade" } else { "heartbeat" };
                let text = json!({"type": kind, "number": number}).to_string();
                socket.send(Message::text(text)).await.ok()?;
                tokio::time::sleep(pause).await;
            }
            // Pings are answered as long as somebody reads.
            while let (true, Some(Ok(_))) = (stays, socket.next().await) {}
            None
        })
    }
}

#[tokio::test]
async fn a_feed_stays_connected_between_runs_and_what_comes_is_counted() {
    let (address, open) = talking(feeder(10, Duration::from_millis(5), true)).await;
    let table =
        format!("url = 'ws://{address}'\nsubscribe = true\ncount_if = [\"json.type == 'trade'\"]");
    let check = check(&KIND, &table);
    let run = run();
    let seen = observe_on(&run, &*check, |seen| fact(seen, "messages") == 5).await;
    assert_eq!(error(&seen), "no error");
    assert_eq!(fact(&seen, "json"), json!({"type": "trade", "number": 8}));
    assert_eq!((fact(&seen, "connected"), fact(&seen, "reconnects")), (json!(true), json!(0)));
    assert!(fact(&seen, "messages_per_minute").as_f64().is_some_and(|rate| rate >= 5.0));
    assert!(fact(&seen, "pong_ms").is_f64() || fact(&seen, "pong_ms") == "absent");
    let before = fact(&seen, "seconds_since_message").as_f64().expect("seconds");
    let seen = observe_on(&run, &*check, |seen| {
        fact(seen, "seconds_since_message").as_f64().is_some_and(|now| now > before + 0.1)
    })
    .await;
    assert_eq!((fact(&seen, "messages"), error(&seen)), (json!(5), "no error"));
    assert_eq!(open.load(Ordering::SeqCst), 1, "all runs looked at one connection");

    // The connection ends with the check.
    drop(check);
    within(async {
        while open.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_feed_that_is_lost_is_down_and_comes_back() {
    let (address, _) = talking(feeder(3, Duration::from_millis(1), false)).await;
    let check = check(&KIND, &format!("url = 'ws://{address}'\nsubscribe = true"));
    let run = run();
    let seen = observe_on(&run, &*check, |seen| seen.error.is_some()).await;
    assert_eq!(error(&seen), format!("connection closed by {address} without a reason"));
    assert_eq!(fact(&seen, "connected"), false);
    let seen = observe_on(&run, &*check, |seen| fact(seen, "reconnects") == 1).await;
    assert!(fact(&seen, "messages").as_i64().is_some_and(|count| count >= 3), "{seen:?}");
}

#[tokio::test]
async fn a_feed_that_cannot_be_had_says_why() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let seen = ask(&KIND, &format!("url = 'ws://{address}'\nsubscribe = true")).await;
    assert_eq!(error(&seen), format!("connection refused by {address}"));

    let (address, _) = talking(exchange).await;
    let table = format!(
        "url = 'ws://{address}'\nsubscribe = true\n[[step]]\nexpect = [\"json.type == 'x'\"]"
    );
    let seen = observe_for(&*check(&KIND, &table), Duration::from_millis(300)).await;
    let expected = "no subscription within 285ms: step 1: none of 1 messages fits, the last ";
    assert!(error(&seen).starts_with(expected), "{seen:?}");
}

/// Accepts the handshake, and then sends these bytes again and again.
async fn raw(bytes: &'static [u8]) -> SocketAddr {
    let serve = move |stream: TcpStream| async move {
        let socket = tokio_tungstenite::accept_async(stream).await.ok()?;
        let mut stream = socket.into_inner();
        loop {
            stream.write_all(bytes).await.ok()?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    serving(serve).await.0
}

#[tokio::test]
async fn hostile_peers_end_within_the_timeout_and_within_their_bounds() {
    // A frame that claims to have an exabyte; one whose parts never end; nonsense; dribble.
    let giant = raw(b"\x82\x7f\x10\x00\x00\x00\x00\x00\x00\x00").await;
    let endless = raw(b"\x01\x7e\x04\x00").await;
    let garbage = raw(b"\xff\xff\xff\xff").await;
    let (silent, _) = serving(|stream| async move {
        let _stream = stream;
        std::future::pending::<Option<()>>().await
    })
    .await;
    for (address, expected) in [
        (giant, "a message of ADDRESS has "),
        (garbage, "ADDRESS broke the protocol: "),
        (silent, "no answer within 400ms: no connection to ADDRESS yet"),
    ] {
        let check = check(&KIND, &format!("url = 'ws://{address}'\nwait_for_message = true"));
        let seen = observe_for(&*check, Duration::from_millis(400)).await;
        let told = error(&seen).replace(&address.to_string(), "ADDRESS");
        assert!(told.starts_with(expected), "{expected}: {told}");
    }
    let table = format!("url = 'ws://{endless}'\nwait_for_message = true\nmax_message = 4096");
    let seen = observe_for(&*check(&KIND, &table), Duration::from_secs(5)).await;
    assert!(seen.error.is_some(), "{seen:?}");
}

#[test]
fn steps_that_make_no_sense_are_told_at_load() {
    let table = "url = 'ws://a.example'\ncount_if = [\"jso.type == 'x'\"]\nmax_message = 0\n\
                 [[step]]\nsend = 'a'\nsend_json = 1\n[[step]]\ntimeout = '1s'\n\
                 [[step]]\nexpect = ['text == 3']";
    insta::assert_snapshot!(problems(&KIND, table), @r"
    a.toml:2:12: count_if: has a meaning only with `subscribe = true`
    a.toml:2:13: count_if: unknown name `jso` (did you mean `json`?)
    a.toml:3:15: max_message: is not between 1 and 67108864
    a.toml:6:13: step.send_json: there is a `send` already
    a.toml:7:1: step: neither sends nor expects anything
    a.toml:10:11: step.expect: `text` is a string and `3` is an int: they are never equal (write '3' in quotes)
    ");
}
