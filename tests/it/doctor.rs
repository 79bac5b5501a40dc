//! `watchbell doctor` sees real faults, says what to do, and changes nothing.

use crate::harness::{
    Finished, Folder, Setup, SmallDisk, Webhook, binary, free_port, hostile, is_root,
};
use serde_json::Value;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const CHECK: &str = "[[check]]\nname = \"self\"\n[check.system]\n";

/// The findings on a topic that are not `ok`: level, what, and the fixes.
fn faults(finished: &Finished, topic: &str) -> Vec<(String, String)> {
    let json = finished.json();
    let findings = json["findings"].as_array().unwrap().iter();
    findings
        .filter(|finding| finding["topic"] == topic && finding["level"] != "ok")
        .map(|finding| {
            let fixes = finding["fix"].as_array().unwrap();
            assert!(!fixes.is_empty(), "a fault without advice: {finding}");
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let fixes: Vec<String> = fixes.iter().map(text).collect();
            let what = format!("{} fix: {}", text(&finding["what"]), fixes.join("; "));
            (text(&finding["level"]), what)
        })
        .collect()
}

/// Expects one fault of a topic, which says all of `words`.
fn one_fault(finished: &Finished, topic: &str, level: &str, words: &[&str]) {
    let found = faults(finished, topic);
    let fits = |(its, what): &(String, String)| {
        its == level && words.iter().all(|word| what.contains(word))
    };
    assert!(found.iter().any(fits), "{topic} {level} {words:?}: {:#?}\n{}", found, finished.all());
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Every file in a folder with what is known of it.
fn state_of(folder: &Path) -> Vec<(String, u64, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let (path, metadata) = (entry.path(), entry.metadata().unwrap());
        if metadata.is_dir() {
            all.extend(state_of(&path));
        } else {
            all.push((path.display().to_string(), metadata.size(), metadata.mode()));
        }
    }
    all.sort();
    all
}

#[tokio::test]
async fn the_doctor_finds_nothing_wrong_with_what_works_and_changes_nothing() {
    let hook = Webhook::start();
    let setup = Setup::new().checks("a.toml", CHECK).tables(&hook.channel("hook", ""));
    chmod(&setup.config(), 0o600);
    let before = state_of(setup.folder());
    let finished = setup.command(&["doctor", "--json"]).await;
    assert_eq!(state_of(setup.folder()), before);
    for topic in ["configuration", "permissions", "dns", "channels", "clock"] {
        assert_eq!(faults(&finished, topic), [], "{}", finished.all());
    }
    one_fault(&finished, "daemon", "warning", &["no daemon answers", "watchbell run --config"]);
    assert_eq!(hook.inbox.messages().len(), 0);

    let daemon = setup.start().await;
    let finished = daemon.setup().command(&["doctor", "--json"]).await;
    assert_eq!(faults(&finished, "daemon"), []);
    assert_eq!(faults(&finished, "configuration"), []);
    let shown = daemon.setup().command(&["doctor"]).await;
    assert!(shown.out.contains("ok       it runs, and is of this version"), "{}", shown.all());
    assert!(shown.out.contains("opens; its schema is"), "{}", shown.all());
    assert_eq!(hook.inbox.messages().len(), 0);
}

#[tokio::test]
async fn the_doctor_sees_who_may_read_and_write_what() {
    let setup = Setup::new()
        .daemon("heartbeat_url = \"${file:secrets/beat}\"\n")
        .tables("[[channel]]\nname = \"a\"\n[channel.telegram]\ntoken = \"123456:abcdefghij\"\nchat_id = 1\n")
        .checks("a.toml", CHECK);
    std::fs::create_dir(setup.folder().join("secrets")).unwrap();
    let secret = setup.folder().join("secrets/beat");
    std::fs::write(&secret, "https://hc.example/abc\n").unwrap();
    chmod(&secret, 0o644);
    chmod(&setup.config(), 0o666);
    let finished = setup.command(&["doctor", "--json", "--patience", "500ms"]).await;
    assert_eq!(finished.code, 2, "{}", finished.all());
    one_fault(&finished, "permissions", "problem", &["beat holds secrets", "chmod o-rwx"]);
    one_fault(&finished, "permissions", "problem", &["everybody may write", "chmod o-w"]);
    one_fault(&finished, "permissions", "warning", &["`token` in plain", "chmod 640"]);
    assert!(!finished.all().contains("abcdefghij"), "{}", finished.all());
}

#[tokio::test]
async fn the_doctor_tells_of_a_configuration_that_cannot_be_used() {
    let setup = Setup::new().checks("a.toml", "[[check]]\nname = \"a\"\n[check.tpc]\n");
    let finished = setup.command(&["doctor", "--json"]).await;
    assert_eq!(finished.code, 2, "{}", finished.all());
    one_fault(&finished, "configuration", "problem", &["did you mean", "watchbell validate"]);
    std::fs::remove_file(setup.config()).unwrap();
    let finished = setup.command(&["doctor", "--json"]).await;
    one_fault(&finished, "configuration", "problem", &["cannot read", "watchbell init"]);
    // A secret that only the daemon has hides nothing else.
    let setup =
        Setup::new().daemon("heartbeat_url = \"${DOCTOR_TEST_SECRET}\"\n").checks("a.toml", CHECK);
    let finished = setup.command(&["doctor", "--json"]).await;
    one_fault(&finished, "configuration", "warning", &["DOCTOR_TEST_SECRET", "set -a"]);
    assert!(finished.out.contains("there is no "), "{}", finished.all());
}

