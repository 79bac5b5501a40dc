//! Whom a connection trusts, and what a server showed that is not to be trusted.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::cell::RefCell;
use std::sync::{Arc, LazyLock, OnceLock};

/// The one provider of cryptography. It is named here, and not taken from the process, so that
/// nothing depends on who installed which default first.
pub static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

thread_local! {
    /// The certificates that were refused last on this thread. A verifier can say no more than an
    /// error, and one verifier serves many connections at the same time.
    static REFUSED: RefCell<Option<Vec<CertificateDer<'static>>>> = const { RefCell::new(None) };
}

/// Takes the certificates that a handshake refused on this thread, the server's own first.
///
/// A handshake verifies within one poll, so whoever asks right after that poll, on the thread
/// of it, gets those of its own connection.
pub fn take_refused() -> Option<Vec<CertificateDer<'static>>> {
    REFUSED.take()
}

/// A verifier that trusts the authorities of `roots`.
///
/// # Errors
///
/// In words.
pub fn web_pki(roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, String> {
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

/// Whom a connection trusts.
#[derive(Debug)]
pub enum Trust {
    /// Whom the machine trusts.
    System,
    /// The authorities of a file, and each certificate that stands in it.
    File {
        /// The authorities.
        authorities: Arc<WebPkiServerVerifier>,
        /// What the file holds.
        certificates: Vec<CertificateDer<'static>>,
    },
    /// Everybody.
    Anyone,
}

/// Verifies what servers show, and remembers for [`take_refused`] what it refused.
#[derive(Debug)]
pub struct Verifier {
    /// Whom it trusts.
    pub trust: Trust,
}

impl Verifier {
    fn verify(
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
        let verified = self.verify(end_entity, intermediates, server_name, ocsp_response, now);
        if verified.is_err() {
            let shown = std::iter::once(end_entity).chain(intermediates);
            let shown = shown.map(|certificate| certificate.clone().into_owned()).collect();
            REFUSED.set(Some(shown));
        }
        verified
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
