//! Notices into text: MiniJinja templates, escaped for where they go. Pure: the same letter gives
//! the same text.

mod context;
mod escape;
mod fit;
mod headline;
mod incident;
mod letter;
mod links;
mod past;
pub mod picture;
mod plain;
pub mod preset;
pub mod sample;
mod words;

pub use context::{Context, Counts, HeldContext, PICTURE_ID, PictureContext};
pub use escape::{clean, escape, html, link, short};
pub use fit::{fit, length, split};
pub use incident::{
    IncidentContext, TimelineContext, bounded_acknowledgement, bounded_dependents, bounded_labels,
    bounded_reasons, bounded_tried,
};
pub use letter::{Background, Held, Letter};
pub use links::{ActionContext, LinkContext};
pub use past::{DAY, LATEST, Past, PreviousContext, WEEK};
pub use past::{offers_actions, shows_last_hour, tells_of_past};
pub use words::{Tone, span, time};

use crate::model::{Format, Message, Name, Notice, What};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, Value};

/// The names under which a source is compiled: the HTML part escapes otherwise than the rest.
const TEXT: &str = "text";
const HTML: &str = "html";

/// A template that was compiled and tried, for one channel.
#[derive(Debug)]
pub struct Renderer {
    name: String,
    format: Format,
    templates: Environment<'static>,
}

/// The texts of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// One line, escaped for the destination.
    pub title: String,
    /// The body, escaped for the destination; empty where the title says it all.
    pub text: String,
    /// The HTML part; empty where the format has none.
    pub html: String,
    /// Why the template failed, for the log; the built-in text stands in its place then.
    pub fell_back: Option<String>,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}{}: {message}", line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct RenderError {
    /// The template, as people know it: the path of its file or the name of the channel.
    pub name: String,
    /// The line in it, from 1, where one is known.
    pub line: Option<usize>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Renderer {
    /// Compiles a template with the blocks `title`, `text` and, for email, `html`, and tries it on
    /// letters of every sort, so that a wrong name is found now and not in the night. Only a test
    /// is not tried: it tells of no incident, which hardly anybody thinks of who writes a template,
    /// and the built-in text does for it.
    ///
    /// `name` is what errors call it. [`Context`] says what the template is given; the filters
    /// `short(characters)` and `link(label)` are there beside those of MiniJinja.
    pub fn compile(name: &str, source: &str, format: Format) -> Result<Self, RenderError> {
        let mut renderer = Self { name: name.to_owned(), format, templates: environment(format) };
        let parts: &[&str] = if format == Format::Email { &[TEXT, HTML] } else { &[TEXT] };
        for part in parts {
            let added = renderer.templates.add_template_owned(*part, source.to_owned());
            added.map_err(|error| renderer.error(&error))?;
        }
        sample::letters(|letter| {
            if letter.what == What::Test {
                return Ok(());
            }
            renderer.try_render(&Context::of(letter)).map(drop).map_err(|mut error| {
                error.message += &format!(" (for `{}`)", letter.what);
                error
            })
        })?;
        Ok(renderer)
    }

    /// The texts for `letter`. A template that fails gives way to a built-in text: the alert still
    /// goes.
    pub fn render(&self, letter: &Letter<'_>) -> Rendered {
        let context = Context::of(letter);
        self.try_render(&context).unwrap_or_else(|error| {
            let (title, text, html) = plain::built_in(&context, self.format);
            Rendered { title, text, html, fell_back: Some(error.to_string()) }
        })
    }

    fn try_render(&self, context: &Context) -> Result<Rendered, RenderError> {
        let [title, text] = self.blocks(TEXT, ["title", "text"], context)?;
        let [html] = match self.format {
            Format::Email => self.blocks(HTML, ["html"], context)?,
            Format::Plain | Format::Slack | Format::Discord | Format::TelegramHtml => {
                Default::default()
            }
        };
        let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
        if title.is_empty() {
            let message = "the block `title` comes out empty; it must say something".to_owned();
            return Err(RenderError { name: self.name.clone(), line: None, message });
        }
        Ok(Rendered { title, text: tidy(&text), html: html.trim().to_owned(), fell_back: None })
    }

    fn blocks<const N: usize>(
        &self,
        part: &str,
        names: [&str; N],
        context: &Context,
    ) -> Result<[String; N], RenderError> {
        let render = || {
            let template = self.templates.get_template(part)?;
            let mut captured = template.render_captured(Value::from(Serde(context)))?;
            captured.with_state_mut(|state| {
                let mut blocks = [const { String::new() }; N];
                for (block, name) in blocks.iter_mut().zip(names) {
                    *block = state.render_block(name)?;
                }
                Ok(blocks)
            })
        };
        render().map_err(|error: Error| self.error(&error))
    }

    fn error(&self, error: &Error) -> RenderError {
        template_error(&self.name, error)
    }
}

