//! By which way a check reaches its target: IP version, resolver, proxy.

use super::Target;
use crate::check::support::headers;
use crate::config::Section;
use crate::model::{OptionDoc, Secret};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use url::{Host, Url};

/// The option of [`Route::ip_version`].
pub const IP_VERSION: OptionDoc = OptionDoc::new(
    "ip_version",
    "integer",
    "",
    "4 or 6 to use only addresses of that version; absent: whichever answers first",
)
.or("string");

/// The option of [`Route::resolver`].
pub const RESOLVER: OptionDoc = OptionDoc::new(
    "resolver",
    "string",
    "",
    "the name server to ask for the address, such as 1.1.1.1 or ns.example:5353; absent: the \
     machine's own way, its hosts file included",
);

/// The option of [`Route::proxy`].
pub const PROXY: OptionDoc = OptionDoc::new(
    "proxy",
    "string",
    "",
    "the proxy to go through: http:// (CONNECT for TLS), socks5:// or socks5h:// (which looks names \
     up itself), with user and password where it wants them; none from the environment is used",
);

/// By which way a target is reached.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// Which addresses will do.
    pub ip_version: IpVersion,
    /// The name server to ask, in the place of the system's way.
    pub resolver: Option<Target>,
    /// The proxy to go through.
    pub proxy: Option<Proxy>,
}

/// Which addresses will do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpVersion {
    /// All.
    #[default]
    Any,
    /// IPv4 only.
    Four,
    /// IPv6 only.
    Six,
}

impl IpVersion {
    /// Whether `address` is of this version.
    pub fn fits(self, address: &SocketAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Four => address.is_ipv4(),
            Self::Six => address.is_ipv6(),
        }
    }
}

impl fmt::Display for IpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "IP",
            Self::Four => "IPv4",
            Self::Six => "IPv6",
        })
    }
}

/// A proxy and how it wants to be asked.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Where it listens.
    pub target: Target,
    /// What it speaks.
    pub manner: Manner,
}

/// What a proxy speaks.
#[derive(Clone, Debug)]
pub enum Manner {
    /// HTTP (RFC 9110, section 9.3.6).
    Http {
        /// The `Proxy-Authorization` to send, if any.
        authorization: Option<HeaderValue>,
    },
    /// SOCKS 5 (RFC 1928, RFC 1929).
    Socks {
        /// Who asks, if it wants to know.
        user: Option<(String, Secret)>,
        /// Whether it is given names to look up itself.
        looks_up: bool,
    },
}

impl Proxy {
    /// What must not show where somebody repeats what the proxy was asked.
    pub fn secrets(&self) -> Vec<String> {
        match &self.manner {
            Manner::Http { authorization } => {
                let sent = authorization.iter().map(|value| (AUTHORIZATION, value.clone()));
                headers::secrets(&sent.collect())
            }
            Manner::Socks { user, .. } => {
                user.iter().map(|(_, password)| password.expose().to_owned()).collect()
            }
        }
    }

    /// Whether it speaks HTTP, and so takes plain requests as a whole.
    pub const fn is_http(&self) -> bool {
        matches!(self.manner, Manner::Http { .. })
    }
}

impl Route {
    /// Takes `ip_version`, `resolver` and `proxy`.
    pub fn read(section: &mut Section<'_>) -> Self {
        let ip_version = section.built(IP_VERSION.name, |value: toml::Value| {
            match value.to_string().trim_matches('"') {
                "4" => Ok(IpVersion::Four),
                "6" => Ok(IpVersion::Six),
                _ => Err(format!("{value} is neither 4 nor 6")),
            }
        });
        let resolver = section.built(RESOLVER.name, |text: String| {
            let what = format!("`{text}` is no name server (such as 1.1.1.1 or ns.example:5353)");
            read_server(&text).ok_or(what)
        });
        let place = section.place_of(PROXY.name);
        let proxy = section
            .url(PROXY.name, &["http", "socks5", "socks5h"])
            .and_then(|url| read_proxy(url).map_err(|what| section.error_at(&place, what)).ok());
        Self { ip_version: ip_version.unwrap_or_default(), resolver, proxy }
    }
}

fn read_server(text: &str) -> Option<Target> {
    const PORT: u16 = 53;
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Some(Target { host: Host::Ipv6(address), port: PORT });
    }
    Target::parse(text).or_else(|| Some(Target { host: Host::parse(text).ok()?, port: PORT }))
}

fn read_proxy(mut url: Url) -> Result<Proxy, String> {
    /// Where SOCKS proxies listen (RFC 1928).
    const SOCKS_PORT: u16 = 1080;
    let scheme = url.scheme().to_owned();
    let (user, password) = headers::userinfo(&url);
    let authorization = headers::take_userinfo(&mut url);
    let host = url.host_str().and_then(|host| Host::parse(host).ok()).ok_or("names no host")?;
    let default = if scheme == "http" { 80 } else { SOCKS_PORT };
    let target = Target { host, port: url.port().unwrap_or(default) };
    if scheme == "http" {
        return Ok(Proxy { target, manner: Manner::Http { authorization } });
    }
    // RFC 1929: both have a length of one byte, and zero is not among its values.
    let fits = |text: &str| (1..=255).contains(&text.len());
    let user = match (&*user, &*password) {
        ("", "") => None,
        (user, password) if fits(user) && fits(password) => {
            Some((user.to_owned(), Secret::new(password)))
        }
        _ => return Err("user and password of a SOCKS proxy have 1 to 255 bytes each".to_owned()),
    };
    Ok(Proxy { target, manner: Manner::Socks { user, looks_up: scheme == "socks5h" } })
}

#[cfg(test)]
mod tests {
    use super::{Manner, read_proxy};
    use url::Url;

    #[test]
    fn a_proxy_is_read_with_its_port_and_its_user() {
        let check = |text: &str, expected: &str| {
            let shown = match read_proxy(Url::parse(text).expect("a URL")) {
                Err(what) => what,
                Ok(proxy) => {
                    let manner = match &proxy.manner {
                        Manner::Http { authorization: None } => "http".to_owned(),
                        Manner::Http { authorization: Some(value) } => {
                            format!("http {}", String::from_utf8_lossy(value.as_bytes()))
                        }
                        Manner::Socks { user: None, looks_up } => format!("socks {looks_up}"),
                        Manner::Socks { user: Some((user, password)), looks_up } => {
                            format!("socks {looks_up} {user} {}", password.expose())
                        }
                    };
                    assert!(!format!("{proxy:?}").contains("p@ss"), "{proxy:?}");
                    format!("{} {manner}", proxy.target)
                }
            };
            assert_eq!(shown, expected, "{text}");
        };
        check("http://proxy.example", "proxy.example:80 http");
        check("http://a:p%40ss@[::1]:3128", "[::1]:3128 http Basic YTpwQHNz");
        check("socks5://127.0.0.1", "127.0.0.1:1080 socks false");
        check("socks5h://a:p%40ss@10.0.0.1:9050", "10.0.0.1:9050 socks true a p@ss");
        check("socks5://a@10.0.0.1", "user and password of a SOCKS proxy have 1 to 255 bytes each");
    }
}
