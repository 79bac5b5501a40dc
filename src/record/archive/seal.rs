//! Making blocks and roll-ups of results.

use super::ArchiveError;
use super::block::pack_results;
use super::rollup::{Level, Rollups};
use crate::model::{RunResult, Timestamp};
use chrono_tz::Tz;

/// Results of one check, made ready to be kept for long.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The start of the first run.
    pub first: Timestamp,
    /// The start of the last run.
    pub last: Timestamp,
    /// How many results there are.
    pub count: u32,
    /// The block.
    pub block: Vec<u8>,
    /// What each level gains.
    pub rollups: [(Level, Rollups); 3],
}

/// Seals `results`, which are of one check, in the order of time; `next` is when the run after the
/// last of them started.
///
/// # Errors
/// [`ArchiveError::Unfit`] if there are none, or more than a block holds.
pub fn seal(
    results: &[RunResult],
    next: Option<Timestamp>,
    zone: Tz,
) -> Result<Sealed, ArchiveError> {
    let (Some(first), Some(last)) = (results.first(), results.last()) else {
        return Err(ArchiveError::unfit("there are no results"));
    };
    Ok(Sealed {
        first: first.at,
        last: last.at,
        count: u32::try_from(results.len()).map_err(ArchiveError::unfit)?,
        block: pack_results(results)?,
        rollups: Level::ALL.map(|level| (level, roll_up(level, results, next, zone))),
    })
}

/// The roll-ups of `results`, as for [`seal`].
pub fn roll_up(level: Level, results: &[RunResult], next: Option<Timestamp>, zone: Tz) -> Rollups {
    let mut rollups = Rollups::new();
    let starts = results.iter().skip(1).map(|result| Some(result.at)).chain([next]);
    for (result, next) in results.iter().zip(starts) {
        let (start, _) = level.span_of(result.at, zone);
        let rollup = rollups.entry(start).or_default();
        if let Some(latency) = rollup.tally.run(result) {
            rollup.sketch.add(latency);
        }
        let end = until(result, next);
        let mut from = result.at;
        while from < end {
            let (start, after) = level.span_of(from, zone);
            // A calendar without progress would never end.
            let to = if after > from { after.min(end) } else { end };
            let rollup = rollups.entry(start).or_default();
            rollup.tally.time(result.status, result.maintenance, to.since(from));
            from = to;
        }
    }
    rollups
}

/// Until when `result` says how its check is: until the next, and not for longer than it stands.
pub fn until(result: &RunResult, next: Option<Timestamp>) -> Timestamp {
    let end = result.at.after(result.stands_for);
    next.map_or(end, |next| next.min(end))
}

#[cfg(test)]
mod tests {
    use super::super::rollup::{self, Level, Rollups};
    use super::{roll_up, seal};
    use crate::model::{RunResult, Status, Timestamp};
    use chrono_tz::Tz;
    use proptest::prelude::*;
    use serde_json::json;
    use std::time::Duration;

    /// 2026-03-01 00:00 UTC.
    const T0: i64 = 1_772_323_200_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(T0 + seconds * 1000)
    }

    fn result(seconds: i64, status: Status) -> RunResult {
        RunResult {
            check: "a".into(),
            at: at(seconds),
            status,
            latency_ms: 10.0,
            reasons: Vec::new(),
            facts: json!({}),
            stands_for: Duration::from_secs(90),
            maintenance: false,
        }
    }

    fn known(rollups: &Rollups, status: Status) -> u64 {
        rollups.values().map(|rollup| rollup.tally.time_of(status).as_secs()).sum()
    }

    #[test]
    fn time_counts_until_the_next_run_and_no_longer_than_a_result_stands() {
        let mut excused = result(300, Status::Down);
        excused.maintenance = true;
        let results =
            [result(0, Status::Up), result(30, Status::Down), result(50, Status::Up), excused];
        for level in Level::ALL {
            let rollups = roll_up(level, &results, Some(at(310)), Tz::UTC);
            assert_eq!(known(&rollups, Status::Down), 20);
            // 30 s, then 90 s of which nothing is heard for longer.
            assert_eq!(known(&rollups, Status::Up), 30 + 90);
            let maintenance: Duration =
                rollups.values().map(|rollup| rollup.tally.maintenance()).sum();
            assert_eq!(maintenance.as_secs(), 10);
            let runs: u64 = rollups.values().map(|rollup| rollup.tally.all_runs()).sum();
            assert_eq!(runs, 4);
        }
    }

    #[test]
    fn a_day_is_as_long_as_the_clocks_make_it() {
        let zone = Tz::Europe__Berlin;
        // 2026-03-29, when an hour is left out, and 2026-10-25, when one comes twice.
        for (day, hours) in [(1_774_738_800_000, 23), (1_792_879_200_000, 25)] {
            let noon = Timestamp::from_millis(day + 12 * 3_600_000);
            let (start, end) = Level::Day.span_of(noon, zone);
            assert_eq!(start.as_millis(), day);
            assert_eq!(end.since(start).as_secs(), hours * 3600);
        }
        // Midnight itself is left out there on 2026-04-24.
        let noon = Timestamp::from_millis(1_777_024_800_000);
        let (start, end) = Level::Day.span_of(noon, Tz::Africa__Cairo);
        assert_eq!(end.since(start).as_secs(), 23 * 3600);
        assert!(start < noon && noon < end);
    }

    fn any_results() -> impl Strategy<Value = Vec<RunResult>> {
        let one = (1i64..20_000, prop::sample::select(&Status::ALL[..]), 0u64..7200, any::<bool>());
        prop::collection::vec(one, 1..60).prop_map(|steps| {
            let mut seconds = 0;
            let each = steps.into_iter().map(|(gap, status, stands, maintenance)| {
                seconds += gap;
                RunResult {
                    stands_for: Duration::from_secs(stands),
                    maintenance,
                    latency_ms: gap as f64,
                    ..result(seconds, status)
                }
            });
            each.collect()
        })
    }

    proptest! {
        #[test]
        fn sealed_in_parts_adds_up_to_the_whole(
            results in any_results(),
            cut in any::<prop::sample::Index>(),
            zone in prop::sample::select(&[Tz::UTC, Tz::Asia__Kathmandu, Tz::America__New_York][..]),
        ) {
            let cut = cut.index(results.len());
            let (first, second) = results.split_at(cut);
            for level in Level::ALL {
                let mut sum = roll_up(level, first, second.first().map(|next| next.at), zone);
                rollup::merge(&mut sum, &roll_up(level, second, None, zone));
                prop_assert_eq!(sum, roll_up(level, &results, None, zone));
            }
        }

        #[test]
        fn each_level_counts_the_same(results in any_results()) {
            let sealed = seal(&results, None, Tz::America__New_York).unwrap();
            let total = |rollups: &Rollups| {
                let mut total = rollup::Rollup::default();
                rollups.values().for_each(|rollup| total.merge(rollup));
                total
            };
            let [minute, hour, day] = sealed.rollups;
            prop_assert_eq!(total(&minute.1), total(&hour.1));
            prop_assert_eq!(total(&hour.1), total(&day.1));
        }

        #[test]
        fn a_page_comes_back_as_it_was(results in any_results()) {
            for level in Level::ALL {
                let rollups = roll_up(level, &results, None, Tz::UTC);
                let packed = rollup::pack(&rollups).unwrap();
                prop_assert_eq!(&rollup::unpack(&packed).unwrap(), &rollups);
                let mut damaged = packed.clone();
                damaged.tallies[7] ^= 4;
                prop_assert!(rollup::unpack(&damaged).is_err());
            }
        }
    }
}
