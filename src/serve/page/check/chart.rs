//! The latency of a check as a chart: drawn here for those without scripts, and told in attributes for
//! the script that draws it better.

use crate::model::{Incident, Timestamp};
use crate::record::query::Point;
use std::fmt::Write as _;
use std::time::Duration;

const WIDE: f64 = 1000.0;
const TALL: f64 = 240.0;

/// The spans that can be chosen, with how many points each has.
pub(super) const SPANS: [(&str, Duration, u32); 7] = [
    ("1h", Duration::from_secs(3600), 60),
    ("6h", Duration::from_secs(6 * 3600), 120),
    ("24h", Duration::from_secs(86_400), 144),
    ("7d", Duration::from_secs(7 * 86_400), 168),
    ("30d", Duration::from_secs(30 * 86_400), 180),
    ("90d", Duration::from_secs(90 * 86_400), 180),
    ("1y", Duration::from_secs(365 * 86_400), 183),
];

/// A stretch of time that is shaded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Band {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    /// `incident` or `maintenance`.
    pub(super) what: &'static str,
}

/// The incidents as bands, oldest first and cut to the span. Those that would stand on each other are
/// one, or their shades would add up.
pub(super) fn bands_of(incidents: &[Incident], from: Timestamp, to: Timestamp) -> Vec<Band> {
    let bands = incidents.iter().map(|incident| Band {
        from: incident.began_at.max(from),
        to: incident.resolved_at.unwrap_or(to).min(to),
        what: "incident",
    });
    let mut bands: Vec<Band> = bands.filter(|band| band.from < band.to).collect();
    bands.sort_by_key(|band| (band.from, band.to));
    let close = to.since(from) / 300;
    let mut apart: Vec<Band> = Vec::new();
    for band in bands {
        match apart.last_mut() {
            Some(last) if band.from <= last.to.after(close) => last.to = last.to.max(band.to),
            _ => apart.push(band),
        }
    }
    apart
}

/// Points that lie mostly in maintenance as bands.
pub(super) fn maintenance(points: &[Point], step: Duration) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    for point in points.iter().filter(|point| point.rollup.tally.maintenance() * 2 > step) {
        let to = point.at.after(step);
        match bands.last_mut() {
            Some(last) if last.to >= point.at => last.to = to,
            _ => bands.push(Band { from: point.at, to, what: "maintenance" }),
        }
    }
    bands
}

/// One point: when, and the 50th, 95th and 99th percentile in milliseconds.
pub(super) type Spot = (Timestamp, [f64; 3]);

/// The points of which there are latencies.
pub(super) fn spots(points: &[Point]) -> Vec<Spot> {
    let spots = points.iter().filter_map(|point| {
        let (min, _, max) = point.rollup.tally.latency_ms()?;
        // A quantile is no better than its bucket, but never beyond what was really seen.
        let of = |q| Some(point.rollup.sketch.quantile(q)?.clamp(min, max));
        Some((point.at, [of(0.5)?, of(0.95)?, of(0.99)?]))
    });
    spots.collect()
}

/// What is drawn.
#[derive(Debug)]
pub(super) struct Chart<'a> {
    pub(super) spots: &'a [Spot],
    pub(super) bands: &'a [Band],
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    /// Between two points.
    pub(super) step: Duration,
}

