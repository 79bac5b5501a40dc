use super::key::{ApiKey, Keys, Scope};
use super::page::{Said, SignedIn};
use super::problem::Problem;
use super::router::Peer;
use crate::model::Timestamp;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;

/// Who sends a request.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    /// Where from; behind a proxy on this machine, what the proxy says.
    pub(super) address: IpAddr,
    /// Whether the request was made on this very machine.
    pub(super) local: bool,
    /// Whether it came by the Unix socket, whose permissions say who may do everything.
    pub(super) socket: bool,
    /// The key that came along.
    pub(super) key: Option<Arc<ApiKey>>,
    /// The session of the cookie that came along.
    pub(super) session: Option<SignedIn>,
    /// What the page before did, for this one to say.
    pub(super) said: Option<Said>,
    /// Whether nobody on the way can read along.
    pub(super) secure: bool,
}

/// What a path asks of those who want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Open to everybody if the page is public, else as [`Scope::Read`].
    Page,
    /// Open to everybody: the address itself is the right.
    Link,
    /// Open to everybody: who they are is asked there.
    SignIn,
    /// A session whose key has this scope, if one is named, and the token of its forms.
    Form(Option<Scope>),
    /// A scope. Reading is also open to this machine, and to sessions.
    Scope(Scope),
}

impl Visitor {
    /// Who sends a request with these headers, by its address alone. Of proxies, those on this
    /// machine and the `trusted` ones are believed.
    pub(super) fn from(peer: Peer, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let peer = match peer {
            Peer::Address(peer) => peer.to_canonical(),
            Peer::Socket => {
                let address = Ipv4Addr::LOCALHOST.into();
                return Self { local: true, socket: true, ..Self::stranger(address) };
            }
        };
        let forwarded = is_forwarded(headers);
        let local = peer.is_loopback() && !forwarded && names_this_machine(headers);
        let believed = |address: &IpAddr| {
            address.is_loopback() || trusted.iter().any(|network| network.contains(address))
        };
        let address = if believed(&peer) { first_stranger(peer, headers, believed) } else { peer };
        let secure = believed(&peer) && says_https(headers);
        Self { local, secure, ..Self::stranger(address) }
    }

    fn stranger(address: IpAddr) -> Self {
        Self {
            address,
            local: false,
            socket: false,
            key: None,
            session: None,
            said: None,
            secure: false,
        }
    }

    /// Reads the key that came along, if one did. A wrong one is refused, even where none is
    /// needed: whoever sends one means it.
    pub(super) fn identify(
        &mut self,
        headers: &HeaderMap,
        keys: &Keys,
        now: Timestamp,
    ) -> Result<(), Problem> {
        let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(()) };
        match bearer(value).and_then(|key| keys.find(key)) {
            Some(key) if key.is_over(now) => Err(unauthorized(&format!(
                "The key `{}` has expired; `watchbell key new` makes another.",
                key.name
            ))),
            Some(key) => {
                key.note_use(now);
                self.key = Some(key);
                Ok(())
            }
            None => Err(unauthorized(
                "This key is not known here. Keys are `[[api.key]]` tables in daemon.toml, and \
                 are sent as `Authorization: Bearer KEY`.",
            )),
        }
    }

    /// Whether the visitor may have what asks for `need`; else the answer for them.
    pub(super) fn may(&self, need: Need, public_status: bool) -> Result<(), Problem> {
        let signed_in = self.session.as_ref().map(|session| &session.key);
        if let Need::Form(scope) = need {
            return match (signed_in, scope) {
                (None, _) => Err(not_signed_in()),
                (Some(key), Some(scope)) if !key.allows(scope) => Err(lacks(key, scope)),
                (Some(_), _) => Ok(()),
            };
        }
        if self.socket {
            return Ok(());
        }
        let scope = match need {
            Need::Link | Need::SignIn | Need::Form(_) => return Ok(()),
            Need::Page if public_status => return Ok(()),
            Need::Page => Scope::Read,
            Need::Scope(scope) => scope,
        };
        if scope == Scope::Read && self.local {
            return Ok(());
        }
        let word = scope.as_str();
        // A cookie comes along unasked: it opens what changes nothing, and forms.
        let by_session = signed_in.filter(|_| scope == Scope::Read);
        match self.key.as_ref().or(by_session) {
            Some(key) if key.allows(scope) => Ok(()),
            Some(key) => Err(lacks(key, scope)),
            None => Err(unauthorized(&format!(
                "This needs a key with the scope `{word}`: send `Authorization: Bearer KEY`. Keys \
                 are `[[api.key]]` tables in daemon.toml. Only reading on this machine itself \
                 (as localhost, and not through a proxy) needs none."
            ))),
        }
    }

    /// Who it is, for the log.
    pub(super) fn name(&self) -> &str {
        let key = self.key.as_ref().or(self.session.as_ref().map(|session| &session.key));
        key.map_or("", |key| &key.name)
    }

    /// Whether a form was sent by a page of this daemon, as far as the browser says: what it says
    /// cannot be forged by a page. Browsers that say nothing leave it to the token.
    pub(super) fn is_same_origin(headers: &HeaderMap) -> bool {
        if let Some(site) = headers.get("sec-fetch-site") {
            return matches!(site.as_bytes(), b"same-origin" | b"none");
        }
        // A page that tells nobody where it is has the origin `null`.
        let Some(origin) = headers.get(header::ORIGIN).filter(|origin| *origin != "null") else {
            return true;
        };
        let host = |value: &HeaderValue| value.to_str().unwrap_or("").to_ascii_lowercase();
        let origin = host(origin);
        let origin = origin.split_once("://").map_or("", |(_, authority)| authority);
        ["x-forwarded-host", "host"].iter().filter_map(|name| headers.get(*name)).any(|named| {
            let named = host(named);
            let bare = |text: &str| {
                let text = text.strip_suffix(":443").or_else(|| text.strip_suffix(":80"));
                text.map(str::to_owned)
            };
            bare(&named).unwrap_or_else(|| named.clone())
                == bare(origin).unwrap_or(origin.to_owned())
        })
    }
}

