//! What INFO says.
//!
//! See <https://redis.io/docs/latest/commands/info/>; other servers leave lines out.

use crate::check::support::value::excerpt;
use crate::model::Facts;
use serde_json::{Map, Value as Json, json};
use std::collections::HashMap;
use std::time::Duration;

/// How much of a word of the server's is kept.
const MOST_WORDS: usize = 100;

/// More replicas are not looked at.
const MOST_REPLICAS: usize = 64;

/// The lines `name:value` of INFO.
#[derive(Debug)]
pub struct Info<'a>(HashMap<&'a str, &'a str>);

/// What one check remembers of INFO from run to run.
#[derive(Debug, Default)]
pub struct Memory {
    last: Option<Last>,
    hits_percent: Option<f64>,
}

#[derive(Debug)]
struct Last {
    at: Duration,
    /// Another one is another server, or the same after a restart: it counts from 0.
    run_id: String,
    evicted: i64,
    expired: i64,
    hits: i64,
    misses: i64,
}

impl<'a> Info<'a> {
    /// Reads an answer.
    pub fn read(text: &'a str) -> Self {
        Self(text.lines().filter_map(|line| line.trim_end().split_once(':')).collect())
    }

    /// A line.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied()
    }

    /// A line that is a whole number.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// The memory in use, of what there may be.
    pub fn memory_used_percent(&self) -> Option<f64> {
        let limit = ["maxmemory", "total_system_memory"]
            .into_iter()
            .find_map(|name| self.int(name).filter(|bytes| *bytes > 0))?;
        Some(self.int("used_memory")? as f64 * 100.0 / limit as f64)
    }

    /// The replicas of a master, one a line:
    /// `slave0:ip=…,port=…,state=online,offset=…,lag=…`.
    fn replicas(&self) -> Vec<HashMap<&'a str, &'a str>> {
        let lines = self.0.iter().filter(|(name, _)| {
            name.strip_prefix("slave").is_some_and(|rest| rest.parse::<u32>().is_ok())
        });
        lines.map(|(_, line)| fields(line)).collect()
    }
}

fn fields(line: &str) -> HashMap<&str, &str> {
    line.split(',').filter_map(|field| field.split_once('=')).collect()
}

/// Puts what INFO says among `facts`; `wall` is now, in seconds since 1970.
pub fn note(info: &Info<'_>, database: u32, wall: i64, facts: &mut Facts) {
    for name in ["valkey_version", "dragonfly_version", "redis_version"] {
        if let Some(version) = info.text(name) {
            facts.set("version", excerpt(version, MOST_WORDS));
            break;
        }
    }
    if let Some(role) = info.text("role") {
        facts.set("role", excerpt(role, MOST_WORDS));
    }
    for (fact, name) in [
        ("uptime_seconds", "uptime_in_seconds"),
        ("memory_used_bytes", "used_memory"),
        ("memory_rss_bytes", "used_memory_rss"),
        ("ops_per_second", "instantaneous_ops_per_sec"),
        ("connected_clients", "connected_clients"),
        ("clients_max", "maxclients"),
        ("blocked_clients", "blocked_clients"),
        ("rejected_connections", "rejected_connections"),
        ("evicted_keys", "evicted_keys"),
        ("expired_keys", "expired_keys"),
        ("connected_replicas", "connected_slaves"),
        ("changes_since_save", "rdb_changes_since_last_save"),
    ] {
        if let Some(number) = info.int(name) {
            facts.set(fact, number);
        }
    }
    for (fact, name, yes) in [
        ("loading", "loading", "1"),
        ("last_save_ok", "rdb_last_bgsave_status", "ok"),
        ("aof_enabled", "aof_enabled", "1"),
        ("master_link_up", "master_link_status", "up"),
        ("master_sync_in_progress", "master_sync_in_progress", "1"),
    ] {
        if let Some(text) = info.text(name) {
            facts.set(fact, text == yes);
        }
    }
    if let Some(limit) = info.int("maxmemory").filter(|bytes| *bytes > 0) {
        facts.set("memory_max_bytes", limit);
    }
    if let Some(percent) = info.memory_used_percent() {
        facts.set("memory_used_percent", percent);
    }
    let ratio = info.text("mem_fragmentation_ratio").and_then(|text| text.parse::<f64>().ok());
    if let Some(ratio) = ratio {
        facts.set("memory_fragmentation_ratio", ratio);
    }
    if let (Some(clients), Some(most)) = (info.int("connected_clients"), info.int("maxclients"))
        && most > 0
    {
        facts.set("clients_used_percent", clients as f64 * 100.0 / most as f64);
    }
    if let (Some(hits), Some(misses)) = (info.int("keyspace_hits"), info.int("keyspace_misses"))
        && hits + misses > 0
    {
        facts.set("keyspace_hits_percent", hits as f64 * 100.0 / (hits + misses) as f64);
    }
    if let Some(saved) = info.int("rdb_last_save_time").filter(|at| *at > 0) {
        facts.set("last_save_age_seconds", (wall - saved).max(0));
    }
    if let (Some(write), Some(rewrite)) =
        (info.text("aof_last_write_status"), info.text("aof_last_bgrewrite_status"))
    {
        facts.set("aof_ok", write == "ok" && rewrite == "ok");
    }
    // A database without keys has no line; a server that says nothing of keys has a version, too.
    if info.text("redis_version").is_some() {
        let line = info.text(&format!("db{database}")).map(fields).unwrap_or_default();
        for (fact, name) in [("keys", "keys"), ("keys_expiring", "expires")] {
            let number = line.get(name).and_then(|text| text.parse::<i64>().ok());
            facts.set(fact, number.unwrap_or(0));
        }
    }
    note_replication(info, facts);
}

