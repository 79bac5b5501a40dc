//! Jobs that ping the daemon, by the clients that people use for it.

use crate::harness::{
    Daemon, Finished, Folder, KEY, PATIENCE, Setup, SmallDisk, Target, Webhook, eventually, python,
};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use tokio::process::Command;

const UUID: &str = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278";
const RUN: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
const OTHER_RUN: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
const PING_KEY: &str = "fqOOd6-52mMEuNztgFYgmA";
const UNLIMITED: &str = "rate_limit = \"10000/h\"\ncooldown = \"0s\"";

/// A check called `job` that is pinged by its UUID.
fn job(keys: &str) -> String {
    format!(
        "[[check]]\nname = \"job\"\nflapping = false\n[check.heartbeat]\nuuid = \"{UUID}\"\n{keys}"
    )
}

/// A daemon that watches `job`, and tells `webhook`.
async fn watched_job(webhook: &Webhook, keys: &str) -> Daemon {
    let channel = webhook.channel("ops", UNLIMITED);
    Setup::new().tables(&channel).checks("job.toml", &job(keys)).start().await
}

/// Runs curl as a crontab does, unaware of proxies. Gives its exit code and what it printed.
async fn curl(words: &[&str]) -> Finished {
    let mut command = Command::new("curl");
    command.args(["--noproxy", "*", "-sS", "-m", "20"]).args(words).kill_on_drop(true);
    let Output { status, stdout, stderr } = command.output().await.expect("curl");
    Finished {
        code: status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&stdout).into_owned(),
        err: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

/// Pings `ending` of the check and gives what was answered, with its status in front.
async fn ping(daemon: &Daemon, ending: &str) -> String {
    let url = daemon.url(&format!("/ping/{UUID}{ending}"));
    curl(&["-w", " %{http_code}", &url]).await.out
}

async fn results(daemon: &Daemon, check: &str) -> Vec<Value> {
    let mut results = daemon.list(&format!("/api/v1/checks/{check}/results?limit=1000")).await;
    results.reverse();
    results
}

/// The results of a check, once there are as many, oldest first.
async fn wait_for_results(daemon: &Daemon, check: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} results of {check}"), PATIENCE, async || {
        let results = results(daemon, check).await;
        (results.len() >= count).then_some(results)
    })
    .await
}

fn events(results: &[Value]) -> Vec<String> {
    let word = |result: &Value| {
        let (status, event) = (&result["status"], &result["facts"]["event"]);
        format!("{} {}", event.as_str().unwrap(), status.as_str().unwrap())
    };
    results.iter().map(word).collect()
}

fn millis(time: &Value) -> i64 {
    chrono::DateTime::parse_from_rfc3339(time.as_str().unwrap()).unwrap().timestamp_millis()
}

#[tokio::test]
async fn a_job_that_falls_silent_is_down_from_its_deadline_on_and_up_with_its_next_ping() {
    let webhook = Webhook::start();
    let daemon = watched_job(&webhook, "period = \"2s\"\ngrace = \"1s\"").await;
    let new = daemon.get("/api/v1/checks/job").await;
    assert_eq!((&new["status"], &new["last_run"]), (&"unknown".into(), &Value::Null), "{new:#}");

    assert_eq!(ping(&daemon, "").await, "OK 200");
    assert_eq!(daemon.get("/api/v1/checks/job").await["status"], "up");
    let told = webhook.inbox.wait_for(0, &["DOWN job"]).await;
    assert!(told.says(&["no ping came"]), "{:#}", told.body);
    let missed = wait_for_results(&daemon, "job", 3).await;
    assert_eq!(events(&missed), ["success up", "late up", "missed down"]);
    // The moment of going down is the deadline itself, to the millisecond.
    assert_eq!(millis(&missed[2]["at"]) - millis(&missed[0]["at"]), 3_000);
    let incident = daemon.wait_for_incident("job", "open", &[]).await;
    assert_eq!(incident["opened_at"], missed[2]["at"]);

    assert_eq!(ping(&daemon, "/").await, "OK 200");
    webhook.inbox.wait_for(0, &["UP job"]).await;
    daemon.wait_for_incident("job", "resolved", &[]).await;
}

