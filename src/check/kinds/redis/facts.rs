//! The facts of the kind, as they are documented.

use crate::check::support::tls::CERT_DAYS_LEFT;
use crate::model::{FactSpec, FactType};

const fn double(name: &'static str, unit: &'static str, summary: &'static str) -> FactSpec {
    FactSpec::kept(name, FactType::Double, unit, summary)
}

const fn int(name: &'static str, unit: &'static str, summary: &'static str) -> FactSpec {
    FactSpec::kept(name, FactType::Int, unit, summary)
}

const fn text(name: &'static str, summary: &'static str) -> FactSpec {
    FactSpec::kept(name, FactType::Text, "", summary)
}

const fn yes_no(name: &'static str, summary: &'static str) -> FactSpec {
    FactSpec::kept(name, FactType::Bool, "", summary)
}

const fn map(name: &'static str, summary: &'static str) -> FactSpec {
    FactSpec::kept(name, FactType::Map, "", summary)
}

/// All of them. What a server does not say is absent: DragonflyDB and old versions say less.
pub const FACTS: &[FactSpec] = &[
    double("ping_ms", "ms", "time from PING to PONG"),
    CERT_DAYS_LEFT,
    FactSpec::kept(
        "value",
        FactType::Any,
        "",
        "what `command` answered; texts stay texts (\"5\"), and are cut at 4 KiB",
    ),
    map(
        "unavailable",
        "commands that the user may not run or the server does not know, and why: their facts are \
         absent; empty if all went well",
    ),
    text("role", "master or slave, in the server's own word (DragonflyDB says replica)"),
    text("version", "the version of the server"),
    int("uptime_seconds", "s", "time since the server started"),
    yes_no("loading", "whether the server still reads its data from disk"),
    // Memory.
    int("memory_used_bytes", "B", "memory of the data set"),
    int("memory_max_bytes", "B", "maxmemory; absent without a limit"),
    double(
        "memory_used_percent",
        "%",
        "memory of the data set, of maxmemory; of the machine's memory where that has no limit",
    ),
    int("memory_rss_bytes", "B", "memory that the operating system gave to the server"),
    double(
        "memory_fragmentation_ratio",
        "",
        "that, by the memory of the data set; well above 1.5 is waste, below 1 is swapped out",
    ),
    // Keys.
    int("keys", "", "keys of the database of `url`"),
    int("keys_expiring", "", "those of them that expire"),
    int("evicted_keys", "", "keys dropped over maxmemory, since the start"),
    double(
        "evicted_per_minute",
        "1/min",
        "the same since the last run; in the first run the average since the start",
    ),
    int("expired_keys", "", "keys that ended by their time to live, since the start"),
    double("expired_per_minute", "1/min", "the same since the last run, as evicted_per_minute"),
    double(
        "keyspace_hits_percent",
        "%",
        "lookups that found their key, since the start; absent before the first lookup",
    ),
    double(
        "keyspace_hits_recent_percent",
        "%",
        "the same since the last run; where nothing was looked up, as it was then",
    ),
    // Work and clients.
    int("ops_per_second", "1/s", "commands per second, as the server measures them"),
    int("connected_clients", "", "clients, without replicas"),
    int("clients_max", "", "maxclients"),
    double("clients_used_percent", "%", "clients, of maxclients; at 100 more are refused"),
    int("blocked_clients", "", "clients that wait in a call such as BLPOP"),
    int("rejected_connections", "", "connections refused over maxclients since the start"),
    // Persistence.
    int("last_save_age_seconds", "s", "time since the last RDB file; at first since the start"),
    yes_no("last_save_ok", "whether the last RDB file could be written"),
    int("changes_since_save", "", "changes that no RDB file holds yet"),
    yes_no("aof_enabled", "whether the server keeps an append-only file"),
    yes_no("aof_ok", "whether the last write and rewrite of that succeeded"),
    // Replication.
    int("connected_replicas", "", "replicas of this server"),
    map("replicas", "on a master: each replica by its address: {state, lag_bytes, lag_seconds}"),
    int(
        "replication_lag_bytes",
        "B",
        "on a master: how far the worst of its replicas is behind, 0 without one; on a replica: \
         what it received and has not applied, absent while its master is away",
    ),
    int(
        "replication_lag_seconds",
        "s",
        "on a master: since the quietest of its replicas spoke, 0 without one; on a replica: since \
         it heard of its master, or since it lost it",
    ),
    yes_no("master_link_up", "on a replica: whether it has its master"),
    int(
        "master_last_io_seconds",
        "s",
        "on a replica: time since it heard of its master; absent while that is away",
    ),
    int("master_link_down_seconds", "s", "on a replica: time since it lost its master"),
    yes_no("master_sync_in_progress", "on a replica: whether it copies all data of its master"),
    // `key`.
    yes_no("key_exists", "whether `key` is there"),
    text("key_type", "what it is: string, list, set, zset, hash, stream; absent without the key"),
    int("key_length", "", "its elements; the bytes of a string; 0 without the key"),
    double("key_ttl_seconds", "s", "time until it expires; absent if it does not"),
    text("key_value", "the value of a string, cut at 4 KiB"),
    // `stream`.
    map(
        "streams",
        "each of `stream` by its name: {length, last_age_seconds, groups: {name: {lag, pending, \
         consumers, oldest_pending_seconds}}}",
    ),
    int("stream_length", "", "entries of the longest of the streams"),
    double("stream_last_age_seconds", "s", "age of the newest entry, of the stalest stream"),
    int("stream_lag", "", "entries that the worst consumer group has not read; Redis 7 on"),
    int("stream_pending", "", "entries that the worst group was given and has not acknowledged"),
    double("stream_oldest_pending_seconds", "s", "how long the worst of these has been idle"),
    int("stream_consumers", "", "consumers of the group that has fewest; absent without a group"),
    // `cluster`.
    text(
        "cluster_state",
        "with `cluster`: ok if all nodes that answer say so, else fail: slots are not served",
    ),
    int("slots_covered", "", "with `cluster`: slots that a master has, of 16384"),
    int("slots_ok", "", "with `cluster`: slots whose master is well"),
    int("slots_pfail", "", "with `cluster`: slots whose master does not answer the node of `url`"),
    int("slots_fail", "", "with `cluster`: slots whose master is known to be down"),
    int("cluster_masters", "", "with `cluster`: masters with slots that are not known to be down"),
    int("masters_without_replica", "", "with `cluster`: those of them that no replica stands by"),
    int("nodes_failed", "", "with `cluster`: nodes that the others hold for down"),
    int("nodes_unreachable", "", "with `cluster`: nodes that did not answer this check"),
    int(
        "nodes_disagreeing",
        "",
        "with `cluster`: nodes that see another cluster than most do: masters, slots, failures",
    ),
    map(
        "nodes",
        "with `cluster`: each node by its address: {role, reachable, state, health, slots, \
         ping_ms, memory_used_percent, error}; health is ok, pfail or fail, as the others see it; \
         64 of them, those in trouble first",
    ),
    // `sentinel`.
    text("sentinel_master", "with `sentinel`: where the master is, as most sentinels say"),
    text("sentinel_flags", "with `sentinel`: what they say of it, such as master,s_down,o_down"),
    yes_no("sentinel_quorum_ok", "with `sentinel`: whether they could fail over"),
    int("sentinel_quorum", "", "with `sentinel`: how many must agree that the master is down"),
    int("sentinels_known", "", "with `sentinel`: how many know of each other"),
    int("sentinels_reachable", "", "with `sentinel`: how many of `addresses` answered"),
    yes_no("sentinels_agree", "with `sentinel`: whether those name the same master"),
    yes_no("failover_in_progress", "with `sentinel`: whether they fail over right now"),
    int("sentinel_replicas", "", "with `sentinel`: replicas that they know of"),
    map(
        "sentinels",
        "with `sentinel`: each of `addresses`: {reachable, master, flags, quorum, error}",
    ),
];
