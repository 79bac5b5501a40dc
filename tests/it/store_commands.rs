//! People look after the store: copy it, back it up, check it, bring it up to date.

use crate::harness::{KEY, Postgres, Setup, Target, watchbell};
use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;
use watchbell::clock::{Clock as _, System};
use watchbell::model::{
    CheckState, Incident, Notice, NoticeState, RunResult, Silence, Status, Timestamp, What,
};
use watchbell::record::{
    Batch, IncidentFilter, NoticeFilter, Page, Sealing, SqliteStore, Store, sealing,
};

const PAGE: Page = Page { limit: 1000, cursor: None };

/// A history with some of everything, which ends at `end`.
async fn write_history(path: &Path, end: Timestamp) {
    let store = SqliteStore::open(path).await.unwrap();
    let at = |seconds: u64| end.before(Duration::from_secs(seconds));
    let result = |n: u64| RunResult {
        check: "shop".into(),
        at: at((2000 - n) * 30),
        status: if n % 50 == 7 { Status::Down } else { Status::Up },
        latency_ms: 12.5 + (n % 13) as f64,
        reasons: if n % 50 == 7 {
            vec!["„refused“, it \"said\"".to_owned()]
        } else {
            Vec::new()
        },
        facts: match n % 3 {
            0 => json!({ "status": 200, "first_byte_ms": n as f64 / 8.0, "proto": "HTTP/1.1" }),
            1 => json!({ "status": 200, "names": ["a", { "b": null }] }),
            _ => json!({}),
        },
        stands_for: Duration::from_secs(90),
        maintenance: n % 100 > 95,
    };
    let mut incident = Incident::new("01I".into(), "shop".into(), "http", Status::Down, at(900));
    incident.resolved_at = Some(at(600));
    let about = vec![incident.clone()];
    let mut notice =
        Notice::new("01N".into(), What::Opened, "ops".into(), String::new(), about, at(900));
    notice.state = NoticeState::Sent;
    notice.sent_at = Some(at(899));
    let silence = Silence {
        id: "01S".into(),
        matchers: Vec::new(),
        starts_at: at(500),
        ends_at: at(100),
        author: "ann".into(),
        comment: "a quiet night".into(),
        created_at: at(500),
    };
    let batch = Batch {
        results: (0..2000).map(result).collect(),
        states: vec![("shop".into(), CheckState::new(at(5)))],
        incidents: vec![incident],
        notices: vec![notice],
        silences: vec![silence],
        ..Batch::default()
    };
    store.commit(&batch).await.unwrap();
    let age = Duration::from_secs(1_000_000);
    let terms = Sealing { results: 500, age, zone: chrono_tz::Tz::Europe__Berlin };
    for _ in 0..3 {
        assert_eq!(sealing::round(&store, &terms, end).await.unwrap(), 500);
    }
    store.close().await;
}

/// All that a history has beside results, as the daemon reads it.
async fn read_history(path: &Path) -> String {
    let store = SqliteStore::open(path).await.unwrap();
    let saved = store.load(Timestamp::from_millis(0)).await.unwrap();
    let incidents = store.incidents(&IncidentFilter::default(), &PAGE).await.unwrap();
    let notices = store.notices(&NoticeFilter::default(), &PAGE).await.unwrap();
    let first = Timestamp::from_millis(0);
    let days = store.days((first, Timestamp::from_millis(i64::MAX))).await.unwrap();
    store.close().await;
    format!("{saved:#?}\n{incidents:#?}\n{notices:#?}\n{days:#?}")
}

async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).connect().await.unwrap()
}

/// Exports the results of `shop` from before `end` by a daemon that has its history in `store`.
async fn export(store: &str, format: &str, end: Timestamp) -> String {
    let target = Target::start();
    let daemon = Setup::new()
        .history(&format!("store = \"{store}\""))
        .checks("shop.toml", &target.check("shop", ""))
        .start()
        .await;
    let file = daemon.setup().folder().join("export");
    let to = end.to_string();
    let words = ["history", "shop", "--export", format, "--to", &to, "--key", KEY];
    let printed = daemon.setup().command(&words).await;
    assert_eq!(printed.code, 0, "{}", printed.all());
    let output = file.display().to_string();
    let written = [&words[..], &["--output", &output, "--from", "30d"]].concat();
    let written = daemon.setup().command(&written).await;
    assert!(written.err.contains("written to"), "{}", written.all());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), printed.out);
    printed.out
}

