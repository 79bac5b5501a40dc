//! How much a channel may be told: an exact sliding window, and quiet time per check.
//!
//! Times are milliseconds on the caller's own monotonic axis; they may be negative, for what
//! happened before the daemon started.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// At most so many in any span of so long. Unlike a token bucket it never lets more through, not
/// even at first.
#[derive(Clone, Debug)]
pub struct Window {
    count: usize,
    per_ms: i64,
    accepted: VecDeque<i64>,
}

impl Window {
    /// At most `count` in any `per`.
    pub fn new(count: u32, per: Duration) -> Self {
        Self { count: count as usize, per_ms: millis(per), accepted: VecDeque::new() }
    }

    /// Other terms from now on; what was accepted and is still remembered counts.
    pub fn reshape(&mut self, count: u32, per: Duration) {
        self.count = count as usize;
        self.per_ms = millis(per);
    }

    /// Counts one that was accepted at `at`.
    pub fn accept(&mut self, at: i64) {
        let later = self.accepted.iter().rev().take_while(|known| **known > at).count();
        self.accepted.insert(self.accepted.len() - later, at);
        let latest = self.accepted.back().copied().unwrap_or(at);
        self.forget(latest);
    }

    /// How many more may be accepted at `now`.
    pub fn free(&mut self, now: i64) -> usize {
        self.forget(now);
        self.count.saturating_sub(self.accepted.len())
    }

    /// From when on at least `wanted` may be accepted, if nothing else is meanwhile.
    pub fn free_from(&mut self, wanted: usize, now: i64) -> i64 {
        self.forget(now);
        // There may be more than now fit, from before a change of the terms.
        let must_leave = (self.accepted.len() + wanted).saturating_sub(self.count);
        match must_leave.checked_sub(1).and_then(|last| self.accepted.get(last)) {
            Some(at) => at + self.per_ms,
            None => now,
        }
    }

    fn forget(&mut self, now: i64) {
        while self.accepted.front().is_some_and(|at| at + self.per_ms <= now) {
            self.accepted.pop_front();
        }
    }

    /// The slots that ordinary notices may use: one is kept for the digest, where there is more
    /// than one.
    pub fn kept_for_digest(&self) -> usize {
        usize::from(self.count > 1)
    }
}

/// Quiet time after an opening, per check.
#[derive(Clone, Debug)]
pub struct Cooldown {
    span_ms: i64,
    openings: HashMap<String, i64>,
}

impl Cooldown {
    /// So long after each opening; none if zero.
    pub fn new(span: Duration) -> Self {
        Self { span_ms: millis(span), openings: HashMap::new() }
    }

    /// Another span from now on.
    pub fn reshape(&mut self, span: Duration) {
        self.span_ms = millis(span);
    }

    /// An opening about `check` was accepted at `at`.
    pub fn opened(&mut self, check: &str, at: i64) {
        if self.span_ms == 0 {
            return;
        }
        match self.openings.get_mut(check) {
            Some(known) => *known = (*known).max(at),
            None => {
                self.openings.retain(|_, known| *known + self.span_ms > at);
                self.openings.insert(check.to_owned(), at);
            }
        }
    }

    /// A check has another name now.
    pub fn rename(&mut self, old: &str, new: &str) {
        if let Some(at) = self.openings.remove(old) {
            let known = self.openings.entry(new.to_owned()).or_insert(at);
            *known = (*known).max(at);
        }
    }

    /// Until when openings about `check` wait, if they do at `now`.
    pub fn quiet_until(&self, check: &str, now: i64) -> Option<i64> {
        let until = self.openings.get(check)? + self.span_ms;
        (until > now).then_some(until)
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::{Cooldown, Window};
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        #[test]
        fn no_span_ever_holds_more_than_the_limit(
            steps in proptest::collection::vec(0i64..5_000, 1..300),
            count in 1u32..12,
        ) {
            let per = 10_000;
            let mut window = Window::new(count, Duration::from_millis(10_000));
            let (mut now, mut accepted) = (-20_000, Vec::new());
            for step in steps {
                now += step;
                if window.free(now) > 0 {
                    window.accept(now);
                    accepted.push(now);
                }
            }
            for from in &accepted {
                let within = accepted.iter().filter(|at| (*from..*from + per).contains(at)).count();
                prop_assert!(within <= count as usize);
            }
        }

        #[test]
        fn it_is_free_when_it_says(
            steps in proptest::collection::vec(0i64..3_000, 1..50),
            wanted in 1usize..4,
        ) {
            let mut window = Window::new(4, Duration::from_millis(10_000));
            let mut now = 0;
            for step in steps {
                now += step;
                if window.free(now) > 0 {
                    window.accept(now);
                }
            }
            let from = window.free_from(wanted, now);
            prop_assert!(window.clone().free(from) >= wanted);
            prop_assert!(from == now || window.clone().free(from - 1) < wanted);
        }
    }

    #[test]
    fn a_cooldown_runs_from_the_latest_opening_of_that_check() {
        let mut cooldown = Cooldown::new(Duration::from_millis(100));
        cooldown.opened("a", 10);
        assert_eq!(cooldown.quiet_until("a", 50), Some(110));
        assert_eq!(cooldown.quiet_until("a", 110), None);
        assert_eq!(cooldown.quiet_until("b", 50), None);
    }

    #[test]
    fn a_cooldown_goes_on_under_another_name() {
        let mut cooldown = Cooldown::new(Duration::from_millis(100));
        cooldown.opened("a", 10);
        cooldown.rename("a", "b");
        cooldown.rename("c", "d");
        assert_eq!(cooldown.quiet_until("b", 50), Some(110));
        assert_eq!(cooldown.quiet_until("a", 50), None);
    }

    #[test]
    fn no_cooldown_is_none_at_all() {
        let mut cooldown = Cooldown::new(Duration::ZERO);
        cooldown.opened("a", 10);
        assert_eq!(cooldown.quiet_until("a", 10), None);
    }
}
