//! What Prometheus and amtool see.

use super::fake::{Daemon, OPERATOR, PUSHER, READER};
use super::shop;
use serde_json::{Value, json};

async fn push(daemon: &Daemon, body: &Value) -> (u16, String) {
    let request = daemon.request("POST", "/api/v2/alerts").bearer_auth(PUSHER).json(body);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn alerts_are_taken_in_and_the_bad_ones_are_named() {
    let daemon = shop().await;
    let good = json!({
        "labels": { "alertname": "HighLoad", "instance": "a:9100", "empty": "" },
        "annotations": { "summary": "load is high" },
        "startsAt": "2025-01-01T00:50:00Z",
        "endsAt": "0001-01-01T00:00:00.000Z",
        "generatorURL": "http://prometheus/graph",
        "unknown": 7,
    });
    assert_eq!(push(&daemon, &json!([good])).await, (200, String::new()));
    let (status, why) = push(&daemon, &json!([{ "labels": {} }, good, 7])).await;
    assert_eq!(status, 400);
    let why: String = serde_json::from_str(&why).unwrap();
    assert!(why.starts_with("alert 0: it has no labels; alert 2: "), "{why}");
    let taken = daemon.control.alerts.lock().unwrap().clone();
    assert_eq!(taken.len(), 2, "the good one of a bad list is kept");
    assert_eq!(taken[0].labels.len(), 2, "a label without a value is none");
    assert_eq!(taken[0].origin.ends_at.to_string(), "2025-01-01T01:05:00.000Z");
    assert_eq!(push(&daemon, &json!({})).await.0, 400);
}

#[tokio::test]
async fn what_no_database_can_keep_is_refused_and_the_rest_is_taken() {
    let daemon = shop().await;
    let alerts = json!([
        { "labels": { "alertname": "a\0b" } },
        { "labels": { "alertname": "fine" }, "generatorURL": "http://\0" },
        { "labels": { "alertname": "noted" }, "annotations": { "summary": "\0" } },
    ]);
    let (status, why) = push(&daemon, &alerts).await;
    assert_eq!(status, 400);
    let why: String = serde_json::from_str(&why).unwrap();
    assert_eq!(
        why,
        "alert 0: `alertname` holds a zero character; alert 2: `summary` holds a zero character"
    );
    let taken = daemon.control.alerts.lock().unwrap().clone();
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].origin.generator_url, None);

    let silence = json!({
        "matchers": [{ "name": "team", "value": "\0", "isRegex": false, "isEqual": true }],
        "endsAt": "2035-01-01T00:00:00Z", "createdBy": "a", "comment": "b",
    });
    let request = daemon.request("POST", "/api/v2/silences").bearer_auth(OPERATOR).json(&silence);
    assert_eq!(request.send().await.unwrap().status(), 400);
    for (path, status) in [
        ("/api/v1/incidents/a%00b", 400),
        ("/api/v1/notices?cursor=%00", 400),
        ("/api/v2/silence/%00", 404),
        ("/api/v2/alerts?receiver=%00", 200),
    ] {
        assert_eq!(daemon.get(path).await.status(), status, "{path}");
    }
}

#[tokio::test]
async fn alerts_are_sent_in_with_the_scope_for_it_only() {
    let daemon = shop().await;
    for (key, status) in [(READER, 403), (OPERATOR, 403), (PUSHER, 200)] {
        let request = daemon.request("POST", "/api/v2/alerts").bearer_auth(key).json(&json!([]));
        assert_eq!(request.send().await.unwrap().status(), status, "{key}");
    }
    let bare = daemon.request("POST", "/api/v2/alerts").json(&json!([])).send().await.unwrap();
    assert_eq!(bare.status(), 401);
}

