//! As a service of a Debian that systemd has booted.

use crate::harness::{Booted, PATIENCE, eventually, repository};
use serde_json::Value;

/// A service that listens.
const SHOP: &str = "[Service]\nExecStart=/usr/bin/socat \
                    TCP-LISTEN:8000,fork,reuseaddr,bind=127.0.0.1 SYSTEM:cat\n";

/// Watches it.
const CHECK: &str = r#"
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
    let shipped = repository().join("packaging/watchbell.service");
    let shipped = std::fs::read_to_string(shipped).unwrap();
    let keep = |line: &&str| !line.starts_with("Exec") && !line.starts_with("Restart");
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
