use crate::model::Timestamp;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use subtle::{Choice, ConstantTimeEq};

/// What a key lets its holder do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// See everything.
    Read,
    /// Make the daemon do something: run a check, acknowledge, silence.
    Operate,
    /// Send alerts and pings in.
    Push,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 3] = [Self::Read, Self::Operate, Self::Push];

    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Push => "push",
        }
    }

    /// The scope that `word` names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

/// One key: its holder's name, and a hash of it. The key itself is not kept.
#[derive(Debug)]
pub struct ApiKey {
    /// Whose it is, for the log.
    pub name: String,
    /// SHA-256 of the key. A plain hash is enough for a long random text, which a key is.
    pub hash: [u8; 32],
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// From when on it opens nothing any more.
    pub expires: Option<Timestamp>,
    used: LastUsed,
}

/// When a key was used last, in milliseconds since the epoch; nothing is a minimum.
#[derive(Debug)]
struct LastUsed(AtomicI64);

impl Default for LastUsed {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MIN))
    }
}

impl ApiKey {
    /// A key that the configuration holds as it is. One with fewer than [`ApiKey::SHORTEST`]
    /// characters deserves a warning, since somebody may guess it.
    pub fn from_plain(
        name: impl Into<String>,
        key: &str,
        scopes: Vec<Scope>,
    ) -> Result<Self, KeyError> {
        if key.is_empty() {
            return Err(KeyError::Empty);
        }
        if key.chars().any(|c| !c.is_ascii_graphic()) {
            return Err(KeyError::NotAHeader);
        }
        Ok(Self::new(name.into(), Sha256::digest(key).into(), scopes))
    }

    /// A key that the configuration holds as `sha256:` and 64 hexadecimal digits.
    pub fn from_hash(
        name: impl Into<String>,
        text: &str,
        scopes: Vec<Scope>,
    ) -> Result<Self, KeyError> {
        let hash = text.strip_prefix("sha256:").and_then(from_hex).ok_or(KeyError::NotAHash)?;
        Ok(Self::new(name.into(), hash, scopes))
    }

    fn new(name: String, hash: [u8; 32], scopes: Vec<Scope>) -> Self {
        Self { name, hash, scopes, expires: None, used: LastUsed::default() }
    }

    /// Whether it opens nothing any more at `now`.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Notes that it was used.
    pub fn note_use(&self, now: Timestamp) {
        self.used.0.fetch_max(now.as_millis(), Ordering::Relaxed);
    }

    /// When it was used last since the daemon started.
    pub fn last_used(&self) -> Option<Timestamp> {
        let millis = self.used.0.load(Ordering::Relaxed);
        (millis != i64::MIN).then(|| Timestamp::from_millis(millis))
    }

    /// `sha256:` and the hash, as the configuration may hold it.
    pub fn hash_text(&self) -> String {
        let digits = self.hash.iter().map(|byte| format!("{byte:02x}"));
        format!("sha256:{}", digits.collect::<String>())
    }

    /// The fewest characters of a good key.
    pub const SHORTEST: usize = 16;

    /// Whether it allows `scope`.
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// What is wrong with a key in the configuration. The texts never quote the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing at all.
    #[error("a key cannot be empty (`watchbell key new` makes a good one)")]
    Empty,
    /// It would not arrive in a header.
    #[error("a key holds only printable ASCII characters without spaces")]
    NotAHeader,
    /// Not `sha256:…`.
    #[error("a key hash is `sha256:` and 64 hexadecimal digits (`watchbell key new` makes one)")]
    NotAHash,
}

/// All keys that the daemon knows.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<Arc<ApiKey>>);

impl Keys {
    /// These keys.
    pub fn new(keys: impl IntoIterator<Item = ApiKey>) -> Self {
        Self(keys.into_iter().map(Arc::new).collect())
    }

    /// Takes over when those were used that were there `before`, as a reload does.
    pub fn remember(&self, before: &Self) {
        for key in &self.0 {
            let known = before.0.iter().find(|known| known.hash == key.hash);
            if let Some(used) = known.and_then(|known| known.last_used()) {
                key.note_use(used);
            }
        }
    }

