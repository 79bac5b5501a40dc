//! One JSON-RPC server, and a call to it.

use crate::check::support::hide::Hidden;
use crate::check::support::tls;
use crate::check::support::value::excerpt;
use futures_util::future::join_all;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value as Json, json};
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use url::Url;

/// More of an answer than this is not read.
const MOST_BYTES: usize = 1 << 20;

/// How much of a server's message goes into an error.
const MOST_WORDS: usize = 300;

/// Parts of a path that are at least so long are taken for keys.
const KEY_LENGTH: usize = 16;

/// A server and what to send to it.
pub struct Endpoint {
    url: Url,
    headers: HeaderMap,
    /// The part of the URL that may be shown: keys stand in paths and queries.
    shown: String,
    hidden: Hidden,
    /// The code by which a node says that it is not well, where others say that a limit is
    /// exceeded.
    unhealthy: Option<i64>,
    /// Set once the server was seen to take single calls only.
    no_batches: AtomicBool,
    /// What is asked with in the place of what all checks share.
    client: Option<reqwest::Client>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.shown).finish()
    }
}

/// Why a call gave no result.
#[derive(Clone, Debug)]
pub enum CallError {
    /// The server answered with an error object.
    Answered {
        /// Its code.
        code: i64,
        /// Its message, bounded.
        message: String,
        /// Whatever it added.
        data: Json,
    },
    /// The server limits how often it may be asked: what it said, in words. This tells nothing of
    /// how it is.
    RateLimited(String),
    /// Anything else, in words.
    Odd(String),
}

/// A call: a method and its parameters.
pub type Ask = (String, Json);

/// Why many calls at once gave no list of answers.
enum BatchError {
    /// The server does not take batches, or answers so oddly that single calls may do better.
    Unsupported,
    /// Single calls would fare no better.
    Failed(CallError),
}

impl Endpoint {
    /// A server at `url` that is sent `headers`. `unhealthy` is the code by which a node of its
    /// chain says that it is not well.
    pub fn new(url: Url, headers: HeaderMap, unhealthy: Option<i64>) -> Self {
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let shown = format!("{}://{host}{port}", url.scheme());
        let mut hidden = Hidden::of(&url);
        let path = url.path_segments().into_iter().flatten().map(str::to_owned);
        let query = url.query_pairs().map(|(_, value)| value.into_owned());
        let values = headers.values().filter_map(|value| value.to_str().ok());
        let values = values.flat_map(str::split_whitespace).map(str::to_owned);
        for key in path.chain(query).chain(values).filter(|key| key.len() >= KEY_LENGTH) {
            hidden.add(&key);
        }
        let no_batches = AtomicBool::new(false);
        Self { url, headers, shown, hidden, unhealthy, no_batches, client: None }
    }

    /// The same, asked by a client of its own.
    pub fn with_client(self, client: Option<reqwest::Client>) -> Self {
        Self { client, ..self }
    }

    /// `text` without what is secret about this server.
    pub fn clean(&self, text: &str) -> String {
        self.hidden.clean(text)
    }

