//! PostgreSQL in depth: what the kind finds on a primary with a standby, by which rights, over TLS,
//! and what becomes of it where something is wrong.

use crate::harness::{
    Daemon, PATIENCE, PostgresFamily, Setup, checked, checked_until, eventually, hear, hostile,
    number, reasons, say_without_end,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::io::Write;
use std::time::{Duration, Instant};

/// A role that may see what others do, and one that may not.
const ROLES: &str = "create role watch login; grant pg_monitor to watch; create role plain login";

fn table(url: &str, more: &str) -> String {
    format!("[check.postgres]\nurl = \"{url}\"\n{more}")
}

async fn execute(connection: &mut PgConnection, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}

#[tokio::test]
async fn a_primary_and_its_standby_tell_how_far_apart_they_are() {
    let primary = PostgresFamily::primary().await;
    primary.run(ROLES).await;
    primary.run("create table t (i int, filler text)").await;
    let standby = PostgresFamily::standby(&primary, "stand-by-one", "first_slot").await;
    let at_primary = table(&primary.url("watch"), "");
    let at_standby = table(&standby.url("watch"), "");

    let seen = checked_until("the standby to stream", &at_primary, |seen| {
        seen["facts"]["standbys"]["stand-by-one"]["state"] == "streaming"
            && seen["facts"]["replication_lag_bytes"] == 0
    })
    .await;
    assert_eq!(seen["facts"]["unavailable"], serde_json::json!({}), "{seen:#}");
    assert_eq!(seen["facts"]["is_replica"], false);
    assert_eq!(seen["facts"]["standbys_connected"], 1);
    assert_eq!(seen["facts"]["standbys"]["stand-by-one"]["sync_state"], "async");
    assert_eq!(seen["facts"]["standbys"]["stand-by-one"]["address"], "127.0.0.1");
    assert_eq!(seen["facts"]["slots"]["first_slot"]["active"], true);
    assert_eq!(seen["facts"]["slots"]["first_slot"]["type"], "physical");
    assert_eq!(seen["facts"]["slots_inactive"], 0);

    let seen = checked(&at_standby).await;
    assert_eq!(seen["facts"]["unavailable"], serde_json::json!({}), "{seen:#}");
    assert_eq!(seen["facts"]["is_replica"], true);
    assert_eq!(seen["facts"]["wal_receiver_status"], "streaming");
    assert_eq!(seen["facts"]["replay_paused"], false);
    assert!(number(&seen, "wal_receiver_silent_seconds") < 60.0, "{seen:#}");

    // A standby knows how old its data is once it has replayed something.
    primary.run("insert into t values (0, 'first')").await;
    eventually("the standby to replay it", PATIENCE, async || {
        (standby.number("select count(*) from t").await == 1).then_some(())
    })
    .await;
    standby.run("select pg_wal_replay_pause()").await;
    primary.run("insert into t select i, repeat('x', 500) from generate_series(1, 2000) i").await;
    let behind = |bytes: i64| {
        move |seen: &serde_json::Value| {
            seen["facts"]["replication_lag_bytes"].as_i64().is_some_and(|lag| lag > bytes)
        }
    };
    let seen = checked_until("the standby to be behind", &at_standby, |seen| {
        behind(500_000)(seen) && number(seen, "replication_lag_seconds") > 0.0
    })
    .await;
    assert_eq!(seen["facts"]["replay_paused"], true, "{seen:#}");
    let seen = checked_until("the primary to know", &at_primary, behind(500_000)).await;
    let lag = &seen["facts"]["standbys"]["stand-by-one"]["lag_bytes"];
    assert!(lag.as_i64().is_some_and(|lag| lag > 500_000), "{seen:#}");

    standby.run("select pg_wal_replay_resume()").await;
    checked_until("the standby to catch up", &at_standby, |seen| {
        seen["facts"]["replication_lag_bytes"] == 0
            && seen["facts"]["replication_lag_seconds"] == 0.0
    })
    .await;

    drop(standby);
    primary.run("insert into t select i, repeat('y', 500) from generate_series(1, 2000) i").await;
    let seen = checked_until("the slot to keep WAL", &at_primary, |seen| {
        seen["facts"]["slots_inactive"] == 1 && number(seen, "slots_retained_bytes") > 500_000.0
    })
    .await;
    assert_eq!(seen["facts"]["slots"]["first_slot"]["active"], false);
    assert_eq!(seen["facts"]["slots"]["first_slot"]["wal_status"], "reserved");
    assert_eq!(seen["facts"]["standbys_connected"], 0);
}

#[tokio::test]
async fn locks_and_long_transactions_are_seen_by_pg_monitor_and_not_by_a_plain_role() {
    let server = PostgresFamily::primary().await;
    server.run(ROLES).await;
    server.run("create table t (i int primary key); insert into t values (1), (2)").await;

    let mut holder = server.connect().await;
    execute(&mut holder, "begin").await;
    execute(&mut holder, "update t set i = 10 where i = 1").await;
    let mut waiter = server.connect().await;
    let waiting = tokio::spawn(async move {
        sqlx::raw_sql("update t set i = 11 where i = 1").execute(&mut waiter).await.unwrap();
    });
    let monitor = table(&server.url("watch"), "");
    let seen = checked_until("somebody to wait", &monitor, |seen| {
        seen["facts"]["waiting_locks"] == 1 && number(seen, "longest_lock_wait_seconds") > 0.0
    })
    .await;
    assert_eq!(seen["facts"]["connections_idle_in_transaction"], 1, "{seen:#}");
    assert_eq!(seen["facts"]["connections_by_state"]["idle_in_transaction"], 1);
    assert_eq!(seen["facts"]["connections_max"], 20);
    assert_eq!(number(&seen, "connections_used"), 3.0);
    assert_eq!(number(&seen, "connections_used_percent"), 15.0);
    // Three of the twenty are for superusers.
    assert!((number(&seen, "connections_saturation_percent") - 300.0 / 17.0).abs() < 0.01);
    assert_eq!(seen["facts"]["connections_by_database"]["postgres"], 3);
    for longest in [
        "longest_transaction_seconds",
        "longest_query_seconds",
        "longest_idle_in_transaction_seconds",
    ] {
        let seconds = number(&seen, longest);
        assert!(seconds > 0.0 && seconds < 60.0, "{longest}: {seconds}");
    }
    for (fact, least, most) in [
        ("database_size_bytes", 1e6, 1e9),
        ("cache_hit_percent", 1.0, 100.0),
        ("oldest_xid_age", 1.0, 1e6),
        ("freeze_age_percent", 0.0, 1.0),
        ("wraparound_percent", 0.0, 1.0),
        ("autovacuum_workers_max", 3.0, 3.0),
        ("uptime_seconds", 0.0, 1000.0),
        ("tables_overdue_vacuum", 0.0, 0.0),
    ] {
        let found = number(&seen, fact);
        assert!((least..=most).contains(&found), "{fact}: {found}");
    }
    assert_eq!(seen["facts"]["autovacuum_on"], false);
    assert!(seen["facts"]["version"].as_str().unwrap().starts_with(char::is_numeric));

    let seen = checked(&table(&server.url("plain"), "")).await;
    assert_eq!(seen["status"], "up", "{seen:#}");
    assert_eq!(seen["facts"]["waiting_locks"], 1, "everybody may see locks");
    assert_eq!(number(&seen, "connections_used"), 3.0);
    for hidden in ["longest_transaction_seconds", "connections_by_state", "standbys"] {
        assert!(seen["facts"][hidden].is_null(), "{hidden}: {seen:#}");
        let why = seen["facts"]["unavailable"][hidden].as_str().unwrap();
        assert!(why.contains("pg_monitor"), "{why}");
    }

    let only = "facts = [\"locks\"]";
    let seen = checked(&table(&server.url("watch"), only)).await;
    assert_eq!(seen["facts"]["waiting_locks"], 1);
    assert!(seen["facts"]["connections_used"].is_null(), "{seen:#}");
    execute(&mut holder, "rollback").await;
    waiting.await.unwrap();
}

#[tokio::test]
async fn a_deadlock_degrades_a_check_that_watches_for_new_ones() {
    let server = PostgresFamily::primary().await;
    server.run(ROLES).await;
    server.run("create table t (i int primary key, n int); insert into t values (1), (2)").await;
    let daemon: Daemon = Setup::new()
        .checks(
            "db.toml",
            &format!(
                "[[check]]\nname = \"db\"\nevery = \"1s\"\n\
                 degraded_if = [\"deadlocks > 0\"]\n{}",
                table(&server.url("watch"), "facts = [\"activity\"]")
            ),
        )
        .start()
        .await;
    daemon.wait_for_status("db", "up").await;

    let (mut one, mut other) = (server.connect().await, server.connect().await);
    execute(&mut one, "begin; update t set n = 1 where i = 1").await;
    execute(&mut other, "begin; update t set n = 2 where i = 2").await;
    let first = sqlx::raw_sql("update t set n = 1 where i = 2").execute(&mut one);
    let second = sqlx::raw_sql("update t set n = 2 where i = 1").execute(&mut other);
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_err() != second.is_err(), "one of the two is the victim");
    // A session tells what it counted once it ends, at the latest.
    one.close().await.unwrap();
    other.close().await.unwrap();

    let seen = daemon.wait_for_status("db", "degraded").await;
    assert!(reasons(&seen).contains("deadlocks is 1"), "{seen:#}");
    let seen = daemon.wait_for_status("db", "up").await;
    assert_eq!(seen["facts"]["deadlocks_total"], 1, "{seen:#}");
}

