//! Times and spans as people say them.

use crate::model::Timestamp;
use serde::Serialize;
use std::time::Duration;

/// A time, exactly and as people say it. The script shows the exact one in the reader's own zone.
#[derive(Clone, Debug, Serialize)]
pub(in crate::serve) struct Instant {
    /// RFC 3339, in UTC.
    exact: String,
    /// The same for people, in about as many letters as the script puts in its place, so that nothing
    /// on the page moves.
    clock: String,
    /// How long ago, or for what lies ahead, how long until then.
    ago: String,
}

impl Instant {
    pub(in crate::serve) fn new(at: Timestamp, now: Timestamp) -> Self {
        let apart = if at > now { at.since(now) } else { now.since(at) };
        let clock = at.to_datetime().format("%b %-d, %Y, %H:%M:%S UTC").to_string();
        Self { exact: at.to_string(), clock, ago: span(apart) }
    }
}

/// A span as people say it, in its largest unit.
pub(in crate::serve) fn span(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// A latency, with as many digits as mean something.
pub(in crate::serve) fn millis(millis: f64) -> String {
    match millis {
        ..10.0 => format!("{millis:.1} ms"),
        10.0..1000.0 => format!("{millis:.0} ms"),
        _ => format!("{:.1} s", millis / 1000.0),
    }
}

/// A share (0 to 1) in percent. It says 100% only of what is whole: 99.996% is no 100%.
pub(in crate::serve) fn percent(share: f64) -> String {
    let hundredths = (share.clamp(0.0, 1.0) * 10_000.0).floor() / 100.0;
    match hundredths {
        100.0 => "100%".to_owned(),
        ..10.0 => format!("{hundredths:.1}%"),
        _ => format!("{hundredths:.2}%"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Instant, millis, percent, span};
    use crate::model::Timestamp;
    use std::time::Duration;

    #[test]
    fn spans_and_latencies_read_well() {
        let said = |seconds| span(Duration::from_secs(seconds));
        assert_eq!([said(0), said(59), said(60), said(7199)], ["0 s", "59 s", "1 min", "1 h"]);
        assert_eq!([said(100_000), said(172_800)], ["27 h", "2 d"]);
        assert_eq!([millis(0.42), millis(12.3), millis(2345.0)], ["0.4 ms", "12 ms", "2.3 s"]);
    }

    #[test]
    fn only_what_is_whole_is_a_hundred_percent() {
        let said = [1.0, 0.999_96, 0.9985, 0.5, 0.012, 0.0].map(percent);
        assert_eq!(said, ["100%", "99.99%", "99.85%", "50.00%", "1.2%", "0.0%"]);
    }

    #[test]
    fn what_lies_ahead_is_told_by_how_far() {
        let (early, late) = (Timestamp::from_millis(0), Timestamp::from_millis(120_000));
        assert_eq!(Instant::new(early, late).ago, "2 min");
        assert_eq!(Instant::new(late, early).ago, "2 min");
    }
}
