//! Signing in: a key is given once, and a cookie stands for it from then on, for half a day.
//!
//! The cookie names the key by a fingerprint that only this daemon can make, and is signed. It holds
//! only as long as the key is there and has not expired: nothing about sessions is kept but which of
//! them were ended.

use super::super::access::Visitor;
use super::super::key::{ApiKey, Keys, Scope};
use super::super::link::Links;
use super::super::problem::Problem;
use super::super::router::{Answer, Shared};
use super::Frame;
use super::forms::{Form, local_path};
use super::frame::Session;
use crate::model::Timestamp;
use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde::Serialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use subtle::ConstantTimeEq as _;

/// How long a session lasts.
const LASTS: Duration = Duration::from_secs(12 * 60 * 60);
/// What the name of the cookie begins with; what follows tells daemons on one machine apart, since
/// cookies do not.
const COOKIE: &str = "watchbell_";
/// The cookie that tells the next page what was done. It goes by itself after so many seconds.
const SAID: &str = "watchbell_said";
const SAID_SECONDS: u64 = 8;
/// The longest cookie that is looked at.
const LONGEST: usize = 256;
/// How many ended sessions are remembered; beyond that, those that end soonest are forgotten.
const MOST_ENDED: usize = 10_000;

const UNTIL: usize = 8;
const NONCE: usize = 16;
const PRINT: usize = 16;
const SIGNED: usize = UNTIL + NONCE + PRINT;
const MAC: usize = 32;

type Nonce = [u8; NONCE];

/// A session that is good: signed here, not over, and of a key that still is one.
#[derive(Clone, Debug)]
pub(in crate::serve) struct SignedIn {
    /// The key that it stands for.
    pub(in crate::serve) key: Arc<ApiKey>,
    /// What each form of this session carries, and nobody else knows.
    pub(in crate::serve) csrf: String,
    nonce: Nonce,
    until: Timestamp,
}

/// The sessions that were ended before their time. They are remembered as long as the daemon runs.
#[derive(Debug, Default)]
pub(in crate::serve) struct Ended(Mutex<HashMap<Nonce, Timestamp>>);

impl Ended {
    fn has(&self, nonce: &Nonce) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(nonce)
    }

    fn end(&self, session: &SignedIn, now: Timestamp) {
        let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ended.retain(|_, until| *until > now);
        if ended.len() >= MOST_ENDED
            && let Some(soonest) = ended.iter().min_by_key(|(_, until)| **until)
        {
            let soonest = *soonest.0;
            ended.remove(&soonest);
        }
        ended.insert(session.nonce, session.until);
    }
}

impl SignedIn {
    /// The session of the cookie among `headers`. One that is not good is as none: a browser sends
    /// it along without being asked.
    pub(in crate::serve) fn read(
        headers: &HeaderMap,
        links: &Links,
        keys: &Keys,
        ended: &Ended,
        now: Timestamp,
    ) -> Option<Self> {
        let name = cookie_name(links)?;
        let token = cookie(headers, &name).filter(|token| token.len() <= LONGEST)?;
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (signed, mac) = bytes.split_at_checked(SIGNED)?;
        if !bool::from(links.mac(&[b"session:", signed].concat())?.ct_eq(mac)) {
            return None;
        }
        let (until, rest) = signed.split_first_chunk::<UNTIL>()?;
        let (nonce, print) = rest.split_first_chunk::<NONCE>()?;
        let until = Timestamp::from_millis(i64::from_be_bytes(*until));
        // One from the far future was signed before the clock was set right.
        if until <= now || until > now.after(LASTS) || ended.has(nonce) {
            return None;
        }
        let is_meant =
            |key: &ApiKey| fingerprint(links, key).is_some_and(|known| known.ct_eq(print).into());
        let key = keys.find_by(is_meant).filter(|key| !key.is_over(now))?;
        let csrf = URL_SAFE_NO_PAD.encode(links.mac(&[b"csrf:", signed].concat())?);
        Some(Self { key, csrf, nonce: *nonce, until })
    }

