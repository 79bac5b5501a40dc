use super::fake::{Daemon, READER, at, check, incident, result};
use super::shop;
use crate::model::{Beat, Status};
use crate::record::query::Reach;
use crate::serve::{Settings, Spans};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

/// The page at `path`.
async fn page(daemon: &Daemon, path: &str) -> String {
    let answer = daemon.get(path).await;
    assert_eq!(answer.status(), 200, "{path}");
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8", "{path}");
    answer.text().await.unwrap()
}

/// The checks of the table, in their order.
fn rows(page: &str) -> Vec<&str> {
    page.split("data-check=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[tokio::test]
async fn the_page_puts_the_worst_first_and_refers_only_to_what_is_there() {
    let daemon = shop().await;
    let page = page(&daemon, "/").await;
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text} in {page}"));
    assert!(page.contains("1 check is down, 1 check is degraded, 1 check is unknown"));
    assert_eq!(rows(&page), ["shop-api", "shop-front", "z-new", "core-db"]);
    assert!(place("Needs attention") < place("data-check="));
    assert!(
        page.contains("href=\"/incidents/01INC\"") && page.contains("href=\"/checks/shop-api\"")
    );
    let assets: Vec<&str> = page.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert_eq!(assets.len(), 3, "{assets:?}");
    for asset in assets {
        let response = daemon.get(asset).await;
        assert_eq!(response.status(), 200, "{asset}");
        let kept = response.headers()["cache-control"].to_str().unwrap();
        assert!(kept.contains("immutable"), "{kept}");
    }
    assert!(!page.contains(" style=") && !page.contains("<style") && !page.contains("onclick"));
}

#[tokio::test]
async fn what_is_searched_for_and_chosen_is_shown_and_stays_in_the_address() {
    let daemon = shop().await;
    for (query, wanted) in [
        ("", &["shop-api", "shop-front", "z-new", "core-db"][..]),
        ("status=down", &["shop-api"]),
        ("kind=http", &["shop-api", "shop-front"]),
        ("q=503", &["shop-api", "shop-front"]),
        ("q=CORE&label=team%3Dshop", &["core-db"]),
        ("label=team%3Dother", &[]),
        ("status=paused", &[]),
        ("status=nonsense&page=-7&unknown=1", &["shop-api", "shop-front", "z-new", "core-db"]),
    ] {
        let page = page(&daemon, &format!("/?{query}")).await;
        assert_eq!(rows(&page), wanted, "{query}");
    }
    let found = page(&daemon, "/?q=shop&kind=http").await;
    // The tabs keep what else was asked for, and carry the figures of it.
    assert!(found.contains("?q=shop&amp;status=down&amp;kind=http\""), "{found}");
    assert!(found.contains("value=\"shop\"") && found.contains("<option selected>http"), "{found}");
    assert!(found.contains("All <b>2</b>"), "{found}");
    let none = page(&daemon, "/?q=zzz").await;
    assert!(none.contains("No check fits.") && none.contains("Show all 4"), "{none}");
}

#[tokio::test]
async fn many_checks_come_in_pages_and_a_page_too_far_is_the_last() {
    let daemon = Daemon::start().await;
    for n in 0..250 {
        daemon.board.put(check(&format!("c{n:03}"), "http", Status::Up));
    }
    let first = page(&daemon, "/").await;
    assert_eq!((rows(&first).len(), rows(&first)[99]), (100, "c099"));
    assert!(first.contains("1 to 100 of 250") && first.contains("?page=2\""), "{first}");
    let none = page(&daemon, "/?page=99999999999999999999999").await;
    let far = page(&daemon, "/?page=99999999999").await;
    assert_eq!(rows(&none), rows(&first), "a number that is none means the first page");
    assert_eq!(rows(&far), (200..250).map(|n| format!("c{n}")).collect::<Vec<_>>());
    assert!(far.contains("201 to 250 of 250") && far.contains("rel=\"prev\""), "{far}");
    assert!(!far.contains("rel=\"next\""), "{far}");
}

#[tokio::test]
async fn hostile_text_cannot_leave_its_place_on_a_page() {
    let daemon = shop().await;
    let evil = "</td></textarea><script>alert('\"x\"')</script>&amp;";
    let mut check = check("shop-api", "http", Status::Down);
    check.state.reasons = vec![evil.to_owned()];
    check.labels = Arc::new(
        [("team".to_owned(), evil.to_owned()), ("a<b".to_owned(), "\"><img src=x>".to_owned())]
            .into(),
    );
    Arc::make_mut(&mut check.facts).set("body", evil);
    let mut open = incident("01INC\"><img>", "shop-api");
    open.reasons = vec![evil.to_owned()];
    open.acknowledged = Some(crate::model::Acknowledgement {
        by: "<b>me</b>".to_owned(),
        note: None,
        at: open.opened_at,
        until: None,
    });
    open.runbook = Some("javascript:alert(1)".to_owned());
    daemon.store.incidents.lock().unwrap().push(open.clone());
    check.state.incident = Some(Box::new(open));
    daemon.board.put(check);
    let mut bad = result("shop-api", 3500, Status::Down);
    bad.reasons = vec![evil.to_owned()];
    bad.facts = json!({ "<img>": evil, "long": evil.repeat(9) });
    daemon.store.results.lock().unwrap().push(bad);
    daemon.control.daemon.lock().unwrap().store.error = Some("<i>full</i>".to_owned());
    for path in ["/", "/?group=team", "/?q=%22%3E%3Cimg%3E&label=x%3D%3Cimg%3E", "/checks/shop-api"]
    {
        let page = page(&daemon, path).await;
        for bad in ["<script>alert", "<img", "<b>me", "<i>full", "javascript:"] {
            assert!(!page.contains(bad), "{path}: {bad} in {page}");
        }
        if !path.contains("q=") {
            assert!(
                page.contains("&lt;script&gt;alert(&#x27;&quot;x&quot;&#x27;)"),
                "{path}: {page}"
            );
        }
    }
}

#[tokio::test]
async fn the_page_of_a_daemon_without_checks_says_what_to_do() {
    let daemon = Daemon::start().await;
    let page = page(&daemon, "/").await;
    assert!(page.contains("No checks yet") && page.contains("checks.d"), "{page}");
}

#[tokio::test]
async fn what_was_before_the_start_is_read_for_the_checks_that_are_shown() {
    let daemon = shop().await;
    let runs = (0..5).map(|n| result("core-db", 3000 + 60 * n, Status::Up));
    daemon.store.results.lock().unwrap().extend(runs);
    daemon.board.beat("core-db", Beat { at: at(3500), status: Status::Down, latency_ms: 7.0 });
    let mut found = String::new();
    for _ in 0..100 {
        found = page(&daemon, "/?q=core-db").await;
        if !found.contains("data-partial") {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(found.contains("data-s=\"uuuuux\""), "{found}");
    assert!(found.contains("Latest 6 results: 5 up, 1 down"), "{found}");
    assert!(found.contains("data-label=\"24 h\"><span class=\" \">100%"), "{found}");
}

#[tokio::test]
async fn a_store_that_is_away_is_said_and_the_rest_is_shown() {
    let daemon = shop().await;
    daemon.store.broken.store(true, SeqCst);
    let mut found = String::new();
    for _ in 0..100 {
        found = page(&daemon, "/").await;
        if found.contains("History is not available") {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(found.contains("History is not available since"), "{found}");
    assert_eq!(rows(&found).len(), 4);
    let found = page(&daemon, "/checks/shop-api").await;
    assert!(found.contains("The history does not answer"), "{found}");
    assert!(found.contains("status is 503") && !found.contains("secret-path"), "{found}");
    daemon.store.hanging.store(true, SeqCst);
    let found = page(&daemon, "/checks/core-db").await;
    assert!(found.contains("The history does not answer"), "{found}");
}

#[tokio::test]
async fn the_page_of_a_check_shows_its_past() {
    let daemon = shop().await;
    let run = |n: u64| {
        let status = if n % 10 == 9 { Status::Down } else { Status::Up };
        let mut run = result("shop-api", 60 * n, status);
        run.facts = json!({ "status": if status == Status::Up { 200 } else { 503 } });
        run.latency_ms = 10.0 + n as f64;
        run
    };
    daemon.store.results.lock().unwrap().extend((0..59).map(run));
    let keys = daemon.settings.load().keys.clone();
    let days = |count: u64| Duration::from_secs(count * 86_400);
    let reach = Reach { minute: days(30), hour: days(400) };
    let spans = Spans { reach, ..Spans::default() };
    daemon.settings.store(Arc::new(Settings { keys, spans, ..Settings::default() }));
    let mut old = incident("01OLD", "shop-api");
    old.resolved_at = Some(at(3100));
    daemon.store.incidents.lock().unwrap().push(old);
    let found = page(&daemon, "/checks/shop-api?span=1h").await;
    for part in [
        "href=\"/incidents/01INC\"",
        "href=\"/incidents/01OLD\"",
        "class=\"band incident\"",
        "data-p99=\"10.00,",
        "The last year",
        "24 hours",
        "?span=1h&amp;cursor=50#results\"",
        "?label=team%3Dshop\"",
        "status is 503",
    ] {
        assert!(found.contains(part), "{part} in {found}");
    }
    let older = page(&daemon, "/checks/shop-api?cursor=50").await;
    assert_eq!(older.matches("data-what=").count(), 9, "{older}");
    let bad = page(&daemon, "/checks/shop-api?only=bad").await;
    assert_eq!(bad.matches("data-what=").count(), 5, "{bad}");
    // What makes no sense in the address does no harm.
    page(&daemon, "/checks/shop-api?span=7w&cursor=%01&before=x").await;
}

#[tokio::test]
async fn a_check_that_is_not_there_has_a_page_that_leads_back() {
    let daemon = shop().await;
    for path in ["/checks/shop-apj", "/checks/%3Cscript%3E", "/checks/%ff", "/checks/a%2Fb"] {
        let answer = daemon.get(path).await;
        assert_eq!(answer.status(), 404, "{path}");
        let page = answer.text().await.unwrap();
        assert!(page.contains("There is no such check") && page.contains("href=\"/\""), "{page}");
        assert!(!page.contains("<script>"), "{page}");
    }
    let near = daemon.get("/checks/shop-apj").await.text().await.unwrap();
    assert!(near.contains("Did you mean `shop-api`?"), "{near}");
}

#[tokio::test]
async fn strangers_see_how_a_check_is_and_not_what_its_runs_saw() {
    let daemon = shop().await;
    let keys = daemon.settings.load().keys.clone();
    daemon.settings.store(Arc::new(Settings { keys, public_status: true, ..Settings::default() }));
    let mut seen = result("shop-api", 3500, Status::Down);
    seen.facts = json!({ "planted": "inner-host-7" });
    daemon.store.results.lock().unwrap().push(seen);
    let ask = || daemon.request("GET", "/checks/shop-api").header("x-forwarded-for", "192.0.2.1");
    let stranger = ask().send().await.unwrap().text().await.unwrap();
    assert!(stranger.contains("status is 503") && !stranger.contains("inner-host-7"), "{stranger}");
    assert!(!stranger.contains("data-events") && !stranger.contains("[[check]]"), "{stranger}");
    let reader = ask().bearer_auth(READER).send().await.unwrap().text().await.unwrap();
    assert!(reader.contains("inner-host-7") && reader.contains("data-events"), "{reader}");
    assert!(reader.contains("name = &quot;shop-api&quot;"), "{reader}");
}
