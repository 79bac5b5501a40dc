//! The statements that ask a server about itself.
//!
//! Each gives one row with one column: a JSON object whose keys are names of facts, or of what
//! facts are made of. Statements that depend on the version are given it as 150000 for 15.

/// What the server is, and whether the role sees all.
pub fn server() -> String {
    "select json_build_object(\
     'is_replica', pg_is_in_recovery(), \
     'version', split_part(current_setting('server_version'), ' ', 1), \
     'uptime_seconds', extract(epoch from clock_timestamp() - pg_postmaster_start_time()), \
     'sees_all', pg_has_role('pg_read_all_stats', 'usage'))"
        .to_owned()
}

/// Who is connected.
///
/// Other people's rows of `pg_stat_activity` hide their type from a plain role, but not their
/// database and user, which background workers lack.
pub fn connections() -> String {
    "with seen as (select state, coalesce(datname, '') as datname from pg_stat_activity \
     where datid is not null and usesysid is not null \
     and coalesce(backend_type, 'client backend') = 'client backend'), \
     counted as (select count(*) as used, \
     count(*) filter (where state = 'active') as active, \
     count(*) filter (where state = 'idle') as idle, \
     count(*) filter (where state = 'idle in transaction') as waiting, \
     count(*) filter (where state = 'idle in transaction (aborted)') as aborted, \
     count(*) filter (where state = 'fastpath function call') as fastpath, \
     count(*) filter (where state = 'disabled') as disabled, \
     current_setting('max_connections')::int as most, \
     current_setting('superuser_reserved_connections')::int \
     + coalesce(current_setting('reserved_connections', true)::int, 0) as reserved from seen) \
     select json_build_object(\
     'connections_used', used, \
     'connections_max', most, \
     'connections_used_percent', used * 100.0 / most, \
     'connections_saturation_percent', used * 100.0 / greatest(most - reserved, 1), \
     'connections_active', active, \
     'connections_idle', idle, \
     'connections_idle_in_transaction', waiting, \
     'connections_by_state', json_build_object('active', active, 'idle', idle, \
     'idle_in_transaction', waiting, 'idle_in_transaction_aborted', aborted, \
     'fastpath_function_call', fastpath, 'disabled', disabled), \
     'connections_by_database', (select json_object_agg(datname, n) from \
     (select datname, count(*) as n from seen group by 1 order by 2 desc limit 32) as most)) \
     from counted"
        .to_owned()
}

/// What clients have begun and not ended.
pub fn transactions() -> String {
    "select json_build_object(\
     'longest_transaction_seconds', \
     coalesce(extract(epoch from max(clock_timestamp() - xact_start)), 0), \
     'longest_query_seconds', coalesce(extract(epoch from max(clock_timestamp() - query_start) \
     filter (where state = 'active')), 0), \
     'longest_idle_in_transaction_seconds', \
     coalesce(extract(epoch from max(clock_timestamp() - state_change) \
     filter (where state like 'idle in transaction%')), 0), \
     'prepared_transactions', (select count(*) from pg_prepared_xacts), \
     'oldest_prepared_seconds', (select coalesce(extract(epoch from \
     max(clock_timestamp() - prepared)), 0) from pg_prepared_xacts)) \
     from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'"
        .to_owned()
}

/// Who waits for whom.
pub fn locks(version: u32) -> String {
    let longest = if version >= 140_000 {
        "coalesce(extract(epoch from max(clock_timestamp() - waitstart)), 0)"
    } else {
        "null"
    };
    format!(
        "select json_build_object('waiting_locks', count(*), \
         'longest_lock_wait_seconds', {longest}) from pg_locks where not granted"
    )
}

/// Counters of all databases.
pub fn activity() -> String {
    "select json_build_object(\
     'deadlocks_total', sum(deadlocks)::bigint, 'commits', sum(xact_commit)::bigint, \
     'rollbacks', sum(xact_rollback)::bigint, 'temp_bytes_total', sum(temp_bytes)::bigint, \
     'blocks_hit', sum(blks_hit)::bigint, 'blocks_read', sum(blks_read)::bigint, \
     'counted_seconds', extract(epoch from \
     clock_timestamp() - coalesce(max(stats_reset), pg_postmaster_start_time()))) \
     from pg_stat_database"
        .to_owned()
}

