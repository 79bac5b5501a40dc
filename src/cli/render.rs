use super::{Exit, output, unknown};
use crate::app::plan::{self, LoadOptions, Plan};
use crate::app::{Enclosed, Letterhead, compose};
use crate::config::{Interpolator, Problems, Section, SourceFile};
use crate::deliver::{Channel, ChannelKind, Preview, kinds};
use crate::model::{Message, Notice, What};
use crate::render::picture::LastHour;
use crate::render::sample::{self, Sample, TOLD};
use crate::render::{PICTURE_ID, Renderer, Tone, offers_actions, shows_last_hour};
use anyhow::{Context as _, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use owo_colors::{OwoColorize, Stream, Style};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the configuration is if nobody says so.
const DEFAULT_CONFIG: &str = "/etc/watchbell/daemon.toml";

#[derive(Args, Debug)]
pub struct RenderArgs {
    /// A configured channel, or a kind of channel such as slack; without it, lists what there is
    #[arg(value_name = "CHANNEL")]
    channel: Option<String>,
    /// What the message tells
    #[arg(long, value_enum, default_value_t = Telling::Opened)]
    sample: Telling,
    /// Print exactly the body that would be sent
    #[arg(long, conflicts_with_all = ["html", "json"])]
    payload: bool,
    /// Print only the HTML part, which email has
    #[arg(long, conflicts_with = "json")]
    html: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write the picture that goes with the message into this file, as PNG
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Try this template in place of the channel's own
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// The daemon's configuration file [default: /etc/watchbell/daemon.toml if it is there]
    #[arg(long, value_name = "PATH", env = "WATCHBELL_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Telling {
    /// An incident opened
    Opened,
    /// From degraded to down
    Worsened,
    /// It goes on, and nobody has taken it on
    Reminder,
    /// It goes on, and others are told
    Escalated,
    /// The check goes to and fro
    Flapping,
    /// It goes to and fro no longer, but is not well
    FlappingEnded,
    /// What was tried to get it going again did not help
    RecoveryStopped,
    /// It is over
    Resolved,
    /// Several incidents at once
    Digest,
    /// A person tries the channel out
    Test,
    /// The worst that a hostile server may say: an opening, and the digest of many
    Hostile,
    /// Each of those before hostile, one after the other
    All,
}

/// What is shown, and in whose words.
struct Subject {
    /// What people call it.
    name: String,
    kind: &'static ChannelKind,
    channel: Arc<dyn Channel>,
    renderer: Arc<Renderer>,
    head: Letterhead,
}

pub fn run(args: &RenderArgs) -> anyhow::Result<Exit> {
    let Ok(plan) = configuration(args) else { return Ok(Exit::Down) };
    let Some(name) = &args.channel else { return list(plan.as_ref(), args.json) };
    let mut subject = subject(name, plan)?;
    if let Some(file) = &args.template {
        let source = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let renderer = Renderer::compile(&file.to_string_lossy(), &source, subject.kind.format)?;
        subject.renderer = Arc::new(renderer);
    }
    let samples = samples(args.sample);
    let mut shown = Vec::new();
    for (index, sample) in samples.iter().enumerate() {
        let message = message(&subject, sample)?;
        if let Some(file) = &args.picture {
            let picture = message.picture.as_ref().ok_or_else(|| no_picture(&subject, sample))?;
            std::fs::write(file, &picture.png)
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        let preview = || subject.channel.preview(&message).map_err(|why| anyhow!(why));
        if args.json {
            shown.push(as_json(&subject.name, &message, &preview()?));
        } else if args.payload {
            let body = preview()?.body;
            output::line(body.strip_suffix('\n').unwrap_or(&body));
        } else if args.html {
            if message.html.is_empty() {
                return Err(anyhow!("`{}` has no HTML part; email has one", subject.name));
            }
            output::line(&with_picture(&message));
        } else {
            if index > 0 {
                output::line("");
            }
            show(&subject.name, &message);
        }
    }
    if args.json {
        match &shown[..] {
            [one] => output::json(one)?,
            several => output::json(&several)?,
        }
    }
    Ok(Exit::Fine)
}

/// What is wrong with the configuration has been printed.
struct Told;

/// The plan, if there is a configuration; a kind needs none.
fn configuration(args: &RenderArgs) -> Result<Option<Plan>, Told> {
    let default = Path::new(DEFAULT_CONFIG);
    let Some(path) = args.config.as_deref().or_else(|| default.exists().then_some(default)) else {
        return Ok(None);
    };
    // Nothing is sent, so that nobody has to have the secrets.
    let problems = match plan::load(path, LoadOptions { without_secrets: true }) {
        Ok(plan) => return Ok(Some(plan)),
        Err(problems) => problems,
    };
    for problem in problems {
        output::note(&problem.to_string());
    }
    let is_kind = args.channel.as_deref().is_some_and(|name| kinds::find(name).is_some());
    if args.config.is_some() || !is_kind { Err(Told) } else { Ok(None) }
}

fn list(plan: Option<&Plan>, as_json: bool) -> anyhow::Result<Exit> {
    let channels: Vec<&str> =
        plan.iter().flat_map(|plan| &plan.channels).map(|channel| &*channel.name).collect();
    let samples: Vec<_> = Telling::value_variants()
        .iter()
        .filter_map(ValueEnum::to_possible_value)
        .map(|value| {
            let help = value.get_help().map(ToString::to_string).unwrap_or_default();
            (value.get_name().to_owned(), help)
        })
        .collect();
    if as_json {
        let kinds: Vec<&str> = kinds::ALL.iter().map(|kind| kind.name).collect();
        let samples: Vec<&str> = samples.iter().map(|(name, _)| name.as_str()).collect();
        output::json(&json!({ "channels": channels, "kinds": kinds, "samples": samples }))?;
        return Ok(Exit::Fine);
    }
    if !channels.is_empty() {
        output::line(&format!("Configured channels: {}\n", channels.join(", ")));
    }
    let mut table = output::table(&["CHANNEL", "WHERE IT DELIVERS"]);
    for kind in kinds::ALL {
        table.add_row([kind.name, kind.summary]);
    }
    output::print(&table);
    output::line("");
    let mut table = output::table(&["SAMPLE", "WHAT IT TELLS"]);
    for (name, help) in &samples {
        table.add_row([name, help]);
    }
    output::print(&table);
    output::line("\n`watchbell render slack --sample digest` shows one; nothing is sent.");
    Ok(Exit::Fine)
}

/// The configured channel called `name`, else the kind.
fn subject(name: &str, plan: Option<Plan>) -> anyhow::Result<Subject> {
    let head = match &plan {
        Some(plan) => Letterhead::of(plan, None),
        None => {
            let (daemon, zone) = ("prod".into(), chrono_tz::UTC);
            Letterhead { daemon, zone, pages: sample::pages(), links: None }
        }
    };
    let templates = plan.as_ref().map(|plan| plan.templates.clone());
    let mut configured = plan.map(|plan| plan.channels).unwrap_or_default();
    if let Some(index) = configured.iter().position(|channel| *channel.name == *name) {
        let planned = configured.swap_remove(index);
        return Ok(Subject {
            name: name.to_owned(),
            kind: planned.kind,
            channel: planned.channel,
            renderer: planned.renderer,
            head,
        });
    }
    let Some(kind) = kinds::find(name) else {
        let names = configured.iter().map(|channel| &*channel.name);
        let known = names.chain(kinds::ALL.iter().map(|kind| kind.name));
        return Err(unknown("channel", name, known, "`watchbell render` lists what there is"));
    };
    let channel = example(kind).ok_or_else(|| anyhow!("the example of `{name}` is broken"))?;
    let in_folder = templates.map(|folder| folder.join(format!("{name}.jinja")));
    let renderer = match in_folder.filter(|file| file.exists()) {
        Some(file) => {
            let source = std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            Renderer::compile(&file.to_string_lossy(), &source, kind.format)?
        }
        None => Renderer::compile(kind.name, kind.template, kind.format)?,
    };
    let channel = channel.into();
    Ok(Subject { name: name.to_owned(), kind, channel, renderer: renderer.into(), head })
}

/// The channel that the example of `kind` describes: nothing is sent to it.
fn example(kind: &ChannelKind) -> Option<Box<dyn Channel>> {
    let file = SourceFile::in_memory(kind.name, kind.example);
    let base = Path::new(".");
    let interpolator = Interpolator::new(base).without_secrets();
    let mut problems = Problems::default();
    let mut root = Section::root(&file, base, &interpolator, &mut problems);
    let mut table = root.tables("channel").into_iter().next()?;
    let mut options = table.table(kind.name)?;
    (kind.parse)(&mut options)
}

fn samples(telling: Telling) -> Vec<Sample> {
    let what = |telling| match telling {
        Telling::Opened => Some(What::Opened),
        Telling::Worsened => Some(What::Worsened),
        Telling::Reminder => Some(What::Reminder),
        Telling::Escalated => Some(What::Escalated),
        Telling::Flapping => Some(What::Flapping),
        Telling::FlappingEnded => Some(What::FlappingEnded),
        Telling::RecoveryStopped => Some(What::RecoveryStopped),
        Telling::Resolved => Some(What::Resolved),
        Telling::Digest => Some(What::Digest),
        Telling::Test => Some(What::Test),
        Telling::Hostile | Telling::All => None,
    };
    match telling {
        Telling::Hostile => Sample::hostile().into(),
        Telling::All => {
            let all = Telling::value_variants().iter();
            all.filter_map(|telling| what(*telling)).map(Sample::of).collect()
        }
        one => what(one).map(Sample::of).into_iter().collect(),
    }
}

fn message(subject: &Subject, sample: &Sample) -> anyhow::Result<Message> {
    let recipient = subject.channel.recipients().into_iter().next().unwrap_or_default();
    let id = "01JNA8Y8PK000000000000000N".to_owned();
    let name = subject.name.as_str().into();
    let incidents = sample.incidents.clone();
    let mut notice = Notice::new(id, sample.what, name, recipient, incidents, TOLD);
    notice.held_because = sample.because;
    let mut enclosed = Enclosed { past: sample.past.clone(), ..Enclosed::default() };
    if let [incident] = &sample.incidents[..] {
        if subject.channel.shows_pictures() && shows_last_hour(sample.what) {
            let (results, zone) = (sample::hour(incident), subject.head.zone);
            let (check, began_at) = (&*incident.check, incident.began_at);
            let hour = LastHour { check, results: &results, began_at, until: TOLD, zone };
            enclosed.picture = hour.draw().map_err(|why| anyhow!(why))?;
        }
        if let Some(pages) = subject.head.pages.as_ref().filter(|_| offers_actions(sample.what)) {
            enclosed.actions = sample::actions(pages);
        }
    }
    Ok(compose(&subject.renderer, &notice, &subject.head, enclosed, TOLD))
}

fn no_picture(subject: &Subject, sample: &Sample) -> anyhow::Error {
    match subject.channel.shows_pictures() {
        true => anyhow!("a message that tells `{}` has no picture; `opened` has one", sample.what),
        false => anyhow!("`{}` shows no pictures; email does", subject.name),
    }
}

/// The HTML of a mail with its picture in it, for a browser, which knows no parts of a mail.
fn with_picture(message: &Message) -> String {
    let Some(picture) = &message.picture else { return message.html.clone() };
    let data = format!("data:image/png;base64,{}", STANDARD.encode(&picture.png));
    message.html.replace(&format!("cid:{PICTURE_ID}"), &data)
}

fn as_json(name: &str, message: &Message, preview: &Preview) -> Json {
    json!({
        "channel": name,
        "sample": message.what,
        "title": message.title,
        "text": message.text,
        "html": message.html,
        "actions": message
            .actions
            .iter()
            .map(|action| json!({ "label": action.label, "url": action.url }))
            .collect::<Vec<_>>(),
        "picture": message.picture.as_ref().map(|picture| json!({ "alt": picture.alt })),
        "payload": { "content_type": preview.content_type, "body": preview.body },
    })
}

/// The parts of a message, each under its name; the title in the colour of the state.
fn show(name: &str, message: &Message) {
    let tone = match Tone::of(message.what, &message.incidents) {
        Tone::Good => Style::new().green(),
        Tone::Note => Style::new().blue(),
        Tone::Warning => Style::new().yellow(),
        Tone::Bad => Style::new().red(),
    };
    let dim = |text: &str| text.if_supports_color(Stream::Stdout, |text| text.dimmed()).to_string();
    let title = message.title.if_supports_color(Stream::Stdout, |title| title.style(tone.bold()));
    output::line(&dim(&format!("── {name} · {} ──", message.what)));
    output::line(&title.to_string());
    if !message.text.is_empty() {
        output::line(&message.text);
    }
    if !message.html.is_empty() {
        output::line(&dim("── html ──"));
        output::line(&message.html);
    }
}
