use super::log::{self, LogFormat};
use super::{ConfigArgs, Exit, output};
use crate::app::{self, Asked, Next, Passed, RunError, Running, service};
use crate::clock::System;
use crate::config::{Level, Problem};
use crate::serve::ReloadError;
use anyhow::Context as _;
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
    let passed =
        Passed::from_environment().context("a socket that was handed over is of no use")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let exit = runtime.block_on(daemon(&args.config.config, passed));
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

async fn daemon(path: &Path, passed: Passed) -> anyhow::Result<Exit> {
    // Before the start, so that a signal that comes early is not lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut running = match app::start(path, passed, Arc::new(System::start())).await {
        Ok(running) => running,
        Err(RunError::Configuration(problems)) => {
            problems.iter().for_each(report);
            output::error("the configuration cannot be used; `watchbell validate` shows it, too");
            return Ok(Exit::Down);
        }
        Err(error) => return Err(error.into()),
    };
    service::ready();
    let mut failed = false;
    loop {
        let why = tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => Why::Signal,
            next = running.next() => match next {
                Next::Reload(asked) => Why::Asked(asked),
                Next::Changed => Why::Changed,
                Next::Failed => {
                    tracing::error!("a part of the daemon failed; it ends, to be restarted");
                    failed = true;
                    break;
                }
            },
        };
        tokio::select! {
            // A reload may take a while, and nobody who stops should wait for it.
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = reload(&mut running, why) => {}
        }
    }
    service::stopping();
    if tokio::time::timeout(STOP_WITHIN, running.stop()).await.is_err() {
        tracing::error!("a part of the daemon did not stop in time; what is owed stays so");
    }
    Ok(if failed { Exit::Unknown } else { Exit::Fine })
}

/// Why the configuration is read again.
enum Why {
    /// By a signal.
    Signal,
    /// Its files have changed.
    Changed,
    /// By somebody who waits for what comes of it.
    Asked(Asked),
}

async fn reload(running: &mut Running, why: Why) {
    service::reloading();
    let reloaded = match &why {
        Why::Changed => running.take_changes().await,
        Why::Signal | Why::Asked(_) => Some(running.reload().await),
    };
    service::ready();
    let Some(reloaded) = reloaded else { return };
    let reloaded = reloaded.map_err(|problems| {
        problems.iter().for_each(report);
        tracing::error!("the new configuration cannot be used; the old one goes on");
        ReloadError::Configuration(problems.iter().map(ToString::to_string).collect())
    });
    if let Why::Asked(asked) = why {
        // Whoever asked may have gone away.
        let _ = asked.send(reloaded);
    }
}

fn report(problem: &Problem) {
    match problem.level {
        Level::Error => tracing::error!("{problem}"),
        Level::Warning => tracing::warn!("{problem}"),
    }
}
