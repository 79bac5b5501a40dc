//! Letters of every sort, to try a template on before it is needed.

use super::letter::{Background, Held, Letter};
use super::past::{Past, WEEK, tells_of_past};
use crate::model::{Acknowledgement, Action, HeldBecause, Incident, Labels, Name, Picture};
use crate::model::{RunResult, Severity, Status, TimelineEntry, Timestamp, What};
use serde_json::json;
use std::time::Duration;
use url::Url;

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

/// When the samples are told: 2026-03-01 09:20:12 UTC.
pub const TOLD: Timestamp = Timestamp::from_millis(BEGAN.as_millis() + 310_000);

/// A message to look at.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What it tells.
    pub what: What,
    /// What it is about.
    pub incidents: Vec<Incident>,
    /// For a digest: why its notices come together.
    pub because: Option<HeldBecause>,
    /// What history says.
    pub past: Option<Past>,
}

impl Sample {
    /// The sample of a message that tells `what`, as a shop might get it.
    pub fn of(what: What) -> Self {
        let mut incident = incidents().remove(0);
        incident.dependents = ["cart", "checkout", "search"].map(Name::from).to_vec();
        incident.note(incident.opened_at, "opened", "down: status == 200 failed: status is 503");
        let attempt = "restart (shop-api.service), attempt 1 of 3: still down";
        incident.note(BEGAN.after(Duration::from_secs(90)), "recovery", attempt);
        let past = tells_of_past(what).then(|| past(&incident));
        let mut sample = Self { what, incidents: Vec::new(), because: None, past };
        match what {
            What::Worsened => {
                incident.timeline.clear();
                incident.note(incident.opened_at, "opened", "degraded: latency is 912ms");
                incident.note(TOLD, "worsened", "down: status == 200 failed: status is 503");
            }
            What::Flapping => {
                incident.note(TOLD, "flapping", "43% of the last 21 results changed");
            }
            What::FlappingEnded => {
                incident.note(TOLD, "flapping_ended", "19% of the last 21 results changed");
            }
            What::RecoveryStopped => {
                let stopped = "3 attempts of restart (shop-api.service) did not help";
                incident.note(TOLD, "recovery", stopped);
            }
            What::Resolved => incident.resolved_at = Some(TOLD),
            What::Opened | What::Reminder | What::Escalated | What::Digest | What::Test => {}
        }
        match what {
            What::Test => {}
            What::Digest => {
                sample.because = Some(HeldBecause::RateLimit);
                sample.incidents = several();
            }
            _ => sample.incidents.push(incident),
        }
        sample
    }

    /// The worst that a hostile server may say: an opening, and the digest of many.
    pub fn hostile() -> [Self; 2] {
        let incident = hostile();
        let text = incident.reasons.first().cloned().unwrap_or_default();
        let mut past = past(&incident);
        for run in &mut past.results {
            run.facts = json!({ "status": text, "body": text });
        }
        let digest = Self {
            what: What::Digest,
            incidents: vec![incident.clone(); 25],
            because: Some(HeldBecause::Storm),
            past: None,
        };
        let incidents = vec![incident];
        [Self { what: What::Opened, incidents, because: None, past: Some(past) }, digest]
    }
}

/// Several incidents of a bad night, with the one that others stand on among them.
fn several() -> Vec<Incident> {
    let mut incidents = incidents();
    let root = incidents.get(1).cloned().map(|slow| Incident {
        id: "01JNA8Y8PK0000000000000003".to_owned(),
        check: "core-switch".into(),
        kind: "tcp".to_owned(),
        status: Status::Down,
        severity: Severity::Critical,
        reasons: vec!["10.0.0.1:22: connection refused".to_owned()],
        dependents: ["shop-api", "core-db", "backup"].map(Name::from).to_vec(),
        ..slow
    });
    if let Some(slow) = incidents.get_mut(1) {
        slow.reasons.push("latency is 912ms, over 800ms".to_owned());
    }
    incidents.extend(root);
    incidents
}

