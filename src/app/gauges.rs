//! What the daemon counts about itself.

use crate::model::{Incident, Silence, Status};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counters since the start, and the incidents of the daemon's own. Written by the monitor, read
/// by anybody.
#[derive(Debug, Default)]
pub struct Gauges {
    runs: [AtomicU64; Status::ALL.len()],
    /// Monotonic milliseconds.
    monitor_alive_at: AtomicU64,
    /// The open incidents of the daemon's own.
    pub own: ArcSwap<Vec<Arc<Incident>>>,
    /// The silences that are not forgotten, newest first.
    pub silences: ArcSwap<Vec<Silence>>,
}

impl Gauges {
    /// Counts a finished run.
    pub fn ran(&self, status: Status) {
        self.runs[status as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The monitor is at work at this monotonic time. It is at least every second.
    pub fn monitor_is_alive(&self, mono: Duration) {
        let millis = u64::try_from(mono.as_millis()).unwrap_or(u64::MAX);
        self.monitor_alive_at.store(millis, Ordering::Relaxed);
    }

    /// When the monitor was last at work.
    pub fn monitor_alive_at(&self) -> Duration {
        Duration::from_millis(self.monitor_alive_at.load(Ordering::Relaxed))
    }

    /// Finished runs by their verdict.
    pub fn runs(&self) -> Vec<(Status, u64)> {
        let count = |status: Status| self.runs[status as usize].load(Ordering::Relaxed);
        Status::ALL.into_iter().map(|status| (status, count(status))).collect()
    }
}
