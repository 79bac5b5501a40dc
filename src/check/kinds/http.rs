//! `http`: asks a web server and looks at the answer.

mod hop;
mod inflate;
mod oauth;
mod travel;
mod trip;

use crate::check::support::dial::route::{self, Proxy};
use crate::check::support::dial::{self, Route};
use crate::check::support::exchange::{Link, Versions};
use crate::check::support::hide::Hidden;
use crate::check::support::tls::{self, Tls};
use crate::check::support::{self, USER_AGENT, headers};
use crate::check::{Check, Kind, Run};
use crate::config::Section;
use crate::model::{Fact, FactSpec, FactType, Facts, Observation, OptionDoc, Secret, Verdict};
use async_trait::async_trait;
use bytes::Bytes;
use hop::Hop;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method};
use oauth::OAuth;
use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::Mutex;
use trip::Trip;

/// The keys of `basic_auth`.
const BASIC_AUTH: &[OptionDoc] = &[
    OptionDoc::new("username", "string", "required", "the user"),
    OptionDoc::new("password", "secret", "\"\"", "the password"),
];

/// The keys of `oauth2`.
const OAUTH2: &[OptionDoc] = &[
    OptionDoc::new("token_url", "secret", "required", "where tokens are got: http:// or https://"),
    OptionDoc::new("client_id", "string", "required", "who asks"),
    OptionDoc::new("client_secret", "secret", "required", "what proves it"),
    OptionDoc::new("scopes", "list", "[]", "what the token shall be good for"),
    OptionDoc::new("audience", "string", "", "whom the token shall be shown to"),
    OptionDoc::new(
        "client_auth",
        "string",
        "\"basic\"",
        "where the client names itself: in a header, or in the body",
    )
    .words(&["basic", "post"]),
];

