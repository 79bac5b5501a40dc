use super::section::Section;
use std::time::Duration;

/// `[daemon.own_incidents]`: from when on the daemon says something of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnLimits {
    /// The wall clock was set if it moved by more than this against the monotonic one.
    pub clock_step: Duration,
    /// How long that is told after the latest time that it was set.
    pub clock_settles: Duration,
    /// A run is late that starts so long after it was due.
    pub schedule_late: Duration,
    /// How long runs must have been late.
    pub schedule_late_for: Duration,
    /// How long a delivery that is due may come to no end.
    pub outbox_stuck: Duration,
}

impl Default for OwnLimits {
    fn default() -> Self {
        Self {
            clock_step: Duration::from_secs(5),
            clock_settles: Duration::from_secs(10 * 60),
            schedule_late: Duration::from_secs(5),
            schedule_late_for: Duration::from_secs(2 * 60),
            outbox_stuck: Duration::from_secs(5 * 60),
        }
    }
}

pub(super) fn read_own_limits(table: &mut Section<'_>) -> OwnLimits {
    let mut limits = OwnLimits::default();
    for (key, span) in [
        ("clock_step", &mut limits.clock_step),
        ("clock_settles", &mut limits.clock_settles),
        ("schedule_late", &mut limits.schedule_late),
        ("schedule_late_for", &mut limits.schedule_late_for),
        ("outbox_stuck", &mut limits.outbox_stuck),
    ] {
        if let Some(given) = table.built(key, |text: String| super::checks::positive(&text)) {
            *span = given;
        }
    }
    limits
}
