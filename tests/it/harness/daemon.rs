use super::{Folder, PATIENCE, Process, Signal, client, eventually, free_port};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::{Duration, Instant};

/// The key of the API that may do everything.
pub const KEY: &str = "wb_test_0123456789abcdefghijklmnopqrstuvwxyz";

/// The folder of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program under test: the one that Cargo built, or the one that `WATCHBELL_BINARY` names.
pub fn binary() -> PathBuf {
    std::env::var_os("WATCHBELL_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_watchbell").into(), PathBuf::from)
}

/// A configuration in a folder of its own.
#[derive(Debug)]
pub struct Setup {
    folder: Folder,
    port: u16,
    daemon: String,
    history: String,
    api: String,
    tables: String,
    variables: Vec<(String, String)>,
}

impl Setup {
    /// No check, no channel.
    pub fn new() -> Self {
        let setup = Self {
            folder: Folder::new(),
            port: free_port(),
            daemon: String::new(),
            history: "store = \"sqlite:watchbell.db\"".to_owned(),
            api: String::new(),
            tables: String::new(),
            variables: Vec::new(),
        };
        std::fs::create_dir(setup.folder.join("checks.d")).unwrap();
        setup.write();
        setup
    }

    /// Adds keys to `[daemon]`.
    pub fn daemon(mut self, keys: &str) -> Self {
        self.daemon.push_str(keys);
        self.write();
        self
    }

    /// Replaces the keys of `[history]`.
    pub fn history(mut self, keys: &str) -> Self {
        keys.clone_into(&mut self.history);
        self.write();
        self
    }

    /// Adds keys to `[api]`.
    pub fn api(mut self, keys: &str) -> Self {
        self.api.push_str(keys);
        self.write();
        self
    }

    /// Adds tables to daemon.toml, such as channels and routes.
    pub fn tables(mut self, text: &str) -> Self {
        self.tables.push_str(text);
        self.write();
        self
    }

    /// Sets a variable of the environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes a file of checks.
    pub fn checks(self, file: &str, text: &str) -> Self {
        std::fs::write(self.folder.join("checks.d").join(file), text).unwrap();
        self
    }

    /// The folder that holds it all.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The path of daemon.toml.
    pub fn config(&self) -> PathBuf {
        self.folder.join("daemon.toml")
    }

    /// Starts the daemon and waits until it is ready.
    pub async fn start(self) -> Daemon {
        let mut daemon = self.spawn();
        daemon.wait_until_ready().await;
        daemon
    }

    /// Starts the daemon.
    pub fn spawn(self) -> Daemon {
        let process = run(&self);
        Daemon { process, client: client(), setup: self }
    }

    /// Runs another subcommand with this configuration, and gives what it printed.
    pub async fn command(&self, words: &[&str]) -> Finished {
        let mut command = tokio::process::Command::from(program());
        command.args(words).arg("--config").arg(self.config()).kill_on_drop(true);
        command.envs(self.variables.iter().cloned());
        finish(command).await
    }

    fn write(&self) {
        let text = format!(
            "[daemon]\nname = \"test\"\n{}\n\n[history]\n{}\n\n[api]\nlisten = \"127.0.0.1:{}\"\n{}\n\
             [[api.key]]\nname = \"test\"\nkey = \"{KEY}\"\n\
             scopes = [\"read\", \"operate\", \"push\"]\n\n{}\n",
            self.daemon, self.history, self.port, self.api, self.tables
        );
        std::fs::write(self.config(), text).unwrap();
    }
}

/// A command that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub out: String,
    /// What it complained about.
    pub err: String,
}

impl Finished {
    /// What it printed, as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out, self.err))
    }

    /// Both outputs.
    pub fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

/// Runs the program with `words` alone.
pub async fn watchbell(words: &[&str]) -> Finished {
    let mut command = tokio::process::Command::from(program());
    command.args(words).kill_on_drop(true);
    finish(command).await
}

