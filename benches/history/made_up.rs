use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Map, Value as Json};
use std::time::Duration;
use watchbell::model::{Name, RunResult, Status, Timestamp};

/// 2026-03-01 00:00 UTC.
pub const T0: i64 = 1_772_323_200_000;

/// An HTTP service whose answers take as long as such things do: log-normal, with spikes, a body that
/// is never quite as long as the one before, and now and then an error.
#[derive(Debug)]
pub struct Service {
    chance: SmallRng,
    size: i64,
}

impl Service {
    /// One like any other; the same for the same `seed`.
    pub fn new(seed: u64) -> Self {
        Self { chance: SmallRng::seed_from_u64(seed), size: 18_432 }
    }

    /// What a run finds that starts at `at`, of a check that runs so often.
    pub fn run(&mut self, check: &Name, at: Timestamp, every: Duration) -> RunResult {
        let spike =
            if self.chance.random_bool(0.005) { self.chance.random_range(3.0..25.0) } else { 1.0 };
        let connect = self.log_normal(1.2, 0.25);
        let tls = self.log_normal(6.0, 0.2);
        let first_byte = self.log_normal(40.0, 0.35) * spike;
        let rest = self.log_normal(2.0, 0.3);
        if self.chance.random_bool(0.002) {
            // Somebody put something new online.
            self.size = self.chance.random_range(12_000..30_000);
        }
        let is_down = self.chance.random_bool(0.0005);
        let mut facts = Map::with_capacity(5);
        facts.insert("status".to_owned(), Json::from(if is_down { 503 } else { 200 }));
        facts.insert("connect_ms".to_owned(), Json::from(connect));
        facts.insert("tls_ms".to_owned(), Json::from(tls));
        facts.insert("first_byte_ms".to_owned(), Json::from(first_byte));
        facts.insert("size".to_owned(), Json::from(self.size + self.chance.random_range(0..16)));
        let failed = "status == 200 failed: status is 503".to_owned();
        RunResult {
            check: Name::clone(check),
            at: at.after(Duration::from_millis(self.chance.random_range(0..3))),
            status: if is_down { Status::Down } else { Status::Up },
            latency_ms: connect + tls + first_byte + rest,
            reasons: if is_down { vec![failed] } else { Vec::new() },
            facts: Json::Object(facts),
            stands_for: every + Duration::from_secs(10),
            maintenance: false,
        }
    }

    /// `count` runs of a check from `from` on.
    pub fn runs(
        &mut self,
        check: &Name,
        from: Timestamp,
        every: Duration,
        count: u32,
    ) -> Vec<RunResult> {
        (0..count).map(|number| self.run(check, from.after(every * number), every)).collect()
    }

    fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        // By Box and Muller (1958).
        let (one, other): (f64, f64) =
            (self.chance.random_range(f64::EPSILON..1.0), self.chance.random());
        let normal = (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * other).cos();
        median * (sigma * normal).exp()
    }
}
