use super::{Status, Timestamp};

/// How many of the latest results of each check the board remembers.
pub const BEATS: usize = 60;

/// One of the latest results, as coarsely as a strip of them needs it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Beat {
    /// When the run started, to the second; where hours lie between two runs, to the minute.
    pub at: Timestamp,
    /// The verdict.
    pub status: Status,
    /// How long the run took, in milliseconds, within two thousandths.
    pub latency_ms: f64,
}

/// The latest results of one check: a ring of fixed size, so that a run allocates nothing.
///
/// A cell holds, from the highest bit on, the gap to the result before (16 bits), the status (2) and
/// the latency on a logarithmic scale (14).
#[derive(Clone, Debug)]
pub struct Beats {
    cells: [u32; BEATS],
    /// How many cells hold something.
    count: u8,
    /// Where the next one goes.
    next: u8,
    /// Whether what was before the start of the daemon is in, so far as it is known.
    seeded: bool,
    /// The second in which the newest run started.
    newest: i64,
}

impl Default for Beats {
    fn default() -> Self {
        Self { cells: [0; BEATS], count: 0, next: 0, seeded: false, newest: 0 }
    }
}

impl Beats {
    /// Adds the newest result.
    pub fn push(&mut self, beat: Beat) {
        let second = beat.at.as_millis().div_euclid(1000);
        let gap = if self.count == 0 { 0 } else { second.saturating_sub(self.newest) };
        let cell = (gap_code(gap) << 16) | (status_code(beat.status) << 14) | latency_code(beat);
        if let Some(place) = self.cells.get_mut(usize::from(self.next)) {
            *place = cell;
        }
        self.next = if usize::from(self.next) + 1 < BEATS { self.next + 1 } else { 0 };
        self.count = if usize::from(self.count) < BEATS { self.count + 1 } else { self.count };
        self.newest = second;
    }

    /// The results, oldest first.
    pub fn all(&self) -> Vec<Beat> {
        let mut second = self.newest;
        let mut all = Vec::with_capacity(usize::from(self.count));
        let mut place = usize::from(self.next);
        for _ in 0..self.count {
            place = if place == 0 { BEATS - 1 } else { place - 1 };
            let cell = self.cells.get(place).copied().unwrap_or_default();
            let at = Timestamp::from_millis(second.saturating_mul(1000));
            let latency_ms = f64::exp(f64::from(cell & 0x3fff) / SCALE) - 1.0;
            all.push(Beat { at, status: status_of(cell >> 14), latency_ms: latency_ms / 1000.0 });
            second -= gap_of(cell >> 16);
        }
        all.reverse();
        all
    }

    /// Whether [`Beats::seed`] was told what came before.
    pub fn is_seeded(&self) -> bool {
        self.seeded
    }

    /// Adds what is known from before the oldest result here. `past` is oldest first, and may hold
    /// what is here already.
    pub fn seed(&mut self, past: impl IntoIterator<Item = Beat>) {
        let known = self.all();
        let oldest = known.first().map_or(i64::MAX, |beat| beat.at.as_millis());
        let past = past.into_iter().filter(|beat| beat.at.as_millis() < oldest);
        let mut fresh = Self { seeded: true, ..Self::default() };
        past.chain(known).for_each(|beat| fresh.push(beat));
        *self = fresh;
    }
}

/// Steps of the scale of latencies by which they grow to e times as much.
const SCALE: f64 = 700.0;

fn latency_code(beat: Beat) -> u32 {
    let code = (beat.latency_ms.max(0.0) * 1000.0).ln_1p() * SCALE;
    // A cast saturates, and makes zero of what is no number.
    (code.round() as u32).min(0x3fff)
}

/// Seconds below this; minutes above.
const FINE_GAPS: i64 = 0x8000;

fn gap_code(seconds: i64) -> u32 {
    let code = match seconds {
        ..FINE_GAPS => seconds.max(0),
        _ => FINE_GAPS + (seconds - FINE_GAPS) / 60,
    };
    u32::try_from(code).unwrap_or(u32::MAX).min(0xffff)
}

