//! Presets: a service that takes messages over HTTP, as one template file with a head.
//!
//! The head, in TOML between two lines of `+++`, says where to send, which options the service
//! takes and what its answers mean. The rest is the body, a template that makes JSON: whatever it
//! prints with `{{ }}` is printed as JSON, quotes and all, so that no text from outside can break
//! out of its place.

mod filters;
mod head;

pub use head::{Each, Encoding, Head, OptionType, PresetOption};

use super::context::Context;
use super::letter::{Background, Letter};
use super::{RenderError, environment, plain, sample, template_error};
use crate::model::{Format, Incident, Message, Severity, Status, Timestamp, What};
use minijinja::value::{Serde, merge_maps};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt;

/// The names under which the parts of a preset are compiled; those of headers begin with `header`.
const BODY: &str = "body";
const URL: &str = "url";
const METHOD: &str = "method";
const ACCEPTED: &str = "accepted_when";

/// A preset that was read and compiled.
pub struct Preset {
    /// What errors call it: the path of its file.
    name: String,
    /// What its head says.
    pub head: Head,
    templates: Environment<'static>,
    answers: Environment<'static>,
    /// Whether it passes on the body of a webhook without a preset, which is much to make.
    wants_body: bool,
}

/// What a channel gives to its preset, by the names of the options. Secrets may be among them, so
/// nothing shows the values.
#[derive(Clone, Default)]
pub struct Options(BTreeMap<String, Value>);

/// One request that a message asks for.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    /// What it is about, among the calls of its message: the id of the incident, or nothing where
    /// there is one call only.
    pub part: String,
    /// Where to, not checked yet.
    pub url: String,
    /// How, not checked yet.
    pub method: String,
    /// What it is in HTTP's words.
    pub content_type: &'static str,
    /// What to send.
    pub body: Vec<u8>,
}

impl fmt::Debug for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preset").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("part", &self.part).finish_non_exhaustive()
    }
}

impl Options {
    /// Sets a text.
    pub fn text(&mut self, name: &str, text: &str) {
        self.0.insert(name.to_owned(), Value::from(text));
    }

    /// Sets an address. It is printed into another address as it stands.
    pub fn url(&mut self, name: &str, url: &str) {
        self.0.insert(name.to_owned(), Value::from_safe_string(url.to_owned()));
    }

    /// Sets a number.
    pub fn number(&mut self, name: &str, number: i64) {
        self.0.insert(name.to_owned(), Value::from(number));
    }

    /// The values where an address is a text like others.
    fn plain(&self) -> Value {
        let plain = |value: &Value| match value.as_str() {
            Some(text) => Value::from(text),
            None => value.clone(),
        };
        let all = self.0.iter().map(|(name, value)| (name.clone(), plain(value)));
        Value::from(all.collect::<BTreeMap<String, Value>>())
    }

    /// The values where an address is printed into another one.
    fn in_address(&self) -> Value {
        Value::from(self.0.clone())
    }

    /// Says that the option is not set: it is none in the templates.
    pub fn unset(&mut self, name: &str) {
        self.0.insert(name.to_owned(), Value::from(()));
    }
}

impl Preset {
    /// Reads a preset. `name` is what errors call it.
    pub fn parse(name: &str, source: &str) -> Result<Self, RenderError> {
        let (head, body) = head::split(name, source)?;
        let mut preset = Self {
            name: name.to_owned(),
            templates: preset_environment(),
            answers: Environment::new(),
            wants_body: false,
            head,
        };
        preset.answers.set_undefined_behavior(UndefinedBehavior::Chainable);
        let mut sources = vec![
            (BODY.to_owned(), body),
            (URL.to_owned(), preset.head.url.clone()),
            (METHOD.to_owned(), preset.head.method.clone()),
        ];
        for (header, value) in &preset.head.headers {
            sources.push((format!("header {header}"), value.clone()));
        }
        for (part, source) in sources {
            let added = preset.templates.add_template_owned(part.clone(), source);
            added.map_err(|error| preset.error(&part, &error))?;
        }
        let body = preset.templates.get_template(BODY);
        preset.wants_body =
            body.is_ok_and(|body| body.undeclared_variables(false).contains("body"));
        if let Some(condition) = &preset.head.accepted_when {
            let source = format!("{{% if {condition} %}}yes{{% endif %}}");
            let added = preset.answers.add_template_owned(ACCEPTED, source);
            added.map_err(|error| preset.error(ACCEPTED, &error))?;
        }
        Ok(preset)
    }

