//! What every store holds to about results that are sealed.

use super::{all, at, result, times};
use crate::clock::{Clock as _, Manual};
use crate::model::{RunResult, Status, Timestamp};
use crate::record::archive::rollup::{Level, Rollup, Rollups};
use crate::record::{Batch, Part, Sealing, Store, sealing};
use chrono_tz::Tz;
use serde_json::json;
use std::time::Duration;

const ZONE: Tz = Tz::Europe__Berlin;
const TERMS: Sealing = Sealing { results: 100, age: Duration::from_secs(86_400), zone: ZONE };

/// Every 20 s a result, some of them bad, in maintenance or of another shape.
fn history(check: &str, numbers: std::ops::Range<i64>) -> Vec<RunResult> {
    let one = |n: i64| {
        let usual = RunResult {
            latency_ms: 10.0 + (n % 7) as f64,
            facts: json!({ "status": 200, "first_byte_ms": n as f64 / 8.0, "proto": "HTTP/1.1" }),
            stands_for: Duration::from_secs(30),
            maintenance: n % 50 > 45,
            ..result(check, n * 20)
        };
        match n % 10 {
            3 => RunResult {
                status: Status::Down,
                reasons: vec![format!("refused {}", n % 20)],
                facts: json!({ "error": "refused" }),
                ..usual
            },
            4 => RunResult { status: Status::Degraded, ..usual },
            5 => RunResult { status: Status::Unknown, facts: json!({}), ..usual },
            _ => usual,
        }
    };
    numbers.map(one).collect()
}

async fn record(store: &dyn Store, results: Vec<RunResult>) {
    store.commit(&Batch { results, ..Batch::default() }).await.unwrap();
}

async fn seal(store: &dyn Store, now: i64) -> u64 {
    sealing::round(store, &TERMS, at(now)).await.unwrap()
}

async fn read(store: &dyn Store, check: &str, limit: u32) -> Vec<String> {
    let results = all(limit, |page| async move { store.results(check, &page).await }).await;
    results.iter().map(|result| format!("{result:?}")).collect()
}

async fn rolled_up(store: &dyn Store, check: &str) -> [Rollups; 3] {
    let (from, to) = (at(-86_400), at(86_400));
    let parts = Level::ALL.map(|level| Part { level, from, to });
    store.rollups(check, &parts, ZONE).await.unwrap().try_into().unwrap()
}

pub(super) async fn sealed_results_read_as_before(store: &dyn Store) {
    record(store, history("a", 0..450)).await;
    record(store, history("b", 0..30)).await;
    let before = (read(store, "a", 1000).await, read(store, "b", 1000).await);
    assert_eq!(before.0.len(), 450);
    let mut sealed = 0;
    // A round takes one block of each check.
    for _ in 0..4 {
        sealed += seal(store, 9000).await;
        assert_eq!((read(store, "a", 7).await, read(store, "b", 1000).await), before);
    }
    assert_eq!(sealed, 400);
    assert_eq!(seal(store, 9000).await, 0);
    // Old ones go also if they are few; the last one stays, since it may stand yet.
    assert_eq!(seal(store, 200_000).await, 49 + 29);
    assert_eq!((read(store, "a", 100).await, read(store, "b", 1000).await), before);
}

pub(super) async fn each_result_counts_once_whatever_is_sealed(store: &dyn Store) {
    record(store, history("a", 0..250)).await;
    let before = rolled_up(store, "a").await;
    let runs: u64 = before[2].values().map(|day| day.tally.all_runs()).sum();
    assert_eq!(runs, 250);
    let down: Duration = before[0].values().map(|it| it.tally.time_of(Status::Down)).sum();
    assert_eq!(down, Duration::from_secs(25 * 20));
    while seal(store, 9000).await > 0 {
        assert_eq!(rolled_up(store, "a").await, before);
    }
    assert_eq!(seal(store, 200_000).await, 49);
    assert_eq!(rolled_up(store, "a").await, before);
    record(store, history("a", 250..300)).await;
    let after = rolled_up(store, "a").await;
    let runs: u64 = after[1].values().map(|hour| hour.tally.all_runs()).sum();
    assert_eq!(runs, 300);
}

