//! Why a protected connection could not be made, in words that say what to do.

use crate::model::Timestamp;
use crate::render::clean;
use rustls::pki_types::UnixTime;
use rustls::{CertificateError, Error};
use std::error::Error as StdError;
use std::io;

/// How many names of a certificate are told.
const NAMES: usize = 5;

/// What TLS has against the server, if that is why `error` came up.
pub fn tls_problem(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(problem) = error.downcast_ref::<Error>() {
            return Some(words(problem));
        }
        // An I/O error does not name what it wraps among its causes.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(problem) = inner.and_then(|inner| inner.downcast_ref::<Error>()) {
            return Some(words(problem));
        }
        cause = error.source();
    }
    None
}

fn words(problem: &Error) -> String {
    match problem {
        Error::InvalidCertificate(problem) => {
            format!("the certificate of the server {}", about_certificate(problem))
        }
        Error::InvalidMessage(_) => "the server does not speak TLS from the first byte on this \
                                     port: it may be one for `tls = \"starttls\"`"
            .to_owned(),
        Error::AlertReceived(alert) => format!("the server refused the TLS connection ({alert:?})"),
        Error::PeerIncompatible(_) => {
            "the server speaks neither TLS 1.2 nor 1.3 with a cipher that is known here: it needs \
             an update"
                .to_owned()
        }
        other => format!("TLS: {other}"),
    }
}

fn about_certificate(problem: &CertificateError) -> String {
    match problem {
        CertificateError::Expired => "expired: it must be renewed there".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("expired on {}: it must be renewed there", day(*not_after))
        }
        CertificateError::NotValidYet => {
            "is not valid yet: is the clock of this machine right?".to_owned()
        }
        CertificateError::NotValidYetContext { not_before, .. } => {
            let day = day(*not_before);
            format!("is not valid before {day}: is the clock of this machine right?")
        }
        CertificateError::UnknownIssuer => {
            "comes from an authority that this machine does not trust: name the authority's file \
             with `ca_file`"
                .to_owned()
        }
        CertificateError::NotValidForName => {
            "is for another name: set `host` to the name that it bears".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            match names(presented) {
                Some(names) => format!(
                    "is for {names}, not for {expected}: set `host` to a name that it bears"
                ),
                None => format!("bears no name, so it is not for {expected}: it must be replaced"),
            }
        }
        CertificateError::Revoked => "was revoked: it must be replaced there".to_owned(),
        CertificateError::BadEncoding => "cannot be read: it must be replaced there".to_owned(),
        CertificateError::BadSignature => {
            "is not signed by the authority that it names: somebody may be listening in".to_owned()
        }
        other => format!("is not valid: {other}"),
    }
}

/// The names that a certificate bears; rustls gives one as `DnsName("a.example")` or
/// `IpAddress(1.2.3.4)`.
fn names(presented: &[String]) -> Option<String> {
    let plain = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        clean(inner.unwrap_or(name).trim_matches('"'), 100)
    };
    let names = presented.iter().take(NAMES).map(plain).collect::<Vec<_>>().join(", ");
    let more = if presented.len() > NAMES { ", …" } else { "" };
    (!names.is_empty()).then(|| format!("{names}{more}"))
}

fn day(time: UnixTime) -> String {
    let millis = i64::try_from(time.as_secs()).unwrap_or(i64::MAX).saturating_mul(1000);
    Timestamp::from_millis(millis).to_datetime().format("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::tls_problem;
    use rustls::pki_types::{ServerName, UnixTime};
    use rustls::{CertificateError, Error, InvalidMessage};
    use std::io;
    use std::time::Duration;

    #[test]
    fn a_broken_handshake_is_told_in_words_that_say_what_to_do() {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(1_772_356_812));
        let other_name = |presented: &[&str]| CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("smtp.example").unwrap(),
            presented: presented.iter().map(|name| format!("DnsName(\"{name}\")")).collect(),
        };
        let certificate = Error::InvalidCertificate;
        let found = [
            certificate(CertificateError::ExpiredContext { time, not_after: time }),
            certificate(CertificateError::NotValidYetContext { time, not_before: time }),
            certificate(CertificateError::UnknownIssuer),
            certificate(other_name(&["mx1.example", "mx2.example"])),
            certificate(other_name(&["a", "b", "c", "d", "e", "f"])),
            certificate(other_name(&[])),
            Error::InvalidMessage(InvalidMessage::InvalidContentType),
        ]
        .map(|error| tls_problem(&io::Error::other(error)).unwrap());
        insta::assert_snapshot!(found.join("\n"), @r#"
        the certificate of the server expired on 2026-03-01: it must be renewed there
        the certificate of the server is not valid before 2026-03-01: is the clock of this machine right?
        the certificate of the server comes from an authority that this machine does not trust: name the authority's file with `ca_file`
        the certificate of the server is for mx1.example, mx2.example, not for smtp.example: set `host` to a name that it bears
        the certificate of the server is for a, b, c, d, e, …, not for smtp.example: set `host` to a name that it bears
        the certificate of the server bears no name, so it is not for smtp.example: it must be replaced
        the server does not speak TLS from the first byte on this port: it may be one for `tls = "starttls"`
        "#);
        assert_eq!(tls_problem(&io::Error::other("refused")), None);
    }
}
