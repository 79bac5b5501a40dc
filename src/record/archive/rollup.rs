//! Tallies and sketches by minute, hour and day, gathered on pages.
//!
//! A page holds the roll-ups of one check and level over a longer span, so that a year of days is
//! a few rows and not hundreds. Tallies and sketches lie apart: a strip of days needs the first
//! alone. Minutes and hours are those of UTC; days are the calendar's in the daemon's time zone.

use super::column::{deflate, inflate};
use super::sketch::Sketch;
use super::tally::Tally;
use super::{ArchiveError, stamp, unstamp};
use crate::model::Timestamp;
use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeZone};
use chrono_tz::Tz;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

const VERSION: u8 = 1;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// How finely history is rolled up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// A page is a day of UTC.
    Minute,
    /// A page is a day of UTC.
    Hour,
    /// A page is a month of the calendar.
    Day,
}

impl Level {
    /// From the finest on.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// The number that stands for it in a store.
    pub const fn code(self) -> i64 {
        match self {
            Self::Minute => 0,
            Self::Hour => 1,
            Self::Day => 2,
        }
    }

    /// The longest that a page reaches.
    pub const fn longest_page(self) -> Duration {
        const DAY: u64 = 24 * 3600;
        match self {
            Self::Minute | Self::Hour => Duration::from_secs(DAY),
            // And an hour by which a month is longer where clocks go back.
            Self::Day => Duration::from_secs(31 * DAY + 3600),
        }
    }

    /// The minute, hour or day that `at` is in: its start, and that of the one after.
    pub fn span_of(self, at: Timestamp, zone: Tz) -> (Timestamp, Timestamp) {
        let even = |step: i64| {
            let start = at.as_millis().div_euclid(step).saturating_mul(step);
            (Timestamp::from_millis(start), Timestamp::from_millis(start.saturating_add(step)))
        };
        match self {
            Self::Minute => even(MINUTE_MS),
            Self::Hour => even(HOUR_MS),
            Self::Day => {
                let day = date_of(at, zone);
                let next = day.checked_add_days(Days::new(1)).unwrap_or(day);
                (start_of(day, zone), start_of(next, zone))
            }
        }
    }

    /// The page that the roll-up which starts at `start` is on: the page's own start.
    pub fn page_of(self, start: Timestamp, zone: Tz) -> Timestamp {
        match self {
            Self::Minute | Self::Hour => {
                let day = start.as_millis().div_euclid(DAY_MS);
                Timestamp::from_millis(day.saturating_mul(DAY_MS))
            }
            Self::Day => {
                let day = date_of(start, zone);
                start_of(day.with_day(1).unwrap_or(day), zone)
            }
        }
    }
}

fn date_of(at: Timestamp, zone: Tz) -> NaiveDate {
    at.to_datetime().with_timezone(&zone).date_naive()
}

/// The first moment of a day: midnight, or where clocks skip midnight, the first that there is.
fn start_of(day: NaiveDate, zone: Tz) -> Timestamp {
    let midnight = day.and_time(NaiveTime::MIN);
    let mut wanted = midnight;
    for _ in 0..8 {
        if let Some(first) = zone.from_local_datetime(&wanted).earliest() {
            return first.to_utc().into();
        }
        wanted += Duration::from_secs(1800);
    }
    DateTime::<chrono::Utc>::from_naive_utc_and_offset(midnight, chrono::Utc).into()
}

/// One minute, hour or day.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rollup {
    /// What was counted.
    pub tally: Tally,
    /// How the latencies lie.
    pub sketch: Sketch,
}

impl Rollup {
    /// Adds another of the same span, or of one beside it.
    pub fn merge(&mut self, other: &Self) {
        self.tally.merge(&other.tally);
        self.sketch.merge(&other.sketch);
    }
}

/// Roll-ups of one check and level, by start.
pub type Rollups = BTreeMap<Timestamp, Rollup>;

/// Adds `more` to `into`.
pub fn merge(into: &mut Rollups, more: &Rollups) {
    for (start, rollup) in more {
        into.entry(*start).or_default().merge(rollup);
    }
}

