//! What the configuration says about checks that wait to be pinged.

use super::PlannedCheck;
use crate::check::kinds as check_kinds;
use crate::check::kinds::heartbeat::state::{Calendar, Expected, Filter, Terms};
use crate::check::kinds::heartbeat::{Heartbeat, Rhythm};
use crate::config::{ApiSettings, CreatedHeartbeats, Place, Problems};
use crate::incident::Policy;
use crate::judge::Judge;
use crate::model::{Name, Secret, Timestamp};
use crate::schedule::Cadence;
use crate::serve::Scope;
use chrono_tz::Tz;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a look at a heartbeat may take: it asks nobody.
const LOOK_WITHIN: Duration = Duration::from_secs(10);

/// A check that waits to be pinged.
#[derive(Clone, Debug)]
pub struct PlannedHeartbeat {
    /// Its secret, and where that stands.
    pub uuid: Option<(Secret, Place)>,
    /// Its name in URLs, and where that stands; no place where a ping made it.
    pub slug: Option<(String, Option<Place>)>,
    /// When pings are expected, and which count.
    pub terms: Arc<Terms>,
    /// Whether it goes by the wall clock.
    pub by_calendar: bool,
}

/// Who may ping by slug, and what a ping may make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlannedPings {
    /// The key that opens all slugs.
    pub key: Option<Secret>,
    /// Whether a key of the API may push, which opens them as well.
    pub pushed: bool,
    /// What a ping with `?create=1` makes.
    pub created: Option<CreatedHeartbeats>,
}

impl PlannedPings {
    /// What `[api]` says about them.
    pub fn of(api: &ApiSettings) -> Self {
        let pushes = |scope: &str| scope == Scope::Push.as_str();
        let mut scopes = api.keys.iter().flat_map(|key| &key.scopes);
        let pushed = scopes.any(|(scope, _)| pushes(scope));
        Self { key: api.ping_key.clone(), pushed, created: api.created.clone() }
    }
}

impl Calendar for Cadence {
    fn after(&self, time: Timestamp) -> Option<Timestamp> {
        self.slot_after(time)
    }
}

/// A heartbeat ready to be pinged, and the cadence of the looks at it.
pub(super) fn build_heartbeat(
    heartbeat: &Heartbeat,
    zone: Tz,
    problems: &mut Problems,
) -> Option<(Cadence, PlannedHeartbeat)> {
    let (cadence, expected) = match &heartbeat.rhythm {
        Rhythm::Period(period) => (Cadence::pushed(), Expected::Every(*period)),
        Rhythm::Cron { line, time_zone, place } => {
            let cadence = Cadence::pushed_by(line, time_zone.unwrap_or(zone));
            let cadence = super::placed(cadence, place, problems)?;
            let expected = Expected::At(Arc::new(cadence.clone()));
            (cadence, expected)
        }
    };
    let by_calendar = matches!(expected, Expected::At(_));
    let terms = Terms {
        expected,
        grace: heartbeat.grace,
        methods: heartbeat.methods.clone(),
        filter: heartbeat.filter.clone(),
        manual_resume: heartbeat.manual_resume,
    };
    let slug = heartbeat.slug.clone().map(|(slug, place)| (slug, Some(place)));
    let uuid = heartbeat.uuid.clone();
    Some((cadence, PlannedHeartbeat { uuid, slug, terms: Arc::new(terms), by_calendar }))
}

/// One that a ping to `slug` made.
pub fn create(slug: &str, terms: &CreatedHeartbeats) -> Option<PlannedCheck> {
    let kind = &check_kinds::heartbeat::KIND;
    let CreatedHeartbeats { period, grace, severity, labels, .. } = terms;
    let check = Heartbeat {
        uuid: None,
        slug: None,
        rhythm: Rhythm::Period(*period),
        grace: *grace,
        methods: Vec::new(),
        filter: Filter::default(),
        manual_resume: false,
    };
    let planned = Terms {
        expected: Expected::Every(*period),
        grace: *grace,
        methods: Vec::new(),
        filter: Filter::default(),
        manual_resume: false,
    };
    let name: Name = slug.into();
    Some(PlannedCheck {
        name: name.clone(),
        renamed_from: None,
        kind,
        check: Box::new(check),
        judge: Arc::new(Judge::compile(&[], &[], &mut kind.all_facts()).ok()?),
        cadence: Cadence::pushed(),
        timeout: LOOK_WITHIN,
        retry_every: Duration::MAX,
        policy: at_once(Policy {
            check: name,
            kind: kind.name.to_owned(),
            confirm_after: 1,
            recover_after: 1,
            lasting: Duration::ZERO,
            unknown_after: None,
            flapping: true,
            severity: *severity,
            labels: Arc::new(labels.clone()),
            runbook: None,
        }),
        depends_on: Vec::new(),
        public: None,
        recover: None,
        heartbeat: Some(PlannedHeartbeat {
            uuid: None,
            slug: Some((slug.to_owned(), None)),
            terms: Arc::new(planned),
            by_calendar: false,
        }),
        source: None,
        fingerprint: Sha256::digest(format!("{slug} {terms:?}")).into(),
    })
}

/// The policy of a check that confirms itself: what it waits for is its grace.
pub(super) fn at_once(policy: Policy) -> Policy {
    Policy { confirm_after: 1, recover_after: 1, unknown_after: None, ..policy }
}

/// A heartbeat is not run, so what says how it is run is an error.
pub(super) fn refuse_keys_of_runs(
    given: &[(&'static str, Place)],
    (confirm_after, recover_after): (u32, u32),
    problems: &mut Problems,
) {
    for (key, place) in given {
        let (message, hint) = match *key {
            "every" => (
                "a heartbeat is not run, it waits to be pinged",
                "say how often by `period` in [check.heartbeat]",
            ),
            "cron" | "time_zone" => (
                "a heartbeat is not run, it waits to be pinged",
                "write it into [check.heartbeat], to say when pings are due",
            ),
            "confirm_after" if confirm_after == 1 => continue,
            "recover_after" if recover_after == 1 => continue,
            "confirm_after" | "recover_after" => {
                ("is 1 for a heartbeat: each ping counts", "`grace` says how long to wait")
            }
            _ => ("has no meaning for a heartbeat", "`grace` says how long to wait"),
        };
        problems.push(place.error(message).hint(hint));
    }
}

/// Two checks with one address are an error, and so is an address that nobody can use.
pub(super) fn check_addresses(
    checks: &[PlannedCheck],
    pings: &PlannedPings,
    problems: &mut Problems,
) {
    let mut known: HashMap<&str, &Place> = HashMap::new();
    for heartbeat in checks.iter().filter_map(|check| check.heartbeat.as_ref()) {
        let uuid = heartbeat.uuid.as_ref().map(|(uuid, place)| (uuid.expose(), place));
        let slug = heartbeat.slug.as_ref();
        let slug = slug.and_then(|(slug, place)| Some((slug.as_str(), place.as_ref()?)));
        if let Some((_, place)) = slug
            && pings.key.is_none()
            && !pings.pushed
        {
            let problem = place.error("nobody can ping by slug: there is no key for it");
            problems.push(
                problem
                    .hint("set `ping_key` under `[api]`, or give a key of the API the scope push"),
            );
        }
        let addresses = uuid.into_iter().chain(slug);
        for (address, place) in addresses.filter(|(address, _)| !address.is_empty()) {
            match known.get(address) {
                Some(first) => {
                    let problem = place.error("another check has this address already");
                    problems.push(problem.hint(format!("it stands in {first}")));
                }
                None => {
                    known.insert(address, place);
                }
            }
        }
    }
}
