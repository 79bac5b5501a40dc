//! Whom a check trusts, as whom it shows itself, and what a server's certificates say.

mod certificate;
mod explain;
mod verify;

pub use certificate::{
    CERT_CHAIN_DAYS_LEFT, CERT_CHAIN_LENGTH, CERT_DAYS_LEFT, CERT_ISSUER, CERT_NAMES, CERT_SUBJECT,
    Chain, TELLING, days_left,
};
pub use explain::explain;
pub use verify::take_refused;

use crate::config::Section;
use crate::model::{FactSpec, FactType, OptionDoc, Timestamp};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use verify::{PROVIDER, Trust, Verifier, web_pki};

/// The option of [`TlsOptions::insecure_skip_verify`].
pub const INSECURE_SKIP_VERIFY: OptionDoc = OptionDoc::new(
    "insecure_skip_verify",
    "boolean",
    "false",
    "whether any certificate will do; its days are still counted. Anybody in between can read and \
     change what is said, so a warning comes at load; `ca_file` is the better way",
);

/// The option of [`TlsOptions::ca_file`].
pub const CA_FILE: OptionDoc = OptionDoc::new(
    "ca_file",
    "string",
    "",
    "a PEM file of certificates to trust in the place of the machine's own; a reload takes what it \
     holds then",
);

/// The option of the certificates of [`TlsOptions::identity`].
pub const CERT_FILE: OptionDoc = OptionDoc::new(
    "cert_file",
    "string",
    "",
    "a PEM file with the client certificate to show (mTLS), followed by those that lead to its \
     authority; a reload takes one that was renewed",
);

/// The option of the key of [`TlsOptions::identity`].
pub const KEY_FILE: OptionDoc = OptionDoc::new(
    "key_file",
    "string",
    "",
    "a PEM file with the key of the client certificate; absent: it stands in `cert_file`",
);

/// The option of [`Tls::server_name`].
pub const SERVER_NAME: OptionDoc = OptionDoc::new(
    "server_name",
    "string",
    "",
    "the name to ask for by SNI and to find in the certificate, in the place of the host",
);

/// How long the check's own certificate is valid.
pub const CLIENT_CERT_DAYS_LEFT: FactSpec = FactSpec::kept(
    "client_cert_days_left",
    FactType::Int,
    "days",
    "whole days until the certificate of `cert_file` expires; absent without one",
);

/// What a check's table says about trust.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// The certificates to trust in the place of the machine's own.
    pub ca_file: Option<CaFile>,
    /// What the check shows of itself.
    pub identity: Option<Arc<Identity>>,
    /// Whether any certificate will do. It is still read, so its facts are there.
    pub insecure_skip_verify: bool,
}

/// All that a connection needs.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Trust, identity and protocols.
    pub config: Arc<ClientConfig>,
    /// The name to ask for in the place of the host.
    pub server_name: Option<ServerName<'static>>,
    /// When the certificate expires that the check shows.
    pub identity_ends: Option<Timestamp>,
}

