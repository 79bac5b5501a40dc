//! Maintenance windows: times in which it is known that things fail.

use super::when;
use crate::condition::Condition;
use crate::model::{Incident, Labels, Name, Severity, Status, Timestamp};
use chrono::{DateTime, LocalResult, NaiveDateTime, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};
use std::time::Duration;

/// All maintenance windows.
#[derive(Debug, Default)]
pub struct Windows(Vec<Window>);

/// A maintenance window.
#[derive(Debug)]
pub struct Window {
    /// Its name.
    pub name: Name,
    /// Which incidents it is about; all of them, if absent.
    pub when: Option<Condition>,
    /// The zone of the times that `when` sees.
    pub zone: Tz,
    /// When it is open.
    pub times: Times,
}

/// When a maintenance window is open.
#[derive(Debug)]
pub enum Times {
    /// Once.
    Once {
        /// From when on.
        start: Timestamp,
        /// Until when.
        end: Timestamp,
    },
    /// Again and again.
    Recurring(Box<Recurring>),
}

/// A window that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Active<'a> {
    /// Its name.
    pub name: &'a str,
    /// Until when.
    pub until: Timestamp,
}

impl Windows {
    /// The windows in force.
    pub fn new(windows: Vec<Window>) -> Self {
        Self(windows)
    }

    /// The window that `incident` falls into at `now`: of several the one that is open longest.
    pub fn active(&self, incident: &Incident, now: Timestamp) -> Option<Active<'_>> {
        self.0
            .iter()
            .filter_map(|window| Some((window, window.times.open_until(now)?)))
            .filter(|(window, _)| when::holds(window.when.as_ref(), incident, now, window.zone))
            .map(|(window, until)| Active { name: &window.name, until })
            .max_by_key(|active| active.until)
    }

    /// Whether a check falls into a window at `now`, as an incident of it would.
    pub fn cover(
        &self,
        check: &Name,
        kind: &str,
        severity: Severity,
        labels: &Labels,
        now: Timestamp,
    ) -> bool {
        // Most daemons have no window, and each run comes by here.
        if !self.0.iter().any(|window| window.times.open_until(now).is_some()) {
            return false;
        }
        let stand_in = Incident {
            severity,
            labels: labels.clone(),
            ..Incident::new(String::new(), check.clone(), kind, Status::Down, now)
        };
        self.active(&stand_in, now).is_some()
    }

    /// The next time of each window, from `now` on: when it opens or has opened, and when it closes.
    pub fn upcoming(
        &self,
        now: Timestamp,
    ) -> impl Iterator<Item = (&Window, Timestamp, Timestamp)> {
        self.0.iter().filter_map(move |window| {
            let (start, end) = window.times.next(now)?;
            Some((window, start, end))
        })
    }

    /// When the next window after `now` opens or closes.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.0.iter().filter_map(|window| window.times.next_change(now)).min()
    }
}

impl Window {
    /// Whether an incident of a check would fall into it at `at`, a time at which it is open.
    pub fn concerns(
        &self,
        check: &Name,
        kind: &str,
        severity: Severity,
        labels: &Labels,
        at: Timestamp,
    ) -> bool {
        let stand_in = Incident {
            severity,
            labels: labels.clone(),
            ..Incident::new(String::new(), check.clone(), kind, Status::Down, at)
        };
        when::holds(self.when.as_ref(), &stand_in, at, self.zone)
    }
}

impl Times {
    /// The time that is going on at `now`, or else the next one.
    fn next(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        match self {
            Self::Once { start, end } => (now < *end).then_some((*start, *end)),
            Self::Recurring(recurring) => {
                let open =
                    recurring.start_until(now).filter(|start| now < start.after(recurring.lasts));
                let start = open.or_else(|| recurring.start_after(now))?;
                Some((start, start.after(recurring.lasts)))
            }
        }
    }

    /// When the window closes that is open at `now`.
    fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Once { start, end } => (*start <= now && now < *end).then_some(*end),
            Self::Recurring(recurring) => recurring.open_until(now),
        }
    }

    fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Once { start, end } => [*start, *end].into_iter().find(|&change| change > now),
            Self::Recurring(recurring) => {
                let opens = recurring.start_after(now);
                let closes = recurring.open_until(now);
                opens.into_iter().chain(closes).min()
            }
        }
    }
}

