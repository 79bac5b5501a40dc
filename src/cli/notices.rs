use super::output::text;
use super::remote::RemoteArgs;
use super::{Exit, output, runtime};
use crate::model::NoticeState;
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::Value as Json;

const STATES: [NoticeState; 5] = [
    NoticeState::Pending,
    NoticeState::Held,
    NoticeState::Sent,
    NoticeState::Rejected,
    NoticeState::Cancelled,
];

#[derive(Args, Debug)]
pub struct NoticesArgs {
    /// Which ones; all if not given
    #[arg(
        long,
        value_name = "STATE",
        value_parser = PossibleValuesParser::new(STATES.map(NoticeState::as_str))
    )]
    state: Option<String>,
    /// Those to one channel
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// How many at most, the newest first
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub fn run(args: &NoticesArgs) -> anyhow::Result<Exit> {
    let remote = args.remote.remote()?;
    let mut filters = Vec::new();
    filters.extend(args.state.as_deref().map(|state| ("state", state)));
    filters.extend(args.channel.as_deref().map(|channel| ("channel", channel)));
    let notices = runtime()?.block_on(remote.first("/api/v1/notices", &filters, args.limit))?;
    if args.json {
        output::json(&notices)?;
        return Ok(Exit::Fine);
    }
    if notices.is_empty() {
        output::line("no notices");
        return Ok(Exit::Fine);
    }
    let mut table = output::table(&["AT", "WHAT", "CHECKS", "CHANNEL", "STATE", "TRIES", "WHY"]);
    for notice in &notices {
        let text = |key: &str| text(&notice[key]);
        table.add_row([
            text("at"),
            text("what"),
            text("checks"),
            text("channel"),
            text("state"),
            text("attempts"),
            why(notice),
        ]);
    }
    output::print(&table);
    Ok(Exit::Fine)
}

/// Why it stands where it does.
fn why(notice: &Json) -> String {
    let mut words = vec![text(&notice["held_because"])];
    if notice["state"] == "held" || notice["state"] == "pending" {
        if notice["mute_until"].is_string() {
            words.push(format!("mute until {}", text(&notice["mute_until"])));
        }
        words.push(text(&notice["last_error"]));
    } else if notice["state"] == "rejected" {
        words.push(text(&notice["last_error"]));
    } else if notice["digest"].is_string() {
        words.push("went with a digest".to_owned());
    }
    words.retain(|word| !word.is_empty());
    words.join("\n")
}
