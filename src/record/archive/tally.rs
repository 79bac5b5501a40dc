//! What is counted of a span of time: runs, time by status, latency.

use crate::model::{RunResult, Status};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Counts over a span of time. Tallies of spans beside each other add up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Runs, by status: up, degraded, down, unknown.
    runs: [u32; 4],
    /// Milliseconds, by status, outside of maintenance.
    time: [u64; 4],
    /// Milliseconds in maintenance, whatever the status.
    maintenance: u64,
    /// How long the runs took that found the check up or degraded.
    latency: Option<Latency>,
}

/// How long runs took, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Latency {
    runs: u32,
    min: u64,
    max: u64,
    sum: u64,
}

impl Tally {
    /// Counts a run. Gives its latency in milliseconds if that counts: a run that found nothing
    /// says how long an error took to come, not how quick the check is.
    pub fn run(&mut self, result: &RunResult) -> Option<f64> {
        if let Some(runs) = self.runs.get_mut(place(result.status)) {
            *runs = runs.saturating_add(1);
        }
        if !matches!(result.status, Status::Up | Status::Degraded) {
            return None;
        }
        let micros = Duration::try_from_secs_f64(result.latency_ms / 1000.0).ok()?.as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        self.add_latency(Latency { runs: 1, min: micros, max: micros, sum: micros });
        Some(result.latency_ms)
    }

    /// Counts time that the check was known to be `status`.
    pub fn time(&mut self, status: Status, maintenance: bool, span: Duration) {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let time = match self.time.get_mut(place(status)) {
            Some(time) if !maintenance => time,
            _ => &mut self.maintenance,
        };
        *time = time.saturating_add(millis);
    }

    /// Adds what another span counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.runs.iter_mut().zip(other.runs) {
            *mine = mine.saturating_add(theirs);
        }
        for (mine, theirs) in self.time.iter_mut().zip(other.time) {
            *mine = mine.saturating_add(theirs);
        }
        self.maintenance = self.maintenance.saturating_add(other.maintenance);
        if let Some(latency) = other.latency {
            self.add_latency(latency);
        }
    }

    fn add_latency(&mut self, more: Latency) {
        self.latency = Some(match self.latency {
            None => more,
            Some(old) => Latency {
                runs: old.runs.saturating_add(more.runs),
                min: old.min.min(more.min),
                max: old.max.max(more.max),
                sum: old.sum.saturating_add(more.sum),
            },
        });
    }

    /// Runs that ended with `status`.
    pub fn runs(&self, status: Status) -> u32 {
        self.runs.get(place(status)).copied().unwrap_or_default()
    }

    /// All runs.
    pub fn all_runs(&self) -> u64 {
        self.runs.iter().map(|runs| u64::from(*runs)).sum()
    }

    /// How long the check was known to be `status`, outside of maintenance.
    pub fn time_of(&self, status: Status) -> Duration {
        Duration::from_millis(self.time.get(place(status)).copied().unwrap_or_default())
    }

    /// How long it was in maintenance.
    pub fn maintenance(&self) -> Duration {
        Duration::from_millis(self.maintenance)
    }

    /// The share of time, 0 to 1, that the check was well enough to answer (up or degraded), of the
    /// time that it was known to be or not; none if that is no time at all. Maintenance, unknown and
    /// time that nobody watched count on neither side.
    pub fn uptime(&self) -> Option<f64> {
        let well = self.time_of(Status::Up) + self.time_of(Status::Degraded);
        let known = well + self.time_of(Status::Down);
        (!known.is_zero()).then(|| well.as_secs_f64() / known.as_secs_f64())
    }

    /// The quickest run, the mean and the slowest, in milliseconds, of the runs that found the check
    /// up or degraded.
    pub fn latency_ms(&self) -> Option<(f64, f64, f64)> {
        let latency = self.latency?;
        let millis = |micros: u64| micros as f64 / 1000.0;
        let mean = millis(latency.sum) / f64::from(latency.runs.max(1));
        Some((millis(latency.min), mean, millis(latency.max)))
    }
}

const fn place(status: Status) -> usize {
    match status {
        Status::Up => 0,
        Status::Degraded => 1,
        Status::Down => 2,
        Status::Unknown => 3,
    }
}
