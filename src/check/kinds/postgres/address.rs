//! Where a PostgreSQL server is and how it is reached: a URL as libpq reads it.

use crate::check::support::dial::Target;
use crate::check::support::hide::decoded;
use crate::check::support::tls::{CaFile, Identity, TlsOptions, client_config};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use url::{Host, Url};

/// The parameters of a URL that are read. See
/// <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS>.
const PARAMETERS: &[&str] = &[
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// Where a server is, and who asks it for what.
#[derive(Clone, Debug)]
pub struct Address {
    /// The way to it.
    pub way: Way,
    /// The role that logs in.
    pub user: String,
    /// Its password, where the URL has one.
    pub password: Option<String>,
    /// The database; the role's name where the URL has none.
    pub database: String,
    /// Settings for the server's command line, such as `-c search_path=app`.
    pub options: Option<String>,
    /// Whether the connection is encrypted.
    pub encryption: Encryption,
}

/// The way to a server.
#[derive(Clone, Debug)]
pub enum Way {
    /// By TCP; the name is the one that a certificate has to be for.
    Tcp { target: Target, name: Host },
    /// By the socket in a folder.
    Socket(PathBuf),
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { target, .. } => target.fmt(f),
            Self::Socket(path) => path.display().fmt(f),
        }
    }
}

/// Whether a connection is encrypted: `sslmode`.
#[derive(Clone, Debug)]
pub enum Encryption {
    /// Never.
    Off,
    /// Where the server offers it, whoever it is.
    IfOffered(Arc<ClientConfig>),
    /// Or there is no connection.
    Needed(Arc<ClientConfig>),
}

/// An address, and the parameters of its URL that are not read.
pub type Read = (Address, Vec<String>);

/// The files that a URL names, as they stand there.
pub fn files(url: &Url) -> Vec<PathBuf> {
    let names = url
        .query_pairs()
        .filter(|(name, _)| matches!(plain_name(name), "sslrootcert" | "sslcert" | "sslkey"));
    names.map(|(_, path)| PathBuf::from(&*path)).collect()
}

/// The name of a parameter that other clients spell otherwise.
fn plain_name(name: &str) -> &str {
    match name {
        "ssl-mode" => "sslmode",
        "ssl-ca" | "ssl-root-cert" => "sslrootcert",
        "ssl-cert" => "sslcert",
        "ssl-key" => "sslkey",
        _ => name,
    }
}

impl Address {
    /// Reads a URL; paths in it are relative to `base`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words that hold no secret.
    pub fn read(url: &Url, base: &Path) -> Result<Read, String> {
        let mut ignored = Vec::new();
        let mut parameters: Vec<(String, String)> = Vec::new();
        for (name, value) in url.query_pairs().into_owned() {
            let plain = plain_name(&name);
            if PARAMETERS.contains(&plain) {
                parameters.push((plain.to_owned(), value));
            } else {
                ignored.push(name);
            }
        }
        let given = |name: &str| {
            let last = parameters.iter().rev().find(|(known, _)| known == name);
            last.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
        };
        let part = |text: &str| Some(decoded(text)).filter(|text| !text.is_empty());

        let port = match given("port") {
            Some(port) => port.parse().map_err(|_| format!("`{port}` is no port"))?,
            None => url.port().unwrap_or(5432),
        };
        let host = given("host").or_else(|| url.host_str().and_then(part));
        let way = match host.or_else(|| given("hostaddr")) {
            Some(path) if path.starts_with('/') => {
                Way::Socket(Path::new(&path).join(format!(".s.PGSQL.{port}")))
            }
            host => {
                let parse = |text: &str| Host::parse(text).map_err(|_| format!("no host `{text}`"));
                let name = parse(host.as_deref().unwrap_or("localhost"))?;
                let host = match given("hostaddr") {
                    Some(address) => parse(&address)?,
                    None => name.clone(),
                };
                Way::Tcp { target: Target { host, port }, name }
            }
        };
        let user = given("user").or_else(|| part(url.username()));
        // As libpq does: the name of whoever runs this.
        let user = user.or_else(|| std::env::var("USER").ok());
        let user = user.unwrap_or_else(|| "postgres".to_owned());
        let database = given("dbname").or_else(|| part(url.path().trim_start_matches('/')));
        let encryption = encryption(&given, base)?;
        let address = Self {
            database: database.unwrap_or_else(|| user.clone()),
            password: given("password").or_else(|| url.password().and_then(part)),
            options: given("options"),
            way,
            user,
            encryption,
        };
        Ok((address, ignored))
    }
}