/// The kind `http`.
pub const KIND: Kind = Kind {
    name: "http",
    summary: "asks a web server by HTTP/1.1 or HTTP/2 and looks at status, headers, body, phases \
              and certificates",
    options: &[
        OptionDoc::new("url", "string", "required", "what to ask for: http:// or https://"),
        OptionDoc::new("method", "string", "\"GET\"", "the method of the request"),
        OptionDoc::new("headers", "table", "", "headers to send, beside those that must be there"),
        OptionDoc::new("body", "string", "", "the body to send; JSON is labelled as such"),
        OptionDoc::new("body_file", "string", "", "a file with the body to send, read at load"),
        OptionDoc::new("basic_auth", "table", "", "`username` and `password` to send")
            .keys(BASIC_AUTH),
        OptionDoc::new(
            "bearer_token",
            "secret",
            "",
            "the token to send as `Authorization: Bearer`",
        ),
        OptionDoc::new(
            "oauth2",
            "table",
            "",
            "client credentials that a token is got with (RFC 6749): `token_url`, `client_id`, \
             `client_secret`, `scopes` (list), `audience`, and `client_auth` (\"basic\", or \"post\" \
             to send them in the body); the token is kept until shortly before it expires, and a \
             401 gets another once",
        ).keys(OAUTH2),
        OptionDoc::new(
            "follow_redirects",
            "boolean",
            "true",
            "whether to go where the server points; credentials stay behind",
        ),
        OptionDoc::new(
            "max_redirects",
            "integer",
            "10",
            "how many redirects to follow, at most 50; one more is an error, and so is a loop",
        ),
        OptionDoc::new(
            "http_version",
            "string",
            "\"auto\"",
            "auto (HTTP/2 where TLS finds that the server speaks it, else 1.1), 1.1, or 2 (also \
             without TLS)",
        ).words(&["auto", "1.1", "2"]).or("number"),
        OptionDoc::new(
            "reuse_connection",
            "boolean",
            "false",
            "whether to keep the connection for the next run, where a visitor makes a new one",
        ),
        OptionDoc::new(
            "decompress",
            "boolean",
            "true",
            "whether a body in gzip, deflate, br or zstd is unpacked; to be sent one, ask for it by \
             `headers = { Accept-Encoding = \"gzip\" }`",
        ),
        route::IP_VERSION,
        route::RESOLVER,
        route::PROXY,
        tls::INSECURE_SKIP_VERIFY,
        tls::CA_FILE,
        tls::CERT_FILE,
        tls::KEY_FILE,
        tls::SERVER_NAME,
        OptionDoc::new(
            "max_body",
            "integer",
            "\"1MiB\"",
            "the bytes of the body to read at most, also unpacked, as a number or such as 64KiB",
        ).or("string"),
    ],
    facts: &[
        FactSpec::kept("status", FactType::Int, "", "the status of the answer, such as 200"),
        FactSpec::passing("http_version", FactType::Text, "how it came: `1.1` or `2`"),
        FactSpec::kept("size", FactType::Int, "bytes", "the bytes of the body, unpacked"),
        FactSpec::kept(
            "compressed_size",
            FactType::Int,
            "bytes",
            "the bytes of the body as they came; absent where it was not compressed",
        ),
        FactSpec::kept("truncated", FactType::Bool, "", "whether the body went on past `max_body`"),
        FactSpec::kept("redirects", FactType::Int, "", "how many redirects were followed"),
        FactSpec::passing(
            "hops",
            FactType::Any,
            "list of the answers on the way, each with `url` (without its query), `status` and `ms`; \
             absent without redirects; kept where the check is not well",
        ),
        FactSpec {
            summary: "looking up names, over all redirects; with a proxy, its name",
            ..dial::DNS_MS
        },
        FactSpec {
            summary: "connecting, over all redirects; through a proxy, all the way",
            ..dial::CONNECT_MS
        },
        FactSpec { summary: "TLS handshakes; absent without TLS", ..dial::TLS_MS },
        FactSpec::kept(
            "first_byte_ms",
            FactType::Double,
            "ms",
            "from sending the request to the head of the answer, over all redirects",
        ),
        FactSpec::kept(
            "transfer_ms",
            FactType::Double,
            "ms",
            "from the head of the answer to the end of its body",
        ),
        FactSpec::kept(
            "token_ms",
            FactType::Double,
            "ms",
            "getting a token; absent where none was wanted, or one was there",
        ),
        FactSpec {
            summary: "whole days until the first server certificate on the way expires; absent \
                      without TLS; there also where that certificate is refused",
            ..tls::CERT_DAYS_LEFT
        },
        tls::CERT_CHAIN_DAYS_LEFT,
        tls::CERT_CHAIN_LENGTH,
        tls::CERT_SUBJECT,
        tls::CERT_ISSUER,
        tls::CERT_NAMES,
        tls::CLIENT_CERT_DAYS_LEFT,
        FactSpec::passing(
            "headers",
            FactType::Map,
            "the answer's headers, by lower-case name; kept without cookies and credentials where \
             the check is not well",
        ),
        FactSpec::passing(
            "text",
            FactType::Text,
            "the body as text, the check's own secrets blotted out; the first 2 KiB are kept where \
             the check is not well",
        ),
        FactSpec::passing("body", FactType::Any, "the body as JSON; null if it is not JSON"),
    ],
    example: r#"[[check]]
name = "website"
every = "30s"
expect = ["status == 200", "text.contains('Example')"]
degraded_if = ["latency > duration('800ms')", "cert_chain_days_left < 14"]
[check.http]
url = "https://www.example.org/"
headers = { Accept = "text/html" }
"#,
    well: "an answer with a status below 400",
    parse,
};

const DEFAULT_MAX_REDIRECTS: usize = 10;

/// What `max_body` may be at most: many checks share the memory.
const MAX_MAX_BODY: usize = 64 * 1024 * 1024;

const DEFAULT_MAX_BODY: usize = 1024 * 1024;

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Check>> {
    let url_place = section.place_of("url");
    let url = support::required_url(section, "url", &["http", "https"]);
    let method = section.built("method", |text: String| read_method(&text)).unwrap_or_default();
    let mut headers = headers::read(section);
    let body = read_body(section);
    let authorization = authorization(section, &headers);
    let oauth_place = section.place_of("oauth2");
    let oauth = OAuth::read(section).map(Box::new);
    if oauth.is_some() && (authorization.is_some() || headers.contains_key(AUTHORIZATION)) {
        section.error_at(&oauth_place, "there is another authorization already");
    }
    let follow = section.or("follow_redirects", true);
    let max_redirects = section.built("max_redirects", |count: usize| match count {
        0..=50 => Ok(count),
        _ => Err("is more than 50".to_owned()),
    });
    let versions = section.built("http_version", |value: toml::Value| read_version(&value));
    let versions = versions.unwrap_or_default();
    let reuse = section.or("reuse_connection", false);
    let decompress = section.or("decompress", true);
    let route = Route::read(section);
    let tls = tls::read(section, versions.alpn());
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

    let body = body.unwrap_or_default();
    let url = url?;
    let mut hidden = Hidden::of_request(&url, &headers);
    let first = Hop::new(url, method, headers, body)
        .map_err(|what| section.error_at(&url_place, what))
        .ok()?;
    for secret in headers::secrets(&first.headers) {
        hidden.add_word(&secret);
    }
    for secret in oauth.iter().flat_map(|oauth| oauth.secrets()) {
        hidden.add_word(secret.expose());
    }
    for secret in route.proxy.iter().flat_map(Proxy::secrets) {
        hidden.add_word(&secret);
    }
    let mut sent = Hidden::default();
    sent.add_text(&String::from_utf8_lossy(&first.body));
    Some(Box::new(Http {
        first,
        tls: tls?,
        route,
        versions,
        oauth,
        hidden,
        sent,
        follow,
        max_redirects: max_redirects.unwrap_or(DEFAULT_MAX_REDIRECTS),
        reuse,
        decompress,
        max_body,
        kept: Mutex::default(),
    }))
}

