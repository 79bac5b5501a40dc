use super::{MIGRATOR, PgStore};
use crate::check::testing::{Program, free_port};
use crate::record::contract::result;
use crate::record::{Batch, Page, Store, StoreError};
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// A PostgreSQL server of this test run, shared by its tests; it ends with the last of them.
pub struct Server {
    program: Program,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Server {
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(folder.path()));
        }
        let data = folder.path().join("data");
        run(as_server("initdb").args(["--no-sync", "-A", "trust", "-U", "watch", "-D"]).arg(&data));
        let port = free_port();
        let mut command = as_server("postgres");
        command.arg("-D").arg(&data).arg("-k").arg(folder.path());
        command.args(["-F", "-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
        let program = Program::start(&mut command, "QUIT");
        let server = Self { program, port, _folder: folder };
        for _ in 0..600 {
            if server.psql("SELECT 1").output().is_ok_and(|output| output.status.success()) {
                return server;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("PostgreSQL did not start in time");
    }

    fn psql(&self, sql: &str) -> Command {
        let mut psql = Command::new("psql");
        psql.args(["-qX", "-h", "127.0.0.1", "-U", "watch", "-d", "postgres", "-c", sql]);
        psql.arg("-p").arg(self.port.to_string());
        psql
    }

    /// A new and empty database.
    fn database(&self) -> PgConnectOptions {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed));
        run(&mut self.psql(&format!("CREATE DATABASE {name}")));
        let url = format!("postgres://watch@127.0.0.1:{}/{name}", self.port);
        PgConnectOptions::from_str(&url).expect("a URL")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Before its folder goes.
        self.program.stop();
    }
}

/// A store in a new database.
pub async fn open() -> (PgStore, Arc<Server>) {
    let server = Server::shared();
    let store = PgStore::open(server.database()).await.expect("a store");
    (store, server)
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().expect("id").stdout == b"0\n"
}

/// A program of PostgreSQL, as a user that it does not refuse.
fn as_server(program: &str) -> Command {
    let path = std::fs::read_dir("/usr/lib/postgresql")
        .expect("PostgreSQL; `scripts/test` finds or installs it")
        .filter_map(|version| Some(version.ok()?.path().join("bin").join(program)))
        .find(|path| path.exists())
        .expect("a program of PostgreSQL");
    let mut command = match is_root() {
        true => Command::new("setpriv"),
        false => Command::new(&path),
    };
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(&path);
    }
    command.current_dir(Path::new("/"));
    command
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

fn one(check: &str, seconds: i64) -> Batch {
    Batch { results: vec![result(check, seconds)], ..Batch::default() }
}

#[tokio::test]
async fn a_second_daemon_is_kept_off_until_the_first_is_gone() {
    let server = Server::shared();
    let options = server.database();
    let first = PgStore::open(options.clone()).await.unwrap();
    let error = PgStore::open(options.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::Shared { .. }), "{error}");
    first.commit(&one("a", 1)).await.unwrap();
    first.close().await;
    let second = PgStore::open(options).await.unwrap();
    let page = Page { limit: 10, cursor: None };
    assert_eq!(second.results("a", &page).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_cut_connection_fails_one_commit_and_not_the_next() {
    let server = Server::shared();
    let options = server.database();
    // Other tests use other databases of this server.
    let cut = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
        options.get_database().unwrap()
    );
    let store = PgStore::open(options).await.unwrap();
    store.commit(&one("a", 1)).await.unwrap();
    run(&mut server.psql(&cut));
    let mut failures = 0;
    while let Err(error) = store.commit(&one("a", 2)).await {
        assert!(!error.is_about_data(), "{error}");
        failures += 1;
        assert!(failures < 100, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let page = Page { limit: 10, cursor: None };
    assert_eq!(store.results("a", &page).await.unwrap().items.len(), 2);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_its_password() {
    let url = format!("postgres://ann:hunter2@127.0.0.1:{}/history", free_port());
    let error = PgStore::open(PgConnectOptions::from_str(&url).unwrap()).await.unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with("the database history at 127.0.0.1:"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn a_value_that_the_database_refuses_is_blamed_and_not_the_store() {
    let (store, _server) = open().await;
    let error = store.commit(&one("a\0b", 1)).await.unwrap_err();
    assert!(error.is_about_data(), "{error}");
    store.commit(&one("b", 1)).await.unwrap();
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_in_clear_words() {
    let server = Server::shared();
    let options = server.database();
    let database = options.get_database().unwrap().to_owned();
    PgStore::open(options.clone()).await.unwrap().close().await;
    let mut other = options.clone().connect().await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, \
                 execution_time) VALUES (9999, 'from the future', TRUE, '', 0)";
    sqlx::query(newer).execute(&mut other).await.unwrap();
    let error = PgStore::open(options).await.unwrap_err();
    let known = MIGRATOR.iter().map(|it| it.version).max().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "the database {database} at 127.0.0.1:{} was written by a newer Watchbell (its schema \
             is 9999, this version knows {known}): start that version again, or restore a backup \
             from before",
            server.port
        )
    );
}
