//! What others were configured with, as files for `checks.d`. Nothing is left out in silence: what
//! has no counterpart here stands as a comment where it belongs.

mod conditions;
mod draft;
mod gatus;
mod healthchecks;
mod source;
mod uptime_kuma;

use super::{Exit, output, runtime};
use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use draft::Drafts;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub struct ImportArgs {
    /// Whose file it is
    #[arg(value_enum, value_name = "FROM")]
    from: From,
    /// The file; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write a file, such as checks.d/imported.toml, which must not be there yet; standard output if
    /// not given
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print JSON: the file, and what could not be carried over
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum From {
    /// Gatus: its config.yaml
    Gatus,
    /// Uptime Kuma: its kuma.db, or a backup in JSON
    UptimeKuma,
    /// Healthchecks: what its API answers at /api/v3/checks/
    Healthchecks,
}

pub fn run(args: &ImportArgs) -> anyhow::Result<Exit> {
    let drafts = match args.from {
        From::Gatus => gatus::read(&text(&args.file)?)?,
        From::Healthchecks => healthchecks::read(&text(&args.file)?)?,
        From::UptimeKuma if uptime_kuma::is_database(&args.file) => {
            runtime()?.block_on(uptime_kuma::read_database(&args.file))?
        }
        From::UptimeKuma => uptime_kuma::read(&text(&args.file)?)?,
    };
    if drafts.checks.is_empty() {
        bail!("{} names nothing to watch: is it the right file?", args.file.display());
    }
    let file = drafts.to_string();
    let lost = drafts.notes();
    if args.json {
        output::json(&json!({ "checks": drafts.checks.len(), "toml": file, "not_carried": lost }))?;
        return Ok(Exit::Fine);
    }
    match &args.output {
        None => output::bytes(file.as_bytes())?,
        Some(path) => write(path, &file)?,
    }
    output::note(&summary(&drafts, lost.len(), args.output.as_deref()));
    Ok(Exit::Fine)
}

fn text(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
        return Ok(text);
    }
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// Never in the place of what somebody wrote.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = file.with_context(|| format!("{} cannot be made", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("{} cannot be written", path.display()))
}

fn summary(drafts: &Drafts, lost: usize, output: Option<&Path>) -> String {
    let count = drafts.checks.len();
    let mut words = format!("{count} check{}", if count == 1 { "" } else { "s" });
    if let Some(path) = output {
        words.push_str(&format!(" written to {}", path.display()));
    }
    if !drafts.channels.is_empty() {
        words.push_str("; the channels at the end belong into daemon.toml");
    }
    if lost > 0 {
        let lines = if lost == 1 { "line" } else { "lines" };
        words.push_str(&format!("; look at {lost} {lines} with `{}`", draft::MARK));
    }
    words.push_str("; then run `watchbell validate`");
    words
}

#[cfg(test)]
mod tests {
    use crate::app::plan::{self, LoadOptions};

    /// What is wrong with `toml` as a file of checks.
    fn problems(toml: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("daemon.toml");
        let (checks, channels) = toml.split_once("# Channels").unwrap_or((toml, ""));
        // The channels as somebody puts them there.
        let channels: Vec<&str> =
            channels.lines().skip(1).filter_map(|line| line.strip_prefix("# ")).collect();
        let channels: Vec<&str> =
            channels.into_iter().filter(|line| !line.starts_with(super::draft::MARK)).collect();
        let key = "[api]\nping_key = \"fqOOd6-52mMEuNztgFYgmA\"\n";
        std::fs::write(&config, format!("{key}{}", channels.join("\n"))).unwrap();
        std::fs::create_dir(folder.path().join("checks.d")).unwrap();
        std::fs::write(folder.path().join("checks.d/imported.toml"), checks).unwrap();
        let options = LoadOptions { without_secrets: true };
        let problems = plan::load(&config, options).err().unwrap_or_default();
        problems.iter().map(|it| format!("{it}\n")).collect()
    }

    /// Whether what became of a file is right, and a valid configuration.
    pub fn assert_valid(toml: &str) {
        let problems = problems(toml);
        assert!(problems.is_empty(), "{problems}\n{toml}");
    }
}
