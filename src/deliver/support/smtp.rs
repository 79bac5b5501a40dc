use super::Veil;
use super::tls::tls_problem;
use crate::clock::Clock;
use crate::deliver::{Endpoint, Outcome, Protocol};
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

/// Why a server did not take a mail.
struct Failure {
    why: String,
    /// Whether it would say the same again.
    for_good: bool,
    /// Whether the server is to blame and not the mail, so that another may take it.
    elsewhere: bool,
}

/// Mail servers of which each can take our mails, the best first.
#[derive(Debug)]
pub struct Relays {
    all: Vec<Relay>,
    /// Who is asked first, and until when by the monotonic clock; then it is the best again.
    first: Mutex<(usize, Duration)>,
}

impl Relays {
    /// How long the others are spared after one took a mail in their place.
    const SPARED: Duration = Duration::from_secs(10 * 60);
    /// How long a server may take to greet and to let us in while there is another to ask.
    pub const GREETING: Duration = Duration::from_secs(3);

    /// `best`, and those to ask where it cannot take a mail, in their order.
    pub fn new(best: Relay, others: Vec<Relay>) -> Self {
        let mut all = vec![best];
        all.extend(others);
        Self { all, first: Mutex::default() }
    }

    /// Where they are, the best first.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        let endpoint = |relay: &Relay| Endpoint {
            host: relay.host.clone(),
            port: relay.port,
            protocol: match relay.security {
                Security::Implicit => Protocol::Smtps,
                Security::StartTls | Security::None => Protocol::Smtp,
            },
        };
        self.all.iter().map(endpoint).collect()
    }

    /// Hands over one mail to the first of them that takes it, within one try. 4xx, a broken
    /// connection and a failed handshake may pass; 5xx is for good (RFC 5321, section 4.2.1). What a
    /// server says to the mail itself is the answer; where one cannot be reached, is silent or turns
    /// everybody away, the next one is asked.
    pub async fn send(&self, clock: &dyn Clock, envelope: &Envelope, mail: &str) -> Outcome {
        let start = self.start(clock);
        let mut said = Vec::new();
        let mut for_good = true;
        for step in 0..self.all.len() {
            let index = (start + step) % self.all.len();
            let Some(relay) = self.all.get(index) else { continue };
            // Should the try be cut off in here, the next one begins elsewhere.
            self.begin_with(index + 1, clock);
            let is_last = step + 1 == self.all.len();
            let failure = match relay.hand_over(envelope, mail, !is_last).await {
                Ok(()) => {
                    self.begin_with(index, clock);
                    return Outcome::accepted();
                }
                Err(failure) => failure,
            };
            if !failure.elsewhere {
                self.begin_with(index, clock);
                return outcome(failure.why, failure.for_good);
            }
            for_good &= failure.for_good;
            said.push((relay, failure.why));
        }
        match &said[..] {
            [(_, why)] => outcome(why.clone(), for_good),
            several => {
                let each =
                    several.iter().map(|(it, why)| format!("{}:{}: {why}", it.host, it.port));
                outcome(each.collect::<Vec<_>>().join("; "), for_good)
            }
        }
    }

    fn start(&self, clock: &dyn Clock) -> usize {
        let mut first = lock(&self.first);
        if clock.now().mono >= first.1 {
            first.0 = 0;
        }
        first.0
    }

    fn begin_with(&self, index: usize, clock: &dyn Clock) {
        *lock(&self.first) = (index % self.all.len().max(1), clock.now().mono + Self::SPARED);
    }
}

fn outcome(why: String, for_good: bool) -> Outcome {
    if for_good { Outcome::Rejected { why } } else { Outcome::Retry { after: None, why } }
}

impl Relay {
    /// Hands over one mail; with `hurry` a server that does not greet soon is given up.
    async fn hand_over(&self, envelope: &Envelope, mail: &str, hurry: bool) -> Result<(), Failure> {
        let connecting = self.connection();
        let connected = if hurry {
            match tokio::time::timeout(Relays::GREETING, connecting).await {
                Ok(connected) => connected,
                Err(_elapsed) => {
                    let why = format!("no greeting within {:?}", Relays::GREETING);
                    return Err(Failure { why, for_good: false, elsewhere: true });
                }
            }
        } else {
            connecting.await
        };
        let mut connection = connected.map_err(|error| self.failure(&error, true))?;
        match hand_over(&mut connection, envelope, mail).await {
            Ok(()) => {
                self.kept.keep(connection);
                Ok(())
            }
            Err(error) => {
                /// It is about to close (RFC 5321, section 3.8).
                const CLOSING: u16 = 421;
                let code = error.status().map(u16::from);
                Err(self.failure(&error, code.is_none_or(|code| code == CLOSING)))
            }
        }
    }

    fn failure(&self, error: &Error, elsewhere: bool) -> Failure {
        let words = tls_problem(error).unwrap_or_else(|| error.to_string());
        Failure { why: self.veil.clean(&words), for_good: error.is_permanent(), elsewhere }
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
