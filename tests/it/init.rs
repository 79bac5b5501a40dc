//! `watchbell init`: from an empty folder to the first alert.

use crate::harness::{Folder, PATIENCE, Process, Signal, Slack, binary, free_port, python};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

fn init(folder: &Path, words: &[&str]) -> Output {
    Command::new(binary())
        .arg("init")
        .args(words)
        .arg("--dir")
        .arg(folder)
        .env_remove("STATE_DIRECTORY")
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    (String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr)).into_owned()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_script_gets_from_an_empty_folder_to_a_first_alert() {
    let slack = Slack::start();
    let folder = Folder::new();
    let (port, away) = (free_port(), free_port());
    let (listen, target) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{away}"));
    let words = [
        "--yes",
        "--no-discover",
        "--listen",
        &listen,
        "--watch",
        &target,
        "--slack",
        &slack.url(),
        "--test",
    ];
    let output = init(folder.path(), &words);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("is valid: 1 check (1 tcp), 1 channel"), "{}", said(&output));
    assert!(said(&output).contains("Next: watchbell run --config"), "{}", said(&output));
    slack.inbox.wait_for(0, &["TEST"]).await;

    // The secret stands in a file of its own, and nowhere else.
    let secret = folder.join("secrets/SLACK_WEBHOOK_URL");
    assert_eq!((mode(&secret), mode(&folder.join("secrets"))), (0o600, 0o700));
    assert_eq!(std::fs::read_to_string(&secret).unwrap().trim(), slack.url());
    let daemon = std::fs::read_to_string(folder.join("daemon.toml")).unwrap();
    assert!(daemon.contains("${file:secrets/SLACK_WEBHOOK_URL}"), "{daemon}");
    assert!(!daemon.contains(&slack.url()) && !said(&output).contains(&slack.url()), "{daemon}");

    // Editors take what it wrote.
    let files = ["daemon.toml", "checks.d/first.toml"].map(|name| folder.join(name));
    let taplo = Command::new(python().with_file_name("taplo"))
        .args(["lint", "--colors", "never", "--no-auto-config"])
        .args(&files)
        .output()
        .unwrap();
    assert!(taplo.status.success(), "{}", said(&taplo));

    // Sooner than a newcomer would wait: what is watched is away.
    let checks = std::fs::read_to_string(&files[1]).unwrap().replace("30s", "1s");
    std::fs::write(&files[1], checks).unwrap();
    let mut command = Command::new(binary());
    command.args(["run", "--config"]).arg(&files[0]).env_remove("STATE_DIRECTORY");
    let mut process = Process::spawn("watchbell", &mut command, &folder.join("daemon.log"));
    slack.inbox.wait_for(1, &["DOWN", &format!("127.0.0.1-{away}")]).await;
    process.signal(Signal::TERM);
    assert_eq!(process.wait(PATIENCE).and_then(|status| status.code()), Some(0));
}

#[test]
fn nothing_is_overwritten_and_force_keeps_what_was_there() {
    let folder = Folder::new();
    let target = "postgres://watchbell:hunter2@db.example/shop";
    let words = ["--yes", "--no-discover", "--name", "first", "--watch", target];
    assert!(init(folder.path(), &words).status.success());
    // A password stands in a file of its own.
    let checks = std::fs::read_to_string(folder.join("checks.d/first.toml")).unwrap();
    assert!(!checks.contains("hunter2"), "{checks}");
    assert!(checks.contains("url = \"${file:secrets/CHECK_DB_EXAMPLE_URL}\""), "{checks}");
    assert_eq!(mode(&folder.join("secrets/CHECK_DB_EXAMPLE_URL")), 0o600);
    let old = std::fs::read_to_string(folder.join("daemon.toml")).unwrap();
    assert!(old.contains("name = \"first\""), "{old}");

    let words = ["--yes", "--no-discover", "--name", "second"];
    let refused = init(folder.path(), &words);
    assert_eq!(refused.status.code(), Some(3));
    let told = said(&refused);
    assert!(told.contains("checks.d/first.toml, daemon.toml"), "{told}");
    assert!(told.contains("--force") && told.contains("--dir"), "{told}");
    assert_eq!(std::fs::read_to_string(folder.join("daemon.toml")).unwrap(), old);

    let forced = init(folder.path(), &[&words[..], &["--force"]].concat());
    assert!(forced.status.success(), "{}", said(&forced));
    assert_eq!(std::fs::read_to_string(folder.join("daemon.toml.bak")).unwrap(), old);
    assert!(folder.join("checks.d/first.toml.bak").exists());
    assert!(said(&forced).contains("daemon.toml.bak"), "{}", said(&forced));
    let new = std::fs::read_to_string(folder.join("daemon.toml")).unwrap();
    assert!(new.contains("name = \"second\""), "{new}");
}

