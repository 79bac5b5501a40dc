//! The daemon's own chores, at their times.

use crate::clock::Clock;
use crate::config::Keep;
use crate::record::retention::{Retention, sweep};
use crate::record::{Sealing, Store, sealing};
use chrono_tz::Tz;
use std::sync::Arc;
use std::time::Duration;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// When old history is deleted: at minutes that are no round ones, when less else is done.
const SWEEP_AT: &str = "13 7,22,37,52 * * * *";
/// When older results are sealed.
const SEAL_AT: &str = "41 * * * * *";
/// How long after a start they are sealed too, so that one who starts often has no backlog.
const CATCH_UP_AFTER: Duration = Duration::from_secs(1);

/// What the chores go by.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long what is kept.
    pub keep: Keep,
    /// The zone whose days history has.
    pub zone: Tz,
}

impl Terms {
    fn retention(&self) -> Retention {
        let Keep { raw, minute, hourly, daily, incidents } = self.keep;
        Retention { raw, minute, hourly, daily, incidents }
    }

    fn sealing(&self) -> Sealing {
        Sealing { results: sealing::RESULTS, age: sealing::AGE, zone: self.zone }
    }
}

/// Starts the chores.
pub async fn start(
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    terms: Terms,
) -> Result<JobScheduler, JobSchedulerError> {
    let chores = JobScheduler::new().await?;
    let at_work = Arc::new(tokio::sync::Mutex::new(()));
    let seal = {
        let (store, clock, at_work) =
            (Arc::clone(&store), Arc::clone(&clock), Arc::clone(&at_work));
        move || {
            let (store, clock) = (Arc::clone(&store), Arc::clone(&clock));
            let at_work = Arc::clone(&at_work);
            async move {
                // A round that takes longer than a minute does its work alone.
                let Ok(_alone) = at_work.try_lock() else { return };
                match sealing::round(&*store, &terms.sealing(), clock.wall()).await {
                    Ok(0) => {}
                    Ok(results) => tracing::debug!(results, "older results sealed"),
                    Err(error) => tracing::warn!(%error, "older results could not be sealed"),
                }
            }
        }
    };
    let seal_soon = seal.clone();
    let catching_up = Job::new_one_shot_async(CATCH_UP_AFTER, move |_, _| Box::pin(seal_soon()))?;
    let sealing = Job::new_async(SEAL_AT, move |_, _| Box::pin(seal()))?;
    let sweeping = Job::new_async(SWEEP_AT, move |_, _| {
        let (store, clock) = (Arc::clone(&store), Arc::clone(&clock));
        let at_work = Arc::clone(&at_work);
        Box::pin(async move {
            let _alone = at_work.lock().await;
            let (swept, end) = sweep(&*store, &terms.retention(), &*clock).await;
            if swept.results + swept.incidents > 0 {
                tracing::info!(swept.results, swept.incidents, "old history deleted");
            }
            if let Err(error) = end {
                tracing::warn!(%error, "old history could not be deleted");
            }
        })
    })?;
    chores.add(catching_up).await?;
    chores.add(sealing).await?;
    chores.add(sweeping).await?;
    chores.start().await?;
    Ok(chores)
}
