//! Ways to ask, ways to get there, and peers that mean no good.

use super::super::KIND;
use crate::check::testing::{
    Authority, Reply, Server, answer, ask, check, error, fact, file, observe, problems, run, within,
};
use crate::check::{Check, Run};
use crate::model::{Facts, Observation};
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use serde_json::{Value as Json, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that does with each connection what `serve` does; it ends with the test's runtime.
async fn serving<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = Option<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// The head of what comes, with its last empty line.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// A server whose answers are these bytes.
async fn answering(bytes: Vec<u8>) -> SocketAddr {
    let bytes = Arc::new(bytes);
    serving(move |mut stream| {
        let bytes = Arc::clone(&bytes);
        async move {
            head(&mut stream).await?;
            stream.write_all(&bytes).await.ok()?;
            stream.shutdown().await.ok()
        }
    })
    .await
}

/// Runs a check whose timeout is `timeout`, and gives up on it long after.
async fn observe_for(check: &dyn Check, timeout: Duration) -> Observation {
    let run = Run { timeout, ..run() };
    within(check.run(&run)).await
}

fn kept(check: &dyn Check, seen: &Observation) -> Json {
    let facts: Facts = check.evidence(seen);
    serde_json::to_value(&facts).expect("JSON")
}

#[tokio::test]
async fn each_redirect_is_recorded_and_a_loop_is_found_at_once() {
    let server = Server::plain(|request, _| match request.split(' ').nth(1) {
        Some("/a?k=hunter2") => Reply::Close(answer("302 Found", "Location: /b\r\n", "")),
        Some("/b") => Reply::Close(answer("307 Go on", "Location: /c\r\n", "")),
        Some("/loop") => Reply::Close(answer("302 Found", "Location: /loop2\r\n", "")),
        Some("/loop2") => Reply::Close(answer("302 Found", "Location: /loop\r\n", "")),
        _ => Reply::Close(answer("404 Gone", "", "here")),
    })
    .await;
    let site = format!("http://{}", server.address);
    let table = format!("url = '{site}/a?k=hunter2'");
    let seen = ask(&KIND, &table).await;
    let mut hops = fact(&seen, "hops");
    for hop in hops.as_array_mut().expect("a list") {
        assert!(hop["ms"].take().as_f64().is_some_and(|ms| ms >= 0.0));
    }
    let hop = |path, status| json!({"url": format!("{site}{path}"), "status": status, "ms": null});
    assert_eq!(hops, json!([hop("/a", 302), hop("/b", 307), hop("/c", 404)]));
    assert_eq!(kept(&*check(&KIND, &table), &seen)["hops"][1]["status"], 307);

    let seen = ask(&KIND, &format!("{table}\nmax_redirects = 1")).await;
    assert_eq!(error(&seen), format!("more than 1 redirects, the last to {site}/c"));
    let seen = ask(&KIND, &format!("url = '{site}/loop'")).await;
    assert_eq!(error(&seen), format!("redirect loop: {site}/loop leads back to itself"));
    assert_eq!(fact(&seen, "redirects"), 1);
}

#[tokio::test]
async fn a_body_comes_from_a_file() {
    let mut server = Server::plain(|_, _| Reply::Close(answer("200 OK", "", ""))).await;
    let body = file("[1, 2]");
    let table = format!(
        "url = 'http://{}/'\nmethod = 'PUT'\nbody_file = '{}'",
        server.address,
        body.path().display()
    );
    ask(&KIND, &table).await;
    let request = server.request();
    assert!(request.contains("content-type: application/json\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n[1, 2]"), "{request}");
    assert!(problems(&KIND, &format!("{table}\nbody = 'x'")).contains("`body` already"));
}

#[tokio::test]
async fn secrets_that_a_server_repeats_are_shown_nowhere() {
    let server = Server::plain(|request, _| {
        let echo = serde_json::to_string(&json!({ "request": request })).expect("JSON");
        let headers = "X-Seen: hunter2-token\r\nContent-Type: application/json\r\n";
        match request.starts_with("GET /away") {
            true => Reply::Close(answer("302 F", "Location: ftp://x/hunter2-token\r\n", "")),
            false => Reply::Close(answer("500 Oh", headers, &echo)),
        }
    })
    .await;
    let site = format!("http://{}", server.address);
    for table in [
        format!("url = '{site}/'\nbearer_token = 'hunter2-token'"),
        format!("url = '{site}/?token=hunter2-token'"),
        format!("url = '{site}/'\nheaders = {{ X-Api-Key = 'hunter2-token' }}"),
        format!("url = '{site}/'\nbasic_auth = {{ username = 'a', password = 'hunter2-token' }}"),
        format!("url = 'http://a:hunter2-token@{}/'", server.address),
        format!("url = '{site}/away'\nbearer_token = 'hunter2-token'"),
    ] {
        let check = check(&KIND, &table);
        let seen = observe(&*check).await;
        let basic = "YTpodW50ZXIyLXRva2Vu";
        let shown = format!("{seen:?} {check:?} {}", kept(&*check, &seen));
        assert!(shown.contains("[secret]"), "{shown}");
        assert!(!shown.contains("hunter2-token") && !shown.contains(basic), "{shown}");
    }
}

#[tokio::test]
async fn what_a_failing_server_said_is_kept_in_part() {
    let long = "x".repeat(10_000);
    let server = Server::plain(move |_, _| {
        Reply::Close(answer("502 Oh", "Set-Cookie: sid=1\r\nServer: front\r\n", &long))
    })
    .await;
    let check = check(&KIND, &format!("url = 'http://{}/'", server.address));
    let seen = observe(&*check).await;
    let kept = kept(&*check, &seen);
    assert_eq!(kept["text"].as_str().map(str::len), Some(2048 + '…'.len_utf8()));
    assert_eq!(
        kept["headers"],
        json!({"content-length": "10000", "set-cookie": "[secret]", "server": "front"})
    );
}

/// A token endpoint and an API in one: each token is good for so many requests.
async fn guarded(uses: usize, expires_in: u64) -> Server {
    let state = std::sync::Mutex::new((0, 0));
    Server::plain(move |request, _| {
        let mut state = state.lock().expect("a state");
        let (tokens, left) = &mut *state;
        if request.starts_with("POST /token ") {
            if !request.contains("Basic Y2xpZW50OnMlM0FjcmV0") {
                let body = r#"{"error": "invalid_client", "error_description": "not s%3Acret"}"#;
                return Reply::Close(answer("401 No", "", body));
            }
            (*tokens, *left) = (*tokens + 1, uses);
            let body = json!({
                "access_token": format!("token-{tokens}"), "token_type": "bearer",
                "expires_in": expires_in,
            });
            return Reply::Close(answer("200 OK", "", &body.to_string()));
        }
        let good = request.contains(&format!("authorization: Bearer token-{tokens}\r\n"));
        if !good || *left == 0 {
            return Reply::Close(answer("401 No", "", "expired"));
        }
        *left -= 1;
        Reply::Close(answer("200 OK", "", &format!("hello token-{tokens}")))
    })
    .await
}

fn with_token(server: &Server, secret: &str, more: &str) -> String {
    let site = format!("http://{}", server.address);
    format!(
        "url = '{site}/api'\n[oauth2]\ntoken_url = '{site}/token'\nclient_id = 'client'\n\
         client_secret = '{secret}'\n{more}"
    )
}

#[tokio::test]
async fn a_token_is_kept_until_it_expires_or_is_refused() {
    let mut server = guarded(2, 3600).await;
    let more = "scopes = ['read', 'write']\naudience = 'https://api.example'";
    let check = check(&KIND, &with_token(&server, "s:cret", more));
    let mut fetched = Vec::new();
    let run = run();
    for _ in 0..4 {
        let seen = within(check.run(&run)).await;
        assert_eq!((error(&seen), fact(&seen, "status")), ("no error", json!(200)));
        assert_eq!(fact(&seen, "text"), "hello [secret]");
        fetched.push(fact(&seen, "token_ms").is_f64());
    }
    // The third run is refused with the token of the first, and goes again with another.
    assert_eq!(fetched, [true, false, true, false]);
    let request = server.request();
    let form = "grant_type=client_credentials&scope=read+write&audience=https%3A%2F%2Fapi.example";
    assert!(request.ends_with(form), "{request}");
    assert!(request.contains("content-type: application/x-www-form-urlencoded\r\n"), "{request}");

    // One that is at its end is not sent any more.
    let server = guarded(9, 0).await;
    let check = crate::check::testing::check(&KIND, &with_token(&server, "s:cret", ""));
    for _ in 0..2 {
        assert!(fact(&within(check.run(&run)).await, "token_ms").is_f64());
    }
}

#[tokio::test]
async fn a_token_that_is_refused_at_once_is_not_fetched_for_ever() {
    let server = guarded(0, 3600).await;
    let check = check(&KIND, &with_token(&server, "s:cret", ""));
    let seen = observe(&*check).await;
    assert_eq!((error(&seen), fact(&seen, "status")), ("no error", json!(401)));
    let seen = observe(&*check).await;
    assert_eq!((error(&seen), fact(&seen, "status")), ("no error", json!(401)));
}

#[tokio::test]
async fn a_wrong_client_secret_is_told_and_not_shown() {
    let server = guarded(1, 3600).await;
    let seen = ask(&KIND, &with_token(&server, "wrong-secret", "client_auth = 'basic'")).await;
    let expected = "OAuth2: the token endpoint answered 401: invalid_client: not s%3Acret";
    assert_eq!(error(&seen), expected);
    let seen = ask(&KIND, &with_token(&server, "s:cret", "client_auth = 'post'")).await;
    assert_eq!(error(&seen), expected);
}

/// Answers each HTTP/2 request with what it was asked for.
async fn http2(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) -> Option<()> {
    let service = service_fn(async |request: hyper::Request<hyper::body::Incoming>| {
        let said = format!("{} {:?}", request.uri(), request.version());
        Ok::<_, std::convert::Infallible>(hyper::Response::new(Full::new(Bytes::from(said))))
    });
    let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    serving.serve_connection(TokioIo::new(stream), service).await.ok()
}

#[tokio::test]
async fn http2_is_spoken_where_it_is_known_or_chosen() {
    let address = serving(http2).await;
    for reuse in [false, true] {
        let table =
            format!("url = 'http://{address}/a?b'\nhttp_version = '2'\nreuse_connection = {reuse}");
        let check = check(&KIND, &table);
        for round in 0..3 {
            let seen = observe(&*check).await;
            assert_eq!(error(&seen), "no error");
            assert_eq!(fact(&seen, "text"), format!("http://{address}/a?b HTTP/2.0"));
            assert_eq!(
                (fact(&seen, "http_version"), fact(&seen, "status")),
                (json!("2"), json!(200))
            );
            assert_eq!(fact(&seen, "connect_ms") == 0.0, reuse && round > 0);
        }
    }

    let authority = Authority::new();
    let ca = file(&authority.pem);
    let mut config: ServerConfig = (*authority.server("localhost", 2000, 2090)).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let address = serving(move |stream| {
        let tls = tls.clone();
        async move { http2(tls.accept(stream).await.ok()?).await }
    })
    .await;
    let url = format!("https://localhost:{}/", address.port());
    let table = format!("url = '{url}'\nca_file = '{}'", ca.path().display());
    let seen = ask(&KIND, &table).await;
    assert_eq!((error(&seen), fact(&seen, "text")), ("no error", json!(format!("{url} HTTP/2.0"))));
    let seen = ask(&KIND, &format!("{table}\nhttp_version = '1.1'")).await;
    let expected = "TLS: the server does not speak the HTTP version that is asked for";
    assert_eq!(error(&seen), expected);
}

#[tokio::test]
async fn a_server_that_does_not_know_http2_is_told_as_such() {
    let server = Server::plain(|_, _| Reply::Close(answer("200 OK", "", ""))).await;
    let table = format!("url = 'http://{}/'\nhttp_version = 2", server.address);
    let seen = ask(&KIND, &table).await;
    assert!(error(&seen) != "no error" && !error(&seen).starts_with("no answer"), "{seen:?}");
}

/// A proxy for CONNECT and whole requests; the requests to it go into `log`.
async fn http_proxy(log: tokio::sync::mpsc::UnboundedSender<String>) -> SocketAddr {
    serving(move |mut stream| {
        let log = log.clone();
        async move {
            let request = head(&mut stream).await?;
            log.send(request.clone()).ok()?;
            if !request.to_ascii_lowercase().contains("proxy-authorization: basic ytpi") {
                let no = "HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n";
                return stream.write_all(no.as_bytes()).await.ok();
            }
            let target = request.split(' ').nth(1)?.to_owned();
            if request.starts_with("CONNECT ") {
                let mut there = TcpStream::connect(target).await.ok()?;
                stream.write_all(b"HTTP/1.1 200 Fine\r\n\r\n").await.ok()?;
                return tokio::io::copy_bidirectional(&mut stream, &mut there).await.ok().map(drop);
            }
            let body = format!("proxied {target}");
            stream.write_all(answer("200 OK", "", &body).as_bytes()).await.ok()
        }
    })
    .await
}

#[tokio::test]
async fn an_http_proxy_is_told_of_plain_requests_and_tunnels_the_rest() {
    let (log, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let proxy = http_proxy(log).await;
    let url = "url = 'http://shop.invalid:81/a?b'";
    let seen = ask(&KIND, &format!("{url}\nproxy = 'http://a:b@{proxy}'")).await;
    assert_eq!(
        (error(&seen), fact(&seen, "text")),
        ("no error", json!("proxied http://shop.invalid:81/a?b"))
    );
    let request = asked.recv().await.expect("a request");
    assert!(request.contains("host: shop.invalid:81\r\n"), "{request}");

    let authority = Authority::new();
    let ca = file(&authority.pem);
    let config = authority.server("127.0.0.1", 2000, 2090);
    let mut secure = Server::tls(config, |_, _| Reply::Close(answer("200 OK", "", "safe"))).await;
    let url = format!("url = 'https://{}/'\nca_file = '{}'", secure.address, ca.path().display());
    let seen = ask(&KIND, &format!("{url}\nproxy = 'http://a:b@{proxy}'")).await;
    assert_eq!((error(&seen), fact(&seen, "text")), ("no error", json!("safe")));
    let request = asked.recv().await.expect("a request");
    assert!(request.starts_with(&format!("CONNECT {} HTTP/1.1\r\n", secure.address)), "{request}");
    assert!(!secure.request().contains("proxy-authorization"));

    let seen = ask(&KIND, &format!("{url}\nproxy = 'http://{proxy}'")).await;
    let expected = "it wants user and password (HTTP/1.1 407 Who are you)";
    assert_eq!(error(&seen), format!("proxy {proxy}: {expected}"));
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("one");
    let seen = ask(&KIND, &format!("{url}\nproxy = 'http://{nobody}'")).await;
    assert_eq!(error(&seen), format!("proxy {nobody}: connection refused by {nobody}"));
}

/// A SOCKS 5 proxy that knows one user, and the name `shop.invalid` as `known`.
async fn socks(known: SocketAddr) -> SocketAddr {
    serving(move |mut stream| async move {
        let mut two = [0; 2];
        stream.read_exact(&mut two).await.ok()?;
        let mut methods = vec![0; usize::from(two[1])];
        stream.read_exact(&mut methods).await.ok()?;
        if !methods.contains(&2) {
            return stream.write_all(&[5, 0xff]).await.ok();
        }
        stream.write_all(&[5, 2]).await.ok()?;
        let mut said = [0; 5];
        stream.read_exact(&mut said).await.ok()?;
        let fits = said == [1, 1, b'a', 1, b'b'];
        stream.write_all(&[1, u8::from(!fits)]).await.ok()?;
        let mut request = [0; 4];
        stream.read_exact(&mut request).await.ok()?;
        let host = match request[3] {
            3 => {
                let mut name = vec![0; usize::from(stream.read_u8().await.ok()?)];
                stream.read_exact(&mut name).await.ok()?;
                (name == b"shop.invalid").then(|| known.ip())?
            }
            _ => {
                let mut four = [0; 4];
                stream.read_exact(&mut four).await.ok()?;
                four.into()
            }
        };
        let port = stream.read_u16().await.ok()?;
        let Ok(mut there) = TcpStream::connect((host, port)).await else {
            return stream.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok();
        };
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
        tokio::io::copy_bidirectional(&mut stream, &mut there).await.ok().map(drop)
    })
    .await
}

#[tokio::test]
async fn a_socks_proxy_leads_there_and_may_know_the_name() {
    let server = Server::plain(|_, _| Reply::Close(answer("200 OK", "", "hello"))).await;
    let proxy = socks(server.address).await;
    let port = server.address.port();
    for (host, proxy, expected) in [
        ("127.0.0.1", format!("socks5://a:b@{proxy}"), "no error"),
        ("shop.invalid", format!("socks5h://a:b@{proxy}"), "no error"),
        ("shop.invalid", format!("socks5://a:b@{proxy}"), "DNS: no such host shop.invalid"),
        ("127.0.0.1", format!("socks5://a:c@{proxy}"), "PROXY: it refused user and password"),
        ("127.0.0.1", format!("socks5://{proxy}"), "PROXY: it wants user and password"),
    ] {
        let table = format!("url = 'http://{host}:{port}/'\nproxy = '{proxy}'");
        let seen = ask(&KIND, &table).await;
        let at = proxy.rsplit(['/', '@']).next().expect("an address");
        let told = error(&seen).replace(&format!("proxy {at}"), "PROXY");
        // Without a network the resolver of the machine may say nothing at all.
        let silent = expected.starts_with("DNS") && told.starts_with("DNS: no answer");
        assert!(told == expected || silent, "{told}");
        assert!(told != "no error" || fact(&seen, "text") == "hello");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("one");
    let table = format!("url = 'http://{nobody}/'\nproxy = 'socks5://a:b@{proxy}'");
    let expected = format!("proxy {proxy}: it does not connect to {nobody}: Connection refused");
    assert_eq!(error(&ask(&KIND, &table).await), expected);
}

/// A name server that knows `shop.invalid`, by IPv4 only.
async fn name_server() -> SocketAddr {
    use hickory_proto::op::{Message, MessageType, ResponseCode};
    use hickory_proto::rr::{RData, Record, RecordType, rdata::A};
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let address = socket.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut packet = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut packet).await {
            let Ok(mut message) = Message::from_vec(&packet[..length]) else { continue };
            message.metadata.message_type = MessageType::Response;
            let query = message.queries[0].clone();
            if query.name.to_ascii() != "shop.invalid." {
                message.metadata.response_code = ResponseCode::NXDomain;
            } else if query.query_type == RecordType::A {
                let data = RData::A(A([127, 0, 0, 1].into()));
                message.answers.push(Record::from_rdata(query.name, 60, data));
            }
            let _ = socket.send_to(&message.to_vec().expect("a message"), from).await;
        }
    });
    address
}

