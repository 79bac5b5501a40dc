//! Strips and lines of the overview as SVG, drawn with few elements: results of one status in a row
//! are one path, and so are days without an event. What they say stands in titles, and for the
//! script in attributes. There is no text from outside in them.

use super::past::{DAYS, Day, date_of};
use super::when::{millis, percent, span};
use crate::model::{BEATS, Beat, Status, Timestamp};
use chrono_tz::Tz;
use std::fmt::Write as _;
use std::time::Duration;

/// The width of a strip in units of its drawing.
const WIDTH: usize = 360;
const HEIGHT: usize = 24;
/// From one result to the next.
const BEAT: usize = WIDTH / BEATS;
/// From one day to the next.
const DAY: usize = WIDTH / DAYS as usize;

/// Where and for whom strips are drawn.
#[derive(Clone, Copy, Debug)]
pub(in crate::serve) struct Scene<'a> {
    /// The page of the check; empty where nothing is to lead there.
    pub(in crate::serve) link: &'a str,
    pub(in crate::serve) zone: Tz,
    pub(in crate::serve) now: Timestamp,
    /// Whether the strip fills its place, however that is shaped.
    pub(in crate::serve) stretched: bool,
}

impl Scene<'_> {
    fn clock(&self, at: Timestamp) -> String {
        let at = at.to_datetime().with_timezone(&self.zone);
        let is_recent = self.now.since(at.to_utc().into()) < Duration::from_secs(20 * 3600);
        at.format(if is_recent { "%H:%M:%S %Z" } else { "%-d %b %H:%M %Z" }).to_string()
    }
}

/// The latest results as a strip: the newest stands on the right. What is bad is taller as well as
/// of another colour, and leads to its results.
pub(in crate::serve) fn beats(beats: &[Beat], scene: Scene<'_>) -> String {
    let mut svg = String::with_capacity(1200);
    let empty = BEATS.saturating_sub(beats.len());
    let _ = write!(
        svg,
        "<svg class=\"strip beats\" viewBox=\"0 0 {WIDTH} {HEIGHT}\"{} role=\"group\" \
         aria-label=\"{}\" data-s=\"",
        if scene.stretched { " preserveAspectRatio=\"none\"" } else { "" },
        summary(beats)
    );
    beats.iter().for_each(|beat| svg.push(letter(beat.status)));
    svg.push_str("\" data-l=\"");
    for (n, beat) in beats.iter().enumerate() {
        let comma = if n == 0 { "" } else { "," };
        let _ = match beat.latency_ms {
            ..10.0 => write!(svg, "{comma}{:.1}", beat.latency_ms),
            _ => write!(svg, "{comma}{:.0}", beat.latency_ms),
        };
    }
    svg.push_str("\" data-t=\"");
    let mut before = 0;
    for (n, beat) in beats.iter().enumerate() {
        let second = beat.at.as_millis() / 1000;
        let comma = if n == 0 { "" } else { "," };
        let _ = write!(svg, "{comma}{}", second - before);
        before = second;
    }
    svg.push_str("\">");
    if empty > 0 {
        svg.push_str("<path class=\"n\" d=\"");
        (0..empty).for_each(|place| pillar(&mut svg, place, 11, 2));
        svg.push_str("\"/>");
    }
    let mut place = empty;
    for run in beats.chunk_by(|a, b| a.status == b.status) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        let is_bad = first.status.is_bad();
        if is_bad {
            let before = last.at.as_millis().saturating_add(1000);
            let _ =
                write!(svg, "<a href=\"{}?before={before}#results\" tabindex=\"-1\">", scene.link);
        }
        let (top, tall) = match first.status {
            Status::Up => (5, 14),
            Status::Degraded => (3, 18),
            Status::Down => (2, 20),
            Status::Unknown => (9, 6),
        };
        let _ = write!(svg, "<path class=\"{}\" d=\"", letter(first.status));
        for _ in run {
            pillar(&mut svg, place, top, tall);
            place += 1;
        }
        let _ = write!(svg, "\"><title>{}</title></path>", said(run, *first, *last, scene));
        if is_bad {
            svg.push_str("</a>");
        }
    }
    svg.push_str("</svg>");
    svg
}

