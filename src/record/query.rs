//! What people ask of history: uptime over spans, and latency as a series.

use super::Part;
use super::archive::rollup::{Level, Rollup, Rollups};
use crate::model::Timestamp;
use chrono::{Datelike as _, Timelike as _};
use chrono_tz::Tz;
use std::collections::BTreeMap;
use std::time::Duration;

/// How far back roll-ups of each level reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Minutes.
    pub minute: Duration,
    /// Hours.
    pub hour: Duration,
}

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// From then on.
    pub from: Timestamp,
    /// Until just before then.
    pub to: Timestamp,
}

/// The parts, from the coarsest that fit, that together are the span: days in its middle, hours and
/// minutes at its ends. Its start is taken back to the finest border that is still kept, so that it
/// may lie up to a minute earlier, or, where minutes are gone, an hour, or a day.
pub fn parts(span: Span, reach: Reach, zone: Tz, now: Timestamp) -> Vec<Part> {
    let Span { from, to } = span;
    let finest = if from >= now.before(reach.minute) {
        Level::Minute
    } else if from >= now.before(reach.hour) {
        Level::Hour
    } else {
        Level::Day
    };
    let from = finest.span_of(from, zone).0;
    let mut parts = Vec::new();
    split(Level::Day, from, to, zone, &mut parts);
    parts.retain(|part| part.from < part.to);
    parts
}

fn split(level: Level, from: Timestamp, to: Timestamp, zone: Tz, parts: &mut Vec<Part>) {
    let finer = match level {
        Level::Day => Level::Hour,
        Level::Hour => Level::Minute,
        // What is left of a minute is told by none; its roll-up counts it whole.
        Level::Minute => return parts.push(Part { level, from, to }),
    };
    let (start, after) = level.span_of(from, zone);
    let first = if start == from { from } else { after };
    let (last, _) = level.span_of(to, zone);
    if first >= last {
        return split(finer, from, to, zone, parts);
    }
    split(finer, from, first, zone, parts);
    parts.push(Part { level, from: first, to: last });
    split(finer, last, to, zone, parts);
}

/// A point of a series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    /// Where its span begins.
    pub at: Timestamp,
    /// What was counted.
    pub rollup: Rollup,
}

/// `rollups` as at most `points` points of equal spans between `from` and `to`; spans of which
/// nothing is known are left out.
pub fn series(rollups: &Rollups, from: Timestamp, to: Timestamp, points: u32) -> Vec<Point> {
    let span = i64::try_from(to.since(from).as_millis()).unwrap_or(i64::MAX);
    let step = (span / i64::from(points.max(1))).max(1);
    let mut series: Vec<Point> = Vec::new();
    for (start, rollup) in rollups {
        let number = (start.as_millis().saturating_sub(from.as_millis())).div_euclid(step);
        let at = Timestamp::from_millis(from.as_millis().saturating_add(number * step));
        let point = match series.last_mut() {
            Some(point) if point.at == at => point,
            _ => series.push_mut(Point { at, ..Point::default() }),
        };
        point.rollup.merge(rollup);
    }
    series
}

/// The finest level that a series of `points` over `window` needs, and that reaches so far back.
pub fn level_for(window: Duration, points: u32, reach: Reach) -> Level {
    const HOUR: Duration = Duration::from_secs(3600);
    let step = window / points.max(1);
    if step < HOUR && window <= reach.minute {
        Level::Minute
    } else if step < 24 * HOUR && window <= reach.hour {
        Level::Hour
    } else {
        Level::Day
    }
}

