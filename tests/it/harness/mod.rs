//! Servers that start on free ports in folders of their own, and end when they are dropped.

mod booted;
mod certificates;
mod channels;
mod checked;
mod daemon;
mod discord;
mod form;
mod grpc;
mod hardhat;
mod hostile;
mod inbox;
mod local;
mod nginx;
mod node;
mod package;
mod postgres;
mod postgres_family;
mod posts;
mod process;
mod redis;
mod redis_family;
mod slack;
mod small_disk;
mod smtp;
mod target;
mod telegram;
mod unbound;
mod webhook;
mod websocket;

pub use booted::{Booted, PACKAGE};
pub use certificates::Certificates;
pub use channels::FiveChannels;
pub use checked::{checked, checked_until, number, reasons};
pub use daemon::{Daemon, Finished, KEY, Setup, binary, repository, watchbell};
pub use discord::Discord;
pub use grpc::Grpc;
pub use hardhat::Hardhat;
pub use hostile::{hear, hostile, say_without_end};
pub use inbox::{Inbox, Mood, Received};
pub use local::Local;
pub use nginx::Nginx;
pub use node::Node;
pub use package::deb;
pub use postgres::Postgres;
pub use postgres_family::PostgresFamily;
pub use posts::{Post, Posts};
pub use process::{Process, Service, Signal};
pub use redis::Redis;
pub use redis_family::RedisNode;
pub use slack::Slack;
pub use small_disk::SmallDisk;
pub use smtp::{Smtp, SmtpMode, python};
pub use target::Target;
pub use telegram::Telegram;
pub use unbound::Unbound;
pub use webhook::Webhook;
pub use websocket::WebSocketServer;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a story waits for something that should come soon. Long, since the machine may be
/// busy; nothing waits so long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// A temporary folder that other users may enter, since PostgreSQL refuses to run as root.
#[derive(Debug)]
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// A new, empty one.
    pub fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::Builder::new().prefix("watchbell-test-").tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        Self(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A port of this machine that nothing listens on.
///
/// Ports below the range from which the kernel takes those of outgoing connections are handed
/// out in turn, so that neither another test nor a connection takes it before its server does.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    let start = std::process::id().wrapping_mul(131);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + start.wrapping_add(step) % COUNT).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} on");
}

/// Asks `probe` again and again until it gives something, and fails the test after `within`.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(start.elapsed() < within, "waited {within:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether this process may mount file systems and change users.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A client that speaks to this machine only, whatever proxies the environment names.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap()
}
