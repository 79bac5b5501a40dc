use super::info::{Info, Memory, note, note_since};
use super::router::place_of;
use super::wire::Place;
use super::{KIND, read_url};
use crate::check::Check;
use crate::check::support::dial::Target;
use crate::check::testing::{
    Program, facts, free_port, number, observe, observe_until, parse, problems, stranger,
};
use crate::model::{Fact, Facts, Status};
use serde_json::json;
use std::process::Command;
use std::time::Duration;
use url::Url;

/// A Redis server of one test.
struct Redis {
    server: Program,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Redis {
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let port = free_port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.arg("--dir").arg(folder.path()).args(arguments);
        let redis = Self { server: Program::start(&mut command, "KILL"), port, _folder: folder };
        for _ in 0..300 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return redis;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("the server did not start in time");
    }

    fn cli(&self, words: &[&str]) {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(words).output();
        let output = output.expect("redis-cli");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && !said.contains("ERR"), "{words:?}: {said}");
    }

    fn check(&self, more: &str) -> Box<dyn Check> {
        check(&format!("redis://127.0.0.1:{}", self.port), more)
    }
}

fn check(url: &str, more: &str) -> Box<dyn Check> {
    parse(&KIND, &format!("url = '{url}'\n{more}")).expect("valid")
}

fn facts_of(info: &str) -> Facts {
    let mut facts = Facts::default();
    note(&Info::read(info), 0, 0, &mut facts);
    facts
}

