//! Request headers as a check's table gives them.

use crate::config::Section;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, PROXY_AUTHORIZATION, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::collections::BTreeMap;
use url::Url;

/// Takes `headers`: a table of names and texts. All values count as sensitive, since anything may
/// stand in them, and are shown by no `Debug`.
pub fn read(section: &mut Section<'_>) -> HeaderMap {
    section.built("headers", build).unwrap_or_default()
}

/// The `Authorization` header of basic authentication (RFC 7617).
pub fn basic(username: &str, password: &str) -> Option<HeaderValue> {
    sensitive(&format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
}

/// The `Authorization` header of a bearer token (RFC 6750); `None` if it holds what a header
/// cannot.
pub fn bearer(token: &str) -> Option<HeaderValue> {
    sensitive(&format!("Bearer {token}"))
}

/// User and password of a URL as they are meant; empty where there is none.
pub fn userinfo(url: &Url) -> (String, String) {
    let password = url.password().unwrap_or_default();
    (percent_decoded(url.username()), percent_decoded(password))
}

/// Takes user and password out of a URL, as a header.
pub fn take_userinfo(url: &mut Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let (username, password) = userinfo(url);
    let header = basic(&username, &password);
    // Both fail only for URLs that cannot have a host, and those have no user either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    header
}

/// What an `Authorization` holds: the token, or the password and both together as they are sent.
pub fn secrets(headers: &HeaderMap) -> Vec<String> {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some((scheme, sent)) = value.and_then(|value| value.split_once(' ')) else {
        return Vec::new();
    };
    let mut secrets = vec![sent.to_owned()];
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = STANDARD.decode(sent).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let decoded = decoded.as_deref().and_then(|both| both.split_once(':'));
        secrets.extend(decoded.map(|(_, password)| password.to_owned()));
    }
    secrets
}

/// Whether a header probably says who is asking, and so is not for another host to see.
pub fn is_credential(name: &HeaderName) -> bool {
    *name == AUTHORIZATION
        || *name == PROXY_AUTHORIZATION
        || *name == COOKIE
        || ["token", "key", "secret", "auth", "password", "session"]
            .iter()
            .any(|word| name.as_str().contains(word))
}

/// The value of `Host`: the port only where it is not the scheme's own.
pub fn host(url: &Url) -> Option<HeaderValue> {
    let host = url.host_str()?;
    match url.port() {
        None => HeaderValue::from_str(host).ok(),
        Some(port) => HeaderValue::from_str(&format!("{host}:{port}")).ok(),
    }
}

fn build(table: BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::with_capacity(table.len());
    for (name, value) in table {
        let Ok(header) = HeaderName::try_from(&name) else {
            return Err(format!("`{name}` is not the name of a header"));
        };
        if header == CONTENT_LENGTH || header == TRANSFER_ENCODING {
            return Err(format!("`{name}` follows from the body and cannot be set"));
        }
        let Some(value) = sensitive(&value) else {
            return Err(format!("the value of `{name}` holds a line break or a control character"));
        };
        headers.insert(header, value);
    }
    Ok(headers)
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        let escaped = (byte == b'%').then(|| text.get(index + 1..index + 3)).flatten();
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                decoded.push(value);
                index += 3;
            }
            None => {
                decoded.push(byte);
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{build, host, is_credential, take_userinfo};
    use http::HeaderName;
    use std::collections::BTreeMap;
    use url::Url;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[test]
    fn a_user_in_the_url_becomes_basic_authentication_and_leaves_the_url() {
        let mut url = url("http://ad%6Din:p%40ss@a.example/x");
        let header = take_userinfo(&mut url).expect("a header");
        assert_eq!(header.as_bytes(), b"Basic YWRtaW46cEBzcw==");
        assert_eq!(url.as_str(), "http://a.example/x");
        assert_eq!(take_userinfo(&mut url), None);
    }

    #[test]
    fn the_host_header_names_a_port_only_where_it_is_unusual() {
        let check = |text, expected: &str| assert_eq!(host(&url(text)).expect("a host"), expected);
        check("http://a.example:80/", "a.example");
        check("https://a.example:80/", "a.example:80");
        check("http://[::1]:8080/", "[::1]:8080");
        check("https://[::1]/", "[::1]");
    }

    #[test]
    fn headers_that_say_who_asks_are_known() {
        for name in ["authorization", "cookie", "x-api-key", "x-auth-token"] {
            assert!(is_credential(&HeaderName::from_static(name)), "{name}");
        }
        for name in ["accept", "content-type", "x-request-id"] {
            assert!(!is_credential(&HeaderName::from_static(name)), "{name}");
        }
    }

    #[test]
    fn a_value_can_neither_inject_a_header_nor_show_in_debug_output() {
        let table = |name: &str, value: &str| BTreeMap::from([(name.into(), value.into())]);
        assert!(build(table("X-A", "1\r\nX-B: 2")).is_err());
        assert!(build(table("Content-Length", "7")).is_err());
        assert!(build(table("two words", "7")).is_err());
        let headers = build(table("X-Api-Key", "hunter2")).expect("headers");
        assert!(!format!("{headers:?}").contains("hunter2"));
    }
}
