//! How a notice gets to people: one channel a file in [`kinds`], and the outbox that sees to it
//! that each notice arrives.

mod backoff;
pub mod kinds;
pub mod mailbox;
pub mod outbox;
pub mod presets;
pub mod support;

use crate::clock::Clock;
use crate::config::Section;
use crate::model::{Format, Message, OptionDoc, Secret};
use async_trait::async_trait;
use reqwest::Url;
use serde::Serialize;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// A place that notices go to.
#[async_trait]
pub trait Channel: Send + Sync + Debug {
    /// The addresses that each get a delivery of their own; one empty address where the channel
    /// is a single place.
    fn recipients(&self) -> Vec<String> {
        vec![String::new()]
    }

    /// What [`Channel::send`] hands over for `message`, made by the same code, without sending it.
    ///
    /// # Errors
    /// Why nothing can be made of the message, in words.
    fn preview(&self, message: &Message) -> Result<Preview, String>;

    /// Where it connects to, for whoever looks whether that can be reached; nowhere, if it needs no
    /// network.
    fn endpoints(&self) -> Vec<Endpoint> {
        Vec::new()
    }

    /// Whether it shows [`Message::picture`]; none is drawn for those that do not.
    fn shows_pictures(&self) -> bool {
        false
    }

    /// The bot that people may operate the daemon through, where the channel is one and says who
    /// may.
    fn operators(&self) -> Option<Operators> {
        None
    }

    /// Whether it brings earlier messages up to date ([`Message::live`]), so that these are worth
    /// being put into words.
    fn keeps_live(&self) -> bool {
        false
    }

    /// Hands over one message. The outbox bounds the time, and decides what an outcome means.
    async fn send(&self, net: &Net, message: &Message) -> Outcome;
}

/// What a channel hands over for a message, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// What it is, such as `application/json`.
    pub content_type: String,
    /// The text itself.
    pub body: String,
}

impl Preview {
    /// A body in JSON.
    ///
    /// # Errors
    /// If `value` cannot be written as JSON.
    pub fn json(value: &impl Serialize) -> Result<Self, String> {
        let body = serde_json::to_string(value).map_err(|error| error.to_string())?;
        Ok(Self { content_type: "application/json".to_owned(), body })
    }
}

/// A server that a channel connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What is spoken there.
    pub protocol: Protocol,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP in plain.
    Http,
    /// HTTP over TLS.
    Https,
    /// SMTP that begins in plain.
    Smtp,
    /// SMTP over TLS from the first byte.
    Smtps,
}

impl Endpoint {
    /// The server of a URL; none where that is not one of the web.
    pub fn of(url: &Url) -> Option<Self> {
        let protocol = match url.scheme() {
            "http" => Protocol::Http,
            "https" => Protocol::Https,
            _ => return None,
        };
        let (host, port) = (url.host_str()?.to_owned(), url.port_or_known_default()?);
        Some(Self { host, port, protocol })
    }
}

/// A bot that takes commands, and from whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operators {
    /// The bot's token.
    pub token: Secret,
    /// Where the Bot API is, without the token.
    pub api: Url,
    /// The chats that it listens in.
    pub chats: Vec<i64>,
    /// The people whose word counts there.
    pub users: Vec<u64>,
}

/// What a channel said to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is there.
    Accepted {
        /// How the channel names the message that later ones about the same incidents refer to:
        /// the one that was answered, or else the one just sent. None where there is no such name.
        handle: Option<String>,
    },
    /// Not now; perhaps later.
    Retry {
        /// When the other side wants to be asked again, if it said so.
        after: Option<Duration>,
        /// In its own words, without secrets.
        why: String,
    },
    /// Never, as it is: a revoked token, an unknown chat, a body that it does not take.
    Rejected {
        /// In its own words, without secrets.
        why: String,
    },
}

impl Outcome {
    /// Accepted by a channel that has no names for messages.
    pub const fn accepted() -> Self {
        Self::Accepted { handle: None }
    }

    /// Whether the message is there.
    pub const fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted { .. })
    }
}

/// What channels share.
#[derive(Clone, Debug)]
pub struct Net {
    /// The client for everything that speaks HTTP. It does not follow redirects: a moved address
    /// is for a person to look at, and a redirected POST would arrive without its body.
    pub http: reqwest::Client,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// How long whatever is not the message itself may take within one try.
    pub patience: Duration,
}

impl Net {
    /// What channels share, made once at start.
    ///
    /// # Errors
    ///
    /// If the machine has no usable TLS settings.
    pub fn new(clock: Arc<dyn Clock>) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("watchbell/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(2)
            .build()?;
        Ok(Self { http, clock, patience: Duration::from_secs(2) })
    }
}

/// A kind of channel: all that is known about it, in one place.
#[derive(Debug)]
pub struct ChannelKind {
    /// The name of its table in TOML: `slack` for `[channel.slack]`.
    pub name: &'static str,
    /// Where it delivers, in one line.
    pub summary: &'static str,
    /// The keys of its table.
    pub options: &'static [OptionDoc],
    /// A whole `[[channel]]` table that validates as it stands.
    pub example: &'static str,
    /// How it reads text.
    pub format: Format,
    /// The template that ships, with the blocks `title`, `text` and (email) `html`.
    pub template: &'static str,
    /// Reads its table. `None` means that the section holds at least one problem.
    pub parse: fn(&mut Section<'_>) -> Option<Box<dyn Channel>>,
}