fn pillar(svg: &mut String, place: usize, top: usize, tall: usize) {
    let _ = write!(svg, "M{} {top}v{tall}", place * BEAT + BEAT / 2);
}

const fn letter(status: Status) -> char {
    match status {
        Status::Up => 'u',
        Status::Degraded => 'd',
        Status::Down => 'x',
        Status::Unknown => 'q',
    }
}

fn said(run: &[Beat], first: Beat, last: Beat, scene: Scene<'_>) -> String {
    let status = first.status;
    if run.len() == 1 {
        return format!("{status} at {}, {}", scene.clock(first.at), millis(first.latency_ms));
    }
    let (from, to) = (scene.clock(first.at), scene.clock(last.at));
    format!("{} × {status}, {from} to {to}", run.len())
}

/// The strip in words, for those who do not see it.
fn summary(beats: &[Beat]) -> String {
    if beats.is_empty() {
        return "No result yet".to_owned();
    }
    let count = |status| beats.iter().filter(|beat| beat.status == status).count();
    let parts = [Status::Up, Status::Degraded, Status::Down, Status::Unknown];
    let parts = parts.map(|status| (status, count(status)));
    let parts: Vec<String> = parts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(status, count)| format!("{count} {status}"))
        .collect();
    format!("Latest {} results: {}", beats.len(), parts.join(", "))
}

/// The latency of the latest results as a line, of those that found the check up or degraded.
/// Nothing if there are fewer than two.
pub(in crate::serve) fn spark(beats: &[Beat]) -> Option<String> {
    const TALL: f64 = 28.0;
    let known = |beat: &&Beat| matches!(beat.status, Status::Up | Status::Degraded);
    let latencies: Vec<f64> = beats.iter().filter(known).map(|beat| beat.latency_ms).collect();
    if latencies.len() < 2 {
        return None;
    }
    let max = latencies.iter().copied().fold(0.0, f64::max);
    let min = latencies.iter().copied().fold(f64::INFINITY, f64::min);
    let step = 118.0 / (latencies.len() - 1) as f64;
    let mut line = String::with_capacity(latencies.len() * 8);
    for (n, latency) in latencies.iter().enumerate() {
        let x = 1.0 + step * n as f64;
        let y = 1.0 + TALL * (1.0 - latency / max.max(0.001));
        let _ = write!(line, "{}{x:.0} {y:.0}", if n == 0 { 'M' } else { 'L' });
    }
    Some(format!(
        "<svg class=\"spark\" viewBox=\"0 0 120 30\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"Latency of the latest results: {} to {}\"><path class=\"area\" \
         d=\"{line}V30H1z\"/><path class=\"line\" d=\"{line}\"/></svg>",
        millis(min),
        millis(max)
    ))
}

/// A strip of days, the latest on the right. Each is stacked by share: down at the foot, then slow,
/// then good; what nobody knows stays empty. `today` is the number of the last of `days`.
pub(in crate::serve) fn days(days: &[Day], today: u16, scene: Scene<'_>) -> String {
    let first = (today + 1).saturating_sub(DAYS);
    let none = [Day::default(); DAYS as usize];
    let days = if days.is_empty() { &none[..] } else { days };
    let mut svg = String::with_capacity(1200);
    let _ = write!(
        svg,
        "<svg class=\"strip days\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         preserveAspectRatio=\"none\" role=\"group\" aria-label=\"{}\" \
         data-from=\"{}\" data-d=\"",
        summary_of_days(days),
        date_of(first)
    );
    let mut comma = "";
    for (place, day) in days.iter().enumerate().filter(|(_, day)| !is_plain(**day)) {
        let of = |status| day.seconds(status);
        let _ = write!(
            svg,
            "{comma}{place}:{}:{}:{}:{}:{}",
            of(Status::Up),
            of(Status::Degraded),
            of(Status::Down),
            of(Status::Unknown),
            day.maintenance()
        );
        comma = ",";
    }
    svg.push_str("\" data-k=\"");
    days.iter().for_each(|day| svg.push(if day.is_known() { '1' } else { '0' }));
    svg.push_str("\">");
    plain(&mut svg, 'n', days, |day| !day.is_known());
    plain(&mut svg, 'u', days, |day| day.is_known() && is_plain(day));
    let eventful = |day: &Day| day.is_known() && !is_plain(*day);
    for (place, day) in days.iter().enumerate().filter(|(_, day)| eventful(day)) {
        let number = first.saturating_add(u16::try_from(place).unwrap_or(u16::MAX));
        stacked(&mut svg, place, *day, number, scene);
    }
    svg.push_str("</svg>");
    svg
}

