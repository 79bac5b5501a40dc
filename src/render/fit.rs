//! Provider limits are kept by shortening already escaped text at sensible places: never within
//! an entity, an escape, a link or a tag, and with every tag closed.
//!
//! Lengths are counted in UTF-16 units: Telegram counts so, and who counts characters never finds
//! more of them.

use crate::model::Format;

/// How far back from the limit a better place to cut is looked for, in bytes.
const LOOK_BACK: usize = 120;
/// The longest link or tag that is kept in one piece, in bytes.
const LINK: usize = 2_100;

/// How long `text` is for a reader of `format`, in UTF-16 units.
pub fn length(format: Format, text: &str) -> usize {
    pieces(format, text).map(|piece| cost(format, piece)).sum()
}

/// `text` of at most `limit` units, with an ellipsis where something was left out.
pub fn fit(format: Format, text: &str, limit: usize) -> String {
    if length(format, text) <= limit {
        return text.to_owned();
    }
    let mut end = 0;
    let mut used = 0;
    for piece in pieces(format, text) {
        used += cost(format, piece);
        if used > limit.saturating_sub(1) {
            break;
        }
        end += piece.len();
    }
    let end = better_end(format, text, end);
    let mut out = text[..end].trim_end().to_owned();
    out.push('…');
    for name in open_tags(format, &text[..end]).iter().rev() {
        out.push_str("</");
        out.push_str(name);
        out.push('>');
    }
    out
}

/// `text` in parts of at most `limit` units, split at line ends where that is possible. What does
/// not go into `at_most` parts is left out, with an ellipsis.
pub fn split(format: Format, text: &str, limit: usize, at_most: usize) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut part = String::new();
    let mut used = 0;
    for line in text.split_inclusive('\n') {
        let long = length(format, line);
        if used + long <= limit {
            part.push_str(line);
            used += long;
            continue;
        }
        parts.push(std::mem::take(&mut part));
        used = 0;
        for piece in pieces(format, line) {
            let more = cost(format, piece);
            if used + more > limit {
                parts.push(std::mem::take(&mut part));
                used = 0;
            }
            part.push_str(piece);
            used += more;
        }
    }
    parts.push(part);
    let mut parts: Vec<String> = parts
        .into_iter()
        .map(|part| part.trim_matches('\n').to_owned())
        .filter(|part| !part.trim().is_empty())
        .collect();
    if parts.len() > at_most {
        parts.truncate(at_most);
        if let Some(last) = parts.last_mut() {
            *last = fit(format, &format!("{last}\n…"), limit);
        }
    }
    parts
}

/// The pieces of `text` that must not be cut.
fn pieces(format: Format, text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, after) = rest.split_at_checked(piece_length(format, rest))?;
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// How many bytes at the start of `rest` belong together.
fn piece_length(format: Format, rest: &str) -> usize {
    let Some(first) = rest.chars().next() else { return 0 };
    let whole = match (format, first) {
        (Format::Slack | Format::TelegramHtml, '&') => up_to(rest, ';', 8),
        (Format::Slack, '<') => up_to(rest, '>', LINK),
        (Format::TelegramHtml, '<') => up_to(rest, '>', LINK),
        (Format::Discord, '\\') => {
            rest.chars().nth(1).map(|escaped| first.len_utf8() + escaped.len_utf8())
        }
        (Format::Discord, '[') => start(rest, LINK).find("](").and_then(|middle| {
            let whole = middle + up_to(&rest[middle..], ')', LINK)?;
            (!rest[..middle].contains('\n')).then_some(whole)
        }),
        _ => None,
    };
    whole.unwrap_or(first.len_utf8())
}

/// The bytes up to and with `last`, if it comes within `limit` bytes and on the same line.
fn up_to(rest: &str, last: char, limit: usize) -> Option<usize> {
    let found = start(rest, limit).find([last, '\n'])?;
    rest[found..].starts_with(last).then(|| found + last.len_utf8())
}

/// The first `limit` bytes, so that looking ahead costs the same in a text of any length.
fn start(rest: &str, limit: usize) -> &str {
    &rest[..rest.floor_char_boundary(limit)]
}

