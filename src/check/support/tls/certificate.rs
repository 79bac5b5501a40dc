//! What the certificates say that a server shows.

use crate::check::support::excerpt;
use crate::model::{Fact, FactSpec, FactType, Facts, Timestamp};
use rustls::pki_types::CertificateDer;
use serde_json::Value as Json;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use x509_parser::extensions::GeneralName;

/// Whole days until the server's own certificate expires.
pub const CERT_DAYS_LEFT: FactSpec = FactSpec::kept(
    "cert_days_left",
    FactType::Int,
    "days",
    "whole days until the certificate expires; absent without TLS",
);

/// The same of all certificates that the server shows.
pub const CERT_CHAIN_DAYS_LEFT: FactSpec = FactSpec::kept(
    "cert_chain_days_left",
    FactType::Int,
    "days",
    "whole days until the first certificate of the whole chain expires; absent without TLS",
);

/// How many certificates a server shows.
pub const CERT_CHAIN_LENGTH: FactSpec = FactSpec {
    name: "cert_chain_length",
    ty: FactType::Int,
    unit: "",
    summary: "how many certificates the server shows; 1 where it forgot those in between",
    kept: false,
};

/// Whose certificate it is.
pub const CERT_SUBJECT: FactSpec = FactSpec::passing(
    "cert_subject",
    FactType::Text,
    "whose certificate it is, such as `CN=shop.example`; kept where the check is not well",
);

/// Who signed it.
pub const CERT_ISSUER: FactSpec = FactSpec::passing(
    "cert_issuer",
    FactType::Text,
    "who signed the certificate, such as `C=US, O=Let's Encrypt, CN=R11`; kept where the check \
     is not well",
);

/// The names that it is for.
pub const CERT_NAMES: FactSpec = FactSpec::passing(
    "cert_names",
    FactType::Any,
    "list of the names and addresses that the certificate is for; kept where the check is not well",
);

/// The facts of a chain that are worth keeping where a check is not well.
pub const TELLING: [FactSpec; 4] = [CERT_SUBJECT, CERT_ISSUER, CERT_NAMES, CERT_CHAIN_LENGTH];

/// What is known of the certificates that a server shows, its own first.
#[derive(Debug)]
pub struct Chain {
    /// When the server's own certificate expires.
    pub not_after: Timestamp,
    /// When the first of all expires.
    earliest: Timestamp,
    length: i64,
    subject: Fact,
    issuer: Fact,
    names: Fact,
}

impl Chain {
    /// Reads certificates in DER; `None` if the first is not one.
    ///
    /// Servers show the same ones again and again, so what was read is remembered.
    pub fn of(shown: &[CertificateDer<'_>]) -> Option<Arc<Self>> {
        /// Chains that are remembered at most; far more than most daemons ever see.
        const MOST: usize = 4096;
        static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        static KNOWN: LazyLock<Mutex<HashMap<u64, Arc<Chain>>>> = LazyLock::new(Mutex::default);

        let key = KEYS.hash_one(shown);
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chain) = known.get(&key) {
            return Some(Arc::clone(chain));
        }
        let chain = Arc::new(Self::read(shown)?);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(key, Arc::clone(&chain));
        Some(chain)
    }

    fn read(shown: &[CertificateDer<'_>]) -> Option<Self> {
        let (_, own) = x509_parser::parse_x509_certificate(shown.first()?).ok()?;
        let expiry = |certificate: &x509_parser::certificate::X509Certificate<'_>| {
            let seconds = certificate.validity().not_after.timestamp();
            Timestamp::from_millis(seconds.saturating_mul(1000))
        };
        let not_after = expiry(&own);
        let others = shown.iter().skip(1).filter_map(|der| {
            let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
            Some(expiry(&certificate))
        });
        let shortened = |text: String| Fact::from(excerpt(&text, 300));
        Some(Self {
            not_after,
            earliest: others.fold(not_after, Timestamp::min),
            length: i64::try_from(shown.len()).unwrap_or(i64::MAX),
            subject: shortened(own.subject().to_string()),
            issuer: shortened(own.issuer().to_string()),
            names: Fact::from(Json::Array(names(&own))),
        })
    }

    /// Writes down how long the server's own certificate is valid still, as [`CERT_DAYS_LEFT`].
    pub fn note_days(&self, now: Timestamp, facts: &mut Facts) {
        facts.set(CERT_DAYS_LEFT.name, days_left(self.not_after, now));
    }

    /// Writes down all that is known.
    pub fn note(&self, now: Timestamp, facts: &mut Facts) {
        self.note_days(now, facts);
        facts.set(CERT_CHAIN_DAYS_LEFT.name, days_left(self.earliest, now));
        facts.set(CERT_CHAIN_LENGTH.name, self.length);
        facts.set(CERT_SUBJECT.name, self.subject.clone());
        facts.set(CERT_ISSUER.name, self.issuer.clone());
        facts.set(CERT_NAMES.name, self.names.clone());
    }
}

/// Whole days from `now` until `end`; below zero once it is over.
pub fn days_left(end: Timestamp, now: Timestamp) -> i64 {
    const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
    end.as_millis().saturating_sub(now.as_millis()).div_euclid(DAY_MILLIS)
}

fn names(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Vec<Json> {
    /// Names that are told at most.
    const MOST: usize = 50;
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(Json::from(excerpt(name, 255))),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
            let six = <[u8; 16]>::try_from(*bytes).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)));
            four.or(six).ok().map(|address| Json::from(address.to_string()))
        }
        _ => None,
    };
    alternatives.value.general_names.iter().filter_map(name).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::days_left;
    use crate::model::Timestamp;

    #[test]
    fn days_left_are_whole_days_and_go_below_zero() {
        const DAY: i64 = 24 * 60 * 60 * 1000;
        let check = |now, expected| {
            let end = Timestamp::from_millis(100 * DAY);
            assert_eq!(days_left(end, Timestamp::from_millis(now)), expected);
        };
        check(90 * DAY, 10);
        check(90 * DAY + 1, 9);
        check(100 * DAY, 0);
        check(100 * DAY + 1, -1);
    }
}
