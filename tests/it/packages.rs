//! The packages, as the tools of distributions judge them, and what a container asks of the program.

use crate::harness::{Local, Setup, binary, deb, repository, watchbell};
use axum::Router;
use axum::http::StatusCode;
use std::collections::BTreeSet;
use std::process::Command;

/// Runs a program that must succeed, and gives what it said.
fn succeed(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().unwrap_or_else(|error| {
        panic!("cannot start {program}: {error}. `scripts/test` finds or installs it.")
    });
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {words:?}: {said}{complained}");
    said
}

#[test]
fn lintian_has_nothing_to_say_against_the_package() {
    let package = deb().to_str().unwrap();
    succeed("lintian", &["--allow-root", "--fail-on", "error,warning", package]);
}

#[test]
fn the_package_brings_what_people_look_for_in_its_place() {
    let package = deb().to_str().unwrap();
    let list = succeed("dpkg-deb", &["--contents", package]);
    let held = |mode: &str, path: &str| {
        let end = format!(" .{path}");
        let line = list.lines().find(|line| line.ends_with(&end));
        assert!(line.is_some_and(|line| line.starts_with(mode)), "{mode} {path}: {line:?}\n{list}");
    };
    held("-rwxr-xr-x", "/usr/bin/watchbell");
    held("-rw-r--r--", "/usr/lib/systemd/system/watchbell.service");
    held("-rw-r--r--", "/etc/watchbell/daemon.toml");
    held("-rw-------", "/etc/watchbell/environment");
    held("-rw-r--r--", "/usr/share/man/man1/watchbell.1.gz");
    held("-rw-r--r--", "/usr/share/man/man1/watchbell-silence-add.1.gz");
    held("-rw-r--r--", "/usr/share/bash-completion/completions/watchbell");
    held("-rw-r--r--", "/usr/share/zsh/vendor-completions/_watchbell");
    held("-rw-r--r--", "/usr/share/fish/vendor_completions.d/watchbell.fish");
    held("-rw-r--r--", "/usr/share/watchbell/schema/checks.schema.json");
    held("-rw-r--r--", "/usr/share/doc/watchbell/copyright");
    held("-rw-r--r--", "/usr/share/doc/watchbell/libraries.txt.gz");
    let never_overwritten = succeed("dpkg-deb", &["--info", package, "conffiles"]);
    for path in ["daemon.toml", "environment", "checks.d/this-machine.toml"] {
        let path = format!("/etc/watchbell/{path}");
        assert!(never_overwritten.lines().any(|line| line == path), "{path}: {never_overwritten}");
    }
}

#[test]
fn what_a_package_brings_the_other_one_brings_too() {
    let manifest = std::fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let metadata = &manifest["package"]["metadata"];
    let sources = |kind: &str, source: &dyn Fn(&toml::Value) -> String| -> BTreeSet<String> {
        metadata[kind]["assets"].as_array().unwrap().iter().map(source).collect()
    };
    let mut deb = sources("deb", &|asset| asset[0].as_str().unwrap().to_owned());
    let mut rpm = sources("generate-rpm", &|asset| asset["source"].as_str().unwrap().to_owned());
    // What only one of the two distributions asks for.
    deb.retain(|source| !source.starts_with("packaging/debian/") && !source.contains("Debian"));
    rpm.retain(|source| source != "LICENSE-*");
    assert_eq!(deb, rpm);
}

#[test]
fn the_configuration_that_is_shipped_is_valid() {
    let folder = crate::harness::Folder::new();
    let copy = |from: &str, to: &str| {
        std::fs::create_dir_all(folder.join(to).parent().unwrap()).unwrap();
        std::fs::copy(repository().join(from), folder.join(to)).unwrap();
    };
    copy("packaging/daemon.toml", "package/daemon.toml");
    copy("checks.d/this-machine.toml", "package/checks.d/this-machine.toml");
    copy("packaging/compose/daemon.toml", "compose/daemon.toml");
    copy("packaging/compose/checks.d/compose.toml", "compose/checks.d/compose.toml");
    for what in ["package", "compose"] {
        let path = folder.join(what).join("daemon.toml");
        let words = ["validate", "--no-secrets", "--config", path.to_str().unwrap()];
        succeed(binary().to_str().unwrap(), &words);
    }
}

#[tokio::test]
async fn a_container_can_tell_whether_the_daemon_does_its_work() {
    let target = crate::harness::Target::start();
    target.answer(500);
    let mut daemon = Setup::new().checks("shop.toml", &target.check("shop", "")).start().await;
    daemon.wait_for_status("shop", "down").await;
    let done = daemon.setup().command(&["status", "--ready"]).await;
    assert_eq!((done.code, done.out.trim()), (0, "ready"), "{}", done.all());
    daemon.stop();
    let done = daemon.setup().command(&["status", "--ready"]).await;
    assert_eq!(done.code, 3, "{}", done.all());

    // As the API answers where the store fails.
    let body = r#"{ "title": "Service Unavailable", "detail": "The store refuses." }"#;
    let answer = move || async move { (StatusCode::SERVICE_UNAVAILABLE, body) };
    let failing = Local::router(Router::new().fallback(answer));
    let url = format!("http://127.0.0.1:{}", failing.port);
    let done = watchbell(&["status", "--ready", "--url", &url]).await;
    assert_eq!(done.code, 2, "{}", done.all());
    assert!(done.err.contains("not ready: The store refuses."), "{}", done.err);
}
