//! Very many checks that nobody runs: what a page costs does not hang on what they find.

use super::past::{Past, SEALED, Trouble, write_sealed};
use crate::harness::{Daemon, Setup};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use std::fmt::Write as _;
use std::path::Path;
use watchbell::clock::{Clock as _, System};
use watchbell::model::{Name, Status};
use watchbell::record::{Batch, SqliteStore, Store as _};

const TEAMS: [&str; 8] =
    ["payments", "storefront", "platform", "chain", "data", "mobile", "partners", "office"];

/// Starts a daemon with `count` checks that all had the same year.
pub async fn gather(count: usize) -> Daemon {
    let mut checks = String::new();
    for number in 0..count {
        let (name, team) = (name(number), TEAMS[number % TEAMS.len()]);
        // It never comes to a run, so that they stay as they are.
        writeln!(
            checks,
            "[[check]]\nname = \"{name}\"\nlabels = {{ team = \"{team}\" }}\n{}cron = \"0 0 29 2 *\"\n\
             [check.tcp]\naddress = \"127.0.0.1:9\"\n",
            super::PUBLIC
        )
        .unwrap();
    }
    let setup = Setup::new().api("public_status = true\n").checks("crowd.toml", &checks);
    write_past(&setup.folder().join("watchbell.db"), count).await;
    setup.start().await
}

fn name(number: usize) -> String {
    format!("service-{number:04}")
}

/// The results are packed once, and stand under each name: that is what a store holds, written by
/// fewer statements.
async fn write_past(path: &Path, count: usize) {
    let now = System::start().wall();
    let store = SqliteStore::open(path).await.unwrap();
    let mut batch = Batch::default();
    for number in 0..count {
        let troubles = match number % 50 {
            7 => &[Trouble { ago: 90, lasted: u64::MAX, status: Status::Down, why: "refused" }][..],
            23 => &[Trouble { ago: 7, lasted: u64::MAX, status: Status::Degraded, why: "slow" }],
            _ => &[],
        };
        let name = name(number);
        let past = Past { name: &name, kind: "tcp", team: "", median: 20.0, troubles, earlier: 0 };
        let (incidents, _) = past.incidents(now, "console");
        batch.states.push((Name::from(&*name), past.state(now, &incidents)));
        batch.incidents.extend(incidents);
    }
    store.commit(&batch).await.unwrap();
    store.close().await;

    let troubles = [
        Trouble { ago: 30 * 24 * 60, lasted: 200, status: Status::Down, why: "refused" },
        Trouble { ago: 600, lasted: 20, status: Status::Degraded, why: "slow" },
    ];
    let past = Past {
        name: "service",
        kind: "tcp",
        team: "",
        median: 20.0,
        troubles: &troubles,
        earlier: 0,
    };
    let results = past.results(now);
    let (sealed, _) = results.split_at(results.partition_point(|it| it.at < now.before(SEALED)));
    let mut file = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::query("BEGIN").execute(&mut file).await.unwrap();
    write_sealed(&mut file, None, sealed, now).await;
    sqlx::query("COMMIT").execute(&mut file).await.unwrap();
    file.close().await.unwrap();
}
