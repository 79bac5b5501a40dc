//! The files that `init` writes.

use super::super::schema;
use super::channel::{Channel, quoted};
use super::draft::Offer;
use crate::model::Secret;
use anyhow::Context;
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The file for checks of what was found, and of what was named.
const CHECKS: &str = "checks.d/first.toml";

/// All that is to be written.
#[derive(Debug)]
pub struct Plan {
    /// Where to.
    pub folder: PathBuf,
    /// Whether the unit that ships reads it from there: its secrets then come from the file
    /// `environment`, which systemd reads as root.
    pub for_unit: bool,
    /// The name of the daemon.
    pub name: String,
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where alerts go.
    pub channel: Channel,
    /// The checks.
    pub offers: Vec<Offer>,
}

impl Plan {
    /// What must not stand in the files, by the names of variables.
    pub fn secrets(&self) -> Vec<(String, Secret)> {
        let of_checks = self
            .offers
            .iter()
            .filter_map(|offer| Some((offer.secret_name(), offer.secret.clone()?)));
        self.channel.secrets().into_iter().chain(of_checks).collect()
    }

    /// How a file refers to a secret of this name.
    fn reference(&self, name: &str) -> String {
        if self.for_unit { format!("${{{name}}}") } else { format!("${{file:secrets/{name}}}") }
    }
}

/// What of a configuration is in a folder already.
pub fn there(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    if folder.join("daemon.toml").exists() {
        found.push("daemon.toml".to_owned());
    }
    let checks = std::fs::read_dir(folder.join("checks.d")).into_iter().flatten().flatten();
    let names = checks.map(|entry| format!("checks.d/{}", entry.file_name().display()));
    found.extend(names.filter(|name| name.ends_with(".toml")));
    found.sort();
    found
}

/// Writes everything, and says what it wrote, a line a file.
///
/// # Errors
///
/// A file cannot be written. Those before it stay.
pub fn write(plan: &Plan, force: bool) -> anyhow::Result<Vec<String>> {
    let folder = &plan.folder;
    folder_of(folder, 0o755)?;
    folder_of(&folder.join("checks.d"), 0o755)?;
    folder_of(&folder.join("schema"), 0o755)?;
    let mut said = Vec::new();
    if force {
        // All of it: a check that is there may well have the name of a new one.
        for name in there(folder) {
            let path = folder.join(name);
            let kept = free_name(&path);
            let shown = path.display();
            std::fs::rename(&path, &kept).with_context(|| format!("cannot rename {shown}"))?;
            said.push(format!("kept {shown} as {}", kept.display()));
        }
    }
    let secrets = plan.secrets();
    if plan.for_unit && !secrets.is_empty() {
        said.push(environment(&folder.join("environment"), &secrets)?);
    } else if !secrets.is_empty() {
        folder_of(&folder.join("secrets"), 0o700)?;
        for (name, value) in &secrets {
            let path = folder.join("secrets").join(name);
            let text = format!("{}\n", value.expose());
            said.push(file(&path, &text, Some(0o600), Over::Replace)?);
        }
    }
    said.push(file(&folder.join("daemon.toml"), &daemon(plan), None, Over::Never)?);
    said.push(file(&folder.join(CHECKS), &checks(plan), None, Over::Never)?);
    for (name, text) in [("daemon", schema::daemon()?), ("checks", schema::checks())] {
        let path = folder.join("schema").join(format!("{name}.schema.json"));
        said.push(file(&path, &text, None, Over::Replace)?);
    }
    Ok(said)
}

/// What becomes of a file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// It stays, and nothing is written.
    Never,
    /// It goes.
    Replace,
}