#[tokio::test]
async fn a_history_goes_to_postgres_and_back_and_is_the_same() {
    let postgres = Postgres::start().await;
    postgres.run("postgres", "CREATE ROLE watchbell LOGIN").await;
    postgres.run("postgres", "CREATE DATABASE history OWNER watchbell").await;
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first.db"), folder.path().join("second.db"));
    let end = System::start().wall().before(Duration::from_secs(60));
    write_history(&first, end).await;
    let [first_url, second_url] = [&first, &second].map(|it| format!("sqlite:{}", it.display()));
    let database = format!("postgres://watchbell:hunter2@127.0.0.1:{}/history", postgres.port);

    let there = watchbell(&["store", "copy", &first_url, &database, "--json"]).await;
    assert_eq!(there.code, 0, "{}", there.all());
    let rows = &there.json()["rows"];
    assert_eq!((&rows["blocks"], &rows["results"]), (&json!(3), &json!(500)), "{rows}");
    assert_eq!((&rows["notices"], &rows["notice_incidents"]), (&json!(1), &json!(1)), "{rows}");
    let back = watchbell(&["store", "copy", &database, &second_url]).await;
    assert_eq!(back.code, 0, "{}", back.all());
    assert!(back.out.contains("of 1 checks, with 1 incidents and 1 notices"), "{}", back.out);
    assert_eq!(read_history(&second).await, read_history(&first).await);
    for (url, store) in [("--store", &database), ("--store", &second_url)] {
        let checked = watchbell(&["store", "check", url, store]).await;
        assert!(checked.code == 0 && checked.out.contains("is sound"), "{}", checked.all());
    }

    // Nothing is written where something is.
    for to in [&database, &first_url] {
        let again = watchbell(&["store", "copy", &second_url, to]).await;
        assert_eq!(again.code, 3, "{}", again.all());
        assert!(again.err.contains("holds history already"), "{}", again.err);
        assert!(!again.all().contains("hunter2"), "{}", again.all());
    }

    // A backup of PostgreSQL is a file of SQLite.
    let backup = folder.path().join("backup.db");
    let file = backup.display().to_string();
    let saved = watchbell(&["store", "backup", &file, "--store", &database]).await;
    assert_eq!(saved.code, 0, "{}", saved.all());
    assert!(!saved.all().contains("hunter2"), "{}", saved.all());
    assert_eq!(read_history(&backup).await, read_history(&first).await);
    let smaller = watchbell(&["store", "vacuum", "--store", &database, "--json"]).await;
    assert_eq!(smaller.json()["whole"], true, "{}", smaller.all());
    let already = watchbell(&["store", "migrate", "--store", &database]).await;
    assert!(already.out.contains("already"), "{}", already.all());

    for format in ["csv", "jsonl"] {
        let original = export(&first_url, format, end).await;
        assert!(original.lines().count() >= 1999 && original.contains("refused"), "{original}");
        assert_eq!(export(&database, format, end).await, original);
        assert_eq!(export(&second_url, format, end).await, original);
    }
    // The numbers that the database gives go on after those that were copied.
    let checked = watchbell(&["store", "check", "--store", &database]).await;
    assert_eq!(checked.code, 0, "{}", checked.all());
}

#[tokio::test]
async fn a_backup_of_a_running_daemon_is_a_history_to_go_on_with() {
    let target = Target::start();
    let check = target.check("shop", "confirm_after = 1");
    let daemon = Setup::new().checks("shop.toml", &check).start().await;
    target.answer(500);
    let opened = daemon.wait_for_incident("shop", "open", &[]).await;
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup.db");
    let file = backup.display().to_string();
    let setup = daemon.setup();

    let saved = setup.command(&["store", "backup", &file, "--json"]).await;
    assert_eq!(saved.code, 0, "{}", saved.all());
    let metadata = std::fs::metadata(&backup).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(saved.json()["bytes"], metadata.len());
    let refused = setup.command(&["store", "backup", &file]).await;
    assert!(refused.code == 3 && refused.err.contains("--force"), "{}", refused.all());
    let replaced = setup.command(&["store", "backup", &file, "--force"]).await;
    assert_eq!(replaced.code, 0, "{}", replaced.all());
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left, ["backup.db"]);

    // What else can be done while a daemon runs, and what cannot.
    let checked = setup.command(&["store", "check"]).await;
    assert!(checked.code == 0 && checked.out.contains("is sound"), "{}", checked.all());
    let vacuum = setup.command(&["store", "vacuum"]).await;
    assert!(vacuum.code == 0 && vacuum.err.contains("a daemon uses it"), "{}", vacuum.all());
    let migrate = setup.command(&["store", "migrate"]).await;
    assert_eq!(migrate.code, 3, "{}", migrate.all());
    assert!(migrate.err.contains("another watchbell uses the database"), "{}", migrate.err);
    let copy = folder.path().join("copy.db");
    let to = format!("sqlite:{}", copy.display());
    let copied = setup.command(&["store", "copy", "config", &to]).await;
    assert!(copied.err.contains("a daemon is at work on the original"), "{}", copied.all());

    for file in [&backup, &copy] {
        let restored = Setup::new()
            .history(&format!("store = \"sqlite:{}\"", file.display()))
            .checks("shop.toml", &check)
            .start()
            .await;
        let found = restored.wait_for_incident("shop", "open", &[]).await;
        assert_eq!(found["id"], opened["id"]);
    }
}

