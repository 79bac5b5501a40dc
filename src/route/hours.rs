//! The hours of the week in which a route speaks.

use crate::model::{Timestamp, did_you_mean};
use chrono::{Datelike, Offset, TimeZone, Timelike, Weekday};
use chrono_tz::Tz;
use std::ops::Range;
use std::time::Duration;

const DAY: usize = 24 * 60;
const WEEK: usize = 7 * DAY;
const WEEK_MS: u64 = WEEK as u64 * 60_000;

/// What a route says that would never say anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the route never speaks: no minute of the week is in `active` and not in `mute`")]
pub struct NeverSpeaks;

/// A span of the week by the clocks on the wall: `Mon-Fri 08:00-18:00`, `22:00-07:00`, `Sat,Sun`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// On which days it begins, from Monday on.
    days: [bool; 7],
    /// Its minutes, counted from the start of that day; it may end on the next one.
    minutes: Range<usize>,
}

impl Span {
    /// Reads days, times or both. Days are lists and ranges (`Mon-Fri`, `Sat,Sun`, `Fri-Mon`). A
    /// span whose second time is not later than its first ends on the day after.
    ///
    /// # Errors
    /// What is not understood, with an example.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (days, times) = match words[..] {
            [times] if times.starts_with(|c: char| c.is_ascii_digit()) => (None, Some(times)),
            [days] => (Some(days), None),
            [days, times] => (Some(days), Some(times)),
            _ => return Err(format!("`{text}` is not days, a span of times, or both {EXAMPLES}")),
        };
        Ok(Self {
            days: days.map_or(Ok([true; 7]), parse_days)?,
            minutes: times.map_or(Ok(0..DAY), parse_times)?,
        })
    }

    /// Says `speaks` of each of its minutes.
    fn paint(&self, week: &mut [bool], speaks: bool) {
        for day in (0..7).filter(|&day| self.days[day]) {
            for minute in self.minutes.clone() {
                week[(day * DAY + minute) % WEEK] = speaks;
            }
        }
    }
}

const EXAMPLES: &str = "(such as `Mon-Fri 08:00-18:00`, `22:00-07:00` or `Sat,Sun`)";

fn parse_days(text: &str) -> Result<[bool; 7], String> {
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let last = parse_day(last)?;
        let mut day = parse_day(first)?;
        days[day.num_days_from_monday() as usize] = true;
        while day != last {
            day = day.succ();
            days[day.num_days_from_monday() as usize] = true;
        }
    }
    Ok(days)
}

fn parse_day(text: &str) -> Result<Weekday, String> {
    text.parse().map_err(|_| {
        let names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        match did_you_mean(text, names) {
            Some(question) => format!("`{text}` is not a day of the week; {question}"),
            None => format!("`{text}` is not a day of the week {EXAMPLES}"),
        }
    })
}

fn parse_times(text: &str) -> Result<Range<usize>, String> {
    let (from, to) = text
        .split_once('-')
        .ok_or_else(|| format!("`{text}` is one time, not a span of times {EXAMPLES}"))?;
    let (from, to) = (parse_time(from)?, parse_time(to)?);
    if from == to {
        return Err(format!("`{text}` is empty; a whole day is `00:00-24:00`, or no times at all"));
    }
    if from == DAY {
        return Err(format!("`{text}` begins when the day is over; that is `00:00` of the next"));
    }
    Ok(from..if to < from { to + DAY } else { to })
}

/// Minutes since midnight.
fn parse_time(text: &str) -> Result<usize, String> {
    let minutes = match text.split_once(':') {
        Some(("24", "00")) => Some(DAY),
        Some((hour, minute)) if minute.len() == 2 && matches!(hour.len(), 1 | 2) => {
            match (hour.parse(), minute.parse()) {
                (Ok(hour @ 0..24), Ok(minute @ 0..60)) => Some(hour * 60 + minute),
                _ => None,
            }
        }
        _ => None,
    };
    minutes.ok_or_else(|| format!("`{text}` is not a time of day (00:00 to 24:00)"))
}

/// When a route speaks, and when it holds its notices back for later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    zone: Tz,
    /// The minutes of the week in which it speaks, from Monday 00:00 on; in order, and apart.
    spoken: Vec<Range<usize>>,
}

