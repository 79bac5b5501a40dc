//! `heartbeat`: waits for a job to ping the daemon, and misses it when it does not. The wire is
//! that of Healthchecks.

pub mod state;
#[cfg(test)]
mod tests;

use crate::check::{Check, Kind, Run};
use crate::config::{Place, Section, parse_duration, parse_zone};
use crate::model::{FactSpec, FactType, Facts, Observation, OptionDoc, Secret, uuid};
use async_trait::async_trait;
use chrono_tz::Tz;
use state::Filter;
use std::time::Duration;

/// The kind `heartbeat`.
pub const KIND: Kind = Kind {
    name: "heartbeat",
    summary: "waits for a job to ping, as Healthchecks does, and tells when it fails or is overdue",
    options: &[
        OptionDoc::new(
            "uuid",
            "secret",
            "",
            "its address is /ping/UUID (`uuidgen` makes one); whoever knows it can ping",
        ),
        OptionDoc::new(
            "slug",
            "string",
            "",
            "its address is /ping/KEY/SLUG, by `ping_key` of `[api]` or a key of the API that may \
             push; one of `uuid` and `slug` must be there, or both",
        ),
        OptionDoc::new(
            "period",
            "duration",
            "",
            "how long after a ping the next one is due, from 1s to 366d; or `cron`",
        ),
        OptionDoc::new(
            "cron",
            "string",
            "",
            "when pings are due, as five fields such as \"0 3 * * *\"; each ping fills the times up \
             to its own",
        ),
        OptionDoc::new(
            "time_zone",
            "string",
            "",
            "the zone of `cron`, such as Europe/Berlin; that of the daemon if absent",
        ),
        OptionDoc::new(
            "grace",
            "duration",
            "\"1h\"",
            "how late a ping may be, and how long a run may take after its start; with a shorter \
             `period`, that is the default",
        ),
        OptionDoc::new(
            "methods",
            "list",
            "",
            "the HTTP methods that count, such as [\"POST\"]; others are answered and ignored",
        ),
        OptionDoc::new(
            "filter_start",
            "list",
            "[]",
            "words in the body that mean that a run begins; with any of these lists the path no \
             longer says what a ping means",
        ),
        OptionDoc::new("filter_success", "list", "[]", "words in the body that mean success"),
        OptionDoc::new(
            "filter_failure",
            "list",
            "[]",
            "words in the body that mean failure, whatever other words stand there",
        ),
        OptionDoc::new(
            "filter_default",
            "string",
            "\"ignore\"",
            "what a body with none of these words is: ignore or fail",
        )
        .words(&["ignore", "fail"]),
        OptionDoc::new(
            "manual_resume",
            "boolean",
            "false",
            "whether a ping to a paused check is ignored, and does not resume it",
        ),
    ],
    facts: &[
        FactSpec::kept(
            "event",
            FactType::Text,
            "",
            "what happened: success, fail, start, log, ignored; late when the grace begins, missed \
             when it is over, and look for a look now and then",
        ),
        FactSpec::kept(
            "pinged",
            FactType::Bool,
            "",
            "whether it was ever pinged, or was since it was paused; unknown and not told before",
        ),
        FactSpec::kept("pings", FactType::Int, "", "how many pings came so far, notes included"),
        FactSpec::kept(
            "last_ping",
            FactType::Int,
            "s",
            "how long ago the latest success or failure came",
        ),
        FactSpec::kept(
            "late_seconds",
            FactType::Int,
            "s",
            "for how long the next ping has been due; 0 while it is not",
        ),
        FactSpec::kept(
            "duration_ms",
            FactType::Double,
            "ms",
            "how long the latest run took, from its start to its end; absent where no start was told",
        ),
        FactSpec::kept(
            "exit_status",
            FactType::Int,
            "",
            "the exit status that came last; 0 with a plain success, absent with a plain failure",
        ),
        FactSpec::kept("running", FactType::Bool, "", "whether a run has begun and not ended"),
        FactSpec::kept("running_seconds", FactType::Int, "s", "for how long it has"),
        FactSpec::kept(
            "body",
            FactType::Text,
            "",
            "what came with the latest success or failure: its first 10,000 bytes",
        ),
    ],
    example: r#"[[check]]
name = "nightly-backup"
degraded_if = ["duration_ms > 3600000.0"]
[check.heartbeat]
uuid = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"
cron = "0 3 * * *"
time_zone = "Europe/Berlin"
grace = "2h"
"#,
    well: "the latest ping was no failure, and the next one is not overdue",
    parse,
};

/// The shortest and the longest period and grace.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(366 * 86_400);
/// The grace where the check says nothing and its period is no shorter.
const GRACE: Duration = Duration::from_secs(3600);
/// The methods that a client may use by what is documented.
const METHODS: [&str; 3] = ["GET", "HEAD", "POST"];

/// What a heartbeat's table says.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// Its secret, in lower case, and where it stands. Empty where secrets are not looked up.
    pub uuid: Option<(Secret, Place)>,
    /// Its name in URLs, and where it stands.
    pub slug: Option<(String, Place)>,
    /// When a ping is due.
    pub rhythm: Rhythm,
    /// How late one may be, and how long a run may take.
    pub grace: Duration,
    /// The methods that count; all if empty.
    pub methods: Vec<String>,
    /// The words that decide.
    pub filter: Filter,
    /// Whether only a person resumes it.
    pub manual_resume: bool,
}

