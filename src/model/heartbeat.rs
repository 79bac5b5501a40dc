use super::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// What is remembered of a check that waits to be pinged, kept over restarts.
/// `check::kinds::heartbeat` moves it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HeartbeatState {
    /// How it is, as far as pings go.
    pub phase: Phase,
    /// All pings that were ever taken in, those that only left a note included.
    pub pings: u64,
    /// The latest ping that said success or failure.
    pub last_ping: Option<Timestamp>,
    /// When the run began that has not ended yet, if one has.
    pub last_start: Option<Timestamp>,
    /// The id that the start of that run bore.
    pub start_rid: Option<String>,
    /// When it goes down if nothing comes.
    pub alert_after: Option<Timestamp>,
    /// Not down before this, since the daemon itself was away when a ping was owed.
    pub not_before: Option<Timestamp>,
    /// How long the run took whose end came last, if its start was told as well.
    pub duration: Option<Duration>,
    /// The exit status that came last; 0 with a plain success, absent with a plain failure.
    pub exit_status: Option<u8>,
    /// Why it is down, in words, while it is by a ping or for want of one.
    pub failure: Option<String>,
    /// What came with the latest success or failure.
    pub body: Arc<str>,
    /// The time of the latest result.
    pub latest: Option<Timestamp>,
    /// Whether a ping made the check, and no configuration.
    pub created: bool,
}

impl HeartbeatState {
    /// Somebody stopped the check: nothing is owed until the next ping.
    pub fn rest(&mut self) {
        self.phase = Phase::New;
        self.last_start = None;
        self.start_rid = None;
        self.alert_after = None;
        self.not_before = None;
        self.failure = None;
    }
}

/// How a check that waits for pings is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Never pinged, or not since it was paused.
    #[default]
    New,
    /// The latest word was good, and the next one is not overdue.
    Up,
    /// It said so, or a word is overdue.
    Down,
}

/// One request to the address of a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Which check is meant.
    pub address: PingAddress,
    /// What the path says of it.
    pub signal: Signal,
    /// The HTTP method, in capitals.
    pub method: String,
    /// The id of the run as the request wrote it, unchecked.
    pub rid: Option<String>,
    /// The first bytes of the body, [`PING_BODY_LIMIT`] at most, as text.
    pub body: Arc<str>,
    /// Whether a check is to be made where there is none of this slug.
    pub create: bool,
}

/// So many bytes of a ping's body are kept.
pub const PING_BODY_LIMIT: usize = 10_000;

/// Which check a ping is for.
#[derive(Clone, PartialEq, Eq)]
pub enum PingAddress {
    /// By its own secret, in lower case.
    Uuid(String),
    /// By its slug, with a key that opens all slugs.
    Slug {
        /// The key as the request gave it.
        key: String,
        /// Whether it is a key of the API that may push.
        pushes: bool,
        /// The slug, in lower case.
        slug: String,
    },
}

impl std::fmt::Debug for PingAddress {
    /// Leaves the secrets out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uuid(_) => f.write_str("Uuid([secret])"),
            Self::Slug { slug, .. } => write!(f, "Slug({slug})"),
        }
    }
}

/// What a ping says by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// All went well.
    Success,
    /// A run begins.
    Start,
    /// It failed.
    Fail,
    /// Only a note.
    Log,
    /// It ended with an exit status; one above 255 is none.
    Exit(u32),
}

/// What is answered to a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingAnswer {
    /// It was taken in, or ignored on purpose.
    Taken,
    /// It was taken in, and a check was made for it.
    Created,
    /// There is no such check, or the key is wrong.
    NotFound,
    /// The exit status is none.
    BadUrl,
    /// The id of the run is no UUID.
    BadRunId,
    /// The daemon is about to end; try again.
    Stopping,
}

/// `text` in lower case, if it is a UUID in the usual form: 8-4-4-4-12 hexadecimal digits.
pub fn uuid(text: &str) -> Option<String> {
    let dash = |place: usize| matches!(place, 8 | 13 | 18 | 23);
    let fits = |(place, byte): (usize, u8)| match dash(place) {
        true => byte == b'-',
        false => byte.is_ascii_hexdigit(),
    };
    let good = text.len() == 36 && text.bytes().enumerate().all(fits);
    good.then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::uuid;

    #[test]
    fn a_uuid_has_its_dashes_in_their_places() {
        let good = "5BF66975-d4c7-4bf5-bcc8-b8d8a82ea278";
        assert_eq!(uuid(good), Some(good.to_lowercase()));
        for bad in [
            "",
            "5bf66975d4c74bf5bcc8b8d8a82ea278",
            "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea27",
            "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea27g",
            "5bf66975-d4c7-4bf5-bcc8bb8d8a82ea278",
            "{bf66975-d4c7-4bf5-bcc8-b8d8a82ea278",
        ] {
            assert_eq!(uuid(bad), None, "{bad}");
        }
    }
}
