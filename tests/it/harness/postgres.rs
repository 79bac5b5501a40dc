use super::{Folder, PATIENCE, Process, Service, Signal, eventually, free_port, is_root};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// A PostgreSQL server with a cluster of its own. `postgres` is its superuser; nobody needs a
/// password.
#[derive(Debug)]
pub struct Postgres {
    /// Where it listens.
    pub port: u16,
    /// The server itself, to stop and to stall.
    pub service: Service,
    folder: Folder,
}

impl Postgres {
    /// A new cluster, up and answering.
    pub async fn start() -> Self {
        let folder = Folder::new();
        let data = folder.join("data");
        std::fs::create_dir(&data).unwrap();
        if let Some((user, group)) = server_user() {
            std::os::unix::fs::chown(&data, Some(user), Some(group)).unwrap();
        }
        let made = as_server_user(&program("initdb"))
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"])
            .arg("--no-sync")
            .arg("-D")
            .arg(&data)
            .current_dir(&data)
            .output()
            .expect("initdb; `scripts/test` finds or installs PostgreSQL");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let mut server = Self { port: free_port(), service: Service::default(), folder };
        server.start_again().await;
        server
    }

    /// Starts it on its port after [`Service::stop`].
    pub async fn start_again(&mut self) {
        let data = self.folder.join("data");
        let mut command = as_server_user(&program("postgres"));
        command.arg("-D").arg(&data).args(["-k", ""]).arg("-p").arg(self.port.to_string());
        command.current_dir(&data);
        for setting in [
            "listen_addresses=127.0.0.1",
            "fsync=off",
            "full_page_writes=off",
            "synchronous_commit=off",
            "shared_buffers=16MB",
            "max_connections=40",
            "max_wal_senders=4",
            "autovacuum=off",
        ] {
            command.arg("-c").arg(setting);
        }
        let log = self.folder.join("postgres.log");
        let process = Process::spawn("postgres", &mut command, &log).ended_by(Signal::QUIT);
        self.service.run(process);
        eventually("PostgreSQL to answer", PATIENCE, async || {
            PgConnection::connect(&self.url("postgres", "postgres")).await.ok()
        })
        .await;
    }

    /// The URL for a role and a database.
    pub fn url(&self, role: &str, database: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs statements as the superuser.
    pub async fn run(&self, database: &str, sql: &str) {
        let mut connection = PgConnection::connect(&self.url("postgres", database)).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

/// PostgreSQL's programs are not on the path on Debian: the newest installed version is taken.
pub(super) fn program(name: &str) -> PathBuf {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .map(|(version, path)| (version, path.join("bin").join(name)))
        .filter(|(_, path)| path.exists())
        .collect();
    versions.sort();
    versions.pop().map_or_else(|| PathBuf::from(name), |(_, path)| path)
}

/// The user that the server runs as, if this process is root, which PostgreSQL refuses.
pub(super) fn server_user() -> Option<(u32, u32)> {
    if !is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:"));
    let mut fields = line.expect("a user `postgres` in /etc/passwd").split(':').skip(2);
    let mut number = || fields.next().unwrap().parse().unwrap();
    Some((number(), number()))
}

pub(super) fn as_server_user(program: &PathBuf) -> Command {
    let mut command = Command::new(program);
    if let Some((user, group)) = server_user() {
        command.uid(user).gid(group);
    }
    command
}
