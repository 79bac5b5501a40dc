//! The subcommands, as people and scripts use them.

use crate::harness::{FiveChannels, KEY, Mood, Setup, Target, watchbell};

#[tokio::test]
async fn check_runs_once_and_exits_with_the_worst_status() {
    let (good, bad) = (Target::start(), Target::start());
    bad.answer(500);
    let setup = Setup::new()
        .checks("good.toml", &good.check("good", ""))
        .checks("bad.toml", &bad.check("bad", "expect = [\"status == 200\"]"))
        .checks("slow.toml", &good.check("slow", "degraded_if = [\"latency_ms >= 0.0\"]"));

    let done = setup.command(&["check", "good"]).await;
    assert_eq!(done.code, 0, "{}", done.all());
    assert!(done.out.contains("good") && done.out.contains("up"), "{}", done.out);
    assert_eq!(good.count(), 1);

    let done = setup.command(&["check", "slow", "good"]).await;
    assert_eq!(done.code, 1, "{}", done.all());

    let done = setup.command(&["check", "bad"]).await;
    assert_eq!(done.code, 2, "{}", done.all());
    assert!(done.out.contains("500"), "{}", done.out);

    let done = setup.command(&["check", "--all", "--json"]).await;
    assert_eq!(done.code, 2, "{}", done.all());
    let text = done.json().to_string();
    for word in ["\"good\"", "\"bad\"", "\"slow\"", "\"degraded\"", "\"down\"", "\"up\""] {
        assert!(text.contains(word), "no {word} in {text}");
    }

    let done = setup.command(&["check", "goood"]).await;
    assert_eq!(done.code, 3, "{}", done.all());
    assert!(done.err.contains("did you mean `good`"), "{}", done.err);
}

#[tokio::test]
async fn a_mistake_on_the_command_line_is_not_taken_for_something_down() {
    for words in [&["valdate"][..], &["check"], &["run", "--confg", "x"], &[]] {
        let done = watchbell(words).await;
        assert_eq!(done.code, 3, "{words:?}: {}", done.all());
    }
    assert_eq!(watchbell(&["--help"]).await.code, 0);
    assert_eq!(watchbell(&["--version"]).await.code, 0);
}

#[tokio::test]
async fn kinds_tells_of_every_kind_and_channel() {
    let done = watchbell(&["kinds"]).await;
    assert_eq!(done.code, 0, "{}", done.all());
    let first = ["http", "postgres", "redis", "rpc", "websocket", "system"];
    let channels = ["slack", "discord", "telegram", "email", "webhook"];
    for name in first.iter().chain(&channels) {
        assert!(done.out.contains(name), "no {name} in {}", done.out);
    }
    let json = watchbell(&["kinds", "--json"]).await.json().to_string();
    assert!(json.contains("cert_days_left"), "{json}");
}

#[tokio::test]
async fn the_example_that_is_printed_of_each_kind_validates_once_it_is_copied() {
    let known = watchbell(&["kinds", "--json"]).await.json();
    let kinds = known["checks"].as_array().unwrap();
    assert!(kinds.len() >= 10, "{known:#}");
    for kind in kinds {
        let kind = kind["name"].as_str().unwrap();
        let printed = watchbell(&["kinds", kind]).await;
        assert_eq!(printed.code, 0, "{}", printed.all());
        let start = printed.out.find("[[check]]").expect("an example");
        let lines = printed.out[start..].lines().map(str::trim);
        let copied: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
        let setup = Setup::new().checks("copied.toml", &copied.join("\n"));
        let done = setup.command(&["validate", "--no-secrets"]).await;
        assert_eq!(done.code, 0, "{kind}: {}\n{}", copied.join("\n"), done.all());
        assert!(!done.all().contains("warning"), "{kind}: {}", done.all());
    }
}

