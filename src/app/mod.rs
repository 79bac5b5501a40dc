//! Assembles the parts, reloads them, starts and stops it all. Here the verbs meet.

pub mod alerting;
mod control;
mod daemon;
mod doors;
mod gauges;
mod heartbeats;
mod history;
mod housekeeping;
mod jobs;
mod ledger;
mod lifeline;
mod mail;
mod monitor;
pub mod plan;
mod plan_recover;
pub mod service;
mod task;
mod vitals;
mod watch;

pub use control::Asked;
pub use daemon::{Next, RunError, Running, start};
pub use doors::Passed;
pub use mail::{Enclosed, Letterhead, compose};
pub use task::CheckTask;

/// Chooses the one crypto provider of the process. Call it first; a second call changes nothing.
pub fn install_crypto() {
    // It fails only where a provider is installed already, and there is only this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