#[tokio::test]
async fn the_doctor_names_a_channel_that_hangs_and_one_that_is_away() {
    let silent = hostile(|stream| {
        crate::harness::hear(stream);
        std::thread::sleep(Duration::from_secs(60));
    });
    let away = free_port();
    let channels = format!(
        "[[channel]]\nname = \"hangs\"\n[channel.webhook]\nurl = \"http://127.0.0.1:{silent}/a\"\n\
         [[channel]]\nname = \"away\"\n[channel.webhook]\nurl = \"http://127.0.0.1:{away}/b\"\n\
         [[channel]]\nname = \"mute\"\n[channel.email]\nhost = \"127.0.0.1\"\nport = {silent}\n\
         tls = \"none\"\nfrom = \"a@example.com\"\nto = [\"b@example.com\"]\n"
    );
    let setup = Setup::new().checks("a.toml", CHECK).tables(&channels);
    let finished = setup.command(&["doctor", "--json", "--patience", "1s"]).await;
    assert_eq!(finished.code, 2, "{}", finished.all());
    let channel = |words: &[&str]| one_fault(&finished, "channels", "problem", words);
    channel(&["hangs: 127.0.0.1", "no answer within 1s", "curl -sSI"]);
    channel(&["away: 127.0.0.1", "refused"]);
    channel(&["mute: 127.0.0.1", "no answer within 1s", "nc -vz"]);
}

#[tokio::test]
async fn the_doctor_knows_a_limit_of_handles_that_is_too_low() {
    let setup = Setup::new().checks("a.toml", CHECK);
    let run = |limit: u32| {
        let script = format!("ulimit -n {limit}; exec \"$0\" doctor --json --config \"$1\"");
        let output = Command::new("sh")
            .args(["-c", &script])
            .arg(binary())
            .arg(setup.config())
            .env_remove("STATE_DIRECTORY")
            .output()
            .unwrap();
        Finished {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    };
    let finished = run(100);
    one_fault(&finished, "limits", "problem", &["may have 100 files open", "LimitNOFILE"]);
    let finished = run(512);
    one_fault(&finished, "limits", "warning", &["for `max_in_flight`", "LimitNOFILE"]);
}

#[tokio::test]
async fn the_doctor_measures_a_small_disk_and_reads_a_store_that_is_no_store() {
    let disk = SmallDisk::mount(8);
    let file = disk.path().join("watchbell.db");
    let setup = Setup::new()
        .checks("a.toml", CHECK)
        .history(&format!("store = \"sqlite:{}\"", file.display()));
    let migrated = setup.command(&["store", "migrate"]).await;
    assert_eq!(migrated.code, 0, "{}", migrated.all());
    disk.fill();
    let finished = setup.command(&["doctor", "--json"]).await;
    assert_eq!(finished.code, 2, "{}", finished.all());
    one_fault(&finished, "store", "problem", &["0 MiB of 8 MiB", "make room"]);

    let foreign = setup.folder().join("foreign.db");
    std::fs::write(&foreign, "this is no database, however long it is looked at".repeat(40))
        .unwrap();
    let setup = setup.history(&format!("store = \"sqlite:{}\"", foreign.display()));
    let finished = setup.command(&["doctor", "--json"]).await;
    one_fault(&finished, "store", "problem", &["foreign.db"]);
}

#[tokio::test]
async fn the_doctor_does_not_wait_for_a_resolver_that_never_answers_a_small_disk_apart() {
    // The word in the name leaves it out where nobody may mount.
    assert!(is_root(), "this test mounts a resolv.conf, which only root may");
    let server = UdpSocket::bind("127.53.53.53:53").unwrap();
    let folder = Folder::new();
    let conf = folder.join("resolv.conf");
    std::fs::write(&conf, "nameserver 127.53.53.53\noptions timeout:30\n").unwrap();
    let check = "[[check]]\nname = \"a\"\n[check.tcp]\naddress = \"shop.example:443\"\n";
    let setup = Setup::new().checks("a.toml", check);
    let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$1\" doctor --json --patience 1s \
                  --config \"$2\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(&conf)
        .arg(binary())
        .arg(setup.config())
        .env_remove("STATE_DIRECTORY")
        .output()
        .unwrap();
    let finished = Finished {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    drop(server);
    assert_eq!(finished.code, 2, "{}", finished.all());
    let words = ["no name server answered within 1s", "127.53.53.53", "/etc/resolv.conf"];
    one_fault(&finished, "dns", "problem", &words);
}
