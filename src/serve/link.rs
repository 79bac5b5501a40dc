//! Links in alerts by which people act without a key: the address itself is the right, for one thing,
//! once, and for a while.

use crate::model::{Name, Timestamp};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use subtle::ConstantTimeEq as _;

/// How long a link works, from when its message came to be owed; no longer than its incident is open.
pub const LINKS_LAST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// How many used links are remembered; beyond that, those that end soonest are forgotten.
const MOST_USED: usize = 10_000;
/// The longest token that is looked at.
const LONGEST: usize = 1_024;
/// The form of what is signed. Another form gets another number.
const VERSION: u8 = 1;
const KEY: usize = 32;
const MAC: usize = 32;
/// How much of its signature tells a link from all others.
const ID: usize = 16;

/// What a link does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Somebody takes the incident on.
    Acknowledge,
    /// Its check is silent for [`Deed::SILENCE`].
    Silence,
}

impl Deed {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 2] = [Self::Acknowledge, Self::Silence];
    /// How long [`Deed::Silence`] silences.
    pub const SILENCE: Duration = Duration::from_secs(2 * 60 * 60);

    /// What stands on its button.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Acknowledge => "Acknowledge",
            Self::Silence => "Silence 2h",
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Acknowledge => b'a',
            Self::Silence => b's',
        }
    }
}

/// What a link allows whoever has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// What may be done.
    pub deed: Deed,
    /// The incident that it is about.
    pub incident: String,
    /// The channel whose message bears the link.
    pub channel: Name,
    /// When the link ends.
    pub until: Timestamp,
}

/// Signs links and knows which of them were used. Key and knowledge last over restarts.
pub struct Links {
    key: [u8; KEY],
    used: Mutex<HashMap<String, Timestamp>>,
    /// Where both are kept; none where they end with the process.
    file: Option<PathBuf>,
    /// Held while the file is written, so that an older state never replaces a newer one.
    writing: Mutex<()>,
}

/// A link that was read and is good, but for having been used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) permit: Permit,
    /// What tells it from all others.
    id: String,
}

/// What stands in the file.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Kept {
    key: String,
    #[serde(default)]
    used: HashMap<String, Timestamp>,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Links {
    /// Those of the daemon that keeps key and used links in the file at `path`, which is made if
    /// it is not there. Only its owner may read it. Where it cannot be read or written, links work
    /// until the next start, and the log says why.
    pub fn open(path: &Path) -> Self {
        let known = match fs::read(path) {
            Ok(text) => serde_json::from_slice::<Kept>(&text).map_err(io::Error::from),
            Err(error) => Err(error),
        };
        let known = known.and_then(|kept| {
            let key = URL_SAFE_NO_PAD.decode(&kept.key).ok().and_then(|key| key.try_into().ok());
            key.map(|key| (key, kept.used)).ok_or_else(|| io::Error::from(ErrorKind::InvalidData))
        });
        let place = path.display();
        match known {
            Ok((key, used)) => Self::with(key, used, Some(path)),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                tracing::warn!(%error, "{place} cannot be read: links in alerts end with this run");
                Self::with(rand::random(), HashMap::new(), None)
            }
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    tracing::warn!(%error, "{place} is not understood: links sent so far are void");
                }
                let fresh = Self::with(rand::random(), HashMap::new(), Some(path));
                fresh.keep();
                fresh
            }
        }
    }

    /// Those of a daemon that forgets them when it ends.
    pub fn in_memory() -> Self {
        Self::with(rand::random(), HashMap::new(), None)
    }

    fn with(key: [u8; KEY], used: HashMap<String, Timestamp>, file: Option<&Path>) -> Self {
        let file = file.map(Path::to_owned);
        Self { key, used: Mutex::new(used), file, writing: Mutex::new(()) }
    }

    /// The token of a link that allows `permit`; none if its names are too long for a link.
    pub fn sign(&self, permit: &Permit) -> Option<String> {
        let mut bytes = vec![VERSION, permit.deed.code()];
        bytes.extend(permit.until.as_millis().to_be_bytes());
        bytes.push(u8::try_from(permit.incident.len()).ok()?);
        bytes.extend(permit.incident.as_bytes());
        bytes.extend(permit.channel.as_bytes());
        bytes.extend(self.mac(&bytes)?);
        let token = URL_SAFE_NO_PAD.encode(bytes);
        (token.len() <= LONGEST).then_some(token)
    }

    /// What `token` allows, if it was signed here and nobody changed it.
    pub(super) fn read(&self, token: &str) -> Option<Link> {
        if token.len() > LONGEST {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (signed, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC)?)?;
        if !bool::from(self.mac(signed)?.ct_eq(mac)) {
            return None;
        }
        let (head, rest) = signed.split_first_chunk::<2>()?;
        let (until, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first()?;
        let (incident, channel) = rest.split_at_checked(usize::from(*length))?;
        let deed = Deed::ALL.into_iter().find(|deed| *head == [VERSION, deed.code()])?;
        let permit = Permit {
            deed,
            incident: String::from_utf8(incident.to_vec()).ok()?,
            channel: std::str::from_utf8(channel).ok()?.into(),
            until: Timestamp::from_millis(i64::from_be_bytes(*until)),
        };
        Some(Link { permit, id: URL_SAFE_NO_PAD.encode(mac.get(..ID)?) })
    }

    /// Whether somebody has used `link`.
    pub(super) fn is_used(&self, link: &Link) -> bool {
        lock(&self.used).contains_key(&link.id)
    }

    /// Takes `link` for use: only the first who asks gets it. [`Links::keep`] makes it durable.
    pub(super) fn take(&self, link: &Link, now: Timestamp) -> bool {
        let mut used = lock(&self.used);
        if used.contains_key(&link.id) {
            return false;
        }
        // One that is over needs no memory to be refused.
        used.retain(|_, until| *until >= now);
        if used.len() >= MOST_USED
            && let Some(soonest) = used.iter().min_by_key(|(_, until)| **until)
        {
            let soonest = soonest.0.clone();
            used.remove(&soonest);
        }
        used.insert(link.id.clone(), link.permit.until);
        true
    }

    /// Gives back a link with which nothing was done.
    pub(super) fn give_back(&self, link: &Link) {
        lock(&self.used).remove(&link.id);
    }

    /// Writes what is known into the file. It waits for the disk. A failure goes to the log: what was
    /// done was done, and the link stays used as long as the daemon runs.
    pub(super) fn keep(&self) {
        let Some(file) = &self.file else { return };
        let _writing = lock(&self.writing);
        let used = lock(&self.used).clone();
        let kept = Kept { key: URL_SAFE_NO_PAD.encode(self.key), used };
        if let Err(error) = replace(file, &kept) {
            let place = file.display();
            tracing::warn!(%error, "{place} cannot be written: a used link may work after a restart");
        }
    }

    /// What only this daemon can say about `signed`. What is signed for one use begins with what
    /// nothing else begins with: links with [`VERSION`], all else with a word.
    pub(super) fn mac(&self, signed: &[u8]) -> Option<[u8; MAC]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(signed);
        Some(mac.finalize().into_bytes().into())
    }
}

