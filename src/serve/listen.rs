use super::Api;
use super::certificate::Certificate;
use super::room::{Place, Room};
use super::router::{Encrypted, Peer, router};
use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How many connections may be open at a time; at most a quarter of the file handles.
const CONNECTIONS: usize = 2048;
/// How long a client may take to send the head of a request, and to stay silent between two.
const HEAD_BOUND: Duration = Duration::from_secs(20);
/// How long a client may take to agree on TLS.
const HANDSHAKE_BOUND: Duration = Duration::from_secs(10);
/// The largest head of a request.
const HEAD_BYTES: usize = 64 * 1024;
/// How long answers that are on their way may take once the daemon stops.
const GRACE: Duration = Duration::from_secs(3);
/// How long to wait when the system has no more file handles.
const OUT_OF_HANDLES: Duration = Duration::from_millis(200);

/// Where requests come in.
#[derive(Debug)]
pub enum Door {
    /// An address, with what is shown there if it speaks TLS.
    Address(TcpListener, Option<Arc<Certificate>>),
    /// A Unix socket. Whoever may open the file may do everything.
    Socket(UnixListener),
}

/// Answers requests that come in by `doors` until `stop`; then it takes no more, ends the answers
/// that are on their way within a few seconds, and returns.
///
/// # Errors
///
/// Where the page's template, which is compiled in, cannot be read. A failing connection or a
/// failing `accept` ends nothing.
pub async fn serve(doors: Vec<Door>, api: Api, stop: CancellationToken) -> io::Result<()> {
    let router = router(api, stop.clone()).map_err(io::Error::other)?;
    // Without a limit of handles there is no number.
    let handles = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let places = usize::try_from(handles / 4).unwrap_or(CONNECTIONS).clamp(16, CONNECTIONS);
    let room = Room::with_places(places);
    let mut keepers = JoinSet::new();
    for door in doors {
        keepers.spawn(keep(door, router.clone(), Arc::clone(&room), stop.clone()));
    }
    while keepers.join_next().await.is_some() {}
    Ok(())
}

/// Lets in whoever comes by one door.
async fn keep(door: Door, router: Router, room: Arc<Room>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            stream = next(&door) => stream,
        };
        while connections.try_join_next().is_some() {}
        connections.spawn(converse(stream, room.enter(), router.clone(), stop.clone()));
    }
    drop(door);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all).await.is_err() {
        tracing::warn!("some answers of the API were cut off by the stop");
    }
}

/// A connection that has just come in.
enum Arrived {
    Plain(TcpStream, Peer),
    Tls(TcpStream, Peer, Arc<Certificate>),
    Socket(UnixStream),
}

/// The next connection.
async fn next(door: &Door) -> Arrived {
    loop {
        let arrived = match door {
            Door::Address(listener, certificate) => {
                listener.accept().await.map(|(stream, peer)| match certificate {
                    None => Arrived::Plain(stream, Peer::Address(peer.ip())),
                    Some(shown) => {
                        Arrived::Tls(stream, Peer::Address(peer.ip()), Arc::clone(shown))
                    }
                })
            }
            Door::Socket(listener) => {
                listener.accept().await.map(|(stream, _)| Arrived::Socket(stream))
            }
        };
        match arrived {
            Ok(arrived) => return arrived,
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "the API cannot accept a connection");
                tokio::time::sleep(OUT_OF_HANDLES).await;
            }
        }
    }
}

/// Whether only the one connection failed before it was taken.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Answers the requests of one connection, as long as it has its place.
async fn converse(arrived: Arrived, place: Place, router: Router, stop: CancellationToken) {
    tokio::select! {
        () = place.given_away() => {}
        () = begin(arrived, &place, router, stop) => {}
    }
}

async fn begin(arrived: Arrived, place: &Place, router: Router, stop: CancellationToken) {
    match arrived {
        Arrived::Plain(stream, peer) => {
            // Small answers go out at once; a failure only costs latency.
            let _ignored = stream.set_nodelay(true);
            answer(stream, (peer, false), place, router, stop).await;
        }
        Arrived::Tls(stream, peer, certificate) => {
            let _ignored = stream.set_nodelay(true);
            let agreed = certificate.acceptor().accept(stream);
            match tokio::time::timeout(HANDSHAKE_BOUND, agreed).await {
                Ok(Ok(stream)) => answer(stream, (peer, true), place, router, stop).await,
                Ok(Err(error)) => tracing::debug!(?peer, %error, "no agreement on TLS"),
                Err(_) => tracing::debug!(?peer, "no agreement on TLS in time"),
            }
        }
        Arrived::Socket(stream) => {
            answer(stream, (Peer::Socket, false), place, router, stop).await;
        }
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    (peer, is_tls): (Peer, bool),
    place: &Place,
    router: Router,
    stop: CancellationToken,
) {
    let router = TowerToHyperService::new(router);
    let work = place.work();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let busy = work.begin();
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(Encrypted(is_tls));
        let answered = router.call(request.map(Body::new));
        async move { answered.await.map(|answer| answer.map(|body| busy.until_sent(body))) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_BOUND)
        .max_header_size(HEAD_BYTES)
        .max_buf_size(2 * HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut result = tokio::select! {
        result = connection.as_mut() => Some(result),
        () = stop.cancelled() => None,
    };
    if result.is_none() {
        connection.as_mut().graceful_shutdown();
        result = Some(connection.await);
    }
    if let Some(Err(error)) = result {
        tracing::debug!(?peer, %error, "a connection of the API ended");
    }
}
