use super::problem::Place;
use super::section::Section;
use crate::model::{Labels, Secret, Severity, Timestamp};
use chrono::{DateTime, Days, NaiveDate, NaiveTime};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use url::{Origin, Url};

/// The status API.
#[derive(Debug)]
pub struct ApiSettings {
    /// The address that it listens on.
    pub listen: SocketAddr,
    /// The Unix socket that it listens on as well.
    pub socket: Option<PathBuf>,
    /// What it shows of itself on `listen`; plain HTTP without.
    pub tls: Option<TlsFiles>,
    /// Whose word is taken for where a request came from; this machine's always is.
    pub trusted_proxies: Vec<IpNet>,
    /// The web pages elsewhere whose scripts may read the API.
    pub allow_origins: Origins,
    /// Whether the status page needs no key.
    pub public_status: bool,
    /// The keys, unchecked.
    pub keys: Vec<RawKey>,
    /// What opens the addresses of heartbeats by slug, beside the keys that may push.
    pub ping_key: Option<Secret>,
    /// What a ping with `?create=1` makes; nothing if absent.
    pub created: Option<CreatedHeartbeats>,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7117)),
            socket: None,
            tls: None,
            trusted_proxies: Vec::new(),
            allow_origins: Origins::default(),
            public_status: true,
            keys: Vec::new(),
            ping_key: None,
            created: None,
        }
    }
}

/// A certificate of the API's own, and its key.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// PEM: the certificate, then those that lead to its authority.
    pub cert_file: PathBuf,
    /// PEM: the key.
    pub key_file: PathBuf,
    /// Where they are named, for problems that show later.
    pub place: Place,
}

/// Web pages, by scheme, host and port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// None but the API's own.
    #[default]
    None,
    /// These, written as browsers do: `https://grafana.example`.
    These(Vec<String>),
    /// Every one.
    Any,
}

/// What a ping with `?create=1` to a slug that does not exist makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedHeartbeats {
    /// How long after a ping the next one is due.
    pub period: Duration,
    /// How late it may be.
    pub grace: Duration,
    /// The severity of its incidents.
    pub severity: Severity,
    /// The labels.
    pub labels: Labels,
    /// How many there may be.
    pub at_most: usize,
}

/// One `[[api.key]]`.
#[derive(Debug)]
pub struct RawKey {
    /// Who uses it.
    pub name: String,
    /// The key itself, or its hash (`sha256:…`).
    pub key: KeyMaterial,
    /// What it may do: `read`, `operate`, `push`.
    pub scopes: Vec<(String, Place)>,
    /// From when on it opens nothing any more.
    pub expires: Option<Timestamp>,
    /// Where the key or its hash stands, for problems that show later.
    pub place: Place,
}

/// A key, or only its hash.
#[derive(Debug)]
pub enum KeyMaterial {
    /// The key in plain.
    Plain(Secret),
    /// `sha256:` and 64 hexadecimal digits.
    Hash(String),
}

pub(super) fn read_api(table: &mut Section<'_>, api: &mut ApiSettings) {
    let listen = table.built("listen", |text: String| {
        text.parse()
            .map_err(|_| format!("`{text}` is not an address and port such as 127.0.0.1:7117"))
    });
    if let Some(listen) = listen {
        api.listen = listen;
    }
    api.socket = table.path("socket");
    let place = table.place_of("tls");
    if let Some(mut tls) = table.table("tls") {
        let (cert_file, key_file) = (tls.path("cert_file"), tls.path("key_file"));
        match (cert_file, key_file) {
            (Some(cert_file), Some(key_file)) => {
                api.tls = Some(TlsFiles { cert_file, key_file, place });
            }
            _ => tls.error_at(&place, "needs both `cert_file` and `key_file`"),
        }
        table.finish_child(tls);
    }
    for (text, place) in table.strings("trusted_proxies") {
        let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        match network {
            Ok(network) => api.trusted_proxies.push(network),
            Err(_) => table.error_at(
                &place,
                format!("`{text}` is no address or network such as 10.0.0.7 or 10.0.0.0/8"),
            ),
        }
    }
    api.allow_origins = read_origins(table);
    api.public_status = table.or("public_status", true);
    api.ping_key = table.built("ping_key", read_ping_key);
    if let Some(mut created) = table.table("create_heartbeats") {
        api.created = Some(read_created(&mut created));
        table.finish_child(created);
    }
    for mut key in table.tables("key") {
        api.keys.extend(read_key(&mut key));
        table.finish_child(key);
    }
}

