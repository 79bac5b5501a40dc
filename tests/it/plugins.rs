//! The monitoring plugins that Debian brings, run as they are; and plugins that misbehave.

use crate::harness::{PATIENCE, Setup, Target, eventually};
use serde_json::Value;
use std::path::Path;

/// A check every second that confirms at once.
fn check(name: &str, keys: &str, command: &str) -> String {
    format!(
        "[[check]]\nname = \"{name}\"\nevery = \"1s\"\nconfirm_after = 1\nrecover_after = 1\n\
         {keys}\n[check.exec]\ncommand = [{command}]\n\n"
    )
}

fn plugin(name: &str, arguments: &[&str]) -> String {
    let path = format!("/usr/lib/nagios/plugins/{name}");
    assert!(Path::new(&path).exists(), "no {path}; `scripts/test` installs it");
    let words: Vec<String> = std::iter::once(path.as_str())
        .chain(arguments.iter().copied())
        .map(|word| format!("'{word}'"))
        .collect();
    words.join(", ")
}

#[tokio::test]
async fn the_plugins_of_nagios_say_how_things_are() {
    let web = Target::start();
    let port = web.url().trim_end_matches('/').rsplit_once(':').unwrap().1.to_owned();
    let port = port.as_str();
    let checks = [
        check(
            "web",
            "degraded_if = [\"perf['time'].value > 30.0\"]",
            &plugin("check_http", &["-I", "127.0.0.1", "-p", port]),
        ),
        check(
            "port",
            "expect = [\"perf.time.unit == 's'\", \"exit_code == 0\"]",
            &plugin("check_tcp", &["-H", "127.0.0.1", "-p", port]),
        ),
        check(
            "load",
            "expect = [\"perf['load15'].value >= 0.0\", \"perf.load1.crit == '2000.000'\"]",
            &plugin("check_load", &["-w", "1000,1000,1000", "-c", "2000,2000,2000"]),
        ),
        check(
            "busy",
            "degraded_if = [\"perf['load1'].value > -1.0\"]",
            &plugin("check_load", &["-w", "1000,1000,1000", "-c", "2000,2000,2000"]),
        ),
        check(
            "disk",
            "expect = [\"perf['/'].max > 0.0\", \"size(perf_alerts) == 0\"]",
            &plugin("check_disk", &["-w", "0%", "-c", "0%", "-p", "/"]),
        ),
        check("so-so", "", &plugin("check_dummy", &["1", "not so well"])),
        check("who-knows", "", &plugin("check_dummy", &["3", "nobody knows"])),
        check("not-there", "", "'/usr/lib/nagios/plugins/check_nothing'"),
    ];
    let daemon = Setup::new().checks("a.toml", &checks.concat()).start().await;
    for name in ["web", "port", "load", "disk"] {
        daemon.wait_for_status(name, "up").await;
    }
    let reason = |check: &Value| check["reasons"][0].as_str().unwrap_or_default().to_owned();
    let busy = daemon.wait_for_status("busy", "degraded").await;
    assert!(reason(&busy).contains("perf['load1'].value > -1.0 holds"), "{busy:#}");
    let so_so = daemon.wait_for_status("so-so", "degraded").await;
    assert_eq!(reason(&so_so), "WARNING: not so well");
    let who_knows = daemon.wait_for_status("who-knows", "unknown").await;
    assert_eq!(reason(&who_knows), "UNKNOWN: nobody knows");
    let not_there = daemon.wait_for_status("not-there", "unknown").await;
    assert!(reason(&not_there).ends_with("check_nothing: there is no such program"));

    // The history keeps what was measured.
    let results = eventually("a result to be kept", PATIENCE, async || {
        let results = daemon.list("/api/v1/checks/load/results").await;
        results.into_iter().next()
    })
    .await;
    let load = &results["facts"]["perf"]["load1"];
    assert!(load["value"].is_f64() && load["warn"] == "1000.000", "{results:#}");
    assert!(load["max"].is_null(), "{results:#}");

    web.answer(500);
    let incident = daemon.wait_for_incident("web", "open", &[]).await;
    assert!(incident["reasons"].to_string().contains("500 Internal Server Error"), "{incident:#}");
    web.answer(200);
    daemon.wait_for_incident("web", "resolved", &[]).await;
}

#[tokio::test]
async fn a_plugin_that_forks_and_hangs_is_killed_with_its_children() {
    // Neither it nor its child hears a polite signal, and both hold its output open.
    let script = "trap '' TERM INT HUP\n\
                  (echo child $(exec sh -c 'echo $PPID') >> pids; while :; do sleep 1; done) &\n\
                  echo plugin $$ >> pids\n\
                  while :; do echo noise; done\n";
    let setup = Setup::new();
    let folder = setup.folder().to_owned();
    std::fs::write(folder.join("checks.d/hang.sh"), script).unwrap();
    let hanging = format!(
        "{}directory = \"{}\"\n",
        check("hanging", "timeout = \"700ms\"", "\"/bin/sh\", \"checks.d/hang.sh\"").trim_end(),
        folder.display()
    )
    .replace("]directory", "]\ndirectory");
    let other = check("other", "", "\"true\"");
    let mut daemon = setup.checks("a.toml", &format!("{hanging}\n{other}")).start().await;
    let incident = daemon.wait_for_incident("hanging", "open", &[]).await;
    assert_eq!(incident["reasons"][0], "no answer within 700ms");
    daemon.wait_for_status("other", "up").await;

    let pids = || {
        let text = std::fs::read_to_string(folder.join("pids")).unwrap();
        let pids = text.lines().map(|line| line.split_once(' ').unwrap().1.parse::<u32>().unwrap());
        pids.collect::<Vec<_>>()
    };
    let alive = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
    };
    eventually("several runs", PATIENCE, async || (pids().len() >= 6).then_some(())).await;
    eventually("only the last run to live", PATIENCE, async || {
        (pids().iter().filter(|pid| alive(pid)).count() <= 2).then_some(())
    })
    .await;
    let (status, _) = daemon.stop();
    assert!(status.success(), "{status}");
    eventually("nothing to be left", PATIENCE, async || (!pids().iter().any(alive)).then_some(()))
        .await;
}