/// The body to send, as it stands in the table or in a file.
fn read_body(section: &mut Section<'_>) -> Option<Bytes> {
    let body = section.optional::<String>("body").map(Bytes::from);
    let place = section.place_of("body_file");
    let Some(path) = section.file("body_file") else { return body };
    if body.is_some() {
        section.error_at(&place, "there is a `body` already");
    }
    read_body_file(&path).map_err(|what| section.error_at(&place, what)).ok()
}

fn read_body_file(path: &Path) -> Result<Bytes, String> {
    let unread = |error| format!("cannot read {}: {error}", path.display());
    let length = std::fs::metadata(path).map_err(unread)?.len();
    if length > u64::try_from(MAX_MAX_BODY).unwrap_or(u64::MAX) {
        return Err(format!("{} is larger than 64MiB", path.display()));
    }
    std::fs::read(path).map(Bytes::from).map_err(unread)
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

/// Also a number, since `1.1` looks like one.
fn read_version(value: &toml::Value) -> Result<Versions, String> {
    match value.to_string().trim_matches('"') {
        "auto" => Ok(Versions::Auto),
        "1.1" => Ok(Versions::One),
        "2" | "2.0" => Ok(Versions::Two),
        _ => Err(format!("{value} is none of \"auto\", \"1.1\" and \"2\"")),
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

fn is_json(bytes: &[u8]) -> bool {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    matches!(first, Some(b'{' | b'['))
        && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

struct Http {
    first: Hop,
    tls: Tls,
    route: Route,
    versions: Versions,
    oauth: Option<Box<OAuth>>,
    /// What no fact and no error shows, even if the server repeats it.
    hidden: Hidden,
    /// What looks like a secret in the body that is sent. An answer may well repeat it, and
    /// conditions may want to see it, so only what is kept is without it.
    sent: Hidden,
    follow: bool,
    max_redirects: usize,
    reuse: bool,
    decompress: bool,
    max_body: usize,
    /// Connections of the run before, each with where it leads. Only the run itself takes from
    /// here, and a check never overlaps itself.
    kept: Mutex<Vec<(dial::Target, bool, Link)>>,
}

impl fmt::Debug for Http {
    /// Names the host alone: a token may stand in the rest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("target", &self.first.target).finish_non_exhaustive()
    }
}

#[async_trait]
impl Check for Http {
    async fn run(&self, run: &Run) -> Observation {
        let clock = &*run.shared.clock;
        let mut trip = Trip::default();
        let patience = support::patience(run.timeout);
        let outcome = match tokio::time::timeout(patience, self.travel(clock, &mut trip)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(trip.too_late(run.timeout, &self.first.target.to_string())),
        };
        let mut facts = Facts::default();
        trip.note(clock, self.tls.identity_ends, |text| self.hide(text), &mut facts);
        match outcome {
            Ok(()) => Observation::found(facts),
            Err(what) => Observation::failed(facts, self.hide(what.into())),
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

    fn evidence(&self, observation: &Observation) -> Facts {
        trip::evidence(observation, &self.sent)
    }
}

impl Http {
    /// `text` without the secrets of this check.
    fn hide<'a>(&self, text: Cow<'a, str>) -> Cow<'a, str> {
        let text = self.hidden.hide(text);
        match &self.oauth {
            Some(oauth) => oauth.hide(text),
            None => text,
        }
    }
}

#[cfg(test)]
mod tests;
