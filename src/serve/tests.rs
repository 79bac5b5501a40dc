mod act;
mod alertmanager;
mod announcements;
mod fake;
mod openapi;
mod operate;
mod page;
mod public;
mod session;
mod wire;

use super::{RunNowError, Settings};
use crate::model::Status;
use bytes::Bytes;
use fake::{Daemon, OPERATOR, READER, RunAnswer, at, check, incident, notice, problem, result};
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A daemon with one check of each status, the down one with an incident.
async fn shop() -> Daemon {
    let daemon = Daemon::start().await;
    let mut down = check("shop-api", "http", Status::Down);
    down.state.incident = Some(Box::new(incident("01INC", "shop-api")));
    daemon.board.put(down);
    daemon.board.put(check("core-db", "postgres", Status::Up));
    daemon.board.put(check("shop-front", "http", Status::Degraded));
    daemon.board.put(check("z-new", "dns", Status::Unknown));
    daemon
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_check_has_the_promised_shape() {
    let daemon = shop().await;
    insta::assert_json_snapshot!(daemon.json("/api/v1/checks/shop-api").await, @r#"
    {
      "name": "shop-api",
      "kind": "http",
      "status": "down",
      "since": "2025-01-01T00:50:00.000Z",
      "reasons": [
        "status == 200 failed: status is 503"
      ],
      "facts": {
        "latency_ms": 12.5,
        "status": 503
      },
      "labels": {
        "team": "shop"
      },
      "severity": "critical",
      "last_run": "2025-01-01T00:59:50.000Z",
      "next_run": "2025-01-01T01:00:20.000Z",
      "paused": false,
      "paused_by": null,
      "paused_at": null,
      "flapping": false,
      "missed_runs": 0,
      "incident": "01INC"
    }
    "#);
    assert_eq!(daemon.json("/api/v1/checks/core-db").await["incident"], Value::Null);
}

#[tokio::test]
async fn checks_are_filtered_and_paged_by_name() {
    let daemon = shop().await;
    let all = ["core-db", "shop-api", "shop-front", "z-new"];
    let first = daemon.json("/api/v1/checks?limit=3").await;
    assert_eq!((names(&first), &first["next"]), (all[..3].to_vec(), &json!("shop-front")));
    let rest = daemon.json("/api/v1/checks?limit=3&cursor=shop-front").await;
    assert_eq!((names(&rest), &rest["next"]), (all[3..].to_vec(), &Value::Null));
    assert_eq!(daemon.json("/api/v1/checks?limit=4").await["next"], Value::Null);
    for (query, wanted) in [
        ("", &all[..]),
        ("status=down", &["shop-api"]),
        ("kind=http", &["shop-api", "shop-front"]),
        ("kind=http&status=degraded", &["shop-front"]),
        ("label=team%3Dshop&q=DB", &["core-db"]),
        ("label=team=shop&label=tier=1", &[]),
        ("q=503", &["shop-api", "shop-front"]),
    ] {
        assert_eq!(
            names(&daemon.json(&format!("/api/v1/checks?{query}")).await),
            wanted,
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_query_that_is_not_understood_is_answered_with_what_to_do() {
    let daemon = shop().await;
    for (path, part) in [
        ("/api/v1/checks?limit=0", "from 1 to 1000, not `0`"),
        ("/api/v1/checks?limit=1001", "from 1 to 1000"),
        ("/api/v1/checks?status=broken", "one of up, degraded, down, unknown, not `broken`"),
        ("/api/v1/checks?stauts=up", "did you mean `status`?"),
        ("/api/v1/checks?label=team", "`key=value`, not `team`"),
        ("/api/v1/checks/core-db?limit=3", "takes no parameters"),
        ("/api/v1/checks/core-db/results?cursor=rubbish", "`rubbish` is not a cursor"),
        ("/api/v1/incidents?state=closed", "one of open, resolved"),
        ("/api/v1/notices?state=lost", "one of pending, sent, held, rejected, cancelled"),
        ("/api/v1/notices?limit=a%01b", "not `a\u{fffd}b`"),
    ] {
        let (status, detail) = daemon.problem(path).await;
        assert!(status == 400 && detail.contains(part), "{path}: {status} {detail}");
    }
}

#[tokio::test]
async fn results_come_newest_first() {
    let daemon = shop().await;
    let results = (0..5).map(|n| result("core-db", 60 * n, Status::Up));
    daemon.store.results.lock().unwrap().extend(results);
    let list = daemon.json("/api/v1/checks/core-db/results?limit=2").await;
    insta::assert_json_snapshot!(list, @r#"
    {
      "items": [
        {
          "at": "2025-01-01T00:04:00.000Z",
          "status": "up",
          "latency_ms": 12.5,
          "reasons": [],
          "facts": {
            "status": 200
          }
        },
        {
          "at": "2025-01-01T00:03:00.000Z",
          "status": "up",
          "latency_ms": 12.5,
          "reasons": [],
          "facts": {
            "status": 200
          }
        }
      ],
      "next": "2"
    }
    "#);
}

#[tokio::test]
async fn incidents_have_the_promised_shape() {
    let daemon = shop().await;
    let mut resolved = incident("01OLD", "core-db");
    resolved.resolved_at = Some(at(3100));
    let stored = vec![resolved, incident("01INC", "shop-api")];
    *daemon.store.incidents.lock().unwrap() = stored;
    let open = daemon.json("/api/v1/incidents?state=open").await;
    insta::assert_json_snapshot!(open, @r#"
    {
      "items": [
        {
          "id": "01INC",
          "check": "shop-api",
          "severity": "critical",
          "status": "down",
          "state": "open",
          "opened_at": "2025-01-01T00:51:00.000Z",
          "resolved_at": null,
          "acknowledged": null,
          "suppressed_by": null,
          "snoozed_until": null,
          "reasons": [
            "status == 200 failed: status is 503"
          ],
          "labels": {
            "team": "shop"
          },
          "annotations": {},
          "generator_url": null,
          "dependents": [],
          "timeline": [
            {
              "at": "2025-01-01T00:51:00.000Z",
              "what": "opened",
              "detail": "3 bad verdicts in a row"
            }
          ]
        }
      ],
      "next": null
    }
    "#);
    let old = daemon.json("/api/v1/incidents/01OLD").await;
    assert_eq!((&old["state"], &old["check"]), (&json!("resolved"), &json!("core-db")));
    let all = daemon.json("/api/v1/incidents").await;
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    assert_eq!(daemon.problem("/api/v1/incidents/01NONE").await.0, 404);
}

#[tokio::test]
async fn notices_have_the_promised_shape() {
    let daemon = shop().await;
    let owed = notice("01NOTICE", incident("01INC", "shop-api"));
    daemon.store.notices.lock().unwrap().push(owed);
    let held = daemon.json("/api/v1/notices?state=held&channel=ops-slack&incident=01INC").await;
    insta::assert_json_snapshot!(held, @r#"
    {
      "items": [
        {
          "id": "01NOTICE",
          "incidents": [
            "01INC"
          ],
          "checks": [
            "shop-api"
          ],
          "what": "opened",
          "channel": "ops-slack",
          "recipient": "",
          "state": "held",
          "held_because": "rate_limit",
          "digest": null,
          "group": null,
          "mute_until": null,
          "attempts": 2,
          "last_error": "429 Too Many Requests",
          "tries": [
            {
              "at": "2025-01-01T00:51:00.000Z",
              "took_ms": 250,
              "error": "connection refused"
            },
            {
              "at": "2025-01-01T00:51:30.000Z",
              "took_ms": 250,
              "error": "429 Too Many Requests"
            }
          ],
          "at": "2025-01-01T00:51:00.000Z",
          "due_at": "2025-01-01T01:01:40.000Z",
          "sent_at": null
        }
      ],
      "next": null
    }
    "#);
    let sent = daemon.json("/api/v1/notices?state=sent").await;
    assert_eq!(sent["items"], json!([]));
}

#[tokio::test]
async fn the_status_is_the_whole_at_a_glance() {
    let daemon = shop().await;
    let own = incident("01OWN", "watchbell:store");
    daemon.control.daemon.lock().unwrap().other_incidents.push(Arc::new(own));
    insta::assert_json_snapshot!(daemon.json("/api/v1/status").await, @r#"
    {
      "name": "prod",
      "version": "0.1.0",
      "started_at": "2025-01-01T00:00:00.000Z",
      "uptime_seconds": 3600.0,
      "timestamp": "2025-01-01T01:00:00.000Z",
      "ready": true,
      "checks": {
        "total": 4,
        "up": 1,
        "degraded": 1,
        "down": 1,
        "unknown": 1,
        "paused": 0
      },
      "open_incidents": 2,
      "outbox_depth": 2,
      "store": {
        "status": "ok",
        "engine": "sqlite",
        "error": null,
        "waiting": 0,
        "dropped": 0
      },
      "schedule_lag_ms": 1.5,
      "in_flight": 3,
      "missed_runs": 4
    }
    "#);
}

#[tokio::test]
async fn health_answers_everybody() {
    let daemon = shop().await;
    let health = json!({ "status": "ok", "timestamp": "2025-01-01T01:00:00.000Z" });
    assert_eq!(daemon.json("/health").await, health);
    for _ in 0..200 {
        let request = daemon.request("GET", "/health").header("x-forwarded-for", "192.0.2.1");
        assert_eq!(request.bearer_auth("wrong").send().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn ready_says_why_it_is_not() {
    let daemon = shop().await;
    assert_eq!(daemon.json("/ready").await["status"], "ready");

    daemon.control.daemon.lock().unwrap().ready = Err("the schedule has not started".to_owned());
    let answer = daemon.problem("/ready").await;
    assert_eq!(answer, (503, "the schedule has not started".to_owned()));

    daemon.control.daemon.lock().unwrap().ready = Ok(());
    daemon.store.broken.store(true, SeqCst);
    let (status, detail) = daemon.problem("/ready").await;
    assert!(status == 503 && detail.starts_with("The store refuses"), "{status} {detail}");

    daemon.store.hanging.store(true, SeqCst);
    let answer = daemon.problem("/ready").await;
    assert_eq!(answer, (503, "The store did not answer within 2s.".to_owned()));
}

#[tokio::test]
async fn a_store_that_fails_is_named_without_its_secrets() {
    let daemon = shop().await;
    daemon.store.broken.store(true, SeqCst);
    for path in ["/api/v1/checks/core-db/results", "/api/v1/incidents", "/api/v1/notices"] {
        let (status, detail) = daemon.problem(path).await;
        assert!(status == 503 && !detail.contains("secret-path"), "{path}: {status} {detail}");
    }
    // What is in memory is there all the same.
    assert_eq!(daemon.json("/api/v1/incidents/01INC").await["check"], "shop-api");
    assert_eq!(daemon.json("/api/v1/checks").await["items"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn metrics_are_in_the_text_format_of_prometheus() {
    let daemon = shop().await;
    let response = daemon.get("/metrics").await;
    let content_type = response.headers()["content-type"].clone();
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    let text = response.text().await.unwrap();
    let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with("# HELP")).collect();
    insta::assert_snapshot!(samples.join("\n"), @r##"
    # TYPE watchbell_check_status gauge
    watchbell_check_status{name="core-db",kind="postgres"} 1
    watchbell_check_status{name="shop-api",kind="http"} 3
    watchbell_check_status{name="shop-front",kind="http"} 2
    watchbell_check_status{name="z-new",kind="dns"} 0
    # TYPE watchbell_check_latency_seconds gauge
    watchbell_check_latency_seconds{name="core-db",kind="postgres"} 0.0125
    watchbell_check_latency_seconds{name="shop-api",kind="http"} 0.0125
    watchbell_check_latency_seconds{name="shop-front",kind="http"} 0.0125
    watchbell_check_latency_seconds{name="z-new",kind="dns"} 0.0125
    # TYPE watchbell_checks gauge
    watchbell_checks{status="up"} 1
    watchbell_checks{status="degraded"} 1
    watchbell_checks{status="down"} 1
    watchbell_checks{status="unknown"} 1
    # TYPE watchbell_checks_paused gauge
    watchbell_checks_paused 0
    # TYPE watchbell_incidents_open gauge
    watchbell_incidents_open{severity="critical",suppressed="false"} 1
    watchbell_incidents_open{severity="critical",suppressed="true"} 0
    watchbell_incidents_open{severity="warning",suppressed="false"} 0
    watchbell_incidents_open{severity="warning",suppressed="true"} 0
    watchbell_incidents_open{severity="info",suppressed="false"} 0
    watchbell_incidents_open{severity="info",suppressed="true"} 0
    # TYPE watchbell_silences_active gauge
    watchbell_silences_active 0
    # TYPE watchbell_outbox_depth gauge
    watchbell_outbox_depth 2
    # TYPE watchbell_store_ok gauge
    watchbell_store_ok 1
    # TYPE watchbell_store_waiting_results gauge
    watchbell_store_waiting_results 0
    # TYPE watchbell_store_dropped_results_total counter
    watchbell_store_dropped_results_total 0
    # TYPE watchbell_runs_total counter
    watchbell_runs_total{status="up"} 100
    watchbell_runs_total{status="degraded"} 0
    watchbell_runs_total{status="down"} 7
    watchbell_runs_total{status="unknown"} 0
    # TYPE watchbell_runs_missed_total counter
    watchbell_runs_missed_total 4
    # TYPE watchbell_runs_in_flight gauge
    watchbell_runs_in_flight 3
    # TYPE watchbell_notices_total counter
    watchbell_notices_total{channel="ops-slack",state="sent"} 5
    # TYPE watchbell_schedule_lag_seconds gauge
    watchbell_schedule_lag_seconds 0.0015
    # TYPE process_start_time_seconds gauge
    process_start_time_seconds 1735689600
    # TYPE watchbell_build_info gauge
    watchbell_build_info{version="0.1.0"} 1
    "##);
}

#[tokio::test]
async fn a_run_on_demand_answers_with_its_result() {
    let daemon = shop().await;
    let run = || daemon.request("POST", "/api/v1/checks/core-db/run").bearer_auth(OPERATOR);
    let answer = run().send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!((&answer["status"], &answer["latency_ms"]), (&json!("up"), &json!(12.5)));

    let failures: [(u16, RunAnswer); 3] = [
        (404, |_| Err(RunNowError::NotFound)),
        (503, |_| Err(RunNowError::Busy("not now".to_owned()))),
        (503, |_| Err(RunNowError::Stopping)),
    ];
    for (status, answer) in failures {
        *daemon.control.answer.lock().unwrap() = answer;
        assert_eq!(problem(run().send().await.unwrap()).await.0, status);
    }
}

#[tokio::test]
async fn writing_needs_a_key_also_from_this_machine() {
    let daemon = shop().await;
    let run = || daemon.request("POST", "/api/v1/checks/core-db/run");
    let response = run().send().await.unwrap();
    assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"watchbell\"");
    let (status, detail) = problem(response).await;
    assert!(status == 401 && detail.contains("scope `operate`"), "{status} {detail}");
    let (status, detail) = problem(run().bearer_auth(READER).send().await.unwrap()).await;
    let wanted = "The key `reader` lacks the scope `operate`.";
    assert_eq!((status, &*detail), (403, wanted));
    let (status, _) = problem(run().bearer_auth("wrong").send().await.unwrap()).await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn strangers_read_with_a_key_and_see_the_page_if_it_is_public() {
    let daemon = shop().await;
    let from_afar = |path: &str| daemon.request("GET", path).header("x-forwarded-for", "192.0.2.1");
    for path in ["/", "/ready", "/metrics", "/api/v1/status", "/api/v1/checks/core-db"] {
        let (status, _) = problem(from_afar(path).send().await.unwrap()).await;
        assert_eq!(status, 401, "{path}");
        let with_key = from_afar(path).bearer_auth(READER).send().await.unwrap();
        assert_eq!(with_key.status(), 200, "{path}");
    }
    // A reload counts from the next request.
    let keys = daemon.settings.load().keys.clone();
    daemon.settings.store(Arc::new(Settings { keys, public_status: true, ..Settings::default() }));
    assert_eq!(from_afar("/").send().await.unwrap().status(), 200);
    assert_eq!(from_afar("/api/v1/checks").send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn strangers_who_ask_too_often_wait_and_nobody_else_does() {
    let daemon = shop().await;
    let from_afar = || {
        let request = daemon.request("GET", "/api/v1/status");
        request.header("x-forwarded-for", "192.0.2.1")
    };
    let mut refused = None;
    for _ in 0..500 {
        let response = from_afar().bearer_auth("a-wrong-key").send().await.unwrap();
        if response.status() != 401 {
            refused = Some(response);
            break;
        }
    }
    let refused = refused.expect("500 wrong keys in a row were all looked up");
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(problem(refused).await.0, 429);
    for _ in 0..100 {
        assert_eq!(from_afar().bearer_auth(READER).send().await.unwrap().status(), 200);
        assert_eq!(daemon.get("/api/v1/status").await.status(), 200);
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_document() {
    let daemon = shop().await;
    let (status, detail) = daemon.problem("/api/v1/checks/shop-apj").await;
    let wanted = "There is no check `shop-apj`. Did you mean `shop-api`?";
    assert_eq!((status, &*detail), (404, wanted));
    for path in [
        "/nothing",
        "/api/v1/",
        "/api/v1/checks/",
        "/api/v1/checks/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/api/v1/checks/a%01b",
        "/api/v1/checks/%ff",
        "/assets/..%2fmod.rs",
        "/assets/watchbell.css",
        &format!("/api/v1/checks/{}", "x".repeat(5000)),
    ] {
        let (status, detail) = daemon.problem(path).await;
        assert!(status == 404 && detail.len() < 300, "{path}: {status} {detail}");
    }
    for path in ["/api/v1/checks", "/health", "/"] {
        let response = daemon.request("DELETE", path).send().await.unwrap();
        assert_eq!(response.headers()["allow"], "GET,HEAD", "{path}");
        assert_eq!(problem(response).await.0, 405, "{path}");
    }
}

#[tokio::test]
async fn a_large_body_is_refused() {
    let daemon = shop().await;
    let run = || daemon.request("POST", "/api/v1/checks/core-db/run").bearer_auth(OPERATOR);
    assert_eq!(run().body(vec![b'x'; 64 * 1024]).send().await.unwrap().status(), 200);
    // In chunks, without a length that could be looked at beforehand.
    let chunks = (0..100).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 1024]))));
    let chunked = reqwest::Body::wrap(StreamBody::new(futures_util::stream::iter(chunks)));
    assert_eq!(problem(run().body(chunked).send().await.unwrap()).await.0, 413);
}

#[tokio::test]
async fn every_answer_has_the_safe_headers() {
    let daemon = shop().await;
    for path in ["/", "/health", "/metrics", "/api/v1/checks", "/nothing"] {
        let response = daemon.get(path).await;
        let headers = response.headers();
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        let kept = &headers["cache-control"];
        // What has a tag may be kept by the reader alone, who asks each time.
        let wanted = if headers.contains_key("etag") { "private, no-cache" } else { "no-store" };
        assert_eq!(kept, wanted, "{path}");
        let policy = headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
    }
}

#[tokio::test]
async fn a_stop_ends_quickly_while_clients_keep_their_connections() {
    let daemon = shop().await;
    assert_eq!(daemon.get("/health").await.status(), 200);
    let address = daemon.url.trim_start_matches("http://").to_owned();
    let mut idle = tokio::net::TcpStream::connect(&address).await.unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\n").await.unwrap();
    daemon.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(8), daemon.task).await;
    ended.expect("the stop hangs").unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(&address).await.is_err());
}

#[tokio::test]
async fn rubbish_on_a_connection_harms_nobody_else() {
    let daemon = shop().await;
    let address = daemon.url.trim_start_matches("http://").to_owned();
    for rubbish in
        [&b"\x16\x03\x01\x02\x00\x01"[..], b"GET / HTTP/9.9\r\n\r\n", b"\0\0\0\0\r\n\r\n"]
    {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(rubbish).await.unwrap();
        let mut answer = Vec::new();
        stream.shutdown().await.unwrap();
        // Reset or 400: both are an end.
        let _ended = stream.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
    }
    assert_eq!(daemon.get("/health").await.status(), 200);
}
