use super::{Action, Order, Tools};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Carries out attempts: each as a task of its own, not more than so many at once over all checks,
/// each one no longer than its timeout.
#[derive(Debug)]
pub struct Recoverer {
    tools: Tools,
    permits: Arc<Semaphore>,
    most: Mutex<usize>,
    tasks: Mutex<JoinSet<()>>,
    stop: CancellationToken,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done, in words. Whether it helped is for a run of the check to say.
    Done(String),
    /// It was not done, in words.
    Failed(String),
    /// It was cut off after so long, with all that it had started.
    TimedOut(Duration),
    /// The daemon stopped while it was at work, and cut it off.
    CutOff,
    /// It was withdrawn, or the daemon stopped, before it began: nothing was done.
    NeverStarted,
}

impl Outcome {
    /// The words for the timeline: `restart, attempt 2 of 3: restarted the unit shop-api.service`.
    pub fn detail(&self, order: &Order) -> String {
        let Order { action, attempt, of, .. } = order;
        let words = match self {
            Self::Done(words) => words.clone(),
            Self::Failed(why) => format!("failed: {why}"),
            Self::TimedOut(after) => {
                format!("cut off after {}", humantime::format_duration(*after))
            }
            Self::CutOff => "cut off, since the daemon stopped".to_owned(),
            Self::NeverStarted => "not begun: no longer needed".to_owned(),
        };
        format!("{action}, attempt {attempt} of {of}: {words}")
    }
}

/// An attempt that was handed over. Dropping it changes nothing.
#[derive(Debug)]
pub struct Started {
    withdrawn: CancellationToken,
}

impl Started {
    /// Gives the attempt up if it has not begun yet, as one that waits for others has not. One
    /// that is at work goes on: half a restart is worse than a needless one.
    pub fn withdraw(&self) {
        self.withdrawn.cancel();
    }
}

impl Recoverer {
    /// One that lets `max_at_once` attempts work at the same time, at least one.
    pub fn new(tools: Tools, max_at_once: usize) -> Self {
        let most = max_at_once.max(1);
        Self {
            tools,
            permits: Arc::new(Semaphore::new(most)),
            most: Mutex::new(most),
            tasks: Mutex::default(),
            stop: CancellationToken::new(),
        }
    }

    /// Carries out `order` by `action` once `booked` is over and it is its turn, on the current
    /// tokio runtime.
    ///
    /// `timeout` runs from its beginning, not while it waits for others. `done` is called exactly
    /// once, also where the action panics; it must not block.
    pub fn start(
        &self,
        order: Order,
        booked: impl Future<Output = ()> + Send + 'static,
        action: Arc<dyn Action>,
        timeout: Duration,
        done: impl FnOnce(Outcome) + Send + 'static,
    ) -> Started {
        let withdrawn = CancellationToken::new();
        let started = Started { withdrawn: withdrawn.clone() };
        let (permits, stop) = (Arc::clone(&self.permits), self.stop.clone());
        let tools = self.tools.clone();
        let attempt = async move {
            booked.await;
            let _permit = tokio::select! {
                biased;
                () = stop.cancelled() => return Outcome::NeverStarted,
                () = withdrawn.cancelled() => return Outcome::NeverStarted,
                permit = permits.acquire_owned() => permit,
            };
            let (check, incident) = (&order.check, &order.incident);
            tracing::info!(%check, %incident, "recovery begins: {}", action.describe(&order));
            let work = AssertUnwindSafe(action.run(&tools, &order)).catch_unwind();
            let outcome = tokio::select! {
                biased;
                () = stop.cancelled() => Outcome::CutOff,
                end = tokio::time::timeout(timeout, work) => match end {
                    Ok(Ok(Ok(words))) => Outcome::Done(words),
                    Ok(Ok(Err(why))) => Outcome::Failed(why),
                    Ok(Err(_panic)) => Outcome::Failed("the action's code failed".to_owned()),
                    Err(_elapsed) => Outcome::TimedOut(timeout),
                },
            };
            tracing::info!(%check, %incident, "recovery: {}", outcome.detail(&order));
            outcome
        };
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move { done(attempt.await) });
        started
    }

    /// Lets so many attempts work at the same time from now on, at least one; those at work go on.
    pub fn set_max_at_once(&self, max_at_once: usize) {
        let wanted = max_at_once.max(1);
        let mut most = self.most.lock().unwrap_or_else(PoisonError::into_inner);
        let (more, fewer) = (wanted.saturating_sub(*most), most.saturating_sub(wanted));
        *most = wanted;
        self.permits.add_permits(more);
        let held = fewer.saturating_sub(self.permits.forget_permits(fewer));
        // Those in use go as they come back, before anybody who comes later gets them.
        if let Ok(held @ 1..) = u32::try_from(held) {
            let permits = Arc::clone(&self.permits);
            let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            tasks.spawn(async move {
                if let Ok(permits) = permits.acquire_many_owned(held).await {
                    permits.forget();
                }
            });
        }
    }

    /// Ends all attempts: those at work are cut off with what they started, the others do not
    /// begin. When it returns, `done` of each was called.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.permits.close();
        let mut tasks =
            std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        while tasks.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests;
