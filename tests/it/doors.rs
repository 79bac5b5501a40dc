//! The ways in to the API: TLS, the Unix socket, and those who come with ill intent.

use crate::harness::{
    Certificates, Daemon, Folder, KEY, PATIENCE, Setup, Target, client, eventually,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn whoever_may_open_the_socket_needs_no_key() {
    let target = Target::start();
    let mut daemon = Setup::new()
        .api("socket = \"api.sock\"\n")
        .checks("shop.toml", &target.check("shop", ""))
        .start()
        .await;
    let socket = daemon.setup().folder().join("api.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    // The command line finds it in daemon.toml, and prefers it, so that it needs no key.
    let paused = daemon.setup().command(&["pause", "shop"]).await;
    assert_eq!(paused.code, 0, "{}", paused.all());
    let keys = daemon.setup().command(&["key", "list", "--json"]).await;
    assert_eq!(keys.json()[0]["name"], "test", "{}", keys.all());
    let by_path =
        crate::harness::watchbell(&["status", "--socket", socket.to_str().unwrap()]).await;
    assert!(by_path.out.contains("shop"), "{}", by_path.all());
    assert!(daemon.log().contains("from=socket"), "{}", daemon.log());
    daemon.kill();
    assert!(socket.exists());
    daemon.start_again().await;
    assert_eq!(daemon.setup().command(&["resume", "shop"]).await.code, 0);
    daemon.stop();
    assert!(!socket.exists(), "the file is removed at the stop");
}

#[tokio::test]
async fn the_api_speaks_tls_and_takes_a_renewed_certificate() {
    let folder = Folder::new();
    let files = Certificates::create(folder.path());
    let tls = format!(
        "[api.tls]\ncert_file = \"{}\"\nkey_file = \"{}\"\n",
        files.certificate.display(),
        files.key.display()
    );
    let daemon = Setup::new().api(&tls).spawn();
    let url = format!("https://localhost:{}/api/v1/status", daemon.port());
    let ask = async |files: &Certificates| {
        let ca = reqwest::Certificate::from_pem(&std::fs::read(&files.ca).unwrap()).unwrap();
        let client =
            reqwest::Client::builder().no_proxy().add_root_certificate(ca).build().unwrap();
        client.get(&url).send().await.ok()
    };
    let answer = eventually("an answer by TLS", PATIENCE, async || ask(&files).await).await;
    assert_eq!(answer.status(), 200);
    assert!(client().get(daemon.url("/health")).send().await.is_err(), "it speaks TLS only");
    let other = Folder::new();
    let renewed = Certificates::create(other.path());
    assert!(ask(&renewed).await.is_none(), "nobody else's authority is believed");
    std::fs::copy(&renewed.certificate, &files.certificate).unwrap();
    std::fs::copy(&renewed.key, &files.key).unwrap();
    eventually("the new certificate", PATIENCE, async || ask(&renewed).await).await;
    assert!(daemon.log().contains("a new certificate"), "{}", daemon.log());
}

/// A daemon with a check, and clients that mean ill. Whatever they do, others get their answers.
async fn besieged() -> Daemon {
    let daemon = Setup::new().api("public_status = false\n").start().await;
    let (status, _) = daemon.get_text("/api/v1/status").await;
    assert_eq!(status, 200);
    daemon
}

/// What the daemon answers to these bytes, until it ends the connection.
async fn say(daemon: &Daemon, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port())).await.unwrap();
    // It may hang up in the middle.
    let _ignored = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ignored = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn ten_thousand_idle_connections_change_nothing_for_others() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let daemon = besieged().await;
    let before = daemon.memory();
    let mut idle = Vec::new();
    for n in 0..10_000_usize {
        let mut stream = TcpStream::connect(("127.0.0.1", daemon.port())).await.unwrap();
        if n.is_multiple_of(3) {
            // The head of a request that never ends; the oldest ones have been shut out already.
            let _ignored = stream.write_all(b"GET /health HTTP/1.1\r\nX-Slow: ").await;
        }
        idle.push(stream);
        if n.is_multiple_of(1000) {
            let (status, _) = daemon.get_text("/api/v1/status").await;
            assert_eq!(status, 200, "with {n} idle connections");
        }
    }
    let grown = daemon.memory().saturating_sub(before);
    println!("10,000 idle connections: {} kB more memory", grown / 1024);
    assert!(grown < 64 << 20, "{grown} bytes");
    drop(idle);
    assert_eq!(daemon.get_text("/api/v1/status").await.0, 200);
}

