//! The public status page, and what is made of the same.

use super::super::{PublicCheck, Settings, StatusPage};
use super::fake::{Daemon, at, check, incident};
use crate::model::{Incident, Status};
use serde_json::{Value as Json, json};
use std::sync::Arc;

const OUTPUTS: [&str; 4] = ["/status", "/status.json", "/status.atom", "/status.rss"];

/// A shop that shows two of its checks, one of them under another name.
async fn shop() -> Daemon {
    let daemon = Daemon::start().await;
    let mut down = check("shop-api-internal", "http", Status::Down);
    let mut open = incident("01OPEN", "shop-api-internal");
    open.timeline[0].detail = "down: status is 503 at 10.0.0.7".to_owned();
    down.state.incident = Some(Box::new(open));
    daemon.board.put(down);
    daemon.board.put(check("front", "http", Status::Up));
    let mut secret = check("secret-db", "postgres", Status::Down);
    secret.labels = Arc::new([("team".to_owned(), "secret-team".to_owned())].into());
    secret.state.incident = Some(Box::new(incident("01SECRET", "secret-db")));
    secret.state.reasons = vec!["secret-reason".to_owned()];
    daemon.board.put(secret);
    let over =
        |id: &str, check: &str| Incident { resolved_at: Some(at(3100)), ..incident(id, check) };
    *daemon.store.incidents.lock().unwrap() =
        vec![over("01OVER", "front"), over("01SECRETOVER", "secret-db")];
    let named =
        |name: &str, shown: &str| PublicCheck { name: name.into(), shown: shown.to_owned() };
    let status_page = StatusPage {
        title: "Shop <status>".to_owned(),
        description: Some("How the shop is.".to_owned()),
        group_by: Some("team".to_owned()),
        checks: vec![named("shop-api-internal", "Checkout"), named("front", "front")],
        ..StatusPage::default()
    };
    let keys = daemon.settings.load().keys.clone();
    daemon.settings.store(Arc::new(Settings {
        keys,
        public_status: true,
        status_page: Arc::new(status_page),
        ..Settings::default()
    }));
    daemon
}

async fn from_afar(daemon: &Daemon, path: &str) -> reqwest::Response {
    let request = daemon.request("GET", path).header("x-forwarded-for", "203.0.113.7");
    request.send().await.unwrap()
}

