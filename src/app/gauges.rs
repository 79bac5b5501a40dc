//! What the daemon counts about itself.

use crate::model::{Incident, Silence, Status};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters since the start, and the incidents of the daemon's own. Written by the monitor, read
/// by anybody.
#[derive(Debug, Default)]
pub struct Gauges {
    runs: [AtomicU64; Status::ALL.len()],
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

    /// Finished runs by their verdict.
    pub fn runs(&self) -> Vec<(Status, u64)> {
        let count = |status: Status| self.runs[status as usize].load(Ordering::Relaxed);
        Status::ALL.into_iter().map(|status| (status, count(status))).collect()
    }
}
