use super::KIND;
use crate::model::ActionName;
use crate::recover::actions::testing::{action, order, read, tools};
use std::path::Path;
use std::time::Duration;

async fn run(command: &[&str]) -> Result<String, String> {
    let command = action(&KIND, &format!("command = {command:?}"));
    let work = async { command.run(&tools(), &order(ActionName::Failover)).await };
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("an end")
}

async fn sh(script: &str) -> Result<String, String> {
    run(&["sh", "-c", script]).await
}

/// Waits until `file` holds `count` numbers of processes.
async fn pids(file: &Path, count: usize) -> Vec<u32> {
    let read = || -> Vec<u32> {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    };
    let all = async {
        while read().len() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("processes");
    read()
}

/// Whether a process is no longer at work; the machine may take its time to clear it away.
fn is_gone(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.contains(") Z "))
}

#[tokio::test]
async fn the_exit_status_says_whether_it_was_done() {
    let ok = |words: &str| Ok(words.to_owned());
    let failed = |words: &str| Err(words.to_owned());
    assert_eq!(run(&["true"]).await, ok("ran true"));
    assert_eq!(sh("echo stopped; echo started >&2").await, ok("ran sh: stopped"));
    assert_eq!(run(&["false"]).await, failed("false failed, exit status: 1"));
    let script = "echo stopping; echo no such service >&2; echo; exit 3";
    assert_eq!(sh(script).await, failed("sh failed, exit status: 3: no such service"));
    assert_eq!(sh("kill -9 $$").await, failed("sh failed, signal: 9 (SIGKILL)"));
    let nowhere = "cannot run /nowhere/x: there is no such program";
    assert_eq!(run(&["/nowhere/x"]).await, failed(nowhere));
    let not_a_program = "cannot run /etc/passwd: permission denied";
    assert_eq!(run(&["/etc/passwd"]).await, failed(not_a_program));
}

#[tokio::test]
async fn it_is_told_what_it_is_for_and_gets_no_input() {
    let script = "cat; printf '%s|' \"$WATCHBELL_CHECK\" \"$WATCHBELL_INCIDENT\" \
                  \"$WATCHBELL_ACTION\" \"$WATCHBELL_ATTEMPT\" \"$WATCHBELL_REASONS\"";
    let told = "ran sh: shop-api|01JNA8Y8PK0000000000000000|failover|2|\
                status == 200 failed: status is 503 slow|";
    assert_eq!(sh(script).await.as_deref(), Ok(told));
}

#[tokio::test]
async fn what_it_says_is_bounded_and_clean() {
    let said = sh("yes | head -c 5000000; echo the end").await.unwrap();
    assert!(said.starts_with("ran sh: y y y"), "{said}");
    assert!(said.chars().count() <= "ran sh: ".len() + 2_001, "{}", said.len());
    assert_eq!(sh(r"printf '\033[31mred\007'").await.as_deref(), Ok("ran sh: [31mred"));
}

#[tokio::test]
async fn all_that_it_started_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    // A child, a grandchild that ignores every signal it can, and the script itself.
    let script = format!(
        "echo $$ >> {0}; sleep 600 & echo $! >> {0}; \
         (trap '' HUP INT TERM; echo $(sh -c 'echo $PPID') >> {0}; while :; do sleep 600; done) & \
         wait",
        file.display()
    );
    let all = tokio::select! {
        ended = sh(&script) => panic!("{ended:?}"),
        all = pids(&file, 3) => all,
    };
    let gone = async {
        while !all.iter().copied().all(is_gone) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.expect("an end of all");
}

#[tokio::test]
async fn a_service_that_it_leaves_in_the_background_lives_and_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    // It still holds the output open.
    let script = format!("sleep 600 & echo $! > {}; echo started", file.display());
    assert_eq!(sh(&script).await.as_deref(), Ok("ran sh: started"));
    let service = pids(&file, 1).await[0];
    assert!(!is_gone(service));
    let killed = std::process::Command::new("kill").arg(service.to_string()).status().unwrap();
    assert!(killed.success());
}

#[test]
fn an_empty_command_is_a_problem() {
    let problem = "a.toml:1:11: command: is empty; it names a program and its arguments";
    assert_eq!(read(&KIND, "command = []").1, problem);
}

#[test]
fn its_arguments_are_not_shown() {
    let command = action(&KIND, "command = [\"promote\", \"--token=hunter2\"]");
    assert_eq!(command.describe(&order(ActionName::Failover)), "failover by running promote");
}
