//! What pings, and their absence, do to a check.

use super::{Alerting, CheckSpec, Effect, Seen};
use crate::model::{
    Facts, HeartbeatState, Judgement, Moment, Name, Phase, Status, Timestamp, Verdict,
};
use std::time::Duration;

impl Alerting {
    /// What is known of the pings of a check.
    pub fn heartbeat(&self, name: &str) -> Option<&HeartbeatState> {
        self.subjects.get(name)?.state.heartbeat.as_deref()
    }

    /// Takes in what was made of a ping, or of its absence. A paused check goes on by it.
    pub fn beat(&mut self, name: &Name, beat: HeartbeatState, run: Judgement, now: Moment) {
        let Some(subject) = self.subjects.get_mut(name) else { return };
        subject.state.heartbeat = Some(Box::new(beat));
        if subject.state.paused.take().is_some() {
            subject.seen = None;
            if let Some(incident) = &mut subject.state.incident {
                incident.note(now.wall, "resumed", "by a ping");
            }
        }
        self.judged(name, run, 0, now);
    }

    /// Takes in what says nothing about how the check is: a start, a note, a look now and then. It
    /// is kept as a result that says what the one before said.
    pub fn noted(
        &mut self,
        name: &Name,
        beat: HeartbeatState,
        (at, facts): (Timestamp, Facts),
        now: Moment,
    ) {
        let Some(subject) = self.subjects.get_mut(name) else { return };
        let latency = beat.duration.unwrap_or_default();
        let status = match beat.phase {
            // Whatever it was before it was paused.
            Phase::New => Status::Unknown,
            Phase::Up | Phase::Down => subject.state.status,
        };
        let reasons = match status {
            Status::Unknown => Vec::new(),
            _ => subject.state.reasons.clone(),
        };
        subject.state.heartbeat = Some(Box::new(beat));
        let state = subject.state.clone();
        let verdict = Verdict { status, reasons };
        let run = Judgement { started: at, verdict, latency, facts };
        let result = self.result(name, run, now);
        self.effects.push(Effect::Record(result, Some(Box::new((name.clone(), state)))));
        self.effects.push(Effect::Show(name.clone()));
    }

    /// Somebody looked whether a ping is overdue, and none was: what is known of the check is as
    /// good as a run that began now.
    pub fn looked(&mut self, name: &Name, now: Moment) {
        let Some(subject) = self.subjects.get_mut(name) else { return };
        subject.seen = Some(Seen { arrived: now.mono, began: now.mono });
        self.follow_up(name, now);
        self.follow_up_children(name, now);
        self.effects.push(Effect::Show(name.clone()));
    }

    /// Takes one more check, which a ping made.
    pub fn add(&mut self, spec: CheckSpec, now: Moment) {
        self.take(spec.policy.check.clone(), spec, now);
    }

    /// Lets what is owed go by the terms that are in force now.
    pub(super) fn adopt_heartbeat(&mut self, name: &Name) {
        let Some(subject) = self.subjects.get_mut(name) else { return };
        match &subject.spec.heartbeat {
            Some(terms) => terms.adopt(subject.state.heartbeat.get_or_insert_default()),
            None => subject.state.heartbeat = None,
        }
    }

    /// The daemon starts, and heard nothing before.
    pub(super) fn restart_heartbeat(&mut self, name: &Name, now: Moment) {
        let Some(subject) = self.subjects.get_mut(name) else { return };
        let (Some(terms), Some(beat)) = (&subject.spec.heartbeat, &mut subject.state.heartbeat)
        else {
            return;
        };
        let before = beat.clone();
        terms.restart(beat, now.wall);
        if *beat != before {
            self.keep(name);
        }
    }
}

/// How often a result is kept of a heartbeat of which nothing is heard, so that history does not
/// take its silence for the daemon's.
pub const LOOK_EVERY: Duration = Duration::from_secs(3600);
