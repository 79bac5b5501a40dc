use crate::model::Secret;
use crate::render::{clean, short};
use reqwest::Url;
use std::fmt;

/// How much of the other side's words an outcome quotes, in characters.
const QUOTED: usize = 300;
/// A part of a URL shorter than this is not a secret, but a word.
const SECRET_PART: usize = 12;

/// What must not be seen in the words of an outcome.
#[derive(Clone, Debug, Default)]
pub struct Veil(Vec<Secret>);

impl Veil {
    /// A veil over `secrets`.
    pub fn over(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut secrets: Vec<Secret> = secrets.into_iter().collect();
        // A secret that holds another one goes first, so that nothing of it is left over.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        Self(secrets)
    }

    /// `text` on one line, bounded and without the secrets.
    pub fn clean(&self, text: &str) -> String {
        // Once more after the cleaning, which may have put together what stood apart.
        let cleaned = clean(&self.redact(text.to_owned()), usize::MAX);
        short(&self.redact(cleaned), QUOTED)
    }

    fn redact(&self, text: String) -> String {
        self.0.iter().fold(text, |text, secret| secret.redact(&text))
    }
}

/// A URL that carries a secret, as those of incoming webhooks do.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(Url);

impl SecretUrl {
    /// Wraps `url`.
    pub const fn new(url: Url) -> Self {
        Self(url)
    }

    /// The URL itself, for the one place that calls it.
    pub fn expose(&self) -> &Url {
        &self.0
    }

    /// The parts of it that an answer might quote.
    pub fn secrets(&self) -> impl Iterator<Item = Secret> {
        let url = &self.0;
        let segments = url.path_segments().into_iter().flatten();
        let queries = url.query_pairs().map(|(_, value)| value.into_owned());
        // A server that quotes what it was asked for quotes it as it was written.
        let pairs = url.query().into_iter().flat_map(|query| query.split('&'));
        let written =
            pairs.filter_map(|pair| pair.split_once('=')).map(|(_, value)| value.to_owned());
        let parts = [url.path().to_owned(), url.username().to_owned()]
            .into_iter()
            .chain(segments.map(str::to_owned))
            .chain(queries)
            .chain(written)
            .filter(|part| part.len() >= SECRET_PART)
            .chain(url.password().map(str::to_owned))
            .chain([url.as_str().to_owned()]);
        parts.map(Secret::new).collect::<Vec<_>>().into_iter()
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/[secret]", self.0.scheme(), self.0.host_str().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::{SecretUrl, Veil};
    use crate::model::Secret;

    #[test]
    fn words_of_the_other_side_show_no_secret_and_are_bounded() {
        let veil = Veil::over([Secret::new("hunter2"), Secret::new("hunter2-long")]);
        assert_eq!(veil.clean("no hunter2-long\r\n here"), "no [secret] here");
        assert_eq!(veil.clean("hun\u{200b}ter2"), "[secret]");
        assert_eq!(veil.clean(&"a".repeat(10_000)).chars().count(), 300);
    }

    #[test]
    fn no_part_of_a_webhooks_address_is_shown() {
        let url = "https://hooks.example/services/T0/B0/abcdefghijklmnop?key=0123456789abcdef";
        let url = SecretUrl::new(url.parse().unwrap());
        assert_eq!(format!("{url:?}"), "https://hooks.example/[secret]");
        let veil = Veil::over(url.secrets());
        let said = format!("no such hook: {} or abcdefghijklmnop", url.expose());
        assert_eq!(veil.clean(&said), "no such hook: [secret] or [secret]");
        assert_eq!(veil.clean("key 0123456789abcdef"), "key [secret]");
        let url = SecretUrl::new("https://hooks.example/?sig=abc%2Fdef%2Bghi%3D".parse().unwrap());
        let said = "cannot POST /?sig=abc%2Fdef%2Bghi%3D";
        assert_eq!(Veil::over(url.secrets()).clean(said), "cannot POST /?sig=[secret]");
    }
}
