use super::{ConfigArgs, Exit, output, runtime, unknown};
use crate::app::CheckTask;
use crate::app::plan::{Plan, PlannedCheck};
use crate::check::Shared;
use crate::clock::{Clock, System};
use crate::model::RunResult;
use crate::schedule::Task;
use anyhow::anyhow;
use clap::Args;
use futures_util::future::join_all;
use serde_json::json;
use std::sync::Arc;

#[derive(Args, Debug)]
pub struct CheckArgs {
    /// The checks to run
    #[arg(value_name = "NAME", required_unless_present = "all")]
    names: Vec<String>,
    /// Run all of them
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub fn run(args: &CheckArgs) -> anyhow::Result<Exit> {
    let Some(plan) = args.config.plan() else { return Ok(Exit::Down) };
    let chosen = choose(plan, args)?;
    let judged = runtime()?.block_on(run_all(chosen))?;
    if args.json {
        let list: Vec<_> = judged.iter().map(|(kind, run)| as_json(kind, run)).collect();
        output::json(&list)?;
    } else {
        print(&judged);
    }
    Ok(Exit::of(judged.iter().map(|(_, run)| run.status)))
}

fn choose(plan: Plan, args: &CheckArgs) -> anyhow::Result<Vec<PlannedCheck>> {
    for name in &args.names {
        if plan.checks.iter().all(|check| *check.name != **name) {
            let names = plan.checks.iter().map(|check| &*check.name);
            return Err(unknown("check", name, names, "`--all` runs all of them"));
        }
    }
    // Nobody but the running daemon hears a heartbeat, so `--all` leaves them out.
    let all = |check: &PlannedCheck| args.all && check.heartbeat.is_none();
    let chosen = |check: &PlannedCheck| all(check) || args.names.iter().any(|n| **n == *check.name);
    Ok(plan.checks.into_iter().filter(chosen).collect())
}

type Judged = (&'static str, RunResult);

async fn run_all(checks: Vec<PlannedCheck>) -> anyhow::Result<Vec<Judged>> {
    let clock: Arc<dyn Clock> = Arc::new(System::start());
    let shared = Arc::new(Shared::new(clock).map_err(|error| anyhow!(error))?);
    let runs = checks.into_iter().map(|planned| {
        let shared = Arc::clone(&shared);
        async move {
            let started = shared.clock.wall();
            let (name, kind, timeout) = (planned.name.clone(), planned.kind.name, planned.timeout);
            let task = CheckTask::new(planned, shared);
            let run = match tokio::time::timeout(timeout, task.run()).await {
                Ok(run) => run,
                Err(_elapsed) => task.timed_out(started, timeout),
            };
            (kind, RunResult::new(name, run))
        }
    });
    Ok(join_all(runs).await)
}

fn print(judged: &[Judged]) {
    let mut table = output::table(&["CHECK", "KIND", "STATUS", "LATENCY", "REASONS"]);
    for (kind, run) in judged {
        table.add_row([
            run.check.as_ref().into(),
            (*kind).into(),
            output::status(run.status),
            format!("{:.1} ms", run.latency_ms).into(),
            run.reasons.join("\n").into(),
        ]);
    }
    output::print(&table);
}

fn as_json(kind: &str, run: &RunResult) -> serde_json::Value {
    json!({
        "name": &*run.check,
        "kind": kind,
        "at": run.at,
        "status": run.status,
        "latency_ms": run.latency_ms,
        "reasons": run.reasons,
        "facts": run.facts,
    })
}
