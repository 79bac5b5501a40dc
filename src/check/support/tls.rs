//! Whom a check trusts, and what a server's certificate says.

use crate::config::Section;
use crate::model::{FactSpec, FactType, Facts, OptionDoc, Timestamp};
use rustls::client::Resumption;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore,
    SignatureScheme,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

/// The option of [`TlsOptions::insecure_skip_verify`].
pub const INSECURE_SKIP_VERIFY: OptionDoc = OptionDoc::new(
    "insecure_skip_verify",
    "boolean",
    "false",
    "whether any certificate will do; its days are still counted",
);

/// The option of [`TlsOptions::ca_file`].
pub const CA_FILE: OptionDoc = OptionDoc::new(
    "ca_file",
    "string",
    "",
    "a PEM file of certificates to trust in the place of the machine's own",
);

/// The fact of a [`Certificate`].
pub const CERT_DAYS_LEFT: FactSpec = FactSpec::kept(
    "cert_days_left",
    FactType::Int,
    "days",
    "whole days until the certificate expires; absent without TLS",
);

/// What a check's table says about trust.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// The certificates to trust in the place of the machine's own.
    pub ca_file: Option<CaFile>,
    /// Whether any certificate will do. It is still read, so its facts are there.
    pub insecure_skip_verify: bool,
}

/// A file of certificates that was read.
#[derive(Clone, Debug)]
pub struct CaFile {
    /// Where it stands.
    pub path: PathBuf,
    /// What it holds; at least one.
    pub certificates: Vec<CertificateDer<'static>>,
}

impl TlsOptions {
    /// Takes `ca_file` and `insecure_skip_verify`.
    fn read(section: &mut Section<'_>) -> Self {
        let place = section.place_of(CA_FILE.name);
        let ca_file = section.path(CA_FILE.name).and_then(|path| {
            CaFile::read(&path).map_err(|what| section.error_at(&place, what)).ok()
        });
        Self { ca_file, insecure_skip_verify: section.or(INSECURE_SKIP_VERIFY.name, false) }
    }
}

impl CaFile {
    /// Reads the certificates of a PEM file.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, in words.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let pem = std::fs::read(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
        let certificates = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("{shown} is not a PEM file: {error}"))?;
        if certificates.is_empty() {
            return Err(format!("{shown} holds no certificate (it is a PEM file)"));
        }
        let file = Self { path: path.to_owned(), certificates };
        file.roots()?;
        Ok(file)
    }

    /// The certificates as authorities.
    ///
    /// # Errors
    ///
    /// One of them cannot be used, in words.
    pub fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        for certificate in &self.certificates {
            roots.add(certificate.clone()).map_err(|error| {
                format!("{} holds a certificate that cannot be used: {error}", self.path.display())
            })?;
        }
        Ok(roots)
    }
}

/// Takes the options of a check's table, and gives what makes its TLS connections.
pub fn read_config(section: &mut Section<'_>, alpn: &[&[u8]]) -> Option<Arc<ClientConfig>> {
    let options = TlsOptions::read(section);
    client_config(&options, alpn)
        .map_err(|what| {
            let place = section.place().clone();
            section.error_at(&place, what);
        })
        .ok()
}

/// What makes a TLS connection for `options`, offering the protocols of `alpn`.
///
/// Configurations that differ in no option are shared, so that many checks cost one. The machine's
/// trusted certificates are loaded at the first handshake that needs them and kept.
///
/// # Errors
///
/// In words: the certificates of `ca_file` cannot be used.
pub fn client_config(options: &TlsOptions, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, String> {
    type Known = (bool, Vec<Vec<u8>>, Arc<ClientConfig>);
    static SHARED: Mutex<Vec<Known>> = Mutex::new(Vec::new());

    let Some(file) = &options.ca_file else {
        let insecure = options.insecure_skip_verify;
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let known = shared.iter().find(|(other, protocols, _)| {
            *other == insecure && protocols.iter().map(Vec::as_slice).eq(alpn.iter().copied())
        });
        if let Some((_, _, config)) = known {
            return Ok(Arc::clone(config));
        }
        let trust = if insecure { Trust::Anyone } else { Trust::System };
        let config = config_for(trust, alpn)?;
        let protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        shared.push((insecure, protocols, Arc::clone(&config)));
        return Ok(config);
    };
    if options.insecure_skip_verify {
        return config_for(Trust::Anyone, alpn);
    }
    let authorities = web_pki(file.roots()?)?;
    config_for(Trust::File { authorities, certificates: file.certificates.clone() }, alpn)
}

/// What is known of a server's own certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// When it expires.
    pub not_after: Timestamp,
}

