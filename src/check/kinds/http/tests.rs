mod depth;

use super::{KIND, read_size};
use crate::check::testing::{
    Authority, Reply, Server, answer, ask, check, error, fact, file, observe, problems, run,
    run_on, self_signed, within,
};
use crate::clock::Manual;
use crate::model::{Status, Timestamp};
use chrono::DateTime;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test]
async fn an_answer_becomes_facts() {
    let mut server = Server::plain(|_, _| {
        Reply::Keep(answer("200 OK", "X-A: 1\r\nX-A: 2\r\n", r#" {"db": "ok"}"#))
    })
    .await;
    let seen = ask(&KIND, &format!("url = 'http://{}/a?b=c#d'", server.address)).await;
    assert_eq!(seen.error, None);
    assert_eq!(fact(&seen, "status"), 200);
    assert_eq!(fact(&seen, "text"), r#" {"db": "ok"}"#);
    assert_eq!(fact(&seen, "body"), json!({"db": "ok"}));
    assert_eq!(fact(&seen, "headers"), json!({"content-length": "13", "x-a": "1, 2"}));
    assert_eq!((fact(&seen, "size"), fact(&seen, "truncated")), (json!(13), json!(false)));
    assert_eq!(fact(&seen, "redirects"), 0);
    for name in ["dns_ms", "connect_ms", "first_byte_ms"] {
        assert!(fact(&seen, name).as_f64().is_some_and(|ms| ms >= 0.0), "{name}");
    }
    for name in ["tls_ms", "cert_days_left"] {
        assert_eq!(fact(&seen, name), "absent");
    }
    let request = server.request();
    let head = request.to_ascii_lowercase();
    assert!(request.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{request}");
    for line in [
        &*format!("host: {}\r\n", server.address),
        "accept: */*\r\n",
        "accept-encoding: identity\r\n",
        concat!("user-agent: watchbell/", env!("CARGO_PKG_VERSION"), "\r\n"),
    ] {
        assert!(head.contains(line), "{line} in {request}");
    }
}

#[tokio::test]
async fn a_bad_status_is_down_and_says_which() {
    for (status, expected) in [("204 No Content", Status::Up), ("503 Oh", Status::Down)] {
        let server = Server::plain(move |_, _| Reply::Keep(answer(status, "", ""))).await;
        let check = check(&KIND, &format!("url = 'http://{}'", server.address));
        let verdict = check.sense(&observe(&*check).await);
        assert_eq!(verdict.status, expected);
        if expected == Status::Down {
            assert_eq!(verdict.reasons, ["status is 503"]);
        }
    }
}

#[tokio::test]
async fn method_headers_body_and_credentials_are_sent_as_asked() {
    let mut server = Server::plain(|_, _| Reply::Keep(answer("200 OK", "", ""))).await;
    let url = format!("http://{}/", server.address);
    ask(
        &KIND,
        &format!(
            "url = '{url}'\nmethod = 'post'\nbody = '{{\"a\": 1}}'\n\
         headers = {{ X-One = '1', Host = 'shop.example' }}\nbearer_token = 'abc'"
        ),
    )
    .await;
    let request = server.request();
    let head = request.to_ascii_lowercase();
    assert!(request.starts_with("POST / HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"a\": 1}"), "{request}");
    assert!(request.contains("authorization: Bearer abc\r\n"), "{request}");
    for line in ["x-one: 1", "host: shop.example", "content-type: application/json"] {
        assert!(head.contains(&format!("{line}\r\n")), "{line} in {request}");
    }

    ask(&KIND, &format!("url = '{url}'\nbasic_auth = {{ username = 'admin', password = 'p@ss' }}"))
        .await;
    let request = server.request();
    assert!(request.contains("authorization: Basic YWRtaW46cEBzcw==\r\n"), "{request}");
    ask(&KIND, &format!("url = 'http://admin:p%40ss@{}'", server.address)).await;
    let request = server.request();
    assert!(request.contains("authorization: Basic YWRtaW46cEBzcw==\r\n"), "{request}");
}

#[tokio::test]
async fn a_body_past_the_limit_is_cut_and_said_to_be() {
    let head = "HTTP/1.1 200 OK\r\n\r\n{";
    let server = Server::plain(move |_, _| Reply::Endless(head.into())).await;
    let seen = ask(&KIND, &format!("url = 'http://{}'\nmax_body = '64KiB'", server.address)).await;
    assert_eq!(seen.error, None);
    assert_eq!((fact(&seen, "size"), fact(&seen, "truncated")), (json!(65536), json!(true)));
    assert_eq!(fact(&seen, "body"), json!(null));

    let exact = Server::plain(|_, _| Reply::Keep(answer("200 OK", "", "12345"))).await;
    let seen = ask(&KIND, &format!("url = 'http://{}'\nmax_body = 5", exact.address)).await;
    assert_eq!((fact(&seen, "size"), fact(&seen, "truncated")), (json!(5), json!(false)));
}

#[tokio::test]
async fn an_answer_without_a_body_is_whole() {
    for (method, head, status) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", 200),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n", 304),
    ] {
        let server = Server::plain(move |_, _| Reply::Stall(head.into())).await;
        let seen =
            ask(&KIND, &format!("url = 'http://{}'\nmethod = '{method}'", server.address)).await;
        assert_eq!((error(&seen), fact(&seen, "status")), ("no error", json!(status)));
        assert_eq!(fact(&seen, "size"), 0);
    }
}

#[tokio::test]
async fn chunks_are_put_together() {
    let chunks =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let server = Server::plain(move |_, _| Reply::Keep(chunks.into())).await;
    let seen = ask(&KIND, &format!("url = 'http://{}'", server.address)).await;
    assert_eq!((fact(&seen, "text"), fact(&seen, "size")), (json!("abcde"), json!(5)));
}

#[tokio::test]
async fn a_broken_server_is_told_in_plain_words() {
    let reply = |what: &'static str| match what {
        "reset" => Reply::Reset,
        "empty" => Reply::Close(String::new()),
        "garbage" => Reply::Close("SSH-2.0-OpenSSH_9.2\r\n\r\n".into()),
        "half" => Reply::Close("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".into()),
        _ => unreachable!(),
    };
    for (what, expected) in [
        ("reset", "connection reset by ADDRESS"),
        ("empty", "connection closed by ADDRESS before an answer came"),
        ("garbage", "the answer of ADDRESS is not HTTP/1.1: invalid HTTP version parsed"),
        ("half", "connection closed by ADDRESS, in the middle of the body"),
    ] {
        let server = Server::plain(move |_, _| reply(what)).await;
        let address = server.address.to_string();
        let seen = ask(&KIND, &format!("url = 'http://{address}'")).await;
        assert_eq!(error(&seen).replace(&address, "ADDRESS"), expected);
        assert_eq!(fact(&seen, "status") == 200, what == "half");
    }
}

#[tokio::test]
async fn a_server_that_never_ends_its_answer_is_cut_by_the_timeout() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nslow";
    let server = Server::plain(move |_, _| Reply::Stall(head.into())).await;
    let check = check(&KIND, &format!("url = 'http://{}'", server.address));
    let run = run();
    let ended = tokio::time::timeout(Duration::from_millis(300), check.run(&run)).await;
    assert!(ended.is_err(), "{ended:?}");
}

