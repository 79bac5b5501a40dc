//! What people do to an open incident: each is told by its timeline.

use crate::model::{Acknowledgement, Incident, Timestamp};

/// Somebody takes `incident` on; whoever had it before has it no longer.
pub fn acknowledge(incident: &mut Incident, acknowledgement: Acknowledgement) {
    let Acknowledgement { by, note, at, until } = &acknowledgement;
    let note = note.as_deref().filter(|note| !note.is_empty());
    let mut detail = note.map_or_else(|| by.clone(), |note| format!("{by}: {note}"));
    if let Some(until) = until {
        detail.push_str(&format!(", until {until}"));
    }
    incident.note(*at, "acknowledged", detail);
    incident.acknowledged = Some(acknowledgement);
}

/// `by` gives it back, or takes it from whoever had it; false if nobody had.
pub fn unacknowledge(incident: &mut Incident, by: &str, at: Timestamp) -> bool {
    let had = incident.acknowledged.take().is_some();
    if had {
        incident.note(at, "unacknowledged", by);
    }
    had
}

/// `by` wants to hear nothing of it until `until`, and then to be reminded.
pub fn snooze(incident: &mut Incident, by: &str, until: Timestamp, at: Timestamp) {
    incident.snoozed_until = Some(until);
    incident.note(at, "snoozed", format!("{by}, until {until}"));
}

/// Clears an acknowledgement whose time is over; false if there is none.
pub fn expire_acknowledgement(incident: &mut Incident, now: Timestamp) -> bool {
    let over = |taken: &mut Acknowledgement| taken.until.is_some_and(|until| until <= now);
    let Some(taken) = incident.acknowledged.take_if(over) else { return false };
    incident.note(now, "unacknowledged", format!("the time of {} is over", taken.by));
    true
}

/// What was said about a lesser trouble does not count for a greater one.
pub(super) fn disregard(incident: &mut Incident, at: Timestamp) {
    if let Some(taken) = incident.acknowledged.take() {
        incident.note(at, "unacknowledged", format!("it is worse than {} knew", taken.by));
    }
    if incident.snoozed_until.take().is_some() {
        incident.note(at, "snooze_ended", "it is worse than before");
    }
}

#[cfg(test)]
mod tests {
    use super::{acknowledge, expire_acknowledgement, snooze, unacknowledge};
    use crate::model::{Acknowledgement, Incident, Status, Timestamp};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn taken(note: Option<&str>, until: Option<i64>) -> Acknowledgement {
        let (by, note) = ("alice".to_owned(), note.map(str::to_owned));
        Acknowledgement { by, note, at: at(10), until: until.map(at) }
    }

    fn check(act: impl FnOnce(&mut Incident), expected: &[(&str, &str)]) -> Incident {
        let mut incident =
            Incident::new("1".to_owned(), "shop".into(), "http", Status::Down, at(0));
        act(&mut incident);
        let story: Vec<(&str, &str)> =
            incident.timeline.iter().map(|entry| (&*entry.what, &*entry.detail)).collect();
        assert_eq!(story, expected);
        incident
    }

    #[test]
    fn the_timeline_tells_who_took_it_on_and_until_when() {
        let incident = check(
            |incident| {
                acknowledge(incident, taken(Some("looking at it"), Some(60)));
                acknowledge(incident, taken(None, None));
            },
            &[
                ("acknowledged", "alice: looking at it, until 1970-01-01T00:01:00.000Z"),
                ("acknowledged", "alice"),
            ],
        );
        assert_eq!(incident.acknowledged, Some(taken(None, None)));
    }

    #[test]
    fn it_can_be_given_back_once() {
        let act = |incident: &mut Incident| {
            acknowledge(incident, taken(None, None));
            assert!(unacknowledge(incident, "bob", at(20)));
            assert!(!unacknowledge(incident, "bob", at(21)));
        };
        let incident = check(act, &[("acknowledged", "alice"), ("unacknowledged", "bob")]);
        assert_eq!(incident.acknowledged, None);
    }

    #[test]
    fn a_snooze_says_whose_it_is() {
        let act = |incident: &mut Incident| snooze(incident, "bob", at(60), at(20));
        let incident = check(act, &[("snoozed", "bob, until 1970-01-01T00:01:00.000Z")]);
        assert_eq!(incident.snoozed_until, Some(at(60)));
    }

    #[test]
    fn an_acknowledgement_ends_at_its_time_and_not_before() {
        check(
            |incident| {
                acknowledge(incident, taken(Some("mine"), Some(60)));
                assert!(!expire_acknowledgement(incident, at(59)));
                assert!(expire_acknowledgement(incident, at(60)));
                assert!(!expire_acknowledgement(incident, at(61)));
                acknowledge(incident, taken(None, None));
                assert!(!expire_acknowledgement(incident, at(1_000_000)));
            },
            &[
                ("acknowledged", "alice: mine, until 1970-01-01T00:01:00.000Z"),
                ("unacknowledged", "the time of alice is over"),
                ("acknowledged", "alice"),
            ],
        );
    }
}
