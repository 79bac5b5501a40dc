//! The last hour of a check as a picture: how long its runs took, and which were bad.

mod canvas;

use super::escape::clean;
use crate::model::{Picture, RunResult, Status, Timestamp};
use canvas::{Anchor, Canvas, Color};
use chrono::Timelike;
use chrono_tz::Tz;
use std::time::Duration;

/// How far back a picture goes.
pub const HOUR: Duration = Duration::from_secs(60 * 60);
/// With fewer runs than these a picture says nothing.
const FEWEST: usize = 3;
/// The longest latency that is told from a longer one, in milliseconds.
const MOST: f64 = 1e8;

/// How many characters of the name of a check.
const NAME: usize = 80;
/// Width and height, in pixels.
const SIZE: (u32, u32) = (800, 300);
/// The latencies stand in here.
const LEFT: f64 = 96.0;
const RIGHT: f64 = 780.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 214.0;
/// The middle of the lane below, in which the bad runs stand.
const LANE: f64 = 235.0;
/// The middle of the times below that.
const TIMES: f64 = 272.0;
/// The least space from one sign in the lane to the next.
const SIGN_SPACE: f64 = 15.0;

// Colours of which each part is a multiple of 0x11 stay as they are in the file.
const INK: Color = Color(0x22, 0x22, 0x33);
const PALE_INK: Color = Color(0x55, 0x66, 0x66);
const GRID: Color = Color(0xdd, 0xdd, 0xdd);
const LANE_PAPER: Color = Color(0xee, 0xee, 0xee);
const LINE: Color = Color(0x22, 0x66, 0xdd);
const AREA: Color = Color(0xdd, 0xee, 0xff);
const TROUBLE: Color = Color(0xff, 0xee, 0xee);
const DOWN: Color = Color(0xcc, 0x22, 0x33);
const DEGRADED: Color = Color(0xcc, 0x77, 0x00);
const UNKNOWN: Color = Color(0x66, 0x66, 0x77);

/// What a picture shows.
#[derive(Clone, Copy, Debug)]
pub struct LastHour<'a> {
    /// The name of the check.
    pub check: &'a str,
    /// Its latest results, in any order; those of more than an hour before `until` are left out.
    pub results: &'a [RunResult],
    /// When the incident began.
    pub began_at: Timestamp,
    /// When the hour ends.
    pub until: Timestamp,
    /// The zone in which people read times.
    pub zone: Tz,
}

/// One run in the picture.
#[derive(Clone, Copy, Debug)]
struct Point {
    x: f64,
    status: Status,
    latency_ms: f64,
}