/// A file of certificates that was read.
#[derive(Clone, Debug)]
pub struct CaFile {
    /// Where it stands.
    pub path: PathBuf,
    /// What it holds; at least one.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// A client certificate and its key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl fmt::Debug for Identity {
    /// Leaves the key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

impl TlsOptions {
    /// Takes `ca_file` and `insecure_skip_verify`.
    fn read(section: &mut Section<'_>) -> Self {
        let place = section.place_of(CA_FILE.name);
        let ca_file = section.file(CA_FILE.name).and_then(|path| {
            CaFile::read(&path).map_err(|what| section.error_at(&place, what)).ok()
        });
        let place = section.place_of(INSECURE_SKIP_VERIFY.name);
        let insecure_skip_verify = section.or(INSECURE_SKIP_VERIFY.name, false);
        if insecure_skip_verify {
            let what = "the check takes any certificate, also that of somebody in between";
            section.report(place.warning(what).hint("`ca_file` names whom to trust instead"));
        }
        Self { ca_file, identity: None, insecure_skip_verify }
    }
}

impl CaFile {
    /// Reads the certificates of a PEM file.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, in words.
    pub fn read(path: &Path) -> Result<Self, String> {
        let file = Self { path: path.to_owned(), certificates: certificates_of(path)? };
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

fn certificates_of(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let pem = std::fs::read(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("{shown} is not a PEM file: {error}"))?;
    match certificates.is_empty() {
        true => Err(format!("{shown} holds no certificate (it is a PEM file)")),
        false => Ok(certificates),
    }
}

impl Identity {
    /// Reads a certificate, with those that lead to its authority, and its key from PEM files.
    ///
    /// # Errors
    ///
    /// What is wrong with the files, in words.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, String> {
        Self::of(certificates_of(certificate)?, key_of(key)?)
    }

    fn of(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, String> {
        rustls::sign::CertifiedKey::from_der(chain.clone(), key.clone_key(), &PROVIDER).map_err(
            |error| format!("the certificate and its key cannot be used together: {error}"),
        )?;
        Ok(Self { chain, key })
    }
}

fn key_of(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    // The error of a file that is not PEM does not quote it.
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| format!("cannot read a key from {}: {error}", path.display()))
}

/// Takes `cert_file` and `key_file`.
fn read_identity(section: &mut Section<'_>) -> Option<Arc<Identity>> {
    let is_named = section.has(CERT_FILE.name);
    let places = (section.place_of(CERT_FILE.name), section.place_of(KEY_FILE.name));
    let paths = (section.file(CERT_FILE.name), section.file(KEY_FILE.name));
    let (certificate, key) = match paths {
        (Some(certificate), key) => (certificate.clone(), key.unwrap_or(certificate)),
        (None, Some(_)) if !is_named => {
            section.error_at(&places.1, "is the key of a certificate that `cert_file` must name");
            return None;
        }
        (None, _) => return None,
    };
    let chain =
        certificates_of(&certificate).map_err(|what| section.error_at(&places.0, what)).ok()?;
    let key = key_of(&key).map_err(|what| section.error_at(&places.1, what)).ok()?;
    let identity = Identity::of(chain, key).map_err(|what| section.error_at(&places.0, what));
    identity.ok().map(Arc::new)
}

/// Takes the options of a check's table that say whom to trust, and gives what makes its TLS
/// connections.
pub fn read_config(section: &mut Section<'_>, alpn: &[&[u8]]) -> Option<Arc<ClientConfig>> {
    let options = TlsOptions::read(section);
    build(section, &options, alpn)
}

/// The same with what to show: `cert_file` and `key_file`.
pub fn read_mutual(section: &mut Section<'_>, alpn: &[&[u8]]) -> Option<Arc<ClientConfig>> {
    let mut options = TlsOptions::read(section);
    options.identity = read_identity(section);
    build(section, &options, alpn)
}

/// Takes all TLS options: whom to trust, what to show, which name to ask for.
pub fn read(section: &mut Section<'_>, alpn: &[&[u8]]) -> Option<Tls> {
    let mut options = TlsOptions::read(section);
    options.identity = read_identity(section);
    let server_name = section.built(SERVER_NAME.name, |text: String| {
        ServerName::try_from(text.trim_end_matches('.').to_owned())
            .map_err(|_| format!("`{text}` cannot be the name in a certificate"))
    });
    let shown = options.identity.as_deref().and_then(|identity| Chain::of(&identity.chain));
    let identity_ends = shown.map(|chain| chain.not_after);
    Some(Tls { config: build(section, &options, alpn)?, server_name, identity_ends })
}

fn build(
    section: &mut Section<'_>,
    options: &TlsOptions,
    alpn: &[&[u8]],
) -> Option<Arc<ClientConfig>> {
    client_config(options, alpn)
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
/// In words: the certificates of `ca_file`, or the client certificate, cannot be used.
pub fn client_config(options: &TlsOptions, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, String> {
    type Known = ([u8; 32], Weak<ClientConfig>);
    static SHARED: Mutex<Vec<Known>> = Mutex::new(Vec::new());

    let key = options.fingerprint(alpn);
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let known = shared.iter().find(|(known, _)| *known == key);
    if let Some(config) = known.and_then(|(_, config)| config.upgrade()) {
        return Ok(config);
    }
    let config = Arc::new(config_for(options, alpn)?);
    shared.retain(|(_, config)| config.strong_count() > 0);
    shared.push((key, Arc::downgrade(&config)));
    Ok(config)
}

impl TlsOptions {
    /// The same for options that make the same connections.
    fn fingerprint(&self, alpn: &[&[u8]]) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        };
        add(&[u8::from(self.insecure_skip_verify)]);
        let authorities = self.ca_file.iter().filter(|_| !self.insecure_skip_verify);
        for certificate in authorities.flat_map(|file| &file.certificates) {
            add(certificate);
        }
        add(&[]);
        if let Some(identity) = &self.identity {
            identity.chain.iter().for_each(|certificate| add(certificate));
            add(identity.key.secret_der());
        }
        add(&[]);
        alpn.iter().for_each(|protocol| add(protocol));
        hash.finalize().into()
    }

    fn trust(&self) -> Result<Trust, String> {
        match &self.ca_file {
            _ if self.insecure_skip_verify => Ok(Trust::Anyone),
            None => Ok(Trust::System),
            Some(file) => Ok(Trust::File {
                authorities: web_pki(file.roots()?)?,
                certificates: file.certificates.clone(),
            }),
        }
    }
}

fn config_for(options: &TlsOptions, alpn: &[&[u8]]) -> Result<ClientConfig, String> {
    let unusable = |error: rustls::Error| format!("cannot set up TLS: {error}");
    let builder = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { trust: options.trust()? }));
    let mut config = match &options.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(unusable)?,
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    // A resumed session shows the certificate of the first one, not the one in use now.
    config.resumption = Resumption::disabled();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::{CaFile, TlsOptions, client_config};
    use crate::check::testing::{Authority, file};
    use std::path::Path;
    use std::sync::Arc;

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
            let options = TlsOptions { insecure_skip_verify, ..TlsOptions::default() };
            client_config(&options, alpn).expect("a configuration")
        };
        let first = config(false, &[b"http/1.1"]);
        assert!(Arc::ptr_eq(&first, &config(false, &[b"http/1.1"])));
        assert!(!Arc::ptr_eq(&first, &config(true, &[b"http/1.1"])));
        assert!(!Arc::ptr_eq(&first, &config(false, &[])));
    }
}
