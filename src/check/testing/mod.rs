//! What the tests of checks share: ways to read and run a check, servers, certificates.

mod certificates;
mod program;
mod web;

pub use certificates::{Authority, self_signed};
pub use program::{Program, free_port};
pub use web::{Reply, Server, answer, stranger};

use crate::check::{Check, Kind, Run, Shared};
use crate::clock::{Clock, System};
use crate::config::{Interpolator, Problems, Section, SourceFile};
use crate::model::{Fact, Facts, Observation};
use serde_json::{Value as Json, json};
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What a run is given, on the machine's clocks.
pub fn run() -> Run {
    run_on(Arc::new(System::start()))
}

/// What a run is given, on `clock`.
pub fn run_on(clock: Arc<dyn Clock>) -> Run {
    let shared = Shared::new(clock).expect("what checks share");
    Run { shared: Arc::new(shared), timeout: Duration::from_secs(10) }
}

/// Reads the inside of a kind's table; the error is all problems, warnings included, one a line.
pub fn parse(kind: &Kind, table: &str) -> Result<Box<dyn Check>, String> {
    let (parsed, problems) = read(kind, table);
    if problems.is_empty() { Ok(parsed.expect("a check")) } else { Err(problems) }
}

/// Reads the inside of a kind's table: the check, if it can be one, and all problems, one a line.
pub fn read(kind: &Kind, table: &str) -> (Option<Box<dyn Check>>, String) {
    let file = SourceFile::in_memory("a.toml", table);
    let base = Path::new("/nonexistent");
    let mut problems = Problems::default();
    let mut section = Section::root(&file, base, &Interpolator::new(base), &mut problems);
    let parsed = (kind.parse)(&mut section);
    section.finish(&mut problems);
    let lines: Vec<String> = problems.sorted().iter().map(ToString::to_string).collect();
    (parsed, lines.join("\n"))
}

/// Reads the inside of a kind's table that is right, warnings aside.
pub fn check(kind: &Kind, table: &str) -> Box<dyn Check> {
    let (parsed, problems) = read(kind, table);
    let lines = problems.lines().filter(|line| !line.contains("warning"));
    assert_eq!(lines.collect::<Vec<_>>(), [""; 0]);
    parsed.expect("a check")
}

/// The problems of a table that is wrong.
pub fn problems(kind: &Kind, table: &str) -> String {
    parse(kind, table).expect_err("problems")
}

/// Reads a table and runs its check once.
pub async fn ask(kind: &Kind, table: &str) -> Observation {
    observe(&*check(kind, table)).await
}

/// Runs a check once, in a time that no test reaches unless something hangs.
pub async fn observe(check: &dyn Check) -> Observation {
    within(check.run(&run())).await
}

/// Runs `check` until `enough` is content with what it saw.
pub async fn observe_until(
    check: &dyn Check,
    enough: impl Fn(&Observation) -> bool,
) -> Observation {
    let mut last = None;
    let found = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let seen = observe(check).await;
            if enough(&seen) {
                return seen;
            }
            last = Some(seen);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    found.unwrap_or_else(|_| panic!("not seen in time; last: {last:?}"))
}

/// Waits for `future`, but not for ever.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("an end within 10s")
}

/// Runs `check` once and gives its facts, which must have come without an error.
pub async fn facts(check: &dyn Check) -> Facts {
    let seen = observe(check).await;
    assert_eq!(seen.error, None);
    seen.facts
}

/// A fact as JSON; "absent" if it was not found.
pub fn fact(observation: &Observation, name: &str) -> Json {
    observation.facts.get(name).map_or(json!("absent"), Fact::to_json)
}

/// A fact as a number.
pub fn number(facts: &Facts, name: &str) -> f64 {
    facts.get(name).and_then(Fact::as_number).unwrap_or_else(|| panic!("{name} in {facts:?}"))
}

/// The error of an observation; "no error" without one.
pub fn error(observation: &Observation) -> &str {
    observation.error.as_deref().unwrap_or("no error")
}

/// A temporary file.
pub fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    file
}
