//! What the documents show can be typed as it stands: each block of TOML is a valid configuration,
//! for the loader and for editors that know the JSON Schema.

use crate::harness::{Folder, binary, python, repository};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A block of TOML in a document, made whole.
struct Block {
    /// The document and the line.
    place: String,
    /// Whether it belongs into `checks.d`.
    is_checks: bool,
    text: String,
}

/// The documents of the repository.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![repository().join("docs"), repository().join("packaging")];
    let of_root = std::fs::read_dir(repository()).unwrap().flatten().map(|entry| entry.path());
    found.extend(of_root.filter(|path| path.is_file()));
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()) {
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    found.sort();
    found
}

/// The blocks of `language` in a document: the line above each, and its lines without the
/// indentation of a list.
pub(crate) fn blocks_of(document: &Path, language: &str) -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(document).unwrap();
    let mut blocks = Vec::new();
    let mut open: Option<(usize, usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        match (&mut open, line.trim()) {
            (None, fence) if fence.strip_prefix("```") == Some(language) => {
                open = Some((number + 1, indent, String::new()));
            }
            (Some(_), "```") => {
                blocks.extend(open.take().map(|(number, _, text)| (number, text)));
            }
            (Some((_, margin, text)), _) => {
                *text += line.get((*margin).min(indent)..).unwrap_or_default();
                text.push('\n');
            }
            _ => {}
        }
    }
    assert!(open.is_none(), "{}: a block has no end", document.display());
    blocks
}

/// All blocks of TOML. A part of a table is put into the table that it is a part of, which its
/// first header tells, or its first key.
fn blocks() -> Vec<Block> {
    let mut whole = Vec::new();
    for document in documents() {
        let name = document.strip_prefix(repository()).unwrap().display().to_string();
        for (line, text) in blocks_of(&document, "toml") {
            let mut lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
            let first = lines.find(|line| !line.is_empty()).unwrap_or_default();
            let (is_checks, before, after) = match first {
                _ if first.starts_with("[[check]]") => (true, "", ""),
                _ if first.starts_with("[check.recover") => {
                    (true, "[[check]]\nname = \"it\"\n", "[check.tcp]\naddress = \"db:5432\"\n")
                }
                _ if first.starts_with("[check.") => (true, "[[check]]\nname = \"it\"\n", ""),
                _ if first.starts_with("[channel.telegram.operate]")
                    || first.starts_with("operate =") =>
                {
                    let telegram = "[[channel]]\nname = \"it\"\n[channel.telegram]\n\
                                    token = \"${TOKEN}\"\nchat_id = 1\n";
                    (false, telegram, "")
                }
                _ if first.starts_with("[channel.") => (false, "[[channel]]\nname = \"it\"\n", ""),
                _ if first.starts_with('[') => (false, "", ""),
                _ => (true, "[[check]]\nname = \"it\"\n", "[check.system]\n"),
            };
            let text = format!("{before}{text}{after}");
            whole.push(Block { place: format!("{name}:{line}"), is_checks, text });
        }
    }
    whole
}

/// What `watchbell validate --no-secrets` says to a block: nothing if it is valid. What it refers
/// to without showing it, a channel or a check, is added.
fn problems(block: &Block) -> Option<String> {
    let folder = Folder::new();
    std::fs::create_dir(folder.join("checks.d")).unwrap();
    let mut added: (BTreeSet<String>, BTreeSet<String>) = Default::default();
    let (mut daemon, mut checks) = match block.is_checks {
        true => (String::new(), block.text.clone()),
        // A configuration without a check is worth a warning.
        false => (block.text.clone(), "[[check]]\nname = \"it\"\n[check.system]\n".to_owned()),
    };
    loop {
        std::fs::write(folder.join("daemon.toml"), &daemon).unwrap();
        std::fs::write(folder.join("checks.d/it.toml"), &checks).unwrap();
        let output = Command::new(binary())
            .args(["validate", "--no-secrets", "--config"])
            .arg(folder.join("daemon.toml"))
            .output()
            .unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        if output.status.success() && !said.contains("warning") {
            return None;
        }
        let named = |what: &str| -> BTreeSet<String> {
            let rest = said.split(what).skip(1);
            rest.map(|rest| rest.split('`').next().unwrap().to_owned()).collect()
        };
        let channels = &named("there is no channel `") - &added.0;
        let others = &named("there is no check `") - &added.1;
        if channels.is_empty() && others.is_empty() {
            return Some(said.into_owned());
        }
        for name in &channels {
            daemon += &format!("\n[[channel]]\nname = \"{name}\"\n[channel.console]\n");
        }
        for name in &others {
            checks += &format!("\n[[check]]\nname = \"{name}\"\n[check.system]\n");
        }
        added.0.extend(channels);
        added.1.extend(others);
    }
}

