//! The latest days of a component as SVG. Days without an event share one path, so that hundreds of
//! components stay a light page; a day on which something happened says so in its title.

use super::super::percent;
use super::super::when::span;
use super::picture::Day;
use std::fmt::Write as _;
use std::time::Duration;

const DAYS: usize = 90;
/// From one day to the next, in units of the drawing.
const STEP: usize = 4;
const HEIGHT: usize = 24;

/// The strip of these days, the latest on the right. Each is stacked by share: bad at the foot, then
/// slow, then maintenance, then good; what nobody knows stays faint.
pub(super) fn days(days: &[Day]) -> String {
    let mut svg = String::with_capacity(1024);
    let days = days.get(days.len().saturating_sub(DAYS)..).unwrap_or_default();
    let first = DAYS - days.len();
    // Writing to a string does not fail.
    let _ = write!(
        svg,
        "<svg class=\"strip days\" viewBox=\"0 0 {} {HEIGHT}\" preserveAspectRatio=\"none\" \
         role=\"img\" aria-label=\"{}\">",
        DAYS * STEP,
        summary(days)
    );
    let unknown = |day: &Day| day.good + day.slow + day.bad + day.maintenance == 0;
    let eventful = |day: &Day| day.slow + day.bad + day.maintenance > 0;
    let mut path = String::new();
    (0..first).for_each(|place| pillar(&mut path, place));
    let placed = || days.iter().enumerate().map(|(place, day)| (first + place, day));
    placed().filter(|(_, day)| unknown(day)).for_each(|(place, _)| pillar(&mut path, place));
    if !path.is_empty() {
        let _ = write!(svg, "<path class=\"n\" d=\"{path}\"/>");
    }
    let mut path = String::new();
    let quiet = placed().filter(|(_, day)| !unknown(day) && !eventful(day));
    quiet.for_each(|(place, _)| pillar(&mut path, place));
    if !path.is_empty() {
        let _ = write!(svg, "<path class=\"u\" d=\"{path}\"/>");
    }
    placed().filter(|(_, day)| eventful(day)).for_each(|(place, day)| stack(&mut svg, place, day));
    svg.push_str("</svg>");
    svg
}

fn pillar(path: &mut String, place: usize) {
    let _ = write!(path, "M{} 0v{HEIGHT}", place * STEP + STEP / 2);
}

fn stack(svg: &mut String, place: usize, day: &Day) {
    let parts = [('x', day.bad), ('d', day.slow), ('m', day.maintenance), ('u', day.good)];
    let whole: u32 = parts.iter().map(|(_, seconds)| seconds).sum();
    let x = place * STEP + STEP / 2;
    let mut foot = HEIGHT as f64;
    let _ = write!(svg, "<g><title>{}</title>", words(day));
    for (class, seconds) in parts.into_iter().filter(|(_, seconds)| *seconds > 0) {
        // What happened at all is seen, however short it was.
        let share = f64::from(seconds) / f64::from(whole.max(1));
        let tall = (HEIGHT as f64 * share).max(3.0).min(foot);
        if tall > 0.0 {
            foot -= tall;
            let _ = write!(svg, "<path class=\"{class}\" d=\"M{x} {foot:.1}v{tall:.1}\"/>");
        }
    }
    svg.push_str("</g>");
}

/// One day in words.
fn words(day: &Day) -> String {
    let mut said = day.date.format("%-d %B %Y").to_string();
    let known = day.good + day.slow + day.bad;
    if known > 0 {
        let share = f64::from(day.good + day.slow) / f64::from(known);
        let _ = write!(said, ": {} up", percent(share));
    }
    let spans = [("outage", day.bad), ("degraded", day.slow), ("maintenance", day.maintenance)];
    for (word, seconds) in spans.into_iter().filter(|(_, seconds)| *seconds > 0) {
        let _ = write!(said, ", {word} for {}", span(Duration::from_secs(seconds.into())));
    }
    said
}

fn summary(days: &[Day]) -> String {
    let known = days.iter().filter(|day| day.good + day.slow + day.bad > 0).count();
    let with = |seconds: fn(&Day) -> u32| days.iter().filter(|day| seconds(day) > 0).count();
    match known {
        0 => "No day is known yet".to_owned(),
        _ => format!(
            "{known} days: {} with an outage, {} with degraded performance",
            with(|day| day.bad),
            with(|day| day.slow)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{Day, days};
    use chrono::NaiveDate;

    #[test]
    fn days_without_an_event_share_a_path() {
        let day = |n: u32, good, slow, bad| {
            let date = NaiveDate::from_ymd_opt(2025, 1, n).unwrap();
            Day { date, good, slow, bad, ..Day::default() }
        };
        let strip =
            days(&[day(1, 86_400, 0, 0), day(2, 43_200, 0, 43_200), day(3, 80_000, 6_400, 0)]);
        assert_eq!(strip.matches("<path").count(), 6, "{strip}");
        assert!(strip.contains("<title>2 January 2025: 50.00% up, outage for 12 h</title>"));
        assert!(strip.contains("3 days: 1 with an outage, 1 with degraded performance"));
        assert!(days(&[]).contains("No day is known yet"));
    }
}
