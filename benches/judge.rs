//! What a verdict costs, for conditions of several sorts, what compiling them costs, and what it
//! costs to find who hears of an incident.

use chrono_tz::Tz;
use serde_json::json;
use std::hint::black_box;
use std::time::Duration;
use watchbell::clock::{Clock, Manual, System};
use watchbell::judge::{Judge, JudgeProblem};
use watchbell::model::{
    FactSpec, FactType, Facts, Incident, Observation, Status, Timestamp, Verdict,
};
use watchbell::route::{OwnOptions, Route, RouteOptions, Routes, compile_when};

const COMPILED: u32 = 200;
const VERDICTS: u32 = 100_000;

const FACTS: &[FactSpec] = &[
    FactSpec::kept("status", FactType::Int, "", "the status"),
    FactSpec::passing("body", FactType::Any, "the body"),
];

/// A name, the conditions of `expect`, and those of `degraded_if`.
type Case = (&'static str, &'static [&'static str], &'static [&'static str]);

const CASES: &[Case] = &[
    ("no condition", &[], &[]),
    ("one condition", &["status == 200"], &[]),
    ("two conditions", &["status == 200", "body.db == 'ok'"], &[]),
    (
        "two and a degraded_if",
        &["status == 200", "body.db == 'ok'"],
        &["latency > duration('800ms')"],
    ),
    ("a literal pattern", &["body.db.matches('^o.$')"], &[]),
    ("a window of 120", &[], &["p99('latency_ms', '2m') > 500.0"]),
    ("a failing condition", &["status == 500"], &[]),
];

fn main() -> Result<(), String> {
    let mut facts = Facts::default();
    facts.set("status", 200_i64);
    facts.set("body", json!({ "db": "ok" }));
    let observation =
        Observation { latency: Duration::from_millis(120), ..Observation::found(facts) };
    let time = System::start();
    for (name, expect, degraded_if) in CASES {
        let start = time.now().mono;
        for _ in 1..COMPILED {
            black_box(compile(expect, degraded_if)?);
        }
        let judge = compile(expect, degraded_if)?;
        let compiling = (time.now().mono - start) / COMPILED;
        let mut windows = judge.windows();
        // A run each second of a time of its own, so that the windows are as full as they get.
        let clock = Manual::at(Timestamp::default());
        let start = time.now().mono;
        for _ in 0..VERDICTS {
            clock.advance(Duration::from_secs(1));
            let verdict = judge.verdict(&mut windows, &observation, || Verdict::UP, clock.now());
            black_box(verdict);
        }
        let each = (time.now().mono - start) / VERDICTS;
        println!("{name}: {each:?} a verdict, {compiling:?} to compile");
    }
    route(&time)
}

/// What it costs to find out who hears of an incident, where only the last route matches.
fn route(time: &System) -> Result<(), String> {
    const ROUTES: usize = 20;
    let plain = RouteOptions::new(Tz::UTC);
    let routes = (0..ROUTES).map(|index| {
        let when = format!("severity == 'critical' && labels.team == 'team-{index}'");
        let when = compile_when(&when).map_err(|problem| problem.to_string())?;
        let own = OwnOptions { to: Some(vec!["chat".into()]), ..OwnOptions::default() };
        let options = plain.nested(own).map_err(|error| error.to_string())?;
        Ok(Route::new(Some(when), false, options, Vec::new()))
    });
    let routes = Routes::new(routes.collect::<Result<_, String>>()?, Vec::new());
    let at = Timestamp::default();
    let mut incident = Incident::new("1".to_owned(), "shop".into(), "http", Status::Down, at);
    incident.labels.insert("team".to_owned(), format!("team-{}", ROUTES - 1));
    let start = time.now().mono;
    for _ in 0..VERDICTS {
        black_box(routes.hearing(black_box(&incident), at));
    }
    let each = (time.now().mono - start) / VERDICTS;
    println!("{ROUTES} routes: {each:?} an incident");
    Ok(())
}

fn compile(expect: &[&str], degraded_if: &[&str]) -> Result<Judge, String> {
    let owned = |sources: &[&str]| sources.iter().map(|&source| source.to_owned()).collect();
    let (expect, degraded_if): (Vec<String>, Vec<String>) = (owned(expect), owned(degraded_if));
    let mut facts = FactSpec::COMMON.iter().chain(FACTS);
    let words = |problem: &JudgeProblem| format!("{}: {}", problem.which, problem.problem);
    Judge::compile(&expect, &degraded_if, &mut facts)
        .map_err(|problems| problems.iter().map(words).collect::<Vec<_>>().join("\n"))
}
