use super::output::{status_of, text};
use super::remote::{Remote, RemoteArgs, one_of, segment};
use super::{Exit, output, runtime, unknown};
use clap::{Args, ValueEnum};
use serde_json::Value as Json;

/// An id has so many characters.
const ID_LENGTH: usize = 26;
/// How far back an incident is looked for by the beginning of its id.
const LATEST: usize = 1000;

#[derive(Args, Debug)]
pub struct IncidentsArgs {
    /// Show this one with its timeline: an id, the beginning of one, or a check
    #[arg(value_name = "ID", conflicts_with_all = ["state", "check", "limit"])]
    id: Option<String>,
    /// Which ones to list
    #[arg(long, value_enum, default_value_t)]
    state: State,
    /// Those of one check
    #[arg(long, value_name = "NAME")]
    check: Option<String>,
    /// How many at most, the newest first
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum State {
    /// Those that go on
    #[default]
    Open,
    /// Those that are over
    Resolved,
    /// Both
    All,
}

pub fn run(args: &IncidentsArgs) -> anyhow::Result<Exit> {
    let remote = args.remote.remote()?;
    let runtime = runtime()?;
    if let Some(id) = &args.id {
        let incident = runtime.block_on(find(&remote, id))?;
        if args.json {
            output::json(&incident)?;
        } else {
            show(&incident);
        }
        return Ok(exit([&incident]));
    }
    let mut filters = Vec::new();
    match args.state {
        State::Open => filters.push(("state", "open")),
        State::Resolved => filters.push(("state", "resolved")),
        State::All => {}
    }
    filters.extend(args.check.as_deref().map(|check| ("check", check)));
    let incidents = runtime.block_on(remote.first("/api/v1/incidents", &filters, args.limit))?;
    if args.json {
        output::json(&incidents)?;
    } else if incidents.is_empty() {
        output::line(match args.state {
            State::Open => "no open incidents",
            State::Resolved | State::All => "no incidents",
        });
    } else {
        list(&incidents);
    }
    Ok(exit(&incidents))
}

/// What is open counts, as the status of a check does.
fn exit<'a>(incidents: impl IntoIterator<Item = &'a Json>) -> Exit {
    Exit::of(incidents.into_iter().filter(|it| it["state"] == "open").map(status_of))
}

fn list(incidents: &[Json]) {
    let mut table =
        output::table(&["ID", "CHECK", "STATUS", "SEVERITY", "OPENED", "NOW", "REASONS"]);
    for incident in incidents {
        let text = |key: &str| text(&incident[key]);
        table.add_row([
            text("id").into(),
            text("check").into(),
            output::status(status_of(incident)),
            text("severity").into(),
            text("opened_at").into(),
            now(incident).into(),
            text("reasons").into(),
        ]);
    }
    output::print(&table);
}

/// What became of an incident, in few words.
fn now(incident: &Json) -> String {
    if let Some(at) = incident["resolved_at"].as_str() {
        return format!("resolved {at}");
    }
    let mut words = vec!["open".to_owned()];
    if let Some(by) = incident["acknowledged"].get("by") {
        words.push(format!("acknowledged by {}", text(by)));
    }
    if let Some(because) = incident["suppressed_by"].as_str() {
        words.push(format!("nobody is told: {because}"));
    }
    if let Some(until) = incident["snoozed_until"].as_str() {
        words.push(format!("snoozed until {until}"));
    }
    words.join("\n")
}

fn show(incident: &Json) {
    let mut table = output::table(&["INCIDENT", &text(&incident["id"])]);
    let labels = incident["labels"].as_object().into_iter().flatten();
    let labels: Vec<String> =
        labels.map(|(name, value)| format!("{name}={}", text(value))).collect();
    let taken = &incident["acknowledged"];
    let mut acknowledged = String::new();
    if taken.is_object() {
        acknowledged = format!("by {} at {}", text(&taken["by"]), text(&taken["at"]));
        if let Some(until) = taken["until"].as_str() {
            acknowledged += &format!(", until {until}");
        }
        if taken["note"].is_string() {
            acknowledged += &format!(": {}", text(&taken["note"]));
        }
    }
    for (name, value) in [
        ("check", text(&incident["check"])),
        ("status", format!("{} ({})", text(&incident["status"]), text(&incident["severity"]))),
        ("opened", text(&incident["opened_at"])),
        ("resolved", text(&incident["resolved_at"])),
        ("reasons", text(&incident["reasons"])),
        ("labels", labels.join(", ")),
        ("acknowledged", acknowledged),
        ("nobody is told", text(&incident["suppressed_by"])),
        ("snoozed until", text(&incident["snoozed_until"])),
        ("others need it", text(&incident["dependents"])),
    ] {
        if !value.is_empty() {
            table.add_row([name, &value]);
        }
    }
    output::print(&table);
    output::line("");
    let mut table = output::table(&["AT", "WHAT", "DETAIL"]);
    for entry in incident["timeline"].as_array().into_iter().flatten() {
        table.add_row(["at", "what", "detail"].map(|key| text(&entry[key])));
    }
    output::print(&table);
}

/// The incident that `given` means: an open one first, else one of the latest.
async fn find(remote: &Remote, given: &str) -> anyhow::Result<Json> {
    let path = "/api/v1/incidents";
    if is_id(given) {
        return remote.get(&format!("{path}/{}", segment(&given.to_ascii_uppercase()))).await;
    }
    let open = remote.first(path, &[("state", "open")], usize::MAX).await?;
    if let Some(found) = one_of(&open, given)? {
        return Ok(found.clone());
    }
    let latest = remote.first(path, &[], LATEST).await?;
    // Of one check there may have been many: the newest is meant.
    if let Some(found) = latest.iter().find(|incident| incident["check"] == *given) {
        return Ok(found.clone());
    }
    match one_of(&latest, given)? {
        Some(found) => Ok(found.clone()),
        None => {
            Err(missing("incident", given, &latest, "`watchbell incidents --state all` lists them"))
        }
    }
}

/// The id of the open incident that `given` means. A whole id is not looked for: the daemon knows
/// best why it cannot be operated on, if it cannot.
pub async fn find_open(remote: &Remote, given: &str) -> anyhow::Result<String> {
    if is_id(given) {
        return Ok(given.to_ascii_uppercase());
    }
    let open = remote.first("/api/v1/incidents", &[("state", "open")], usize::MAX).await?;
    match one_of(&open, given)? {
        Some(found) => Ok(text(&found["id"])),
        None => Err(missing("open incident", given, &open, "`watchbell incidents` lists them")),
    }
}

fn is_id(given: &str) -> bool {
    given.len() == ID_LENGTH && given.chars().all(|c| c.is_ascii_alphanumeric())
}

fn missing(what: &str, given: &str, known: &[Json], advice: &str) -> anyhow::Error {
    unknown(what, given, known.iter().filter_map(|incident| incident["check"].as_str()), advice)
}
