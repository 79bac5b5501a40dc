//! One JSON-RPC server, and a call to it.

use crate::check::support::hide::Hidden;
use crate::check::support::value::excerpt;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value as Json, json};
use std::error::Error;
use std::fmt;
use std::io;
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
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.shown).finish()
    }
}

/// Why a call gave no result.
#[derive(Debug)]
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
    /// Anything else, in words.
    Odd(String),
}

impl Endpoint {
    /// A server at `url` that is sent `headers`.
    pub fn new(url: Url, headers: HeaderMap) -> Self {
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
        Self { url, headers, shown, hidden }
    }

    /// `text` without what is secret about this server.
    pub fn clean(&self, text: &str) -> String {
        self.hidden.clean(text)
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
        let request = http
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .headers(self.headers.clone())
            .body(body.to_string());
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            let wait = response.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok());
            let wait = wait.map(|wait| format!(", to be asked again after {}", excerpt(wait, 40)));
            let shown = &self.shown;
            let wait = wait.unwrap_or_default();
            return Err(CallError::Odd(format!("rate limited by {shown} (HTTP 429){wait}")));
        }
        let body = self.bounded_body(response).await?;
        match serde_json::from_slice::<Json>(&body) {
            Ok(Json::Object(mut answer)) => {
                // An error object says more than the status that it came with.
                if let Some(error) = answer.get_mut("error").filter(|error| !error.is_null()) {
                    return Err(answered(error.take()));
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

    async fn bounded_body(&self, mut response: reqwest::Response) -> Result<Vec<u8>, CallError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > MOST_BYTES {
                let shown = &self.shown;
                return Err(CallError::Odd(format!("the answer of {shown} exceeds 1 MiB")));
            }
            body.extend_from_slice(&chunk);
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
        while let Some(source) = innermost.source() {
            innermost = source;
            refused |= innermost
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        }
        CallError::Odd(if refused {
            format!("connection refused by {shown}: no server listens there")
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
}

fn answered(mut error: Json) -> CallError {
    let message = match &error["message"] {
        Json::String(message) => excerpt(message, MOST_WORDS),
        // Some servers put the message where the object belongs.
        _ => excerpt(error.as_str().unwrap_or("without a message"), MOST_WORDS),
    };
    let code = error["code"].as_i64().unwrap_or(0);
    let data = error.get_mut("data").map(Json::take).unwrap_or_default();
    CallError::Answered { code, message, data }
}
