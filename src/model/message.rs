use super::{Incident, Name, Timestamp, What};
use std::sync::Arc;

/// How a destination reads text, and so how text from outside is escaped for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Nothing is special.
    Plain,
    /// Slack's mrkdwn: `&`, `<` and `>` are entities.
    Slack,
    /// Discord's Markdown: backslash before what it would read.
    Discord,
    /// Telegram's HTML subset.
    TelegramHtml,
    /// Plain text, with an HTML part of its own.
    Email,
}

/// A notice with its texts, ready for a channel.
#[derive(Clone, Debug)]
pub struct Message {
    /// The id of the notice: the same on each try, so that a receiver can drop a repeat.
    pub id: String,
    /// What it tells.
    pub what: What,
    /// When it came to be owed.
    pub at: Timestamp,
    /// The name of the daemon that sends it.
    pub daemon: Name,
    /// The one address it is for, where a channel serves several.
    pub recipient: String,
    /// What it is about.
    pub incidents: Vec<Incident>,
    /// One line, escaped for the destination.
    pub title: String,
    /// The body, escaped for the destination.
    pub text: String,
    /// The HTML part; empty where the format has none.
    pub html: String,
    /// How the check went lately; none where nothing is known, or where it would say nothing.
    pub picture: Option<Picture>,
    /// What a person may do about it at once. Each address is a page that asks before it acts.
    pub actions: Vec<Action>,
    /// The earlier message that this one answers, by the handle that the channel gave it (see
    /// `Notice::handle`); none where the recipient was told of nothing of it, or by several.
    pub answers: Option<String>,
    /// The earlier messages that this one makes out of date, the one that it answers first. Empty
    /// where the channel keeps no live messages.
    pub live: Vec<Live>,
}

/// An earlier message that a channel may bring up to date.
#[derive(Clone, Debug)]
pub struct Live {
    /// The handle that the channel gave it.
    pub handle: String,
    /// What it says from now on; none where that is the new message itself.
    pub now: Option<Message>,
}

/// A picture that goes with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The file, in PNG.
    pub png: Arc<[u8]>,
    /// The same in words, for those who do not see it.
    pub alt: String,
}

/// Something that a person may do about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// What it is called, such as `Acknowledge`; plain text, as short as a button's.
    pub label: String,
    /// Where it is done.
    pub url: String,
}
