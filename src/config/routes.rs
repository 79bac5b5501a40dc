use super::daemon::{parse_zone, read_name};
use super::interpolate::PLACEHOLDER_HOST;
use super::problem::Place;
use super::section::Section;
use crate::model::Name;
use chrono_tz::Tz;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::fmt;
use std::time::Duration;

/// One `[[route]]`, with its conditions and hours still to be compiled. What it leaves out it has
/// from the route that it stands in.
#[derive(Debug)]
pub struct RawRoute {
    /// When it matches; always, if absent.
    pub when: Option<(String, Place)>,
    /// The channels.
    pub to: Option<Vec<(String, Place)>>,
    /// Whether later routes are asked as well.
    pub goes_on: bool,
    /// Whether its notices pass the rate limit.
    pub urgent: Option<bool>,
    /// What notices have in common that come together.
    pub group_by: Option<Vec<(String, Place)>>,
    /// How long a group waits for more.
    pub group_window: Option<(Duration, Place)>,
    /// How often to remind.
    pub remind_every: Option<Duration>,
    /// Who else hears of an incident that goes on.
    pub escalate: Option<Vec<RawEscalation>>,
    /// The hours in which it speaks.
    pub active: Option<Vec<(String, Place)>>,
    /// The hours in which it does not.
    pub mute: Option<Vec<(String, Place)>>,
    /// The zone of its hours.
    pub time_zone: Option<Tz>,
    /// The routes within it.
    pub routes: Vec<Self>,
    /// For problems that show later.
    pub place: Place,
}

/// One step of `escalate`.
#[derive(Debug)]
pub struct RawEscalation {
    /// So long after the opening.
    pub after: Duration,
    /// The channels.
    pub to: Vec<(String, Place)>,
}

/// One `[[maintenance]]`, with its condition and times still to be read.
#[derive(Debug)]
pub struct RawMaintenance {
    /// Its name.
    pub name: Name,
    /// Which incidents it is about; all of them, if absent.
    pub when: Option<(String, Place)>,
    /// When it is.
    pub times: RawTimes,
    /// The zone of its times.
    pub time_zone: Option<Tz>,
    /// For problems that show later.
    pub place: Place,
}

/// When a maintenance window is open.
#[derive(Debug)]
pub enum RawTimes {
    /// Once.
    Once {
        /// From when on.
        start: (String, Place),
        /// Until when.
        end: (String, Place),
    },
    /// Again and again.
    Recurring {
        /// When it opens.
        cron: (String, Place),
        /// How long it stays open.
        duration: Duration,
    },
}

/// Takes the routes of `daemon.toml`, which lead to the channels in `names`.
pub fn read_routes(root: &mut Section<'_>, names: &[Name]) -> Vec<RawRoute> {
    let routes = read_nested(root, false);
    check_targets(root, &routes, names);
    routes
}

/// Takes the routes that stand in `table`. `inherits` says whether they may leave out `to`.
fn read_nested(table: &mut Section<'_>, inherits: bool) -> Vec<RawRoute> {
    let mut routes = Vec::new();
    let mut takes_all = false;
    for mut child in table.tables("route") {
        if takes_all {
            let problem = child.place().warning("is never asked: the one before it takes all");
            child.report(problem.hint("give that one a `when`, or `continue = true`"));
        }
        let has_when = child.has("when");
        let route = read_route(&mut child, inherits);
        takes_all |= !has_when && !route.goes_on;
        table.finish_child(child);
        routes.push(route);
    }
    routes
}

fn read_route(table: &mut Section<'_>, inherits: bool) -> RawRoute {
    let place = table.place().clone();
    let has_to = table.has("to");
    if !has_to && !inherits {
        table.error_at(&place, "has no `to`: name the channels, or `to = []` for nobody");
    }
    let group_window = table.place_of("group_window");
    RawRoute {
        when: placed(table, "when"),
        to: strings(table, "to"),
        goes_on: table.or("continue", false),
        urgent: table.optional("urgent"),
        group_by: strings(table, "group_by"),
        group_window: table.duration("group_window").map(|window| (window, group_window)),
        remind_every: table.duration("remind_every"),
        escalate: read_escalations(table),
        active: strings(table, "active"),
        mute: strings(table, "mute"),
        time_zone: table.built("time_zone", |name: String| parse_zone(&name)),
        routes: read_nested(table, inherits || has_to),
        place,
    }
}

