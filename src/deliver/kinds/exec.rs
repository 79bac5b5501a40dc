use super::webhook::Body;
use crate::config::Section;
use crate::deliver::support::Veil;
use crate::deliver::{Channel, ChannelKind, Net, Outcome, Preview};
use crate::model::{Format, Message, OptionDoc};
use crate::process::{self, Call, Leftovers, Program};
use async_trait::async_trait;
use std::io::ErrorKind;

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
struct Exec(Program);

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Channel>> {
    let base = section.base().to_owned();
    let program =
        section.required_built("command", |words: Vec<String>| Program::new(words, &base))?;
    Some(Box::new(Exec(program)))
}

#[async_trait]
impl Channel for Exec {
    fn preview(&self, message: &Message) -> Result<Preview, String> {
        Preview::json(&Body::of(message))
    }

    async fn send(&self, _net: &Net, message: &Message) -> Outcome {
        let body = match self.preview(message) {
            Ok(preview) => preview.body.into_bytes(),
            Err(why) => return Outcome::Rejected { why },
        };
        let call = Call {
            stdin: &body,
            environment: &[
                ("WATCHBELL_NOTICE", &message.id),
                ("WATCHBELL_WHAT", message.what.as_str()),
            ],
            max_stdout: 0,
            max_stderr: COMPLAINT,
            // A siren may well go on after the command that set it off.
            leftovers: Leftovers::Leave,
        };
        match process::run(&self.0, call).await {
            Ok(ended) if ended.status.success() => Outcome::accepted(),
            Ok(ended) => {
                let said = format!("{}: {}", ended.status, ended.stderr.text());
                let why = Veil::default().clean(&said);
                Outcome::Retry { after: None, why: why.trim_end_matches([':', ' ']).to_owned() }
            }
            Err(error) => {
                let why = error.to_string();
                match error.kind {
                    ErrorKind::NotFound | ErrorKind::PermissionDenied => Outcome::Rejected { why },
                    _ => Outcome::Retry { after: None, why },
                }
            }
        }
    }
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
        assert_eq!(run(grep).await, Outcome::accepted());
        assert_eq!(run(r#"["true"]"#).await, Outcome::accepted());
        let why = "exit status: 3: no siren".to_owned();
        let failing = r#"["sh", "-c", "echo no siren >&2; exit 3"]"#;
        assert_eq!(run(failing).await, Outcome::Retry { after: None, why });
        let noisy = r#"["sh", "-c", "head -c 10000000 /dev/zero >&2"]"#;
        assert_eq!(run(noisy).await, Outcome::accepted());
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
