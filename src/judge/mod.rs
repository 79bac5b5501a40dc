//! From what a run observed to an opinion about it: the conditions of a check, and the windows
//! over its recent results that they may look back on.

mod calls;
#[cfg(test)]
mod tests;
mod windows;

pub use windows::{PastRun, Windows};

use crate::condition::{Condition, ConditionProblem, Outcome, Scope, Seen, Variable, shorten};
use crate::model::{Fact, FactSpec, Moment, Observation, Status, Verdict};
use calls::{Calls, WindowCall};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The function that tells how many runs were down.
const RATE: &str = "error_rate";

/// The series that it looks at; no fact can have this name.
const RATE_SERIES: &str = "error_rate()";

/// The fact under which a kind says why others are absent: a map of reasons by fact.
const ABSENT: &str = "absent";

/// How much of a condition's source a reason quotes, in characters.
const QUOTED: usize = 200;

/// The conditions of one check, compiled. It holds no state: that is in [`Windows`].
///
/// # What a verdict means
/// - An observation with an error is down, for that error; unless a condition of `expect` uses
///   `error`, in which case the conditions decide alone.
/// - An observation that cannot tell (the server limits our rate) is unknown, for that reason;
///   unless a condition of `expect` uses `error` or the fact that says so.
/// - With `expect` the check is down unless all of it holds; without, the kind's own sense decides.
/// - Where that says up, the check is degraded if a condition of `degraded_if` holds.
/// - A condition that cannot be evaluated, say for a fact that the run did not find, counts as
///   failed, and says why: the check is down for one in `expect`, and degraded for one in
///   `degraded_if`. `&&` and `||` look at both sides, so that
///   `is_replica && replication_lag_seconds > 10.0` is false without an error where
///   `is_replica` is false; `has(body.queue)` asks for a path.
/// - A condition that hangs on a window without data makes nobody worse: in `expect` it holds, in
///   `degraded_if` it does not.
///
/// # Windows
/// `avg`, `min`, `max`, `p50`, `p95` and `p99` of `('fact', '10m')` look at that fact of all runs
/// of the window which found it, the present run included. A duration counts in milliseconds, a
/// bool as 0 or 1. Percentiles are by nearest rank. A window is from 1s to 24h.
///
/// `error_rate('10m')` is the share of runs that were down, from 0.0 to 1.0, the present run
/// included, unknown runs left out. So that the rate does not feed on itself, a run counts as
/// down by the conditions of `expect` that do not use `error_rate`; where there are none, by the
/// kind's own sense.
#[derive(Debug)]
pub struct Judge {
    expect: Vec<Rule>,
    degraded_if: Vec<Rule>,
    /// An `expect` uses `error`, so that it decides about failed observations.
    mentions_error: bool,
    /// The facts that windows look at, each with its longest window.
    series: Vec<(Arc<str>, Duration)>,
}

#[derive(Debug)]
struct Rule {
    condition: Condition,
    calls: Vec<WindowCall>,
    uses_rate: bool,
}

/// Which of a check's conditions is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// `expect[i]`.
    Expect(usize),
    /// `degraded_if[i]`.
    DegradedIf(usize),
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expect(index) => write!(f, "expect[{index}]"),
            Self::DegradedIf(index) => write!(f, "degraded_if[{index}]"),
        }
    }
}

/// What is wrong with one of a check's conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgeProblem {
    /// Which condition.
    pub which: Which,
    /// What is wrong with it.
    pub problem: ConditionProblem,
}

impl Judge {
    /// Compiles the conditions of a check whose kind finds `facts`
    /// ([`FactSpec::COMMON`] included).
    ///
    /// # Errors
    /// What is wrong, for each condition that is.
    pub fn compile(
        expect: &[String],
        degraded_if: &[String],
        facts: &mut dyn Iterator<Item = &FactSpec>,
    ) -> Result<Self, Vec<JudgeProblem>> {
        let facts: Vec<Variable<'_>> =
            facts.map(|fact| Variable { name: fact.name, ty: fact.ty }).collect();
        let mut calls = Calls::default();
        let mut problems = Vec::new();
        let mut compile = |sources: &[String], which: fn(usize) -> Which| {
            let mut rules = Vec::with_capacity(sources.len());
            for (index, source) in sources.iter().enumerate() {
                match Rule::compile(source, &facts, &mut calls) {
                    Ok(rule) => rules.push(rule),
                    Err(problem) => problems.push(JudgeProblem { which: which(index), problem }),
                }
            }
            rules
        };
        let expect = compile(expect, Which::Expect);
        let degraded_if = compile(degraded_if, Which::DegradedIf);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mentions_error = expect.iter().any(|rule| rule.condition.references("error"));
        Ok(Self { expect, degraded_if, mentions_error, series: calls.into_series() })
    }

    /// Empty windows for a check that this judges.
    pub fn windows(&self) -> Windows {
        Windows::new(self.series.iter().map(|(fact, longest)| (fact, *longest)))
    }

