//! Every message of every channel, held against what others wrote to read such messages: the block
//! models of slack_sdk, the embeds of discord.py, Telethon's HTML, and Python's email package.

use crate::harness::{Setup, python, repository, watchbell};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};

/// Everything that `watchbell render` knows.
async fn all_of(list: &str) -> Vec<String> {
    let known = watchbell(&["render", "--json"]).await.json();
    let names = known[list].as_array().unwrap().iter();
    names.map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn others_accept_what_is_sent() {
    let (kinds, samples) = (all_of("kinds").await, all_of("samples").await);
    assert!(kinds.len() >= 7 && samples.iter().any(|sample| sample == "hostile"), "{samples:?}");
    let mut cases = Vec::new();
    for kind in &kinds {
        for sample in samples.iter().filter(|sample| *sample != "all") {
            let done = watchbell(&["render", kind, "--sample", sample, "--json"]).await;
            assert_eq!(done.code, 0, "{kind} {sample}: {}", done.all());
            let shown = match done.json() {
                Value::Array(several) => several,
                one => vec![one],
            };
            let printed = watchbell(&["render", kind, "--sample", sample, "--payload"]).await;
            for one in shown {
                let payload = one["payload"]["body"].clone();
                // A mail has a new boundary each time.
                let is_printed = printed.out.contains(payload.as_str().unwrap().trim_end());
                assert!(kind == "email" || is_printed, "{kind} {sample}: {}", printed.out);
                cases.push(json!({ "channel": kind, "sample": sample, "payload": payload }));
            }
        }
    }
    let mut reader = Command::new(python())
        .arg(repository().join("tests/it/harness/others.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text = serde_json::to_vec(&cases).unwrap();
    let mut stdin = reader.stdin.take().unwrap();
    let feeding = std::thread::spawn(move || stdin.write_all(&text));
    let done = reader.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    let complaint = String::from_utf8_lossy(&done.stderr);
    assert!(
        done.status.success(),
        "Python's packages (prepared by `scripts/test`): {said}{complaint}"
    );
    feeding.join().unwrap().unwrap();
}

#[tokio::test]
async fn a_configured_channel_is_shown_in_its_own_words_and_without_its_secrets() {
    let setup = Setup::new().daemon("public_url = \"https://status.shop.example/w\"").tables(
        "[[channel]]\nname = \"ops\"\ntemplate = \"own.jinja\"\n[channel.slack]\n\
         webhook_url = \"${NOT_SET_ANYWHERE}\"\n",
    );
    let template = setup.folder().join("own.jinja");
    let write = |title: &str| {
        let text = format!(
            "{{% block title %}}\n{title}{{% endblock %}}{{% block text %}}{{% endblock %}}"
        );
        std::fs::write(&template, text).unwrap();
    };
    write("{{ incident.check }} {{ incident.incident_page }}");
    let done = setup.command(&["render", "ops", "--json"]).await;
    assert_eq!(done.code, 0, "{}", done.all());
    let shown: Value = done.json();
    let title = "shop-api https://status.shop.example/w/incidents/01JNA8Y8PK0000000000000000";
    assert_eq!(shown["title"], title);

    write("{{ incident.chek }}");
    let done = setup.command(&["render", "ops"]).await;
    assert_eq!(done.code, 2, "{}", done.all());
    assert!(done.err.contains("own.jinja:2: `incident.chek` is not defined"), "{}", done.err);
    let done = setup.command(&["render", "opps"]).await;
    assert_ne!(done.code, 0, "{}", done.all());
    let words = ["render", "slack", "--template", template.to_str().unwrap()];
    let done = watchbell(&words).await;
    assert_eq!(done.code, 3, "{}", done.all());
    assert!(done.err.contains("own.jinja:2: `incident.chek` is not defined"), "{}", done.err);
}
