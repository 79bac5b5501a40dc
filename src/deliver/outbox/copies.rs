//! What the fallback of a channel is given.

use super::{Outbox, lock};
use crate::model::{Name, Notice, NoticeState, Timestamp, What};

impl Outbox {
    /// Copies of `notices` for each recipient of the fallback of `channel`, in the same order, with
    /// ids of their own; none if it has no fallback.
    pub fn copies_for_fallback(&self, channel: &str, notices: &[Notice]) -> Vec<Notice> {
        let Some(fallback) = self.fallback(channel) else { return Vec::new() };
        let recipients = self.recipients(&fallback);
        let at = self.clock.wall();
        // Those of one millisecond keep their order.
        let mut ids = ulid::Generator::new();
        let mut copies = Vec::new();
        for notice in notices {
            for recipient in &recipients {
                let id = ids.generate().unwrap_or_else(|_| ulid::Ulid::new());
                copies.push(copy(notice, id.to_string(), &fallback, recipient, at));
            }
        }
        copies
    }

    /// The channel that is told once `channel` has failed for long.
    pub fn fallback(&self, channel: &str) -> Option<Name> {
        let desks = lock(&self.desks);
        let desk = desks.iter().find(|((name, _), _)| **name == *channel)?.1;
        lock(&desk.shared.destination).fallback.clone()
    }
}

/// A notice of its own, which nobody has tried to deliver.
fn copy(notice: &Notice, id: String, channel: &Name, recipient: &str, at: Timestamp) -> Notice {
    let incidents = notice.incidents.clone();
    let is_digest = notice.what == What::Digest;
    Notice {
        state: NoticeState::Pending,
        // A digest still says why it is one; it leads no group on the other channel.
        held_because: notice.held_because.filter(|_| is_digest),
        group: notice.group.clone().filter(|_| !is_digest),
        urgent: notice.urgent,
        ..Notice::new(id, notice.what, channel.clone(), recipient.to_owned(), incidents, at)
    }
}