#[tokio::test]
async fn tls_is_verified_as_far_as_sslmode_says() {
    let server = PostgresFamily::primary().await;
    server.run("create role watch login password 'pw'; create role localhost login").await;
    server
        .rules(
            "hostssl all localhost all cert\nhostnossl all localhost all reject\n\
             hostssl all watch all scram-sha-256\nhostnossl all watch all reject",
        )
        .await;
    let (port, ca) = (server.port, server.certificates.ca.display().to_string());
    let ask = async |user: &str, host: &str, rest: &str| {
        checked(&table(&format!("postgres://{user}@{host}:{port}/postgres?{rest}"), "")).await
    };
    let trusted = format!("sslmode=verify-full&sslrootcert={ca}");

    let seen = ask("watch:pw", "localhost", &trusted).await;
    assert_eq!(seen["status"], "up", "{seen:#}");
    assert!(number(&seen, "cert_days_left") > 100.0, "{seen:#}");
    for rest in ["sslmode=require", "sslmode=prefer", ""] {
        assert_eq!(ask("watch:pw", "127.0.0.2", rest).await["status"], "up", "{rest}");
    }
    let seen = ask("watch:pw", "127.0.0.2", &format!("sslmode=verify-ca&sslrootcert={ca}")).await;
    assert_eq!(seen["status"], "up", "{seen:#}");

    for (user, host, rest, reason) in [
        ("watch:pw", "127.0.0.2", trusted.as_str(), "certificate is for localhost"),
        ("watch:pw", "localhost", "sslmode=verify-full", "`sslrootcert`"),
        ("watch:pw", "localhost", "sslmode=disable", "authentication failed"),
        ("watch:no", "localhost", &trusted, "authentication failed"),
        ("localhost", "localhost", &trusted, "certificate"),
    ] {
        let seen = ask(user, host, rest).await;
        assert_eq!(seen["status"], "down", "{seen:#}");
        assert!(reasons(&seen).contains(reason), "no {reason}: {seen:#}");
        assert!(!seen.to_string().contains("watch:no"), "{seen:#}");
    }
    // The server's own certificate is for `localhost`, so it serves as that of a client, too.
    let certificate = server.certificates.certificate.display();
    let key = server.certificates.key.display();
    let shown = format!("{trusted}&sslcert={certificate}&sslkey={key}");
    let seen = ask("localhost", "localhost", &shown).await;
    assert_eq!(seen["status"], "up", "{seen:#}");
}

