use super::OperateError;
use crate::record::StoreError;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

/// An error as the client sees it: a problem document of RFC 9457.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// The last part of `type`, for programs.
    kind: &'static str,
    /// The same for people, whatever the occurrence.
    title: &'static str,
    /// This occurrence, and what to do about it.
    pub(super) detail: String,
    /// Boxed, since most problems have none and results carry the room for it.
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self { status, kind, title, detail: detail.into(), header: None }
    }

    /// The same for people, whatever the occurrence.
    pub(super) const fn title(&self) -> &'static str {
        self.title
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some(Box::new((name, value)));
        self
    }

    pub(super) fn bad_query(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-query", "The query is not understood", detail)
    }

    /// What a body says cannot be read.
    pub(super) fn bad_body(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-body", "The request's body cannot be read", detail)
    }

    /// What a body says can be read, but not be done.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "This cannot be", detail)
    }

    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", "It is not in a state for this", detail)
    }

    /// Why the daemon did not do it; `missing` says what is not there, if that is it.
    pub(super) fn operate(error: OperateError, missing: impl Into<String>) -> Self {
        match error {
            OperateError::NotFound => Self::not_found(missing),
            OperateError::Conflict(why) => Self::conflict(why),
            OperateError::Invalid(why) => Self::invalid(why),
            OperateError::Stopping => Self::unavailable("stopping", "The daemon is stopping."),
        }
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing", detail)
    }

    pub(super) fn unavailable(kind: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, "Not available at the moment", detail)
    }

    pub(super) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The daemon made a mistake",
            "The daemon could not make this answer. Its log says why.",
        )
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if let StoreError::Cursor(cursor) = error {
            let cursor = shown(&cursor);
            return Self::bad_query(format!(
                "`{cursor}` is not a cursor of this list: take it from the `next` of the answer \
                 before, and keep the filters as they were"
            ));
        }
        // What a database says may hold a host or a path; that is for the log.
        tracing::warn!(%error, "the store could not answer a request");
        Self::unavailable(
            "store",
            "The store cannot be read. Checks and alerts go on without it; \
             /api/v1/status and the daemon's log say more.",
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = json!({
            "type": format!("urn:watchbell:problem:{}", self.kind),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let mut response = Response::new(Body::from(document.to_string()));
        *response.status_mut() = self.status;
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, problem);
        if let Some(header) = &self.header {
            let (name, value) = &**header;
            response.headers_mut().insert(name, value.clone());
        }
        // For those who put it into other words.
        response.extensions_mut().insert(self);
        response
    }
}

/// `text` from a request as an answer may quote it: short, and without control characters.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut shown: String =
        text.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}
