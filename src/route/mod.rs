//! Who hears of an incident, when, and together with what; and what keeps them from hearing it:
//! silences and maintenance windows.

mod group;
mod hours;
mod maintenance;
mod matcher;
mod silence;
#[cfg(test)]
mod tests;
mod when;

pub use group::GroupBy;
pub use hours::{Hours, NeverSpeaks, Span};
pub use maintenance::{Active, Pass, Recurring, Times, Window, Windows, parse_moment};
pub use matcher::Matchers;
pub use silence::Silences;
pub use when::{compile_when, odd_time};

use crate::condition::Condition;
use crate::model::{Group, Incident, Name, Timestamp};
use chrono_tz::Tz;
use std::time::Duration;

/// What the name of an incident starts with that is about a channel; the channel's name follows.
const ABOUT_CHANNEL: [&str; 2] = ["watchbell:channel:", "watchbell:outbox:"];

/// The tree of routes, in the order in which they are asked.
#[derive(Debug, Default)]
pub struct Routes {
    routes: Vec<Route>,
    /// Every channel: who hears what no route matches.
    everybody: Vec<Name>,
}

/// One way for notices, and those that branch off from it.
#[derive(Debug)]
pub struct Route {
    /// When it matches; always, if absent.
    pub when: Option<Condition>,
    /// Whether the routes after it are asked as well.
    pub goes_on: bool,
    /// What it says where it speaks.
    pub options: RouteOptions,
    /// The routes within it: it speaks only for what none of them matches.
    pub routes: Vec<Self>,
    /// Where it stands in the tree, such as `0.2`.
    path: String,
}

/// What a route says where it speaks, with all that it inherits.
#[derive(Clone, Debug)]
pub struct RouteOptions {
    to: Vec<Name>,
    urgent: bool,
    group_by: Option<Vec<GroupBy>>,
    group_window: Duration,
    remind_every: Option<Duration>,
    escalate: Vec<Escalation>,
    active: Option<Vec<Span>>,
    mute: Vec<Span>,
    zone: Tz,
    hours: Option<Hours>,
}

/// What a route says of itself. What it leaves out it has from the route that it stands in.
#[derive(Clone, Debug, Default)]
pub struct OwnOptions {
    /// The channels; an empty list means nobody.
    pub to: Option<Vec<Name>>,
    /// Whether its notices pass the rate limit.
    pub urgent: Option<bool>,
    /// What notices have in common that come together; an empty list puts all of them together.
    pub group_by: Option<Vec<GroupBy>>,
    /// How long a group waits for more after its first notice (default 30s); zero means that
    /// nothing is grouped.
    pub group_window: Option<Duration>,
    /// How often to remind of an incident that nobody has taken on; zero means never.
    pub remind_every: Option<Duration>,
    /// Who else hears of an incident that goes on.
    pub escalate: Option<Vec<Escalation>>,
    /// The hours in which it speaks.
    pub active: Option<Vec<Span>>,
    /// The hours in which it does not.
    pub mute: Option<Vec<Span>>,
    /// The zone of its hours, and of the time that its condition sees.
    pub zone: Option<Tz>,
}

/// Who else hears of an incident that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// So long after the opening.
    pub after: Duration,
    /// The channels.
    pub to: Vec<Name>,
}

/// Who hears of an incident.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hearing {
    /// Who hears at once, each channel once.
    pub targets: Vec<Target>,
    /// How often to remind of it while nobody has taken it on: the shortest time that a route
    /// asks for.
    pub remind_every: Option<Duration>,
    /// Who hears later, if it goes on; the earliest first, one for each time.
    pub escalate: Vec<Step>,
}

/// Who hears of an incident that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// So long after the opening.
    pub after: Duration,
    /// The channels, each once.
    pub targets: Vec<Target>,
}

/// A channel that hears of an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The channel.
    pub channel: Name,
    /// Whether the notice passes the rate limit.
    pub urgent: bool,
    /// What the notice comes together with, if the route groups.
    pub group: Option<Group>,
    /// When the route speaks next, if it is silent at this hour.
    pub mute_until: Option<Timestamp>,
    /// Whether the channel is reminded as well.
    pub remind: bool,
}

impl Routes {
    /// `everybody` holds all channels, for incidents that no route matches.
    pub fn new(mut routes: Vec<Route>, everybody: Vec<Name>) -> Self {
        number(&mut routes, "");
        Self { routes, everybody }
    }

    /// Who hears of `incident`, as things are at `now`.
    ///
    /// Of the routes that stand side by side the first match wins, and those after it are asked
    /// only where it says `continue`. A route that matches asks those within it, and speaks itself
    /// if none of them matches. Where nothing matches at all, everybody hears. A channel that is
    /// itself the trouble is left out: the others tell of it.
    pub fn hearing(&self, incident: &Incident, now: Timestamp) -> Hearing {
        let mut hearing = Hearing::default();
        if !ask(&self.routes, incident, now, &mut hearing) {
            hearing.targets.extend(self.everybody.iter().cloned().map(Target::plain));
        }
        let about = |prefix| incident.check.strip_prefix(prefix);
        if let Some(broken) = ABOUT_CHANNEL.into_iter().find_map(about) {
            hearing.targets.retain(|target| *target.channel != *broken);
            for step in &mut hearing.escalate {
                step.targets.retain(|target| *target.channel != *broken);
            }
            hearing.escalate.retain(|step| !step.targets.is_empty());
        }
        hearing.escalate.sort_by_key(|step| step.after);
        hearing
    }
}

