//! The ways to a target: through real proxies, and by a name server of the check's own choice.

use crate::harness::{
    Daemon, Folder, Grpc, Nginx, PATIENCE, Process, Setup, Unbound, WebSocketServer, eventually,
    free_port, reasons,
};
use std::process::Command;
use tokio::net::TcpStream;

/// Who may use the proxies.
const USER: &str = "ann";
const PASSWORD: &str = "hunter2-proxy";

/// microsocks, which speaks SOCKS 5, and tinyproxy, which speaks HTTP.
struct Proxies {
    socks: Process,
    socks_port: u16,
    http: Process,
    http_port: u16,
    _folder: Folder,
}

impl Proxies {
    async fn start() -> Self {
        let folder = Folder::new();
        let (socks_port, http_port) = (free_port(), free_port());
        let mut command = Command::new("microsocks");
        command.args(["-i", "127.0.0.1", "-p", &socks_port.to_string()]);
        command.args(["-u", USER, "-P", PASSWORD]);
        let socks = Process::spawn("microsocks", &mut command, &folder.join("socks.log"));
        let conf = folder.join("tinyproxy.conf");
        let text = format!(
            "Port {http_port}\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 60\nMaxClients 50\n\
             LogLevel Connect\nBasicAuth {USER} {PASSWORD}\n"
        );
        std::fs::write(&conf, text).unwrap();
        let mut command = Command::new("tinyproxy");
        command.arg("-d").arg("-c").arg(&conf);
        let http = Process::spawn("tinyproxy", &mut command, &folder.join("tinyproxy.log"));
        for port in [socks_port, http_port] {
            eventually("a proxy to listen", PATIENCE, async || {
                TcpStream::connect(("127.0.0.1", port)).await.ok()
            })
            .await;
        }
        Self { socks, socks_port, http, http_port, _folder: folder }
    }

    /// The option of a check that goes through one of them.
    fn option(&self, scheme: &str, password: &str) -> String {
        let port = if scheme == "http" { self.http_port } else { self.socks_port };
        format!("proxy = \"{scheme}://{USER}:{password}@127.0.0.1:{port}\"")
    }
}

/// Targets of all kinds that take such ways.
struct Targets {
    nginx: Nginx,
    socket: WebSocketServer,
    grpc: Grpc,
}

