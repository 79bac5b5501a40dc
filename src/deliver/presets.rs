//! The registry of presets of the `webhook` channel: one line each.

use super::support::{SecretUrl, is_placeholder};
use crate::config::{Loose, Place, Section};
use crate::model::{Secret, did_you_mean};
use crate::render::RenderError;
use crate::render::preset::{OptionType, Options, Preset, PresetOption};
use reqwest::Url;
use std::fmt::Write as _;
use std::path::Path;

/// A preset that ships: its name and its file.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// What `preset = …` says.
    pub name: &'static str,
    /// The file, head and body.
    pub source: &'static str,
}

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        &[$(Shipped {
            name: $name,
            source: include_str!(concat!("../../alert-templates/presets/", $name, ".jinja")),
        }),*]
    };
}

/// Every preset, in the order in which they are shown.
pub const ALL: &[Shipped] = shipped![
    "pagerduty",
    "opsgenie",
    "incident-io",
    "alertmanager",
    "teams",
    "google-chat",
    "mattermost",
    "rocketchat",
    "zulip",
    "matrix",
    "ntfy",
    "gotify",
    "pushover",
    "generic",
];

impl Shipped {
    /// Reads it.
    pub fn read(&self) -> Result<Preset, RenderError> {
        Preset::parse(&format!("presets/{}.jinja", self.name), self.source)
    }

    /// A whole `[[channel]]` table that validates as it stands.
    pub fn example(&self, preset: &Preset) -> String {
        let name = self.name;
        let mut out =
            format!("[[channel]]\nname = \"ops-{name}\"\n[channel.webhook]\npreset = \"{name}\"\n");
        for option in preset.head.options.iter().filter(|option| option.is_required()) {
            let _ = match option.ty {
                OptionType::Integer => writeln!(out, "{} = {}", option.name, option.example),
                _ => writeln!(out, "{} = \"{}\"", option.name, option.example),
            };
        }
        out
    }
}

/// The preset called `name`: the file of that name in the folder `presets` of the templates, else
/// the one that ships.
///
/// # Errors
///
/// What is wrong with the name or the file, and a hint.
pub fn find(name: &str, templates: Option<&Path>) -> Result<Preset, (String, Option<String>)> {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let own = templates
        .filter(|_| !name.is_empty() && name.chars().all(is_fit))
        .map(|folder| folder.join("presets").join(format!("{name}.jinja")))
        .filter(|file| file.exists());
    if let Some(file) = own {
        let source = std::fs::read_to_string(&file)
            .map_err(|error| (format!("cannot read {}: {error}", file.display()), None))?;
        return Preset::parse(&file.to_string_lossy(), &source)
            .map_err(|error| (format!("the preset cannot be used: {error}"), None));
    }
    let Some(shipped) = ALL.iter().find(|shipped| shipped.name == name) else {
        let names: Vec<&str> = ALL.iter().map(|shipped| shipped.name).collect();
        let hint = did_you_mean(name, names.iter().copied())
            .unwrap_or_else(|| format!("there are {}", names.join(", ")));
        return Err((format!("there is no preset `{name}`"), Some(hint)));
    };
    shipped.read().map_err(|error| (format!("the preset that ships is broken: {error}"), None))
}

/// Takes the options of `preset` from what is left of the channel's table, and gives the secrets
/// among them too. `None` means that the section holds at least one problem.
pub fn read_options(preset: &Preset, section: &mut Section<'_>) -> Option<(Options, Vec<Secret>)> {
    let mut reading = Reading { options: Options::default(), secrets: Vec::new(), good: true };
    let known: Vec<&str> = preset.head.options.iter().map(|option| &*option.name).collect();
    let (given, unknown): (Vec<Loose>, Vec<Loose>) =
        section.rest().into_iter().partition(|loose| known.contains(&&*loose.key));
    for loose in unknown {
        reading.good = false;
        let keys = known.iter().chain(section.asked()).copied();
        let problem = loose.at.error("unknown key");
        let problem =
            problem.hint(format!("known keys: {}", keys.clone().collect::<Vec<_>>().join(", ")));
        section.report(problem.did_you_mean(&loose.key, keys));
    }
    for option in &preset.head.options {
        match given.iter().find(|loose| loose.key == option.name) {
            Some(loose) => {
                if let Err(message) = reading.take(option, &loose.value) {
                    reading.good = false;
                    section.error_at(&loose.value_at, message);
                }
            }
            None => reading.take_default(option, section),
        }
    }
    reading.good.then_some((reading.options, reading.secrets))
}

struct Reading {
    options: Options,
    secrets: Vec<Secret>,
    good: bool,
}

impl Reading {
    fn take_default(&mut self, option: &PresetOption, section: &mut Section<'_>) {
        match &option.default {
            Some(default) => {
                if let Err(message) = self.take(option, default) {
                    self.good = false;
                    let message = format!("the default of `{}` {message}", option.name);
                    section.report(section.place().error(message));
                }
            }
            None if option.optional => self.options.unset(&option.name),
            None => {
                self.good = false;
                let place = section.place();
                let key = match &*place.key {
                    "" => option.name.clone(),
                    path => format!("{path}.{}", option.name),
                };
                let problem = Place { key, ..place.clone() }.error("is missing");
                let problem = match &*option.hint {
                    "" => problem.hint(option.summary.clone()),
                    hint => problem.hint(hint.to_owned()),
                };
                section.report(problem);
            }
        }
    }

    /// Never quotes the value, which may be a secret.
    fn take(&mut self, option: &PresetOption, value: &toml::Value) -> Result<(), String> {
        let name = &option.name;
        match (option.ty, value) {
            (OptionType::String, toml::Value::String(text)) => self.options.text(name, text),
            (OptionType::Secret, toml::Value::String(text)) => {
                self.secrets.push(Secret::new(text.as_str()));
                self.options.text(name, text);
            }
            (OptionType::Url, toml::Value::String(text)) => {
                let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
                if !matches!(url.scheme(), "http" | "https") {
                    let scheme = url.scheme();
                    return Err(format!(
                        "`{scheme}://` is not supported here (use https:// or http://)"
                    ));
                }
                if option.default.as_ref() != Some(value) {
                    self.secrets.extend(SecretUrl::new(url).secrets());
                }
                self.options.url(name, text);
            }
            (OptionType::Integer, toml::Value::Integer(number)) => {
                self.options.number(name, *number);
            }
            // What is not looked up is not known to be wrong.
            (OptionType::Integer, toml::Value::String(text)) if is_placeholder(text) => {
                self.options.number(name, 0);
            }
            (OptionType::Integer, other) => {
                return Err(format!("must be a whole number, not {}", other.type_str()));
            }
            (_, other) => return Err(format!("must be a string, not {}", other.type_str())),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
