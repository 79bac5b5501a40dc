use super::{MIGRATOR, SqliteStore};
use crate::model::{Name, NoticeState, Timestamp};
use crate::record::archive::rollup::Level;
use crate::record::contract::{at, incident, notice, result, silence, state};
use crate::record::{Batch, IncidentFilter, NoticeFilter, Page, Part, Sealing, Store, StoreError};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

async fn open() -> (SqliteStore, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (SqliteStore::open(folder.path().join("test.db")).await.unwrap(), folder)
}

#[tokio::test]
async fn a_database_from_before_silences_is_brought_up_to_date() {
    let (store, folder) = open().await;
    store.commit(&full_batch()).await.unwrap();
    store.close().await;
    let mut other = outsider(&folder).await;
    run(&mut other, "DROP TABLE silences").await;
    run(&mut other, "DELETE FROM _sqlx_migrations WHERE version = 2").await;
    let store = SqliteStore::open(folder.path().join("test.db")).await.unwrap();
    let silences = vec![silence("s", 1, 60)];
    store.commit(&Batch { silences, ..Batch::default() }).await.unwrap();
    let saved = store.load(at(0)).await.unwrap();
    assert_eq!((saved.states.len(), saved.silences.len()), (1, 1));
}

/// Another process at the same file.
async fn outsider(folder: &TempDir) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(folder.path().join("test.db"));
    SqliteConnection::connect_with(&options).await.unwrap()
}

async fn run(conn: &mut SqliteConnection, sql: &'static str) {
    sqlx::query(sql).execute(conn).await.unwrap();
}

fn full_batch() -> Batch {
    let open = incident("i", "a", 1, None);
    Batch {
        renamed: Vec::new(),
        results: vec![result("a", 1), result("b", 1)],
        states: vec![(Name::from("a"), state(1))],
        removed: Vec::new(),
        silences: Vec::new(),
        incidents: vec![open.clone()],
        notices: vec![notice("n", &[open], NoticeState::Pending, 1)],
    }
}

