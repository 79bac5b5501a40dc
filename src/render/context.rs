use super::escape::clean;
use super::letter::Letter;
use super::words::{self, Tone};
use crate::model::{Incident, Labels, Severity, Status, TimelineEntry, Timestamp, What};
use chrono_tz::Tz;
use serde::Serialize;

/// How many incidents a message lists.
pub(super) const LISTED: usize = 20;
/// How many reasons of an incident, and how many characters of each.
const REASONS: usize = 5;
const REASON: usize = 500;
/// How many labels of an incident, and how many characters of each name and value.
const LABELS: usize = 20;
const LABEL: usize = 120;
/// How many lines of an incident's timeline, the latest ones.
const TIMELINE: usize = 10;
/// How many characters of a name or an address.
const NAME: usize = 200;
const ADDRESS: usize = 1_000;

/// What a template is given. These names are a promise to everybody who wrote a template: fields
/// may be added, none renamed.
///
/// Text from outside is cleaned and bounded in here, so that no template has to: it stands on one
/// line, without control characters and without anything that hides or turns text. It is escaped
/// for its destination when a template prints it.
#[derive(Debug, Serialize)]
pub struct Context {
    /// What the message tells: `opened`, `worsened`, `resolved`, `digest` or `test`.
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
    /// What the message is about, the worst first; a digest may be about more than it lists.
    pub incidents: Vec<IncidentContext>,
    /// How many incidents there are beyond those listed.
    pub more: usize,
    /// How many incidents there are in all, by state.
    pub counts: Counts,
    /// What a digest stands for; none where it is not known.
    pub held: Option<HeldContext>,
}

/// How many incidents a message is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// How many alerts there are, in words: `1 alert`, `4 alerts`.
    pub alerts: String,
    /// What there is of each, in words: `3 down, 1 resolved`.
    pub words: String,
    /// All of them.
    pub total: usize,
    /// Open and down.
    pub down: usize,
    /// Open and degraded.
    pub degraded: usize,
    /// Over by now.
    pub resolved: usize,
}

/// Why notices came together.
#[derive(Debug, Serialize)]
pub struct HeldContext {
    /// How many notices there were.
    pub notices: usize,
    /// Why, in words: `this channel had reached its rate limit`.
    pub because: &'static str,
}

/// One incident, as templates see it.
#[derive(Debug, Serialize)]
pub struct IncidentContext {
    /// Its id.
    pub id: String,
    /// The name of the check.
    pub check: String,
    /// The kind of the check, such as `http`.
    pub kind: String,
    /// `down` or `degraded`: the worst that was confirmed last, also after the end.
    pub status: Status,
    /// `critical`, `warning` or `info`.
    pub severity: Severity,
    /// `DOWN`, `DEGRADED`, or when it is over `UP`, or `CLOSED` if it was withdrawn.
    pub state: &'static str,
    /// 🔴, 🟡, 🟢 or 🔵.
    pub icon: &'static str,
    /// The colour that goes with it, such as `#d73a49`.
    pub color: String,
    /// The first reason; `no reason is known` where there is none.
    pub reason: String,
    /// The first reasons.
    pub reasons: Vec<String>,
    /// How many reasons there are beyond those.
    pub more_reasons: usize,
    /// The labels: `labels.team`. Say `labels.team|default("")` for one that not every check has.
    pub labels: Labels,
    /// Where to read what to do; none if the check does not say.
    pub runbook: Option<String>,
    /// Who has taken it on; none if nobody has.
    pub acknowledged: Option<String>,
    /// Why it is over although nobody knows that the check is well, such as `the check was
    /// removed`; none otherwise.
    pub withdrawn: Option<String>,
    /// When it was confirmed, RFC 3339 in UTC.
    pub opened_at: Timestamp,
    /// When the first of its bad verdicts came, RFC 3339 in UTC.
    pub began_at: Timestamp,
    /// When it was over, RFC 3339 in UTC; none while it is open.
    pub resolved_at: Option<Timestamp>,
    /// `opened_at` in the daemon's time zone, for people.
    pub opened: String,
    /// `began_at` in the daemon's time zone, for people.
    pub began: String,
    /// `resolved_at` in the daemon's time zone, for people; none while it is open.
    pub resolved: Option<String>,
    /// How long it lasted, or has lasted by now: `4m 10s`.
    pub duration: String,
    /// What happened, the oldest first.
    pub timeline: Vec<TimelineContext>,
}

