//! What the status API asks of the daemon.

use super::alerting::{Alerting, Refused};
use super::gauges::Gauges;
use super::heartbeats::Heartbeats;
use super::jobs::Jobs;
use super::monitor::Event;
use crate::check::kinds::heartbeat;
use crate::clock::Clock;
use crate::config::shown_check;
use crate::deliver::outbox::Outbox;
use crate::model::{
    Acknowledgement, Alert, Board, Incident, Matcher, Moment, Name, Notice, NoticeState, Ping,
    PingAnswer, RunResult, Silence, Timestamp,
};
use crate::record::Store;
use crate::record::writer::{StoreHealth, Writer};
use crate::route::Matchers;
use crate::schedule::Scheduler;
use crate::schedule::run::RunNowError as NotRun;
use crate::serve::{
    Control, DaemonStatus, NoticeCount, OperateError, PlannedWork, RunNowError, Standing, StoreView,
};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// The daemon as the API sees it.
#[derive(Debug)]
pub struct AppControl {
    /// The name of the daemon.
    pub name: Name,
    /// When it started.
    pub started: Moment,
    /// What its store is: `sqlite` or `postgres`.
    pub engine: &'static str,
    /// Who runs checks.
    pub scheduler: Scheduler,
    /// What the scheduler runs.
    pub jobs: Arc<Jobs>,
    /// Who is pinged.
    pub heartbeats: Arc<Heartbeats>,
    /// Where the core is asked for something.
    pub events: mpsc::WeakSender<Event>,
    /// What readers see.
    pub board: Arc<Board>,
    /// The history.
    pub store: Arc<dyn Store>,
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

impl AppControl {
    /// Lets the core do something between two events, and waits until it is carried out.
    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Alerting, Moment) -> T + Send + 'static,
    ) -> Result<T, OperateError> {
        let events = self.events.upgrade().ok_or(OperateError::Stopping)?;
        let (reply, answer) = oneshot::channel();
        let (carried_out, done) = oneshot::channel();
        let ask = Box::new(move |core: &mut Alerting, now: Moment| {
            // Whoever asked may have given up waiting.
            let _ = reply.send(ask(core, now));
        });
        let sent = events.send(Event::Ask { ask, done: carried_out }).await;
        sent.map_err(|_| OperateError::Stopping)?;
        done.await.map_err(|_| OperateError::Stopping)?;
        answer.await.map_err(|_| OperateError::Stopping)
    }

    /// Does something to an open incident.
    async fn about(
        &self,
        incident: &str,
        change: impl FnOnce(&mut Alerting, &str, Moment) -> Result<Incident, Refused> + Send + 'static,
    ) -> Result<Incident, OperateError> {
        let id = incident.to_owned();
        Ok(self.ask(move |core, now| change(core, &id, now)).await??)
    }
}

impl From<Refused> for OperateError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Unknown => Self::NotFound,
            Refused::Invalid(why) => Self::Invalid(why),
        }
    }
}

#[async_trait]
impl Control for AppControl {
    async fn run_now(&self, check: &str) -> Result<RunResult, RunNowError> {
        if self.board.get(check).is_some_and(|check| check.state.paused.is_some()) {
            return Err(RunNowError::Busy("the check is paused; resume it first".to_owned()));
        }
        if self.board.get(check).is_some_and(|check| check.kind == heartbeat::KIND.name) {
            let why = "the check is a heartbeat, which cannot be run: it is judged when it is \
                       pinged, and when a ping is overdue";
            return Err(RunNowError::Busy(why.to_owned()));
        }
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
        incident: &str,
        by: &str,
        note: Option<&str>,
        until: Option<Timestamp>,
    ) -> Result<Incident, OperateError> {
        let (by, note) = (by.to_owned(), note.map(str::to_owned));
        self.about(incident, move |core, id, now| {
            core.acknowledge(id, Acknowledgement { by, note, at: now.wall, until }, now)
        })
        .await
    }

    async fn unacknowledge(&self, incident: &str, by: &str) -> Result<Incident, OperateError> {
        let by = by.to_owned();
        self.about(incident, move |core, id, now| core.unacknowledge(id, &by, now)).await
    }

