//! The status API answers in the shapes that it promises.

use crate::harness::{Setup, Target, client};

#[tokio::test]
async fn the_shapes_are_as_promised() {
    let target = Target::start();
    let check = target.check("shop", "confirm_after = 1\nlabels = { team = \"shop\" }");
    let daemon = Setup::new().checks("shop.toml", &check).start().await;
    daemon.wait_for_status("shop", "up").await;
    target.answer(500);
    daemon.wait_for_incident("shop", "open", &[]).await;

    let health = daemon.get("/health").await;
    assert_eq!(health["status"], "ok");
    assert!(health["timestamp"].is_string());
    let shop = daemon.get("/api/v1/checks/shop").await;
    let keys = [
        "name", "kind", "status", "since", "reasons", "facts", "labels", "last_run", "next_run",
        "paused", "incident",
    ];
    for key in keys {
        assert!(shop.get(key).is_some(), "no `{key}` in {shop:#}");
    }
    assert_eq!((&shop["kind"], &shop["labels"]["team"]), (&"http".into(), &"shop".into()));
    assert_eq!(shop["facts"]["status"], 500);

    let results = daemon.list("/api/v1/checks/shop/results?limit=2").await;
    for key in ["at", "status", "latency_ms", "reasons", "facts"] {
        assert!(results[0].get(key).is_some(), "no `{key}` in {:#}", results[0]);
    }
    let (status, answer) = daemon.post("/api/v1/checks/shop/run").await;
    assert_eq!(status, 200, "{answer:#}");
    assert_eq!(answer["status"], "down", "{answer:#}");
    let (_, metrics) = daemon.get_text("/metrics").await;
    assert!(metrics.contains("# TYPE watchbell_"), "{metrics}");
    let (status, page) = daemon.get_text("/").await;
    assert_eq!(status, 200);
    assert!(page.contains("shop"), "{page}");

    let (status, problem) = daemon.get_text("/api/v1/checks/nothing").await;
    assert_eq!(status, 404);
    assert!(problem.contains("\"title\""), "{problem}");
    assert_eq!(daemon.get_text("/api/v1/checks?limit=0").await.0, 400);
    let without_key = client().post(daemon.url("/api/v1/checks/shop/run")).send().await.unwrap();
    assert_eq!(without_key.status(), 401);
}

#[tokio::test]
async fn a_check_that_has_not_run_yet_says_when_it_will() {
    let target = Target::start();
    let check = format!(
        "[[check]]\nname = \"yearly\"\ncron = \"0 0 1 1 *\"\n[check.http]\nurl = \"{}\"\n",
        target.url()
    );
    let daemon = Setup::new().checks("yearly.toml", &check).start().await;
    let yearly = daemon.get("/api/v1/checks/yearly").await;
    assert_eq!((&yearly["status"], yearly["last_run"].is_null()), (&"unknown".into(), true));
    let next = yearly["next_run"].as_str().unwrap_or_default();
    assert!(next.contains("-01-01T00:00:00"), "{yearly:#}");
}