/// `rollups` page by page.
pub fn by_page(level: Level, rollups: &Rollups, zone: Tz) -> BTreeMap<Timestamp, Rollups> {
    let mut pages: BTreeMap<Timestamp, Rollups> = BTreeMap::new();
    for (start, rollup) in rollups {
        let page = pages.entry(level.page_of(*start, zone)).or_default();
        page.insert(*start, rollup.clone());
    }
    pages
}

/// A page, as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The tallies.
    pub tallies: Vec<u8>,
    /// The sketches of the same spans.
    pub sketches: Vec<u8>,
}

/// What stands before a list whose bytes were pressed.
const PRESSED: u8 = 1;
/// Shorter lists are not worth it.
const SHORT: usize = 2048;

#[derive(Serialize, Deserialize)]
struct Line<T> {
    /// Milliseconds since the line before, or since the epoch.
    gap: i64,
    item: T,
}

/// Packs a page.
///
/// # Errors
/// [`ArchiveError::Unfit`] if that fails, which it should not.
pub fn pack(page: &Rollups) -> Result<Packed, ArchiveError> {
    let mut before = 0;
    let mut gaps = Vec::with_capacity(page.len());
    for start in page.keys() {
        gaps.push(start.as_millis().saturating_sub(before));
        before = start.as_millis();
    }
    let lines = || gaps.iter().copied().zip(page.values());
    let tallies: Vec<_> = lines().map(|(gap, rollup)| Line { gap, item: &rollup.tally }).collect();
    let sketches: Vec<_> =
        lines().map(|(gap, rollup)| Line { gap, item: &rollup.sketch }).collect();
    Ok(Packed { tallies: pack_list(&tallies)?, sketches: pack_list(&sketches)? })
}

/// A page with `more` added to what stands there.
///
/// # Errors
/// If what stands there cannot be read.
pub fn add(old: Option<Packed>, more: &Rollups) -> Result<Packed, ArchiveError> {
    let Some(old) = old else { return pack(more) };
    let mut all = unpack(&old)?;
    merge(&mut all, more);
    pack(&all)
}

fn pack_list(list: &impl Serialize) -> Result<Vec<u8>, ArchiveError> {
    let plain = postcard::to_stdvec(list).map_err(ArchiveError::unfit)?;
    let mut body = Vec::with_capacity(plain.len() + 1);
    if plain.len() < SHORT {
        body.push(0);
        body.extend(plain);
    } else {
        body.push(PRESSED);
        body.extend(deflate(&plain)?);
    }
    Ok(stamp(VERSION, &body))
}

fn unpack_list<T: DeserializeOwned>(bytes: &[u8]) -> Result<Vec<(Timestamp, T)>, ArchiveError> {
    let (pressed, body) =
        unstamp(VERSION, bytes)?.split_first().ok_or(ArchiveError::damaged("it is empty"))?;
    let lines: Vec<Line<T>> = if *pressed == PRESSED {
        postcard::from_bytes(&inflate(body)?)
    } else {
        postcard::from_bytes(body)
    }
    .map_err(ArchiveError::damaged)?;
    let mut at: i64 = 0;
    let timed = lines.into_iter().map(|line| {
        at = at.saturating_add(line.gap);
        (Timestamp::from_millis(at), line.item)
    });
    Ok(timed.collect())
}

/// The tallies of a page, by the start of their span.
///
/// # Errors
/// If the bytes are not those of a page of this or an earlier version.
pub fn unpack_tallies(bytes: &[u8]) -> Result<Vec<(Timestamp, Tally)>, ArchiveError> {
    unpack_list(bytes)
}

/// A whole page.
///
/// # Errors
/// As [`unpack_tallies`].
pub fn unpack(packed: &Packed) -> Result<Rollups, ArchiveError> {
    let tallies = unpack_tallies(&packed.tallies)?;
    let mut page: Rollups = tallies
        .into_iter()
        .map(|(start, tally)| (start, Rollup { tally, sketch: Sketch::default() }))
        .collect();
    for (start, sketch) in unpack_list(&packed.sketches)? {
        page.entry(start).or_default().sketch = sketch;
    }
    Ok(page)
}
