//! What a check stands on: a child whose parent is down raises no notice.
//!
//! Before a notice about a child goes, each parent has to have run since the child failed, and to
//! be decided: so nobody is told of a child whose parent fails a moment later. When a parent that
//! was down is well again, the child runs once more before its notice goes.

use super::{Alerting, Effect, Subject};
use crate::model::{HeldBecause, Incident, Moment, Name, Status};
use std::collections::HashSet;
use std::time::Duration;

/// How many of the checks that stand on one are remembered in its incident.
const DEPENDENTS: usize = 100;
/// How much longer than its timeout a parent may take to run, before its last word counts.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether notices about an incident may pass, as far as parents are concerned. All times are
/// monotonic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// They may.
    Open,
    /// Not before all parents are known to be well by a run that began at `since` or later.
    Parents {
        /// Since when the word of a parent counts.
        since: Duration,
        /// Whether one of them was down or undecided meanwhile.
        blocked: bool,
        /// From when on the last word of a parent counts, however old.
        patience: Duration,
    },
    /// The parents are well again: not before the check itself has run since.
    Itself {
        /// Since when its own run counts.
        since: Duration,
    },
}

impl Gate {
    /// The gate of an incident that a restart found.
    pub(super) fn restored(incident: Option<&Incident>, now: Moment) -> Self {
        match incident.and_then(|incident| incident.suppressed_by) {
            Some(HeldBecause::Dependency) => {
                let patience = now.mono.saturating_add(PATIENCE);
                Self::Parents { since: now.mono, blocked: true, patience }
            }
            _ => Self::Open,
        }
    }
}

impl Alerting {
    /// From now on the parents of `name` are asked before anybody is told.
    pub(super) fn shut_gate(&mut self, name: &Name) {
        let timeouts = self.parents(name).map(|parent| parent.spec.timeout).max();
        let Some(subject) = self.subjects.get_mut(name) else { return };
        let (Some(timeout), Some(seen)) = (timeouts, subject.seen) else { return };
        if let Gate::Open | Gate::Itself { .. } = subject.gate {
            let patience = seen.arrived.saturating_add(timeout).saturating_add(PATIENCE);
            subject.gate = Gate::Parents { since: seen.began, blocked: false, patience };
        }
    }

    /// Moves the gate of `name` on, by what is known of its parents now.
    pub(super) fn move_gate(&mut self, name: &Name, now: Moment) {
        let Some(subject) = self.subjects.get(name) else { return };
        // One without parents has an open gate, unless a reload took them away.
        let is_free = subject.spec.parents.is_empty() && subject.gate == Gate::Open;
        if subject.state.incident.is_none() || is_free {
            return;
        }
        let blocks = self.parents(name).any(blocks_children);
        let open_again = |blocked| match blocked {
            true => Gate::Itself { since: now.mono },
            false => Gate::Open,
        };
        let gate = match subject.gate {
            Gate::Parents { since, patience, .. } if blocks => {
                Gate::Parents { since, blocked: true, patience }
            }
            Gate::Open | Gate::Itself { .. } if blocks => {
                Gate::Parents { since: Duration::ZERO, blocked: true, patience: Duration::ZERO }
            }
            Gate::Parents { since, blocked, patience } => {
                let stale = |parent: &&Subject| {
                    now.mono < patience && parent.seen.is_none_or(|seen| seen.began < since)
                };
                let asked: Vec<Name> = self
                    .parents(name)
                    .filter(stale)
                    .map(|parent| parent.spec.policy.check.clone())
                    .collect();
                let none_is_stale = asked.is_empty();
                for check in asked {
                    self.effects.push(Effect::Run { check, after: Duration::ZERO });
                }
                match none_is_stale {
                    true => open_again(blocked),
                    false => Gate::Parents { since, blocked, patience },
                }
            }
            Gate::Itself { since } => {
                let ran = subject.seen.is_some_and(|seen| seen.began >= since);
                match ran && subject.state.status != Status::Up {
                    true => Gate::Open,
                    false => Gate::Itself { since },
                }
            }
            Gate::Open => Gate::Open,
        };
        let Some(subject) = self.subjects.get_mut(name) else { return };
        subject.gate = gate;
        // Asked until it came, since a run at work that began before swallows the wish.
        if let Gate::Itself { since } = gate
            && subject.seen.is_none_or(|seen| seen.began < since)
            && subject.state.paused.is_none()
        {
            self.effects.push(Effect::Run { check: name.clone(), after: Duration::ZERO });
        }
    }

    /// When the gate of `name` is to be looked at again although nothing happens.
    pub(super) fn gate_patience(&self, name: &Name, now: Moment) -> Option<Duration> {
        match self.subjects.get(name)?.gate {
            Gate::Parents { patience, .. } => Some(patience).filter(|until| *until > now.mono),
            Gate::Open | Gate::Itself { .. } => None,
        }
    }

    /// The checks that stand on `name`, directly or over others, nearest first.
    pub(super) fn dependents(&self, name: &Name) -> Vec<Name> {
        let mut found: Vec<Name> = Vec::new();
        let mut known: HashSet<Name> = HashSet::from([name.clone()]);
        let mut next = vec![name.clone()];
        while !next.is_empty() && found.len() < DEPENDENTS {
            let children = next.iter().filter_map(|parent| self.children.get(parent)).flatten();
            next = children.filter(|child| known.insert(Name::clone(child))).cloned().collect();
            found.extend(next.iter().cloned());
        }
        found.truncate(DEPENDENTS);
        found
    }

    /// The parents of `name` that have a say: paused ones have none.
    fn parents(&self, name: &Name) -> impl Iterator<Item = &Subject> {
        let parents = self.subjects.get(name).map(|subject| &subject.spec.parents);
        let parents =
            parents.into_iter().flatten().filter_map(|parent| Some(&**self.subjects.get(parent)?));
        parents.filter(|parent| parent.state.paused.is_none())
    }
}

/// Whether a parent is down or unknown, or bad and not decided yet.
fn blocks_children(parent: &Subject) -> bool {
    let state = &parent.state;
    let confirmed = state.incident.as_ref().map(|incident| incident.status);
    match (confirmed, state.status) {
        (Some(Status::Down | Status::Unknown), _) | (_, Status::Down) => true,
        (_, Status::Unknown) => state.last_run.is_some(),
        (None, Status::Degraded) => true,
        (_, Status::Up | Status::Degraded) => false,
    }
}
