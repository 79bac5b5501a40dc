use super::webhook::Body;
use crate::config::Section;
use crate::deliver::support::Veil;
use crate::deliver::{Channel, ChannelKind, Net, Outcome};
use crate::model::{Format, Message, OptionDoc};
use async_trait::async_trait;
use std::io::{Error, ErrorKind};
use std::path::PathBuf;
use std::process::Stdio;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// How much of what a command complains about is read, in bytes.
const COMPLAINT: usize = 16 * 1024;

/// A command of one's own.
pub const KIND: ChannelKind = ChannelKind {
    name: "exec",
    summary: "a command that gets the message as JSON on its standard input",
    options: &[OptionDoc::new(
        "command",
        "list",
        "required",
        "program and arguments; exit status 0 means that the message was taken",
    )],
    example: r#"[[channel]]
name = "siren"
[channel.exec]
command = ["/usr/local/bin/siren", "--loud"]
"#,
    format: Format::Plain,
    template: include_str!("../../../alert-templates/exec.jinja"),
    parse,
};

#[derive(Debug)]
struct Exec {
    program: PathBuf,
    arguments: Vec<String>,
}

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Channel>> {
    let base = section.base().to_owned();
    let exec = section.required_built("command", |command: Vec<String>| {
        let mut words = command.into_iter();
        match words.next() {
            // A bare name is looked up in $PATH; a path is relative to the file.
            Some(program) if program.contains('/') => {
                Ok(Exec { program: base.join(program), arguments: words.collect() })
            }
            Some(program) if !program.is_empty() => {
                Ok(Exec { program: program.into(), arguments: words.collect() })
            }
            _ => Err("is empty; it names a program and its arguments".to_owned()),
        }
    })?;
    Some(Box::new(exec))
}

#[async_trait]
impl Channel for Exec {
    async fn send(&self, _net: &Net, message: &Message) -> Outcome {
        match self.run(message).await {
            Ok((true, _)) => Outcome::Accepted,
            Ok((false, why)) => Outcome::Retry { after: None, why },
            Err(error) => {
                let why = format!("cannot run {}: {error}", self.program.display());
                match error.kind() {
                    ErrorKind::NotFound | ErrorKind::PermissionDenied => Outcome::Rejected { why },
                    _ => Outcome::Retry { after: None, why },
                }
            }
        }
    }
}

impl Exec {
    /// Whether the command took the message, and if not, what it said.
    async fn run(&self, message: &Message) -> Result<(bool, String), Error> {
        let body = serde_json::to_vec(&Body::of(message)).map_err(Error::other)?;
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env("WATCHBELL_NOTICE", &message.id)
            .env("WATCHBELL_WHAT", message.what.as_str())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take();
        let stderr = child.stderr.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A command that does not read its input may still have done its work.
                let _ = stdin.write_all(&body).await;
            }
        };
        let ((), complaint, status) = tokio::join!(feed, read_complaint(stderr), child.wait());
        let status = status?;
        let why = Veil::default().clean(&format!("{status}: {complaint}"));
        Ok((status.success(), why.trim_end_matches([':', ' ']).to_owned()))
    }
}

/// The start of what stands on standard error; the rest is read and dropped, so that the command
/// does not get stuck on a full pipe.
async fn read_complaint(stderr: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stderr) = stderr else { return String::new() };
    let mut kept = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(read @ 1..) = stderr.read(&mut piece).await {
        let room = COMPLAINT - kept.len();
        kept.extend_from_slice(&piece[..read.min(room)]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::deliver::Outcome;
    use crate::deliver::support::testing::{channel, messages, net, read};
    use std::time::Duration;

    async fn run(command: &str) -> Outcome {
        channel(&KIND, &format!("command = {command}")).send(&net(), &messages(&KIND)[0]).await
    }

    #[tokio::test]
    async fn the_exit_status_says_whether_the_message_was_taken() {
        let grep = r#"["grep", "-q", "\"what\":\"opened\""]"#;
        assert_eq!(run(grep).await, Outcome::Accepted);
        assert_eq!(run(r#"["true"]"#).await, Outcome::Accepted);
        let why = "exit status: 3: no siren".to_owned();
        let failing = r#"["sh", "-c", "echo no siren >&2; exit 3"]"#;
        assert_eq!(run(failing).await, Outcome::Retry { after: None, why });
        let noisy = r#"["sh", "-c", "head -c 10000000 /dev/zero >&2"]"#;
        assert_eq!(run(noisy).await, Outcome::Accepted);
    }

    #[tokio::test]
    async fn a_command_that_is_not_there_is_refused_for_good() {
        match run(r#"["/nowhere/siren"]"#).await {
            Outcome::Rejected { why } => assert!(why.starts_with("cannot run /nowhere"), "{why}"),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_command_ends_with_the_try_that_started_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script = format!("echo $$ > {}; exec sleep 600", file.display());
        let slow = channel(&KIND, &format!("command = [\"sh\", \"-c\", \"{script}\"]"));
        let message = &messages(&KIND)[0];
        let net = net();
        let read_pid = || std::fs::read_to_string(&file).ok()?.trim().parse::<u32>().ok();
        let mut pid = None;
        tokio::select! {
            outcome = slow.send(&net, message) => panic!("{outcome:?}"),
            () = async {
                while pid.is_none() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    pid = read_pid();
                }
            } => {}
        }
        let stat = format!("/proc/{}/stat", pid.unwrap());
        let gone = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        let deadline = async {
            while !gone() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), deadline).await.unwrap();
    }

    #[test]
    fn an_empty_command_is_a_problem() {
        let problem = "daemon.toml:1:11: command: is empty; it names a program and its arguments";
        assert_eq!(read(&KIND, "command = []").1, problem);
    }
}
