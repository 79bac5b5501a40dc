//! Runs checks when they are due: never one twice at the same time, never more than a limit at
//! once, and each one no longer than its timeout.
//!
//! One task, the driver, owns all timing. It holds the due times in a heap, sleeps until the next
//! one, and starts each run as a task of its own. A [`Scheduler`] sends it messages.

mod driver;
mod stats;
#[cfg(test)]
mod tests;
mod timetable;

pub use stats::Stats;

use crate::clock::Clock;
use crate::model::{Judgement, Name, Timestamp};
use crate::schedule::plan::Cadence;
use async_trait::async_trait;
use driver::{Command, Driver};
use stats::Gauges;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};

/// Orders that may wait for the driver; who gives more waits.
const COMMANDS: usize = 64;

/// What a job does when it is due.
#[async_trait]
pub trait Task: Send + Sync {
    /// Runs once. At the timeout the future is dropped, so what it started must end with it.
    async fn run(&self) -> Judgement;

    /// What to think of a run that was cut off `after` it started.
    fn timed_out(&self, started: Timestamp, after: Duration) -> Judgement;

    /// What to think of a run that panicked, with the message of the panic.
    fn crashed(&self, started: Timestamp, why: &str) -> Judgement;
}

/// A check as the scheduler knows it.
#[derive(Clone)]
pub struct Job {
    /// Unique among the jobs.
    pub name: Name,
    /// How often it is due.
    pub cadence: Cadence,
    /// How long a run may take; it may be longer than the time between two runs.
    pub timeout: Duration,
    /// What it does.
    pub task: Arc<dyn Task>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Job({}, {})", self.name, self.cadence)
    }
}

/// A run that is over.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Whose run it was.
    pub name: Name,
    /// What it found.
    pub judgement: Judgement,
    /// How much later than due it started, by the monotonic clock.
    pub lateness: Duration,
    /// How many runs fell due since the run before and did not take place: because this one was
    /// at work or waiting for a permit, or because the whole daemon stood still.
    pub missed: u64,
    /// When the next ordinary run is due; `None` if never again.
    pub next_run: Option<Timestamp>,
}

/// Why [`Scheduler::run_now`] gives no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunNowError {
    /// No job has this name.
    #[error("there is no check of this name")]
    Unknown,
    /// A reload came while the run was at work, and its result counts no more.
    #[error("the check was changed or removed while it ran; try again")]
    Replaced,
    /// Very many wait for the result of this check already.
    #[error("too many requests wait for a run of this check; try again later")]
    Crowded,
    /// The scheduler stops, or the run was cut off when it stopped.
    #[error("the daemon is stopping")]
    Stopped,
}

/// Starts a scheduler without jobs, on the current tokio runtime.
///
/// Up to `max_in_flight` runs are at work at once, at least one; a run counts from its start until
/// its result has room in `finished`. What is due beyond that waits in the order in which it fell
/// due, and its timeout does not run yet. The receiver of `finished` must not wait for a
/// [`Scheduler::run_now`], since that may need room in `finished`.
pub fn spawn(
    clock: Arc<dyn Clock>,
    max_in_flight: usize,
    finished: mpsc::Sender<Finished>,
) -> Scheduler {
    let (commands, inbox) = mpsc::channel(COMMANDS);
    let shared = Arc::new(Shared {
        gauges: Gauges::starting_at(clock.now().mono),
        clock,
        retries: Mutex::default(),
        retry_asked: Notify::new(),
    });
    tokio::spawn(Driver::new(Arc::clone(&shared), max_in_flight, finished, inbox).drive());
    Scheduler { commands, shared }
}

/// The handle of a scheduler. When the last clone is dropped the scheduler stops at once.
#[derive(Clone, Debug)]
pub struct Scheduler {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

/// What the handles and the driver share.
#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    gauges: Gauges,
    /// Retries that the driver has not taken over yet, and their monotonic times; not more than
    /// there are jobs.
    retries: Mutex<HashMap<Name, Duration>>,
    retry_asked: Notify,
}

impl Scheduler {
    /// Puts `jobs` in the place of all that went before; when it returns, they are in force.
    ///
    /// A job whose name, cadence and task (the same `Arc`) were there before keeps its timing, its
    /// run and its pending retry, and takes over a changed timeout from the next run on. Each
    /// other job starts afresh, as with [`Cadence::first`]. A run at work of a job that vanished
    /// or changed goes on to its end, but its result is dropped; a changed job does not run before
    /// that end. Of two jobs with one name the last counts.
    pub async fn replace(&self, jobs: Vec<Job>) {
        let (done, answer) = oneshot::channel();
        if self.commands.send(Command::Replace { jobs, done }).await.is_ok() {
            // Without an answer the scheduler has stopped, and then there is nothing in force.
            let _ = answer.await;
        }
    }

    /// Asks for one extra run `after` now, unless the ordinary run comes first. A new retry
    /// replaces the one before, and each run that starts cancels it. With a zero `after` the run
    /// is due at once, in case none is at work.
    pub fn retry(&self, name: &Name, after: Duration) {
        if self.commands.is_closed() {
            return;
        }
        let due = self.shared.clock.now().mono.saturating_add(after);
        let mut retries = self.shared.retries.lock().unwrap_or_else(PoisonError::into_inner);
        retries.insert(Arc::clone(name), due);
        drop(retries);
        self.shared.retry_asked.notify_one();
    }

    /// Runs a check now, whatever its schedule says, and gives the result, which also goes to
    /// `finished`. If a run of it is at work or waits for a permit, this is the one whose result
    /// is given.
    ///
    /// # Errors
    /// Where there is no result to wait for; see [`RunNowError`].
    pub async fn run_now(&self, name: &str) -> Result<Finished, RunNowError> {
        let (done, answer) = oneshot::channel();
        let command = Command::RunNow { name: name.to_owned(), done };
        self.commands.send(command).await.map_err(|_| RunNowError::Stopped)?;
        answer.await.map_err(|_| RunNowError::Stopped)?
    }

    /// Starts no more runs, waits up to `grace` for those at work and for `finished` to take their
    /// results, and cuts off the rest.
    pub async fn stop(self, grace: Duration) {
        let (done, answer) = oneshot::channel();
        if self.commands.send(Command::Stop { grace, done }).await.is_ok() {
            // No answer means that somebody else stopped it meanwhile.
            let _ = answer.await;
        }
    }

    /// How it fares.
    pub fn stats(&self) -> Stats {
        self.shared.gauges.read()
    }
}
