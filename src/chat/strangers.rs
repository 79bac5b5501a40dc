use std::collections::HashMap;
use std::time::Duration;

/// How long one stranger is not named again.
const QUIET: Duration = Duration::from_secs(60);
/// The most strangers that are remembered; the log stays quiet about more than that.
const MOST: usize = 1000;

/// Who was named in the log of late, so that nobody can fill it.
#[derive(Debug, Default)]
pub(super) struct Strangers(HashMap<u64, Duration>);

impl Strangers {
    /// Whether the log should name `user` at `now`, a monotonic time.
    pub(super) fn is_news(&mut self, user: u64, now: Duration) -> bool {
        self.0.retain(|_, named| now.saturating_sub(*named) < QUIET);
        if self.0.contains_key(&user) || self.0.len() >= MOST {
            return false;
        }
        self.0.insert(user, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, Strangers};
    use std::time::Duration;

    #[test]
    fn a_stranger_is_named_once_a_minute_and_a_crowd_does_not_fill_the_log() {
        let mut strangers = Strangers::default();
        let mut check = |user, second, expected| {
            assert_eq!(strangers.is_news(user, Duration::from_secs(second)), expected);
        };
        check(1, 0, true);
        check(1, 59, false);
        check(2, 59, true);
        check(1, 60, true);
        check(1, 61, false);
        for user in 3..MOST as u64 + 1 {
            check(user, 61, true);
        }
        check(5000, 62, false);
        check(5000, 200, true);
    }
}
