//! What the overview shows of the past of checks, read from the store beside the requests: a page
//! shows what is known, and waits only a moment where nothing is known yet.

use super::super::router::Shared;
use crate::model::{BEATS, Beat, Name, Status, Timestamp};
use crate::record::archive::rollup::Level;
use crate::record::archive::tally::Tally;
use crate::record::query::{self, Span};
use crate::record::{Page, Part, StoreError};
use chrono::{Datelike as _, NaiveDate};
use chrono_tz::Tz;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How many days a strip shows, today included.
pub(in crate::serve) const DAYS: u16 = 90;
/// The latest days of a check are asked for one by one, since the days of all checks lack what is
/// not sealed yet.
const LATEST_DAYS: u32 = 3;
const DAY: Duration = Duration::from_secs(86_400);
/// How long the days of all checks are shown before they are read again. They change rarely.
const DAYS_LAST: Duration = Duration::from_secs(600);
/// The same of what is asked for each check that is shown.
const LATEST_LAST: Duration = Duration::from_secs(60);
/// How many days of all checks are read at a time, so that little stands in memory at once.
const AT_A_TIME: u32 = 31;
/// The longest that one answer of the store is waited for.
const STORE_BOUND: Duration = Duration::from_secs(5);
/// The longest that a page waits for a past of which it knows nothing yet.
const PATIENCE: Duration = Duration::from_millis(250);
/// When nobody has looked for so long, all is forgotten.
const FORGET: Duration = Duration::from_secs(900);

/// How a check was on one day, in units of two seconds so that a day fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::serve) struct Day {
    up: u16,
    degraded: u16,
    down: u16,
    unknown: u16,
    maintenance: u16,
}

/// A day by its number: the days since the first of January 2000.
type Numbered = (u16, Day);

impl Day {
    pub(in crate::serve) fn of(tally: &Tally) -> Self {
        // Rounded up: a second of outage is no day without one.
        let units =
            |span: Duration| u16::try_from(span.as_millis().div_ceil(2000)).unwrap_or(u16::MAX);
        Self {
            up: units(tally.time_of(Status::Up)),
            degraded: units(tally.time_of(Status::Degraded)),
            down: units(tally.time_of(Status::Down)),
            unknown: units(tally.time_of(Status::Unknown)),
            maintenance: units(tally.maintenance()),
        }
    }

    /// For how many seconds the check was known to be so.
    pub(in crate::serve) fn seconds(self, status: Status) -> u32 {
        let units = match status {
            Status::Up => self.up,
            Status::Degraded => self.degraded,
            Status::Down => self.down,
            Status::Unknown => self.unknown,
        };
        u32::from(units) * 2
    }

    /// For how many seconds it was in maintenance.
    pub(in crate::serve) fn maintenance(self) -> u32 {
        u32::from(self.maintenance) * 2
    }

    /// Whether anything is known of it.
    pub(in crate::serve) fn is_known(self) -> bool {
        self != Self::default()
    }

    /// The share of time that it was up or degraded, of the time that it was known to be or not.
    pub(in crate::serve) fn uptime(self) -> Option<f64> {
        uptime([self])
    }
}

fn uptime(days: impl IntoIterator<Item = Day>) -> Option<f64> {
    let (mut well, mut down) = (0_u64, 0_u64);
    for day in days {
        well += u64::from(day.up) + u64::from(day.degraded);
        down += u64::from(day.down);
    }
    (well + down > 0).then(|| well as f64 / (well + down) as f64)
}

/// The number of the day that `at` is in.
pub(in crate::serve) fn day_number(at: Timestamp, zone: Tz) -> u16 {
    number_of(at.to_datetime().with_timezone(&zone).date_naive())
}

fn number_of(date: NaiveDate) -> u16 {
    u16::try_from(date.num_days_from_ce() - FIRST_DAY).unwrap_or(0)
}

/// The date with that number.
pub(in crate::serve) fn date_of(number: u16) -> NaiveDate {
    NaiveDate::from_num_days_from_ce_opt(FIRST_DAY + i32::from(number)).unwrap_or_default()
}

/// The first of January 2000, as chrono counts.
const FIRST_DAY: i32 = 730_120;

