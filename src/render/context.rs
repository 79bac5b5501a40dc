use super::escape::clean;
use super::incident::{IncidentContext, NAME};
use super::letter::Letter;
use super::words::{self, Tone};
use crate::model::{Incident, Picture, Status, Timestamp, What};
use serde::Serialize;
use std::cmp::Reverse;

/// What the picture of an email is called within it.
pub const PICTURE_ID: &str = "last-hour@watchbell";
/// How many incidents a message lists.
const LISTED: usize = 20;

/// What a template is given. These names are a promise to everybody who wrote a template: fields
/// may be added, none renamed.
///
/// Text from outside is cleaned and bounded in here, so that no template has to: it stands on one
/// line, without control characters and without anything that hides or turns text. It is escaped
/// for its destination when a template prints it.
#[derive(Debug, Serialize)]
pub struct Context {
    /// What the message tells: `opened`, `worsened`, `reminder`, `escalated`, `flapping`,
    /// `flapping_ended`, `recovery_stopped`, `resolved`, `digest` or `test`.
    pub what: What,
    /// When it came to be owed, RFC 3339 in UTC.
    pub at: Timestamp,
    /// The same in the daemon's time zone, for people.
    pub time: String,
    /// The name of the daemon.
    pub daemon: String,
    /// 🔴, 🟡, 🟢 or 🔵, by the worst that the message tells.
    pub icon: &'static str,
    /// The colour that goes with it, such as `#d73a49`.
    pub color: String,
    /// The first of `incidents`; none where there is none, as a test may have it.
    pub incident: Option<IncidentContext>,
    /// What the message is about: what goes on before what is over, then what most checks depend
    /// on, then the worst, then the oldest. A digest may be about more than it lists.
    pub incidents: Vec<IncidentContext>,
    /// How many incidents there are beyond those listed.
    pub more: usize,
    /// How many incidents there are in all, by state.
    pub counts: Counts,
    /// What a digest stands for; none where it is not known.
    pub held: Option<HeldContext>,
    /// The address of the page with all checks; none unless `public_url` is set.
    pub page: Option<String>,
    /// The last hour of the check as a picture; none unless the channel shows one, as email does.
    pub picture: Option<PictureContext>,
}

/// How many incidents a message is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// How many alerts there are, in words: `1 alert`, `4 alerts`.
    pub alerts: String,
    /// What there is of each, in words: `3 down, 1 resolved`.
    pub words: String,
    /// What a digest is headed: `4 alerts`, or `4 resolved` where nothing else is in it.
    pub heading: String,
    /// All of them.
    pub total: usize,
    /// Open and down.
    pub down: usize,
    /// Open and degraded.
    pub degraded: usize,
    /// Open, and for long nobody could say how it is.
    pub unknown: usize,
    /// Over by now.
    pub resolved: usize,
}

/// The picture that goes with a message.
#[derive(Debug, Serialize)]
pub struct PictureContext {
    /// The same in words, for those who do not see it.
    pub alt: String,
    /// Where the HTML of an email refers to it: `<img src="{{ picture.src }}">`.
    pub src: String,
}

impl PictureContext {
    fn of(picture: &Picture) -> Self {
        Self { alt: clean(&picture.alt, NAME), src: format!("cid:{PICTURE_ID}") }
    }
}

/// Why notices came together.
#[derive(Debug, Serialize)]
pub struct HeldContext {
    /// How many notices there were.
    pub notices: usize,
    /// Why, in words: `this channel had reached its rate limit`.
    pub because: &'static str,
}

impl Context {
    /// What the templates are given for `letter`.
    pub fn of(letter: &Letter<'_>) -> Self {
        let mut sorted: Vec<&Incident> = letter.incidents.iter().collect();
        // What many others depend on is likely to be the cause of the rest.
        sorted.sort_by_key(|incident| {
            let worst = (Tone::of_incident(incident), incident.severity);
            let is_over = incident.resolved_at.is_some();
            (is_over, Reverse(incident.dependents.len()), Reverse(worst), incident.began_at)
        });
        let listed = |incident: &&Incident| IncidentContext::of(incident, letter);
        let tone = Tone::of(letter.what, letter.incidents);
        Self {
            what: letter.what,
            at: letter.at,
            time: words::time(letter.at, letter.zone),
            daemon: clean(letter.daemon, NAME),
            icon: tone.icon(),
            color: tone.hex(),
            incident: sorted.first().map(listed),
            incidents: sorted.iter().take(LISTED).map(listed).collect(),
            more: sorted.len().saturating_sub(LISTED),
            counts: Counts::of(letter.incidents),
            held: letter.held.map(|held| HeldContext {
                notices: held.notices,
                because: words::because(held.because),
            }),
            page: letter.background.pages.map(ToString::to_string),
            picture: letter.background.picture.map(PictureContext::of),
        }
    }
}

impl Counts {
    fn of(incidents: &[Incident]) -> Self {
        let mut counts = Self { total: incidents.len(), ..Self::default() };
        for incident in incidents {
            match (incident.resolved_at, incident.status) {
                (Some(_), _) | (None, Status::Up) => counts.resolved += 1,
                (None, Status::Down) => counts.down += 1,
                (None, Status::Degraded) => counts.degraded += 1,
                (None, Status::Unknown) => counts.unknown += 1,
            }
        }
        counts.alerts = match counts.total {
            1 => "1 alert".to_owned(),
            total => format!("{total} alerts"),
        };
        let each = [
            (counts.down, "down"),
            (counts.degraded, "degraded"),
            (counts.unknown, "unknown"),
            (counts.resolved, "resolved"),
        ];
        let some = each.into_iter().filter(|(count, _)| *count > 0);
        counts.words =
            some.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ");
        let all_over = counts.total > 0 && counts.resolved == counts.total;
        counts.heading = if all_over { &counts.words } else { &counts.alerts }.clone();
        counts
    }
}
