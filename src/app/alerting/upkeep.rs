//! What happens by itself: ticks, and a new configuration.

use super::own::channel_of;
use super::{Alerting, CheckSpec, Effect, Names, Rules, is_check};
use crate::incident::{self, Agenda};
use crate::model::{CheckState, Moment, Name, Notice, What};
use crate::record::Batch;
use crate::route::Target;
use std::collections::BTreeMap;
use std::time::Duration;

/// Silences that have been over for so long are forgotten.
const FORGET_SILENCES: Duration = Duration::from_secs(30 * 86_400);

impl Alerting {
    /// Does what is due. To be called about once a second.
    pub fn tick(&mut self, now: Moment) {
        if self.times_changed(now) {
            self.reconsider_all(now);
            self.silences.forget_before(now.wall.before(FORGET_SILENCES));
        }
        let (over, rest) = std::mem::take(&mut self.lifted)
            .into_iter()
            .partition(|(at, _): &(Duration, String)| *at <= now.mono);
        self.lifted = rest;
        for (_, incident) in over {
            self.effects.push(Effect::Suppress { incident, because: None });
        }
        self.end_stale_alerts(now);
        let due: Vec<Name> = self
            .open
            .values()
            .filter(|name| self.subjects.get(*name).is_some_and(|subject| subject.wake <= now.mono))
            .cloned()
            .collect();
        for name in due {
            self.follow_up(&name, now);
        }
    }

    /// Does for the incident of `name` what is due by now, and says when to look again.
    pub(super) fn follow_up(&mut self, name: &Name, now: Moment) {
        if self.incident(name).is_none() {
            return;
        }
        if self.reconsider(name, now) {
            self.keep(name);
        }
        self.remind_and_escalate(name, now);
        let recovery = self.recover(name, now);
        let patience = self.gate_patience(name, now);
        let agenda = self.agenda_wait(name, now);
        let Some(subject) = self.subjects.get_mut(name) else { return };
        let waits = [agenda, recovery].into_iter().flatten();
        let wakes = waits.map(|wait| now.mono.saturating_add(wait)).chain(patience);
        subject.wake = wakes.min().unwrap_or(Duration::MAX);
    }

    /// Does the same for all that stand on `name`.
    pub(super) fn follow_up_children(&mut self, name: &Name, now: Moment) {
        // It costs nothing after each run as long as they are well.
        let children = self.children.get(name).into_iter().flatten();
        let open = children.filter(|child| self.incident(child).is_some());
        for child in open.cloned().collect::<Vec<Name>>() {
            self.follow_up(&child, now);
        }
    }

    fn remind_and_escalate(&mut self, name: &Name, now: Moment) {
        let Some(subject) = self.subjects.get_mut(name) else { return };
        let (open_for, paused) = (subject.open_for(now), subject.state.paused.is_some());
        let Some(incident) = subject.state.incident.as_mut() else { return };
        let expired = incident::expire_acknowledgement(incident, now.wall);
        if expired {
            self.keep(name);
        }
        if paused {
            return;
        }
        let Some(incident) = self.incident(name).cloned() else { return };
        let hearing = self.rules.routes.hearing(&incident, now.wall);
        let steps: Vec<Duration> = hearing.escalate.iter().map(|step| step.after).collect();
        let agenda = Agenda { remind_every: hearing.remind_every, escalate_after: &steps };
        let due = incident::due(&incident, &agenda, open_for, now.wall);
        if due.escalate.is_none() && !due.remind {
            return;
        }
        let Some(booked) = self.incident_mut(name) else { return };
        incident::done(booked, &due, open_for, now.wall);
        let current = booked.clone();
        let mut notices: Vec<Notice> = Vec::new();
        if let Some(until) = due.escalate {
            let new = |after: Duration| incident.escalated.is_none_or(|done| after > done);
            let steps = hearing.escalate.iter();
            let steps = steps.filter(|step| new(step.after) && step.after <= until);
            let mut targets: Vec<Target> = Vec::new();
            for target in steps.flat_map(|step| &step.targets) {
                if targets.iter().all(|known| known.channel != target.channel) {
                    targets.push(target.clone());
                }
            }
            notices.extend(self.notices_to(&targets, What::Escalated, &current, now));
        }
        if due.remind {
            // After a snooze people are reminded also where no route asks for reminders.
            let mut targets = hearing.targets;
            if hearing.remind_every.is_some() {
                targets.retain(|target| target.remind);
            }
            notices.extend(self.notices_to(&targets, What::Reminder, &current, now));
        }
        self.commit(name, current, notices);
    }