pub(super) async fn a_result_from_before_what_is_sealed_keeps_its_place(store: &dyn Store) {
    record(store, history("a", 1..250)).await;
    assert_eq!(seal(store, 9000).await, 100);
    let late = [-40, 30, 1990, 2010].map(|seconds| result("a", seconds));
    record(store, late.to_vec()).await;
    let mut expected: Vec<i64> = (1..250).map(|n| n * 20).collect();
    expected.extend([-40, 30, 1990, 2010]);
    expected.sort_unstable_by_key(|seconds| std::cmp::Reverse(*seconds));
    assert_eq!(times(store, "a").await, expected);
    while seal(store, 9000).await > 0 {}
    assert_eq!(times(store, "a").await, expected);
    let newest = all(3, |page| async move { store.results("a", &page).await }).await;
    assert_eq!(newest.len(), expected.len());
}

pub(super) async fn what_is_sealed_is_forgotten_in_time(store: &dyn Store) {
    record(store, history("a", 0..450)).await;
    record(store, history("b", 0..110)).await;
    while seal(store, 9000).await > 0 {}
    // The first block of each ends before 2,100 s.
    assert_eq!(store.forget_blocks(at(2100), 1).await.unwrap(), 1);
    assert_eq!(store.forget_blocks(at(2100), 10).await.unwrap(), 1);
    assert_eq!(store.forget_blocks(at(2100), 10).await.unwrap(), 0);
    assert_eq!((times(store, "a").await.len(), times(store, "b").await.len()), (350, 10));
    let far = at(100 * 86_400);
    while store.forget_blocks(far, 10).await.unwrap() > 0 {}
    assert_eq!((times(store, "a").await.len(), times(store, "b").await.len()), (50, 10));
    let runs = |levels: [Rollups; 3]| {
        levels.map(|rollups| rollups.values().map(|it| it.tally.all_runs()).sum::<u64>())
    };
    assert_eq!(runs(rolled_up(store, "a").await), [450; 3]);
    for level in Level::ALL {
        assert_eq!(store.forget_rollups(level, at(-86_400), 10).await.unwrap(), 0);
        while store.forget_rollups(level, far, 1).await.unwrap() > 0 {}
    }
    // What is not sealed is still there.
    assert_eq!(runs(rolled_up(store, "a").await), [50; 3]);
    // A name goes with the last of what there is of it, and a new one starts anew.
    assert_eq!(store.forget_results(far, 1000).await.unwrap(), 60);
    assert_eq!(store.forget_results(far, 1000).await.unwrap(), 0);
    record(store, vec![result("c", 1), result("a", 2)]).await;
    assert_eq!((times(store, "a").await, times(store, "c").await), (vec![2], vec![1]));
}

pub(super) async fn a_strip_has_the_days_of_every_check(store: &dyn Store) {
    let spread = |check: &str| -> Vec<RunResult> {
        let hourly = |n: i64| RunResult {
            status: if n % 24 == 3 { Status::Down } else { Status::Up },
            stands_for: Duration::from_secs(3600),
            ..result(check, n * 3600)
        };
        (0..301).map(hourly).collect()
    };
    record(store, spread("a")).await;
    record(store, spread("b")).await;
    while seal(store, 400 * 3600).await > 0 {}
    let span = (at(3 * 86_400), at(6 * 86_400));
    let days = store.days(span).await.unwrap();
    let names: Vec<&str> = days.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["a", "b"]);
    for (name, days) in &days {
        assert_eq!(days.len(), 3, "{name}");
        for (start, tally) in days {
            assert_eq!(Level::Day.span_of(*start, ZONE).0, *start);
            let hours = tally.time_of(Status::Up) + tally.time_of(Status::Down);
            assert_eq!(hours, Duration::from_secs(24 * 3600));
            let share = tally.uptime().unwrap();
            assert!((share - 23.0 / 24.0).abs() < 1e-9, "{share}");
        }
        let part = Part { level: Level::Day, from: span.0, to: span.1 };
        let one = store.rollups(name, &[part], ZONE).await.unwrap().remove(0);
        let tallies: Vec<(Timestamp, _)> =
            one.into_iter().map(|(start, rollup)| (start, rollup.tally)).collect();
        assert_eq!(tallies, *days);
    }
    assert!(rolled_up(store, "nobody").await.iter().all(Rollups::is_empty));
}

