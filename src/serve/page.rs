//! The web page. Each page is a file below, with a template of the same name that fills in
//! `base.html`; what stands round its content is its [`Frame`].

mod check;
mod forms;
mod frame;
mod incident;
mod notices;
mod overview;
mod past;
mod postmortem;
mod public;
mod routes;
mod session;
mod strip;
mod trouble;
mod when;

pub(super) use check::of_checks;
pub(super) use forms::Form;
pub(super) use frame::{Frame, may_read};
pub(super) use overview::overview;
pub(super) use public::{Public, atom, public, rss, summary};
pub(super) use routes::{deeds, door, pages, private_pages, way_out};
pub(super) use session::{Ended, Said, SignedIn};
pub(super) use trouble::humane;
pub(super) use when::{Instant, millis, percent, span};

use super::problem::Problem;
use super::router::{Answer, Shared};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::{HeaderValue, StatusCode, header};
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The templates, by the names under which they refer to each other. The names end in `.html`, which
/// turns the escaping on.
const TEMPLATES: &[(&str, &str)] = &[
    ("base.html", include_str!("page/base.html")),
    ("check.html", include_str!("page/check.html")),
    ("macros.html", include_str!("page/macros.html")),
    ("missing.html", include_str!("page/missing.html")),
    ("deliveries.html", include_str!("page/deliveries.html")),
    ("incident.html", include_str!("page/incident.html")),
    ("incidents.html", include_str!("page/incidents.html")),
    ("notices.html", include_str!("page/notices.html")),
    ("overview.html", include_str!("page/overview.html")),
    ("problem.html", include_str!("page/problem.html")),
    ("public.html", include_str!("page/public.html")),
    ("sign-in.html", include_str!("page/sign-in.html")),
];
/// One stylesheet for all pages: the second page that somebody opens has it already.
const STYLE: &str = concat!(
    include_str!("page/base.css"),
    include_str!("page/overview.css"),
    include_str!("page/vendor/uPlot.min.css"),
    include_str!("page/check.css"),
    include_str!("page/incident.css"),
    include_str!("page/notices.css"),
    include_str!("page/public.css"),
);
const SCRIPT: &str = include_str!("page/live.js");
/// Nothing from elsewhere, and nothing that stands in the page itself, is run or obeyed.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'self'; \
                      frame-ancestors 'none'";

/// The templates of all pages and the files that they refer to, ready to be sent.
#[derive(Debug)]
pub(super) struct Pages {
    templates: Environment<'static>,
    assets: Vec<Asset>,
    /// What was read of the past for them.
    past: past::Past,
}

/// A file that pages refer to. Its name holds a hash of its content, so that a browser may keep it
/// for good.
#[derive(Debug)]
struct Asset {
    key: &'static str,
    file: String,
    content_type: &'static str,
    content: &'static str,
}

impl Asset {
    fn new(key: &'static str, ending: &str, content: &'static str) -> Self {
        let hash = Sha256::digest(content);
        let hash: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let content_type = match ending {
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            _ => "image/svg+xml",
        };
        Self { key, file: format!("{key}.{hash}.{ending}"), content_type, content }
    }
}

impl Pages {
    /// Compiles the templates.
    pub(super) fn new() -> Result<Self, minijinja::Error> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        for (name, source) in TEMPLATES {
            templates.add_template(name, source)?;
        }
        let assets = vec![
            Asset::new("watchbell", "css", STYLE),
            Asset::new("live", "js", SCRIPT),
            Asset::new("chart", "js", include_str!("page/chart.js")),
            Asset::new("uplot", "js", include_str!("page/vendor/uPlot.iife.min.js")),
            Asset::new("icon-up", "svg", include_str!("page/icon-up.svg")),
            Asset::new("icon-degraded", "svg", include_str!("page/icon-degraded.svg")),
            Asset::new("icon-down", "svg", include_str!("page/icon-down.svg")),
            Asset::new("icon-unknown", "svg", include_str!("page/icon-unknown.svg")),
        ];
        Ok(Self { templates, assets, past: past::Past::default() })
    }

    /// The address of the asset called `key`.
    fn link(&self, key: &str) -> String {
        let asset = self.assets.iter().find(|asset| asset.key == key);
        asset.map(|asset| format!("/assets/{}", asset.file)).unwrap_or_default()
    }

    /// The page that `template` makes of `content`, which holds the [`Frame`] as `frame`.
    pub(super) fn show(
        &self,
        status: StatusCode,
        template: &str,
        content: &impl Serialize,
    ) -> Answer {
        let page = self.templates.get_template(template);
        let page = page.and_then(|page| page.render(minijinja::value::Serde(content)));
        let page = page.map_err(|error| {
            tracing::error!(error = format!("{error:#}"), "the page could not be made");
            Problem::internal()
        })?;
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        ];
        Ok((status, headers, page).into_response())
    }
}

/// `GET /assets/{file}`.
pub(super) async fn asset(
    State(shared): State<Arc<Shared>>,
    file: Result<Path<String>, PathRejection>,
) -> Answer {
    let file = file.map(|Path(file)| file).unwrap_or_default();
    let asset = shared.pages.assets.iter().find(|asset| asset.file == file);
    let Some(asset) = asset else {
        return Err(Problem::not_found("There is no such file; load the page again."));
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
    ];
    Ok((headers, asset.content).into_response())
}

/// Only these become links: a `javascript:` address would run in the page.
pub(super) fn is_web_address(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

/// `text` as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    // A form would write a space as a plus, which means a plus in a path.
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::{Pages, is_web_address, segment};

    #[test]
    fn a_form_that_acts_needs_a_session_that_may() {
        let pages = Pages::new().unwrap();
        let form = |may_operate: bool| {
            let source = "{% from 'macros.html' import action_form %}\
                          {% call action_form(session, '/x', 'Do', hint='now') %}<i></i>{% endcall %}\
                          {{ action_form(session, '/y', 'Undo') }}{{ action_form(none, '/z', 'No') }}";
            let session = minijinja::context! { csrf => "c<", may_operate };
            pages
                .templates
                .render_named_str("t.html", source, minijinja::context! { session })
                .unwrap()
        };
        let shown = form(true);
        assert_eq!(shown.matches("name=\"csrf\" value=\"c&lt;\"").count(), 2, "{shown}");
        assert!(shown.contains("<i></i>") && !shown.contains("No"), "{shown}");
        assert_eq!(form(false), "");
    }

    #[test]
    fn only_web_addresses_become_links() {
        assert!(is_web_address("https://wiki.example/shop"));
        for bad in ["javascript:alert(1)", "data:text/html,x", "wiki/shop", ""] {
            assert!(!is_web_address(bad), "{bad}");
        }
    }

    #[test]
    fn a_name_stays_one_segment_of_a_path() {
        assert_eq!(segment("shop-api.v1_x"), "shop-api.v1_x");
        assert_eq!(segment("a/b ?#%"), "a%2Fb%20%3F%23%25");
        assert_eq!(segment("watchbell:store"), "watchbell%3Astore");
    }
}
