use super::incidents::find_open;
use super::output::text;
use super::remote::{PersonArgs, RemoteArgs, segment, span};
use super::{Exit, output, runtime};
use clap::Args;
use serde_json::json;

#[derive(Args, Debug)]
pub struct SnoozeArgs {
    /// The incident: its id, the beginning of it, or its check
    #[arg(value_name = "ID")]
    id: String,
    /// For how long, such as 2h
    #[arg(value_name = "SPAN", value_parser = span)]
    span: String,
    #[command(flatten)]
    person: PersonArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub fn run(args: &SnoozeArgs) -> anyhow::Result<Exit> {
    let remote = args.remote.remote()?;
    let incident = runtime()?.block_on(async {
        let id = find_open(&remote, &args.id).await?;
        let body = json!({ "by": args.person.name(), "for": args.span });
        remote.post(&format!("/api/v1/incidents/{}/snooze", segment(&id)), &body).await
    })?;
    if args.json {
        output::json(&incident)?;
    } else {
        let (check, until) = (text(&incident["check"]), text(&incident["snoozed_until"]));
        output::line(&format!("{check}: no reminder until {until}"));
    }
    Ok(Exit::Fine)
}
