//! Sealing older results, a little at a time.

use super::{Sealing, Store, StoreError};
use crate::model::Timestamp;
use std::time::Duration;

/// How many results of a check make a block. More press a little better; fewer are read faster, and
/// leave fewer rows to look through.
pub const RESULTS: u32 = 1000;
/// Results older than this are sealed in any case.
pub const AGE: Duration = Duration::from_secs(24 * 3600);
/// What lies between two steps, so that whoever waits to write goes first.
const PAUSE: Duration = Duration::from_millis(5);

/// Seals all that is due, in small steps between which others can write. Gives how many results
/// were sealed.
///
/// # Errors
/// The store failed; what was sealed before that stays so.
pub async fn round(store: &dyn Store, terms: &Sealing, now: Timestamp) -> Result<u64, StoreError> {
    let mut sealed = 0;
    loop {
        let pace = store.seal(terms, now).await?;
        sealed += pace.done;
        if !pace.more {
            return Ok(sealed);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