impl LastHour<'_> {
    /// Draws it; none where there is hardly anything to show.
    ///
    /// # Errors
    /// What went wrong with the drawing, for the log.
    pub fn draw(&self) -> Result<Option<Picture>, String> {
        let points = self.points();
        if points.len() < FEWEST {
            return Ok(None);
        }
        let png = canvas::draw(SIZE, |canvas| self.paint(canvas, &points))?;
        Ok(Some(Picture { png: png.into(), alt: self.alt(&points) }))
    }

    /// The runs of the hour, the oldest first.
    fn points(&self) -> Vec<Point> {
        let since = self.until.before(HOUR);
        let within = self.results.iter().filter(|run| run.at >= since && run.at <= self.until);
        let mut runs: Vec<&RunResult> = within.collect();
        runs.sort_by_key(|run| run.at);
        let point = |run: &RunResult| Point {
            x: self.x(run.at),
            status: run.status,
            latency_ms: if run.latency_ms.is_finite() { run.latency_ms } else { 0.0 }
                .clamp(0.0, MOST),
        };
        runs.into_iter().map(point).collect()
    }

    fn x(&self, at: Timestamp) -> f64 {
        let share = self.until.since(at).as_secs_f64() / HOUR.as_secs_f64();
        RIGHT - share.min(1.0) * (RIGHT - LEFT)
    }

    fn paint(&self, canvas: &Canvas<'_>, points: &[Point]) -> Result<(), String> {
        let began = self.x(self.began_at);
        canvas.rectangle((LEFT, LANE - 13.0), (RIGHT, LANE + 13.0), LANE_PAPER)?;
        canvas.rectangle((began, TOP), (RIGHT, BOTTOM), TROUBLE)?;
        let known = || points.iter().filter(|point| has_latency(point));
        let (step, top) = scale(known().map(|it| it.latency_ms).fold(0.0, f64::max));
        let y = |latency_ms: f64| BOTTOM - (latency_ms / top).min(1.0) * (BOTTOM - TOP);
        for run in stretches(points) {
            canvas.area(&run.iter().map(|it| (it.0, y(it.1))).collect::<Vec<_>>(), BOTTOM, AREA)?;
        }
        if known().next().is_none() {
            let middle = ((LEFT + RIGHT) / 2.0, (TOP + BOTTOM) / 2.0);
            canvas.text("no run went well in this hour", middle, 20.0, PALE_INK, Anchor::Middle)?;
        }
        let mut line = 0.0;
        while line <= top * 1.001 && known().next().is_some() {
            canvas.line(&[(LEFT, y(line)), (RIGHT, y(line))], 1.0, GRID)?;
            canvas.text(
                &millis(line, step),
                (LEFT - 10.0, y(line)),
                19.0,
                PALE_INK,
                Anchor::Right,
            )?;
            line += step;
        }
        for run in stretches(points) {
            let way: Vec<_> = run.iter().map(|it| (it.0, y(it.1))).collect();
            match way[..] {
                [alone] => canvas.disc(alone, 2.5, LINE)?,
                _ => canvas.line(&way, 2.5, LINE)?,
            }
        }
        if self.until.since(self.began_at) <= HOUR {
            canvas.dashes((began, TOP - 8.0), (began, LANE + 13.0), 2.0, DOWN)?;
        }
        for (x, status) in signs(points) {
            sign(canvas, (x, LANE), status)?;
        }
        self.paint_words(canvas, points)
    }

    /// What stands above the latencies and below them.
    fn paint_words(&self, canvas: &Canvas<'_>, points: &[Point]) -> Result<(), String> {
        let mut right = RIGHT;
        for status in [Status::Unknown, Status::Degraded, Status::Down] {
            let count = points.iter().filter(|point| point.status == status).count();
            if count == 0 {
                continue;
            }
            let words = format!("{count} {status}");
            canvas.text(&words, (right, 26.0), 20.0, INK, Anchor::Right)?;
            right -= canvas.width(&words, 20.0)? + 16.0;
            sign(canvas, (right, 26.0), status)?;
            right -= 24.0;
        }
        let room = right - 20.0;
        let mut title = printable(self.check);
        let tail = " · last hour";
        while canvas.width(&format!("{title}{tail}"), 23.0)? > room && title.chars().count() > 8 {
            title = title.chars().take(title.chars().count() - 3).collect::<String>() + "…";
        }
        canvas.text(&title, (18.0, 26.0), 23.0, INK, Anchor::Left)?;
        let after = 18.0 + canvas.width(&title, 23.0)?;
        canvas.text(tail, (after, 26.0), 23.0, PALE_INK, Anchor::Left)?;
        for (at, label) in self.times() {
            let x = self.x(at);
            canvas.line(&[(x, LANE + 13.0), (x, LANE + 19.0)], 1.5, PALE_INK)?;
            canvas.text(&label, (x, TIMES), 19.0, PALE_INK, Anchor::Middle)?;
        }
        let zone = self.until.to_datetime().with_timezone(&self.zone).format("%Z").to_string();
        canvas.text(&zone, (18.0, TIMES), 17.0, PALE_INK, Anchor::Left)
    }

    /// Each ten minutes by the clocks of the readers, as far as there is room for the words.
    fn times(&self) -> Vec<(Timestamp, String)> {
        const STEP: Duration = Duration::from_secs(600);
        let local = self.until.to_datetime().with_timezone(&self.zone);
        let past = Duration::from_secs(u64::from(local.minute() % 10 * 60 + local.second()));
        let mut at = self.until.before(past);
        let mut times = Vec::new();
        while self.until.since(at) < HOUR {
            let label = at.to_datetime().with_timezone(&self.zone).format("%H:%M").to_string();
            if self.x(at) < RIGHT - 8.0 && self.x(at) > LEFT + 20.0 {
                times.push((at, label));
            }
            at = at.before(STEP);
        }
        times
    }

    fn alt(&self, points: &[Point]) -> String {
        let mut well: Vec<f64> =
            points.iter().filter(|it| has_latency(it)).map(|it| it.latency_ms).collect();
        well.sort_by(f64::total_cmp);
        let mut words =
            vec![format!("The last hour of {}: {} runs", clean(self.check, NAME), points.len())];
        for status in [Status::Down, Status::Degraded, Status::Unknown] {
            let count = points.iter().filter(|point| point.status == status).count();
            if count > 0 {
                words.push(format!("{count} {status}"));
            }
        }
        if let (Some(usual), Some(most)) = (well.get(well.len() / 2), well.last()) {
            let (usual, most) = (millis(*usual, 0.0), millis(*most, 0.0));
            words.push(format!("usually {usual}, at most {most}"));
        }
        words.join(", ")
    }
}

