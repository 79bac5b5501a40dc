use super::{Judge, PastRun, Windows};
use crate::clock::{Clock, Manual};
use crate::model::{FactSpec, FactType, Facts, Moment, Observation, Status, Timestamp, Verdict};
use serde_json::json;
use std::time::Duration;

mod recipes;

const FACTS: &[FactSpec] = &[
    FactSpec::kept("status", FactType::Int, "", "the status"),
    FactSpec::passing("body", FactType::Any, "the body"),
    FactSpec::kept("lag", FactType::Double, "s", "the lag"),
    FactSpec::kept("is_replica", FactType::Bool, "", "whether it is a replica"),
    FactSpec::kept("role", FactType::Text, "", "the role"),
];

fn strings(sources: &[&str]) -> Vec<String> {
    sources.iter().map(|source| (*source).to_owned()).collect()
}

fn compile(expect: &[&str], degraded_if: &[&str]) -> Result<Judge, String> {
    let mut facts = FactSpec::COMMON.iter().chain(FACTS);
    Judge::compile(&strings(expect), &strings(degraded_if), &mut facts).map_err(|problems| {
        let lines = problems.iter().map(|found| format!("{}: {}", found.which, found.problem));
        lines.collect::<Vec<_>>().join("\n")
    })
}

/// A check with its windows and its clock.
struct Bench {
    judge: Judge,
    windows: Windows,
    clock: Manual,
    sense: Verdict,
}

impl Bench {
    fn new(expect: &[&str], degraded_if: &[&str]) -> Self {
        let judge = compile(expect, degraded_if).unwrap_or_else(|problems| panic!("{problems}"));
        let windows = judge.windows();
        let clock = Manual::at(Timestamp::from_millis(1_700_000_000_000));
        Self { judge, windows, clock, sense: Verdict::UP }
    }

    fn verdict(&mut self, observation: &Observation) -> Verdict {
        let now = self.clock.now();
        self.judge.verdict(&mut self.windows, observation, || self.sense.clone(), now)
    }

    /// A run every 30 seconds, with one fact; gives the last verdict.
    fn runs(&mut self, name: &'static str, values: impl IntoIterator<Item = f64>) -> Verdict {
        let mut last = Verdict::UP;
        for value in values {
            self.clock.advance(Duration::from_secs(30));
            let mut facts = Facts::default();
            facts.set(name, value);
            last = self.verdict(&Observation::found(facts));
        }
        last
    }
}

fn observed(status: i64, db: &str) -> Observation {
    let mut facts = Facts::default();
    facts.set("status", status);
    facts.set("body", json!({"db": db}));
    Observation { latency: Duration::from_millis(120), ..Observation::found(facts) }
}

fn refused() -> Observation {
    Observation::failed(Facts::default(), "connection refused")
}

/// The verdict on one run, as `status: reasons`.
#[track_caller]
fn check(expect: &[&str], degraded_if: &[&str], observation: &Observation, expected: &str) {
    let verdict = Bench::new(expect, degraded_if).verdict(observation);
    assert_eq!(said(&verdict), expected);
}

fn said(verdict: &Verdict) -> String {
    if verdict.reasons.is_empty() {
        return verdict.status.to_string();
    }
    format!("{}: {}", verdict.status, verdict.reasons.join(" | "))
}

#[test]
fn a_check_is_down_unless_all_expectations_hold() {
    let both: &[&str] = &["status == 200", "body.db == 'ok'"];
    check(both, &[], &observed(200, "ok"), "up");
    check(both, &[], &observed(503, "ok"), "down: status == 200 failed: status is 503");
    check(
        both,
        &[],
        &observed(503, "error"),
        "down: status == 200 failed: status is 503 | body.db == 'ok' failed: body.db is 'error'",
    );
    check(
        &["status == 200 && body.db == 'ok'"],
        &[],
        &observed(200, "error"),
        "down: status == 200 && body.db == 'ok' failed: status is 200, body.db is 'error'",
    );
}

