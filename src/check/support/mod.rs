//! What several kinds share.

pub mod hide;
pub mod value;

use crate::clock::Clock;
use std::sync::Arc;

/// Clients and settings that all checks share, made once at start.
#[derive(Debug)]
pub struct Shared {
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// For JSON-RPC and whatever else needs no timing of its phases.
    pub http: reqwest::Client,
}

impl Shared {
    /// What checks share, on `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Result<Self, String> {
        Ok(Self { clock, http: reqwest::Client::new() })
    }
}
