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

/// The TOML of a page, block by block.
fn toml_blocks(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(repository().join(page)).unwrap();
    let blocks = text.split("```toml\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_configuration_in_the_page_on_alerting_is_valid() {
    let folder = Folder::new();
    std::fs::create_dir(folder.join("checks.d")).unwrap();
    let blocks = toml_blocks("docs/alerting.md");
    assert!(blocks.len() > 4, "{blocks:#?}");
    let (checks, tables): (Vec<_>, Vec<_>) =
        blocks.into_iter().partition(|block| block.starts_with("[[check]]"));
    let mut daemon = tables.join("\n");
    // What the page speaks of and does not show.
    for channel in ["shop-phone", "shop-mail", "night-mail", "managers"] {
        daemon.push_str(&format!("[[channel]]\nname = \"{channel}\"\n[channel.console]\n"));
    }
    let base = "[[check]]\nname = \"core-db\"\n[check.tcp]\naddress = \"127.0.0.1:5432\"\n";
    std::fs::write(folder.join("daemon.toml"), daemon).unwrap();
    std::fs::write(folder.join("checks.d/page.toml"), checks.join("\n") + base).unwrap();
    let (is_good, said) = validate(&folder);
    assert!(is_good, "{said}");
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
fn the_configuration_in_the_pages_on_channels_is_valid() {
    let mut pages = 0;
    for entry in std::fs::read_dir(repository().join("docs/channels")).unwrap().flatten() {
        let page = format!("docs/channels/{}", entry.file_name().to_str().unwrap());
        if !page.ends_with(".md") {
            continue;
        }
        pages += 1;
        // Within a list a block is indented.
        let text = std::fs::read_to_string(repository().join(&page)).unwrap();
        let mut whole = String::new();
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            let lines = block.lines().map(|line| line.strip_prefix("   ").unwrap_or(line));
            let block = lines.collect::<Vec<_>>().join("\n") + "\n";
            // One that says more about the channel before it.
            let goes_on = ["[channel.", "operate ="].iter().any(|start| block.starts_with(start));
            let (is_good, said) = match goes_on {
                true => continue,
                false => validated(&block),
            };
            assert!(is_good, "{page}:\n{block}\n{said}");
            whole += &block;
        }
        assert!(page.ends_with("README.md") || whole.contains("[[channel]]"), "{page} shows none");
    }
    assert!(pages > 15, "{pages}");
}

#[test]
fn each_recipe_is_a_valid_configuration() {
    let mut recipes = 0;
    for entry in std::fs::read_dir(repository().join("docs/recipes")).unwrap().flatten() {
        let page = format!("docs/recipes/{}", entry.file_name().to_str().unwrap());
        let blocks = toml_blocks(&page);
        if page.ends_with("README.md") {
            continue;
        }
        recipes += 1;
        assert!(!blocks.is_empty(), "{page} shows none");
        let folder = Folder::new();
        std::fs::create_dir(folder.join("checks.d")).unwrap();
        std::fs::write(folder.join("daemon.toml"), "").unwrap();
        std::fs::write(folder.join("checks.d/recipe.toml"), blocks.join("\n")).unwrap();
        let (is_good, said) = validate(&folder);
        assert!(is_good, "{page}: {said}");
    }
    assert!(recipes > 6, "{recipes}");
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