impl Hours {
    /// The hours within `active` (any, if absent) and outside of `mute`, by the clocks of `zone`;
    /// none if that is always.
    ///
    /// # Errors
    /// That there are no such hours.
    pub fn new(
        active: Option<&[Span]>,
        mute: &[Span],
        zone: Tz,
    ) -> Result<Option<Self>, NeverSpeaks> {
        let mut week = vec![active.is_none(); WEEK];
        for span in active.unwrap_or_default() {
            span.paint(&mut week, true);
        }
        for span in mute {
            span.paint(&mut week, false);
        }
        let mut spoken: Vec<Range<usize>> = Vec::new();
        for minute in (0..WEEK).filter(|&minute| week[minute]) {
            match spoken.last_mut() {
                Some(last) if last.end == minute => last.end += 1,
                _ => spoken.push(minute..minute + 1),
            }
        }
        match spoken[..] {
            [] => Err(NeverSpeaks),
            [Range { start: 0, end: WEEK }] => Ok(None),
            _ => Ok(Some(Self { zone, spoken })),
        }
    }

    /// When it speaks next; none if it speaks at `now`.
    ///
    /// A clock change can skip the only hour of a week in which it speaks, so the search goes over
    /// some weeks.
    pub fn mute_until(&self, now: Timestamp) -> Option<Timestamp> {
        let bound = now.after(Duration::from_millis(3 * WEEK_MS));
        let mut at = now;
        while at < bound
            && let Some(wait) = self.wait(at)
        {
            at = first_change(self.zone, at, at.after(wait));
        }
        (at > now).then_some(at)
    }

    /// How long it is silent from `at` on if nobody changes the clocks; none if it speaks.
    fn wait(&self, at: Timestamp) -> Option<Duration> {
        let local = at.to_datetime().with_timezone(&self.zone);
        let day = u64::from(local.weekday().num_days_from_monday());
        let second = day * 86_400 + u64::from(local.num_seconds_from_midnight());
        let position = second * 1_000 + u64::from(local.timestamp_subsec_millis());
        let starts = |range: &Range<usize>| range.start as u64 * 60_000;
        let next = self.spoken.iter().find(|range| range.end as u64 * 60_000 > position);
        let start = match next {
            Some(range) if starts(range) <= position => return None,
            Some(range) => starts(range),
            None => self.spoken.first().map_or(0, starts) + WEEK_MS,
        };
        Some(Duration::from_millis(start - position))
    }
}