#[test]
fn problems_of_the_table_are_all_told_without_the_password() {
    let text = "url = 'redis://:pw@h/x'\ncommand = ['monitor']\ncluster = 1";
    insta::assert_snapshot!(problems(&KIND, text), @r#"
    a.toml:1:7: url: is not usable: Invalid database number
    a.toml:2:11: command: `monitor` never answers: use a command that does
    a.toml:3:11: cluster: invalid type: integer `1`, expected a boolean
    "#);
    insta::assert_snapshot!(problems(&KIND, "command = []"), @r#"
    a.toml:1:1: url: is missing
    a.toml:1:11: command: is empty (such as ["LLEN", "jobs"])
    "#);
}

#[test]
fn the_password_shows_in_no_debug_output() {
    let check = check("redis://:hunter2@cache.example/3", "");
    assert_eq!(format!("{check:?}"), "Redis { target: \"cache.example:6379\", .. }");
}

#[test]
fn the_lag_of_a_master_is_that_of_its_worst_replica() {
    let facts = facts_of(
        "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
         slave0:ip=10.0.0.2,port=6379,state=online,offset=900,lag=0\r\n\
         slave1:ip=10.0.0.3,port=6379,state=online,offset=700,lag=1\r\n\
         master_repl_offset:1000\r\n",
    );
    assert_eq!(facts.get("replication_lag_bytes"), Some(&Fact::Int(300)));
    assert_eq!(facts.get("connected_replicas"), Some(&Fact::Int(2)));
    let alone = facts_of("role:master\r\nconnected_slaves:0\r\nmaster_repl_offset:5\r\n");
    assert_eq!(alone.get("replication_lag_bytes"), Some(&Fact::Int(0)));
}

#[test]
fn a_replica_without_its_master_claims_no_lag() {
    let up = "role:slave\nmaster_link_status:up\nmaster_last_io_seconds_ago:3\n\
              slave_read_repl_offset:120\nslave_repl_offset:100\nmaster_repl_offset:100\n";
    let facts = facts_of(up);
    assert_eq!(facts.get("replication_lag_bytes"), Some(&Fact::Int(20)));
    assert_eq!(facts.get("master_last_io_seconds"), Some(&Fact::Int(3)));
    let down = up.replace(":up", ":down").replace(":3", ":-1");
    let facts = facts_of(&down);
    assert_eq!(facts.get("master_link_up"), Some(&Fact::Bool(false)));
    assert_eq!(facts.get("replication_lag_bytes"), None);
    assert_eq!(facts.get("master_last_io_seconds"), None);
}

#[test]
fn what_a_server_leaves_out_is_absent() {
    // As DragonflyDB answers, shortened.
    let facts = facts_of(
        "# Server\r\nredis_version:7.4.0\r\ndragonfly_version:df-v1.25.0\r\n\
         uptime_in_seconds:40\r\n# Memory\r\nused_memory:1000\r\nmaxmemory:4000\r\n\
         # Replication\r\nrole:master\r\nconnected_slaves:1\r\n\
         slave0:ip=10.0.0.2,port=6379,state=online,lag=0\r\n",
    );
    assert_eq!(facts.get("version"), Some(&Fact::from("df-v1.25.0")));
    assert_eq!(facts.get("memory_used_percent"), Some(&Fact::Double(25.0)));
    for absent in ["replication_lag_bytes", "evicted_keys", "keyspace_hits_percent"] {
        assert_eq!(facts.get(absent), None, "{absent}");
    }
}

#[test]
fn memory_without_a_limit_is_of_the_whole_machine() {
    let facts = facts_of("used_memory:10\nmaxmemory:0\ntotal_system_memory:100\n");
    assert_eq!(facts.get("memory_used_percent"), Some(&Fact::Double(10.0)));
    assert_eq!(facts_of("used_memory:10\nmaxmemory:0\n").get("memory_used_percent"), None);
}

#[tokio::test]
async fn a_server_tells_of_itself() {
    let redis = Redis::start(&["--maxmemory", "100mb"]);
    redis.cli(&["set", "a", "1"]);
    redis.cli(&["get", "a"]);
    let facts = facts(&*redis.check("")).await;
    assert!(number(&facts, "ping_ms") > 0.0);
    assert_eq!(facts.get("role"), Some(&Fact::from("master")));
    assert_eq!(facts.get("keyspace_hits_percent"), Some(&Fact::Double(100.0)));
    assert!(number(&facts, "connected_clients") >= 1.0);
    assert_eq!(facts.get("value"), None);
    let percent = number(&facts, "memory_used_percent");
    assert!((0.1..10.0).contains(&percent), "{percent}");
    assert!(number(&facts, "memory_used_bytes") > 100_000.0);
    for name in ["version", "uptime_seconds", "blocked_clients", "evicted_keys"] {
        assert!(facts.get(name).is_some(), "{name}");
    }
}

#[tokio::test]
async fn the_answer_of_a_command_is_the_value() {
    let redis = Redis::start(&[]);
    redis.cli(&["rpush", "jobs", "a", "b"]);
    redis.cli(&["hset", "h", "x", "1"]);
    for (command, value) in [
        ("['LLEN', 'jobs']", json!(2)),
        ("['lrange', 'jobs', '0', '-1']", json!(["a", "b"])),
        ("['GET', 'nothing']", json!(null)),
        ("['HGET', 'h', 'x']", json!("1")),
        ("['SET', 'k', 'v']", json!("OK")),
    ] {
        let facts = facts(&*redis.check(&format!("command = {command}"))).await;
        assert_eq!(facts.get("value").map(Fact::to_json), Some(value), "{command}");
    }
    let seen = observe(&*redis.check("command = ['GET', 'jobs']")).await;
    insta::assert_snapshot!(seen.error.expect("an error"), @"the server answered error WRONGTYPE: Operation against a key holding the wrong kind of value");
    let seen = observe(&*redis.check("command = ['LEN', 'jobs']")).await;
    insta::assert_snapshot!(seen.error.expect("an error"), @"the server answered error ERR: unknown command 'LEN', with args beginning with: 'jobs'");
    assert!(seen.facts.get("role").is_some(), "what was found before stays");
}

#[tokio::test]
async fn a_wrong_or_missing_password_is_an_authentication_failure() {
    let redis = Redis::start(&["--requirepass", "hunter2"]);
    let url = |login: &str| format!("redis://{login}127.0.0.1:{}", redis.port);
    facts(&*check(&url(":hunter2@"), "")).await;
    let seen = observe(&*check(&url(":sesame@"), "")).await;
    insta::assert_snapshot!(seen.error.expect("an error"), @"authentication failed: the server refused the user or the password");
    let seen = observe(&*check(&url(""), "")).await;
    insta::assert_snapshot!(seen.error.expect("an error"), @"authentication failed: the server wants a password");
}

#[tokio::test]
async fn what_a_user_may_not_see_is_absent_and_a_forbidden_command_is_told() {
    let redis = Redis::start(&[]);
    redis.cli(&["acl", "setuser", "watch", "on", ">pw", "+ping", "+client", "~*"]);
    let url = format!("redis://watch:pw@127.0.0.1:{}", redis.port);
    let facts = facts(&*check(&url, "")).await;
    assert_eq!(facts.get("role"), None);
    let seen = observe(&*check(&url, "command = ['GET', 'x']")).await;
    insta::assert_snapshot!(seen.error.expect("an error"), @"permission denied: this user has no permissions to run the 'get' command");
}

#[tokio::test]
async fn a_stopped_server_refuses() {
    let mut redis = Redis::start(&[]);
    let check = redis.check("");
    facts(&*check).await;
    redis.server.stop();
    let error = observe(&*check).await.error.expect("an error");
    let port = redis.port;
    assert_eq!(error, format!("connection refused by 127.0.0.1:{port}: no server listens there"));
}

#[tokio::test]
async fn a_server_of_another_kind_is_told_apart() {
    let address = stranger().await;
    let error = observe(&*check(&format!("redis://{address}"), "")).await.error;
    let error = error.expect("an error");
    assert!(error.contains("does not speak as Redis does"), "{error}");
}

#[tokio::test]
async fn a_master_and_its_replica_tell_of_each_other() {
    let mut master = Redis::start(&["--repl-diskless-sync-delay", "0"]);
    let port = master.port.to_string();
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &port]);
    let (at_master, at_replica) = (master.check(""), replica.check(""));
    let seen = observe_until(&*at_replica, |seen| {
        seen.facts.get("master_link_up") == Some(&Fact::Bool(true))
    })
    .await;
    assert_eq!(seen.facts.get("role"), Some(&Fact::from("slave")));
    master.cli(&["set", "a", "1"]);
    observe_until(&*at_master, |seen| {
        seen.facts.get("connected_replicas") == Some(&Fact::Int(1))
            && seen.facts.get("replication_lag_bytes") == Some(&Fact::Int(0))
    })
    .await;
    observe_until(&*at_replica, |seen| {
        seen.facts.get("replication_lag_bytes") == Some(&Fact::Int(0))
            && seen.facts.get("master_last_io_seconds").is_some()
    })
    .await;

    master.server.stop();
    let seen = observe_until(&*at_replica, |seen| {
        seen.facts.get("master_link_up") == Some(&Fact::Bool(false))
    })
    .await;
    assert_eq!((seen.error, seen.facts.get("replication_lag_bytes")), (None, None));
}

