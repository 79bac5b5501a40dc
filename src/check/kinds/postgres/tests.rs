use super::KIND;
use super::session::Columns;
use crate::check::Check;
use crate::check::testing::{
    Program, facts, free_port, number, observe, observe_until, parse, problems, stranger,
};
use crate::model::Fact;
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

const BIN: &str = "/usr/lib/postgresql/15/bin";

/// A PostgreSQL server of this test run.
struct Cluster {
    server: Program,
    port: u16,
    folder: tempfile::TempDir,
}

impl Cluster {
    /// Makes and starts a server with a role `postgres` (password `owner`) and a plain role
    /// `watch` (password `hunter2`), who may read the table `seen`.
    fn start() -> Self {
        let folder = folder();
        let data = folder.path().join("data");
        let words = folder.path().join("password");
        std::fs::write(&words, "owner").expect("write");
        // The file is root's own until here, and the server's user has to read it.
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&words));
        }
        run(as_postgres(&["initdb", "--no-sync", "-A", "scram-sha-256", "-D"], Path::new(BIN))
            .arg(&data)
            .arg("--pwfile")
            .arg(&words));
        let cluster = Self::serve(folder);
        cluster.sql("create role watch login password 'hunter2'");
        cluster.sql("create table seen (id int, who text, at jsonb)");
        cluster.sql("insert into seen values (1, 'ann', '{\"x\": [1]}'), (2, 'bob', null)");
        cluster.sql("grant select, insert on seen to watch");
        cluster
    }

    /// Starts a server on the data in `folder`, and waits until it answers.
    fn serve(folder: tempfile::TempDir) -> Self {
        let port = free_port();
        let mut command = as_postgres(&["postgres", "-D"], Path::new(BIN));
        command.arg(folder.path().join("data")).arg("-k").arg(folder.path());
        command.args(["-F", "-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
        let server = Program::start(&mut command, "QUIT");
        let cluster = Self { server, port, folder };
        for _ in 0..300 {
            let mut ready = Command::new(format!("{BIN}/pg_isready"));
            let ready = ready.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
            if ready.status().expect("pg_isready").success() {
                return cluster;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("the server did not start in time");
    }

    /// The one that tests share who do it no harm. It ends with the last of them.
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Self::start());
            *shared = Arc::downgrade(&cluster);
            cluster
        })
    }

    /// Runs `sql` as the owner.
    fn sql(&self, sql: &str) {
        run(Command::new("psql").args(["-qX", "-c", sql]).arg(self.url("postgres", "owner")));
    }

    fn url(&self, user: &str, password: &str) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/postgres", self.port)
    }

    /// A check of the role `watch` that asks `query`.
    fn check(&self, query: &str) -> Box<dyn Check> {
        check(&self.url("watch", "hunter2"), query)
    }
}

fn check(url: &str, query: &str) -> Box<dyn Check> {
    let table = format!("url = '{url}'\nquery = '''{query}'''\nread_only = false");
    parse(&KIND, &table).expect("valid")
}

/// A folder that the user `postgres` may write to.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("folder");
    if is_root() {
        run(Command::new("chown").arg("postgres").arg(folder.path()));
    }
    folder
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id");
    id.stdout == b"0\n"
}