fn note_replication(info: &Info<'_>, facts: &mut Facts) {
    let silence = info.int("master_last_io_seconds_ago").filter(|seconds| *seconds >= 0);
    if let Some(seconds) = silence {
        facts.set("master_last_io_seconds", seconds);
    }
    let lost = info.int("master_link_down_since_seconds").filter(|seconds| *seconds >= 0);
    if let Some(seconds) = lost {
        facts.set("master_link_down_seconds", seconds);
    }
    if info.text("role") != Some("master") {
        if let Some(seconds) = lost.or(silence) {
            facts.set("replication_lag_seconds", seconds);
        }
        // A replica that lost its master cannot know what it misses.
        if info.text("master_link_status") == Some("up")
            && let Some(applied) = info.int("slave_repl_offset")
            && let Some(received) =
                info.int("slave_read_repl_offset").max(info.int("master_repl_offset"))
        {
            facts.set("replication_lag_bytes", (received - applied).max(0));
        }
        return;
    }
    let here = info.int("master_repl_offset");
    let mut replicas = Map::new();
    let (mut bytes, mut seconds) = (Vec::new(), Vec::new());
    for line in info.replicas().into_iter().take(MOST_REPLICAS) {
        let part = |name: &str| line.get(name).copied();
        let number = |name: &str| part(name).and_then(|text| text.parse::<i64>().ok());
        let behind = here.zip(number("offset")).map(|(here, there)| (here - there).max(0));
        let late = number("lag").filter(|seconds| *seconds >= 0);
        bytes.extend(behind);
        seconds.extend(late);
        let Some((ip, port)) = part("ip").zip(part("port")) else { continue };
        let state = part("state").map(|state| excerpt(state, MOST_WORDS));
        let said = json!({"state": state, "lag_bytes": behind, "lag_seconds": late});
        replicas.insert(excerpt(&format!("{ip}:{port}"), MOST_WORDS), said);
    }
    if info.int("connected_slaves") == Some(0) {
        facts.set("replication_lag_bytes", 0);
        facts.set("replication_lag_seconds", 0);
    }
    for (fact, numbers) in [("replication_lag_bytes", bytes), ("replication_lag_seconds", seconds)]
    {
        if let Some(worst) = numbers.into_iter().max() {
            facts.set(fact, worst);
        }
    }
    facts.set("replicas", Json::Object(replicas));
}

/// Puts what happened since the last run among `facts`.
pub fn note_since(info: &Info<'_>, memory: &mut Memory, now: Duration, facts: &mut Facts) {
    let Some(evicted) = info.int("evicted_keys") else { return };
    let of = |name| info.int(name).unwrap_or(0);
    let this = Last {
        at: now,
        run_id: info.text("run_id").unwrap_or_default().to_owned(),
        evicted,
        expired: of("expired_keys"),
        hits: of("keyspace_hits"),
        misses: of("keyspace_misses"),
    };
    let grown = |last: &Last| {
        last.run_id == this.run_id && last.evicted <= this.evicted && last.hits <= this.hits
    };
    let start = Last {
        at: now.saturating_sub(Duration::from_secs(of("uptime_in_seconds").unsigned_abs())),
        run_id: String::new(),
        evicted: 0,
        expired: 0,
        hits: 0,
        misses: 0,
    };
    let last = memory.last.take().filter(grown).unwrap_or_else(|| {
        memory.hits_percent = None;
        start
    });
    let minutes = now.saturating_sub(last.at).as_secs_f64() / 60.0;
    let rate = |now: i64, then: i64| {
        if minutes > 0.0 { (now - then).max(0) as f64 / minutes } else { 0.0 }
    };
    facts.set("evicted_per_minute", rate(this.evicted, last.evicted));
    facts.set("expired_per_minute", rate(this.expired, last.expired));
    let (hits, misses) = (this.hits - last.hits, (this.misses - last.misses).max(0));
    if hits + misses > 0 {
        memory.hits_percent = Some(hits as f64 * 100.0 / (hits + misses) as f64);
    }
    if let Some(percent) = memory.hits_percent {
        facts.set("keyspace_hits_recent_percent", percent);
    }
    memory.last = Some(this);
}
