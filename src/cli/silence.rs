use super::output::text;
use super::remote::{PersonArgs, Remote, RemoteArgs, one_of, segment, span, time};
use super::{Exit, output, runtime, unknown};
use crate::model::Matcher;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use serde_json::{Value as Json, json};

const PATH: &str = "/api/v1/silences";

#[derive(Debug, Subcommand)]
pub enum SilenceCommand {
    /// Set a silence on what all of the matchers match
    Add(AddArgs),
    /// List silences
    List(ListArgs),
    /// End a silence now
    Expire(ExpireArgs),
}

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("end").required(true).args(["span", "until"])))]
pub struct AddArgs {
    /// What is silenced: a check, or label=value, label!=value, label=~regex, label!~regex
    #[arg(value_name = "MATCHER", required = true, value_parser = matcher)]
    matchers: Vec<String>,
    /// For how long, such as 2h
    #[arg(long = "for", value_name = "SPAN", value_parser = span)]
    span: Option<String>,
    /// Until when, such as 2031-05-01T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<String>,
    /// From when on; from now on if not given
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// Who sets it; the name of the key if not given
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true)]
    author: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// Which ones; those that are not over if not given
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Args, Debug)]
pub struct ExpireArgs {
    /// The silence: its id or the beginning of it
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    person: PersonArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum State {
    /// Those in force
    Active,
    /// Those that will be
    Pending,
    /// Those that are over
    Expired,
    /// All
    All,
}

/// Finds a typing error before anybody is asked.
fn matcher(text: &str) -> Result<String, String> {
    Matcher::parse(text).map(|_| text.to_owned())
}

pub fn run(command: &SilenceCommand) -> anyhow::Result<Exit> {
    match command {
        SilenceCommand::Add(args) => add(args),
        SilenceCommand::List(args) => list(args),
        SilenceCommand::Expire(args) => expire(args),
    }
    .map(|()| Exit::Fine)
}

fn add(args: &AddArgs) -> anyhow::Result<()> {
    let remote = args.remote.remote()?;
    let body = json!({
        "matchers": args.matchers,
        "starts_at": args.from,
        "ends_at": args.until,
        "for": args.span,
        "author": args.author,
        "comment": args.comment,
    });
    let silence = runtime()?.block_on(remote.post(PATH, &body))?;
    if args.json {
        return output::json(&silence);
    }
    let (id, until) = (text(&silence["id"]), text(&silence["ends_at"]));
    let from = match silence["state"].as_str() {
        Some("pending") => format!("from {} ", text(&silence["starts_at"])),
        _ => String::new(),
    };
    output::line(&format!("{}: silenced {from}until {until}", matchers(&silence)));
    output::line(&format!("`watchbell silence expire {id}` ends it before"));
    Ok(())
}

fn list(args: &ListArgs) -> anyhow::Result<()> {
    let remote = args.remote.remote()?;
    let filter = match args.state {
        Some(State::Active) => Some(("state", "active")),
        Some(State::Pending) => Some(("state", "pending")),
        Some(State::Expired) => Some(("state", "expired")),
        Some(State::All) | None => None,
    };
    let filters: Vec<_> = filter.into_iter().collect();
    let mut silences = runtime()?.block_on(remote.first(PATH, &filters, usize::MAX))?;
    if args.state.is_none() {
        silences.retain(|silence| silence["state"] != "expired");
    }
    if args.json {
        return output::json(&silences);
    }
    if silences.is_empty() {
        output::line("no silences");
        return Ok(());
    }
    let mut table =
        output::table(&["ID", "STATE", "MATCHERS", "FROM", "UNTIL", "AUTHOR", "COMMENT"]);
    for silence in &silences {
        let keys = ["id", "state", "matchers", "starts_at", "ends_at", "author", "comment"];
        table.add_row(keys.map(|key| text(&silence[key])));
    }
    output::print(&table);
    Ok(())
}

fn expire(args: &ExpireArgs) -> anyhow::Result<()> {
    let remote = args.remote.remote()?;
    let silence = runtime()?.block_on(async {
        let id = find(&remote, &args.id).await?;
        let body = json!({ "by": args.person.name() });
        remote.delete(&format!("{PATH}/{}", segment(&id)), &body).await
    })?;
    if args.json {
        return output::json(&silence);
    }
    let (what, at) = (matchers(&silence), text(&silence["ends_at"]));
    output::line(&format!("{what}: the silence ended at {at}"));
    Ok(())
}

async fn find(remote: &Remote, given: &str) -> anyhow::Result<String> {
    let silences = remote.list(PATH).await?;
    match one_of(&silences, given)? {
        Some(found) => Ok(text(&found["id"])),
        None => Err(unknown("silence", given, [], "`watchbell silence list` lists them")),
    }
}

fn matchers(silence: &Json) -> String {
    text(&silence["matchers"]).replace('\n', ", ")
}