fn gap_of(code: u32) -> i64 {
    let code = i64::from(code & 0xffff);
    if code < FINE_GAPS { code } else { FINE_GAPS + (code - FINE_GAPS) * 60 }
}

const fn status_code(status: Status) -> u32 {
    match status {
        Status::Up => 0,
        Status::Degraded => 1,
        Status::Down => 2,
        Status::Unknown => 3,
    }
}

const fn status_of(code: u32) -> Status {
    match code & 3 {
        0 => Status::Up,
        1 => Status::Degraded,
        2 => Status::Down,
        _ => Status::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::{BEATS, Beat, Beats};
    use crate::model::{Status, Timestamp};
    use proptest::prelude::*;

    fn beat(second: i64, status: Status, latency_ms: f64) -> Beat {
        Beat { at: Timestamp::from_millis(second * 1000), status, latency_ms }
    }

    fn seconds(beats: &Beats) -> Vec<i64> {
        beats.all().iter().map(|beat| beat.at.as_millis() / 1000).collect()
    }

    #[test]
    fn a_check_costs_little_memory() {
        assert!(size_of::<Beats>() <= 260, "{}", size_of::<Beats>());
    }

    proptest! {
        #[test]
        fn the_latest_are_told_as_they_were(
            runs in prop::collection::vec((0i64..30_000, 0usize..4, 0.0f64..100_000.0), 0..150),
        ) {
            let mut beats = Beats::default();
            let mut naive = Vec::new();
            let mut second = 1_700_000_000;
            for (gap, status, latency) in runs {
                second += gap;
                let beat = beat(second, Status::ALL[status], latency);
                beats.push(beat);
                naive.push(beat);
            }
            let naive = &naive[naive.len().saturating_sub(BEATS)..];
            let all = beats.all();
            prop_assert_eq!(all.len(), naive.len());
            for (told, was) in all.iter().zip(naive) {
                prop_assert_eq!((told.at, told.status), (was.at, was.status));
                let off = (told.latency_ms - was.latency_ms).abs();
                prop_assert!(off <= was.latency_ms * 0.002 + 0.001, "{} for {}", told.latency_ms, was.latency_ms);
            }
        }
    }

    #[test]
    fn long_gaps_are_told_to_the_minute() {
        let mut beats = Beats::default();
        let day = 86_400;
        (0..3).for_each(|n| beats.push(beat(n * day, Status::Up, 1.0)));
        assert_eq!(beats.all().last().map(|beat| beat.at.as_millis()), Some(2 * day * 1000));
        assert!(seconds(&beats).iter().zip([0, day, 2 * day]).all(|(a, b)| (a - b).abs() < 120));
    }

    #[test]
    fn what_was_before_the_start_goes_before_what_came_since() {
        let mut beats = Beats::default();
        beats.push(beat(100, Status::Down, 5.0));
        beats.push(beat(110, Status::Up, 5.0));
        assert!(!beats.is_seeded());
        beats.seed([80, 90, 100, 110].map(|second| beat(second, Status::Up, 5.0)));
        assert!(beats.is_seeded());
        assert_eq!(seconds(&beats), [80, 90, 100, 110]);
        assert_eq!(beats.all()[2].status, Status::Down);
        let mut crowded = beats.clone();
        crowded.seed((0..80).map(|second| beat(second, Status::Up, 5.0)));
        assert_eq!((seconds(&crowded).len(), seconds(&crowded)[BEATS - 1]), (BEATS, 110));
    }

    #[test]
    fn a_clock_that_goes_back_breaks_nothing() {
        let mut beats = Beats::default();
        beats.push(beat(1000, Status::Up, 1.0));
        beats.push(beat(10, Status::Up, 1.0));
        beats.push(beat(20, Status::Up, f64::NAN));
        assert_eq!(seconds(&beats), [10, 10, 20]);
    }
}
