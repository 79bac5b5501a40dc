//! How answers travel: events, tags, compression, other origins, sockets, and idle clients.

use super::super::feed::{News, Verdict};
use super::fake::{OPERATOR, READER, START, incident};
use super::shop;
use crate::config::Origins;
use crate::model::Status;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn verdict(check: &str) -> News {
    News::Verdict(Verdict {
        check: check.into(),
        at: START,
        status: Status::Down,
        latency_ms: 12.5,
        reasons: vec!["no\nanswer".to_owned()],
    })
}

/// The text of a stream up to `end`.
async fn until(mut response: reqwest::Response, end: &str) -> String {
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    while !text.contains(end) {
        let piece = response.chunk().await.unwrap().expect("the stream ended");
        text.push_str(std::str::from_utf8(&piece).unwrap());
    }
    text
}

#[tokio::test]
async fn events_are_heard_as_they_happen_and_read_again_after_a_cut() {
    let daemon = shop().await;
    daemon.feed.tell(verdict("before"));
    let stream = daemon.get("/api/v1/events").await;
    daemon.feed.tell(verdict("shop-api"));
    daemon.feed.tell(News::Incident(Arc::new(incident("01INC", "shop-api"))));
    let heard = until(stream, "01INC\"").await;
    assert!(!heard.contains("before"), "{heard}");
    let id = heard.lines().find(|line| line.starts_with("id: ")).unwrap()[4..].to_owned();
    assert!(heard.contains("retry: 3000\n"), "{heard}");
    assert!(
        heard.contains(
            "data: {\"check\":\"shop-api\",\"at\":\"2025-01-01T00:00:00.000Z\",\"status\":\"down\",\
             \"latency_ms\":12.5,\"reasons\":[\"no\\nanswer\"]}\n"
        ),
        "{heard}"
    );
    let again = daemon.request("GET", "/api/v1/events").header("Last-Event-ID", id);
    let missed = until(again.send().await.unwrap(), "01INC\"").await;
    assert!(missed.contains("event: incident") && !missed.contains("event: verdict"), "{missed}");
    let other = until(daemon.get("/api/v1/events?last_event_id=1-1").await, "missed\"}").await;
    assert!(other.contains("event: reset"), "{other}");
}

#[tokio::test]
async fn a_listener_hears_only_what_it_wants() {
    let daemon = shop().await;
    let incidents = daemon.get("/api/v1/events?event=incident").await;
    let one = daemon.get("/api/v1/events?check=core-db").await;
    daemon.feed.tell(verdict("shop-api"));
    daemon.feed.tell(News::Incident(Arc::new(incident("01INC", "shop-api"))));
    daemon.feed.tell(verdict("core-db"));
    let incidents = until(incidents, "01INC\"").await;
    assert!(!incidents.contains("event: verdict"), "{incidents}");
    let one = until(one, "core-db").await;
    assert!(!one.contains("shop-api"), "{one}");
    let (status, detail) = daemon.problem("/api/v1/events?event=verdikt").await;
    assert_eq!((status, &*detail), (400, "`event` is one of verdict, incident, not `verdikt`"));
}

#[tokio::test]
async fn a_stop_ends_the_streams_of_events() {
    let daemon = shop().await;
    let mut stream = daemon.get("/api/v1/events").await;
    daemon.stop.cancel();
    while stream.chunk().await.expect("the stream was cut off").is_some() {}
}