#[tokio::test]
async fn redirects_are_followed_and_counted() {
    let mut server = Server::plain(|request, _| match request.split(' ').nth(1) {
        Some("/old/a") => Reply::Close(answer("302 Found", "Location: ../new?x=1\r\n", "moved")),
        _ => Reply::Close(answer("200 OK", "", "here")),
    })
    .await;
    let table = format!("url = 'http://{}/old/a'\nmethod = 'POST'\nbody = 'b'", server.address);
    let seen = ask(&KIND, &table).await;
    assert_eq!((fact(&seen, "text"), fact(&seen, "redirects")), (json!("here"), json!(1)));
    assert!(server.request().starts_with("POST /old/a "));
    let second = server.request();
    assert!(second.starts_with("GET /new?x=1 ") && second.ends_with("\r\n\r\n"), "{second}");

    let seen = ask(&KIND, &format!("{table}\nfollow_redirects = false")).await;
    assert_eq!((fact(&seen, "status"), fact(&seen, "text")), (json!(302), json!("moved")));
}

#[tokio::test]
async fn a_redirect_that_keeps_the_method_keeps_the_body() {
    let mut server = Server::plain(|request, _| match request.split(' ').nth(1) {
        Some("/") => Reply::Close(answer("307 There", "Location: /b\r\n", "")),
        _ => Reply::Close(answer("200 OK", "", "")),
    })
    .await;
    ask(&KIND, &format!("url = 'http://{}/'\nmethod = 'PUT'\nbody = 'abc'", server.address)).await;
    server.request();
    let second = server.request();
    assert!(second.starts_with("PUT /b ") && second.ends_with("\r\n\r\nabc"), "{second}");
}

