//! What a check shows of itself to a server that wants to know: a client certificate.

use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::path::Path;
use std::sync::Arc;

/// `config` that shows the certificate (with its chain) of one PEM file and proves it by the key
/// of another, or of the same.
///
/// # Errors
///
/// What is wrong with the files, in words.
pub fn with_client_certificate(
    config: &ClientConfig,
    certificate: &Path,
    key: &Path,
) -> Result<Arc<ClientConfig>, String> {
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("{} is not a PEM file: {error}", certificate.display()))?;
    if chain.is_empty() {
        return Err(format!("{} holds no certificate (it is a PEM file)", certificate.display()));
    }
    let shown = key.display();
    let key = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|error| format!("{shown} holds no usable private key: {error}"))?;
    let identity = CertifiedKey::from_der(chain, key, config.crypto_provider())
        .map_err(|error| format!("{shown} does not go with the certificate: {error}"))?;
    let mut config = config.clone();
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(identity));
    Ok(Arc::new(config))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
