//! What must not show in the error of a check whose URL holds secrets.

use crate::model::Secret;
use url::Url;

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

    /// Hides `secret` as well.
    pub fn add(&mut self, secret: &str) {
        self.0.push(Secret::new(secret));
    }

    /// `text` without any of them.
    pub fn clean(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| secret.redact(&text))
    }
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
    use url::Url;

    #[test]
    fn a_password_is_hidden_however_it_is_written() {
        let url = Url::parse("redis://me:p%40s%2Bs+w@db.example/1?password=other").expect("URL");
        let hidden = Hidden::of(&url);
        for text in ["bad p@s+s+w", "bad p%40s%2Bs+w", "bad other", &format!("bad {url}")] {
            assert_eq!(hidden.clean(text), "bad [secret]", "{text}");
        }
    }
}
