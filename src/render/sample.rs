//! Letters of every sort, to try a template on before it is needed.

use super::letter::{Held, Letter};
use crate::model::{Acknowledgement, HeldBecause, Incident, Labels, Name, Severity, Status};
use crate::model::{TimelineEntry, Timestamp, What};
use std::time::Duration;

/// 2026-03-01 09:15:02 UTC.
const BEGAN: Timestamp = Timestamp::from_millis(1_772_356_502_000);

/// What may be told about an incident that goes on.
pub(super) const ABOUT_OPEN: [What; 7] = [
    What::Opened,
    What::Worsened,
    What::Reminder,
    What::Escalated,
    What::Flapping,
    What::FlappingEnded,
    What::RecoveryStopped,
];

/// Incidents as different as templates meet them: with everything, with as little as possible,
/// and one that is over.
pub fn incidents() -> Vec<Incident> {
    let full = Incident {
        began_at: BEGAN,
        reasons: vec!["status == 200 failed: status is 503".to_owned()],
        labels: Labels::from([
            ("team".to_owned(), "shop".to_owned()),
            ("tier".to_owned(), "1".to_owned()),
        ]),
        runbook: Some("https://wiki.example/shop-api".to_owned()),
        timeline: vec![TimelineEntry {
            at: BEGAN,
            what: "failing".to_owned(),
            detail: "status == 200 failed: status is 503".to_owned(),
        }],
        ..Incident::new(
            "01JNA8Y8PK0000000000000000".to_owned(),
            "shop-api".into(),
            "http",
            Status::Down,
            BEGAN.after(Duration::from_secs(60)),
        )
    };
    let bare = Incident {
        id: "01JNA8Y8PK0000000000000001".to_owned(),
        check: "core-db".into(),
        kind: "postgres".to_owned(),
        status: Status::Degraded,
        severity: Severity::Warning,
        reasons: Vec::new(),
        labels: Labels::new(),
        runbook: None,
        timeline: Vec::new(),
        ..full.clone()
    };
    let over = Incident {
        id: "01JNA8Y8PK0000000000000002".to_owned(),
        check: "billing".into(),
        resolved_at: Some(full.opened_at.after(Duration::from_secs(250))),
        ..full.clone()
    };
    vec![full, bare, over]
}

/// An incident with a long story: others depend on it, recovery tried its best, it flapped, and
/// somebody has taken it on.
pub fn eventful() -> Incident {
    let mut incident = incidents().remove(0);
    let after = |seconds| BEGAN.after(Duration::from_secs(seconds));
    incident.dependents = (1..=12).map(|number| Name::from(format!("shop-{number:02}"))).collect();
    for (seconds, what, detail) in [
        (90, "recovery", "restart (shop-api.service), attempt 1 of 3: still down"),
        (180, "flapping", "43% of the last 21 results changed"),
        (240, "recovery", "3 attempts of restart (shop-api.service) did not help"),
        (270, "acknowledged", "by anna: the disk is full"),
    ] {
        incident.note(after(seconds), what, detail);
    }
    incident.acknowledged = Some(Acknowledgement {
        by: "anna".to_owned(),
        note: Some("the disk is full".to_owned()),
        at: after(270),
        until: None,
    });
    incident.snoozed_until = Some(after(3_600));
    incident.reminders = 2;
    incident
}

/// What a check of a hostile server may say, in every place where text from outside may stand.
#[cfg(test)]
pub fn hostile() -> Incident {
    let evil = "<!channel> @everyone @here <script>alert(1)</script> **bold** `code` _u_ \
                [x](https://evil.example) &amp; </b></a> \"quoted\" \\ \r\nBcc: all@example.org\r\n\
                \u{200b}\u{202e}desrever\u{2066} \u{1b}[31mred\u{7} 🔥👩‍🚒 ||spoiler|| ~~gone~~ ";
    let long = evil.repeat(10_000 / evil.chars().count() + 1);
    let mut incident = incidents().remove(0);
    incident.reasons = vec![long.clone(); 40];
    incident.labels = (0..100).map(|index| (format!("{evil}{index}"), long.clone())).collect();
    incident.runbook = Some(format!("javascript:{long}"));
    incident.acknowledged = Some(Acknowledgement {
        by: long.clone(),
        note: Some(long.clone()),
        at: BEGAN,
        until: None,
    });
    for what in ["recovery", "flapping"] {
        for _ in 0..40 {
            incident.note(BEGAN, what, long.clone());
        }
    }
    incident.dependents = vec![Name::from(long.clone()); 100];
    incident.check = long.clone().into();
    incident.kind = long;
    incident
}

/// Gives `each` a sample letter of every sort.
pub(super) fn letters<E>(mut each: impl FnMut(&Letter<'_>) -> Result<(), E>) -> Result<(), E> {
    let incidents = incidents();
    let now = BEGAN.after(Duration::from_secs(310));
    let mut letter = |what, incidents: &[Incident], held| {
        let zone = chrono_tz::UTC;
        each(&Letter { what, at: now, now, daemon: "prod", zone, incidents, held })
    };
    let mut unknown = incidents[1].clone();
    unknown.status = Status::Unknown;
    let eventful = eventful();
    let mut survived = eventful.clone();
    survived.resolved_at = Some(now);
    for incident in incidents.iter().chain([&unknown, &eventful, &survived]) {
        let alone = std::slice::from_ref(incident);
        match incident.resolved_at {
            Some(_) => letter(What::Resolved, alone, None)?,
            None => {
                for what in ABOUT_OPEN {
                    letter(what, alone, None)?;
                }
            }
        }
        letter(What::Digest, alone, None)?;
        letter(What::Test, alone, None)?;
    }
    letter(What::Test, &[], None)?;
    let held = Some(Held { notices: 4, because: HeldBecause::RateLimit });
    letter(What::Digest, &incidents, held)?;
    letter(What::Digest, &incidents[..2], None)?;
    letter(What::Digest, &[survived, incidents[2].clone()], held)
}