impl fmt::Display for Visitor {
    /// Where it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.socket {
            true => f.write_str("socket"),
            false => self.address.fmt(f),
        }
    }
}

/// A bound on the requests of each address that is neither this machine nor holds a key.
#[derive(Debug)]
pub(super) struct AddressLimit {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
    addresses: usize,
}

impl AddressLimit {
    const PER_SECOND: NonZeroU32 = NonZeroU32::new(10).unwrap();
    const BURST: NonZeroU32 = NonZeroU32::new(50).unwrap();

    /// A limit that remembers up to `addresses` at a time; those that come on top share one
    /// allowance.
    pub(super) fn remembering(addresses: usize) -> Self {
        let quota = Quota::per_second(Self::PER_SECOND).allow_burst(Self::BURST);
        let limiter = RateLimiter::keyed(quota);
        Self { limiter, clock: DefaultClock::default(), addresses }
    }

    /// Counts one request.
    pub(super) fn count(&self, address: IpAddr) -> Result<(), Problem> {
        if self.limiter.len() >= self.addresses {
            self.limiter.retain_recent();
        }
        let crowded = self.limiter.len() >= self.addresses;
        let key = if crowded { Ipv6Addr::UNSPECIFIED.into() } else { network(address) };
        self.limiter.check_key(&key).map_err(|refusal| {
            let wait = refusal.wait_time_from(self.clock.now()).as_secs() + 1;
            Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-requests",
                "Too many requests",
                format!("Wait {wait} s. Requests with a key are not limited."),
            )
            .with_header(header::RETRY_AFTER, HeaderValue::from(wait))
        })
    }
}

/// The address by which a visitor is counted: one household has a whole /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX)).into(),
    }
}

/// Whether a proxy passed the request on.
fn is_forwarded(headers: &HeaderMap) -> bool {
    const MARKS: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
    MARKS.iter().any(|mark| headers.contains_key(*mark))
}

/// The nearest address that is not a believed proxy's. Each proxy adds the one that it saw to the
/// end of `X-Forwarded-For`; what stands before that, anybody may have written.
fn first_stranger(peer: IpAddr, headers: &HeaderMap, believed: impl Fn(&IpAddr) -> bool) -> IpAddr {
    let lines: Vec<&HeaderValue> = headers.get_all("x-forwarded-for").iter().collect();
    let hops = lines.iter().rev().flat_map(|line| line.to_str().unwrap_or("").rsplit(','));
    let mut nearest = peer;
    for hop in hops {
        let Ok(hop) = hop.trim().parse::<IpAddr>() else { break };
        nearest = hop.to_canonical();
        if !believed(&nearest) {
            break;
        }
    }
    nearest
}

