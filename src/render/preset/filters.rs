//! What the templates of presets can do to a text beyond what all templates can.

use crate::model::Format;
use crate::render::escape::{escape, html, safe_address};
use base64::Engine;
use chrono::{DateTime, SecondsFormat, Utc};
use minijinja::{Environment, Error, ErrorKind, Value};
use std::fmt::Write as _;

/// A zero-width space: breaks a mention without being seen.
const INVISIBLE: char = '\u{200b}';

/// Adds the filters to `templates`.
pub(super) fn add(templates: &mut Environment<'static>) {
    templates.add_filter("short_bytes", |text: &str, limit: usize| short_bytes(text, limit));
    templates.add_filter("markdown", |text: &str| markdown(text));
    templates.add_filter("unmention", |text: &str| unmention(text));
    templates.add_filter("entities", |text: &str| html(text).into_owned());
    templates.add_filter("label_name", |text: &str| label_name(text));
    templates.add_filter("web", |text: Option<&str>| text.and_then(safe_address));
    templates.add_filter("base", |address: Value| base(&address));
    templates.add_filter("base64", |text: String| {
        base64::engine::general_purpose::STANDARD.encode(text)
    });
    templates.add_filter("plus", |time: &str, duration: &str| plus(time, duration));
}

/// An address that more is put behind: without a slash at its end.
fn base(address: &Value) -> Value {
    let text = address.as_str().unwrap_or_default().trim_end_matches('/').to_owned();
    if address.is_safe() { Value::from_safe_string(text) } else { Value::from(text) }
}

/// `text` of at most `limit` bytes, with an ellipsis where something was left out.
fn short_bytes(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit.saturating_sub('…'.len_utf8()));
    format!("{}…", text.get(..end).unwrap_or_default().trim_end())
}

/// `text` so that a reader of Markdown shows it as it is and nobody is called by it. Addresses for
/// a browser stay whole.
fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    for word in text.split_inclusive(char::is_whitespace) {
        let bare = word.trim_end();
        match safe_address(bare) {
            Some(address) => {
                for c in address.chars() {
                    match c {
                        '*' | '_' | '~' | '[' | ']' | '@' | '`' | '\\' | '<' | '>' => {
                            let _ = write!(out, "%{:02X}", u32::from(c));
                        }
                        c => out.push(c),
                    }
                }
                out.push_str(word.get(bare.len()..).unwrap_or_default());
            }
            None => out.push_str(&unmentioned(&escape(Format::Discord, word))),
        }
    }
    out
}

/// `text` so that no `@name` and no `<users/all>` in it calls anybody.
fn unmention(text: &str) -> String {
    unmentioned(text).replace('<', "<\u{200b}")
}

fn unmentioned(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        out.push(c);
        if c == '@' && rest.peek().is_some_and(|next| *next != INVISIBLE) {
            out.push(INVISIBLE);
        }
    }
    out
}

/// `text` as the name of a label
/// (<https://prometheus.io/docs/concepts/data_model/#metric-names-and-labels>).
fn label_name(text: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = text.chars().map(fits).collect();
    match name.chars().next() {
        Some(first) if !first.is_ascii_digit() => name,
        _ => format!("_{name}"),
    }
}

/// A time in RFC 3339, so much later.
fn plus(time: &str, duration: &str) -> Result<String, Error> {
    let wrong = |what: String| Error::new(ErrorKind::InvalidOperation, what);
    let parsed = DateTime::parse_from_rfc3339(time)
        .map_err(|error| wrong(format!("`{time}` is not a time: {error}")))?;
    let later = humantime::parse_duration(duration)
        .map_err(|error| wrong(format!("`{duration}` is not a duration: {error}")))?;
    let later = chrono::Duration::from_std(later)
        .ok()
        .and_then(|later| parsed.with_timezone(&Utc).checked_add_signed(later))
        .ok_or_else(|| wrong(format!("`{duration}` is too long")))?;
    Ok(later.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// `text` as a part of an address: whatever is not unreserved is percent-encoded (RFC 3986,
/// section 2.3).
pub(super) fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{label_name, markdown, percent_encoded, plus, short_bytes, unmention};

    #[test]
    fn markdown_shows_hostile_text_as_it_is_and_calls_nobody() {
        for (text, expected) in [
            ("**a** [x](https://e.example)", r"\*\*a\*\* \[x\](https://e.example)"),
            ("@all a@b @everyone", "@%all a@%b @%everyone"),
            ("see https://w.example/a_b?c=@all now", "see https://w.example/a%5Fb?c=%40all now"),
            ("a\n> b", "a\n\\> b"),
        ] {
            assert_eq!(markdown(text), expected.replace("@%", "@\u{200b}"));
        }
        assert_eq!(unmention("<users/all> @all"), "<\u{200b}users/all> @\u{200b}all");
    }

    #[test]
    fn a_text_fits_its_bytes_without_a_broken_character() {
        assert_eq!(short_bytes("äöü", 6), "äöü");
        assert_eq!(short_bytes("äöüß", 7), "äö…");
        assert_eq!(short_bytes("🔴🔴🔴", 8), "🔴…");
    }

    #[test]
    fn names_addresses_and_times_are_made_fit() {
        assert_eq!(label_name("a-b.c"), "a_b_c");
        assert_eq!(label_name("1a"), "_1a");
        assert_eq!(label_name(""), "_");
        assert_eq!(percent_encoded("!a:b/c ü"), "%21a%3Ab%2Fc%20%C3%BC");
        assert_eq!(plus("2026-03-01T09:20:12.000Z", "1d").unwrap(), "2026-03-02T09:20:12.000Z");
        assert!(plus("x", "1d").is_err() && plus("2026-03-01T09:20:12Z", "x").is_err());
    }
}
