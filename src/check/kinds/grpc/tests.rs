use super::KIND;
use crate::check::testing::{
    Authority, Reply, Server, answer, check, error, fact, file, free_port, observe, problems, run,
};
use crate::check::{Check, Run};
use crate::model::Status;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

/// A server of HTTP/2 that ends with the test's runtime; its port.
async fn server(
    tls: Option<Arc<ServerConfig>>,
    answer: impl Fn(&HeaderMap, &str) -> Response<Body> + Send + Sync + 'static,
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (answer, tls) = (Arc::clone(&answer), tls.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = Arc::clone(&answer);
                    async move {
                        let (head, body) = request.into_parts();
                        assert_eq!(head.uri.path(), "/grpc.health.v1.Health/Check");
                        let body = body.collect().await.expect("a body").to_bytes();
                        // Five bytes of gRPC; then field 1, a text, and its length.
                        let service = String::from_utf8_lossy(body.get(7..).unwrap_or_default());
                        Ok::<_, Infallible>(answer(&head.headers, &service))
                    }
                });
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = match tls {
                    None => builder.serve_connection(TokioIo::new(stream), service).await,
                    Some(tls) => match TlsAcceptor::from(tls).accept(stream).await {
                        Ok(stream) => builder.serve_connection(TokioIo::new(stream), service).await,
                        Err(_) => Ok(()),
                    },
                };
            });
        }
    });
    port
}

fn grpc(body: Body) -> Response<Body> {
    Response::builder().header("content-type", "application/grpc").body(body).expect("a response")
}

/// What a server answers that serves so.
fn status(number: u8) -> Response<Body> {
    let frames: Vec<Result<_, Infallible>> = vec![
        Ok(Frame::data(Bytes::from(vec![0, 0, 0, 0, 2, 8, number]))),
        Ok(Frame::trailers(HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            http::HeaderValue::from_static("0"),
        )]))),
    ];
    grpc(StreamBody::new(futures_util::stream::iter(frames)).boxed())
}

fn refused(code: &str, message: &str) -> Response<Body> {
    let mut answer = grpc(Full::default().boxed());
    answer.headers_mut().insert("grpc-status", code.parse().expect("a code"));
    answer.headers_mut().insert("grpc-message", message.parse().expect("a message"));
    answer
}

fn at(port: u16, more: &str) -> Box<dyn Check> {
    check(&KIND, &format!("address = '127.0.0.1:{port}'\n{more}"))
}

