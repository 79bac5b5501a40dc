use std::time::Duration;

/// How long to wait after the `attempts`-th refusal in a row (from 1), `age` after the first try:
/// 1 s, doubling to 30 s in the first ten minutes, then five minutes.
///
/// `jitter` (0 to 1) lengthens it by up to a fifth, so that many do not come back together.
pub fn wait(attempts: u32, age: Duration, jitter: f64) -> Duration {
    let base = if age >= EAGER {
        PATIENT_STEP
    } else {
        let doubled = 1_u64.checked_shl(attempts.saturating_sub(1)).unwrap_or(u64::MAX);
        Duration::from_secs(doubled.min(EAGER_STEP_MAX))
    };
    base + base.mul_f64(jitter.clamp(0.0, 1.0) * 0.2)
}

const EAGER: Duration = Duration::from_secs(600);
const EAGER_STEP_MAX: u64 = 30;
const PATIENT_STEP: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::wait;
    use std::time::Duration;

    #[test]
    fn it_doubles_to_thirty_seconds_and_grows_patient_after_ten_minutes() {
        let early = Duration::from_secs(5);
        let waits: Vec<u64> = (1..9).map(|n| wait(n, early, 0.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(wait(70, Duration::from_secs(600), 0.0), Duration::from_secs(300));
        assert_eq!(wait(1, early, 1.0), Duration::from_millis(1200));
    }
}