    /// The headers of every request; one that comes out empty is left out.
    pub fn headers(&self, options: &Options) -> Result<Vec<(String, String)>, RenderError> {
        let given = context! { options => options.plain() };
        let mut headers = Vec::new();
        for header in self.head.headers.keys() {
            let value = self.render(&format!("header {header}"), &given)?;
            if !value.trim().is_empty() {
                headers.push((header.clone(), value.trim().to_owned()));
            }
        }
        Ok(headers)
    }

    /// The requests that tell `message`: one, or one an incident. `plain_body` makes the body that
    /// a webhook without a preset sends, for the templates that pass it on.
    pub fn calls(
        &self,
        message: &Message,
        options: &Options,
        now: Timestamp,
        plain_body: &dyn Fn(&Message) -> Json,
    ) -> Result<Vec<Call>, RenderError> {
        let messages = match self.head.each {
            Each::Message => vec![(String::new(), message.clone())],
            Each::Incident => one_by_one(message, now),
        };
        let call = |(part, message): (String, Message)| {
            let plain_body = self.wants_body.then(|| plain_body(&message));
            let context = given(&message, now, plain_body);
            let with = |options| merge_maps([context! { options }, context.clone()]);
            let given = with(options.plain());
            let text = self.render(BODY, &given)?;
            let json: Json = serde_json::from_str(&text).map_err(|error| {
                self.problem(format!("the body for `{}` is not JSON: {error}", message.what))
            })?;
            let (content_type, body) = match self.head.encode {
                Encoding::Json => ("application/json", json.to_string()),
                Encoding::Form => ("application/x-www-form-urlencoded", self.form(&json)?),
            };
            Ok(Call {
                part,
                url: self.render(URL, &with(options.in_address()))?.trim().to_owned(),
                method: self.render(METHOD, &given)?.trim().to_ascii_uppercase(),
                content_type,
                body: body.into_bytes(),
            })
        };
        messages.into_iter().map(call).collect()
    }

    /// Tries the preset on messages of every sort, so that a mistake is found before the night,
    /// and gives a request of each.
    pub fn try_out(
        &self,
        options: &Options,
        plain_body: &dyn Fn(&Message) -> Json,
    ) -> Result<Vec<Call>, RenderError> {
        let mut calls = Vec::new();
        sample::letters(|letter| {
            let message = message_of(letter);
            calls.extend(self.calls(&message, options, letter.now, plain_body)?);
            Ok(())
        })?;
        Ok(calls)
    }

    /// Whether an answer of this status and with this body means that the message is there. Only
    /// asked where HTTP itself does not say otherwise.
    pub fn accepts(&self, status: u16, body: &str) -> bool {
        let listed = self.head.accepts.contains(&status);
        if !(listed || self.head.accepts.is_empty() && (200..300).contains(&status)) {
            return false;
        }
        let Ok(condition) = self.answers.get_template(ACCEPTED) else { return true };
        let answer: Option<Json> = serde_json::from_str(body).ok();
        let given = context! { status, answer => answer.map(Serde) };
        condition.render(given).is_ok_and(|said| said == "yes")
    }

    fn render(&self, part: &str, given: &Value) -> Result<String, RenderError> {
        let template = self.templates.get_template(part);
        template
            .and_then(|template| template.render(given))
            .map_err(|error| self.error(part, &error))
    }

    /// The fields of a form (URL Standard, `application/x-www-form-urlencoded`); what is none is
    /// left out.
    fn form(&self, json: &Json) -> Result<String, RenderError> {
        let Json::Object(fields) = json else {
            return Err(self.problem("a form is made of a JSON object".to_owned()));
        };
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in fields {
            match value {
                Json::Null => {}
                Json::String(text) => drop(form.append_pair(name, text)),
                Json::Bool(_) | Json::Number(_) => {
                    form.append_pair(name, &value.to_string());
                }
                Json::Array(_) | Json::Object(_) => {
                    let message = format!("`{name}` must be a text or a number to go in a form");
                    return Err(self.problem(message));
                }
            }
        }
        Ok(form.finish())
    }

