//! As a service of a Debian that systemd has booted.

use crate::harness::{Booted, PATIENCE, eventually};
use serde_json::Value;

/// A service that listens.
const SHOP: &str = "[Service]\nExecStart=/usr/bin/socat \
                    TCP-LISTEN:8000,fork,reuseaddr,bind=127.0.0.1 SYSTEM:cat\n";

/// Watches it, or a port that nobody listens on.
pub const CHECK: &str = r#"
[[check]]
name = "shop-api"
every = "1s"
confirm_after = 1
recover_after = 1
[check.tcp]
address = "127.0.0.1:8000"
"#;

/// Writes and starts services that listen.
async fn start_shops(debian: &Booted, units: &[&str]) {
    for unit in units {
        debian.write(&format!("/etc/systemd/system/{unit}"), SHOP).await;
    }
    debian.succeed(&["systemctl", "daemon-reload"]).await;
    debian.succeed(&["systemctl", "start", units[0]]).await;
}

/// The process id of a service, and the user that it runs as.
async fn process_of(debian: &Booted, unit: &str) -> (String, String) {
    let id = debian.succeed(&["systemctl", "show", "--property=MainPID", "--value", unit]).await;
    let id = id.trim().to_owned();
    let user = debian.succeed(&["stat", "--format=%U", &format!("/proc/{id}")]).await;
    (id, user.trim().to_owned())
}

#[tokio::test]
async fn the_service_starts_its_checks_run_and_it_stops_in_order() {
    let debian = Booted::start().await;
    debian.install(&[], "", CHECK).await;
    debian.succeed(&["systemctl", "enable", "--now", "watchbell"]).await;
    debian.wait_for_status("shop-api", "down").await;
    start_shops(&debian, &["shop-api.service"]).await;
    debian.wait_for_status("shop-api", "up").await;
    let (id, user) = process_of(&debian, "watchbell").await;
    assert_eq!(user, "watchbell");
    let rights = debian.read(&format!("/proc/{id}/status")).await;
    assert!(rights.contains("CapEff:\t0000000000000000\n"), "{rights}");
    let incidents = debian.get("/api/v1/incidents?state=resolved").await;
    assert_eq!(incidents["items"][0]["check"], "shop-api", "{incidents:#}");
    let about = ["journalctl", "--unit=watchbell", "WATCHBELL_CHECK=shop-api", "--output=cat"];
    let about = debian.succeed(&about).await;
    assert!(about.contains("status changed check=shop-api"), "{about}");
    assert!(!about.contains("watchbell is running"), "fields tell lines apart: {about}");

    debian.succeed(&["systemctl", "stop", "watchbell"]).await;
    let how = ["systemctl", "show", "--property=Result", "--value", "watchbell"];
    assert_eq!(debian.succeed(&how).await.trim(), "success");
    debian.succeed(&["test", "-s", "/var/lib/watchbell/watchbell.db"]).await;
}

#[tokio::test]
async fn the_service_may_restart_the_units_that_are_listed_and_do_nothing_else() {
    let debian = Booted::start().await;
    debian.install(&["shop-api.service", "shop@.service"], "", CHECK).await;
    start_shops(&debian, &["shop-api.service", "other.service", "shop@.service"]).await;

    // As the unit that ships, but for what it starts.
    let shipped = debian.read("/usr/lib/systemd/system/watchbell.service").await;
    let keep = |line: &&str| {
        ["Exec", "Restart", "Type", "NotifyAccess", "WatchdogSec"]
            .iter()
            .all(|key| !line.starts_with(key))
    };
    let shipped: String = shipped.lines().filter(keep).flat_map(|line| [line, "\n"]).collect();
    let may = async |method: &str, signature: &str, words: &str| {
        let call = format!(
            "busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 \
             org.freedesktop.systemd1.Manager {method} {signature} {words}"
        );
        let service = format!(
            "[Service]\nType=oneshot\nExecStart=/usr/bin/{call}\n\
             StandardOutput=truncate:/run/answer\nStandardError=inherit\n"
        );
        let unit = shipped.replace("[Service]\n", &service);
        debian.write("/etc/systemd/system/asks.service", &unit).await;
        debian.succeed(&["systemctl", "daemon-reload"]).await;
        let finished = debian.run(&["systemctl", "start", "asks.service"]).await;
        let said = debian.read("/run/answer").await;
        let refused = "Call failed: Interactive authentication required.";
        assert_eq!(finished.code == 0, !said.trim().ends_with(refused), "{call}: {said}");
        finished.code == 0
    };

    let before = process_of(&debian, "shop-api.service").await.0;
    assert!(may("RestartUnit", "ss", "shop-api.service replace").await);
    debian.wait_for(&["systemctl", "is-active", "shop-api.service"]).await;
    assert_ne!(process_of(&debian, "shop-api.service").await.0, before);
    assert!(may("StartUnit", "ss", "shop@2.service replace").await);
    assert!(may("StopUnit", "ss", "shop@2.service replace").await);

    assert!(!may("RestartUnit", "ss", "other.service replace").await);
    assert!(!may("StopUnit", "ss", "other.service replace").await);
    assert!(!may("KillUnit", "ssi", "shop-api.service all 9").await);
    assert!(!may("SetUnitProperties", "sba(sv)", "shop-api.service true 0").await);
    assert!(!may("Reload", "", "").await);
}

