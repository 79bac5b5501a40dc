use super::{Name, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// What people tell the readers of the public status page in their own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// A ULID: sorts by the time at which it was made.
    pub id: String,
    /// What it is about, in one line.
    pub title: String,
    /// The checks that it is about; readers see those among them that are public.
    pub checks: Vec<Name>,
    /// From when on the work is planned that it announces.
    #[serde(default)]
    pub starts_at: Option<Timestamp>,
    /// Until when it is planned, or until when there is something to tell.
    #[serde(default)]
    pub ends_at: Option<Timestamp>,
    /// What was said, oldest first; never empty.
    pub updates: Vec<AnnouncementUpdate>,
}

/// One message of an announcement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnnouncementUpdate {
    /// When it was said.
    pub at: Timestamp,
    /// Where things stood then.
    pub kind: AnnouncementKind,
    /// Plain text; an empty line begins a new paragraph.
    pub body: String,
    /// Who said it. Readers of the public page do not see it.
    pub by: String,
}

impl Announcement {
    /// Where things stand by the latest message.
    pub fn kind(&self) -> AnnouncementKind {
        self.updates.last().map_or(AnnouncementKind::Info, |latest| latest.kind)
    }

    /// When it was made.
    pub fn created_at(&self) -> Timestamp {
        self.updates.first().map(|first| first.at).unwrap_or_default()
    }

    /// When something was said last.
    pub fn updated_at(&self) -> Timestamp {
        self.updates.last().map(|latest| latest.at).unwrap_or_default()
    }

    /// Whether it is over at `now`: resolved, or past its end.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.kind() == AnnouncementKind::Resolved || self.ends_at.is_some_and(|end| end <= now)
    }

    /// When it came to its end, if it is over at `now`.
    pub fn over_at(&self, now: Timestamp) -> Option<Timestamp> {
        let resolved = (self.kind() == AnnouncementKind::Resolved).then(|| self.updated_at());
        let ended = self.ends_at.filter(|end| *end <= now);
        resolved.into_iter().chain(ended).min()
    }
}

/// Where things stand, by an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AnnouncementKind {
    /// Something is wrong, and people look for the cause.
    Investigating,
    /// The cause is known.
    Identified,
    /// It should be well again, and people watch whether it stays so.
    Monitoring,
    /// It is over.
    Resolved,
    /// Work is planned or under way.
    Maintenance,
    /// Good to know.
    Info,
}

impl AnnouncementKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Investigating,
        Self::Identified,
        Self::Monitoring,
        Self::Resolved,
        Self::Maintenance,
        Self::Info,
    ];

    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Investigating => "investigating",
            Self::Identified => "identified",
            Self::Monitoring => "monitoring",
            Self::Resolved => "resolved",
            Self::Maintenance => "maintenance",
            Self::Info => "info",
        }
    }

    /// The kind that `word` names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Whether it says that something is wrong.
    pub const fn is_trouble(self) -> bool {
        matches!(self, Self::Investigating | Self::Identified | Self::Monitoring)
    }
}

impl fmt::Display for AnnouncementKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::{Announcement, AnnouncementKind, AnnouncementUpdate};
    use crate::model::Timestamp;

    #[test]
    fn an_announcement_is_over_when_it_says_so_or_its_end_has_come() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let over_at = |kinds: &[(i64, AnnouncementKind)], ends: Option<i64>, now: i64| {
            let update = |(said, kind): &(i64, AnnouncementKind)| AnnouncementUpdate {
                at: at(*said),
                kind: *kind,
                body: String::new(),
                by: String::new(),
            };
            let announcement = Announcement {
                id: String::new(),
                title: String::new(),
                checks: Vec::new(),
                starts_at: None,
                ends_at: ends.map(at),
                updates: kinds.iter().map(update).collect(),
            };
            let over = announcement.over_at(at(now));
            assert_eq!(over.is_some(), announcement.is_over(at(now)));
            over.map(|at| at.as_millis() / 1000)
        };
        use AnnouncementKind::{Investigating, Maintenance, Resolved};
        assert_eq!(over_at(&[(1, Investigating)], None, 100), None);
        assert_eq!(over_at(&[(1, Investigating), (7, Resolved)], None, 100), Some(7));
        assert_eq!(over_at(&[(1, Resolved), (7, Investigating)], None, 100), None);
        assert_eq!(over_at(&[(1, Maintenance)], Some(50), 49), None);
        assert_eq!(over_at(&[(1, Maintenance)], Some(50), 50), Some(50));
        assert_eq!(over_at(&[(1, Maintenance), (30, Resolved)], Some(50), 60), Some(30));
    }
}
