use super::{Incident, Name, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use utoipa::ToSchema;

/// A message that is owed to one recipient about one or more incidents: a row of the outbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// A ULID: sorts by the time at which it came to be owed. Sent along as idempotency key.
    pub id: String,
    /// What it tells.
    pub what: What,
    /// The channel that it goes to.
    pub channel: Name,
    /// The one address it is for, where the channel serves several (email); else empty.
    pub recipient: String,
    /// The incidents as they were when the notice came to be owed. A notice of the outbox has one;
    /// a digest has as many as it lists.
    pub incidents: Vec<Incident>,
    /// Where it stands.
    pub state: NoticeState,
    /// Why it waits, while it is held; for a digest, why its notices did not come one by one.
    pub held_because: Option<HeldBecause>,
    /// The digest that carried it, if one did.
    pub digest: Option<String>,
    /// How often it was handed to the channel.
    pub attempts: u32,
    /// What the channel said when it last refused.
    pub last_error: Option<String>,
    /// The first time that it was handed over, and the latest ones: oldest first.
    #[serde(default)]
    pub tries: Vec<Try>,
    /// When it came to be owed.
    pub at: Timestamp,
    /// Not to be tried before; `at` if it was never tried.
    pub due_at: Timestamp,
    /// When the channel accepted it.
    pub sent_at: Option<Timestamp>,
    /// Passes the rate limit, and does not count in it.
    pub urgent: bool,
    /// What it comes together with, if its route groups.
    #[serde(default)]
    pub group: Option<Group>,
    /// Held until then, since its route is mute at this hour.
    #[serde(default)]
    pub mute_until: Option<Timestamp>,
    /// Whether the channel's fallback was given a copy.
    #[serde(default)]
    pub fell_back: bool,
    /// Whether it is such a copy itself: its channel hears only because another fails.
    #[serde(default)]
    pub stands_in: bool,
    /// How the channel names the message that stands for this notice, so that later ones can refer
    /// to it: the one that was sent, or the one that it answered. None until it was accepted, where
    /// a digest carried it, and where the channel has no such names.
    #[serde(default)]
    pub handle: Option<String>,
}

/// One time that a notice was handed to its channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Try {
    /// When it was handed over.
    pub at: Timestamp,
    /// How long the answer took, in milliseconds.
    pub took_ms: u64,
    /// Why the channel did not take it; null if it did.
    pub error: Option<String>,
}

/// Notices that come together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Group {
    /// The same for notices of one group.
    pub key: String,
    /// The first goes at once; what follows within so long comes as one digest.
    pub window: Duration,
}

impl Notice {
    /// A notice that came to be owed at `at`, and that nobody has tried to deliver yet.
    pub fn new(
        id: String,
        what: What,
        channel: Name,
        recipient: String,
        incidents: Vec<Incident>,
        at: Timestamp,
    ) -> Self {
        Self {
            id,
            what,
            channel,
            recipient,
            incidents,
            state: NoticeState::Pending,
            held_because: None,
            digest: None,
            attempts: 0,
            last_error: None,
            tries: Vec::new(),
            at,
            due_at: at,
            sent_at: None,
            urgent: false,
            group: None,
            mute_until: None,
            fell_back: false,
            stands_in: false,
            handle: None,
        }
    }

    /// How many tries are told one by one.
    pub const TRIES: usize = 20;

    /// Counts a time that it was handed over. Of many, the first and the latest are kept.
    pub fn tried(&mut self, once: Try) {
        self.attempts = self.attempts.saturating_add(1);
        if self.tries.len() >= Self::TRIES {
            self.tries.remove(1);
        }
        self.tries.push(once);
    }

    /// Takes in that a check has another name now. Gives whether that concerns it.
    pub fn rename(&mut self, old: &str, new: &Name) -> bool {
        let renamed = self.incidents.iter_mut().map(|incident| incident.rename(old, new));
        renamed.fold(false, |any, one| any | one)
    }

    /// Whether the outbox still has something to do for it.
    pub fn is_owed(&self) -> bool {
        matches!(self.state, NoticeState::Pending | NoticeState::Held)
    }

    /// Whether it tells of the incident with this id.
    pub fn is_about(&self, incident: &str) -> bool {
        self.incidents.iter().any(|known| known.id == incident)
    }
}

/// What a notice tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// An incident opened.
    Opened,
    /// From degraded to down.
    Worsened,
    /// It goes on, and nobody has taken it on.
    Reminder,
    /// It goes on, and others should know.
    Escalated,
    /// The check goes to and fro: one message in place of many.
    Flapping,
    /// The check goes to and fro no longer, but is not well.
    FlappingEnded,
    /// What was tried to get the check going again did not help, and is not tried any more.
    RecoveryStopped,
    /// It is over.
    Resolved,
    /// Several incidents at once: what a limit held back.
    Digest,
    /// A person tries a channel out.
    Test,
}

impl What {
    /// The word in the API and in templates.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Worsened => "worsened",
            Self::Reminder => "reminder",
            Self::Escalated => "escalated",
            Self::Flapping => "flapping",
            Self::FlappingEnded => "flapping_ended",
            Self::RecoveryStopped => "recovery_stopped",
            Self::Resolved => "resolved",
            Self::Digest => "digest",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a notice stands in the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NoticeState {
    /// Owed, and tried as soon as it is due.
    Pending,
    /// The channel accepted it.
    Sent,
    /// Owed, but something holds it back for now.
    Held,
    /// The channel refused it for good, or it was given up.
    Rejected,
    /// No longer owed: the incident was over before anybody was told.
    Cancelled,
}

impl NoticeState {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::Sent, Self::Held, Self::Rejected, Self::Cancelled];

    /// The word in the API and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Held => "held",
            Self::Rejected => "rejected",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state that `word` names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// What holds a notice back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeldBecause {
    /// Something that the check stands on is down, or is being looked at.
    Dependency,
    /// Somebody silenced it, or its route is mute at this hour.
    Silence,
    /// A maintenance window.
    Maintenance,
    /// The check goes to and fro, and people know.
    Flapping,
    /// Its route groups: it comes with others.
    Group,
    /// The channel heard about this check not long ago.
    Cooldown,
    /// The channel has had its share for now.
    RateLimit,
    /// Too many at once: they come together.
    Storm,
}

impl HeldBecause {
    /// Whether an incident that is suppressed for this reason holds back what tells `what`. A check
    /// that goes to and fro is told to do so; only what that means for it meanwhile is not.
    pub const fn holds(self, what: What) -> bool {
        match what {
            What::Resolved | What::Digest | What::Test => false,
            What::Worsened | What::Reminder | What::Escalated => true,
            What::Opened | What::Flapping | What::FlappingEnded | What::RecoveryStopped => {
                !matches!(self, Self::Flapping)
            }
        }
    }

    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dependency => "dependency",
            Self::Silence => "silence",
            Self::Maintenance => "maintenance",
            Self::Flapping => "flapping",
            Self::Group => "group",
            Self::Cooldown => "cooldown",
            Self::RateLimit => "rate_limit",
            Self::Storm => "storm",
        }
    }
}

impl fmt::Display for HeldBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
