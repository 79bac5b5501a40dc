use super::{ConfigArgs, Exit, output};
use crate::app::plan::{self, LoadOptions, Plan};
use crate::config::{Level, Problem};
use clap::Args;
use serde_json::json;
use std::collections::BTreeMap;

#[derive(Args, Debug)]
pub struct ValidateArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Do not look up secrets, for machines that do not have them
    #[arg(long)]
    no_secrets: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &ValidateArgs) -> anyhow::Result<Exit> {
    let path = &args.config.config;
    let loaded = plan::load(path, LoadOptions { without_secrets: args.no_secrets });
    let (summary, problems) = match &loaded {
        Ok(plan) => (Some(summary(plan)), &plan.warnings),
        Err(problems) => (None, problems),
    };
    if args.json {
        let problems: Vec<_> = problems.iter().map(as_json).collect();
        let valid = summary.is_some();
        output::json(&json!({ "valid": valid, "summary": summary, "problems": problems }))?;
    } else {
        for problem in problems {
            output::note(&problem.to_string());
        }
        match &summary {
            Some(summary) => output::line(&format!("{} is valid: {summary}", path.display())),
            None => {
                let errors =
                    problems.iter().filter(|problem| problem.level == Level::Error).count();
                output::note(&format!(
                    "{} cannot be used: {}",
                    path.display(),
                    plural(errors, "error")
                ));
            }
        }
    }
    Ok(if summary.is_some() { Exit::Fine } else { Exit::Down })
}

fn summary(plan: &Plan) -> String {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for check in &plan.checks {
        *kinds.entry(check.kind.name).or_default() += 1;
    }
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let mut text = plural(plan.checks.len(), "check");
    if !kinds.is_empty() {
        text += &format!(" ({})", kinds.join(", "));
    }
    text += &format!(", {}", plural(plan.channels.len(), "channel"));
    if !plan.warnings.is_empty() {
        text += &format!(", {}", plural(plan.warnings.len(), "warning"));
    }
    text
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn as_json(problem: &Problem) -> serde_json::Value {
    json!({
        "level": match problem.level {
            Level::Error => "error",
            Level::Warning => "warning",
        },
        "file": problem.path,
        "line": problem.position.map(|(line, _)| line),
        "column": problem.position.map(|(_, column)| column),
        "key": problem.key,
        "message": problem.message,
        "hint": problem.hint,
    })
}