#[tokio::test]
async fn what_a_client_has_already_is_not_sent_again() {
    let daemon = shop().await;
    let first = daemon.get("/api/v1/checks").await;
    assert_eq!(first.headers()["cache-control"], "private, no-cache");
    let tag = first.headers()["etag"].clone();
    let ask = || daemon.request("GET", "/api/v1/checks").header("If-None-Match", &tag);
    let again = ask().send().await.unwrap();
    assert_eq!((again.status().as_u16(), &again.headers()["etag"]), (304, &tag));
    assert_eq!(again.bytes().await.unwrap().len(), 0);
    daemon.board.remove("z-new");
    assert_eq!(ask().send().await.unwrap().status(), 200);
    let problem = daemon.get("/api/v1/checks/nothing").await;
    assert!(problem.headers().get("etag").is_none());
    assert_eq!(problem.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn long_answers_are_compressed_for_those_who_can_read_it() {
    let daemon = shop().await;
    let ask = |path| daemon.request("GET", path).header("Accept-Encoding", "gzip").send();
    let long = ask("/api/v1/checks").await.unwrap();
    assert_eq!(long.headers()["content-encoding"], "gzip");
    assert!(long.bytes().await.unwrap().starts_with(&[0x1f, 0x8b]));
    let short = ask("/health").await.unwrap();
    assert!(short.headers().get("content-encoding").is_none());
    let plain = daemon.get("/api/v1/checks").await;
    assert!(plain.headers().get("content-encoding").is_none());
}

#[tokio::test]
async fn only_the_pages_that_the_configuration_names_may_read_from_elsewhere() {
    let daemon = shop().await;
    let allowed = async |origin: &str| {
        let ask = daemon.request("GET", "/api/v1/status").header("Origin", origin);
        let answer = ask.send().await.unwrap();
        answer.headers().get("access-control-allow-origin").cloned()
    };
    assert_eq!(allowed("https://grafana.example").await, None);
    let keys = daemon.settings.load().keys.clone();
    let allow_origins = Origins::These(vec!["https://grafana.example".to_owned()]);
    let settings = super::Settings { keys, allow_origins, ..super::Settings::default() };
    daemon.settings.store(Arc::new(settings));
    assert_eq!(allowed("https://grafana.example").await.unwrap(), "https://grafana.example");
    assert_eq!(allowed("https://evil.example").await, None);
    let before = daemon
        .request("OPTIONS", "/api/v1/incidents/01INC/ack")
        .header("Origin", "https://grafana.example")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "authorization");
    let before = before.send().await.unwrap();
    assert_eq!(before.status(), 200);
    let headers = before.headers()["access-control-allow-headers"].to_str().unwrap();
    assert!(headers.contains("authorization"), "{headers}");
}

#[tokio::test]
async fn all_checks_come_as_lines_for_those_who_ask_for_them() {
    let daemon = shop().await;
    for n in 0..1500 {
        daemon.board.put(super::check(&format!("n{n}"), "tcp", Status::Up));
    }
    let ask = |path| daemon.request("GET", path).header("Accept", "application/x-ndjson").send();
    let answer = ask("/api/v1/checks").await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let text = answer.text().await.unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1504);
    assert_eq!((&lines[0]["name"], &lines[1]["name"]), (&json!("core-db"), &json!("n0")));
    let few = ask("/api/v1/checks?status=down").await.unwrap().text().await.unwrap();
    assert_eq!(few.lines().count(), 1);
}

#[tokio::test]
async fn keys_are_listed_without_the_keys() {
    let daemon = shop().await;
    let refused = daemon.request("GET", "/api/v1/keys").bearer_auth(READER).send().await.unwrap();
    assert_eq!(refused.status(), 403);
    let answer = daemon.request("GET", "/api/v1/keys").bearer_auth(OPERATOR).send().await.unwrap();
    let text = answer.text().await.unwrap();
    assert!(!text.contains(READER) && !text.contains(OPERATOR), "{text}");
    let keys: Value = serde_json::from_str(&text).unwrap();
    insta::assert_json_snapshot!(keys["items"][0], @r#"
    {
      "name": "reader",
      "scopes": [
        "read"
      ],
      "expires_at": null,
      "expired": false,
      "last_used_at": "2025-01-01T01:00:00.000Z"
    }
    "#);
}

#[tokio::test]
async fn a_badge_shows_how_a_check_is() {
    let daemon = shop().await;
    let badge = daemon.get("/badge/shop-api/status.svg").await;
    assert_eq!(badge.headers()["content-type"], "image/svg+xml");
    let svg = badge.text().await.unwrap();
    assert!(svg.contains("<title>shop-api: down</title>"), "{svg}");
    let (status, detail) = daemon.problem("/badge/shop-api/mood.svg").await;
    assert!(status == 404 && detail.contains("status.svg, uptime.svg"), "{status} {detail}");
    assert_eq!(daemon.problem("/badge/nothing/status.svg").await.0, 404);
}

#[tokio::test]
async fn idle_clients_keep_nobody_out() {
    let daemon = shop().await;
    let address = daemon.url.strip_prefix("http://").unwrap();
    let mut idle = Vec::new();
    // More than may be open at a time; the first ones give their places.
    for n in 0..2200_usize {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Every other one has begun a request and never ends it.
        if n.is_multiple_of(2) {
            stream.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n").await.unwrap();
        }
        idle.push(stream);
    }
    assert_eq!(daemon.get("/health").await.status(), 200);
    let mut byte = [0];
    let first = idle[0].read(&mut byte).await;
    assert!(matches!(first, Ok(0) | Err(_)), "the first one was not shut out");
}
