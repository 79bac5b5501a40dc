use super::incidents::find_open;
use super::output::text;
use super::remote::{PersonArgs, RemoteArgs, segment, span};
use super::{Exit, output, runtime};
use clap::Args;
use serde_json::{Value as Json, json};

#[derive(Args, Debug)]
pub struct AckArgs {
    /// The incident: its id, the beginning of it, or its check
    #[arg(value_name = "ID")]
    id: String,
    /// What others should know
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// How long it counts, such as 2h; until the incident is over if not given
    #[arg(long = "for", value_name = "SPAN", value_parser = span)]
    span: Option<String>,
    /// Give it back: nobody has it any more
    #[arg(long, conflicts_with_all = ["note", "span"])]
    undo: bool,
    #[command(flatten)]
    person: PersonArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub fn run(args: &AckArgs) -> anyhow::Result<Exit> {
    let remote = args.remote.remote()?;
    let incident = runtime()?.block_on(async {
        let id = find_open(&remote, &args.id).await?;
        let path = format!("/api/v1/incidents/{}/ack", segment(&id));
        if args.undo {
            remote.delete(&path, &json!({ "by": args.person.name() })).await
        } else {
            let body = json!({ "by": args.person.name(), "note": args.note, "for": args.span });
            remote.post(&path, &body).await
        }
    })?;
    if args.json {
        output::json(&incident)?;
    } else {
        output::line(&said(&incident));
    }
    Ok(Exit::Fine)
}

fn said(incident: &Json) -> String {
    let check = text(&incident["check"]);
    let taken = &incident["acknowledged"];
    if taken.is_null() {
        return format!("{check}: no longer acknowledged");
    }
    let by = text(&taken["by"]);
    match taken["until"].as_str() {
        Some(until) => format!("{check}: acknowledged by {by} until {until}"),
        None => format!("{check}: acknowledged by {by}"),
    }
}
