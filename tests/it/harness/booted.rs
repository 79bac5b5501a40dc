use super::daemon::{Finished, finish};
use super::{Folder, PATIENCE, Process, Signal, deb, eventually};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Where the status API listens inside, unless a story says otherwise.
const API: &str = "127.0.0.1:7117";

/// Where the package lies inside.
pub const PACKAGE: &str = "/root/watchbell.deb";

/// Enters control groups of its own, then becomes the container: two that share them take each
/// other's services for their own.
const BOOT: &str = r#"
tree=$1
shift
for group; do echo 0 >"$group/cgroup.procs" || exit 1; done
exec systemd-nspawn --quiet --boot --directory="$tree" --volatile=overlay --register=no \
    --keep-unit --private-network --console=pipe
"#;

/// A Debian that systemd has booted in a container of its own, with the package of the program under
/// test at [`PACKAGE`].
///
/// What is written in it is in memory and gone with it. It has a network of its own, with nothing
/// but loopback. It must be dropped by the thread that started it: the kernel ends it when that
/// thread ends, so that not even a killed test leaves it behind.
#[derive(Debug)]
pub struct Booted {
    process: Process,
    /// The process id of its systemd, as this side sees it.
    leader: u32,
    groups: Vec<PathBuf>,
    /// Holds its log. Dropped after the process.
    folder: Folder,
}

