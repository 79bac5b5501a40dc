//! Forgetting what is too old, a little at a time.

use super::archive::rollup::Level;
use super::{Store, StoreError};
use crate::clock::Clock;
use crate::model::Timestamp;
use std::time::Duration;

/// How many rows the first step deletes, and how many any may.
const ROWS: (u32, u32) = (100, 2000);
/// The same for blocks and pages, each of which is as much to free as many rows.
const BLOCKS: (u32, u32) = (4, 50);
/// A step that took longer is followed by one of half its size, one that was quicker than the
/// other by a larger one: a step is a transaction, and a writer is to wait for it for 50 ms at most.
const LONG: Duration = Duration::from_millis(25);
const SHORT: Duration = Duration::from_millis(10);
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

/// How much one step of a long piece of work does, by how long the steps before took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Steps {
    size: u32,
    most: u32,
}

impl Steps {
    /// Steps that begin with `first` and never do more than `most`.
    pub const fn new((first, most): (u32, u32)) -> Self {
        Self { size: first, most }
    }

    /// How much the next step does.
    pub const fn size(self) -> u32 {
        self.size
    }

    /// What follows a step that took so long.
    #[must_use]
    pub fn after(self, took: Duration) -> Self {
        let size = if took > LONG {
            (self.size / 2).max(1)
        } else if took < SHORT {
            (self.size + self.size / 8 + 1).min(self.most)
        } else {
            self.size
        };
        Self { size, ..self }
    }
}

/// What is too old.
#[derive(Clone, Copy, Debug)]
enum Old {
    Results(Timestamp),
    Blocks(Timestamp),
    Rollups(Level, Timestamp),
    Incidents(Timestamp),
}

impl Old {
    async fn forget(self, store: &dyn Store, at_most: u32) -> Result<u64, StoreError> {
        match self {
            Self::Results(before) => store.forget_results(before, at_most).await,
            Self::Blocks(before) => store.forget_blocks(before, at_most).await,
            Self::Rollups(level, before) => store.forget_rollups(level, before, at_most).await,
            Self::Incidents(before) => store.forget_incidents(before, at_most).await,
        }
    }

    /// Deletes all of it, step by step, and adds how much that was to `all`.
    ///
    /// What a step waits for its turn counts as its time, too: where much is written, less is
    /// deleted.
    async fn sweep(
        self,
        store: &dyn Store,
        clock: &dyn Clock,
        all: &mut u64,
    ) -> Result<(), StoreError> {
        let mut steps = Steps::new(match self {
            Self::Results(_) | Self::Incidents(_) => ROWS,
            Self::Blocks(_) | Self::Rollups(..) => BLOCKS,
        });
        loop {
            let start = clock.now();
            let gone = self.forget(store, steps.size()).await?;
            *all += gone;
            if gone < u64::from(steps.size()) {
                return Ok(());
            }
            steps = steps.after(clock.now().mono.saturating_sub(start.mono));
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Deletes all that is older than `keep` says, in small steps between which others can write. Gives
/// what it deleted, and what stood in the way of more.
///
/// What it deleted before an error stays deleted; the next sweep goes on from there.
pub async fn sweep(
    store: &dyn Store,
    keep: &Retention,
    clock: &dyn Clock,
) -> (Swept, Result<(), StoreError>) {
    let mut swept = Swept::default();
    let end = sweep_all(store, keep, clock, &mut swept).await;
    (swept, end)
}

async fn sweep_all(
    store: &dyn Store,
    keep: &Retention,
    clock: &dyn Clock,
    swept: &mut Swept,
) -> Result<(), StoreError> {
    let now = clock.wall();
    let results = Old::Results(now.before(keep.raw)).sweep(store, clock, &mut swept.results).await;
    let damage = match results {
        // What else is too old goes all the same, so that the database does not grow for ever.
        Err(error) if error.is_damage() => Err(error),
        Err(error) => return Err(error),
        Ok(()) => Ok(()),
    };
    Old::Blocks(now.before(keep.raw)).sweep(store, clock, &mut 0).await?;
    for (level, span) in
        [(Level::Minute, keep.minute), (Level::Hour, keep.hourly), (Level::Day, keep.daily)]
    {
        Old::Rollups(level, now.before(span)).sweep(store, clock, &mut 0).await?;
    }
    let incidents = Old::Incidents(now.before(keep.incidents));
    incidents.sweep(store, clock, &mut swept.incidents).await?;
    swept.silences = store.forget_silences(now.before(SILENCES)).await?;
    damage
}

#[cfg(test)]
mod tests {
    use super::{BLOCKS, ROWS, Steps};
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn steps_shrink_fast_and_grow_slowly() {
        let check = |size: u32, millis: u64, expected: u32| {
            let steps = Steps { size, most: 2000 }.after(Duration::from_millis(millis));
            assert_eq!(steps.size(), expected, "{size} in {millis} ms");
        };
        check(2000, 98, 1000);
        check(1, 98, 1);
        check(800, 25, 800);
        check(800, 10, 800);
        check(800, 9, 901);
        check(1, 0, 2);
        check(1990, 0, 2000);
    }

    proptest! {
        #[test]
        fn no_step_is_longer_than_fifty_milliseconds_whatever_a_row_costs(
            // Up to four times what a busy machine was seen to need; and half as much again from
            // one step to the next.
            nanos in 1u64..200_000,
            moods in prop::collection::vec(100u64..150, 200),
        ) {
            for (limits, weight) in [(ROWS, 1), (BLOCKS, 40)] {
                let mut steps = Steps::new(limits);
                for mood in &moods {
                    let took = u64::from(steps.size()) * weight * nanos * mood / 100;
                    let took = Duration::from_nanos(took);
                    let size = steps.size();
                    prop_assert!(took <= Duration::from_millis(50), "{took:?} for {size}");
                    steps = steps.after(took);
                }
            }
        }
    }
}