#[tokio::test]
async fn a_cluster_tells_its_state_and_finds_the_node_of_a_key() {
    let redis = Redis::start(&["--cluster-enabled", "yes"]);
    let check = redis.check("cluster = true");
    let seen = observe(&*check).await;
    assert_eq!(seen.facts.get("cluster_state"), Some(&Fact::from("fail")));
    let verdict = check.sense(&seen);
    assert_eq!((verdict.status, verdict.reasons.len()), (Status::Down, 1));

    redis.cli(&["cluster", "addslotsrange", "0", "16383"]);
    let check = redis.check("cluster = true\ncommand = ['SET', 'a', '1']");
    let seen = observe_until(&*check, |seen| {
        seen.error.is_none() && seen.facts.get("cluster_state") == Some(&Fact::from("ok"))
    })
    .await;
    assert_eq!(seen.facts.get("value"), Some(&Fact::from("OK")));
    assert_eq!(check.sense(&seen).status, Status::Up);
}

#[test]
fn problems_of_sentinels_and_tls_are_told_at_their_places() {
    let table = "url = 'redis://h'\ncluster = true\nstream = 5\nkey_file = 'a.pem'\n\
                 nodes = ['h']\n[sentinel]\naddresses = []\nmastr = 'm'";
    insta::assert_snapshot!(problems(&KIND, table), @r#"
    a.toml:3:10: stream: is a name, or a list of names
    a.toml:4:12: key_file: is the key of a certificate that `cert_file` must name
    a.toml:5:9: nodes: `h` is not host:port
    a.toml:6:1: sentinel.master: is missing
    a.toml:7:13: sentinel.addresses: is empty: name all sentinels, such as ["10.0.0.1:26379"]
    a.toml:8:1: sentinel.mastr: unknown key (did you mean `master`?)
    "#);
}

#[test]
fn what_happened_since_the_last_run_is_a_rate() {
    let mut memory = Memory::default();
    let mut note = |second: u64, info: &str| {
        let mut facts = Facts::default();
        note_since(&Info::read(info), &mut memory, Duration::from_secs(second), &mut facts);
        let of = |name| facts.get(name).and_then(Fact::as_number);
        (of("evicted_per_minute"), of("keyspace_hits_recent_percent"))
    };
    let info = "run_id:a\nuptime_in_seconds:600\nevicted_keys:50\nkeyspace_hits:9\n\
                keyspace_misses:1\n";
    assert_eq!(note(1000, info), (Some(5.0), Some(90.0)));
    let more = info.replace(":50", ":60").replace("misses:1", "misses:5");
    assert_eq!(note(1030, &more), (Some(20.0), Some(0.0)));
    assert_eq!(note(1060, &more), (Some(0.0), Some(0.0)), "nothing was looked up");
    // Another server has its own counters.
    assert_eq!(note(1090, &info.replace("id:a", "id:b")), (Some(5.0), Some(90.0)));
    assert_eq!(note(1100, "role:master"), (None, None));
}

#[test]
fn a_url_is_read_as_others_read_it() {
    let check = |url: &str, expected: &str| {
        let (place, login, tls) = read_url(&Url::parse(url).expect("a URL")).expect("an address");
        let (user, password) = (login.user.unwrap_or_default(), login.password.unwrap_or_default());
        let found = format!("{place} {user} {password} {} {tls}", login.database);
        assert_eq!(found, expected, "{url}");
    };
    check("redis://", "127.0.0.1:6379   0 false");
    check("redis://:p%40s@cache.example/3", "cache.example:6379  p@s 3 false");
    check("rediss://me:pw@[::1]:7000/", "[::1]:7000 me pw 0 true");
    check("unix:///run/redis.sock?db=2&user=me&pass=pw", "/run/redis.sock me pw 2 false");
}

#[test]
fn nodes_are_found_however_they_are_written() {
    let asked = Place::Tcp(Target::parse("cache.example:7000").expect("a target"));
    let check = |text: &str, expected: Option<&str>| {
        let place = place_of(text, &asked).map(|place| place.to_string());
        assert_eq!(place.as_deref(), expected, "{text}");
    };
    check("10.0.0.1:7001", Some("10.0.0.1:7001"));
    check("::1:7001", Some("[::1]:7001"));
    check(":7001", Some("cache.example:7001"));
    check("10.0.0.1:0", None);
}
