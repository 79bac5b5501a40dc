//! What people do by the buttons of pages. Each form becomes the request that the API knows, so that
//! both are read, checked and carried out alike.

use super::super::access::Visitor;
use super::super::problem::Problem;
use super::super::router::{Answer, Shared};
use super::super::{checks, incidents, notices, silences};
use super::segment;
use super::session::{Said, see};
use crate::model::Matcher;
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts as _, Path, Request, State};
use bytes::Bytes;
use http::Uri;
use serde_json::{Map, Value as Json, json};
use std::sync::Arc;

/// How long a silence from a page lasts if its form does not say.
const SILENCE: &str = "2h";
/// How long a snooze does.
const SNOOZE: &str = "1h";

/// The fields of a form.
#[derive(Debug)]
pub(in crate::serve) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a form as browsers send it.
    pub(in crate::serve) fn read(body: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(body).into_owned().collect())
    }

    /// The value of a field.
    pub(in crate::serve) fn one(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The same, as a person may have filled it in.
    fn filled(&self, key: &str) -> Option<&str> {
        self.one(key).map(str::trim).filter(|value| !value.is_empty())
    }

    /// Those of the fields `keys` that are filled in, as the body of a request to the API. Browsers
    /// end lines with a carriage return as well.
    fn body(&self, keys: &[&str]) -> Map<String, Json> {
        let filled = keys.iter().filter_map(|key| Some((*key, self.filled(key)?)));
        filled.map(|(key, value)| (key.to_owned(), Json::from(value.replace('\r', "")))).collect()
    }
}

/// `path` if it leads to another page of this daemon, else the overview: a link that somebody sends
/// may hold anything.
pub(in crate::serve) fn local_path(path: &str) -> &str {
    const LONGEST: usize = 1024;
    let fits = path.len() <= LONGEST
        && path.starts_with('/')
        // Browsers take a backslash for a slash, and two slashes for another host.
        && !path.starts_with("//")
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
        && !path.starts_with("/sign-");
    if fits { path } else { "/" }
}

type Id = Result<Path<String>, PathRejection>;

/// A form that somebody sent, with what its handlers share.
pub(super) struct Sent {
    shared: Arc<Shared>,
    visitor: Visitor,
    form: Form,
    id: String,
}

impl FromRequest<Arc<Shared>> for Sent {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let visitor = parts.extensions.get::<Visitor>().cloned().ok_or_else(Problem::internal)?;
        let Ok(Path(id)) = Path::from_request_parts(&mut parts, shared).await else {
            return Err(Problem::not_found("The address of this form cannot be read."));
        };
        let Ok(body) = Bytes::from_request(Request::from_parts(parts, body), shared).await else {
            return Err(Problem::bad_body("The form broke off."));
        };
        Ok(Self { shared: Arc::clone(shared), visitor, form: Form::read(&body), id })
    }
}

impl Sent {
    fn shared(&self) -> State<Arc<Shared>> {
        State(Arc::clone(&self.shared))
    }

    fn visitor(&self) -> Extension<Visitor> {
        Extension(self.visitor.clone())
    }

    fn id(&self) -> Id {
        Ok(Path(self.id.clone()))
    }

    /// Back to the page that the form stood on, which says what was done.
    fn back(&self, otherwise: &str, said: Said) -> Answer {
        let page = self.form.filled("back").map_or(otherwise, local_path);
        said.onto(see(page)?, self.visitor.secure)
    }

    fn to_check(&self, said: Said) -> Answer {
        self.back(&format!("/checks/{}", segment(&self.id)), said)
    }

    fn to_incident(&self, said: Said) -> Answer {
        self.back(&format!("/incidents/{}", segment(&self.id)), said)
    }

    /// Silences everything about `check` for as long as the form says.
    async fn silence(&self, check: &str) -> Result<(), Problem> {
        let mut body = self.form.body(&["for", "comment"]);
        body.entry("for").or_insert_with(|| json!(SILENCE));
        let matcher = Matcher {
            name: "name".to_owned(),
            value: check.to_owned(),
            is_regex: false,
            is_equal: true,
        };
        body.insert("matchers".to_owned(), json!([matcher]));
        silences::add(self.shared(), self.visitor(), Uri::default(), bytes(body)).await?;
        Ok(())
    }
}

