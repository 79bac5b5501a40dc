//! The daemon's own chores, at their times.

use crate::clock::Clock;
use crate::record::Store;
use crate::record::retention::{Retention, sweep};
use std::sync::Arc;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// When old history is deleted: at minutes that are no round ones, when less else is done.
const SWEEP_AT: &str = "13 7,22,37,52 * * * *";

/// Starts the chores.
pub async fn start(
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    keep: Retention,
) -> Result<JobScheduler, JobSchedulerError> {
    let chores = JobScheduler::new().await?;
    let sweeping = Job::new_async(SWEEP_AT, move |_, _| {
        let (store, clock) = (Arc::clone(&store), Arc::clone(&clock));
        Box::pin(async move {
            match sweep(&*store, &keep, clock.wall()).await {
                Ok(swept) if swept.results + swept.incidents > 0 => {
                    tracing::info!(swept.results, swept.incidents, "old history deleted");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "old history could not be deleted"),
            }
        })
    })?;
    chores.add(sweeping).await?;
    chores.start().await?;
    Ok(chores)
}
