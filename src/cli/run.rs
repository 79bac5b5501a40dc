use super::log::{self, LogFormat};
use super::{ConfigArgs, Exit, output};
use crate::app::{self, RunError};
use crate::clock::System;
use crate::config::{Level, Problem};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// The end comes within ten seconds, also where every part takes all the time that it may.
const STOP_WITHIN: Duration = Duration::from_millis(9_500);

#[derive(Args, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// How log lines look; RUST_LOG says how many there are
    #[arg(long, value_enum, default_value_t, env = "WATCHBELL_LOG_FORMAT")]
    log_format: LogFormat,
}

pub fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    log::start(args.log_format);
    raise_handles();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let exit = runtime.block_on(daemon(&args.config.config));
    // A name server that hangs would hold up the end of the process: nobody waits for its answer.
    runtime.shutdown_background();
    exit
}

/// Takes as many file handles as the system allows: each check and each client of the API needs
/// one, and the ordinary limit of 1,024 is there for programs of another age.
fn raise_handles() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum {
        let wanted = Rlimit { current: limit.maximum, ..limit };
        if let Err(error) = setrlimit(Resource::Nofile, wanted) {
            tracing::warn!(%error, limit = limit.current, "the limit of file handles stays");
        }
    }
}

async fn daemon(path: &Path) -> anyhow::Result<Exit> {
    // Before the start, so that a signal that comes early is not lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut running = match app::start(path, Arc::new(System::start())).await {
        Ok(running) => running,
        Err(RunError::Configuration(problems)) => {
            problems.iter().for_each(report);
            output::error("the configuration cannot be used; `watchbell validate` shows it, too");
            return Ok(Exit::Down);
        }
        Err(error) => return Err(error.into()),
    };
    let mut failed = false;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = running.failed() => {
                tracing::error!("a part of the daemon failed; it ends, so that it can be restarted");
                failed = true;
                break;
            }
            _ = hangup.recv() => tokio::select! {
                // A reload may take a while, and nobody who stops should wait for it.
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                reloaded = running.reload() => if let Err(problems) = reloaded {
                    problems.iter().for_each(report);
                    tracing::error!("the new configuration cannot be used; the old one goes on");
                },
            },
        }
    }
    if tokio::time::timeout(STOP_WITHIN, running.stop()).await.is_err() {
        tracing::error!("a part of the daemon did not stop in time; what is owed stays so");
    }
    Ok(if failed { Exit::Unknown } else { Exit::Fine })
}

fn report(problem: &Problem) {
    match problem.level {
        Level::Error => tracing::error!("{problem}"),
        Level::Warning => tracing::warn!("{problem}"),
    }
}