#[test]
fn what_listens_here_is_found_and_can_be_watched() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let redis = std::net::TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let port = redis.local_addr().unwrap().port();
    let folder = Folder::new();
    let output = init(folder.path(), &["--yes", "--name", "here"]);
    assert!(output.status.success(), "{}", said(&output));
    let checks = std::fs::read_to_string(folder.join("checks.d/first.toml")).unwrap();
    assert!(checks.contains("name = \"this-machine\""), "{checks}");
    // Of many ports only the first are offered; where others run beside this test, ours may not
    // be among them.
    let count = checks.matches("[[check]]").count();
    assert!(checks.contains(&format!("127.0.0.1:{port}")) || count >= 20, "{checks}");
    // What a client has chosen at random is nothing to watch.
    let random = listener.local_addr().unwrap().port();
    assert!(random < 32_768 || !checks.contains(&format!(":{random}\"")), "{checks}");
}

#[test]
fn without_a_terminal_it_says_what_to_do() {
    let folder = Folder::new();
    let output = init(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("there is no terminal") && said(&output).contains("--yes"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let two = init(folder.path(), &["--yes", "--console", "--webhook", "http://127.0.0.1:1/"]);
    assert!(said(&two).contains("one channel"), "{}", said(&two));
    let odd = init(folder.path(), &["--yes", "--watch", "shop"]);
    assert!(said(&odd).contains("neither a URL nor host:port"), "{}", said(&odd));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Answers the questions at a terminal: waits for each of the words, then types the keys.
const AT_A_TERMINAL: &str = r#"
import os, pty, select, sys, time
program, folder = sys.argv[1:3]
steps = [("What else?", b"127.0.0.1:1\r"), ("What else?", b"\r"), ("Where shall alerts go?", b"\x1b[A\r"),
         ("Send a test alert", b"y\r")]
pid, terminal = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    os.execv(program, [program, "init", "--no-discover", "--dir", folder])
seen, deadline = "", time.monotonic() + 60
while time.monotonic() < deadline:
    ready, _, _ = select.select([terminal], [], [], 1)
    if ready:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            break
        if not data:
            break
        # A terminal that is asked where its cursor is answers.
        for _ in range(data.count(b"\x1b[6n")):
            os.write(terminal, b"\x1b[1;1R")
        seen += data.decode(errors="replace")
    if steps and steps[0][0] in seen:
        _, keys = steps.pop(0)
        seen = ""
        os.write(terminal, keys)
    sys.stdout.write("")
_, status = os.waitpid(pid, 0)
print(seen)
sys.exit(os.waitstatus_to_exitcode(status) if not steps else 99)
"#;

#[test]
fn a_person_answers_questions_at_a_terminal() {
    let folder = Folder::new();
    let output = Command::new(python())
        .args(["-c", AT_A_TERMINAL])
        .arg(binary())
        .arg(folder.path())
        .env_remove("STATE_DIRECTORY")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("Next: watchbell run"), "{}", said(&output));
    let daemon = std::fs::read_to_string(folder.join("daemon.toml")).unwrap();
    assert!(daemon.contains("[channel.console]"), "{daemon}");
    let checks = std::fs::read_to_string(folder.join("checks.d/first.toml")).unwrap();
    assert!(checks.contains("address = \"127.0.0.1:1\""), "{checks}");
}