#[test]
fn a_failed_observation_is_down_unless_an_expectation_uses_error() {
    check(&[], &[], &refused(), "down: connection refused");
    check(&["status == 200"], &[], &refused(), "down: connection refused");
    check(&["error.contains('refused')"], &[], &refused(), "up");
    check(
        &["error == ''"],
        &[],
        &refused(),
        "down: error == '' failed: error is 'connection refused'",
    );
    check(
        &["error.contains('refused')", "status == 200"],
        &[],
        &refused(),
        "down: connection refused | status == 200 failed: `status` was not found by this run",
    );
    check(
        &["error.contains('refused')"],
        &[],
        &observed(200, "ok"),
        "down: error.contains('refused') failed: error is ''",
    );
    // `degraded_if` has no say in it.
    check(&[], &["error != ''"], &refused(), "down: connection refused");
}

#[test]
fn without_expectations_the_kind_decides() {
    for status in Status::ALL {
        let mut bench = Bench::new(&[], &["status == 200"]);
        bench.sense = Verdict { status, reasons: vec!["so says the kind".to_owned()] };
        let expected = match status {
            Status::Up => "degraded: status == 200 holds: status is 200".to_owned(),
            other => format!("{other}: so says the kind"),
        };
        assert_eq!(said(&bench.verdict(&observed(200, "ok"))), expected);
    }
    let mut bench = Bench::new(&["status == 503"], &[]);
    bench.sense = Verdict::down("status is 503");
    assert_eq!(said(&bench.verdict(&observed(503, "ok"))), "up");
}

#[test]
fn a_well_check_is_degraded_if_a_condition_holds() {
    let slow = Observation { latency: Duration::from_millis(1200), ..observed(200, "ok") };
    let conditions: &[&str] = &["latency > duration('800ms')", "latency_ms > 1000"];
    check(
        &["status == 200"],
        conditions,
        &slow,
        "degraded: latency > duration('800ms') holds: latency is 1.2s | \
         latency_ms > 1000 holds: latency_ms is 1200",
    );
    check(&["status == 200"], conditions, &observed(200, "ok"), "up");
    check(&["status == 500"], conditions, &slow, "down: status == 500 failed: status is 200");
}

#[test]
fn a_condition_that_cannot_be_evaluated_counts_as_failed() {
    let up = observed(200, "ok");
    check(&["lag < 10.0"], &[], &up, "down: lag < 10.0 failed: `lag` was not found by this run");
    check(
        &["body.queue.length < 10 && status == 200"],
        &[],
        &up,
        "down: body.queue.length < 10 && status == 200 failed: body.queue.length is missing, \
         status is 200",
    );
    check(
        &["body.db > 3"],
        &[],
        &up,
        "down: body.db > 3 failed: `>` does not go with string and int; body.db is 'ok'",
    );
    check(
        &[],
        &["lag > 10.0"],
        &up,
        "degraded: lag > 10.0 could not be judged: `lag` was not found by this run",
    );
    check(&[], &["has(body.queue) && body.queue > 10"], &up, "up");
    let mut primary = up.clone();
    primary.facts.set("is_replica", false);
    check(&[], &["is_replica && lag > 10.0"], &primary, "up");
}