/// Whether `Host` is a name that only this machine has. A web page from elsewhere can point a
/// name of its own at 127.0.0.1, and the browser here would then let it read what it gets.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(authority) = host.to_str().unwrap_or("").parse::<http::uri::Authority>() else {
        return false;
    };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

fn lacks(key: &ApiKey, scope: Scope) -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "forbidden",
        "The key does not allow this",
        format!("The key `{}` lacks the scope `{}`.", key.name, scope.as_str()),
    )
}

fn not_signed_in() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "not-signed-in",
        "You are not signed in",
        "This needs a session: sign in with a key at /sign-in. Programs use the API with a key.",
    )
}

/// Whether a proxy says that the request came to it by TLS.
fn says_https(headers: &HeaderMap) -> bool {
    let said = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
    let first = said.and_then(|said| said.split(',').next());
    first.is_some_and(|word| word.trim().eq_ignore_ascii_case("https"))
}

fn unauthorized(detail: &str) -> Problem {
    let challenge = HeaderValue::from_static("Bearer realm=\"watchbell\"");
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "A key is needed", detail)
        .with_header(header::WWW_AUTHENTICATE, challenge)
}

#[cfg(test)]
mod tests {
    use super::super::key::{ApiKey, Keys, Scope};
    use super::super::router::Peer;
    use super::{AddressLimit, Need, Visitor};
    use crate::model::Timestamp;
    use http::{HeaderMap, HeaderName, HeaderValue};
    use std::net::IpAddr;

    const READ: Need = Need::Scope(Scope::Read);
    const OPERATE: Need = Need::Scope(Scope::Operate);
    const READER: &str = "Bearer reader-reader-reader";
    const OPERATOR: &str = "bearer operator-operator";

    fn keys() -> Keys {
        Keys::new([
            ApiKey::from_plain("reader", "reader-reader-reader", vec![Scope::Read]).unwrap(),
            ApiKey::from_plain("operator", "operator-operator", vec![Scope::Operate]).unwrap(),
        ])
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    /// The status of the answer to `peer` with these headers, 200 if it is let in.
    fn answer(
        peer: &str,
        pairs: &[(&'static str, &'static str)],
        need: Need,
        public_status: bool,
    ) -> u16 {
        let headers = headers(pairs);
        let mut visitor = Visitor::from(Peer::Address(peer.parse().unwrap()), &headers, &[]);
        let identified = visitor.identify(&headers, &keys(), Timestamp::from_millis(0));
        match identified.and_then(|()| visitor.may(need, public_status)) {
            Ok(()) => 200,
            Err(problem) => problem.status.as_u16(),
        }
    }

    #[test]
    fn reading_is_open_on_this_machine_only() {
        for local in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(answer(local, &[], READ, false), 200, "{local}");
            assert_eq!(answer(local, &[], OPERATE, false), 401, "{local}");
        }
        for remote in ["10.0.0.5", "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "0.0.0.0"] {
            assert_eq!(answer(remote, &[], READ, false), 401, "{remote}");
            assert_eq!(answer(remote, &[], Need::Page, false), 401, "{remote}");
            assert_eq!(answer(remote, &[], Need::Page, true), 200, "{remote}");
        }
    }

    #[test]
    fn the_socket_opens_everything() {
        let visitor = Visitor::from(Peer::Socket, &headers(&[("via", "x")]), &[]);
        assert!(visitor.may(OPERATE, false).is_ok());
        assert_eq!(visitor.to_string(), "socket");
    }

    #[test]
    fn an_expired_key_opens_nothing() {
        let mut key = ApiKey::from_plain("old", "reader-reader-reader", vec![Scope::Read]).unwrap();
        key.expires = Some(Timestamp::from_millis(5000));
        let keys = Keys::new([key]);
        let headers = headers(&[("authorization", READER)]);
        let mut visitor = Visitor::from(Peer::Address([192, 0, 2, 1].into()), &headers, &[]);
        let at = Timestamp::from_millis;
        assert!(visitor.identify(&headers, &keys, at(4999)).is_ok());
        let refusal = visitor.identify(&headers, &keys, at(5000)).unwrap_err();
        assert!(refusal.status == 401 && refusal.detail.contains("`old` has expired"));
        assert_eq!(keys.find("reader-reader-reader").unwrap().last_used(), Some(at(4999)));
    }