    /// The opinion about `observation`, which becomes part of `windows`.
    ///
    /// `windows` are those of the same check and of this judge; `sense` is the kind's own opinion,
    /// asked at most once and only where the observation met no error.
    pub fn verdict(
        &self,
        windows: &mut Windows,
        observation: &Observation,
        sense: impl FnOnce() -> Verdict,
        now: Moment,
    ) -> Verdict {
        windows.observe(observation, now);
        let error = observation.error.as_deref();
        let decided_here = |fact: &str| {
            self.mentions_error || self.expect.iter().any(|it| it.condition.references(fact))
        };
        if let (Some(fact), Some(why)) = (observation.undecided, error)
            && !decided_here(fact)
        {
            windows.judged(Status::Unknown, now);
            return Verdict { status: Status::Unknown, reasons: vec![why.to_owned()] };
        }
        let (plain, by_rate): (Vec<&Rule>, Vec<&Rule>) =
            self.expect.iter().partition(|rule| !rule.uses_rate);
        let decides = self.mentions_error || observation.undecided.is_some();
        let mut verdict = match error {
            Some(error) if !decides || plain.is_empty() => Verdict::down(error),
            _ if plain.is_empty() => sense(),
            _ => expected(&plain, windows, observation, now),
        };
        windows.judged(verdict.status, now);
        if !by_rate.is_empty() && (error.is_none() || decides) {
            // The share of errors decides together with the other conditions, not with what stood
            // in for them.
            let later = expected(&by_rate, windows, observation, now);
            if plain.is_empty() {
                verdict = later;
            } else if later.status == Status::Down {
                verdict.status = Status::Down;
                verdict.reasons.extend(later.reasons);
            }
        }
        if let Some(error) = error
            && verdict.status == Status::Down
            && !verdict.reasons.iter().any(|reason| reason.contains(error))
        {
            verdict.reasons.insert(0, error.to_owned());
        }
        if verdict.status == Status::Up {
            let reasons: Vec<String> = self
                .degraded_if
                .iter()
                .filter_map(|rule| rule.degrades(&rule.sight(windows, observation, now)))
                .collect();
            if !reasons.is_empty() {
                return Verdict { status: Status::Degraded, reasons };
            }
        }
        verdict
    }
}

/// Down for each of `rules` that fails, else up.
fn expected(rules: &[&Rule], windows: &Windows, observation: &Observation, now: Moment) -> Verdict {
    let reasons: Vec<String> = rules
        .iter()
        .filter_map(|rule| rule.fails(&rule.sight(windows, observation, now)))
        .collect();
    let status = if reasons.is_empty() { Status::Up } else { Status::Down };
    Verdict { status, reasons }
}

impl Rule {
    fn compile(
        source: &str,
        facts: &[Variable<'_>],
        calls: &mut Calls,
    ) -> Result<Self, ConditionProblem> {
        let condition = Condition::compile(source, facts, calls::FUNCTIONS)?;
        let mut own = Vec::with_capacity(condition.calls().len());
        for call in condition.calls() {
            own.push(calls.read(call, facts)?);
        }
        let uses_rate = condition.calls().iter().any(|call| call.name == RATE);
        Ok(Self { condition, calls: own, uses_rate })
    }

    /// Why the expectation fails, if it does.
    fn fails(&self, sight: &Sight<'_>) -> Option<String> {
        match self.condition.evaluate(sight) {
            Outcome::Holds | Outcome::NoData => None,
            Outcome::Fails => Some(self.reason("failed", sight, None)),
            Outcome::Broken(why) => Some(self.reason("failed", sight, Some(why))),
        }
    }

    /// Why the check is degraded, if it is.
    fn degrades(&self, sight: &Sight<'_>) -> Option<String> {
        match self.condition.evaluate(sight) {
            Outcome::Fails | Outcome::NoData => None,
            Outcome::Holds => Some(self.reason("holds", sight, None)),
            Outcome::Broken(why) => Some(self.reason("could not be judged", sight, Some(why))),
        }
    }

    /// `status == 200 failed: status is 503`.
    fn reason(&self, what: &str, sight: &Sight<'_>, why: Option<String>) -> String {
        let source = shorten(self.condition.source().trim(), QUOTED);
        let values = self.condition.explain(sight);
        let because = match why {
            Some(why) if values.contains(&why) => values,
            Some(why) if values.is_empty() => why,
            Some(why) => format!("{why}; {values}"),
            None => values,
        };
        if because.is_empty() {
            format!("{source} {what}")
        } else {
            format!("{source} {what}: {because}")
        }
    }

    fn sight<'a>(
        &'a self,
        windows: &'a Windows,
        observation: &'a Observation,
        now: Moment,
    ) -> Sight<'a> {
        Sight { calls: &self.calls, windows, observation, now }
    }
}

/// What the conditions of a check see.
struct Sight<'a> {
    calls: &'a [WindowCall],
    windows: &'a Windows,
    observation: &'a Observation,
    now: Moment,
}

impl Scope for Sight<'_> {
    fn variable(&self, name: &str) -> Option<Seen<'_>> {
        let observation = self.observation;
        match name {
            "latency" => Some(Seen::Duration(observation.latency)),
            "latency_ms" => Some(Seen::Double(observation.latency.as_secs_f64() * 1000.0)),
            "error" => Some(Seen::Text(observation.error.as_deref().unwrap_or_default())),
            _ => observation.facts.get(name).map(Seen::from),
        }
    }

    fn why_absent(&self, name: &str) -> Option<&str> {
        match self.observation.facts.get(ABSENT)? {
            Fact::Json(reasons) => reasons.get(name)?.as_str(),
            _ => None,
        }
    }

    fn call(&self, index: usize) -> Option<f64> {
        let call = self.calls.get(index)?;
        self.windows.ask(call.series, call.stat, call.window, self.now)
    }
}