    /// Whether a form carries the token of this session. The time that it takes does not tell how
    /// near a wrong one was.
    pub(in crate::serve) fn is_of_form(&self, csrf: &str) -> bool {
        self.csrf.as_bytes().ct_eq(csrf.as_bytes()).into()
    }
}

impl Session {
    /// The session that `visitor` is in, as pages show it.
    pub(in crate::serve) fn of(visitor: &Visitor) -> Option<Self> {
        visitor.session.as_ref().map(|session| Self {
            name: session.key.name.clone(),
            csrf: session.csrf.clone(),
            may_operate: session.key.allows(Scope::Operate),
        })
    }
}

/// What tells a key from others in a cookie: nothing from which the key or its hash could be had.
fn fingerprint(links: &Links, key: &ApiKey) -> Option<[u8; PRINT]> {
    let mac = links.mac(&[b"key:", &key.hash[..]].concat())?;
    mac.first_chunk().copied()
}

fn cookie_name(links: &Links) -> Option<String> {
    let mac = links.mac(b"cookie:")?;
    let digits = mac.iter().take(4).map(|byte| format!("{byte:02x}"));
    Some(format!("{COOKIE}{}", digits.collect::<String>()))
}

/// The value of the cookie called `name`.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(header::COOKIE).iter();
    let pairs = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
    pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|it| it.1)
}