#[tokio::test]
async fn a_batch_that_fails_leaves_nothing_and_the_next_one_goes_in() {
    let (store, folder) = open().await;
    let mut other = outsider(&folder).await;
    run(
        &mut other,
        "CREATE TRIGGER refuse BEFORE INSERT ON notice_incidents \
         BEGIN SELECT RAISE(ABORT, 'no room'); END",
    )
    .await;
    let error = store.commit(&full_batch()).await.unwrap_err();
    assert!(error.is_about_data() && error.to_string().contains("no room"), "{error}");
    let page = Page { limit: 10, cursor: None };
    assert!(store.results("a", &page).await.unwrap().items.is_empty());
    let incidents = store.incidents(&IncidentFilter::default(), &page).await.unwrap();
    assert!(incidents.items.is_empty());
    assert!(store.notices(&NoticeFilter::default(), &page).await.unwrap().items.is_empty());
    let saved = store.load(at(0)).await.unwrap();
    assert!(saved.states.is_empty() && saved.notices.is_empty());

    run(&mut other, "DROP TRIGGER refuse").await;
    store.commit(&full_batch()).await.unwrap();
    assert_eq!(store.results("b", &page).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn an_abandoned_commit_does_not_spoil_the_next() {
    let (store, folder) = open().await;
    let mut other = outsider(&folder).await;
    run(&mut other, "BEGIN IMMEDIATE").await;
    let batch = full_batch();
    let hanging = tokio::time::timeout(Duration::from_millis(50), store.commit(&batch)).await;
    assert!(hanging.is_err());
    run(&mut other, "ROLLBACK").await;
    store.commit(&full_batch()).await.unwrap();
    assert_eq!(store.load(at(0)).await.unwrap().notices.len(), 1);
}

#[tokio::test]
async fn a_full_disk_fails_the_commit_and_spoils_nothing() {
    let (store, folder) = open().await;
    store.commit(&full_batch()).await.unwrap();
    // On this error SQLite ends the transaction by itself.
    let mut lease = store.lease().await.unwrap();
    run(&mut lease.writing().unwrap().conn, "PRAGMA max_page_count = 1").await;
    lease.done();
    let results = (2..5000).map(|n| result("a", n)).collect();
    let big = Batch { results, ..Batch::default() };
    let error = store.commit(&big).await.unwrap_err();
    assert!(!error.is_about_data() && error.to_string().contains("full"), "{error}");
    store.commit(&big).await.unwrap();
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM results")
        .fetch_one(&mut outsider(&folder).await)
        .await
        .unwrap();
    assert_eq!(count, 5000);
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_new_start() {
    let (store, folder) = open().await;
    store.commit(&full_batch()).await.unwrap();
    store.close().await;
    let files: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(files, ["test.db"]);
    let store = SqliteStore::open(folder.path().join("test.db")).await.unwrap();
    let saved = store.load(at(0)).await.unwrap();
    assert_eq!((saved.states.len(), saved.notices.len()), (1, 1));
    // The numbers of checks and shapes go on where they were.
    store.commit(&Batch { results: vec![result("a", 2)], ..Batch::default() }).await.unwrap();
    let page = Page { limit: 10, cursor: None };
    let results = store.results("a", &page).await.unwrap().items;
    assert_eq!(results.len(), 2);
    assert_eq!(results[0].facts, results[1].facts);
}

#[tokio::test]
async fn nobody_else_may_read_what_checks_found() {
    let (store, folder) = open().await;
    store.commit(&full_batch()).await.unwrap();
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
    assert!(files.len() > 1, "the log stands beside it: {files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_in_clear_words() {
    let (store, folder) = open().await;
    store.close().await;
    let mut other = outsider(&folder).await;
    run(
        &mut other,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'from the future', TRUE, x'00', 0)",
    )
    .await;
    let path = folder.path().join("test.db");
    let error = SqliteStore::open(&path).await.unwrap_err();
    let known = MIGRATOR.iter().map(|it| it.version).max().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "the database {} was written by a newer Watchbell (its schema is 9999, this version \
             knows {known}): start that version again, or restore a backup from before",
            path.display()
        )
    );
}

#[tokio::test]
async fn a_place_where_no_database_can_be_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "These are notes and not a database, and quite long ones.\n".repeat(99))
        .unwrap();
    for (path, expected) in [
        (folder.path().join("missing/a.db"), "missing cannot be used (No such file"),
        (folder.path().to_owned(), "is a folder"),
        (text.join("a.db"), "notes.txt is not a folder"),
        (text.clone(), "is not an SQLite database"),
        (Path::new("/proc/watchbell.db").to_owned(), "must be able to write"),
    ] {
        let error = SqliteStore::open(&path).await.unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, StoreError::Open { .. }), "{said}");
        assert!(said.contains(&path.display().to_string()) && said.contains(expected), "{said}");
    }
}

#[tokio::test]
async fn one_unreadable_row_does_not_keep_the_daemon_from_starting() {
    let (store, folder) = open().await;
    store.commit(&full_batch()).await.unwrap();
    let states = vec![(Name::from("b"), state(1))];
    let silences = vec![silence("good", 1, 60), silence("bad", 1, 60)];
    store.commit(&Batch { states, silences, ..Batch::default() }).await.unwrap();
    let mut other = outsider(&folder).await;
    run(&mut other, "UPDATE states SET body = '{' WHERE check_id = 1").await;
    run(&mut other, "UPDATE silences SET body = '{}' WHERE id = 'bad'").await;
    let saved = store.load(at(0)).await.unwrap();
    assert_eq!((saved.states.len(), saved.notices.len(), saved.silences.len()), (1, 1, 1));
    let [state, silence] = &saved.unreadable[..] else { panic!("{:?}", saved.unreadable) };
    assert!(state.contains("the state of check a"), "{state}");
    assert!(silence.contains("silence bad"), "{silence}");
}

