//! Small pictures for READMEs and wikis.

use super::checks::find;
use super::history::{span_of, whole};
use super::problem::{Problem, shown};
use super::query::Query;
use super::router::{Answer, Shared};
use crate::model::{CheckView, Status};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use http::{HeaderValue, Uri, header};
use minijinja::{Environment, UndefinedBehavior, context};
use std::sync::Arc;

const TEMPLATE: &str = "badge.svg";
/// What badges there are.
const KINDS: [&str; 3] = ["status", "uptime", "latency"];

/// With white text, each has a contrast of at least 4.5.
const GREEN: &str = "#2a7d2e";
const AMBER: &str = "#9a6700";
const RED: &str = "#c0392b";
const GREY: &str = "#6b6b6b";

/// The form of all badges, ready to be filled in.
#[derive(Debug)]
pub(super) struct Badges(Environment<'static>);

impl Badges {
    /// Compiles the template.
    pub(super) fn new() -> Result<Self, minijinja::Error> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.set_auto_escape_callback(|_| minijinja::AutoEscape::Html);
        templates.add_template(TEMPLATE, include_str!("badge/badge.svg"))?;
        Ok(Self(templates))
    }

    fn draw(&self, badge: &Badge) -> Result<String, minijinja::Error> {
        let (left, right) = (width(&badge.label), width(&badge.value));
        let (label, value, colour) = (&badge.label, &badge.value, badge.colour);
        let data = context! { label, value, colour, left, width => left + right };
        self.0.get_template(TEMPLATE)?.render(data)
    }
}

/// How wide a text is with its margins: Verdana's characters at 11 px are about 7 px wide.
fn width(text: &str) -> usize {
    text.chars().count() * 7 + 12
}

/// What a badge says.
#[derive(Debug, PartialEq, Eq)]
struct Badge {
    label: String,
    value: String,
    colour: &'static str,
}

/// `GET /badge/{name}/{status|uptime|latency}.svg`; the latter two take a `window`, such as `7d`,
/// by default `30d`.
pub(super) async fn badge(
    State(shared): State<Arc<Shared>>,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
) -> Answer {
    let Ok(Path((name, file))) = path else {
        return Err(Problem::not_found("The address of the badge cannot be read."));
    };
    let kind = file.strip_suffix(".svg").filter(|kind| KINDS.contains(kind));
    let Some(kind) = kind else {
        let file = shown(&file);
        return Err(Problem::not_found(format!(
            "There is no badge `{file}`: they are status.svg, uptime.svg and latency.svg."
        )));
    };
    let query = Query::read(&uri, &["window"], &[])?;
    // Also where it says nothing, so that a mistake in it is told.
    span_of(&query, "30d")?;
    let view = find(&shared, Ok(Path(name)))?;
    let badge = match kind {
        "status" => of_status(&view),
        "uptime" => uptime(&shared, &view, &query).await?,
        _ => latency(&shared, &view, &query).await?,
    };
    let svg = shared.badges.draw(&badge).map_err(|error| {
        tracing::error!(error = format!("{error:#}"), "a badge could not be drawn");
        Problem::internal()
    })?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("image/svg+xml")),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=30")),
        (
            header::HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("cross-origin"),
        ),
    ];
    Ok((headers, svg).into_response())
}

fn of_status(view: &CheckView) -> Badge {
    let (value, colour) = match view.state.status {
        _ if view.state.paused.is_some() => ("paused", GREY),
        Status::Up => ("up", GREEN),
        Status::Degraded => ("degraded", AMBER),
        Status::Down => ("down", RED),
        Status::Unknown => ("unknown", GREY),
    };
    Badge { label: view.name.to_string(), value: value.to_owned(), colour }
}

async fn uptime(shared: &Shared, view: &CheckView, query: &Query) -> Result<Badge, Problem> {
    let (window, words) = span_of(query, "30d")?;
    let rollup = whole(shared, &view.name, window).await?;
    let (value, colour) = match rollup.tally.uptime() {
        None => ("unknown".to_owned(), GREY),
        Some(share) => {
            let colour = match share {
                0.999.. => GREEN,
                0.99.. => AMBER,
                _ => RED,
            };
            (percent(share), colour)
        }
    };
    Ok(Badge { label: format!("uptime {words}"), value, colour })
}

/// Cut, not rounded: 99.999% is not 100%.
fn percent(share: f64) -> String {
    let hundredths = (share * 10_000.0).floor() / 100.0;
    format!("{hundredths}%")
}

async fn latency(shared: &Shared, view: &CheckView, query: &Query) -> Result<Badge, Problem> {
    let (window, words) = span_of(query, "30d")?;
    let rollup = whole(shared, &view.name, window).await?;
    let value = match rollup.sketch.quantile(0.95) {
        None => "unknown".to_owned(),
        Some(millis) if millis < 10.0 => format!("{millis:.1} ms"),
        Some(millis) => format!("{millis:.0} ms"),
    };
    let colour = if value == "unknown" { GREY } else { GREEN };
    Ok(Badge { label: format!("p95 {words}"), value, colour })
}

#[cfg(test)]
mod tests {
    use super::{Badge, Badges, GREEN, percent};

    #[test]
    fn a_text_of_a_badge_closes_no_tag() {
        let (label, value) = ("<script>".to_owned(), "up\"".to_owned());
        let badge = Badges::new().unwrap().draw(&Badge { label, value, colour: GREEN }).unwrap();
        assert!(!badge.contains("<script>") && badge.contains("&lt;script&gt;"), "{badge}");
        assert!(badge.contains("up&quot;"), "{badge}");
    }

    #[test]
    fn a_share_is_never_made_better_than_it_is() {
        for (share, text) in [(1.0, "100%"), (0.999_99, "99.99%"), (0.5, "50%"), (0.0, "0%")] {
            assert_eq!(percent(share), text);
        }
    }
}