#[tokio::test]
async fn several_queries_have_a_fact_each_and_write_nothing() {
    let server = PostgresFamily::primary().await;
    server.run(ROLES).await;
    server.run("create table jobs (id int); insert into jobs values (1), (2), (3)").await;
    server.run("grant all on jobs to watch").await;
    let queries = "facts = []\n[check.postgres.queries]\nbacklog = \"select count(*) from jobs\"\n\
                   last = \"select max(id), 'x' from jobs;\"\nnone = \"select 1 where false\"\n";
    let url = server.url("watch");
    let seen = checked(&format!(
        "expect = [\"queries.backlog == 3\", \"queries.last > 2\", \"query_rows.none == 0\"]\n{}",
        table(&url, queries)
    ))
    .await;
    assert_eq!(seen["status"], "up", "{seen:#}");
    assert_eq!(seen["facts"]["value"], 1, "the single query is still asked");
    assert!(seen["facts"]["query_ms"]["backlog"].as_f64().is_some(), "{seen:#}");

    let wrong = "bad = \"select * from nothing\"\nwrite = \"delete from jobs returning id\"";
    let seen = checked(&table(&url, &format!("{queries}{wrong}"))).await;
    assert_eq!(seen["status"], "down");
    assert!(reasons(&seen).starts_with("query `bad`: the server answered error 42P01"), "{seen:#}");
    assert_eq!(seen["facts"]["queries"]["backlog"], 3, "the others are asked all the same");
    let write = "query = \"delete from jobs returning id\"";
    let seen = checked(&table(&url, write)).await;
    assert!(reasons(&seen).contains("`read_only = false`"), "{seen:#}");
    assert_eq!(server.number("select count(*) from jobs").await, 3);
    let seen = checked(&table(&url, &format!("{write}\nread_only = false"))).await;
    assert_eq!((&seen["status"], &seen["facts"]["rows"]), (&"up".into(), &3.into()), "{seen:#}");
    assert_eq!(server.number("select count(*) from jobs").await, 0);
}

