//! What may befall a store while it seals: a kill, a full disk, a damaged page. Checks and alerts go
//! on, and history has each result once.

use crate::harness::{
    Daemon, PATIENCE, Postgres, Setup, Signal, SmallDisk, Target, Webhook, eventually,
};
use chrono_tz::Tz;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use watchbell::config::StoreAddress;
use watchbell::model::{Name, RunResult, Secret, Status, Timestamp};
use watchbell::record::archive::rollup::Level;
use watchbell::record::{self, Batch, Page, Part, Store};

/// How often the daemon is killed at most.
const KILLS: usize = 20;

/// A database that others look into while a daemon uses it.
enum Place {
    Sqlite(PathBuf),
    Postgres(String),
}

impl Place {
    /// As configuration names it.
    fn history(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("store = \"sqlite:{}\"", path.display()),
            Self::Postgres(url) => format!("store = \"{url}\""),
        }
    }

    async fn open(&self) -> std::sync::Arc<dyn Store> {
        let address = match self {
            Self::Sqlite(path) => StoreAddress::Sqlite(path.clone()),
            Self::Postgres(url) => StoreAddress::Postgres(Secret::new(url.clone())),
        };
        // PostgreSQL takes a moment to notice that a client was killed.
        eventually("the store to open", PATIENCE, async || record::open(&address).await.ok()).await
    }

    async fn number(&self, sql: &str) -> Result<i64, sqlx::Error> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(path) => {
                let url = format!("sqlite:{}", path.display());
                let mut connection = SqliteConnection::connect(&url).await?;
                let number = sqlx::query_scalar(sql).fetch_one(&mut connection).await;
                connection.close().await?;
                number
            }
            Self::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await?;
                sqlx::query_scalar(sql).fetch_one(&mut connection).await
            }
        }
    }

    /// How many results of `old-…` checks stand in rows, and in blocks.
    async fn old(&self) -> (i64, i64) {
        let of = "check_id IN (SELECT id FROM checks WHERE name LIKE 'old-%')";
        let rows = format!("SELECT count(*) FROM results WHERE {of}");
        let sealed =
            format!("SELECT COALESCE(CAST(SUM(results) AS BIGINT), 0) FROM blocks WHERE {of}");
        // Rows first: what is sealed in between shows twice and not never.
        (self.number(&rows).await.unwrap(), self.number(&sealed).await.unwrap())
    }
}

/// Results of some checks that nobody runs any more, old enough to be sealed.
struct Old {
    checks: i64,
    each: i64,
    from: i64,
}

impl Old {
    /// Writes them.
    async fn write(place: &Place, checks: i64, each: i64) -> Self {
        let now = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now());
        let old = Self { checks, each, from: now.timestamp_millis() - 7 * 86_400_000 };
        let store = place.open().await;
        for number in 0..checks {
            let results = (0..each).map(|run| old.result(number, run)).collect();
            store.commit(&Batch { results, ..Batch::default() }).await.unwrap();
        }
        store.close().await;
        old
    }

    fn name(number: i64) -> Name {
        format!("old-{number}").into()
    }

    fn total(&self) -> i64 {
        self.checks * self.each
    }

    fn result(&self, number: i64, run: i64) -> RunResult {
        let latency = 10.0 + (run * 37 % 101) as f64 / 4.0;
        RunResult {
            check: Self::name(number),
            at: Timestamp::from_millis(self.from + run * 60_000 + number),
            status: if run % 97 == 0 { Status::Down } else { Status::Up },
            latency_ms: latency,
            reasons: if run % 97 == 0 { vec!["refused".to_owned()] } else { Vec::new() },
            facts: json!({ "status": 200, "first_byte_ms": latency / 2.0 }),
            stands_for: Duration::from_secs(90),
            maintenance: false,
        }
    }

    /// Whether a check has each of its results once, in the lists and in the roll-ups.
    async fn is_whole(&self, store: &dyn Store, number: i64) {
        let name = Self::name(number);
        let mut page = Page { limit: 1000, cursor: None };
        let mut run = self.each;
        loop {
            let found = store.results(&name, &page).await.unwrap();
            for result in found.items {
                run -= 1;
                let expected = self.result(number, run);
                assert_eq!(format!("{result:?}"), format!("{expected:?}"));
            }
            match found.next {
                Some(next) => page.cursor = Some(next),
                None => break,
            }
        }
        assert_eq!(run, 0, "results of {name} are missing");
        let from = Timestamp::from_millis(self.from - 86_400_000);
        let to = from.after(Duration::from_secs(9 * 86_400));
        let parts = Level::ALL.map(|level| Part { level, from, to });
        for rollups in store.rollups(&name, &parts, Tz::UTC).await.unwrap() {
            let runs: u64 = rollups.values().map(|rollup| rollup.tally.all_runs()).sum();
            assert_eq!(runs, self.each.unsigned_abs(), "{name}");
        }
    }
}

