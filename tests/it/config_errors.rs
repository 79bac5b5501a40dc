//! A broken configuration is refused with all its problems, their places, and what to do.

use crate::harness::{Setup, binary, repository, watchbell};

const GOOD: &str = "[[check]]\nname = \"shop\"\n[check.http]\nurl = \"http://127.0.0.1:1/\"\n";

/// Validates `checks` together with `tables`, and expects exit code 2 and all of `words`.
async fn check(tables: &str, checks: &str, words: &[&str]) {
    let setup = Setup::new().tables(tables).checks("a.toml", checks);
    let done = setup.command(&["validate"]).await;
    let said = done.all();
    assert_eq!(done.code, 2, "{said}");
    for word in words {
        assert!(said.contains(word), "no `{word}` in:\n{said}");
    }
}

/// The text of a check with `keys` before its kind's table.
fn with(keys: &str) -> String {
    GOOD.replace("[check.http]", &format!("{keys}\n[check.http]"))
}

#[tokio::test]
async fn a_good_configuration_gives_one_line_and_exit_code_0() {
    let done = Setup::new().checks("a.toml", GOOD).command(&["validate"]).await;
    assert_eq!((done.code, done.out.trim_end().lines().count()), (0, 1), "{}", done.all());
    assert!(done.out.contains("1 check"), "{}", done.out);
}