/// A window that opens by a cron line, and closes so much later by elapsed time.
///
/// Where the clocks skip its start, it opens as they go on; where they show its start twice, it
/// opens the first time.
#[derive(Debug)]
pub struct Recurring {
    pattern: croner::Cron,
    zone: Tz,
    lasts: Duration,
}

impl Recurring {
    /// A window that opens by the cron `line` in `zone`.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub fn new(line: &str, zone: Tz, lasts: Duration) -> Result<Self, String> {
        let fields = line.split_whitespace().count();
        if fields != 5 && !line.trim().starts_with('@') {
            return Err(format!("`{line}` has {fields} fields; {LOOKS_LIKE}"));
        }
        let pattern = line.trim().parse::<croner::Cron>();
        let pattern = pattern.map_err(|_| format!("`{line}` is not understood; {LOOKS_LIKE}"))?;
        let recurring = Self { pattern, zone, lasts };
        match recurring.next_match(NaiveDateTime::default()) {
            Some(_) => Ok(recurring),
            None => Err(format!("`{line}` names a day that never comes; {LOOKS_LIKE}")),
        }
    }

    /// Whether the window after `now` is still open when the next one opens.
    pub fn overlaps(&self, now: Timestamp) -> bool {
        let first = self.start_after(now);
        let second = first.and_then(|first| self.start_after(first));
        matches!((first, second), (Some(first), Some(second)) if second <= first.after(self.lasts))
    }

    fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        let until = self.start_until(now)?.after(self.lasts);
        (now < until).then_some(until)
    }

    /// The first start later than `now`.
    fn start_after(&self, now: Timestamp) -> Option<Timestamp> {
        let now = whole_second(now);
        let mut local = now.to_datetime().with_timezone(&self.zone).naive_local();
        loop {
            // In the second pass of an hour that comes twice its starts are over.
            local = self.next_match(local)?;
            let start = self.settle(local)?;
            if start > now {
                return Some(start);
            }
        }
    }

    /// The last start that is not later than `now`.
    fn start_until(&self, now: Timestamp) -> Option<Timestamp> {
        let now = whole_second(now);
        let here = now.to_datetime().with_timezone(&self.zone).naive_local();
        let mut local = match self.zone.from_local_datetime(&here) {
            // In the second pass all starts of the first one have been, also those that the
            // clocks will show again.
            LocalResult::Ambiguous(a, b) if now > Timestamp::from(a.min(b).to_utc()) => {
                here.checked_add_signed((a - b).abs())?
            }
            _ => here,
        };
        let mut inclusive = true;
        loop {
            local = self.last_match(local, inclusive)?;
            inclusive = false;
            let start = self.settle(local)?;
            if start <= now {
                return Some(start);
            }
        }
    }

    /// When the clocks show `local` for the first time, or go on from before it.
    fn settle(&self, local: NaiveDateTime) -> Option<Timestamp> {
        settle(local, self.zone, Pass::First)
    }

    /// The first match later than `local` on a calendar whose clocks never change: croner's own
    /// answers in a zone are wrong around a change.
    fn next_match(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        let found = self.pattern.find_next_occurrence(&local.and_utc(), false).ok()?;
        Some(found.naive_utc())
    }

    fn last_match(&self, local: NaiveDateTime, inclusive: bool) -> Option<NaiveDateTime> {
        let found = self.pattern.find_previous_occurrence(&local.and_utc(), inclusive).ok()?;
        Some(found.naive_utc())
    }
}

/// croner would carry a fraction of a second into what it finds.
fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.as_millis().div_euclid(1_000) * 1_000)
}

const LOOKS_LIKE: &str = "a cron line has five fields (minute, hour, day of the month, month, day \
                          of the week), such as `30 2 * * sun`";

/// Which of two, where the clocks show a time twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The earlier one: for a start.
    First,
    /// The later one: for an end.
    Second,
}

/// Reads a moment in RFC 3339, or a local date and time in `zone`. One that the clocks skip is the
/// moment at which they go on.
///
/// # Errors
/// That it is no moment, with examples.
pub fn parse_moment(text: &str, zone: Tz, pass: Pass) -> Result<Timestamp, String> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Ok(moment.with_timezone(&Utc).into());
    }
    const FORMATS: [&str; 4] =
        ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"];
    FORMATS
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .and_then(|local| settle(local, zone, pass))
        .ok_or_else(|| {
            format!(
                "`{text}` is not a date and time (such as 2026-08-01T22:00, or \
                 2026-08-01T20:00:00Z for one that hangs on no time zone)"
            )
        })
}

