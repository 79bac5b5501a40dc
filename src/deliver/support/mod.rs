//! What several channels share.

mod button;
mod converse;
mod http;
mod secret;
mod smtp;
#[cfg(test)]
pub(crate) mod testing;
mod tls;

pub use button::Button;
pub use converse::{Conversation, converse, is_loud};
pub use http::{Answer, classify, exchange};
pub use secret::{SecretUrl, Veil};
pub use smtp::{Kept, Relay, Relays, Security};
pub use tls::tls_problem;

use crate::config::{PLACEHOLDER_HOST, Section};
use reqwest::Url;

/// Takes the address of a server that speaks HTTP, which must be there.
pub fn required_url(section: &mut Section<'_>, key: &'static str) -> Option<Url> {
    if !section.has(key) {
        section.required::<String>(key);
    }
    section.url(key, &["https", "http"])
}

/// Whether `text` stands in the place of a value that `validate --no-secrets` does not look up.
pub fn is_placeholder(text: &str) -> bool {
    text.contains(PLACEHOLDER_HOST)
}
