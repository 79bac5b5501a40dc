use super::output::text;
use super::remote::{Refused, RemoteArgs};
use super::{ConfigArgs, Exit, output, runtime};
use anyhow::Context as _;
use clap::Args;
use reqwest::StatusCode;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value as Json, json};

#[derive(Args, Debug)]
pub struct ReloadArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Look whether the configuration can be used, and if so, signal this process: as a unit of
    /// systemd does, which needs neither socket nor key
    // The environment of the unit may well name a key, so that only what is typed may conflict.
    #[arg(long, value_name = "PID", conflicts_with = "json")]
    pid: Option<i32>,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub fn run(args: &ReloadArgs) -> anyhow::Result<Exit> {
    if let Some(pid) = args.pid {
        return signal(pid, args.remote.config());
    }
    let remote = args.remote.remote()?;
    let answer = runtime()?.block_on(remote.post("/api/v1/reload", &json!({})));
    let error = match answer {
        Ok(done) => {
            tell(&done, args.json)?;
            return Ok(Exit::Fine);
        }
        Err(error) => error,
    };
    match error.downcast_ref::<Refused>() {
        Some(refused) if refused.status == StatusCode::UNPROCESSABLE_ENTITY => {
            output::note(&text(&Json::from(&*refused.detail)));
            output::error("the configuration cannot be used; the old one goes on");
            Ok(Exit::Down)
        }
        _ => Err(error),
    }
}

fn signal(pid: i32, config: &ConfigArgs) -> anyhow::Result<Exit> {
    if config.plan().is_none() {
        output::error("the configuration cannot be used; the old one goes on");
        return Ok(Exit::Down);
    }
    let process = Pid::from_raw(pid).filter(|_| pid > 0);
    let process = process.with_context(|| format!("{pid} is no process"))?;
    kill_process(process, Signal::HUP).with_context(|| format!("{pid} cannot be signalled"))?;
    Ok(Exit::Fine)
}

fn tell(done: &Json, json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(done);
    }
    let count = |key: &str| text(&done[key]);
    let (added, changed, removed) = (count("added"), count("changed"), count("removed"));
    let renamed = done["renamed"].as_array().into_iter().flatten();
    let renamed = renamed.map(|it| format!(", {} is now {}", text(&it["from"]), text(&it["to"])));
    let renamed: String = renamed.collect();
    output::line(&format!("reloaded: +{added} checks, ~{changed}, -{removed}{renamed}"));
    Ok(())
}
