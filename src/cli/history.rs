use super::output::{status_of, text};
use super::remote::{RemoteArgs, segment};
use super::{Exit, output, runtime};
use clap::Args;

#[derive(Args, Debug)]
pub struct HistoryArgs {
    /// The check
    #[arg(value_name = "NAME")]
    name: String,
    /// How many results at most, the newest first
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub fn run(args: &HistoryArgs) -> anyhow::Result<Exit> {
    let remote = args.remote.remote()?;
    let path = format!("/api/v1/checks/{}/results", segment(&args.name));
    let results = runtime()?.block_on(remote.first(&path, &[], args.limit))?;
    if args.json {
        output::json(&results)?;
        return Ok(Exit::Fine);
    }
    if results.is_empty() {
        output::line(&format!("{} has not run yet", args.name));
        return Ok(Exit::Fine);
    }
    let mut table = output::table(&["AT", "STATUS", "LATENCY", "REASONS"]);
    for result in &results {
        let latency = result["latency_ms"].as_f64().unwrap_or_default();
        table.add_row([
            text(&result["at"]).into(),
            output::status(status_of(result)),
            format!("{latency:.1} ms").into(),
            text(&result["reasons"]).into(),
        ]);
    }
    output::print(&table);
    Ok(Exit::Fine)
}
