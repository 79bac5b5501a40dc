use super::output::status_of;
use super::remote::{Refused, Remote, RemoteArgs};
use super::{Exit, output, runtime};
use crate::model::Status;
use clap::Args;
use reqwest::StatusCode;
use serde_json::{Value as Json, json};

#[derive(Args, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Only say whether the daemon can do its work: its store answers and its schedule runs. How the
    /// checks are does not count, so this suits the health check of a container
    #[arg(long, conflicts_with = "json")]
    ready: bool,
}

pub fn run(args: &StatusArgs) -> anyhow::Result<Exit> {
    let remote = args.remote.remote()?;
    if args.ready {
        return ready(&remote);
    }
    let (daemon, mut checks) = runtime()?.block_on(async {
        anyhow::Ok((remote.get("/api/v1/status").await?, remote.list("/api/v1/checks").await?))
    })?;
    checks.sort_by_key(|check| match status_of(check) {
        Status::Down => 0,
        Status::Unknown => 1,
        Status::Degraded => 2,
        Status::Up => 3,
    });
    let exit = Exit::of(checks.iter().map(status_of));
    if args.json {
        output::json(&json!({ "daemon": daemon, "checks": checks }))?;
        return Ok(exit);
    }
    let mut table = output::table(&["CHECK", "KIND", "STATUS", "SINCE", "REASONS"]);
    for check in &checks {
        let text = |key: &str| output::text(&check[key]);
        let mut reasons = text("reasons");
        if check["paused"] == true {
            reasons = format!("paused by {}\n{reasons}", text("paused_by")).trim_end().to_owned();
        }
        table.add_row([
            text("name").into(),
            text("kind").into(),
            output::status(status_of(check)),
            text("since").into(),
            reasons.into(),
        ]);
    }
    output::print(&table);
    output::line(&summary(&daemon, checks.len()));
    Ok(exit)
}

fn ready(remote: &Remote) -> anyhow::Result<Exit> {
    let Err(error) = runtime()?.block_on(remote.get("/ready")) else {
        output::line("ready");
        return Ok(Exit::Fine);
    };
    match error.downcast_ref::<Refused>() {
        Some(refused) if refused.status == StatusCode::SERVICE_UNAVAILABLE => {
            output::error(&format!("not ready: {}", refused.detail));
            Ok(Exit::Down)
        }
        _ => Err(error),
    }
}

fn summary(daemon: &Json, checks: usize) -> String {
    let name = daemon["name"].as_str().unwrap_or("watchbell");
    let version = daemon["version"].as_str().unwrap_or("?");
    format!("{checks} checks; {name} runs watchbell {version}")
}
