//! Redis in depth: a cluster, sentinels, replicas, streams, TLS and rights, and what becomes of
//! them where something is wrong.

use crate::harness::{
    RedisNode, checked, checked_until, hear, hostile, number, reasons, say_without_end, watchbell,
};
use serde_json::{Value, json};
use std::io::Write;

fn table(url: &str, more: &str) -> String {
    format!("[check.redis]\nurl = \"{url}\"\n{more}")
}

fn plain(node: &RedisNode, more: &str) -> String {
    table(&format!("redis://{}", node.address()), more)
}

fn node<'a>(seen: &'a Value, node: &RedisNode) -> &'a Value {
    &seen["facts"]["nodes"][node.address()]
}

#[tokio::test]
async fn the_printed_example_is_a_working_cluster_check_once_its_address_is_changed() {
    let nodes = RedisNode::cluster(0).await;
    let printed = watchbell(&["kinds", "redis"]).await;
    assert_eq!(printed.code, 0, "{}", printed.all());
    let start = printed.out.find("[[check]]").expect("an example");
    let lines: Vec<&str> =
        printed.out[start..].lines().skip(2).map(str::trim).take_while(|l| !l.is_empty()).collect();
    let own = lines.join("\n").replace("127.0.0.1:7000", &nodes[0].address());
    assert!(own.contains(&nodes[0].address()), "{own}");
    let seen = checked(&own).await;
    assert_eq!(seen["status"], "up", "{own}\n{seen:#}");
}

#[tokio::test]
async fn a_cluster_is_seen_by_all_of_its_nodes() {
    let mut nodes = RedisNode::cluster(0).await;
    let all = plain(&nodes[0], "cluster = true\ncommand = [\"SET\", \"a\", \"1\"]\nkey = \"a\"");
    let seen = checked(&all).await;
    assert_eq!(seen["status"], "up", "{seen:#}");
    for (fact, value) in [
        ("cluster_state", json!("ok")),
        ("slots_covered", json!(16384)),
        ("slots_ok", json!(16384)),
        ("slots_fail", json!(0)),
        ("cluster_masters", json!(3)),
        ("masters_without_replica", json!(3)),
        ("nodes_failed", json!(0)),
        ("nodes_unreachable", json!(0)),
        ("nodes_disagreeing", json!(0)),
        ("value", json!("OK")),
        ("key_exists", json!(true)),
        ("key_value", json!("1")),
        ("unavailable", json!({})),
    ] {
        assert_eq!(seen["facts"][fact], value, "{fact}: {seen:#}");
    }
    for one in &nodes {
        let said = node(&seen, one);
        assert_eq!((&said["role"], &said["health"]), (&json!("master"), &json!("ok")), "{said}");
        assert_eq!((&said["reachable"], &said["state"]), (&json!(true), &json!("ok")), "{said}");
        assert!(
            said["ping_ms"].as_f64().is_some() && said["slots"].as_u64() > Some(5000),
            "{said}"
        );
    }

    // One that hangs, as a machine does that is out of memory: the others answer.
    nodes[2].service.stall();
    let seen = checked_until("the cluster to miss one", &all, |seen| {
        seen["facts"]["cluster_state"] == "fail" && seen["facts"]["nodes_failed"] == 1
    })
    .await;
    assert_eq!(seen["status"], "down", "{seen:#}");
    assert_eq!(seen["facts"]["nodes_unreachable"], 1, "{seen:#}");
    assert_eq!(node(&seen, &nodes[2])["reachable"], false);
    assert!(node(&seen, &nodes[2])["error"].as_str().unwrap().contains("timeout"), "{seen:#}");
    assert!(number(&seen, "slots_fail") > 5000.0, "{seen:#}");
    assert_eq!(seen["facts"]["cluster_masters"], 2);
    nodes[2].service.resume();
    checked_until("the cluster to be whole", &all, |seen| seen["status"] == "up").await;

    // The node of `url` goes: another is asked.
    let others = format!("cluster = true\nnodes = [\"{}\"]", nodes[1].address());
    let others = plain(&nodes[0], &others);
    nodes[0].service.stop();
    let seen = checked_until("the others to know", &others, |seen| {
        seen["facts"]["nodes_failed"] == 1 && seen["facts"]["nodes_unreachable"] == 1
    })
    .await;
    assert!(node(&seen, &nodes[0])["error"].as_str().unwrap().contains("refused"), "{seen:#}");
    let seen = checked(&all).await;
    assert!(reasons(&seen).contains("connection refused"), "{seen:#}");
}

