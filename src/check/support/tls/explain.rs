//! Why a TLS connection failed, in words that a person understands.

use crate::model::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError};

/// A failed TLS connection in words.
pub fn explain(error: &rustls::Error) -> String {
    use rustls::Error;
    let what = match error {
        Error::InvalidCertificate(problem) => explain_certificate(problem),
        Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            "the server does not speak the HTTP version that is asked for".to_owned()
        }
        Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            "the server speaks neither TLS 1.2 nor 1.3".to_owned()
        }
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server wants a client certificate (`cert_file` and `key_file`)".to_owned()
        }
        Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA),
        ) => format!("the server refused the client certificate ({alert:?})"),
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "the server does not know the name".to_owned()
        }
        Error::AlertReceived(alert) => format!("the server refused the connection ({alert:?})"),
        Error::InvalidMessage(_) => "the server does not speak TLS on this port".to_owned(),
        Error::General(what) => what.clone(),
        other => other.to_string(),
    };
    format!("TLS: {what}")
}

fn explain_certificate(problem: &CertificateError) -> String {
    match problem {
        CertificateError::Expired => "certificate expired".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => {
            let days = time.as_secs().saturating_sub(not_after.as_secs()) / (24 * 60 * 60);
            let ago = match days {
                0 => "less than a day ago".to_owned(),
                1 => "a day ago".to_owned(),
                days => format!("{days} days ago"),
            };
            format!("certificate expired {ago}, on {}", day(*not_after))
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
            format!(
                "certificate is for {}, not {}",
                crate::check::support::excerpt(&names, 300),
                expected.to_str()
            )
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
