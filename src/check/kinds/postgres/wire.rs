//! The protocol of PostgreSQL, as far as simple queries need it.
//!
//! It is spoken here, and not by a client library, so that a peer that lies about lengths or never
//! ends costs bounded memory. See <https://www.postgresql.org/docs/current/protocol.html>.

use super::address::{Address, Encryption, Way};
use super::trouble::{Refusal, Trouble};
use crate::check::support::dial::{self, Dialled, Stream};
use crate::check::support::tls::{self, Chain};
use crate::clock::Clock;
use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{ErrorResponseBody, Header, Message};
use postgres_protocol::message::frontend;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use url::Host;

/// The longest message that is read.
const MOST_MESSAGE: usize = 8 << 20;

/// More than this is not read in one run.
const MOST_BYTES: usize = 64 << 20;

/// More rounds of hashing than these are not done for a server: they would hold a thread. Servers
/// ask for 4,096 unless told otherwise.
const MOST_ROUNDS: u32 = 500_000;

/// A connection that is logged in.
pub struct Wire {
    stream: Box<dyn Transport>,
    buffer: BytesMut,
    read: usize,
    /// The version that the server says it has, such as `15.14 (Debian 15.14-0+deb12u1)`.
    pub version: String,
    /// The server's certificates, with TLS.
    pub chain: Option<Arc<Chain>>,
}

trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// What a statement gave.
#[derive(Debug, Default)]
pub struct Rows {
    /// The columns, with the numbers of their types.
    pub columns: Vec<(String, u32)>,
    /// How many rows came.
    pub count: i64,
    /// The first of them, as texts.
    pub first: Option<Vec<Option<String>>>,
}

/// What one message with statements gave.
#[derive(Debug, Default)]
pub struct Outcome {
    /// One for each statement that gives rows, as far as they came.
    pub answers: Vec<Rows>,
    /// Why the statement after these was refused, and all others with it.
    pub refusal: Option<Refusal>,
    /// Whether there were more rows than anybody wants: the connection is of no more use.
    pub cut: bool,
}

impl Wire {
    /// Connects and logs in.
    pub async fn connect(address: &Address, clock: &dyn Clock) -> Result<Self, Trouble> {
        let (stream, chain): (Box<dyn Transport>, _) = match &address.way {
            Way::Socket(path) => {
                let stream = UnixStream::connect(path).await;
                (Box::new(stream.map_err(Trouble::Socket)?), None)
            }
            Way::Tcp { target, name } => {
                let dialled = dial::dial(clock, target, None).await;
                let dialled = dialled.map_err(|error| Trouble::Dial(error.what))?;
                encrypted(dialled, &address.encryption, name).await?
            }
        };
        let mut wire =
            Self { stream, buffer: BytesMut::new(), read: 0, version: String::new(), chain };
        wire.log_in(address).await?;
        Ok(wire)
    }

