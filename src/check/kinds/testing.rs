//! What the tests of several kinds need: reading a table, running a check, real servers.

use crate::check::{Check, Kind, Run, Shared};
use crate::clock::System;
use crate::config::{Interpolator, Problems, Section, SourceFile};
use crate::model::{Fact, Observation};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Reads `text` as the table of `kind`; the problems, one a line, if it has any.
pub fn parse(kind: &Kind, text: &str) -> Result<Box<dyn Check>, String> {
    let file = SourceFile::in_memory("a.toml", text);
    read(&file, |section| (kind.parse)(section))
}

/// Checks that the example of `kind` is one whole `[[check]]` table that it reads without any
/// problem, and that its options are documented to the letter.
pub fn check_example_and_options(kind: &'static Kind) {
    let file = SourceFile::in_memory("example.toml", kind.example);
    let check = read(&file, |root| {
        let mut tables = root.tables("check");
        assert_eq!(tables.len(), 1, "one [[check]] table");
        let mut table = tables.remove(0);
        let mut section = table.table(kind.name)?;
        let check = (kind.parse)(&mut section);
        let documented: Vec<&str> = kind.options.iter().map(|option| option.name).collect();
        let mut asked = section.asked().to_vec();
        asked.sort_unstable_by_key(|name| documented.iter().position(|known| known == name));
        assert_eq!(asked, documented, "the options as read and as documented");
        root.finish_child(section);
        check
    });
    if let Err(problems) = check {
        panic!("{problems}");
    }
}

/// The problems of `text` as the table of `kind`, warnings included, one a line.
pub fn problems(kind: &Kind, text: &str) -> String {
    parse(kind, text).err().unwrap_or_default()
}

fn read(
    file: &Arc<SourceFile>,
    parse: impl FnOnce(&mut Section<'_>) -> Option<Box<dyn Check>>,
) -> Result<Box<dyn Check>, String> {
    let mut problems = Problems::default();
    let base = Path::new("/etc/watchbell");
    let mut section = Section::root(file, base, &Interpolator::new(base), &mut problems);
    let check = parse(&mut section);
    section.finish(&mut problems);
    let lines: Vec<String> = problems.sorted().iter().map(ToString::to_string).collect();
    match check {
        Some(check) if lines.is_empty() => Ok(check),
        _ => Err(lines.join("\n")),
    }
}

/// What a run is given in tests.
pub fn a_run() -> Run {
    _ = rustls::crypto::ring::default_provider().install_default();
    let shared = Shared { clock: Arc::new(System::start()), http: reqwest::Client::new() };
    Run { shared: Arc::new(shared), timeout: Duration::from_secs(10) }
}

/// Runs `check` once, as the runner would.
pub async fn observe(check: &dyn Check) -> Observation {
    let run = a_run();
    tokio::time::timeout(run.timeout, check.run(&run)).await.expect("the run ends in time")
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

/// Runs `check` once and gives its facts, which must have come without an error.
pub async fn facts(check: &dyn Check) -> crate::model::Facts {
    let seen = observe(check).await;
    assert_eq!(seen.error, None);
    seen.facts
}

/// A fact as a number.
pub fn number(facts: &crate::model::Facts, name: &str) -> f64 {
    facts.get(name).and_then(Fact::as_number).unwrap_or_else(|| panic!("{name} in {facts:?}"))
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address").port()
}

/// A server that ends with the test.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// The signal that ends it at once and tidily.
    signal: &'static str,
}

impl Server {
    /// Starts `command` with its output thrown away.
    pub fn start(command: &mut Command, signal: &'static str) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        Self { child, signal }
    }

    /// Stops it, and waits until it is gone.
    pub fn stop(&mut self) {
        let pid = self.child.id().to_string();
        if matches!(self.child.try_wait(), Ok(None)) {
            _ = Command::new("kill").args(["-s", self.signal, &pid]).status();
        }
        _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
