use super::access::{Need, Visitor};
use super::problem::shown;
use axum::extract::Request;
use http::{Method, StatusCode};

/// The most of a request's body that is noted, in characters.
const BODY: usize = 1000;

/// One line of the audit log: who wanted what changed, and what came of it. It goes where all log
/// lines go, under the target `watchbell::audit`.
#[derive(Debug)]
pub(super) struct Entry {
    visitor: Visitor,
    method: Method,
    path: String,
}

impl Entry {
    pub(super) fn new(visitor: Visitor, need: Need, request: &Request) -> Self {
        let path = match need {
            // The address itself is the right, so it is a secret.
            Need::Link => "/act/…".to_owned(),
            Need::Page | Need::Scope(_) => shown(request.uri().path()),
        };
        Self { visitor, method: request.method().clone(), path }
    }

    /// Notes it, with what was sent along and how it was answered.
    pub(super) fn write(&self, body: &[u8], status: StatusCode) {
        let body: String = String::from_utf8_lossy(body).chars().take(BODY).collect();
        tracing::info!(
            target: "watchbell::audit",
            key = self.visitor.name(),
            from = %self.visitor,
            method = %self.method,
            path = self.path,
            body = body.escape_debug().to_string(),
            status = status.as_u16(),
            "somebody asked for a change"
        );
    }
}
