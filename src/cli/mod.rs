//! The command line: one file a subcommand.

mod ack;
mod check;
mod completions;
mod doctor;
mod history;
mod import;
mod incidents;
mod init;
mod key;
mod kinds;
mod log;
mod man;
mod notices;
mod notify;
mod output;
mod pause;
mod progress;
mod reload;
mod remote;
mod render;
mod report;
mod run;
mod schema;
mod silence;
mod snooze;
mod status;
mod store;
mod top;
mod validate;

use crate::app::plan::{self, LoadOptions, Plan};
use crate::model::{Status, did_you_mean};
use anyhow::anyhow;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// How a command ended, as scripts see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Fine,
    /// Something is degraded.
    Degraded,
    /// Something is down, or the configuration is invalid.
    Down,
    /// It is unknown, or the command could not do its work.
    Unknown,
}

impl Exit {
    /// The exit for the worst of `statuses`: down counts for more than unknown.
    pub fn of(statuses: impl IntoIterator<Item = Status>) -> Self {
        let rank = |status: &Status| match status {
            Status::Up => 0,
            Status::Degraded => 1,
            Status::Unknown => 2,
            Status::Down => 3,
        };
        match statuses.into_iter().max_by_key(rank) {
            None | Some(Status::Up) => Self::Fine,
            Some(Status::Degraded) => Self::Degraded,
            Some(Status::Unknown) => Self::Unknown,
            Some(Status::Down) => Self::Down,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Degraded => 1,
            Self::Down => 2,
            Self::Unknown => 3,
        }
    }
}

/// Watches services, and tells people when something breaks and when it is well again.
#[derive(Debug, Parser)]
#[command(name = "watchbell", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a first configuration: ask what to watch and where to alert, and look what runs here
    Init(Box<init::InitArgs>),
    /// Run the daemon
    Run(run::RunArgs),
    /// Have a running daemon read its configuration again
    Reload(reload::ReloadArgs),
    /// Check the configuration, and say all that is wrong with it
    Validate(validate::ValidateArgs),
    /// Look whether all is there that the daemon needs, and say how to mend what is not
    Doctor(doctor::DoctorArgs),
    /// Run checks once, here and now, and print their verdicts
    Check(check::CheckArgs),
    /// Ask a running daemon how everything is
    Status(status::StatusArgs),
    /// Watch everything live, the worst first, and act by key
    Top(top::TopArgs),
    /// List the incidents of a running daemon, or show one with its timeline
    #[command(visible_alias = "incident")]
    Incidents(incidents::IncidentsArgs),
    /// Take an open incident on, so that nobody else is reminded of it
    Ack(ack::AckArgs),
    /// Put off the reminders of an open incident
    Snooze(snooze::SnoozeArgs),
    /// Silence what nobody wants to hear of for a while
    #[command(subcommand)]
    Silence(silence::SilenceCommand),
    /// Stop the runs of a check, also over restarts
    Pause(pause::PauseArgs),
    /// Let a paused check run again
    Resume(pause::PauseArgs),
    /// Show the latest results of a check, or write all of them to a file
    History(history::HistoryArgs),
    /// Look after the database that history lies in
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Say in figures what happened lately
    Report(report::ReportArgs),
    /// Show what was sent, what waits, and why it waits
    Notices(notices::NoticesArgs),
    /// Try a channel out
    #[command(subcommand)]
    Notify(notify::NotifyCommand),
    /// Show what a channel's messages look like, without sending any
    Render(render::RenderArgs),
    /// Make keys for the API, or list them
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Turn the configuration of another program into files for checks.d
    Import(import::ImportArgs),
    /// List the kinds of checks and channels, or show all about one
    Kinds(kinds::KindsArgs),
    /// Print a contract of the program, for other programs
    #[command(subcommand)]
    Schema(schema::SchemaCommand),
    /// Print what a shell needs to complete these commands
    Completions(completions::CompletionsArgs),
    /// Print the manual page, or write those of all subcommands
    Man(man::ManArgs),
}

/// Where the configuration is.
#[derive(Args, Debug)]
struct ConfigArgs {
    /// The daemon's configuration file
    #[arg(
        long,
        value_name = "PATH",
        env = "WATCHBELL_CONFIG",
        default_value = "/etc/watchbell/daemon.toml"
    )]
    config: PathBuf,
}

impl ConfigArgs {
    /// The plan of the configuration. Where there is none, all that is wrong has been printed.
    fn plan(&self) -> Option<Plan> {
        match plan::load(&self.config, LoadOptions::default()) {
            Ok(plan) => Some(plan),
            Err(problems) => {
                for problem in problems {
                    output::note(&problem.to_string());
                }
                None
            }
        }
    }
}

/// Does what the arguments say.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be done where even this cannot be printed.
            let _ = error.print();
            // Not 2, which clap would give: a monitoring script takes that for "down".
            let exit = if error.use_stderr() { Exit::Unknown } else { Exit::Fine };
            return ExitCode::from(exit.code());
        }
    };
    crate::app::install_crypto();
    let outcome = match cli.command {
        Command::Init(args) => init::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Reload(args) => reload::run(&args),
        Command::Validate(args) => validate::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Incidents(args) => incidents::run(&args),
        Command::Ack(args) => ack::run(&args),
        Command::Snooze(args) => snooze::run(&args),
        Command::Silence(command) => silence::run(&command),
        Command::Pause(args) => pause::run(&args, true),
        Command::Resume(args) => pause::run(&args, false),
        Command::History(args) => history::run(&args),
        Command::Store(command) => store::run(&command),
        Command::Report(args) => report::run(&args),
        Command::Notices(args) => notices::run(&args),
        Command::Notify(command) => notify::run(&command),
        Command::Render(args) => render::run(&args),
        Command::Key(command) => key::run(&command),
        Command::Import(args) => import::run(&args),
        Command::Kinds(args) => kinds::run(&args),
        Command::Schema(command) => schema::run(&command),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    };
    let exit = outcome.unwrap_or_else(|error| {
        output::error(&in_words(&error));
        Exit::Unknown
    });
    ExitCode::from(exit.code())
}

/// An error with its causes, but without those whose words the ones before have in them already.
fn in_words(error: &anyhow::Error) -> String {
    let mut words = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if words.is_empty() {
            words = cause;
        } else if !words.contains(&cause) {
            words = format!("{words}: {cause}");
        }
    }
    words
}

/// Why there is no `what` called `name`, with the nearest of `known`, or else with `advice`.
fn unknown<'a>(
    what: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
    advice: &str,
) -> anyhow::Error {
    match did_you_mean(name, known) {
        Some(question) => anyhow!("there is no {what} `{name}`; {question}"),
        None => anyhow!("there is no {what} `{name}` ({advice})"),
    }
}

/// A runtime for commands that do little.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_cause_that_has_been_told_is_not_told_again() {
        let told = anyhow::anyhow!("it is locked").context("cannot open a.db: it is locked");
        assert_eq!(super::in_words(&told), "cannot open a.db: it is locked");
        let new = anyhow::anyhow!("it is locked").context("cannot open a.db");
        assert_eq!(super::in_words(&new), "cannot open a.db: it is locked");
    }
}