#[tokio::test]
async fn names_of_checks_are_forgotten_with_their_last_result() {
    let (store, folder) = open().await;
    store.commit(&full_batch()).await.unwrap();
    store.forget_results(Timestamp::from_millis(i64::MAX), 100).await.unwrap();
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM checks")
        .fetch_all(&mut outsider(&folder).await)
        .await
        .unwrap();
    assert_eq!(names, ["a"], "a has a state, b has nothing left");
    store.commit(&full_batch()).await.unwrap();
    let page = Page { limit: 10, cursor: None };
    assert_eq!(store.results("b", &page).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn lists_are_read_along_their_indexes() {
    let (_store, folder) = open().await;
    let mut other = outsider(&folder).await;
    for (sql, expected) in [
        (
            "EXPLAIN QUERY PLAN SELECT at FROM results WHERE check_id = 1 AND at < 5 \
             ORDER BY at DESC LIMIT 10",
            "SEARCH results USING PRIMARY KEY (check_id=? AND at<?)",
        ),
        (
            "EXPLAIN QUERY PLAN SELECT r.check_id, r.at FROM checks c CROSS JOIN results r \
             WHERE c.id >= 1 AND c.id < 9 AND r.check_id = c.id AND r.at < 5 \
             ORDER BY c.id, r.at LIMIT 10",
            "SEARCH c USING INTEGER PRIMARY KEY (rowid>? AND rowid<?); \
             SEARCH r USING PRIMARY KEY (check_id=? AND at<?)",
        ),
        (
            "EXPLAIN QUERY PLAN SELECT id FROM incidents WHERE check_name = 'a' \
             AND (opened_at, id) < (5, 'x') ORDER BY opened_at DESC, id DESC LIMIT 10",
            "SEARCH incidents USING COVERING INDEX incidents_by_check \
             (check_name=? AND (opened_at,id)<(?,?))",
        ),
    ] {
        let steps: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(sql).fetch_all(&mut other).await.unwrap();
        let steps: Vec<String> = steps.into_iter().map(|(_, _, _, step)| step).collect();
        assert_eq!(steps.join("; "), expected, "{sql}");
    }
}

#[test]
fn every_migration_is_built_in() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/record/migrations/sqlite");
    let files = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(MIGRATOR.iter().count(), files, "touch this file, so that they are read again");
}

#[tokio::test]
async fn a_seal_that_fails_half_way_loses_and_doubles_nothing() {
    let (store, folder) = open().await;
    let results = (0..50).map(|n| result("a", n)).collect();
    store.commit(&Batch { results, ..Batch::default() }).await.unwrap();
    let terms = Sealing { results: 20, age: Duration::from_secs(3600), zone: chrono_tz::Tz::UTC };
    let mut other = outsider(&folder).await;
    run(
        &mut other,
        "CREATE TRIGGER refuse BEFORE INSERT ON rollups WHEN NEW.level = 2 \
         BEGIN SELECT RAISE(ABORT, 'no room'); END",
    )
    .await;
    let page = Page { limit: 1000, cursor: None };
    let part = [Part { level: Level::Hour, from: at(-86_400), to: at(86_400) }];
    let hours = || store.rollups("a", &part, chrono_tz::Tz::UTC);
    let before = hours().await.unwrap();
    store.seal(&terms, at(100)).await.unwrap_err();
    assert_eq!(store.results("a", &page).await.unwrap().items.len(), 50);
    assert_eq!(hours().await.unwrap(), before);
    run(&mut other, "DROP TRIGGER refuse").await;
    assert_eq!(store.seal(&terms, at(100)).await.unwrap().done, 20);
    assert_eq!(store.results("a", &page).await.unwrap().items.len(), 50);
    assert_eq!(hours().await.unwrap(), before);
}

#[tokio::test]
async fn results_that_cannot_be_read_keep_no_other_check_from_being_sealed() {
    let (store, folder) = open().await;
    let results = ["a", "b"].into_iter().flat_map(|name| (0..30).map(move |n| result(name, n)));
    store.commit(&Batch { results: results.collect(), ..Batch::default() }).await.unwrap();
    let mut other = outsider(&folder).await;
    run(&mut other, "UPDATE results SET facts = '[' WHERE check_id = 1").await;
    let terms = Sealing { results: 20, age: Duration::from_secs(3600), zone: chrono_tz::Tz::UTC };
    let pace = store.seal(&terms, at(100)).await.unwrap();
    assert_eq!(pace.done, 20, "the results of b");
}