/// What went wrong, with the place in the template `name` and the words that stand there.
fn template_error(name: &str, error: &Error) -> RenderError {
    let mut message = match error.detail() {
        Some(detail) => detail.to_owned(),
        None => error.kind().to_string(),
    };
    let place = error.template_source().zip(error.range());
    let quoted = place.and_then(|(source, range)| source.get(range)).map(|text| short(text, 80));
    match (error.kind(), quoted) {
        (ErrorKind::UndefinedError, Some(quoted)) => {
            let quoted = quoted.trim_start_matches('.');
            message = format!(
                "`{quoted}` is not defined (a name that is not always there needs \
                 `|default(\"\")`)"
            );
        }
        (ErrorKind::UnknownBlock, _) => {
            message += "; a template has the blocks `title`, `text` and, for email, `html`";
        }
        (_, Some(quoted)) if !message.contains(&quoted) => {
            message += &format!(", at `{quoted}`");
        }
        _ => {}
    }
    RenderError { name: name.to_owned(), line: error.line(), message }
}

/// The message that tells `notice` in the words of `rendered`, with neither picture nor actions.
pub fn message(notice: &Notice, daemon: &Name, rendered: Rendered) -> Message {
    Message {
        id: notice.id.clone(),
        what: notice.what,
        at: notice.at,
        daemon: daemon.clone(),
        recipient: notice.recipient.clone(),
        incidents: notice.incidents.clone(),
        title: rendered.title,
        text: rendered.text,
        html: rendered.html,
        picture: None,
        actions: Vec::new(),
        answers: None,
        live: Vec::new(),
    }
}

fn environment(format: Format) -> Environment<'static> {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    // Costs nothing until an error needs the place where it came up.
    templates.set_debug(true);
    if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build() {
        templates.set_syntax(syntax);
    }
    templates.set_auto_escape_callback(move |part| match (part, format) {
        (HTML, _) => AutoEscape::Html,
        (_, Format::Plain | Format::Email) => AutoEscape::None,
        (_, Format::Slack | Format::Discord | Format::TelegramHtml) => {
            AutoEscape::Custom("destination".into())
        }
    });
    templates.set_formatter(move |out, state, value| {
        let escaped = match state.auto_escape() {
            AutoEscape::Custom(_) if !value.is_safe() => {
                escape(format, &value.to_string()).into_owned()
            }
            AutoEscape::Html if !value.is_safe() => html(&value.to_string()).into_owned(),
            _ => value.to_string(),
        };
        out.write_str(&escaped).map_err(Error::from)
    });
    templates.add_filter("short", |text: &str, limit: usize| short(text, limit));
    templates.add_filter("link", move |state: &State<'_, '_>, target: &str, label: &str| {
        Value::from_safe_string(match state.auto_escape() {
            AutoEscape::Html => escape::link_in_html(target, label),
            _ => escape::link(format, target, label),
        })
    });
    templates
}

/// Without white space at the ends of lines, and with no more than one empty line in a row.
fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut empty = 0;
    for line in text.trim().lines() {
        let line = line.trim_end();
        empty = if line.is_empty() { empty + 1 } else { 0 };
        if empty < 2 {
            out.push_str(line);
            out.push('\n');
        }
    }
    out.truncate(out.trim_end().len());
    out
}

#[cfg(test)]
mod tests;
