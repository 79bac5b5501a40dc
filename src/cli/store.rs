use super::progress::{Bar, bytes};
use super::{ConfigArgs, Exit, output, runtime};
use crate::app::plan;
use crate::clock::System;
use crate::config::StoreAddress;
use crate::model::Secret;
use crate::record::upkeep::{self, Checked, Copied, Migrated, Step, UpkeepError, Vacuumed};
use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Bring the database to the schema of this version, and make it if there is none
    Migrate(StoreArgs),
    /// Look at everything in it, and say what is damaged and what to do; a daemon may run
    Check(StoreArgs),
    /// Copy a whole history into an empty store, also between SQLite and PostgreSQL
    Copy(CopyArgs),
    /// Write all of it to an SQLite file, also while the daemon runs
    Backup(BackupArgs),
    /// Give space back to the system
    Vacuum(StoreArgs),
}

/// Which store, and how to answer.
#[derive(Args, Debug)]
pub struct StoreArgs {
    /// The store, as `store` in [history] has it (sqlite:FILE or postgres://…); that of the
    /// configuration if not given
    #[arg(long, value_name = "URL", env = "WATCHBELL_STORE", hide_env_values = true)]
    store: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Args, Debug)]
pub struct CopyArgs {
    /// The store to read: sqlite:FILE, postgres://…, or `config` for that of the configuration
    #[arg(value_name = "FROM")]
    from: String,
    /// The store to write, which is empty or not there yet
    #[arg(value_name = "TO")]
    to: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Args, Debug)]
pub struct BackupArgs {
    /// The file to write
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    store: StoreArgs,
}

pub fn run(command: &StoreCommand) -> anyhow::Result<Exit> {
    let outcome = match command {
        StoreCommand::Migrate(args) => migrate(args),
        StoreCommand::Check(args) => check(args),
        StoreCommand::Copy(args) => copy(args),
        StoreCommand::Backup(args) => backup(args),
        StoreCommand::Vacuum(args) => vacuum(args),
    };
    match outcome {
        Err(error) if error.is::<Told>() => Ok(Exit::Down),
        outcome => outcome,
    }
}

/// The configuration cannot be used, and why has been printed.
#[derive(Debug, thiserror::Error)]
#[error("the configuration cannot be used")]
struct Told;

impl StoreArgs {
    fn address(&self) -> anyhow::Result<StoreAddress> {
        match &self.store {
            Some(text) => parse("--store", text),
            None => configured(&self.config),
        }
    }
}

/// The store of the configuration.
fn configured(config: &ConfigArgs) -> anyhow::Result<StoreAddress> {
    match plan::history(&config.config) {
        Ok(history) => Ok(history.store),
        Err(problems) => {
            problems.iter().for_each(|problem| output::note(&problem.to_string()));
            Err(Told.into())
        }
    }
}

/// Reads an address that was typed. What is wrong with it is told without it: it may hold a password.
fn parse(what: &str, text: &str) -> anyhow::Result<StoreAddress> {
    StoreAddress::parse(Secret::new(text), Path::new("")).map_err(|why| anyhow!("{what} {why}"))
}

/// Does the work to its end, or until somebody stops it, which leaves nothing half done.
fn work<T>(work: impl Future<Output = Result<T, UpkeepError>>) -> anyhow::Result<T> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            done = work => Ok(done?),
            _ = tokio::signal::ctrl_c() => bail!("it was stopped"),
        }
    });
    // What SQLite is in the middle of would hold up the end.
    runtime.shutdown_background();
    outcome
}

fn watch(bar: &Bar) -> impl Fn(Step) + Send + Sync {
    move |step| match step {
        Step::Begins { what, of } => bar.begin(what, of),
        Step::Done(done) => bar.set(done),
    }
}

fn migrate(args: &StoreArgs) -> anyhow::Result<Exit> {
    let address = args.address()?;
    let place = upkeep::place(&address);
    let Migrated { from, to } = work(upkeep::migrate(&address))?;
    if args.json {
        output::json(&json!({ "store": place, "from": from, "to": to }))?;
        return Ok(Exit::Fine);
    }
    output::line(&match from {
        None => format!("the database {place} was made, with schema {to}"),
        Some(from) if from == to => format!("the database {place} has schema {to} already"),
        Some(from) => format!("the database {place} went from schema {from} to {to}"),
    });
    Ok(Exit::Fine)
}