#[tokio::test]
async fn a_name_server_of_ones_own_and_an_ip_version_are_respected() {
    let server = Server::plain(|_, _| Reply::Close(answer("200 OK", "", "hello"))).await;
    let resolver = name_server().await;
    let port = server.address.port();
    let at = |host: &str| format!("url = 'http://{host}:{port}/'\nresolver = '{resolver}'");
    for (table, expected) in [
        (at("shop.invalid"), "no error".to_owned()),
        (format!("{}\nip_version = 4", at("shop.invalid")), "no error".to_owned()),
        (
            format!("{}\nip_version = 6", at("shop.invalid")),
            "DNS: shop.invalid has no IPv6 address".to_owned(),
        ),
        (at("other.invalid"), format!("DNS: no such host other.invalid, says {resolver}")),
        (
            format!("url = 'http://127.0.0.1:{port}/'\nip_version = '6'"),
            "127.0.0.1 is no IPv6 address".to_owned(),
        ),
    ] {
        let seen = ask(&KIND, &table).await;
        assert_eq!(error(&seen), expected);
        assert!(fact(&seen, "dns_ms").as_f64().is_some_and(|ms| ms >= 0.0));
    }
}

#[tokio::test]
async fn a_compressed_body_is_unpacked_unless_told_otherwise() {
    use async_compression::tokio::bufread::GzipEncoder;
    let text = format!("{{\"db\": \"ok\", \"pad\": \"{}\"}}", "x".repeat(5000));
    let mut packed = Vec::new();
    GzipEncoder::new(text.as_bytes()).read_to_end(&mut packed).await.expect("packed");
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        packed.len()
    );
    let address = answering([head.as_bytes(), &packed].concat()).await;
    let seen = ask(&KIND, &format!("url = 'http://{address}/'")).await;
    assert_eq!((error(&seen), &fact(&seen, "body")["db"]), ("no error", &json!("ok")));
    assert_eq!(fact(&seen, "size"), text.len());
    assert_eq!(fact(&seen, "compressed_size"), packed.len());

    let seen = ask(&KIND, &format!("url = 'http://{address}/'\nmax_body = 1000")).await;
    assert_eq!((fact(&seen, "size"), fact(&seen, "truncated")), (json!(1000), json!(true)));
    let seen = ask(&KIND, &format!("url = 'http://{address}/'\ndecompress = false")).await;
    assert_eq!((fact(&seen, "size"), fact(&seen, "body")), (json!(packed.len()), json!(null)));

    let liar = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain";
    let address = answering(liar.into()).await;
    let seen = ask(&KIND, &format!("url = 'http://{address}/'")).await;
    assert!(error(&seen).starts_with("the body is not valid gzip: "), "{seen:?}");
    assert_eq!(fact(&seen, "status"), 200);
}

