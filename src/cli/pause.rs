use super::output::text;
use super::remote::{PersonArgs, RemoteArgs, segment};
use super::{Exit, output, runtime};
use clap::Args;
use serde_json::json;

#[derive(Args, Debug)]
pub struct PauseArgs {
    /// The check
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    person: PersonArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Pauses the check, or lets it run again.
pub fn run(args: &PauseArgs, paused: bool) -> anyhow::Result<Exit> {
    let remote = args.remote.remote()?;
    let word = if paused { "pause" } else { "resume" };
    let path = format!("/api/v1/checks/{}/{word}", segment(&args.name));
    let body = json!({ "by": args.person.name() });
    let check = runtime()?.block_on(remote.post(&path, &body))?;
    if args.json {
        output::json(&check)?;
        return Ok(Exit::Fine);
    }
    let name = text(&check["name"]);
    output::line(&match check["paused_by"].as_str() {
        Some(_) => format!(
            "{name}: paused by {}; `watchbell resume {name}` lets it run again",
            text(&check["paused_by"])
        ),
        None => format!("{name}: runs, next at {}", text(&check["next_run"])),
    });
    Ok(Exit::Fine)
}