#[tokio::test]
async fn a_node_that_lives_in_another_cluster_is_found_to_disagree() {
    let nodes = RedisNode::cluster(0).await;
    // It forgets the others, and they do not know that.
    nodes[2].cli(&["cluster", "reset", "soft"]);
    let all = plain(&nodes[0], "cluster = true");
    let seen = checked_until("somebody to disagree", &all, |seen| {
        seen["facts"]["nodes_disagreeing"].as_i64().is_some_and(|count| count > 0)
    })
    .await;
    assert_eq!(seen["facts"]["nodes_unreachable"], 0, "{seen:#}");
}

#[tokio::test]
async fn sentinels_tell_of_their_master_also_while_it_hangs() {
    let master = RedisNode::start(&["--repl-diskless-sync-delay", "0"]).await;
    let port = master.port.to_string();
    let replica = RedisNode::start(&["--replicaof", "127.0.0.1", &port]).await;
    let mut sentinels = Vec::new();
    for _ in 0..3 {
        sentinels.push(RedisNode::sentinel(master.port).await);
    }
    let addresses: Vec<String> = sentinels.iter().map(|s| format!("{:?}", s.address())).collect();
    let more = format!(
        "[check.redis.sentinel]\nmaster = \"mymaster\"\naddresses = [{}]",
        addresses.join(", ")
    );
    let check = format!("timeout = \"3s\"\n{}", table("redis://mymaster", &more));
    let seen = checked_until("the sentinels to know each other", &check, |seen| {
        seen["facts"]["sentinels_known"] == 3 && seen["facts"]["sentinel_replicas"] == 1
    })
    .await;
    assert_eq!(seen["status"], "up", "{seen:#}");
    for (fact, value) in [
        ("sentinel_master", json!(master.address())),
        ("sentinel_flags", json!("master")),
        ("sentinel_quorum", json!(2)),
        ("sentinel_quorum_ok", json!(true)),
        ("sentinels_reachable", json!(3)),
        ("sentinels_agree", json!(true)),
        ("failover_in_progress", json!(false)),
        ("role", json!("master")),
    ] {
        assert_eq!(seen["facts"][fact], value, "{fact}: {seen:#}");
    }

    master.service.stall();
    let seen = checked_until("the sentinels to miss it", &check, |seen| {
        let flags = seen["facts"]["sentinel_flags"].as_str().unwrap_or_default();
        flags.contains("s_down") || seen["facts"]["sentinel_master"] == replica.address()
    })
    .await;
    assert_eq!(seen["facts"]["sentinels_reachable"], 3, "{seen:#}");
    let seen = checked_until("another master", &check, |seen| {
        seen["facts"]["sentinel_master"] == replica.address()
            && seen["facts"]["role"] == "master"
            && seen["status"] == "up"
    })
    .await;
    assert_eq!(seen["facts"]["sentinels"][sentinels[0].address()]["reachable"], true, "{seen:#}");

    sentinels.truncate(1);
    let seen = checked_until("the last one to be alone", &check, |seen| {
        seen["facts"]["sentinel_quorum_ok"] == false
    })
    .await;
    assert_eq!(seen["facts"]["sentinels_reachable"], 1, "{seen:#}");
    assert_eq!(seen["status"], "down");
    assert!(reasons(&seen).contains("could not fail over"), "{seen:#}");
    drop(sentinels);
    let seen = checked(&check).await;
    assert!(reasons(&seen).contains("no sentinel tells of `mymaster`"), "{seen:#}");
}

