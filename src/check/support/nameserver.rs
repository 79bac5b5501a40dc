//! A question to name servers and the answer of one of them, by UDP, TCP or TLS.
//!
//! RFC 1035 for the messages, RFC 7766 for TCP, RFC 7858 for TLS.

use super::dial::{self, Dialled, Target};
use crate::clock::Clock;
use crate::model::Facts;
use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use rustls::ClientConfig;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use url::Host;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// About this name.
    pub name: Name,
    /// These records.
    pub record: RecordType,
}

/// By which way.
#[derive(Clone, Debug)]
pub enum Transport {
    /// UDP, and TCP for an answer that is too long for it.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls(Arc<ClientConfig>),
}

/// An answer.
#[derive(Debug)]
pub struct Heard {
    /// The answer itself.
    pub message: Message,
    /// Who gave it.
    pub server: SocketAddr,
    /// How often the question was sent.
    pub tries: i64,
    /// Whether the answer was too long for UDP.
    pub truncated: bool,
}

/// The longest answer that may come by UDP, in bytes: what passes every network in one piece
/// (DNS flag day 2020).
const MOST_BY_UDP: u16 = 1232;

/// A question by UDP is sent again after a quarter of the time, at most after that.
const LONGEST_SILENCE: Duration = Duration::from_secs(2);

/// How many servers are asked, at most. As the system's own resolver does.
const MOST_SERVERS: usize = 3;

/// The servers of a `resolv.conf`; this machine if it names none.
///
/// # Errors
///
/// The file cannot be read, in words.
pub async fn system_servers(file: &Path) -> Result<Vec<Target>, String> {
    let text = match tokio::fs::read(file).await {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(format!("cannot read {}: {error}", file.display())),
    };
    // What is wrong in the file is the system's matter; the servers that it names are there.
    let (found, _) = resolv_conf::Config::parse_with_errors(&text);
    let mut servers: Vec<IpAddr> = found.nameservers.iter().map(IpAddr::from).collect();
    if servers.is_empty() {
        servers.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let target = |address| match address {
        IpAddr::V4(address) => Target { host: Host::Ipv4(address), port: 53 },
        IpAddr::V6(address) => Target { host: Host::Ipv6(address), port: 53 },
    };
    Ok(servers.into_iter().take(MOST_SERVERS).map(target).collect())
}

/// Asks one server after the other, each for its share of `within`, until one answers.
///
/// Any answer counts, also that there is no such name. It ends a little before `within`, so that
/// it is this that says who did not answer. A certificate that a server showed is noted in `facts`.
///
/// # Errors
///
/// Why none answered, in words.
pub async fn ask(
    clock: &dyn Clock,
    question: &Question,
    servers: &[Target],
    transport: &Transport,
    within: Duration,
    facts: &mut Facts,
) -> Result<Heard, String> {
    let asking = Asking::new(question)?;
    let tls = match transport {
        Transport::Udp => return asking.by_udp(clock, servers, within, facts).await,
        Transport::Tcp => None,
        Transport::Tls(config) => Some(config),
    };
    let share = Share::of(within, servers.len());
    let mut failures = Vec::new();
    for server in servers {
        match asking.by_stream(clock, server, tls, share, facts).await {
            Ok((message, server)) => {
                return Ok(Heard { message, server, tries: 1, truncated: false });
            }
            Err(what) => failures.push(what),
        }
    }
    Err(failures.join("; "))
}

/// The time that one server has.
#[derive(Clone, Copy)]
struct Share {
    /// As it is told to people.
    whole: Duration,
    /// As it is kept: a little shorter.
    patience: Duration,
}

impl Share {
    fn of(within: Duration, servers: usize) -> Self {
        let whole = within / u32::try_from(servers.max(1)).unwrap_or(u32::MAX);
        let margin = (whole / 20).min(Duration::from_millis(100));
        Self { whole, patience: whole - margin }
    }

    fn no_answer(self, server: impl std::fmt::Display) -> String {
        let millis = u64::try_from(self.whole.as_millis()).unwrap_or(u64::MAX);
        let span = humantime::format_duration(Duration::from_millis(millis));
        format!("no answer from {server} within {span}")
    }
}

/// A question on its way.
struct Asking<'a> {
    question: &'a Question,
    id: u16,
    bytes: Vec<u8>,
}

impl<'a> Asking<'a> {
    fn new(question: &'a Question) -> Result<Self, String> {
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        // Asks a server that validates to say so (RFC 6840, section 5.7).
        message.metadata.authentic_data = true;
        message.add_query(Query::query(question.name.clone(), question.record));
        let mut edns = Edns::new();
        edns.set_max_payload(MOST_BY_UDP);
        message.set_edns(edns);
        let bytes = message.to_vec().map_err(|error| format!("cannot ask that: {error}"))?;
        Ok(Self { question, id: message.metadata.id, bytes })
    }

