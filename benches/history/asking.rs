use crate::Outcome;
use crate::figures::{Figures, Target};
use crate::made_up::{Service, T0};
use crate::places::Place;
use crate::start;
use chrono_tz::Tz;
use std::time::Duration;
use watchbell::clock::{Clock as _, System};
use watchbell::model::{Name, Timestamp};
use watchbell::record::archive::rollup::Rollup;
use watchbell::record::query::{self, Reach, Span};
use watchbell::record::{Batch, Page, Part, Sealing, sealing};

/// How many results each check has: together a million, the first check thirty days of them.
const RESULTS: [u32; 4] = [259_200, 246_934, 246_933, 246_933];
const EVERY: Duration = Duration::from_secs(10);
const DAY: Duration = Duration::from_secs(86_400);
/// How often a question is asked; the median counts.
const TIMES: usize = 21;

/// What a million results take, and how quickly one check's history answers.
pub async fn measure(place: &Place, figures: &mut Figures) -> Outcome<()> {
    let mut add = |what: &str, value: f64, unit: &str, target: Target| {
        figures.add(place.engine(), what, value, unit, target);
    };
    let store = place.open().await?;
    let from = Timestamp::from_millis(T0);
    let now = from.after(30 * DAY);
    for (number, count) in RESULTS.into_iter().enumerate() {
        let name: Name = format!("shop-{number}").into();
        let mut results = Service::new(number as u64).runs(&name, from, EVERY, count);
        while !results.is_empty() {
            let rest = results.split_off(results.len().min(50_000));
            store.commit(&Batch { results, ..Batch::default() }).await?;
            results = rest;
        }
    }
    let time = System::start();
    let start = time.now().mono;
    let terms = Sealing { results: sealing::RESULTS, age: DAY, zone: Tz::UTC };
    let mut sealed = 0;
    // Later than the last result is old.
    let later = now.after(2 * DAY);
    loop {
        let more = sealing::round(&*store, &terms, later).await?;
        sealed += more;
        if more == 0 {
            break;
        }
    }
    let took = (time.now().mono - start).as_secs_f64();
    add("sealing", sealed as f64 / took, "results/s", Target::AtLeast(50_000.0));

    let ask = async || {
        let mut spans = Vec::new();
        let mut page = Page { limit: 100, cursor: None };
        for _ in 0..TIMES {
            let start = time.now().mono;
            let found = store.results("shop-0", &page).await?;
            spans.push(time.now().mono - start);
            page.cursor = found.next;
        }
        Outcome::Ok(median(spans))
    };
    add("a page of 100 sealed results", ask().await?, "ms", Target::None);
    let reach = Reach { minute: 30 * DAY, hour: 400 * DAY };
    let ask = async || {
        let mut spans = Vec::new();
        for _ in 0..TIMES {
            let start = time.now().mono;
            let parts = query::parts(Span { from, to: now }, reach, Tz::UTC, now);
            let mut total = Rollup::default();
            for rollups in store.rollups("shop-0", &parts, Tz::UTC).await? {
                rollups.values().for_each(|rollup| total.merge(rollup));
            }
            total.sketch.quantile(0.99).ok_or("there is no p99")?;
            spans.push(time.now().mono - start);
        }
        Outcome::Ok(median(spans))
    };
    add("p99 of 30 days of a check at 10 s", ask().await?, "ms", Target::AtMost(20.0));
    for (points, aim) in [(100, 20.0), (500, 50.0)] {
        let ask = async || {
            let mut spans = Vec::new();
            for _ in 0..TIMES {
                let start = time.now().mono;
                let part = Part { level: query::level_for(30 * DAY, points, reach), from, to: now };
                for rollups in store.rollups("shop-0", &[part], Tz::UTC).await? {
                    let series = query::series(&rollups, from, now, points);
                    let mut known = series.iter().filter_map(|it| it.rollup.sketch.quantile(0.99));
                    known.next_back().ok_or("the series is empty")?;
                }
                spans.push(time.now().mono - start);
            }
            Outcome::Ok(median(spans))
        };
        let what = format!("30 days in {points} points with percentiles");
        add(&what, ask().await?, "ms", Target::AtMost(aim));
    }

    store.close().await;
    let results = f64::from(RESULTS.iter().sum::<u32>());
    let of = |bytes: i64| bytes as f64 / results;
    add(
        "1,000,000 results: the whole database",
        of(place.size().await?),
        "bytes/result",
        Target::None,
    );
    place.run(if place.engine() == "SQLite" { "VACUUM" } else { "VACUUM FULL" }, &[], &[]).await?;
    let blocks = of(place.size_of(&["blocks", "results"]).await?);
    add(
        "1,000,000 results: blocks, with their index",
        blocks,
        "bytes/result",
        Target::AtMost(12.0),
    );
    let rollups = of(place.size_of(&["rollups"]).await?);
    add("1,000,000 results: minutes, hours and days", rollups, "bytes/result", Target::None);
    let whole = of(place.size().await?);
    add("1,000,000 results: the whole, vacuumed", whole, "bytes/result", Target::AtMost(12.0));
    Ok(())
}

/// Ninety days of a thousand checks.
pub async fn measure_strip(place: &Place, figures: &mut Figures) -> Outcome<()> {
    const CHECKS: u32 = 1_000;
    start::fill(place, CHECKS, 90 * 24, Duration::from_secs(3600)).await?;
    let store = place.open().await?;
    let (time, from) = (System::start(), Timestamp::from_millis(T0));
    let mut spans = Vec::new();
    for _ in 0..TIMES {
        let start = time.now().mono;
        let days = store.days((from, from.after(90 * DAY))).await?;
        spans.push(time.now().mono - start);
        let all: usize = days.iter().map(|(_, days)| days.len()).sum();
        if days.len() != CHECKS as usize || all < days.len() * 89 {
            return Err(format!("{} checks have {all} days", days.len()).into());
        }
    }
    store.close().await;
    let what = "strip of 90 days of 1,000 checks";
    figures.add(place.engine(), what, median(spans), "ms", Target::AtMost(50.0));
    Ok(())
}

/// In milliseconds.
fn median(mut spans: Vec<Duration>) -> f64 {
    spans.sort();
    spans.get(spans.len() / 2).map_or(0.0, |span| span.as_secs_f64() * 1e3)
}
