use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// How the scheduler fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// How many jobs there are.
    pub jobs: usize,
    /// Runs at work, and results that wait for room.
    pub in_flight: usize,
    /// Runs that are due and wait for a permit.
    pub waiting_for_permit: usize,
    /// Runs that were started, since the start.
    pub runs_total: u64,
    /// Runs that fell due and did not take place, since the start.
    pub missed_total: u64,
    /// By how much the latest run of the last minute was late, those that still wait included.
    pub worst_lateness: Duration,
    /// The monotonic time at which the driver was last at work. It wakes at least every five
    /// seconds, so that a watchdog may take a much older time for a failure.
    pub alive_at: Duration,
}

/// The same figures, as the driver writes them and any thread reads them.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    pub(super) jobs: AtomicUsize,
    pub(super) in_flight: AtomicUsize,
    pub(super) waiting: AtomicUsize,
    pub(super) runs: AtomicU64,
    pub(super) missed: AtomicU64,
    worst_lateness: AtomicU64,
    alive_at: AtomicU64,
}

impl Gauges {
    pub(super) fn starting_at(mono: Duration) -> Self {
        let gauges = Self::default();
        gauges.alive(mono, Duration::ZERO);
        gauges
    }

    pub(super) fn alive(&self, mono: Duration, worst_lateness: Duration) {
        self.worst_lateness.store(micros(worst_lateness), Relaxed);
        self.alive_at.store(micros(mono), Relaxed);
    }

    pub(super) fn read(&self) -> Stats {
        Stats {
            jobs: self.jobs.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            waiting_for_permit: self.waiting.load(Relaxed),
            runs_total: self.runs.load(Relaxed),
            missed_total: self.missed.load(Relaxed),
            worst_lateness: Duration::from_micros(self.worst_lateness.load(Relaxed)),
            alive_at: Duration::from_micros(self.alive_at.load(Relaxed)),
        }
    }
}

/// The worst lateness of the last minute, in steps of ten seconds.
#[derive(Debug, Default)]
pub(super) struct Worst {
    steps: [Duration; 6],
    step: u64,
}

impl Worst {
    const STEP_SECONDS: u64 = 10;

    pub(super) fn note(&mut self, now: Duration, lateness: Duration) {
        self.turn(now);
        let worst = &mut self.steps[self.place(self.step)];
        *worst = lateness.max(*worst);
    }

    pub(super) fn at(&mut self, now: Duration) -> Duration {
        self.turn(now);
        self.steps.iter().copied().max().unwrap_or_default()
    }

    fn turn(&mut self, now: Duration) {
        let step = now.as_secs() / Self::STEP_SECONDS;
        if step <= self.step {
            return;
        }
        // Clearing each place once is enough, however long nobody asked.
        let from = (self.step + 1).max(step.saturating_sub(self.steps.len() as u64));
        for old in from..=step {
            let place = self.place(old);
            self.steps[place] = Duration::ZERO;
        }
        self.step = step;
    }

    fn place(&self, step: u64) -> usize {
        usize::try_from(step % self.steps.len() as u64).unwrap_or_default()
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_lateness_is_forgotten_after_a_minute() {
        let second = Duration::from_secs;
        let mut worst = Worst::default();
        worst.note(second(5), second(3));
        worst.note(second(27), second(1));
        assert_eq!(worst.at(second(59)), second(3));
        assert_eq!(worst.at(second(61)), second(1));
        assert_eq!(worst.at(second(81)), Duration::ZERO);
        worst.note(second(90), second(2));
        assert_eq!(worst.at(second(9_000)), Duration::ZERO);
    }
}
