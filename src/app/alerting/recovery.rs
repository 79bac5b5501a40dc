//! When something is tried to get a check going again.

use super::{Alerting, Effect};
use crate::model::{Moment, NEXT_RUN_SAYS, Name, Timestamp, What};
use crate::recover::plan::{self, Decision, Gates};
use crate::recover::{Order, Outcome};
use std::time::Duration;

impl Alerting {
    /// Tries to get the check going again, if that is due. Gives how long to wait for the next
    /// look.
    pub(super) fn recover(&mut self, name: &Name, now: Moment) -> Option<Duration> {
        let subject = self.subjects.get_mut(name)?;
        let policy = subject.spec.recovery.as_ref()?;
        let state = &mut subject.state;
        let incident = state.incident.as_ref()?;
        let gates = Gates {
            latest: state.status,
            suppressed_by: incident.suppressed_by,
            acknowledged: incident.acknowledged.is_some(),
            flapping: state.flapping,
            paused: state.paused.is_some(),
        };
        match plan::decide(policy, &mut state.recovery, incident, &gates, now.wall) {
            Decision::Nothing(_) | Decision::Held(_) => None,
            Decision::Wait { until, .. } => {
                Some(until.since(now.wall).max(Duration::from_millis(1)))
            }
            Decision::Attempt { number, of, .. } => {
                let order = Order {
                    check: name.clone(),
                    incident: incident.id.clone(),
                    action: policy.action,
                    attempt: number,
                    of,
                    reasons: incident.reasons.clone(),
                };
                // Booked before it begins, so that a crash does not repeat it.
                plan::began(policy, &mut state.recovery, now.wall, rand::random());
                self.keep(name);
                self.effects.push(Effect::Recover(order));
                None
            }
            Decision::Stopped => {
                let (attempts, action) = (state.recovery.attempts.len(), policy.action);
                let window = humantime::format_duration(policy.window);
                let detail = match attempts {
                    1 => format!("1 attempt to {action} it did not help; no more for {window}"),
                    _ => format!(
                        "{attempts} attempts to {action} it did not help; no more for {window}"
                    ),
                };
                plan::stopped(&mut state.recovery, now.wall);
                if let Some(incident) = &mut state.incident {
                    incident.note(now.wall, "recovery_stopped", detail);
                }
                let incident = self.incident(name).cloned()?;
                let notices = self.owed(What::RecoveryStopped, &incident, now);
                self.commit(name, incident, notices);
                self.recover(name, now)
            }
        }
    }

    /// An attempt is over. A run of the check is to tell whether it helped.
    pub fn recovered(&mut self, order: &Order, outcome: &Outcome, now: Moment) {
        let Some(subject) = self.subjects.get_mut(&order.check) else { return };
        let Some(policy) = &subject.spec.recovery else {
            // A reload took it away meanwhile, and another may bring it back.
            subject.state.recovery.running = false;
            self.keep(&order.check);
            return;
        };
        if *outcome == Outcome::NeverStarted {
            plan::taken_back(&mut subject.state.recovery);
            self.keep(&order.check);
            return;
        }
        plan::ended(policy, &mut subject.state.recovery, now.wall);
        if let Some(incident) = &mut subject.state.incident {
            incident.note(now.wall, "recovery", outcome.detail(order));
        }
        self.keep(&order.check);
        self.effects.push(Effect::Run { check: order.check.clone(), after: Duration::ZERO });
    }

    /// A run that began at `started` has come in: it may tell whether an attempt helped.
    pub(super) fn verify_recovery(&mut self, name: &Name, started: Timestamp, now: Moment) {
        let Some(subject) = self.subjects.get_mut(name) else { return };
        let recovery = &mut subject.state.recovery;
        if recovery.unjudged.is_none() {
            return;
        }
        plan::judged(recovery, started);
        if let Some(ended) = recovery.unjudged {
            // The run had begun before the attempt ended, or the clock was set back since: then
            // the next one counts.
            recovery.unjudged = Some(ended.min(now.wall));
            self.effects.push(Effect::Run { check: name.clone(), after: Duration::ZERO });
            return;
        }
        let status = subject.state.status;
        if let Some(incident) = &mut subject.state.incident {
            incident.note(now.wall, "recovery", format!("{NEXT_RUN_SAYS}{status}"));
        }
        self.keep(name);
    }

    /// The incident is over, whatever did it.
    pub(super) fn end_recovery(&mut self, name: &Name) {
        let Some(subject) = self.subjects.get_mut(name) else { return };
        if subject.spec.recovery.is_some() {
            plan::well_again(&mut subject.state.recovery);
            self.effects.push(Effect::CancelRecovery(name.clone()));
        }
    }

    /// An attempt that was at work when the daemon ended was cut off with it.
    pub(super) fn end_cut_off_recovery(&mut self, name: &Name, now: Moment) {
        let Some(subject) = self.subjects.get_mut(name) else { return };
        if subject.state.recovery.running {
            match &subject.spec.recovery {
                Some(policy) => plan::ended(policy, &mut subject.state.recovery, now.wall),
                None => subject.state.recovery.running = false,
            }
            if let Some(incident) = &mut subject.state.incident {
                incident.note(now.wall, "recovery", "the end of the daemon cut the attempt off");
            }
            self.keep(name);
        }
    }
}
