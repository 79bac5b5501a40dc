use super::past::Past;
use crate::model::{Action, HeldBecause, Incident, Notice, Picture, Timestamp, What};
use chrono_tz::Tz;
use url::Url;

/// All that a message is made from.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    /// What it tells.
    pub what: What,
    /// When it came to be owed.
    pub at: Timestamp,
    /// When it is written: incidents that go on have lasted until now.
    pub now: Timestamp,
    /// The name of the daemon that sends it.
    pub daemon: &'a str,
    /// The zone in which people read times.
    pub zone: Tz,
    /// What it is about; a test may be about nothing.
    pub incidents: &'a [Incident],
    /// What a digest stands for.
    pub held: Option<Held>,
    /// What it refers to.
    pub background: Background<'a>,
}

/// What a message refers to beside its incidents.
#[derive(Clone, Copy, Debug, Default)]
pub struct Background<'a> {
    /// Where people reach the daemon's pages; without it a message has no links to them.
    pub pages: Option<&'a Url>,
    /// What history says of the check that a message is about; none in a message about many.
    pub past: Option<&'a Past>,
    /// The picture that goes with it; none where the channel shows none.
    pub picture: Option<&'a Picture>,
    /// What a person may do about the incident that a message is about.
    pub actions: &'a [Action],
}

/// The notices that come together as one digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// How many there are.
    pub notices: usize,
    /// Why they did not come one by one.
    pub because: HeldBecause,
}

impl<'a> Letter<'a> {
    /// The letter that tells `notice`.
    pub fn of(
        notice: &'a Notice,
        daemon: &'a str,
        zone: Tz,
        now: Timestamp,
        background: Background<'a>,
    ) -> Self {
        Self {
            what: notice.what,
            at: notice.at,
            now,
            daemon,
            zone,
            incidents: &notice.incidents,
            held: notice
                .held_because
                .filter(|_| notice.what == What::Digest)
                .map(|because| Held { notices: notice.incidents.len(), because }),
            background,
        }
    }
}