impl Chart<'_> {
    /// The highest latency in it.
    pub(super) fn highest(&self) -> f64 {
        self.spots.iter().flat_map(|(_, of)| of).copied().fold(0.0, f64::max)
    }

    /// Points further apart than this are not joined. A check that runs rarely has points that are
    /// further apart than those of the chart.
    fn gap(&self) -> Duration {
        let pairs = self.spots.iter().zip(self.spots.iter().skip(1));
        let mut apart: Vec<Duration> =
            pairs.map(|((before, _), (after, _))| after.since(*before)).collect();
        apart.sort();
        let usual = apart.get(apart.len() / 2).copied().unwrap_or_default();
        usual.max(self.step) * 5 / 2
    }

    fn x(&self, at: Timestamp) -> f64 {
        let span = self.to.since(self.from).as_secs_f64().max(1.0);
        at.since(self.from).as_secs_f64() / span * WIDE
    }

    /// As SVG. It is stretched to its place, so there are no words in it.
    pub(super) fn svg(&self) -> String {
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDE} {TALL}\" preserveAspectRatio=\"none\" aria-hidden=\"true\">"
        );
        for band in self.bands {
            let (from, to) = (self.x(band.from), self.x(band.to));
            let _ = write!(
                svg,
                "<path class=\"band {}\" d=\"M{from:.1} 0H{:.1}V{TALL}H{from:.1}z\"/>",
                band.what,
                to.max(from + 2.0)
            );
        }
        for share in [0.25, 0.5, 0.75] {
            let _ = write!(svg, "<path class=\"grid\" d=\"M0 {}H{WIDE}\"/>", TALL * share);
        }
        let (highest, gap) = (self.highest().max(0.001), self.gap());
        for (place, class) in [(2, "p99"), (1, "p95"), (0, "p50")] {
            let mut path = String::new();
            let mut before: Option<Timestamp> = None;
            for (at, of) in self.spots {
                let Some(latency) = of.get(place) else { continue };
                // Where points are missing the line breaks off: nobody knows what was there.
                let is_gap = before.is_none_or(|before| at.since(before) > gap);
                let y = TALL - 4.0 - latency / highest * (TALL - 12.0);
                let _ = write!(path, "{}{:.1} {y:.1}", if is_gap { 'M' } else { 'L' }, self.x(*at));
                before = Some(*at);
            }
            let _ = write!(svg, "<path class=\"{class}\" d=\"{path}\"/>");
        }
        svg.push_str("</svg>");
        svg
    }

    /// The same for the script: times in seconds, latencies in milliseconds, with a `-` where points
    /// are missing.
    pub(super) fn data(&self) -> [String; 4] {
        let gap = self.gap();
        let mut columns: [String; 4] = Default::default();
        let mut before: Option<Timestamp> = None;
        for (at, of) in self.spots {
            if let Some(before) = before.filter(|before| at.since(*before) > gap) {
                let middle = before.after(self.step);
                push(&mut columns, middle, ["-".to_owned(), "-".to_owned(), "-".to_owned()]);
            }
            push(&mut columns, *at, of.map(|latency| format!("{latency:.2}")));
            before = Some(*at);
        }
        columns
    }

    /// The bands for the script.
    pub(super) fn bands(&self) -> String {
        let bands = self.bands.iter().map(|band| {
            let seconds = |at: Timestamp| at.as_millis() / 1000;
            format!("{}:{}:{}", band.what, seconds(band.from), seconds(band.to))
        });
        bands.collect::<Vec<_>>().join(",")
    }
}

fn push(columns: &mut [String; 4], at: Timestamp, values: [String; 3]) {
    let [times, others @ ..] = columns;
    if !times.is_empty() {
        times.push(',');
        others.iter_mut().for_each(|column| column.push(','));
    }
    let _ = write!(times, "{}", at.as_millis() / 1000);
    others.iter_mut().zip(values).for_each(|(column, value)| column.push_str(&value));
}

#[cfg(test)]
mod tests {
    use super::{Band, Chart, bands_of};
    use crate::model::{Incident, Status, Timestamp};
    use std::time::Duration;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    #[test]
    fn a_gap_breaks_the_line() {
        let spots = [0, 60, 120, 600, 660].map(|second| (at(second), [1.0, 2.0, 4.0]));
        let chart = Chart {
            spots: &spots,
            bands: &[Band { from: at(120), to: at(600), what: "incident" }],
            from: at(0),
            to: at(1000),
            step: Duration::from_secs(60),
        };
        let svg = chart.svg();
        assert!(svg.contains("class=\"p99\" d=\"M0.0 8.0L60.0 8.0L120.0 8.0M600.0 8.0L"), "{svg}");
        assert!(svg.contains("class=\"band incident\" d=\"M120.0 0H600.0V"), "{svg}");
        let [times, p50, ..] = chart.data();
        assert_eq!(times, "0,60,120,180,600,660");
        assert_eq!(p50, "1.00,1.00,1.00,-,1.00,1.00");
        assert_eq!(chart.bands(), "incident:120:600");
    }

    #[test]
    fn incidents_are_cut_to_the_span() {
        let mut old = Incident::new("1".to_owned(), "a".into(), "http", Status::Down, at(10));
        old.resolved_at = Some(at(50));
        let open = Incident::new("2".to_owned(), "a".into(), "http", Status::Down, at(90));
        let mut short = Incident::new("3".to_owned(), "a".into(), "http", Status::Down, at(45));
        short.resolved_at = Some(at(48));
        let bands = bands_of(&[open, short, old.clone()], at(40), at(100));
        let spans: Vec<_> = bands.iter().map(|band| (band.from, band.to)).collect();
        assert_eq!(spans, [(at(40), at(50)), (at(90), at(100))]);
        assert!(bands_of(&[old], at(60), at(100)).is_empty());
    }
}
