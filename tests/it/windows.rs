//! Conditions that look back further than the daemon has run.

use crate::harness::{PATIENCE, Setup, Target, eventually, reasons};

#[tokio::test]
async fn a_window_knows_after_a_restart_what_came_before() {
    let target = Target::start();
    let keys = "confirm_after = 1\nexpect = [\"status == 200\"]\n\
                degraded_if = [\"error_rate('10m') > 0.05\"]";
    let setup = Setup::new().checks("shop.toml", &target.check("shop", keys));
    let mut daemon = setup.start().await;
    daemon.wait_for_status("shop", "up").await;
    target.answer(500);
    daemon.wait_for_status("shop", "down").await;
    target.answer(200);
    daemon.wait_for_status("shop", "degraded").await;
    let (status, _) = daemon.stop();
    assert!(status.success(), "{status}");

    // Without its past, one good run after the other would be all that the window holds.
    let before = target.count();
    daemon.start_again().await;
    eventually("two runs since", PATIENCE, async || (target.count() >= before + 3).then_some(()))
        .await;
    let found = daemon.get("/api/v1/checks/shop").await;
    assert_eq!(found["status"], "degraded", "{found:#}");
    assert!(reasons(&found).contains("error_rate('10m') is 0."), "{found:#}");
    let results = daemon.list("/api/v1/checks/shop/results?limit=2").await;
    assert!(results.iter().all(|result| result["status"] == "degraded"), "{results:#?}");
}