#[test]
fn every_block_of_toml_in_the_documents_is_a_valid_configuration() {
    let blocks = blocks();
    assert!(blocks.len() > 40, "{}", blocks.len());
    let wrong: Vec<String> = blocks
        .iter()
        .filter_map(|block| Some(format!("{}:\n{}", block.place, problems(block)?)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// What taplo says of these files by a schema, or by the one that they name: nothing if all is
/// well.
fn taplo(files: &[PathBuf], schema: Option<&str>) -> String {
    let mut command = Command::new(python().with_file_name("taplo"));
    command.args(["lint", "--colors", "never", "--no-auto-config"]);
    if let Some(schema) = schema {
        let file = repository().join("docs/schema").join(schema);
        command.arg("--schema").arg(format!("file://{}", file.display()));
    }
    let output = command.args(files).output().expect("taplo, which scripts/test installs");
    match output.status.success() {
        true => String::new(),
        false => String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn editors_take_every_block_of_toml_in_the_documents() {
    let folder = Folder::new();
    let (mut daemons, mut checks) = (Vec::new(), Vec::new());
    for block in blocks() {
        let path = folder.join(&format!("{}.toml", block.place.replace(['/', ':'], "_")));
        std::fs::write(&path, &block.text).unwrap();
        if block.is_checks { checks.push(path) } else { daemons.push(path) }
    }
    assert_eq!(taplo(&daemons, Some("daemon.schema.json")), "");
    assert_eq!(taplo(&checks, Some("checks.schema.json")), "");
}

#[test]
fn editors_take_the_example_of_every_kind_channel_and_preset() {
    let folder = Folder::new();
    let write = |name: String, text: &str| {
        let path = folder.join(&format!("{name}.toml"));
        std::fs::write(&path, text).unwrap();
        path
    };
    let kinds = watchbell::check::kinds::ALL;
    let checks: Vec<PathBuf> =
        kinds.iter().map(|kind| write(format!("check-{}", kind.name), kind.example)).collect();
    let mut channels: Vec<PathBuf> = watchbell::deliver::kinds::ALL
        .iter()
        .map(|kind| write(format!("channel-{}", kind.name), kind.example))
        .collect();
    for preset in watchbell::deliver::presets::ALL {
        let example = preset.example(&preset.read().unwrap());
        channels.push(write(format!("preset-{}", preset.name), &example));
    }
    assert_eq!(taplo(&checks, Some("checks.schema.json")), "");
    assert_eq!(taplo(&channels, Some("daemon.schema.json")), "");
}

/// The example with all that is commented out in it.
fn uncommented() -> String {
    let text = std::fs::read_to_string(repository().join("daemon.toml.example")).unwrap();
    let is_toml = |line: &str| {
        let key = line.split(" = ").next().unwrap_or_default();
        let is_key = line.contains(" = ")
            && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
        is_key || line.starts_with('[')
    };
    let mut out = String::new();
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        let plain = line.strip_prefix("# ").unwrap_or(line).trim_start_matches("# ");
        let line = if is_toml(plain) { plain } else { line };
        // A key of a table that is told of twice, with other values.
        if line.starts_with("[") && !line.starts_with("[[") && !line.contains('.') {
            assert!(seen.insert(line.to_owned()), "{line} stands twice");
        }
        out += line;
        out.push('\n');
    }
    out
}

#[test]
fn every_example_names_the_schema_that_it_keeps_to() {
    let mut examples = vec![repository().join("daemon.toml.example")];
    for folder in ["checks.d", "checks.d/examples"] {
        let entries = std::fs::read_dir(repository().join(folder)).unwrap().flatten();
        examples.extend(entries.map(|entry| entry.path()).filter(|path| path.is_file()));
    }
    assert!(examples.len() > 12, "{examples:?}");
    for example in &examples {
        let text = std::fs::read_to_string(example).unwrap();
        let schema = text.lines().next().unwrap().strip_prefix("#:schema ").unwrap_or_default();
        let file = example.parent().unwrap().join(schema);
        assert!(file.is_file(), "{}: `{schema}` is no file", example.display());
    }
    assert_eq!(taplo(&examples, None), "");
    let folder = Folder::new();
    let whole = folder.join("whole.toml");
    std::fs::write(&whole, uncommented()).unwrap();
    assert_eq!(taplo(&[whole], Some("daemon.schema.json")), "");
}

#[test]
fn editors_refuse_what_the_loader_refuses() {
    let folder = Folder::new();
    let file = folder.join("it.toml");
    let check = |schema: &str, text: &str, expected: &str| {
        std::fs::write(&file, text).unwrap();
        let said = taplo(std::slice::from_ref(&file), Some(schema));
        assert!(said.contains(expected), "{text}\n{said}");
    };
    let daemon = |text: &str, expected: &str| check("daemon.schema.json", text, expected);
    let checks = |text: &str, expected: &str| {
        check("checks.schema.json", &format!("[[check]]\nname = \"a\"\n{text}"), expected);
    };
    daemon("[daemon]\nnmae = \"prod\"\n", "nmae");
    daemon("[daemon]\nmax_in_flight = \"many\"\n", "is not of type \"integer\"");
    daemon("[[channel]]\n[channel.console]\n", "\"name\" is a required property");
    let hook = "[[channel]]\nname = \"a\"\n[channel.webhook]\n";
    daemon(&format!("{hook}method = \"PUT\"\n"), "\"url\" is a required property");
    daemon(&format!("{hook}preset = \"zulip\"\ntopic = \"a\"\n"), "is a required property");
    daemon(&format!("{hook}url = \"https://a.example\"\ntopic = \"a\"\n"), "is not one of");
    checks("", "is not valid under any");
    checks("[check.tcp]\naddress = \"a:1\"\n[check.system]\n", "is valid under more than one");
    checks("every = \"often\"\n[check.system]\n", "does not match");
    checks("severity = \"awful\"\n[check.system]\n", "is not valid under any");
    checks("[check.tcp]\naddress = 5432\n", "is not of type \"string\"");
    checks("[check.http]\nurl = \"http://a\"\noauth2 = { token = \"a\" }\n", "token");

    let later = "[[check]]\nname = \"a\"\nevery = \"${A}\"\nseverity = \"${B}\"\n[check.system]\n";
    std::fs::write(&file, later).unwrap();
    assert_eq!(taplo(&[file], Some("checks.schema.json")), "");
}
