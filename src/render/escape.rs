//! Text from outside is data: cleaned and bounded once, then escaped for where it goes.

use crate::model::Format;
use std::borrow::Cow;

/// A zero-width space: breaks a mention without being seen.
const INVISIBLE: char = '\u{200b}';

/// `text` on one line, without what hides or turns it, and of at most `limit` characters.
///
/// White space of any kind becomes one space; control characters, overrides of the direction of
/// writing and characters without a width go. The joiners that scripts and emoji need stay.
pub fn clean(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len().min(limit.saturating_mul(4)));
    let mut left = limit;
    let mut gap = false;
    for c in text.chars() {
        if c.is_whitespace() || c.is_control() {
            gap = !out.is_empty();
            continue;
        }
        if is_hidden(c) {
            continue;
        }
        let needed = 1 + usize::from(gap);
        if left < needed {
            return shortened(out, limit);
        }
        if gap {
            out.push(' ');
            gap = false;
        }
        out.push(c);
        left -= needed;
    }
    out
}

/// `text` of at most `limit` characters, with an ellipsis where something was left out.
pub fn short(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    shortened(text.chars().take(limit).collect(), limit)
}

/// Makes room for an ellipsis at the end of a text that is as long as it may be.
fn shortened(mut text: String, limit: usize) -> String {
    while text.chars().count() >= limit.max(1) {
        text.pop();
    }
    text.truncate(text.trim_end().len());
    text.push('…');
    text
}

/// Whether a character has no width, or turns the text that follows it.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{00ad}'                  // soft hyphen
        | '\u{061c}'                // Arabic letter mark
        | '\u{180e}'                // Mongolian vowel separator
        | '\u{200b}'                // zero-width space
        | '\u{200e}' | '\u{200f}'   // marks of direction
        | '\u{202a}'..='\u{202e}'   // embeddings and overrides of direction
        | '\u{2060}'..='\u{206f}'   // invisible operators, isolates, old format characters
        | '\u{feff}'                // byte order mark
        | '\u{fff9}'..='\u{fffb}'   // interlinear annotation
        | '\u{e0000}'..='\u{e007f}' // tags
    )
}

/// `text` so that a reader of `format` shows it as it is.
///
/// - Slack: <https://docs.slack.dev/messaging/formatting-message-text#escaping>
/// - Discord: a backslash before what its Markdown would read
/// - Telegram: <https://core.telegram.org/bots/api#html-style>
pub fn escape(format: Format, text: &str) -> Cow<'_, str> {
    match format {
        Format::Plain | Format::Email => Cow::Borrowed(text),
        Format::Slack => replaced(
            text,
            |c| matches!(c, '&' | '<' | '>' | '@'),
            |c, rest, out| match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                _ => at_sign(rest, out),
            },
        ),
        Format::Discord => replaced(
            text,
            |c| matches!(c, '\\' | '*' | '_' | '~' | '`' | '|' | '<' | '>' | '#' | '[' | ']' | '@'),
            |c, rest, out| match c {
                '@' => at_sign(rest, out),
                c => {
                    out.push('\\');
                    out.push(c);
                }
            },
        ),
        Format::TelegramHtml => html(text),
    }
}

/// `text` for HTML, between tags or within a quoted attribute.
pub fn html(text: &str) -> Cow<'_, str> {
    replaced(
        text,
        |c| matches!(c, '&' | '<' | '>' | '"'),
        |c, _, out| {
            out.push_str(match c {
                '&' => "&amp;",
                '<' => "&lt;",
                '>' => "&gt;",
                _ => "&quot;",
            });
        },
    )
}

/// `@` on its own is a plain character; before the name of a whole audience it is a shout.
fn at_sign(rest: &str, out: &mut String) {
    out.push('@');
    let shout = ["everyone", "here", "channel", "group"]
        .iter()
        .any(|name| rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)));
    if shout {
        out.push(INVISIBLE);
    }
}

