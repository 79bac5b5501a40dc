//! `GET /status.atom` and `GET /status.rss`: what happens, for feed readers.

use super::super::super::access::Visitor;
use super::super::super::problem::Problem;
use super::super::super::router::{Answer, Shared};
use super::event::{paragraphs, stage_words};
use super::picture::{Event, Picture};
use super::{address, kept_for_a_while, look};
use crate::model::Timestamp;
use atom_syndication::{Content, Entry, Feed, FixedDateTime, Generator, Link, Person, Text};
use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{HeaderMap, header};
use minijinja::HtmlEscape;
use rss::{Channel, Guid, Item};
use std::fmt::Write as _;
use std::sync::Arc;

/// How many events a feed has.
const MOST: usize = 50;

/// `GET /status.atom`.
pub(in crate::serve) async fn atom(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
) -> Answer {
    let picture = look(&shared).await;
    let address = address(&shared, &visitor, &headers);
    let text = as_atom(&picture, &address, shared.api.control.daemon().started.wall).to_string();
    feed(&shared, "application/atom+xml; charset=utf-8", text)
}

/// `GET /status.rss`.
pub(in crate::serve) async fn rss(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
) -> Answer {
    let picture = look(&shared).await;
    let address = address(&shared, &visitor, &headers);
    let mut text = Vec::new();
    as_rss(&picture, &address).write_to(&mut text).map_err(|error| {
        tracing::error!(%error, "the feed could not be written");
        Problem::internal()
    })?;
    let text = String::from_utf8(text).map_err(|_| Problem::internal())?;
    feed(&shared, "application/rss+xml; charset=utf-8", text)
}

fn feed(shared: &Shared, content_type: &'static str, text: String) -> Answer {
    let answer = ([(header::CONTENT_TYPE, content_type)], text).into_response();
    kept_for_a_while(shared, answer)
}

fn as_atom(picture: &Picture, address: &str, started: Timestamp) -> Feed {
    let link = |rel: &str, href: String, mime_type: &str| Link {
        rel: rel.to_owned(),
        href,
        mime_type: Some(mime_type.to_owned()),
        ..Link::default()
    };
    let entries = picture.events().into_iter().take(MOST).map(|event| Entry {
        title: Text::plain(clean(&title(event))),
        id: name(event),
        updated: fixed(event.updated_at()),
        published: Some(fixed(event.created_at)),
        links: vec![link("alternate", format!("{address}/status#{}", event.id), "text/html")],
        content: Some(Content {
            value: Some(clean(&html(event))),
            content_type: Some("html".to_owned()),
            ..Content::default()
        }),
        ..Entry::default()
    });
    Feed {
        title: Text::plain(clean(&picture.title)),
        subtitle: picture.description.as_deref().map(|text| Text::plain(clean(text))),
        id: format!("{address}/status"),
        updated: fixed(picture.updated_at.max(started)),
        authors: vec![Person { name: clean(&picture.title), ..Person::default() }],
        generator: Some(Generator { value: "Watchbell".to_owned(), ..Generator::default() }),
        links: vec![
            link("self", format!("{address}/status.atom"), "application/atom+xml"),
            link("alternate", format!("{address}/status"), "text/html"),
        ],
        entries: entries.collect(),
        ..Feed::default()
    }
}

fn as_rss(picture: &Picture, address: &str) -> Channel {
    let items = picture.events().into_iter().take(MOST).map(|event| Item {
        title: Some(clean(&title(event))),
        link: Some(format!("{address}/status#{}", event.id)),
        description: Some(clean(&html(event))),
        guid: Some(Guid { value: name(event), permalink: false }),
        pub_date: Some(event.updated_at().to_datetime().to_rfc2822()),
        ..Item::default()
    });
    let description = picture.description.as_deref().unwrap_or(picture.headline);
    Channel {
        title: clean(&picture.title),
        link: format!("{address}/status"),
        description: clean(description),
        generator: Some("Watchbell".to_owned()),
        items: items.collect(),
        ..Channel::default()
    }
}

fn name(event: &Event) -> String {
    format!("urn:watchbell:event:{}", event.id)
}

fn title(event: &Event) -> String {
    format!("{} ({})", event.title, stage_words(event.stage).to_lowercase())
}

/// What was said about it, the latest first.
fn html(event: &Event) -> String {
    let mut text = String::new();
    if !event.components.is_empty() {
        let names: Vec<&str> = event.components.iter().map(|(_, name)| name.as_str()).collect();
        let _ = write!(text, "<p>{}</p>", HtmlEscape(&names.join(", ")));
    }
    for update in event.updates.iter().rev() {
        let at = update.at.to_datetime().format("%-d %B %Y, %H:%M UTC");
        let _ = write!(text, "<p><strong>{}</strong> {at}</p>", stage_words(update.stage));
        for paragraph in paragraphs(&update.body) {
            let paragraph = HtmlEscape(&paragraph).to_string().replace('\n', "<br>");
            let _ = write!(text, "<p>{paragraph}</p>");
        }
    }
    text
}

/// `text` without what XML cannot hold.
fn clean(text: &str) -> String {
    let fits = |c: &char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().filter(|c| fits(c) || matches!(c, '\n' | '\t')).collect()
}

fn fixed(at: Timestamp) -> FixedDateTime {
    at.to_datetime().fixed_offset()
}