impl Targets {
    async fn start() -> Self {
        Self {
            nginx: Nginx::start().await,
            socket: WebSocketServer::start(),
            grpc: Grpc::start(r#"{"": "SERVING"}"#).await,
        }
    }

    /// Checks of all targets, by `host` and with `keys`; their names begin with `prefix`.
    fn checks(&self, prefix: &str, host: &str, keys: &str) -> Vec<(String, String)> {
        let ca = self.nginx.certificates.ca.display();
        let (port, tls_port) = (self.nginx.port, self.nginx.tls_port);
        let web = format!("[check.http]\nurl = \"http://{host}:{port}/health\"");
        let secure = format!(
            "[check.http]\nurl = \"https://{host}:{tls_port}/health\"\nca_file = \"{ca}\"\n\
             server_name = \"localhost\""
        );
        let tcp = format!(
            "[check.tcp]\naddress = \"{host}:{port}\"\nsend = \"GET /health HTTP/1.0\\r\\n\\r\\n\"\n\
             expect_text = \"200 OK\""
        );
        let secure_tcp = format!(
            "[check.tcp]\naddress = \"{host}:{tls_port}\"\ntls = true\nca_file = \"{ca}\"\n\
             server_name = \"localhost\""
        );
        let socket = format!(
            "[check.websocket]\nurl = \"ws://{host}:{}/\"\nsend = \"hello\"",
            self.socket.local.port
        );
        let grpc = format!("[check.grpc]\naddress = \"{host}:{}\"", self.grpc.port);
        let all = [
            ("web", web),
            ("secure-web", secure),
            ("tcp", tcp),
            ("secure-tcp", secure_tcp),
            ("websocket", socket),
            ("grpc", grpc),
        ];
        let named = all.into_iter().map(|(name, table)| {
            let name = format!("{prefix}-{name}");
            let text = format!(
                "[[check]]\nname = \"{name}\"\nevery = \"1s\"\nconfirm_after = 1\n\
                 recover_after = 1\n{table}\n{keys}\n\n"
            );
            (name, text)
        });
        named.collect()
    }
}

async fn start(checks: &[&[(String, String)]]) -> Daemon {
    let texts: Vec<&str> = checks.iter().copied().flatten().map(|(_, text)| &**text).collect();
    Setup::new().checks("ways.toml", &texts.concat()).start().await
}

#[tokio::test]
async fn real_proxies_lead_every_kind_to_its_target() {
    let mut proxies = Proxies::start().await;
    let targets = Targets::start().await;
    let socks = targets.checks("socks", "127.0.0.1", &proxies.option("socks5", PASSWORD));
    let named = targets.checks("named", "localhost", &proxies.option("socks5h", PASSWORD));
    let http = targets.checks("http", "localhost", &proxies.option("http", PASSWORD));
    let refused = targets.checks("refused", "127.0.0.1", &proxies.option("socks5", "wrong"));
    let denied = targets.checks("denied", "127.0.0.1", &proxies.option("http", "wrong"));
    let daemon = start(&[&socks, &named, &http, &refused, &denied]).await;
    for (name, _) in [&*socks, &named, &http].concat() {
        daemon.wait_for_status(&name, "up").await;
    }
    for (name, _) in [&*refused, &denied].concat() {
        let down = daemon.wait_for_status(&name, "down").await;
        let told = reasons(&down);
        let words = ["it refused user and password", "it wants user and password", "status is 40"];
        assert!(words.iter().any(|word| told.contains(word)), "{name}: {told}");
        assert!(!told.contains(PASSWORD), "{told}");
    }

    // The proxies say that they were used; names went through as they stand where they may.
    let tls_port = targets.nginx.tls_port;
    for word in [
        format!("CONNECT localhost:{tls_port} HTTP/1.1"),
        format!("GET http://localhost:{}/health HTTP/1.1", targets.nginx.port),
        format!("CONNECT localhost:{} HTTP/1.1", targets.grpc.port),
    ] {
        assert!(proxies.http.output().contains(&word), "no `{word}`: {}", proxies.http.output());
    }
    for host in ["127.0.0.1", "localhost"] {
        let word = format!("connected to {host}:{tls_port}");
        assert!(proxies.socks.output().contains(&word), "no `{word}`: {}", proxies.socks.output());
    }
    let log = daemon.log();
    assert!(!log.contains(PASSWORD), "a password is in the log");

    proxies.socks.end();
    proxies.http.end();
    for (name, _) in [&*socks, &named, &http].concat() {
        let told = reasons(&daemon.wait_for_status(&name, "down").await);
        assert!(told.starts_with("proxy 127.0.0.1:"), "{name}: {told}");
        assert!(told.contains("refused"), "{name}: {told}");
    }
}

#[tokio::test]
async fn every_kind_asks_the_name_server_that_it_is_told() {
    let targets = Targets::start().await;
    let names = Unbound::start(&["127.0.0.1"]).await;
    let resolver = format!("resolver = \"127.0.0.1:{}\"", names.port);
    let known = targets.checks("known", "shop.test", &resolver);
    let unknown = targets.checks("unknown", "nobody.test", &resolver);
    let six = targets.checks("six", "shop.test", &format!("{resolver}\nip_version = 6"));
    let daemon = start(&[&known, &unknown, &six]).await;
    for (name, _) in &known {
        daemon.wait_for_status(name, "up").await;
    }
    for (name, _) in &unknown {
        let told = reasons(&daemon.wait_for_status(name, "down").await);
        assert!(told.contains("DNS: no such host nobody.test"), "{name}: {told}");
    }
    for (name, _) in &six {
        let told = reasons(&daemon.wait_for_status(name, "down").await);
        assert!(told.contains("DNS: shop.test has no IPv6 address"), "{name}: {told}");
    }
}
