//! Routes and maintenance windows of a plan.

use super::{PlannedChannel, condition_problem};
use crate::condition::Condition;
use crate::config::{Place, Problems, RawMaintenance, RawRoute, RawTimes};
use crate::model::{Name, Timestamp};
use crate::route::{
    Escalation, GroupBy, OwnOptions, Pass, Recurring, Route, RouteOptions, Routes, Span, Times,
    Window, Windows, compile_when, odd_time, parse_moment,
};
use chrono_tz::Tz;

pub(super) fn build_routes(
    raw: Vec<RawRoute>,
    channels: &[PlannedChannel],
    zone: Tz,
    problems: &mut Problems,
) -> Routes {
    let routes = build_nested(raw, &RouteOptions::new(zone), problems);
    Routes::new(routes, channels.iter().map(|channel| channel.name.clone()).collect())
}

fn build_nested(raw: Vec<RawRoute>, outer: &RouteOptions, problems: &mut Problems) -> Vec<Route> {
    raw.into_iter().map(|raw| build_route(raw, outer, problems)).collect()
}

/// Builds a route; where something is wrong with it, one that stands in for it.
fn build_route(raw: RawRoute, outer: &RouteOptions, problems: &mut Problems) -> Route {
    let when = raw.when.and_then(|when| build_when(&when, problems));
    let own = OwnOptions {
        to: raw.to.map(names),
        urgent: raw.urgent,
        group_by: raw.group_by.map(|list| build_group_by(list, problems)),
        group_window: raw.group_window.as_ref().map(|(window, _)| *window),
        remind_every: raw.remind_every,
        escalate: raw.escalate.map(|steps| {
            let steps = steps.into_iter();
            steps.map(|step| Escalation { after: step.after, to: names(step.to) }).collect()
        }),
        active: raw.active.and_then(|spans| build_spans(spans, problems)),
        mute: raw.mute.and_then(|spans| build_spans(spans, problems)),
        zone: raw.time_zone,
    };
    let options = outer.nested(own).unwrap_or_else(|error| {
        let problem = raw.place.error(error.to_string());
        problems.push(problem.hint("for a route that nobody hears there is `to = []`"));
        outer.clone()
    });
    if let Some((_, place)) = &raw.group_window
        && !options.groups()
    {
        let problem = place.warning("does nothing where notices are not grouped");
        problems.push(problem.hint("add `group_by`; `group_by = []` puts all of them together"));
    }
    let routes = build_nested(raw.routes, &options, problems);
    Route::new(when, raw.goes_on, options, routes)
}

fn names(list: Vec<(String, Place)>) -> Vec<Name> {
    list.into_iter().map(|(name, _)| name.into()).collect()
}

fn build_when((source, place): &(String, Place), problems: &mut Problems) -> Option<Condition> {
    match compile_when(source) {
        Ok(when) => {
            if let Some(odd) = odd_time(&when) {
                let message =
                    format!("`{source}`: `time` has two digits for the hour, `{odd}` not");
                problems.push(place.warning(message).hint("such as '08:00'; texts are compared"));
            }
            Some(when)
        }
        Err(problem) => {
            problems.push(condition_problem(place, source, &problem));
            None
        }
    }
}

fn build_group_by(list: Vec<(String, Place)>, problems: &mut Problems) -> Vec<GroupBy> {
    let mut all = Vec::new();
    for (text, place) in list {
        match GroupBy::parse(&text) {
            Some(by) => all.push(by),
            None => {
                let label = format!("labels.{text}");
                let problem = place.error(format!("notices cannot be grouped by `{text}`"));
                let problem = problem.hint(format!("a label is written `{label}`"));
                problems.push(problem.did_you_mean(&text, GroupBy::WORDS));
            }
        }
    }
    all
}

/// Reads spans; none if one of them is wrong, so that what is wrong is told once.
fn build_spans(list: Vec<(String, Place)>, problems: &mut Problems) -> Option<Vec<Span>> {
    let mut all = Some(Vec::new());
    for (text, place) in list {
        match Span::parse(&text) {
            Ok(span) => all.iter_mut().for_each(|all| all.push(span.clone())),
            Err(message) => {
                problems.push(place.error(message));
                all = None;
            }
        }
    }
    all
}

/// `now` tells what is past.
pub(super) fn build_maintenance(
    raw: Vec<RawMaintenance>,
    zone: Tz,
    now: Timestamp,
    problems: &mut Problems,
) -> Windows {
    let mut windows = Vec::new();
    for raw in raw {
        let zone = raw.time_zone.unwrap_or(zone);
        let when = raw.when.and_then(|when| build_when(&when, problems));
        if let Some(times) = build_times(raw.times, &raw.place, zone, now, problems) {
            windows.push(Window { name: raw.name, when, zone, times });
        }
    }
    Windows::new(windows)
}

fn build_times(
    raw: RawTimes,
    place: &Place,
    zone: Tz,
    now: Timestamp,
    problems: &mut Problems,
) -> Option<Times> {
    match raw {
        RawTimes::Once { start, end } => {
            let mut moment = |(text, place): &(String, Place), pass| {
                let moment = parse_moment(text, zone, pass);
                moment.map_err(|message| problems.push(place.error(message))).ok()
            };
            let (from, to) = (moment(&start, Pass::First), moment(&end, Pass::Second));
            let (from, to, end) = (from?, to?, &end.1);
            if to <= from {
                let problem = end.error("is not later than `start`: the window is empty");
                problems.push(problem.hint("the end comes after the start"));
            } else if to <= now {
                problems.push(end.warning("is past: the window does nothing any more"));
            }
            Some(Times::Once { start: from, end: to })
        }
        RawTimes::Recurring { cron: (line, at), duration } => {
            match Recurring::new(&line, zone, duration) {
                Ok(recurring) => {
                    if recurring.overlaps(now) {
                        let message = "the window opens again before it closes";
                        let hint = "make `duration` shorter, or let `cron` name fewer times";
                        problems.push(place.warning(message).hint(hint));
                    }
                    Some(Times::Recurring(Box::new(recurring)))
                }
                Err(message) => {
                    problems.push(at.error(message));
                    None
                }
            }
        }
    }
}
