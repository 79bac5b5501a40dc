//! `exec`: runs a program that follows the protocol of the Nagios plugins.

mod perf;
mod plugin;
#[cfg(test)]
mod tests;

use crate::check::support::excerpt;
use crate::check::support::hide::Hidden;
use crate::check::support::value::KEPT_BYTES;
use crate::check::{Check, Kind, Run};
use crate::config::Section;
use crate::model::{Fact, FactSpec, FactType, Facts, Observation, OptionDoc, Status, Verdict};
use crate::process::{self, Call, Ended, Leftovers, Program};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// The kind `exec`.
pub const KIND: Kind = Kind {
    name: "exec",
    summary: "runs a Nagios plugin, or any program whose exit status says how things are",
    options: &[
        OptionDoc::new(
            "command",
            "list",
            "required",
            "program and arguments, run without a shell; exit status 0 is up, 1 degraded, 2 down, \
             any other unknown",
        ),
        OptionDoc::new(
            "env",
            "table",
            "",
            "variables beside the daemon's own; values of 8 characters or more are hidden where \
             the program prints them",
        ),
        OptionDoc::new(
            "directory",
            "string",
            "",
            "the folder that it starts in; the daemon's own if absent",
        ),
        OptionDoc::new(
            "max_output",
            "integer",
            "65536",
            "how many bytes of its output are looked at; the rest is thrown away",
        ),
    ],
    facts: &[
        FactSpec::kept(
            "exit_code",
            FactType::Int,
            "",
            "the exit status; absent where a signal ended the program, or it could not be started",
        ),
        FactSpec::kept(
            "signal",
            FactType::Int,
            "",
            "the number of the signal that ended the program; absent otherwise",
        ),
        FactSpec::kept(
            "output",
            FactType::Text,
            "",
            "the first line without its performance data, cut at 4 KiB",
        ),
        FactSpec::passing("long_output", FactType::Text, "the lines after the first"),
        FactSpec::passing("stderr", FactType::Text, "what came on standard error, cut at 4 KiB"),
        FactSpec::kept(
            "perf",
            FactType::Map,
            "",
            "performance data: {value, unit, warn, crit, min, max} by label, as many as fit into \
             16 KiB; what the plugin leaves out or does not know is null",
        ),
        FactSpec::passing(
            "perf_alerts",
            FactType::Map,
            "labels whose value alerts by its own ranges: `critical` or `warning` by label",
        ),
        FactSpec::passing(
            "perf_unread",
            FactType::Text,
            "performance data that is not as it should be, or found no room; absent if none",
        ),
    ],
    example: r#"[[check]]
name = "load"
every = "1m"
degraded_if = ["perf['load1'].value > 4.0"]
[check.exec]
command = ["/usr/lib/nagios/plugins/check_load", "-w", "8,6,4", "-c", "16,12,8"]
"#,
    well: "the exit status is 0; 1 is degraded, 2 is down, anything else unknown",
    parse,
};

/// How much of standard error is kept, in bytes.
const COMPLAINT: usize = 4096;

/// How much of a line goes into a reason, in characters.
const QUOTED: usize = 300;

/// A variable with a shorter value is no secret, but a setting.
const SECRET_LENGTH: usize = 8;

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Check>> {
    let base = section.base().to_owned();
    let program = section.required_built("command", |words| Program::new(words, &base));
    let environment = section.built("env", read_environment).unwrap_or_default();
    let directory = section.path("directory");
    let most = section.built("max_output", |bytes: usize| match bytes {
        1..=MAX_OUTPUT => Ok(bytes),
        _ => Err(format!("must be from 1 to {MAX_OUTPUT}")),
    });
    let mut hidden = Hidden::default();
    for (_, value) in environment.iter().filter(|(_, value)| value.len() >= SECRET_LENGTH) {
        hidden.add(value);
    }
    let mut program = program?.with_environment(environment);
    if let Some(directory) = directory {
        program = program.in_directory(directory);
    }
    Some(Box::new(Exec { program, most: most.unwrap_or(64 * 1024), hidden }))
}

