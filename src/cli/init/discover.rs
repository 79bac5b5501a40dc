//! What runs on this machine. Only what listens on it is spoken to.

use super::super::doctor::output_of;
use super::channel::quoted;
use super::draft::{self, Offer};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long a port may take to say what it is.
const ANSWER: Duration = Duration::from_millis(500);

/// Ports from here on are those of clients and of programs that choose them anew each time.
const EPHEMERAL: u16 = 32_768;

/// How many ports are offered.
const MOST: usize = 24;

/// Ports on which something is asked whether it speaks HTTP.
const WEB: [u16; 14] =
    [80, 3000, 3001, 5000, 5601, 8000, 8008, 8080, 8081, 8086, 8123, 8888, 9000, 9090];

/// Units that are worth watching by themselves.
const UNITS: [&str; 22] = [
    "apache2",
    "caddy",
    "containerd",
    "cron",
    "crond",
    "docker",
    "dovecot",
    "elasticsearch",
    "grafana-server",
    "haproxy",
    "httpd",
    "mariadb",
    "mysql",
    "nginx",
    "php-fpm",
    "postfix",
    "postgresql",
    "prometheus",
    "rabbitmq-server",
    "redis-server",
    "ssh",
    "sshd",
];

/// The name of this machine.
pub fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    draft::fit(name.trim())
}

/// Everything that was found, the machine itself first.
pub async fn all() -> Vec<Offer> {
    let mut offers = vec![Offer::new(
        "this-machine",
        "processors, memory and disks of this machine",
        "every = \"30s\"\n\
         degraded_if = [\"memory_used_percent > 90.0\", \"avg('cpu_percent', '10m') > 90.0\"]\n\
         [check.system]\n",
    )];
    offers.extend(units().await);
    let mut taken = BTreeSet::new();
    for offer in containers().await {
        taken.insert(offer.0);
        offers.push(offer.1);
    }
    for address in listening() {
        if taken.insert(address.port()) {
            offers.push(port(address).await);
        }
        if taken.len() >= MOST {
            break;
        }
    }
    offers
}

/// The units that run and are known, as one check.
async fn units() -> Option<Offer> {
    if !Path::new("/run/systemd/system").exists() {
        return None;
    }
    let words = [
        "systemctl",
        "list-units",
        "--type=service",
        "--state=running",
        "--plain",
        "--no-legend",
        "--no-pager",
    ];
    let said = output_of(&words).await?;
    let units: Vec<&str> = known_units(&said);
    let list: Vec<String> = units.iter().map(|unit| quoted(unit)).collect();
    (!units.is_empty()).then(|| {
        let body = format!("every = \"30s\"\n[check.system]\nunits = [{}]\n", list.join(", "));
        Offer::new("services", format!("units of systemd: {}", units.join(", ")), body)
    })
}

fn known_units(list: &str) -> Vec<&str> {
    let name =
        |line: &'_ str| -> Option<String> { line.split_whitespace().next().map(str::to_owned) };
    let is_known = |unit: &str| {
        let stem = unit.trim_end_matches(".service");
        let stem = stem.split('@').next().unwrap_or(stem);
        UNITS.contains(&stem)
    };
    list.lines()
        .filter(|line| name(line).is_some_and(|unit| is_known(&unit)))
        .filter_map(|line| line.split_whitespace().next())
        .collect()
}

/// The containers of Docker that publish a port, by that.
async fn containers() -> Vec<(u16, Offer)> {
    let asked = async {
        let socket = Path::new("/var/run/docker.sock");
        let client = reqwest::Client::builder().no_proxy().unix_socket(socket).build().ok()?;
        let answer = client.get("http://docker/containers/json").send().await.ok()?;
        answer.json::<Json>().await.ok()
    };
    let list = tokio::time::timeout(ANSWER * 4, asked).await.ok().flatten().unwrap_or_default();
    let mut offers = Vec::new();
    for container in list.as_array().into_iter().flatten() {
        let name = container["Names"][0].as_str().unwrap_or("container");
        let ports = container["Ports"].as_array().into_iter().flatten();
        let port = ports
            .filter(|port| port["Type"] == "tcp")
            .find_map(|port| port["PublicPort"].as_u64().and_then(|port| u16::try_from(port).ok()));
        if let Some(port) = port {
            let body = format!("every = \"30s\"\n[check.tcp]\naddress = \"127.0.0.1:{port}\"\n");
            let name = draft::fit(name);
            let what = format!("the container {name}, on port {port}");
            offers.push((port, Offer::new(&name, what, body)));
        }
    }
    offers
}

