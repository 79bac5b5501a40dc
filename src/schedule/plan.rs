//! When a check is due. Nothing in here reads a clock.

mod cron;

use crate::model::{Moment, Timestamp};
use chrono_tz::Tz;
use cron::Cron;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The shortest and the longest interval.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Nobody wants to wait for an hour until a new check says its first word.
const FIRST_WITHIN: Duration = Duration::from_secs(60);

/// More due times than this are not counted one by one; it is one week of a line that is due
/// every ten minutes.
const COUNT_AT_MOST: u64 = 1_000;

/// How often a check is due. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Cadence(Rhythm);

#[derive(Clone, Debug, PartialEq)]
enum Rhythm {
    Every(Duration),
    Cron(Arc<Cron>),
    /// Something else says when; a calendar may say when that is expected.
    Pushed(Option<Arc<Cron>>),
}

/// When a run is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// At a monotonic time, whatever the wall clock does meanwhile.
    At(Duration),
    /// When the wall clock shows a time.
    Wall {
        /// That time.
        at: Timestamp,
        /// What a change of the clocks for summer or winter did to this run, in words for the
        /// log; `None` on all other days.
        shifted: Option<&'static str>,
    },
    /// Not again before the calendar ends.
    Never,
}

impl Due {
    /// As a time for people; `None` if never.
    pub fn shown(self, now: Moment) -> Option<Timestamp> {
        match self {
            Self::At(mono) => Some(now.wall.after(mono.saturating_sub(now.mono))),
            Self::Wall { at, .. } => Some(at),
            Self::Never => None,
        }
    }
}

impl Cadence {
    /// Each `interval`, from 1s to 30d, at a point of it that a hash of the check's name chooses.
    ///
    /// # Errors
    /// An interval outside these bounds, in words.
    pub fn every(interval: Duration) -> Result<Self, String> {
        if interval < SHORTEST {
            return Err("is too short: the shortest interval is 1s".to_owned());
        }
        if interval > LONGEST {
            return Err("is too long: the longest interval is 30d".to_owned());
        }
        Ok(Self(Rhythm::Every(interval)))
    }

    /// At the times that a cron line names, by the clocks of `tz`.
    ///
    /// A line has five fields (minute, hour, day of the month, month, day of the week), or is one
    /// of the names `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly`. Where clocks change:
    ///
    /// - A line for every hour goes on by elapsed time: what falls into the gap is not due.
    /// - A line that names its hours is due at the end of the gap, once, for all that falls into
    ///   it.
    /// - When an hour comes twice, a line whose minutes or hours begin with `*` is due in both,
    ///   and every other line only in the first, as cron(8) does it.
    ///
    /// # Errors
    /// A line that is not understood or names a day that never comes, in words.
    pub fn cron(line: &str, tz: Tz) -> Result<Self, String> {
        Ok(Self(Rhythm::Cron(Arc::new(Cron::parse(line, tz)?))))
    }

    /// Once at the start, and then only when it is asked for: something else sets the pace.
    pub fn pushed() -> Self {
        Self(Rhythm::Pushed(None))
    }

    /// The same, where the times of a cron line are those at which that is expected; see
    /// [`Cadence::slot_after`].
    ///
    /// # Errors
    /// A line that is not understood, as with [`Cadence::cron`].
    pub fn pushed_by(line: &str, tz: Tz) -> Result<Self, String> {
        Ok(Self(Rhythm::Pushed(Some(Arc::new(Cron::parse(line, tz)?)))))
    }

    /// The first time of the cron line that is later than `after`, if there is a line.
    pub fn slot_after(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.0 {
            Rhythm::Every(_) | Rhythm::Pushed(None) => None,
            Rhythm::Cron(cron) | Rhythm::Pushed(Some(cron)) => Some(cron.next_after(after)?.0),
        }
    }

    /// The first run of a check that starts to be watched at `start`; with an interval it comes
    /// within the interval, and within a minute.
    pub fn first(&self, name: &str, start: Moment) -> Due {
        match &self.0 {
            Rhythm::Every(interval) => Due::At(Grid::of(name, start, *interval).first),
            Rhythm::Cron(cron) => wall(cron, start.wall),
            Rhythm::Pushed(_) => Due::At(start.mono),
        }
    }

