//! The pages behind the links of an alert: `GET` asks, `POST` acts.
//!
//! Whatever looks at addresses by itself, as the preview of a link does, sees the question and does
//! nothing by that.

use super::OperateError;
use super::access::Visitor;
use super::link::{Deed, Link};
use super::problem::Problem;
use super::router::{Answer, Shared};
use crate::model::{Incident, Matcher, Silence, Timestamp};
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

const TEMPLATE: &str = "act.html";
const STYLE: &str = include_str!("act/act.css");
/// The longest name of a person, in characters.
const LONGEST_NAME: usize = 80;
/// How many reasons the page shows, and how many characters of each.
const REASONS: usize = 3;
const REASON: usize = 300;

/// The form of all pages, ready to be filled in.
#[derive(Debug)]
pub(super) struct Forms {
    templates: Environment<'static>,
    policy: HeaderValue,
}

impl Forms {
    /// Compiles the template.
    pub(super) fn new() -> Result<Self, minijinja::Error> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        // The name ends in `.html`, which turns the escaping on.
        templates.add_template(TEMPLATE, include_str!("act/act.html"))?;
        // The page stands alone, and nothing but its own style and form works in it.
        let style = STANDARD.encode(Sha256::digest(STYLE));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; \
             base-uri 'none'; frame-ancestors 'none'"
        );
        let closed = HeaderValue::from_static("default-src 'none'");
        let policy = HeaderValue::from_str(&policy).unwrap_or(closed);
        Ok(Self { templates, policy })
    }
}

/// What a page says.
#[derive(Debug, Serialize)]
struct Page<'a> {
    style: &'static str,
    daemon: &'a str,
    heading: String,
    /// `ask`, `done` or `void`.
    mood: &'static str,
    lines: Vec<String>,
    incident: Option<About>,
    /// What stands on the button; without one there is no form.
    button: Option<&'static str>,
    channel: &'a str,
    who: &'a str,
    longest: usize,
}

/// The incident, as the page shows it.
#[derive(Debug, Serialize)]
struct About {
    check: String,
    status: &'static str,
    severity: &'static str,
    since: String,
    lasts: String,
    reasons: Vec<String>,
    acknowledged: Option<String>,
}

/// Why a link does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Void {
    /// It was not made here, or somebody changed it.
    NotOurs,
    TooOld,
    Used,
    /// The incident is no longer open.
    Over,
}

/// A link that works with its open incident, or why it does not, with the incident if it is open.
type Looked = Result<(Link, Incident), (Void, Option<Box<Incident>>)>;

/// `GET /act/{token}`: says what would happen, and changes nothing.
pub(super) async fn ask(
    State(shared): State<Arc<Shared>>,
    token: Result<Path<String>, PathRejection>,
) -> Answer {
    match good(&shared, token) {
        Ok((link, incident)) => question(&shared, &link, &incident, "", StatusCode::OK),
        Err((void, incident)) => nothing(&shared, void, incident.as_deref()),
    }
}

/// `POST /act/{token}`: does it, and says what came of it.
pub(super) async fn act(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    token: Result<Path<String>, PathRejection>,
    body: Bytes,
) -> Answer {
    let (link, incident) = match good(&shared, token) {
        Ok(good) => good,
        Err((void, incident)) => return nothing(&shared, void, incident.as_deref()),
    };
    let form = url::form_urlencoded::parse(&body).find(|(name, _)| name == "who");
    let who = form.map(|(_, who)| person(&who)).unwrap_or_default();
    if who.is_empty() {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return question(&shared, &link, &incident, "Please say who you are.", status);
    }
    let links = &shared.api.links;
    if !links.take(&link, shared.api.clock.wall()) {
        return nothing(&shared, Void::Used, Some(&incident));
    }
    let (permit, address) = (&link.permit, visitor.address);
    let (channel, deed) = (&permit.channel, permit.deed.label());
    tracing::info!(incident = %incident.id, by = %who, %channel, %address, deed, "a link was used");
    match carry_out(&shared, &link, &incident, &who).await {
        Ok((lines, incident)) => {
            let keeper = Arc::clone(links);
            // What could not be written stands in the log.
            let _ = tokio::task::spawn_blocking(move || keeper.keep()).await;
            let heading = match permit.deed {
                Deed::Acknowledge => format!("You have {} now", incident.check),
                Deed::Silence => format!("{} is silent now", incident.check),
            };
            let now = shared.api.clock.wall();
            let about = Some(About::of(&incident, now));
            page(&shared, StatusCode::OK, Page { lines, incident: about, ..done(heading) })
        }
        Err(error) => {
            links.give_back(&link);
            match error {
                OperateError::NotFound => nothing(&shared, Void::Over, None),
                OperateError::Conflict(why) | OperateError::Invalid(why) => {
                    let lines = vec![why, "The link still works.".to_owned()];
                    let heading = "Nothing was done".to_owned();
                    page(&shared, StatusCode::CONFLICT, Page { lines, ..void(heading) })
                }
                error @ OperateError::Stopping => Err(Problem::operate(error, "")),
            }
        }
    }
}