/// How far standbys are behind, from both ends.
///
/// A standby that has replayed all that it received is behind nothing only while it still
/// receives. A standby that says nothing of its lag has none that it knows of.
pub fn replication() -> String {
    "with here as (select pg_is_in_recovery() as standby, \
     case when pg_is_in_recovery() \
     then coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) \
     else pg_current_wal_lsn() end as lsn), \
     others as (select *, pg_wal_lsn_diff((select lsn from here), replay_lsn) as behind, \
     case when replay_lsn = (select lsn from here) then 0 \
     else extract(epoch from replay_lag) end as late from pg_stat_replication) \
     select json_build_object(\
     'replication_lag_seconds', case when not standby \
     then (select coalesce(max(late), 0) from others) \
     when lsn = pg_last_wal_replay_lsn() and exists (select from pg_stat_wal_receiver) then 0 \
     when pg_last_xact_replay_timestamp() is not null then greatest(0, \
     extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())) end, \
     'replication_lag_bytes', case when standby \
     then greatest(0, pg_wal_lsn_diff(lsn, pg_last_wal_replay_lsn())) \
     else (select coalesce(greatest(0, max(behind)), 0) from others) end, \
     'replay_paused', case when standby then pg_is_wal_replay_paused() end, \
     'wal_receiver_status', case when standby \
     then coalesce((select status from pg_stat_wal_receiver), 'none') end, \
     'wal_receiver_silent_seconds', (select extract(epoch from \
     clock_timestamp() - last_msg_receipt_time) from pg_stat_wal_receiver), \
     'standbys_connected', (select count(*) from others), \
     'standbys', (select coalesce(json_object_agg(name, json_build_object('state', state, \
     'sync_state', sync_state, 'address', host(client_addr), 'lag_bytes', behind, \
     'lag_seconds', coalesce(late, 0))), '{}') from (select *, \
     application_name || case when row_number() over (partition by application_name \
     order by pid) > 1 then ' (' || pid || ')' else '' end as name from others \
     where application_name is not null order by behind desc nulls last limit 32) as worst)) \
     from here"
        .to_owned()
}

/// What replication slots keep.
pub fn slots(version: u32) -> String {
    let (status, lost) = if version >= 130_000 {
        ("wal_status", "count(*) filter (where wal_status = 'lost')")
    } else {
        ("null", "null")
    };
    format!(
        "with here as (select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() \
         else pg_current_wal_lsn() end as lsn), \
         known as (select *, greatest(0, pg_wal_lsn_diff(lsn, restart_lsn)) as retained, \
         greatest(0, pg_wal_lsn_diff(lsn, coalesce(confirmed_flush_lsn, restart_lsn))) as behind \
         from pg_replication_slots, here) \
         select json_build_object(\
         'slots', (select coalesce(json_object_agg(slot_name, json_build_object(\
         'active', active, 'type', slot_type, 'retained_bytes', retained, 'lag_bytes', behind, \
         'wal_status', {status})), '{{}}') \
         from (select * from known order by retained desc nulls last limit 32) as worst), \
         'slots_inactive', count(*) filter (where not active), \
         'slots_lost', {lost}, \
         'slots_retained_bytes', coalesce(max(retained), 0)) from known"
    )
}

/// How far wraparound is, over all databases.
pub fn vacuum() -> String {
    "with ages as (select datname, age(datfrozenxid) as age, mxid_age(datminmxid) as multi \
     from pg_database) \
     select json_build_object(\
     'oldest_xid_age', max(age), \
     'oldest_xid_database', (select datname from ages order by age desc limit 1), \
     'freeze_age_percent', max(age) * 100.0 / current_setting('autovacuum_freeze_max_age')::int, \
     'wraparound_percent', max(age) * 100.0 / 2147483648, \
     'multixact_wraparound_percent', max(multi) * 100.0 / 2147483648, \
     'autovacuum_on', current_setting('autovacuum')::bool, \
     'autovacuum_workers', (select count(*) from pg_stat_activity \
     where backend_type = 'autovacuum worker'), \
     'autovacuum_workers_max', current_setting('autovacuum_max_workers')::int) from ages"
        .to_owned()
}

/// Which tables wait for a vacuum.
///
/// The threshold is the one of autovacuum, see
/// <https://www.postgresql.org/docs/current/routine-vacuuming.html#AUTOVACUUM>; settings of single
/// tables are not looked at.
pub fn tables() -> String {
    "with tables as (select schemaname || '.' || relname as name, \
     greatest(last_vacuum, last_autovacuum) as last, n_dead_tup > 0 as dirty, \
     n_dead_tup > current_setting('autovacuum_vacuum_threshold')::float8 \
     + current_setting('autovacuum_vacuum_scale_factor')::float8 * n_live_tup as overdue \
     from pg_stat_user_tables) \
     select json_build_object(\
     'tables_overdue_vacuum', count(*) filter (where overdue), \
     'oldest_vacuum_seconds', extract(epoch from clock_timestamp() - min(last) \
     filter (where dirty)), \
     'oldest_vacuum_table', (select name from tables where dirty and last is not null \
     order by last limit 1)) from tables"
        .to_owned()
}

/// How large the database is.
pub fn size() -> String {
    "select json_build_object('database_size_bytes', pg_database_size(current_database()))"
        .to_owned()
}