/// When the clocks of `zone` change after `from`; `to` if they do not before then.
fn first_change(zone: Tz, from: Timestamp, to: Timestamp) -> Timestamp {
    let offset = |millis: i64| {
        let utc = Timestamp::from_millis(millis).to_datetime().naive_utc();
        zone.offset_from_utc_datetime(&utc).fix()
    };
    let (mut before, mut after) = (from.as_millis(), to.as_millis());
    let old = offset(before);
    if offset(after) == old {
        return to;
    }
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        if offset(middle) == old {
            before = middle;
        } else {
            after = middle;
        }
    }
    Timestamp::from_millis(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use chrono_tz::{America, Asia, Australia, Europe, Pacific};
    use proptest::prelude::*;

    fn time(text: &str) -> Timestamp {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc().into()
    }

    fn spans(texts: &[&str]) -> Vec<Span> {
        texts.iter().map(|text| Span::parse(text).unwrap()).collect()
    }

    /// `expected` is empty where the route speaks.
    fn check(zone: Tz, active: &[&str], mute: &[&str], now: &str, expected: &str) {
        let active = (!active.is_empty()).then(|| spans(active));
        let hours = Hours::new(active.as_deref(), &spans(mute), zone).unwrap().unwrap();
        let found = hours.mute_until(time(now));
        let found = found.map(|at| at.to_datetime().with_timezone(&zone).to_rfc3339());
        assert_eq!(found.unwrap_or_default(), expected, "{now}");
    }

    #[test]
    fn a_route_speaks_within_its_active_hours_and_outside_of_its_mute_ones() {
        let office = |now, expected| {
            check(Europe::Berlin, &["Mon-Fri 08:00-18:00"], &["Wed 12:00-13:00"], now, expected);
        };
        office("2026-08-05T08:00:00+02:00", "");
        office("2026-08-05T07:59:59.999+02:00", "2026-08-05T08:00:00+02:00");
        office("2026-08-05T12:00:00+02:00", "2026-08-05T13:00:00+02:00");
        office("2026-08-05T18:00:00+02:00", "2026-08-06T08:00:00+02:00");
        office("2026-08-07T18:00:00+02:00", "2026-08-10T08:00:00+02:00");
        let night = |now, expected| check(Tz::UTC, &[], &["Fri 22:00-07:00"], now, expected);
        night("2026-08-07T21:59:00Z", "");
        night("2026-08-07T23:00:00Z", "2026-08-08T07:00:00+00:00");
        night("2026-08-08T06:59:00Z", "2026-08-08T07:00:00+00:00");
        night("2026-08-09T06:59:00Z", "");
        night("2026-08-07T06:59:00Z", "");
        let weekend = |now, expected| check(Tz::UTC, &[], &["sat,Sunday"], now, expected);
        weekend("2026-08-08T00:00:00Z", "2026-08-10T00:00:00+00:00");
    }

    #[test]
    fn a_change_of_the_clocks_moves_the_hours_with_the_wall() {
        let night = |now, expected| check(Europe::Berlin, &[], &["22:00-07:00"], now, expected);
        night("2026-03-28T23:00:00+01:00", "2026-03-29T07:00:00+02:00");
        night("2026-10-24T23:00:00+02:00", "2026-10-25T07:00:00+01:00");
        // Half past two does not come: the hours begin where the clocks go on.
        let early = |now, expected| check(Europe::Berlin, &[], &["22:00-02:30"], now, expected);
        early("2026-03-28T23:00:00+01:00", "2026-03-29T03:00:00+02:00");
        early("2026-10-24T23:00:00+02:00", "2026-10-25T02:30:00+02:00");
        early("2026-10-25T02:10:00+01:00", "2026-10-25T02:30:00+01:00");
        // The only half hour of the week falls out.
        let rare = |now, expected| {
            check(Europe::Berlin, &["Sun 02:00-02:30"], &[], now, expected);
        };
        rare("2026-03-22T02:30:00+01:00", "2026-04-05T02:00:00+02:00");
    }

    #[test]
    fn hours_that_are_always_are_none_and_hours_that_are_never_are_refused() {
        let hours = |active: &[&str], mute: &[&str]| {
            Hours::new(Some(&spans(active)), &spans(mute), Tz::UTC)
        };
        assert_eq!(hours(&["Mon-Sun"], &[]), Ok(None));
        assert_eq!(hours(&["07:00-22:00", "22:00-07:00"], &[]), Ok(None));
        assert_eq!(hours(&[], &[]), Err(NeverSpeaks));
        assert_eq!(hours(&["Mon 08:00-18:00"], &["Sun-Tue"]), Err(NeverSpeaks));
    }

    #[test]
    fn what_is_no_span_is_refused_in_words() {
        let error = |text| Span::parse(text).unwrap_err();
        insta::assert_snapshot!(error(""), @"`` is not days, a span of times, or both (such as `Mon-Fri 08:00-18:00`, `22:00-07:00` or `Sat,Sun`)");
        insta::assert_snapshot!(error("Mon - Fri"), @"`Mon - Fri` is not days, a span of times, or both (such as `Mon-Fri 08:00-18:00`, `22:00-07:00` or `Sat,Sun`)");
        insta::assert_snapshot!(error("Mon-Fry"), @"`Fry` is not a day of the week; did you mean `Fri`?");
        insta::assert_snapshot!(error("workdays"), @"`workdays` is not a day of the week (such as `Mon-Fri 08:00-18:00`, `22:00-07:00` or `Sat,Sun`)");
        insta::assert_snapshot!(error("Mon 8-18"), @"`8` is not a time of day (00:00 to 24:00)");
        insta::assert_snapshot!(error("08:00"), @"`08:00` is one time, not a span of times (such as `Mon-Fri 08:00-18:00`, `22:00-07:00` or `Sat,Sun`)");
        insta::assert_snapshot!(error("08:00-24:01"), @"`24:01` is not a time of day (00:00 to 24:00)");
        insta::assert_snapshot!(error("08:00-08:00"), @"`08:00-08:00` is empty; a whole day is `00:00-24:00`, or no times at all");
        insta::assert_snapshot!(error("24:00-08:00"), @"`24:00-08:00` begins when the day is over; that is `00:00` of the next");
    }

    /// A span as the naive model has it: days from Monday on, and minutes of the day.
    type Naive = (Vec<u32>, u32, u32);

    fn text_of((days, from, to): &Naive) -> String {
        let names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        let days: Vec<&str> = days.iter().map(|&day| names[day as usize]).collect();
        let time = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
        format!("{} {}-{}", days.join(","), time(*from), time(*to))
    }

    fn covers((days, from, to): &Naive, weekday: u32, minute: u32) -> bool {
        let begins = |day: u32| days.contains(&(day % 7));
        if from < to {
            begins(weekday) && (*from..*to).contains(&minute)
        } else {
            (begins(weekday) && minute >= *from) || (begins(weekday + 6) && minute < *to)
        }
    }

    /// Looks at each minute of the days after `from`, last one first.
    fn model_agrees(zone: Tz, active: &[Naive], mute: &[Naive], from: Timestamp, days: i64) {
        let texts = |naive: &[Naive]| -> Vec<Span> {
            naive.iter().map(|naive| Span::parse(&text_of(naive)).unwrap()).collect()
        };
        let own = (!active.is_empty()).then(|| texts(active));
        let Ok(hours) = Hours::new(own.as_deref(), &texts(mute), zone) else { return };
        let mut next = None;
        for minute in (0..days * 24 * 60).rev() {
            let at = Timestamp::from_millis(from.as_millis() + minute * 60_000);
            let local = at.to_datetime().with_timezone(&zone);
            let (weekday, now) =
                (local.weekday().num_days_from_monday(), local.hour() * 60 + local.minute());
            let any = |spans: &[Naive]| spans.iter().any(|span| covers(span, weekday, now));
            let speaks = (active.is_empty() || any(active)) && !any(mute);
            if speaks {
                next = Some(at);
            }
            // A prime, so that each minute of the hour is looked at.
            let Some(next) = next.filter(|_| minute % 7 == 0) else { continue };
            let found = hours.as_ref().and_then(|hours| hours.mute_until(at));
            assert_eq!(found, (!speaks).then_some(next), "{active:?} {mute:?} at {local}");
            let within = at.after(Duration::from_millis(30_001));
            let found = hours.as_ref().and_then(|hours| hours.mute_until(within));
            assert_eq!(found.is_some(), !speaks, "{active:?} {mute:?} within {local}");
        }
    }

    #[test]
    fn over_a_year_the_hours_are_those_of_a_naive_model() {
        let office: Naive = (vec![0, 1, 2, 3, 4], 8 * 60, 18 * 60);
        let night: Naive = (vec![5, 6], 22 * 60 + 15, 2 * 60 + 30);
        for zone in [Europe::Berlin, Australia::Lord_Howe] {
            model_agrees(
                zone,
                &[office.clone(), night.clone()],
                &[(vec![2], 12 * 60, 13 * 60)],
                time("2026-01-01T00:00:00Z"),
                365,
            );
        }
    }

    fn naive() -> impl Strategy<Value = Naive> {
        let days = prop::sample::subsequence(vec![0_u32, 1, 2, 3, 4, 5, 6], 1..=7);
        (days, 0_u32..96, 0_u32..96)
            .prop_filter("a span is not empty", |(_, from, to)| from != to)
            .prop_map(|(days, from, to)| (days, from * 15, to * 15))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn around_each_change_of_the_clocks_the_hours_are_those_of_a_naive_model(
            active in prop::collection::vec(naive(), 0..3),
            mute in prop::collection::vec(naive(), 0..3),
            (zone, from) in prop::sample::select(vec![
                (Europe::Berlin, "2026-03-25T00:00:00Z"),
                (Europe::Berlin, "2026-10-21T00:00:00Z"),
                (America::St_Johns, "2026-03-05T00:00:00Z"),
                (America::St_Johns, "2026-10-29T00:00:00Z"),
                (Australia::Lord_Howe, "2026-04-01T00:00:00Z"),
                (Pacific::Chatham, "2026-09-24T00:00:00Z"),
                (Asia::Kathmandu, "2026-06-01T00:00:00Z"),
                (chrono_tz::Antarctica::Troll, "2026-03-26T00:00:00Z"),
            ]),
        ) {
            model_agrees(zone, &active, &mute, time(from), 9);
        }
    }
}
