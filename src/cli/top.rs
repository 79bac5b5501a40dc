//! A live list in the terminal, the worst first.

mod state;
mod view;

use super::output::text;
use super::remote::{Remote, RemoteArgs, segment, span};
use super::{Exit, runtime};
use anyhow::{Context, bail};
use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde_json::{Value as Json, json};
use state::{Row, Top};
use std::io::{self, IsTerminal};
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long a key is waited for before the list is looked at again.
const KEY_WAIT: Duration = Duration::from_millis(100);
/// How many of the latest results are shown.
const RESULTS: usize = 30;

#[derive(Args, Debug)]
pub struct TopArgs {
    /// How often the list is read anew
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = crate::config::parse_duration)]
    every: Duration,
    /// How long `s` silences a check
    #[arg(long, value_name = "SPAN", default_value = "2h", value_parser = span)]
    silence_for: String,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Shows the list until somebody has seen enough.
pub fn run(args: &TopArgs) -> anyhow::Result<Exit> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        bail!("`top` needs a terminal; `watchbell status` prints the list once");
    }
    let runtime = runtime()?;
    let remote = args.remote.remote()?;
    let mut top = Top::default();
    // Whoever cannot reach the daemon is told in plain words, and not on a blank screen.
    runtime.block_on(read(&remote, &mut top))?;
    let mut terminal = ratatui::try_init().context("the terminal cannot be used")?;
    let shown = show(&mut terminal, &runtime, &remote, &mut top, args);
    ratatui::restore();
    shown?;
    Ok(Exit::of(top.rows().map(|row| row.status)))
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    runtime: &Runtime,
    remote: &Remote,
    top: &mut Top,
    args: &TopArgs,
) -> anyhow::Result<()> {
    // Counted in waits for a key, since it is no matter of precision.
    let waits = args.every.as_millis().div_ceil(KEY_WAIT.as_millis()).max(1);
    loop {
        for _ in 0..waits {
            let mut shown = 0;
            terminal.draw(|frame| shown = view::draw(frame, top))?;
            top.set_height(shown);
            if !event::poll(KEY_WAIT)? {
                continue;
            }
            let Event::Key(key) = event::read()? else { continue };
            if key.kind != KeyEventKind::Press {
                continue;
            }
            match meaning(key, top) {
                Some(Wish::Leave) => return Ok(()),
                Some(Wish::Do(deed)) => {
                    let said = runtime.block_on(act(remote, top, deed, args));
                    top.say(said.unwrap_or_else(|error| format!("{error:#}")));
                    break;
                }
                None => {}
            }
        }
        if let Err(error) = runtime.block_on(read(remote, top)) {
            // What is on the screen stays, and is known to be old.
            top.lose(format!("{error:#}"));
        }
    }
}

/// What a key asks for beyond what the list does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Leave,
    Do(Deed),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Acknowledge,
    Silence,
    Pause,
    Run,
}

fn meaning(key: KeyEvent, top: &mut Top) -> Option<Wish> {
    if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
        return Some(Wish::Leave);
    }
    if top.is_searching() {
        match key.code {
            KeyCode::Esc => top.search(None),
            KeyCode::Enter => top.end_search(),
            KeyCode::Backspace => top.search_less(),
            KeyCode::Char(c) => top.search_more(c),
            _ => {}
        }
        return None;
    }
    match key.code {
        KeyCode::Char('q') => return Some(Wish::Leave),
        KeyCode::Esc => top.search(None),
        KeyCode::Char('/') => top.search(Some(String::new())),
        KeyCode::Down | KeyCode::Char('j') => top.move_by(1),
        KeyCode::Up | KeyCode::Char('k') => top.move_by(-1),
        KeyCode::PageDown => top.move_by(20),
        KeyCode::PageUp => top.move_by(-20),
        KeyCode::Home => top.move_by(isize::MIN),
        KeyCode::End => top.move_by(isize::MAX),
        KeyCode::Char('a') => return Some(Wish::Do(Deed::Acknowledge)),
        KeyCode::Char('s') => return Some(Wish::Do(Deed::Silence)),
        KeyCode::Char('p') => return Some(Wish::Do(Deed::Pause)),
        KeyCode::Char('r') => return Some(Wish::Do(Deed::Run)),
        _ => {}
    }
    None
}

/// Reads the list anew, and the latest results of those that are seen for the first time.
async fn read(remote: &Remote, top: &mut Top) -> anyhow::Result<()> {
    let checks = remote.list("/api/v1/checks").await?;
    top.take(checks.iter().map(row).collect());
    for name in top.without_results() {
        let path = format!("/api/v1/checks/{}/results", segment(&name));
        let mut results = remote.first(&path, &[], RESULTS).await?;
        results.reverse();
        top.take_results(&name, results.iter().map(super::output::status_of).collect());
    }
    Ok(())
}

fn row(check: &Json) -> Row {
    Row {
        name: text(&check["name"]),
        kind: text(&check["kind"]),
        status: super::output::status_of(check),
        latency_ms: check["facts"]["latency_ms"].as_f64(),
        since: text(&check["since"]),
        last_run: text(&check["last_run"]),
        reasons: text(&check["reasons"]).replace('\n', "; "),
        paused: check["paused"] == true,
        incident: check["incident"].as_str().map(str::to_owned),
    }
}

/// Does something about the check that is chosen, and gives what to say of it.
async fn act(remote: &Remote, top: &Top, deed: Deed, args: &TopArgs) -> anyhow::Result<String> {
    let Some(row) = top.chosen() else { return Ok("no check is chosen".to_owned()) };
    let name = &row.name;
    let check = format!("/api/v1/checks/{}", segment(name));
    match deed {
        Deed::Acknowledge => {
            let Some(id) = &row.incident else { return Ok(format!("{name} has no incident")) };
            remote.post(&format!("/api/v1/incidents/{}/ack", segment(id)), &json!({})).await?;
            Ok(format!("you have {name} now"))
        }
        Deed::Silence => {
            let matcher = json!({ "name": "name", "value": name });
            let body = json!({ "matchers": [matcher], "for": args.silence_for });
            remote.post("/api/v1/silences", &body).await?;
            Ok(format!("{name} is silent for {}", args.silence_for))
        }
        Deed::Pause => {
            let word = if row.paused { "resume" } else { "pause" };
            remote.post(&format!("{check}/{word}"), &json!({})).await?;
            Ok(format!("{name} {}", if row.paused { "runs again" } else { "is paused" }))
        }
        Deed::Run => {
            let result = remote.post(&format!("{check}/run"), &json!({})).await?;
            Ok(format!("{name} is {}", text(&result["status"])))
        }
    }
}
