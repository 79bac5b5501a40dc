//! `http`: asks a web server and looks at the answer.

use crate::check::support::dial::{self, Phases, Target};
use crate::check::support::exchange::{Body, Link};
use crate::check::support::tls::{self, Certificate};
use crate::check::support::{self, USER_AGENT, excerpt, headers, millis};
use crate::check::{Check, Kind, Run};
use crate::clock::Clock;
use crate::config::Section;
use crate::model::{Fact, FactSpec, FactType, Facts, Observation, OptionDoc, Secret, Verdict};
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, LOCATION,
};
use http::response::Parts;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use rustls::ClientConfig;
use serde_json::Value as Json;
use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use url::{Position, Url};

/// The kind `http`.
pub const KIND: Kind = Kind {
    name: "http",
    summary: "asks a web server over HTTP/1.1 and looks at status, headers, body and certificate",
    options: &[
        OptionDoc::new("url", "string", "required", "what to ask for: http:// or https://"),
        OptionDoc::new("method", "string", "\"GET\"", "the method of the request"),
        OptionDoc::new("headers", "table", "", "headers to send, beside those that must be there"),
        OptionDoc::new("body", "string", "", "the body to send; JSON is labelled as such"),
        OptionDoc::new("basic_auth", "table", "", "`username` and `password` to send"),
        OptionDoc::new(
            "bearer_token",
            "secret",
            "",
            "the token to send as `Authorization: Bearer`",
        ),
        OptionDoc::new(
            "follow_redirects",
            "boolean",
            "true",
            "whether to go where the server points, at most ten times; credentials stay behind",
        ),
        OptionDoc::new(
            "reuse_connection",
            "boolean",
            "false",
            "whether to keep the connection for the next run, where a visitor makes a new one",
        ),
        tls::INSECURE_SKIP_VERIFY,
        tls::CA_FILE,
        OptionDoc::new(
            "max_body",
            "integer",
            "\"1MiB\"",
            "the bytes of the body to read at most, as a number or such as 64KiB",
        ),
    ],
    facts: &[
        FactSpec::kept("status", FactType::Int, "", "the status of the answer, such as 200"),
        FactSpec::kept("size", FactType::Int, "bytes", "the bytes of the body that were read"),
        FactSpec::kept("truncated", FactType::Bool, "", "whether the body went on past `max_body`"),
        FactSpec::kept("redirects", FactType::Int, "", "how many redirects were followed"),
        FactSpec { summary: "looking up names, over all redirects", ..dial::DNS_MS },
        FactSpec { summary: "connecting, over all redirects", ..dial::CONNECT_MS },
        FactSpec { summary: "TLS handshakes; absent without TLS", ..dial::TLS_MS },
        FactSpec::kept(
            "first_byte_ms",
            FactType::Double,
            "ms",
            "from sending the request to the head of the answer, over all redirects",
        ),
        FactSpec {
            summary: "whole days until the first certificate on the way expires; absent without TLS",
            ..tls::CERT_DAYS_LEFT
        },
        FactSpec::passing("headers", FactType::Map, "the answer's headers, by lower-case name"),
        FactSpec::passing("text", FactType::Text, "the body as text"),
        FactSpec::passing("body", FactType::Any, "the body as JSON; null if it is not JSON"),
    ],
    example: r#"[[check]]
name = "website"
every = "30s"
expect = ["status == 200", "text.contains('Example')"]
degraded_if = ["latency > duration('800ms')", "cert_days_left < 14"]
[check.http]
url = "https://www.example.org/"
headers = { Accept = "text/html" }
"#,
    well: "an answer with a status below 400",
    parse,
};

/// Redirects that one run follows.
const MAX_REDIRECTS: usize = 10;

/// The bytes of a redirect's own body that are worth reading to keep its connection.
const MAX_REDIRECT_BODY: usize = 64 * 1024;

/// What `max_body` may be at most: many checks share the memory.
const MAX_MAX_BODY: usize = 64 * 1024 * 1024;