#[tokio::test]
async fn open_incidents_are_listed_as_alerts() {
    let daemon = shop().await;
    let alerts = daemon.json("/api/v2/alerts?active=true&filter=alertname%3Dshop-api").await;
    let mut alert = alerts[0].clone();
    alert.as_object_mut().unwrap().remove("fingerprint");
    insta::assert_json_snapshot!(alert["labels"], @r#"
    {
      "alertname": "shop-api",
      "kind": "http",
      "severity": "critical",
      "team": "shop"
    }
    "#);
    assert_eq!(alert["receivers"], json!([{ "name": "ops" }]));
    assert_eq!(alert["status"]["state"], "active");
    assert_eq!(daemon.json("/api/v2/alerts?active=false").await, json!([]));
    assert_eq!(daemon.json("/api/v2/alerts?receiver=nobody").await, json!([]));
    let groups = daemon.json("/api/v2/alerts/groups").await;
    assert_eq!(groups[0]["receiver"], json!({ "name": "ops" }));
    assert_eq!(groups[0]["alerts"].as_array().unwrap().len(), 1);
    let refused = daemon.get("/api/v2/alerts?active=perhaps").await;
    assert_eq!(
        (refused.status(), refused.text().await.unwrap().as_str()),
        (http::StatusCode::BAD_REQUEST, "\"active is true or false\"")
    );
}

#[tokio::test]
async fn a_silence_is_set_changed_and_ended() {
    let daemon = shop().await;
    let set = async |body: Value| {
        let answer = daemon.operate("POST", "/api/v2/silences", &body).await;
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let silence = json!({
        "matchers": [{ "name": "team", "value": "shop", "isRegex": false }],
        "startsAt": "2025-01-01T01:00:00Z",
        "endsAt": "2025-01-01T03:00:00Z",
        "createdBy": "ann",
        "comment": "a move",
    });
    let (status, made) = set(silence.clone()).await;
    assert_eq!(status, 200, "{made}");
    let id = made["silenceID"].as_str().unwrap().to_owned();
    let listed = daemon.json("/api/v2/silences").await;
    insta::assert_json_snapshot!(listed[0]["matchers"], @r#"
    [
      {
        "name": "team",
        "value": "shop",
        "isRegex": false,
        "isEqual": true
      }
    ]
    "#);
    assert_eq!(
        (&listed[0]["status"]["state"], &listed[0]["createdBy"]),
        (&json!("active"), &json!("ann"))
    );
    let mut longer = silence.clone();
    longer["id"] = json!(id);
    longer["endsAt"] = json!("2025-01-01T04:00:00Z");
    assert_eq!(set(longer.clone()).await.1["silenceID"], *id, "it only lasts longer");
    longer["matchers"][0]["value"] = json!("core");
    assert_ne!(set(longer.clone()).await.1["silenceID"], *id, "what has been stays");
    let old = daemon.json(&format!("/api/v2/silence/{id}")).await;
    assert_eq!(old["status"]["state"], "expired");
    longer["id"] = json!("nothing");
    assert_eq!(set(longer).await.0, 404);
    let mut past = silence;
    past["endsAt"] = json!("2024-01-01T03:00:00Z");
    assert_eq!(set(past).await.0, 400);
    for _ in 0..2 {
        let ended = daemon.operate("DELETE", &format!("/api/v2/silence/{id}"), &json!({})).await;
        assert_eq!(ended.status(), 200);
    }
    assert_eq!(daemon.get("/api/v2/silence/nothing").await.status(), 404);
}

#[tokio::test]
async fn it_looks_like_an_alertmanager() {
    let daemon = shop().await;
    let status = daemon.json("/api/v2/status").await;
    assert_eq!(status["cluster"], json!({ "status": "disabled", "name": "prod", "peers": [] }));
    for part in ["version", "revision", "branch", "buildUser", "buildDate", "goVersion"] {
        assert!(status["versionInfo"][part].is_string(), "{part}");
    }
    assert!(status["config"]["original"].is_string() && status["uptime"].is_string());
    assert_eq!(daemon.json("/api/v2/receivers").await, json!([{ "name": "ops" }]));
    assert_eq!(daemon.get("/-/ready").await.status(), 200);
}
