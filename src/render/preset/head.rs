use super::RenderError;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The line before and after the head.
const FENCE: &str = "+++";

/// What a preset says about its service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Where it delivers, in one line.
    pub summary: String,
    /// Where the service documents what the body is held to.
    pub docs: String,
    /// Whether a digest is one request, or one an incident.
    #[serde(default)]
    pub each: Each,
    /// How the body travels.
    #[serde(default)]
    pub encode: Encoding,
    /// Where to send: a template. What it prints is percent-encoded, but for options that are
    /// addresses themselves.
    pub url: String,
    /// POST, PUT or PATCH: a template.
    #[serde(default = "post")]
    pub method: String,
    /// Headers, each value a template that knows only the options. An empty one is left out.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The statuses that mean accepted; without them, every 2xx.
    #[serde(default)]
    pub accepts: Vec<u16>,
    /// What must hold of the JSON `answer` besides, for services that answer 200 to a mistake.
    pub accepted_when: Option<String>,
    /// The keys that it takes from the channel's table.
    #[serde(default, rename = "option")]
    pub options: Vec<PresetOption>,
}

/// What a request is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Each {
    /// A whole message.
    #[default]
    Message,
    /// One incident: a digest is as many requests as it lists incidents.
    Incident,
}

/// How the body travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As JSON.
    #[default]
    Json,
    /// As a form, made of the fields of the JSON object.
    Form,
}

/// A key that a preset takes from the channel's table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PresetOption {
    /// The key.
    pub name: String,
    /// What goes there.
    #[serde(rename = "type")]
    pub ty: OptionType,
    /// What it does, in one line.
    pub summary: String,
    /// What holds without it.
    pub default: Option<toml::Value>,
    /// Whether it may be left out although it has no default.
    #[serde(default)]
    pub optional: bool,
    /// Where to get it.
    #[serde(default)]
    pub hint: String,
    /// What an example shows.
    #[serde(default)]
    pub example: String,
}

/// What goes in an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptionType {
    /// A text.
    String,
    /// A text that nothing shows.
    Secret,
    /// An address, which may bear a secret, so nothing shows more of it than its host.
    Url,
    /// A whole number.
    Integer,
}

impl OptionType {
    /// The word in the documentation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Secret | Self::Url => "secret",
            Self::Integer => "integer",
        }
    }
}

impl PresetOption {
    /// Whether it must be there.
    pub fn is_required(&self) -> bool {
        self.default.is_none() && !self.optional
    }

    /// Its default as the documentation shows it: in TOML, `required`, or empty.
    pub fn shown_default(&self) -> String {
        match &self.default {
            Some(default) => default.to_string(),
            None if self.optional => String::new(),
            None => "required".to_owned(),
        }
    }
}

fn post() -> String {
    "POST".to_owned()
}

/// The head and the body, which keeps the lines that it has in the file.
pub(super) fn split(name: &str, source: &str) -> Result<(Head, String), RenderError> {
    let problem = |line, message: String| RenderError { name: name.to_owned(), line, message };
    let missing = || {
        let message = format!("a preset begins with its head, between two lines of `{FENCE}`");
        problem(Some(1), message)
    };
    let rest = source.strip_prefix(FENCE).and_then(|rest| rest.strip_prefix('\n'));
    let rest = rest.ok_or_else(missing)?;
    let (head, body) = rest.split_once("\n+++\n").ok_or_else(missing)?;
    let parsed = toml::from_str(head).map_err(|error| {
        let before = error.span().and_then(|span| head.get(..span.start)).unwrap_or_default();
        problem(Some(before.matches('\n').count() + 2), error.message().trim().to_owned())
    })?;
    let lines_above = head.matches('\n').count() + 3;
    Ok((parsed, "\n".repeat(lines_above) + body))
}
