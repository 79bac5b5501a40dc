use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// The certificate that the API shows. Once its files change, new connections see the new one.
pub struct Certificate {
    cert_file: PathBuf,
    key_file: PathBuf,
    config: Arc<ServerConfig>,
    current: Arc<Current>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("cert_file", &self.cert_file).finish_non_exhaustive()
    }
}

/// What is shown now.
struct Current(ArcSwap<Read>);

/// What was read, with a hash of both files.
struct Read {
    key: Arc<CertifiedKey>,
    hash: [u8; 32],
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().key))
    }
}

/// Why a certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{} cannot be read: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no {what} in PEM: {error}", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What should stand in it.
        what: &'static str,
        /// Why not.
        error: pem::Error,
    },
    /// The two do not belong together, or are of a kind that is not known.
    #[error("{0}")]
    Pair(#[from] rustls::Error),
}

impl Certificate {
    /// Reads both files.
    ///
    /// # Errors
    /// One of them cannot be read, or they do not fit together.
    pub fn read(cert_file: &Path, key_file: &Path) -> Result<Arc<Self>, CertificateError> {
        let first = read(cert_file, key_file)?;
        let current = Arc::new(Current(ArcSwap::from_pointee(first)));
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&current) as _;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(Self {
            cert_file: cert_file.to_owned(),
            key_file: key_file.to_owned(),
            config: Arc::new(config),
            current,
        }))
    }

    /// What agrees with clients.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// Takes what the files hold now. Gives whether that is something new; where it cannot be
    /// used, what was there before stays.
    ///
    /// # Errors
    /// As for [`Certificate::read`].
    pub fn refresh(&self) -> Result<bool, CertificateError> {
        let read = read(&self.cert_file, &self.key_file)?;
        let is_new = self.current.0.load().hash != read.hash;
        if is_new {
            self.current.0.store(Arc::new(read));
        }
        Ok(is_new)
    }

    /// Follows the files until `stop`.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut told = None;
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            let this = Arc::clone(&self);
            let Ok(refreshed) = tokio::task::spawn_blocking(move || this.refresh()).await else {
                continue;
            };
            match refreshed {
                Ok(is_new) => {
                    told = None;
                    if is_new {
                        tracing::info!(file = %self.cert_file.display(), "the API shows a new certificate");
                    }
                }
                Err(error) => {
                    // Said once, not each time: a renewal writes one file after the other.
                    let words = error.to_string();
                    if told.as_ref() != Some(&words) {
                        tracing::warn!(error = words, "the API goes on with its old certificate");
                        told = Some(words);
                    }
                }
            }
        }
    }
}

fn read(cert_file: &Path, key_file: &Path) -> Result<Read, CertificateError> {
    let bytes = |path: &Path| {
        let failed = |error| CertificateError::File { path: path.to_owned(), error };
        std::fs::read(path).map_err(failed)
    };
    let (cert_pem, key_pem) = (bytes(cert_file)?, bytes(key_file)?);
    let none =
        |path: &Path, what, error| CertificateError::Pem { path: path.to_owned(), what, error };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&cert_pem).collect();
    let chain = chain.and_then(|chain| match chain.is_empty() {
        true => Err(pem::Error::NoItemsFound),
        false => Ok(chain),
    });
    let chain = chain.map_err(|error| none(cert_file, "certificate", error))?;
    let key = PrivateKeyDer::from_pem_slice(&key_pem);
    let key = key.map_err(|error| none(key_file, "private key", error))?;
    let key = CertifiedKey::new(chain, any_supported_type(&key)?);
    key.keys_match()?;
    let hash = Sha256::new().chain_update(&cert_pem).chain_update(&key_pem).finalize().into();
    Ok(Read { key: Arc::new(key), hash })
}

#[cfg(test)]
mod tests {
    use super::Certificate;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use std::fs;

    #[test]
    fn a_renewed_certificate_takes_the_place_of_the_old_one_and_a_broken_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let write = |pair: &CertifiedKey<rcgen::KeyPair>| {
            fs::write(&cert, pair.cert.pem()).unwrap();
            fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
        };
        let pair = || generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let failed = Certificate::read(&cert, &key).unwrap_err().to_string();
        assert!(failed.contains("cert.pem cannot be read"), "{failed}");
        write(&pair());
        let certificate = Certificate::read(&cert, &key).unwrap();
        assert!(!certificate.refresh().unwrap());
        write(&pair());
        assert!(certificate.refresh().unwrap());
        fs::write(&cert, pair().cert.pem()).unwrap();
        assert!(certificate.refresh().is_err(), "the key is that of another certificate");
        fs::write(&cert, "rubbish").unwrap();
        let failed = certificate.refresh().unwrap_err().to_string();
        assert!(failed.contains("cert.pem holds no certificate in PEM"), "{failed}");
        write(&pair());
        assert!(certificate.refresh().unwrap());
    }
}
