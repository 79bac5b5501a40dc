//! Tokens by OAuth 2.0 client credentials (RFC 6749, section 4.4).

use super::hop::Hop;
use crate::check::support::exchange::Body;
use crate::check::support::{self, USER_AGENT, excerpt, headers};
use crate::config::Section;
use crate::model::Secret;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value as Json;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use url::form_urlencoded;

/// The bytes of a token endpoint's answer that are read.
pub const MAX_ANSWER: usize = 64 * 1024;

/// A token is not used in the last part of its life, so that it does not end on its way: a tenth of
/// it, at most a minute.
const MARGIN: (u32, Duration) = (10, Duration::from_secs(60));

/// Where tokens come from, and the one in use.
pub struct OAuth {
    /// The request for one.
    pub hop: Hop,
    /// The secrets of that request.
    secrets: Vec<Secret>,
    current: Mutex<Option<Token>>,
}

impl fmt::Debug for OAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth").field("target", &self.hop.target).finish_non_exhaustive()
    }
}

/// A token that is good for now.
#[derive(Clone, Debug)]
pub struct Token {
    /// The `Authorization` to send.
    pub header: HeaderValue,
    /// The token itself.
    pub secret: Secret,
    /// Until when it is used, by the monotonic clock; none where nobody said how long it lives.
    until: Option<Duration>,
}

impl OAuth {
    /// Takes `oauth2`.
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let mut table = section.table("oauth2")?;
        let place = table.place_of("token_url");
        let url = support::required_url(&mut table, "token_url", &["https", "http"]);
        let id = table.required::<String>("client_id");
        let secret = table.required::<Secret>("client_secret");
        let scopes = table.or("scopes", Vec::<String>::new());
        let audience = table.optional::<String>("audience");
        let in_body = table.built("client_auth", |text: String| match text.as_str() {
            "basic" => Ok(false),
            "post" => Ok(true),
            _ => Err(format!("`{text}` is neither basic nor post")),
        });
        section.finish_child(table);
        let (url, id, secret) = (url?, id?, secret?);

        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if !scopes.is_empty() {
            form.append_pair("scope", &scopes.join(" "));
        }
        if let Some(audience) = &audience {
            form.append_pair("audience", audience);
        }
        let mut head = HeaderMap::new();
        if in_body.unwrap_or(false) {
            form.append_pair("client_id", &id).append_pair("client_secret", secret.expose());
        } else {
            // Section 2.3.1 wants both encoded as in a form before they are put together.
            let encoded = |text: &str| -> String {
                form_urlencoded::byte_serialize(text.as_bytes()).collect()
            };
            let basic = headers::basic(&encoded(&id), &encoded(secret.expose()))?;
            head.insert(AUTHORIZATION, basic);
        }
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        head.insert(CONTENT_TYPE, form_type);
        head.insert(ACCEPT, HeaderValue::from_static("application/json"));
        head.insert(http::header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        let hop = Hop::new(url, Method::POST, head, Bytes::from(form.finish()))
            .map_err(|what| section.error_at(&place, what))
            .ok()?;
        Some(Self { hop, secrets: vec![secret], current: Mutex::default() })
    }

    /// The secrets that are known at load.
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// The token in use, if it is still good at `now`, by the monotonic clock.
    pub fn current(&self, now: Duration) -> Option<Token> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.clone().filter(|token| token.until.is_none_or(|until| now < until))
    }

    /// Takes the text of the token in use out of `text`.
    pub fn hide<'a>(&self, text: std::borrow::Cow<'a, str>) -> std::borrow::Cow<'a, str> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(token) if text.contains(token.secret.expose()) => {
                token.secret.redact(&text).into()
            }
            _ => text,
        }
    }

    /// Forgets the token in use: the server does not take it any more.
    pub fn forget(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Reads the token endpoint's answer, which came at `now`, and keeps the token.
    ///
    /// # Errors
    ///
    /// Why there is none, in words.
    pub fn accept(&self, status: StatusCode, body: &Body, now: Duration) -> Result<Token, String> {
        let json: Json = serde_json::from_slice(&body.bytes).unwrap_or_default();
        let text = |key: &str| json.get(key).and_then(Json::as_str);
        if !status.is_success() {
            let mut what = format!("OAuth2: the token endpoint answered {}", status.as_u16());
            for word in [text("error"), text("error_description")].into_iter().flatten() {
                what.push_str(": ");
                what.push_str(&excerpt(word, 200));
            }
            return Err(what);
        }
        let token = text("access_token").filter(|token| !token.is_empty());
        let Some(token) = token else {
            return Err("OAuth2: the token endpoint's answer holds no `access_token`".to_owned());
        };
        let kind = text("token_type").unwrap_or("Bearer");
        if !kind.eq_ignore_ascii_case("bearer") {
            let kind = excerpt(kind, 40);
            return Err(format!("OAuth2: a token of type `{kind}` cannot be used, only Bearer"));
        }
        let unfit = "OAuth2: the token holds what a header cannot";
        let header = headers::bearer(token).ok_or(unfit)?;
        let life = json.get("expires_in").and_then(|life| match life {
            Json::String(text) => text.parse().ok(),
            other => other.as_f64().map(|seconds| seconds as u64),
        });
        let until = life.map(|seconds: u64| {
            let life = Duration::from_secs(seconds);
            now.saturating_add(life - (life / MARGIN.0).min(MARGIN.1))
        });
        let token = Token { header, secret: Secret::new(token), until };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(token)
    }
}