#[tokio::test]
async fn a_recovery_action_restarts_a_unit_over_d_bus() {
    let debian = Booted::start().await;
    let checks = format!(
        "{CHECK}[check.recover]\naction = \"restart\"\nsystemd_unit = \"shop-api.service\"\n"
    );
    debian.install(&["shop-api.service"], "", &checks).await;
    start_shops(&debian, &["shop-api.service"]).await;
    debian.succeed(&["systemctl", "start", "watchbell"]).await;
    debian.wait_for_status("shop-api", "up").await;
    assert_eq!(process_of(&debian, "watchbell").await.1, "watchbell");

    debian.succeed(&["systemctl", "kill", "--signal=KILL", "shop-api.service"]).await;
    let incident = eventually("the incident to resolve", PATIENCE, async || {
        let resolved = debian.get("/api/v1/incidents?state=resolved").await;
        resolved["items"].as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!(incident["check"], "shop-api", "{incident:#}");
    let path = format!("/api/v1/incidents/{}", incident["id"].as_str().unwrap());
    let timeline = debian.get(&path).await["timeline"].clone();
    let told = |entry: &Value| {
        entry["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("restart") && detail.contains("shop-api.service"))
    };
    assert!(timeline.as_array().unwrap().iter().any(told), "{timeline:#}");
    debian.succeed(&["systemctl", "is-active", "shop-api.service"]).await;
}

/// What systemd knows of the service.
async fn property(debian: &Booted, name: &str) -> String {
    let words = ["systemctl", "show", "--value", "--property", name, "watchbell"];
    debian.succeed(&words).await.trim().to_owned()
}

async fn signal(debian: &Booted, name: &str) {
    let signal = format!("--signal={name}");
    debian.succeed(&["systemctl", "kill", "--kill-who=main", &signal, "watchbell"]).await;
}

/// The process id of the service once it is another than `before`, and the service is active.
async fn next_process(debian: &Booted, before: &str) -> String {
    eventually("the service to start again", PATIENCE, async || {
        let id = property(debian, "MainPID").await;
        let active = property(debian, "ActiveState").await;
        (id != before && id != "0" && active == "active").then_some(id)
    })
    .await
}

/// Waits until the line that `systemctl status` shows holds `words`.
async fn wait_for_line(debian: &Booted, words: &str) {
    eventually(&format!("`{words}` in the line of the service"), PATIENCE, async || {
        property(debian, "StatusText").await.contains(words).then_some(())
    })
    .await;
}

#[tokio::test]
async fn systemd_hears_how_the_service_is_and_starts_it_again_whatever_happens() {
    let debian = Booted::start().await;
    debian.install(&[], "", CHECK).await;
    // With secrets in its environment, which is that of a reload as well.
    debian.write("/etc/watchbell/environment", "WATCHBELL_KEY=0123456789abcdef\n").await;
    // As it ships, but for a shorter patience.
    let patience = "[Service]\nWatchdogSec=3s\nRestartSec=100ms\n";
    debian.write("/etc/systemd/system/watchbell.service.d/patience.conf", patience).await;
    debian.succeed(&["systemctl", "daemon-reload"]).await;
    debian.succeed(&["systemctl", "start", "watchbell"]).await;
    // Started means ready: nobody has to wait for the API.
    assert_eq!(debian.get("/api/v1/status").await["ready"], true);
    wait_for_line(&debian, "1 down; 1 incident").await;

    // A good configuration is taken, a bad one is not, and the journal says where it is bad.
    start_shops(&debian, &["shop-api.service"]).await;
    let more = CHECK.replace("shop-api", "shop-too");
    debian.write("/etc/watchbell/checks.d/more.toml", &more).await;
    debian.succeed(&["systemctl", "reload", "watchbell"]).await;
    debian.wait_for_status("shop-too", "up").await;
    wait_for_line(&debian, "2 up; 0 incidents").await;
    debian.write("/etc/watchbell/checks.d/more.toml", "[[check]]\nnmae = 1\n").await;
    let reload = debian.run(&["systemctl", "reload", "watchbell"]).await;
    assert_ne!(reload.code, 0, "{}", reload.all());
    signal(&debian, "HUP").await;
    wait_for_line(&debian, "watchbell:config").await;
    let warnings = ["journalctl", "--unit=watchbell", "--priority=err", "--output=cat"];
    let journal = debian.succeed(&warnings).await;
    assert!(journal.contains("more.toml:2:1") && journal.contains("name"), "{journal}");
    assert!(!journal.contains("watchbell is running"), "levels tell lines apart: {journal}");
    assert_eq!(property(&debian, "ActiveState").await, "active");
    debian.write("/etc/watchbell/checks.d/more.toml", &more).await;
    debian.succeed(&["systemctl", "reload", "watchbell"]).await;
    wait_for_line(&debian, "2 up; 0 incidents").await;

    // Killed, and stopped so that only the watchdog can tell: both times it starts again.
    let first = property(&debian, "MainPID").await;
    signal(&debian, "KILL").await;
    let second = next_process(&debian, &first).await;
    signal(&debian, "STOP").await;
    let third = next_process(&debian, &second).await;
    assert_eq!(property(&debian, "NRestarts").await, "2");
    let journal = debian.succeed(&["journalctl", "--unit=watchbell", "--output=cat"]).await;
    assert!(journal.contains("Watchdog timeout"), "{journal}");
    wait_for_line(&debian, "2 up").await;
    assert_eq!(property(&debian, "MainPID").await, third, "it lives, and is let live");
    // A start with a bad configuration fails, and says where it is bad.
    debian.write("/etc/watchbell/checks.d/more.toml", "[[check]]\nnmae = 1\n").await;
    debian.succeed(&["systemctl", "stop", "watchbell"]).await;
    assert_ne!(debian.run(&["systemctl", "start", "watchbell"]).await.code, 0);
}

#[tokio::test]
async fn the_booted_service_may_do_no_more_than_its_score_says() {
    let debian = Booted::start().await;
    debian.install(&[], "", CHECK).await;
    let score = async || {
        let unit = "/usr/lib/systemd/system/watchbell.service";
        let words = ["systemd-analyze", "security", "--offline=true", "--no-pager", unit];
        let report = debian.succeed(&words).await;
        let line = report.lines().rev().find(|line| line.contains("exposure level")).unwrap();
        let score = line.split_whitespace().find_map(|word| word.parse::<f64>().ok());
        score.unwrap_or_else(|| panic!("{line}"))
    };
    let shipped = score().await;
    assert!(shipped <= 1.7, "{shipped}");
    let drop_in = debian.read("/usr/share/doc/watchbell/examples/network-only.conf").await;
    let place = "/etc/systemd/system/watchbell.service.d/network-only.conf";
    debian.write(place, &drop_in).await;
    let network_only = score().await;
    assert!(network_only <= 1.2, "{network_only}");
    // It runs so, too.
    debian.succeed(&["systemctl", "daemon-reload"]).await;
    debian.succeed(&["systemctl", "start", "watchbell"]).await;
    start_shops(&debian, &["shop-api.service"]).await;
    debian.wait_for_status("shop-api", "up").await;
}
