use super::{Exit, output, unknown};
use crate::check::{Kind, kinds as checks};
use crate::deliver::presets::{self, Shipped};
use crate::deliver::{ChannelKind, kinds as channels};
use crate::model::{FactSpec, OptionDoc};
use clap::Args;
use serde_json::{Value as Json, json};

#[derive(Args, Debug)]
pub struct KindsArgs {
    /// A kind of check or channel, or a preset of `webhook`, to show all about
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &KindsArgs) -> anyhow::Result<Exit> {
    let Some(name) = &args.name else {
        return list(args.json);
    };
    let check = checks::find(name);
    let channel = channels::find(name);
    let preset = presets::ALL.iter().find(|preset| preset.name == name);
    if let (None, None, Some(preset)) = (check, channel, preset) {
        return show_preset(preset, args.json);
    }
    if check.is_none() && channel.is_none() {
        let known = checks::ALL.iter().map(|kind| kind.name);
        let known = known.chain(channels::ALL.iter().map(|kind| kind.name));
        let known = known.chain(presets::ALL.iter().map(|preset| preset.name));
        return Err(unknown("kind", name, known, "`watchbell kinds` lists them"));
    }
    if args.json {
        return output::json(&match (check, channel) {
            (Some(kind), _) => check_json(kind),
            (None, Some(kind)) => channel_json(kind)?,
            (None, None) => Json::Null,
        })
        .map(|()| Exit::Fine);
    }
    if let Some(kind) = check {
        show_check(kind);
    }
    if let Some(kind) = channel {
        show_channel(kind)?;
    }
    Ok(Exit::Fine)
}

fn list(as_json: bool) -> anyhow::Result<Exit> {
    if as_json {
        output::json(&json!({
            "checks": checks::ALL.iter().map(|kind| check_json(kind)).collect::<Vec<_>>(),
            "channels": channels::ALL
                .iter()
                .map(|kind| channel_json(kind))
                .collect::<anyhow::Result<Vec<_>>>()?,
        }))?;
        return Ok(Exit::Fine);
    }
    let mut table = output::table(&["CHECK", "WHAT IT WATCHES"]);
    for kind in checks::ALL {
        table.add_row([kind.name, kind.summary]);
    }
    output::print(&table);
    output::line("");
    let mut table = output::table(&["CHANNEL", "WHERE IT DELIVERS"]);
    for kind in channels::ALL {
        table.add_row([kind.name, kind.summary]);
    }
    output::print(&table);
    output::line("\n`watchbell kinds NAME` shows options, facts and an example.");
    Ok(Exit::Fine)
}

fn show_check(kind: &Kind) {
    output::line(&format!("{}: {}\n", kind.name, kind.summary));
    show_options(&format!("[check.{}]", kind.name), kind.options);
    output::line("\nFacts for conditions");
    let mut table = output::table(&["FACT", "TYPE", "UNIT", "WHAT IT SAYS"]);
    for fact in kind.all_facts() {
        table.add_row([fact.name, fact.ty.cel_name(), fact.unit, fact.summary]);
    }
    output::print(&table);
    output::line(&format!("\nExample\n\n{}", kind.example.trim()));
}

fn show_channel(kind: &ChannelKind) -> anyhow::Result<()> {
    output::line(&format!("{}: {}\n", kind.name, kind.summary));
    show_options(&format!("[channel.{}]", kind.name), kind.options);
    output::line(&format!("\nExample\n\n{}", kind.example.trim()));
    if kind.name == "webhook" {
        output::line("\nPresets");
        let mut table = output::table(&["PRESET", "WHERE IT DELIVERS", "OPTIONS"]);
        for shipped in presets::ALL {
            let head = shipped.read()?.head;
            let options: Vec<&str> = head.options.iter().map(|option| &*option.name).collect();
            table.add_row([shipped.name, &head.summary, &options.join(", ")]);
        }
        output::print(&table);
        output::line("\n`watchbell kinds PRESET` shows its options and an example.");
    }
    Ok(())
}

fn show_preset(shipped: &Shipped, as_json: bool) -> anyhow::Result<Exit> {
    if as_json {
        return output::json(&preset_json(shipped)?).map(|()| Exit::Fine);
    }
    let preset = shipped.read()?;
    let name = shipped.name;
    output::line(&format!("{name}: {}\n", preset.head.summary));
    output::line(&format!("Options of [channel.webhook] with preset = \"{name}\""));
    let mut table = output::table(&["OPTION", "TYPE", "DEFAULT", "WHAT IT DOES"]);
    for option in &preset.head.options {
        let default = option.shown_default();
        table.add_row([&option.name, option.ty.as_str(), &default, &option.summary]);
    }
    output::print(&table);
    output::line(&format!("\nExample\n\n{}", shipped.example(&preset).trim()));
    Ok(Exit::Fine)
}

fn show_options(title: &str, options: &[OptionDoc]) {
    output::line(&format!("Options of {title}"));
    let mut table = output::table(&["OPTION", "TYPE", "DEFAULT", "WHAT IT DOES"]);
    for option in options {
        table.add_row([option.name, option.ty, option.default, option.summary]);
    }
    output::print(&table);
}

fn check_json(kind: &Kind) -> Json {
    json!({
        "name": kind.name,
        "summary": kind.summary,
        "options": options_json(kind.options),
        "facts": kind.all_facts().map(fact_json).collect::<Vec<_>>(),
        "example": kind.example,
    })
}

fn channel_json(kind: &ChannelKind) -> anyhow::Result<Json> {
    let mut json = json!({
        "name": kind.name,
        "summary": kind.summary,
        "options": options_json(kind.options),
        "example": kind.example,
    });
    if kind.name == "webhook" {
        let all: anyhow::Result<Json> = presets::ALL.iter().map(preset_json).collect();
        json["presets"] = all?;
    }
    Ok(json)
}

fn preset_json(shipped: &Shipped) -> anyhow::Result<Json> {
    let preset = shipped.read()?;
    let option = |option: &crate::render::preset::PresetOption| {
        json!({
            "name": option.name,
            "type": option.ty.as_str(),
            "default": option.shown_default(),
            "summary": option.summary,
        })
    };
    Ok(json!({
        "name": shipped.name,
        "summary": preset.head.summary,
        "docs": preset.head.docs,
        "options": preset.head.options.iter().map(option).collect::<Vec<_>>(),
        "example": shipped.example(&preset),
    }))
}

fn options_json(options: &[OptionDoc]) -> Json {
    let one = |option: &OptionDoc| {
        json!({
            "name": option.name,
            "type": option.ty,
            "default": option.default,
            "summary": option.summary,
        })
    };
    options.iter().map(one).collect()
}

fn fact_json(fact: &FactSpec) -> Json {
    json!({
        "name": fact.name,
        "type": fact.ty.cel_name(),
        "unit": fact.unit,
        "summary": fact.summary,
        "kept": fact.kept,
    })
}