impl Certificate {
    /// Reads a certificate in DER; `None` if it is not one.
    pub fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        let seconds = certificate.validity().not_after.timestamp();
        Some(Self { not_after: Timestamp::from_millis(seconds.saturating_mul(1000)) })
    }

    /// Writes down what is left of it at `now`, as [`CERT_DAYS_LEFT`].
    pub fn note(self, now: Timestamp, facts: &mut Facts) {
        facts.set(CERT_DAYS_LEFT.name, self.days_left(now));
    }

    /// Whole days until it expires; below zero once it has.
    fn days_left(self, now: Timestamp) -> i64 {
        const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
        self.not_after.as_millis().saturating_sub(now.as_millis()).div_euclid(DAY_MILLIS)
    }
}

/// A failed TLS connection in words, and what it tells of the certificate.
pub fn explain(error: &rustls::Error) -> (String, Option<Certificate>) {
    use rustls::Error;
    let what = match error {
        Error::InvalidCertificate(problem) => {
            let certificate = match problem {
                CertificateError::ExpiredContext { not_after, .. } => {
                    Some(Certificate { not_after: timestamp(*not_after) })
                }
                _ => None,
            };
            return (format!("TLS: {}", explain_certificate(problem)), certificate);
        }
        Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "the server does not speak HTTP/1.1 here".to_owned()
        }
        Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            "the server speaks neither TLS 1.2 nor 1.3".to_owned()
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server wants a client certificate".to_owned()
        }
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "the server does not know the name".to_owned()
        }
        Error::AlertReceived(alert) => format!("the server refused the connection ({alert:?})"),
        Error::InvalidMessage(_) => "the server does not speak TLS on this port".to_owned(),
        Error::General(what) => what.clone(),
        other => other.to_string(),
    };
    (format!("TLS: {what}"), None)
}

fn explain_certificate(problem: &CertificateError) -> String {
    match problem {
        CertificateError::Expired => "certificate expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("certificate expired on {}", day(*not_after))
        }
        CertificateError::NotValidYet => "certificate is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("certificate is not valid before {}", day(*not_before))
        }
        CertificateError::UnknownIssuer => {
            "certificate is not from an authority that is trusted (`ca_file` names others)"
                .to_owned()
        }
        CertificateError::NotValidForName => "certificate is for another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            const SHOWN: usize = 5;
            let names: Vec<&str> =
                presented.iter().take(SHOWN).map(|name| plain_name(name)).collect();
            let names = match (names.is_empty(), presented.len() > SHOWN) {
                (true, _) => "no name at all".to_owned(),
                (false, false) => names.join(", "),
                (false, true) => format!("{}, …", names.join(", ")),
            };
            format!("certificate is for {}, not {}", super::excerpt(&names, 300), expected.to_str())
        }
        CertificateError::Revoked => "certificate is revoked".to_owned(),
        CertificateError::BadEncoding => "certificate cannot be read".to_owned(),
        CertificateError::BadSignature => {
            "certificate is not signed by the authority that it names".to_owned()
        }
        other => format!("certificate is not valid: {other}"),
    }
}

/// rustls gives a presented name as `DnsName("a.example")` or `IpAddress(1.2.3.4)`.
fn plain_name(presented: &str) -> &str {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(presented).trim_matches('"')
}

fn day(time: UnixTime) -> String {
    timestamp(time).to_datetime().format("%Y-%m-%d").to_string()
}

fn timestamp(time: UnixTime) -> Timestamp {
    Timestamp::from_millis(i64::try_from(time.as_secs()).unwrap_or(i64::MAX).saturating_mul(1000))
}

/// The one provider of cryptography. It is named here, and not taken from the process, so that
/// nothing depends on who installed which default first.
static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

