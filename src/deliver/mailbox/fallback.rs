//! Step: what the fallback of a failing channel is given.

use super::queue::Queue;
use super::{Mailbox, TROUBLE_AFTER, mono};
use crate::model::{Moment, Notice, What};

impl Mailbox {
    /// Marks what the fallback is to be given now, in order, and puts it out. Gives whether there
    /// was anything.
    ///
    /// It is all that nothing holds, each once, as long as the channel has failed for long enough.
    /// The notices stay owed to the channel itself.
    pub(super) fn fall_back(&mut self, at: i64) -> bool {
        let is_time = self.fallback_from().is_some_and(|from| from <= at);
        if !is_time {
            return false;
        }
        let mut any = false;
        loop {
            // What must follow something falls once that has fallen.
            let falling = self.able_to_fall();
            if falling.is_empty() {
                return any;
            }
            any = true;
            for seq in falling {
                if let Some(entry) = self.queue.edit(seq) {
                    entry.notice.fell_back = true;
                    self.fallen.push(entry.notice.clone());
                }
            }
        }
    }

    /// A notice that the channel will never take falls back whatever the time.
    pub(super) fn fall_back_refused(&mut self, notice: &mut Notice) {
        let has_fallback = self.terms.fallback_after.is_some();
        if has_fallback && !notice.fell_back && notice.what != What::Test {
            notice.fell_back = true;
            self.fallen.push(notice.clone());
        }
    }

    /// When the fallback is to be given what is pending, as things are.
    pub(super) fn fallback_from(&self) -> Option<i64> {
        let after = self.terms.fallback_after.filter(|_| self.is_failing())?;
        Some(self.failing_since.saturating_add(super::millis(after)))
    }

    /// When the channel has failed for so long that people should know of it, as things are.
    pub(super) fn trouble_from(&self) -> Option<i64> {
        let after = self.terms.fallback_after.unwrap_or(TROUBLE_AFTER);
        let since = Some(self.failing_since).filter(|_| self.is_failing())?;
        Some(since.saturating_add(super::millis(after)))
    }

    /// What the channel last said, once it has failed for long.
    pub fn trouble(&self, now: Moment) -> Option<&str> {
        let is_long = self.trouble_from().is_some_and(|from| from <= mono(now));
        is_long.then_some(&*self.last_refusal)
    }

    fn able_to_fall(&self) -> Vec<u64> {
        let pending = self.queue.iter().filter(|(_, entry)| {
            entry.is_pending() && !entry.notice.fell_back && entry.notice.what != What::Test
        });
        let able = pending.filter(|(_, entry)| !waits(&self.queue, entry.rank, &entry.notice));
        able.map(|(seq, _)| seq).collect()
    }
}

/// Whether the fallback must be told something else of the same incident before.
fn waits(queue: &Queue, rank: u8, notice: &Notice) -> bool {
    rank > 0
        && notice.incidents.iter().any(|incident| {
            queue.about(&incident.id).any(|(_, other)| {
                // A digest stands for those that it carries.
                let told = other.notice.fell_back || other.notice.digest.is_some();
                other.rank < rank && !told
            })
        })
}
