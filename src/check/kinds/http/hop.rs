//! One request and where it goes.

use crate::check::support::dial::Target;
use crate::check::support::{excerpt, headers};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, PROXY_AUTHORIZATION};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use url::{Position, Url};

/// One request and where it goes, ready to be sent any number of times.
#[derive(Clone)]
pub struct Hop {
    /// What is asked for, without user and password.
    pub url: Url,
    /// Where it stands.
    pub target: Target,
    /// Whether by TLS.
    pub secure: bool,
    /// The method.
    pub method: Method,
    /// Path and query, which is all that an origin server is sent.
    uri: Uri,
    /// The headers, `Host` among them.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// In which form a request is sent.
#[derive(Clone, Copy, Debug)]
pub enum Form<'a> {
    /// As HTTP/1.1 sends it to an origin server.
    Origin,
    /// As HTTP/1.1 sends it to a proxy, with what the proxy wants to know of who asks.
    Proxy(Option<&'a HeaderValue>),
    /// As HTTP/2 sends it.
    Http2,
}

impl Hop {
    /// A request. User and password of the URL become its authorization.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL, in words.
    pub fn new(
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
        let uri = Uri::try_from(&url[Position::BeforePath..Position::AfterQuery])
            .map_err(|error| format!("cannot be asked for: {error}"))?;
        if !headers.contains_key(HOST) {
            headers.insert(HOST, headers::host(&url).ok_or("names no host")?);
        }
        let secure = url.scheme() == "https";
        Ok(Self { url, target, secure, method, uri, headers, body })
    }

    /// The request as it is sent in `form`.
    ///
    /// # Errors
    ///
    /// It cannot be sent so, in words.
    pub fn request(&self, form: Form<'_>) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
        *request.uri_mut() = match form {
            Form::Origin => self.uri.clone(),
            Form::Proxy(authorization) => {
                if let Some(value) = authorization {
                    request.headers_mut().insert(PROXY_AUTHORIZATION, value.clone());
                }
                self.absolute(None)?
            }
            Form::Http2 => {
                let host = request.headers_mut().remove(HOST);
                self.absolute(host.as_ref())?
            }
        };
        Ok(request)
    }

    fn absolute(&self, host: Option<&HeaderValue>) -> Result<Uri, String> {
        let unfit = |error: http::Error| format!("cannot be asked for: {error}");
        let whole = Uri::try_from(&self.url[..Position::AfterQuery]);
        let mut parts = whole.map_err(|error| unfit(error.into()))?.into_parts();
        if let Some(host) = host {
            let authority = Authority::try_from(host.as_bytes());
            parts.authority = Some(authority.map_err(|error| unfit(error.into()))?);
        }
        Uri::from_parts(parts).map_err(|error| unfit(error.into()))
    }

    /// What may be shown of it: a query may hold what nobody should see.
    pub fn shown(&self) -> String {
        excerpt(&self.url[..Position::AfterPath], 200)
    }

    /// The request that an answer to this one asks for (RFC 9110, section 15.4).
    ///
    /// # Errors
    ///
    /// Where it leads, if nobody should go there, in words.
    pub fn redirected(&self, status: StatusCode, location: &HeaderValue) -> Result<Self, String> {
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

/// Whether credentials for one URL may go to another: the same host and port, or the same host
/// when a server moves a visitor from http to https on the usual ports.
fn is_same_site(from: &Url, to: &Url) -> bool {
    let ports = (from.port_or_known_default(), to.port_or_known_default());
    let weaker = from.scheme() == "https" && to.scheme() == "http";
    from.host() == to.host()
        && !weaker
        && (ports.0 == ports.1 || ports == (Some(80), Some(443)) && to.scheme() == "https")
}
