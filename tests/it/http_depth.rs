//! The kind `http` against a real nginx: certificates of all sorts, HTTP/2, client certificates,
//! compression, redirects; and an alert that shows what came. Its certificates are shown to `rpc` and
//! `tcp` as well.

use crate::harness::{
    Folder, PATIENCE, Process, Setup, Signal, Slack, client, eventually, free_port,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, date_time_ymd,
};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An authority of our own, and PEM files of what it signed.
struct Papers {
    folder: PathBuf,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Papers {
    fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Depth authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
        Self { folder: folder.to_owned(), authority }
    }

    /// Makes `NAME.pem` and `NAME.key` for `host`, valid until a year.
    fn make(&self, name: &str, host: &str, until: i32, is_signed: bool) {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, host);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = match is_signed {
            true => params.signed_by(&key, &self.authority).unwrap(),
            false => params.self_signed(&key).unwrap(),
        };
        std::fs::write(self.folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// Starts an nginx with these `server` blocks, and waits until it answers on `port`.
async fn nginx(folder: &Folder, servers: &str, port: u16) -> Process {
    let user = if crate::harness::is_root() { "user root;" } else { "" };
    let path = folder.path().display();
    let text = format!(
        "{user}
daemon off;
worker_processes 1;
pid {path}/nginx.pid;
error_log {path}/error.log;
events {{ worker_connections 500; }}
http {{
    access_log off;
    gzip on;
    gzip_types text/plain;
    gzip_min_length 1;
    client_body_temp_path {path}/body;
    proxy_temp_path {path}/proxy;
    fastcgi_temp_path {path}/fastcgi;
    uwsgi_temp_path {path}/uwsgi;
    scgi_temp_path {path}/scgi;
    {servers}
}}
"
    );
    std::fs::write(folder.join("nginx.conf"), text).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-e").arg(folder.join("error.log"));
    command.arg("-p").arg(folder.path()).arg("-c").arg(folder.join("nginx.conf"));
    let process = Process::spawn("nginx", &mut command, &folder.join("nginx.log"));
    eventually("nginx to answer", PATIENCE, async || {
        client().get(format!("http://127.0.0.1:{port}/")).send().await.ok()
    })
    .await;
    process.ended_by(Signal::TERM)
}

fn check(name: &str, keys: &str, url: &str, more: &str) -> String {
    format!(
        "[[check]]\nname = \"{name}\"\nevery = \"1s\"\nconfirm_after = 1\nrecover_after = 1\n\
         {keys}\n[check.http]\nurl = \"{url}\"\n{more}\n\n"
    )
}

fn rpc(name: &str, port: u16, more: &str) -> String {
    format!(
        "[[check]]\nname = \"{name}\"\nevery = \"1s\"\nconfirm_after = 1\nrecover_after = 1\n\
         expect = [\"result == '0x1'\"]\n[check.rpc]\nurl = \"https://localhost:{port}/rpc\"\n\
         method = \"eth_chainId\"\n{more}\n\n"
    )
}

fn tcp(name: &str, port: u16, text: &str, more: &str) -> String {
    let talk = match text {
        "" => String::new(),
        text => format!("send = \"GET / HTTP/1.0\\r\\n\\r\\n\"\nexpect_text = \"{text}\""),
    };
    let host = if more.contains("ip_version") { "127.0.0.1" } else { "localhost" };
    format!(
        "[[check]]\nname = \"{name}\"\nevery = \"1s\"\nconfirm_after = 1\nrecover_after = 1\n\
         [check.tcp]\naddress = \"{host}:{port}\"\ntls = true\n{talk}\n{more}\n\n"
    )
}

#[tokio::test]
async fn certificates_good_and_bad_are_told_apart_and_both_versions_are_spoken() {
    let folder = Folder::new();
    let papers = Papers::new(folder.path());
    let sorts = [
        ("valid", "localhost", 2090, true),
        ("expired", "localhost", 2020, true),
        ("stranger", "shop.example", 2090, true),
        ("own", "localhost", 2090, false),
        ("guarded", "localhost", 2090, true),
    ];
    papers.make("visitor", "visitor", 2090, true);
    let path = folder.path().display().to_string();
    let plain = free_port();
    let mut ports = Vec::new();
    let mut servers = format!(
        "server {{
            listen 127.0.0.1:{plain};
            location / {{ default_type text/plain; return 200 'hello, hello, hello'; }}
            location /from {{ return 302 /to; }}
            location /to {{ return 307 /; }}
            location /loop {{ return 301 /loop; }}
        }}\n"
    );
    for (name, host, until, is_signed) in sorts {
        papers.make(name, host, until, is_signed);
        let port = free_port();
        let guard = match name {
            "guarded" => format!("ssl_client_certificate {path}/ca.pem; ssl_verify_client on;"),
            _ => String::new(),
        };
        servers.push_str(&format!(
            "server {{
                listen 127.0.0.1:{port} ssl http2;
                ssl_certificate {path}/{name}.pem;
                ssl_certificate_key {path}/{name}.key;
                {guard}
                location / {{ default_type text/plain; return 200 'hello'; }}
                location /rpc {{
                    default_type application/json;
                    return 200 '{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"0x1\"}}';
                }}
            }}\n"
        ));
        ports.push(port);
    }
    let _nginx = nginx(&folder, &servers, plain).await;
    let at = |index: usize| format!("https://localhost:{}/", ports[index]);
    let trust = format!("ca_file = \"{path}/ca.pem\"");
    let visitor = format!("cert_file = \"{path}/visitor.pem\"\nkey_file = \"{path}/visitor.key\"");
    let two = "expect = [\"status == 200\", \"http_version == '2'\", \"cert_chain_days_left > 1000\", \
               \"cert_issuer == 'CN=Depth authority'\", \"'localhost' in cert_names\"]";
    let one = "expect = [\"status == 200\", \"http_version == '1.1'\"]";
    let plain = format!("http://127.0.0.1:{plain}");
    let packed = "expect = [\"text == 'hello, hello, hello'\", \"compressed_size > 0\", \
                  \"headers['content-encoding'] == 'gzip'\"]";
    let led = "expect = [\"status == 200\", \"redirects == 2\", \"hops[1].status == 307\"]";
    let known = "expect = [\"status == 200\", \"client_cert_days_left > 1000\"]";
    let daemon = Setup::new()
        .checks(
            "a.toml",
            &[
                check("two", two, &at(0), &trust),
                check("one", one, &at(0), &format!("{trust}\nhttp_version = \"1.1\"")),
                check("forced", two, &at(0), &format!("{trust}\nhttp_version = \"2\"")),
                check("expired", "", &at(1), &trust),
                check("stranger", "", &at(2), &trust),
                check("named", "", &at(2), &format!("{trust}\nserver_name = \"shop.example\"")),
                check("own", "", &at(3), &trust),
                check("careless", "", &at(3), "insecure_skip_verify = true"),
                check("known", known, &at(4), &format!("{trust}\n{visitor}")),
                check("unknown", "", &at(4), &trust),
                check(
                    "packed",
                    packed,
                    &format!("{plain}/"),
                    "headers = { Accept-Encoding = \"gzip\" }",
                ),
                check("led", led, &format!("{plain}/from"), ""),
                check("circle", "", &format!("{plain}/loop"), ""),
                rpc("rpc-own", ports[0], &trust),
                rpc("rpc-stranger", ports[0], ""),
                rpc("rpc-known", ports[4], &format!("{trust}\n{visitor}")),
                rpc("rpc-unknown", ports[4], &trust),
                rpc("rpc-careless", ports[3], "insecure_skip_verify = true"),
                tcp("tcp-known", ports[4], "200 OK", &format!("{trust}\n{visitor}")),
                tcp("tcp-unknown", ports[4], "200 OK", &trust),
                tcp("tcp-named", ports[2], "", &format!("{trust}\nserver_name = 'shop.example'")),
                tcp("tcp-misnamed", ports[2], "", &trust),
                tcp("tcp-careless", ports[3], "", "insecure_skip_verify = true"),
                tcp("tcp-six", ports[0], "", &format!("{trust}\nip_version = 6")),
            ]
            .concat(),
        )
        .start()
        .await;
    for name in ["two", "one", "forced", "named", "careless", "known", "packed", "led"] {
        daemon.wait_for_status(name, "up").await;
    }
    for name in ["rpc-own", "rpc-known", "rpc-careless", "tcp-known", "tcp-named", "tcp-careless"] {
        daemon.wait_for_status(name, "up").await;
    }
    let known = daemon.get("/api/v1/checks/tcp-known").await;
    assert!(known["facts"]["client_cert_days_left"].as_i64().is_some_and(|days| days > 1000));
    for (name, word) in [
        ("rpc-stranger", "not from an authority that is trusted"),
        ("rpc-unknown", "answered HTTP 400"),
        ("tcp-unknown", "did not come"),
        ("tcp-misnamed", "certificate is for shop.example, not localhost"),
        ("tcp-six", "127.0.0.1 is no IPv6 address"),
        ("expired", " days ago, on 2020-01-01"),
        ("stranger", "certificate is for shop.example, not localhost"),
        ("own", "certificate is not from an authority that is trusted"),
        ("unknown", "status is 400"),
        ("circle", "leads back to itself"),
    ] {
        let down = daemon.wait_for_status(name, "down").await;
        let reason = down["reasons"][0].as_str().unwrap_or_default();
        assert!(reason.contains(word), "{down:#}");
    }

    // What a failing run saw stays in the history.
    let results = eventually("results to be kept", PATIENCE, async || {
        let results = daemon.list("/api/v1/checks/unknown/results").await;
        (!results.is_empty()).then_some(results)
    })
    .await;
    let text = results[0]["facts"]["text"].as_str().unwrap_or_default();
    assert!(text.contains("No required SSL certificate was sent"), "{results:#?}");
    let results = eventually("results to be kept", PATIENCE, async || {
        let results = daemon.list("/api/v1/checks/expired/results").await;
        (!results.is_empty()).then_some(results)
    })
    .await;
    let facts = &results[0]["facts"];
    assert_eq!(facts["cert_names"], json!(["localhost"]), "{facts:#}");
    assert!(facts["cert_days_left"].as_i64().is_some_and(|days| days < 0), "{facts:#}");
}