#[tokio::test]
async fn bodies_and_heads_without_end_are_refused() {
    let daemon = besieged().await;
    let auth = format!("Host: localhost\r\nAuthorization: Bearer {KEY}\r\n");
    let large =
        format!("POST /api/v1/silences HTTP/1.1\r\n{auth}Content-Length: 99999999999\r\n\r\n");
    let mut bytes = large.into_bytes();
    bytes.resize(1 << 20, b'a');
    let answer = say(&daemon, &bytes).await;
    assert!(answer.starts_with("HTTP/1.1 413") || answer.is_empty(), "{answer}");
    let mut head = b"GET / HTTP/1.1\r\nX-Long: ".to_vec();
    head.resize(1 << 20, b'a');
    let answer = say(&daemon, &head).await;
    assert!(answer.starts_with("HTTP/1.1 431") || answer.is_empty(), "{answer}");
    let many: String = (0..5000).map(|n| format!("X-{n}: a\r\n")).collect();
    let answer = say(&daemon, format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 4") || answer.is_empty(), "{answer}");
    assert_eq!(daemon.get_text("/api/v1/status").await.0, 200);
}

#[tokio::test]
async fn no_path_leads_out_of_the_api() {
    let daemon = besieged().await;
    for path in [
        "/assets/../../../../etc/passwd",
        "/assets/..%2f..%2f..%2fetc%2fpasswd",
        "/assets/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/api/v1/checks/..%2f..%2fetc%2fpasswd",
        "/badge/../status/status.svg",
        "/api/v1/checks/%01",
        "/api/v1/checks/%ff%fe",
    ] {
        let ask = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\r\n"
        );
        let answer = say(&daemon, ask.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
        assert!(!answer.contains("root:"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn nothing_that_a_client_sends_becomes_a_header() {
    let daemon = besieged().await;
    for path in [
        "/api/v1/checks/a%0d%0aSet-Cookie:%20a=b",
        "/api/v1/silences/a%0d%0aLocation:%20http:%2f%2fevil",
        "/badge/a%0d%0aX-Evil:%201/status.svg",
    ] {
        let answer = client().get(daemon.url(path)).bearer_auth(KEY).send().await.unwrap();
        for name in ["set-cookie", "location", "x-evil"] {
            assert!(answer.headers().get(name).is_none(), "{path}: {name}");
        }
    }
}

#[tokio::test]
async fn wrong_keys_at_speed_open_nothing_and_slow_nobody_down() {
    let daemon = besieged().await;
    // As a proxy on this machine passes them on, so that they come from elsewhere.
    let mut answers = Vec::new();
    for n in 0..300 {
        let request = client()
            .get(daemon.url("/api/v1/status"))
            .header("X-Forwarded-For", "203.0.113.9")
            .bearer_auth(format!("wrong-{n}"));
        answers.push(request.send().await.unwrap().status().as_u16());
    }
    assert!(answers.iter().all(|status| matches!(status, 401 | 429)), "{answers:?}");
    let slowed = answers.iter().filter(|status| **status == 429).count();
    assert!(slowed > 0, "nobody stopped whoever tries keys");
    let from_elsewhere = |address: &str, key: &str| {
        let request = client().get(daemon.url("/api/v1/status")).header("X-Forwarded-For", address);
        request.bearer_auth(key).timeout(Duration::from_secs(10)).send()
    };
    assert_eq!(
        from_elsewhere("203.0.113.9", KEY).await.unwrap().status(),
        200,
        "a right key counts"
    );
    assert_eq!(from_elsewhere("192.0.2.7", KEY).await.unwrap().status(), 200);
    // Cookies mean nothing.
    let forged = client().get(daemon.url("/")).header("X-Forwarded-For", "192.0.2.8");
    let forged = forged.header("Cookie", format!("key={KEY}; session=admin")).send().await.unwrap();
    assert_eq!(forged.status(), 401);
}
