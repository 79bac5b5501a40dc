use super::{LastHour, millis, scale, signs, stretches};
use crate::model::{Picture, RunResult, Status, Timestamp};
use crate::render::sample;
use serde_json::Value as Json;
use std::time::Duration;

const UNTIL: Timestamp = sample::TOLD;

fn run(seconds_before: u64, status: Status, latency_ms: f64) -> RunResult {
    let at = UNTIL.before(Duration::from_secs(seconds_before));
    let facts = Json::Null;
    RunResult {
        check: "shop-api".into(),
        at,
        status,
        latency_ms,
        reasons: Vec::new(),
        facts,
        stands_for: Duration::from_secs(60),
        maintenance: false,
    }
}

fn hour<'a>(results: &'a [RunResult]) -> LastHour<'a> {
    let began_at = UNTIL.before(Duration::from_secs(310));
    let zone = chrono_tz::Europe::Berlin;
    LastHour { check: "shop-api", results, began_at, until: UNTIL, zone }
}

/// The picture, once it was seen to be one of the size that it claims.
fn drawn(results: &[RunResult]) -> Picture {
    let picture = hour(results).draw().unwrap().unwrap();
    let mut reader = png::Decoder::new(&*picture.png).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height), super::SIZE);
    assert!(picture.png.len() < 30_000, "{} bytes", picture.png.len());
    picture
}

#[test]
fn the_last_hour_becomes_a_small_picture_with_words_for_those_who_do_not_see_it() {
    let incident = sample::incidents().remove(0);
    let picture = drawn(&sample::hour(&incident));
    assert_eq!(
        picture.alt,
        "The last hour of shop-api: 120 runs, 11 down, usually 41 ms, at most 95 ms"
    );
    let results: Vec<_> = (0..10).map(|n| run(n * 30, Status::Degraded, 1_234.0)).collect();
    assert_eq!(
        drawn(&results).alt,
        "The last hour of shop-api: 10 runs, 10 degraded, usually 1.2 s, at most 1.2 s"
    );
}

#[test]
fn what_happened_long_ago_or_hardly_at_all_makes_no_picture() {
    for results in [
        Vec::new(),
        vec![run(1, Status::Up, 1.0), run(2, Status::Up, 1.0)],
        (0..100).map(|n| run(3_601 + n, Status::Up, 1.0)).collect(),
    ] {
        assert_eq!(hour(&results).draw(), Ok(None));
    }
}

#[test]
fn whatever_a_check_comes_to_can_be_drawn() {
    let statuses = [Status::Up, Status::Degraded, Status::Down, Status::Unknown];
    for status in statuses {
        drawn(&(0..3_600).map(|n| run(n, status, n as f64)).collect::<Vec<_>>());
    }
    for latency in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, 1e300] {
        drawn(&(0..20).map(|n| run(n * 60, Status::Up, latency)).collect::<Vec<_>>());
    }
    let mixed = |n: u64| run(n * 7, statuses[(n % 4) as usize], (n % 13) as f64 * 100.0);
    drawn(&(0..500).map(mixed).collect::<Vec<_>>());
    let results: Vec<_> = (0..20).map(|n| run(n * 60, Status::Up, 5.0)).collect();
    let long = "ш".repeat(10_000);
    for began_at in [UNTIL.before(Duration::from_secs(900_000)), UNTIL, Timestamp::from_millis(0)] {
        let drawn = LastHour { check: &long, began_at, ..hour(&results) }.draw();
        assert!(drawn.unwrap().unwrap().alt.chars().count() < 200);
    }
}

#[test]
fn what_is_down_parts_the_line_and_of_signs_in_one_place_the_worst_is_shown() {
    let mut results: Vec<_> = (0..100).map(|n| run(n * 30, Status::Up, 5.0)).collect();
    results[50].status = Status::Down;
    results[51].status = Status::Degraded;
    results[52].status = Status::Unknown;
    let points = hour(&results).points();
    assert_eq!(stretches(&points).len(), 3, "the degraded one between stands alone");
    assert_eq!(signs(&points).iter().map(|it| it.1).collect::<Vec<_>>(), [Status::Down]);
    results.truncate(50);
    results.drain(20..35);
    assert_eq!(stretches(&hour(&results).points()).len(), 2, "a gap is a gap");
}

#[test]
fn a_scale_has_few_round_steps() {
    for (highest, expected) in [
        (0.0, (0.25, 1.0)),
        (3.0, (1.0, 3.0)),
        (47.0, (20.0, 60.0)),
        (100.0, (25.0, 100.0)),
        (912.0, (250.0, 1_000.0)),
        (10_000.0, (2_500.0, 10_000.0)),
    ] {
        assert_eq!(scale(highest), expected, "{highest}");
    }
    for (value, step, expected) in [
        (0.0, 1.0, "0"),
        (0.25, 0.25, "0.25 ms"),
        (20.0, 20.0, "20 ms"),
        (2_500.0, 2_500.0, "2.5 s"),
        (5_000.0, 2_500.0, "5 s"),
        (912.4, 0.0, "912 ms"),
        (1_234.0, 0.0, "1.2 s"),
    ] {
        assert_eq!(millis(value, step), expected);
    }
}