/// A cookie for all of the daemon's pages, that no script and no other site's page gets at.
fn set_cookie(name: &str, value: &str, lasts: u64, secure: bool) -> Option<HeaderValue> {
    let secure = if secure { "; Secure" } else { "" };
    let text =
        format!("{name}={value}; Path=/; Max-Age={lasts}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::try_from(text).ok()
}

/// A fresh session of `key`, as a cookie.
fn begin(shared: &Shared, key: &ApiKey, now: Timestamp, secure: bool) -> Option<HeaderValue> {
    let links = &shared.api.links;
    let nonce: Nonce = rand::random();
    let until = now.after(LASTS).as_millis().to_be_bytes();
    let mut bytes = [&until[..], &nonce[..], &fingerprint(links, key)?[..]].concat();
    let mac: [u8; MAC] = links.mac(&[b"session:", &bytes[..]].concat())?;
    bytes.extend(mac);
    let token = URL_SAFE_NO_PAD.encode(bytes);
    set_cookie(&cookie_name(links)?, &token, LASTS.as_secs(), secure)
}

#[derive(Serialize)]
struct SignIn {
    frame: Frame,
    /// Where to go then.
    next: String,
    complaint: Option<String>,
}

fn form(
    shared: &Shared,
    visitor: &Visitor,
    next: &str,
    status: StatusCode,
    complaint: Option<&str>,
) -> Answer {
    let frame = Frame::new(shared, visitor, "");
    let complaint = complaint.map(str::to_owned);
    let page = SignIn { frame, next: next.to_owned(), complaint };
    let mut answer = shared.pages.show(status, "sign-in.html", &page)?;
    // What stands in the form is for this one visit.
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

/// `GET /sign-in`: asks for a key.
pub(in crate::serve) async fn ask(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    uri: Uri,
) -> Answer {
    let form_of_query = Form::read(uri.query().unwrap_or("").as_bytes());
    let next = local_path(form_of_query.one("next").unwrap_or("/"));
    if visitor.session.is_some() {
        return see(next);
    }
    form(&shared, &visitor, next, StatusCode::OK, None)
}

/// `POST /sign-in`: takes a key, and gives a cookie for it.
pub(in crate::serve) async fn sign_in(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Answer {
    let given = Form::read(&body);
    let next = local_path(given.one("next").unwrap_or("/"));
    let now = shared.api.clock.wall();
    let key = shared.api.settings.load().keys.find(given.one("key").unwrap_or("").trim());
    let refuse = |why: &str| form(&shared, &visitor, next, StatusCode::FORBIDDEN, Some(why));
    let Some(key) = key else {
        tracing::warn!(from = %visitor, "somebody tried to sign in with a key that is not known");
        return refuse("This key is not known here. Keys are [[api.key]] tables in daemon.toml.");
    };
    if key.is_over(now) {
        return refuse("This key has expired. `watchbell key new` makes another.");
    }
    key.note_use(now);
    tracing::info!(key = key.name, from = %visitor, "somebody signed in");
    let cookie = begin(&shared, &key, now, visitor.secure).ok_or_else(Problem::internal)?;
    let mut answer = see(next)?;
    answer.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(answer)
}

/// `POST /sign-out`: ends the session.
pub(in crate::serve) async fn sign_out(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
) -> Answer {
    if let Some(session) = &visitor.session {
        shared.ended.end(session, shared.api.clock.wall());
    }
    let mut answer = see("/")?;
    let name = cookie_name(&shared.api.links);
    let gone = name.and_then(|name| set_cookie(&name, "", 0, visitor.secure));
    if let Some(gone) = gone {
        answer.headers_mut().append(header::SET_COOKIE, gone);
    }
    Ok(answer)
}

/// Sends the browser on to another page of the daemon.
pub(super) fn see(path: &str) -> Answer {
    let place = HeaderValue::try_from(path).map_err(|_| Problem::internal())?;
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response())
}

/// What was done, for the next page to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) enum Said {
    Ran,
    Paused,
    Resumed,
    Silenced,
    Acknowledged,
    Unacknowledged,
    Snoozed,
    Unsilenced,
    Retried,
}

impl Said {
    const ALL: [Self; 9] = [
        Self::Ran,
        Self::Paused,
        Self::Resumed,
        Self::Silenced,
        Self::Acknowledged,
        Self::Unacknowledged,
        Self::Snoozed,
        Self::Unsilenced,
        Self::Retried,
    ];

    const fn word(self) -> &'static str {
        match self {
            Self::Ran => "ran",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Silenced => "silenced",
            Self::Acknowledged => "acknowledged",
            Self::Unacknowledged => "unacknowledged",
            Self::Snoozed => "snoozed",
            Self::Unsilenced => "unsilenced",
            Self::Retried => "retried",
        }
    }

    /// In words for people.
    pub(in crate::serve) const fn sentence(self) -> &'static str {
        match self {
            Self::Ran => "The check has run.",
            Self::Paused => "The check is paused: it does not run until somebody resumes it.",
            Self::Resumed => "The check runs again.",
            Self::Silenced => "Silenced: nobody is alerted for that time. It is still checked.",
            Self::Acknowledged => "Acknowledged: nobody is reminded of it any more.",
            Self::Unacknowledged => "Given back: reminders go on.",
            Self::Snoozed => "Snoozed: no reminder for that time.",
            Self::Unsilenced => "The silence has ended.",
            Self::Retried => "The notice is tried at once.",
        }
    }

    /// What the page before did, by the cookie among `headers`.
    pub(in crate::serve) fn read(headers: &HeaderMap) -> Option<Self> {
        let word = cookie(headers, SAID)?;
        Self::ALL.into_iter().find(|said| said.word() == word)
    }

    /// Lets the next page say it.
    pub(super) fn onto(self, mut answer: axum::response::Response, secure: bool) -> Answer {
        if let Some(cookie) = set_cookie(SAID, self.word(), SAID_SECONDS, secure) {
            answer.headers_mut().append(header::SET_COOKIE, cookie);
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::{Said, cookie};
    use http::{HeaderMap, HeaderValue, header};

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1; ab=2;b=3=4"));
        headers.append(header::COOKIE, HeaderValue::from_static("c=5; watchbell_said=paused"));
        let found = ["a", "ab", "b", "c", "d"].map(|name| cookie(&headers, name));
        assert_eq!(found, [Some("1"), Some("2"), Some("3=4"), Some("5"), None]);
        assert_eq!(Said::read(&headers), Some(Said::Paused));
    }

    #[test]
    fn what_is_said_comes_back() {
        for said in Said::ALL {
            let mut headers = HeaderMap::new();
            let pair = format!("watchbell_said={}", said.word());
            headers.insert(header::COOKIE, HeaderValue::try_from(pair).unwrap());
            assert_eq!(Said::read(&headers), Some(said));
        }
    }
}
