//! What several kinds share: dialling, TLS, HTTP exchanges, headers, name servers.

pub mod absent;
pub mod dial;
pub mod exchange;
pub mod headers;
pub mod hide;
pub mod nameserver;
pub mod tls;
pub mod value;

use crate::clock::Clock;
use crate::config::Section;
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;

/// How the program names itself to servers.
pub const USER_AGENT: &str = concat!("watchbell/", env!("CARGO_PKG_VERSION"));

/// Clients and settings that all checks share, made once at start.
#[derive(Debug)]
pub struct Shared {
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// For JSON-RPC; see [`http_client`].
    pub http: reqwest::Client,
}

impl Shared {
    /// What checks share, on `clock`.
    ///
    /// # Errors
    ///
    /// The HTTP client cannot be set up, in words.
    pub fn new(clock: Arc<dyn Clock>) -> Result<Self, String> {
        let options = tls::TlsOptions::default();
        let tls = tls::client_config(&options, &[b"h2", b"http/1.1"])?;
        Ok(Self { clock, http: http_client(&tls)? })
    }
}

/// A client for whatever needs no timing of its phases. It uses no proxy from the environment and
/// follows no redirects.
///
/// # Errors
///
/// It cannot be set up, in words.
pub fn http_client(tls: &ClientConfig) -> Result<reqwest::Client, String> {
    reqwest::Client::builder()
        .use_preconfigured_tls(tls.clone())
        .user_agent(USER_AGENT)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| format!("cannot set up the HTTP client: {error}"))
}

/// Takes an absolute URL that must be there, of one of `schemes`.
pub fn required_url(
    section: &mut Section<'_>,
    key: &'static str,
    schemes: &[&str],
) -> Option<url::Url> {
    if !section.has(key) {
        let place = section.place_of(key);
        section.error_at(&place, "is missing");
    }
    section.url(key, schemes)
}

/// How long a kind itself waits in a run that may take `timeout`: a little less, so that it is the
/// kind that says how far it came.
pub fn patience(timeout: Duration) -> Duration {
    timeout - (timeout / 20).min(Duration::from_millis(100))
}

/// A span in milliseconds, as facts give it.
pub fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

/// The first `limit` characters of a text from outside, on one line, for an error text.
pub fn excerpt(text: &str, limit: usize) -> String {
    let mut short: String =
        text.chars().take(limit).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(limit).is_some() {
        short.push('…');
    }
    short
}