/// What listens on a port, by what it says or by its number.
async fn port(address: SocketAddr) -> Offer {
    let port = address.port();
    let tcp = |name: &str, what: &str, more: &str| {
        let body = format!("every = \"30s\"\n[check.tcp]\naddress = \"{address}\"\n{more}");
        Offer::new(name, format!("{what} on port {port}"), body)
    };
    match port {
        22 => tcp("ssh", "SSH", "expect_text = \"SSH-\"\n"),
        25 | 587 => tcp("smtp", "a mail server", "expect_text = \"220\"\n"),
        143 => tcp("imap", "IMAP", "expect_text = \"OK\"\n"),
        443 => tcp("https", "HTTPS", ""),
        3306 => tcp("mysql", "MySQL or MariaDB", ""),
        5432 => tcp(
            "postgresql",
            "PostgreSQL",
            "# Far more can be seen with a user (`watchbell kinds postgres`), in the place of the \
             two lines above:\n# [check.postgres]\n# url = \"postgres://watchbell:${PG_PASSWORD}@127.0.0.1/postgres\"\n",
        ),
        _ if says(address, b"PING\r\n", b"+PONG", port == 6379).await => {
            let body = format!("every = \"30s\"\n[check.redis]\nurl = \"redis://{address}\"\n");
            Offer::new("redis", format!("Redis on port {port}"), body)
        }
        6379 => tcp("redis", "Redis, which wants a password,", ""),
        _ if says(address, b"GET / HTTP/1.0\r\n\r\n", b"HTTP/", WEB.contains(&port)).await => {
            let body = format!(
                "every = \"30s\"\nexpect = [\"status < 500\"]\n[check.http]\nurl = \"http://{address}/\"\n"
            );
            Offer::new(&format!("web-{port}"), format!("a web server on port {port}"), body)
        }
        _ => tcp(&format!("port-{port}"), "something that listens", ""),
    }
}

/// Whether a port answers these words with those, where it is likely at all.
async fn says(address: SocketAddr, words: &[u8], expected: &[u8], likely: bool) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(words).await.ok()?;
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer).await.ok()?;
        Some(answer == expected)
    };
    likely && tokio::time::timeout(ANSWER, asked).await.ok().flatten().unwrap_or(false)
}

/// The ports that this machine listens on, each once, as they are reached from here.
fn listening() -> Vec<SocketAddr> {
    let mut found: Vec<SocketAddr> = Vec::new();
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        found.extend(text.lines().filter_map(listener));
    }
    found.retain(|address| address.port() < EPHEMERAL && address.port() != 7117);
    found.sort_unstable_by_key(|address| (address.port(), address.is_ipv6()));
    found.dedup_by_key(|address| address.port());
    found
}

/// A line of `/proc/net/tcp`, if it is of a socket that listens (proc_pid_net(5)).
fn listener(line: &str) -> Option<SocketAddr> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_whitespace();
    let (local, state) = (fields.nth(1)?, fields.nth(1)?);
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Words of 32 bits, each as the machine has it in its memory.
    let words: Option<Vec<u32>> = (0..address.len() / 8)
        .map(|at| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok())
        .collect();
    let bytes: Vec<u8> = words?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let ip = if let Ok(four) = <[u8; 4]>::try_from(bytes.as_slice()) {
        IpAddr::V4(Ipv4Addr::from(four))
    } else {
        IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?)).to_canonical()
    };
    let ip = match ip {
        IpAddr::V4(four) if four.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        // Whoever listens on all of them listens on those of version 4, too, unless told otherwise.
        IpAddr::V6(six) if six.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        other => other,
    };
    (state == LISTEN).then_some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::{known_units, listener};

    #[test]
    fn a_listener_is_read_from_the_kernel_table() {
        let check = |line: &str, expected: Option<&str>| {
            assert_eq!(listener(line).map(|at| at.to_string()).as_deref(), expected, "{line}");
        };
        let rest = "00000000:00000000 00:00000000 00000000   0  0 1 1";
        check(
            &format!("0: 0100007F:1538 00000000:0000 0A {rest}"),
            Some("127.0.0.1:5432").filter(|_| cfg!(target_endian = "little")),
        );
        check(&format!("1: 00000000:0016 00000000:0000 0A {rest}"), Some("127.0.0.1:22"));
        check(&format!("2: 00000000:0016 0100007F:1234 01 {rest}"), None);
        let six = "0".repeat(32);
        check(&format!("3: {six}:0050 {six}:0000 0A {rest}"), Some("127.0.0.1:80"));
        check("  sl  local_address rem_address   st tx_queue", None);
    }

    #[test]
    fn units_that_are_known_are_offered() {
        let list = "nginx.service loaded active running A web server\n\
                    postgresql@15-main.service loaded active running PostgreSQL\n\
                    getty@tty1.service loaded active running Getty\n";
        assert_eq!(known_units(list), ["nginx.service", "postgresql@15-main.service"]);
    }
}
