//! Which channels hear of an incident.

use crate::condition::{Condition, ConditionProblem, Scope, Seen, Variable};
use crate::model::{FactType, Incident, Name};

/// The routes, in the order in which they are asked.
#[derive(Debug, Default)]
pub struct Routes {
    routes: Vec<Route>,
    /// Every channel: who hears what no route matches.
    everybody: Vec<Name>,
}

/// One way for notices.
#[derive(Debug)]
pub struct Route {
    /// When it matches; always, if absent.
    pub when: Option<Condition>,
    /// The channels; none means nobody.
    pub to: Vec<Name>,
    /// Whether later routes are asked as well.
    pub goes_on: bool,
    /// Whether its notices pass the rate limit.
    pub urgent: bool,
}

/// A channel that hears of an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The channel.
    pub channel: Name,
    /// Whether the notice passes the rate limit.
    pub urgent: bool,
}

/// What the condition of a route may name.
const VARIABLES: &[Variable<'_>] = &[
    Variable { name: "name", ty: FactType::Text },
    Variable { name: "kind", ty: FactType::Text },
    Variable { name: "severity", ty: FactType::Text },
    Variable { name: "status", ty: FactType::Text },
    Variable { name: "labels", ty: FactType::Map },
];

/// Compiles the `when` of a route, which sees `name`, `kind`, `severity`, `status` and `labels`.
///
/// # Errors
/// What is wrong with it.
pub fn compile_when(source: &str) -> Result<Condition, ConditionProblem> {
    Condition::compile(source, VARIABLES, &[])
}

impl Routes {
    /// `everybody` holds all channels, for incidents that no route matches.
    pub fn new(routes: Vec<Route>, everybody: Vec<Name>) -> Self {
        Self { routes, everybody }
    }

    /// The channels that hear of `incident`, each once.
    ///
    /// The first match wins, and later routes are asked only where it says `continue`. A condition
    /// that cannot be evaluated, such as one on a label that this check does not have, does not
    /// match. Where nothing matches, everybody hears.
    pub fn targets(&self, incident: &Incident) -> Vec<Target> {
        let mut targets: Vec<Target> = Vec::new();
        let mut matched = false;
        for route in &self.routes {
            let matches = match &route.when {
                None => true,
                Some(when) => when.holds(&Subject(incident)).unwrap_or(false),
            };
            if !matches {
                continue;
            }
            matched = true;
            for channel in &route.to {
                match targets.iter_mut().find(|known| known.channel == *channel) {
                    Some(known) => known.urgent |= route.urgent,
                    None => {
                        targets.push(Target { channel: channel.clone(), urgent: route.urgent });
                    }
                }
            }
            if !route.goes_on {
                break;
            }
        }
        if !matched {
            let everybody = self.everybody.iter().cloned();
            targets.extend(everybody.map(|channel| Target { channel, urgent: false }));
        }
        targets
    }
}
