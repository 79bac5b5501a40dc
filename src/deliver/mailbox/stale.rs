//! Steps: what is old news is not told.

use super::Mailbox;
use super::queue::{Entry, Fate, Queue};
use crate::model::{Incident, What};

impl Mailbox {
    /// Cancels what says nothing new, whether something holds it or not: an opening of what the
    /// recipient knows by other words or is owed already, a reminder where there
    /// is news, a second end, and anything about what is over.
    pub(super) fn drop_old_news(&mut self, at: i64) {
        let known = &self.known;
        self.queue.decide(at, |queue, seq, entry| {
            let notice = &entry.notice;
            let incidents = &notice.incidents;
            if !entry.is_fresh() || incidents.is_empty() {
                return Fate::Stay;
            }
            let twin =
                |earlier: u64, other: &Entry| earlier < seq && other.notice.what == notice.what;
            let tells = |earlier: u64, other: &Entry| {
                let is_held_longer = other.is_suppressed() && !entry.is_suppressed();
                // One that was tried may have arrived, so it goes whatever came first.
                (earlier < seq || !other.is_fresh()) && other.opens() && !is_held_longer
            };
            let is_old = match notice.what {
                What::Test => false,
                What::Opened => incidents.iter().all(|incident| {
                    known.was_told(&incident.id)
                        || queue.about(&incident.id).any(|(other, entry)| tells(other, entry))
                }),
                What::Resolved => incidents.iter().all(|incident| {
                    queue.about(&incident.id).any(|(other, entry)| {
                        let is_tried = entry.notice.what == What::Resolved && !entry.is_fresh();
                        is_tried || twin(other, entry)
                    })
                }),
                // Whatever else is owed tells that it goes on.
                What::Reminder => incidents.iter().all(|incident| {
                    queue.about(&incident.id).any(|(other, entry)| {
                        entry.notice.what != What::Reminder || twin(other, entry)
                    })
                }),
                _ => false,
            };
            let is_over =
                !entry.is_end() && incidents.iter().all(|incident| known.is_over(&incident.id));
            if is_old || is_over { Fate::Cancel } else { Fate::Stay }
        });
    }

    /// Takes out of the digests that the fallback of another channel was given what is over by now.
    pub(super) fn prune_digests(&mut self) {
        let mut pruned: Vec<(u64, Vec<Incident>)> = Vec::new();
        let digests = self
            .queue
            .iter()
            .filter(|(_, entry)| entry.is_digest() && !entry.is_end() && entry.is_fresh());
        for (seq, entry) in digests {
            let incidents = &entry.notice.incidents;
            let open = incidents.iter().filter(|incident| !self.known.is_over(&incident.id));
            let open: Vec<Incident> = open.cloned().collect();
            if !open.is_empty() && open.len() < incidents.len() {
                pruned.push((seq, open));
            }
        }
        for (seq, open) in pruned {
            self.queue.retell(seq, open);
        }
    }

    /// Cancels what is held and has been overtaken: one message tells it, with the newest text.
    ///
    /// An escalation may go to people who never heard of the incident, so it stays and takes over
    /// the text of what worsened since. Gives whether there was anything.
    pub(super) fn overtake(&mut self) -> bool {
        let mut cancel: Vec<u64> = Vec::new();
        let mut retell: Vec<(u64, Vec<Incident>)> = Vec::new();
        for incident in self.queue.crowded() {
            for (seq, entry) in self.queue.about(incident) {
                if entry.held().is_none() || !entry.is_fresh() || entry.is_end() {
                    continue;
                }
                let newer = self.queue.about(incident).filter(|(other, _)| *other > seq);
                let newer: Vec<(u64, &Entry)> = newer
                    .filter(|(_, newer)| entry.is_suppressed() || !newer.is_suppressed())
                    .collect();
                if newer.iter().any(|(_, newer)| overtakes(newer, entry)) {
                    cancel.push(seq);
                } else if entry.notice.what == What::Escalated {
                    let worsened = newer.iter().filter(|(_, newer)| {
                        newer.is_fresh() && newer.notice.what == What::Worsened
                    });
                    for (other, worsened) in worsened {
                        retell.push((seq, worsened.notice.incidents.clone()));
                        cancel.push(*other);
                    }
                }
            }
        }
        for (seq, incidents) in retell {
            self.queue.retell(seq, incidents);
        }
        cancel.sort_unstable();
        for seq in &cancel {
            self.queue.cancel(*seq);
        }
        !cancel.is_empty()
    }

    /// Cancels resolutions of which nobody here knows the opening, and nobody will. A digest of
    /// resolutions loses what nobody knows.
    pub(super) fn drop_orphans(&mut self) {
        let mut orphans: Vec<(u64, Vec<Incident>)> = Vec::new();
        let ends = self.queue.iter().filter(|(_, entry)| entry.is_end() && entry.is_fresh());
        for (seq, entry) in ends {
            let is_known = |incident: &&Incident| {
                self.known.was_told(&incident.id) || opens_somewhere(&self.queue, &incident.id)
            };
            let incidents = &entry.notice.incidents;
            let known = incidents.iter().filter(is_known).count();
            if known < incidents.len() {
                orphans.push((seq, incidents.iter().filter(is_known).cloned().collect()));
            }
        }
        for (seq, known) in orphans {
            let Some(entry) = self.queue.get(seq) else { continue };
            for incident in &entry.notice.incidents {
                if known.iter().all(|known| known.id != incident.id) {
                    self.known.end(&incident.id);
                }
            }
            if known.is_empty() {
                self.queue.cancel(seq);
            } else {
                self.queue.retell(seq, known);
            }
        }
    }
}

/// Whether `newer` says all that `held` does.
fn overtakes(newer: &Entry, held: &Entry) -> bool {
    match held.notice.what {
        // A reminder never gets here beside anything else.
        What::Opened => newer.notice.what != What::Reminder,
        What::Worsened => {
            newer.is_end() || matches!(newer.notice.what, What::Worsened | What::Escalated)
        }
        What::Escalated => newer.is_end() || newer.notice.what == What::Escalated,
        What::Flapping | What::FlappingEnded => {
            newer.is_end() || matches!(newer.notice.what, What::Flapping | What::FlappingEnded)
        }
        What::RecoveryStopped => newer.is_end() || newer.notice.what == What::RecoveryStopped,
        What::Reminder => true,
        What::Resolved | What::Digest | What::Test => false,
    }
}

fn opens_somewhere(queue: &Queue, incident: &str) -> bool {
    queue.about(incident).any(|(_, entry)| !entry.is_end())
}