fn read_origins(table: &mut Section<'_>) -> Origins {
    let mut origins = Vec::new();
    let mut any = false;
    for (text, place) in table.strings("allow_origins") {
        if text == "*" {
            any = true;
            continue;
        }
        match Url::parse(&text).map(|url| (url.origin(), url)) {
            Ok((origin @ Origin::Tuple(..), url)) if url.path() == "/" => {
                origins.push(origin.ascii_serialization());
            }
            _ => table.error_at(
                &place,
                format!("`{text}` is no origin such as https://grafana.example, nor `*`"),
            ),
        }
    }
    match (any, origins.is_empty()) {
        (true, _) => Origins::Any,
        (false, true) => Origins::None,
        (false, false) => Origins::These(origins),
    }
}

fn read_key(key: &mut Section<'_>) -> Option<RawKey> {
    let table_place = key.place().clone();
    let place = key.place_of(if key.has("key_hash") { "key_hash" } else { "key" });
    let name = key.required::<String>("name");
    let material = match (key.secret("key"), key.optional::<String>("key_hash")) {
        (Some(plain), None) => Some(KeyMaterial::Plain(plain)),
        (None, Some(hash)) => Some(KeyMaterial::Hash(hash)),
        (None, None) => {
            key.error_at(&table_place, "needs `key` or `key_hash`");
            None
        }
        (Some(_), Some(_)) => {
            key.error_at(&place, "has both `key` and `key_hash`; one says it all");
            None
        }
    };
    let scopes = if key.has("scopes") {
        key.strings("scopes")
    } else {
        vec![("read".to_owned(), table_place)]
    };
    let expires = key.built("expires", |text: String| read_end(&text));
    Some(RawKey { name: name?, key: material?, scopes, expires, place })
}

/// A time, or a day that counts to its end, in UTC.
fn read_end(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc().into());
    }
    let day = text.parse::<NaiveDate>().ok().and_then(|day| day.checked_add_days(Days::new(1)));
    day.map(|next| next.and_time(NaiveTime::MIN).and_utc().into())
        .ok_or_else(|| format!("`{text}` is no day such as 2031-05-01, nor a time of RFC 3339"))
}

/// The shortest key that opens the addresses by slug.
const SHORTEST_PING_KEY: usize = 16;

fn read_ping_key(key: Secret) -> Result<Secret, String> {
    let text = key.expose();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if text.chars().all(fits) && text.len() >= SHORTEST_PING_KEY {
        return Ok(key);
    }
    Err(format!(
        "is no key for a URL: it has at least {SHORTEST_PING_KEY} letters, digits, `-` and `_`"
    ))
}

fn read_created(table: &mut Section<'_>) -> CreatedHeartbeats {
    let default = CreatedHeartbeats {
        period: Duration::from_secs(86_400),
        grace: Duration::from_secs(3600),
        severity: Severity::Critical,
        labels: Labels::new(),
        at_most: 100,
    };
    let span = |text: String| super::checks::positive(&text);
    CreatedHeartbeats {
        period: table.built("period", span).unwrap_or(default.period),
        grace: table.built("grace", span).unwrap_or(default.grace),
        severity: table.or("severity", default.severity),
        labels: table.or("labels", default.labels),
        at_most: table.or("at_most", default.at_most),
    }
}

#[cfg(test)]
mod tests {
    use super::read_end;

    #[test]
    fn a_day_counts_to_its_end() {
        let check = |text: &str, expected: Option<&str>| {
            let end = read_end(text).ok().map(|end| end.to_string());
            assert_eq!(end.as_deref(), expected, "{text}");
        };
        check("2031-05-01", Some("2031-05-02T00:00:00.000Z"));
        check("2031-05-01T08:00:00+02:00", Some("2031-05-01T06:00:00.000Z"));
        check("2031-02-30", None);
        check("soon", None);
    }
}