impl Route {
    /// A route with those within it.
    pub fn new(
        when: Option<Condition>,
        goes_on: bool,
        options: RouteOptions,
        routes: Vec<Self>,
    ) -> Self {
        Self { when, goes_on, options, routes, path: String::new() }
    }

    /// Adds who hears by this route alone.
    fn speak(&self, incident: &Incident, now: Timestamp, hearing: &mut Hearing) {
        let options = &self.options;
        let group = options
            .group_by
            .as_ref()
            .filter(|_| !options.group_window.is_zero())
            .map(|by| group::group(&self.path, by, options.group_window, incident));
        let mute_until = options.hours.as_ref().and_then(|hours| hours.mute_until(now));
        let target = |channel: &Name| Target {
            channel: channel.clone(),
            urgent: options.urgent,
            group: group.clone(),
            mute_until,
            remind: options.remind_every.is_some(),
        };
        for channel in &options.to {
            add(&mut hearing.targets, target(channel));
        }
        for escalation in &options.escalate {
            let known = hearing.escalate.iter().position(|step| step.after == escalation.after);
            let index = known.unwrap_or_else(|| {
                hearing.escalate.push(Step { after: escalation.after, targets: Vec::new() });
                hearing.escalate.len() - 1
            });
            if let Some(step) = hearing.escalate.get_mut(index) {
                for channel in &escalation.to {
                    add(&mut step.targets, target(channel));
                }
            }
        }
        let own = options.remind_every;
        hearing.remind_every = hearing.remind_every.into_iter().chain(own).min();
    }
}

impl RouteOptions {
    /// What a route has that nobody says anything for, with the zone of the daemon.
    pub fn new(zone: Tz) -> Self {
        Self {
            to: Vec::new(),
            urgent: false,
            group_by: None,
            group_window: Duration::from_secs(30),
            remind_every: None,
            escalate: Vec::new(),
            active: None,
            mute: Vec::new(),
            zone,
            hours: None,
        }
    }

    /// Whether notices come together.
    pub fn groups(&self) -> bool {
        self.group_by.is_some()
    }

    /// The options of a route within one that has these.
    ///
    /// # Errors
    /// That its hours are never.
    pub fn nested(&self, own: OwnOptions) -> Result<Self, NeverSpeaks> {
        let outer = self.clone();
        let remind_every = own.remind_every.or(outer.remind_every);
        let active = own.active.or(outer.active);
        let mute = own.mute.unwrap_or(outer.mute);
        let zone = own.zone.unwrap_or(outer.zone);
        Ok(Self {
            to: own.to.unwrap_or(outer.to),
            urgent: own.urgent.unwrap_or(outer.urgent),
            group_by: own.group_by.or(outer.group_by),
            group_window: own.group_window.unwrap_or(outer.group_window),
            remind_every: remind_every.filter(|every| !every.is_zero()),
            escalate: own.escalate.unwrap_or(outer.escalate),
            hours: Hours::new(active.as_deref(), &mute, zone)?,
            active,
            mute,
            zone,
        })
    }
}

impl Target {
    /// A channel that no route says anything about.
    fn plain(channel: Name) -> Self {
        Self { channel, urgent: false, group: None, mute_until: None, remind: false }
    }
}

/// Gives each route the path that leads to it.
fn number(routes: &mut [Route], above: &str) {
    for (index, route) in routes.iter_mut().enumerate() {
        route.path = if above.is_empty() { index.to_string() } else { format!("{above}.{index}") };
        number(&mut route.routes, &route.path);
    }
}

/// Asks routes that stand side by side; whether one of them matched.
fn ask(routes: &[Route], incident: &Incident, now: Timestamp, hearing: &mut Hearing) -> bool {
    let mut matched = false;
    for route in routes {
        if !when::holds(route.when.as_ref(), incident, now, route.options.zone) {
            continue;
        }
        matched = true;
        if !ask(&route.routes, incident, now, hearing) {
            route.speak(incident, now, hearing);
        }
        if !route.goes_on {
            break;
        }
    }
    matched
}

/// Adds a target, or what it brings to the same channel.
fn add(targets: &mut Vec<Target>, target: Target) {
    match targets.iter_mut().find(|known| known.channel == target.channel) {
        Some(known) => {
            known.urgent |= target.urgent;
            known.remind |= target.remind;
            known.mute_until = known.mute_until.min(target.mute_until);
            known.group = known.group.take().or(target.group);
        }
        None => targets.push(target),
    }
}