/// A daemon over that history with one check of its own.
fn setup(place: &Place, target: &Target, webhook: &Webhook) -> Setup {
    Setup::new()
        .history(&place.history())
        .tables(&webhook.channel("ops", "rate_limit = \"10000/h\"\ncooldown = \"0s\""))
        .checks("shop.toml", &target.check("shop", "confirm_after = 1\nflapping = false"))
}

/// An outage is told, and its end.
async fn alerts_go_out(daemon: &Daemon, target: &Target, webhook: &Webhook) {
    let before = webhook.inbox.messages().len();
    target.answer(500);
    webhook.inbox.wait_for(before, &["DOWN shop"]).await;
    target.answer(200);
    webhook.inbox.wait_for(before, &["UP shop"]).await;
    daemon.wait_for_status("shop", "up").await;
}

async fn kills_while_sealing_lose_and_double_nothing(place: Place) {
    let old = Old::write(&place, 20, 2001).await;
    let (target, webhook) = (Target::start(), Webhook::start());
    let mut daemon = setup(&place, &target, &webhook).start().await;
    let (mut kills, mut amid) = (0, 0);
    let mut steps = Vec::new();
    while kills < KILLS {
        // It seals from a second after its start on.
        let (_, before) = place.old().await;
        tokio::time::sleep(Duration::from_millis(rand::random_range(700..1700))).await;
        daemon.kill();
        kills += 1;
        let (rows, sealed) = place.old().await;
        assert_eq!(rows + sealed, old.total(), "after {kills} kills");
        amid += usize::from(sealed > before && rows > old.checks);
        steps.push(sealed);
        if rows == old.checks {
            break;
        }
        daemon.start_again().await;
    }
    if daemon_is_dead(&daemon) {
        daemon.start_again().await;
    }
    eventually("the rest to be sealed", 4 * PATIENCE, async || {
        (place.old().await.0 == old.checks).then_some(())
    })
    .await;
    alerts_go_out(&daemon, &target, &webhook).await;
    daemon.stop();
    let store = place.open().await;
    for number in 0..old.checks {
        old.is_whole(&*store, number).await;
    }
    store.close().await;
    println!(
        "{kills} kills, {amid} of them amid sealing ({steps:?} results sealed by then): {} results, \
         0 lost, 0 doubled",
        old.total()
    );
    assert!(amid > 0, "no kill fell into the sealing");
}

fn daemon_is_dead(daemon: &Daemon) -> bool {
    // A process that was killed and waited for.
    !Path::new(&format!("/proc/{}", daemon.id())).exists()
}

#[tokio::test]
async fn kills_while_sqlite_seals_lose_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    kills_while_sealing_lose_and_double_nothing(Place::Sqlite(folder.path().join("w.db"))).await;
}

#[tokio::test]
async fn kills_while_postgres_seals_lose_and_double_nothing() {
    let postgres = Postgres::start().await;
    postgres.run("postgres", "CREATE DATABASE history").await;
    kills_while_sealing_lose_and_double_nothing(Place::Postgres(
        postgres.url("postgres", "history"),
    ))
    .await;
}