    fn error(&self, part: &str, error: &minijinja::Error) -> RenderError {
        let mut problem = template_error(&self.name, error);
        // The body stands in the file at its own lines; the head's templates do not.
        if part != BODY {
            problem.line = None;
            problem.message = format!("in `{part}` of the head: {}", problem.message);
        }
        problem
    }

    fn problem(&self, message: String) -> RenderError {
        RenderError { name: self.name.clone(), line: None, message }
    }
}

/// What the templates are given: all of [`Context`], and what a service needs beyond it.
fn given(message: &Message, now: Timestamp, plain_body: Option<Json>) -> Value {
    let context = Context::of(&letter_of(message, now));
    let subject = match &context.incidents[..] {
        [incident] if message.what != What::Test => {
            format!("{} {} — {}", incident.heading, incident.check, incident.gist)
        }
        _ => message.title.clone(),
    };
    let more = context! {
        subject,
        notice => &message.id,
        title => &message.title,
        text => &message.text,
        body => plain_body.map(Serde),
    };
    merge_maps([more, Value::from(Serde(&context))])
}

fn letter_of(message: &Message, now: Timestamp) -> Letter<'_> {
    Letter {
        what: message.what,
        at: message.at,
        now,
        daemon: &message.daemon,
        // For people there is `text`, which is in their zone.
        zone: chrono_tz::UTC,
        incidents: &message.incidents,
        held: None,
        background: Background::default(),
    }
}

fn message_of(letter: &Letter<'_>) -> Message {
    let (title, text, html) = plain::built_in(&Context::of(letter), Format::Plain);
    Message {
        id: "01JNA8Y8PK000000000000000N".to_owned(),
        what: letter.what,
        at: letter.at,
        daemon: letter.daemon.into(),
        recipient: String::new(),
        incidents: letter.incidents.to_vec(),
        title,
        text,
        html,
        picture: None,
        actions: Vec::new(),
        answers: None,
        live: Vec::new(),
    }
}

/// A message for each incident of `message`; for a test, about an incident that is none.
fn one_by_one(message: &Message, now: Timestamp) -> Vec<(String, Message)> {
    if message.incidents.is_empty() {
        let stand_in = Incident {
            severity: Severity::Info,
            ..Incident::new(
                message.id.clone(),
                "watchbell:test".into(),
                "test",
                Status::Unknown,
                message.at,
            )
        };
        let told = Message { incidents: vec![stand_in], ..message.clone() };
        return vec![(message.id.clone(), told)];
    }
    let alone = message.incidents.len() == 1;
    let one = |incident: &Incident| {
        let what = match message.what {
            What::Digest if incident.resolved_at.is_some() => What::Resolved,
            What::Digest => What::Opened,
            what => what,
        };
        let mut told =
            Message { what, incidents: vec![incident.clone()], ..message_without(message) };
        if alone {
            (told.title, told.text) = (message.title.clone(), message.text.clone());
        } else {
            let own = message_of(&letter_of(&told, now));
            (told.title, told.text) = (own.title, own.text);
        }
        (incident.id.clone(), told)
    };
    message.incidents.iter().map(one).collect()
}

fn message_without(message: &Message) -> Message {
    Message {
        id: message.id.clone(),
        what: message.what,
        at: message.at,
        daemon: message.daemon.clone(),
        recipient: message.recipient.clone(),
        incidents: Vec::new(),
        title: String::new(),
        text: String::new(),
        html: String::new(),
        picture: None,
        actions: Vec::new(),
        answers: None,
        live: Vec::new(),
    }
}

fn preset_environment() -> Environment<'static> {
    let mut templates = environment(Format::Plain);
    templates.set_auto_escape_callback(|part| match part {
        BODY => AutoEscape::Json,
        URL => AutoEscape::Custom(URL.into()),
        _ => AutoEscape::None,
    });
    templates.set_formatter(|out, state, value| match state.auto_escape() {
        AutoEscape::Custom(_) if !value.is_safe() => {
            let encoded = filters::percent_encoded(&value.to_string());
            out.write_str(&encoded).map_err(minijinja::Error::from)
        }
        AutoEscape::Custom(_) => out.write_str(&value.to_string()).map_err(minijinja::Error::from),
        _ => minijinja::escape_formatter(out, state, value),
    });
    filters::add(&mut templates);
    templates
}