    async fn log_in(&mut self, address: &Address) -> Result<(), Trouble> {
        let mut parameters = vec![
            ("user", address.user.as_str()),
            ("database", address.database.as_str()),
            ("application_name", "watchbell"),
            ("client_encoding", "UTF8"),
            ("DateStyle", "ISO, MDY"),
            ("TimeZone", "UTC"),
        ];
        if let Some(options) = &address.options {
            parameters.push(("options", options));
        }
        self.send(|out| frontend::startup_message(parameters, out)).await?;
        let password = address.password.as_deref().unwrap_or_default().as_bytes();
        loop {
            match self.receive().await? {
                Message::AuthenticationOk => {}
                Message::AuthenticationCleartextPassword => {
                    self.send(|out| frontend::password_message(password, out)).await?;
                }
                Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(address.user.as_bytes(), password, body.salt());
                    self.send(|out| frontend::password_message(hash.as_bytes(), out)).await?;
                }
                Message::AuthenticationSasl(body) => {
                    let mut offered = body.mechanisms();
                    if !offered.any(|name| Ok(name == SCRAM_SHA_256)).map_err(garbage)? {
                        return Err(Trouble::Method);
                    }
                    self.scram(password).await?;
                }
                Message::ParameterStatus(body) => {
                    if body.name().map_err(garbage)? == "server_version" {
                        body.value().map_err(garbage)?.clone_into(&mut self.version);
                    }
                }
                Message::BackendKeyData(_) | Message::NoticeResponse(_) => {}
                Message::ReadyForQuery(_) => return Ok(()),
                Message::ErrorResponse(body) => return Err(Trouble::Refused(refusal(&body)?)),
                Message::AuthenticationGss
                | Message::AuthenticationKerberosV5
                | Message::AuthenticationScmCredential
                | Message::AuthenticationSspi => return Err(Trouble::Method),
                _ => return Err(Trouble::Garbage("an answer out of turn".to_owned())),
            }
        }
    }

    /// Proves the password without telling it (RFC 7677).
    async fn scram(&mut self, password: &[u8]) -> Result<(), Trouble> {
        let mut scram = ScramSha256::new(password, ChannelBinding::unsupported());
        let first = scram.message().to_vec();
        self.send(|out| frontend::sasl_initial_response(SCRAM_SHA_256, &first, out)).await?;
        loop {
            match self.receive().await? {
                Message::AuthenticationSaslContinue(body) => {
                    let rounds = rounds(body.data());
                    if rounds.is_none_or(|rounds| rounds > MOST_ROUNDS) {
                        let what = "a login that takes too many rounds of hashing";
                        return Err(Trouble::Garbage(what.to_owned()));
                    }
                    scram.update(body.data()).map_err(garbage)?;
                    let answer = scram.message().to_vec();
                    self.send(|out| frontend::sasl_response(&answer, out)).await?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    return scram.finish(body.data()).map_err(garbage);
                }
                Message::NoticeResponse(_) => {}
                Message::ErrorResponse(body) => return Err(Trouble::Refused(refusal(&body)?)),
                _ => return Err(Trouble::Garbage("an answer out of turn".to_owned())),
            }
        }
    }

    /// Sends statements, and gives what each that gives rows gave. The rows of one statement are
    /// read to `most`.
    pub async fn query(&mut self, sql: &str, most: i64) -> Result<Outcome, Trouble> {
        self.send(|out| frontend::query(sql, out)).await?;
        let mut outcome = Outcome::default();
        let mut rows: Option<Rows> = None;
        loop {
            let message = match self.receive().await {
                Ok(message) => message,
                // A server that stops says so and hangs up.
                Err(error) => match outcome.refusal.take() {
                    Some(refusal) => return Err(Trouble::Refused(refusal)),
                    None => return Err(error),
                },
            };
            match message {
                Message::RowDescription(body) => {
                    let columns =
                        body.fields().map(|field| Ok((field.name().to_owned(), field.type_oid())));
                    let columns = columns.collect().map_err(garbage)?;
                    rows = Some(Rows { columns, ..Rows::default() });
                }
                Message::DataRow(body) => {
                    let Some(rows) = &mut rows else {
                        return Err(Trouble::Garbage("a row without columns".to_owned()));
                    };
                    rows.count += 1;
                    if rows.first.is_none() {
                        let buffer = body.buffer();
                        let texts = body.ranges().map(|range| {
                            let bytes = range.map(|range| buffer.get(range).unwrap_or_default());
                            Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
                        });
                        rows.first = Some(texts.collect().map_err(garbage)?);
                    }
                    if rows.count >= most {
                        outcome.cut = true;
                        outcome.answers.push(std::mem::take(rows));
                        return Ok(outcome);
                    }
                }
                Message::CommandComplete(_) => outcome.answers.extend(rows.take()),
                Message::ErrorResponse(body) => outcome.refusal = Some(refusal(&body)?),
                Message::CopyInResponse(_) => {
                    self.send(|out| frontend::copy_fail("nothing to copy", out)).await?;
                }
                Message::ReadyForQuery(_) => return Ok(outcome),
                _ => {}
            }
        }
    }

    /// Says goodbye; the server would log a line otherwise.
    pub async fn close(mut self) {
        let goodbye = self.send(|out| {
            frontend::terminate(out);
            Ok(())
        });
        // Whoever is gone need not hear it.
        _ = goodbye.await;
        _ = self.stream.shutdown().await;
    }

    async fn send(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> io::Result<()>,
    ) -> Result<(), Trouble> {
        let mut out = BytesMut::new();
        write(&mut out).map_err(|error| Trouble::Unsendable(error.to_string()))?;
        self.stream.write_all(&out).await.map_err(Trouble::Lost)?;
        self.stream.flush().await.map_err(Trouble::Lost)
    }

    async fn receive(&mut self) -> Result<Message, Trouble> {
        // A buffer holds thousands of tiny messages, and nobody would see the timeout meanwhile.
        tokio::task::consume_budget().await;
        loop {
            if let Some(header) = Header::parse(&self.buffer).map_err(garbage)? {
                let length = usize::try_from(header.len()).unwrap_or(usize::MAX);
                if length > MOST_MESSAGE {
                    return Err(Trouble::Garbage(format!("a message of {length} bytes")));
                }
                if self.buffer.len() > length {
                    let message = Message::parse(&mut self.buffer).map_err(garbage)?;
                    return message.ok_or_else(|| Trouble::Garbage("half a message".to_owned()));
                }
            }
            if self.read > MOST_BYTES {
                return Err(Trouble::Endless);
            }
            self.buffer.reserve(16 << 10);
            match self.stream.read_buf(&mut self.buffer).await.map_err(Trouble::Lost)? {
                0 => return Err(Trouble::Lost(io::ErrorKind::UnexpectedEof.into())),
                more => self.read += more,
            }
        }
    }
}

