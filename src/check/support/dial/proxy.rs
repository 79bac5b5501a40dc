//! Through a proxy: a tunnel by CONNECT, or by SOCKS 5.

use super::Target;
use super::reach::look_up_by;
use super::route::{Manner, Proxy, Route};
use crate::check::support::excerpt;
use crate::check::support::hide::Hidden;
use crate::clock::Clock;
use http::HeaderValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_socks::TargetAddr;
use tokio_socks::tcp::Socks5Stream;
use url::Host;

/// The bytes that the answer to a CONNECT may have.
const MAX_HEAD: usize = 16 * 1024;

/// Has `proxy`, to which `tcp` leads, connect to `target`.
///
/// # Errors
///
/// Why it did not, in words.
pub async fn tunnel(
    clock: &dyn Clock,
    tcp: TcpStream,
    proxy: &Proxy,
    target: &Target,
    route: &Route,
) -> Result<TcpStream, String> {
    match &proxy.manner {
        Manner::Http { authorization } => connect(tcp, proxy, target, authorization.as_ref()).await,
        Manner::Socks { user, looks_up } => {
            let wanted = match &target.host {
                Host::Domain(name) if *looks_up => {
                    TargetAddr::Domain(name.as_str().into(), target.port)
                }
                _ => {
                    let found = look_up_by(clock, target, route).await?;
                    TargetAddr::Ip(*found.first().ok_or_else(|| format!("{target}: no address"))?)
                }
            };
            let asked = match user {
                None => Socks5Stream::connect_with_socket(tcp, wanted).await,
                Some((user, password)) => {
                    let password = password.expose();
                    Socks5Stream::connect_with_password_and_socket(tcp, wanted, user, password)
                        .await
                }
            };
            let explain = |error| explain_socks(&error, proxy, target);
            asked.map(Socks5Stream::into_inner).map_err(explain)
        }
    }
}

async fn connect(
    mut tcp: TcpStream,
    proxy: &Proxy,
    target: &Target,
    authorization: Option<&HeaderValue>,
) -> Result<TcpStream, String> {
    let lost = |error: std::io::Error| {
        format!("proxy {}: the connection failed: {}", proxy.target, super::plain(&error))
    };
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(value) = authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    tcp.write_all(&request).await.map_err(lost)?;
    // Byte by byte, since what comes after the head belongs to the tunnel.
    let mut head = Vec::with_capacity(256);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_HEAD {
            return Err(format!("proxy {}: its answer does not end", proxy.target));
        }
        match tcp.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(format!("proxy {}: it closed the connection", proxy.target));
            }
            Err(error) => return Err(lost(error)),
        }
    }
    let line = String::from_utf8_lossy(&head);
    let mut hidden = Hidden::default();
    proxy.secrets().iter().for_each(|secret| hidden.add_word(secret));
    let line = hidden.hide(line);
    let line = excerpt(line.lines().next().unwrap_or_default(), 100);
    let mut words = line.split(' ');
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    match words.next().unwrap_or_default() {
        status if is_http && status.starts_with('2') => Ok(tcp),
        // Some say 401, which is for web servers.
        "407" | "401" if is_http => {
            Err(format!("proxy {}: it wants user and password ({line})", proxy.target))
        }
        _ if is_http => {
            Err(format!("proxy {}: it does not connect to {target} ({line})", proxy.target))
        }
        _ => Err(format!("proxy {}: it does not speak HTTP", proxy.target)),
    }
}

fn explain_socks(error: &tokio_socks::Error, proxy: &Proxy, target: &Target) -> String {
    use tokio_socks::Error;
    let proxy = &proxy.target;
    match error {
        Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            format!("proxy {proxy}: it closed the connection")
        }
        Error::Io(error) => {
            format!("proxy {proxy}: the connection failed: {}", super::plain(error))
        }
        Error::PasswordAuthFailure(_) => format!("proxy {proxy}: it refused user and password"),
        Error::NoAcceptableAuthMethods | Error::UnknownAuthMethod => {
            format!("proxy {proxy}: it wants user and password")
        }
        Error::InvalidResponseVersion | Error::InvalidReservedByte => {
            format!("proxy {proxy}: it does not speak SOCKS 5")
        }
        other => format!("proxy {proxy}: it does not connect to {target}: {other}"),
    }
}
