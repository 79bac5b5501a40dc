//! How states, times and spans are put to people, the same in every channel.

use crate::model::{HeldBecause, Incident, Status, Timestamp, What};
use chrono_tz::Tz;
use std::time::Duration;

/// The mood of a message: the colour beside it and the sign before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tone {
    /// It is well again.
    Good,
    /// Nothing happened: a test, or an incident that nobody watches any more.
    Note,
    /// Something does not work well.
    Warning,
    /// Something does not work.
    Bad,
}

impl Tone {
    /// The tone of one incident, as it is by now.
    pub fn of_incident(incident: &Incident) -> Self {
        if incident.withdrawn().is_some() {
            return Self::Note;
        }
        match (incident.resolved_at, incident.status) {
            (Some(_), _) | (None, Status::Up) => Self::Good,
            (None, Status::Down) => Self::Bad,
            (None, Status::Degraded | Status::Unknown) => Self::Warning,
        }
    }

    /// The tone of a whole message: that of the worst incident in it.
    pub fn of(what: What, incidents: &[Incident]) -> Self {
        match what {
            What::Test => Self::Note,
            What::Flapping => Self::Warning,
            // Good news with a check among it that was removed is good news all the same.
            What::Resolved | What::Digest
                if incidents.iter().all(|incident| incident.resolved_at.is_some())
                    && incidents.iter().any(|incident| incident.withdrawn().is_none()) =>
            {
                Self::Good
            }
            _ => incidents.iter().map(Self::of_incident).max().unwrap_or(Self::Note),
        }
    }

    /// The sign.
    pub const fn icon(self) -> &'static str {
        match self {
            Self::Good => "🟢",
            Self::Note => "🔵",
            Self::Warning => "🟡",
            Self::Bad => "🔴",
        }
    }

    /// The colour, as `0xRRGGBB`.
    pub const fn rgb(self) -> u32 {
        match self {
            Self::Good => 0x2e_a0_43,
            Self::Note => 0x38_7c_df,
            Self::Warning => 0xd9_9e_0b,
            Self::Bad => 0xd7_3a_49,
        }
    }

    /// The colour as CSS writes it: `#rrggbb`.
    pub fn hex(self) -> String {
        format!("#{:06x}", self.rgb())
    }
}

/// The state of an incident in one shouted word.
pub fn state(incident: &Incident) -> &'static str {
    if incident.withdrawn().is_some() {
        return "CLOSED";
    }
    match (incident.resolved_at, incident.status) {
        (Some(_), _) | (None, Status::Up) => "UP",
        (None, Status::Down) => "DOWN",
        (None, Status::Degraded) => "DEGRADED",
        (None, Status::Unknown) => "UNKNOWN",
    }
}

/// Why notices came together.
pub const fn because(held: HeldBecause) -> &'static str {
    match held {
        HeldBecause::Dependency => "what they depend on was down",
        HeldBecause::Silence => "they were silenced",
        HeldBecause::Maintenance => "maintenance was going on",
        HeldBecause::Flapping => "the checks were flapping",
        HeldBecause::Group => "they came close together",
        HeldBecause::Cooldown => "this channel had heard about them not long before",
        HeldBecause::RateLimit => "this channel had reached its rate limit",
        HeldBecause::Storm => "many came at once",
    }
}

/// A span as people say it: its two largest units, such as `4m 10s`, `2h 5m` or `3days 4h`.
pub fn span(span: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let seconds = span.as_secs();
    let unit = match seconds {
        0..HOUR => 1,
        HOUR..DAY => MINUTE,
        _ => HOUR,
    };
    if seconds == 0 {
        return "less than 1s".to_owned();
    }
    humantime::format_duration(Duration::from_secs(seconds - seconds % unit)).to_string()
}

/// A point of time as people read it in `zone`: `2026-03-01 09:15:02 UTC`.
pub fn time(at: Timestamp, zone: Tz) -> String {
    at.to_datetime().with_timezone(&zone).format("%Y-%m-%d %H:%M:%S %Z").to_string()
}

#[cfg(test)]
mod tests {
    use super::{span, time};
    use crate::model::Timestamp;
    use std::time::Duration;

    #[test]
    fn a_span_shows_no_more_than_people_want_to_know() {
        for (seconds, expected) in [
            (0, "less than 1s"),
            (59, "59s"),
            (250, "4m 10s"),
            (7_512, "2h 5m"),
            (3 * 86_400 + 4 * 3_600 + 59, "3days 4h"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn a_time_is_shown_in_the_zone_of_its_readers() {
        let at = Timestamp::from_millis(1_772_356_502_000);
        assert_eq!(time(at, chrono_tz::UTC), "2026-03-01 09:15:02 UTC");
        assert_eq!(time(at, chrono_tz::Europe::Berlin), "2026-03-01 10:15:02 CET");
    }
}
