//! The conditions over time that docs/conditions.md tells of, each against a manual clock.

use super::{Bench, observed, refused, said};
use crate::model::{Facts, Observation, Status};
use std::time::Duration;

impl Bench {
    /// One run `after` the one before.
    fn later(&mut self, after: Duration, observation: &Observation) -> String {
        self.clock.advance(after);
        said(&self.verdict(observation))
    }
}

fn busy(percent: f64) -> Observation {
    let mut facts = Facts::default();
    facts.set("lag", percent);
    Observation::found(facts)
}

#[test]
fn a_processor_above_80_percent_over_10_minutes_is_degraded_until_it_rested_enough() {
    const EVERY: Duration = Duration::from_secs(30);
    let mut bench = Bench::new(&[], &["avg('lag', '10m') > 80.0"]);
    // Ten minutes of rest, then work: the mean passes 80 after 80 / 95 of the window.
    for _ in 0..20 {
        assert_eq!(bench.later(EVERY, &busy(0.0)), "up");
    }
    let mut runs = 0;
    while bench.later(EVERY, &busy(95.0)) == "up" {
        runs += 1;
    }
    assert_eq!(runs, 16, "17 of 20 runs at 95 make 80.75");
    // A short rest does not clear it at once, a long one does.
    assert!(bench.later(EVERY, &busy(50.0)).starts_with("degraded: avg('lag', '10m') > 80.0"));
    let mut rest = 0;
    while bench.later(EVERY, &busy(0.0)) != "up" {
        rest += 1;
    }
    assert!(rest < 6, "{rest}");
}

#[test]
fn an_error_rate_above_5_percent_over_5_minutes_is_degraded() {
    const EVERY: Duration = Duration::from_secs(10);
    let mut bench = Bench::new(&["status == 200"], &["error_rate('5m') > 0.05"]);
    for _ in 0..30 {
        assert_eq!(bench.later(EVERY, &observed(200, "ok")), "up");
    }
    // One of thirty is 3.3 percent, two are 6.7.
    bench.later(EVERY, &refused());
    assert_eq!(bench.later(EVERY, &observed(200, "ok")), "up");
    bench.later(EVERY, &refused());
    let said = bench.later(EVERY, &observed(200, "ok"));
    assert!(said.ends_with("error_rate('5m') is 0.067"), "{said}");
    // Five minutes after the first of the two it is well again.
    let mut runs = 0;
    while bench.later(EVERY, &observed(200, "ok")) != "up" {
        runs += 1;
    }
    assert_eq!(runs, 26);
}

#[test]
fn a_p99_above_500_ms_over_10_minutes_is_degraded() {
    const EVERY: Duration = Duration::from_secs(5);
    let mut bench = Bench::new(&[], &["p99('latency_ms', '10m') > 500.0"]);
    let took =
        |millis| Observation { latency: Duration::from_millis(millis), ..observed(200, "ok") };
    for _ in 0..120 {
        assert_eq!(bench.later(EVERY, &took(40)), "up");
    }
    // One of 120 is the highest hundredth, which nearest rank leaves out; two are not.
    assert_eq!(bench.later(EVERY, &took(2000)), "up");
    assert!(bench.later(EVERY, &took(2000)).starts_with("degraded: p99"));
    let mut runs = 0;
    while bench.later(EVERY, &took(40)) != "up" {
        runs += 1;
    }
    assert_eq!(runs, 118);
}

#[test]
fn a_rate_limit_is_unknown_unless_a_condition_asks_about_it() {
    let limited = || Observation::undecided(Facts::default(), "role", "asked too often");
    let check = |expect: &[&str], expected: Status| {
        let mut bench = Bench::new(expect, &[]);
        assert_eq!(bench.verdict(&limited()).status, expected, "{expect:?}");
    };
    check(&[], Status::Unknown);
    check(&["status == 200"], Status::Unknown);
    check(&["error_rate('5m') < 0.5"], Status::Unknown);
    check(&["error == ''"], Status::Down);
    check(&["role == 'master'"], Status::Down);
    check(&["error.contains('too often')"], Status::Up);
}

#[test]
fn a_fact_that_is_absent_is_told_with_its_reason() {
    let mut facts = Facts::default();
    facts.set("absent", serde_json::json!({"lag": "the role may not see it"}));
    assert_eq!(
        said(&Bench::new(&["lag < 5.0"], &[]).verdict(&Observation::found(facts))),
        "down: lag < 5.0 failed: `lag` was not found by this run (the role may not see it)"
    );
}

#[test]
fn a_sample_costs_what_the_documentation_says() {
    let mut bench = Bench::new(&[], &["avg('lag', '10m') > 80.0", "max('lag', '1m') > 99.0"]);
    for _ in 0..1000 {
        bench.later(Duration::from_secs(10), &busy(1.0));
    }
    // Two windows over one fact share a series: ten minutes of it, each run once.
    assert_eq!(bench.windows.samples(), 60);
    assert_eq!(super::super::windows::SAMPLE_BYTES, 16);
    assert!(bench.windows.bytes() <= 4096, "{}", bench.windows.bytes());
}
