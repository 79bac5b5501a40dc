use crate::config::Section;
use crate::model::{ActionName, OptionDoc};
use crate::process::{self, Call, Leftovers, Program};
use crate::recover::{Action, ActionKind, Order, Tools};
use crate::render::{clean, short};
use async_trait::async_trait;
use std::sync::Arc;

/// How much of what a command says on each of its outputs is kept, in bytes.
const KEPT: usize = 64 * 1024;
/// How much of that goes into the words of an outcome, in characters.
const SAID: usize = 2_000;
/// How long the reasons in the environment may be, in bytes of each.
const REASON: usize = 1_000;

/// A command of one's own.
pub const KIND: ActionKind = ActionKind {
    name: "command",
    summary: "a command, without a shell, in a process group of its own",
    options: &[OptionDoc::new(
        "command",
        "list",
        "required",
        "program and arguments; exit status 0 means that it was done",
    )],
    actions: &ActionName::ALL,
    example: r#"[check.recover]
action = "failover"
command = ["/usr/local/bin/promote-standby", "--yes"]
"#,
    parse,
};

#[derive(Debug)]
struct Command(Program);

fn parse(section: &mut Section<'_>) -> Option<Arc<dyn Action>> {
    let base = section.base().to_owned();
    let program =
        section.required_built("command", |words: Vec<String>| Program::new(words, &base))?;
    Some(Arc::new(Command(program)))
}

#[async_trait]
impl Action for Command {
    fn describe(&self, order: &Order) -> String {
        // Its arguments may hold secrets.
        format!("{} by running {}", order.action, self.0.path().display())
    }

    async fn run(&self, _tools: &Tools, order: &Order) -> Result<String, String> {
        let reasons: Vec<String> =
            order.reasons.iter().map(|reason| clean(reason, REASON)).collect();
        let (reasons, attempt) = (reasons.join("\n"), order.attempt.to_string());
        let environment = [
            ("WATCHBELL_CHECK", &*order.check),
            ("WATCHBELL_INCIDENT", order.incident.as_str()),
            ("WATCHBELL_ACTION", order.action.as_str()),
            ("WATCHBELL_ATTEMPT", attempt.as_str()),
            ("WATCHBELL_REASONS", reasons.as_str()),
        ];
        let call = Call {
            stdin: b"",
            environment: &environment,
            max_stdout: KEPT,
            max_stderr: KEPT,
            // What it leaves in the background may be the very service that it was to start.
            leftovers: Leftovers::Leave,
        };
        let ended = process::run(&self.0, call).await.map_err(|error| error.to_string())?;
        let path = self.0.path().display();
        let (said, complained) = (ended.stdout.text(), ended.stderr.text());
        let words = if ended.status.success() {
            format!("ran {path}: {}", short(&clean(&said, KEPT), SAID))
        } else {
            let full = |line: &&str| !line.trim().is_empty();
            let last = complained.lines().rfind(full).or_else(|| said.lines().rfind(full));
            format!("{path} failed, {}: {}", ended.status, clean(last.unwrap_or_default(), SAID))
        };
        let words = words.trim_end_matches([':', ' ']).to_owned();
        if ended.status.success() { Ok(words) } else { Err(words) }
    }
}

#[cfg(test)]
mod tests;
