//! The first configuration: asks, looks at what runs on the machine, and writes commented files.

mod ask;
mod channel;
mod discover;
mod draft;
mod write;

use super::{Exit, output, runtime};
use crate::process::{self, Call, Leftovers, Program};
use anyhow::{Context, bail};
use channel::Channel;
use clap::Args;
use draft::Offer;
use rustix::process::geteuid;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use write::Plan;

/// Where an installation has its configuration.
const INSTALLED: &str = "/etc/watchbell";

/// How long the looking round may take, and each program that is run after it.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a program that is run may print.
const PRINTED: usize = 65_536;

#[derive(Args, Debug)]
pub struct InitArgs {
    /// The folder to write to; /etc/watchbell for root where nothing is there yet, else this one
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Ask nothing, and take what these options say and what runs on the machine
    #[arg(long)]
    yes: bool,
    /// Write even where files are, which are kept beside the new ones as NAME.bak
    #[arg(long)]
    force: bool,
    /// The name that alerts show; that of the machine if not given
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The address that the page and the API listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7117")]
    listen: SocketAddr,
    /// Watch this as well: a URL (http, https, ws, wss, redis, rediss, postgres), or host:port
    #[arg(long, value_name = "TARGET")]
    watch: Vec<String>,
    /// Do not look at what runs on this machine
    #[arg(long)]
    no_discover: bool,
    /// Send a test alert once the files are written
    #[arg(long)]
    test: bool,
    #[command(flatten)]
    channel: channel::ChannelArgs,
}

/// Writes a first configuration.
pub fn run(args: &InitArgs) -> anyhow::Result<Exit> {
    let is_asking = !args.yes;
    if is_asking && !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        bail!(
            "init asks questions, and there is no terminal to answer them at: `--yes` takes what \
             the options say (`watchbell init --help` lists them)"
        );
    }
    let folder = args.dir.clone().unwrap_or_else(default_folder);
    if !args.force {
        let there = write::there(&folder);
        if !there.is_empty() {
            bail!(
                "{} holds a configuration already ({}): `--dir FOLDER` writes elsewhere, \
                 `--force` writes anew and keeps these as NAME.bak",
                folder.display(),
                there.join(", ")
            );
        }
    }
    if args.dir.is_none() && folder != Path::new(INSTALLED) && geteuid().is_root() {
        output::note(&format!(
            "{INSTALLED} holds a configuration already, so this writes to the folder where you are; \
             `--dir {INSTALLED} --force` replaces that one"
        ));
    }
    let given = args.channel.channel()?;
    let mut offers: Vec<Offer> = Vec::new();
    for target in &args.watch {
        offers
            .push(draft::target(target).map_err(|why| anyhow::anyhow!("--watch {target}: {why}"))?);
    }
    let found = if args.no_discover { Vec::new() } else { look_round()? };

    let (channel, test) = if is_asking {
        output::line(
            "This writes a first configuration. Ctrl-C ends it, and nothing is written.\n",
        );
        offers.extend(ask::offers(found)?);
        offers.extend(ask::targets()?);
        let channel = match given {
            Some(channel) => channel,
            None => ask::channel()?,
        };
        let test = args.test || ask::test(&channel)?;
        (channel, test)
    } else {
        offers.extend(found);
        (given.unwrap_or(Channel::Console), args.test)
    };
    let name = args.name.clone().unwrap_or_else(discover::machine);
    let plan = Plan {
        folder: folder.clone(),
        for_unit: folder == Path::new(INSTALLED),
        name,
        listen: args.listen,
        channel,
        offers: draft::distinct(offers),
    };
    for line in write::write(&plan, args.force)? {
        output::line(&line);
    }
    let config = folder.join("daemon.toml");
    let shown = config.display().to_string();
    if !watchbell(&plan, &["validate", "--config", &shown])? {
        output::note("what was written is not valid: that is a mistake of this program");
        return Ok(Exit::Down);
    }
    let mut exit = Exit::Fine;
    if test && !watchbell(&plan, &["notify", "test", plan.channel.name(), "--config", &shown])? {
        output::note(&format!(
            "the test alert was not taken. Correct {shown}, then: watchbell notify test {}",
            plan.channel.name()
        ));
        exit = Exit::Degraded;
    }
    output::line(&next(&plan, &shown));
    Ok(exit)
}

/// `/etc/watchbell` for root where no configuration is there, else where we are.
fn default_folder() -> PathBuf {
    let installed = Path::new(INSTALLED);
    if geteuid().is_root() && write::there(installed).is_empty() {
        installed.to_owned()
    } else {
        PathBuf::from(".")
    }
}

fn look_round() -> anyhow::Result<Vec<Offer>> {
    let runtime = runtime()?;
    let found = runtime.block_on(async { tokio::time::timeout(PATIENCE, discover::all()).await });
    runtime.shutdown_background();
    // What takes so long is not worth more waiting.
    Ok(found.unwrap_or_default())
}

/// Runs this very program, with the secrets where the daemon will have them, and prints what it
/// prints.
fn watchbell(plan: &Plan, words: &[&str]) -> anyhow::Result<bool> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let words = std::iter::once(program.to_string_lossy().into_owned())
        .chain(words.iter().map(|word| (*word).to_owned()));
    let program = Program::new(words.collect(), Path::new("/")).map_err(anyhow::Error::msg)?;
    let here = std::env::current_dir().context("the folder that this runs in is not there")?;
    let program = program.in_directory(here);
    let secrets = plan.secrets();
    let environment: Vec<(&str, &str)> =
        secrets.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    let call = Call {
        stdin: b"",
        environment: &environment,
        max_stdout: PRINTED,
        max_stderr: PRINTED,
        leftovers: Leftovers::Kill,
    };
    let ended = runtime()?
        .block_on(async { tokio::time::timeout(PATIENCE * 2, process::run(&program, call)).await });
    let ended = ended.context("it did not end in time")??;
    for text in [ended.stdout.text(), ended.stderr.text()] {
        text.lines().for_each(output::line);
    }
    Ok(ended.status.success())
}

/// What to do now.
fn next(plan: &Plan, config: &str) -> String {
    let unit = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
    let is_installed =
        unit.iter().any(|folder| Path::new(folder).join("watchbell.service").exists());
    let command = if plan.for_unit && is_installed {
        "systemctl enable watchbell && systemctl restart watchbell".to_owned()
    } else {
        format!("watchbell run --config {config}")
    };
    format!("\nNext: {command}\nThen: http://{}", plan.listen)
}
