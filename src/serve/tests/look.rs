use super::fake::{Daemon, at, check, incident};
use crate::model::{Facts, Severity, Status};

/// Serves a page with something of everything, to be looked at in a browser:
/// `cargo test --lib a_page_to_look_at -- --ignored`.
#[tokio::test]
#[ignore = "runs until it is interrupted"]
async fn a_page_to_look_at() {
    let daemon = Daemon::listen("127.0.0.1:7199").await;
    for n in 1..=12 {
        daemon.board.put(check(&format!("edge-{n:02}"), "http", Status::Up));
    }
    let mut down = check("shop-api", "http", Status::Down);
    let open = incident("01INC", "shop-api");
    down.state.incident = Some(open);
    daemon.board.put(down);
    let mut soft = check("payments", "rpc", Status::Down);
    soft.state.reasons = vec!["connection refused (10.0.3.7:8545)".to_owned()];
    soft.state.since = at(3585);
    daemon.board.put(soft);
    let mut slow = check("search", "http", Status::Degraded);
    slow.state.reasons = vec![
        "latency > duration('800ms') holds: latency is 1.2 s, and the rest is said at length"
            .to_owned(),
    ];
    let mut warning = incident("01WARN", "search");
    warning.status = Status::Degraded;
    warning.severity = Severity::Warning;
    warning.acknowledged = Some("mira".to_owned());
    warning.reasons = slow.state.reasons.clone();
    slow.state.incident = Some(warning);
    daemon.board.put(slow);
    let mut new = check("z-new", "dns", Status::Unknown);
    new.state.last_run = None;
    new.facts = Facts::default();
    daemon.board.put(new);
    daemon.task.await.unwrap().unwrap();
}
