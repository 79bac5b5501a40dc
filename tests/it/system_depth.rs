//! The machine in depth: real processes, and the units of a Debian that systemd has booted.

use crate::harness::{Booted, Daemon, PATIENCE, Setup, SmallDisk, eventually};
use serde_json::Value;
use std::process::{Child, Command};

/// A process that ends with its owner.
struct Sleeper(Child);

impl Sleeper {
    fn start(seconds: &str) -> Self {
        Self(Command::new("sleep").arg(seconds).spawn().unwrap())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Waits for a result of a check whose facts are as wanted, and gives them.
async fn facts(daemon: &Daemon, check: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let path = format!("/api/v1/checks/{check}/results?limit=50");
    eventually(&format!("{check} to find what is there"), PATIENCE, async || {
        let results = daemon.list(&path).await;
        results.into_iter().map(|mut result| result["facts"].take()).find(|facts| wanted(facts))
    })
    .await
}

#[tokio::test]
async fn processes_are_measured_and_a_restart_is_seen() {
    let (first, second) = (Sleeper::start("86397"), Sleeper::start("86398"));
    let check = "[[check]]\nname = \"machine\"\nevery = \"1s\"\nconfirm_after = 1\n\
                 recover_after = 1\n[check.system]\n[[check.system.processes]]\n\
                 regex = \"^sleep 8639[78]$\"\nlabel = \"sleepers\"\n";
    let daemon = Setup::new().checks("a.toml", check).start().await;
    daemon.wait_for_status("machine", "up").await;
    let found = facts(&daemon, "machine", |facts| facts["watched"]["sleepers"]["count"] == 2).await;
    let sleepers = &found["watched"]["sleepers"];
    assert!(sleepers["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 4096), "{found:#}");
    assert!(sleepers["age_seconds"].is_number(), "{found:#}");
    assert!(found["open_files"].as_i64().is_some_and(|files| files > 0), "{found:#}");
    assert!(found["cpus"]["0"].is_number(), "{found:#}");

    // The oldest goes: the one that is left is a younger one than was there.
    drop(first);
    facts(&daemon, "machine", |facts| facts["watched"]["sleepers"]["count"] == 1).await;
    drop(second);
    let down = daemon.wait_for_status("machine", "down").await;
    assert!(down["reasons"].to_string().contains("no process of `sleepers` runs"), "{down:#}");
    let _third = Sleeper::start("86397");
    daemon.wait_for_status("machine", "up").await;
}

#[tokio::test]
async fn a_small_disk_that_turns_read_only_is_told() {
    let disk = SmallDisk::mount(4);
    let mount = disk.path().display().to_string();
    let check = format!(
        "[[check]]\nname = \"disk\"\nevery = \"1s\"\nconfirm_after = 1\nrecover_after = 1\n\
         [check.system]\ndisks = [\"{mount}\"]\n"
    );
    let daemon = Setup::new().checks("a.toml", &check).start().await;
    daemon.wait_for_status("disk", "up").await;
    let found = facts(&daemon, "disk", |facts| facts["disks_turned_read_only"] == 0).await;
    assert_eq!(found["disks"][&mount]["read_only"], false, "{found:#}");
    disk.remount("ro");
    let down = daemon.wait_for_status("disk", "down").await;
    assert!(down["reasons"].to_string().contains("1 disks can be written no more"), "{down:#}");
    let found = facts(&daemon, "disk", |facts| facts["disks_turned_read_only"] == 1).await;
    assert_eq!(found["disks"][&mount]["read_only"], true, "{found:#}");
    disk.remount("rw");
    daemon.wait_for_status("disk", "up").await;
}

/// A service that runs, and one that ends with a failure.
const UNITS: [(&str, &str); 2] = [
    ("works.service", "[Service]\nExecStart=/bin/sleep infinity\nRestart=always\nRestartSec=0\n"),
    ("fails.service", "[Service]\nExecStart=/bin/false\n"),
];

#[tokio::test]
async fn a_booted_machine_tells_its_units_to_an_ordinary_user() {
    let debian = Booted::start().await;
    let checks = "[[check]]\nname = \"units\"\nevery = \"1s\"\nconfirm_after = 1\n\
                  recover_after = 1\n[check.system]\nunits = [\"works.service\"]\n\n\
                  [[check]]\nname = \"ill\"\nevery = \"1s\"\nconfirm_after = 1\n[check.system]\n\
                  units = [\"works.service\", \"fails.service\", \"typo.service\"]\n";
    debian.install(&[], "", checks).await;
    for (name, text) in UNITS {
        debian.write(&format!("/etc/systemd/system/{name}"), text).await;
    }
    debian.succeed(&["systemctl", "daemon-reload"]).await;
    debian.succeed(&["systemctl", "start", "works.service"]).await;
    debian.run(&["systemctl", "start", "fails.service"]).await;
    debian.succeed(&["systemctl", "start", "watchbell"]).await;
    debian.wait_for_status("units", "up").await;
    debian.wait_for_status("ill", "down").await;
    let ill = debian.get("/api/v1/checks/ill").await["reasons"].to_string();
    for reason in ["fails.service is failed (exit-code)", "there is no unit typo.service"] {
        assert!(ill.contains(reason), "{ill}");
    }

    // systemd starts it again, and counts.
    debian.succeed(&["systemctl", "kill", "--signal=KILL", "works.service"]).await;
    eventually("the restart to be seen", PATIENCE, async || {
        let results = debian.get("/api/v1/checks/units/results?limit=1").await;
        let unit = &results["items"][0]["facts"]["units"]["works.service"];
        unit["restarts"].as_i64().filter(|restarts| *restarts >= 1)
    })
    .await;
    debian.succeed(&["systemctl", "stop", "works.service"]).await;
    debian.wait_for_status("units", "down").await;
    let down = debian.get("/api/v1/checks/units").await["reasons"].to_string();
    assert!(down.contains("works.service is inactive"), "{down}");
}
