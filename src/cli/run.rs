use super::log::{self, LogFormat};
use super::{ConfigArgs, Exit, output};
use crate::app::{self, RunError};
use crate::clock::System;
use crate::config::{Level, Problem};
use clap::Args;
use std::path::Path;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

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
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(daemon(&args.config.config))
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
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                if let Err(problems) = running.reload().await {
                    problems.iter().for_each(report);
                    tracing::error!("the new configuration cannot be used; the old one goes on");
                }
            }
        }
    }
    running.stop().await;
    Ok(Exit::Fine)
}

fn report(problem: &Problem) {
    match problem.level {
        Level::Error => tracing::error!("{problem}"),
        Level::Warning => tracing::warn!("{problem}"),
    }
}