impl Booted {
    /// Boots it. Only root may.
    pub async fn start() -> Self {
        let tree = std::env::var("WATCHBELL_TEST_DEBIAN").expect(
            "this test boots the Debian that WATCHBELL_TEST_DEBIAN names; `scripts/test` makes it, \
             and names the tests that it leaves out where it cannot",
        );
        let folder = Folder::new();
        let groups = control_groups();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "unshare", "--pid", "--mount-proc", "--fork"])
            .args(["--kill-child", "sh", "-c", BOOT, "boot", &tree])
            .args(&groups);
        let process = Process::spawn("Debian", &mut command, &folder.join("nspawn.log"));
        let mut booted = Self { process, leader: 0, groups, folder };
        booted.leader = eventually("a systemd to start", PATIENCE, async || booted.leader()).await;
        eventually("Debian to boot", PATIENCE, async || {
            // "degraded": something of Debian's own that does not work in a container.
            let state = booted.run(&["systemctl", "is-system-running"]).await;
            matches!(state.out.trim(), "running" | "degraded").then_some(())
        })
        .await;
        // Packing takes a while, and others on this thread have deadlines.
        let package = tokio::task::spawn_blocking(deb).await.unwrap();
        booted.copy(package, PACKAGE).await;
        booted
    }

    /// Runs a command in it as root.
    pub async fn run(&self, words: &[&str]) -> Finished {
        let mut command = self.command(words);
        command.stdin(std::process::Stdio::null());
        finish(command).await
    }

    /// Runs a command that must succeed, and gives what it printed.
    pub async fn succeed(&self, words: &[&str]) -> String {
        let finished = self.run(words).await;
        assert_eq!(finished.code, 0, "{words:?}: {}", finished.all());
        finished.out
    }

    /// Runs a command again and again until it succeeds, and gives what it printed.
    pub async fn wait_for(&self, words: &[&str]) -> String {
        eventually(&format!("{words:?} to succeed"), PATIENCE, async || {
            let finished = self.run(words).await;
            (finished.code == 0).then_some(finished.out)
        })
        .await
    }

    /// Writes a file that all may read, with the folders that it needs.
    pub async fn write(&self, path: &str, text: &str) {
        let source = self.folder.join("written");
        std::fs::write(&source, text).unwrap();
        self.copy(&source, path).await;
    }

    /// Brings a file of this side in, which all may read there.
    async fn copy(&self, source: &Path, path: &str) {
        // Through a command inside, where links lead to where they should.
        let mut command = self.command(&["install", "-D", "-m", "644", "/dev/stdin", path]);
        command.stdin(std::fs::File::open(source).unwrap());
        let finished = finish(command).await;
        assert_eq!(finished.code, 0, "{path}: {}", finished.all());
    }

    /// Reads a file.
    pub async fn read(&self, path: &str) -> String {
        self.succeed(&["cat", path]).await
    }

    /// Installs the package, with the units that recovery actions may restart, and a configuration of
    /// its own with the file `checks.d/checks.toml`. Starts nothing.
    pub async fn install(&self, units: &[&str], tables: &str, checks: &str) {
        // Debian's way of installing a service without starting it.
        let policy = "/usr/sbin/policy-rc.d";
        self.write(policy, "#!/bin/sh\nexit 101\n").await;
        self.succeed(&["chmod", "755", policy]).await;
        self.succeed(&["dpkg", "--install", PACKAGE]).await;
        self.succeed(&["rm", policy, "/etc/watchbell/checks.d/this-machine.toml"]).await;
        let rules = self.read("/etc/polkit-1/rules.d/50-watchbell.rules").await;
        let names: String = units.iter().map(|unit| format!("{unit:?},")).collect();
        assert!(rules.contains("var units = ["), "{rules}");
        let rules = rules.replace("var units = [", &format!("var units = [{names}"));
        self.write("/etc/polkit-1/rules.d/50-watchbell.rules", &rules).await;
        self.configure(tables, checks).await;
    }

    /// Writes a `daemon.toml` with these tables, and a file of checks.
    pub async fn configure(&self, tables: &str, checks: &str) {
        let daemon = format!("[daemon]\nname = \"booted\"\n\n[api]\nlisten = \"{API}\"\n{tables}");
        self.write("/etc/watchbell/daemon.toml", &daemon).await;
        self.write("/etc/watchbell/checks.d/checks.toml", checks).await;
    }

    /// What the API answers to a GET of a path.
    pub async fn get(&self, path: &str) -> Value {
        // The tree holds no curl. Before HTTP/1.1 an answer ends with its connection, which a
        // server may close early where the other side has closed its half.
        let request = format!("GET {path} HTTP/1.0\r\nHost: {API}\r\n\r\n");
        self.write("/run/request", &request).await;
        let ask = format!("socat -t 20 - TCP:{API},shut-none </run/request");
        let answer = self.succeed(&["sh", "-c", &ask]).await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {answer}"));
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"))
    }

    /// Waits until a check has a status.
    pub async fn wait_for_status(&self, check: &str, status: &str) {
        let status_of = async || {
            let words = ["watchbell", "status", "--json", "--url", &format!("http://{API}")];
            let answer: Value = serde_json::from_str(&self.run(&words).await.out).ok()?;
            let checks = answer["checks"].as_array()?;
            let found = checks.iter().find(|found| found["name"] == check)?;
            found["status"].as_str().map(str::to_owned)
        };
        eventually(&format!("{check} to be {status}"), PATIENCE, async || {
            (status_of().await? == status).then_some(())
        })
        .await;
    }

    /// A command inside, in an environment of its own.
    fn command(&self, words: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("nsenter");
        command.arg("--all").args(["--target", &self.leader.to_string(), "--"]).args(words);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LANG", "C.UTF-8");
        command.env("NO_COLOR", "1").kill_on_drop(true);
        command
    }

    /// Its systemd: the first descendant of the container that has this name.
    fn leader(&self) -> Option<u32> {
        self.process.children().into_iter().find(|id| {
            let name = std::fs::read_to_string(format!("/proc/{id}/comm"));
            name.is_ok_and(|name| name.trim() == "systemd")
        })
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        if std::thread::panicking() && self.leader != 0 {
            let mut journal = Command::new("timeout");
            journal.args(["10", "nsenter", "--all", "--target", &self.leader.to_string(), "--"]);
            journal.args(["journalctl", "--no-pager", "--lines=80"]);
            if let Ok(output) = journal.output() {
                eprintln!("---- journal ----\n{}", String::from_utf8_lossy(&output.stdout));
            }
        }
        // The container is the first process of a namespace: the kernel ends all the others of it
        // with this one, and before it counts as ended.
        if let Some(container) = self.process.children().first() {
            super::process::send(*container, Signal::KILL);
        }
        self.process.wait(Duration::from_secs(10));
        self.process.end();
        for group in &self.groups {
            remove_group(group);
        }
    }
}

/// A control group in each hierarchy that systemd uses: one on newer machines, else two.
fn control_groups() -> Vec<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("watchbell-test-{}-{number}", std::process::id());
    ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"]
        .into_iter()
        .map(Path::new)
        .filter(|hierarchy| hierarchy.join("cgroup.procs").exists())
        .map(|hierarchy| {
            let group = hierarchy.join(&name);
            std::fs::create_dir(&group).expect("a control group, which only root may make");
            group
        })
        .collect()
}

/// Removes a control group without processes, innermost groups first.
fn remove_group(group: &Path) {
    for inner in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if inner.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&inner.path());
        }
    }
    std::fs::remove_dir(group).ok();
}
