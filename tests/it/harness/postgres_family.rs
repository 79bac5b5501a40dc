use super::postgres::{as_server_user, program, server_user};
use super::{Certificates, Folder, PATIENCE, Process, Service, Signal, eventually, free_port};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use std::path::{Path, PathBuf};

/// A PostgreSQL server that may have standbys and speak TLS. `postgres` is its superuser; by plain
/// TCP nobody needs a password.
#[derive(Debug)]
pub struct PostgresFamily {
    /// Where it listens, on 127.0.0.1 and 127.0.0.2.
    pub port: u16,
    /// The server itself, to stop and to stall.
    pub service: Service,
    /// What its certificate comes from.
    pub certificates: Certificates,
    folder: Folder,
}

impl PostgresFamily {
    /// A new primary, which shows a certificate to whoever wants TLS.
    pub async fn primary() -> Self {
        let server = Self::prepare();
        let mut command = as_server_user(&program("initdb"));
        command.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
        run(command.args(["--no-sync", "-D"]).arg(server.data()).current_dir(server.data()));
        let mut server = server;
        server.start_again().await;
        server
    }

    /// A standby of `primary` that holds the slot `slot` there.
    pub async fn standby(primary: &Self, name: &str, slot: &str) -> Self {
        let mut server = Self::prepare();
        let from =
            format!("host=127.0.0.1 port={} user=postgres application_name={name}", primary.port);
        let mut command = as_server_user(&program("pg_basebackup"));
        command.args(["-R", "--no-sync", "-X", "stream", "-c", "fast", "-C", "-S", slot, "-d"]);
        run(command.arg(from).arg("-D").arg(server.data()).current_dir(server.data()));
        server.start_again().await;
        server
    }

    /// Starts it on its port after [`Service::stop`].
    pub async fn start_again(&mut self) {
        let mut command = as_server_user(&program("postgres"));
        command.arg("-D").arg(self.data()).args(["-k", ""]).arg("-p").arg(self.port.to_string());
        command.current_dir(self.data());
        let file = |name: &str| self.folder.join(name).display().to_string();
        for setting in [
            "listen_addresses=127.0.0.1,127.0.0.2",
            "fsync=off",
            "full_page_writes=off",
            "synchronous_commit=off",
            "shared_buffers=16MB",
            "max_connections=20",
            "max_wal_senders=4",
            "deadlock_timeout=20ms",
            "wal_receiver_status_interval=1s",
            "autovacuum=off",
            "ssl=on",
            &format!("ssl_cert_file={}", file("server.pem")),
            &format!("ssl_key_file={}", file("server.key")),
            &format!("ssl_ca_file={}", file("ca.pem")),
        ] {
            command.arg("-c").arg(setting);
        }
        let log = self.folder.join("postgres.log");
        let process = Process::spawn("postgres", &mut command, &log).ended_by(Signal::QUIT);
        self.service.run(process);
        eventually("PostgreSQL to answer", PATIENCE, async || self.try_connect().await).await;
    }

    /// A connection of the superuser.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url("postgres")).await.unwrap()
    }

    /// The URL for a role, without TLS.
    pub fn url(&self, role: &str) -> String {
        format!("postgres://{role}@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    /// Runs statements as the superuser.
    pub async fn run(&self, sql: &str) {
        let mut connection = self.connect().await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// The number that a query gives.
    pub async fn number(&self, sql: &str) -> i64 {
        let mut connection = self.connect().await;
        let row = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await;
        row.unwrap().get(0)
    }

    /// Decides who may log in how, in the words of `pg_hba.conf`, before all other rules.
    pub async fn rules(&self, lines: &str) {
        let path = self.data().join("pg_hba.conf");
        let old = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{lines}\n{old}")).unwrap();
        self.run("select pg_reload_conf()").await;
    }

    async fn try_connect(&self) -> Option<()> {
        PgConnection::connect(&self.url("postgres")).await.ok()?.close().await.ok()
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// An empty data folder, and a certificate whose key only the server may read.
    fn prepare() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new();
        let certificates = Certificates::create(folder.path());
        let data = folder.join("data");
        std::fs::create_dir(&data).unwrap();
        let private = |path: &Path, mode: u32| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
            if let Some((user, group)) = server_user() {
                std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
            }
        };
        private(&data, 0o700);
        private(&certificates.key, 0o600);
        Self { port: free_port(), service: Service::default(), certificates, folder }
    }
}

fn run(command: &mut std::process::Command) {
    let done = command.output().expect("`scripts/test` finds or installs PostgreSQL");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{:?}: {said}", command.get_program());
}