/// One line of an incident's story.
#[derive(Debug, Serialize)]
pub struct TimelineContext {
    /// When, RFC 3339 in UTC.
    pub at: Timestamp,
    /// When, in the daemon's time zone, for people.
    pub time: String,
    /// What: `failing`, `opened`, `worsened`, `improved`, `resolved`, …
    pub what: String,
    /// In words.
    pub detail: String,
}

impl Context {
    /// What the templates are given for `letter`.
    pub fn of(letter: &Letter<'_>) -> Self {
        let mut sorted: Vec<&Incident> = letter.incidents.iter().collect();
        sorted.sort_by(|a, b| {
            let worst = |incident: &Incident| (Tone::of_incident(incident), incident.severity);
            worst(b).cmp(&worst(a)).then_with(|| a.began_at.cmp(&b.began_at))
        });
        let listed = |incident: &&Incident| IncidentContext::of(incident, letter.now, letter.zone);
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
        }
    }
}

impl Counts {
    fn of(incidents: &[Incident]) -> Self {
        let mut counts = Self { total: incidents.len(), ..Self::default() };
        for incident in incidents {
            match Tone::of_incident(incident) {
                Tone::Bad => counts.down += 1,
                Tone::Warning => counts.degraded += 1,
                Tone::Note | Tone::Good => counts.resolved += 1,
            }
        }
        counts.alerts = match counts.total {
            1 => "1 alert".to_owned(),
            total => format!("{total} alerts"),
        };
        let each =
            [(counts.down, "down"), (counts.degraded, "degraded"), (counts.resolved, "resolved")];
        let some = each.into_iter().filter(|(count, _)| *count > 0);
        counts.words =
            some.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ");
        counts
    }
}

impl IncidentContext {
    fn of(incident: &Incident, now: Timestamp, zone: Tz) -> Self {
        let tone = Tone::of_incident(incident);
        let reasons: Vec<String> = bounded_reasons(&incident.reasons);
        let first = reasons.first().map_or("no reason is known", String::as_str);
        let story = &incident.timeline[incident.timeline.len().saturating_sub(TIMELINE)..];
        Self {
            id: clean(&incident.id, NAME),
            check: clean(&incident.check, NAME),
            kind: clean(&incident.kind, NAME),
            status: incident.status,
            severity: incident.severity,
            state: words::state(incident),
            icon: tone.icon(),
            color: tone.hex(),
            reason: first.to_owned(),
            more_reasons: incident.reasons.len().saturating_sub(REASONS),
            reasons,
            labels: bounded_labels(&incident.labels),
            runbook: incident.runbook.as_deref().map(|runbook| clean(runbook, ADDRESS)),
            acknowledged: incident.acknowledged.as_ref().map(|taken| clean(&taken.by, NAME)),
            withdrawn: incident.withdrawn().map(|why| clean(why, REASON)),
            opened_at: incident.opened_at,
            began_at: incident.began_at,
            resolved_at: incident.resolved_at,
            opened: words::time(incident.opened_at, zone),
            began: words::time(incident.began_at, zone),
            resolved: incident.resolved_at.map(|at| words::time(at, zone)),
            duration: words::span(incident.duration(now)),
            timeline: story.iter().map(|entry| TimelineContext::of(entry, zone)).collect(),
        }
    }
}

impl TimelineContext {
    fn of(entry: &TimelineEntry, zone: Tz) -> Self {
        Self {
            at: entry.at,
            time: words::time(entry.at, zone),
            what: clean(&entry.what, NAME),
            detail: clean(&entry.detail, REASON),
        }
    }
}

/// The first reasons of an incident, clean and bounded, as every message shows them.
pub fn bounded_reasons(reasons: &[String]) -> Vec<String> {
    reasons.iter().take(REASONS).map(|reason| clean(reason, REASON)).collect()
}

/// The labels of an incident, clean and bounded, as every message shows them.
pub fn bounded_labels(labels: &Labels) -> Labels {
    let cleaned = |(name, value): (&String, &String)| (clean(name, LABEL), clean(value, LABEL));
    labels.iter().take(LABELS).map(cleaned).collect()
}
