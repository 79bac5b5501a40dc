//! Assembles the parts, reloads them, starts and stops it all. Here the verbs meet.

mod control;
mod daemon;
mod gauges;
mod housekeeping;
mod ledger;
mod monitor;
pub mod plan;
mod task;

pub use daemon::{RunError, Running, compose, start};
pub use task::CheckTask;

use crate::clock::Clock;
use crate::deliver::Net;
use std::sync::Arc;

/// Chooses the one crypto provider of the process. Call it first; a second call changes nothing.
pub fn install_crypto() {
    // It fails only where a provider is installed already, and there is only this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What channels share: one client for everything that speaks HTTP.
///
/// # Errors
/// The TLS set-up failed, in words.
pub fn net(clock: Arc<dyn Clock>) -> Result<Net, String> {
    let http = reqwest::Client::builder()
        .user_agent(concat!("watchbell/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(2)
        .build()
        .map_err(|error| format!("cannot set up HTTP: {error}"))?;
    Ok(Net { http, clock })
}
