//! What must not show in the error of a check whose URL holds secrets.

use super::headers;
use crate::model::{Fact, Facts, Secret};
use http::HeaderMap;
use serde_json::Value as Json;
use std::borrow::Cow;
use url::Url;

/// Words that are at least so long, with letters and digits, are taken for keys wherever they stand.
const KEY_LENGTH: usize = 16;

/// Shorter texts are no secrets, and would be found everywhere.
const SHORTEST: usize = 4;

/// The secrets of one check, for cleaning what libraries and servers say.
#[derive(Clone, Debug, Default)]
pub struct Hidden(Vec<Secret>);

impl Hidden {
    /// The URL as a whole, and the passwords in it both as they are written and as they are meant.
    pub fn of(url: &Url) -> Self {
        let mut hidden = Self(vec![Secret::new(url.as_str())]);
        if let Some(password) = url.password() {
            hidden.add(&decoded(password));
            hidden.add(password);
        }
        for (_, password) in url.query_pairs().filter(|(name, _)| name == "password") {
            hidden.add(&password);
        }
        hidden
    }

    /// What a request holds that its answer may repeat: credentials in headers, and whatever looks
    /// like a key in headers, path and query.
    pub fn of_request(url: &Url, headers: &HeaderMap) -> Self {
        let mut hidden = Self::default();
        hidden.add_url(url);
        for (name, value) in headers {
            let Ok(value) = value.to_str() else { continue };
            let is_credential = headers::is_credential(name);
            if is_credential {
                hidden.add_word(value);
            }
            let words = value.split([' ', ';', ',']).map(str::trim);
            // `Cookie: a=b` says its secret after the sign; base64 may end with one.
            let words = words.flat_map(|word| [Some(word), word.split_once('=').map(|it| it.1)]);
            for word in words.flatten().filter(|word| is_credential || is_key(word)) {
                hidden.add_word(word);
            }
        }
        hidden
    }

    /// Hides what looks like a key in the path and the query of `url`, and the user's password.
    pub fn add_url(&mut self, url: &Url) {
        let (_, password) = headers::userinfo(url);
        self.add_word(&password);
        for part in url.path_segments().into_iter().flatten().filter(|part| is_key(part)) {
            self.add_word(part);
        }
        for (name, value) in url.query_pairs() {
            let name = http::HeaderName::try_from(&*name);
            if is_key(&value) || name.is_ok_and(|name| headers::is_credential(&name)) {
                self.add_word(&value);
            }
        }
    }

    /// Hides what looks like a key in a text of any form, such as a body or a message to send.
    pub fn add_text(&mut self, text: &str) {
        let between = |c: char| !(c.is_ascii_alphanumeric() || "-_.=+".contains(c));
        for word in text.split(between).filter(|word| is_key(word)) {
            self.add_word(word);
        }
    }

    /// Hides `secret` as well, also as it stands in JSON, unless it is too short to be one.
    pub fn add_word(&mut self, secret: &str) {
        if secret.len() < SHORTEST || self.0.iter().any(|known| known.expose() == secret) {
            return;
        }
        self.add(secret);
        let json = serde_json::Value::from(secret).to_string();
        let json = json.trim_matches('"');
        if json != secret {
            self.add(json);
        }
        // A secret that holds another goes first, or a part of it would stay.
        self.0.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
    }

    /// `text` without any of them, copied only where one stands in it.
    pub fn hide<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        self.0.iter().fold(text, |text, secret| {
            let stands_there = !secret.expose().is_empty() && text.contains(secret.expose());
            if stands_there { Cow::Owned(secret.redact(&text)) } else { text }
        })
    }

    /// Hides `secret` as well.
    pub fn add(&mut self, secret: &str) {
        self.0.push(Secret::new(secret));
    }

    /// Takes them out of all texts within a fact, if it is there.
    pub fn clean_fact(&self, facts: &mut Facts, name: &'static str) {
        let Some(Fact::Json(found)) = facts.get(name) else { return };
        let mut found = Json::clone(found);
        self.clean_json(&mut found);
        facts.set(name, found);
    }

    fn clean_json(&self, value: &mut Json) {
        match value {
            Json::String(text) => *text = self.clean(text),
            Json::Array(items) => items.iter_mut().for_each(|item| self.clean_json(item)),
            Json::Object(map) => map.values_mut().for_each(|item| self.clean_json(item)),
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }

    /// `text` without any of them.
    pub fn clean(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| secret.redact(&text))
    }
}

/// Whether a word is probably a key: long, of the letters of keys, and digits among them.
fn is_key(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '=' | '+');
    word.len() >= KEY_LENGTH
        && word.chars().all(plain)
        && word.contains(|c: char| c.is_ascii_digit())
        && word.contains(|c: char| c.is_ascii_alphabetic())
}

/// The text that percent-encoding stands for.
pub fn decoded(text: &str) -> String {
    // A form would read a plus as a space, and end at an ampersand; neither is meant here.
    let pair = format!("x={}", text.replace('+', "%2B").replace('&', "%26"));
    url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::Hidden;
    use http::HeaderMap;
    use std::borrow::Cow;
    use url::Url;

    #[test]
    fn what_a_request_holds_of_secrets_is_hidden_and_nothing_else() {
        let url =
            "https://a.example/v1/health/9f86d081884c7d65?token=abcd&page=10&x=a1b2c3d4e5f6g7h8";
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer s3cr"),
            ("x-api-key", "quo\"te"),
            ("cookie", "sid=c00kie; b=1"),
            ("accept", "text/html, application/xhtml+xml;q=0.9"),
            ("x-custom", "k3y-0123456789abc"),
        ] {
            headers.insert(name, value.parse().expect("a value"));
        }
        let hidden = Hidden::of_request(&Url::parse(url).expect("a URL"), &headers);
        let hide = |text| hidden.hide(Cow::Borrowed(text)).into_owned();
        for text in [
            "Bearer s3cr",
            "s3cr",
            "quo\"te",
            r#"quo\"te"#,
            "sid=c00kie",
            "c00kie",
            "abcd",
            "9f86d081884c7d65",
            "a1b2c3d4e5f6g7h8",
            "k3y-0123456789abc",
        ] {
            assert!(hide(text).contains("[secret]"), "{text}");
            assert!(!hide(text).contains(text), "{text}");
        }
        for text in ["health", "text/html", "page 10", "v1", "b=1", "q=0.9"] {
            assert_eq!(hide(text), text);
        }
    }

    #[test]
    fn a_password_is_hidden_however_it_is_written() {
        let url = Url::parse("redis://me:p%40s%2Bs+w@db.example/1?password=other").expect("URL");
        let hidden = Hidden::of(&url);
        for text in ["bad p@s+s+w", "bad p%40s%2Bs+w", "bad other", &format!("bad {url}")] {
            assert_eq!(hidden.clean(text), "bad [secret]", "{text}");
        }
    }
}
