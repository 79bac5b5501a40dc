//! Cron lines in a time zone.
//!
//! croner searches on the plain calendar, as if the zone were UTC, and what a change of the clocks
//! does to its answer is decided here. Its own answers in a zone will not do: from inside the hour
//! that comes twice it gives times that are past, and it leaves out the second pass of that hour
//! (seen in version 3.0.1).

use crate::model::Timestamp;
use chrono::{DateTime, NaiveDateTime, TimeZone, Timelike, Utc};
use chrono_tz::{GapInfo, Tz};
use std::fmt;

/// What the log says where a run is due later than its line says.
const MOVED: &str = "the clocks skip the time that its cron line names: it runs at the first \
                     time after the change instead";

/// What the log says where a run is due once although its time comes twice.
const NOT_REPEATED: &str = "the clocks go back over the time that its cron line names: it runs \
                            the first time only";

const LOOKS_LIKE: &str = "a cron line has five fields (minute, hour, day of the month, month, day \
                          of the week), such as `*/5 * * * *` or `30 2 * * mon-fri`";

const NICKNAMES: &[(&str, &str)] = &[
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

const FIELDS: [(&str, &str); 5] = [
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31"),
    ("month", "1 to 12 or jan to dec"),
    ("day of the week", "0 to 7 or sun to sat (0 and 7 are Sunday)"),
];

/// A cron line that has been read.
#[derive(PartialEq)]
pub(super) struct Cron {
    pattern: croner::Cron,
    tz: Tz,
    /// Due in each hour of the day: what falls into a gap is made up for by the hour after it.
    every_hour: bool,
    /// Goes by elapsed time: due in both passes of an hour that comes twice.
    wildcard: bool,
}

impl Cron {
    pub(super) fn parse(line: &str, tz: Tz) -> Result<Self, String> {
        let line = line.trim();
        let fields = if line.starts_with('@') { nickname(line)? } else { line };
        let count = fields.split_whitespace().count();
        match count {
            5 => {}
            0 => return Err(format!("the cron line is empty; {LOOKS_LIKE}")),
            6 | 7 => {
                return Err(format!(
                    "the cron line has {count} fields, but seconds and years have no place in it; \
                     {LOOKS_LIKE}; what runs more often than each minute takes `every` instead, \
                     as in `every = \"15s\"`"
                ));
            }
            _ => {
                let plural = if count == 1 { "field" } else { "fields" };
                return Err(format!("the cron line has {count} {plural}; {LOOKS_LIKE}"));
            }
        }
        let pattern: croner::Cron = fields.parse().map_err(|_| culprit(fields))?;
        let (minutes, hours) = (&pattern.pattern.minutes, &pattern.pattern.hours);
        let cron = Self {
            every_hour: hours.is_all_set(),
            wildcard: minutes.from_wildcard || hours.from_wildcard,
            pattern,
            tz,
        };
        if cron.match_after(NaiveDateTime::default()).is_none() {
            return Err(format!("the cron line names a day that never comes; {LOOKS_LIKE}"));
        }
        Ok(cron)
    }

    /// The first time later than `after`, and what a change of the clocks did to it.
    pub(super) fn next_after(&self, after: Timestamp) -> Option<(Timestamp, Option<&'static str>)> {
        let after = whole_second(after);
        let here = after.with_timezone(&self.tz).naive_local();
        let first = self.first_pass(after, here);
        let second = if self.wildcard { self.second_pass(here, after) } else { None };
        let (at, shifted) = match (first, second) {
            (Some(first), Some(second)) if second < first.0 => (second, None),
            (None, Some(second)) => (second, None),
            (first, _) => first?,
        };
        Some((at.into(), shifted))
    }

    /// The first time later than `after`, if no hour came twice.
    fn first_pass(
        &self,
        after: DateTime<Utc>,
        here: NaiveDateTime,
    ) -> Option<(DateTime<Utc>, Option<&'static str>)> {
        // Local times up to `here` were shown at or before `after`, so the search starts there.
        // In the second pass of an hour those that follow may have been shown before, too.
        let mut local = here;
        loop {
            local = self.match_after(local)?;
            if let Some((at, shifted)) = self.settle(local)
                && at > after
            {
                return Some((at, shifted));
            }
        }
    }

    /// The first time later than `after` in the second pass of the hour that `after` lies in, if
    /// that hour comes twice.
    fn second_pass(&self, here: NaiveDateTime, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let (early, _) = self.both_passes(here)?;
        let mut local = here;
        if early == after {
            // The first pass is not over: the second one starts where this one did.
            let minute = chrono::TimeDelta::minutes(1);
            local = here.with_second(0)?;
            while self.both_passes(local).is_some() {
                local = local.checked_sub_signed(minute)?;
            }
        }
        let found = self.match_after(local)?;
        self.both_passes(found).map(|(_, late)| late)
    }

    /// The two times at which the clocks show `local`, if they do so twice.
    fn both_passes(&self, local: NaiveDateTime) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        match self.tz.from_local_datetime(&local) {
            chrono::LocalResult::Ambiguous(a, b) => {
                let (a, b) = (a.with_timezone(&Utc), b.with_timezone(&Utc));
                Some((a.min(b), a.max(b)))
            }
            _ => None,
        }
    }

    /// When a run is due that the calendar puts at `local`; `None` if it is left out.
    fn settle(&self, local: NaiveDateTime) -> Option<(DateTime<Utc>, Option<&'static str>)> {
        match self.tz.from_local_datetime(&local) {
            chrono::LocalResult::Single(at) => Some((at.with_timezone(&Utc), None)),
            chrono::LocalResult::Ambiguous(a, b) => {
                let shifted = if self.wildcard { None } else { Some(NOT_REPEATED) };
                Some((a.min(b).with_timezone(&Utc), shifted))
            }
            chrono::LocalResult::None if self.every_hour => None,
            chrono::LocalResult::None => {
                let end = GapInfo::new(&local, &self.tz)?.end?;
                let due_anyway = self.pattern.is_time_matching(&end).unwrap_or(false);
                Some((end.with_timezone(&Utc), if due_anyway { None } else { Some(MOVED) }))
            }
        }
    }

    /// The first match later than `local` on a calendar whose clocks never change.
    fn match_after(&self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        let found = self.pattern.find_next_occurrence(&local.and_utc(), false).ok()?;
        Some(found.naive_utc())
    }
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cron({self})")
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cron `{}` in {}", self.pattern.as_str(), self.tz.name())
    }
}

