//! From a name to a TCP connection: addresses, and which of them answers first.

use super::Target;
use super::route::{IpVersion, Route};
use crate::check::support::nameserver::{self, Question, Transport};
use crate::clock::Clock;
use crate::model::Facts;
use futures_util::stream::{FuturesUnordered, StreamExt};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, RecordType};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use url::Host;

/// A name with more addresses than that has the rest ignored.
const MAX_ADDRESSES: usize = 8;

/// How long one address has before the next is tried beside it (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// How long a name server that a check names has for an answer, where nothing else ends it first.
const RESOLVER_PATIENCE: Duration = Duration::from_secs(5);

/// The addresses of `target`, in the order of the operating system's resolver.
///
/// # Errors
///
/// Why there are none, in words.
pub async fn look_up(target: &Target) -> Result<Vec<SocketAddr>, String> {
    let name = match &target.host {
        Host::Domain(name) => name,
        host => return Ok(literal(host, target.port).into_iter().collect()),
    };
    let found = ask_resolver(name.clone(), target.port).await;
    bounded(name, found.map_err(|error| explain_look_up(&error, name))?, IpVersion::Any)
}

/// The addresses of `target` by the way of `route`.
///
/// # Errors
///
/// Why there are none, in words.
pub async fn look_up_by(
    clock: &dyn Clock,
    target: &Target,
    route: &Route,
) -> Result<Vec<SocketAddr>, String> {
    let name = match &target.host {
        Host::Domain(name) => name,
        host => {
            let address = literal(host, target.port);
            let fits: Vec<_> = address.filter(|it| route.ip_version.fits(it)).into_iter().collect();
            return match fits.is_empty() {
                true => Err(format!("{host} is no {} address", route.ip_version)),
                false => Ok(fits),
            };
        }
    };
    let Some(server) = &route.resolver else {
        let found = ask_resolver(name.clone(), target.port).await;
        let found = found.map_err(|error| explain_look_up(&error, name))?;
        return bounded(name, found, route.ip_version);
    };
    // Boxed, since a name server may itself be dialled.
    let asking = |record| Box::pin(ask_server(clock, name, target.port, server, record));
    let found = match route.ip_version {
        IpVersion::Four => asking(RecordType::A).await?,
        IpVersion::Six => asking(RecordType::AAAA).await?,
        IpVersion::Any => {
            let both = tokio::join!(asking(RecordType::AAAA), asking(RecordType::A));
            match both {
                (Ok(six), Ok(four)) => interleaved(six, four),
                (Ok(found), Err(_)) | (Err(_), Ok(found)) if !found.is_empty() => found,
                (Err(what), _) | (_, Err(what)) => return Err(what),
            }
        }
    };
    bounded(name, found, route.ip_version)
}

/// Connects to whichever of `addresses` answers first.
///
/// They are tried in order, each a quarter of a second after the one before or at once when that
/// one failed (RFC 8305), so that a network with broken IPv6 does not fail a check that every
/// browser would pass.
///
/// # Errors
///
/// Why none answered, in words.
pub async fn connect_any(addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), String> {
    if let &[address] = addresses {
        return match TcpStream::connect(address).await {
            Ok(stream) => Ok((stream, address)),
            Err(error) => Err(explain_connect(&error, address)),
        };
    }
    let mut waiting = addresses.iter().copied();
    let mut attempts = FuturesUnordered::new();
    let mut failures: Vec<String> = Vec::new();
    loop {
        let more = match waiting.next() {
            Some(address) => {
                attempts.push(async move { (TcpStream::connect(address).await, address) });
                true
            }
            None => false,
        };
        let ended = if more && waiting.len() > 0 {
            tokio::time::timeout(HEAD_START, attempts.next()).await.ok()
        } else {
            Some(attempts.next().await)
        };
        match ended {
            Some(Some((Ok(stream), address))) => return Ok((stream, address)),
            Some(Some((Err(error), address))) => failures.push(explain_connect(&error, address)),
            Some(None) => return Err(failures.join("; ")),
            None => {}
        }
    }
}