#[test]
fn problems_are_found_at_load() {
    let problems = compile(
        &[
            "status == 200",
            "statsu == 200",
            "avg('latncy', '10m') < 5.0",
            "avg('role', '10m') < 5.0",
            "avg('latency_ms') < 5.0",
            "avg('latency_ms', '10') < 5.0",
            "avg('latency_ms', '100ms') < 5.0",
            "avg('nothing_like_it', '5m') < 5.0",
            "avg('error_rate', '5m') < 5.0",
        ],
        &[
            "status == '200'",
            "max('latency_ms', '25h') > 5.0",
            "error_rate('status', '5m') > 0.05",
            "p90('latency_ms', '5m') > 0.05",
        ],
    )
    .unwrap_err();
    insta::assert_snapshot!(problems, @r"
    expect[1]: unknown name `statsu` (did you mean `status`?)
    expect[2]: unknown fact `latncy` (did you mean `latency`?)
    expect[3]: `avg` needs numbers, and `role` is a string
    expect[4]: `avg` takes a fact and a window (write avg('latency_ms', '10m'))
    expect[5]: '10' is not a window (write such as '30s', '10m' or '24h')
    expect[6]: a window is from 1s to 24h long
    expect[7]: unknown fact `nothing_like_it` (facts with numbers: latency, latency_ms, status, body, lag, is_replica)
    expect[8]: unknown fact `error_rate` (facts with numbers: latency, latency_ms, status, body, lag, is_replica)
    degraded_if[0]: `status` is an int and `'200'` is a string: they are never equal (write 200 without quotes)
    degraded_if[1]: a window is from 1s to 24h long
    degraded_if[2]: `error_rate` takes a window (write error_rate('10m'))
    degraded_if[3]: there is no function `p90` (did you mean `p50`?)
    ");
}

#[test]
fn windows_look_back_over_the_results_of_the_check() {
    let values = || (1..=20).map(f64::from);
    for (condition, answer) in [
        ("avg('lag', '10m')", 10.5),
        ("min('lag', '10m')", 1.0),
        ("max('lag', '10m')", 20.0),
        ("p50('lag', '10m')", 10.0),
        ("p95('lag', '10m')", 19.0),
        ("p99('lag', '10m')", 20.0),
        // A result that is as old as the window is out of it.
        ("min('lag', '30s')", 20.0),
        ("avg('lag', '1m')", 19.5),
        ("min('lag', '24h')", 1.0),
    ] {
        let mut bench = Bench::new(&[&format!("{condition} == -1.0")], &[]);
        let verdict = bench.runs("lag", values());
        let expected = format!("down: {condition} == -1.0 failed: {condition} is {answer}");
        assert_eq!(said(&verdict), expected);
    }
}

#[test]
fn a_window_reads_as_people_write_numbers() {
    let mut bench = Bench::new(&[], &["p99('latency_ms', '10m') > 500"]);
    let slow = Observation { latency: Duration::from_micros(612_400), ..observed(200, "ok") };
    assert_eq!(
        said(&bench.verdict(&slow)),
        "degraded: p99('latency_ms', '10m') > 500 holds: p99('latency_ms', '10m') is 612.4"
    );
}

#[test]
fn results_leave_a_window_with_time_whatever_the_wall_clock_says() {
    let mut bench = Bench::new(&["max('lag', '1m') < 100.0"], &[]);
    assert_eq!(bench.runs("lag", [500.0]).status, Status::Down);
    bench.clock.step_wall(Timestamp::from_millis(1_900_000_000_000));
    assert_eq!(bench.runs("lag", [1.0]).status, Status::Down);
    bench.clock.step_wall(Timestamp::from_millis(0));
    assert_eq!(bench.runs("lag", [1.0]).status, Status::Up);
}

#[test]
fn a_window_without_data_makes_nobody_worse() {
    check(&["avg('lag', '10m') < 5.0"], &["avg('lag', '10m') >= 5.0"], &observed(200, "ok"), "up");
    check(
        &["avg('lag', '10m') < 5.0 && status == 200"],
        &[],
        &observed(503, "ok"),
        "down: avg('lag', '10m') < 5.0 && status == 200 failed: \
         avg('lag', '10m') has no data yet, status is 503",
    );
}

#[test]
fn the_error_rate_is_the_share_of_runs_that_were_down() {
    let mut bench = Bench::new(&["status == 200"], &["error_rate('5m') > 0.3"]);
    let step = |bench: &mut Bench, observation: &Observation| {
        bench.clock.advance(Duration::from_secs(60));
        said(&bench.verdict(observation))
    };
    assert_eq!(step(&mut bench, &observed(200, "ok")), "up");
    assert_eq!(step(&mut bench, &refused()), "down: connection refused");
    assert!(step(&mut bench, &observed(503, "ok")).starts_with("down: status"));
    assert_eq!(
        step(&mut bench, &observed(200, "ok")),
        "degraded: error_rate('5m') > 0.3 holds: error_rate('5m') is 0.5"
    );
    assert!(step(&mut bench, &observed(200, "ok")).contains("is 0.4"));
    assert!(step(&mut bench, &observed(200, "ok")).contains("is 0.4"));
    assert_eq!(step(&mut bench, &observed(200, "ok")), "up");
}

#[test]
fn an_error_rate_that_is_expected_does_not_feed_on_itself() {
    let mut bench = Bench::new(&["status < 500", "error_rate('2m') < 0.5"], &[]);
    let step = |bench: &mut Bench, status| {
        bench.clock.advance(Duration::from_secs(60));
        bench.verdict(&observed(status, "ok")).status
    };
    assert_eq!(step(&mut bench, 503), Status::Down);
    assert_eq!(step(&mut bench, 200), Status::Down);
    assert_eq!(step(&mut bench, 200), Status::Up);
    // Alone, it goes by the kind's own sense, and tolerates what it says to tolerate.
    let mut bench = Bench::new(&["error_rate('10m') < 0.5"], &[]);
    assert_eq!(step(&mut bench, 200), Status::Up);
    assert_eq!(step(&mut bench, 200), Status::Up);
    bench.sense = Verdict::down("status is 503");
    assert_eq!(step(&mut bench, 503), Status::Up);
    assert_eq!(step(&mut bench, 503), Status::Down);
}

#[test]
fn unknown_runs_do_not_count_in_the_error_rate() {
    let mut bench = Bench::new(&[], &["error_rate('10m') > 0.0"]);
    bench.sense = Verdict { status: Status::Unknown, reasons: Vec::new() };
    assert_eq!(bench.verdict(&observed(200, "ok")).status, Status::Unknown);
    bench.sense = Verdict::UP;
    assert_eq!(said(&bench.verdict(&observed(200, "ok"))), "up");
}

#[test]
fn history_refills_the_windows_after_a_restart() {
    let mut bench = Bench::new(
        &["max('lag', '1h') < 0.0", "avg('latency', '1h') < 0.0", "error_rate('1h') < 0.0"],
        &[],
    );
    assert_eq!(bench.windows.longest(), Duration::from_secs(3600));
    let facts = json!({"lag": 7.5, "is_replica": true});
    let none = json!({});
    let run = |minutes: u64, status, facts| PastRun {
        age: Duration::from_secs(minutes * 60),
        status,
        latency_ms: 100.0,
        facts,
    };
    // Newest first, as the store gives them.
    let past = [
        run(1, Status::Up, &none),
        run(10, Status::Down, &facts),
        run(20, Status::Unknown, &none),
        run(120, Status::Down, &facts),
    ];
    bench.windows.refill(bench.clock.now(), past);
    let verdict =
        bench.verdict(&Observation { latency: Duration::from_millis(500), ..observed(200, "ok") });
    assert_eq!(
        verdict.reasons,
        [
            "max('lag', '1h') < 0.0 failed: max('lag', '1h') is 7.5",
            "avg('latency', '1h') < 0.0 failed: avg('latency', '1h') is 200",
            "error_rate('1h') < 0.0 failed: error_rate('1h') is 0.667",
        ]
    );
}

#[test]
fn windows_stay_bounded() {
    let judge = compile(&["max('latency_ms', '24h') > 0.0"], &[]).unwrap();
    let mut windows = judge.windows();
    let observation = observed(200, "ok");
    for tick in 0..100_000_u64 {
        let now =
            Moment { wall: Timestamp::from_millis(0), mono: Duration::from_millis(100 * tick) };
        windows.observe(&observation, now);
    }
    assert_eq!(windows.samples(), 86_400);
    let late = Moment { wall: Timestamp::from_millis(0), mono: Duration::from_secs(200_000) };
    windows.observe(&observation, late);
    assert_eq!(windows.samples(), 1);
}

#[test]
fn without_a_look_back_nothing_is_kept() {
    assert!(compile(&["has(body.db)"], &["latency_ms > 1.0"]).unwrap().windows().is_empty());
    assert!(!compile(&["has(body.db)"], &["avg('lag', '5m') > 1.0"]).unwrap().windows().is_empty());
}
