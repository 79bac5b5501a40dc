//! Chromium, led by the scripts in this folder. They say what they found a line at a time, and ask
//! for what they cannot do themselves: to break something.

use crate::harness::{Folder, is_root, repository};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

/// How long all of it may take on a busy machine.
const BOUND: Duration = Duration::from_secs(600);

/// What became of a promise.
#[derive(Debug)]
pub struct Outcome {
    /// Its name.
    pub promise: String,
    /// Whether it was kept.
    pub kept: bool,
    /// What was seen.
    pub detail: String,
}

/// Runs `tests/it/page/main.mjs` with `settings`, and carries out its orders. Each order is a JSON
/// object whose `do` says what; what `obey` gives is the answer.
pub async fn drive(
    mut settings: Value,
    mut obey: impl AsyncFnMut(&str, &Value) -> Value,
) -> Vec<Outcome> {
    let folder = Folder::new();
    settings["chromium"] = json!(chromium());
    settings["root"] = json!(is_root());
    settings["profile"] = json!(folder.path());
    let mut command = Command::new("node");
    command.arg(repository().join("tests/it/page/main.mjs")).arg(settings.to_string());
    command.env("HOME", folder.path()).env("WATCHBELL_TEST_NODE", packages());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut node = command.spawn().expect("Node.js; `scripts/test` finds or installs it");
    let mut answers = node.stdin.take().unwrap();
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
    let mut outcomes = Vec::new();
    let talk = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            let Ok(said) = serde_json::from_str::<Value>(&line) else {
                println!("{line}");
                continue;
            };
            if let Some(order) = said["do"].as_str() {
                let answer = obey(order, &said).await;
                answers.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
            } else {
                let detail = said["detail"].as_str().unwrap_or_default().to_owned();
                let promise = said["promise"].as_str().unwrap_or(&line).to_owned();
                let kept = said["ok"] == true;
                println!(
                    "{} {promise}{}{detail}",
                    if kept { "kept" } else { "BROKEN" },
                    gap(&detail)
                );
                outcomes.push(Outcome { promise, kept, detail });
            }
        }
        node.wait().await.unwrap()
    };
    let status = tokio::time::timeout(BOUND, talk).await.expect("the browser to come to an end");
    assert!(status.success(), "the scripts ended with {status}; kept so far: {outcomes:#?}");
    outcomes
}

fn gap(detail: &str) -> &'static str {
    if detail.is_empty() { "" } else { ": " }
}

/// The browser: the one that `WATCHBELL_TEST_CHROMIUM` names, or one on the path.
fn chromium() -> PathBuf {
    if let Some(path) = std::env::var_os("WATCHBELL_TEST_CHROMIUM") {
        return path.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|program| program.exists())
        .expect("no chromium; `scripts/test` finds or installs it")
}

/// Where npm has put what the scripts need: as `scripts/test` says, or where that puts it.
fn packages() -> PathBuf {
    let folder = std::env::var_os("WATCHBELL_TEST_NODE").map_or_else(
        || {
            std::env::var_os("CARGO_TARGET_DIR")
                .map_or_else(|| repository().join("target"), PathBuf::from)
                .join("test-node")
        },
        PathBuf::from,
    );
    for package in ["puppeteer-core", "axe-core", "lighthouse"] {
        let there = folder.join("node_modules").join(package).exists();
        assert!(there, "no {package} in {}; `scripts/test` installs it", folder.display());
    }
    folder
}