/// Runs a command to its end.
pub(super) async fn finish(mut command: tokio::process::Command) -> Finished {
    let output: Output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .expect("the command to end")
        .expect("the command to start");
    Finished {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The program, unaware of proxies and of colours.
fn program() -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars() {
        if name.to_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1").env_remove("STATE_DIRECTORY");
    command
}

fn run(setup: &Setup) -> Process {
    let mut command = program();
    command.arg("run").arg("--config").arg(setup.config()).current_dir(setup.folder());
    command.envs(setup.variables.iter().cloned());
    Process::spawn("watchbell", &mut command, &setup.folder.join("daemon.log"))
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    client: reqwest::Client,
    /// Its configuration. Dropped after the process, so that its files outlive it.
    setup: Setup,
}

impl Daemon {
    /// Its configuration.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Writes a file of checks anew; it counts from the next reload or start on.
    pub fn rewrite_checks(&self, file: &str, text: &str) {
        std::fs::write(self.setup.folder.join("checks.d").join(file), text).unwrap();
    }

    /// Waits until `/ready` says so.
    pub async fn wait_until_ready(&mut self) {
        let url = self.url("/ready");
        eventually("the daemon to be ready", PATIENCE, async || {
            if let Some(status) = self.process.wait(Duration::ZERO) {
                panic!("the daemon ended with {status}");
            }
            let answer = self.client.get(&url).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// The URL of a path of its API.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.setup.port)
    }

    /// The port of its API.
    pub fn port(&self) -> u16 {
        self.setup.port
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What the API answers to a GET.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(self.url(path)).bearer_auth(KEY).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "GET {path}: {status}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("GET {path}: {error}: {text}"))
    }

    /// What the API answers to a GET, as status and text.
    pub async fn get_text(&self, path: &str) -> (u16, String) {
        let answer = self.client.get(self.url(path)).bearer_auth(KEY).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// What the API answers to a POST without a body.
    pub async fn post(&self, path: &str) -> (u16, Value) {
        let answer = self.client.post(self.url(path)).bearer_auth(KEY).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// What the API answers to a POST of `body`.
    pub async fn post_json(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.client.post(self.url(path)).bearer_auth(KEY).json(body);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// What the API answers to a DELETE.
    pub async fn delete(&self, path: &str) -> (u16, Value) {
        let answer = self.client.delete(self.url(path)).bearer_auth(KEY).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// The items of a list, newest first.
    pub async fn list(&self, path: &str) -> Vec<Value> {
        let answer = self.get(path).await;
        answer["items"].as_array().unwrap_or_else(|| panic!("no items in {answer}")).clone()
    }

    /// Waits until a check has a status, and gives the check.
    pub async fn wait_for_status(&self, check: &str, status: &str) -> Value {
        let path = format!("/api/v1/checks/{check}");
        let mut last = Value::Null;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            last = self.get(&path).await;
            if last["status"] == status {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("waited in vain for {check} to be {status}; it is {last:#}");
    }

    /// Waits until a check has an incident in a state (`open` or `resolved`) that is not among
    /// `known`, and gives the incident.
    pub async fn wait_for_incident(&self, check: &str, state: &str, known: &[String]) -> Value {
        let path = format!("/api/v1/incidents?state={state}&limit=1000");
        eventually(&format!("{check} to have an {state} incident"), PATIENCE, async || {
            self.list(&path).await.into_iter().find(|incident| {
                let id = incident["id"].as_str().unwrap();
                incident["check"] == check && !known.iter().any(|known| known == id)
            })
        })
        .await
    }

    /// The notices of the outbox, sent and owed.
    pub async fn notices(&self) -> Vec<Value> {
        self.list("/api/v1/notices?limit=1000").await
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Ends it on the spot, as a crash does.
    pub fn kill(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.wait(PATIENCE).expect("a killed process to end");
    }

    /// Asks it to stop, and gives its exit status and how long it took.
    pub fn stop(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        self.process.signal(Signal::TERM);
        let status = self.process.wait(PATIENCE).expect("the daemon to stop");
        (status, start.elapsed())
    }

    /// Starts it again after [`Daemon::kill`] or [`Daemon::stop`], and waits until it is ready.
    pub async fn start_again(&mut self) {
        self.process = run(&self.setup);
        self.wait_until_ready().await;
    }

    /// All that it logged.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// The processor time that it has used so far.
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        // The second field is the name in parentheses, and may hold spaces.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        let per_second = rustix::param::clock_ticks_per_second();
        Duration::from_secs_f64(ticks as f64 / per_second as f64)
    }

    /// The memory that it has in RAM, in bytes.
    pub fn memory(&self) -> u64 {
        self.memory_line("VmRSS:")
    }

    /// The most memory that it has had in RAM so far, in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.memory_line("VmHWM:")
    }

    fn memory_line(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    }
}