/// What is known of the past of one check.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::serve) struct Seen {
    /// The latest [`DAYS`] days, oldest first; empty while nothing is known.
    pub(in crate::serve) days: Vec<Day>,
    /// Uptime over 24 hours, and 7, 30 and 90 days of the calendar.
    pub(in crate::serve) uptimes: [Option<f64>; 4],
}

/// What a page shows of the past.
#[derive(Debug, Default)]
pub(in crate::serve) struct Look {
    /// By check.
    pub(in crate::serve) seen: HashMap<Name, Seen>,
    /// Since when the store has not answered.
    pub(in crate::serve) away_since: Option<Timestamp>,
    /// Whether some of it is still being read.
    pub(in crate::serve) is_partial: bool,
}

/// What was read, and what is to be read next.
#[derive(Debug)]
pub(in crate::serve) struct Past {
    known: Mutex<Known>,
    /// Held by the one task that reads.
    at_work: Arc<tokio::sync::Mutex<()>>,
    /// Counts what was read.
    bell: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Known {
    days: HashMap<Name, Vec<Numbered>>,
    /// When they were read, by the monotonic clock, and the day that was today.
    days_read: Option<(Duration, u16)>,
    latest: HashMap<Name, Latest>,
    wanted: VecDeque<Name>,
    away_since: Option<Timestamp>,
    /// When somebody last looked.
    asked: Duration,
}

#[derive(Debug)]
struct Latest {
    read: Duration,
    days: Vec<Numbered>,
    uptime: Option<f64>,
}

impl Default for Past {
    fn default() -> Self {
        Self { known: Mutex::default(), at_work: Arc::default(), bell: watch::Sender::new(0) }
    }
}

impl Past {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of the checks called `names`. What is not known, or is no longer fresh, is read
    /// beside this.
    pub(in crate::serve) async fn look(shared: &Arc<Shared>, names: &[Name]) -> Look {
        let past = &shared.pages.past;
        let mut bell = past.bell.subscribe();
        let is_cold = past.want(shared, names);
        if is_cold && past.known().away_since.is_none() {
            let all_there =
                async { while past.lacks(shared, names) && bell.changed().await.is_ok() {} };
            // What is not there by then comes with the next look.
            let _ = tokio::time::timeout(PATIENCE, all_there).await;
        }
        let lacks = past.lacks(shared, names);
        let zone = shared.api.settings.load().spans.zone;
        let today = day_number(shared.api.clock.wall(), zone);
        let known = past.known();
        let seen = names.iter().map(|name| (Arc::clone(name), known.seen(name, today))).collect();
        let away_since = known.away_since;
        Look { seen, away_since, is_partial: lacks && away_since.is_none() }
    }

    /// Whether something is not known at all of the checks called `names`.
    fn lacks(&self, shared: &Shared, names: &[Name]) -> bool {
        let known = self.known();
        known.days_read.is_none()
            || names.iter().any(|name| {
                !known.latest.contains_key(name) && shared.api.board.get(name).is_some()
            })
    }

    /// Has read what is not fresh. Gives whether something is not known at all.
    fn want(&self, shared: &Arc<Shared>, names: &[Name]) -> bool {
        let now = shared.api.clock.now().mono;
        let mut known = self.known();
        known.asked = now;
        let stale: Vec<Name> =
            names.iter().filter(|name| known.is_stale(name, now)).cloned().collect();
        let days_stale = known.are_days_stale(shared, now);
        if stale.is_empty() && !days_stale {
            return false;
        }
        let is_cold =
            known.days_read.is_none() || stale.iter().any(|name| !known.latest.contains_key(name));
        // Whoever looked before may have gone on to another page.
        known.wanted = stale.into();
        drop(known);
        if let Ok(alone) = Arc::clone(&self.at_work).try_lock_owned() {
            let shared = Arc::clone(shared);
            tokio::spawn(async move {
                shared.pages.past.read(&shared).await;
                drop(alone);
                shared.stop.run_until_cancelled(tokio::time::sleep(FORGET)).await;
                shared.pages.past.forget(shared.api.clock.now().mono);
            });
        }
        is_cold
    }

    fn forget(&self, now: Duration) {
        let mut known = self.known();
        if now.saturating_sub(known.asked) >= FORGET {
            *known = Known { away_since: known.away_since, asked: known.asked, ..Known::default() };
        }
    }