#[tokio::test]
async fn a_master_and_its_replica_tell_how_far_apart_they_are() {
    let mut master = RedisNode::start(&["--repl-diskless-sync-delay", "0"]).await;
    let port = master.port.to_string();
    let replica = RedisNode::start(&["--replicaof", "127.0.0.1", &port]).await;
    let (at_master, at_replica) = (plain(&master, ""), plain(&replica, ""));
    checked_until("the replica to have its master", &at_replica, |seen| {
        seen["facts"]["master_link_up"] == true && seen["facts"]["replication_lag_bytes"] == 0
    })
    .await;
    let name = replica.address();
    let seen = checked_until("the master to know", &at_master, |seen| {
        seen["facts"]["replicas"][&name]["state"] == "online"
            && seen["facts"]["replication_lag_bytes"] == 0
    })
    .await;
    assert!(number(&seen, "replication_lag_seconds") < 30.0, "{seen:#}");

    replica.service.stall();
    for _ in 0..20 {
        master.cli(&["set", "filler", &"x".repeat(10_000)]);
    }
    let seen = checked_until("the replica to be behind", &at_master, |seen| {
        number(seen, "replication_lag_bytes") > 150_000.0
            && number(seen, "replication_lag_seconds") >= 1.0
    })
    .await;
    assert!(seen["facts"]["replicas"][&name]["lag_bytes"].as_i64() > Some(150_000), "{seen:#}");
    replica.service.resume();
    checked_until("the replica to catch up", &at_master, |seen| {
        seen["facts"]["replication_lag_bytes"] == 0
    })
    .await;
    master.service.stop();
    let seen = checked_until("the replica to miss it", &at_replica, |seen| {
        seen["facts"]["master_link_up"] == false
    })
    .await;
    assert!(number(&seen, "master_link_down_seconds") >= 0.0, "{seen:#}");
    assert!(seen["facts"]["replication_lag_bytes"].is_null(), "{seen:#}");
}

#[tokio::test]
async fn streams_and_keys_are_looked_at() {
    let redis = RedisNode::start(&["--maxmemory", "100mb", "--maxclients", "100"]).await;
    redis.cli(&["set", "text", "hällo", "px", "600000"]);
    redis.cli(&["rpush", "jobs", "a", "b"]);
    for entry in 0..5 {
        redis.cli(&["xadd", "events", "*", "n", &entry.to_string()]);
    }
    redis.cli(&["xgroup", "create", "events", "mails", "0"]);
    redis.cli(&["xgroup", "create", "events", "bills", "$"]);
    redis.cli(&["xreadgroup", "group", "mails", "one", "count", "2", "streams", "events", ">"]);

    let seen = checked(&plain(&redis, "key = \"text\"\nstream = [\"events\", \"nothing\"]")).await;
    assert_eq!(seen["status"], "up", "{seen:#}");
    for (fact, value) in [
        ("key_exists", json!(true)),
        ("key_type", json!("string")),
        ("key_length", json!(6)),
        ("key_value", json!("hällo")),
        ("stream_length", json!(5)),
        ("stream_lag", json!(3)),
        ("stream_pending", json!(2)),
        ("stream_consumers", json!(0)),
        ("keys", json!(3)),
        ("keys_expiring", json!(1)),
        ("clients_max", json!(100)),
        ("memory_max_bytes", json!(104_857_600)),
        ("last_save_ok", json!(true)),
        ("aof_enabled", json!(false)),
        ("loading", json!(false)),
    ] {
        assert_eq!(seen["facts"][fact], value, "{fact}: {seen:#}");
    }
    let left = number(&seen, "key_ttl_seconds");
    assert!((300.0..=600.0).contains(&left), "{left}");
    assert!(number(&seen, "stream_last_age_seconds") < 60.0);
    let events = &seen["facts"]["streams"]["events"];
    assert_eq!(events["groups"]["mails"]["lag"], 3, "{events}");
    assert_eq!(events["groups"]["mails"]["consumers"], 1, "{events}");
    assert_eq!(events["groups"]["bills"]["lag"], 0, "{events}");
    assert_eq!(seen["facts"]["streams"]["nothing"]["length"], 0);
    for fact in ["memory_fragmentation_ratio", "last_save_age_seconds", "evicted_per_minute"] {
        assert!(number(&seen, fact) >= 0.0, "{fact}");
    }
    let seen = checked_until(
        "a pending entry to be idle",
        &plain(&redis, "stream = \"events\""),
        |seen| number(seen, "stream_oldest_pending_seconds") > 0.1,
    )
    .await;
    assert_eq!(seen["facts"]["stream_pending"], 2);
    let seen = checked(&plain(&redis, "key = \"nothing\"")).await;
    assert_eq!(
        (&seen["facts"]["key_exists"], &seen["facts"]["key_length"]),
        (&json!(false), &json!(0))
    );
    let seen = checked(&plain(&redis, "key = \"jobs\"")).await;
    assert_eq!(
        (&seen["facts"]["key_type"], &seen["facts"]["key_length"]),
        (&json!("list"), &json!(2))
    );
    let seen = checked(&plain(&redis, "stream = \"jobs\"")).await;
    assert!(reasons(&seen).contains("WRONGTYPE"), "{seen:#}");
}