    /// The first run that is due later than `after`.
    ///
    /// Runs at an interval lie on a grid that hangs on `start` and never drifts. Where the
    /// interval is longer than a minute the first run comes before the grid does; a grid point
    /// closer to it than half an interval is then left out.
    pub fn next(&self, name: &str, start: Moment, after: Moment) -> Due {
        match &self.0 {
            Rhythm::Every(interval) => Due::At(Grid::of(name, start, *interval).next(after.mono)),
            Rhythm::Cron(cron) => wall(cron, after.wall),
            Rhythm::Pushed(_) => Due::Never,
        }
    }

    /// How many runs are due later than `after`, up to and with `until`; those of a cron line are
    /// counted up to a thousand.
    pub fn count(&self, name: &str, start: Moment, after: Moment, until: Moment) -> u64 {
        match &self.0 {
            Rhythm::Every(interval) => {
                let next = Grid::of(name, start, *interval).next(after.mono);
                match until.mono.checked_sub(next) {
                    Some(rest) => 1 + nanos(rest) / nanos(*interval),
                    None => 0,
                }
            }
            Rhythm::Pushed(_) => 0,
            Rhythm::Cron(cron) => {
                let mut count = 0;
                let mut after = after.wall;
                while let Some((at, _)) = cron.next_after(after)
                    && at <= until.wall
                    && count < COUNT_AT_MOST
                {
                    count += 1;
                    after = at;
                }
                count
            }
        }
    }
}

impl fmt::Display for Cadence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Rhythm::Every(interval) => {
                write!(f, "every {}", humantime::format_duration(*interval))
            }
            Rhythm::Cron(cron) => write!(f, "{cron}"),
            Rhythm::Pushed(None) => f.write_str("when it is pinged"),
            Rhythm::Pushed(Some(cron)) => write!(f, "when it is pinged, by {cron}"),
        }
    }
}

/// The due times of a check with an interval.
struct Grid {
    interval: Duration,
    /// The first run.
    first: Duration,
    /// The first point of the grid.
    base: Duration,
}

impl Grid {
    fn of(name: &str, start: Moment, interval: Duration) -> Self {
        let hash = stable_hash(name);
        let offset = |span| Duration::from_nanos(hash % nanos(span));
        Self {
            interval,
            first: start.mono + offset(interval.min(FIRST_WITHIN)),
            base: start.mono + offset(interval),
        }
    }

    fn next(&self, after: Duration) -> Duration {
        let Some(past_first) = after.checked_sub(self.first) else { return self.first };
        // With a short interval the first run is the first point of the grid, and so half an
        // interval changes nothing. What comes is later than `after`, hence the nanosecond.
        let half = (self.interval / 2).saturating_sub(Duration::from_nanos(1));
        let earliest = self.first + past_first.max(half);
        match earliest.checked_sub(self.base) {
            None => self.base,
            Some(gone) => {
                let steps = nanos(gone) / nanos(self.interval) + 1;
                self.base + Duration::from_nanos(steps.saturating_mul(nanos(self.interval)))
            }
        }
    }
}

fn wall(cron: &Cron, after: Timestamp) -> Due {
    match cron.next_after(after) {
        Some((at, shifted)) => Due::Wall { at, shifted },
        None => Due::Never,
    }
}