/// Puts the same in the place of all ids and addresses, which differ from run to run.
fn blur(value: &mut Json) {
    const BLURRED: [&str; 7] =
        ["id", "page_id", "group_id", "incident_id", "code", "shortlink", "url"];
    match value {
        Json::Object(object) => {
            for (key, value) in object {
                match value {
                    Json::String(text) if BLURRED.contains(&key.as_str()) => *text = "…".to_owned(),
                    Json::Array(items) if items.iter().all(Json::is_string) => items.clear(),
                    value => blur(value),
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(blur),
        _ => {}
    }
}

async fn announce(daemon: &Daemon, body: &Json) -> Json {
    daemon.done("POST", "/api/v1/announcements", body).await
}

#[tokio::test]
async fn everybody_sees_what_is_public_and_nobody_anything_else() {
    let daemon = shop().await;
    let about = json!({
        "title": "Payments are slow",
        "body": "We look.\n\n<b>Soon</b> more.",
        "kind": "investigating",
        "checks": ["shop-api-internal", "secret-db"],
        "by": "secret-ann",
    });
    announce(&daemon, &about).await;
    for path in OUTPUTS {
        let answer = from_afar(&daemon, path).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["cache-control"], "public, max-age=15", "{path}");
        let tag = answer.headers()["etag"].clone();
        let again = daemon.request("GET", path).header("if-none-match", tag);
        assert_eq!(again.send().await.unwrap().status(), 304, "{path}");
        let text = answer.text().await.unwrap();
        for private in [
            "secret",
            "shop-api-internal",
            "503",
            "10.0.0.7",
            "wiki.example",
            "status is",
            "postgres",
            "0.1.0",
            ">prod<",
            "01SECRET",
        ] {
            assert!(!text.contains(private), "{private} in {path}: {text}");
        }
        assert!(text.contains("Checkout") && text.contains("Payments are slow"), "{path}: {text}");
        let is_markup = path != "/status.json";
        assert!(!is_markup || !text.contains("<b>Soon") && !text.contains("<status>"), "{text}");
    }
    let page = from_afar(&daemon, "/status").await.text().await.unwrap();
    for part in [
        "Partial outage",
        "Checkout: outage",
        "Operational",
        "shop",
        "front: outage",
        "We look.",
        "Nothing happened.",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

#[tokio::test]
async fn the_summary_has_the_shape_of_statuspage() {
    let daemon = shop().await;
    let work = json!({
        "title": "New disks",
        "body": "We change disks.",
        "kind": "maintenance",
        "starts_at": "2025-01-01T02:00:00Z",
        "ends_at": "2025-01-01T03:00:00Z",
        "checks": ["front"],
    });
    announce(&daemon, &work).await;
    let summary = daemon.json("/status.json").await;
    let mut shown = summary.clone();
    blur(&mut shown);
    insta::assert_json_snapshot!(shown, @r#"
    {
      "page": {
        "id": "…",
        "name": "Shop <status>",
        "url": "…",
        "time_zone": "UTC",
        "updated_at": "2025-01-01T01:00:00.000Z"
      },
      "components": [
        {
          "id": "…",
          "name": "shop",
          "status": "partial_outage",
          "created_at": "2025-01-01T00:50:00.000Z",
          "updated_at": "2025-01-01T00:50:00.000Z",
          "position": 1,
          "description": null,
          "showcase": false,
          "start_date": null,
          "group_id": null,
          "page_id": "…",
          "group": true,
          "only_show_if_degraded": false,
          "components": []
        },
        {
          "id": "…",
          "name": "Checkout",
          "status": "major_outage",
          "created_at": "2025-01-01T00:50:00.000Z",
          "updated_at": "2025-01-01T00:50:00.000Z",
          "position": 1,
          "description": null,
          "showcase": true,
          "start_date": null,
          "group_id": "…",
          "page_id": "…",
          "group": false,
          "only_show_if_degraded": false
        },
        {
          "id": "…",
          "name": "front",
          "status": "operational",
          "created_at": "2025-01-01T00:50:00.000Z",
          "updated_at": "2025-01-01T00:50:00.000Z",
          "position": 2,
          "description": null,
          "showcase": true,
          "start_date": null,
          "group_id": "…",
          "page_id": "…",
          "group": false,
          "only_show_if_degraded": false
        }
      ],
      "incidents": [
        {
          "id": "…",
          "name": "Checkout: outage",
          "status": "investigating",
          "created_at": "2025-01-01T00:51:00.000Z",
          "updated_at": "2025-01-01T00:51:00.000Z",
          "monitoring_at": null,
          "resolved_at": null,
          "impact": "major",
          "shortlink": "…",
          "started_at": "2025-01-01T00:50:00.000Z",
          "page_id": "…",
          "incident_updates": [
            {
              "id": "…",
              "status": "investigating",
              "body": "Checkout is not available.",
              "incident_id": "…",
              "created_at": "2025-01-01T00:51:00.000Z",
              "updated_at": "2025-01-01T00:51:00.000Z",
              "display_at": "2025-01-01T00:51:00.000Z",
              "affected_components": [
                {
                  "code": "…",
                  "name": "Checkout"
                }
              ]
            }
          ],
          "components": [
            {
              "id": "…",
              "name": "Checkout",
              "page_id": "…",
              "group": false
            }
          ]
        }
      ],
      "scheduled_maintenances": [
        {
          "id": "…",
          "name": "New disks",
          "status": "scheduled",
          "created_at": "2025-01-01T01:00:00.000Z",
          "updated_at": "2025-01-01T01:00:00.000Z",
          "monitoring_at": null,
          "resolved_at": null,
          "impact": "maintenance",
          "shortlink": "…",
          "started_at": "2025-01-01T02:00:00.000Z",
          "page_id": "…",
          "incident_updates": [
            {
              "id": "…",
              "status": "scheduled",
              "body": "We change disks.",
              "incident_id": "…",
              "created_at": "2025-01-01T01:00:00.000Z",
              "updated_at": "2025-01-01T01:00:00.000Z",
              "display_at": "2025-01-01T01:00:00.000Z",
              "affected_components": [
                {
                  "code": "…",
                  "name": "front"
                }
              ]
            }
          ],
          "components": [
            {
              "id": "…",
              "name": "front",
              "page_id": "…",
              "group": false
            }
          ],
          "scheduled_for": "2025-01-01T02:00:00.000Z",
          "scheduled_until": "2025-01-01T03:00:00.000Z"
        }
      ],
      "status": {
        "indicator": "major",
        "description": "Partial outage"
      }
    }
    "#);
    assert_eq!(daemon.json("/status.json").await, summary, "ids are stable");
}

#[tokio::test]
async fn feeds_hold_what_happened_the_latest_first() {
    let daemon = shop().await;
    announce(&daemon, &json!({ "title": "Hello & welcome", "body": "a < b" })).await;
    let atom = daemon.get("/status.atom").await;
    assert_eq!(atom.headers()["content-type"], "application/atom+xml; charset=utf-8");
    let atom: atom_syndication::Feed = atom.text().await.unwrap().parse().unwrap();
    let titles: Vec<&str> = atom.entries.iter().map(|entry| entry.title.as_str()).collect();
    assert_eq!(
        titles,
        ["Hello & welcome (info)", "front: outage (resolved)", "Checkout: outage (investigating)"]
    );
    assert_eq!(atom.entries[2].id, "urn:watchbell:event:01OPEN");
    let content = atom.entries[0].content.as_ref().unwrap().value.as_deref().unwrap();
    assert!(content.contains("<p>a &lt; b</p>"), "{content}");
    let rss = daemon.get("/status.rss").await;
    assert_eq!(rss.headers()["content-type"], "application/rss+xml; charset=utf-8");
    let rss = rss::Channel::read_from(&rss.bytes().await.unwrap()[..]).unwrap();
    assert_eq!(rss.items.len(), 3);
    assert_eq!(rss.items[0].title.as_deref(), Some("Hello & welcome (info)"));
    assert!(rss.items[0].link.as_deref().unwrap().starts_with(&format!("{}/status#", daemon.url)));
}

#[tokio::test]
async fn the_page_goes_on_while_the_store_is_away() {
    let daemon = shop().await;
    daemon.store.broken.store(true, std::sync::atomic::Ordering::SeqCst);
    let page = daemon.get("/status").await.text().await.unwrap();
    assert!(page.contains("Checkout: outage") && page.contains("Some of the past cannot be shown"));
    daemon.control.daemon.lock().unwrap().ready = Err("the schedule stands still".to_owned());
    let page = daemon.get("/status").await.text().await.unwrap();
    assert!(page.contains("Our monitoring is interrupted") && !page.contains("schedule"), "{page}");
}

#[tokio::test]
async fn a_page_without_public_checks_says_so() {
    let daemon = Daemon::start().await;
    let page = daemon.get("/status").await.text().await.unwrap();
    assert!(page.contains("Nothing is shown here yet") && page.contains("public = true"), "{page}");
    let status = &daemon.json("/status.json").await["status"];
    assert_eq!(status["indicator"], "minor");
}