/// `rollups`, which are hours, by weekday (1 is Monday) and hour of the day in `zone`.
pub fn heat(rollups: &Rollups, zone: Tz) -> BTreeMap<(u32, u32), Rollup> {
    let mut cells: BTreeMap<(u32, u32), Rollup> = BTreeMap::new();
    for (start, rollup) in rollups {
        let local = start.to_datetime().with_timezone(&zone);
        let cell = (local.weekday().number_from_monday(), local.hour());
        cells.entry(cell).or_default().merge(rollup);
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::{Reach, Span, parts, series};
    use crate::model::Timestamp;
    use crate::record::Part;
    use crate::record::archive::rollup::{Level, Rollup, Rollups};
    use chrono_tz::Tz;
    use proptest::prelude::*;
    use std::time::Duration;

    const DAY: Duration = Duration::from_secs(86_400);
    const REACH: Reach =
        Reach { minute: Duration::from_secs(30 * 86_400), hour: Duration::from_secs(400 * 86_400) };

    fn at(text: &str) -> Timestamp {
        chrono::DateTime::parse_from_rfc3339(text).unwrap().to_utc().into()
    }

    fn shown(from: &str, to: &str, zone: Tz) -> String {
        let now = at("2026-11-21T12:00:00Z");
        let parts = parts(Span { from: at(from), to: at(to) }, REACH, zone, now);
        let lines = parts.iter().map(|it| format!("{:?} {} {}", it.level, it.from, it.to));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_span_is_days_with_hours_and_minutes_at_its_ends() {
        insta::assert_snapshot!(shown("2026-11-18T22:58:30Z", "2026-11-21T01:02:03Z", Tz::UTC), @"
        Minute 2026-11-18T22:58:00.000Z 2026-11-18T23:00:00.000Z
        Hour 2026-11-18T23:00:00.000Z 2026-11-19T00:00:00.000Z
        Day 2026-11-19T00:00:00.000Z 2026-11-21T00:00:00.000Z
        Hour 2026-11-21T00:00:00.000Z 2026-11-21T01:00:00.000Z
        Minute 2026-11-21T01:00:00.000Z 2026-11-21T01:02:03.000Z
        ");
        insta::assert_snapshot!(shown("2026-11-21T01:01:30Z", "2026-11-21T01:01:40Z", Tz::UTC), @"Minute 2026-11-21T01:01:00.000Z 2026-11-21T01:01:40.000Z");
        // Where a day begins at half past an hour of UTC.
        insta::assert_snapshot!(shown("2026-11-20T18:00:00Z", "2026-11-21T11:00:00Z", Tz::Asia__Kolkata), @"Hour 2026-11-20T18:00:00.000Z 2026-11-21T11:00:00.000Z");
    }

    #[test]
    fn what_is_no_longer_kept_so_finely_begins_at_a_coarser_border() {
        let parts = |from: &str| shown(from, "2026-11-21T00:00:00Z", Tz::UTC);
        assert!(parts("2026-09-01T05:45:00Z").starts_with("Hour 2026-09-01T05:00:00.000Z"));
        assert!(parts("2024-09-01T05:45:00Z").starts_with("Day 2024-09-01T00:00:00.000Z"));
    }

    proptest! {
        #[test]
        fn the_parts_lie_side_by_side(
            from in 0i64..100 * 86_400,
            length in 60i64..100 * 86_400,
            zone in prop::sample::select(&[Tz::UTC, Tz::America__New_York, Tz::Asia__Kathmandu][..]),
        ) {
            let base = at("2026-02-01T00:00:00Z").as_millis();
            let from = Timestamp::from_millis(base + from * 1000);
            let to = from.after(Duration::from_secs(length.unsigned_abs()));
            let reach = Reach { minute: 1000 * DAY, hour: 1000 * DAY };
            let parts = parts(Span { from, to }, reach, zone, to);
            prop_assert_eq!(parts[0].from, Level::Minute.span_of(from, zone).0);
            prop_assert_eq!(parts.last().unwrap().to, to);
            for pair in parts.windows(2) {
                prop_assert_eq!(pair[0].to, pair[1].from);
            }
            for Part { level, from, to } in parts {
                prop_assert_eq!(level.span_of(from, zone).0, from);
                if level != Level::Minute {
                    prop_assert_eq!(level.span_of(to, zone).0, to);
                }
            }
        }
    }

    #[test]
    fn a_series_has_no_more_points_than_asked_for() {
        let from = at("2026-11-20T00:00:00Z");
        let minutes =
            (0..1440).map(|n| (from.after(Duration::from_secs(n * 60)), Rollup::default()));
        let rollups: Rollups = minutes.collect();
        let to = from.after(DAY);
        for points in [1, 7, 100, 1440, 5000] {
            let series = series(&rollups, from, to, points);
            assert!(series.len() <= points.min(1440) as usize + 1, "{points}: {}", series.len());
        }
    }
}