/// The most that `max_output` can ask for, in bytes.
const MAX_OUTPUT: usize = 1024 * 1024;

fn read_environment(variables: BTreeMap<String, String>) -> Result<Vec<(String, String)>, String> {
    for (name, value) in &variables {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(format!(
                "`{}` cannot be a variable of the environment",
                excerpt(name, QUOTED)
            ));
        }
    }
    Ok(variables.into_iter().collect())
}

#[derive(Debug)]
struct Exec {
    program: Program,
    most: usize,
    hidden: Hidden,
}

#[async_trait]
impl Check for Exec {
    async fn run(&self, _run: &Run) -> Observation {
        let call = Call {
            stdin: &[],
            environment: &[],
            max_stdout: self.most,
            max_stderr: COMPLAINT,
            leftovers: Leftovers::Kill,
        };
        let mut facts = Facts::default();
        match process::run(&self.program, call).await {
            Ok(ended) => self.note(&ended, &mut facts),
            // Without the program nobody can say how its target is.
            Err(error) => facts.set("output", error.to_string()),
        }
        Observation::found(facts)
    }

    fn sense(&self, observation: &Observation) -> Verdict {
        let facts = &observation.facts;
        let code = facts.get("exit_code").and_then(whole);
        let status = match code {
            Some(0) => return Verdict::UP,
            Some(1) => Status::Degraded,
            Some(2) => Status::Down,
            _ => Status::Unknown,
        };
        let said = ["output", "long_output", "stderr"].into_iter().find_map(|name| {
            let text = facts.get(name).and_then(text)?.trim();
            let line = text.lines().next().map(|line| excerpt(line, QUOTED))?;
            (!line.is_empty()).then_some(line)
        });
        let ending = match (code, facts.get("signal").and_then(whole)) {
            (Some(1..=3), _) | (None, None) => None,
            (Some(code), _) => Some(format!("exit status {code}")),
            (None, Some(signal)) => Some(format!("ended by {}", signal_name(signal))),
        };
        let reason = match (ending, said) {
            (Some(ending), Some(said)) => format!("{ending}: {said}"),
            (Some(ending), None) => ending,
            (None, Some(said)) => said,
            (None, None) => {
                format!("exit status {}, without a word", code.unwrap_or_default())
            }
        };
        Verdict { status, reasons: vec![reason] }
    }
}

impl Exec {
    fn note(&self, ended: &Ended, facts: &mut Facts) {
        if let Some(code) = ended.status.code() {
            facts.set("exit_code", i64::from(code));
        }
        if let Some(signal) = ended.status.signal() {
            facts.set("signal", i64::from(signal));
        }
        let printed = self.hidden.clean(&ended.stdout.text());
        let said = plugin::read(plugin::whole_words(&printed, ended.stdout.cut));
        facts.set("output", start(&said.text));
        if !said.long.is_empty() {
            facts.set("long_output", said.long);
        }
        let complaint = self.hidden.clean(&ended.stderr.text());
        if !complaint.is_empty() {
            facts.set("stderr", start(&complaint));
        }
        facts.set("perf", said.perf.json);
        facts.set("perf_alerts", said.perf.alerts);
        if !said.perf.unread.is_empty() {
            facts.set("perf_unread", said.perf.unread.join(" "));
        }
    }
}

fn start(text: &str) -> &str {
    text.get(..text.floor_char_boundary(KEPT_BYTES)).unwrap_or(text)
}

fn text(fact: &Fact) -> Option<&str> {
    match fact {
        Fact::Text(text) => Some(text),
        _ => None,
    }
}

fn whole(fact: &Fact) -> Option<i64> {
    match fact {
        Fact::Int(number) => Some(*number),
        _ => None,
    }
}

/// `signal 9 (SIGKILL)`.
fn signal_name(signal: i64) -> String {
    match i32::try_from(signal) {
        Ok(number) => ExitStatus::from_raw(number).to_string().replacen(':', "", 1),
        Err(_) => format!("signal {signal}"),
    }
}
