//! What a run finds on its way, and the facts that become of it.

use crate::check::support::dial::Phases;
use crate::check::support::exchange::Body;
use crate::check::support::hide::Hidden;
use crate::check::support::tls::{CLIENT_CERT_DAYS_LEFT, Chain, TELLING, days_left};
use crate::check::support::value::printable;
use crate::check::support::{headers, millis};
use crate::clock::Clock;
use crate::model::{Fact, Facts, Observation, Timestamp};
use http::header::CONTENT_TYPE;
use http::response::Parts;
use http::{HeaderMap, StatusCode};
use serde_json::{Value as Json, json};
use std::borrow::Cow;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// How much of a body is kept where a check is not well, in bytes.
const KEPT_BODY: usize = 2048;

/// How many headers are kept, and how much of each, in characters.
const KEPT_HEADERS: (usize, usize) = (40, 200);

/// What is found on the way to the final answer, also where it is not reached.
#[derive(Default)]
pub struct Trip {
    /// The status of the latest answer.
    pub status: Option<StatusCode>,
    /// Whether it came by HTTP/2.
    pub http2: bool,
    /// How often a redirect was followed.
    pub redirects: usize,
    /// Each answer on the way, if there was more than one.
    pub hops: Vec<Json>,
    /// All phases of all connections.
    pub phases: Phases,
    /// From sending requests to the heads of their answers.
    pub first_byte: Option<Duration>,
    /// From those heads to the ends of the bodies.
    pub transfer: Option<Duration>,
    /// Fetching a token.
    pub token: Option<Duration>,
    /// The certificates of whom expires first.
    pub chain: Option<Arc<Chain>>,
    /// The head of the final answer.
    pub parts: Option<Parts>,
    /// What came of its body.
    pub body: Body,
    /// The bytes of the body as they came, where they were compressed.
    pub compressed: Option<usize>,
    /// What was being done last.
    pub doing: Doing,
}

/// What a run is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Doing {
    /// Getting a token.
    Token,
    /// Looking up, connecting, shaking hands.
    #[default]
    Connecting,
    /// Waiting for the head of an answer.
    Waiting,
    /// Reading its body.
    Reading,
}

impl Trip {
    /// Notes the head of an answer.
    pub fn arrived(&mut self, took: Duration, status: StatusCode) {
        self.first_byte = Some(self.first_byte.unwrap_or_default() + took);
        self.status = Some(status);
    }

    /// Notes what the certificates of a server said.
    pub fn saw(&mut self, chain: Option<Arc<Chain>>) {
        let both = [self.chain.take(), chain];
        self.chain = both.into_iter().flatten().min_by_key(|one| one.not_after);
    }

    /// Why a run of `timeout` has no answer, as far as it came.
    pub fn too_late(&self, timeout: Duration, target: &str) -> String {
        let span = humantime::format_duration(timeout);
        let how = match self.doing {
            Doing::Token => "the token endpoint did not answer".to_owned(),
            Doing::Connecting => format!("no connection to {target} yet"),
            Doing::Waiting => "the request was sent, and nothing came".to_owned(),
            Doing::Reading => {
                format!("the body did not end, {} bytes of it came", self.body.bytes.len())
            }
        };
        format!("no answer within {span}: {how}")
    }

    /// Writes all down. `hide` takes the check's secrets out of what the server says.
    pub fn note<'a>(
        &'a self,
        clock: &dyn Clock,
        identity_ends: Option<Timestamp>,
        hide: impl Fn(Cow<'a, str>) -> Cow<'a, str>,
        facts: &mut Facts,
    ) {
        let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        if let Some(status) = self.status {
            facts.set("status", i64::from(status.as_u16()));
            facts.set("http_version", version(self.http2));
        }
        facts.set("redirects", whole(self.redirects));
        self.phases.note(facts);
        let spans = [
            ("first_byte_ms", self.first_byte),
            ("transfer_ms", self.transfer),
            ("token_ms", self.token),
        ];
        for (name, span) in spans {
            if let Some(span) = span {
                facts.set(name, millis(span));
            }
        }
        if let Some(chain) = &self.chain {
            chain.note(clock.wall(), facts);
        }
        if let Some(end) = identity_ends {
            facts.set(CLIENT_CERT_DAYS_LEFT.name, days_left(end, clock.wall()));
        }
        if !self.hops.is_empty() {
            facts.set("hops", Json::Array(self.hops.clone()));
        }
        let Some(parts) = &self.parts else { return };
        facts.set("size", whole(self.body.bytes.len()));
        facts.set("truncated", self.body.truncated);
        if let Some(compressed) = self.compressed {
            facts.set("compressed_size", whole(compressed));
        }
        facts.set("headers", Json::Object(header_map(&parts.headers, &hide)));
        let text = hide(String::from_utf8_lossy(&self.body.bytes));
        facts.set("body", self.json(&parts.headers, &text));
        facts.set("text", &*text);
    }