fn check(args: &StoreArgs) -> anyhow::Result<Exit> {
    let address = args.address()?;
    let place = upkeep::place(&address);
    let bar = Bar::new(!args.json);
    let checked = work(upkeep::check(&address, &watch(&bar)))?;
    drop(bar);
    let Checked { rows, results, faults, all_faults } = checked;
    let exit = if all_faults == 0 { Exit::Fine } else { Exit::Down };
    if args.json {
        output::json(&json!({
            "store": place, "rows": rows, "results": results,
            "faults": faults, "all_faults": all_faults,
        }))?;
        return Ok(exit);
    }
    for fault in &faults {
        let row = if fault.row.is_empty() { String::new() } else { format!(" {}", fault.row) };
        // Both may quote what a disk made of a text.
        let what = output::text(&json!(fault.what));
        output::line(&format!("{}{row}: {what}", fault.table));
        output::line(&format!("    {}", output::text(&json!(fault.advice))));
    }
    let held = format!("{rows} rows with {results} results");
    output::line(&match all_faults {
        0 => format!("the database {place} is sound: {held}"),
        1 => format!("the database {place} has 1 fault in {held}"),
        many => format!("the database {place} has {many} faults in {held}"),
    });
    Ok(exit)
}

fn copy(args: &CopyArgs) -> anyhow::Result<Exit> {
    let address = |what: &str, text: &str| match text {
        "config" => configured(&args.config),
        _ => parse(what, text),
    };
    let (from, to) = (address("FROM", &args.from)?, address("TO", &args.to)?);
    let bar = Bar::new(!args.json);
    let copied = work(upkeep::copy(&from, &to, &watch(&bar)))?;
    drop(bar);
    let Copied { rows, is_in_use } = copied;
    let (from, to) = (upkeep::place(&from), upkeep::place(&to));
    if args.json {
        let rows: serde_json::Map<_, _> =
            rows.into_iter().map(|(table, rows)| (table.to_owned(), rows.into())).collect();
        output::json(&json!({
            "from": from, "to": to, "rows": rows, "from_is_in_use": is_in_use,
        }))?;
        return Ok(Exit::Fine);
    }
    let of =
        |wanted: &str| rows.iter().find(|(table, _)| *table == wanted).map_or(0, |(_, rows)| *rows);
    let all: u64 = rows.iter().map(|(_, rows)| *rows).sum();
    output::line(&format!(
        "copied {from} to {to}: {all} rows, of {} checks, with {} incidents and {} notices",
        of("checks"),
        of("incidents"),
        of("notices")
    ));
    if is_in_use {
        output::note(
            "a daemon is at work on the original: what it writes from now on is not in the copy",
        );
    }
    Ok(Exit::Fine)
}

fn backup(args: &BackupArgs) -> anyhow::Result<Exit> {
    let address = args.store.address()?;
    let place = upkeep::place(&address);
    let bar = Bar::new(!args.store.json);
    let saved = work(upkeep::backup(&address, &args.file, args.force, &watch(&bar)))?;
    drop(bar);
    let file = args.file.display().to_string();
    if args.store.json {
        output::json(&json!({ "store": place, "file": file, "bytes": saved.bytes }))?;
    } else {
        output::line(&format!("{place} is backed up in {file} ({})", bytes(saved.bytes)));
    }
    Ok(Exit::Fine)
}

fn vacuum(args: &StoreArgs) -> anyhow::Result<Exit> {
    let address = args.address()?;
    let place = upkeep::place(&address);
    let bar = Bar::new(!args.json);
    let clock = System::start();
    let done = work(upkeep::vacuum(&address, &clock, &watch(&bar)))?;
    drop(bar);
    let Vacuumed { before, after, is_whole } = done;
    if args.json {
        output::json(&json!({
            "store": place, "before_bytes": before, "after_bytes": after, "whole": is_whole,
        }))?;
        return Ok(Exit::Fine);
    }
    let (was, is) = (bytes(before), bytes(after));
    output::line(&format!(
        "the database {place} went from {was} ({before} bytes) to {is} ({after} bytes)"
    ));
    if !is_whole {
        output::note(
            "a daemon uses it, so only what was free was given back; stop it first to have all \
             written anew",
        );
    }
    Ok(Exit::Fine)
}
