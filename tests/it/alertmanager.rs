//! Prometheus sends its alerts here, and amtool lists and silences them: the real programs of
//! Debian.

use crate::harness::{
    Daemon, Folder, KEY, Local, PATIENCE, Process, Setup, Target, Webhook, eventually, free_port,
    repository,
};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// A Prometheus whose one rule fires while its target is down.
struct Prometheus {
    _process: Process,
    /// Dropped after the process.
    _folder: Folder,
}

impl Prometheus {
    fn start(alertmanager: u16, target: u16) -> Self {
        let (folder, port) = (Folder::new(), free_port());
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [rules.yml]\n\
             alerting:\n  alertmanagers:\n    - static_configs: [{{ targets: [\"127.0.0.1:{alertmanager}\"] }}]\n      \
             authorization: {{ credentials: {KEY} }}\n\
             scrape_configs:\n  - job_name: shop\n    static_configs: [{{ targets: [\"127.0.0.1:{target}\"] }}]\n"
        );
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        write_rules(folder.path());
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let process = Process::spawn("prometheus", &mut command, &folder.join("prometheus.log"));
        Self { _process: process, _folder: folder }
    }
}

fn write_rules(folder: &Path) {
    let rules = "groups:\n  - name: shop\n    rules:\n      - alert: TargetDown\n        expr: up == 0\n        \
         labels: { severity: warning, team: shop }\n        \
         annotations: { summary: 'the target is down', dashboard: 'https://grafana.example/d/1' }\n";
    std::fs::write(folder.join("rules.yml"), rules).unwrap();
}

/// What amtool prints.
async fn amtool(daemon: &Daemon, words: &[&str]) -> String {
    let keys = daemon.setup().folder().join("amtool.yml");
    std::fs::write(&keys, format!("authorization: {{ credentials: {KEY} }}\n")).unwrap();
    let mut command = tokio::process::Command::new("amtool");
    command.arg("--alertmanager.url").arg(daemon.url("")).arg("--http.config.file").arg(&keys);
    let output = command.args(words).output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "amtool {words:?}: {text}{errors}");
    text
}

#[tokio::test]
async fn prometheus_sends_its_alerts_and_amtool_silences_them() {
    let hook = Webhook::start();
    let channel = hook.channel("ops", "rate_limit = \"1000/h\"");
    let daemon = Setup::new().tables(&channel).start().await;
    let metrics = axum::routing::get(async || "shops 1\n");
    let mut target = Local::router(axum::Router::new().route("/metrics", metrics));
    target.stop();
    let _prometheus = Prometheus::start(daemon.port(), target.port);

    let incident = daemon.wait_for_incident("TargetDown", "open", &[]).await;
    assert_eq!(
        (&incident["severity"], &incident["labels"]["team"]),
        (&"warning".into(), &"shop".into())
    );
    let words = ["opened", "TargetDown", "the target is down", "grafana.example/d/1", "team=shop"];
    hook.inbox.wait_for(0, &words).await;

    let listed = amtool(&daemon, &["alert", "query", "team=shop"]).await;
    assert!(listed.contains("TargetDown") && listed.contains("the target is down"), "{listed}");
    let other = amtool(&daemon, &["alert", "query", "team=core"]).await;
    assert!(!other.contains("TargetDown"), "{other}");
    let json = amtool(&daemon, &["-o", "json", "alert", "query"]).await;
    let alerts: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(alerts[0]["status"]["state"], "active");

    let silence =
        amtool(&daemon, &["silence", "add", "team=shop", "-c", "a move", "-d", "1h"]).await;
    let listed = amtool(&daemon, &["silence", "query"]).await;
    assert!(listed.contains(silence.trim()) && listed.contains("a move"), "{listed}");
    let json = amtool(&daemon, &["-o", "json", "alert", "query", "--silenced"]).await;
    let alerts: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(alerts[0]["status"]["silencedBy"][0], silence.trim());
    amtool(&daemon, &["silence", "expire", silence.trim()]).await;
    assert!(!amtool(&daemon, &["silence", "query"]).await.contains("a move"));
    amtool(&daemon, &["config", "show"]).await;

    target.start_again();
    daemon.wait_for_incident("TargetDown", "resolved", &[]).await;
    hook.inbox.wait_for(1, &["resolved", "TargetDown"]).await;
    let none = eventually("amtool to see nothing", PATIENCE, async || {
        let listed = amtool(&daemon, &["alert", "query"]).await;
        (!listed.contains("TargetDown")).then_some(listed)
    });
    none.await;
}

#[tokio::test]
async fn the_metrics_are_what_promtool_expects() {
    let daemon = Setup::new().start().await;
    let (status, metrics) = daemon.get_text("/metrics").await;
    assert_eq!(status, 200);
    let file = daemon.setup().folder().join("metrics.txt");
    std::fs::write(&file, metrics).unwrap();
    let mut command = tokio::process::Command::new("promtool");
    command.args(["check", "metrics"]).stdin(std::fs::File::open(&file).unwrap());
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[tokio::test]
async fn the_rules_and_the_dashboard_that_ship_ask_for_metrics_that_there_are() {
    let target = Target::start();
    let daemon = Setup::new()
        .checks("a.toml", &target.check("shop", ""))
        .tables("[[channel]]\nname = \"ops\"\n[channel.console]\n")
        .start()
        .await;
    daemon.wait_for_status("shop", "up").await;
    let (_, metrics) = daemon.get_text("/metrics").await;
    let packaging = repository().join("packaging");
    let rules = packaging.join("prometheus/watchbell.rules.yml");
    let mut command = tokio::process::Command::new("promtool");
    let output = command.args(["check", "rules"]).arg(&rules).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let dashboard = std::fs::read_to_string(packaging.join("grafana/watchbell.json")).unwrap();
    serde_json::from_str::<Value>(&dashboard).expect("the dashboard is JSON");
    let asked = dashboard + &std::fs::read_to_string(rules).unwrap();
    let words = asked.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names: Vec<&str> = words.filter(|word| word.starts_with("watchbell_")).collect();
    assert!(names.len() > 20);
    for name in names {
        assert!(metrics.contains(&format!("# TYPE {name} ")), "there is no metric {name}");
    }
}
