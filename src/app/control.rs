//! What the status API asks of the daemon.

use super::gauges::Gauges;
use crate::clock::Clock;
use crate::deliver::outbox::Outbox;
use crate::model::{Incident, Moment, Name, Notice, NoticeState, RunResult, Silence, Timestamp};
use crate::record::writer::{StoreHealth, Writer};
use crate::schedule::Scheduler;
use crate::schedule::run::RunNowError as NotRun;
use crate::serve::{Control, DaemonStatus, NoticeCount, OperateError, RunNowError, StoreView};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The daemon as the API sees it.
#[derive(Debug)]
pub struct AppControl {
    /// The name of the daemon.
    pub name: Name,
    /// When it started.
    pub started: Moment,
    /// Who runs checks.
    pub scheduler: Scheduler,
    /// Who delivers.
    pub outbox: Arc<Outbox>,
    /// Who writes.
    pub writer: Writer,
    /// How the store is.
    pub health: watch::Receiver<StoreHealth>,
    /// What is counted.
    pub gauges: Arc<Gauges>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

#[async_trait]
impl Control for AppControl {
    async fn run_now(&self, check: &str) -> Result<RunResult, RunNowError> {
        match self.scheduler.run_now(check).await {
            Ok(finished) => Ok(RunResult::new(finished.name, finished.judgement)),
            Err(NotRun::Unknown) => Err(RunNowError::NotFound),
            Err(busy @ (NotRun::Replaced | NotRun::Crowded)) => {
                Err(RunNowError::Busy(busy.to_string()))
            }
            Err(NotRun::Stopped) => Err(RunNowError::Stopping),
        }
    }

    async fn acknowledge(
        &self,
        _: &str,
        _: &str,
        _: Option<&str>,
        _: Option<Timestamp>,
    ) -> Result<Incident, OperateError> {
        Err(OperateError::Stopping)
    }

    async fn unacknowledge(&self, _: &str, _: &str) -> Result<Incident, OperateError> {
        Err(OperateError::Stopping)
    }

    async fn snooze(&self, _: &str, _: &str, _: Timestamp) -> Result<Incident, OperateError> {
        Err(OperateError::Stopping)
    }

    async fn silence(&self, _: Silence) -> Result<Silence, OperateError> {
        Err(OperateError::Stopping)
    }

    async fn expire_silence(&self, _: &str, _: &str) -> Result<Silence, OperateError> {
        Err(OperateError::Stopping)
    }

    fn silences(&self) -> Vec<Silence> {
        Vec::new()
    }

    async fn pause(&self, _: &str, _: &str, _: bool) -> Result<(), OperateError> {
        Err(OperateError::Stopping)
    }

    async fn retry_notice(&self, _: &str) -> Result<Notice, OperateError> {
        Err(OperateError::Stopping)
    }

    fn daemon(&self) -> DaemonStatus {
        let schedule = self.scheduler.stats();
        let desks = self.outbox.stats();
        let mut notices: Vec<NoticeCount> = Vec::new();
        for desk in &desks {
            for (state, count) in
                [(NoticeState::Sent, desk.sent), (NoticeState::Rejected, desk.rejected)]
            {
                let same = |known: &&mut NoticeCount| {
                    known.channel == desk.channel && known.state == state
                };
                match notices.iter_mut().find(same) {
                    Some(known) => known.count += count,
                    None => {
                        notices.push(NoticeCount { channel: desk.channel.clone(), state, count });
                    }
                }
            }
        }
        let (error, waiting) = match &*self.health.borrow() {
            StoreHealth::Ok => (None, 0),
            StoreHealth::Failing { why, waiting_results, .. } => {
                (Some(why.clone()), *waiting_results as u64)
            }
        };
        DaemonStatus {
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION"),
            started: self.started,
            ready: moves(schedule.alive_at, self.clock.now().mono),
            outbox_depth: desks.iter().map(|desk| desk.depth as u64).sum(),
            store: StoreView { engine: "sqlite", error, waiting, dropped: self.writer.dropped() },
            schedule_lag: schedule.worst_lateness,
            in_flight: schedule.in_flight as u64,
            missed_runs: schedule.missed_total,
            runs: self.gauges.runs(),
            notices,
            own_incidents: self.gauges.own.load().to_vec(),
        }
    }
}

/// The schedule wakes at least every five seconds. One that has not for so long stands still.
const STANDSTILL: Duration = Duration::from_secs(15);

/// Whether the schedule moves, by the monotonic time of its last sign of life; else why not.
fn moves(alive_at: Duration, now: Duration) -> Result<(), String> {
    let silent = now.saturating_sub(alive_at);
    if silent < STANDSTILL {
        return Ok(());
    }
    Err(format!("The schedule has stood still for {} s.", silent.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::moves;
    use std::time::Duration;

    #[test]
    fn a_schedule_that_stands_still_is_not_ready() {
        let at = Duration::from_secs;
        assert_eq!(moves(at(100), at(105)), Ok(()));
        assert_eq!(moves(at(106), at(105)), Ok(()));
        let still = Err("The schedule has stood still for 20 s.".to_owned());
        assert_eq!(moves(at(100), at(120)), still);
    }
}