/// Runs a check every 20 s for so long; it is down from `down.0` to `down.1` by the monotonic clock.
fn watch(clock: &Manual, span: Duration, down: (Duration, Duration)) -> Vec<RunResult> {
    const EVERY: Duration = Duration::from_secs(20);
    let end = clock.now().mono + span;
    let mut results = Vec::new();
    while clock.now().mono < end {
        let now = clock.now();
        let is_down = down.0 <= now.mono && now.mono < down.1;
        results.push(RunResult {
            at: now.wall,
            status: if is_down { Status::Down } else { Status::Up },
            stands_for: Duration::from_secs(30),
            ..result("a", 0)
        });
        clock.advance(EVERY);
    }
    results
}

/// A day of which ten minutes were bad; then the wall clock goes back an hour (less
/// a little, so that no two runs have one time), and after two more
/// hours forward a day. Uptime is the same whenever results are sealed.
pub(super) async fn a_wall_clock_that_steps_leaves_uptime_right(store: &dyn Store) {
    const HOUR: Duration = Duration::from_secs(3600);
    let clock = Manual::at(at(0));
    let down = (3 * HOUR, 3 * HOUR + Duration::from_secs(600));
    let mut lived = Duration::ZERO;
    for (span, step) in [(6 * HOUR, Some(-3593)), (2 * HOUR, Some(86_400)), (3 * HOUR, None)] {
        record(store, watch(&clock, span, down)).await;
        lived += span;
        check_uptime(store, &clock, lived).await;
        // Some of it is sealed before the step, and some after.
        seal(store, 0).await;
        check_uptime(store, &clock, lived).await;
        if let Some(seconds) = step {
            clock.step_wall(Timestamp::from_millis(clock.wall().as_millis() + seconds * 1000));
        }
    }
    while seal(store, 0).await > 0 {
        check_uptime(store, &clock, lived).await;
    }
    assert!(seal(store, 400 * 86_400).await > 0);
    check_uptime(store, &clock, lived).await;
}

/// Whether ten minutes are down, no more is known than was lived, and all that is lacking to that
/// is the hour that came twice and what no result stands for.
async fn check_uptime(store: &dyn Store, clock: &Manual, lived: Duration) {
    let (from, to) = (at(-86_400), clock.wall().after(Duration::from_secs(86_400)));
    for level in Level::ALL {
        let from = level.span_of(from, ZONE).0;
        let rollups = store.rollups("a", &[Part { level, from, to }], ZONE).await.unwrap();
        let mut all = Rollup::default();
        rollups[0].values().for_each(|rollup| all.merge(rollup));
        let of = |status| all.tally.time_of(status).as_secs();
        assert_eq!(of(Status::Down), 600, "{level:?}");
        assert_eq!(of(Status::Unknown) + of(Status::Degraded), 0);
        let lived = lived.as_secs();
        // The last result of each stretch may stand ten seconds past its end.
        assert!(of(Status::Up) + 600 <= lived + 30, "{} of {lived}", of(Status::Up));
        assert!(of(Status::Up) + 600 + 3600 + 60 >= lived, "{} of {lived}", of(Status::Up));
        let share = all.tally.uptime().unwrap();
        let exact = 1.0 - 600.0 / lived as f64;
        // Of the hour that came twice it is told once, or twice.
        assert!(
            (share - exact).abs() < 600.0 * 3700.0 / (lived * (lived - 3660)) as f64,
            "{share}"
        );
        assert_eq!(all.tally.all_runs(), lived / 20);
    }
}
