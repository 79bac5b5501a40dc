//! The window functions: what a call of one asks for, checked at load.

use super::windows::Stat;
use super::{RATE, RATE_SERIES};
use crate::condition::{Call, ConditionProblem, Variable};
use crate::model::FactType;
use std::sync::Arc;
use std::time::Duration;

/// The names of the window functions.
pub(super) const FUNCTIONS: &[&str] = &["avg", "min", "max", "p50", "p95", "p99", RATE];

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What one call asks of the windows.
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowCall {
    /// The index of the series that it looks at.
    pub series: usize,
    /// What it wants to know.
    pub stat: Stat,
    /// How far it looks back.
    pub window: Duration,
}

/// Collects what the calls of a check need to be kept.
#[derive(Debug, Default)]
pub(super) struct Calls {
    series: Vec<(Arc<str>, Duration)>,
}

impl Calls {
    /// Checks one call, and makes room for what it looks at.
    pub(super) fn read(
        &mut self,
        call: &Call,
        facts: &[Variable<'_>],
    ) -> Result<WindowCall, ConditionProblem> {
        let problem = |message: String| ConditionProblem::new(message, call.offset);
        let name = &call.name;
        let (stat, usage) = match name.as_str() {
            "avg" => (Stat::Avg, 2),
            "min" => (Stat::Min, 2),
            "max" => (Stat::Max, 2),
            "p50" => (Stat::Percentile(50), 2),
            "p95" => (Stat::Percentile(95), 2),
            "p99" => (Stat::Percentile(99), 2),
            _ => (Stat::Avg, 1),
        };
        let (fact, window) = match (usage, call.args.as_slice()) {
            (1, [window]) => (RATE_SERIES, window),
            (2, [fact, window]) => {
                check_fact(name, fact, facts).map_err(|error| error_at(error, call))?;
                (fact.as_str(), window)
            }
            (1, _) => {
                return Err(problem(format!("`{name}` takes a window"))
                    .hint(format!("write {name}('10m')")));
            }
            (_, _) => {
                return Err(problem(format!("`{name}` takes a fact and a window"))
                    .hint(format!("write {name}('latency_ms', '10m')")));
            }
        };
        let window = humantime::parse_duration(window).map_err(|_| {
            problem(format!("'{window}' is not a window"))
                .hint("write such as '30s', '10m' or '24h'")
        })?;
        if !(SHORTEST..=LONGEST).contains(&window) {
            return Err(problem("a window is from 1s to 24h long".to_owned()));
        }
        Ok(WindowCall { series: self.room(fact, window), stat, window })
    }

    /// The facts to keep, each with its longest window.
    pub(super) fn into_series(self) -> Vec<(Arc<str>, Duration)> {
        self.series
    }

    fn room(&mut self, fact: &str, window: Duration) -> usize {
        match self.series.iter().position(|(known, _)| **known == *fact) {
            Some(index) => {
                self.series[index].1 = self.series[index].1.max(window);
                index
            }
            None => {
                self.series.push((fact.into(), window));
                self.series.len() - 1
            }
        }
    }
}

fn error_at(problem: ConditionProblem, call: &Call) -> ConditionProblem {
    ConditionProblem { offset: call.offset, ..problem }
}

fn check_fact(function: &str, fact: &str, facts: &[Variable<'_>]) -> Result<(), ConditionProblem> {
    let has_numbers = |ty: FactType| !matches!(ty, FactType::Text | FactType::Map);
    match facts.iter().find(|known| known.name == fact) {
        Some(known) if has_numbers(known.ty) => Ok(()),
        Some(known) => {
            let ty = known.ty.cel_name();
            let message = format!("`{function}` needs numbers, and `{fact}` is a {ty}");
            Err(ConditionProblem::new(message, None))
        }
        None => {
            let numbers = || facts.iter().filter(|known| has_numbers(known.ty));
            let names: Vec<&str> = numbers().map(|known| known.name).collect();
            let problem = ConditionProblem::new(format!("unknown fact `{fact}`"), None);
            let all = format!("facts with numbers: {}", names.join(", "));
            Err(problem.hint(all).did_you_mean(fact, names))
        }
    }
}