const DEFAULT_MAX_BODY: usize = 1024 * 1024;

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Check>> {
    let url_place = section.place_of("url");
    let url = support::required_url(section, "url", &["http", "https"]);
    let method = section.built("method", |text: String| read_method(&text)).unwrap_or_default();
    let mut headers = headers::read(section);
    let body = section.optional::<String>("body");
    let authorization = authorization(section, &headers);
    let follow = section.or("follow_redirects", true);
    let reuse = section.or("reuse_connection", false);
    let tls = tls::read_config(section, &[b"http/1.1"]);
    let max_body = section.built("max_body", read_size).unwrap_or(DEFAULT_MAX_BODY);

    if let Some(authorization) = authorization {
        headers.insert(AUTHORIZATION, authorization);
    }
    let default = |headers: &mut HeaderMap, name, value| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    default(&mut headers, http::header::USER_AGENT, USER_AGENT);
    default(&mut headers, ACCEPT, "*/*");
    default(&mut headers, ACCEPT_ENCODING, "identity");
    if body.as_deref().is_some_and(is_json) {
        default(&mut headers, CONTENT_TYPE, "application/json");
    }

    let body = body.map(Bytes::from).unwrap_or_default();
    let first = Hop::new(url?, method, headers, body)
        .map_err(|what| section.error_at(&url_place, what))
        .ok()?;
    Some(Box::new(Http { first, tls: tls?, follow, reuse, max_body, kept: Mutex::default() }))
}

/// The options that say who asks, as one header.
fn authorization(section: &mut Section<'_>, headers: &HeaderMap) -> Option<HeaderValue> {
    let basic_place = section.place_of("basic_auth");
    let basic = section.table("basic_auth").and_then(|mut table| {
        let username = table.required::<String>("username");
        let password = table.secret("password").unwrap_or_else(|| Secret::new(""));
        section.finish_child(table);
        headers::basic(&username?, password.expose())
    });
    let bearer_place = section.place_of("bearer_token");
    let bearer = section.secret("bearer_token").and_then(|token| {
        let header = headers::bearer(token.expose());
        if header.is_none() {
            section.error_at(&bearer_place, "holds a line break or a control character");
        }
        header
    });
    if basic.is_some() && bearer.is_some() {
        section.error_at(&bearer_place, "there is `basic_auth` already");
    }
    if headers.contains_key(AUTHORIZATION) && (basic.is_some() || bearer.is_some()) {
        let place = if basic.is_some() { &basic_place } else { &bearer_place };
        section.error_at(place, "there is an `Authorization` in `headers` already");
    }
    basic.or(bearer)
}

fn read_method(text: &str) -> Result<Method, String> {
    let method = Method::from_bytes(text.to_ascii_uppercase().as_bytes());
    match method {
        Ok(method) if method != Method::CONNECT => Ok(method),
        _ => Err(format!("`{text}` is not a method that a check can use (such as GET or POST)")),
    }
}

fn read_size(value: toml::Value) -> Result<usize, String> {
    const UNITS: [(&str, usize); 4] =
        [("KiB", 1024), ("MiB", 1024 * 1024), ("kB", 1000), ("MB", 1_000_000)];
    let bytes = match &value {
        toml::Value::Integer(bytes) => usize::try_from(*bytes).ok(),
        toml::Value::String(text) => UNITS
            .iter()
            .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))
            .and_then(|(number, factor)| number.trim().parse::<usize>().ok()?.checked_mul(*factor)),
        _ => None,
    };
    match bytes {
        None => Err(format!("{value} is not a size (such as 65536 or \"64KiB\")")),
        Some(bytes) if bytes > MAX_MAX_BODY => Err("is more than 64MiB".to_owned()),
        Some(bytes) => Ok(bytes),
    }
}

struct Http {
    first: Hop,
    tls: Arc<ClientConfig>,
    follow: bool,
    reuse: bool,
    max_body: usize,
    /// Connections of the run before, each with where it leads. Only the run itself takes from
    /// here, and a check never overlaps itself.
    kept: Mutex<Vec<(Target, bool, Link)>>,
}

impl fmt::Debug for Http {
    /// Names the host alone: a token may stand in the rest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("target", &self.first.target).finish_non_exhaustive()
    }
}

/// One request and where it goes, ready to be sent any number of times.
#[derive(Clone)]
struct Hop {
    url: Url,
    target: Target,
    secure: bool,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

/// A final answer.
struct Answer {
    parts: Parts,
    body: Body,
}

/// What is measured on the way to the final answer.
#[derive(Default)]
struct Trip {
    status: Option<StatusCode>,
    redirects: usize,
    phases: Phases,
    first_byte: Option<Duration>,
    certificate: Option<Certificate>,
}

#[async_trait]
impl Check for Http {
    async fn run(&self, run: &Run) -> Observation {
        let clock = &*run.shared.clock;
        let mut trip = Trip::default();
        let outcome = self.travel(clock, &mut trip).await;
        let mut facts = Facts::default();
        trip.note(clock, &mut facts);
        match outcome {
            Ok(answer) => {
                answer.note(&mut facts);
                Observation::found(facts)
            }
            Err(what) => Observation::failed(facts, what),
        }
    }