fn literal(host: &Host, port: u16) -> Option<SocketAddr> {
    match host {
        Host::Ipv4(address) => Some(SocketAddr::new(IpAddr::V4(*address), port)),
        Host::Ipv6(address) => Some(SocketAddr::new(IpAddr::V6(*address), port)),
        Host::Domain(_) => None,
    }
}

/// The first of what was found that fits, each once.
fn bounded(
    name: &str,
    found: Vec<SocketAddr>,
    version: IpVersion,
) -> Result<Vec<SocketAddr>, String> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        let wanted = version.fits(&address) && !addresses.contains(&address);
        if wanted && addresses.len() < MAX_ADDRESSES {
            addresses.push(address);
        }
    }
    match (addresses.is_empty(), version) {
        (false, _) => Ok(addresses),
        (true, IpVersion::Any) => Err(format!("DNS: {name} has no address")),
        (true, version) => Err(format!("DNS: {name} has no {version} address")),
    }
}

/// Turn and turn about, as RFC 8305 wants it, so that the first two tries are of both families.
fn interleaved(six: Vec<SocketAddr>, four: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    let mut all = Vec::new();
    loop {
        let pair = (six.next(), four.next());
        if pair == (None, None) {
            return all;
        }
        all.extend(pair.0);
        all.extend(pair.1);
    }
}

/// The addresses of one family that `server` knows for `name`. It has to look further itself: the
/// whole chain of aliases stands in its answer.
async fn ask_server(
    clock: &dyn Clock,
    name: &str,
    port: u16,
    server: &Target,
    record: RecordType,
) -> Result<Vec<SocketAddr>, String> {
    let mut asked = Name::from_str_relaxed(name)
        .map_err(|error| format!("DNS: `{name}` cannot be a name: {error}"))?;
    asked.set_fqdn(true);
    let question = Question { name: asked, record };
    let mut unused = Facts::default();
    let heard = nameserver::ask(
        clock,
        &question,
        std::slice::from_ref(server),
        &Transport::Udp,
        RESOLVER_PATIENCE,
        &mut unused,
    );
    let message = heard.await.map_err(|what| format!("DNS: {what}"))?.message;
    match message.metadata.response_code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => return Err(format!("DNS: no such host {name}, says {server}")),
        other => return Err(format!("DNS: {server} did not tell the address of {name}: {other}")),
    }
    let address = |data: &RData| match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    };
    let found = message.answers.iter().filter_map(|record| address(&record.data));
    Ok(found.map(|address| SocketAddr::new(address, port)).collect())
}

/// Look-ups at one time. The system's resolver holds a thread for as long as it asks, also after
/// the check has given up, and others need threads of the same pool.
static LOOK_UPS: Semaphore = Semaphore::const_new(256);

async fn ask_resolver(name: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    // The semaphore is never closed.
    let permit = LOOK_UPS.acquire().await.map_err(io::Error::other)?;
    let asking = tokio::spawn(async move {
        let found = tokio::net::lookup_host((name, port)).await;
        drop(permit);
        found.map(Vec::from_iter)
    });
    asking.await.map_err(io::Error::other)?
}

fn explain_look_up(error: &io::Error, name: &str) -> String {
    let text = error.to_string();
    if text.contains("not known") || text.contains("No address") {
        format!("DNS: no such host {name}")
    } else if text.contains("Temporary failure") {
        format!("DNS: no answer about {name} from the resolver")
    } else {
        format!("DNS: cannot look up {name}: {}", super::plain(error))
    }
}

fn explain_connect(error: &io::Error, address: SocketAddr) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("connection refused by {address}"),
        io::ErrorKind::ConnectionReset => format!("connection reset by {address}"),
        io::ErrorKind::TimedOut => format!("no answer from {address}"),
        io::ErrorKind::HostUnreachable => format!("no route to {address}"),
        io::ErrorKind::NetworkUnreachable => format!("no network leads to {address}"),
        _ => format!("cannot connect to {address}: {}", super::plain(error)),
    }
}