#[tokio::test]
async fn redirects_in_a_circle_end() {
    let server =
        Server::plain(|_, _| Reply::Close(answer("301 M", "Location: /?k=s\r\n", ""))).await;
    let seen = ask(&KIND, &format!("url = 'http://{}/'", server.address)).await;
    let expected = format!("redirect loop: http://{}/ leads back to itself", server.address);
    assert_eq!((error(&seen), fact(&seen, "redirects")), (&*expected, json!(1)));
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_redirect_to_another_scheme_is_an_error() {
    let server =
        Server::plain(|_, _| Reply::Close(answer("301 M", "Location: file:///etc\r\n", ""))).await;
    let seen = ask(&KIND, &format!("url = 'http://{}/'", server.address)).await;
    assert_eq!(error(&seen), "the redirect leads to `file:///etc`");
}

#[tokio::test]
async fn credentials_stay_with_their_host() {
    let mut other = Server::plain(|_, _| Reply::Close(answer("200 OK", "", ""))).await;
    let location = format!("Location: http://{}/\r\n", other.address);
    let mut first = Server::plain(move |request, _| match request.split(' ').nth(1) {
        Some("/") => Reply::Close(answer("302 Found", "Location: /same\r\n", "")),
        _ => Reply::Close(answer("302 Found", &location, "")),
    })
    .await;
    ask(
        &KIND,
        &format!(
            "url = 'http://{}/'\nbearer_token = 'abc'\n\
         headers = {{ X-Api-Key = 'k', Cookie = 'c', Accept = 'text/html' }}",
            first.address
        ),
    )
    .await;
    first.request();
    let same = first.request();
    assert!(same.contains("authorization: Bearer abc\r\n") && same.contains("x-api-key"), "{same}");
    let elsewhere = other.request();
    for word in ["authorization", "abc", "x-api-key", "cookie"] {
        assert!(!elsewhere.contains(word), "{word} in {elsewhere}");
    }
    assert!(elsewhere.contains("accept: text/html\r\n"), "{elsewhere}");
    assert!(elsewhere.contains(&format!("host: {}\r\n", other.address)), "{elsewhere}");
}

#[tokio::test]
async fn a_new_connection_is_made_for_each_run_unless_told_otherwise() {
    for (reuse, expected) in [(false, 3), (true, 1)] {
        let server = Server::plain(|_, _| Reply::Keep(answer("200 OK", "", "hello"))).await;
        let table = format!("url = 'http://{}'\nreuse_connection = {reuse}", server.address);
        let check = check(&KIND, &table);
        for round in 0..3 {
            let seen = observe(&*check).await;
            assert_eq!((seen.error.as_deref(), fact(&seen, "text")), (None, json!("hello")));
            if reuse && round > 0 {
                assert_eq!(fact(&seen, "connect_ms"), 0.0);
            }
        }
        assert_eq!(server.connections.load(Ordering::SeqCst), expected);
    }
}

#[tokio::test]
async fn a_kept_connection_that_died_is_replaced() {
    // Each connection answers once, and then ends: at once, or when the next request has come.
    let server = Server::plain(|_, _| Reply::Close(answer("200 OK", "", "x"))).await;
    let kept =
        check(&KIND, &format!("url = 'http://{}/'\nreuse_connection = true", server.address));
    for _ in 0..3 {
        assert_eq!(fact(&observe(&*kept).await, "text"), "x");
    }
    let endings: [fn() -> Reply; 2] = [|| Reply::Close(String::new()), || Reply::Reset];
    for ending in endings {
        let server = Server::plain(move |_, number| match number {
            1 => Reply::Keep(answer("200 OK", "", "x")),
            _ => ending(),
        })
        .await;
        let check =
            check(&KIND, &format!("url = 'http://{}/'\nreuse_connection = true", server.address));
        for _ in 0..3 {
            let seen = observe(&*check).await;
            assert_eq!((error(&seen), fact(&seen, "text")), ("no error", json!("x")));
        }
        assert_eq!(server.connections.load(Ordering::SeqCst), 3);
    }
}

#[tokio::test]
async fn a_request_that_changes_things_is_not_sent_twice() {
    let mut server = Server::plain(move |_, number| match number {
        1 => Reply::Keep(answer("200 OK", "", "x")),
        _ => Reply::Close(String::new()),
    })
    .await;
    let table = "method = 'POST'\nreuse_connection = true";
    let check = check(&KIND, &format!("url = 'http://{}/'\n{table}", server.address));
    assert_eq!(error(&observe(&*check).await), "no error");
    assert!(error(&observe(&*check).await).starts_with("connection closed by"));
    server.request();
    server.request();
    assert!(server.requests.try_recv().is_err());
}

#[tokio::test]
async fn a_valid_certificate_is_accepted_and_its_days_counted() {
    let authority = Authority::new();
    let ca = file(&authority.pem);
    let config = authority.server("localhost", 2000, 2090);
    let server = Server::tls(config, |_, _| Reply::Close(answer("200 OK", "", ""))).await;
    let check = check(
        &KIND,
        &format!(
            "url = 'https://localhost:{}/'\nca_file = '{}'",
            server.address.port(),
            ca.path().display()
        ),
    );
    let wall: Timestamp =
        DateTime::parse_from_rfc3339("2089-12-02T00:00:00Z").expect("a time").to_utc().into();
    let run = run_on(Arc::new(Manual::at(wall)));
    let seen = within(check.run(&run)).await;
    assert_eq!((error(&seen), fact(&seen, "status")), ("no error", json!(200)));
    assert_eq!(fact(&seen, "cert_days_left"), 30);
    assert_eq!(fact(&seen, "tls_ms"), 0.0);
}

#[tokio::test]
async fn a_bad_certificate_is_told_in_plain_words_or_skipped_when_asked() {
    let authority = Authority::new();
    let (known, unknown) = (file(&authority.pem), file(&Authority::new().pem));
    let (own, own_pem) = self_signed("localhost", 2000, 2090);
    let (old, old_pem) = self_signed("localhost", 2000, 2020);
    let (own_file, old_file) = (file(&own_pem), file(&old_pem));
    let good = authority.server("localhost", 2000, 2090);
    let ages = regex::Regex::new("[0-9]+ days").expect("a pattern");
    for (config, ca, expected) in [
        (good.clone(), &known, "no error"),
        (
            good,
            &unknown,
            "TLS: certificate is not from an authority that is trusted (`ca_file` names others)",
        ),
        (
            authority.server("localhost", 2000, 2020),
            &known,
            "TLS: certificate expired N days ago, on 2020-01-01",
        ),
        (
            authority.server("localhost", 2080, 2090),
            &known,
            "TLS: certificate is not valid before 2080-01-01",
        ),
        (
            authority.server("shop.example", 2000, 2090),
            &known,
            "TLS: certificate is for shop.example, not localhost",
        ),
        (own, &own_file, "no error"),
        (old, &old_file, "TLS: certificate expired N days ago, on 2020-01-01"),
    ] {
        let server = Server::tls(config, |_, _| Reply::Close(answer("200 OK", "", ""))).await;
        let url = format!("url = 'https://localhost:{}/'", server.address.port());
        let seen = ask(&KIND, &format!("{url}\nca_file = '{}'", ca.path().display())).await;
        assert_eq!(ages.replace(error(&seen), "N days"), expected);
        let days = fact(&seen, "cert_days_left").as_i64();
        assert!(!expected.contains("expired") || days.is_some_and(|days| days < 0), "{days:?}");

        let seen = ask(&KIND, &format!("{url}\ninsecure_skip_verify = true")).await;
        assert_eq!((error(&seen), fact(&seen, "status")), ("no error", json!(200)));
        assert!(fact(&seen, "cert_days_left").is_i64(), "{seen:?}");
    }
}

#[tokio::test]
async fn the_machines_own_trust_knows_no_stranger() {
    let config = Authority::new().server("localhost", 2000, 2090);
    let server = Server::tls(config, |_, _| Reply::Close(answer("200 OK", "", ""))).await;
    let seen = ask(&KIND, &format!("url = 'https://localhost:{}/'", server.address.port())).await;
    let expected = ["TLS: certificate is not from an", "TLS: this machine has no trusted"];
    assert!(expected.iter().any(|what| error(&seen).starts_with(what)), "{seen:?}");
}

#[tokio::test]
async fn https_to_a_server_without_tls_says_so() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let (mut stream, _) = listener.accept().await.expect("a connection");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.expect("sent");
        stream
    });
    let seen = ask(&KIND, &format!("url = 'https://{address}/'")).await;
    assert_eq!(error(&seen), "TLS: the server does not speak TLS on this port");
    server.abort();
}