/// When a ping is due.
#[derive(Clone, Debug)]
pub enum Rhythm {
    /// So long after the one before.
    Period(Duration),
    /// By a cron line, which is still to be read.
    Cron {
        /// Five fields.
        line: String,
        /// The zone, if the check names one.
        time_zone: Option<Tz>,
        /// Where the line stands.
        place: Place,
    },
}

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Check>> {
    let whole = section.place().clone();
    let (uuid_place, slug_place) = (section.place_of("uuid"), section.place_of("slug"));
    let addressed = section.has("uuid") || section.has("slug");
    let had_uuid = section.has("uuid");
    let uuid = section.built("uuid", |text: Secret| {
        let looks =
            "is no UUID (such as 5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278; `uuidgen` makes one)";
        uuid(text.expose()).map(Secret::new).ok_or_else(|| looks.to_owned())
    });
    let uuid = uuid.or(had_uuid.then(|| Secret::new(""))).map(|uuid| (uuid, uuid_place));
    let slug = section.built("slug", read_slug).map(|slug| (slug, slug_place));
    if !addressed {
        let hint = "add `uuid` (`uuidgen` makes one), or `slug`";
        section.report(whole.error("does not say at which address it is pinged").hint(hint));
    }
    let rhythm = read_rhythm(section);
    let default = match &rhythm {
        Some(Rhythm::Period(period)) => GRACE.min(*period),
        _ => GRACE,
    };
    let grace = section.built("grace", |text: String| read_span(&text)).unwrap_or(default);
    let methods = section.built("methods", read_methods).unwrap_or_default();
    let filter = read_filter(section);
    let manual_resume = section.or("manual_resume", false);
    Some(Box::new(Heartbeat { uuid, slug, rhythm: rhythm?, grace, methods, filter, manual_resume }))
}

fn read_rhythm(section: &mut Section<'_>) -> Option<Rhythm> {
    let whole = section.place().clone();
    let (cron_place, zone_place) = (section.place_of("cron"), section.place_of("time_zone"));
    let had_period = section.has("period");
    let period = section.built("period", |text: String| read_span(&text));
    let had_cron = section.has("cron");
    let line = section.optional::<String>("cron");
    let had_zone = section.has("time_zone");
    let time_zone = section.built("time_zone", |name: String| parse_zone(&name));
    match (had_period, had_cron) {
        (true, true) => {
            section.error_at(&cron_place, "there is `period` already; choose one of the two");
        }
        (false, false) => {
            let hint = "add `period`, such as \"1d\", or `cron`, such as \"0 3 * * *\"";
            section.report(whole.error("does not say when pings are due").hint(hint));
        }
        _ => {}
    }
    if had_zone && !had_cron {
        section.error_at(&zone_place, "has a meaning only beside `cron`");
    }
    match line {
        Some(line) => Some(Rhythm::Cron { line, time_zone, place: cron_place }),
        None => period.map(Rhythm::Period),
    }
}

fn read_filter(section: &mut Section<'_>) -> Filter {
    let filters = ["filter_start", "filter_success", "filter_failure"];
    let is_on = filters.iter().any(|key| section.has(key));
    let start = section.built("filter_start", words).unwrap_or_default();
    let success = section.built("filter_success", words).unwrap_or_default();
    let failure = section.built("filter_failure", words).unwrap_or_default();
    let place = section.place_of("filter_default");
    let had_default = section.has("filter_default");
    let default_fail = section.built("filter_default", |word: String| match word.as_str() {
        "ignore" => Ok(false),
        "fail" => Ok(true),
        _ => Err(format!("`{word}` is neither ignore nor fail")),
    });
    if had_default && !is_on {
        let message = "has no effect without `filter_start`, `filter_success` or `filter_failure`";
        section.report(place.warning(message));
    }
    Filter { start, success, failure, default_fail: default_fail.unwrap_or(false) }
}

fn read_slug(text: String) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if !text.is_empty() && text.chars().all(fits) {
        return Ok(text);
    }
    Err(format!("`{text}` is no slug: it holds lower-case letters, digits, `-` and `_`"))
}

fn read_span(text: &str) -> Result<Duration, String> {
    let span = parse_duration(text)?;
    if span < SHORTEST {
        return Err("is too short: the shortest is 1s".to_owned());
    }
    if span > LONGEST {
        return Err("is too long: the longest is 366d".to_owned());
    }
    Ok(span)
}

fn read_methods(methods: Vec<String>) -> Result<Vec<String>, String> {
    match methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
        Some(odd) => Err(format!("`{odd}` is not one of {}", METHODS.join(", "))),
        None => Ok(methods),
    }
}

fn words(words: Vec<String>) -> Result<Vec<String>, String> {
    match words.iter().any(String::is_empty) {
        true => Err("holds an empty word, which stands in every text".to_owned()),
        false => Ok(words),
    }
}

#[async_trait]
impl Check for Heartbeat {
    /// Only a running daemon hears pings; whoever asks outside of one learns nothing.
    async fn run(&self, _run: &Run) -> Observation {
        let mut facts = Facts::default();
        facts.set("event", "look");
        facts.set("pinged", false);
        let why = "only the running daemon hears pings: `watchbell status` shows what it knows";
        Observation::undecided(facts, "pinged", why)
    }

    fn heartbeat(&self) -> Option<&Heartbeat> {
        Some(self)
    }
}
