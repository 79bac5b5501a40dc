//! What people do: acknowledge, snooze, silence, pause, try again.

use super::fake::{OPERATOR, READER, at, incident, notice, problem};
use super::shop;
use crate::model::{Acknowledgement, Group, HeldBecause, NoticeState};
use serde_json::{Value, json};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

const ACK: &str = "/api/v1/incidents/01INC/ack";
const SNOOZE: &str = "/api/v1/incidents/01INC/snooze";
const SILENCES: &str = "/api/v1/silences";

/// Everything that changes something, with a body that does.
fn all() -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("POST", ACK, json!({})),
        ("DELETE", ACK, json!({})),
        ("POST", SNOOZE, json!({ "for": "1h" })),
        ("POST", SILENCES, json!({ "matchers": ["shop-api"], "for": "1h" })),
        ("DELETE", "/api/v1/silences/01SIL", json!({})),
        ("POST", "/api/v1/checks/core-db/pause", json!({})),
        ("POST", "/api/v1/checks/core-db/resume", json!({})),
        ("POST", "/api/v1/notices/01NOTICE/retry", json!({})),
    ]
}

#[tokio::test]
async fn nothing_is_changed_without_the_scope_for_it() {
    let daemon = shop().await;
    for (method, path, body) in all() {
        let request = || daemon.request(method, path).json(&body);
        assert_eq!(problem(request().send().await.unwrap()).await.0, 401, "{method} {path}");
        let (status, detail) = problem(request().bearer_auth(READER).send().await.unwrap()).await;
        assert_eq!(status, 403, "{method} {path}");
        assert_eq!(detail, "The key `reader` lacks the scope `operate`.");
        let nobody = request().bearer_auth("wrong").send().await.unwrap();
        assert_eq!(problem(nobody).await.0, 401, "{method} {path}");
    }
    assert_eq!(daemon.json("/api/v1/incidents/01INC").await["acknowledged"], Value::Null);
    assert_eq!(daemon.json(SILENCES).await["items"], json!([]));
    assert_eq!(daemon.json("/api/v1/checks/core-db").await["paused"], false);
}

#[tokio::test]
async fn a_daemon_that_stops_says_so() {
    let daemon = shop().await;
    daemon.control.stopping.store(true, SeqCst);
    for (method, path, body) in all() {
        let answer = daemon.refused(method, path, &body).await;
        assert_eq!(answer, (503, "The daemon is stopping.".to_owned()), "{method} {path}");
    }
}