#[tokio::test]
async fn a_failure_alerts_at_once_and_a_success_ends_it() {
    let webhook = Webhook::start();
    let daemon = watched_job(&webhook, "period = \"1d\"").await;
    let url = daemon.url(&format!("/ping/{UUID}/3"));
    let sent = curl(&["-fsS", "--data-binary", "no space left on device", &url]).await;
    assert_eq!((sent.code, &*sent.out), (0, "OK"));
    let told = webhook.inbox.wait_for(0, &["DOWN job"]).await;
    assert!(told.says(&["exit status 3", "no space left on device"]), "{:#}", told.body);
    for again in ["/fail", "/255", "/log", "/start"] {
        assert_eq!(ping(&daemon, again).await, "OK 200");
    }
    assert_eq!(ping(&daemon, "/0").await, "OK 200");
    webhook.inbox.wait_for(0, &["UP job"]).await;
    assert_eq!(webhook.inbox.messages().len(), 2, "a repeated failure is silent");
    let results = wait_for_results(&daemon, "job", 6).await;
    assert_eq!(
        events(&results),
        ["fail down", "fail down", "fail down", "log down", "start down", "success up"]
    );
    assert_eq!(results[0]["facts"]["body"], "no space left on device");
    assert_eq!(results[0]["facts"]["exit_status"], 3);
}

#[tokio::test]
async fn a_run_that_begins_and_does_not_end_is_told_after_its_grace() {
    let webhook = Webhook::start();
    let daemon = watched_job(&webhook, "period = \"1d\"\ngrace = \"1s\"").await;
    assert_eq!(ping(&daemon, "/start").await, "OK 200");
    let told = webhook.inbox.wait_for(0, &["DOWN job"]).await;
    assert!(told.says(&["did not end within 1s"]), "{:#}", told.body);
    let results = wait_for_results(&daemon, "job", 2).await;
    assert_eq!(events(&results), ["start unknown", "missed down"]);
    assert_eq!(millis(&results[1]["at"]) - millis(&results[0]["at"]), 1_000);
}

#[tokio::test]
async fn a_run_is_timed_by_the_id_that_its_start_and_its_end_bear() {
    let daemon = Setup::new().checks("job.toml", &job("period = \"1d\"")).start().await;
    for ending in [
        &*format!("/start?rid={RUN}"),
        &format!("?rid={OTHER_RUN}"),
        &format!("?rid={}", RUN.to_uppercase()),
    ] {
        assert_eq!(ping(&daemon, ending).await, "OK 200");
    }
    let results = wait_for_results(&daemon, "job", 3).await;
    let facts = |place: usize| &results[place]["facts"];
    assert_eq!((&facts(1)["duration_ms"], &facts(1)["running"]), (&Value::Null, &true.into()));
    let took = millis(&results[2]["at"]) - millis(&results[0]["at"]);
    assert_eq!(facts(2)["duration_ms"].as_f64().unwrap().round() as i64, took);
    assert_eq!(facts(2)["running"], false);
    assert_eq!(ping(&daemon, "?rid=one").await, "invalid uuid format 400");
    assert_eq!(results.len(), self::results(&daemon, "job").await.len());
}

