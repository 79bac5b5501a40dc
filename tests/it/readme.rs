//! What the README tells a newcomer to type does what it says.

use crate::documents::blocks_of;
use crate::harness::{
    Folder, PATIENCE, Process, Slack, binary, client, eventually, free_port, repository,
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

/// The commands of the README: what stands in its blocks for a shell, a command a line.
fn commands() -> Vec<String> {
    let blocks = blocks_of(&repository().join("README.md"), "sh");
    let lines = blocks.into_iter().flat_map(|(_, text)| {
        let whole = text.replace("\\\n", " ");
        whole.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    });
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// Commands that no test types as they stand: why, and what does the same.
const ELSEWHERE: [(&str, &str); 7] = [
    ("apt-get install ./watchbell_", BOOTED),
    ("cargo install ", "it takes minutes; it builds what all tests run"),
    ("watchbell init", "it asks; the stories of init answer it at a terminal"),
    ("cargo run --release -- run --config daemon.toml.example", "the first test of this file"),
    ("scripts/test", "it is what runs this test"),
    ("just package", "the stories called booted install what it makes"),
    ("apt-get install ./target/package/watchbell_", BOOTED),
];

const BOOTED: &str = "it changes the machine; the stories called booted do it in a Debian";

#[tokio::test]
async fn the_commands_of_the_readme_lead_from_an_empty_folder_to_a_first_alert() {
    let is_elsewhere = |command: &str| {
        ELSEWHERE.iter().any(|(known, _)| match known.ends_with([' ', '_']) {
            true => command.starts_with(known),
            false => command == *known,
        })
    };
    let slack = Slack::start();
    let folder = Folder::new();
    let port = free_port();
    let programs = folder.join("bin");
    std::fs::create_dir(&programs).unwrap();
    std::os::unix::fs::symlink(binary(), programs.join("watchbell")).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let shell = |command: &str| {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("exec {command}")])
            .current_dir(folder.path())
            .env("PATH", &path)
            .env("SLACK_WEBHOOK_URL", slack.url())
            .env("NO_COLOR", "1")
            .env_remove("STATE_DIRECTORY");
        shell
    };
    let mut daemon: Option<Process> = None;
    let mut typed = 0;
    for command in commands().iter().filter(|command| !is_elsewhere(command)) {
        typed += 1;
        if command.starts_with("watchbell run") {
            let log = folder.join("daemon.log");
            let started = daemon.insert(Process::spawn("watchbell", &mut shell(command), &log));
            let url = format!("http://127.0.0.1:{port}/ready");
            eventually("the daemon of the README to be ready", PATIENCE, async || {
                assert!(started.wait(std::time::Duration::ZERO).is_none(), "{}", started.output());
                client().get(&url).send().await.ok()?.error_for_status().ok()
            })
            .await;
            continue;
        }
        // What this machine has is nothing to write into /etc, whoever runs the test.
        let here = command.replace("watchbell init --yes", "watchbell init --yes --dir .");
        let output = shell(&here).output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        // The checks have just started, and the machine of a test is what it is.
        let codes: &[i32] = match command.split_whitespace().nth(1) {
            Some("status" | "doctor") => &[0, 1, 2, 3],
            _ => &[0],
        };
        let code = output.status.code().unwrap_or(-1);
        assert!(codes.contains(&code), "{command} ended with {code}: {said}");
        assert!(!said.contains("panicked") && !said.contains("Usage:"), "{command}: {said}");
        if command.starts_with("watchbell init") {
            // Another port, so that a daemon of the developer's own is in nobody's way, and
            // something that is surely away.
            for (file, from, to) in [
                ("daemon.toml", "7117", port.to_string()),
                ("checks.d/first.toml", "every = \"30s\"", "every = \"1s\"".to_owned()),
                ("checks.d/first.toml", "https://shop.example.com/health", away()),
            ] {
                let text = std::fs::read_to_string(folder.join(file)).unwrap();
                assert!(text.contains(from), "{file}: {text}");
                // What else runs on this machine comes and goes with the tests beside this one.
                let ours = text.match_indices("\n[[check]]").nth(1);
                let text = ours.map_or(text.as_str(), |(end, _)| &text[..end]);
                std::fs::write(folder.join(file), text.replace(from, &to)).unwrap();
            }
        }
    }
    assert!(typed >= 5, "{typed}");
    slack.inbox.wait_for(0, &["TEST"]).await;
    slack.inbox.wait_for(0, &["DOWN", "shop.example.com"]).await;
    let mut daemon = daemon.expect("the README runs the daemon");
    daemon.signal(crate::harness::Signal::TERM);
    assert_eq!(daemon.wait(PATIENCE).and_then(|status| status.code()), Some(0));
}

/// An address that nothing listens on.
fn away() -> String {
    format!("http://127.0.0.1:{}/health", free_port())
}

#[test]
fn every_command_that_the_readme_names_exists() {
    let text = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let mut named = std::collections::BTreeSet::new();
    for code in text.split('`').filter(|code| code.starts_with("watchbell ")) {
        let is_word = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase());
        let words: Vec<&str> = code.split_whitespace().skip(1).take_while(is_word).collect();
        named.insert(words.into_iter().take(2).map(str::to_owned).collect::<Vec<_>>());
    }
    assert!(named.len() > 20, "{named:?}");
    for words in named {
        // The second word may be a kind, a channel or the like.
        let exists = [words.len(), 1].iter().any(|count| {
            let mut command = Command::new(binary());
            command.args(&words[..*count.min(&words.len())]).arg("--help");
            command.output().unwrap().status.success()
        });
        assert!(exists, "watchbell {}", words.join(" "));
    }
}