    async fn by_udp(
        &self,
        clock: &dyn Clock,
        servers: &[Target],
        within: Duration,
        facts: &mut Facts,
    ) -> Result<Heard, String> {
        let whole = Share::of(within, 1);
        let mut addresses = Vec::new();
        for server in servers {
            match timeout(whole.patience, dial::look_up(server)).await {
                Ok(found) => addresses.extend(found?),
                Err(_) => return Err(format!("DNS: no answer about {} in time", server.host)),
            }
        }
        addresses.truncate(MOST_SERVERS);
        let share = Share::of(within, addresses.len());
        let mut tries = 0;
        let mut failures = Vec::new();
        for server in addresses {
            let answered = timeout(share.patience, self.of_one(server, share, &mut tries)).await;
            let message = match answered {
                Ok(Ok(message)) => message,
                Ok(Err(what)) => {
                    failures.push(what);
                    continue;
                }
                Err(_) => {
                    failures.push(share.no_answer(server));
                    continue;
                }
            };
            if !message.metadata.truncation {
                return Ok(Heard { message, server, tries, truncated: false });
            }
            let host = match server.ip() {
                IpAddr::V4(address) => Host::Ipv4(address),
                IpAddr::V6(address) => Host::Ipv6(address),
            };
            let target = Target { host, port: server.port() };
            let (message, server) = self.by_stream(clock, &target, None, share, facts).await?;
            return Ok(Heard { message, server, tries, truncated: true });
        }
        Err(failures.join("; "))
    }

    /// Asks one server by UDP, again and again, until it answers.
    async fn of_one(
        &self,
        server: SocketAddr,
        share: Share,
        tries: &mut i64,
    ) -> Result<Message, String> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::ConnectionRefused => format!("connection refused by {server}"),
            _ => format!("cannot ask {server}: {error}"),
        };
        let any = match server {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        // A port of its own for each question, and nobody else is heard on it.
        let socket = UdpSocket::bind((any, 0)).await.map_err(failed)?;
        socket.connect(server).await.map_err(failed)?;
        let silence = (share.patience / 4).min(LONGEST_SILENCE);
        loop {
            socket.send(&self.bytes).await.map_err(failed)?;
            *tries += 1;
            if let Ok(heard) = timeout(silence, self.listen(&socket, server)).await {
                return heard.map_err(failed)?;
            }
        }
    }

    /// Waits for the answer, past what answers something else.
    async fn listen(
        &self,
        socket: &UdpSocket,
        server: SocketAddr,
    ) -> io::Result<Result<Message, String>> {
        let mut packet = vec![0; 4096];
        loop {
            let length = socket.recv(&mut packet).await?;
            let packet = packet.get(..length).unwrap_or_default();
            match self.read(packet, server) {
                Ok(Some(message)) => return Ok(Ok(message)),
                Ok(None) => {}
                Err(what) => return Ok(Err(what)),
            }
        }
    }

    async fn by_stream(
        &self,
        clock: &dyn Clock,
        server: &Target,
        tls: Option<&Arc<ClientConfig>>,
        share: Share,
        facts: &mut Facts,
    ) -> Result<(Message, SocketAddr), String> {
        let talk = async {
            let dialled = dial::dial(clock, server, tls).await;
            let chain = match &dialled {
                Ok(dialled) => &dialled.chain,
                Err(failed) => &failed.chain,
            };
            if let Some(chain) = chain {
                chain.note_days(clock.wall(), facts);
            }
            let Dialled { mut stream, peer, .. } = dialled.map_err(|failed| failed.what)?;
            let failed = |error: io::Error| dial::explain_io(&error, peer);
            let length = u16::try_from(self.bytes.len()).unwrap_or(u16::MAX);
            let framed = [&length.to_be_bytes()[..], &self.bytes].concat();
            stream.write_all(&framed).await.map_err(failed)?;
            stream.flush().await.map_err(failed)?;
            let length = stream.read_u16().await.map_err(failed)?;
            let mut answer = vec![0; usize::from(length)];
            stream.read_exact(&mut answer).await.map_err(failed)?;
            match self.read(&answer, peer)? {
                Some(message) => Ok((message, peer)),
                None => Err(format!("{peer} answered another question")),
            }
        };
        timeout(share.patience, talk).await.map_err(|_| share.no_answer(server))?
    }

    /// The answer to this question; `None` for something else.
    fn read(&self, bytes: &[u8], server: SocketAddr) -> Result<Option<Message>, String> {
        let (id, rest) = bytes.split_first_chunk().unwrap_or((&[0, 0], &[]));
        if rest.is_empty() || u16::from_be_bytes(*id) != self.id {
            return Ok(None);
        }
        let message = Message::from_vec(bytes)
            .map_err(|error| format!("the answer of {server} cannot be read: {error}"))?;
        let echoes = match message.queries.as_slice() {
            [query] => query.name == self.question.name && query.query_type == self.question.record,
            // A server that did not understand the question need not repeat it.
            [] => message.metadata.response_code != ResponseCode::NoError,
            _ => false,
        };
        let is_answer = message.metadata.message_type == MessageType::Response && echoes;
        Ok(is_answer.then_some(message))
    }
}
