//! The incidents of the daemon's own: what it says of itself. They go the way of all others (silences,
//! routes, limits, resolution), and each part has one at a time, so that none of them can set off
//! another without end: what is about a channel is not told by that channel, and that it cannot be
//! delivered elsewhere is at most the one incident of that other channel.

use super::{Alerting, CheckSpec};
use crate::incident::{self, Judged, Policy};
use crate::model::{Moment, Name, Severity, Status, Verdict};
use std::sync::Arc;
use std::time::Duration;

/// The store fails.
pub const STORE: &str = "watchbell:store";
/// A reload found a configuration that cannot be used.
pub const CONFIGURATION: &str = "watchbell:configuration";
/// The wall clock was set.
pub const CLOCK: &str = "watchbell:clock";
/// Checks start late.
pub const SCHEDULE: &str = "watchbell:schedule";
/// Deliveries to a channel make no progress; its name follows.
pub const OUTBOX: &str = "watchbell:outbox:";
/// A channel refuses, or has failed for long; its name follows.
pub const CHANNEL: &str = "watchbell:channel:";

/// Whether the name is that of a part of the daemon itself.
pub fn is_own(name: &str) -> bool {
    name.starts_with("watchbell:")
}

/// The channel that an incident of the daemon's own is about, if it is about one.
pub(super) fn channel_of(name: &str) -> Option<&str> {
    name.strip_prefix(CHANNEL).or_else(|| name.strip_prefix(OUTBOX))
}

impl Alerting {
    /// Takes in how a part of the daemon itself is: why it fails, or, without a reason, that it works.
    pub fn own(&mut self, name: &Name, why: Vec<String>, now: Moment) {
        if why.is_empty() && !self.subjects.contains_key(name) {
            return;
        }
        let known = channel_of(name).is_none_or(|it| self.rules.channels.contains_key(it));
        if !why.is_empty() && !known {
            // The last word of one that a reload took away.
            return;
        }
        if !self.subjects.contains_key(name) {
            self.insert(name.clone(), own_spec(name), None, now);
        }
        let Some(subject) = self.subjects.get_mut(name) else { return };
        let verdict = match why.is_empty() {
            true => Verdict::UP,
            false => Verdict { status: Status::Down, reasons: why },
        };
        let says_more = subject.state.reasons != verdict.reasons;
        let event = Judged { verdict: &verdict, at: now.wall, elapsed: Duration::ZERO };
        let (policy, ids) = (&subject.spec.policy, &mut self.ids);
        let change = incident::step(policy, &mut subject.state, event, || ids.fresh(now.wall));
        match change {
            Some(change) => self.changed(name, change, now),
            None if says_more => self.keep(name),
            None => {}
        }
        self.follow_up(name, now);
        if self.subjects.get(name).is_some_and(|subject| subject.state.incident.is_none()) {
            self.subjects.remove(name);
        }
    }

    /// At a start: what the daemon said of itself is judged anew, and is over until then. That a
    /// channel fails is so until it accepts something, and of the store its writer will tell.
    pub fn judge_own_anew(&mut self, now: Moment) {
        let names: Vec<Name> = self.subjects.keys().filter(|name| is_own(name)).cloned().collect();
        for name in names {
            if &*name != STORE && !name.starts_with(CHANNEL) {
                self.own(&name, Vec::new(), now);
            }
        }
    }

    /// A recipient of a channel no longer takes messages (with the reason), or takes them again.
    pub fn channel(&mut self, channel: &Name, recipient: String, why: Option<String>, now: Moment) {
        let known = self.rules.channels.get(channel);
        if !known.is_some_and(|recipients| recipients.contains(&recipient)) {
            // The last word of one that a reload took away.
            return;
        }
        let refusing = self.refusing.entry(channel.clone()).or_default();
        match why {
            Some(why) => refusing.insert(recipient, why),
            None => refusing.remove(&recipient),
        };
        self.tell_trouble(channel, now);
    }

    /// Says which recipients of a channel refuse.
    pub(super) fn tell_trouble(&mut self, channel: &Name, now: Moment) {
        let refusing = self.refusing.get(channel).into_iter().flatten();
        let reasons: Vec<String> = refusing
            .map(|(recipient, why)| match recipient.is_empty() {
                true => format!("the channel does not take messages: {why}"),
                false => format!("the channel does not take messages to {recipient}: {why}"),
            })
            .collect();
        self.own(&format!("{CHANNEL}{channel}").into(), reasons, now);
    }
}

/// What an incident of the daemon's own is. One that people need not be woken for is a warning.
pub(super) fn own_spec(name: &Name) -> CheckSpec {
    let severity = match &**name {
        CLOCK | SCHEDULE => Severity::Warning,
        _ => Severity::Critical,
    };
    CheckSpec {
        policy: Policy {
            check: name.clone(),
            kind: "watchbell".to_owned(),
            confirm_after: 1,
            recover_after: 1,
            lasting: Duration::ZERO,
            severity,
            labels: Arc::default(),
            runbook: None,
            unknown_after: None,
            flapping: false,
        },
        retry_every: Duration::MAX,
        timeout: Duration::ZERO,
        parents: Vec::new(),
        recovery: None,
        heartbeat: None,
        renamed_from: None,
    }
}
