//! The package, on a Debian that systemd has booted: from its installation to its purge.

use crate::booted::CHECK;
use crate::harness::{Booted, PACKAGE, PATIENCE, eventually};
use serde_json::Value;

/// Keeps the bodies of what it is sent, one a line, and says that all is well.
const HOOK: &str = r#"#!/bin/sh
end=$(printf '\r')
while IFS= read -r line; do
    line=${line%"$end"}
    case $line in
        "") break ;;
        [Cc]ontent-[Ll]ength:*) length=${line#*: } ;;
    esac
done
{ head -c "$length"; echo; } >>/run/heard
printf 'HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n'
"#;

/// A service that runs a program for each connection to a port.
fn listener(port: u16, program: &str) -> String {
    format!(
        "[Service]\nExecStart=/usr/bin/socat TCP-LISTEN:{port},fork,reuseaddr,bind=127.0.0.1 \
         SYSTEM:{program}\n"
    )
}

/// What systemd knows of the service.
async fn property(debian: &Booted, name: &str) -> String {
    let words = ["systemctl", "show", "--value", "--property", name, "watchbell"];
    debian.succeed(&words).await.trim().to_owned()
}

/// Installs a package over what is there, and keeps what people have changed.
async fn install(debian: &Booted, package: &str) {
    debian.succeed(&["dpkg", "--force-confold", "--install", package]).await;
}

/// The version that is installed.
async fn version(debian: &Booted) -> String {
    debian.succeed(&["dpkg-query", "--show", "--showformat=${Version}", "watchbell"]).await
}

/// The open incident of a check, once there is one.
async fn incident(debian: &Booted, check: &str) -> Value {
    eventually(&format!("an incident of {check}"), PATIENCE, async || {
        let open = debian.get("/api/v1/incidents?state=open").await;
        let open = open["items"].as_array().unwrap();
        open.iter().find(|incident| incident["check"] == check).cloned()
    })
    .await
}

#[tokio::test]
async fn what_is_installed_runs_at_once_and_watches_its_machine() {
    let debian = Booted::start().await;
    debian.succeed(&["dpkg", "--install", PACKAGE]).await;
    // It is started, and has said that it is ready, when the installation is over.
    assert_eq!(property(&debian, "ActiveState").await, "active");
    assert_eq!(debian.succeed(&["systemctl", "is-enabled", "watchbell"]).await.trim(), "enabled");
    assert_eq!(debian.succeed(&["watchbell", "status", "--ready"]).await.trim(), "ready");
    // A machine that builds and tests may well be degraded.
    eventually("a run of the check", PATIENCE, async || {
        let status = debian.run(&["watchbell", "status", "--json"]).await.json();
        let status = status["checks"][0]["status"].as_str().map(str::to_owned);
        status.filter(|status| status == "up" || status == "degraded")
    })
    .await;
    // Root needs no key; whoever comes by the address does.
    debian.succeed(&["watchbell", "pause", "this-machine"]).await;
    let by_address = ["watchbell", "resume", "this-machine", "--url", "http://127.0.0.1:7117"];
    assert_ne!(debian.run(&by_address).await.code, 0);
    let mode = ["stat", "--format=%U %a", "/etc/watchbell/environment"];
    assert_eq!(debian.succeed(&mode).await.trim(), "root 600");
    debian.succeed(&["watchbell", "validate"]).await;
    assert_eq!(debian.succeed(&["dpkg", "--verify", "watchbell"]).await, "");
}

#[tokio::test]
async fn an_alert_reaches_a_local_webhook_and_the_news_does_after_a_crash() {
    let debian = Booted::start().await;
    debian.succeed(&["dpkg", "--install", PACKAGE]).await;
    debian.write("/usr/local/bin/hook", HOOK).await;
    debian.succeed(&["chmod", "755", "/usr/local/bin/hook"]).await;
    debian.write("/etc/systemd/system/hook.service", &listener(9000, "/usr/local/bin/hook")).await;
    debian.write("/etc/systemd/system/shop.service", &listener(8000, "cat")).await;
    let channel =
        "[[channel]]\nname = \"hook\"\n[channel.webhook]\nurl = \"http://127.0.0.1:9000/\"\n";
    debian.configure(channel, CHECK).await;
    debian.succeed(&["systemctl", "daemon-reload"]).await;
    debian.succeed(&["systemctl", "start", "hook"]).await;
    debian.succeed(&["systemctl", "reload", "watchbell"]).await;
    let heard = async |what: &str| {
        eventually(&format!("the news `{what}`"), PATIENCE, async || {
            let heard = debian.run(&["cat", "/run/heard"]).await.out;
            let is_it =
                |body: Value| body["what"] == what && body["incidents"][0]["check"] == "shop-api";
            let mut bodies = heard.lines().filter_map(|line| serde_json::from_str(line).ok());
            bodies.any(is_it).then_some(())
        })
        .await;
    };
    heard("opened").await;
    debian.succeed(&["systemctl", "kill", "--kill-who=main", "--signal=KILL", "watchbell"]).await;
    debian.succeed(&["systemctl", "start", "shop"]).await;
    heard("resolved").await;
}

#[tokio::test]
async fn only_a_purge_takes_history_and_configuration_away() {
    let debian = Booted::start().await;
    debian.succeed(&["dpkg", "--install", PACKAGE]).await;
    let installed = version(&debian).await;
    // What a person does: another daemon.toml, a check more, one less.
    debian.configure("", CHECK).await;
    debian.succeed(&["rm", "/etc/watchbell/checks.d/this-machine.toml"]).await;
    debian.succeed(&["systemctl", "restart", "watchbell"]).await;
    let before = incident(&debian, "shop-api").await;
    let edited = debian.read("/etc/watchbell/daemon.toml").await;

    // A newer package, whose daemon.toml is another one.
    let newer = "cd /root && dpkg-deb --raw-extract watchbell.deb newer && \
                 sed -i 's/^Version: .*/Version: 999.0.0-1/' newer/DEBIAN/control && \
                 echo '# More.' >>newer/etc/watchbell/daemon.toml && \
                 dpkg-deb -Znone --build newer newer.deb";
    debian.succeed(&["sh", "-c", newer]).await;
    let same_as_before = async |what: &str| {
        assert_eq!(property(&debian, "ActiveState").await, "active", "{what}");
        assert_eq!(debian.read("/etc/watchbell/daemon.toml").await, edited, "{what}");
        let removed = ["test", "!", "-e", "/etc/watchbell/checks.d/this-machine.toml"];
        debian.succeed(&removed).await;
        assert_eq!(incident(&debian, "shop-api").await["id"], before["id"], "{what}");
    };
    let process = property(&debian, "MainPID").await;
    install(&debian, "/root/newer.deb").await;
    assert_eq!(version(&debian).await, "999.0.0-1");
    assert_ne!(property(&debian, "MainPID").await, process, "the new program runs");
    same_as_before("after the upgrade").await;
    let shipped = debian.read("/etc/watchbell/daemon.toml.dpkg-dist").await;
    assert!(shipped.ends_with("# More.\n"), "the new file lies beside the edited one");
    install(&debian, PACKAGE).await;
    assert_eq!(version(&debian).await, installed);
    same_as_before("after the downgrade").await;

    debian.succeed(&["dpkg", "--remove", "watchbell"]).await;
    assert_eq!(property(&debian, "ActiveState").await, "inactive");
    debian.succeed(&["test", "!", "-e", "/usr/bin/watchbell"]).await;
    debian.succeed(&["test", "-s", "/var/lib/watchbell/watchbell.db"]).await;
    install(&debian, PACKAGE).await;
    same_as_before("after a removal and a new installation").await;

    debian.succeed(&["dpkg", "--purge", "watchbell"]).await;
    for path in ["/etc/watchbell", "/var/lib/watchbell", "/var/lib/private/watchbell"] {
        debian.succeed(&["sh", "-c", &format!("test ! -e {path} && test ! -L {path}")]).await;
    }
    assert_eq!(property(&debian, "LoadState").await, "not-found");
}

#[tokio::test]
async fn an_address_that_systemd_opened_is_served_and_never_closed() {
    let debian = Booted::start().await;
    debian.install(&[], "", CHECK).await;
    let socket = debian.read("/usr/share/doc/watchbell/examples/watchbell.socket").await;
    debian.write("/etc/systemd/system/watchbell.socket", &socket).await;
    debian.succeed(&["systemctl", "daemon-reload"]).await;
    debian.succeed(&["systemctl", "enable", "--now", "watchbell.socket"]).await;
    assert_eq!(property(&debian, "ActiveState").await, "inactive");
    // Whoever asks first starts it.
    assert_eq!(debian.get("/api/v1/status").await["ready"], true);
    // Nobody is refused while it restarts, however long that takes.
    debian.succeed(&["systemctl", "stop", "watchbell"]).await;
    assert_eq!(debian.get("/api/v1/status").await["name"], "booted");
    let first = property(&debian, "MainPID").await;
    debian.succeed(&["systemctl", "kill", "--kill-who=main", "--signal=KILL", "watchbell"]).await;
    assert_eq!(debian.get("/api/v1/status").await["name"], "booted");
    assert_ne!(property(&debian, "MainPID").await, first);
}
