//! The rules of the house that a compiler does not check.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test may panic, also in what it shares with other tests"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Modules that compute and do nothing else.
const PURE: &[&str] = &["condition", "incident", "judge", "limit", "render", "report", "route"];
/// Modules that touch the world. None of them knows another.
const EFFECTFUL: &[&str] = &["check", "deliver", "record", "recover", "schedule"];
/// Modules that put the others together.
const ON_TOP: &[&str] = &["app", "cli", "main", "lib"];

/// Whether a file of `module` may import `other`. `path` is the file below `src`.
fn may_import(path: &str, module: &str, other: &str) -> bool {
    if module == other || ON_TOP.contains(&module) {
        return true;
    }
    if path == "schedule/plan.rs" || path.starts_with("schedule/plan/") {
        return other == "model";
    }
    match module {
        "model" => false,
        "clock" | "config" | "process" => other == "model",
        // Conditions are what `judge` and `route` have in common.
        _ if PURE.contains(&module) => matches!(other, "condition" | "model"),
        _ if EFFECTFUL.contains(&module) => {
            matches!(other, "clock" | "config" | "model" | "process") || PURE.contains(&other)
        }
        "serve" => matches!(other, "clock" | "config" | "model" | "record" | "report"),
        // It asks the daemon what the API asks, by a bot that is a channel.
        "chat" => matches!(
            other,
            "clock" | "config" | "deliver" | "model" | "record" | "render" | "serve"
        ),
        _ => panic!("tests/tidy.rs does not know the module `{module}`: say what it may import"),
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder whose names end with `ending`.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The lines of a source file before its tests, with their numbers and without comments.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let end = lines
        .windows(2)
        .position(|pair| {
            pair[0].trim() == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].contains('{')
        })
        .unwrap_or(lines.len());
    lines[..end]
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(index, line)| (index + 1, (*line).to_owned()))
        .collect()
}

/// The source files, as paths below `src`, without those that only hold tests.
fn sources() -> Vec<(String, PathBuf)> {
    let root = repository().join("src");
    files(&root, ".rs")
        .into_iter()
        .map(|path| (path.strip_prefix(&root).unwrap().to_string_lossy().into_owned(), path))
        .filter(|(name, _)| {
            !name
                .split('/')
                .any(|part| matches!(part, "tests" | "tests.rs" | "testing" | "testing.rs"))
        })
        .collect()
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn modules_import_only_what_the_way_of_the_data_allows() {
    let mut wrong = Vec::new();
    for (name, path) in sources() {
        let module = name.split(['/', '.']).next().unwrap();
        for (number, line) in code(&path) {
            for (at, _) in line.match_indices("crate::") {
                let rest = &line[at + "crate::".len()..];
                if rest.starts_with('{') {
                    wrong.push(format!("src/{name}:{number}: write one `use crate::…` a module"));
                    continue;
                }
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                let other = &rest[..end.unwrap_or(rest.len())];
                let is_module = ["", ".rs"]
                    .iter()
                    .any(|ending| repository().join(format!("src/{other}{ending}")).exists());
                if is_module && !may_import(&name, module, other) {
                    wrong.push(format!("src/{name}:{number}: `{module}` imports `{other}`"));
                }
            }
        }
    }
    assert_none("imports against the direction of the data", &wrong);
}

#[test]
fn no_file_outgrows_its_reader() {
    const MOST: usize = 700;
    let mut wrong = Vec::new();
    for (name, path) in sources() {
        let length = code(&path).last().map_or(0, |(number, _)| *number);
        if length >= MOST {
            wrong.push(format!("src/{name} has {length} lines; split it"));
        }
    }
    assert_none("too long", &wrong);
}

#[test]
fn nothing_is_left_to_do_in_the_code() {
    let mut wrong = Vec::new();
    for (name, path) in sources() {
        for (number, line) in code(&path) {
            if ["todo!(", "unimplemented!(", "dbg!("].iter().any(|word| line.contains(word)) {
                wrong.push(format!("src/{name}:{number}: {}", line.trim()));
            }
        }
    }
    assert_none("left to do", &wrong);
}

#[test]
fn every_example_is_valid() {
    let done = Command::new(repository().join("scripts/validate-examples"))
        .arg(env!("CARGO_BIN_EXE_watchbell"))
        .output()
        .unwrap();
    let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
    assert!(done.status.success() && !said.contains("warning"), "{said}");
}

#[test]
fn every_kind_and_channel_has_an_example_and_a_line_in_the_readme() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let daemon = std::fs::read_to_string(repository().join("daemon.toml.example")).unwrap();
    for kind in watchbell::check::kinds::ALL {
        let example = format!("checks.d/examples/{}.toml", kind.name);
        let text = std::fs::read_to_string(repository().join(&example)).unwrap_or_default();
        let table = format!("[check.{}]", kind.name);
        assert!(text.contains(&table), "{example} has no {table}");
        assert!(readme.contains(&format!("| `{}` |", kind.name)), "README.md: `{}`", kind.name);
    }
    for channel in watchbell::deliver::kinds::ALL {
        let table = format!("[channel.{}]", channel.name);
        assert!(daemon.contains(&table), "daemon.toml.example has no {table}");
        let row = format!("| `{}` |", channel.name);
        assert!(readme.contains(&row), "README.md: `{}`", channel.name);
    }
}

#[test]
fn the_documents_name_only_paths_that_exist() {
    let mut wrong = Vec::new();
    let documents = std::fs::read_dir(repository()).unwrap().flatten().map(|entry| entry.path());
    let documents: Vec<PathBuf> =
        documents.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    assert!(!documents.is_empty());
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        let quoted = text.split('`').skip(1).step_by(2);
        let linked = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for word in quoted.chain(linked) {
            if is_path(word) && !repository().join(word).exists() {
                let name = document.file_name().unwrap().to_string_lossy().into_owned();
                wrong.push(format!("{name}: `{word}` does not exist"));
            }
        }
    }
    assert_none("paths in documents", &wrong);
}

/// Whether a word in a document means a file or folder of this repository.
fn is_path(word: &str) -> bool {
    const FOLDERS: &[&str] = &[
        ".ci",
        "alert-templates",
        "benches",
        "checks.d",
        "docs",
        "fuzz",
        "packaging",
        "scripts",
        "src",
        "tests",
    ];
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let root_file = word.ends_with(".md") || word.starts_with("LICENSE");
    !word.is_empty()
        && word.chars().all(plain)
        && (root_file || word.split_once('/').is_some_and(|(folder, _)| FOLDERS.contains(&folder)))
}
