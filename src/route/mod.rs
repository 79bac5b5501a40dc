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

/// An incident as a route's condition sees it.
struct Subject<'a>(&'a Incident);

impl Scope for Subject<'_> {
    fn variable(&self, name: &str) -> Option<Seen<'_>> {
        match name {
            "name" => Some(Seen::Text(&self.0.check)),
            "kind" => Some(Seen::Text(&self.0.kind)),
            "severity" => Some(Seen::Text(self.0.severity.as_str())),
            "status" => Some(Seen::Text(self.0.status.as_str())),
            "labels" => Some(Seen::Texts(&self.0.labels)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Route, Routes, compile_when};
    use crate::model::{Incident, Severity, Status, Timestamp};

    fn incident(severity: Severity, team: &str) -> Incident {
        Incident {
            severity,
            labels: [("team".to_owned(), team.to_owned())].into(),
            ..Incident::new(
                "1".to_owned(),
                "shop-api".into(),
                "http",
                Status::Down,
                Timestamp::from_millis(0),
            )
        }
    }

    fn route(when: &str, to: &[&str], goes_on: bool) -> Route {
        let when = (!when.is_empty()).then(|| compile_when(when).unwrap());
        Route { when, to: to.iter().map(|name| (*name).into()).collect(), goes_on, urgent: false }
    }

    fn check(routes: Vec<Route>, incident: &Incident, expected: &[&str]) {
        let routes = Routes::new(routes, vec!["chat".into(), "mail".into()]);
        let targets = routes.targets(incident);
        let names: Vec<&str> = targets.iter().map(|target| &*target.channel).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn with_no_route_everybody_hears() {
        check(vec![], &incident(Severity::Critical, "shop"), &["chat", "mail"]);
    }

    #[test]
    fn the_first_match_wins_unless_it_goes_on() {
        let routes = || {
            vec![
                route("severity == 'critical' && labels.team == 'shop'", &["mail"], false),
                route("kind == 'http'", &["chat"], true),
                route("", &["mail", "chat"], false),
            ]
        };
        check(routes(), &incident(Severity::Critical, "shop"), &["mail"]);
        check(routes(), &incident(Severity::Warning, "shop"), &["chat", "mail"]);
    }

    #[test]
    fn nobody_hears_of_a_route_to_nobody_and_everybody_of_what_no_route_matches() {
        let incident = incident(Severity::Info, "shop");
        check(vec![route("severity == 'info'", &[], false)], &incident, &[]);
        check(vec![route("labels.zone == 'eu'", &["chat"], false)], &incident, &["chat", "mail"]);
    }

    #[test]
    fn a_misspelt_name_is_found_at_load() {
        let problem = compile_when("severty == 'critical'").unwrap_err();
        assert!(problem.to_string().contains("severity"), "{problem}");
    }
}
