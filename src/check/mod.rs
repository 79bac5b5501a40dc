//! What a check does when it runs: one kind a file in [`kinds`], all of them listed there.

pub mod kinds;
pub mod support;
#[cfg(test)]
pub(crate) mod testing;

pub use support::Shared;

use crate::config::Section;
use crate::model::{FactSpec, Facts, Observation, OptionDoc, Verdict};
use async_trait::async_trait;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// A check that is ready to run, again and again.
#[async_trait]
pub trait Check: Send + Sync + Debug {
    /// Observes the target once.
    ///
    /// A target that fails is an observation with an error, never a panic. The runner drops the
    /// future at the timeout, so everything that it started must end with it.
    async fn run(&self, run: &Run) -> Observation;

    /// The kind's own sense of being well, for a check without `expect`. It is asked only where
    /// the observation met no error.
    fn sense(&self, _observation: &Observation) -> Verdict {
        Verdict::UP
    }

    /// What the history keeps of a run that was not well beside the facts that it always keeps, so
    /// that a person sees what came: bounded, and without secrets.
    fn evidence(&self, _observation: &Observation) -> Facts {
        Facts::default()
    }

    /// What a check that waits to be pinged wants; such a one is not run on a schedule.
    fn heartbeat(&self) -> Option<&kinds::heartbeat::Heartbeat> {
        None
    }
}

/// What a run is given.
#[derive(Clone, Debug)]
pub struct Run {
    /// What all checks share: clients, trusted roots, the clock.
    pub shared: Arc<Shared>,
    /// The whole time that the run has. The runner enforces it; a kind may want to tell a server.
    pub timeout: Duration,
}

/// A kind of check: all that is known about it, in one place.
#[derive(Debug)]
pub struct Kind {
    /// The name of its table in TOML: `http` for `[check.http]`.
    pub name: &'static str,
    /// What it watches, in one line.
    pub summary: &'static str,
    /// The keys of its table.
    pub options: &'static [OptionDoc],
    /// What it finds, beside [`FactSpec::COMMON`].
    pub facts: &'static [FactSpec],
    /// A whole `[[check]]` table that validates as it stands.
    pub example: &'static str,
    /// What it takes to be up where a check has no `expect`, in one line.
    pub well: &'static str,
    /// Reads its table. `None` means that the section holds at least one problem.
    pub parse: fn(&mut Section<'_>) -> Option<Box<dyn Check>>,
}

impl Kind {
    /// All facts that a condition on this kind may name.
    pub fn all_facts(&self) -> impl Iterator<Item = &'static FactSpec> {
        FactSpec::COMMON.iter().chain(self.facts)
    }
}