#[tokio::test]
async fn an_incident_is_taken_on_and_given_back() {
    let daemon = shop().await;
    let body = json!({ "by": "ann", "note": " on it ", "for": "2h" });
    let taken = daemon.done("POST", ACK, &body).await;
    insta::assert_json_snapshot!(taken["acknowledged"], @r#"
    {
      "by": "ann",
      "note": "on it",
      "at": "2025-01-01T01:00:00.000Z",
      "until": "2025-01-01T03:00:00.000Z"
    }
    "#);
    assert_eq!((&taken["id"], &taken["state"]), (&json!("01INC"), &json!("open")));
    assert_eq!(daemon.json("/api/v1/incidents/01INC").await, taken);
    let page = daemon.get("/").await.text().await.unwrap();
    assert!(page.contains("acknowledged by ann"), "{page}");

    // Without a body the name of the key has it, until the end.
    let bare = daemon.request("POST", ACK).bearer_auth(OPERATOR).send().await.unwrap();
    let bare: Value = bare.json().await.unwrap();
    assert_eq!(bare["acknowledged"]["by"], "operator");
    assert_eq!(bare["acknowledged"]["until"], Value::Null);

    let back = daemon.request("DELETE", ACK).bearer_auth(OPERATOR).send().await.unwrap();
    assert_eq!(back.json::<Value>().await.unwrap()["acknowledged"], Value::Null);
}

#[tokio::test]
async fn what_is_over_or_unknown_is_not_taken_on() {
    let daemon = shop().await;
    let mut over = incident("01OLD", "core-db");
    over.resolved_at = Some(at(3100));
    daemon.store.incidents.lock().unwrap().push(over);
    for (method, path, body) in [
        ("POST", "ack", json!({})),
        ("DELETE", "ack", json!({})),
        ("POST", "snooze", json!({ "for": "1h" })),
    ] {
        let path = |id: &str| format!("/api/v1/incidents/{id}/{path}");
        let answer = daemon.refused(method, &path("01OLD"), &body).await;
        assert_eq!(answer, (409, "The incident is resolved already.".to_owned()));
        let answer = daemon.refused(method, &path("01NONE"), &body).await;
        assert_eq!(answer, (404, "There is no incident `01NONE`.".to_owned()));
    }
}

#[tokio::test]
async fn an_incident_is_snoozed_for_a_span_or_until_a_time() {
    let daemon = shop().await;
    let snoozed = daemon.done("POST", SNOOZE, &json!({ "for": "30m", "by": "ann" })).await;
    assert_eq!(snoozed["snoozed_until"], "2025-01-01T01:30:00.000Z");
    let snoozed =
        daemon.done("POST", SNOOZE, &json!({ "until": "2025-01-01T10:00:00+02:00" })).await;
    assert_eq!(snoozed["snoozed_until"], "2025-01-01T08:00:00.000Z");
    let page = daemon.get("/").await.text().await.unwrap();
    assert!(page.contains("snoozed for") && page.contains(">7 h</time>"), "{page}");
}

#[tokio::test]
async fn a_body_that_makes_no_sense_changes_nothing_and_says_why() {
    let daemon = shop().await;
    let (long, many) = ("x".repeat(1001), vec!["a"; 101]);
    for (path, body, status, part) in [
        (ACK, json!({ "nota": "x" }), 400, "`nota` is not a field here: did you mean `note`?"),
        (ACK, json!([1]), 400, "a JSON object, or empty"),
        (ACK, json!({ "note": long }), 400, "`note` has up to 1000 characters"),
        (ACK, json!({ "by": long }), 400, "`by` has up to 1000 characters"),
        (ACK, json!({ "by": 7 }), 400, "`by` is a text"),
        (ACK, json!({ "for": "2 moons" }), 400, "`2 moons` is not a duration"),
        (ACK, json!({ "until": "2025-01-01T00:59:59Z" }), 422, "it lies in the past"),
        (SNOOZE, json!({}), 400, "Say how long"),
        (SNOOZE, json!({ "note": "x", "for": "1h" }), 400, "one of by, for, until"),
        (SILENCES, json!({ "for": "1h" }), 400, "`matchers` is a list"),
        (SILENCES, json!({ "matchers": "shop", "for": "1h" }), 400, "`matchers` is a list"),
        (SILENCES, json!({ "matchers": [], "for": "1h" }), 422, "at least one matcher"),
        (SILENCES, json!({ "matchers": many, "for": "1h" }), 400, "up to 100 matchers"),
        (SILENCES, json!({ "matchers": ["a b"], "for": "1h" }), 400, "one of =, !=, =~ and !~"),
        (SILENCES, json!({ "matchers": [7], "for": "1h" }), 400, "a text such as team=shop"),
        (SILENCES, json!({ "matchers": [{ "name": "a" }], "for": "1h" }), 400, "field `value`"),
        (
            SILENCES,
            json!({ "matchers": [{ "name": "a", "value": "b", "is_regex": true }], "for": "1h" }),
            400,
            "did you mean `isRegex`?",
        ),
        (SILENCES, json!({ "matchers": [long], "for": "1h" }), 400, "up to 1000 characters"),
        (SILENCES, json!({ "matchers": ["name=~("], "for": "1h" }), 422, "name=~\"(\""),
        (SILENCES, json!({ "matchers": ["a"] }), 400, "Say how long"),
        (SILENCES, json!({ "matchers": ["a"], "for": "0s" }), 422, "it lies in the past"),
        (SILENCES, json!({ "matchers": ["a"], "for": "1h", "comment": long }), 400, "`comment`"),
        (SILENCES, json!({ "matchers": ["a"], "for": "1h", "author": long }), 400, "`author`"),
        (
            SILENCES,
            json!({ "matchers": ["a"], "starts_at": "2025-02-01T00:00:00Z",
                    "ends_at": "2025-01-31T00:00:00Z" }),
            422,
            "no later than the start",
        ),
        ("/api/v1/checks/core-db/pause", json!({ "for": "1h" }), 400, "one of by"),
    ] {
        let (found, detail) = daemon.refused("POST", path, &body).await;
        assert!(found == status && detail.contains(part), "{path} {body}: {found} {detail}");
    }
    let rubbish = daemon.request("POST", ACK).bearer_auth(OPERATOR).body("by=ann");
    let (status, detail) = problem(rubbish.send().await.unwrap()).await;
    assert!(status == 400 && detail.contains("not JSON"), "{status} {detail}");
    assert_eq!(daemon.json("/api/v1/incidents/01INC").await["acknowledged"], Value::Null);
    assert_eq!(daemon.json(SILENCES).await["items"], json!([]));
}

#[tokio::test]
async fn a_silence_is_set_listed_and_ended() {
    let daemon = shop().await;
    let matchers = json!(["team=shop", { "name": "name", "value": "db", "isEqual": false }]);
    let body = json!({ "matchers": matchers, "for": "2h", "author": "ann", "comment": "moving" });
    let response = daemon.operate("POST", SILENCES, &body).await;
    assert_eq!(response.status(), 201);
    let place = response.headers()["location"].to_str().unwrap().to_owned();
    let set: Value = response.json().await.unwrap();
    assert_eq!(place, format!("/api/v1/silences/{}", set["id"].as_str().unwrap()));
    assert_eq!(daemon.json(&place).await, set);
    let mut shape = set.clone();
    shape["id"] = json!("01…");
    insta::assert_json_snapshot!(shape, @r#"
    {
      "id": "01…",
      "state": "active",
      "matchers": [
        "team=\"shop\"",
        "name!=\"db\""
      ],
      "starts_at": "2025-01-01T01:00:00.000Z",
      "ends_at": "2025-01-01T03:00:00.000Z",
      "author": "ann",
      "comment": "moving",
      "created_at": "2025-01-01T01:00:00.000Z"
    }
    "#);
    let metrics = daemon.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("\nwatchbell_silences_active 1\n"), "{metrics}");

    let ended = daemon.done("DELETE", &place, &json!({})).await;
    assert_eq!(
        (&ended["state"], &ended["ends_at"]),
        (&json!("expired"), &json!("2025-01-01T01:00:00.000Z"))
    );
    assert_eq!(daemon.done("DELETE", &place, &json!({})).await, ended, "twice is fine");
    let answer = daemon.refused("DELETE", "/api/v1/silences/01NONE", &json!({})).await;
    assert_eq!(answer, (404, "There is no silence `01NONE`.".to_owned()));
    assert_eq!(daemon.problem("/api/v1/silences/01NONE").await.0, 404);
}

#[tokio::test]
async fn silences_are_listed_by_their_state_newest_first() {
    let daemon = shop().await;
    let set = async |comment: &str, starts: &str| {
        let body =
            json!({ "matchers": ["a"], "for": "1h", "starts_at": starts, "comment": comment });
        let set = daemon.done("POST", SILENCES, &body).await;
        set["id"].as_str().unwrap().to_owned()
    };
    let mut ids = [
        set("over", "2025-01-01T01:00:00Z").await,
        set("now", "2024-01-01T00:00:00Z").await,
        set("later", "2025-01-01T02:00:00Z").await,
    ];
    daemon.done("DELETE", &format!("{SILENCES}/{}", ids[0]), &json!({})).await;
    let comments = async |query: &str| -> Vec<String> {
        let list = daemon.json(&format!("{SILENCES}?{query}")).await;
        let items = list["items"].as_array().unwrap();
        items.iter().map(|it| it["comment"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(comments("state=expired").await, ["over"]);
    assert_eq!(comments("state=active").await, ["now"], "nobody's silence begins in the past");
    assert_eq!(comments("state=pending").await, ["later"]);
    assert_eq!(comments("").await.len(), 3);

    ids.sort();
    let first = daemon.json(&format!("{SILENCES}?limit=2")).await;
    assert_eq!((&first["items"][0]["id"], &first["next"]), (&json!(ids[2]), &json!(ids[1])));
    let rest = daemon.json(&format!("{SILENCES}?limit=2&cursor={}", ids[1])).await;
    assert_eq!((&rest["items"][0]["id"], &rest["next"]), (&json!(ids[0]), &Value::Null));
    let (status, detail) = daemon.problem("/api/v1/silences?state=over").await;
    assert!(status == 400 && detail.contains("active, pending, expired"), "{detail}");
}

#[tokio::test]
async fn a_check_is_paused_and_resumed() {
    let daemon = shop().await;
    let pause = "/api/v1/checks/core-db/pause";
    let paused = daemon.done("POST", pause, &json!({ "by": "ann" })).await;
    assert_eq!(
        (&paused["paused"], &paused["paused_by"], &paused["paused_at"], &paused["next_run"]),
        (&json!(true), &json!("ann"), &json!("2025-01-01T01:00:00.000Z"), &Value::Null)
    );
    assert_eq!(daemon.done("POST", pause, &json!({})).await, paused, "twice changes nothing");
    assert_eq!(daemon.json("/api/v1/status").await["checks"]["paused"], 1);
    let page = daemon.get("/").await.text().await.unwrap();
    assert!(page.contains("paused by ann"), "{page}");

    let resumed = daemon.done("POST", "/api/v1/checks/core-db/resume", &json!({})).await;
    assert_eq!((&resumed["paused"], &resumed["paused_by"]), (&json!(false), &Value::Null));
    assert!(resumed["next_run"].is_string());
    let (status, detail) = daemon.refused("POST", "/api/v1/checks/core-bd/pause", &json!({})).await;
    assert!(status == 404 && detail.contains("Did you mean `core-db`?"), "{status} {detail}");
}

#[tokio::test]
async fn a_notice_is_tried_again_unless_it_is_settled() {
    let daemon = shop().await;
    let about = || incident("01INC", "shop-api");
    let mut refused = notice("01REFUSED", about());
    (refused.state, refused.held_because) = (NoticeState::Rejected, None);
    *daemon.control.owed.lock().unwrap() = vec![refused, notice("01HELD", about())];
    let mut sent = notice("01SENT", about());
    sent.state = NoticeState::Sent;
    daemon.store.notices.lock().unwrap().push(sent);

    let retry = |id: &str| format!("/api/v1/notices/{id}/retry");
    let tried = daemon.done("POST", &retry("01REFUSED"), &json!({})).await;
    assert_eq!(
        (&tried["state"], &tried["due_at"]),
        (&json!("pending"), &json!("2025-01-01T01:00:00.000Z"))
    );
    for (id, status, part) in [
        ("01HELD", 409, "It is held back, not waiting."),
        ("01SENT", 409, "The notice is sent already."),
        ("01NONE", 404, "There is no notice `01NONE`."),
    ] {
        let answer = daemon.refused("POST", &retry(id), &json!({})).await;
        assert_eq!(answer, (status, part.to_owned()));
    }
}

#[tokio::test]
async fn what_holds_a_notice_or_an_incident_is_shown() {
    let daemon = shop().await;
    let mut view = crate::model::CheckView::clone(&daemon.board.get("shop-api").unwrap());
    view.state.flapping = true;
    let open = view.state.incident.as_mut().unwrap();
    open.suppressed_by = Some(HeldBecause::Maintenance);
    open.dependents = vec!["shop-cart".into(), "shop-front".into()];
    open.acknowledged = Some(Acknowledgement {
        by: "ann".to_owned(),
        note: None,
        at: at(3100),
        until: Some(at(7200)),
    });
    daemon.board.put(view);
    let open = daemon.json("/api/v1/incidents/01INC").await;
    assert_eq!(open["dependents"], json!(["shop-cart", "shop-front"]));
    assert_eq!(open["suppressed_by"], "maintenance");
    assert_eq!(open["acknowledged"]["note"], Value::Null);
    assert_eq!(open["acknowledged"]["until"], "2025-01-01T02:00:00.000Z");
    assert_eq!(daemon.json("/api/v1/checks/shop-api").await["flapping"], true);
    let metrics = daemon.get("/metrics").await.text().await.unwrap();
    let sample = "watchbell_incidents_open{severity=\"critical\",suppressed=\"true\"} 1";
    assert!(metrics.contains(sample), "{metrics}");
    let page = daemon.get("/").await.text().await.unwrap();
    for part in ["nobody is told: maintenance", "acknowledged by ann", "goes to and fro"] {
        assert!(page.contains(part), "no {part} in {page}");
    }

    let words = ["dependency", "silence", "maintenance", "flapping", "group", "cooldown"];
    let because = [
        HeldBecause::Dependency,
        HeldBecause::Silence,
        HeldBecause::Maintenance,
        HeldBecause::Flapping,
        HeldBecause::Group,
        HeldBecause::Cooldown,
        HeldBecause::RateLimit,
        HeldBecause::Storm,
    ];
    for (held_because, word) in
        because.into_iter().zip(words.into_iter().chain(["rate_limit", "storm"]))
    {
        let mut held = notice("01HELD", incident("01INC", "shop-api"));
        held.held_because = Some(held_because);
        held.group = Some(Group { key: "team=shop".to_owned(), window: Duration::from_secs(30) });
        held.mute_until = Some(at(9000));
        *daemon.store.notices.lock().unwrap() = vec![held];
        let list = daemon.json("/api/v1/notices").await;
        let shown = &list["items"][0];
        assert_eq!(shown["held_because"], word);
        assert_eq!(
            (&shown["group"], &shown["mute_until"]),
            (&json!("team=shop"), &json!("2025-01-01T02:30:00.000Z"))
        );
    }
}