/// Asks for TLS on a fresh connection, and shakes hands where the server agrees.
async fn encrypted(
    dialled: Dialled,
    encryption: &Encryption,
    name: &Host,
) -> Result<(Box<dyn Transport>, Option<Arc<Chain>>), Trouble> {
    let Dialled { mut stream, peer, .. } = dialled;
    let (config, needed): (&Arc<ClientConfig>, bool) = match encryption {
        Encryption::Off => return Ok((Box::new(stream), None)),
        Encryption::IfOffered(config) => (config, false),
        Encryption::Needed(config) => (config, true),
    };
    let mut out = BytesMut::new();
    frontend::ssl_request(&mut out);
    stream.write_all(&out).await.map_err(Trouble::Lost)?;
    match (stream.read_u8().await.map_err(Trouble::Lost)?, needed) {
        (b'S', _) => {}
        (b'N', false) => return Ok((Box::new(stream), None)),
        (b'N', true) => return Err(Trouble::NoTls),
        (other, _) => return Err(Trouble::Garbage(format!("byte {other} to a request for TLS"))),
    }
    let Stream::Plain(tcp) = stream else { return Err(Trouble::NoTls) };
    let name = match name {
        Host::Ipv4(address) => ServerName::IpAddress((*address).into()),
        Host::Ipv6(address) => ServerName::IpAddress((*address).into()),
        Host::Domain(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
            .map_err(|_| Trouble::Dial(format!("TLS: no certificate is for `{name}`")))?,
    };
    let shaken = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await;
    let stream = shaken.map_err(|error| {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        Trouble::Dial(match inner {
            Some(inner) => tls::explain(inner).replace("`ca_file`", "`sslrootcert`"),
            None => format!("TLS: {}", dial::explain_io(&error, peer)),
        })
    })?;
    let chain = stream.get_ref().1.peer_certificates().and_then(Chain::of);
    Ok((Box::new(stream), chain))
}

/// The rounds of hashing that a server's first SCRAM message asks for: `r=…,s=…,i=4096`.
fn rounds(message: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(message).ok()?;
    text.split(',').find_map(|part| part.strip_prefix("i="))?.parse().ok()
}

fn refusal(body: &ErrorResponseBody) -> Result<Refusal, Trouble> {
    let mut refusal = Refusal::default();
    let mut fields = body.fields();
    while let Some(field) = fields.next().map_err(garbage)? {
        let text = || String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => refusal.code = text(),
            b'M' => refusal.message = text(),
            b'H' => refusal.hint = Some(text()),
            _ => {}
        }
    }
    Ok(refusal)
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn garbage(error: io::Error) -> Trouble {
    Trouble::Garbage(error.to_string())
}