/// Whether nothing happened on that day.
fn is_plain(day: Day) -> bool {
    !day.is_known()
        || (day.seconds(Status::Up) > 0
            && day.seconds(Status::Degraded) + day.seconds(Status::Down) == 0
            // A restart of the daemon is no event of the check.
            && day.seconds(Status::Unknown) < 600
            && day.maintenance() == 0)
}

/// All days of one sort as one path: a dashed line for each row of them.
fn plain(svg: &mut String, class: char, days: &[Day], of_sort: impl Fn(Day) -> bool) {
    let places: Vec<usize> =
        days.iter().enumerate().filter(|(_, day)| of_sort(**day)).map(|(place, _)| place).collect();
    if places.is_empty() {
        return;
    }
    let _ = write!(svg, "<path class=\"row {class}\" d=\"");
    for row in places.chunk_by(|a, b| a + 1 == *b) {
        let first = row.first().copied().unwrap_or_default();
        let _ = write!(svg, "M{}.5 {}h{}", first * DAY, HEIGHT / 2, row.len() * DAY - 1);
    }
    svg.push_str("\"/>");
}

/// What happened at all is seen, however short it was.
const LEAST: f64 = 5.0;

fn stacked(svg: &mut String, place: usize, day: Day, number: u16, scene: Scene<'_>) {
    const SHARES: [(char, Status); 4] =
        [('x', Status::Down), ('d', Status::Degraded), ('q', Status::Unknown), ('u', Status::Up)];
    let known: u32 = SHARES.iter().map(|(_, status)| day.seconds(*status)).sum();
    let whole = known + day.maintenance();
    let end = i64::from(number) + 1;
    let end = end_of_day(end, scene.zone);
    let said = said_of_day(day, number);
    let link = scene.link;
    let _ = match link {
        "" => write!(svg, "<g><title>{said}</title>"),
        _ => write!(
            svg,
            "<a href=\"{link}?before={end}#results\" tabindex=\"-1\"><title>{said}</title>"
        ),
    };
    let x = place * DAY + DAY / 2;
    let mut foot = HEIGHT as f64;
    let shares = SHARES.map(|(class, status)| (class, day.seconds(status)));
    let shares = [shares[0], shares[1], shares[2], ('m', day.maintenance()), shares[3]];
    for (class, seconds) in shares.into_iter().filter(|(_, seconds)| *seconds > 0) {
        let tall =
            (HEIGHT as f64 * f64::from(seconds) / f64::from(whole.max(1))).max(LEAST).min(foot);
        if tall > 0.0 {
            foot -= tall;
            let _ = write!(svg, "<path class=\"{class}\" d=\"M{x} {foot:.1}v{tall:.1}\"/>");
        }
    }
    svg.push_str(if link.is_empty() { "</g>" } else { "</a>" });
}

/// When the day before the one with that number ends, in milliseconds since the epoch.
pub(in crate::serve) fn end_of_day(next: i64, zone: Tz) -> i64 {
    use chrono::TimeZone as _;
    let date = date_of(u16::try_from(next).unwrap_or(u16::MAX));
    let midnight = date.and_time(chrono::NaiveTime::MIN);
    let start = zone.from_local_datetime(&midnight).earliest();
    start.map_or_else(|| midnight.and_utc().timestamp_millis(), |start| start.timestamp_millis())
}

/// One day in words.
pub(in crate::serve) fn said_of_day(day: Day, number: u16) -> String {
    let mut said = date_of(number).format("%-d %B %Y").to_string();
    match day.uptime() {
        Some(uptime) => {
            let _ = write!(said, ": {} up", percent(uptime));
        }
        None if day.is_known() => said.push_str(": not known to be up or down"),
        None => said.push_str(": not watched"),
    }
    let spans = [
        ("down", day.seconds(Status::Down)),
        ("degraded", day.seconds(Status::Degraded)),
        ("unknown", day.seconds(Status::Unknown)),
        ("in maintenance", day.maintenance()),
    ];
    for (word, seconds) in spans.into_iter().filter(|(_, seconds)| *seconds > 0) {
        let _ = write!(said, ", {word} for {}", span(Duration::from_secs(seconds.into())));
    }
    said
}