    /// The body as JSON, if it claims or seems to be that.
    fn json(&self, headers: &HeaderMap, text: &str) -> Json {
        let claims = headers.get(CONTENT_TYPE).is_some_and(|kind| {
            kind.to_str().is_ok_and(|kind| kind.to_ascii_lowercase().contains("json"))
        });
        let first = text.bytes().find(|byte| !byte.is_ascii_whitespace());
        if self.body.truncated || !(claims || matches!(first, Some(b'{' | b'['))) {
            return Json::Null;
        }
        serde_json::from_str(text).unwrap_or(Json::Null)
    }
}

/// What is worth keeping of a run that was not well, so that a person sees what came: the start of
/// the body, the headers but for what is none of anybody's business, the way there. `sent` is what
/// must not come back from the body that was sent.
pub fn evidence(observation: &Observation, sent: &Hidden) -> Facts {
    let mut kept = Facts::default();
    if let Some(Fact::Text(text)) = observation.facts.get("text") {
        // A little more is looked at, so that a secret at the very end is seen as a whole.
        let start = text.get(..text.floor_char_boundary(2 * KEPT_BODY)).unwrap_or_default();
        kept.set("text", printable(&sent.hide(start.into()), KEPT_BODY));
    }
    if let Some(Fact::Json(map)) = observation.facts.get("headers")
        && let Some(map) = map.as_object()
    {
        let (most, length) = KEPT_HEADERS;
        let shown = map.iter().take(most).map(|(name, value)| {
            let text = match http::HeaderName::try_from(name) {
                Ok(name) if is_private(&name) => "[secret]".to_owned(),
                _ => printable(value.as_str().unwrap_or_default(), length),
            };
            (name.clone(), Json::from(text))
        });
        kept.set("headers", Json::Object(shown.collect()));
    }
    for name in TELLING.iter().map(|fact| fact.name).chain(["hops", "http_version"]) {
        if let Some(fact) = observation.facts.get(name) {
            kept.set(name, fact.clone());
        }
    }
    kept
}

/// Whether a header of an answer is for its visitor alone.
fn is_private(name: &http::HeaderName) -> bool {
    *name == http::header::SET_COOKIE || headers::is_credential(name)
}

/// The same two words again and again.
fn version(http2: bool) -> Fact {
    static ONE: LazyLock<Arc<str>> = LazyLock::new(|| "1.1".into());
    static TWO: LazyLock<Arc<str>> = LazyLock::new(|| "2".into());
    Fact::Text(Arc::clone(if http2 { &TWO } else { &ONE }))
}

/// One answer on the way.
pub fn hop(url: &str, status: StatusCode, took: Duration) -> Json {
    let ms = (millis(took) * 1000.0).round() / 1000.0;
    json!({ "url": url, "status": status.as_u16(), "ms": ms })
}

fn header_map<'a>(
    headers: &'a HeaderMap,
    hide: &impl Fn(Cow<'a, str>) -> Cow<'a, str>,
) -> serde_json::Map<String, Json> {
    let mut map = serde_json::Map::with_capacity(headers.keys_len());
    for name in headers.keys() {
        let mut joined = String::new();
        for value in headers.get_all(name) {
            if !joined.is_empty() {
                joined.push_str(", ");
            }
            joined.push_str(&hide(String::from_utf8_lossy(value.as_bytes())));
        }
        map.insert(name.as_str().to_owned(), Json::String(joined));
    }
    map
}

#[cfg(test)]
mod tests {
    use super::evidence;
    use crate::check::support::hide::Hidden;
    use crate::model::{Facts, Observation};
    use serde_json::json;

    #[test]
    fn what_is_kept_is_bounded_and_printable_and_holds_no_cookie() {
        let mut facts = Facts::default();
        facts.set("text", format!("no\u{7}\u{1b}[31m{}", "é".repeat(5000)));
        facts.set(
            "headers",
            json!({"server": "x", "set-cookie": "sid=1", "x-auth-token": "t", "location": "/a"}),
        );
        facts.set("status", 502);
        let kept = serde_json::to_value(evidence(&Observation::found(facts), &Hidden::default()))
            .expect("JSON");
        assert_eq!(
            kept["headers"],
            json!({"server": "x", "set-cookie": "[secret]", "x-auth-token": "[secret]", "location": "/a"})
        );
        let text = kept["text"].as_str().expect("a text");
        assert!(text.starts_with("no··[31mé") && text.ends_with("é…"), "{text}");
        assert!(text.len() <= 2048 + '…'.len_utf8() + 2 * '·'.len_utf8(), "{}", text.len());
        assert_eq!(kept.get("status"), None, "it is kept anyway");
    }
}
