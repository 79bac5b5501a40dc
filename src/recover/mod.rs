//! What is done to get a check going again: [`plan`] says when, [`Recoverer`] sees to it that it
//! is done and comes to an end, and [`actions`] holds what can be done, one file each.

pub mod actions;
pub mod plan;
mod run;

pub use run::{Outcome, Recoverer, Started};

use crate::clock::Clock;
use crate::config::Section;
use crate::model::{ActionName, Name, OptionDoc};
use async_trait::async_trait;
use std::fmt::Debug;
use std::sync::Arc;

/// Something that may get a check going again.
#[async_trait]
pub trait Action: Send + Sync + Debug {
    /// What it would do, in words: `restart the unit shop-api.service`. Without secrets.
    fn describe(&self, order: &Order) -> String;

    /// Does it once, and says what was done, or why it was not; in words without secrets.
    ///
    /// At the timeout, and when the daemon stops, the future is dropped: what it started must end
    /// with it.
    ///
    /// # Errors
    /// What went wrong, in words.
    async fn run(&self, tools: &Tools, order: &Order) -> Result<String, String>;
}

/// One attempt: what is to be done, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The check.
    pub check: Name,
    /// The id of its incident.
    pub incident: String,
    /// What is to be done.
    pub action: ActionName,
    /// Which attempt of the window it is, from 1.
    pub attempt: u32,
    /// Out of so many.
    pub of: u32,
    /// Why the check is down, in words.
    pub reasons: Vec<String>,
}

/// What actions share.
#[derive(Clone, Debug)]
pub struct Tools {
    /// For everything that speaks HTTP; it must not follow redirects.
    pub http: reqwest::Client,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

/// A way to do something: all that is known about it, in one place.
#[derive(Debug)]
pub struct ActionKind {
    /// The key of `[check.recover]` that chooses it.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Its keys in `[check.recover]`.
    pub options: &'static [OptionDoc],
    /// What it can be asked to do.
    pub actions: &'static [ActionName],
    /// A whole `[check.recover]` that validates as it stands.
    pub example: &'static str,
    /// Takes its keys out of `[check.recover]`. `None` means that the section holds at least one
    /// problem.
    pub parse: fn(&mut Section<'_>) -> Option<Arc<dyn Action>>,
}