fn settle(local: NaiveDateTime, zone: Tz, pass: Pass) -> Option<Timestamp> {
    let moment = match (zone.from_local_datetime(&local), pass) {
        (LocalResult::Single(at), _) => at,
        (LocalResult::Ambiguous(a, b), Pass::First) => a.min(b),
        (LocalResult::Ambiguous(a, b), Pass::Second) => a.max(b),
        (LocalResult::None, _) => GapInfo::new(&local, &zone)?.end?,
    };
    Some(moment.to_utc().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Status;
    use crate::route::compile_when;
    use chrono::TimeDelta;
    use chrono_tz::{America, Australia, Europe};
    use proptest::prelude::*;

    fn time(text: &str) -> Timestamp {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc().into()
    }

    fn recurring(line: &str, zone: Tz, minutes: u64) -> Recurring {
        Recurring::new(line, zone, Duration::from_secs(minutes * 60)).unwrap()
    }

    /// `line` for an hour and a half in Berlin; `expected` is when it closes, empty if it is shut.
    fn check(line: &str, now: &str, expected: &str) {
        let window = recurring(line, Europe::Berlin, 90);
        let until = window.open_until(time(now));
        let until = until.map(|at| at.to_datetime().with_timezone(&Europe::Berlin).to_rfc3339());
        assert_eq!(until.unwrap_or_default(), expected, "{line} at {now}");
    }

    #[test]
    fn a_recurring_window_is_open_for_so_long_after_each_start() {
        check("30 22 * * *", "2026-08-05T22:29:59+02:00", "");
        check("30 22 * * *", "2026-08-05T22:30:00+02:00", "2026-08-06T00:00:00+02:00");
        check("30 22 * * *", "2026-08-05T23:59:59.999+02:00", "2026-08-06T00:00:00+02:00");
        check("30 22 * * *", "2026-08-06T00:00:00+02:00", "");
        check("30 22 * * sun", "2026-08-05T22:30:00+02:00", "");
    }

    #[test]
    fn a_window_lasts_by_elapsed_time_over_a_change_of_the_clocks() {
        // 02:00 to 03:00 is skipped.
        check("30 1 * * *", "2026-03-29T03:59:00+02:00", "2026-03-29T04:00:00+02:00");
        check("30 2 * * *", "2026-03-29T01:59:00+01:00", "");
        check("30 2 * * *", "2026-03-29T03:00:00+02:00", "2026-03-29T04:30:00+02:00");
        // 02:00 to 03:00 comes twice.
        check("30 2 * * *", "2026-10-25T02:30:00+02:00", "2026-10-25T03:00:00+01:00");
        check("30 2 * * *", "2026-10-25T02:10:00+01:00", "2026-10-25T03:00:00+01:00");
        check("30 2 * * *", "2026-10-25T02:59:00+01:00", "2026-10-25T03:00:00+01:00");
        check("30 2 * * *", "2026-10-25T03:00:00+01:00", "");
    }

    #[test]
    fn of_several_open_windows_the_one_that_is_open_longest_counts() {
        let window = |name: &str, when: &str, start: i64, end: i64| Window {
            name: name.into(),
            when: (!when.is_empty()).then(|| compile_when(when).unwrap()),
            zone: Tz::UTC,
            times: Times::Once {
                start: Timestamp::from_millis(start),
                end: Timestamp::from_millis(end),
            },
        };
        let windows = Windows::new(vec![
            window("short", "", 10, 20),
            window("long", "name == 'shop-api'", 15, 40),
            window("other", "name == 'till'", 0, 100),
        ]);
        let at = Timestamp::from_millis;
        let incident =
            Incident::new("1".to_owned(), "shop-api".into(), "http", Status::Down, at(0));
        let name = |now: i64| windows.active(&incident, at(now)).map(|active| active.name);
        assert_eq!(
            [5, 10, 15, 39, 40].map(name),
            [None, Some("short"), Some("long"), Some("long"), None]
        );
        assert_eq!(windows.active(&incident, at(12)).unwrap().until, at(20));
        assert_eq!(windows.next_change(at(20)), Some(at(40)));
        assert_eq!(windows.next_change(at(100)), None);
    }

    #[test]
    fn a_moment_is_absolute_or_local() {
        let check = |text: &str, pass, expected: &str| {
            assert_eq!(parse_moment(text, Europe::Berlin, pass), Ok(time(expected)), "{text}");
        };
        check("2026-08-01T20:00:00Z", Pass::First, "2026-08-01T20:00:00Z");
        check("2026-08-01T22:00", Pass::First, "2026-08-01T20:00:00Z");
        check("2026-08-01 22:00:30", Pass::First, "2026-08-01T20:00:30Z");
        check("2026-03-29T02:30", Pass::Second, "2026-03-29T01:00:00Z");
        check("2026-10-25T02:30", Pass::First, "2026-10-25T00:30:00Z");
        check("2026-10-25T02:30", Pass::Second, "2026-10-25T01:30:00Z");
        let error = parse_moment("2026-08-01", Tz::UTC, Pass::First).unwrap_err();
        insta::assert_snapshot!(error, @"`2026-08-01` is not a date and time (such as 2026-08-01T22:00, or 2026-08-01T20:00:00Z for one that hangs on no time zone)");
    }

    #[test]
    fn a_bad_line_is_refused_and_one_that_never_ends_is_seen() {
        let error = |line| Recurring::new(line, Tz::UTC, Duration::from_secs(60)).unwrap_err();
        insta::assert_snapshot!(error("0 3 * *"), @"`0 3 * *` has 4 fields; a cron line has five fields (minute, hour, day of the month, month, day of the week), such as `30 2 * * sun`");
        insta::assert_snapshot!(error("0 33 * * *"), @"`0 33 * * *` is not understood; a cron line has five fields (minute, hour, day of the month, month, day of the week), such as `30 2 * * sun`");
        insta::assert_snapshot!(error("0 3 30 2 *"), @"`0 3 30 2 *` names a day that never comes; a cron line has five fields (minute, hour, day of the month, month, day of the week), such as `30 2 * * sun`");
        let overlaps = |minutes| {
            recurring("0 * * * *", Tz::UTC, minutes).overlaps(time("2026-08-01T00:00:00Z"))
        };
        assert_eq!([59, 60].map(overlaps), [false, true]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn around_each_change_of_the_clocks_windows_are_those_of_a_naive_model(
            minute in prop::sample::select(vec!["0", "15", "0,45", "*/20"]),
            hour in prop::sample::select(vec!["*", "1", "2", "0-3/2", "2,14"]),
            lasts in prop::sample::select(vec![5_u64, 90, 200]),
            (zone, day) in prop::sample::select(vec![
                (Europe::Berlin, "2026-03-28T12:00:00Z"),
                (Europe::Berlin, "2026-10-24T12:00:00Z"),
                (America::New_York, "2026-03-07T12:00:00Z"),
                (America::New_York, "2026-10-31T12:00:00Z"),
                (Australia::Lord_Howe, "2026-04-04T06:00:00Z"),
                (Australia::Lord_Howe, "2026-10-03T06:00:00Z"),
                (chrono_tz::Antarctica::Troll, "2026-10-24T12:00:00Z"),
            ]),
        ) {
            let window = recurring(&format!("{minute} {hour} * * *"), zone, lasts);
            let lasts = Duration::from_secs(lasts * 60);
            let mut starts: Vec<Timestamp> = Vec::new();
            let mut shown = std::collections::HashSet::new();
            let mut last_local: Option<NaiveDateTime> = None;
            for minute in 0..24 * 60 {
                let at = time(day).to_datetime() + TimeDelta::minutes(minute);
                let local = at.with_timezone(&zone).naive_local();
                // The minutes that the clocks skipped to get here count as this one.
                let mut due = false;
                let mut skipped = last_local.map_or(local, |last| last + TimeDelta::minutes(1));
                while skipped <= local {
                    due |= shown.insert(skipped)
                        && window.pattern.is_time_matching(&skipped.and_utc()).unwrap();
                    skipped += TimeDelta::minutes(1);
                }
                last_local = Some(local);
                let at = Timestamp::from(at);
                if due {
                    starts.push(at);
                }
                let until = starts.last().map(|start| start.after(lasts)).filter(|end| at < *end);
                if minute > 210 {
                    prop_assert_eq!(window.open_until(at), until, "{} at {}", zone, local);
                }
                let within = window.start_after(at.before(Duration::from_secs(30)));
                prop_assert_eq!(within == Some(at), due, "{} starts at {}", zone, local);
            }
        }
    }
}