/// History to go with `incident`: a good week, one short incident in it, and then this.
pub fn past(incident: &Incident) -> Past {
    let usual = [41.0, 44.0, 39.0, 47.0, 43.0, 62.0, 40.0, 45.0, 20.0, 42.0, 95.0, 44.0, 51.0];
    let result = |index: u32| {
        let is_bad = index < 3;
        let latency_ms = usual.iter().cycle().nth(index as usize).copied().unwrap_or_default();
        RunResult {
            check: incident.check.clone(),
            at: BEGAN.after(Duration::from_secs(60)).before(Duration::from_secs(30) * index),
            status: if is_bad { Status::Down } else { Status::Up },
            latency_ms,
            reasons: Vec::new(),
            facts: match is_bad {
                true => json!({ "status": 503, "body": { "db": "connection refused" } }),
                false => json!({ "status": 200 }),
            },
            stands_for: Duration::from_secs(30),
            maintenance: false,
        }
    };
    let before = BEGAN.before(Duration::from_secs(3 * 86_400 + 4 * 3_600));
    let earlier = Incident {
        id: "01JN1Z0000000000000000000X".to_owned(),
        began_at: before,
        opened_at: before.after(Duration::from_secs(60)),
        resolved_at: Some(before.after(Duration::from_secs(724))),
        timeline: Vec::new(),
        ..incident.clone()
    };
    Past {
        results: (0..30).map(result).collect(),
        incidents: vec![incident.clone(), earlier],
        known_since: Some(BEGAN.before(WEEK)),
    }
}

/// The results of the hour until [`TOLD`], with `incident` at the end of it; the newest first.
pub fn hour(incident: &Incident) -> Vec<RunResult> {
    let result = |index: u32| {
        let at = TOLD.before(Duration::from_secs(30) * index);
        let latency_ms = match index {
            33 => 71.0,
            34 => 58.0,
            86 => 95.0,
            87 => 83.0,
            index => f64::from(38 + (5 * index * index + 3 * index) % 13),
        };
        RunResult {
            check: incident.check.clone(),
            at,
            status: if at >= incident.began_at { incident.status } else { Status::Up },
            latency_ms,
            reasons: Vec::new(),
            facts: json!({}),
            stands_for: Duration::from_secs(30),
            maintenance: false,
        }
    };
    (0..120).map(result).collect()
}

/// What a person may do about a sample, as its links below `pages` would be.
pub fn actions(pages: &Url) -> Vec<Action> {
    let action = |label: &str, token: &str| {
        let mut url = pages.clone();
        url.path_segments_mut().ok()?.pop_if_empty().extend(["act", token]);
        Some(Action { label: label.to_owned(), url: url.into() })
    };
    let both = [action("Acknowledge", "AWE-a-sample"), action("Silence 2h", "AXM-a-sample")];
    both.into_iter().flatten().collect()
}

/// Where the pages of the samples are.
pub fn pages() -> Option<Url> {
    Url::parse("https://watchbell.example").ok()
}

/// What a check of a hostile server may say, in every place where text from outside may stand.
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
    let now = TOLD;
    let (history, pages) = (past(&incidents[0]), pages());
    let actions = pages.as_ref().map(actions).unwrap_or_default();
    let picture = Picture { png: Vec::new().into(), alt: "The last hour of shop-api".to_owned() };
    let full = Background {
        pages: pages.as_ref(),
        past: Some(&history),
        picture: Some(&picture),
        actions: &actions,
    };
    let (at, zone, daemon) = (now, chrono_tz::UTC, "prod");
    for what in ABOUT_OPEN.into_iter().chain([What::Digest]) {
        let told = if what == What::Digest { &incidents[..] } else { &incidents[..1] };
        let (incidents, held, background) = (told, None, full);
        each(&Letter { what, at, now, daemon, zone, incidents, held, background })?;
    }
    let mut letter = |what, incidents: &[Incident], held| {
        let background = Background::default();
        each(&Letter { what, at, now, daemon, zone, incidents, held, background })
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