    async fn snooze(
        &self,
        incident: &str,
        by: &str,
        until: Timestamp,
    ) -> Result<Incident, OperateError> {
        let by = by.to_owned();
        self.about(incident, move |core, id, now| core.snooze(id, &by, until, now)).await
    }

    async fn silence(&self, silence: Silence) -> Result<Silence, OperateError> {
        Ok(self.ask(move |core, now| core.silence(silence, now)).await??)
    }

    async fn expire_silence(&self, id: &str, by: &str) -> Result<Silence, OperateError> {
        tracing::info!(silence = %id, %by, "silence ended by a person");
        let id = id.to_owned();
        Ok(self.ask(move |core, now| core.expire_silence(&id, now)).await??)
    }

    fn silences(&self) -> Vec<Silence> {
        self.gauges.silences.load().to_vec()
    }

    fn find_silences(&self, matchers: &[Matcher]) -> Result<Vec<Silence>, OperateError> {
        let wanted = Matchers::filter(matchers).map_err(OperateError::Invalid)?;
        let mut found = self.silences();
        found.retain(|silence| wanted.matches_silence(silence));
        Ok(found)
    }

    async fn take_alerts(&self, alerts: Vec<Alert>) -> Result<(), OperateError> {
        let taken = self.ask(move |core, now| core.alerts(alerts, now)).await?;
        taken.map_err(|crowded| OperateError::Conflict(crowded.to_string()))
    }

    async fn standings(&self, matchers: Vec<Matcher>) -> Result<Vec<Standing>, OperateError> {
        let wanted = Matchers::filter(&matchers).map_err(OperateError::Invalid)?;
        let mut found = self.ask(|core, now| core.standings(now.wall)).await?;
        found.retain(|standing| wanted.matches(&standing.incident));
        Ok(found)
    }

    async fn receivers(&self) -> Result<Vec<Name>, OperateError> {
        self.ask(|core, _| core.channels()).await
    }

    async fn pause(&self, check: &str, by: &str, paused: bool) -> Result<(), OperateError> {
        let (name, by) = (Name::from(check), by.to_owned());
        let asked = name.clone();
        if self.ask(move |core, now| core.pause(&asked, &by, paused, now)).await?? {
            self.jobs.refresh().await;
            if !paused {
                self.scheduler.retry(&name, Duration::ZERO);
            }
        }
        Ok(())
    }

    async fn planned_work(
        &self,
        checks: Vec<Name>,
        until: Timestamp,
    ) -> Result<Vec<PlannedWork>, OperateError> {
        self.ask(move |core, now| core.planned_work(&checks, until, now.wall)).await
    }

    async fn configuration(&self, check: &str) -> Option<String> {
        let task = self.jobs.find(check).await?;
        let options = task.planned.kind.options.iter();
        let secrets: Vec<&str> =
            options.filter(|option| option.ty == "secret").map(|option| option.name).collect();
        shown_check(&task.planned.source.as_ref()?.text, check, &secrets)
    }

    async fn ping(&self, ping: Ping) -> PingAnswer {
        self.heartbeats.ping(ping, self.events.upgrade(), &self.jobs).await
    }

    async fn retry_notice(&self, id: &str) -> Result<Notice, OperateError> {
        let found = self.store.notice(id).await;
        let found = found.map_err(|error| OperateError::Conflict(error.to_string()))?;
        let notice = found.ok_or(OperateError::NotFound)?;
        if matches!(notice.state, NoticeState::Sent | NoticeState::Cancelled) {
            return Err(OperateError::NotFound);
        }
        self.outbox.retry(notice).ok_or_else(|| {
            OperateError::Conflict("Its channel is no longer configured.".to_owned())
        })
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
            store: StoreView {
                engine: self.engine,
                error,
                waiting,
                dropped: self.writer.dropped(),
            },
            schedule_lag: schedule.worst_lateness,
            in_flight: schedule.in_flight as u64,
            missed_runs: schedule.missed_total,
            runs: self.gauges.runs(),
            notices,
            other_incidents: self.gauges.own.load().to_vec(),
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