fn replaced(
    text: &str,
    special: impl Fn(char) -> bool,
    replace: impl Fn(char, &str, &mut String),
) -> Cow<'_, str> {
    let Some(first) = text.find(&special) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    out.push_str(&text[..first]);
    for (index, c) in text[first..].char_indices() {
        if special(c) {
            replace(c, &text[first + index + c.len_utf8()..], &mut out);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A link as `format` writes one, if `target` is something that people may safely follow; else the
/// target as text.
pub fn link(format: Format, target: &str, label: &str) -> String {
    let label = escape(format, label);
    let Some(address) = safe_address(target) else {
        return format!("{label}: {}", escape(format, target));
    };
    match format {
        Format::Plain | Format::Email => format!("{label}: {address}"),
        Format::Slack => format!("<{}|{label}>", escape(format, &address)),
        Format::Discord => format!("[{label}]({address})"),
        Format::TelegramHtml => html_link(&address, &label),
    }
}

/// The same for an HTML page or mail.
pub fn link_in_html(target: &str, label: &str) -> String {
    let label = html(label);
    match safe_address(target) {
        Some(address) => html_link(&address, &label),
        None => format!("{label}: {}", html(target)),
    }
}

fn html_link(address: &str, label: &str) -> String {
    format!("<a href=\"{}\">{label}</a>", html(address))
}

/// The address in a form that no link syntax misreads, if it is one for a browser.
pub(super) fn safe_address(target: &str) -> Option<String> {
    let url = url::Url::parse(target).ok()?;
    let encoded =
        |url: url::Url| url.as_str().replace('|', "%7C").replace('(', "%28").replace(')', "%29");
    matches!(url.scheme(), "http" | "https").then(|| encoded(url))
}

#[cfg(test)]
mod tests {
    use super::{clean, escape, link, short};
    use crate::model::Format;

    #[test]
    fn outside_text_becomes_one_clean_line() {
        for (text, expected) in [
            ("  two\r\nlines\tand a tab  ", "two lines and a tab"),
            ("bell\u{7}, escape\u{1b}[31m", "bell , escape [31m"),
            ("turned \u{202e}dnuora", "turned dnuora"),
            ("no\u{200b}width\u{feff}", "nowidth"),
            ("line\u{2028}separator", "line separator"),
            ("👩\u{200d}🚒 stays", "👩\u{200d}🚒 stays"),
        ] {
            assert_eq!(clean(text, 100), expected);
        }
    }

    #[test]
    fn a_long_text_ends_with_an_ellipsis_at_the_limit() {
        assert_eq!(clean("abcdef", 6), "abcdef");
        assert_eq!(clean("abcdefg", 6), "abcde…");
        assert_eq!(clean("abcd  efg", 6), "abcd…");
        assert_eq!(clean(&"ü".repeat(10_000), 500).chars().count(), 500);
        assert_eq!(short("abcdefg", 6), "abcde…");
        assert_eq!(short("abcdef", 6), "abcdef");
    }

    #[test]
    fn each_format_shows_hostile_text_as_it_is() {
        let hostile = r#"<!channel> @everyone & **b** `c` _d_ <b>"e"</b> a@b.example"#;
        for (format, expected) in [
            (Format::Plain, hostile.to_owned()),
            (
                Format::Slack,
                "&lt;!channel&gt; @\u{200b}everyone &amp; **b** `c` _d_ \
                 &lt;b&gt;\"e\"&lt;/b&gt; a@b.example"
                    .to_owned(),
            ),
            (
                Format::Discord,
                r#"\<!channel\> @%everyone & \*\*b\*\* \`c\` \_d\_ \<b\>"e"\</b\> a@b.example"#
                    .replace('%', "\u{200b}"),
            ),
            (
                Format::TelegramHtml,
                "&lt;!channel&gt; @everyone &amp; **b** `c` _d_ \
                 &lt;b&gt;&quot;e&quot;&lt;/b&gt; a@b.example"
                    .to_owned(),
            ),
        ] {
            assert_eq!(escape(format, hostile), expected, "{format:?}");
        }
    }

    #[test]
    fn only_addresses_for_a_browser_become_links() {
        let wiki = "https://wiki.example/a(b)|c?d=<e>&f";
        for (format, target, expected) in [
            (Format::Plain, wiki, "Runbook: https://wiki.example/a%28b%29%7Cc?d=%3Ce%3E&f"),
            (Format::Slack, wiki, "<https://wiki.example/a%28b%29%7Cc?d=%3Ce%3E&amp;f|Runbook>"),
            (Format::Discord, wiki, "[Runbook](https://wiki.example/a%28b%29%7Cc?d=%3Ce%3E&f)"),
            (
                Format::TelegramHtml,
                wiki,
                "<a href=\"https://wiki.example/a%28b%29%7Cc?d=%3Ce%3E&amp;f\">Runbook</a>",
            ),
            (Format::TelegramHtml, "javascript:alert(1)", "Runbook: javascript:alert(1)"),
            (Format::Slack, "see <the> shelf", "Runbook: see &lt;the&gt; shelf"),
        ] {
            assert_eq!(link(format, target, "Runbook"), expected);
        }
    }
}
