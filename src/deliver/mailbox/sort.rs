//! Which sorts of notices there are, as far as the order and the limits go.

use crate::model::{Notice, What};

/// About one incident, a lower rank is accepted before a higher one goes.
pub(super) fn rank(notice: &Notice) -> u8 {
    if is_end(notice) {
        return LAST;
    }
    match notice.what {
        What::Opened | What::Digest | What::Test => 0,
        What::Worsened
        | What::Reminder
        | What::Escalated
        | What::Flapping
        | What::FlappingEnded
        | What::RecoveryStopped
        | What::Resolved => 1,
    }
}

/// The rank of what says that something is over.
pub(super) const LAST: u8 = 2;

/// Whether it says that something is over: a resolution, or a digest of nothing else.
pub fn is_end(notice: &Notice) -> bool {
    match notice.what {
        What::Resolved => true,
        What::Digest => {
            let mut incidents = notice.incidents.iter();
            !notice.incidents.is_empty() && incidents.all(|known| known.resolved_at.is_some())
        }
        _ => false,
    }
}

/// Whether whoever gets it knows of its incidents, and should hear their end.
pub(super) fn tells(notice: &Notice) -> bool {
    notice.what != What::Test && !is_end(notice)
}

/// Whether it waits for the limits of the channel and counts in them.
pub(super) fn counts(notice: &Notice) -> bool {
    !notice.urgent && tells(notice)
}

/// Whether it counts among the resolutions that came one by one.
pub(super) fn counts_as_end(notice: &Notice) -> bool {
    !notice.urgent && is_end(notice) && notice.group.is_none()
}
