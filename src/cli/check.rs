use super::{ConfigArgs, Exit, output, runtime};
use crate::app::CheckTask;
use crate::app::plan::{self, LoadOptions, Plan, PlannedCheck};
use crate::check::Shared;
use crate::clock::{Clock, System};
use crate::config::nearest;
use crate::model::{Judgement, Name};
use crate::schedule::Task;
use anyhow::{anyhow, bail};
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
    let plan = match plan::load(&args.config.config, LoadOptions::default()) {
        Ok(plan) => plan,
        Err(problems) => {
            for problem in problems {
                output::note(&problem.to_string());
            }
            return Ok(Exit::Down);
        }
    };
    let chosen = choose(plan, args)?;
    let judged = runtime()?.block_on(run_all(chosen))?;
    if args.json {
        let list: Vec<_> =
            judged.iter().map(|(name, kind, run)| as_json(name, kind, run)).collect();
        output::json(&list)?;
    } else {
        print(&judged);
    }
    Ok(Exit::of(judged.iter().map(|(_, _, run)| run.verdict.status)))
}

fn choose(plan: Plan, args: &CheckArgs) -> anyhow::Result<Vec<PlannedCheck>> {
    for name in &args.names {
        if plan.checks.iter().all(|check| *check.name != **name) {
            let names = plan.checks.iter().map(|check| &*check.name);
            match nearest(name, names) {
                Some(near) => bail!("there is no check `{name}`; did you mean `{near}`?"),
                None => bail!("there is no check `{name}` (`--all` runs all of them)"),
            }
        }
    }
    let chosen = |check: &PlannedCheck| args.all || args.names.iter().any(|n| **n == *check.name);
    Ok(plan.checks.into_iter().filter(chosen).collect())
}

type Judged = (Name, &'static str, Judgement);

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
            (name, kind, run)
        }
    });
    Ok(join_all(runs).await)
}

fn print(judged: &[Judged]) {
    let mut table = output::table(&["CHECK", "KIND", "STATUS", "LATENCY", "REASONS"]);
    for (name, kind, run) in judged {
        table.add_row([
            name.as_ref().into(),
            (*kind).into(),
            output::status(run.verdict.status),
            format!("{:.1} ms", run.latency.as_secs_f64() * 1000.0).into(),
            run.verdict.reasons.join("\n").into(),
        ]);
    }
    output::print(&table);
}

fn as_json(name: &Name, kind: &str, run: &Judgement) -> serde_json::Value {
    json!({
        "name": &**name,
        "kind": kind,
        "at": run.started,
        "status": run.verdict.status,
        "latency_ms": run.latency.as_secs_f64() * 1000.0,
        "reasons": run.verdict.reasons,
        "facts": run.facts,
    })
}