fn summary_of_days(days: &[Day]) -> String {
    let watched = days.iter().filter(|day| day.is_known()).count();
    let with = |status| days.iter().filter(|day| day.seconds(status) > 0).count();
    match watched {
        0 => "No day known yet".to_owned(),
        _ => format!(
            "{watched} days: {} with outages, {} with degradation",
            with(Status::Down),
            with(Status::Degraded)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{Scene, beats, days, said_of_day, spark};
    use crate::model::{Beat, Status, Timestamp};
    use crate::record::archive::tally::Tally;
    use crate::serve::page::past::{DAYS, Day};
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_millis(1_735_689_600_000);

    fn scene() -> Scene<'static> {
        Scene { link: "/checks/a", zone: chrono_tz::UTC, now: NOW, stretched: false }
    }

    fn day(up: u64, degraded: u64, down: u64) -> Day {
        let mut tally = Tally::default();
        for (status, seconds) in
            [(Status::Up, up), (Status::Degraded, degraded), (Status::Down, down)]
        {
            tally.time(status, false, Duration::from_secs(seconds));
        }
        Day::of(&tally)
    }

    #[test]
    fn results_of_one_status_in_a_row_are_one_path() {
        let beat = |n: u64, status| {
            let at = NOW.before(Duration::from_secs(600 - 60 * n));
            Beat { at, status, latency_ms: 12.0 }
        };
        let [up, down] = [Status::Up, Status::Down];
        let all = [up, up, up, down, up].into_iter().zip(0..).map(|(status, n)| beat(n, status));
        let svg = beats(&all.collect::<Vec<_>>(), scene());
        assert_eq!(svg.matches("<path").count(), 4, "{svg}");
        assert!(svg.contains("data-s=\"uuuxu\" data-l=\"12,12,12,12,12\""), "{svg}");
        assert!(svg.contains("<title>3 × up, 23:50:00 UTC to 23:52:00 UTC</title>"), "{svg}");
        assert!(svg.contains("<title>down at 23:53:00 UTC, 12 ms</title>"), "{svg}");
        assert!(svg.contains("aria-label=\"Latest 5 results: 4 up, 1 down\""), "{svg}");
        assert!(svg.contains("href=\"/checks/a?before="), "{svg}");
        assert!(beats(&[], scene()).contains("No result yet"));
    }

    #[test]
    fn a_day_without_an_event_is_no_element_of_its_own() {
        let mut all = vec![day(86_400, 0, 0); usize::from(DAYS)];
        all[..30].fill(Day::default());
        let quiet = days(&all, 9000, scene());
        assert_eq!((quiet.matches("<path").count(), quiet.matches("<a").count()), (2, 0));
        all[80] = day(86_000, 0, 400);
        let svg = days(&all, 9000, scene());
        assert_eq!(svg.matches("<a").count(), 1, "{svg}");
        assert!(svg.contains("data-d=\"80:86000:0:400:0:0\""), "{svg}");
        assert!(svg.contains("60 days: 1 with outages, 0 with degradation"), "{svg}");
        assert!(svg.contains("<path class=\"x\" d=\"M322 19.0v5.0\"/>"), "{svg}");
    }

    #[test]
    fn a_day_in_words_says_what_happened() {
        assert_eq!(said_of_day(Day::default(), 0), "1 January 2000: not watched");
        let said = said_of_day(day(80_000, 400, 6000), 31);
        assert_eq!(said, "1 February 2000: 93.05% up, down for 1 h, degraded for 6 min");
    }

    #[test]
    fn a_line_needs_two_points() {
        let beat = |latency_ms, status| Beat { at: NOW, status, latency_ms };
        assert_eq!(spark(&[beat(1.0, Status::Up), beat(9.0, Status::Down)]), None);
        let line = spark(&[beat(5.0, Status::Up), beat(10.0, Status::Degraded)]).unwrap();
        assert!(line.contains("M1 15L119 1"), "{line}");
        assert!(line.contains("5.0 ms to 10 ms"), "{line}");
    }
}
