//! Step: which notice goes now, and when to look again.

use super::Mailbox;
use super::queue::Entry;
use crate::model::NoticeState;

impl Mailbox {
    /// The notice that goes now. While the channel fails, only its head knocks, so that all goes in
    /// order once it is back; each fourth knock is another's, in case the head itself is to blame.
    pub(super) fn pick(&mut self, at: i64) -> Option<u64> {
        if self.paused_until > at {
            return None;
        }
        let digest_room = self.rate.free(at) > 0;
        let failing = self.is_failing();
        let mut able = self.queue.iter().filter(|(_, entry)| {
            entry.is_pending()
                && (failing || entry.due <= at)
                && (!takes_digest_slot(entry) || digest_room)
                && !self.queue.must_follow(entry)
        });
        if failing && self.failures.is_multiple_of(4) {
            able.min_by_key(|(_, entry)| entry.notice.attempts).map(|(seq, _)| seq)
        } else {
            able.next().map(|(seq, _)| seq)
        }
    }

    /// When there is something to do next, if nothing happens before.
    pub(super) fn wake_at(&mut self, at: i64) -> Option<i64> {
        let failing = self.is_failing();
        let digest_slot = self.rate.free_from(1, at);
        let paused_until = self.paused_until;
        let dues = self.queue.iter().filter_map(|(_, entry)| match entry.notice.state {
            NoticeState::Pending if takes_digest_slot(entry) => {
                Some(entry.due.max(digest_slot).max(paused_until))
            }
            NoticeState::Pending if failing => Some(paused_until),
            NoticeState::Pending => Some(entry.due.max(paused_until)),
            _ => None,
        });
        dues.chain(self.review_at).filter(|wake| *wake > at).min()
    }
}

fn takes_digest_slot(entry: &Entry) -> bool {
    entry.is_digest() && !entry.is_end()
}
