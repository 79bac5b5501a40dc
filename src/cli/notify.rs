use super::{ConfigArgs, Exit, output, runtime, unknown};
use crate::app::plan::PlannedChannel;
use crate::app::{Enclosed, Letterhead, compose};
use crate::clock::{Clock, System};
use crate::deliver::{Net, Outcome};
use crate::model::{Notice, What};
use clap::{Args, Subcommand};
use serde_json::json;
use std::sync::Arc;

#[derive(Debug, Subcommand)]
pub enum NotifyCommand {
    /// Send a marked test alert, and say what the channel answered
    Test(TestArgs),
}

#[derive(Args, Debug)]
pub struct TestArgs {
    /// The channel
    #[arg(value_name = "CHANNEL")]
    channel: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub fn run(command: &NotifyCommand) -> anyhow::Result<Exit> {
    let NotifyCommand::Test(args) = command;
    let Some(plan) = args.config.plan() else { return Ok(Exit::Down) };
    let Some(channel) = plan.channels.iter().find(|known| *known.name == *args.channel) else {
        let names: Vec<&str> = plan.channels.iter().map(|channel| &*channel.name).collect();
        let all = format!("there is: {}", names.join(", "));
        return Err(unknown("channel", &args.channel, names, &all));
    };
    let answers = runtime()?.block_on(test(channel, &Letterhead::of(&plan, None)))?;
    let accepted = answers.iter().all(|(_, outcome)| outcome.is_accepted());
    if args.json {
        let list: Vec<_> = answers
            .iter()
            .map(|(recipient, outcome)| {
                let (answer, why) = words(outcome);
                json!({ "channel": args.channel, "recipient": recipient, "answer": answer, "why": why })
            })
            .collect();
        output::json(&list)?;
    } else {
        for (recipient, outcome) in &answers {
            let to = if recipient.is_empty() { &args.channel } else { recipient };
            let (answer, why) = words(outcome);
            output::line(&match why {
                Some(why) => format!("{to}: {answer}: {why}"),
                None => format!("{to}: {answer}"),
            });
        }
    }
    Ok(if accepted { Exit::Fine } else { Exit::Unknown })
}

async fn test(
    planned: &PlannedChannel,
    head: &Letterhead,
) -> anyhow::Result<Vec<(String, Outcome)>> {
    let clock: Arc<dyn Clock> = Arc::new(System::start());
    let net = Net::new(Arc::clone(&clock))?;
    let mut answers = Vec::new();
    for recipient in planned.channel.recipients() {
        let now = clock.wall();
        let (id, channel) = (ulid::Ulid::new().to_string(), planned.name.clone());
        let notice = Notice::new(id, What::Test, channel, recipient.clone(), Vec::new(), now);
        let message = compose(&planned.renderer, &notice, head, Enclosed::default(), now);
        let sending = planned.channel.send(&net, &message);
        let outcome = match tokio::time::timeout(planned.timeout, sending).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => {
                let span = humantime::format_duration(planned.timeout);
                Outcome::Retry { after: None, why: format!("no answer within {span}") }
            }
        };
        answers.push((recipient, outcome));
    }
    Ok(answers)
}

fn words(outcome: &Outcome) -> (&'static str, Option<&str>) {
    match outcome {
        Outcome::Accepted { .. } => ("accepted", None),
        Outcome::Retry { why, .. } => ("not accepted now", Some(why)),
        Outcome::Rejected { why } => ("rejected", Some(why)),
    }
}
