//! What runs saw: results, facts, and the phases of a run.

use super::super::{Instant, millis};
use crate::model::{Facts, RunResult, Status, Timestamp};
use serde::Serialize;
use serde_json::Value as Json;

/// Longer texts are folded up.
const LONG: usize = 120;
/// The most of one fact that is shown, in bytes.
const MOST: usize = 8 * 1024;
/// So many facts of one result are shown.
const FACTS: usize = 60;

/// One result in the table.
#[derive(Serialize)]
pub(super) struct ResultRow {
    at: Instant,
    status: Status,
    latency: String,
    reasons: Vec<String>,
    facts: Vec<FactRow>,
    maintenance: bool,
}

impl ResultRow {
    /// `with_facts` for those who may read all that the API tells.
    pub(super) fn new(result: RunResult, now: Timestamp, with_facts: bool) -> Self {
        let facts = match &result.facts {
            Json::Object(facts) if with_facts => {
                let shown = facts.iter().filter(|(name, _)| *name != "latency_ms");
                shown.take(FACTS).map(|(name, value)| FactRow::new(name, value)).collect()
            }
            _ => Vec::new(),
        };
        Self {
            at: Instant::new(result.at, now),
            status: result.status,
            latency: millis(result.latency_ms),
            reasons: result.reasons,
            facts,
            maintenance: result.maintenance,
        }
    }
}

/// A fact with its value in words.
#[derive(Serialize)]
pub(super) struct FactRow {
    name: String,
    value: String,
    is_long: bool,
}

impl FactRow {
    pub(super) fn new(name: &str, value: &Json) -> Self {
        let mut value = match value {
            Json::String(text) => text.clone(),
            Json::Number(number) if name.ends_with("_ms") => {
                number.as_f64().map_or_else(|| number.to_string(), millis)
            }
            Json::Number(number) => match number.as_f64() {
                Some(float) if number.is_f64() => format!("{}", (float * 1000.0).round() / 1000.0),
                _ => number.to_string(),
            },
            Json::Array(_) | Json::Object(_) => {
                serde_json::to_string_pretty(value).unwrap_or_default()
            }
            other => other.to_string(),
        };
        if value.len() > MOST {
            value.truncate(value.floor_char_boundary(MOST));
            value.push('…');
        }
        let is_long = value.len() > LONG || value.contains('\n');
        Self { name: name.trim_end_matches("_ms").replace('_', " "), value, is_long }
    }
}

/// The facts of the latest run, without the phases, which stand apart.
pub(super) fn facts(facts: &Facts) -> Vec<FactRow> {
    let phases = phases(facts).is_empty();
    let is_shown = |name: &str| {
        name != "latency_ms" && (phases || !PHASES.iter().any(|(phase, _)| *phase == name))
    };
    let shown = facts.iter().filter(|(name, _)| is_shown(name));
    shown.take(FACTS).map(|(name, fact)| FactRow::new(name, &fact.to_json())).collect()
}

/// The facts that are phases of a run, in their order, and what they are called.
const PHASES: [(&str, &str); 6] = [
    ("token_ms", "Token"),
    ("dns_ms", "Name"),
    ("connect_ms", "Connect"),
    ("tls_ms", "TLS"),
    ("first_byte_ms", "First byte"),
    ("transfer_ms", "Transfer"),
];

/// A phase of the latest run: where it begins and how long it lasts, in thousandths of the whole.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Phase {
    name: &'static str,
    /// For its colour.
    number: usize,
    from: u32,
    wide: u32,
    took: String,
}

/// The phases of the latest run; none if there are fewer than two.
pub(super) fn phases(facts: &Facts) -> Vec<Phase> {
    let known: Vec<(usize, &str, f64)> = PHASES
        .iter()
        .enumerate()
        .filter_map(|(number, (fact, name))| {
            let took = facts.get(fact)?.as_number()?;
            Some((number, *name, took.max(0.0)))
        })
        .collect();
    let whole: f64 = known.iter().map(|(.., took)| took).sum();
    if known.len() < 2 || whole <= 0.0 {
        return Vec::new();
    }
    let mut before = 0.0;
    let phase = |(number, name, took): (usize, &'static str, f64)| {
        let share = |part: f64| (part / whole * 1000.0).round() as u32;
        let from = share(before).min(996);
        before += took;
        // What took no time at all is seen as a line.
        Phase { name, number, from, wide: share(took).max(4), took: millis(took) }
    };
    known.into_iter().map(phase).collect()
}

#[cfg(test)]
mod tests {
    use super::{FactRow, facts, phases};
    use crate::model::Facts;
    use serde_json::json;

    #[test]
    fn phases_follow_each_other() {
        let mut all = Facts::default();
        all.set("transfer_ms", 10.0);
        all.set("dns_ms", 0.0);
        all.set("status", 200);
        all.set("connect_ms", 30.0);
        let told: Vec<_> =
            phases(&all).into_iter().map(|it| (it.name, it.from, it.wide, it.took)).collect();
        assert_eq!(
            told,
            [
                ("Name", 0, 4, "0.0 ms".to_owned()),
                ("Connect", 0, 750, "30 ms".to_owned()),
                ("Transfer", 750, 250, "10 ms".to_owned()),
            ]
        );
        let shown = facts(&all);
        assert_eq!(shown.iter().map(|fact| &*fact.name).collect::<Vec<_>>(), ["status"]);
        assert!(phases(&Facts::default()).is_empty());
    }

    #[test]
    fn values_are_in_words_and_bounded() {
        let said = |name, value| FactRow::new(name, &value).value;
        assert_eq!(said("first_byte_ms", json!(12.345)), "12 ms");
        assert_eq!(said("load", json!(0.123_456)), "0.123");
        assert_eq!(said("ok", json!(true)), "true");
        let long = FactRow::new("body", &json!("é".repeat(10_000)));
        assert!(long.is_long && long.value.len() < 9000 && long.value.ends_with('…'));
        assert!(FactRow::new("body", &json!("a\nb")).is_long);
    }
}