fn file(path: &Path, text: &str, mode: Option<u32>, over: Over) -> anyhow::Result<String> {
    let shown = path.display();
    let mut options = OpenOptions::new();
    options.write(true);
    if over == Over::Replace {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    if let Some(mode) = mode {
        options.mode(mode);
    }
    let mut out = options.open(path).with_context(|| format!("cannot write {shown}"))?;
    if let Some(mode) = mode {
        // One that was there keeps its mode otherwise.
        out.set_permissions(std::fs::Permissions::from_mode(mode))
            .with_context(|| format!("cannot protect {shown}"))?;
    }
    out.write_all(text.as_bytes()).with_context(|| format!("cannot write {shown}"))?;
    Ok(format!("wrote {shown}"))
}

/// The first of `NAME.bak`, `NAME.bak2`, … that is not there. They do not end in `.toml`, so the
/// daemon does not read them.
fn free_name(path: &Path) -> PathBuf {
    let name = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(".bak");
        if number > 1 {
            name.push(number.to_string());
        }
        PathBuf::from(name)
    };
    (1..).map(name).find(|name| !name.exists()).unwrap_or_else(|| name(u32::MAX))
}

fn folder_of(path: &Path, mode: u32) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .with_context(|| format!("cannot make the folder {}", path.display()))
}

/// Puts the secrets into the file that the unit reads, and leaves its other lines alone.
fn environment(path: &Path, secrets: &[(String, Secret)]) -> anyhow::Result<String> {
    let old = std::fs::read_to_string(path).unwrap_or_default();
    let is_ours = |line: &str| {
        secrets.iter().any(|(name, _)| {
            line.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('='))
        })
    };
    let mut text: String =
        old.lines().filter(|line| !is_ours(line)).map(|line| format!("{line}\n")).collect();
    for (name, value) in secrets {
        let value = value.expose().replace('\\', "\\\\").replace('"', "\\\"");
        text += &format!("{name}=\"{value}\"\n");
    }
    file(path, &text, Some(0o600), Over::Replace)
}

/// `daemon.toml`.
fn daemon(plan: &Plan) -> String {
    let (name, listen) = (quoted(&plan.name), plan.listen);
    let channel = plan.channel.table(|name| plan.reference(name));
    format!(
        r#"#:schema ./schema/daemon.schema.json

# The daemon's own settings. What it watches is in checks.d. `watchbell validate` says what is wrong
# with them, `watchbell reload` has a running daemon read them again, `watchbell doctor` looks whether
# all is there that they need.

[daemon]
name = {name}   # shown in alerts
# time_zone = "Europe/Berlin"          # of times in alerts; UTC if absent
# public_url = "https://watchbell.example"   # where people reach the page; alerts link to it then
# heartbeat_url = "${{HEARTBEAT_URL}}"   # requested each minute while all is well

[api]
listen = "{listen}"   # the page and the API; reading is open to this machine
# socket = "/run/watchbell/api.sock"   # full rights for whoever may open it

# Where alerts go. `watchbell notify test {channel_name}` tries it out, `watchbell kinds` lists the other
# kinds of channels. Secrets are not in this file: it only says where they are.
{channel}# rate_limit = "10/h"                   # the default, above the table of the kind
# cooldown = "30m"                      # the default: between two openings of the same check

# Who hears what. Without a route every channel hears everything.
# [[route]]
# when = "severity == 'critical'"
# to = [{quoted_name}]
"#,
        channel_name = plan.channel.name(),
        quoted_name = quoted(plan.channel.name()),
    )
}

/// The file of checks.
fn checks(plan: &Plan) -> String {
    let mut text = "#:schema ../schema/checks.schema.json\n\n\
         # What is watched. Each `[[check]]` runs once in `every` (60s if absent); people are told after\n\
         # `confirm_after` bad results in a row (3), and again after `recover_after` good ones (2).\n\
         # `watchbell kinds` lists what else can be watched, and `watchbell check --all` runs all of it now.\n"
        .to_owned();
    for offer in &plan.offers {
        text += &format!("\n{}", offer.table(|name| plan.reference(name)));
    }
    if plan.offers.is_empty() {
        text += "\n# [[check]]\n# name = \"shop\"\n# [check.http]\n# url = \"https://shop.example/health\"\n";
    }
    text
}
