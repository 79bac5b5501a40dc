//! The configuration, and who may read and write what.

use super::finding::Finding;
use crate::app::plan::{self, LoadOptions, Plan};
use crate::check::kinds as checks;
use crate::config::{Level, Problem, StoreAddress};
use crate::deliver::kinds as channels;
use crate::model::OptionDoc;
use rustix::fs::{Access, access};
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CONFIGURATION: &str = "configuration";
const PERMISSIONS: &str = "permissions";

/// Others than the owner and the group may write.
const OTHERS_WRITE: u32 = 0o002;
/// Others than the owner and the group may read or write.
const OTHERS: u32 = 0o006;

/// Loads the configuration as the daemon does.
pub fn configuration(path: &Path) -> (Vec<Finding>, Option<Arc<Plan>>) {
    let shown = path.display();
    let valid = |plan: &Plan| {
        let (checks, channels) = (plan.checks.len(), plan.channels.len());
        format!("{shown} is valid: checks: {checks}, channels: {channels}")
    };
    let warning = |problem: &Problem| {
        let fix = format!("look at it, then: watchbell validate --config {shown}");
        Finding::warning(CONFIGURATION, problem.to_string()).fix(fix)
    };
    match plan::load(path, LoadOptions::default()) {
        Ok(plan) => {
            let mut findings = vec![Finding::ok(CONFIGURATION, valid(&plan))];
            findings.extend(plan.warnings.iter().map(warning));
            (findings, Some(Arc::new(plan)))
        }
        Err(problems) => without_secrets(path, &problems).unwrap_or_else(|| {
            let fix = match std::fs::metadata(path).err().map(|error| error.kind()) {
                Some(io::ErrorKind::NotFound) => {
                    "watchbell init, or name another file with `--config PATH`".to_owned()
                }
                _ if access(path, Access::READ_OK).is_err() => format!(
                    "run it as a user who may read it: sudo watchbell doctor --config {shown}"
                ),
                _ => format!("correct it, then: watchbell validate --config {shown}"),
            };
            let errors = problems.iter().map(|problem| match problem.level {
                Level::Error => {
                    Finding::problem(CONFIGURATION, problem.to_string()).fix(fix.clone())
                }
                Level::Warning => warning(problem),
            });
            (errors.collect(), None)
        }),
    }
}

/// Where the daemon has secrets that are not here, the rest can still be looked at.
fn without_secrets(path: &Path, problems: &[Problem]) -> Option<(Vec<Finding>, Option<Arc<Plan>>)> {
    let plan = plan::load(path, LoadOptions { without_secrets: true }).ok()?;
    let shown = path.display();
    let advice = format!(
        "the daemon may have it from systemd; here: set -a; . {}; set +a",
        path.with_file_name("environment").display()
    );
    let missing = problems.iter().filter(|problem| problem.level == Level::Error);
    let missing = missing
        .map(|problem| Finding::warning(CONFIGURATION, problem.to_string()).fix(advice.clone()));
    let mut findings: Vec<Finding> = missing.collect();
    let rest = format!("{shown} is valid but for the secrets, which are not here");
    findings.push(Finding::ok(CONFIGURATION, rest));
    Some((findings, Some(Arc::new(plan))))
}

/// Who may read and write what the daemon reads and writes.
pub fn permissions(
    config: &Path,
    store: Option<&StoreAddress>,
    socket: Option<&Path>,
) -> Vec<Finding> {
    let base = config.parent().unwrap_or(Path::new(""));
    let mut findings = Vec::new();
    let files = configuration_files(config);
    let folders = [base.to_owned(), base.join("checks.d")];
    for path in files.iter().chain(&folders) {
        if mode(path).is_some_and(|mode| mode & OTHERS_WRITE != 0) {
            let what = format!(
                "everybody may write to {}, and so have the daemon run commands",
                path.display()
            );
            findings.push(
                Finding::problem(PERMISSIONS, what).fix(format!("chmod o-w {}", path.display())),
            );
        }
    }
    let mut secrets: BTreeSet<PathBuf> = BTreeSet::new();
    for file in &files {
        let Ok(text) = std::fs::read_to_string(file) else { continue };
        secrets.extend(referenced(&text, base));
        let is_open = mode(file).is_some_and(|mode| mode & OTHERS != 0);
        if let Some(key) = plain_secret(&text).filter(|_| is_open) {
            let shown = file.display();
            let what = format!("{shown} holds `{key}` in plain, and everybody may read it");
            findings.push(
                Finding::warning(PERMISSIONS, what).fix(format!(
                    "write {key} = \"${{file:secrets/NAME}}\", or: chmod 640 {shown}"
                )),
            );
        }
    }
    secrets.insert(base.join("environment"));
    for file in &secrets {
        let shown = file.display();
        if mode(file).is_some_and(|mode| mode & OTHERS != 0) {
            let what = format!("{shown} holds secrets, and everybody may read it");
            findings.push(Finding::problem(PERMISSIONS, what).fix(format!("chmod o-rwx {shown}")));
        }
    }
    if let Some(StoreAddress::Sqlite(file)) = store {
        findings.extend(state(&super::store::actual(file)));
    }
    if let Some(socket) = socket
        && mode(socket).is_some_and(|mode| mode & OTHERS_WRITE != 0)
    {
        let shown = socket.display();
        let what = format!("everybody may open {shown}, which gives full rights");
        findings.push(Finding::problem(PERMISSIONS, what).fix(format!("chmod o= {shown}")));
    }
    if findings.is_empty() {
        let what = "nobody else may write to the configuration or read what is secret";
        findings.push(Finding::ok(PERMISSIONS, what));
    }
    findings
}