#[tokio::test]
async fn the_answers_are_those_of_healthchecks() {
    let checks = format!(
        "{}\n[[check]]\nname = \"by-slug\"\n[check.heartbeat]\nslug = \"nightly\"\nperiod = \"1d\"\n\
         methods = [\"POST\"]\n",
        job("period = \"1d\"")
    );
    let setup = Setup::new().checks("job.toml", &checks);
    let config = std::fs::read_to_string(setup.config()).unwrap();
    let config = config.replace("[api]\n", &format!("[api]\nping_key = \"{PING_KEY}\"\n"));
    std::fs::write(setup.config(), config).unwrap();
    let daemon = setup.start().await;

    let head = curl(&["-I", &daemon.url(&format!("/ping/{UUID}"))]).await.out.to_lowercase();
    for line in [
        "http/1.1 200 ok",
        "ping-body-limit: 10000",
        "access-control-allow-origin: *",
        "no-cache",
        "content-type: text/plain",
    ] {
        assert!(head.contains(line), "no `{line}` in {head}");
    }
    let ask = async |path: &str| {
        curl(&["-w", " %{http_code}", &daemon.url(&format!("/ping/{path}"))]).await.out
    };
    let unknown = UUID.replace('5', "6");
    for (path, answer) in [
        (UUID, "OK 200"),
        (&*format!("{UUID}/256"), "invalid url format 400"),
        (&unknown, "not found 404"),
        (&UUID.to_uppercase(), "not found 404"),
        (&format!("{UUID}/stop/now"), "not found 404"),
        (&format!("{PING_KEY}/nightly/fail"), "OK 200"),
        (&format!("{KEY}/nightly/log"), "OK 200"),
        (&format!("{PING_KEY}/Nightly"), "invalid url format 400"),
        (&format!("{PING_KEY}/hourly"), "not found 404"),
        (&format!("{PING_KEY}/hourly?create=1"), "not found 404"),
        ("wrong-wrong-wrong-wrong/nightly", "not found 404"),
        ("%2e%2e/health", "not found 404"),
    ] {
        assert_eq!(ask(path).await, answer, "{path}");
    }
    // It takes POST only: all of those by GET were ignored.
    let by_slug = daemon.get("/api/v1/checks/by-slug").await;
    assert_eq!(by_slug["status"], "unknown", "{by_slug:#}");
    let url = daemon.url(&format!("/ping/{PING_KEY}/nightly"));
    assert_eq!(curl(&["-X", "POST", &url]).await.out, "OK");
    assert_eq!(daemon.get("/api/v1/checks/by-slug").await["status"], "up");
    let (status, answer) = daemon.post("/api/v1/checks/by-slug/run").await;
    assert!(status == 503 && answer["detail"].as_str().unwrap().contains("heartbeat"), "{answer}");
    assert!(!daemon.log().contains(PING_KEY) && !daemon.log().contains(UUID), "{}", daemon.log());
}

#[tokio::test]
async fn of_a_body_its_first_bytes_are_kept_also_where_a_character_is_cut() {
    let daemon = Setup::new().checks("job.toml", &job("period = \"1d\"")).start().await;
    let folder = Folder::new();
    let send = async |body: &[u8]| {
        let file = folder.join("body");
        std::fs::write(&file, body).unwrap();
        let data = format!("@{}", file.display());
        let url = daemon.url(&format!("/ping/{UUID}"));
        curl(&["-w", " %{http_code}", "--data-binary", &data, &url]).await.out
    };
    let cut = format!("{}é and more", "x".repeat(9_999));
    assert_eq!(send(cut.as_bytes()).await, "OK 200");
    assert_eq!(send(&vec![b'y'; 3_000_000]).await, "OK 200");
    assert_eq!(send(b"\xff\x00\x1b").await, "OK 200");
    let results = wait_for_results(&daemon, "job", 3).await;
    let body = |place: usize| results[place]["facts"]["body"].as_str().unwrap();
    assert_eq!(body(0), format!("{}\u{fffd}", "x".repeat(9_999)));
    assert_eq!(body(1), "y".repeat(10_000));
    assert_eq!(body(2), "\u{fffd}\u{fffd}\u{1b}");
    let check = daemon.get("/api/v1/checks/job").await;
    assert_eq!(check["facts"]["body"], Value::Null, "a list of checks would be long");
}

#[tokio::test]
async fn twenty_kills_lose_no_ping_that_was_answered() {
    let mut daemon =
        Setup::new().checks("job.toml", &job("period = \"1d\"\ngrace = \"1h\"")).start().await;
    let mut accepted = 0;
    for _ in 0..20 {
        for ending in ["/start", "", "/log"] {
            assert_eq!(ping(&daemon, ending).await, "OK 200");
            accepted += 1;
        }
        daemon.kill();
        daemon.start_again().await;
        let results = results(&daemon, "job").await;
        assert_eq!(results.len(), accepted, "{:?}", events(&results));
        assert_eq!(results[accepted - 1]["facts"]["pings"], accepted);
        assert_eq!(daemon.get("/api/v1/checks/job").await["status"], "up");
    }
    println!("20 kills, {accepted} pings answered, 0 lost");
}