    #[test]
    fn a_key_opens_what_its_scopes_say() {
        let with = |key, need| answer("192.0.2.1", &[("authorization", key)], need, false);
        assert_eq!(with(READER, READ), 200);
        assert_eq!(with(READER, OPERATE), 403);
        assert_eq!(with(OPERATOR, OPERATE), 200);
        assert_eq!(with(OPERATOR, READ), 403);
        let here = |key, need| answer("127.0.0.1", &[("authorization", key)], need, true);
        assert_eq!(here(OPERATOR, READ), 200);
        assert_eq!(here(READER, OPERATE), 403);
        for wrong in ["Bearer nope", "Bearer ", "Bearer", "Basic b3BzOm9wcw==", ""] {
            assert_eq!(with(wrong, READ), 401, "{wrong}");
            assert_eq!(here(wrong, Need::Page), 401, "a wrong key is never ignored: {wrong}");
        }
    }

    #[test]
    fn what_a_proxy_on_this_machine_passes_on_is_not_from_this_machine() {
        for mark in ["x-forwarded-for", "x-real-ip", "forwarded", "via"] {
            assert_eq!(answer("127.0.0.1", &[(mark, "127.0.0.1")], READ, false), 401, "{mark}");
        }
        let address = |peer: &str, from| {
            let headers = headers(&[("x-forwarded-for", from)]);
            let trusted = ["10.9.0.0/16".parse().unwrap()];
            let peer = Peer::Address(peer.parse().unwrap());
            Visitor::from(peer, &headers, &trusted).address.to_string()
        };
        assert_eq!(address("127.0.0.1", "203.0.113.9, 192.0.2.7"), "192.0.2.7");
        assert_eq!(address("127.0.0.1", "rubbish"), "127.0.0.1");
        assert_eq!(address("10.0.0.1", "192.0.2.7"), "10.0.0.1", "that proxy is not believed");
        assert_eq!(address("10.9.0.1", "192.0.2.7"), "192.0.2.7");
        assert_eq!(address("10.9.0.1", "192.0.2.7, 10.9.1.1, 127.0.0.1"), "192.0.2.7");
        assert_eq!(address("10.9.0.1", "203.0.113.9, 192.0.2.7, 10.9.1.1"), "192.0.2.7");
        assert_eq!(address("10.9.0.1", "203.0.113.9, x, 10.9.1.1"), "10.9.1.1");
    }

    #[test]
    fn a_foreign_name_that_points_here_opens_nothing() {
        let named = |host| answer("127.0.0.1", &[("host", host)], READ, false);
        for own in ["localhost", "LOCALHOST:7117", "localhost.", "127.0.0.1:7117", "[::1]:7117"] {
            assert_eq!(named(own), 200, "{own}");
        }
        for foreign in ["evil.example", "evil.example:7117", "localhost.evil.example", "", "a b"] {
            assert_eq!(named(foreign), 401, "{foreign}");
        }
    }

    #[test]
    fn an_address_that_asks_too_often_is_told_when_to_come_back() {
        let limit = AddressLimit::remembering(100);
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let refusal = (0..1000).find_map(|_| limit.count(address).err()).unwrap();
        assert_eq!(refusal.status, 429);
        assert!(limit.count("192.0.2.2".parse().unwrap()).is_ok());
    }

    #[test]
    fn one_network_of_ipv6_counts_as_one() {
        let limit = AddressLimit::remembering(100);
        let addresses = (1..1000).map(|host| format!("2001:db8::{host:x}").parse().unwrap());
        assert!(addresses.map(|address| limit.count(address)).any(|answer| answer.is_err()));
        assert_eq!(limit.limiter.len(), 1);
    }

    #[test]
    fn the_memory_of_addresses_is_bounded() {
        let limit = AddressLimit::remembering(100);
        for n in 0..5000_u32 {
            let _counted = limit.count(IpAddr::from(n.to_be_bytes()));
        }
        assert!(limit.limiter.len() <= 101, "{}", limit.limiter.len());
    }
}
