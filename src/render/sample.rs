//! Letters of every sort, to try a template on before it is needed.

use super::letter::{Held, Letter};
use crate::model::{
    HeldBecause, Incident, Labels, Severity, Status, TimelineEntry, Timestamp, What,
};
use std::time::Duration;

/// 2026-03-01 09:15:02 UTC.
const BEGAN: Timestamp = Timestamp::from_millis(1_772_356_502_000);

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
    incident.acknowledged = Some(crate::model::Acknowledgement {
        by: long.clone(),
        note: Some(long.clone()),
        at: BEGAN,
        until: None,
    });
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
    for incident in &incidents {
        let alone = std::slice::from_ref(incident);
        match incident.resolved_at {
            Some(_) => letter(What::Resolved, alone, None)?,
            None => {
                for what in [What::Opened, What::Worsened] {
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
    letter(What::Digest, &incidents[..2], None)
}