/// A command that runs as `postgres`, since the server refuses to run as root.
fn as_postgres(words: &[&str], bin: &Path) -> Command {
    let program = bin.join(words[0]);
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.args(&words[1..]).current_dir("/");
    command
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

#[test]
fn problems_of_the_table_are_all_told_without_the_password() {
    let found = problems(&KIND, "url = 'postgres://a:pw@h/db?sslmode=perhaps'\nquery = ' ; '");
    insta::assert_snapshot!(found, @"
    a.toml:1:7: url: is not usable: there is no sslmode `perhaps` (disable, prefer, require, verify-ca, verify-full)
    a.toml:2:9: query: is empty
    ");
    insta::assert_snapshot!(problems(&KIND, "url = 'mysql://a:pw@h/db'"), @"a.toml:1:7: url: `mysql://` is not supported here (use postgres:// or postgresql://)");
    insta::assert_snapshot!(problems(&KIND, ""), @"a.toml:1:1: url: is missing");
    let found = problems(&KIND, "url = 'postgres://a:pw@h/db?channel_binding=require'");
    insta::assert_snapshot!(found, @"a.toml:1:7: warning: url: the parameter `channel_binding` is ignored (the check's own `timeout` bounds each run)");
}

#[test]
fn the_password_shows_in_no_debug_output() {
    let check = check("postgres://watch:hunter2@db.example/orders", "select 1");
    assert_eq!(format!("{check:?}"), "Postgres { target: \"db.example:5432\", .. }");
}

#[test]
fn columns_keep_their_order_and_their_doubles() {
    let columns: Columns = serde_json::from_str(r#"{"b":1,"a":2,"b":3}"#).expect("row");
    let expected = [("b", json!(1)), ("a", json!(2)), ("b", json!(3))];
    assert_eq!(columns, Columns(expected.map(|(name, value)| (name.to_owned(), value)).into()));
}

#[tokio::test]
async fn a_plain_role_sees_what_the_server_says_of_itself() {
    let cluster = Cluster::shared();
    let facts = facts(&*cluster.check("select 1")).await;
    assert_eq!(facts.get("rows"), Some(&Fact::Int(1)));
    assert_eq!(facts.get("value"), Some(&Fact::Int(1)));
    assert_eq!(facts.get("is_replica"), Some(&Fact::Bool(false)));
    assert_eq!(number(&facts, "replication_lag_seconds"), 0.0);
    let used = number(&facts, "connections_used_percent");
    assert!((1.0..50.0).contains(&used), "{used}");
    assert!(number(&facts, "connect_ms") > 0.0);
}

#[tokio::test]
async fn several_columns_become_a_row_and_the_first_the_value() {
    let cluster = Cluster::shared();
    let facts = facts(&*cluster.check("select who, id, at, 1.5 as n from seen order by id;")).await;
    assert_eq!(facts.get("rows"), Some(&Fact::Int(2)));
    assert_eq!(facts.get("value"), Some(&Fact::from("ann")));
    let row = json!({"who": "ann", "id": 1, "at": {"x": [1]}, "n": 1.5});
    assert_eq!(facts.get("row"), Some(&Fact::from(row)));
}

#[tokio::test]
async fn the_shape_of_a_query_does_not_matter() {
    let cluster = Cluster::shared();
    for (query, rows, value) in [
        ("select 1 -- the end", 1, json!(1)),
        ("select 7, 8", 1, json!(7)),
        ("select 5 as watchbell_query", 1, json!(5)),
        ("select null", 1, json!(null)),
        ("select generate_series(3, 20000)", 10_000, json!(3)),
        ("with a as (select 2 as x) select x from a", 1, json!(2)),
        ("show max_connections", 1, json!("100")),
        ("insert into seen values (9, 'eve') returning id", 1, json!(9)),
        ("with d as (insert into seen values (8) returning id) select id from d", 1, json!(8)),
        ("explain (format json) select 1", 1, json!(null)),
    ] {
        let check = cluster.check(query);
        // The second run takes the shorter way where the first had to try.
        for _ in 0..2 {
            let facts = facts(&*check).await;
            assert_eq!(facts.get("rows"), Some(&Fact::Int(rows)), "{query}");
            if !query.starts_with("explain") {
                assert_eq!(facts.get("value").map(Fact::to_json), Some(value.clone()), "{query}");
            }
        }
    }
    let facts = facts(&*cluster.check("select 1 where false")).await;
    assert_eq!((facts.get("rows"), facts.get("value")), (Some(&Fact::Int(0)), None));
    let written = observe(&*cluster.check("select 1 from seen where id = 9")).await;
    assert_eq!(written.facts.get("rows"), Some(&Fact::Int(2)), "what a query writes stays");
}

#[tokio::test]
async fn an_endless_answer_that_cannot_be_limited_is_cut() {
    let cluster = Cluster::shared();
    cluster.sql(
        "create function many() returns setof int language sql as \
                 'select * from generate_series(1, 300000)'",
    );
    let facts = facts(&*cluster.check(
        "with a as (insert into seen values (8)) \
                                       select * from many()",
    ))
    .await;
    assert_eq!(facts.get("rows"), Some(&Fact::Int(10_000)));
}

#[tokio::test]
async fn a_wrong_password_is_said_and_not_shown() {
    let cluster = Cluster::shared();
    let seen = observe(&*check(&cluster.url("watch", "sesame"), "select 1")).await;
    let error = seen.error.expect("an error");
    assert_eq!(error, "authentication failed: password authentication failed for user \"watch\"");
}

#[tokio::test]
async fn a_password_that_the_server_quotes_is_hidden() {
    let cluster = Cluster::shared();
    let seen = observe(&*cluster.check("select 'hunter2'::int")).await;
    let error = seen.error.expect("an error");
    assert_eq!(
        error,
        "the server answered error 22P02: invalid input syntax for type integer: \"[secret]\""
    );
}

#[tokio::test]
async fn a_revoked_right_is_permission_denied_in_the_servers_words() {
    let cluster = Cluster::shared();
    cluster.sql("create table secret_plans (id int); grant select on secret_plans to watch");
    let check = cluster.check("select count(*) from secret_plans");
    assert_eq!(facts(&*check).await.get("value"), Some(&Fact::Int(0)));
    cluster.sql("revoke select on secret_plans from watch");
    let seen = observe(&*check).await;
    assert_eq!(
        seen.error.as_deref(),
        Some("permission denied: permission denied for table secret_plans")
    );
    assert!(seen.facts.get("is_replica").is_some(), "what was found before stays");
}

#[tokio::test]
async fn what_a_role_may_not_see_is_absent_and_no_failure() {
    let cluster = Cluster::start();
    cluster.sql("revoke execute on function pg_stat_get_activity from public");
    cluster.sql("revoke select on pg_stat_activity from public");
    let facts = facts(&*cluster.check("select 1")).await;
    assert_eq!(facts.get("connections_used_percent"), None);
    assert_eq!(facts.get("is_replica"), Some(&Fact::Bool(false)));
    assert_eq!(facts.get("value"), Some(&Fact::Int(1)));
}

#[tokio::test]
async fn a_wrong_query_is_told_in_the_servers_words() {
    let cluster = Cluster::shared();
    let seen = observe(&*cluster.check("selec 1")).await;
    assert_eq!(
        seen.error.as_deref(),
        Some("the server answered error 42601: syntax error at or near \"selec\"")
    );
}

#[tokio::test]
async fn a_query_that_runs_too_long_is_ended_by_the_server_too() {
    let cluster = Cluster::shared();
    let check = cluster.check("select 'slow' from pg_sleep(60)");
    let run = crate::check::Run {
        timeout: std::time::Duration::from_millis(300),
        ..crate::check::testing::run()
    };
    let seen = check.run(&run).await;
    assert_eq!(
        seen.error.as_deref(),
        Some("timeout: canceling statement due to statement timeout")
    );
}

#[tokio::test]
async fn a_stopped_server_refuses_and_a_missing_one_too() {
    let mut cluster = Cluster::start();
    let check = cluster.check("select 1");
    facts(&*check).await;
    cluster.server.stop();
    let seen = observe(&*check).await;
    let port = cluster.port;
    assert_eq!(
        seen.error,
        Some(format!("connection refused by 127.0.0.1:{port}: no server listens there"))
    );
    let again = Cluster::serve(cluster.folder);
    facts(&*again.check("select 1")).await;
}

#[tokio::test]
async fn a_server_of_another_kind_is_told_apart() {
    let address = stranger().await;
    let seen = observe(&*check(&format!("postgres://a:pw@{address}/a"), "select 1")).await;
    let error = seen.error.expect("an error");
    assert!(error.contains("does not speak as PostgreSQL does"), "{error}");
}

#[tokio::test]
async fn a_standby_tells_how_far_it_is_behind() {
    let mut primary = Cluster::start();
    let folder = folder();
    run(as_postgres(&["pg_basebackup", "-R", "--no-sync", "-X", "stream"], Path::new(BIN))
        .args(["-c", "fast", "-d", &primary.url("postgres", "owner"), "-D"])
        .arg(folder.path().join("data")));
    let standby = Cluster::serve(folder);
    let check = standby.check("select 1");
    let seen = observe_until(&*check, |seen| {
        seen.facts.get("replication_lag_seconds") == Some(&Fact::Double(0.0))
    })
    .await;
    assert_eq!(seen.facts.get("is_replica"), Some(&Fact::Bool(true)));

    // Without its primary nobody knows what it misses: it is as old as what it replayed last.
    primary.sql("insert into seen values (3)");
    primary.server.stop();
    observe_until(&*check, |seen| {
        seen.facts
            .get("replication_lag_seconds")
            .and_then(Fact::as_number)
            .is_some_and(|lag| lag > 0.0)
    })
    .await;
}

#[test]
fn problems_of_queries_and_groups_are_told_at_their_places() {
    let table = "url = 'postgres://a@h'\nfacts = ['locks', 'lock']\n[queries]\nOne = 'select 1'\n\
                 two = 2\nthree = ' '\nfour = 'select 4'";
    insta::assert_snapshot!(problems(&KIND, table), @"
    a.toml:2:9: facts: there is no group `lock` (the groups are connections, transactions, locks, activity, replication, slots, vacuum, tables, size)
    a.toml:4:1: queries.One: is no name for a condition: use small letters, digits and _
    a.toml:5:7: queries.two: must be a query in quotes, not integer
    a.toml:6:9: queries.three: is empty
    ");
}