/// The folder of the history, which has to take files.
fn state(file: &Path) -> Vec<Finding> {
    let folder = file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let shown = folder.display();
    let mut findings = Vec::new();
    if !folder.is_dir() {
        let what = format!("there is no folder {shown}, where the history is to lie");
        findings.push(
            Finding::problem(PERMISSIONS, what).fix(format!("install -d -m 700 -o USER {shown}")),
        );
    } else if access(folder, Access::WRITE_OK | Access::EXEC_OK).is_err() {
        let what = format!("this user may not write to {shown}, where the history lies");
        findings.push(Finding::warning(PERMISSIONS, what).fix(
            "where it is the daemon's user: chown USER of the folder; else run this as that user",
        ));
    }
    if mode(file).is_some_and(|mode| mode & OTHERS != 0) {
        let shown = file.display();
        let what = format!("everybody may read the history {shown}");
        findings.push(Finding::warning(PERMISSIONS, what).fix(format!("chmod 600 {shown}")));
    }
    findings
}

/// `daemon.toml` and the files of checks beside it.
fn configuration_files(config: &Path) -> Vec<PathBuf> {
    let mut files = vec![config.to_owned()];
    let folder = config.with_file_name("checks.d");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.extend(
        entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml")),
    );
    files
}

fn mode(path: &Path) -> Option<u32> {
    std::fs::metadata(path).ok().map(|metadata| metadata.mode())
}

/// The files that `${file:…}` names.
fn referenced(text: &str, base: &Path) -> Vec<PathBuf> {
    let of_line = |line: &str| -> Vec<PathBuf> {
        if line.trim_start().starts_with('#') {
            return Vec::new();
        }
        let names = line.split("${file:").skip(1).filter_map(|rest| rest.split_once('}'));
        names.map(|(name, _)| base.join(name)).collect()
    };
    text.lines().flat_map(of_line).collect()
}

/// The first key of a channel or check that is a secret and stands there in plain.
fn plain_secret(text: &str) -> Option<String> {
    let file: toml::Table = toml::from_str(text).ok()?;
    let of = |list: &str, find: fn(&str) -> Option<&'static [OptionDoc]>| {
        let tables = file.get(list)?.as_array()?.iter().filter_map(toml::Value::as_table);
        let kinds = tables.flatten().filter_map(|(kind, table)| Some((find(kind)?, table)));
        let mut keys = kinds.flat_map(|(options, table)| {
            options.iter().filter(|option| option.ty == "secret").filter_map(|option| {
                let value = table.get(option.name)?.as_str()?;
                is_secret(value).then(|| option.name.to_owned())
            })
        });
        keys.next()
    };
    of("channel", |kind| channels::find(kind).map(|kind| kind.options))
        .or_else(|| of("check", |kind| checks::find(kind).map(|kind| kind.options)))
}

/// Whether a value is the secret itself: not a reference, nor an address that bears none.
fn is_secret(value: &str) -> bool {
    if value.contains("${") || value.is_empty() {
        return false;
    }
    match url::Url::parse(value) {
        // What makes the address of a hook a secret is its path.
        Ok(url) if url.has_host() => {
            url.password().is_some()
                || matches!(url.scheme(), "http" | "https")
                    && url.path().split('/').any(|part| part.len() >= LONG)
        }
        _ => true,
    }
}

/// A part of a path with so many characters is no word.
const LONG: usize = 16;

#[cfg(test)]
mod tests {
    use super::{plain_secret, referenced};
    use std::path::{Path, PathBuf};

    #[test]
    fn a_secret_in_plain_is_seen_and_a_reference_is_none() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(plain_secret(text).as_deref(), expected, "{text}");
        };
        let telegram = "[[channel]]\nname = \"a\"\n[channel.telegram]\nchat_id = 1\n";
        check(&format!("{telegram}token = \"123:abc\"\n"), Some("token"));
        check(&format!("{telegram}token = \"${{TOKEN}}\"\n"), None);
        let hook = "[[channel]]\nname = \"a\"\n[channel.webhook]\n";
        check(&format!("{hook}url = \"https://hooks.example/watchbell\"\n"), None);
        check(
            &format!("{hook}url = \"https://hooks.example/T0/B0123456789abcdef\"\n"),
            Some("url"),
        );
        let postgres = "[[check]]\nname = \"a\"\n[check.postgres]\n";
        check(&format!("{postgres}url = \"postgres://watchbell@db/shop\"\n"), None);
        check(&format!("{postgres}url = \"postgres://watchbell:pw@db/shop\"\n"), Some("url"));
        check("not = [toml", None);
    }

    #[test]
    fn files_with_secrets_are_found_where_they_are_named() {
        let text = "a = \"${file:secrets/a}\"\n# b = \"${file:no}\"\nc = \"x${file:/run/c}y\"\n";
        let expected = [PathBuf::from("/etc/w/secrets/a"), PathBuf::from("/run/c")];
        assert_eq!(referenced(text, Path::new("/etc/w")), expected);
    }
}
