//! When a recovery action is due, and when no more of them are tried: pure.
//!
//! ```text
//!             the attempts are spent, and the last did not help
//!   closed ───────────────────────────────────────────────────▶ open
//!     ▲                                                         │  ▲
//!     │ well again              `window` later: one attempt     ▼  │ that did not help either
//!     └──────────────────────────────────────────────────── half-open
//! ```
//!
//! Whoever drives it asks [`decide`] after each event, and books what it does about the answer:
//! [`began`] before an action starts, so that a crash does not repeat it, [`ended`] when it is over,
//! [`stopped`] when the breaker opens. It tells of each run with [`judged`], and of the end of the
//! incident with [`well_again`].
//!
//! All times are of the wall clock, since attempts count over restarts. A step forward makes attempts
//! older, as a machine that slept would. After a step back, what lies ahead counts as now: a step
//! can delay an attempt, but not add one.

use crate::model::{ActionName, HeldBecause, Incident, RecoveryState, Status, Timestamp};
use std::time::Duration;

/// By how much of itself a cooldown is lengthened at most, so that checks that failed together
/// are not restarted together for ever.
pub const JITTER: f64 = 0.2;

/// What a check asks of its recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryPolicy {
    /// What is done.
    pub action: ActionName,
    /// Attempts within any `window`, at least 1.
    pub max_attempts: u32,
    /// The span in which attempts count, and the time that an open breaker stays so.
    pub window: Duration,
    /// From the end of an attempt to the next, at least.
    pub cooldown: Duration,
    /// Whether it only says what it would do. Such attempts count like others, so that it shows
    /// what would happen.
    pub dry_run: bool,
}

/// What stands round the incident of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gates {
    /// The latest verdict of the check, which may be better than the incident.
    pub latest: Status,
    /// Why people are not told of the incident.
    pub suppressed_by: Option<HeldBecause>,
    /// Somebody has taken it on, and that has not expired.
    pub acknowledged: bool,
    /// The check goes to and fro.
    pub flapping: bool,
    /// Somebody stopped its runs.
    pub paused: bool,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing, until something else happens.
    Nothing(Idle),
    /// Nothing before that time.
    Wait {
        /// When to ask again.
        until: Timestamp,
        /// What has to pass.
        because: Waiting,
    },
    /// It would be tried, but something holds it.
    Held(Hold),
    /// Try it.
    Attempt {
        /// Which one of the window it is, from 1.
        number: u32,
        /// Out of so many.
        of: u32,
        /// Whether it is the one that a half-open breaker allows.
        half_open: bool,
    },
    /// The breaker opens: book it with [`stopped`], and tell people.
    Stopped,
}

/// Why there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// The incident is over, or not of a check that is down; or the latest verdict was better.
    NotDown,
    /// An attempt is at work.
    Running,
    /// An attempt is over, and no run has said yet whether it helped.
    Unjudged,
}

/// What has to pass before the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The cooldown after the attempt before.
    Cooldown,
    /// The time that the breaker stays open.
    Breaker,
}

/// What holds an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The check is paused.
    Paused,
    /// Something that it stands on is down, or is being looked at.
    Dependency,
    /// Somebody silenced it.
    Silence,
    /// A maintenance window.
    Maintenance,
    /// It goes to and fro.
    Flapping,
    /// Somebody has taken it on.
    Acknowledged,
}

impl Hold {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Dependency => "dependency",
            Self::Silence => "silence",
            Self::Maintenance => "maintenance",
            Self::Flapping => "flapping",
            Self::Acknowledged => "acknowledged",
        }
    }
}

/// Says what is to be done now about `incident`.
///
/// Of `state` it changes only times that a step of the clock, or a shorter cooldown after a reload,
/// left too far ahead.
pub fn decide(
    policy: &RecoveryPolicy,
    state: &mut RecoveryState,
    incident: &Incident,
    gates: &Gates,
    now: Timestamp,
) -> Decision {
    settle(policy, state, now);
    let down = incident.resolved_at.is_none()
        && incident.status == Status::Down
        && gates.latest == Status::Down;
    if state.running {
        return Decision::Nothing(Idle::Running);
    }
    if !down {
        return Decision::Nothing(Idle::NotDown);
    }
    if let Some(hold) = held(gates) {
        return Decision::Held(hold);
    }
    if state.unjudged.is_some() {
        return Decision::Nothing(Idle::Unjudged);
    }
    if let Some(until) = state.not_before.filter(|until| *until > now) {
        return Decision::Wait { until, because: Waiting::Cooldown };
    }
    let counting: Vec<Timestamp> = counting(policy, state, now).collect();
    let of = policy.max_attempts;
    let number = u32::try_from(counting.len()).unwrap_or(u32::MAX).saturating_add(1);
    match state.open_since {
        None if number <= of => Decision::Attempt { number, of, half_open: false },
        None => Decision::Stopped,
        Some(_) if state.half_open => Decision::Stopped,
        Some(since) => {
            // The attempts lie before the opening, unless a reload changed what is allowed.
            let surplus = usize::try_from(number.saturating_sub(of)).unwrap_or(usize::MAX);
            let last = surplus.checked_sub(1).and_then(|index| counting.get(index)).copied();
            let until = last.unwrap_or(since).max(since).after(policy.window);
            if until > now {
                Decision::Wait { until, because: Waiting::Breaker }
            } else {
                Decision::Attempt { number, of, half_open: true }
            }
        }
    }
}

