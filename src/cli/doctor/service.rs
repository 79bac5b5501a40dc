//! The unit of systemd, and the daemon that runs.

use super::super::remote::{Refused, RemoteArgs};
use super::finding::Finding;
use super::network::output;
use std::path::Path;

const SYSTEMD: &str = "systemd";
const DAEMON: &str = "daemon";

/// So many restarts of one start of the unit are worth a look.
const RESTARTS: u64 = 5;

/// The unit as systemd knows it.
#[derive(Debug, Default)]
pub struct Unit {
    /// Whether there is one.
    is_loaded: bool,
    active: String,
    enabled: String,
    watchdog: bool,
    restarts: u64,
    /// The daemon.
    pub pid: Option<u32>,
}

/// Asks systemd; none where the machine is not run by it.
pub async fn unit() -> Option<Unit> {
    if !Path::new("/run/systemd/system").exists() {
        return None;
    }
    let properties = "LoadState,ActiveState,UnitFileState,WatchdogUSec,NRestarts,MainPID";
    let property = format!("--property={properties}");
    output(&["systemctl", "show", "watchbell.service", &property]).await.map(|said| read(&said))
}

fn read(said: &str) -> Unit {
    let value = |key: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().to_owned()
    };
    Unit {
        is_loaded: value("LoadState") == "loaded",
        active: value("ActiveState"),
        enabled: value("UnitFileState"),
        watchdog: !matches!(&*value("WatchdogUSec"), "" | "0" | "infinity"),
        restarts: value("NRestarts").parse().unwrap_or(0),
        pid: value("MainPID").parse().ok().filter(|pid| *pid != 0),
    }
}

/// What there is to say of the unit.
pub fn findings(unit: Option<&Unit>) -> Vec<Finding> {
    let Some(unit) = unit else {
        let what = "this machine is not run by systemd, so nothing starts the daemon again";
        return vec![Finding::ok(SYSTEMD, what)];
    };
    if !unit.is_loaded {
        let what = "there is no unit watchbell.service: nothing starts the daemon with the machine";
        let fix = "install the package, or packaging/watchbell.service in /etc/systemd/system";
        return vec![Finding::warning(SYSTEMD, what).fix(fix)];
    }
    let mut findings = Vec::new();
    findings.push(match &*unit.active {
        "active" | "reloading" => Finding::ok(SYSTEMD, "watchbell.service is active"),
        state => Finding::problem(SYSTEMD, format!("watchbell.service is {state}"))
            .fix("systemctl start watchbell")
            .fix("journalctl -u watchbell -n 50 (why it ended)"),
    });
    if !matches!(&*unit.enabled, "enabled" | "enabled-runtime" | "static") {
        let what = format!("watchbell.service is {}: it does not start by itself", unit.enabled);
        findings.push(Finding::warning(SYSTEMD, what).fix("systemctl enable watchbell"));
    }
    if !unit.watchdog {
        let what = "no watchdog looks after it";
        findings.push(Finding::warning(SYSTEMD, what).fix("[Service] WatchdogSec=30s"));
    }
    if unit.restarts >= RESTARTS {
        let what = format!("it was started again {} times", unit.restarts);
        findings.push(Finding::warning(SYSTEMD, what).fix("journalctl -u watchbell -p err"));
    }
    findings
}

/// Asks the daemon itself.
pub async fn daemon(remote: &RemoteArgs, config: &Path) -> Vec<Finding> {
    let asked = match remote.remote() {
        Ok(remote) => remote.get("/api/v1/status").await,
        Err(error) => Err(error),
    };
    let status = match asked {
        Ok(status) => status,
        Err(error) => {
            let finding = match error.downcast_ref::<Refused>() {
                Some(refused) => Finding::warning(DAEMON, refused.to_string())
                    .fix("give a key that may read: --key, or WATCHBELL_KEY"),
                None => Finding::warning(DAEMON, format!("{error:#}"))
                    .fix(format!("watchbell run --config {}", config.display()))
                    .fix("or, as a service: systemctl start watchbell"),
            };
            return vec![finding];
        }
    };
    let mine = env!("CARGO_PKG_VERSION");
    let its = status["version"].as_str().unwrap_or("unknown");
    let mut findings = vec![if its == mine {
        Finding::ok(DAEMON, format!("it runs, and is of this version, {mine}"))
    } else {
        let what = format!("it runs, and is of version {its}; this program is {mine}");
        Finding::warning(DAEMON, what).fix("systemctl restart watchbell")
    }];
    if status["ready"] == false {
        let what = "it is not ready: its store or its schedule stands still";
        findings.push(Finding::problem(DAEMON, what).fix("journalctl -u watchbell -p err"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::{findings, read};

    #[test]
    fn a_unit_is_judged_by_what_systemd_says_of_it() {
        let check = |said: &str, expected: &[(Level, &str)]| {
            let found = findings(Some(&read(said)));
            assert_eq!(found.len(), expected.len(), "{found:?}");
            for (found, (level, words)) in found.iter().zip(expected) {
                assert_eq!((found.level, found.what.contains(words)), (*level, true), "{found:?}");
            }
        };
        let well = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\
                    WatchdogUSec=30s\nNRestarts=0\nMainPID=42\n";
        check(well, &[(Level::Ok, "is active")]);
        assert_eq!(read(well).pid, Some(42));
        check("LoadState=not-found\n", &[(Level::Warning, "there is no unit")]);
        check(
            "LoadState=loaded\nActiveState=failed\nUnitFileState=disabled\nWatchdogUSec=0\n\
             NRestarts=7\nMainPID=0\n",
            &[
                (Level::Problem, "is failed"),
                (Level::Warning, "does not start by itself"),
                (Level::Warning, "no watchdog"),
                (Level::Warning, "7 times"),
            ],
        );
    }
}
