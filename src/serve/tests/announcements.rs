//! What people tell the readers of the public page, by the API.

use super::fake::{Daemon, READER, check, problem};
use crate::model::Status;
use serde_json::{Value as Json, json};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

const ALL: &str = "/api/v1/announcements";

async fn shop() -> Daemon {
    let daemon = Daemon::start().await;
    daemon.board.put(check("shop-api", "http", Status::Up));
    daemon
}

async fn list(daemon: &Daemon, query: &str) -> Vec<String> {
    let found = daemon.json(&format!("{ALL}{query}")).await;
    let title = |item: &Json| item["title"].as_str().unwrap().to_owned();
    found["items"].as_array().unwrap().iter().map(title).collect()
}

#[tokio::test]
async fn an_announcement_is_made_said_more_of_and_deleted() {
    let daemon = shop().await;
    let body = json!({
        "title": "Slow shop",
        "body": "We look.\n\nSoon more.",
        "kind": "investigating",
        "checks": ["shop-api"],
        "by": "ann",
    });
    let made = daemon.operate("POST", ALL, &body).await;
    assert_eq!(made.status(), 201);
    let place = made.headers()["location"].to_str().unwrap().to_owned();
    let made: Json = made.json().await.unwrap();
    assert_eq!(place, format!("{ALL}/{}", made["id"].as_str().unwrap()));
    assert_eq!(daemon.json(&place).await, made);

    daemon.clock.advance(Duration::from_secs(60));
    let more = json!({ "kind": "resolved", "body": "It is quick again." });
    let mut changed = daemon.done("PATCH", &place, &more).await;
    changed["id"] = json!("…");
    insta::assert_json_snapshot!(changed, @r#"
    {
      "id": "…",
      "title": "Slow shop",
      "kind": "resolved",
      "state": "over",
      "checks": [
        "shop-api"
      ],
      "starts_at": null,
      "ends_at": null,
      "created_at": "2025-01-01T01:00:00.000Z",
      "updated_at": "2025-01-01T01:01:00.000Z",
      "updates": [
        {
          "at": "2025-01-01T01:00:00.000Z",
          "kind": "investigating",
          "body": "We look.\n\nSoon more.",
          "by": "ann"
        },
        {
          "at": "2025-01-01T01:01:00.000Z",
          "kind": "resolved",
          "body": "It is quick again.",
          "by": "operator"
        }
      ]
    }
    "#);
    assert_eq!(list(&daemon, "?state=current").await, [""; 0]);
    assert_eq!(list(&daemon, "?state=over").await, ["Slow shop"]);

    let changed = daemon.done("PATCH", &place, &json!({ "title": "Quick shop" })).await;
    assert_eq!(changed["updates"].as_array().unwrap().len(), 2, "nothing was said");
    assert_eq!(list(&daemon, "").await, ["Quick shop"]);
    assert_eq!(daemon.operate("DELETE", &place, &json!({})).await.status(), 204);
    assert_eq!(list(&daemon, "").await, [""; 0]);
    assert_eq!(daemon.refused("DELETE", &place, &json!({})).await.0, 404);
}

#[tokio::test]
async fn announcements_come_newest_first_in_pieces() {
    let daemon = shop().await;
    for n in 0..5 {
        let body = json!({ "title": format!("t{n}"), "body": "b" });
        assert_eq!(daemon.operate("POST", ALL, &body).await.status(), 201);
        daemon.clock.advance(Duration::from_secs(1));
    }
    let first = daemon.json(&format!("{ALL}?limit=3")).await;
    let cursor = first["next"].as_str().unwrap();
    assert_eq!(list(&daemon, "?limit=3").await, ["t4", "t3", "t2"]);
    assert_eq!(list(&daemon, &format!("?limit=3&cursor={cursor}")).await, ["t1", "t0"]);
}

#[tokio::test]
async fn what_is_not_understood_is_refused_with_what_to_do() {
    let daemon = shop().await;
    for (body, status, part) in [
        (json!({ "body": "b" }), 400, "An announcement has a `title`"),
        (json!({ "title": "t", "body": " " }), 400, "An announcement has a `body`"),
        (json!({ "title": "t", "body": "b", "kind": "bad" }), 400, "one of investigating"),
        (json!({ "title": "t", "body": "b", "checks": "shop-api" }), 400, "is a list"),
        (json!({ "title": "t", "body": "b", "checks": ["shop-apj"] }), 422, "mean `shop-api`?"),
        (json!({ "title": "x".repeat(201), "body": "b" }), 400, "up to 200 characters"),
        (json!({ "title": "t", "body": "b", "text": "c" }), 400, "`text` is not a field here"),
        (
            json!({ "title": "t", "body": "b", "starts_at": "2031-05-01T08:00:00Z",
                    "ends_at": "2031-05-01T08:00:00Z" }),
            422,
            "no later than",
        ),
    ] {
        let refused = daemon.refused("POST", ALL, &body).await;
        assert!(refused.0 == status && refused.1.contains(part), "{body}: {refused:?}");
    }
    assert_eq!(daemon.refused("PATCH", &format!("{ALL}/x"), &json!({ "body": "b" })).await.0, 404);
    assert_eq!(daemon.problem(&format!("{ALL}/x")).await.0, 404);
}

#[tokio::test]
async fn announcing_needs_the_scope_and_a_store() {
    let daemon = shop().await;
    let body = json!({ "title": "t", "body": "b" });
    let reader = daemon.request("POST", ALL).bearer_auth(READER).json(&body);
    assert_eq!(problem(reader.send().await.unwrap()).await.0, 403);
    daemon.store.broken.store(true, SeqCst);
    assert_eq!(daemon.refused("POST", ALL, &body).await.0, 503);
    daemon.store.broken.store(false, SeqCst);
    assert_eq!(list(&daemon, "").await, [""; 0]);
}