/// What a piece counts: Telegram counts after its entities are parsed.
fn cost(format: Format, piece: &str) -> usize {
    match (format, piece.as_bytes()) {
        (Format::TelegramHtml, [b'<', _, ..]) => 0,
        (Format::TelegramHtml, [b'&', _, ..]) => 1,
        _ => piece.chars().map(char::len_utf16).sum(),
    }
}

/// The end of a line or a word shortly before `end`, if there is one.
fn better_end(format: Format, text: &str, end: usize) -> usize {
    let mut line = None;
    let mut word = None;
    let mut at = 0;
    for piece in pieces(format, &text[..end]) {
        if at + LOOK_BACK >= end {
            match piece {
                "\n" => line = Some(at),
                " " => word = Some(at),
                _ => {}
            }
        }
        at += piece.len();
    }
    line.or(word).unwrap_or(end)
}

/// The names of the tags that are open at the end of `text`, the outermost first.
fn open_tags(format: Format, text: &str) -> Vec<&str> {
    let mut open = Vec::new();
    if format != Format::TelegramHtml {
        return open;
    }
    for piece in pieces(format, text) {
        let Some(tag) = piece.strip_prefix('<').and_then(|tag| tag.strip_suffix('>')) else {
            continue;
        };
        match tag.strip_prefix('/') {
            Some(name) => {
                if let Some(index) = open.iter().rposition(|known| *known == name.trim()) {
                    open.truncate(index);
                }
            }
            None => open.push(tag.split_whitespace().next().unwrap_or(tag)),
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use super::{fit, length, split};
    use crate::model::Format;

    #[test]
    fn what_fits_stays_as_it_is() {
        for format in [Format::Plain, Format::Slack, Format::Discord, Format::TelegramHtml] {
            assert_eq!(fit(format, "<b>a &amp; b</b>", 100), "<b>a &amp; b</b>");
        }
    }

    #[test]
    fn nothing_is_cut_in_two() {
        for (format, text, limit, expected) in [
            (Format::Plain, "abcdef", 4, "abc…"),
            (Format::Plain, "🔴🔴🔴", 5, "🔴🔴…"),
            (Format::Plain, "one two three", 11, "one two…"),
            (Format::Slack, "a&amp;b&amp;c", 9, "a&amp;b…"),
            (Format::Slack, "go <https://x.example|there>", 20, "go…"),
            (Format::Discord, r"a\*b\*c", 5, r"a\*b…"),
            (Format::Discord, "go [there](https://x.example)", 20, "go…"),
            (Format::TelegramHtml, "<b>a &amp; b<i>cdef</i></b>", 7, "<b>a &amp;…</b>"),
            (Format::TelegramHtml, "<b>abc<i>defghi</i></b>", 6, "<b>abc<i>de…</i></b>"),
        ] {
            let found = fit(format, text, limit);
            assert_eq!(found, expected);
            assert!(length(format, &found) <= limit, "{found}");
        }
    }

    #[test]
    fn telegram_counts_after_its_entities_are_parsed() {
        assert_eq!(length(Format::TelegramHtml, "<b>a &amp; 🔴</b>"), 6);
    }

    #[test]
    fn a_text_is_split_at_line_ends() {
        assert_eq!(split(Format::Slack, "one\ntwo\nthree\n", 8, 9), ["one\ntwo", "three"]);
        assert_eq!(split(Format::Slack, "12345&amp;67890", 8, 9), ["12345", "&amp;678", "90"]);
        assert_eq!(split(Format::Slack, "", 8, 9), [""; 0]);
        assert_eq!(split(Format::Slack, "a\nb\nc\nd", 2, 2), ["a", "b…"]);
    }

    proptest::proptest! {
        #[test]
        fn every_text_fits(text in "(<b>|</b>|<a href=\"x\">|&amp;|\\\\|\\*|[a-z🔴 \n\\[\\]()<>&]){0,60}",
                           limit in 2_usize..50) {
            for format in [Format::Plain, Format::Slack, Format::Discord, Format::TelegramHtml] {
                let found = fit(format, &text, limit);
                proptest::prop_assert!(length(format, &found) <= limit);
            }
        }
    }
}
