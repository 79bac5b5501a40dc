use crate::config::Section;
use crate::model::{ActionName, OptionDoc};
use crate::recover::{Action, ActionKind, Order, Tools};
use crate::render::clean;
use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::VecDeque;
use std::io::{Error, ErrorKind, pipe};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};

/// How much a pipe holds, in bytes (`pipe(7)`).
const PIPE: usize = 64 * 1024;
/// How much of what a command says is kept: its end, in bytes.
const KEPT: usize = 8 * 1024;
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
struct Program {
    path: PathBuf,
    arguments: Vec<String>,
}

fn parse(section: &mut Section<'_>) -> Option<Arc<dyn Action>> {
    let base = section.base().to_owned();
    let program = section.required_built("command", |command: Vec<String>| {
        if command.iter().any(|word| word.contains('\0')) {
            return Err("holds a zero character, which no command can be given".to_owned());
        }
        let mut words = command.into_iter();
        match words.next() {
            // A bare name is looked up in $PATH; a path is relative to the file.
            Some(program) if program.contains('/') => {
                Ok(Program { path: base.join(program), arguments: words.collect() })
            }
            Some(program) if !program.is_empty() => {
                Ok(Program { path: program.into(), arguments: words.collect() })
            }
            _ => Err("is empty; it names a program and its arguments".to_owned()),
        }
    })?;
    Some(Arc::new(program))
}

#[async_trait]
impl Action for Program {
    fn describe(&self, order: &Order) -> String {
        // Its arguments may hold secrets.
        format!("{} by running {}", order.action, self.path.display())
    }

    async fn run(&self, _tools: &Tools, order: &Order) -> Result<String, String> {
        let path = self.path.display();
        let (status, output) = self.execute(order).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => format!("cannot run {path}: there is no such program"),
            ErrorKind::PermissionDenied => {
                format!("cannot run {path}: the daemon's user may not execute it")
            }
            _ => format!("cannot run {path}: {error}"),
        })?;
        let words = if status.success() {
            let said = clean(&output, usize::MAX);
            let from = said.chars().count().saturating_sub(SAID);
            format!("ran {path}: {}", said.chars().skip(from).collect::<String>().trim_start())
        } else {
            let last = output.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
            format!("{path} failed, {status}: {}", clean(last, SAID))
        };
        let words = words.trim_end_matches([':', ' ']).to_owned();
        if status.success() { Ok(words) } else { Err(words) }
    }
}

impl Program {
    /// Runs it to its end, and gives the end of what it said.
    ///
    /// It is over when the program itself is: what it leaves in the background may be the very
    /// service that it was to start, so it is neither waited for nor killed then.
    async fn execute(&self, order: &Order) -> Result<(ExitStatus, String), Error> {
        let (output, input) = pipe()?;
        let mut output = Receiver::from_owned_fd(OwnedFd::from(output))?;
        let mut group = Group(Some(self.spawn(order, input)?));
        let mut kept = Tail::default();
        let status = loop {
            let mut piece = [0; 4096];
            tokio::select! {
                biased;
                status = group.wait() => break status?,
                read = output.read(&mut piece) => match read {
                    Ok(count @ 1..) => kept.push(&piece[..count]),
                    // It has closed its output, and may go on for long.
                    _ => break group.wait().await?,
                },
            }
        };
        // What it had said by its end is in the pipe, whether or not the runtime knows it yet.
        // More than a pipe holds is of somebody in the background, who may never stop.
        let mut piece = vec![0; PIPE];
        let mut left = PIPE;
        while left > 0
            && let Ok(count @ 1..) = rustix::io::read(&output, &mut piece[..left])
        {
            kept.push(&piece[..count]);
            left -= count;
        }
        Ok((status, String::from_utf8_lossy(kept.0.make_contiguous()).into_owned()))
    }

    fn spawn(&self, order: &Order, output: std::io::PipeWriter) -> Result<Child, Error> {
        let reasons: Vec<String> =
            order.reasons.iter().map(|reason| clean(reason, REASON)).collect();
        Command::new(&self.path)
            .args(&self.arguments)
            .env("WATCHBELL_CHECK", &*order.check)
            .env("WATCHBELL_INCIDENT", &order.incident)
            .env("WATCHBELL_ACTION", order.action.as_str())
            .env("WATCHBELL_ATTEMPT", order.attempt.to_string())
            .env("WATCHBELL_REASONS", reasons.join("\n"))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

/// The end of what was said.
#[derive(Debug, Default)]
struct Tail(VecDeque<u8>);

impl Tail {
    fn push(&mut self, piece: &[u8]) {
        self.0.extend(piece);
        let surplus = self.0.len().saturating_sub(KEPT);
        self.0.drain(..surplus);
    }
}

/// A command with all that it started, which dies with this unless the command ended by itself.
#[derive(Debug)]
struct Group(Option<Child>);

impl Group {
    async fn wait(&mut self) -> Result<ExitStatus, Error> {
        let Some(child) = &mut self.0 else { return Err(Error::other("it is over")) };
        let status = child.wait().await?;
        // From here on its number may belong to somebody else.
        self.0 = None;
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A child that nobody has waited for keeps its number, so this cannot hit a stranger.
        let id = self.0.as_ref().and_then(Child::id);
        if let Some(id) = id.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            // It fails only where all of them are gone.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests;
