//! Whether all is there that the daemon needs. Nothing is changed, and no message is sent.

mod files;
mod finding;
mod hosts;
mod machine;
mod network;
mod service;
mod store;

use super::remote::RemoteArgs;
use super::{Exit, output};
use crate::app::plan::Plan;
use clap::Args;
use finding::{Finding, Level};
pub use network::output as output_of;
use owo_colors::OwoColorize;
use serde_json::json;
use std::time::Duration;

#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// The longest that one step may take
    #[arg(long, value_name = "SPAN", default_value = "5s", value_parser = parse_span)]
    patience: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

fn parse_span(text: &str) -> Result<Duration, String> {
    match crate::config::parse_duration(text)? {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        span => Ok(span),
    }
}

pub fn run(args: &DoctorArgs) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let findings = runtime.block_on(examine(args));
    // A name server or a disk that hangs would hold up the end of the process.
    runtime.shutdown_background();
    let worst = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    if args.json {
        let list: Vec<_> = findings.iter().map(Finding::to_json).collect();
        output::json(&json!({ "worst": worst.as_str(), "findings": list }))?;
    } else {
        print(&findings, worst);
    }
    Ok(match worst {
        Level::Ok => Exit::Fine,
        Level::Warning => Exit::Degraded,
        Level::Problem => Exit::Down,
    })
}

async fn examine(args: &DoctorArgs) -> Vec<Finding> {
    let patience = args.patience;
    let path = args.remote.config().config.clone();
    let mut findings = Vec::new();

    let loading = blocking({
        let path = path.clone();
        move || files::configuration(&path)
    });
    let (said, plan) = match tokio::time::timeout(patience, loading).await {
        Ok(Some(loaded)) => loaded,
        _ => (vec![late("configuration", patience)], None),
    };
    findings.extend(said);
    let plan: Option<&Plan> = plan.as_deref();

    let history = plan.map(|plan| plan.history.store.clone());
    let socket = plan.and_then(|plan| plan.api.settings.socket.clone());
    let permissions = blocking({
        let path = path.clone();
        move || files::permissions(&path, history.as_ref(), socket.as_deref())
    });
    findings.extend(
        bounded("permissions", patience, async { permissions.await.unwrap_or_default() }).await,
    );

    if let Some(plan) = plan {
        findings
            .extend(bounded("dns", patience * hosts::ROUNDS, hosts::resolve(plan, patience)).await);
        let (channels, clocks) = network::channels(plan, patience).await;
        findings.extend(channels);
        findings.extend(network::clock(plan, clocks, patience).await);
        findings.extend(store::examine(&plan.history.store, patience).await);
    }
    let unit = tokio::time::timeout(patience, service::unit()).await.ok().flatten();
    findings.extend(machine::limits(plan, unit.as_ref()));
    findings.extend(service::findings(unit.as_ref()));
    let asking = service::daemon(&args.remote, &path);
    findings.extend(bounded("daemon", patience, asking).await);
    findings
}

/// Does what may block aside; nothing if it failed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// One step, or that it took too long.
async fn bounded(
    topic: &'static str,
    patience: Duration,
    step: impl Future<Output = Vec<Finding>>,
) -> Vec<Finding> {
    tokio::time::timeout(patience, step).await.unwrap_or_else(|_| vec![late(topic, patience)])
}

fn late(topic: &'static str, patience: Duration) -> Finding {
    let span = humantime::format_duration(patience);
    Finding::problem(topic, format!("it could not be looked at within {span}"))
        .fix("`--patience 1m` waits longer; a disk or a server that hangs is the usual cause")
}

fn print(findings: &[Finding], worst: Level) {
    let mut topic = "";
    for (at, finding) in findings.iter().enumerate() {
        if finding.topic != topic {
            topic = finding.topic;
            let title = if output::colours() { topic.bold().to_string() } else { topic.to_owned() };
            output::line(&title);
        }
        let word = format!("{:<8}", finding.level.as_str());
        let word = match (output::colours(), finding.level) {
            (false, _) => word,
            (true, Level::Ok) => word.green().to_string(),
            (true, Level::Warning) => word.yellow().to_string(),
            (true, Level::Problem) => word.red().to_string(),
        };
        output::line(&format!("  {word} {}", output::text(&json!(finding.what))));
        // One advice for several findings is said once.
        let next = findings.get(at + 1).filter(|next| next.topic == finding.topic);
        if next.is_some_and(|next| next.fixes == finding.fixes) {
            continue;
        }
        for fix in &finding.fixes {
            output::line(&format!("           fix: {}", output::text(&json!(fix))));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    output::line(&match worst {
        Level::Ok => "\nall is well".to_owned(),
        _ => {
            let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
            format!("\nproblems: {problems}, warnings: {warnings}")
        }
    });
}
