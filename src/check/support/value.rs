//! Values and words that come from outside, made fit for facts and messages.

use crate::model::Fact;
use serde_json::Value as Json;

/// How many bytes of an answer may stand in a fact that the history keeps.
pub const KEPT_BYTES: usize = 4096;

/// The fact that a JSON value stands for: a number, a text or a bool as what it is, so that
/// conditions compare it plainly; anything else as JSON.
pub fn fact_of(json: Json) -> Fact {
    match json {
        Json::Bool(yes) => Fact::Bool(yes),
        Json::String(text) => Fact::from(text),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Fact::Int(whole),
            (None, Some(broken)) => Fact::Double(broken),
            (None, None) => Fact::from(Json::Number(number)),
        },
        other => Fact::from(other),
    }
}

/// Like [`fact_of`], for a fact that the history keeps: a text is cut at [`KEPT_BYTES`], and a
/// structure that is larger than that gives none.
pub fn kept_fact_of(json: Json) -> Option<Fact> {
    match json {
        Json::String(mut text) => {
            text.truncate(text.floor_char_boundary(KEPT_BYTES));
            Some(Fact::from(text))
        }
        Json::Array(_) | Json::Object(_) if json.to_string().len() > KEPT_BYTES => None,
        other => Some(fact_of(other)),
    }
}

/// The words of another program on one line, cut at `most` characters.
pub fn excerpt(text: &str, most: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let mut line = String::new();
    for word in words.filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        // What is cut off anyway need not be gathered; four bytes is the longest character.
        if line.len() > most * 4 {
            break;
        }
    }
    match line.char_indices().nth(most) {
        Some((end, _)) => {
            line.truncate(end);
            line.push('…');
            line
        }
        None => line,
    }
}

/// The start of a text from outside, at most `most` bytes, without what would disturb a terminal or
/// a message. Lines stay lines.
pub fn printable(text: &str, most: usize) -> String {
    let start = text.get(..text.floor_char_boundary(most)).unwrap_or_default();
    let mut shown: String = start
        .chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if c.is_control() || c == char::REPLACEMENT_CHARACTER => '·',
            c => c,
        })
        .collect();
    if start.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{KEPT_BYTES, excerpt, fact_of, kept_fact_of, printable};
    use crate::model::Fact;
    use serde_json::json;

    #[test]
    fn plain_json_becomes_a_plain_fact() {
        assert_eq!(fact_of(json!(3)), Fact::Int(3));
        assert_eq!(fact_of(json!(0.5)), Fact::Double(0.5));
        assert_eq!(fact_of(json!("a")), Fact::from("a"));
        assert_eq!(fact_of(json!([1])), Fact::from(json!([1])));
    }

    #[test]
    fn what_the_history_keeps_is_bounded() {
        let long = "é".repeat(KEPT_BYTES);
        let Some(Fact::Text(text)) = kept_fact_of(json!(long)) else { panic!("not a text") };
        assert_eq!(text.len(), KEPT_BYTES);
        assert_eq!(kept_fact_of(json!([long])), None);
        assert_eq!(kept_fact_of(json!({"a": 1})), Some(Fact::from(json!({"a": 1}))));
    }

    #[test]
    fn what_is_printed_is_bounded_and_harmless() {
        assert_eq!(printable("a\r\n\tb\u{1b}[31m", 100), "a·\n\tb·[31m");
        assert_eq!(printable("äö", 3), "ä…");
    }

    #[test]
    fn words_from_outside_stand_on_one_bounded_line() {
        assert_eq!(excerpt(" a\r\nb\u{7}\tc ", 10), "a b c");
        assert_eq!(excerpt("äöüß", 2), "äö…");
        assert_eq!(excerpt(&"x".repeat(10_000), 3), "xxx…");
    }
}
