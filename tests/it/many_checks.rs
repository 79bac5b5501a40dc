//! Many checks are reloaded while they run. With the release build and ten thousand of them:
//! `WATCHBELL_BINARY=target/release/watchbell WATCHBELL_MANY_CHECKS=10000`.

use crate::harness::{PATIENCE, Setup, Target, eventually};
use std::fmt::Write as _;
use std::time::Instant;

/// How many checks there are, unless somebody wants more: an unoptimized build is slow to read them.
const CHECKS: usize = 500;
/// How many of them change.
const CHANGED: usize = 100;

/// The first ones have `timeout`.
fn checks(count: usize, target: &Target, timeout: &str) -> String {
    let mut text = String::new();
    for n in 0..count {
        let timeout = if n < CHANGED { timeout } else { "10s" };
        let _ = write!(
            text,
            "[[check]]\nname = \"check-{n}\"\nevery = \"10m\"\ntimeout = \"{timeout}\"\n\
             expect = [\"status == 200\"]\n[check.http]\nurl = \"{}\"\n",
            target.url()
        );
    }
    text
}

#[tokio::test]
async fn a_reload_of_many_checks_restarts_the_changed_ones_and_misses_no_run() {
    let count = std::env::var("WATCHBELL_MANY_CHECKS").ok().and_then(|text| text.parse().ok());
    let count: usize = count.unwrap_or(CHECKS);
    let (many, steady) = (Target::start(), Target::start());
    let daemon = Setup::new()
        .checks("many.toml", &checks(count, &many, "10s"))
        .checks("steady.toml", &steady.check("steady", ""))
        .start()
        .await;
    let missed = async || daemon.get("/api/v1/status").await["missed_runs"].clone();
    daemon.wait_for_status("steady", "up").await;
    let before = missed().await;
    for (timeout, changed) in [("9s", CHANGED), ("9s", 0), ("8s", CHANGED)] {
        daemon.rewrite_checks("many.toml", &checks(count, &many, timeout));
        let start = Instant::now();
        let (status, done) = daemon.post("/api/v1/reload").await;
        let took = start.elapsed();
        assert_eq!(status, 200, "{done}");
        println!("{count} checks were reloaded in {took:?}: {done}");
        assert_eq!((&done["changed"], &done["added"]), (&changed.into(), &0.into()), "{done}");
    }
    let runs = steady.count();
    eventually("runs to go on", PATIENCE, async || (steady.count() > runs + 2).then_some(())).await;
    assert_eq!(missed().await, before, "runs were missed");
}
