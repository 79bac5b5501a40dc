//! With `watch`, the daemon takes changed files by itself, however they come to be there.

use crate::harness::{Daemon, PATIENCE, Setup, Target, Webhook, eventually};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Waits until the daemon knows these checks and no others.
async fn wait_for_checks(daemon: &Daemon, names: &[&str]) {
    eventually(&format!("the checks to be {names:?}"), PATIENCE, async || {
        let checks = daemon.list("/api/v1/checks?limit=1000").await;
        let mut known: Vec<&str> =
            checks.iter().map(|check| check["name"].as_str().unwrap()).collect();
        known.sort_unstable();
        (known == names).then_some(())
    })
    .await;
}

#[tokio::test]
async fn files_that_are_saved_as_editors_do_are_taken() {
    let target = Target::start();
    let daemon = Setup::new()
        .daemon("watch = true")
        .checks("shop.toml", &target.check("shop", ""))
        .start()
        .await;
    let folder = daemon.setup().folder().join("checks.d");
    let two = format!("{}{}", target.check("shop", ""), target.check("bank", ""));
    // Vim: a swap file, then a new file in the place of the old one.
    fs::write(folder.join(".shop.toml.swp"), "[[check]\n").unwrap();
    fs::write(folder.join("4913"), "").unwrap();
    fs::write(folder.join("shop.toml~"), &two).unwrap();
    fs::rename(folder.join("shop.toml~"), folder.join("shop.toml")).unwrap();
    wait_for_checks(&daemon, &["bank", "shop"]).await;
    // Emacs: a lock that is a link to nowhere, then a write into the file itself.
    symlink("anna@host.1:2", folder.join(".#shop.toml")).unwrap();
    fs::write(folder.join("shop.toml"), target.check("shop", "")).unwrap();
    wait_for_checks(&daemon, &["shop"]).await;
    fs::remove_file(folder.join("shop.toml")).unwrap();
    wait_for_checks(&daemon, &[]).await;
    assert!(!daemon.log().contains("cannot be used"), "{}", daemon.log());
}

/// A version of a ConfigMap of Kubernetes: a folder beside the others, to which `..data` then leads.
fn publish(folder: &Path, version: &str, text: &str) {
    let name = format!("..{version}");
    fs::create_dir(folder.join(&name)).unwrap();
    fs::write(folder.join(&name).join("shop.toml"), text).unwrap();
    symlink(&name, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

#[tokio::test]
async fn links_that_are_turned_elsewhere_are_followed() {
    let target = Target::start();
    let setup = Setup::new().daemon("watch = true");
    let folder = setup.folder().join("checks.d");
    publish(&folder, "2026_01", &target.check("shop", ""));
    symlink("..data/shop.toml", folder.join("shop.toml")).unwrap();
    let daemon = setup.start().await;
    wait_for_checks(&daemon, &["shop"]).await;
    publish(&folder, "2026_02", &target.check("bank", ""));
    fs::remove_dir_all(folder.join("..2026_01")).unwrap();
    wait_for_checks(&daemon, &["bank"]).await;
    assert!(!daemon.log().contains("cannot be used"), "{}", daemon.log());
}

#[tokio::test]
async fn a_file_that_stays_bad_is_told_and_is_taken_once_it_is_whole() {
    let target = Target::start();
    let webhook = Webhook::start();
    let daemon = Setup::new()
        .daemon("watch = true")
        .tables(&webhook.channel("ops", "rate_limit = \"1000/h\"\ncooldown = \"0s\""))
        .checks("shop.toml", &target.check("shop", ""))
        .start()
        .await;
    let whole = target.check("bank", "");
    daemon.rewrite_checks("bank.toml", &whole[..whole.len() / 2]);
    webhook.inbox.wait_for(0, &["DOWN watchbell:configuration", "bank.toml"]).await;
    wait_for_checks(&daemon, &["shop"]).await;
    daemon.rewrite_checks("bank.toml", &whole);
    webhook.inbox.wait_for(0, &["UP watchbell:configuration"]).await;
    wait_for_checks(&daemon, &["bank", "shop"]).await;
    // The daemon's own file is watched as well, and may say that nothing is.
    let config = daemon.setup().config();
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("watch = true", "watch = false")).unwrap();
    let reloads = |daemon: &Daemon| daemon.log().matches("configuration reloaded").count();
    let before = reloads(&daemon);
    eventually("the last reload by itself", PATIENCE, async || {
        (reloads(&daemon) > before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_secret_that_is_rotated_in_its_file_is_used_from_then_on() {
    let target = Target::start();
    let setup = Setup::new().daemon("watch = true");
    let secret = setup.folder().join("key");
    fs::write(&secret, "the-first-key-of-this-api-0123456789\n").unwrap();
    let daemon = setup
        .tables("[[api.key]]\nname = \"rotated\"\nkey = \"${file:key}\"\nscopes = [\"read\"]\n")
        .checks("shop.toml", &target.check("shop", ""))
        .start()
        .await;
    let opens = async |key: &str| {
        let socket = crate::harness::client().post(daemon.url("/api/v1/silences"));
        let answer = socket.bearer_auth(key).json(&serde_json::json!({})).send().await.unwrap();
        // A known key without the right to do this is refused otherwise than an unknown one.
        answer.status().as_u16() == 403
    };
    assert!(opens("the-first-key-of-this-api-0123456789").await);
    fs::write(setup_path(&daemon), "another-key-of-this-api-0123456789\n").unwrap();
    eventually("the new key to open", PATIENCE, async || {
        opens("another-key-of-this-api-0123456789").await.then_some(())
    })
    .await;
    assert!(!opens("the-first-key-of-this-api-0123456789").await, "the old key still opens");
}

fn setup_path(daemon: &Daemon) -> std::path::PathBuf {
    daemon.setup().folder().join("key")
}