#[tokio::test]
async fn a_restart_waits_for_what_was_owed_while_the_daemon_was_away() {
    let webhook = Webhook::start();
    let mut daemon = watched_job(&webhook, "period = \"1s\"\ngrace = \"3s\"").await;
    assert_eq!(ping(&daemon, "").await, "OK 200");
    let first = millis(&wait_for_results(&daemon, "job", 1).await[0]["at"]);
    daemon.kill();
    let deadline = first + 4_000;
    eventually("the deadline to pass", PATIENCE, async || {
        (chrono::Utc::now().timestamp_millis() > deadline).then_some(())
    })
    .await;
    let started = chrono::Utc::now().timestamp_millis();
    daemon.start_again().await;
    let told = webhook.inbox.wait_for(0, &["DOWN job"]).await;
    assert!(told.says(&["Watchbell itself was away"]), "{:#}", told.body);
    let results = wait_for_results(&daemon, "job", 2).await;
    let missed = results.iter().find(|result| result["facts"]["event"] == "missed").unwrap();
    assert!(millis(&missed["at"]) >= started + 3_000, "{missed:#}");
}

#[tokio::test]
async fn a_ping_goes_on_with_a_paused_check_unless_only_people_may() {
    let by_hand = UUID.replace('5', "6");
    let checks = format!(
        "{}\n[[check]]\nname = \"by-hand\"\n[check.heartbeat]\nuuid = \"{by_hand}\"\nperiod = \"1d\"\n\
         manual_resume = true\n",
        job("period = \"1d\"")
    );
    let daemon = Setup::new().checks("job.toml", &checks).start().await;
    for check in ["job", "by-hand"] {
        let (status, answer) = daemon.post(&format!("/api/v1/checks/{check}/pause")).await;
        assert_eq!(status, 200, "{answer}");
    }
    assert_eq!(ping(&daemon, "").await, "OK 200");
    let other = daemon.url(&format!("/ping/{by_hand}"));
    assert_eq!(curl(&[&other]).await.out, "OK");
    let paused = async |check: &str| {
        let view = daemon.get(&format!("/api/v1/checks/{check}")).await;
        (view["paused"] != false && view["paused"] != Value::Null, view["status"].clone())
    };
    assert_eq!(paused("job").await, (false, "up".into()));
    assert_eq!(paused("by-hand").await, (true, "unknown".into()));
}

#[tokio::test]
async fn a_ping_may_make_its_check_where_that_is_allowed() {
    let setup = Setup::new().checks("job.toml", &job("period = \"1d\""));
    let config = std::fs::read_to_string(setup.config()).unwrap();
    let keys = format!(
        "[api]\nping_key = \"{PING_KEY}\"\n\
         create_heartbeats = {{ period = \"1h\", labels = {{ made = \"by-ping\" }}, at_most = 1 }}\n"
    );
    std::fs::write(setup.config(), config.replace("[api]\n", &keys)).unwrap();
    let mut daemon = setup.start().await;
    let ask = async |daemon: &Daemon, path: &str| {
        let url = daemon.url(&format!("/ping/{PING_KEY}/{path}"));
        curl(&["-w", " %{http_code}", &url]).await.out
    };
    assert_eq!(ask(&daemon, "import?create=1").await, "Created 201");
    assert_eq!(ask(&daemon, "import?create=1").await, "OK 200");
    assert_eq!(ask(&daemon, "import/fail").await, "OK 200");
    assert_eq!(ask(&daemon, "export?create=1").await, "not found 404", "there may be one");
    assert_eq!(ask(&daemon, "job?create=1").await, "not found 404", "the name is taken");
    let url = daemon.url("/ping/wrong-wrong-wrong-wrong/import?create=1");
    assert_eq!(curl(&[&url]).await.out, "not found");
    daemon.wait_for_incident("import", "open", &[]).await;
    daemon.kill();
    daemon.start_again().await;
    let check = daemon.get("/api/v1/checks/import").await;
    assert_eq!((&check["status"], &check["labels"]["made"]), (&"down".into(), &"by-ping".into()));
    assert_eq!(ask(&daemon, "import").await, "OK 200");
    daemon.wait_for_incident("import", "resolved", &[]).await;
}