#[test]
fn problems_of_the_table_are_all_told() {
    let text = "address = 'api.example'\nservice = 'a'\nservices = []\n\
                metadata = { grpc-timeout = '1S' }";
    insta::assert_snapshot!(problems(&KIND, text), @"
    a.toml:1:11: address: `api.example` is not an address (such as api.example:50051 or https://api.example)
    a.toml:3:12: services: is empty (leave it out to ask about the server as a whole)
    a.toml:4:12: metadata: `grpc-timeout` belongs to gRPC itself and cannot be set
    ");
    let text = "address = 'https://me:pw@api.example'\nservice = 'a'\nservices = ['a', 'a']";
    insta::assert_snapshot!(problems(&KIND, text), @"
    a.toml:1:11: address: names a user (send a token by `metadata`)
    a.toml:3:12: services: names `a` twice
    ");
    let text = "address = 'http://api.example'\ntls = true\nservice = 'a'\nservices = ['b']";
    insta::assert_snapshot!(problems(&KIND, text), @"
    a.toml:2:7: tls: contradicts the scheme of `address`
    a.toml:4:12: services: there is `service` already
    ");
}

#[test]
fn metadata_shows_in_no_debug_output() {
    let debug = format!("{:?}", at(1, "metadata = { x = 'hunter2-hunter2' }"));
    assert!(!debug.contains("hunter2"), "{debug}");
}

#[tokio::test]
async fn a_server_that_serves_is_up() {
    let port = server(None, |headers, service| {
        assert_eq!((headers["x-token"].to_str().ok(), service), (Some("abc"), ""));
        assert_eq!(headers["grpc-timeout"], "10000000u");
        assert!(headers["user-agent"].to_str().is_ok_and(|agent| agent.starts_with("watchbell/")));
        status(1)
    })
    .await;
    let check = at(port, "metadata = { X-Token = 'abc' }");
    let seen = observe(&*check).await;
    assert_eq!(error(&seen), "no error");
    assert_eq!(fact(&seen, "serving_status"), "SERVING");
    assert_eq!(fact(&seen, "grpc_code"), "OK");
    assert_eq!(check.sense(&seen).status, Status::Up);
    assert!(fact(&seen, "answer_ms").as_f64().is_some_and(|span| span > 0.0));
}

#[tokio::test]
async fn each_service_that_does_not_serve_is_named() {
    let port = server(None, |_, service| match service {
        "shop.Orders" => status(1),
        "shop.Payments" => status(2),
        "shop.Mail" => status(0),
        _ => refused("5", "unknown service"),
    })
    .await;
    let check = at(port, "services = ['shop.Orders', 'shop.Payments', 'shop.Mail', 'shop.Typo']");
    let seen = observe(&*check).await;
    assert_eq!(error(&seen), "no error");
    assert_eq!(fact(&seen, "serving_status"), "NOT_SERVING");
    assert_eq!(fact(&seen, "grpc_code"), "NOT_FOUND");
    assert_eq!(fact(&seen, "services")["shop.Orders"], "SERVING");
    assert_eq!(
        check.sense(&seen).reasons,
        [
            "service `shop.Payments` is NOT_SERVING",
            "service `shop.Mail` is UNKNOWN",
            "the server knows no service `shop.Typo`"
        ]
    );
}

/// What is said of a server that answers a call so.
async fn said(answer: impl Fn() -> Response<Body> + Send + Sync + 'static) -> String {
    let port = server(None, move |_, _| answer()).await;
    let check = at(port, "metadata = { authorization = 'Bearer 0123456789' }");
    let seen = observe(&*check).await;
    let words = match &seen.error {
        Some(error) => format!("failed: {error}"),
        None => check.sense(&seen).reasons.join(" | "),
    };
    words.replace(&format!("127.0.0.1:{port}"), "SERVER")
}

#[tokio::test]
async fn what_a_server_refuses_is_told_in_words_without_the_token() {
    assert_eq!(
        said(|| refused("12", "")).await,
        "the server does not offer the health protocol (it registers no grpc.health.v1.Health): \
         UNIMPLEMENTED"
    );
    assert_eq!(
        said(|| refused("16", "no 0123456789")).await,
        "the server does not let this check ask (does `metadata` hold the right token?): \
         UNAUTHENTICATED: no [secret]"
    );
    assert_eq!(said(|| refused("13", "a%0Ab")).await, "the call failed: INTERNAL: a b");
    assert_eq!(
        said(|| status(9)).await,
        "the call failed: UNKNOWN: a status that the protocol does not know"
    );
    assert_eq!(
        said(|| Response::builder().status(404).body(Full::default().boxed()).expect("a response"))
            .await,
        "failed: SERVER is a web server that does not speak gRPC here: it answered HTTP 404 Not \
         Found with nothing"
    );
}

#[tokio::test]
async fn an_answer_without_end_is_not_read() {
    let endless = || {
        let mut head = vec![0, 0x7f, 0xff, 0xff, 0xff];
        head.resize(16 * 1024, 0);
        let frame = Bytes::from(head);
        let frames = futures_util::stream::repeat_with(move || {
            Ok::<_, Infallible>(Frame::data(frame.clone()))
        });
        grpc(StreamBody::new(frames).boxed())
    };
    let said = said(endless).await;
    assert!(said.starts_with("the call failed: OUT_OF_RANGE"), "{said}");
}

#[tokio::test]
async fn what_is_no_grpc_at_all_is_told_so() {
    let web = Server::plain(|_, _| Reply::Keep(answer("400 Bad Request", "", ""))).await;
    let seen = observe(&*at(web.address.port(), "")).await;
    assert_eq!(error(&seen), format!("{} speaks HTTP/1, and so not gRPC", web.address));

    let config = Authority::new().server("localhost", 2020, 2100);
    let port = server(Some(config), |_, _| status(1)).await;
    let seen = observe(&*at(port, "")).await;
    // The reset that follows the server's alert may overtake it.
    let told = error(&seen).contains("wants TLS (`tls = true`") || error(&seen).contains("reset");
    assert!(told, "{}", error(&seen));

    let port = free_port();
    let seen = observe(&*at(port, "")).await;
    assert!(error(&seen).contains("refused"), "{}", error(&seen));
}

#[tokio::test]
async fn a_server_that_hangs_ends_with_the_run_and_leaves_no_task() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let check = at(port, "");
    let run = Run { timeout: Duration::from_millis(200), ..run() };
    assert!(tokio::time::timeout(run.timeout, check.run(&run)).await.is_err());
    // The connection is over once nothing drives it.
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let mut heard = Vec::new();
    let end = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut heard);
    crate::check::testing::within(end).await.expect("an end");
}

#[tokio::test]
async fn tls_is_verified_by_an_authority_of_our_own() {
    let authority = Authority::new();
    let mut config = (*authority.server("localhost", 2020, 2100)).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let port = server(Some(Arc::new(config)), |_, _| status(1)).await;
    let ca = file(&authority.pem);
    let address = format!("address = 'https://localhost:{port}'");
    let trusting = check(&KIND, &format!("{address}\nca_file = '{}'", ca.path().display()));
    let seen = observe(&*trusting).await;
    assert_eq!((error(&seen), fact(&seen, "serving_status")), ("no error", "SERVING".into()));
    assert!(fact(&seen, "cert_days_left").as_i64().is_some_and(|days| days > 1000));

    let seen = observe(&*check(&KIND, &address)).await;
    assert!(error(&seen).starts_with("TLS: certificate is not from an authority"), "{seen:?}");
}
