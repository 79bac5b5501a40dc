//! The web page, as a person meets it who has a browser: Chromium looks at a shop in trouble.
//!
//! What is promised is written in `tests/it/page/*.mjs`; here it is held against the list. Words in
//! `WATCHBELL_PAGE_ONLY` try the promises whose names hold one of them, and `WATCHBELL_PAGE_PICTURES` names a
//! folder that pictures are put into (`scripts/screenshots`). `WATCHBELL_PAGE_QUIET` says that the machine
//! does nothing else, so that speed counts as well.

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
const PUBLIC: &str = "public = true\n";

/// What the scripts have to find kept.
const PROMISES: &[&str] = &[
    "the_overview_says_in_words_how_things_are",
    "what_needs_attention_leads_to_the_check_and_to_the_incident",
    "filters_stand_in_the_address",
    "the_search_finds_and_says_when_it_does_not",
    "checks_stand_in_groups",
    "many_checks_come_in_pieces_the_worst_first",
    "a_check_shows_its_uptime_and_its_past",
    "arrows_walk_through_a_strip",
    "a_card_comes_at_a_pointer_and_a_click_pins_it",
    "a_check_page_tells_all_about_the_check",
    "a_year_of_days_leads_to_each_of_them_and_maintenance_is_shaded",
    "each_span_of_the_chart_is_a_link_and_has_a_line",
    "no_page_shows_a_secret",
    "an_incident_tells_its_story",
    "notices_tell_what_waits_and_why",
    "the_status_page_tells_nothing_of_the_inside",
    "times_are_those_of_the_reader",
    "axe_finds_nothing_on_a_wide_screen_in_the_light",
    "axe_finds_nothing_on_a_wide_screen_in_the_dark",
    "axe_finds_nothing_on_a_narrow_screen_in_the_light",
    "axe_finds_nothing_on_a_narrow_screen_in_the_dark",
    "no_page_shifts_while_it_loads",
    "dark_pages_are_dark_and_light_ones_light",
    "no_page_scrolls_sideways_on_a_phone",
    "every_page_reads_well_without_scripts",
    "lighthouse_is_content_with_the_overview_of_200_checks",
    "lighthouse_is_content_with_the_status_page_of_200_checks",
    "two_thousand_checks_stay_quick",
    "all_files_of_the_page_are_small",
    "a_wrong_key_is_refused_in_words",
    "the_cookie_is_out_of_reach_and_not_the_key",
    "people_act_on_the_pages",
    "people_act_without_scripts",
    "nobody_acts_without_a_key",
    "the_keyboard_leads_from_the_skip_link_to_a_check",
    "a_slash_leads_to_the_search",
    "a_check_that_goes_down_changes_its_row_without_a_reload",
    "a_page_that_is_open_does_not_shift_while_runs_come_in",
    "a_store_that_is_gone_is_told",
    "a_daemon_that_stands_still_is_told_and_so_is_its_return",
    "a_daemon_that_died_is_told_and_so_is_its_return",
];

#[tokio::test]
async fn whoever_looks_at_the_page_finds_what_it_promises() {
    let (mut shop, many, very_many) =
        tokio::join!(Shop::open(), crowd::gather(200), crowd::gather(2000));
    let only = std::env::var("WATCHBELL_PAGE_ONLY").unwrap_or_default();
    let only: Vec<&str> = if only.is_empty() { vec![""] } else { only.split(' ').collect() };
    let settings = json!({
        "shop": shop.daemon.url(""),
        "many": many.url(""),
        "veryMany": very_many.url(""),
        "key": KEY,
        "only": only,
        "quiet": std::env::var_os("WATCHBELL_PAGE_QUIET").is_some(),
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
    let wanted = |promise: &&&str| only.iter().any(|word| promise.contains(word));
    for promise in PROMISES.iter().filter(wanted) {
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