fn read_escalations(table: &mut Section<'_>) -> Option<Vec<RawEscalation>> {
    let present = table.has("escalate");
    let mut steps = Vec::new();
    for mut step in table.tables("escalate") {
        let after = step.required_built("after", |text: String| positive(&text));
        let place = step.place_of("to");
        let has_to = step.has("to");
        let to = strings(&mut step, "to");
        if !has_to || to.as_ref().is_some_and(Vec::is_empty) {
            step.error_at(&place, "names nobody who would hear of it");
        }
        let to = to.unwrap_or_default();
        table.finish_child(step);
        steps.extend(after.map(|after| RawEscalation { after, to }));
    }
    present.then_some(steps)
}

/// Takes the maintenance windows.
pub fn read_maintenance(root: &mut Section<'_>) -> Vec<RawMaintenance> {
    let mut windows = Vec::new();
    let mut names: Vec<Name> = Vec::new();
    for mut table in root.tables("maintenance") {
        let place = table.place_of("name");
        let name = read_name(&mut table);
        if let Some(name) = &name {
            if names.contains(name) {
                table.error_at(&place, format!("a maintenance window `{name}` exists already"));
            }
            names.push(name.clone());
        }
        let when = placed(&mut table, "when");
        let time_zone = table.built("time_zone", |name: String| parse_zone(&name));
        let times = read_times(&mut table);
        let place = table.place().clone();
        root.finish_child(table);
        if let (Some(name), Some(times)) = (name, times) {
            windows.push(RawMaintenance { name, when, times, time_zone, place });
        }
    }
    windows
}

fn read_times(table: &mut Section<'_>) -> Option<RawTimes> {
    let has = ["start", "end", "cron", "duration"].map(|key| table.has(key));
    let wrong = match has {
        [true, true, false, false] | [false, false, true, true] => None,
        [false, false, false, false] => Some("does not say when it is"),
        [true, false, false, false] => Some("has a `start` but no `end`"),
        [false, true, false, false] => Some("has an `end` but no `start`"),
        [false, false, true, false] => Some("has a `cron` line but no `duration`"),
        [false, false, false, true] => Some("has a `duration` but no `cron` line"),
        _ => Some("is both once and again and again"),
    };
    if let Some(wrong) = wrong {
        let hint = "give it `start` and `end`, or `cron` and `duration`";
        table.report(table.place().error(wrong).hint(hint));
    }
    let mut moment = |key| {
        let place = table.place_of(key);
        let moment = table.optional::<Moment>(key).filter(|moment| !stands_in(&moment.0));
        moment.map(|moment| (moment.0, place))
    };
    let (start, end) = (moment("start"), moment("end"));
    let cron = placed(table, "cron");
    let duration = table.built("duration", |text: String| positive(&text));
    match (wrong, start, end, cron, duration) {
        (None, Some(start), Some(end), ..) => Some(RawTimes::Once { start, end }),
        (None, _, _, Some(cron), Some(duration)) => Some(RawTimes::Recurring { cron, duration }),
        _ => None,
    }
}

/// Takes a text with its place; none if it is not known, for want of what it refers to.
fn placed(table: &mut Section<'_>, key: &'static str) -> Option<(String, Place)> {
    let place = table.place_of(key);
    table.optional(key).filter(|text: &String| !stands_in(text)).map(|text| (text, place))
}

/// Takes a list of texts that may be absent; none if one of them is not known.
fn strings(table: &mut Section<'_>, key: &'static str) -> Option<Vec<(String, Place)>> {
    let present = table.has(key);
    let strings = table.strings(key);
    let known = !strings.iter().any(|(text, _)| stands_in(text));
    (present && known).then_some(strings)
}

fn stands_in(text: &str) -> bool {
    text.contains(PLACEHOLDER_HOST)
}

fn positive(text: &str) -> Result<Duration, String> {
    match super::parse_duration(text)? {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        duration => Ok(duration),
    }
}

fn check_targets(root: &mut Section<'_>, routes: &[RawRoute], names: &[Name]) {
    for route in routes {
        let escalations = route.escalate.iter().flatten().flat_map(|step| &step.to);
        for (target, place) in route.to.iter().flatten().chain(escalations) {
            if !names.iter().any(|name| **name == *target.as_str()) {
                let problem = place.error(format!("there is no channel `{target}`"));
                root.report(problem.did_you_mean(target, names.iter().map(|name| &**name)));
            }
        }
        check_targets(root, &route.routes, names);
    }
}

/// A date and time, as a text or as TOML has it.
struct Moment(String);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Moment;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a date and time")
            }

            fn visit_str<E>(self, text: &str) -> Result<Moment, E> {
                Ok(Moment(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Moment, A::Error> {
                let own = toml::value::Datetime::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Moment(own.to_string()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}