    /// Reads all that is wanted.
    async fn read(&self, shared: &Shared) {
        let done = self.read_all(shared).await;
        let mut known = self.known();
        match done {
            Ok(()) => known.away_since = None,
            Err(why) => {
                tracing::debug!(%why, "the overview shows no newer past");
                known.wanted.clear();
                known.away_since.get_or_insert(shared.api.clock.wall());
            }
        }
        drop(known);
        self.bell.send_modify(|count| *count += 1);
    }

    async fn read_all(&self, shared: &Shared) -> Result<(), String> {
        if self.known().are_days_stale(shared, shared.api.clock.now().mono) {
            self.read_days(shared).await?;
        }
        let (mut read, mut failed) = (0, None);
        loop {
            // The guard must not live on while the store is asked.
            let next = self.known().wanted.pop_front();
            let Some(name) = next else { break };
            if shared.api.board.get(&name).is_none() {
                continue;
            }
            match self.read_latest(shared, &name).await {
                Ok(()) => read += 1,
                // What is damaged of one check keeps no other from being shown; but a store that
                // answers nothing is not asked a hundred times.
                Err(why) if read == 0 && failed.is_some() => return Err(why),
                Err(why) => {
                    self.known().give_up(&name, shared.api.clock.now().mono);
                    failed = Some(why);
                }
            }
            self.bell.send_modify(|count| *count += 1);
        }
        match failed {
            Some(why) if read == 0 => Err(why),
            _ => Ok(()),
        }
    }

    async fn read_days(&self, shared: &Shared) -> Result<(), String> {
        let zone = shared.api.settings.load().spans.zone;
        let now = shared.api.clock.now();
        let mut all: HashMap<Name, Vec<Numbered>> = HashMap::new();
        let mut from = Level::Day.span_of(now.wall.before(DAY * u32::from(DAYS)), zone).0;
        while from < now.wall {
            let to = Level::Day.span_of(from.after(DAY * AT_A_TIME), zone).0;
            for (name, days) in bounded(shared.api.store.days((from, to))).await? {
                let days =
                    days.iter().map(|(start, tally)| (day_number(*start, zone), Day::of(tally)));
                all.entry(name).or_default().extend(days);
            }
            from = to;
        }
        all.values_mut().for_each(|days| days.shrink_to_fit());
        let mut known = self.known();
        known.days = all;
        known.days_read = Some((now.mono, day_number(now.wall, zone)));
        Ok(())
    }

    async fn read_latest(&self, shared: &Shared, name: &Name) -> Result<(), String> {
        if !shared.api.board.beats(name).1 {
            let page = Page { limit: BEATS as u32, cursor: None };
            let past = bounded(shared.api.store.results(name, &page)).await?.items;
            let beats = past.iter().rev().map(|result| Beat {
                at: result.at,
                status: result.status,
                latency_ms: result.latency_ms,
            });
            shared.api.board.seed(name, beats);
        }
        let spans = shared.api.settings.load().spans;
        let now = shared.api.clock.now();
        let to = now.wall;
        let first = to.before(DAY * (LATEST_DAYS - 1));
        let mut parts =
            query::parts(Span { from: to.before(DAY), to }, spans.reach, spans.zone, to);
        parts.push(Part { level: Level::Day, from: Level::Day.span_of(first, spans.zone).0, to });
        let rollups = bounded(shared.api.store.rollups(name, &parts, spans.zone)).await?;
        let mut day = Tally::default();
        let (latest, of_day) = match rollups.split_last() {
            Some((latest, of_day)) => (Some(latest), of_day),
            None => (None, &[][..]),
        };
        of_day.iter().flat_map(|part| part.values()).for_each(|it| day.merge(&it.tally));
        let days = latest.into_iter().flatten();
        let days = days.map(|(start, it)| (day_number(*start, spans.zone), Day::of(&it.tally)));
        let latest = Latest { read: now.mono, days: days.collect(), uptime: day.uptime() };
        self.known().latest.insert(Arc::clone(name), latest);
        Ok(())
    }
}

impl Known {
    /// What is known of a check stays as it is for now.
    fn give_up(&mut self, name: &Name, now: Duration) {
        let nothing = Latest { read: now, days: Vec::new(), uptime: None };
        self.latest.entry(Arc::clone(name)).or_insert(nothing).read = now;
    }