    fn sense(&self, observation: &Observation) -> Verdict {
        match observation.facts.get("status") {
            Some(Fact::Int(status)) if *status >= 400 => {
                Verdict::down(format!("status is {status}"))
            }
            _ => Verdict::UP,
        }
    }
}

impl Http {
    /// Goes from answer to answer until one is final.
    async fn travel(&self, clock: &dyn Clock, trip: &mut Trip) -> Result<Answer, String> {
        let mut hop = Cow::Borrowed(&self.first);
        loop {
            let answer = self.visit(clock, &hop, trip).await?;
            let Some(location) = self.location(&answer.parts) else { return Ok(answer) };
            let next = hop.redirected(answer.parts.status, location)?;
            if trip.redirects == MAX_REDIRECTS {
                let last = excerpt(&next.url[..Position::AfterPath], 200);
                return Err(format!("more than {MAX_REDIRECTS} redirects, the last to {last}"));
            }
            trip.redirects += 1;
            hop = Cow::Owned(next);
        }
    }

    /// Sends one request and reads the answer to it.
    async fn visit(&self, clock: &dyn Clock, hop: &Hop, trip: &mut Trip) -> Result<Answer, String> {
        let mut request = hop.request();
        if let Some(mut link) = self.take_kept(hop).await {
            let start = clock.now().mono;
            match link.send(request).await {
                Ok(response) => {
                    trip.arrived(clock, start, response.status());
                    trip.phases.add(Phases::none(hop.secure));
                    trip.saw(link.certificate);
                    return self.receive(hop, link, response).await;
                }
                // The server may have ended the connection just when the request left. A request
                // that changes things goes again only if the server cannot have seen it.
                Err(failed) => match failed.unsent {
                    Some(unsent) => request = unsent,
                    None if hop.method.is_idempotent() => request = hop.request(),
                    None => return Err(failed.what),
                },
            }
        }
        let tls = hop.secure.then_some(&self.tls);
        let dialled = dial::dial(clock, &hop.target, tls).await.map_err(|failed| {
            trip.phases.add(failed.phases);
            trip.saw(failed.certificate);
            failed.what
        })?;
        trip.phases.add(dialled.phases);
        trip.saw(dialled.certificate);
        let mut link = Link::over(dialled).await?;
        let start = clock.now().mono;
        let response = link.send(request).await.map_err(|failed| failed.what)?;
        trip.arrived(clock, start, response.status());
        self.receive(hop, link, response).await
    }

    async fn receive(
        &self,
        hop: &Hop,
        mut link: Link,
        response: http::Response<hyper::body::Incoming>,
    ) -> Result<Answer, String> {
        let (parts, body) = response.into_parts();
        let body = match (self.location(&parts).is_some(), self.reuse) {
            (false, _) => link.read(body, self.max_body).await?,
            (true, true) => link.read(body, MAX_REDIRECT_BODY).await?,
            (true, false) => Body::default(),
        };
        if self.reuse && !body.truncated {
            self.keep(hop, link);
        }
        Ok(Answer { parts, body })
    }

    /// Where an answer points, if it is a redirect that is to be followed.
    fn location<'a>(&self, parts: &'a Parts) -> Option<&'a HeaderValue> {
        let redirects = matches!(parts.status.as_u16(), 301 | 302 | 303 | 307 | 308);
        parts.headers.get(LOCATION).filter(|_| self.follow && redirects)
    }

    async fn take_kept(&self, hop: &Hop) -> Option<Link> {
        let mut link = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let fits = |(target, secure, _): &(Target, bool, Link)| {
                *target == hop.target && *secure == hop.secure
            };
            let index = kept.iter().position(fits)?;
            kept.swap_remove(index).2
        };
        link.is_alive().await.then_some(link)
    }

    fn keep(&self, hop: &Hop, link: Link) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // A server that points somewhere else each time must not gather connections.
        if kept.len() > MAX_REDIRECTS {
            kept.clear();
        }
        kept.push((hop.target.clone(), hop.secure, link));
    }
}

