//! Which incidents people are not told of at the moment, and why.

use super::dependency::Gate;
use super::{Alerting, Effect, Names};
use crate::incident::Policy;
use crate::model::{HeldBecause, Moment, Name, Timestamp};
use crate::serve::PlannedWork;

impl Alerting {
    /// Looks anew at whether people are told of the incident of `name`. Gives whether that changed,
    /// and then the state is still to be kept.
    pub(super) fn reconsider(&mut self, name: &Name, now: Moment) -> bool {
        self.move_gate(name, now);
        self.suppress(name, now)
    }

    /// The same, with its parents as they were when they were last looked at.
    pub(super) fn suppress(&mut self, name: &Name, now: Moment) -> bool {
        let because = self.suppression(name, now);
        let Some(incident) = self.incident_mut(name) else { return false };
        if incident.suppressed_by == because {
            return false;
        }
        incident.suppressed_by = because;
        let id = incident.id.clone();
        self.effects.push(Effect::Suppress { incident: id, because });
        true
    }

    /// Looks at all open incidents, after something changed that may concern any of them.
    pub(super) fn reconsider_all(&mut self, now: Moment) {
        let names: Names = self.open.values().cloned().collect();
        for name in names {
            self.follow_up(&name, now);
        }
        self.looked_at = Some(now.wall);
    }

    /// Whether a silence or a maintenance window began or ended since they were last looked at, or
    /// the wall clock went backwards.
    pub(super) fn times_changed(&self, now: Moment) -> bool {
        let Some(then) = self.looked_at else { return true };
        let changes = [self.silences.next_change(then), self.rules.windows.next_change(then)];
        now.wall < then || changes.into_iter().flatten().any(|at| at <= now.wall)
    }

    /// The maintenance windows that some of `checks` fall into, and that are open or open by `until`.
    pub fn planned_work(
        &self,
        checks: &[Name],
        until: Timestamp,
        now: Timestamp,
    ) -> Vec<PlannedWork> {
        let upcoming = self.rules.windows.upcoming(now).filter(|(_, start, _)| *start <= until);
        let work = upcoming.map(|(window, start, end)| {
            let concerned = |name: &&Name| {
                self.subjects.get(*name).is_some_and(|subject| {
                    let Policy { check, kind, severity, labels, .. } = &subject.spec.policy;
                    window.concerns(check, kind, *severity, labels, start.max(now))
                })
            };
            let checks = checks.iter().filter(concerned).cloned().collect();
            PlannedWork { starts_at: start, ends_at: end, checks }
        });
        work.filter(|work| !work.checks.is_empty()).collect()
    }

    fn suppression(&self, name: &Name, now: Moment) -> Option<HeldBecause> {
        let subject = self.subjects.get(name)?;
        let incident = subject.state.incident.as_ref()?;
        if subject.gate != Gate::Open {
            Some(HeldBecause::Dependency)
        } else if self.rules.windows.active(incident, now.wall).is_some() {
            Some(HeldBecause::Maintenance)
        } else if self.silences.by(incident, now.wall).is_some() {
            Some(HeldBecause::Silence)
        } else {
            subject.state.flapping.then_some(HeldBecause::Flapping)
        }
    }
}