    /// The part of the URL that may be shown.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Calls `method`, and gives its result.
    ///
    /// See <https://www.jsonrpc.org/specification>.
    pub async fn call(
        &self,
        http: &reqwest::Client,
        method: &str,
        params: &Json,
    ) -> Result<Json, CallError> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let (status, body) = self.post(http, &body).await?;
        match serde_json::from_slice::<Json>(&body) {
            Ok(Json::Object(mut answer)) => {
                // An error object says more than the status that it came with.
                if let Some(error) = answer.get_mut("error").filter(|error| !error.is_null()) {
                    return Err(self.answered(error.take()));
                }
                if let Some(result) = answer.remove("result").filter(|_| status.is_success()) {
                    return Ok(result);
                }
                Err(self.odd(status, "its answer has neither a result nor an error"))
            }
            Ok(_) => Err(self.odd(status, "its answer is not a JSON object")),
            Err(_) => Err(self.odd(status, "its answer is not JSON")),
        }
    }

    /// Makes all calls, and gives the result of each in their order: by one batch where the server
    /// takes batches, else by single calls at the same time.
    pub async fn all(&self, http: &reqwest::Client, asks: &[Ask]) -> Vec<Result<Json, CallError>> {
        if !self.no_batches.load(Ordering::Relaxed) {
            match self.batch(http, asks).await {
                Ok(answers) => return answers,
                Err(BatchError::Failed(error)) => {
                    return asks.iter().map(|_| Err(error.clone())).collect();
                }
                Err(BatchError::Unsupported) => {}
            }
        }
        let calls = asks.iter().map(|(method, params)| self.call(http, method, params));
        let answers = join_all(calls).await;
        if answers.iter().any(Result::is_ok) {
            self.no_batches.store(true, Ordering::Relaxed);
        }
        answers
    }

    async fn batch(
        &self,
        http: &reqwest::Client,
        asks: &[Ask],
    ) -> Result<Vec<Result<Json, CallError>>, BatchError> {
        let body: Json = asks
            .iter()
            .enumerate()
            .map(|(id, (method, params))| {
                json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
            })
            .collect();
        let (status, body) = self.post(http, &body).await.map_err(BatchError::Failed)?;
        let mut found = match serde_json::from_slice::<Json>(&body) {
            Ok(Json::Array(found)) if status.is_success() => found,
            Ok(Json::Object(mut answer)) => {
                let error = answer.get_mut("error").map(|error| self.answered(error.take()));
                return Err(match error {
                    Some(CallError::RateLimited(what)) => {
                        BatchError::Failed(CallError::RateLimited(what))
                    }
                    _ => BatchError::Unsupported,
                });
            }
            _ if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
                return Err(BatchError::Failed(self.odd(status, "its answer is no list")));
            }
            _ if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                return Err(BatchError::Failed(self.odd(status, "its answer is no list")));
            }
            _ => return Err(BatchError::Unsupported),
        };
        let mut any = false;
        let answers = asks.iter().enumerate().map(|(id, (method, _))| {
            let Some(answer) = found.iter_mut().find(|answer| answer["id"] == id) else {
                return Err(CallError::Odd(format!("the node gave no answer to {method}")));
            };
            any = true;
            if !answer["error"].is_null() {
                return Err(self.answered(answer["error"].take()));
            }
            answer
                .get_mut("result")
                .map(Json::take)
                .ok_or_else(|| self.odd(status, "an answer has neither a result nor an error"))
        });
        let answers: Vec<_> = answers.collect();
        if any { Ok(answers) } else { Err(BatchError::Unsupported) }
    }

    async fn post(
        &self,
        http: &reqwest::Client,
        body: &Json,
    ) -> Result<(StatusCode, Vec<u8>), CallError> {
        let client = self.client.as_ref().unwrap_or(http);
        let request = client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .headers(self.headers.clone())
            .body(body.to_string());
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            let wait = response.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok());
            let wait = wait.map(|wait| format!(", to be asked again after {}", excerpt(wait, 40)));
            return Err(CallError::RateLimited(format!("HTTP 429{}", wait.unwrap_or_default())));
        }
        Ok((status, self.bounded_body(response).await?))
    }

    async fn bounded_body(&self, mut response: reqwest::Response) -> Result<Vec<u8>, CallError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > MOST_BYTES {
                let shown = &self.shown;
                return Err(CallError::Odd(format!("the answer of {shown} exceeds 1 MiB")));
            }
            body.extend_from_slice(&chunk);
            // A buffer holds thousands of tiny chunks, and nobody would see the timeout meanwhile.
            tokio::task::consume_budget().await;
        }
        Ok(body)
    }

    /// The words for an answer that is none: the status where that is the reason.
    fn odd(&self, status: StatusCode, otherwise: &str) -> CallError {
        let shown = &self.shown;
        CallError::Odd(match status {
            _ if status.is_success() => {
                format!("{shown} does not speak JSON-RPC: {otherwise}")
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                format!("{shown} answered HTTP {status}: check the key")
            }
            _ => format!("{shown} answered HTTP {status}"),
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> CallError {
        let shown = &self.shown;
        let mut innermost: &dyn Error = error;
        let mut refused = false;
        let mut tls = None;
        while let Some(source) = innermost.source() {
            innermost = source;
            let Some(io) = innermost.downcast_ref::<io::Error>() else { continue };
            refused |= io.kind() == io::ErrorKind::ConnectionRefused;
            tls = tls.or_else(|| within(io));
        }
        CallError::Odd(if refused {
            format!("connection refused by {shown}: no server listens there")
        } else if let Some(tls) = tls {
            format!("{shown}: {}", tls::explain(tls))
        } else if error.is_timeout() {
            format!("timeout: {shown} did not answer")
        } else {
            let doing = if error.is_connect() { "cannot connect to" } else { "lost" };
            // The outermost text would name the URL.
            let why = match error.source() {
                Some(_) => innermost.to_string(),
                None => "the request failed".to_owned(),
            };
            format!("{doing} {shown}: {}", excerpt(&why, MOST_WORDS))
        })
    }

    fn answered(&self, mut error: Json) -> CallError {
        let message = match &error["message"] {
            Json::String(message) => excerpt(message, MOST_WORDS),
            // Some servers put the message where the object belongs.
            _ => excerpt(error.as_str().unwrap_or("without a message"), MOST_WORDS),
        };
        let code = error["code"].as_i64().unwrap_or(0);
        if self.unhealthy != Some(code) && is_rate_limit(code, &message) {
            return CallError::RateLimited(format!("error {code}: {message}"));
        }
        let data = error.get_mut("data").map(Json::take).unwrap_or_default();
        CallError::Answered { code, message, data }
    }
}

/// The trouble with TLS that an I/O error wraps, perhaps in another: it is not among its sources.
fn within(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref::<rustls::Error>().or_else(|| within(inner.downcast_ref::<io::Error>()?))
}

/// Whether an error says that the server is asked too often.
///
/// -32005 is "limit exceeded" of EIP-1474, -32029 that of several providers, and 429 stands for
/// the status of HTTP. Others keep a general code and say it in words. A query that would find
/// too much has a limit as well, but a different one.
fn is_rate_limit(code: i64, message: &str) -> bool {
    let words = message.to_lowercase();
    if words.contains("query returned more than") || words.contains("block range") {
        return false;
    }
    matches!(code, -32005 | -32029 | 429)
        || ["rate limit", "ratelimit", "too many requests", "request count exceeded", "throttled"]
            .iter()
            .any(|sign| words.contains(sign))
}