impl Hop {
    fn new(
        mut url: Url,
        method: Method,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Self, String> {
        if let Some(authorization) = headers::take_userinfo(&mut url) {
            if headers.contains_key(AUTHORIZATION) {
                return Err("names a user, but there is an authorization already".to_owned());
            }
            headers.insert(AUTHORIZATION, authorization);
        }
        let target = Target::of(&url).ok_or("names no host")?;
        let uri = origin_form(&url)?;
        if !headers.contains_key(HOST) {
            headers.insert(HOST, headers::host(&url).ok_or("names no host")?);
        }
        let secure = url.scheme() == "https";
        Ok(Self { url, target, secure, method, uri, headers, body })
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// The request that an answer to this one asks for (RFC 9110, section 15.4).
    fn redirected(&self, status: StatusCode, location: &HeaderValue) -> Result<Self, String> {
        let location = String::from_utf8_lossy(location.as_bytes());
        let refused = || format!("the redirect leads to `{}`", excerpt(&location, 200));
        let mut url = self.url.join(&location).map_err(|_| refused())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused());
        }
        // A user that the server put there is the server's idea, not the owner's.
        headers::take_userinfo(&mut url);

        let mut headers = self.headers.clone();
        if Target::of(&url).as_ref() != Some(&self.target) {
            headers.remove(HOST);
        }
        if !is_same_site(&self.url, &url) {
            let credentials: Vec<_> =
                headers.keys().filter(|name| headers::is_credential(name)).cloned().collect();
            for name in credentials {
                headers.remove(name);
            }
        }
        let becomes_get = match status.as_u16() {
            303 => self.method != Method::HEAD,
            301 | 302 => self.method == Method::POST,
            _ => false,
        };
        if !becomes_get {
            return Self::new(url, self.method.clone(), headers, self.body.clone());
        }
        headers.remove(CONTENT_TYPE);
        Self::new(url, Method::GET, headers, Bytes::new())
    }
}

impl Trip {
    fn arrived(&mut self, clock: &dyn Clock, start: Duration, status: StatusCode) {
        let took = clock.now().mono.saturating_sub(start);
        self.first_byte = Some(self.first_byte.unwrap_or_default() + took);
        self.status = Some(status);
    }

    fn saw(&mut self, certificate: Option<Certificate>) {
        let both = [self.certificate, certificate];
        self.certificate = both.into_iter().flatten().min_by_key(|one| one.not_after);
    }

    fn note(&self, clock: &dyn Clock, facts: &mut Facts) {
        if let Some(status) = self.status {
            facts.set("status", i64::from(status.as_u16()));
        }
        facts.set("redirects", i64::try_from(self.redirects).unwrap_or(i64::MAX));
        self.phases.note(facts);
        if let Some(first_byte) = self.first_byte {
            facts.set("first_byte_ms", millis(first_byte));
        }
        if let Some(certificate) = self.certificate {
            certificate.note(clock.wall(), facts);
        }
    }
}

impl Answer {
    fn note(self, facts: &mut Facts) {
        facts.set("size", i64::try_from(self.body.bytes.len()).unwrap_or(i64::MAX));
        facts.set("truncated", self.body.truncated);
        facts.set("headers", Json::Object(header_map(&self.parts.headers)));
        facts.set("body", self.json());
        facts.set("text", &*String::from_utf8_lossy(&self.body.bytes));
    }

    /// The body as JSON, if it claims or seems to be that.
    fn json(&self) -> Json {
        let claims = self.parts.headers.get(CONTENT_TYPE).is_some_and(|kind| {
            kind.to_str().is_ok_and(|kind| kind.to_ascii_lowercase().contains("json"))
        });
        let first = self.body.bytes.iter().find(|byte| !byte.is_ascii_whitespace());
        if self.body.truncated || !(claims || matches!(first, Some(b'{' | b'['))) {
            return Json::Null;
        }
        serde_json::from_slice(&self.body.bytes).unwrap_or(Json::Null)
    }
}

fn header_map(headers: &HeaderMap) -> serde_json::Map<String, Json> {
    let mut map = serde_json::Map::with_capacity(headers.keys_len());
    for name in headers.keys() {
        let mut joined = String::new();
        for value in headers.get_all(name) {
            if !joined.is_empty() {
                joined.push_str(", ");
            }
            joined.push_str(&String::from_utf8_lossy(value.as_bytes()));
        }
        map.insert(name.as_str().to_owned(), Json::String(joined));
    }
    map
}

/// Path and query, which is all that an origin server is sent.
fn origin_form(url: &Url) -> Result<Uri, String> {
    Uri::try_from(&url[Position::BeforePath..Position::AfterQuery])
        .map_err(|error| format!("cannot be asked for: {error}"))
}

/// Whether credentials for one URL may go to another: the same host and port, or the same host
/// when a server moves a visitor from http to https on the usual ports.
fn is_same_site(from: &Url, to: &Url) -> bool {
    let ports = (from.port_or_known_default(), to.port_or_known_default());
    let weaker = from.scheme() == "https" && to.scheme() == "http";
    from.host() == to.host()
        && !weaker
        && (ports.0 == ports.1 || ports == (Some(80), Some(443)) && to.scheme() == "https")
}

fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests;
