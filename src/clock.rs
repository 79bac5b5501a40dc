//! The only place that reads the time.

use crate::model::{Moment, Timestamp};
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Tells what time it is, by both clocks.
pub trait Clock: Send + Sync + Debug {
    /// This very moment.
    fn now(&self) -> Moment;

    /// What people call the time.
    fn wall(&self) -> Timestamp {
        self.now().wall
    }
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct System {
    start: tokio::time::Instant,
}

impl System {
    /// Clocks whose monotonic time starts here.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the time")]
    pub fn start() -> Self {
        Self { start: tokio::time::Instant::now() }
    }
}

impl Clock for System {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the time")]
    fn now(&self) -> Moment {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        Moment {
            wall: Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(0)),
            mono: tokio::time::Instant::now().duration_since(self.start),
        }
    }
}

/// A clock that stands until a test moves it.
#[derive(Debug)]
pub struct Manual {
    now: Mutex<Moment>,
}

impl Manual {
    /// A clock that stands at `wall`.
    pub fn at(wall: Timestamp) -> Self {
        Self { now: Mutex::new(Moment { wall, mono: Duration::ZERO }) }
    }

    /// Lets `span` pass on both clocks.
    pub fn advance(&self, span: Duration) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.wall = now.wall.after(span);
        now.mono += span;
    }

    /// Sets the wall clock, as an administrator or NTP may; the monotonic clock goes on.
    pub fn step_wall(&self, wall: Timestamp) {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).wall = wall;
    }
}

impl Clock for Manual {
    fn now(&self) -> Moment {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