#[tokio::test]
async fn small_disk_full_while_sealing_loses_and_doubles_nothing() {
    let disk = SmallDisk::mount(64);
    let place = Place::Sqlite(disk.path().join("watchbell.db"));
    let old = Old::write(&place, 20, 2001).await;
    let (target, webhook) = (Target::start(), Webhook::start());
    let mut daemon = setup(&place, &target, &webhook).start().await;
    eventually("the sealing to begin", PATIENCE, async || (place.old().await.1 > 0).then_some(()))
        .await;
    disk.fill();
    webhook.inbox.wait_for(0, &["DOWN watchbell:store"]).await;
    eventually("the sealing to give up", PATIENCE, async || {
        daemon.log().contains("could not be sealed").then_some(())
    })
    .await;
    alerts_go_out(&daemon, &target, &webhook).await;
    let (rows, sealed) = place.old().await;
    let memory = daemon.memory();
    disk.free();
    webhook.inbox.wait_for(0, &["UP watchbell:store"]).await;
    println!(
        "disk full after {sealed} of {} results were sealed: {} lost; {:.1} MB of memory",
        old.total(),
        old.total() - rows - sealed,
        memory as f64 / 1e6
    );
    assert_eq!(rows + sealed, old.total());
    daemon.stop();
    daemon.start_again().await;
    eventually("the rest to be sealed", 4 * PATIENCE, async || {
        (place.old().await.0 == old.checks).then_some(())
    })
    .await;
    daemon.stop();
    let store = place.open().await;
    for number in 0..old.checks {
        old.is_whole(&*store, number).await;
    }
    // The outage that was told while the disk was full is in the history.
    let page = Page { limit: 1000, cursor: None };
    let results = store.results("shop", &page).await.unwrap().items;
    assert!(results.iter().any(|result| result.status == Status::Down));
    store.close().await;
}

/// The leaf pages of a table, in the order of its keys.
async fn leaves(path: &Path, table: &str) -> Vec<u64> {
    let url = format!("sqlite:{}", path.display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let sql = format!(
        "SELECT pageno FROM dbstat WHERE name = '{table}' AND pagetype = 'leaf' ORDER BY path"
    );
    let pages: Vec<i64> =
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    pages.into_iter().map(i64::unsigned_abs).collect()
}

/// Overwrites a page, and gives what stood there.
fn overwrite(path: &Path, page: u64, with: &[u8]) -> Vec<u8> {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut before = vec![0; 4096];
    file.read_exact_at(&mut before, (page - 1) * 4096).unwrap();
    file.write_all_at(with, (page - 1) * 4096).unwrap();
    before
}

const GARBAGE: [u8; 4096] = [0xa5; 4096];

#[tokio::test]
async fn pages_damaged_while_stopped_keep_no_other_check_from_being_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.db");
    let place = Place::Sqlite(path.clone());
    let old = Old::write(&place, 9, 1501).await;
    let pages = leaves(&path, "results").await;
    overwrite(&path, pages[pages.len() / 2], &GARBAGE);
    let (target, webhook) = (Target::start(), Webhook::start());
    let mut daemon = setup(&place, &target, &webhook).start().await;
    eventually("the operator to be told", PATIENCE, async || {
        daemon.log().contains("its results could not be sealed").then_some(())
    })
    .await;
    let sealed = "SELECT count(DISTINCT check_id) FROM blocks";
    eventually("the other checks to be sealed", 4 * PATIENCE, async || {
        (place.number(sealed).await.ok()? >= 8).then_some(())
    })
    .await;
    alerts_go_out(&daemon, &target, &webhook).await;
    daemon.stop();

    // And a block of one of them.
    let blocks = leaves(&path, "blocks").await;
    overwrite(&path, blocks[blocks.len() / 2], &GARBAGE);
    daemon.start_again().await;
    alerts_go_out(&daemon, &target, &webhook).await;
    daemon.stop();
    let store = place.open().await;
    let mut unreadable = 0;
    for number in 0..old.checks {
        let page = Page { limit: 1000, cursor: None };
        match store.results(&Old::name(number), &page).await {
            Ok(found) => assert!(!found.items.is_empty()),
            Err(error) => {
                assert!(error.is_damage(), "{error}");
                unreadable += 1;
            }
        }
    }
    store.close().await;
    println!(
        "a page of results and one of blocks overwritten: {unreadable} of 9 checks unreadable"
    );
    assert!(unreadable <= 6, "{unreadable}");
}