#[tokio::test]
async fn a_job_that_falls_silent_because_its_parent_is_down_is_not_told() {
    let (webhook, parent) = (Webhook::start(), Target::start());
    let child = job("period = \"1s\"\ngrace = \"1s\"");
    let child = child.replace("flapping", "depends_on = [\"server\"]\nflapping");
    let server = format!(
        "[[check]]\nname = \"server\"\nevery = \"1d\"\nconfirm_after = 1\nrecover_after = 1\n\
         [check.http]\nurl = \"{}\"\n",
        parent.url()
    );
    let daemon = Setup::new()
        .tables(&webhook.channel("ops", UNLIMITED))
        .checks("job.toml", &format!("{server}\n{child}"))
        .start()
        .await;
    let (status, answer) = daemon.post("/api/v1/checks/server/run").await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(ping(&daemon, "").await, "OK 200");
    // It fails unnoticed: the silence of the child is what has it asked.
    parent.answer(500);
    webhook.inbox.wait_for(0, &["DOWN server"]).await;
    let incident = daemon.wait_for_incident("job", "open", &[]).await;
    assert_eq!(incident["suppressed_by"], "dependency", "{incident:#}");
    parent.answer(200);
    let (status, answer) = daemon.post("/api/v1/checks/server/run").await;
    assert_eq!(status, 200, "{answer}");
    // The parent is well again, and the job is silent still.
    webhook.inbox.wait_for(0, &["DOWN job"]).await;
}

#[tokio::test]
async fn small_disk_full_under_the_store_keeps_no_ping_waiting() {
    let (disk, webhook) = (SmallDisk::mount(4), Webhook::start());
    let store = disk.path().join("watchbell.db").display().to_string();
    let daemon = Setup::new()
        .history(&format!("store = \"sqlite:{store}\""))
        .tables(&webhook.channel("ops", UNLIMITED))
        .checks("job.toml", &job("period = \"1d\""))
        .start()
        .await;
    assert_eq!(ping(&daemon, "").await, "OK 200");
    disk.fill();
    for ending in ["/start", "/9", "/log"] {
        assert_eq!(ping(&daemon, ending).await, "OK 200");
    }
    webhook.inbox.wait_for(0, &["DOWN job"]).await;
    disk.free();
    let results = wait_for_results(&daemon, "job", 4).await;
    assert_eq!(events(&results), ["success up", "start up", "fail down", "log down"]);
}

#[tokio::test]
async fn borgmatic_works_by_changing_its_url_alone() {
    let webhook = Webhook::start();
    let daemon = watched_job(&webhook, "period = \"1d\"").await;
    // borgmatic itself is the real one. What it calls is not Borg, which is beside the point.
    let folder = Folder::new();
    let borg = folder.join("borg");
    let script = "#!/bin/sh\ncase \"$*\" in *--version*) echo 'borg 1.4.0'; exit 0;; esac\n\
                  if [ -e \"$(dirname \"$0\")/broken\" ]; then\n\
                  case \"$*\" in *create*) echo 'Repository is damaged' >&2; exit 2;; esac\nfi\n";
    std::fs::write(&borg, script).unwrap();
    std::fs::set_permissions(&borg, std::fs::Permissions::from_mode(0o755)).unwrap();
    let place = folder.path().display();
    let config = format!(
        "source_directories: [{place}]\nrepositories: [{{path: {place}/repository}}]\n\
         local_path: {place}/borg\nuser_state_directory: {place}\nuser_runtime_directory: {place}\n\
         healthchecks:\n    ping_url: {}\n",
        daemon.url(&format!("/ping/{UUID}"))
    );
    std::fs::write(folder.join("config.yaml"), config).unwrap();
    let run = async || {
        let mut command = Command::new(python().with_file_name("borgmatic"));
        command.args(["create", "--config"]).arg(folder.join("config.yaml"));
        command.env("NO_PROXY", "*").env("HOME", folder.path()).kill_on_drop(true);
        let done = tokio::time::timeout(PATIENCE, command.output()).await.unwrap().unwrap();
        let said = [done.stdout, done.stderr].concat();
        (done.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let (code, said) = run().await;
    assert_eq!(code, Some(0), "{said}");
    let results = wait_for_results(&daemon, "job", 2).await;
    let told = events(&results);
    assert_eq!((&*told[0], &**told.last().unwrap()), ("start unknown", "success up"), "{told:?}");
    assert!(results.last().unwrap()["facts"]["duration_ms"].is_number());

    std::fs::write(folder.join("broken"), "").unwrap();
    let (code, said) = run().await;
    assert_eq!(code, Some(1), "{said}");
    webhook.inbox.wait_for(0, &["DOWN job"]).await;
    std::fs::remove_file(folder.join("broken")).unwrap();
    let (code, said) = run().await;
    assert_eq!(code, Some(0), "{said}");
    webhook.inbox.wait_for(0, &["UP job"]).await;
}