/// Whole nanoseconds; the five centuries that fit are enough for a daemon.
fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// FNV-1a with the finalizer of MurmurHash3 on top, which spreads names that differ only in their
/// last digits over all bits. It stays the same over restarts, builds and machines, and so does
/// the point of the interval at which a check runs.
fn stable_hash(name: &str) -> u64 {
    let mut hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn moment(mono: Duration) -> Moment {
        Moment { wall: Timestamp::from_millis(1_750_000_000_000).after(mono), mono }
    }

    fn at(due: Due) -> Duration {
        match due {
            Due::At(mono) => mono,
            other => panic!("not an interval: {other:?}"),
        }
    }

    #[test]
    fn an_interval_lies_between_a_second_and_thirty_days() {
        for fine in [SHORTEST, Duration::from_millis(1_500), MINUTE, LONGEST] {
            let Cadence(rhythm) = Cadence::every(fine).unwrap();
            assert!(matches!(rhythm, Rhythm::Every(interval) if interval == fine), "{fine:?}");
        }
        insta::assert_snapshot!(
            Cadence::every(Duration::from_millis(500)).unwrap_err(),
            @"is too short: the shortest interval is 1s"
        );
        insta::assert_snapshot!(
            Cadence::every(LONGEST + SHORTEST).unwrap_err(),
            @"is too long: the longest interval is 30d"
        );
    }

    #[test]
    fn a_pushed_check_is_due_once_at_its_start_and_then_never() {
        let (start, later) = (moment(MINUTE), moment(MINUTE * 9));
        for cadence in [Cadence::pushed(), Cadence::pushed_by("0 3 * * *", Tz::UTC).unwrap()] {
            assert_eq!(cadence.first("a", start), Due::At(MINUTE));
            assert_eq!(cadence.next("a", start, start), Due::Never);
            assert_eq!(cadence.count("a", start, start, later), 0);
        }
    }

    #[test]
    fn a_slot_is_strictly_later_and_what_comes_a_second_early_does_not_fill_it() {
        let cadence = Cadence::pushed_by("0 3 * * *", Tz::UTC).unwrap();
        let three = Timestamp::from_millis(1_800_154_800_000);
        let second = Duration::from_secs(1);
        assert_eq!(cadence.slot_after(three.before(second)), Some(three));
        assert_eq!(cadence.slot_after(three), Some(three.after(86_400 * second)));
        assert_eq!(cadence.slot_after(three.after(second / 2)), Some(three.after(86_400 * second)));
        assert_eq!(Cadence::pushed().slot_after(three), None);
    }

    #[test]
    fn ten_thousand_checks_spread_evenly_over_their_interval() {
        let cadence = Cadence::every(Duration::from_secs(30)).unwrap();
        for pattern in ["check-", "shop-api-", "10.0.0."] {
            let mut in_second = [0_u32; 30];
            for number in 0..10_000 {
                let due = cadence.first(&format!("{pattern}{number}"), moment(Duration::ZERO));
                in_second[usize::try_from(at(due).as_secs()).unwrap()] += 1;
            }
            let mean = 10_000 / 30;
            assert!(in_second.iter().all(|n| (mean / 2..mean * 2).contains(n)), "{in_second:?}");
        }
    }

    #[test]
    fn the_place_in_the_interval_stays_the_same_over_restarts() {
        insta::assert_snapshot!(format!("{:x}", stable_hash("shop-api")), @"3a5556632838d53a");
    }

    #[test]
    fn a_daily_check_says_its_first_word_within_a_minute() {
        let day = Duration::from_secs(24 * 60 * 60);
        let cadence = Cadence::every(day).unwrap();
        let start = moment(Duration::from_secs(7));
        for number in 0..1_000 {
            let name = format!("backup-{number}");
            let first = at(cadence.first(&name, start));
            assert!(first - start.mono < MINUTE);
            let second = at(cadence.next(&name, start, moment(first)));
            assert!(second - first >= day / 2 && second - first < day + day / 2);
            let third = at(cadence.next(&name, start, moment(second)));
            assert_eq!(third - second, day);
        }
    }

    #[test]
    fn after_a_stall_all_grid_points_are_counted() {
        let cadence = Cadence::every(SHORTEST).unwrap();
        let start = moment(Duration::ZERO);
        let due = at(cadence.first("a", start));
        let count = |late: u64| {
            cadence.count("a", start, moment(due), moment(due + Duration::from_millis(late)))
        };
        assert_eq!([count(0), count(999), count(1_000), count(60_500)], [0, 0, 1, 60]);
    }

    proptest! {
        #[test]
        fn the_next_run_is_later_and_at_most_one_and_a_half_intervals_away(
            name in "[a-z]{1,8}",
            interval in 1_000_u64..2_592_000_000,
            start in 0_u64..10_000_000_000,
            passed in 0_u64..10_000_000_000,
        ) {
            let interval = Duration::from_millis(interval);
            let cadence = Cadence::every(interval).unwrap();
            let start = moment(Duration::from_millis(start));
            let first = at(cadence.first(&name, start));
            prop_assert!(first >= start.mono && first < start.mono + interval.min(MINUTE));

            let after = moment(start.mono + Duration::from_millis(passed));
            let next = at(cadence.next(&name, start, after));
            prop_assert!(next > after.mono || next == first);
            prop_assert!(next <= after.mono.max(first) + interval + interval / 2);
            let later = at(cadence.next(&name, start, moment(next)));
            prop_assert!(next == first || later - next == interval);
            prop_assert_eq!(cadence.count(&name, start, moment(next), moment(later)), 1);
        }
    }
}
