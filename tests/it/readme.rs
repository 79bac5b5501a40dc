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
    // A machine that builds and tests may well have too much to do.
    let works = |check: &Value| check["status"] == "up" || check["status"] == "degraded";
    let checks = eventually("all checks of the example to work", PATIENCE, async || {
        if let Some(status) = daemon.wait(std::time::Duration::ZERO) {
            panic!("it ended with {status}: {}", daemon.output());
        }
        let answer: Value = client().get(&url).send().await.ok()?.json().await.ok()?;
        let checks = answer["items"].as_array()?.clone();
        checks.iter().all(works).then_some(checks)
    })
    .await;
    assert!(checks.len() >= 2, "{checks:#?}");
    daemon.signal(crate::harness::Signal::TERM);
    assert_eq!(daemon.wait(PATIENCE).and_then(|status| status.code()), Some(0));
}

/// What `watchbell validate --no-secrets` says to this daemon.toml beside one check.
fn validated(daemon: &str) -> (bool, String) {
    let folder = Folder::new();
    std::fs::create_dir(folder.join("checks.d")).unwrap();
    let check = "[[check]]\nname = \"core-db\"\n[check.tcp]\naddress = \"127.0.0.1:5432\"\n";
    std::fs::write(folder.join("checks.d/page.toml"), check).unwrap();
    std::fs::write(folder.join("daemon.toml"), daemon).unwrap();
    validate(&folder)
}

/// What `watchbell validate --no-secrets` says to the configuration in a folder.
fn validate(folder: &Folder) -> (bool, String) {
    let output = Command::new(binary())
        .args(["validate", "--no-secrets", "--config"])
        .arg(folder.join("daemon.toml"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success() && !said.contains("warning"), said.into_owned())
}

#[test]
fn every_channel_and_preset_has_its_page() {
    let folder = repository().join("docs/channels");
    let index = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let kinds = watchbell::deliver::kinds::ALL;
    let presets = watchbell::deliver::presets::ALL.iter().map(|preset| preset.name);
    for name in kinds.iter().map(|kind| kind.name).chain(presets) {
        let page = std::fs::read_to_string(folder.join(format!("{name}.md"))).unwrap_or_default();
        assert_eq!(page.matches("\n5. ").count(), 1, "docs/channels/{name}.md: five steps");
        assert!(index.contains(&format!("({name}.md)")), "{name} in docs/channels/README.md");
        let pictures = page.split("](pictures/").skip(1);
        for picture in pictures.map(|rest| rest.split(')').next().unwrap()) {
            let size = std::fs::metadata(folder.join("pictures").join(picture)).unwrap().len();
            assert!(size < 80_000, "{picture} has {size} bytes");
        }
    }
    for kind in kinds {
        let page = std::fs::read_to_string(folder.join(format!("{}.md", kind.name))).unwrap();
        for option in kind.options {
            let is_there = page.contains(&format!("`{}`", option.name));
            assert!(is_there, "docs/channels/{}.md: `{}`", kind.name, option.name);
        }
    }
}

#[test]
fn the_channels_in_the_example_are_valid_once_they_are_uncommented() {
    let text = std::fs::read_to_string(repository().join("daemon.toml.example")).unwrap();
    let mut tables = String::new();
    let mut within = false;
    for line in text.lines() {
        within = line == "# [[channel]]" || within && line != "#" && line.starts_with('#');
        if within {
            tables += line.strip_prefix("# ").unwrap();
            tables.push('\n');
        }
    }
    assert!(tables.matches("[[channel]]").count() > 7, "{tables}");
    let (is_good, said) = validated(&tables);
    assert!(is_good, "{tables}\n{said}");
}
