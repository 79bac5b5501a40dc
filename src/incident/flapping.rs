use super::Policy;
use crate::model::{CheckState, Status};

/// Results that are looked at; one fewer can differ from the one before.
const RESULTS: u32 = 21;
const TRANSITIONS: u32 = RESULTS - 1;
/// It starts above so many percent, and ends at or below so many.
const STARTS_ABOVE: u32 = 30;
const ENDS_AT: u32 = 25;

/// What a result means for whether a check goes to and fro.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It does from now on, as the words say.
    Started(String),
    /// It does no longer, as the words say.
    Ended(String),
}

/// Takes a result into the history of `state`, where the one before was `known`.
///
/// Unknown results are no part of that history, and neither is the first one a change.
pub(super) fn take(
    policy: &Policy,
    state: &mut CheckState,
    known: Option<Status>,
    now: Status,
) -> Option<Turn> {
    if !policy.flapping {
        return stop(state);
    }
    if now == Status::Unknown {
        return None;
    }
    let changed = known.is_some_and(|known| known != now);
    state.changes = ((state.changes << 1) | u32::from(changed)) & ((1 << TRANSITIONS) - 1);
    let weight = weight(state.changes);
    let words = || {
        let percent = (weight * 100 + FULL_WEIGHT / 2) / FULL_WEIGHT;
        format!("{percent} % of the last {RESULTS} results changed")
    };
    if !state.flapping && weight * 100 > STARTS_ABOVE * FULL_WEIGHT {
        state.flapping = true;
        Some(Turn::Started(words()))
    } else if state.flapping && weight * 100 <= ENDS_AT * FULL_WEIGHT {
        state.flapping = false;
        Some(Turn::Ended(words()))
    } else {
        None
    }
}

/// Forgets the history, since nobody asks for it.
pub(super) fn stop(state: &mut CheckState) -> Option<Turn> {
    state.changes = 0;
    let was = std::mem::take(&mut state.flapping);
    was.then(|| Turn::Ended("it is not watched for going to and fro any more".to_owned()))
}

/// The latest result that was not unknown, as the rows of equal verdicts tell it.
pub(super) fn latest_known(state: &CheckState) -> Option<Status> {
    if state.down_streak > 0 {
        Some(Status::Down)
    } else if state.bad_streak > 0 {
        Some(Status::Degraded)
    } else if state.better_streak > 0 {
        Some(Status::Up)
    } else {
        None
    }
}

/// The weight of 20 changes in 20 transitions.
const FULL_WEIGHT: u32 = weight((1 << TRANSITIONS) - 1);

/// How much the results of late changed, as a share of [`FULL_WEIGHT`].
///
/// The formula is that of Nagios Core (its manual, "Detection and Handling of State Flapping", and
/// `base/flapping.c`): of the 20 transitions between 21 results the oldest weighs 0.75, the newest
/// 1.25, and those between lie on a line, so that together they weigh 20. One of 76 parts of that
/// keeps the sum whole: 0.75 is 57 of them, and each newer transition weighs 0.5 / 19, which is two
/// more.
const fn weight(changes: u32) -> u32 {
    let mut sum = 0;
    let mut age = 0;
    while age < TRANSITIONS {
        if changes >> age & 1 == 1 {
            sum += 57 + 2 * (TRANSITIONS - 1 - age);
        }
        age += 1;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::{FULL_WEIGHT, weight};

    #[test]
    fn a_newer_change_weighs_more_as_published() {
        assert_eq!(FULL_WEIGHT, 20 * 76);
        assert_eq!(f64::from(weight(1)) / 76.0, 1.25);
        assert_eq!(f64::from(weight(1 << 19)) / 76.0, 0.75);
    }

    #[test]
    fn the_example_of_the_manual_comes_to_its_figure() {
        // Changes at t3, t4, t5, t9, t12, t16 and t19 of 20: 35 % unweighted, "slightly less" so.
        let changes = [3, 4, 5, 9, 12, 16, 19].iter().fold(0, |bits, t| bits | 1 << (20 - t));
        assert_eq!(weight(changes) * 100 / FULL_WEIGHT, 34);
    }
}