/// Books the attempt that [`decide`] asked for. The state has to be durable before it starts.
///
/// `jitter` is a random number from 0 to 1: how much of the longest lengthening its cooldown gets.
pub fn began(policy: &RecoveryPolicy, state: &mut RecoveryState, now: Timestamp, jitter: f64) {
    settle(policy, state, now);
    state.attempts = counting(policy, state, now).collect();
    state.attempts.push(now);
    state.half_open = state.open_since.is_some();
    state.running = true;
    state.cooldown = lengthened(policy.cooldown, jitter);
    state.not_before = Some(now.after(state.cooldown));
}

/// Takes an attempt back that [`began`] had booked and that never started.
pub fn taken_back(state: &mut RecoveryState) {
    if state.running {
        state.running = false;
        state.half_open = false;
        state.not_before = None;
        state.attempts.pop();
    }
}

/// The attempt at work is over, whatever came of it; a run that begins now will judge.
///
/// Also to be called at start where `running` is set: the end of the daemon cut the attempt off.
pub fn ended(policy: &RecoveryPolicy, state: &mut RecoveryState, now: Timestamp) {
    if state.running {
        state.running = false;
        state.unjudged = Some(now);
        state.not_before = Some(now.after(state.cooldown));
        settle(policy, state, now);
    }
}

/// A run of the check that began at `started` was judged.
pub fn judged(state: &mut RecoveryState, started: Timestamp) {
    if state.unjudged.is_some_and(|ended| started >= ended) {
        state.unjudged = None;
    }
}

/// The breaker opens.
pub fn stopped(state: &mut RecoveryState, now: Timestamp) {
    state.open_since = Some(now);
    state.half_open = false;
}

/// The incident is over: the breaker closes. The attempts go on counting.
pub fn well_again(state: &mut RecoveryState) {
    state.open_since = None;
    state.half_open = false;
    state.unjudged = None;
}

fn held(gates: &Gates) -> Option<Hold> {
    if gates.paused {
        return Some(Hold::Paused);
    }
    let suppressed = match gates.suppressed_by {
        Some(HeldBecause::Dependency) => Some(Hold::Dependency),
        Some(HeldBecause::Silence) => Some(Hold::Silence),
        Some(HeldBecause::Maintenance) => Some(Hold::Maintenance),
        Some(HeldBecause::Flapping) => Some(Hold::Flapping),
        // How much a channel hears has nothing to do with whether the check needs help.
        Some(
            HeldBecause::Group
            | HeldBecause::Cooldown
            | HeldBecause::RateLimit
            | HeldBecause::Storm,
        )
        | None => None,
    };
    suppressed
        .or_else(|| gates.flapping.then_some(Hold::Flapping))
        .or_else(|| gates.acknowledged.then_some(Hold::Acknowledged))
}

/// The attempts that are younger than the window, oldest first.
fn counting(
    policy: &RecoveryPolicy,
    state: &RecoveryState,
    now: Timestamp,
) -> impl Iterator<Item = Timestamp> {
    let window = policy.window;
    state.attempts.iter().copied().filter(move |at| at.after(window) > now)
}

/// Bends what lies too far ahead.
fn settle(policy: &RecoveryPolicy, state: &mut RecoveryState, now: Timestamp) {
    for at in state.attempts.iter_mut().chain(&mut state.open_since).chain(&mut state.unjudged) {
        *at = now.min(*at);
    }
    let furthest = now.after(lengthened(policy.cooldown, 1.0));
    state.not_before = state.not_before.map(|until| until.min(furthest));
}

fn lengthened(cooldown: Duration, jitter: f64) -> Duration {
    let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 1.0 };
    cooldown.saturating_add(
        Duration::try_from_secs_f64(cooldown.as_secs_f64() * JITTER * jitter).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests;
