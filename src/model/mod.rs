//! The words that the whole program shares, as types. No I/O and no clock in here.

mod alert;
mod announcement;
mod beats;
mod board;
mod doc;
mod fact;
mod heartbeat;
mod incident;
mod message;
mod nearest;
mod notice;
mod observation;
mod recovery;
mod secret;
mod silence;
mod status;
mod time;

pub use alert::{Alert, Origin, fingerprint, is_alert, subject_of};
pub use announcement::{Announcement, AnnouncementKind, AnnouncementUpdate};
pub use beats::{BEATS, Beat, Beats};
pub use board::{Board, CheckView, Totals};
pub use doc::{OptionDoc, Shape};
pub use fact::{Fact, FactSpec, FactType, Facts};
pub use heartbeat::{
    HeartbeatState, PING_BODY_LIMIT, Phase, Ping, PingAddress, PingAnswer, Signal, uuid,
};
pub use incident::{
    Acknowledgement, CheckState, Incident, IncidentView, NEXT_RUN_SAYS, Paused, RecoveryState,
    TimelineEntry, WELL_AGAIN,
};
pub use message::{Action, Format, Live, Message, Picture};
pub use nearest::{did_you_mean, nearest};
pub use notice::{Group, HeldBecause, Notice, NoticeState, Try, What};
pub use observation::{Judgement, Observation, RunResult, Verdict};
pub use recovery::ActionName;
pub use secret::Secret;
pub use silence::{Matcher, Silence, SilenceState};
pub use status::{Severity, Status};
pub use time::{Moment, Timestamp};

use std::collections::BTreeMap;
use std::sync::Arc;

/// Free-form `key = "value"` pairs of a check, in the order of their keys.
pub type Labels = BTreeMap<String, String>;

/// A name of a check or a channel; cheap to clone, since it travels with each result.
pub type Name = Arc<str>;

/// What is wrong with `name` as the name of a check or a channel, or `None` if it is fine.
///
/// Names match `[A-Za-z0-9][A-Za-z0-9._-]*`, so that they fit into a URL, a label and a file name.
pub fn name_problem(name: &str) -> Option<String> {
    let mut chars = name.chars();
    let Some(first) = chars.next() else {
        return Some("a name cannot be empty".to_owned());
    };
    if !first.is_ascii_alphanumeric() {
        return Some(format!("a name starts with a letter or a digit, not with `{first}`"));
    }
    let odd = chars.find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-'))?;
    Some(format!("a name holds letters, digits, `.`, `_` and `-`, but not `{odd}`"))
}

#[cfg(test)]
mod tests {
    use super::name_problem;

    #[test]
    fn names_fit_into_a_url_and_a_label() {
        for fine in ["a", "shop-api", "db.main_1", "9"] {
            assert_eq!(name_problem(fine), None, "{fine}");
        }
        for bad in ["", "-a", "a b", "a/b", "watchbell:store", "é"] {
            assert!(name_problem(bad).is_some(), "{bad}");
        }
    }
}