/// Does what the link is for. Gives what was done in words, and the incident as it is then.
async fn carry_out(
    shared: &Shared,
    link: &Link,
    incident: &Incident,
    who: &str,
) -> Result<(Vec<String>, Incident), OperateError> {
    let control = &shared.api.control;
    let note = format!("by a link of {}", link.permit.channel);
    match link.permit.deed {
        Deed::Acknowledge => {
            let taken = control.acknowledge(&incident.id, who, Some(&note), None).await?;
            let line = "Nobody is reminded of it any more, and it is not escalated. Everybody who \
                        heard of it hears when it is over.";
            Ok((vec![format!("Acknowledged by {who}."), line.to_owned()], taken))
        }
        Deed::Silence => {
            let now = shared.api.clock.wall();
            let millis = u64::try_from(now.as_millis()).unwrap_or(0);
            let silence = Silence {
                id: ulid::Ulid::from_parts(millis, rand::random()).to_string(),
                matchers: vec![Matcher {
                    name: "name".to_owned(),
                    value: incident.check.to_string(),
                    is_regex: false,
                    is_equal: true,
                }],
                starts_at: now,
                ends_at: now.after(Deed::SILENCE),
                author: who.to_owned(),
                comment: note,
                created_at: now,
            };
            let set = control.silence(silence).await?;
            let until = format!("Nobody is alerted about it until {}.", minute(set.ends_at));
            let rest = "Who heard that it is down hears when it is up again.".to_owned();
            Ok((vec![until, rest], incident.clone()))
        }
    }
}

/// The link and its open incident, or why it does nothing.
fn good(shared: &Shared, token: Result<Path<String>, PathRejection>) -> Looked {
    let links = &shared.api.links;
    let link = token.ok().and_then(|Path(token)| links.read(&token));
    let link = link.ok_or((Void::NotOurs, None))?;
    let open = shared.open_incidents().into_iter().find(|open| open.id == link.permit.incident);
    if link.permit.until < shared.api.clock.wall() {
        return Err((Void::TooOld, open.map(Box::new)));
    }
    if links.is_used(&link) {
        return Err((Void::Used, open.map(Box::new)));
    }
    match open {
        Some(open) => Ok((link, open)),
        None => Err((Void::Over, None)),
    }
}

fn question(
    shared: &Shared,
    link: &Link,
    incident: &Incident,
    complaint: &str,
    status: StatusCode,
) -> Answer {
    let check = &incident.check;
    let (heading, line) = match link.permit.deed {
        Deed::Acknowledge => (
            format!("Take {check} on?"),
            "You have it then: nobody is reminded of it any more, and it is not escalated.",
        ),
        Deed::Silence => (
            format!("Silence {check} for two hours?"),
            "Nobody is alerted about it meanwhile. It is still checked, and who heard that it is \
             down hears when it is up again.",
        ),
    };
    let complaint = (!complaint.is_empty()).then(|| complaint.to_owned());
    let lines = complaint.into_iter().chain([line.to_owned()]).collect();
    let about = Some(About::of(incident, shared.api.clock.wall()));
    let asked = Page {
        lines,
        incident: about,
        mood: "ask",
        button: Some(link.permit.deed.label()),
        channel: &link.permit.channel,
        ..done(heading)
    };
    page(shared, status, asked)
}