/// Reads what `sslmode`, `sslrootcert`, `sslcert` and `sslkey` say together.
///
/// As with libpq, `require` checks the chain of the certificate where authorities are given, and
/// nothing where not. Unlike libpq, `verify-full` without any trusts the machine's own.
fn encryption(given: &dyn Fn(&str) -> Option<String>, base: &Path) -> Result<Encryption, String> {
    let mode = given("sslmode").unwrap_or_else(|| "prefer".to_owned());
    let root = given("sslrootcert").filter(|root| root != "system");
    let authorities = match root {
        Some(root) => Some(CaFile::read(&base.join(root))?),
        None => None,
    };
    let identity = match (given("sslcert"), given("sslkey")) {
        (Some(certificate), Some(key)) => {
            Some(Arc::new(Identity::read(&base.join(certificate), &base.join(key))?))
        }
        (None, None) => None,
        (Some(_), None) => return Err("has sslcert, but no sslkey".to_owned()),
        (None, Some(_)) => return Err("has sslkey, but no sslcert".to_owned()),
    };
    let trusting = |ca_file, insecure_skip_verify| {
        let identity = identity.clone();
        client_config(&TlsOptions { ca_file, identity, insecure_skip_verify }, &[])
    };
    let anyone = || trusting(None, true);
    let config = match (mode.as_str(), &authorities) {
        ("disable" | "allow", _) => return Ok(Encryption::Off),
        ("prefer", _) | ("require", None) => anyone()?,
        ("require" | "verify-ca", Some(authorities)) => {
            let mut config = ClientConfig::clone(&*anyone()?);
            let chain = ChainOnly::of(authorities, &config)?;
            config.dangerous().set_certificate_verifier(Arc::new(chain));
            Arc::new(config)
        }
        ("verify-ca", None) => {
            return Err("sslmode=verify-ca needs sslrootcert=PATH, or use verify-full".to_owned());
        }
        ("verify-full", _) => trusting(authorities, false)?,
        (other, _) => {
            return Err(format!(
                "there is no sslmode `{other}` (disable, prefer, require, verify-ca, verify-full)"
            ));
        }
    };
    Ok(if mode == "prefer" { Encryption::IfOffered(config) } else { Encryption::Needed(config) })
}

/// Verifies that a certificate comes from an authority, whatever name it is for.
#[derive(Debug)]
struct ChainOnly {
    whole: Arc<WebPkiServerVerifier>,
    listed: Vec<CertificateDer<'static>>,
}

impl ChainOnly {
    fn of(authorities: &CaFile, config: &ClientConfig) -> Result<Self, String> {
        let roots = Arc::new(authorities.roots()?);
        let provider = Arc::clone(config.crypto_provider());
        let whole = WebPkiServerVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(|error| format!("cannot set up TLS: {error}"))?;
        Ok(Self { whole, listed: authorities.certificates.clone() })
    }
}

impl ServerCertVerifier for ChainOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if self.listed.contains(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        let verify = &self.whole;
        // The name is looked at last, so that a wrong one means that all else is right.
        match verify.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        {
            Err(TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.whole.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.whole.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.whole.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, Encryption};
    use std::path::Path;
    use url::Url;

    fn read(url: &str) -> Result<(Address, Vec<String>), String> {
        Address::read(&Url::parse(url).expect("a URL"), Path::new("/nonexistent"))
    }

    #[test]
    fn a_url_is_read_as_libpq_reads_it() {
        let check = |url: &str, expected: &str| {
            let (address, _) = read(url).expect("an address");
            let Address { way, user, password, database, .. } = address;
            let password = password.unwrap_or_default();
            assert_eq!(format!("{way} {user} {password} {database}"), expected, "{url}");
        };
        check("postgres://a:p%40s@db.example/orders", "db.example:5432 a p@s orders");
        check("postgresql://a@[::1]:6432", "[::1]:6432 a  a");
        check("postgres://a@db.example?port=7&dbname=x&password=y", "db.example:7 a y x");
        check("postgres://a@%2Frun%2Fpg/x", "/run/pg/.s.PGSQL.5432 a  x");
        check("postgres:///x?host=/run/pg&user=u&port=1", "/run/pg/.s.PGSQL.1 u  x");
        check("postgres://a@db.example/x?hostaddr=10.0.0.1", "10.0.0.1:5432 a  x");
    }

    #[test]
    fn what_sslmode_wants_is_there_or_told() {
        let mode = |rest: &str| match read(&format!("postgres://a@h/x?{rest}")) {
            Ok((address, _)) => match address.encryption {
                Encryption::Off => "off".to_owned(),
                Encryption::IfOffered(_) => "if offered".to_owned(),
                Encryption::Needed(_) => "needed".to_owned(),
            },
            Err(what) => what,
        };
        assert_eq!(mode(""), "if offered");
        assert_eq!(mode("sslmode=disable"), "off");
        assert_eq!(mode("sslmode=require"), "needed");
        assert_eq!(mode("sslmode=verify-full"), "needed");
        assert_eq!(mode("ssl-mode=verify-full&sslrootcert=system"), "needed");
        for (rest, word) in [
            ("sslmode=verify-ca", "needs sslrootcert"),
            ("sslmode=require&sslcert=a.pem", "no sslkey"),
            ("sslmode=verify-full&sslrootcert=ca.pem", "cannot read /nonexistent/ca.pem"),
        ] {
            assert!(mode(rest).contains(word), "{rest}: {}", mode(rest));
        }
    }
}