#[tokio::test]
async fn what_a_user_may_not_do_is_absent_and_said() {
    let redis = RedisNode::start(&[]).await;
    let rights = ["acl", "setuser", "watch", "on", ">pw", "+ping", "+client", "+xlen", "~*"];
    redis.cli(&rights);
    let url = format!("redis://watch:pw@{}", redis.address());
    let seen = checked(&table(&url, "key = \"a\"\nstream = \"s\"")).await;
    assert_eq!(seen["status"], "up", "{seen:#}");
    assert!(seen["facts"]["role"].is_null(), "{seen:#}");
    for what in ["INFO", "key", "s"] {
        let why = seen["facts"]["unavailable"][what].as_str().unwrap_or_default();
        assert!(why.starts_with("permission denied"), "{what}: {seen:#}");
    }
    let seen = checked(&table(&url, "command = [\"GET\", \"a\"]")).await;
    assert!(reasons(&seen).starts_with("permission denied"), "{seen:#}");
    let seen = checked(&table(&url.replace(":pw", ":no"), "")).await;
    assert!(reasons(&seen).starts_with("authentication failed"), "{seen:#}");
    let seen = checked(&plain(&redis, "cluster = true")).await;
    assert!(reasons(&seen).contains("cluster support disabled"), "{seen:#}");
}

#[tokio::test]
async fn tls_is_verified_and_a_client_shows_its_certificate() {
    let (_redis, port, certificates) = RedisNode::tls(&["--tls-auth-clients", "yes"]).await;
    let ca = format!("ca_file = \"{}\"", certificates.ca.display());
    let shown = format!(
        "cert_file = \"{}\"\nkey_file = \"{}\"",
        certificates.certificate.display(),
        certificates.key.display()
    );
    let ask = async |host: &str, more: &str| {
        checked(&table(&format!("rediss://{host}:{port}"), more)).await
    };
    let seen = ask("localhost", &format!("{ca}\n{shown}")).await;
    assert_eq!(seen["status"], "up", "{seen:#}");
    assert!(number(&seen, "cert_days_left") > 100.0, "{seen:#}");
    let seen = ask("127.0.0.1", &format!("{shown}\ninsecure_skip_verify = true")).await;
    assert_eq!(seen["status"], "up", "{seen:#}");
    for (more, word) in
        [(shown.as_str(), "not from an authority that is trusted"), (ca.as_str(), "certificate")]
    {
        let seen = ask("localhost", more).await;
        assert_eq!(seen["status"], "down", "{seen:#}");
        assert!(reasons(&seen).contains(word), "no {word}: {seen:#}");
    }
    let seen = checked(&table(&format!("redis://127.0.0.1:{port}"), "")).await;
    assert_eq!(seen["status"], "down", "{seen:#}");
}

#[tokio::test]
async fn a_hostile_peer_costs_neither_time_nor_memory() {
    let endless_text = hostile(|stream| {
        hear(stream);
        say_without_end(stream, b"$2147483647\r\n", b"x");
    });
    let endless_line = hostile(|stream| {
        hear(stream);
        say_without_end(stream, b"+", b"x");
    });
    let endless_list = hostile(|stream| {
        hear(stream);
        say_without_end(stream, b"*2147483647\r\n", b":1\r\n");
    });
    let deep = hostile(|stream| {
        hear(stream);
        say_without_end(stream, b"", b"*1\r\n");
    });
    let web = hostile(|stream| {
        hear(stream);
        _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let silent = hostile(|stream| while !hear(stream).is_empty() {});
    // The bound ends them, long before the timeout could; that is what ends the silent one.
    let ask = async |port: u16, word: &str| {
        let url = format!("redis://127.0.0.1:{port}");
        let timeout = if word == "2s" { "2s" } else { "30s" };
        let seen = checked(&format!("timeout = \"{timeout}\"\n{}", table(&url, ""))).await;
        assert!(reasons(&seen).contains(word), "no {word}: {seen:#}");
    };
    ask(endless_text, "more than 1 MiB").await;
    ask(endless_line, "more than 1 MiB").await;
    ask(endless_list, "more than 1 MiB").await;
    ask(deep, "does not speak as Redis does: *1").await;
    ask(web, "does not speak as Redis does: HTTP/1.1 400 Bad Request").await;
    ask(silent, "2s").await;
}
