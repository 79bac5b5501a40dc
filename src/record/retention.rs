//! Forgetting what is too old, a little at a time.

use super::archive::rollup::Level;
use super::{Store, StoreError};
use crate::model::Timestamp;
use std::time::Duration;

/// How many rows one step deletes: a step is a transaction, and the writer waits for it.
const STEP: u32 = 2000;
/// The same for blocks and pages, each of which is as much to free as many rows.
const BLOCKS: u32 = 50;
/// What lies between two steps, so that whoever waits to write goes first.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a silence is kept after its end, so that people can look up who silenced what, and
/// set it once more.
pub const SILENCES: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Results, from the start of the run. What is sealed goes once all of its block is too old.
    pub raw: Duration,
    /// Roll-ups by minute.
    pub minute: Duration,
    /// Roll-ups by hour.
    pub hourly: Duration,
    /// Roll-ups by day.
    pub daily: Duration,
    /// Incidents and their notices, from the resolution.
    pub incidents: Duration,
}

/// What a sweep deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Results.
    pub results: u64,
    /// Incidents, or notices where those were more.
    pub incidents: u64,
    /// Silences.
    pub silences: u64,
}

/// Deletes all that is older than `keep` says, in small steps between which others can write.
///
/// What it deleted before an error stays deleted; the next sweep goes on from there.
pub async fn sweep(
    store: &dyn Store,
    keep: &Retention,
    now: Timestamp,
) -> Result<Swept, StoreError> {
    let mut swept = Swept::default();
    let mut damage = None;
    loop {
        let gone = match store.forget_results(now.before(keep.raw), STEP).await {
            // What else is too old goes all the same, so that the database does not grow for ever.
            Err(error) if error.is_damage() => {
                damage = Some(error);
                break;
            }
            gone => gone?,
        };
        swept.results += gone;
        if gone < u64::from(STEP) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    while store.forget_blocks(now.before(keep.raw), BLOCKS).await? == u64::from(BLOCKS) {
        tokio::time::sleep(PAUSE).await;
    }
    for (level, span) in
        [(Level::Minute, keep.minute), (Level::Hour, keep.hourly), (Level::Day, keep.daily)]
    {
        while store.forget_rollups(level, now.before(span), BLOCKS).await? == u64::from(BLOCKS) {
            tokio::time::sleep(PAUSE).await;
        }
    }
    loop {
        let gone = store.forget_incidents(now.before(keep.incidents), STEP).await?;
        swept.incidents += gone;
        if gone < u64::from(STEP) {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    swept.silences = store.forget_silences(now.before(SILENCES)).await?;
    damage.map_or(Ok(swept), Err)
}
