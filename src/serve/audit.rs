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
    need: Need,
    method: Method,
    path: String,
}

impl Entry {
    pub(super) fn new(visitor: Visitor, need: Need, request: &Request) -> Self {
        let path = match need {
            // The address itself is the right, so it is a secret.
            Need::Link => "/act/…".to_owned(),
            Need::Page | Need::SignIn | Need::Form(_) | Need::Scope(_) => {
                shown(request.uri().path())
            }
        };
        Self { visitor, need, method: request.method().clone(), path }
    }

    /// Who wanted it.
    pub(super) const fn visitor(&self) -> &Visitor {
        &self.visitor
    }

    /// Notes it, with what was sent along and how it was answered.
    pub(super) fn write(&self, body: &[u8], status: StatusCode) {
        let body = match self.need {
            // A key stands in it.
            Need::SignIn => String::new(),
            Need::Form(_) => without_token(body),
            Need::Page | Need::Link | Need::Scope(_) => String::from_utf8_lossy(body).into_owned(),
        };
        let body: String = body.chars().take(BODY).collect();
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

/// A form less what only its session knows.
fn without_token(body: &[u8]) -> String {
    let fields = url::form_urlencoded::parse(body).filter(|(name, _)| name != "csrf");
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

#[cfg(test)]
mod tests {
    use super::without_token;

    #[test]
    fn a_form_is_noted_without_its_token() {
        assert_eq!(without_token(b"csrf=secret&for=2h&csrf=more&note=a+b"), "for=2h&note=a+b");
        assert_eq!(without_token(b"csrf"), "");
    }
}
