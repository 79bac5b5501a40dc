//! Alerts that other programs send in. Each is a subject of its own, known by its labels, and goes
//! the same way as the incidents of checks: suppression, routes, limits, resolution.

use super::{Alerting, CheckSpec, Seen, own_spec};
use crate::incident::{self, Judged, Policy};
use crate::model::{
    Alert, HeldBecause, Labels, Moment, Name, Severity, Status, Timestamp, Verdict, fingerprint,
};
use crate::serve::Standing;
use std::sync::Arc;
use std::time::Duration;

/// How many alerts may be open at a time.
const MOST: usize = 10_000;
/// How long an alert holds after a restart that nobody renews: Alertmanager's `resolve_timeout`.
const AFTER_START: Duration = Duration::from_secs(5 * 60);
/// What an alert without a name is called.
const NAMELESS: &str = "alert";
/// The annotations that say in words what is wrong, the shortest first.
const TELLING: [&str; 3] = ["summary", "message", "description"];

/// What a list of alerts was not taken in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MOST} alerts are open already, so {0} more were not taken in")]
pub struct Crowded(pub usize);

impl Alerting {
    /// Takes in alerts that another program sends: new ones open, known ones go on, and those whose
    /// end has passed are over.
    ///
    /// # Errors
    /// So many were left out, since too many are open. The others were taken in.
    pub fn alerts(&mut self, alerts: Vec<Alert>, now: Moment) -> Result<(), Crowded> {
        let mut left_out = 0;
        for alert in alerts {
            let name = alert.origin.subject.clone();
            if alert.origin.ends_at <= now.wall {
                self.end_alert(&name, now);
            } else if !self.sent.contains_key(&name) && self.sent.len() >= MOST {
                left_out += 1;
            } else {
                self.take_alert(&name, alert, now);
            }
        }
        if left_out == 0 { Ok(()) } else { Err(Crowded(left_out)) }
    }

    fn take_alert(&mut self, name: &Name, alert: Alert, now: Moment) {
        let Alert { labels, origin } = alert;
        let lasts = origin.ends_at.since(now.wall);
        self.sent.insert(name.clone(), now.mono.saturating_add(lasts));
        let policy = policy_of(&labels, &origin.annotations);
        let verdict = Verdict { status: Status::Down, reasons: reasons_of(&origin.annotations) };
        let spec = CheckSpec { policy, ..own_spec(name) };
        match self.subjects.get_mut(name) {
            Some(subject) => subject.spec = spec,
            None => self.insert(name.clone(), spec, None, now),
        }
        let Some(subject) = self.subjects.get_mut(name) else { return };
        subject.seen = Some(Seen { arrived: now.mono, began: now.mono });
        let event = Judged { verdict: &verdict, at: now.wall, elapsed: Duration::ZERO };
        let (policy, ids) = (&subject.spec.policy, &mut self.ids);
        let change = incident::step(policy, &mut subject.state, event, || ids.fresh(now.wall));
        let Some(open) = &mut subject.state.incident else { return };
        let says_more = open.origin.as_ref().is_none_or(|known| {
            known.annotations != origin.annotations || known.generator_url != origin.generator_url
        });
        if change.is_some() {
            open.began_at = origin.starts_at.min(now.wall);
        }
        open.origin = Some(Box::new(origin));
        match change {
            Some(change) => self.changed(name, change, now),
            // That it was renewed is not worth a write: a restart gives it time by itself.
            None if says_more => self.keep(name),
            None => {}
        }
        self.follow_up(name, now);
    }

    /// Its sender says that an alert is over.
    fn end_alert(&mut self, name: &Name, now: Moment) {
        let Some(subject) = self.subjects.get_mut(name) else { return };
        let event = Judged { verdict: &Verdict::UP, at: now.wall, elapsed: Duration::ZERO };
        let (policy, ids) = (&subject.spec.policy, &mut self.ids);
        let change = incident::step(policy, &mut subject.state, event, || ids.fresh(now.wall));
        if let Some(change) = change {
            self.changed(name, change, now);
        }
        self.sent.remove(name);
        self.subjects.remove(name);
    }

    /// Ends the alerts that nobody has renewed.
    pub(super) fn end_stale_alerts(&mut self, now: Moment) {
        let stale = self.sent.iter().filter(|(_, until)| **until <= now.mono);
        let stale: Vec<Name> = stale.map(|(name, _)| name.clone()).collect();
        for name in stale {
            self.withdraw(&name, "its sender did not renew it", now);
            self.sent.remove(&name);
            self.subjects.remove(&name);
        }
    }

    /// Gives an alert that the store remembers some time to be renewed.
    pub(super) fn await_alert(&mut self, name: &Name, now: Moment) {
        self.sent.insert(name.clone(), now.mono.saturating_add(AFTER_START));
    }

    /// All open incidents, with who hears of them and what holds them back.
    pub fn standings(&self, now: Timestamp) -> Vec<Standing> {
        let open = self.open.values();
        open.filter_map(|name| self.standing(self.subjects.get(name)?, now)).collect()
    }

    fn standing(&self, subject: &super::Subject, now: Timestamp) -> Option<Standing> {
        let incident = subject.state.incident.as_deref()?.clone();
        let hearing = self.rules.routes.hearing(&incident, now);
        let receivers = hearing.targets.into_iter().map(|target| target.channel).collect();
        let silenced_by = match incident.suppressed_by {
            Some(HeldBecause::Silence) => self.silences.all_by(&incident, now),
            _ => Vec::new(),
        };
        let parents = subject.spec.parents.iter();
        let inhibited_by = match incident.suppressed_by {
            Some(HeldBecause::Dependency) => parents
                .filter_map(|parent| self.incident(parent))
                .map(|incident| fingerprint(&incident.all_labels()))
                .collect(),
            _ => Vec::new(),
        };
        Some(Standing { incident, receivers, silenced_by, inhibited_by })
    }
}

fn policy_of(labels: &Labels, annotations: &Labels) -> Policy {
    let check = labels.get("alertname").map_or(NAMELESS, |name| name);
    let own = own_spec(&check.into()).policy;
    Policy {
        kind: "alertmanager".to_owned(),
        severity: severity_of(labels.get("severity").map_or("", |word| word)),
        labels: Arc::new(labels.clone()),
        runbook: annotations.get("runbook_url").cloned(),
        ..own
    }
}

/// How much an alert matters, by the words that people use; one without a word matters.
fn severity_of(word: &str) -> Severity {
    match word.to_ascii_lowercase().as_str() {
        "warning" | "warn" | "minor" | "medium" => Severity::Warning,
        "info" | "informational" | "none" | "low" | "debug" => Severity::Info,
        _ => Severity::Critical,
    }
}

fn reasons_of(annotations: &Labels) -> Vec<String> {
    let mut reasons: Vec<String> = Vec::new();
    for name in TELLING {
        reasons.extend(annotations.get(name).filter(|text| !reasons.contains(text)).cloned());
    }
    if reasons.is_empty() {
        reasons.push("it was sent in without a word".to_owned());
    }
    reasons
}