#[tokio::test]
async fn a_query_that_takes_too_long_does_not_stay_on_the_server() {
    let server = PostgresFamily::primary().await;
    server.run(ROLES).await;
    let slow = "timeout = \"1s\"\n[check.postgres]\nfacts = []\n\
                query = \"select 'slow' from pg_sleep(600)\"\n";
    let seen = checked(&format!("{slow}url = \"{}\"", server.url("watch"))).await;
    assert!(reasons(&seen).contains("statement timeout"), "{seen:#}");
    eventually("the server to be rid of it", PATIENCE, async || {
        let left = "select count(*) from pg_stat_activity where application_name = 'watchbell'";
        (server.number(left).await == 0).then_some(())
    })
    .await;
    // Nor where nobody waits any more: the server's own clock ends it.
    let text = format!("[[check]]\nname = \"db\"\n{slow}url = \"{}\"", server.url("watch"));
    let mut daemon = Setup::new().checks("db.toml", &text).start().await;
    eventually("the query to run", PATIENCE, async || {
        let runs = "select count(*) from pg_stat_activity where query like '%pg_sleep(600)%' \
                    and application_name = 'watchbell' and state = 'active'";
        (server.number(runs).await == 1).then_some(())
    })
    .await;
    daemon.kill();
    eventually("the server to be rid of it", PATIENCE, async || {
        let left = "select count(*) from pg_stat_activity where application_name = 'watchbell'";
        (server.number(left).await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_hostile_peer_costs_neither_time_nor_memory() {
    let endless_row = hostile(|stream| {
        hear(stream);
        // A row that says it has 2 GB, and goes on.
        let words = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05ID\x7f\xff\xff\xff";
        say_without_end(stream, words, b"x");
    });
    let endless_notices = hostile(|stream| {
        hear(stream);
        say_without_end(stream, b"", b"N\0\0\0\x05\0");
    });
    let hashing = hostile(|stream| {
        hear(stream);
        stream.write_all(b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0").unwrap();
        let said = hear(stream);
        let nonce = said.rsplit("r=").next().unwrap();
        let challenge = format!("r={nonce}x,s=QSXCR+Q6sek8bf92,i=2000000000");
        let length = u32::try_from(challenge.len() + 8).unwrap().to_be_bytes();
        let words = [b"R", &length[..], b"\0\0\0\x0b", challenge.as_bytes()].concat();
        stream.write_all(&words).unwrap();
        hear(stream);
    });
    let silent = hostile(|stream| while !hear(stream).is_empty() {});
    let ask = async |port: u16, word: &str| {
        let url = format!("postgres://ann:secret@127.0.0.1:{port}/x?sslmode=disable");
        let start = Instant::now();
        let seen = checked(&format!("timeout = \"2s\"\n{}", table(&url, ""))).await;
        assert!(reasons(&seen).contains(word), "no {word}: {seen:#}");
        assert!(start.elapsed() < Duration::from_secs(30), "{word}");
        // The time that the run itself took, apart from that of the program's start.
        assert!(seen["latency_ms"].as_f64().unwrap() < 2100.0, "{seen:#}");
    };
    ask(endless_row, "does not speak as PostgreSQL does: a message of 2147483647 bytes").await;
    ask(endless_notices, "").await;
    ask(hashing, "too many rounds").await;
    ask(silent, "2s").await;
}
