mod depth;

use super::KIND;
use crate::check::testing::{
    Authority, Reply, Server, answer, ask, check, error, fact, file, problems, run,
};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// What the server of a test does once the socket is open.
#[derive(Clone, Copy)]
enum Behaviour {
    /// Sends back each text; the pong comes by itself.
    Echo,
    /// Greets first.
    Greet,
    /// Ends at once, with a reason.
    Close,
    /// Drops the connection.
    Drop,
    /// Sends more than a check reads.
    Flood,
}

struct Socket {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn server(behaviour: Behaviour, tls: Option<TlsAcceptor>) -> Socket {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            match &tls {
                None => serve(stream, behaviour).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => serve(stream, behaviour).await,
                    Err(_) => None,
                },
            };
        }
    });
    Socket { address, task }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, behaviour: Behaviour) -> Option<()> {
    // The signature is tungstenite's own.
    #[expect(clippy::result_large_err)]
    let choose = |request: &Request, mut response: Response| {
        if let Some(protocol) = request.headers().get("Sec-WebSocket-Protocol") {
            response.headers_mut().insert("Sec-WebSocket-Protocol", protocol.clone());
        }
        Ok(response)
    };
    let socket = tokio_tungstenite::accept_hdr_async(stream, choose).await;
    let mut socket: WebSocketStream<S> = socket.ok()?;
    match behaviour {
        Behaviour::Echo => {}
        Behaviour::Greet => socket.send(Message::text(r#"{"type": "welcome"}"#)).await.ok()?,
        Behaviour::Close => {
            let frame = CloseFrame { code: CloseCode::Policy, reason: "no\nkey".into() };
            socket.close(Some(frame)).await.ok()?;
        }
        Behaviour::Drop => return None,
        Behaviour::Flood => socket.send(Message::binary(vec![0; 2 << 20])).await.ok()?,
    }
    while let Some(Ok(message)) = socket.next().await {
        if message.is_text() {
            socket.send(message).await.ok()?;
        }
    }
    None
}

#[tokio::test]
async fn an_open_socket_that_answers_a_ping_is_well() {
    let server = server(Behaviour::Echo, None).await;
    let seen = ask(&KIND, &format!("url = 'ws://{}/a?b=c'", server.address)).await;
    assert_eq!(error(&seen), "no error");
    for name in ["dns_ms", "connect_ms", "handshake_ms", "pong_ms"] {
        assert!(fact(&seen, name).as_f64().is_some_and(|ms| ms >= 0.0), "{name}");
    }
    for name in ["tls_ms", "cert_days_left", "message", "json", "first_message_ms"] {
        assert_eq!(fact(&seen, name), "absent", "{name}");
    }
}

#[tokio::test]
async fn the_answer_to_a_message_becomes_facts() {
    let server = server(Behaviour::Echo, None).await;
    let url = format!("url = 'ws://{}'", server.address);
    let seen = ask(&KIND, &format!("{url}\nsend = '{{\"a\": 1}}'\nsubprotocol = 'v1'")).await;
    assert_eq!(error(&seen), "no error");
    assert_eq!(
        (fact(&seen, "message"), fact(&seen, "json")),
        (json!("{\"a\": 1}"), json!({"a": 1}))
    );
    assert!(fact(&seen, "first_message_ms").is_f64());

    let seen = ask(&KIND, &format!("{url}\nsend = 'hello'")).await;
    assert_eq!((fact(&seen, "message"), fact(&seen, "json")), (json!("hello"), json!(null)));
}

#[tokio::test]
async fn a_greeting_is_waited_for_where_the_table_says_so() {
    let server = server(Behaviour::Greet, None).await;
    let seen =
        ask(&KIND, &format!("url = 'ws://{}'\nwait_for_message = true", server.address)).await;
    assert_eq!((error(&seen), fact(&seen, "json")), ("no error", json!({"type": "welcome"})));
}

#[tokio::test]
async fn a_message_that_never_comes_is_cut_by_the_timeout() {
    let server = server(Behaviour::Echo, None).await;
    let check = check(&KIND, &format!("url = 'ws://{}'\nwait_for_message = true", server.address));
    let run = run();
    let ended = tokio::time::timeout(Duration::from_millis(300), check.run(&run)).await;
    assert!(ended.is_err(), "{ended:?}");
}

#[tokio::test]
async fn a_broken_server_is_told_in_plain_words() {
    for (behaviour, expected) in [
        (Behaviour::Close, "the server closed the WebSocket (1008: no key)"),
        (Behaviour::Drop, "connection closed by ADDRESS without a reason"),
        (
            Behaviour::Flood,
            "a message of ADDRESS has 2097152 bytes, more than the 1048576 of `max_message`",
        ),
    ] {
        let server = server(behaviour, None).await;
        let address = server.address.to_string();
        let seen = ask(&KIND, &format!("url = 'ws://{address}'\nwait_for_message = true")).await;
        assert_eq!(error(&seen).replace(&address, "ADDRESS"), expected);
        assert!(fact(&seen, "handshake_ms").is_f64());
    }
}

#[tokio::test]
async fn a_refused_upgrade_says_the_status() {
    for status in [401, 200, 503] {
        let line = format!("{status} Whatever");
        let mut server = Server::plain(move |_, _| Reply::Close(answer(&line, "", "no"))).await;
        let url = format!("url = 'ws://{}/feed'", server.address);
        let seen = ask(&KIND, &format!("{url}\nheaders = {{ X-Key = 'k' }}")).await;
        let expected = format!("the server refused the WebSocket with status {status}");
        assert_eq!(error(&seen), expected);
        let request = server.request().to_ascii_lowercase();
        assert!(request.starts_with("get /feed http/1.1\r\n"), "{request}");
        for line in [&*format!("host: {}", server.address), "x-key: k", "upgrade: websocket"] {
            assert!(request.contains(&format!("{line}\r\n")), "{line} in {request}");
        }
    }
}

#[tokio::test]
async fn a_secure_socket_is_verified() {
    let authority = Authority::new();
    let ca = file(&authority.pem);
    let tls = TlsAcceptor::from(authority.server("localhost", 2000, 2090));
    let server = server(Behaviour::Echo, Some(tls)).await;
    let url = format!("url = 'wss://localhost:{}'", server.address.port());
    let seen = ask(&KIND, &format!("{url}\nca_file = '{}'", ca.path().display())).await;
    assert_eq!(error(&seen), "no error");
    assert!(fact(&seen, "tls_ms").is_f64() && fact(&seen, "cert_days_left").is_i64());

    let stranger = file(&Authority::new().pem);
    let seen = ask(&KIND, &format!("{url}\nca_file = '{}'", stranger.path().display())).await;
    assert!(error(&seen).starts_with("TLS: certificate is not from an authority"), "{seen:?}");
}

#[test]
fn a_wrong_table_is_told_all_at_once() {
    let table = "url = 'http://a.example'\nsubprotocol = 'a b'\nheaders = { Upgrade = 'h2c' }\n\
                 sent = 'x'";
    insta::assert_snapshot!(problems(&KIND, table), @r"
    a.toml:1:7: url: `http://` is not supported here (use ws:// or wss://)
    a.toml:2:15: subprotocol: `a b` is not the name of a protocol
    a.toml:3:11: headers: `upgrade` belongs to the handshake and cannot be set
    a.toml:4:1: sent: unknown key (did you mean `send`?)
    ");
}

#[test]
fn debug_output_shows_no_secret() {
    let table = "url = 'wss://ann:hunter2@a.example/hunter2'\nsend = 'hunter2'\n\
                 headers = { X-Token = 'hunter2' }";
    let shown = format!("{:?}", check(&KIND, table));
    assert!(shown.contains("a.example") && !shown.contains("hunter2"), "{shown}");
}