#[tokio::test]
async fn a_redirect_from_http_to_https_is_followed() {
    let authority = Authority::new();
    let ca = file(&authority.pem);
    let config = authority.server("127.0.0.1", 2000, 2090);
    let secure = Server::tls(config, |_, _| Reply::Close(answer("200 OK", "", "safe"))).await;
    let location = format!("Location: https://{}/\r\n", secure.address);
    let plain = Server::plain(move |_, _| Reply::Close(answer("308 There", &location, ""))).await;
    let table = format!("url = 'http://{}/'\nca_file = '{}'", plain.address, ca.path().display());
    let seen = ask(&KIND, &table).await;
    assert_eq!((error(&seen), fact(&seen, "text")), ("no error", json!("safe")));
    assert!(fact(&seen, "cert_days_left").is_i64());
}

#[tokio::test]
async fn an_ipv6_address_can_be_asked() {
    let Ok(listener) = tokio::net::TcpListener::bind("[::1]:0").await else { return };
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let seen = ask(&KIND, &format!("url = 'http://{address}/'")).await;
    assert_eq!(error(&seen), format!("connection refused by {address}"));
}

#[test]
fn a_wrong_table_is_told_all_at_once() {
    let table = "url = 'ftp://a.example'\nmethod = 'GET IT'\nbearer_token = \"a\\nb\"\n\
                 headers = { \"a b\" = '1' }\nca_file = 'ca.pem'\nmax_body = '1 furlong'\n\
                 folow_redirects = true\nbasic_auth = { user = 'a' }";
    insta::assert_snapshot!(problems(&KIND, table), @r#"
    a.toml:1:7: url: `ftp://` is not supported here (use http:// or https://)
    a.toml:2:10: method: `GET IT` is not a method that a check can use (such as GET or POST)
    a.toml:3:16: bearer_token: holds a line break or a control character
    a.toml:4:11: headers: `a b` is not the name of a header
    a.toml:5:11: ca_file: cannot read /nonexistent/ca.pem: No such file or directory (os error 2)
    a.toml:6:12: max_body: "1 furlong" is not a size (such as 65536 or "64KiB")
    a.toml:7:1: folow_redirects: unknown key (did you mean `follow_redirects`?)
    a.toml:8:14: basic_auth.username: is missing
    a.toml:8:16: basic_auth.user: unknown key (known keys: username, password)
    "#);
    insta::assert_snapshot!(problems(&KIND, ""), @"a.toml:1:1: url: is missing");
}

#[test]
fn two_ways_to_say_who_asks_are_one_too_many() {
    for table in [
        "bearer_token = 'a'\nbasic_auth = { username = 'a' }\nurl = 'http://a.example'",
        "bearer_token = 'a'\nheaders = { Authorization = 'b' }\nurl = 'http://a.example'",
        "bearer_token = 'a'\nurl = 'http://b:c@a.example'",
    ] {
        assert!(problems(&KIND, table).contains("already"), "{table}");
    }
}

#[test]
fn debug_output_shows_no_secret() {
    let table = "url = 'https://ann:hunter2@a.example/hunter2?k=hunter2'\nbody = 'hunter2'\n\
                 headers = { X-Token = 'hunter2' }";
    let shown = format!("{:?}", check(&KIND, table));
    assert!(shown.contains("a.example") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_size_is_a_number_or_has_a_unit() {
    for (text, expected) in
        [("64KiB", Some(65536)), ("1 MiB", Some(1 << 20)), ("2kB", Some(2000)), ("2 feet", None)]
    {
        assert_eq!(read_size(toml::Value::from(text)).ok(), expected, "{text}");
    }
    assert_eq!(read_size(toml::Value::from(7)).ok(), Some(7));
    assert_eq!(read_size(toml::Value::from(-7)).ok(), None);
    assert_eq!(read_size(toml::Value::from("1000MiB")).ok(), None);
}
