//! The facts of the kind, as they are documented.

use crate::check::support::tls::CERT_DAYS_LEFT;
use crate::model::{FactSpec, FactType};

const fn double(name: &'static str, unit: &'static str, summary: &'static str) -> FactSpec {
    FactSpec::kept(name, FactType::Double, unit, summary)
}

const fn int(name: &'static str, unit: &'static str, summary: &'static str) -> FactSpec {
    FactSpec::kept(name, FactType::Int, unit, summary)
}

const fn map(name: &'static str, summary: &'static str) -> FactSpec {
    FactSpec::kept(name, FactType::Map, "", summary)
}

/// All of them. The group that a fact belongs to stands in brackets: see the option `facts`.
pub const FACTS: &[FactSpec] = &[
    double("connect_ms", "ms", "time to connect, shake hands and log in"),
    CERT_DAYS_LEFT,
    int("rows", "", "rows that the query gave, counted to 10,000"),
    FactSpec::kept(
        "value",
        FactType::Any,
        "",
        "the first column of the first row; absent without a row, a text is cut at 4 KiB",
    ),
    FactSpec::passing("row", FactType::Map, "the first row: each column by its name"),
    map("queries", "the value of each of `queries` by its name, as `value` is that of `query`"),
    map("query_rows", "how many rows each of `queries` gave, by name"),
    FactSpec::kept("query_ms", FactType::Map, "ms", "how long each of `queries` took, by name"),
    map(
        "unavailable",
        "why facts are absent, by their names: mostly a right that the role lacks; empty if it \
         sees all",
    ),
    FactSpec::kept("version", FactType::Text, "", "the version of the server, such as 15.14"),
    FactSpec::kept(
        "is_replica",
        FactType::Bool,
        "",
        "whether the server is in recovery: a standby",
    ),
    double("uptime_seconds", "s", "time since the server started"),
    // connections
    int("connections_used", "", "client connections, this check's own included [connections]"),
    int("connections_max", "", "max_connections [connections]"),
    double("connections_used_percent", "%", "client connections, of max_connections [connections]"),
    double(
        "connections_saturation_percent",
        "%",
        "client connections, of those that ordinary roles may have: max_connections without the \
         reserved ones; at 100 applications are refused [connections]",
    ),
    int("connections_active", "", "connections that run a query [connections]"),
    int("connections_idle", "", "connections that wait for a query [connections]"),
    int(
        "connections_idle_in_transaction",
        "",
        "connections that wait for their application inside a transaction [connections]",
    ),
    map(
        "connections_by_state",
        "connections: active, idle, idle_in_transaction, idle_in_transaction_aborted, \
         fastpath_function_call, disabled [connections]",
    ),
    map("connections_by_database", "client connections to each database [connections]"),
    // transactions
    double(
        "longest_transaction_seconds",
        "s",
        "age of the oldest open transaction of a client; 0 without one [transactions]",
    ),
    double(
        "longest_query_seconds",
        "s",
        "how long the longest running query of a client runs; 0 without one [transactions]",
    ),
    double(
        "longest_idle_in_transaction_seconds",
        "s",
        "how long a client has done nothing inside a transaction; 0 without one [transactions]",
    ),
    int("prepared_transactions", "", "transactions of two-phase commit [transactions]"),
    double(
        "oldest_prepared_seconds",
        "s",
        "age of the oldest prepared transaction; 0 without one [transactions]",
    ),
    // locks
    int("waiting_locks", "", "locks that somebody waits for [locks]"),
    double(
        "longest_lock_wait_seconds",
        "s",
        "how long somebody has waited for a lock; 0 if nobody waits; PostgreSQL 14 on [locks]",
    ),
    // activity
    int("deadlocks", "", "deadlocks since the last run; 0 in the first [activity]"),
    int("deadlocks_total", "", "deadlocks since the statistics began [activity]"),
    double(
        "cache_hit_percent",
        "%",
        "blocks that were found in shared buffers, since the last run that read any; in the first \
         run since the statistics began [activity]",
    ),
    double(
        "commits_per_second",
        "1/s",
        "since the last run; in the first run since the statistics began [activity]",
    ),
    double("rollbacks_per_second", "1/s", "transactions rolled back, likewise [activity]"),
    int(
        "temp_bytes",
        "B",
        "written to temporary files since the last run; 0 in the first [activity]",
    ),
    // replication
    double(
        "replication_lag_seconds",
        "s",
        "on a standby: 0 while it streams and has replayed all, else the age of the last \
         transaction that it replayed, absent before the first; on a primary: the worst that its \
         standbys report, 0 without any [replication]",
    ),
    int(
        "replication_lag_bytes",
        "B",
        "on a standby: WAL that it received and has not replayed; on a primary: WAL that its worst \
         standby has not replayed, 0 without any [replication]",
    ),
    FactSpec::kept(
        "replay_paused",
        FactType::Bool,
        "",
        "on a standby: whether somebody paused its replay [replication]",
    ),
    FactSpec::kept(
        "wal_receiver_status",
        FactType::Text,
        "",
        "on a standby: streaming, or what else its receiver does; none without one [replication]",
    ),
    double(
        "wal_receiver_silent_seconds",
        "s",
        "on a standby: time since it heard of its primary; absent without a receiver [replication]",
    ),
    int("standbys_connected", "", "standbys and other receivers of WAL [replication]"),
    map(
        "standbys",
        "each standby by its application_name: {state, sync_state, address, lag_bytes, \
         lag_seconds}; the 32 that are most behind [replication]",
    ),
    // slots
    map(
        "slots",
        "each replication slot by its name: {active, type, retained_bytes, lag_bytes, \
         wal_status}; lag is what its reader has not confirmed; the 32 that retain most [slots]",
    ),
    int("slots_inactive", "", "replication slots that nobody reads [slots]"),
    int("slots_lost", "", "slots whose WAL is gone; PostgreSQL 13 on [slots]"),
    int("slots_retained_bytes", "B", "WAL that the worst slot keeps from being removed [slots]"),
    // vacuum
    int("oldest_xid_age", "", "transactions since the oldest that is not frozen [vacuum]"),
    FactSpec::kept("oldest_xid_database", FactType::Text, "", "the database that has it [vacuum]"),
    double(
        "freeze_age_percent",
        "%",
        "that age, of autovacuum_freeze_max_age; over 100 autovacuum does not keep up [vacuum]",
    ),
    double(
        "wraparound_percent",
        "%",
        "that age, of the 2^31 at which the server refuses to write [vacuum]",
    ),
    double("multixact_wraparound_percent", "%", "the same of multixacts [vacuum]"),
    FactSpec::kept("autovacuum_on", FactType::Bool, "", "whether autovacuum runs at all [vacuum]"),
    int("autovacuum_workers", "", "autovacuum workers that run now [vacuum]"),
    int("autovacuum_workers_max", "", "autovacuum_max_workers [vacuum]"),
    // tables
    int(
        "tables_overdue_vacuum",
        "",
        "tables of this database with more dead rows than autovacuum lets stand [tables]",
    ),
    double(
        "oldest_vacuum_seconds",
        "s",
        "time since the vacuum that is longest ago, of this database's tables with dead rows; \
         absent without one [tables]",
    ),
    FactSpec::kept("oldest_vacuum_table", FactType::Text, "", "the table that has it [tables]"),
    // size
    int("database_size_bytes", "B", "size of this database on disk [size]"),
];