fn nothing(shared: &Shared, why: Void, incident: Option<&Incident>) -> Answer {
    let (status, heading, line) = match why {
        Void::NotOurs => (
            StatusCode::FORBIDDEN,
            "This link is not valid",
            "It was cut off on its way, or it is from another daemon. Open it from the message once \
             more.",
        ),
        Void::TooOld => (
            StatusCode::GONE,
            "This link is too old",
            "A link works for seven days. A newer message has newer ones.",
        ),
        Void::Used => (
            StatusCode::GONE,
            "This link was used already",
            "Each link works once. A newer message has newer ones.",
        ),
        Void::Over => (
            StatusCode::GONE,
            "It is over",
            "The incident that this link is about is no longer open. Nothing was done.",
        ),
    };
    let about = incident.map(|incident| About::of(incident, shared.api.clock.wall()));
    let lines = vec![line.to_owned()];
    page(shared, status, Page { lines, incident: about, ..void(heading.to_owned()) })
}

fn done(heading: String) -> Page<'static> {
    Page {
        style: STYLE,
        daemon: "",
        heading,
        mood: "done",
        lines: Vec::new(),
        incident: None,
        button: None,
        channel: "",
        who: "",
        longest: LONGEST_NAME,
    }
}

fn void(heading: String) -> Page<'static> {
    Page { mood: "void", ..done(heading) }
}

fn page(shared: &Shared, status: StatusCode, page: Page<'_>) -> Answer {
    let daemon = shared.api.control.daemon().name;
    let page = Page { daemon: &daemon, ..page };
    let template = shared.forms.templates.get_template(TEMPLATE);
    let html = template.and_then(|it| it.render(minijinja::value::Serde(&page)));
    let html = html.map_err(|error| {
        tracing::error!(error = format!("{error:#}"), "the page of a link could not be made");
        Problem::internal()
    })?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, shared.forms.policy.clone()),
        (HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex, nofollow")),
    ];
    Ok((status, headers, html).into_response())
}

impl About {
    fn of(incident: &Incident, now: Timestamp) -> Self {
        let lasts = incident.duration(now).as_secs();
        let lasts = Duration::from_secs(if lasts < 120 { lasts } else { lasts - lasts % 60 });
        let taken = incident.acknowledged.as_ref();
        let reasons = incident.reasons.iter().take(REASONS);
        Self {
            check: bounded(&incident.check, REASON),
            status: incident.status.as_str(),
            severity: incident.severity.as_str(),
            since: minute(incident.began_at),
            lasts: humantime::format_duration(lasts).to_string(),
            reasons: reasons.map(|reason| bounded(reason, REASON)).collect(),
            acknowledged: taken.map(|taken| bounded(&taken.by, LONGEST_NAME)),
        }
    }
}

/// A time to the minute, in UTC.
fn minute(at: Timestamp) -> String {
    at.to_datetime().format("%Y-%m-%d %H:%MZ").to_string()
}

fn bounded(text: &str, most: usize) -> String {
    let mut out: String = text.chars().take(most).collect();
    if text.chars().nth(most).is_some() {
        out.push('…');
    }
    out
}

/// The name that a person gave: on one line, bounded, and without what hides or turns text.
fn person(text: &str) -> String {
    let hides = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let plain: String = text.chars().map(|c| if hides(c) { ' ' } else { c }).collect();
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    plain.chars().take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::person;

    #[test]
    fn a_name_is_one_short_line() {
        for (given, expected) in [
            ("  Anna  Müller ", "Anna Müller"),
            ("a\r\nb\u{0}c", "a b c"),
            ("\u{202e}anna\u{200b}", "anna"),
            (" \t ", ""),
        ] {
            assert_eq!(person(given), expected);
        }
        assert_eq!(person(&"x".repeat(1_000)).len(), 80);
    }
}
