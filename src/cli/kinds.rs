mod page;

use super::{Exit, output, unknown};
use crate::check::{Kind, kinds as checks};
use crate::deliver::presets::{self, Shipped};
use crate::deliver::{ChannelKind, kinds as channels};
use crate::model::{FactSpec, OptionDoc};
use clap::Args;
use comfy_table::{Cell, Color};
use owo_colors::OwoColorize;
use serde_json::{Value as Json, json};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct KindsArgs {
    /// A kind of check or channel, or a preset of `webhook`, to show all about
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the reference page of a kind of check, or write those of all into FOLDER
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, conflicts_with = "json")]
    markdown: Option<Option<PathBuf>>,
}

pub fn run(args: &KindsArgs) -> anyhow::Result<Exit> {
    if let Some(folder) = &args.markdown {
        return markdown(args.name.as_deref(), folder.as_ref());
    }
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
        if check.is_some() {
            // The example ends here, and may be copied by whatever reads up to an empty line.
            output::line("");
        }
        show_channel(kind)?;
    }
    Ok(Exit::Fine)
}

fn markdown(name: Option<&str>, folder: Option<&PathBuf>) -> anyhow::Result<Exit> {
    let known = || checks::ALL.iter().map(|kind| kind.name);
    match (name, folder) {
        (None, Some(folder)) => page::write(folder)?,
        (None, None) => output::line(page::index().trim_end()),
        (Some(_), Some(_)) => anyhow::bail!("pages are written all together: leave NAME out"),
        (Some(name), None) => match checks::find(name) {
            Some(kind) => output::line(page::page(kind).trim_end()),
            None => {
                return Err(unknown(
                    "kind of check",
                    name,
                    known(),
                    "`watchbell kinds` lists them",
                ));
            }
        },
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
        table.add_row([named(kind.name), kind.summary.into()]);
    }
    output::print(&table);
    output::line("");
    let mut table = output::table(&["CHANNEL", "WHERE IT DELIVERS"]);
    for kind in channels::ALL {
        table.add_row([named(kind.name), kind.summary.into()]);
    }
    output::print(&table);
    output::line("\n`watchbell kinds NAME` shows options, facts and an example.");
    Ok(Exit::Fine)
}

fn show_check(kind: &Kind) {
    title(kind.name, kind.summary);
    show_options(&format!("[check.{}]", kind.name), kind.options);
    heading("\nFacts for conditions");
    let mut table = output::table(&["FACT", "TYPE", "UNIT", "WHAT IT SAYS"]);
    for fact in kind.all_facts() {
        let FactSpec { name, ty, unit, summary, .. } = fact;
        table.add_row([named(name), ty.cel_name().into(), (*unit).into(), (*summary).into()]);
    }
    output::print(&table);
    heading("\nWithout `expect`");
    output::line(&format!("Up is: {}.", kind.well));
    example(kind.example);
}

fn show_channel(kind: &ChannelKind) -> anyhow::Result<()> {
    title(kind.name, kind.summary);
    show_options(&format!("[channel.{}]", kind.name), kind.options);
    example(kind.example);
    if kind.name == "webhook" {
        heading("\nPresets");
        let mut table = output::table(&["PRESET", "WHERE IT DELIVERS", "OPTIONS"]);
        for shipped in presets::ALL {
            let head = shipped.read()?.head;
            let options: Vec<&str> = head.options.iter().map(|option| &*option.name).collect();
            let options = options.join(", ");
            table.add_row([named(shipped.name), head.summary.into(), options.into()]);
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
    title(name, &preset.head.summary);
    heading(&format!("Options of [channel.webhook] with preset = \"{name}\""));
    let mut table = output::table(&["OPTION", "TYPE", "DEFAULT", "WHAT IT DOES"]);
    for option in &preset.head.options {
        let default = option.shown_default();
        let (ty, summary) = (option.ty.as_str(), &option.summary);
        table.add_row([named(&option.name), ty.into(), default.into(), summary.into()]);
    }
    output::print(&table);
    example(&shipped.example(&preset));
    Ok(Exit::Fine)
}

fn show_options(title: &str, options: &[OptionDoc]) {
    heading(&format!("Options of {title}"));
    let mut table = output::table(&["OPTION", "TYPE", "DEFAULT", "WHAT IT DOES"]);
    for option in options {
        let OptionDoc { name, ty, default, summary, .. } = *option;
        table.add_row([named(name), ty.into(), default.into(), summary.into()]);
    }
    output::print(&table);
}

/// The name of an option or a fact, in its colour.
fn named(name: &str) -> Cell {
    let cell = Cell::new(name);
    if output::colours() { cell.fg(Color::Cyan) } else { cell }
}

fn title(name: &str, summary: &str) {
    if output::colours() {
        output::line(&format!("{}: {summary}\n", name.cyan().bold()));
    } else {
        output::line(&format!("{name}: {summary}\n"));
    }
}

fn heading(text: &str) {
    if output::colours() {
        output::line(&text.bold().to_string());
    } else {
        output::line(text);
    }
}

/// Prints an example so that it can be copied as it stands.
fn example(toml: &str) {
    heading("\nExample");
    output::line("");
    for line in toml.trim().lines() {
        output::line(&if output::colours() { coloured(line) } else { line.to_owned() });
    }
}

/// A line of TOML in colours: tables, comments, and keys.
fn coloured(line: &str) -> String {
    let start = line.trim_start();
    if start.starts_with('[') {
        return line.yellow().to_string();
    }
    if start.starts_with('#') {
        return line.dimmed().to_string();
    }
    match line.split_once(" = ") {
        Some((key, value)) => format!("{} = {value}", key.cyan()),
        None => line.to_owned(),
    }
}

fn check_json(kind: &Kind) -> Json {
    json!({
        "name": kind.name,
        "summary": kind.summary,
        "options": options_json(kind.options),
        "facts": kind.all_facts().map(fact_json).collect::<Vec<_>>(),
        "well": kind.well,
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
