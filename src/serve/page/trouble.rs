//! Problems as people see them: where a browser asks for a page and gets none.

use super::super::access::Visitor;
use super::super::problem::Problem;
use super::super::router::Shared;
use super::Frame;
use super::forms::local_path;
use super::session::see;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, header};
use serde::Serialize;
use std::sync::Arc;

/// What programs ask for: they get problem documents whatever they accept.
const FOR_PROGRAMS: [&str; 11] = [
    "/-/",
    "/api/",
    "/assets/",
    "/badge/",
    "/health",
    "/metrics",
    "/openapi.json",
    "/ping/",
    "/ready",
    "/status.",
    "/act/",
];

#[derive(Serialize)]
struct Shown<'a> {
    frame: Frame,
    status: u16,
    title: &'static str,
    detail: &'a str,
    back: &'a str,
    /// Where to go after signing in, if that may help.
    sign_in: Option<&'a str>,
}

/// Shows a problem as a page to whoever takes one. Where a page only needs a session, it leads to
/// where one begins.
pub(in crate::serve) async fn humane(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let asked = Asked::of(&request);
    let response = next.run(request).await;
    let problem = response.extensions().get::<Problem>().cloned();
    let visitor = response.extensions().get::<Visitor>().cloned();
    let (Some(asked), Some(problem), Some(visitor)) = (asked, problem, visitor) else {
        return response;
    };
    let needs_session = problem.status == StatusCode::UNAUTHORIZED;
    let path = local_path(&asked.path);
    if needs_session && asked.reads && !asked.has_key {
        let answer = match asked.from_elsewhere {
            true => Ok(come_again(path)),
            false => see(&format!("/sign-in?next={}", super::segment(path))),
        };
        return answer.unwrap_or(response);
    }
    let page = Shown {
        frame: Frame::new(&shared, &visitor, ""),
        status: problem.status.as_u16(),
        title: problem.title(),
        detail: &problem.detail,
        back: if asked.reads { "/" } else { page_of(path) },
        sign_in: needs_session.then(|| page_of(path)),
    };
    let Ok(mut shown) = shared.pages.show(problem.status, "problem.html", &page) else {
        return response;
    };
    for name in [header::RETRY_AFTER, header::ALLOW] {
        if let Some(value) = response.headers().get(&name) {
            shown.headers_mut().insert(name, value.clone());
        }
    }
    shown
}

/// What a browser asks for.
struct Asked {
    path: String,
    reads: bool,
    has_key: bool,
    /// Whether a link on another site led here. The cookie does not come along then.
    from_elsewhere: bool,
}

impl Asked {
    /// None if whoever asks takes no page, or does not ask for one.
    fn of(request: &Request) -> Option<Self> {
        let headers = request.headers();
        let path = request.uri().path();
        if !takes_pages(headers) || FOR_PROGRAMS.iter().any(|start| path.starts_with(start)) {
            return None;
        }
        let whole = request.uri().path_and_query().map_or(path, |it| it.as_str());
        let site = headers.get("sec-fetch-site").map(http::HeaderValue::as_bytes);
        Some(Self {
            path: whole.to_owned(),
            reads: matches!(*request.method(), Method::GET | Method::HEAD),
            has_key: headers.contains_key(header::AUTHORIZATION),
            from_elsewhere: matches!(site, Some(b"cross-site" | b"same-site")),
        })
    }
}

fn takes_pages(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    lines.any(|line| line.split(',').any(|part| part.trim().starts_with("text/html")))
}

/// The page that a form stands on: its address less the deed.
fn page_of(path: &str) -> &str {
    let path = path.split('?').next().unwrap_or(path);
    match path.rsplit_once('/') {
        Some((page, _)) if page.matches('/').count() >= 2 => page,
        _ => "/",
    }
}

/// A page that asks for the same once more, this time from this very site: with the cookie, if there
/// is one.
fn come_again(path: &str) -> Response {
    let path = path.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Watchbell</title>\
         <meta http-equiv=\"refresh\" content=\"0;url={path}\"><a href=\"{path}\">Go on</a>"
    );
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

#[cfg(test)]
mod tests {
    use super::page_of;

    #[test]
    fn a_form_leads_back_to_its_page() {
        for (path, page) in [
            ("/checks/a%20b/pause", "/checks/a%20b"),
            ("/incidents/01X/ack?x=/y", "/incidents/01X"),
            ("/sign-out", "/"),
            ("/", "/"),
        ] {
            assert_eq!(page_of(path), page);
        }
    }
}