#[tokio::test]
async fn each_mistake_has_its_place_and_its_hint() {
    check("", &with("evry = \"3s\""), &["a.toml:3:1", "evry", "did you mean `every`"]).await;
    check("", &with("every = \"soon\""), &["a.toml:3:9", "`soon` is not a duration"]).await;
    check("", &with("cron = \"99 * * * *\""), &["a.toml:3:8", "cron"]).await;
    check("", &with("expect = [\"status =\"]"), &["a.toml:3:", "expect"]).await;
    let unknown_fact = &["a.toml:3:", "statsu", "did you mean `status`"];
    check("", &with("expect = [\"statsu == 200\"]"), unknown_fact).await;
    check("", &with("expect = [\"status == '200'\"]"), &["a.toml:3:", "status"]).await;
    check("", "[[check]]\nname = \"shop\"\n", &["a.toml:1:1"]).await;
    let unknown_kind = &["a.toml:3:", "htpp", "did you mean `http`"];
    check("", &GOOD.replace("check.http", "check.htpp"), unknown_kind).await;
    check("", &GOOD.replace("shop", "no good name"), &["a.toml:2:8", "a name holds"]).await;
    check("", "[[check]\n", &["a.toml:1:"]).await;
    let unset = GOOD.replace("http://127.0.0.1:1/", "${WATCHBELL_TEST_UNSET}");
    check("", &unset, &["a.toml:4:7", "WATCHBELL_TEST_UNSET", "not set"]).await;
    let no_file = GOOD.replace("http://127.0.0.1:1/", "${file:no-such-file}");
    check("", &no_file, &["a.toml:4:7", "no-such-file"]).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_heartbeat_is_told_with_what_to_do() {
    let beat = |keys: &str, table: &str| {
        format!("[[check]]\nname = \"a\"\n{keys}\n[check.heartbeat]\n{table}\n")
    };
    let whole = "slug = \"a\"\nperiod = \"1d\"";
    let every = &["a.toml:3:9", "check.every: a heartbeat is not run", "`period`"];
    check("", &beat("every = \"30s\"", whole), every).await;
    let cron = &["a.toml:3:8", "check.cron: a heartbeat is not run", "into [check.heartbeat]"];
    check("", &beat("cron = \"0 3 * * *\"", whole), cron).await;
    check("", &beat("confirm_after = 3", whole), &["a.toml:3:17", "is 1 for a heartbeat"]).await;
    check("", &beat("for = \"5m\"", whole), &["a.toml:3:7", "`grace` says"]).await;
    check("", &beat("", "period = \"1d\""), &["a.toml:4:1", "add `uuid`"]).await;
    check("", &beat("", "slug = \"a\""), &["a.toml:4:1", "add `period`"]).await;
    check("", &beat("", "slug = \"A\"\nperiod = \"1d\""), &["a.toml:5:8", "lower-case"]).await;
    let cron = beat("", "slug = \"a\"\ncron = \"99 * * * *\"");
    check("", &cron, &["a.toml:6:8", "check.heartbeat.cron", "`99` is not understood"]).await;
    let twice = format!("{}{}", beat("", whole), beat("", whole).replace("\"a\"\n\n", "\"b\"\n\n"));
    check("", &twice, &["a.toml:11:8", "another check has this address", "a.toml:5:8"]).await;
    let done = Setup::new().checks("a.toml", &beat("confirm_after = 1", whole));
    let done = done.command(&["validate"]).await;
    assert_eq!(done.code, 0, "{}", done.all());
}

#[tokio::test]
async fn what_spans_several_tables_is_found_as_well() {
    check("", &with("depends_on = [\"core-db\"]"), &["a.toml:3:", "core-db"]).await;
    check("", &with("depends_on = [\"shop\"]"), &["shop", "circle"]).await;
    let circle = format!(
        "{}\n{}",
        with("depends_on = [\"till\"]"),
        with("depends_on = [\"shop\"]").replace("\"shop\"\ndep", "\"till\"\ndep")
    );
    check("", &circle, &["shop", "till", "circle"]).await;
    check("", &format!("{GOOD}\n{GOOD}"), &["a.toml:7:", "shop", "a.toml:2"]).await;
    let channel = "[[channel]]\nname = \"ops-slack\"\n[channel.slack]\n\
                   webhook_url = \"https://hooks.slack.com/services/T/B/x\"\n";
    let route = format!("{channel}[[route]]\nto = [\"ops-slak\"]\n");
    check(&route, GOOD, &["daemon.toml:", "ops-slak", "did you mean `ops-slack`"]).await;
    let when = format!("{channel}[[route]]\nwhen = \"severty == 'critical'\"\nto = []\n");
    check(&when, GOOD, &["daemon.toml:", "severty"]).await;
}

#[tokio::test]
async fn each_mistake_in_a_route_has_its_place_and_its_hint() {
    let channel = "[[channel]]\nname = \"chat\"\n[channel.console]\n";
    let route = async |keys: &str, words: &[&str]| {
        let tables = format!("{channel}[[route]]\nto = [\"chat\"]\n{keys}\n");
        check(&tables, GOOD, &[&["daemon.toml:"], words].concat()).await;
    };
    route("escalat = []", &["route.escalat", "did you mean `escalate`"]).await;
    route("remind_every = \"often\"", &["route.remind_every", "`often` is not a duration"]).await;
    let step = |step: &str| format!("escalate = [{{ {step} }}]");
    route(&step("after = \"1m\", to = [\"chta\"]"), &["chta", "did you mean `chat`"]).await;
    let zero = &["route.escalate.after", "longer than nothing"];
    route(&step("after = \"0s\", to = [\"chat\"]"), zero).await;
    route(&step("after = \"1m\""), &["route.escalate.to", "names nobody"]).await;
    route(&step("afer = \"1m\", to = [\"chat\"]"), &["afer", "did you mean `after`"]).await;
    route("group_by = [\"sverity\"]", &["route.group_by", "did you mean `severity`"]).await;
    route("group_by = [\"team\"]", &["route.group_by", "written `labels.team`"]).await;
    route("active = [\"Mon-Fry\"]", &["route.active", "did you mean `Fri`"]).await;
    route("mute = [\"8-18\"]", &["route.mute", "`8` is not a time of day"]).await;
    route("time_zone = \"Europe/Belrin\"", &["did you mean `Europe/Berlin`"]).await;
    route("active = [\"Mon\"]\nmute = [\"Sun-Tue\"]", &["route:", "never speaks"]).await;
    route("[[route.route]]\nwhen = \"houre == 3\"", &["route.route.when", "`hour`"]).await;
    route("[[route.route]]\nto = [\"chta\"]", &["route.route.to", "did you mean `chat`"]).await;
    let no_to = format!("{channel}[[route]]\nwhen = \"hour == 3\"\n");
    check(&no_to, GOOD, &["daemon.toml:", "has no `to`"]).await;
}

#[tokio::test]
async fn each_mistake_in_a_maintenance_window_has_its_place_and_its_hint() {
    let window = async |keys: &str, words: &[&str]| {
        let tables = format!("[[maintenance]]\nname = \"night\"\n{keys}\n");
        check(&tables, GOOD, &[&["daemon.toml:"], words].concat()).await;
    };
    window("", &["maintenance:", "does not say when", "`cron` and `duration`"]).await;
    window("start = 2040-03-01T20:00:00Z", &["has a `start` but no `end`"]).await;
    window("cron = \"30 2 * * *\"", &["has a `cron` line but no `duration`"]).await;
    window("cron = \"30 2 * *\"\nduration = \"1h\"", &["maintenance.cron", "4 fields"]).await;
    let zero = "cron = \"30 2 * * *\"\nduration = \"0s\"";
    window(zero, &["maintenance.duration", "longer than nothing"]).await;
    let reversed = "start = 2040-03-02T20:00:00Z\nend = \"2040-03-02 06:00\"";
    window(reversed, &["maintenance.end", "is not later than `start`"]).await;
    let date = "start = \"tomorrow\"\nend = 2040-03-02";
    window(date, &["`tomorrow` is not a date and time", "`2040-03-02` is not"]).await;
    let both = "start = 2040-03-01T20:00:00Z\nend = 2040-03-02T20:00:00Z\ncron = \"@daily\"";
    window(both, &["both once and again and again"]).await;
    let times = "cron = \"30 2 * * *\"\nduration = \"1h\"";
    window(&format!("{times}\nwhen = \"knd == 'http'\""), &["did you mean `kind`"]).await;
    let twice = format!("{times}\n[[maintenance]]\nname = \"night\"\n{times}");
    window(&twice, &["a maintenance window `night` exists already"]).await;
}

#[tokio::test]
async fn what_probably_does_not_do_what_was_meant_is_a_warning() {
    let channel = "[[channel]]\nname = \"chat\"\n[channel.console]\n";
    let warns = async |tables: &str, words: &[&str]| {
        let setup = Setup::new().tables(&format!("{channel}{tables}")).checks("a.toml", GOOD);
        let done = setup.command(&["validate"]).await;
        let said = done.all();
        assert_eq!(done.code, 0, "{said}");
        for word in words.iter().chain(&["warning"]) {
            assert!(said.contains(word), "no `{word}` in:\n{said}");
        }
    };
    let all = "[[route]]\nto = [\"chat\"]\n";
    warns(&format!("{all}{all}"), &["is never asked", "`continue = true`"]).await;
    warns(&format!("{all}group_window = \"1m\"\n"), &["not grouped", "`group_by`"]).await;
    warns(&format!("{all}when = \"time >= '8:00'\"\n"), &["two digits", "`8:00`"]).await;
    let window = "[[maintenance]]\nname = \"night\"\n";
    let past = "start = 2020-03-01T20:00:00Z\nend = 2020-03-02T20:00:00Z\n";
    warns(&format!("{window}{past}"), &["maintenance.end", "is past"]).await;
    let endless = "cron = \"@hourly\"\nduration = \"1h\"\n";
    warns(&format!("{window}{endless}"), &["opens again before it closes"]).await;
}

#[tokio::test]
async fn what_the_example_shows_in_comments_is_valid() {
    let example = std::fs::read_to_string(repository().join("daemon.toml.example")).unwrap();
    // Of the comments those that say something to the daemon: tables and keys.
    let key = |line: &str| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let shown = example.lines().map(|line| match line.strip_prefix("# ") {
        Some(text) if text.starts_with('[') || key(text) => text,
        _ => line,
    });
    let shown: Vec<&str> = shown.collect();
    assert!(shown.iter().any(|line| line.starts_with("[[route.route]]")));
    let setup = Setup::new().checks("a.toml", GOOD);
    std::fs::write(setup.config(), shown.join("\n")).unwrap();
    let done = setup.command(&["validate", "--no-secrets"]).await;
    let said = done.all();
    assert!(done.code == 0 && !said.contains("warning"), "{said}");
}

#[tokio::test]
async fn one_mistake_is_not_reported_as_several() {
    let only = async |tables: &str, checks: &str, word: &str| {
        let done = Setup::new().tables(tables).checks("a.toml", checks);
        let said = done.command(&["validate"]).await.all();
        assert!(said.contains(word) && said.contains("1 error"), "{said}");
    };
    // A parent with something wrong in its table is there all the same.
    let parent = "[[check]]\nname = \"core-db\"\n[check.heartbeat]\nslug = \"db\"\n";
    let child = with("depends_on = [\"core-db\"]");
    only("", &format!("{child}{parent}"), "does not say when pings are due").await;
    // What is not set cannot have the wrong form as well.
    let telegram = "[[channel]]\nname = \"t\"\n[channel.telegram]\nchat_id = 1\n\
                    token = \"${WATCHBELL_TEST_UNSET}\"\n";
    only(telegram, GOOD, "WATCHBELL_TEST_UNSET").await;
    only("", &with("every = \"${WATCHBELL_TEST_UNSET}\""), "WATCHBELL_TEST_UNSET").await;
}

#[tokio::test]
async fn values_of_any_type_may_stand_elsewhere_where_secrets_are_not_looked_up() {
    let tables = "[[channel]]\nname = \"w\"\nrate_limit = \"${W}\"\n\
                  [channel.webhook]\nurl = \"${W}\"\nmethod = \"${W}\"\n\
                  [[route]]\nto = [\"${W}\"]\nwhen = \"${W}\"\nactive = [\"${W}\"]\n\
                  escalate = [{ after = \"${W}\", to = [\"${W}\"] }]\n\
                  [[maintenance]]\nname = \"m\"\nstart = \"${W}\"\nend = \"${W}\"\n";
    let keys = "every = \"${W}s\"\nseverity = \"${W}\"";
    let setup = Setup::new().tables(tables).checks("a.toml", &with(keys));
    let done = setup.command(&["validate", "--no-secrets"]).await;
    assert_eq!(done.code, 0, "{}", done.all());
}

#[tokio::test]
async fn that_nothing_is_watched_does_not_go_unnoticed() {
    let done = Setup::new().checks("a.tml", GOOD).command(&["validate"]).await;
    assert_eq!(done.code, 0, "{}", done.all());
    assert!(done.all().contains("checks.d: warning: there is no check"), "{}", done.all());
}

#[tokio::test]
async fn names_are_unique_over_all_files() {
    let setup = Setup::new().checks("a.toml", GOOD).checks("b.toml", GOOD);
    let done = setup.command(&["validate"]).await;
    assert_eq!(done.code, 2);
    let said = done.all();
    for word in ["b.toml:2:", "shop", "a.toml"] {
        assert!(said.contains(word), "no `{word}` in:\n{said}");
    }
}

#[tokio::test]
async fn all_problems_of_all_files_come_at_once() {
    let setup = Setup::new()
        .daemon("tiem_zone = \"UTC\"")
        .checks("a.toml", &with("evry = \"3s\"\ntimeout = \"soon\""))
        .checks("b.toml", &GOOD.replace("url", "ulr").replace("shop", "till"));
    let said = setup.command(&["validate"]).await.all();
    for word in ["tiem_zone", "evry", "`soon`", "ulr", "did you mean `url`"] {
        assert!(said.contains(word), "no `{word}` in:\n{said}");
    }
}

#[tokio::test]
async fn an_unreadable_file_is_named() {
    let setup = Setup::new();
    std::os::unix::fs::symlink("nowhere.toml", setup.folder().join("checks.d/lost.toml")).unwrap();
    let done = setup.command(&["validate"]).await;
    assert_eq!(done.code, 2, "{}", done.all());
    assert!(done.all().contains("lost.toml"), "{}", done.all());

    let done = watchbell(&["validate", "--config", "/no/such/daemon.toml"]).await;
    assert_eq!(done.code, 2, "{}", done.all());
    assert!(done.all().contains("/no/such/daemon.toml"), "{}", done.all());
}

#[tokio::test]
async fn secrets_may_be_absent_where_that_is_asked_for() {
    let tables = "[[channel]]\nname = \"ops\"\n[channel.slack]\n\
                  webhook_url = \"${WATCHBELL_TEST_UNSET}\"\n";
    let setup = Setup::new().tables(tables).checks("a.toml", GOOD);
    assert_eq!(setup.command(&["validate"]).await.code, 2);
    let done = setup.command(&["validate", "--no-secrets"]).await;
    assert_eq!(done.code, 0, "{}", done.all());
}

#[tokio::test]
async fn a_broken_configuration_does_not_start() {
    let setup = Setup::new().checks("a.toml", &with("evry = \"3s\""));
    let done = setup.command(&["run"]).await;
    assert_eq!(done.code, 2, "{}", done.all());
    assert!(done.all().contains("did you mean `every`"), "{}", done.all());
}

#[tokio::test]
async fn a_secret_shows_in_no_output() {
    let secret = "hunter2-shows-nowhere";
    let folder = Setup::new();
    let config = folder.config();
    let checks = format!(
        "[[check]]\nname = \"db\"\ntimeout = \"2s\"\nevery = \"1s\"\nconfirm_after = 1\n\
         [check.postgres]\nurl = \"postgres://u:{secret}@127.0.0.1:1/db\"\n\
         [[check]]\nname = \"web\"\ntimeout = \"2s\"\n[check.http]\n\
         url = \"http://127.0.0.1:1/\"\nbearer_token = \"{secret}\"\n\
         [[check]]\nname = \"wrong\"\n[check.redis]\nurl = \"ftp://u:{secret}@127.0.0.1/\"\n"
    );
    std::fs::write(folder.folder().join("checks.d/a.toml"), &checks).unwrap();
    let config = config.to_str().unwrap();
    let said = watchbell(&["validate", "--config", config]).await.all();
    assert!(!said.contains(secret), "{said}");

    let good = checks.replace("ftp://", "redis://");
    std::fs::write(folder.folder().join("checks.d/a.toml"), good).unwrap();
    let said = watchbell(&["check", "--all", "--json", "--config", config]).await.all();
    assert!(said.contains("refused"), "{said}");
    assert!(!said.contains(secret), "{said}");
    let daemon = folder.start().await;
    daemon.wait_for_incident("db", "open", &[]).await;
    for path in ["/api/v1/checks", "/api/v1/incidents", "/metrics", "/"] {
        let (_, said) = daemon.get_text(path).await;
        assert!(!said.contains(secret), "{path}: {said}");
    }
    assert!(!daemon.log().contains(secret), "{}", daemon.log());
    assert!(binary().exists());
}
