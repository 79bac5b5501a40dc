use super::checks::{at_least_one, positive};
use super::problem::Place;
use super::section::Section;
use crate::model::{ActionName, did_you_mean};
use std::time::Duration;

/// `[check.recover]`, with the keys of its way still to be read.
#[derive(Debug)]
pub struct RawRecovery<'i> {
    /// What is done, if it says so properly.
    pub action: Option<ActionName>,
    /// Where that stands.
    pub action_place: Place,
    /// Attempts within any `window`, at least 1.
    pub max_attempts: u32,
    /// The span in which attempts count.
    pub window: Duration,
    /// From the end of an attempt to the next, at least.
    pub cooldown: Duration,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Whether it only says what it would do.
    pub dry_run: bool,
    /// The key that says how it is done, such as `command`, if there is one.
    pub way: Option<&'static str>,
    /// The table, with the keys of the way left in it.
    pub table: Section<'i>,
}

/// `[recovery]` of `daemon.toml`: what all recovery actions have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoverySettings {
    /// Attempts that may be at work at the same time, over all checks.
    pub max_at_once: usize,
    /// Whether all of them only say what they would do.
    pub dry_run: bool,
}

impl Default for RecoverySettings {
    fn default() -> Self {
        Self { max_at_once: 1, dry_run: false }
    }
}

/// Reads `[check.recover]`; `ways` are the keys that say how it is done.
pub(super) fn read_recovery<'i>(mut table: Section<'i>, ways: &[&'static str]) -> RawRecovery<'i> {
    let action_place = table.place_of("action");
    let action = table.required_built("action", |word: String| {
        ActionName::from_word(&word).ok_or_else(|| {
            let words = ActionName::ALL.map(ActionName::as_str);
            match did_you_mean(&word, words) {
                Some(question) => format!("there is no action `{word}`; {question}"),
                None => format!("there is no action `{word}` (use one of {})", words.join(", ")),
            }
        })
    });
    let max_attempts = table.built("max_attempts", at_least_one).unwrap_or(3);
    let cooldown = table.duration("cooldown").unwrap_or(Duration::from_secs(5 * 60));
    let window_place = table.place_of("window");
    let window = table
        .built("window", |text: String| positive(&text))
        .unwrap_or(Duration::from_secs(60 * 60));
    let timeout =
        table.built("timeout", |text: String| positive(&text)).unwrap_or(Duration::from_secs(60));
    let dry_run = table.or("dry_run", false);
    let way = table.one_key_of(ways);
    if cooldown.saturating_mul(max_attempts) >= window {
        let message = format!(
            "{max_attempts} attempts with a cooldown of {} are not over within {}: they are never \
             spent, and nobody is told that they do not help",
            humantime::format_duration(cooldown),
            humantime::format_duration(window),
        );
        table.report(window_place.warning(message).hint("make `window` longer"));
    }
    RawRecovery {
        action,
        action_place,
        max_attempts,
        window,
        cooldown,
        timeout,
        dry_run,
        way,
        table,
    }
}

/// Reads `[recovery]` of `daemon.toml`.
pub(super) fn read_recovery_settings(table: &mut Section<'_>) -> RecoverySettings {
    let default = RecoverySettings::default();
    let max_at_once = table.built("max_at_once", |count: usize| match count {
        0 => Err("must be at least 1".to_owned()),
        count => Ok(count),
    });
    RecoverySettings {
        max_at_once: max_at_once.unwrap_or(default.max_at_once),
        dry_run: table.or("dry_run", default.dry_run),
    }
}