#[tokio::test]
async fn a_damaged_block_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("watchbell.db");
    write_history(&path, System::start().wall()).await;
    let store = format!("sqlite:{}", path.display());
    let check = async || watchbell(&["store", "check", "--store", &store]).await;
    let sound = check().await;
    assert!(sound.code == 0 && sound.out.contains("with 2000 results"), "{}", sound.all());

    let mut conn = connect(&path).await;
    let body: Vec<u8> = sqlx::query_scalar("SELECT body FROM blocks WHERE id = 2")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    let mut damaged = body.clone();
    damaged[100] ^= 1;
    for sql in [
        "UPDATE blocks SET body = ? WHERE id = 2",
        "UPDATE blocks SET results = 499 WHERE id = 3 AND ? IS NOT NULL",
        "UPDATE incidents SET body = '{' WHERE ? IS NOT NULL",
    ] {
        sqlx::query(sql).bind(&damaged).execute(&mut conn).await.unwrap();
    }
    let found = check().await;
    assert_eq!(found.code, 2, "{}", found.all());
    for words in [
        "blocks id = 2: a block of check shop: it is damaged: its checksum is wrong",
        "DELETE FROM blocks WHERE id = 2",
        "blocks id = 3: a block of check shop says that it has 499 results",
        "incidents id = '01I': ",
        "has 3 faults in ",
    ] {
        assert!(found.out.contains(words), "{words} is not in\n{}", found.out);
    }
    let json = watchbell(&["store", "check", "--store", &store, "--json"]).await.json();
    assert_eq!((&json["all_faults"], &json["faults"][0]["table"]), (&json!(3), &json!("blocks")));

    // A page that the disk spoilt.
    for sql in ["UPDATE blocks SET body = ? WHERE id = 2", "DELETE FROM incidents WHERE ? NOT NULL"]
    {
        sqlx::query(sql).bind(&body).execute(&mut conn).await.unwrap();
    }
    sqlx::query("VACUUM").execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 4096 / 2 * 4096;
    bytes[middle..middle + 4096].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    let found = check().await;
    assert!(found.code == 2 && found.out.contains("restore a backup"), "{}", found.all());
}

#[tokio::test]
async fn a_database_of_another_version_is_refused_in_clear_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("watchbell.db");
    let store = format!("sqlite:{}", path.display());
    let made = watchbell(&["store", "migrate", "--store", &store]).await;
    assert!(made.code == 0 && made.out.contains("was made, with schema"), "{}", made.all());
    let mut conn = connect(&path).await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, \
                 execution_time) VALUES (9999, 'from the future', TRUE, x'00', 0)";
    sqlx::query(newer).execute(&mut conn).await.unwrap();
    let run = Setup::new().history(&format!("store = \"{store}\""));
    for refused in [
        run.command(&["run"]).await,
        watchbell(&["store", "migrate", "--store", &store]).await,
        watchbell(&["store", "check", "--store", &store]).await,
    ] {
        assert_eq!(refused.code, 3, "{}", refused.all());
        let words = "was written by a newer Watchbell (its schema is 9999, this version knows";
        assert!(refused.all().contains(words), "{}", refused.all());
    }

    sqlx::query("DELETE FROM _sqlx_migrations WHERE version <> 1")
        .execute(&mut conn)
        .await
        .unwrap();
    for sql in [
        "DROP TABLE silences",
        "DROP TABLE blocks",
        "DROP TABLE rollups",
        "DROP TABLE announcements",
    ] {
        sqlx::query(sql).execute(&mut conn).await.unwrap();
    }
    sqlx::query("ALTER TABLE results DROP COLUMN stands_ms").execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    let older = watchbell(&["store", "check", "--store", &store]).await;
    assert!(older.err.contains("first, with `watchbell store migrate`"), "{}", older.all());
    let migrated = watchbell(&["store", "migrate", "--store", &store]).await;
    assert!(migrated.out.contains("went from schema 1 to "), "{}", migrated.all());
    let checked = watchbell(&["store", "check", "--store", &store]).await;
    assert_eq!(checked.code, 0, "{}", checked.all());
}