#[tokio::test]
async fn an_alert_shows_what_a_failing_server_said_and_no_secret() {
    let folder = Folder::new();
    let port = free_port();
    let server = format!(
        "server {{
            listen 127.0.0.1:{port};
            location / {{
                default_type text/plain;
                add_header Set-Cookie 'sid=c00kie' always;
                return 502 'upstream pool-7 is empty, you sent $http_authorization';
            }}
        }}"
    );
    let _nginx = nginx(&folder, &server, port).await;
    let slack = Slack::start();
    let keys = "retry_every = \"1s\"\ntimeout = \"2s\"";
    let checks = check(
        "shop",
        keys,
        &format!("http://127.0.0.1:{port}/"),
        "bearer_token = \"hunter2-token\"",
    );
    let daemon = Setup::new()
        .tables(&format!(
            "[[channel]]\nname = \"ops\"\n[channel.slack]\nwebhook_url = \"{}\"\n",
            slack.url()
        ))
        .checks("a.toml", &checks.replace("confirm_after = 1", "confirm_after = 4"))
        .start()
        .await;
    let told = slack.inbox.wait_for(0, &["shop", "upstream pool-7 is empty"]).await;
    assert!(told.says(&["you sent [secret]"]), "{told:?}");
    let results = daemon.list("/api/v1/checks/shop/results").await;
    let text = serde_json::to_string(&results).unwrap();
    assert!(text.contains("upstream pool-7 is empty"), "{text}");
    for secret in ["hunter2-token", "c00kie"] {
        assert!(!text.contains(secret), "{text}");
        assert!(!daemon.log().contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn certificates_that_were_renewed_in_their_place_count_after_a_reload() {
    let folder = Folder::new();
    let papers = Papers::new(folder.path());
    papers.make("server", "localhost", 2090, true);
    papers.make("visitor", "visitor", 2090, true);
    let path = folder.path().display().to_string();
    let (plain, port) = (free_port(), free_port());
    let servers = format!(
        "server {{ listen 127.0.0.1:{plain}; location / {{ return 200 'hello'; }} }}
        server {{
            listen 127.0.0.1:{port} ssl;
            ssl_certificate {path}/server.pem;
            ssl_certificate_key {path}/server.key;
            ssl_client_certificate {path}/ca.pem;
            ssl_verify_client on;
            location / {{ return 200 'hello'; }}
        }}"
    );
    let _nginx = nginx(&folder, &servers, plain).await;

    // What the check reads is of another authority at first.
    let own = Folder::new();
    Papers::new(own.path()).make("me", "visitor", 2090, true);
    let own_path = own.path().display();
    let check = check(
        "shop",
        "",
        &format!("https://localhost:{port}/"),
        &format!(
            "ca_file = \"{own_path}/ca.pem\"\ncert_file = \"{own_path}/me.pem\"\n\
             key_file = \"{own_path}/me.key\""
        ),
    );
    let daemon = Setup::new().checks("a.toml", &check).start().await;
    let reason = async |word: &str| {
        eventually(&format!("the check to say `{word}`"), PATIENCE, async || {
            let found = daemon.get("/api/v1/checks/shop").await;
            found["reasons"].to_string().contains(word).then_some(())
        })
        .await;
    };
    reason("not signed by the authority that it names").await;

    std::fs::copy(folder.join("ca.pem"), own.join("ca.pem")).unwrap();
    daemon.signal(Signal::HUP);
    reason("status is 400").await;

    std::fs::copy(folder.join("visitor.pem"), own.join("me.pem")).unwrap();
    std::fs::copy(folder.join("visitor.key"), own.join("me.key")).unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for_status("shop", "up").await;
}
