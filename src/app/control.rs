//! What the status API asks of the daemon.

use super::gauges::Gauges;
use crate::deliver::outbox::Outbox;
use crate::model::{Moment, Name, NoticeState, RunResult};
use crate::record::writer::{StoreHealth, Writer};
use crate::schedule::Scheduler;
use crate::schedule::run::RunNowError as NotRun;
use crate::serve::{Control, DaemonStatus, NoticeCount, RunNowError, StoreView};
use async_trait::async_trait;
use std::sync::Arc;
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
            ready: Ok(()),
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
