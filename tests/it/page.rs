//! The web page, as a person meets it who has a browser: Chromium looks at a shop in trouble.
//!
//! What is promised is written in `tests/it/page/*.mjs`; here it is held against the list. A word in
//! `WATCHBELL_PAGE_ONLY` tries the promises whose names hold it, and `WATCHBELL_PAGE_PICTURES` names a
//! folder that pictures are put into (`scripts/screenshots`).

mod browser;
mod crowd;
mod past;
mod shop;

use crate::harness::{Daemon, KEY, Signal};
use serde_json::{Value, json};
use shop::Shop;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

/// The key of a check that stands on the public status page.
const PUBLIC: &str = "";

/// What the scripts have to find kept.
const PROMISES: &[&str] = &["the_overview_loads"];

#[tokio::test]
async fn whoever_looks_at_the_page_finds_what_it_promises() {
    let (mut shop, many, very_many) =
        tokio::join!(Shop::open(), crowd::gather(200), crowd::gather(2000));
    let only = std::env::var("WATCHBELL_PAGE_ONLY").unwrap_or_default();
    let settings = json!({
        "shop": shop.daemon.url(""),
        "many": many.url(""),
        "veryMany": very_many.url(""),
        "key": KEY,
        "only": only,
        "pictures": std::env::var("WATCHBELL_PAGE_PICTURES").ok(),
    });
    let outcomes =
        browser::drive(settings, async |order, what| obey(&mut shop, order, what).await).await;

    let broken: Vec<String> = outcomes
        .iter()
        .filter(|outcome| !outcome.kept)
        .map(|outcome| format!("{}: {}\n", outcome.promise, outcome.detail))
        .collect();
    assert!(broken.is_empty(), "broken promises:\n{}", broken.concat());
    for promise in PROMISES.iter().filter(|promise| promise.contains(&only)) {
        let tried = outcomes.iter().any(|outcome| outcome.promise == *promise);
        assert!(tried, "{promise} was not tried");
    }
    for outcome in &outcomes {
        let listed = PROMISES.contains(&&*outcome.promise);
        assert!(listed, "{} is not in the list of promises", outcome.promise);
    }
}

/// Does to the shop what a script asks for.
async fn obey(shop: &mut Shop, order: &str, what: &Value) -> Value {
    match order {
        "answer" => {
            let service = what["service"].as_str().unwrap();
            let status = u16::try_from(what["status"].as_u64().unwrap()).unwrap();
            shop.services.answer(service, status, what["delay"].as_u64().unwrap_or(12));
        }
        "stall" => shop.daemon.signal(Signal::STOP),
        "resume" => shop.daemon.signal(Signal::CONT),
        "kill" => shop.daemon.kill(),
        "start" => shop.daemon.start_again().await,
        "lose the store" => change_store(&shop.daemon, "ALTER TABLE results RENAME TO lost").await,
        "find the store" => change_store(&shop.daemon, "ALTER TABLE lost RENAME TO results").await,
        "api" => return shop.daemon.get(what["path"].as_str().unwrap()).await,
        "post" => {
            let path = what["path"].as_str().unwrap();
            let (status, body) = shop.daemon.post_json(path, &what["body"]).await;
            return json!({ "status": status, "body": body });
        }
        _ => panic!("a script asks for {order}"),
    }
    Value::Null
}

/// Takes a table away from the daemon, or gives it back: to it, the store fails.
async fn change_store(daemon: &Daemon, sql: &'static str) {
    let path = daemon.setup().folder().join("watchbell.db");
    let mut file = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::query(AssertSqlSafe(sql)).execute(&mut file).await.unwrap();
    file.close().await.unwrap();
}
