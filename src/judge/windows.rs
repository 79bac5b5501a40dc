//! The recent results of one check, for conditions that look back.

use super::RATE_SERIES;
use crate::model::{Moment, Observation, Status};
use serde_json::Value as Json;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How many samples a series holds: one a second for a day. Past that the oldest leave early.
const MOST_SAMPLES: usize = 86_400;

/// What one sample takes.
#[cfg(test)]
pub(super) const SAMPLE_BYTES: usize = std::mem::size_of::<Sample>();

/// What is kept for the windows of one check: only the facts that its conditions look back on,
/// and only as far as the longest window goes.
///
/// Times are monotonic, so that a step of the wall clock changes no window.
#[derive(Clone, Debug, Default)]
pub struct Windows {
    series: Vec<Series>,
}

/// A result from before this process, for [`Windows::refill`].
#[derive(Clone, Copy, Debug)]
pub struct PastRun<'a> {
    /// How long ago it was.
    pub age: Duration,
    /// Its verdict.
    pub status: Status,
    /// How long it took, in milliseconds.
    pub latency_ms: f64,
    /// The facts that were kept of it, as a JSON object.
    pub facts: &'a Json,
}

/// What is asked of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stat {
    /// The arithmetic mean.
    Avg,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The smallest value that at least so many percent of the values do not exceed (the
    /// nearest-rank percentile).
    Percentile(u8),
}

/// The values of one fact (or, under [`RATE_SERIES`], 1 for each run that was down), oldest first.
#[derive(Clone, Debug)]
struct Series {
    fact: Arc<str>,
    longest: Duration,
    samples: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    /// On the monotonic clock, in milliseconds; below zero for runs before the daemon started.
    at: i64,
    value: f64,
}

impl Windows {
    /// Room for each of `facts`, with the longest window over it.
    pub(super) fn new<'a>(facts: impl Iterator<Item = (&'a Arc<str>, Duration)>) -> Self {
        let series = facts.map(|(fact, longest)| Series {
            fact: Arc::clone(fact),
            longest,
            samples: VecDeque::new(),
        });
        Self { series: series.collect() }
    }

    /// Whether no condition looks back, so that there is no need for [`Windows::refill`].
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// How far back the longest window goes; results that are older need not be read.
    pub fn longest(&self) -> Duration {
        self.series.iter().map(|series| series.longest).max().unwrap_or_default()
    }

    /// Adds the results of earlier runs, in any order, as after a restart.
    pub fn refill<'a>(&mut self, now: Moment, past: impl IntoIterator<Item = PastRun<'a>>) {
        let now = millis(now.mono);
        for run in past {
            for series in &mut self.series {
                let value = match &*series.fact {
                    RATE_SERIES => error_value(run.status),
                    "latency" | "latency_ms" => Some(run.latency_ms),
                    fact => run.facts.get(fact).and_then(json_number),
                };
                if let Some(value) = value
                    && run.age < series.longest
                {
                    series.samples.push_back(Sample { at: now - millis(run.age), value });
                }
            }
        }
        for series in &mut self.series {
            series.samples.make_contiguous().sort_by_key(|sample| sample.at);
            series.trim(now);
        }
    }

    /// The memory that the samples hold, room for more included.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.series.iter().map(|series| series.samples.capacity() * SAMPLE_BYTES).sum()
    }

    #[cfg(test)]
    pub(super) fn samples(&self) -> usize {
        self.series.iter().map(|series| series.samples.len()).sum()
    }

    /// Adds the facts of the present run.
    pub(super) fn observe(&mut self, observation: &Observation, now: Moment) {
        for series in &mut self.series {
            let value = match &*series.fact {
                RATE_SERIES => None,
                "latency" | "latency_ms" => Some(observation.latency.as_secs_f64() * 1000.0),
                fact => observation.facts.get(fact).and_then(|fact| match fact {
                    crate::model::Fact::Json(json) => json_number(json),
                    fact => fact.as_number(),
                }),
            };
            series.push(value, now);
        }
    }

    /// Adds whether the present run counts as an error.
    pub(super) fn judged(&mut self, status: Status, now: Moment) {
        for series in self.series.iter_mut().filter(|series| &*series.fact == RATE_SERIES) {
            series.push(error_value(status), now);
        }
    }

    /// The answer for the last `window` of the series of that index; `None` without data.
    pub(super) fn ask(
        &self,
        series: usize,
        stat: Stat,
        window: Duration,
        now: Moment,
    ) -> Option<f64> {
        let after = millis(now.mono) - millis(window);
        let samples = &self.series.get(series)?.samples;
        let start = samples.partition_point(|sample| sample.at <= after);
        let values = samples.range(start..).map(|sample| sample.value);
        let count = values.len();
        if count == 0 {
            return None;
        }
        Some(match stat {
            Stat::Avg => values.sum::<f64>() / count as f64,
            Stat::Min => values.fold(f64::INFINITY, f64::min),
            Stat::Max => values.fold(f64::NEG_INFINITY, f64::max),
            Stat::Percentile(percent) => {
                let mut values: Vec<f64> = values.collect();
                let rank = (count * usize::from(percent)).div_ceil(100).clamp(1, count);
                *values.select_nth_unstable_by(rank - 1, f64::total_cmp).1
            }
        })
    }
}

impl Series {
    fn push(&mut self, value: Option<f64>, now: Moment) {
        let at = millis(now.mono);
        if let Some(value) = value.filter(|value| value.is_finite()) {
            self.samples.push_back(Sample { at, value });
        }
        self.trim(at);
    }

    /// Lets go of what is too old, or too much.
    fn trim(&mut self, now: i64) {
        let after = now - millis(self.longest);
        let old = self.samples.partition_point(|sample| sample.at <= after);
        let surplus = self.samples.len().saturating_sub(MOST_SAMPLES);
        self.samples.drain(..old.max(surplus));
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 4)
}

/// Unknown runs are no evidence either way.
const fn error_value(status: Status) -> Option<f64> {
    match status {
        Status::Up | Status::Degraded => Some(0.0),
        Status::Down => Some(1.0),
        Status::Unknown => None,
    }
}

fn json_number(json: &Json) -> Option<f64> {
    match json {
        Json::Bool(yes) => Some(f64::from(u8::from(*yes))),
        json => json.as_f64(),
    }
}
