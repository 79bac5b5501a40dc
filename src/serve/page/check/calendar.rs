//! The days of a year as a calendar: a column a week, from Monday down to Sunday.

use super::super::past::{Day, date_of};
use super::super::strip::{end_of_day, said_of_day};
use crate::model::Status;
use chrono::Datelike as _;
use chrono_tz::Tz;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// How many days it shows, today included.
pub(super) const DAYS: u16 = 365;
/// From one day to the next.
const STEP: u32 = 14;
/// Above the days stand the names of the months.
const HEAD: u32 = 16;

/// The calendar that ends with `today`. What was bad has another shape as well as another colour,
/// says what happened, and leads to the results of that day.
pub(super) fn calendar(days: &BTreeMap<u16, Day>, today: u16, link: &str, zone: Tz) -> String {
    let first = (today + 1).saturating_sub(DAYS);
    let before = date_of(first).weekday().num_days_from_monday();
    let weeks = (before + u32::from(DAYS)).div_ceil(7);
    let (wide, tall) = (weeks * STEP, 7 * STEP + HEAD);
    let mut svg = format!(
        "<svg class=\"calendar\" viewBox=\"0 0 {wide} {tall}\" role=\"group\" aria-label=\"{}\">",
        summary(days, first)
    );
    let (mut none, mut well, mut events) = (String::new(), String::new(), String::new());
    let mut month_at = 0;
    for number in first..=today {
        let place = before + u32::from(number - first);
        let (x, y) = (place / 7 * STEP, place % 7 * STEP + HEAD);
        let date = date_of(number);
        if date.day() == 1 && x >= month_at && x + 24 < wide {
            let _ = write!(events, "<text x=\"{x}\" y=\"10\">{}</text>", date.format("%b"));
            month_at = x + 30;
        }
        let day = days.get(&number).copied().unwrap_or_default();
        let square = |svg: &mut String| {
            let _ = write!(svg, "M{} {}h10v10h-10z", x + 1, y + 1);
        };
        match mood(day) {
            Mood::None => {
                let _ = write!(none, "M{} {}h4v4h-4z", x + 4, y + 4);
            }
            Mood::Well => square(&mut well),
            Mood::Slow => {
                let shape = format!("M{} {}l6 11h-12z", x + 6, y);
                event(&mut events, 'd', &shape, day, number, link, zone);
            }
            Mood::Bad => {
                let shape = format!(
                    "M{} {}h12v12h-12z\"/><path class=\"cut\" d=\"m{} {}l6 6m0-6l-6 6",
                    x,
                    y,
                    x + 3,
                    y + 3
                );
                event(&mut events, 'x', &shape, day, number, link, zone);
            }
        }
    }
    for (class, path) in [('n', none), ('u', well)] {
        if !path.is_empty() {
            let _ = write!(svg, "<path class=\"{class}\" d=\"{path}\"/>");
        }
    }
    svg.push_str(&events);
    svg.push_str("</svg>");
    svg
}

fn event(svg: &mut String, class: char, shape: &str, day: Day, number: u16, link: &str, zone: Tz) {
    let end = end_of_day(i64::from(number) + 1, zone);
    let said = said_of_day(day, number);
    let _ = write!(
        svg,
        "<a href=\"{link}?before={end}#results\" tabindex=\"-1\"><title>{said}</title>\
         <path class=\"{class}\" d=\"{shape}\"/></a>"
    );
}

enum Mood {
    None,
    Well,
    Slow,
    Bad,
}

fn mood(day: Day) -> Mood {
    match day {
        day if !day.is_known() => Mood::None,
        day if day.seconds(Status::Down) > 0 => Mood::Bad,
        day if day.seconds(Status::Degraded) > 0 => Mood::Slow,
        _ => Mood::Well,
    }
}

fn summary(days: &BTreeMap<u16, Day>, first: u16) -> String {
    let of_year = || days.range(first..).map(|(_, day)| day);
    let with = |status| of_year().filter(|day| day.seconds(status) > 0).count();
    format!(
        "{} days known of the last year: {} with outages, {} with degradation",
        of_year().filter(|day| day.is_known()).count(),
        with(Status::Down),
        with(Status::Degraded)
    )
}

#[cfg(test)]
mod tests {
    use super::calendar;
    use crate::model::Status;
    use crate::record::archive::tally::Tally;
    use crate::serve::page::past::Day;
    use std::time::Duration;

    #[test]
    fn bad_days_have_their_own_shape_and_lead_to_their_results() {
        let day = |status| {
            let mut tally = Tally::default();
            tally.time(Status::Up, false, Duration::from_secs(80_000));
            tally.time(status, false, Duration::from_secs(600));
            Day::of(&tally)
        };
        let days =
            [(9797, day(Status::Up)), (9798, day(Status::Degraded)), (9799, day(Status::Down))];
        let svg = calendar(&days.into(), 9800, "/checks/a", chrono_tz::UTC);
        assert!(svg.contains("3 days known of the last year: 1 with outages"), "{svg}");
        assert_eq!(svg.matches("<a href=\"/checks/a?before=").count(), 2, "{svg}");
        assert!(svg.contains(": 99.25% up, down for 10 min</title>"), "{svg}");
        assert_eq!(svg.matches("<path").count(), 5, "{svg}");
    }
}