#[tokio::test]
async fn a_server_that_dawdles_is_cut_off_in_time_and_it_is_said_where() {
    const TIMEOUT: Duration = Duration::from_millis(400);
    let drip = |text: &'static str, piece: &'static [u8]| {
        serving(move |mut stream| async move {
            head(&mut stream).await?;
            stream.write_all(text.as_bytes()).await.ok()?;
            loop {
                stream.write_all(piece).await.ok()?;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    };
    let endless_head = drip("HTTP/1.1 200 OK\r\n", b"X-A: b\r\n").await;
    let endless_body = drip("HTTP/1.1 200 OK\r\n\r\n", b"x").await;
    let endless_chunk =
        drip("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n").await;
    let endless_redirects = {
        let count = std::sync::atomic::AtomicUsize::new(0);
        let server = Server::plain(move |_, _| {
            let next = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Reply::Keep(answer("302 F", &format!("Location: /{next}\r\n"), ""))
        });
        server.await
    };
    for (address, expected) in [
        (endless_head, "no answer within 400ms: the request was sent, and nothing came"),
        (endless_body, "no answer within 400ms: the body did not end, "),
        (endless_chunk, "no answer within 400ms: the body did not end, "),
        (endless_redirects.address, "more than 50 redirects, the last to "),
    ] {
        let check = check(&KIND, &format!("url = 'http://{address}/'\nmax_redirects = 50"));
        let timeout = if expected.starts_with("more") { TIMEOUT * 20 } else { TIMEOUT };
        let seen = observe_for(&*check, timeout).await;
        assert!(error(&seen).starts_with(expected), "{expected}: {}", error(&seen));
    }
    let seen =
        observe_for(&*check(&KIND, &format!("url = 'http://{endless_body}/'")), TIMEOUT).await;
    assert!(fact(&seen, "text").as_str().is_some_and(|text| text.starts_with('x')), "{seen:?}");
}

#[tokio::test]
async fn a_head_without_end_stops_at_a_bound() {
    let address = serving(|mut stream| async move {
        head(&mut stream).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await.ok()?;
        loop {
            stream.write_all(&[b'x'; 8192]).await.ok()?;
        }
    })
    .await;
    let seen = ask(&KIND, &format!("url = 'http://{address}/'")).await;
    assert!(error(&seen).contains("the head of"), "{seen:?}");
}

#[tokio::test]
async fn a_refused_certificate_still_says_whose_it_is() {
    let authority = Authority::new();
    let ca = file(&authority.pem);
    let config = authority.server("localhost", 2000, 2020);
    let server = Server::tls(config, |_, _| Reply::Close(answer("200 OK", "", ""))).await;
    let table = format!(
        "url = 'https://localhost:{}/'\nca_file = '{}'",
        server.address.port(),
        ca.path().display()
    );
    let check = check(&KIND, &table);
    let seen = observe(&*check).await;
    assert!(error(&seen).starts_with("TLS: certificate expired "), "{seen:?}");
    assert!(error(&seen).ends_with(" days ago, on 2020-01-01"), "{seen:?}");
    assert!(fact(&seen, "cert_days_left").as_i64().is_some_and(|days| days < -2000));
    assert_eq!(fact(&seen, "cert_chain_days_left"), fact(&seen, "cert_days_left"));
    assert_eq!(fact(&seen, "cert_names"), json!(["localhost"]));
    assert_eq!(fact(&seen, "cert_chain_length"), 1);
    assert!(fact(&seen, "cert_issuer").as_str().is_some_and(|text| text.contains("CN=")));
    assert_eq!(kept(&*check, &seen)["cert_names"], json!(["localhost"]));

    // The name to ask for can be another than the host.
    let config = authority.server("shop.example", 2000, 2090);
    let server = Server::tls(config, |_, _| Reply::Close(answer("200 OK", "", ""))).await;
    let table = format!(
        "url = 'https://{}/'\nca_file = '{}'\nserver_name = 'shop.example'",
        server.address,
        ca.path().display()
    );
    assert_eq!(error(&ask(&KIND, &table).await), "no error");
}

#[tokio::test]
async fn a_name_of_ones_own_stays_with_its_host() {
    let authority = Authority::new();
    let ca = file(&authority.pem);
    let config = authority.server("localhost", 2000, 2090);
    let server = Server::tls(config, |_, _| Reply::Close(answer("200 OK", "", "safe"))).await;
    let location = format!("Location: https://localhost:{}/\r\n", server.address.port());
    let first = Server::plain(move |_, _| Reply::Close(answer("302 F", &location, ""))).await;
    let table = format!(
        "url = 'http://{}/'\nca_file = '{}'\nserver_name = 'shop.example'",
        first.address,
        ca.path().display()
    );
    let seen = ask(&KIND, &table).await;
    assert_eq!((error(&seen), fact(&seen, "text")), ("no error", json!("safe")));
}

#[test]
fn tls_options_that_weaken_or_do_not_fit_are_told_at_load() {
    let authority = Authority::new();
    let ca = file(&authority.pem);
    let table = "url = 'https://a.example'\ninsecure_skip_verify = true\nkey_file = 'a.key'";
    insta::assert_snapshot!(problems(&KIND, table), @r"
    a.toml:2:24: warning: insecure_skip_verify: the check takes any certificate, also that of somebody in between (`ca_file` names whom to trust instead)
    a.toml:3:12: key_file: is the key of a certificate that `cert_file` must name
    ");
    let table = format!("url = 'https://a.example'\ncert_file = '{}'", ca.path().display());
    let told = problems(&KIND, &table);
    assert!(told.contains("cannot read a key from"), "{told}");
    let table = "url = 'http://a.example'\nproxy = 'https://p.example'\nip_version = 5\n\
                 http_version = '3'\nmax_redirects = 51\nresolver = 'a b'\n\
                 oauth2 = { token_url = 'https://t.example', scopes = ['a'] }";
    insta::assert_snapshot!(problems(&KIND, table), @r#"
    a.toml:2:9: proxy: `https://` is not supported here (use http:// or socks5:// or socks5h://)
    a.toml:3:14: ip_version: 5 is neither 4 nor 6
    a.toml:4:16: http_version: "3" is none of "auto", "1.1" and "2"
    a.toml:5:17: max_redirects: is more than 50
    a.toml:6:12: resolver: `a b` is no name server (such as 1.1.1.1 or ns.example:5353)
    a.toml:7:10: oauth2.client_id: is missing
    a.toml:7:10: oauth2.client_secret: is missing
    "#);
}
