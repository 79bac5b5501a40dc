//! Steps: what people are not to be told now, by the word of the daemon or by quiet time.

use super::Mailbox;
use super::queue::{Entry, Fate};
use crate::limit::Cooldown;
use crate::model::{HeldBecause, NoticeState, What};
use std::collections::HashMap;

impl Mailbox {
    /// Holds what is only about incidents that people are not to be told of now, and what a route
    /// mutes; releases what was held so and no longer is. Never a resolution.
    pub(super) fn hold_suppressed(&mut self, at: i64) {
        let suppressed = &self.suppressed;
        self.queue.decide(at, |_, _, entry| {
            let may_wait = entry.is_fresh()
                && !entry.is_end()
                && !matches!(entry.notice.what, What::Test | What::Digest);
            if !may_wait {
                return Fate::Stay;
            }
            let muted = || {
                let is_muted = entry.muted_until.is_some_and(|until| until > at);
                is_muted.then_some(HeldBecause::Silence)
            };
            match suppression(suppressed, entry).or_else(muted) {
                Some(because) if entry.held() != Some(because) => Fate::Hold(because),
                None if entry.is_suppressed() => Fate::Release,
                _ => Fate::Stay,
            }
        });
    }

    /// Holds openings about checks that the channel heard of not long ago.
    pub(super) fn hold_cooling(&mut self, at: i64) {
        let cooldown = &self.cooldown;
        self.queue.decide(at, |_, _, entry| {
            let is_opening = entry.notice.what == What::Opened && entry.is_fresh();
            if !is_opening || entry.is_suppressed() {
                return Fate::Stay;
            }
            match (quiet_until(cooldown, entry, at), entry.held()) {
                (Some(_), Some(HeldBecause::Cooldown)) => Fate::Stay,
                (Some(_), _) => Fate::Hold(HeldBecause::Cooldown),
                (None, Some(HeldBecause::Cooldown)) => Fate::Release,
                (None, _) => Fate::Stay,
            }
        });
    }

    /// When the next of these holds ends by itself.
    pub(super) fn quiet_ends(&self, at: i64) -> Option<i64> {
        let held = self.queue.iter().filter(|(_, entry)| entry.notice.state == NoticeState::Held);
        held.filter_map(|(_, entry)| match entry.held() {
            Some(HeldBecause::Cooldown) => quiet_until(&self.cooldown, entry, at),
            _ => entry.muted_until,
        })
        .filter(|until| *until > at)
        .min()
    }
}

fn quiet_until(cooldown: &Cooldown, entry: &Entry, at: i64) -> Option<i64> {
    let checks = entry.notice.incidents.iter();
    checks.filter_map(|incident| cooldown.quiet_until(incident.subject(), at)).max()
}

/// Why people are not to be told, if that holds for every incident of the notice. That a check goes
/// to and fro is told itself, and holds back only what it would make boring.
fn suppression(suppressed: &HashMap<String, HeldBecause>, entry: &Entry) -> Option<HeldBecause> {
    if suppressed.is_empty() {
        return None;
    }
    let is_boring = matches!(entry.notice.what, What::Worsened | What::Reminder | What::Escalated);
    let reasons = entry.notice.incidents.iter().map(|incident| {
        let because = suppressed.get(&incident.id).copied();
        because.filter(|because| *because != HeldBecause::Flapping || is_boring)
    });
    let reasons: Option<Vec<HeldBecause>> = reasons.collect();
    reasons?.first().copied()
}