/// Whether its latency says something: a run that is down may have waited for its timeout.
fn has_latency(point: &Point) -> bool {
    matches!(point.status, Status::Up | Status::Degraded)
}

/// The latencies of neighbouring runs, of each column of the picture the highest. What is down, or
/// did not run for long, parts one stretch from the next.
fn stretches(points: &[Point]) -> Vec<Vec<(f64, f64)>> {
    let mut gaps: Vec<f64> = points.windows(2).map(|pair| pair[1].x - pair[0].x).collect();
    gaps.sort_by(f64::total_cmp);
    let longest = 4.0 * gaps.get(gaps.len() / 2).copied().unwrap_or_default().max(2.0);
    let mut stretches: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut before: Option<f64> = None;
    for point in points {
        if !has_latency(point) {
            before = None;
            continue;
        }
        let goes_on = before.is_some_and(|x| point.x - x <= longest);
        before = Some(point.x);
        match stretches.last_mut().filter(|_| goes_on) {
            Some(stretch) => stretch.push((point.x, point.latency_ms)),
            None => stretches.push(vec![(point.x, point.latency_ms)]),
        }
    }
    stretches.into_iter().map(thinned).collect()
}

fn thinned(stretch: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    const COLUMN: f64 = 3.0;
    let mut out: Vec<(f64, f64)> = Vec::new();
    let mut start = f64::NEG_INFINITY;
    for point in stretch {
        match out.last_mut() {
            Some(last) if point.0 - start < COLUMN => {
                if point.1 > last.1 {
                    *last = point;
                }
            }
            _ => {
                start = point.0;
                out.push(point);
            }
        }
    }
    out
}

/// Where the signs of bad runs stand: of those that would lie on each other, the worst.
fn signs(points: &[Point]) -> Vec<(f64, Status)> {
    let mut signs: Vec<(f64, Status)> = Vec::new();
    for point in points.iter().filter(|point| point.status != Status::Up) {
        match signs.last_mut().filter(|last| point.x - last.0 < SIGN_SPACE) {
            Some(last) if urgency(point.status) > urgency(last.1) => last.1 = point.status,
            Some(_) => {}
            None => signs.push((point.x, point.status)),
        }
    }
    signs
}

const fn urgency(status: Status) -> u8 {
    match status {
        Status::Up => 0,
        Status::Unknown => 1,
        Status::Degraded => 2,
        Status::Down => 3,
    }
}

/// The sign of a bad run: told apart by its form, for those who see no difference in colour.
fn sign(canvas: &Canvas<'_>, (x, y): (f64, f64), status: Status) -> Result<(), String> {
    match status {
        Status::Up => Ok(()),
        Status::Down => {
            let arm = 5.5;
            canvas.line(&[(x - arm, y - arm), (x + arm, y + arm)], 3.5, DOWN)?;
            canvas.line(&[(x - arm, y + arm), (x + arm, y - arm)], 3.5, DOWN)
        }
        Status::Degraded => {
            let corners = [(x, y - 7.0), (x + 7.5, y + 6.0), (x - 7.5, y + 6.0)];
            canvas.polygon(&corners, DEGRADED)
        }
        Status::Unknown => {
            canvas.disc((x, y), 6.5, UNKNOWN)?;
            canvas.disc((x, y), 3.5, LANE_PAPER)
        }
    }
}

/// The steps of the scale, and its end: a 1, 2 or 5 of some power of ten, at most five of them.
fn scale(highest: f64) -> (f64, f64) {
    let highest = highest.max(1.0);
    let power = 10f64.powf((highest / 4.0).log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| highest / step <= 4.0)
        .unwrap_or(10.0 * power);
    (step, step * (highest / step).ceil())
}

/// A latency as people read it; on a scale with steps of `step`, as exact as these need.
fn millis(millis: f64, step: f64) -> String {
    let unit = if step > 0.0 { step } else { millis };
    let digits = |unit: f64| match unit {
        ..0.1 => 3,
        ..1.0 => 2,
        ..10.0 => 1,
        _ => 0,
    };
    if millis == 0.0 {
        "0".to_owned()
    } else if millis < 1_000.0 {
        format!("{} ms", rounded(millis, digits(unit)))
    } else {
        format!("{} s", rounded(millis / 1_000.0, digits(unit / 1_000.0).min(2)))
    }
}

fn rounded(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// `text` in the letters that the picture's font has.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' })
        .take(NAME)
        .collect()
}

#[cfg(test)]
mod tests;