#[tokio::test]
async fn notify_test_goes_the_real_way_and_says_what_the_channel_answered() {
    let channels = FiveChannels::start().await;
    let setup = Setup::new().tables(&channels.toml("timeout = \"3s\""));
    for (name, inbox) in channels.each() {
        let done = setup.command(&["notify", "test", name]).await;
        assert_eq!(done.code, 0, "{name}: {}", done.all());
        inbox.wait_for(0, &["TEST", "nothing is wrong"]).await;
    }
    channels.assert_nothing_was_refused();

    channels.slack.inbox.set(Mood::Status(403));
    let done = setup.command(&["notify", "test", "slack"]).await;
    assert_ne!(done.code, 0, "{}", done.all());
    assert!(done.all().contains("403"), "{}", done.all());
    let done = setup.command(&["notify", "test", "slak"]).await;
    assert_ne!(done.code, 0);
    assert!(done.all().contains("did you mean `slack`"), "{}", done.all());
}

#[tokio::test]
async fn status_asks_the_running_daemon() {
    let target = Target::start();
    let daemon =
        Setup::new().checks("shop.toml", &target.check("shop", "confirm_after = 1")).start().await;
    daemon.wait_for_status("shop", "up").await;
    let url = daemon.url("");
    let ask = async |more: &[&str]| {
        let words = [&["status", "--url", &url, "--key", KEY], more].concat();
        watchbell(&words).await
    };
    let done = ask(&[]).await;
    assert_eq!(done.code, 0, "{}", done.all());
    target.answer(500);
    daemon.wait_for_incident("shop", "open", &[]).await;
    let done = ask(&[]).await;
    assert_eq!(done.code, 2, "{}", done.all());
    assert!(done.out.contains("shop"), "{}", done.out);
    assert!(ask(&["--json"]).await.json().is_object());

    drop(daemon);
    let done = ask(&[]).await;
    assert_eq!(done.code, 3, "{}", done.all());
}

#[tokio::test]
async fn what_another_program_watched_is_imported_validated_and_reported_on() {
    let target = Target::start();
    let (good, bad) = (target.url(), "http://127.0.0.1:1/");
    let folder = crate::harness::Folder::new();
    let (theirs, ours) = (folder.join("config.yaml"), folder.join("imported.toml"));
    let config = format!(
        "endpoints:\n\
         - {{ name: front end, url: '{good}', interval: 1s, conditions: ['[STATUS] == 200'] }}\n\
         - {{ name: gone, url: '{bad}', interval: 1s, conditions: ['[IP] == 1.2.3.4'],\n\
         \u{20}   alerts: [{{ type: slack, failure-threshold: 1 }}] }}\n"
    );
    std::fs::write(&theirs, config).unwrap();
    let (theirs, ours) = (theirs.to_str().unwrap(), ours.to_str().unwrap());
    let done = watchbell(&["import", "gatus", theirs, "--output", ours]).await;
    assert_eq!(done.code, 0, "{}", done.all());
    assert!(done.err.contains("2 checks written") && done.err.contains("1 line"), "{}", done.err);
    let again = watchbell(&["import", "gatus", theirs, "--output", ours]).await;
    assert_eq!(again.code, 3, "{}", again.all());

    let setup = Setup::new().checks("imported.toml", &std::fs::read_to_string(ours).unwrap());
    let valid = setup.command(&["validate"]).await;
    assert_eq!(valid.code, 0, "{}", valid.all());
    let daemon = setup.start().await;
    daemon.wait_for_status("front-end", "up").await;
    daemon.wait_for_incident("gone", "open", &[]).await;
    let url = daemon.url("");
    let done = watchbell(&["report", "--url", &url, "--window", "1h"]).await;
    assert_eq!(done.code, 0, "{}", done.all());
    let lines: Vec<&str> = done.out.lines().collect();
    assert!(lines[0].contains("2 checks") && lines[1].starts_with("1 incident"), "{}", done.out);
    let first = lines.iter().position(|line| line.contains("gone")).unwrap();
    assert!(lines[first + 1].contains("front-end"), "the worst comes first: {}", done.out);
    let json = watchbell(&["report", "--url", &url, "--json", "--kind", "tcp"]).await.json();
    assert_eq!(json["checks"].as_array().unwrap().len(), 0, "{json}");
    let table = watchbell(&["report", "--url", &url, "--markdown"]).await;
    assert!(table.out.contains("| gone"), "{}", table.out);
}