    fn agenda_wait(&self, name: &Name, now: Moment) -> Option<Duration> {
        let subject = self.subjects.get(name)?;
        let incident = subject.state.incident.as_ref()?;
        if subject.state.paused.is_some() {
            return None;
        }
        let hearing = self.rules.routes.hearing(incident, now.wall);
        let steps: Vec<Duration> = hearing.escalate.iter().map(|step| step.after).collect();
        let agenda = Agenda { remind_every: hearing.remind_every, escalate_after: &steps };
        incident::next(incident, &agenda, subject.open_for(now), now.wall)
    }

    /// Takes a plan: its checks and its rules. The state of a check follows its name; what is
    /// removed, or is of another kind now, is over.
    pub fn replace(&mut self, checks: Vec<CheckSpec>, rules: Rules, now: Moment) {
        self.rules = rules;
        self.take_over(&checks, now);
        let gone: Names = self.subjects.keys().filter(|name| is_check(name)).cloned().collect();
        let mut gone = gone;
        self.children.clear();
        for spec in &checks {
            for parent in &spec.parents {
                let child = spec.policy.check.clone();
                self.children.entry(parent.clone()).or_default().push(child);
            }
        }
        for spec in checks {
            let name = spec.policy.check.clone();
            gone.remove(&name);
            self.take(name.clone(), spec, now);
            if !self.started {
                self.end_cut_off_recovery(&name, now);
                self.restart_heartbeat(&name, now);
            }
        }
        self.started = true;
        for name in gone {
            self.forget(&name, "the check was removed", now);
        }
        self.forget_channels(now);
        self.reconsider_all(now);
    }

    pub(super) fn take(&mut self, name: Name, spec: CheckSpec, now: Moment) {
        let of_another_kind =
            self.incident(&name).is_some_and(|incident| *incident.kind != *spec.policy.kind);
        if of_another_kind {
            self.withdraw(&name, "the check is of another kind now", now);
            if let Some(subject) = self.subjects.get_mut(&name) {
                let paused = subject.state.paused.take();
                subject.state = CheckState { paused, ..CheckState::new(now.wall) };
            }
            self.keep(&name);
        }
        match self.subjects.get_mut(&name) {
            Some(subject) => {
                let policy = &spec.policy;
                let change = incident::adopt(policy, &mut subject.state, now.wall);
                subject.spec = spec;
                subject.wake = now.mono;
                if let Some(change) = change {
                    self.changed(&name, change, now);
                }
            }
            None => self.insert(name.clone(), spec, None, now),
        }
        self.adopt_heartbeat(&name);
        self.effects.push(Effect::Show(name));
    }

    /// Ends what is known of something that is no longer there.
    fn forget(&mut self, name: &Name, why: &str, now: Moment) {
        self.withdraw(name, why, now);
        self.subjects.remove(name);
        self.effects
            .push(Effect::Commit(Batch { removed: vec![name.clone()], ..Batch::default() }));
        self.effects.push(Effect::Hide(name.clone()));
    }

    pub(super) fn withdraw(&mut self, name: &Name, why: &str, now: Moment) {
        let Some(subject) = self.subjects.get_mut(name) else { return };
        if let Some(change) = incident::withdraw(&mut subject.state, now.wall, why) {
            self.changed(name, change, now);
        }
    }

    fn forget_channels(&mut self, now: Moment) {
        let known: &BTreeMap<Name, Vec<String>> = &self.rules.channels;
        self.refusing.retain(|channel, _| known.contains_key(channel));
        let mut well: Vec<Name> = Vec::new();
        for (channel, refusing) in &mut self.refusing {
            let before = refusing.len();
            refusing
                .retain(|recipient, _| known.get(channel).is_some_and(|it| it.contains(recipient)));
            if refusing.len() < before {
                well.push(channel.clone());
            }
        }
        for channel in well {
            self.tell_trouble(&channel, now);
        }
        let known = &self.rules.channels;
        let gone: Vec<Name> = self
            .subjects
            .keys()
            .filter(|name| channel_of(name).is_some_and(|channel| !known.contains_key(channel)))
            .cloned()
            .collect();
        for name in gone {
            self.forget(&name, "the channel is no longer configured", now);
        }
    }
}