fn config_for(trust: Trust, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, String> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("cannot set up TLS: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { trust }))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    // A resumed session shows the certificate of the first one, not the one in use now.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn web_pki(roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, String> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&PROVIDER))
        .build()
        .map_err(|error| format!("cannot set up TLS: {error}"))
}

/// The machine's trusted certificates, loaded once.
fn system() -> Result<&'static Arc<WebPkiServerVerifier>, rustls::Error> {
    static SYSTEM: OnceLock<Result<Arc<WebPkiServerVerifier>, String>> = OnceLock::new();
    let loaded = SYSTEM.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(found.certs);
        if usable == 0 {
            let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
            return Err(format!(
                "this machine has no trusted certificates (install ca-certificates and restart, \
                 or set `ca_file`){why}"
            ));
        }
        web_pki(roots)
    });
    loaded.as_ref().map_err(|what| rustls::Error::General(what.clone()))
}

#[derive(Debug)]
enum Trust {
    System,
    File { authorities: Arc<WebPkiServerVerifier>, certificates: Vec<CertificateDer<'static>> },
    Anyone,
}

#[derive(Debug)]
struct Verifier {
    trust: Trust,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authorities = match &self.trust {
            Trust::Anyone => return Ok(ServerCertVerified::assertion()),
            Trust::System => system()?,
            Trust::File { certificates, .. } if certificates.contains(end_entity) => {
                return verify_listed(end_entity, server_name, now);
            }
            Trust::File { authorities, .. } => authorities,
        };
        authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        algorithms().supported_schemes()
    }
}

fn algorithms() -> &'static WebPkiSupportedAlgorithms {
    &PROVIDER.signature_verification_algorithms
}

/// Verifies a server's certificate that stands in `ca_file` itself.
///
/// `openssl req -x509` marks a self-signed certificate as an authority, and webpki refuses an
/// authority as a server's own. Being listed says all about trust; name and time are left.
fn verify_listed(
    end_entity: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, rustls::Error> {
    let (_, parsed) = x509_parser::parse_x509_certificate(end_entity)
        .map_err(|_| CertificateError::BadEncoding)?;
    let unix = |time: x509_parser::time::ASN1Time| {
        let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
    };
    let (not_before, not_after) =
        (unix(parsed.validity().not_before), unix(parsed.validity().not_after));
    if now < not_before {
        return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
    }
    if now > not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
    }
    rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
    Ok(ServerCertVerified::assertion())
}

#[cfg(test)]
mod tests {
    use super::{CaFile, Certificate, TlsOptions, client_config};
    use crate::check::testing::{Authority, file};
    use crate::model::Timestamp;
    use std::path::Path;
    use std::sync::Arc;

    #[test]
    fn days_left_are_whole_days_and_go_below_zero() {
        const DAY: i64 = 24 * 60 * 60 * 1000;
        let certificate = Certificate { not_after: Timestamp::from_millis(100 * DAY) };
        let check = |now, expected| {
            assert_eq!(certificate.days_left(Timestamp::from_millis(now)), expected);
        };
        check(90 * DAY, 10);
        check(90 * DAY + 1, 9);
        check(100 * DAY, 0);
        check(100 * DAY + 1, -1);
    }

    #[test]
    fn a_file_without_usable_certificates_is_refused_with_its_name() {
        let check = |text, expected: &str| {
            let file = file(text);
            let what = CaFile::read(file.path()).expect_err("a problem");
            let what = what.replace(&file.path().display().to_string(), "FILE");
            assert!(what.starts_with(expected), "{what}");
        };
        check("", "FILE holds no certificate");
        check("-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n", "FILE is not a");
        check(
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "FILE holds a certificate that cannot be used",
        );
        let missing = CaFile::read(Path::new("/nonexistent/ca.pem")).expect_err("a problem");
        assert!(missing.starts_with("cannot read /nonexistent/ca.pem"), "{missing}");
        let both = format!("{}{}", Authority::new().pem, Authority::new().pem);
        assert_eq!(CaFile::read(file(&both).path()).map(|file| file.certificates.len()), Ok(2));
    }

    #[test]
    fn checks_with_the_same_trust_share_one_configuration() {
        let config = |insecure_skip_verify, alpn: &[&[u8]]| {
            let options = TlsOptions { ca_file: None, insecure_skip_verify };
            client_config(&options, alpn).expect("a configuration")
        };
        let first = config(false, &[b"http/1.1"]);
        assert!(Arc::ptr_eq(&first, &config(false, &[b"http/1.1"])));
        assert!(!Arc::ptr_eq(&first, &config(true, &[b"http/1.1"])));
        assert!(!Arc::ptr_eq(&first, &config(false, &[])));
    }
}