/// The search works in whole seconds, and would carry a fraction into what it finds.
fn whole_second(time: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp(time.as_millis().div_euclid(1_000), 0).unwrap_or_default()
}

fn nickname(line: &str) -> Result<&'static str, String> {
    if let Some((_, fields)) = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(line)) {
        return Ok(fields);
    }
    let known: Vec<_> = NICKNAMES.iter().map(|(name, _)| format!("`{name}`")).collect();
    Err(format!(
        "`{line}` is not a name that cron knows: those are {}; for an interval use `every`, as in \
         `every = \"5m\"`",
        known.join(", ")
    ))
}

/// Names the field that a line failed at, by reading each one with `*` in all other places.
fn culprit(fields: &str) -> String {
    for (place, field) in fields.split_whitespace().enumerate() {
        let mut alone = ["*"; 5];
        alone[place] = field;
        if alone.join(" ").parse::<croner::Cron>().is_err() {
            let (what, values) = FIELDS[place];
            return format!(
                "`{field}` is not understood as the {what}, which takes {values}, lists such as \
                 `1,3`, ranges such as `1-5` (upwards only) and steps such as `*/2`; {LOOKS_LIKE}"
            );
        }
    }
    format!("`{fields}` is not understood; {LOOKS_LIKE}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::{America, Australia, Europe};
    use proptest::prelude::*;

    fn time(text: &str) -> Timestamp {
        DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc).into()
    }

    /// The runs of `line` after `from`, by the clocks of `tz`; `>` marks one that was moved, and
    /// `1` one that is not repeated.
    fn check(line: &str, tz: Tz, from: &str, expected: &[&str]) {
        let cron = Cron::parse(line, tz).unwrap();
        let mut after = time(from);
        let found: Vec<_> = expected
            .iter()
            .map(|_| {
                let (at, shifted) = cron.next_after(after).unwrap();
                after = at;
                let mark = match shifted {
                    Some(MOVED) => " >",
                    Some(NOT_REPEATED) => " 1",
                    _ => "",
                };
                let local = at.to_datetime().with_timezone(&tz);
                format!("{}{mark}", local.format("%m-%d %H:%M %:z"))
            })
            .collect();
        assert_eq!(found, expected, "`{line}` in {tz} after {from}");
    }

    #[test]
    fn a_daily_run_whose_time_is_skipped_runs_after_the_gap_once() {
        check(
            "30 2 * * *",
            Europe::Berlin,
            "2026-03-27T12:00:00+01:00",
            &["03-28 02:30 +01:00", "03-29 03:00 +02:00 >", "03-30 02:30 +02:00"],
        );
        check(
            "30 2 * * *",
            America::New_York,
            "2026-03-07T12:00:00-05:00",
            &["03-08 03:00 -04:00 >", "03-09 02:30 -04:00"],
        );
        // Half an hour is skipped: 02:00 to 02:30.
        check(
            "15 2 * * *",
            Australia::Lord_Howe,
            "2026-10-03T12:00:00+10:30",
            &["10-04 02:30 +11:00 >", "10-05 02:15 +11:00"],
        );
        // The day starts at one o'clock.
        check(
            "@daily",
            America::Havana,
            "2026-03-07T12:00:00-05:00",
            &["03-08 01:00 -04:00 >", "03-09 00:00 -04:00"],
        );
    }

    #[test]
    fn a_daily_run_whose_time_comes_twice_runs_once() {
        check(
            "30 2 * * *",
            Europe::Berlin,
            "2026-10-24T12:00:00+02:00",
            &["10-25 02:30 +02:00 1", "10-26 02:30 +01:00"],
        );
        check(
            "0,30 1 * * *",
            America::New_York,
            "2026-10-31T12:00:00-04:00",
            &["11-01 01:00 -04:00 1", "11-01 01:30 -04:00 1", "11-02 01:00 -05:00"],
        );
        check(
            "45 1 * * *",
            Australia::Lord_Howe,
            "2026-04-04T12:00:00+11:00",
            &["04-05 01:45 +11:00 1", "04-06 01:45 +10:30"],
        );
    }

    #[test]
    fn a_start_within_the_second_pass_does_not_look_back() {
        check("30 2 * * *", Europe::Berlin, "2026-10-25T02:10:00+01:00", &["10-26 02:30 +01:00"]);
        check("*/20 * * * *", Europe::Berlin, "2026-10-25T02:10:00+01:00", &["10-25 02:20 +01:00"]);
    }

    #[test]
    fn a_line_for_every_hour_goes_on_by_elapsed_time() {
        check(
            "*/30 * * * *",
            Europe::Berlin,
            "2026-03-29T01:10:00+01:00",
            &["03-29 01:30 +01:00", "03-29 03:00 +02:00", "03-29 03:30 +02:00"],
        );
        check(
            "7-59/20 * * * *",
            Europe::Berlin,
            "2026-03-29T01:30:00+01:00",
            &["03-29 01:47 +01:00", "03-29 03:07 +02:00"],
        );
        check(
            "*/30 * * * *",
            Europe::Berlin,
            "2026-10-25T01:50:00+02:00",
            &[
                "10-25 02:00 +02:00",
                "10-25 02:30 +02:00",
                "10-25 02:00 +01:00",
                "10-25 02:30 +01:00",
                "10-25 03:00 +01:00",
            ],
        );
        check(
            "*/15 * * * *",
            Australia::Lord_Howe,
            "2026-04-05T01:20:00+11:00",
            &[
                "04-05 01:30 +11:00",
                "04-05 01:45 +11:00",
                "04-05 01:30 +10:30",
                "04-05 01:45 +10:30",
                "04-05 02:00 +10:30",
            ],
        );
        check(
            "@hourly",
            America::New_York,
            "2026-11-01T00:30:00-04:00",
            &["11-01 01:00 -04:00", "11-01 01:00 -05:00", "11-01 02:00 -05:00"],
        );
    }

    #[test]
    fn a_line_that_names_hours_runs_once_for_all_that_the_gap_holds() {
        check(
            "*/10 2 * * *",
            Europe::Berlin,
            "2026-03-28T12:00:00+01:00",
            &["03-29 03:00 +02:00 >", "03-30 02:00 +02:00"],
        );
        check(
            "0 */2 * * *",
            Europe::Berlin,
            "2026-03-28T23:00:00+01:00",
            &["03-29 00:00 +01:00", "03-29 03:00 +02:00 >", "03-29 04:00 +02:00"],
        );
        // Three o'clock is due anyway.
        check(
            "0 2,3 * * *",
            Europe::Berlin,
            "2026-03-28T12:00:00+01:00",
            &["03-29 03:00 +02:00", "03-30 02:00 +02:00"],
        );
    }

    #[test]
    fn names_of_days_and_months_and_nicknames_are_understood() {
        let utc = Tz::UTC;
        check("30 2 * * mon-fri", utc, "2026-03-27T12:00:00Z", &["03-30 02:30 +00:00"]);
        check("0 9 29 feb *", utc, "2026-03-27T12:00:00Z", &["02-29 09:00 +00:00"]);
        check("@Weekly", utc, "2026-03-27T12:00:00Z", &["03-29 00:00 +00:00"]);
        check("* * * * *", utc, "2026-03-27T12:00:59.999Z", &["03-27 12:01 +00:00"]);
        check("* * * * *", utc, "2026-03-27T12:01:00.001Z", &["03-27 12:02 +00:00"]);
    }

    #[test]
    fn a_bad_line_is_refused_in_words() {
        let error = |line| Cron::parse(line, Tz::UTC).unwrap_err();
        insta::assert_snapshot!(
            error(" "),
            @r#"the cron line is empty; a cron line has five fields (minute, hour, day of the month, month, day of the week), such as `*/5 * * * *` or `30 2 * * mon-fri`"#
        );
        insta::assert_snapshot!(
            error("*/10 * * * * *"),
            @r#"the cron line has 6 fields, but seconds and years have no place in it; a cron line has five fields (minute, hour, day of the month, month, day of the week), such as `*/5 * * * *` or `30 2 * * mon-fri`; what runs more often than each minute takes `every` instead, as in `every = "15s"`"#
        );
        insta::assert_snapshot!(
            error("5 4"),
            @r#"the cron line has 2 fields; a cron line has five fields (minute, hour, day of the month, month, day of the week), such as `*/5 * * * *` or `30 2 * * mon-fri`"#
        );
        insta::assert_snapshot!(
            error("61 * * * *"),
            @r#"`61` is not understood as the minute, which takes 0 to 59, lists such as `1,3`, ranges such as `1-5` (upwards only) and steps such as `*/2`; a cron line has five fields (minute, hour, day of the month, month, day of the week), such as `*/5 * * * *` or `30 2 * * mon-fri`"#
        );
        insta::assert_snapshot!(
            error("0 3 * * fri-mon"),
            @r#"`fri-mon` is not understood as the day of the week, which takes 0 to 7 or sun to sat (0 and 7 are Sunday), lists such as `1,3`, ranges such as `1-5` (upwards only) and steps such as `*/2`; a cron line has five fields (minute, hour, day of the month, month, day of the week), such as `*/5 * * * *` or `30 2 * * mon-fri`"#
        );
        insta::assert_snapshot!(
            error("0 3 30 2 *"),
            @r#"the cron line names a day that never comes; a cron line has five fields (minute, hour, day of the month, month, day of the week), such as `*/5 * * * *` or `30 2 * * mon-fri`"#
        );
        insta::assert_snapshot!(
            error("@every 5m"),
            @r#"`@every 5m` is not a name that cron knows: those are `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly`, `@annually`; for an interval use `every`, as in `every = "5m"`"#
        );
    }

    #[test]
    fn lines_that_mean_the_same_are_equal() {
        let parse = |line, tz| Cron::parse(line, tz).unwrap();
        assert_eq!(parse("*/5  * * * *", Tz::UTC), parse("*/5 * * * *", Tz::UTC));
        assert_ne!(parse("*/5 * * * *", Tz::UTC), parse("*/5 * * * *", Europe::Berlin));
        assert_ne!(parse("*/5 * * * *", Tz::UTC), parse("*/6 * * * *", Tz::UTC));
    }

    /// A naive model: looks at each minute of three days.
    fn model(cron: &Cron, from: DateTime<Utc>) -> Vec<Timestamp> {
        let mut due: Vec<Timestamp> = Vec::new();
        let mut shown = std::collections::HashSet::new();
        for minute in 1..3 * 24 * 60 {
            let at = from + chrono::TimeDelta::minutes(minute);
            let local = at.with_timezone(&cron.tz);
            let before = (at - chrono::TimeDelta::minutes(1)).with_timezone(&cron.tz);
            let mut is_due = cron.pattern.is_time_matching(&local).unwrap();
            let again = !shown.insert(local.naive_local());
            is_due &= cron.wildcard || !again;
            // The gap, minute by minute, if one ends here.
            let mut skipped = before.naive_local() + chrono::TimeDelta::minutes(1);
            while skipped < local.naive_local() {
                is_due |=
                    !cron.every_hour && cron.pattern.is_time_matching(&skipped.and_utc()).unwrap();
                skipped += chrono::TimeDelta::minutes(1);
            }
            if is_due {
                due.push(at.into());
            }
        }
        due
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn around_each_change_of_the_clocks_the_runs_are_those_of_a_naive_model(
            minute in prop::sample::select(vec!["*", "*/7", "0", "15", "0,45", "10-50/20"]),
            hour in prop::sample::select(vec!["*", "*/2", "1", "2", "0", "1-3", "2,14", "0-23"]),
            (tz, day) in prop::sample::select(vec![
                (Europe::Berlin, "2026-03-28T00:00:00Z"),
                (Europe::Berlin, "2026-10-24T00:00:00Z"),
                (America::New_York, "2026-03-07T00:00:00Z"),
                (America::New_York, "2026-10-31T00:00:00Z"),
                (America::Havana, "2026-10-31T00:00:00Z"),
                (Australia::Lord_Howe, "2026-04-04T00:00:00Z"),
                (Australia::Lord_Howe, "2026-10-03T00:00:00Z"),
                (chrono_tz::Antarctica::Troll, "2026-03-28T00:00:00Z"),
                (chrono_tz::Antarctica::Troll, "2026-10-24T00:00:00Z"),
            ]),
        ) {
            let cron = Cron::parse(&format!("{minute} {hour} * * *"), tz).unwrap();
            let from = time(day).to_datetime();
            let expected = model(&cron, from);
            let mut after = time(day);
            for due in expected {
                let (at, _) = cron.next_after(after).unwrap();
                prop_assert_eq!(at, due, "{} after {}", cron, after);
                after = at;
            }
        }
    }
}
