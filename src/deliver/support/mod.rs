//! What several channels share.

mod http;
mod secret;
#[cfg(test)]
pub(crate) mod testing;

pub use http::{Answer, classify, exchange, retry_after};
pub use secret::{SecretUrl, Veil};

use crate::config::PLACEHOLDER_HOST;

/// Whether `text` stands in the place of a value that `validate --no-secrets` does not look up.
pub fn is_placeholder(text: &str) -> bool {
    text.contains(PLACEHOLDER_HOST)
}