    /// All keys, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &ApiKey> {
        self.0.iter().map(|key| &**key)
    }

    /// The key that `is_meant`. All of them are looked at, so that the time that it takes does not
    /// tell which it is.
    pub(super) fn find_by(&self, is_meant: impl Fn(&ApiKey) -> bool) -> Option<Arc<ApiKey>> {
        self.0.iter().filter(|key| is_meant(key)).last().cloned()
    }

    /// The key whose text is `presented`. The time that it takes does not tell how near a wrong
    /// one was, nor which of the keys a right one is.
    pub fn find(&self, presented: &str) -> Option<Arc<ApiKey>> {
        let hash: [u8; 32] = Sha256::digest(presented).into();
        let mut found = None;
        for key in &self.0 {
            let same: Choice = key.hash.ct_eq(&hash);
            if bool::from(same) {
                found = Some(Arc::clone(key));
            }
        }
        found
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::{ApiKey, KeyError, Keys, Scope};
    use crate::model::Timestamp;

    const PLAIN: &str = "correct-horse-battery";
    const HASH: &str = "sha256:2c3fb55f87fd7e37b35ee4a0d1f1d9ec3c6e6e0b8fc0ee3cbdc4ddd1ef95f4dc";

    #[test]
    fn a_plain_key_and_its_hash_open_the_same_door() {
        let plain = ApiKey::from_plain("ops", PLAIN, vec![Scope::Read]).unwrap();
        let hex = plain.hash_text();
        let upper = hex.to_uppercase().replace("SHA256", "sha256");
        for text in [hex, upper] {
            let hashed = ApiKey::from_hash("ops", &text, vec![Scope::Read]).unwrap();
            assert_eq!(hashed.hash, plain.hash);
            let keys = Keys::new([hashed]);
            assert_eq!(keys.find(PLAIN).unwrap().name, "ops");
            assert!(keys.find("correct-horse-batterz").is_none());
            assert!(keys.find("").is_none());
            assert!(keys.find(&text).is_none(), "a leaked hash is not a key");
        }
    }

    #[test]
    fn an_unusable_key_is_refused_without_being_quoted() {
        let refused = |key: &str| ApiKey::from_plain("ops", key, Vec::new()).unwrap_err();
        assert_eq!(refused(""), KeyError::Empty);
        assert_eq!(refused("with a space in the midst"), KeyError::NotAHeader);
        assert!(!refused("hunter 2").to_string().contains("hunter"));
        for bad in ["", "sha256:", "sha256:abc", &HASH[7..], &HASH.replace("2c", "zz")] {
            let error = ApiKey::from_hash("ops", bad, Vec::new()).unwrap_err();
            assert_eq!(error, KeyError::NotAHash, "{bad}");
        }
    }

    #[test]
    fn a_key_is_over_from_its_end_on_and_its_last_use_outlives_a_reload() {
        let at = Timestamp::from_millis;
        let mut key = ApiKey::from_plain("ops", PLAIN, vec![Scope::Read]).unwrap();
        assert!(!key.is_over(at(i64::MAX)), "without an end it lasts");
        key.expires = Some(at(1000));
        assert!(!key.is_over(at(999)) && key.is_over(at(1000)));
        assert_eq!(key.last_used(), None);
        key.note_use(at(700));
        key.note_use(at(600));
        let (before, after) =
            (Keys::new([key]), Keys::new([ApiKey::from_plain("x", PLAIN, vec![]).unwrap()]));
        after.remember(&before);
        assert_eq!(after.find(PLAIN).unwrap().last_used(), Some(at(700)));
    }

    #[test]
    fn a_key_that_is_shown_in_debug_output_is_only_a_hash() {
        let key = ApiKey::from_plain("ops", PLAIN, vec![Scope::Read]).unwrap();
        assert!(!format!("{key:?}").contains(PLAIN));
    }
}
