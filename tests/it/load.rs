//! What many checks cost. `scripts/bench-load` runs this with the release build, and longer.

use crate::harness::{Nginx, PATIENCE, Setup, eventually};
use std::time::{Duration, Instant};

#[tokio::test]
async fn two_hundred_checks_a_second_all_run() {
    const CHECKS: usize = 200;
    let seconds = std::env::var("WATCHBELL_LOAD_SECONDS");
    let seconds: u64 = seconds.ok().and_then(|text| text.parse().ok()).unwrap_or(15);
    let nginx = Nginx::start().await;
    let mut checks = String::new();
    for number in 1..=CHECKS {
        checks.push_str(&format!(
            "[[check]]\nname = \"load-{number}\"\nevery = \"1s\"\ntimeout = \"5s\"\n\
             expect = [\"status == 200\"]\n[check.http]\nurl = \"{}\"\n\n",
            nginx.url()
        ));
    }
    let daemon = Setup::new().checks("load.toml", &checks).start().await;
    eventually("all checks to be up", PATIENCE, async || {
        let up = daemon.list("/api/v1/checks?status=up&limit=1000").await;
        (up.len() == CHECKS).then_some(())
    })
    .await;

    let (start, cpu, requests) = (Instant::now(), daemon.cpu_time(), nginx.requests().await);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let cpu = daemon.cpu_time() - cpu;
    // The question itself is one request.
    let runs = nginx.requests().await - requests - 1;
    let span = start.elapsed();
    println!(
        "{runs} runs in {:.1} s ({:.0}/s): {:.3} ms of processor time a run, {:.1} MB of memory",
        span.as_secs_f64(),
        runs as f64 / span.as_secs_f64(),
        cpu.as_secs_f64() * 1000.0 / runs as f64,
        daemon.memory() as f64 / 1e6
    );
    let expected = CHECKS as u64 * seconds;
    assert!(runs >= expected / 2, "only {runs} of {expected} runs");
    for check in daemon.list("/api/v1/checks?limit=1000").await {
        assert_eq!(check["status"], "up", "{check:#}");
    }
}
