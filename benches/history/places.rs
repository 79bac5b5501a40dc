use crate::Outcome;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use watchbell::config::StoreAddress;
use watchbell::model::Secret;
use watchbell::record::{self, Store};

/// A new and empty database.
#[derive(Debug)]
pub enum Place {
    /// A file of SQLite.
    File(TempDir),
    /// A database of PostgreSQL.
    Database(String),
}

impl Place {
    /// A file in a folder of its own.
    pub fn file() -> Outcome<Self> {
        Ok(Self::File(tempfile::Builder::new().prefix("watchbell-bench-").tempdir()?))
    }

    /// What it is called.
    pub const fn engine(&self) -> &'static str {
        match self {
            Self::File(_) => "SQLite",
            Self::Database(_) => "PostgreSQL",
        }
    }

    /// Where it is, as configuration says it.
    pub fn address(&self) -> String {
        match self {
            Self::File(_) => format!("sqlite:{}", self.path().display()),
            Self::Database(url) => url.clone(),
        }
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::File(folder) => folder.path().join("watchbell.db"),
            Self::Database(_) => PathBuf::new(),
        }
    }

    /// Opens it as the daemon does.
    pub async fn open(&self) -> Outcome<Arc<dyn Store>> {
        let address = match self {
            Self::File(_) => StoreAddress::Sqlite(self.path()),
            Self::Database(url) => StoreAddress::Postgres(Secret::new(url.clone())),
        };
        Ok(record::open(&address).await?)
    }

    /// Runs a statement over it, with numbers and bytes.
    pub async fn run(&self, sql: &str, numbers: &[i64], bytes: &[&[u8]]) -> Outcome<()> {
        macro_rules! run {
            ($connection:expr) => {{
                let mut connection = $connection;
                let mut query = sqlx::query(AssertSqlSafe(sql.to_owned()));
                for number in numbers {
                    query = query.bind(*number);
                }
                for bytes in bytes {
                    query = query.bind(*bytes);
                }
                query.execute(&mut connection).await?;
                connection.close().await?;
            }};
        }
        match self {
            Self::File(_) => run!(SqliteConnection::connect(&self.address()).await?),
            Self::Database(url) => run!(PgConnection::connect(url).await?),
        }
        Ok(())
    }

    /// One number out of it.
    pub async fn number(&self, sql: &str) -> Outcome<i64> {
        let sql = AssertSqlSafe(sql.to_owned());
        Ok(match self {
            Self::File(_) => {
                let mut connection = SqliteConnection::connect(&self.address()).await?;
                sqlx::query_scalar(sql).fetch_one(&mut connection).await?
            }
            Self::Database(url) => {
                let mut connection = PgConnection::connect(url).await?;
                sqlx::query_scalar(sql).fetch_one(&mut connection).await?
            }
        })
    }

    /// The bytes that it takes on disk.
    pub async fn size(&self) -> Outcome<i64> {
        match self {
            Self::File(folder) => {
                let mut size = 0;
                for file in std::fs::read_dir(folder.path())? {
                    size += i64::try_from(file?.metadata()?.len())?;
                }
                Ok(size)
            }
            Self::Database(_) => self.size_of(&["results", "blocks", "rollups", "states"]).await,
        }
    }

    /// The bytes of some tables, with their indexes.
    pub async fn size_of(&self, tables: &[&str]) -> Outcome<i64> {
        let mut size = 0;
        for table in tables {
            size += match self {
                Self::File(_) => {
                    self.number(&format!(
                        "SELECT COALESCE(SUM(pgsize), 0) FROM dbstat WHERE name IN \
                         (SELECT name FROM sqlite_schema WHERE tbl_name = '{table}')"
                    ))
                    .await?
                }
                Self::Database(_) => {
                    self.number(&format!("SELECT pg_total_relation_size('{table}')")).await?
                }
            };
        }
        Ok(size)
    }

    /// Lets the system forget what it holds of the file in memory.
    pub fn cool(&self) -> Outcome<()> {
        if let Self::File(_) = self {
            let file = std::fs::File::open(self.path())?;
            file.sync_all()?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
        Ok(())
    }
}

/// A PostgreSQL server with a cluster of its own, which ends with this.
#[derive(Debug)]
pub struct Server {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl Server {
    /// Starts one that is safe against crashes, as usual.
    pub async fn start() -> Outcome<Self> {
        let folder = tempfile::Builder::new().prefix("watchbell-bench-").tempdir()?;
        let owner = server_user()?;
        if let Some((user, group)) = owner {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group))?;
        }
        let data = folder.path().join("data");
        let mut make = as_user(&program("initdb")?, owner);
        make.args(["--username=watchbell", "--auth=trust", "--encoding=UTF8", "--locale=C", "-D"]);
        let made = make.arg(&data).current_dir(folder.path()).output()?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).into_owned().into());
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut run = as_user(&program("postgres")?, owner);
        run.arg("-D").arg(&data).args(["-k", "", "-p", &port.to_string()]);
        run.args(["-c", "listen_addresses=127.0.0.1"]).current_dir(folder.path());
        let process =
            run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let server = Self { process, port, _folder: folder };
        for _ in 0..600 {
            if PgConnection::connect(&server.url("postgres")).await.is_ok() {
                return Ok(server);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err("PostgreSQL did not start within 30 s".into())
    }

    /// A new database on it.
    pub async fn database(&self) -> Outcome<Place> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("history{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let admin = Place::Database(self.url("postgres"));
        admin.run(&format!("CREATE DATABASE {name}"), &[], &[]).await?;
        Ok(Place::Database(self.url(&name)))
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://watchbell@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // Asks it to end with all its connections.
            rustix::process::kill_process(pid, rustix::process::Signal::INT).ok();
        }
        self.process.wait().ok();
    }
}

fn program(name: &str) -> Outcome<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions
        .map(|version| version.path().join("bin").join(name))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    Ok(found.pop().ok_or("PostgreSQL is not installed below /usr/lib/postgresql")?)
}

/// The user that the server runs as where this is root, which PostgreSQL refuses.
fn server_user() -> Outcome<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = std::fs::read_to_string("/etc/passwd")?;
    let line = users.lines().find(|line| line.starts_with("postgres:"));
    let mut fields = line.ok_or("there is no user `postgres`")?.split(':').skip(2);
    let mut number = || Outcome::Ok(fields.next().ok_or("no such field")?.parse()?);
    Ok(Some((number()?, number()?)))
}

fn as_user(program: &Path, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    if let Some((user, group)) = user {
        command.uid(user).gid(group);
    }
    command
}