fn bytes(body: Map<String, Json>) -> Bytes {
    Json::Object(body).to_string().into()
}

/// `POST /checks/{name}/run`.
pub(super) async fn run(sent: Sent) -> Answer {
    checks::run(sent.shared(), sent.id(), Uri::default()).await?;
    sent.to_check(Said::Ran)
}

/// `POST /checks/{name}/pause`.
pub(super) async fn pause(sent: Sent) -> Answer {
    let uri = Uri::default();
    checks::pause(sent.shared(), sent.visitor(), sent.id(), uri, Bytes::new()).await?;
    sent.to_check(Said::Paused)
}

/// `POST /checks/{name}/resume`.
pub(super) async fn resume(sent: Sent) -> Answer {
    let uri = Uri::default();
    checks::resume(sent.shared(), sent.visitor(), sent.id(), uri, Bytes::new()).await?;
    sent.to_check(Said::Resumed)
}

/// `POST /checks/{name}/silence`: `for` says how long, `comment` why.
pub(super) async fn silence_check(sent: Sent) -> Answer {
    let check = checks::find(&sent.shared, sent.id())?;
    sent.silence(&check.name).await?;
    sent.to_check(Said::Silenced)
}

/// `POST /incidents/{id}/ack`: `note` says what others should know, `for` how long it counts.
pub(super) async fn acknowledge(sent: Sent) -> Answer {
    let (uri, body) = (Uri::default(), bytes(sent.form.body(&["note", "for"])));
    incidents::acknowledge(sent.shared(), sent.visitor(), sent.id(), uri, body).await?;
    sent.to_incident(Said::Acknowledged)
}

/// `POST /incidents/{id}/unack`.
pub(super) async fn unacknowledge(sent: Sent) -> Answer {
    let uri = Uri::default();
    incidents::unacknowledge(sent.shared(), sent.visitor(), sent.id(), uri, Bytes::new()).await?;
    sent.to_incident(Said::Unacknowledged)
}

/// `POST /incidents/{id}/snooze`: `for` says how long.
pub(super) async fn snooze(sent: Sent) -> Answer {
    let mut body = sent.form.body(&["for"]);
    body.entry("for").or_insert_with(|| json!(SNOOZE));
    let uri = Uri::default();
    incidents::snooze(sent.shared(), sent.visitor(), sent.id(), uri, bytes(body)).await?;
    sent.to_incident(Said::Snoozed)
}

/// `POST /incidents/{id}/silence`: silences its check, as [`silence_check`] does.
pub(super) async fn silence_incident(sent: Sent) -> Answer {
    let incident = incidents::find(&sent.shared, &sent.id).await?;
    sent.silence(&incident.check).await?;
    sent.to_incident(Said::Silenced)
}

/// `POST /silences/{id}/expire`.
pub(super) async fn expire_silence(sent: Sent) -> Answer {
    let uri = Uri::default();
    silences::expire(sent.shared(), sent.visitor(), sent.id(), uri, Bytes::new()).await?;
    sent.back("/notices", Said::Unsilenced)
}

/// `POST /notices/{id}/retry`.
pub(super) async fn retry(sent: Sent) -> Answer {
    notices::retry(sent.shared(), sent.id(), Uri::default()).await?;
    sent.back("/notices", Said::Retried)
}

#[cfg(test)]
mod tests {
    use super::{Form, local_path};
    use serde_json::{Value as Json, json};

    #[test]
    fn only_pages_of_this_daemon_are_gone_on_to() {
        for local in ["/", "/checks/a%20b?span=24h#x", "/incidents/01X"] {
            assert_eq!(local_path(local), local);
        }
        for bad in [
            "",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "javascript:alert(1)",
            "/a\r\nSet-Cookie: x=1",
            "/a b",
            "/é",
            "/sign-in?next=/",
            "/sign-out",
        ] {
            assert_eq!(local_path(bad), "/", "{bad:?}");
        }
        assert_eq!(local_path(&format!("/{}", "x".repeat(1024))), "/");
    }

    #[test]
    fn a_form_becomes_what_is_filled_in() {
        let form = Form::read(b"csrf=x&note=+on%0D%0Ait+&for=&by=eve");
        assert_eq!(Json::from(form.body(&["note", "for"])), json!({ "note": "on\nit" }));
        assert_eq!(form.one("csrf"), Some("x"));
    }
}
