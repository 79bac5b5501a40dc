use super::Veil;
use super::tls::tls_problem;
use crate::deliver::Outcome;
use crate::model::Secret;
use lettre::address::{Address, Envelope};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, TlsParameters, TlsParametersBuilder,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, MailBodyParameter, MailParameter};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;

/// How long a connection waits for the next mail.
const IDLE: Duration = Duration::from_secs(10);
/// How long a goodbye, or the dialling of one address, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a connection is made safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Plain at first, then TLS by STARTTLS; a server that does not offer it is not used.
    StartTls,
    /// TLS from the first byte.
    Implicit,
    /// None at all.
    None,
}

impl Security {
    /// The port that goes with it.
    pub const fn port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Implicit => 465,
            Self::None => 25,
        }
    }
}

/// A mail server that takes mails from us.
///
/// It keeps one connection for the next mail. lettre's own pool is not used: it takes back the
/// connection of a try that was cut off in the middle, and what the server says to that try would
/// be taken for its answer to the next mail.
pub struct Relay {
    /// Its name, which its certificate bears too.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is made safe.
    pub security: Security,
    /// Certificates that are trusted beside the machine's own.
    pub trusted: Option<Certificate>,
    /// User name and password.
    pub login: Option<(String, Secret)>,
    /// What must not show in its words.
    pub veil: Veil,
    /// Made at the first mail, since it reads the machine's certificates.
    pub tls: OnceCell<TlsParameters>,
    /// The connection that waits.
    pub kept: Kept,
}

/// A place for one connection.
#[derive(Default)]
pub struct Kept(Arc<Mutex<Place>>);

#[derive(Default)]
struct Place {
    connection: Option<AsyncSmtpConnection>,
    /// Tells the connection that stands here from those that stood here before.
    turn: u64,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("security", &self.security)
            .finish_non_exhaustive()
    }
}

impl Relay {
    /// Hands over one mail. 4xx, a broken connection and a failed handshake may pass; 5xx is for
    /// good (RFC 5321, section 4.2.1).
    pub async fn send(&self, envelope: &Envelope, mail: &str) -> Outcome {
        let mut connection = match self.connection().await {
            Ok(connection) => connection,
            Err(error) => return self.outcome(&error, error.is_permanent()),
        };
        match hand_over(&mut connection, envelope, mail).await {
            Ok(()) => {
                self.kept.keep(connection);
                Outcome::accepted()
            }
            Err(error) => self.outcome(&error, error.is_permanent()),
        }
    }

    fn outcome(&self, error: &Error, for_good: bool) -> Outcome {
        let words = tls_problem(error).unwrap_or_else(|| error.to_string());
        let why = self.veil.clean(&words);
        if for_good { Outcome::Rejected { why } } else { Outcome::Retry { after: None, why } }
    }

    async fn connection(&self) -> Result<AsyncSmtpConnection, Error> {
        if let Some(mut connection) = self.kept.take()
            && connection.test_connected().await
        {
            return Ok(connection);
        }
        let server = (self.host.as_str(), self.port);
        let (hello, dialling) = (ClientId::default(), Some(PATIENCE));
        let dial = |tls| AsyncSmtpConnection::connect_tokio1(server, dialling, &hello, tls, None);
        let mut connection = match self.security {
            Security::Implicit => dial(Some(self.tls().await?)).await?,
            Security::None => dial(None).await?,
            Security::StartTls => {
                let tls = self.tls().await?;
                let mut connection = dial(None).await?;
                connection.starttls(tls, &hello).await?;
                connection
            }
        };
        if let Some((user, password)) = &self.login {
            let credentials = Credentials::new(user.clone(), password.expose().to_owned());
            connection.auth(DEFAULT_MECHANISMS, &credentials).await?;
        }
        Ok(connection)
    }

    async fn tls(&self) -> Result<TlsParameters, Error> {
        let make = || async {
            let mut builder: TlsParametersBuilder = TlsParameters::builder(self.host.clone());
            if let Some(trusted) = &self.trusted {
                builder = builder.add_root_certificate(trusted.clone());
            }
            builder.build()
        };
        self.tls.get_or_try_init(make).await.cloned()
    }
}

/// Says the commands of one mail. The mail goes out in a single piece, end mark included: as two,
/// which is lettre's way, the second one waits for the other side's delayed acknowledgement of the
/// first, some 40 ms.
async fn hand_over(
    connection: &mut AsyncSmtpConnection,
    envelope: &Envelope,
    mail: &str,
) -> Result<(), Error> {
    let mut parameters = Vec::new();
    // A server that does not know these says so itself, in its own words.
    let ascii = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
    if !envelope.from().into_iter().chain(envelope.to()).all(ascii) {
        parameters.push(MailParameter::SmtpUtfEight);
    }
    if !mail.is_ascii() {
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    connection.command(Mail::new(envelope.from().cloned(), parameters)).await?;
    for to in envelope.to() {
        connection.command(Rcpt::new(to.clone(), Vec::new())).await?;
    }
    connection.command(Data).await?;
    connection.command(with_end_mark(mail)).await?;
    Ok(())
}

/// `mail` with its end mark, and with no line that looks like one (RFC 5321, section 4.5.2).
fn with_end_mark(mail: &str) -> String {
    let dot = if mail.starts_with('.') { "." } else { "" };
    let last = if mail.ends_with("\r\n") { "" } else { "\r\n" };
    format!("{dot}{}{last}.\r\n", mail.replace("\r\n.", "\r\n.."))
}

impl Kept {
    fn take(&self) -> Option<AsyncSmtpConnection> {
        lock(&self.0).connection.take()
    }

    fn keep(&self, connection: AsyncSmtpConnection) {
        let turn = {
            let mut place = lock(&self.0);
            place.turn += 1;
            place.connection = Some(connection);
            place.turn
        };
        let kept = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            tokio::time::sleep(IDLE).await;
            let idle = kept.upgrade().and_then(|kept| {
                let mut place = lock(&kept);
                if place.turn == turn { place.connection.take() } else { None }
            });
            if let Some(mut connection) = idle {
                // A server that does not answer to a goodbye is left without one.
                let _ = tokio::time::timeout(PATIENCE, connection.abort()).await;
            }
        });
    }
}

fn lock(place: &Mutex<Place>) -> MutexGuard<'_, Place> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::with_end_mark;

    #[test]
    fn no_line_of_a_mail_ends_it_early() {
        for (mail, expected) in [
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            (".\r\n.\r\n", "..\r\n..\r\n.\r\n"),
            ("a\r\n.b\r\n", "a\r\n..b\r\n.\r\n"),
        ] {
            assert_eq!(with_end_mark(mail), expected);
        }
    }
}
