//! What the `when` of a route or of a maintenance window sees.

use crate::condition::{Condition, ConditionProblem, Scope, Seen, Variable};
use crate::model::{FactType, Incident, Timestamp};
use chrono::{Datelike, Timelike};
use chrono_tz::Tz;
use regex::Regex;
use std::sync::OnceLock;

const VARIABLES: &[Variable<'_>] = &[
    Variable { name: "name", ty: FactType::Text },
    Variable { name: "kind", ty: FactType::Text },
    Variable { name: "severity", ty: FactType::Text },
    Variable { name: "status", ty: FactType::Text },
    Variable { name: "labels", ty: FactType::Map },
    Variable { name: "time", ty: FactType::Text },
    Variable { name: "weekday", ty: FactType::Int },
    Variable { name: "hour", ty: FactType::Int },
];

/// Compiles a `when`.
///
/// It sees `name`, `kind`, `severity`, `status` and `labels` of an incident, and the local time as
/// `time` (`08:05`), `weekday` (1 is Monday, 7 is Sunday) and `hour` (0 to 23).
///
/// # Errors
/// What is wrong with it.
pub fn compile_when(source: &str) -> Result<Condition, ConditionProblem> {
    Condition::compile(source, VARIABLES, &[])
}

/// The first text in `when` that looks like a time of day and is not one that `time` can be
/// compared with, such as `8:00`: as a text it comes after `10:00`.
pub fn odd_time(when: &Condition) -> Option<&str> {
    if !when.references("time") {
        return None;
    }
    let texts = Regex::new(r#"['"](\d{1,2}:\d{1,2})['"]"#).ok()?;
    let mut found = texts.captures_iter(when.source()).filter_map(|found| found.get(1));
    found.find(|text| text.len() != "00:00".len()).map(|text| text.as_str())
}

/// Whether `when` holds; one that cannot be evaluated, such as one on a label that this check does
/// not have, does not.
pub(super) fn holds(
    when: Option<&Condition>,
    incident: &Incident,
    now: Timestamp,
    zone: Tz,
) -> bool {
    let Some(when) = when else { return true };
    let subject = Subject { incident, now, zone, local: OnceLock::new() };
    when.holds(&subject).unwrap_or(false)
}

struct Subject<'a> {
    incident: &'a Incident,
    now: Timestamp,
    zone: Tz,
    /// Worked out where a condition asks for it.
    local: OnceLock<Local>,
}

struct Local {
    time: String,
    weekday: i64,
    hour: i64,
}

impl Subject<'_> {
    fn local(&self) -> &Local {
        self.local.get_or_init(|| {
            let local = self.now.to_datetime().with_timezone(&self.zone);
            Local {
                time: local.format("%H:%M").to_string(),
                weekday: i64::from(local.weekday().number_from_monday()),
                hour: i64::from(local.hour()),
            }
        })
    }
}

impl Scope for Subject<'_> {
    fn variable(&self, name: &str) -> Option<Seen<'_>> {
        match name {
            "name" => Some(Seen::Text(&self.incident.check)),
            "kind" => Some(Seen::Text(&self.incident.kind)),
            "severity" => Some(Seen::Text(self.incident.severity.as_str())),
            "status" => Some(Seen::Text(self.incident.status.as_str())),
            "labels" => Some(Seen::Texts(&self.incident.labels)),
            "time" => Some(Seen::Text(&self.local().time)),
            "weekday" => Some(Seen::Int(self.local().weekday)),
            "hour" => Some(Seen::Int(self.local().hour)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Status;
    use chrono_tz::Asia;

    /// On Wednesday, 5 August 2026, at 20:05 in UTC.
    fn check(when: &str, zone: Tz, expected: bool) {
        let now = Timestamp::from_millis(1_785_960_300_000);
        let incident = Incident::new("1".to_owned(), "shop-api".into(), "http", Status::Down, now);
        let when = compile_when(when).unwrap();
        assert_eq!(holds(Some(&when), &incident, now, zone), expected, "{}", when.source());
    }

    #[test]
    fn a_condition_sees_the_time_in_its_zone() {
        check("time == '20:05' && weekday == 3 && hour == 20", Tz::UTC, true);
        check("time >= '22:00' || time < '07:00'", Tz::UTC, false);
        check("time == '01:50' && weekday == 4 && hour == 1", Asia::Kathmandu, true);
        check("name.startsWith('shop') && kind == 'http' && status == 'down'", Tz::UTC, true);
    }

    #[test]
    fn a_condition_that_cannot_be_evaluated_does_not_hold() {
        check("labels.team == 'shop'", Tz::UTC, false);
        check("!(labels.team == 'shop')", Tz::UTC, false);
    }

    #[test]
    fn a_misspelt_name_and_a_time_that_does_not_compare_are_found_at_load() {
        let problem = compile_when("severty == 'critical'").unwrap_err();
        assert!(problem.to_string().contains("severity"), "{problem}");
        let odd = |source| odd_time(&compile_when(source).unwrap()).map(str::to_owned);
        assert_eq!(odd("time >= '08:00' && time < '9:30'").as_deref(), Some("9:30"));
        assert_eq!(odd("time >= '08:00'"), None);
        assert_eq!(odd("labels.start == '8:00'"), None);
    }
}