/// Writes the file whole beside its place and moves it there, so that a crash leaves the one or the
/// other.
fn replace(path: &Path, kept: &Kept) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file: File =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(&serde_json::to_vec(kept)?)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Deed, LONGEST, Links, MOST_USED, Permit};
    use crate::model::Timestamp;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn permit() -> Permit {
        Permit {
            deed: Deed::Silence,
            incident: "01JNA8Y8PK0000000000000000".to_owned(),
            channel: "ops-slack".into(),
            until: Timestamp::from_millis(1_772_356_812_000),
        }
    }

    #[test]
    fn a_link_says_what_was_signed_and_to_nobody_else() {
        let links = Links::in_memory();
        let token = links.sign(&permit()).unwrap();
        assert!(token.len() < 150 && !token.contains(['/', '+', '=']), "{token}");
        assert_eq!(links.read(&token).unwrap().permit, permit());
        assert_eq!(Links::in_memory().read(&token), None);
        assert_eq!(links.sign(&Permit { incident: "x".repeat(256), ..permit() }), None);
        assert_eq!(links.sign(&Permit { channel: "x".repeat(LONGEST).into(), ..permit() }), None);
    }

    #[test]
    fn a_changed_link_is_none() {
        let links = Links::in_memory();
        let token = links.sign(&permit()).unwrap();
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(links.read(&changed), None, "{at}: {changed}");
        }
        for cut in 0..token.len() {
            assert_eq!(links.read(&token[..cut]), None);
        }
        assert_eq!(links.read(&format!("{token}A")), None);
        assert_eq!(links.read(&"A".repeat(LONGEST + 4)), None);
    }

    proptest! {
        #[test]
        fn whatever_is_asked_for_is_answered(token in ".{0,200}", bytes in "[A-Za-z0-9_-]{0,300}") {
            let links = Links::in_memory();
            prop_assert_eq!(links.read(&token), None);
            prop_assert_eq!(links.read(&bytes), None);
        }
    }

    #[test]
    fn a_link_works_once_also_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("watchbell.db.links");
        let (links, now) = (Links::open(&path), Timestamp::from_millis(0));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let token = links.sign(&permit()).unwrap();
        let link = links.read(&token).unwrap();
        assert!(!links.is_used(&link));
        assert!(links.take(&link, now) && !links.take(&link, now));
        links.give_back(&link);
        assert!(links.take(&link, now));
        links.keep();
        let again = Links::open(&path);
        assert_eq!(again.read(&token), Some(link.clone()));
        assert!(again.is_used(&link) && !again.take(&link, now));
        // What is not understood is no reason not to start.
        std::fs::write(&path, "{").unwrap();
        assert_eq!(Links::open(&path).read(&token), None);
        let nowhere = Links::open(&folder.path().join("no/such/folder/links"));
        assert!(nowhere.sign(&permit()).is_some());
    }

    #[test]
    fn what_is_remembered_of_used_links_is_bounded() {
        let links = Links::in_memory();
        let use_up = |seconds: i64, now: i64| {
            let until = Timestamp::from_millis(seconds * 1_000);
            let link = links.read(&links.sign(&Permit { until, ..permit() }).unwrap()).unwrap();
            assert!(links.take(&link, Timestamp::from_millis(now * 1_000)));
            link
        };
        let first = use_up(100, 0);
        let second = use_up(101, 0);
        for n in 2..MOST_USED {
            links.used.lock().unwrap().insert(n.to_string(), Timestamp::from_millis(1_000_000_000));
        }
        use_up(5_000, 0);
        assert!(!links.is_used(&first) && links.is_used(&second));
        assert_eq!(links.used.lock().unwrap().len(), MOST_USED);
        use_up(2_000_000, 1_500_000);
        assert_eq!(links.used.lock().unwrap().len(), 1, "what is over is forgotten");
    }

    #[test]
    fn the_key_does_not_show() {
        let links = Links::with([0xab; 32], Default::default(), None);
        let shown = format!("{links:?}");
        assert!(!shown.contains("171") && !shown.contains("ab, "), "{shown}");
    }
}
