//! What stands before and after the name of a check, so that every channel says it alike.

use super::escape::{clean, short};
use super::incident::acknowledged;
use super::words::{span, state};
use crate::model::{Incident, Status, TimelineEntry, Timestamp, What};

/// How many characters of a reason stand behind the name of a check.
pub(super) const REASON: usize = 140;

/// What stands around the name of a check.
#[derive(Debug)]
pub(super) struct Headline {
    /// Before it.
    pub heading: String,
    /// After it.
    pub gist: String,
    /// Whether the gist holds the first reason.
    pub says_reason: bool,
}

/// What was done last to get the check going again, if anything was.
fn helped(incident: &Incident) -> Option<String> {
    let tried = latest(incident, |entry| {
        entry.what == "recovery" && !entry.detail.starts_with(crate::model::NEXT_RUN_SAYS)
    })?;
    Some(short(&clean(&tried.detail, REASON), REASON))
}

/// Who had taken it on, if anybody had.
fn taken(incident: &Incident) -> Option<String> {
    let taken = incident.acknowledged.as_ref()?;
    Some(format!("acknowledged by {}", short(&clean(&taken.by, REASON), REASON)))
}

/// The headline of `incident` in a message that tells `what`.
pub(super) fn of(incident: &Incident, what: What, now: Timestamp) -> Headline {
    let state = state(incident);
    let lasted = span(incident.duration(now));
    if incident.resolved_at.is_some() {
        let was = format!("was {} for {lasted}", incident.status);
        let gist = match incident.withdrawn() {
            Some(why) => format!("{}; it {was}", short(&clean(why, REASON), REASON)),
            None => was,
        };
        let gist = match what {
            What::Resolved => [Some(gist), helped(incident), taken(incident)]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" · "),
            _ => gist,
        };
        return Headline { heading: state.to_owned(), gist, says_reason: true };
    }
    let why = short(&reason(incident, REASON), REASON);
    let with_reason = |heading: String, gist: String| Headline { heading, gist, says_reason: true };
    let without = |heading: &str, gist: String| Headline {
        heading: heading.to_owned(),
        gist,
        says_reason: false,
    };
    match what {
        What::Opened | What::Resolved | What::Test => with_reason(state.to_owned(), why),
        What::Worsened => {
            let was = previous(incident);
            with_reason(state.to_owned(), format!("was {was} · {why}"))
        }
        What::Reminder => with_reason(format!("STILL {state}"), format!("for {lasted} · {why}")),
        What::Escalated => {
            let nobody = match acknowledged(incident, now) {
                Some(_) => "",
                None => ", nobody has acknowledged",
            };
            with_reason(format!("ESCALATED: {state}"), format!("for {lasted}{nobody} · {why}"))
        }
        What::Flapping => {
            let how = flapping(incident).unwrap_or_else(|| "it goes to and fro".to_owned());
            without("FLAPPING", short(&how, REASON))
        }
        What::FlappingEnded => with_reason(format!("no longer flapping, still {state}"), why),
        What::RecoveryStopped => {
            let how = match latest(incident, |entry| entry.what.starts_with("recovery")) {
                Some(entry) => clean(&entry.detail, REASON),
                None => "what was tried did not help".to_owned(),
            };
            without("RECOVERY STOPPED", short(&how, REASON))
        }
        What::Digest => {
            let mut gist = format!("{why} · {lasted}");
            if let Some(impact) = depend_on_it(incident.dependents.len()) {
                gist = format!("{gist} · {impact}");
            }
            with_reason(state.to_owned(), gist)
        }
    }
}

/// The first reason of an incident.
pub(super) fn reason(incident: &Incident, limit: usize) -> String {
    let first = incident.reasons.first().map(|reason| clean(reason, limit));
    first.filter(|reason| !reason.is_empty()).unwrap_or_else(|| "no reason is known".to_owned())
}

/// How the check goes to and fro, if it does by now.
pub(super) fn flapping(incident: &Incident) -> Option<String> {
    let entry = latest(incident, |entry| entry.what.starts_with("flapping"))?;
    (entry.what == "flapping").then(|| clean(&entry.detail, super::incident::REASON))
}

/// `3 checks depend on it`; none where none does.
pub(super) fn depend_on_it(count: usize) -> Option<String> {
    match count {
        0 => None,
        1 => Some("1 check depends on it".to_owned()),
        count => Some(format!("{count} checks depend on it")),
    }
}

/// What the incident was before it became worse: the timeline's details begin with the status.
fn previous(incident: &Incident) -> Status {
    let levels =
        |entry: &&TimelineEntry| matches!(&*entry.what, "opened" | "worsened" | "improved");
    let before = incident.timeline.iter().rev().filter(levels).nth(1);
    before
        .and_then(|entry| entry.detail.split(':').next())
        .and_then(Status::from_word)
        .filter(|status| *status != incident.status)
        .unwrap_or(Status::Degraded)
}

fn latest(incident: &Incident, wanted: impl Fn(&TimelineEntry) -> bool) -> Option<&TimelineEntry> {
    incident.timeline.iter().rfind(|entry| wanted(entry))
}