#[tokio::test]
async fn a_page_damaged_while_running_is_told_and_holds_up_no_other_check() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.db");
    let place = Place::Sqlite(path.clone());
    let (target, webhook) = (Target::start(), Webhook::start());
    // Two checks with a good many rows that are too young to be sealed.
    let now = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now());
    let store = place.open().await;
    for name in ["shop", "zoo"] {
        let row = |run: i64| RunResult {
            check: name.into(),
            at: Timestamp::from_millis(now.timestamp_millis() - 3_600_000 + run * 1000),
            ..Old { checks: 1, each: 1, from: 0 }.result(0, run + 1)
        };
        let results = (0..900).map(row).collect();
        store.commit(&Batch { results, ..Batch::default() }).await.unwrap();
    }
    store.close().await;
    let mut daemon = setup(&place, &target, &webhook)
        .checks("zoo.toml", &target.check("zoo", "confirm_after = 1000"))
        .start()
        .await;
    daemon.wait_for_status("shop", "up").await;
    daemon.wait_for_status("zoo", "up").await;
    damage_the_last_of(&daemon, &place, &path).await;

    let told = webhook.inbox.wait_for(0, &["DOWN watchbell:store"]).await;
    let reasons = told.body["incidents"][0]["reasons"].to_string();
    assert!(reasons.contains("damaged") && reasons.contains("malformed"), "{reasons}");
    alerts_go_out(&daemon, &target, &webhook).await;
    let newest = "SELECT at FROM results WHERE check_id = \
                  (SELECT id FROM checks WHERE name = 'zoo') ORDER BY at DESC LIMIT 1";
    let before = place.number(newest).await.unwrap();
    eventually("the other check to be written", PATIENCE, async || {
        (place.number(newest).await.ok()? > before + 3000).then_some(())
    })
    .await;
    // What is owed is durable all the same.
    daemon.kill();
    daemon.start_again().await;
    alerts_go_out(&daemon, &target, &webhook).await;
    let ended = eventually("both incidents to be kept", PATIENCE, async || {
        let incidents = daemon.list("/api/v1/incidents?check=shop&limit=1000").await;
        let ended = incidents.iter().filter(|it| it["state"] == "resolved").count();
        (ended == 2).then_some(ended)
    })
    .await;
    let memory = daemon.memory();
    println!(
        "a page overwritten under a running daemon: told, {ended} of 2 incidents kept, the other \
         check written on; {:.1} MB of memory",
        memory as f64 / 1e6
    );
}

/// Overwrites the page that the check `shop` is written to, while the daemon stands still.
async fn damage_the_last_of(daemon: &Daemon, place: &Place, path: &Path) {
    let last = "SELECT at FROM results WHERE check_id = \
                (SELECT id FROM checks WHERE name = 'shop') ORDER BY at DESC LIMIT 1";
    eventually("the log of SQLite to be folded in", PATIENCE, async || {
        daemon.signal(Signal::STOP);
        let busy = place.number("PRAGMA wal_checkpoint(TRUNCATE)").await;
        if matches!(busy, Ok(0)) {
            return Some(());
        }
        daemon.signal(Signal::CONT);
        None
    })
    .await;
    let mut hit = false;
    for page in leaves(path, "results").await {
        let before = overwrite(path, page, &GARBAGE);
        if place.number(last).await.is_err() {
            hit = true;
            break;
        }
        overwrite(path, page, &before);
    }
    assert!(hit, "no page holds the last result");
    // Another's write lets the daemon look at the file anew.
    place.number("UPDATE checks SET name = name WHERE name = 'zoo' RETURNING id").await.unwrap();
    daemon.signal(Signal::CONT);
}