    fn is_stale(&self, name: &Name, now: Duration) -> bool {
        let read = self.latest.get(name).map(|latest| latest.read);
        read.is_none_or(|read| now.saturating_sub(read) >= LATEST_LAST)
    }

    fn are_days_stale(&self, shared: &Shared, now: Duration) -> bool {
        let zone = shared.api.settings.load().spans.zone;
        let today = day_number(shared.api.clock.wall(), zone);
        self.days_read
            .is_none_or(|(read, day)| day != today || now.saturating_sub(read) >= DAYS_LAST)
    }

    fn seen(&self, name: &Name, today: u16) -> Seen {
        let sealed = self.days.get(name).map(Vec::as_slice).unwrap_or_default();
        let latest = self.latest.get(name);
        let fresh = latest.map(|latest| latest.days.as_slice()).unwrap_or_default();
        if sealed.is_empty() && fresh.is_empty() {
            return Seen::default();
        }
        let first = (today + 1).saturating_sub(DAYS);
        let mut days = vec![Day::default(); usize::from(DAYS)];
        for (number, day) in sealed.iter().chain(fresh) {
            let place =
                number.checked_sub(first).and_then(|place| days.get_mut(usize::from(place)));
            if let Some(place) = place {
                *place = *day;
            }
        }
        let last = |count: usize| uptime(days.iter().rev().take(count).copied());
        let day = latest.and_then(|latest| latest.uptime);
        Seen { uptimes: [day, last(7), last(30), last(90)], days }
    }
}

/// What the store answers, in words where it does not, within [`STORE_BOUND`].
async fn bounded<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, String> {
    match tokio::time::timeout(STORE_BOUND, asked).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_elapsed) => Err(format!("the store did not answer within {STORE_BOUND:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{DAYS, Day, Known, Latest, date_of, day_number, uptime};
    use crate::model::Status;
    use crate::model::Timestamp;
    use crate::record::archive::tally::Tally;
    use std::time::Duration;

    fn day(up: u64, down: u64) -> Day {
        let mut tally = Tally::default();
        tally.time(Status::Up, false, Duration::from_secs(up));
        tally.time(Status::Down, false, Duration::from_secs(down));
        Day::of(&tally)
    }

    #[test]
    fn a_day_has_a_number_and_the_number_a_day() {
        let at = |text: &str| -> Timestamp {
            chrono::DateTime::parse_from_rfc3339(text).unwrap().to_utc().into()
        };
        assert_eq!(day_number(at("2000-01-01T00:00:00Z"), chrono_tz::UTC), 0);
        let number = day_number(at("2026-11-22T23:30:00Z"), chrono_tz::Europe::Berlin);
        assert_eq!(date_of(number).to_string(), "2026-11-23");
    }

    #[test]
    fn a_short_outage_is_no_whole_day() {
        assert_eq!(day(86_400, 0).uptime(), Some(1.0));
        assert!(day(86_399, 1).uptime().unwrap() < 1.0);
        assert_eq!(Day::default().uptime(), None);
        assert_eq!(uptime([day(0, 50), day(50, 0)]), Some(0.5));
    }

    #[test]
    fn the_latest_days_take_the_place_of_what_was_sealed() {
        let mut known = Known::default();
        let name: crate::model::Name = "a".into();
        assert!(known.seen(&name, 9000).days.is_empty());
        known
            .days
            .insert(name.clone(), vec![(1, day(1, 0)), (8911, day(0, 100)), (8999, day(10, 0))]);
        let latest = vec![(8999, day(86_300, 100)), (9000, day(50, 50))];
        let latest = Latest { read: Duration::ZERO, days: latest, uptime: Some(0.25) };
        known.latest.insert(name.clone(), latest);
        let seen = known.seen(&name, 9000);
        assert_eq!(seen.days.len(), usize::from(DAYS));
        assert_eq!(seen.days[0], day(0, 100));
        assert_eq!(seen.days[88..], [day(86_300, 100), day(50, 50)]);
        assert!(!seen.days[1].is_known());
        let [hours, week, month, all] = seen.uptimes;
        assert_eq!((hours, week), (Some(0.25), month));
        assert!(all < month);
    }
}
