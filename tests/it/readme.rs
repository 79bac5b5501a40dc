//! What the README tells a newcomer to type does what it says.

use crate::harness::{
    Folder, PATIENCE, Process, binary, client, eventually, free_port, repository,
};
use serde_json::Value;
use std::process::Command;

/// The words after `--` of the README's first `cargo run` line.
fn first_command() -> Vec<String> {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let line = readme.lines().find(|line| line.contains("cargo run --release")).unwrap();
    let (_, words) = line.split_once(" -- ").unwrap();
    words.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test]
async fn the_first_command_of_the_readme_watches_this_machine() {
    // The files of the repository, on another port, so that a daemon of the developer's own is
    // in nobody's way.
    let folder = Folder::new();
    let port = free_port();
    let copy = |from: &str| {
        let text = std::fs::read_to_string(repository().join(from)).unwrap();
        std::fs::write(folder.join(from), text.replace("7117", &port.to_string())).unwrap();
    };
    copy("daemon.toml.example");
    std::fs::create_dir(folder.join("checks.d")).unwrap();
    for entry in std::fs::read_dir(repository().join("checks.d")).unwrap().flatten() {
        if entry.file_type().unwrap().is_file() {
            copy(&format!("checks.d/{}", entry.file_name().to_str().unwrap()));
        }
    }

    let mut command = Command::new(binary());
    command.args(first_command()).current_dir(folder.path()).env_remove("STATE_DIRECTORY");
    let mut daemon = Process::spawn("watchbell", &mut command, &folder.join("daemon.log"));
    let url = format!("http://127.0.0.1:{port}/api/v1/checks");
    let checks = eventually("all checks of the example to be up", PATIENCE, async || {
        if let Some(status) = daemon.wait(std::time::Duration::ZERO) {
            panic!("it ended with {status}: {}", daemon.output());
        }
        let answer: Value = client().get(&url).send().await.ok()?.json().await.ok()?;
        let checks = answer["items"].as_array()?.clone();
        checks.iter().all(|check| check["status"] == "up").then_some(checks)
    })
    .await;
    assert!(checks.len() >= 2, "{checks:#?}");
    daemon.signal(crate::harness::Signal::TERM);
    assert_eq!(daemon.wait(PATIENCE).and_then(|status| status.code()), Some(0));
}
