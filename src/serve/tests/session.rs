//! Signing in, and acting by the forms of pages.

use super::super::{ApiKey, Keys, Scope, Settings};
use super::fake::{Daemon, OPERATOR, READER, at, check, incident, notice, problem};
use crate::clock::Clock;
use crate::model::{NoticeState, Status, Timestamp};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Response};
use std::sync::Arc;
use std::time::Duration;

const HTML: &str = "text/html,application/xhtml+xml";

/// A browser on another machine, behind the proxy of this one.
struct Browser<'d> {
    daemon: &'d Daemon,
    client: reqwest::Client,
    cookie: String,
}

impl<'d> Browser<'d> {
    fn new(daemon: &'d Daemon) -> Self {
        let client = reqwest::Client::builder().no_proxy().redirect(Policy::none());
        Self { daemon, client: client.build().unwrap(), cookie: String::new() }
    }

    fn ask(&self, method: &str, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.daemon.url);
        let request = self.client.request(method.parse().unwrap(), url);
        let request = request.header("x-forwarded-for", "203.0.113.7").header("accept", HTML);
        request.header("cookie", &self.cookie)
    }

    async fn get(&self, path: &str) -> Response {
        self.ask("GET", path).send().await.unwrap()
    }

    async fn post(&self, path: &str, form: &str) -> Response {
        self.ask("POST", path).body(form.to_owned()).send().await.unwrap()
    }

    /// Signs in, and keeps the cookie.
    async fn sign_in(&mut self, key: &str) -> Response {
        let answer = self.post("/sign-in", &format!("key={key}&next=/incidents")).await;
        if let Some(cookie) = answer.headers().get("set-cookie") {
            self.cookie = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        }
        answer
    }

    /// The token of the forms of this session.
    async fn token(&self) -> String {
        let page = self.get("/incidents").await.text().await.unwrap();
        let after = page.split("name=\"csrf\" value=\"").nth(1).unwrap_or_else(|| panic!("{page}"));
        after.split('"').next().unwrap().to_owned()
    }
}

/// The text of a page as people read it, less what stands for single letters in HTML.
async fn text(answer: Response) -> String {
    let page = answer.text().await.unwrap();
    [("&#x2f;", "/"), ("&amp;", "&")].iter().fold(page, |page, (from, to)| page.replace(from, to))
}

fn place(answer: &Response) -> &str {
    answer.headers().get("location").map_or("", |place| place.to_str().unwrap())
}

/// A daemon whose pages are public, with an open incident and keys that read and operate.
async fn shop() -> Daemon {
    let daemon = Daemon::start().await;
    let mut down = check("shop-api", "http", Status::Down);
    down.state.incident = Some(Box::new(incident("01INC", "shop-api")));
    daemon.board.put(down);
    set(&daemon, true, None);
    daemon
}

fn set(daemon: &Daemon, public_status: bool, expires: Option<Timestamp>) {
    let both = vec![Scope::Read, Scope::Operate];
    let mut operator = ApiKey::from_plain("operator", OPERATOR, both).unwrap();
    operator.expires = expires;
    let reader = ApiKey::from_plain("reader", READER, vec![Scope::Read]).unwrap();
    let keys = Keys::new([operator, reader]);
    daemon.settings.store(Arc::new(Settings { keys, public_status, ..Settings::default() }));
}

#[tokio::test]
async fn a_key_gives_a_cookie_that_holds_no_key() {
    let daemon = shop().await;
    let mut browser = Browser::new(&daemon);
    let answer = browser.sign_in(OPERATOR).await;
    assert_eq!((answer.status().as_u16(), place(&answer)), (303, "/incidents"));
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains("Secure") && !cookie.contains(OPERATOR), "{cookie}");
    let page = browser.get("/incidents").await.text().await.unwrap();
    assert!(page.contains("operator") && page.contains("Sign out"), "{page}");
    assert!(!page.contains(OPERATOR));

    let by_tls = browser.ask("POST", "/sign-in").header("x-forwarded-proto", "https");
    let by_tls = by_tls.body(format!("key={OPERATOR}")).send().await.unwrap();
    assert!(by_tls.headers()["set-cookie"].to_str().unwrap().ends_with("; Secure"));
}

#[tokio::test]
async fn a_wrong_key_is_told_so_and_many_are_stopped() {
    let daemon = shop().await;
    let mut browser = Browser::new(&daemon);
    let answer = browser.sign_in("wrong").await;
    assert_eq!(answer.status(), 403);
    assert!(!answer.headers().contains_key("set-cookie"));
    assert!(answer.text().await.unwrap().contains("This key is not known here"));
    let mut last = 403;
    for _ in 0..200 {
        last = browser.sign_in("wrong").await.status().as_u16();
        if last != 403 {
            break;
        }
    }
    assert_eq!(last, 429);
}

#[tokio::test]
async fn pages_that_are_not_public_lead_to_where_one_signs_in() {
    let daemon = shop().await;
    set(&daemon, false, None);
    let mut browser = Browser::new(&daemon);
    for path in ["/", "/incidents?state=open", "/notices", "/status"] {
        let answer = browser.get(path).await;
        assert_eq!(answer.status(), 303, "{path}");
        assert!(place(&answer).starts_with("/sign-in?next=%2F"), "{}", place(&answer));
    }
    assert_eq!(
        place(&browser.get("/incidents?state=open").await),
        "/sign-in?next=%2Fincidents%3Fstate%3Dopen"
    );
    // Programs are told with a status.
    let program = browser.ask("GET", "/").header("accept", "*/*");
    assert_eq!(program.send().await.unwrap().status(), 303, "it takes pages as well");
    let program = browser.client.get(format!("{}/", daemon.url));
    let program = program.header("x-forwarded-for", "203.0.113.7").send().await.unwrap();
    assert_eq!(problem(program).await.0, 401);
    // The cookie does not come along from another site, but does so the second time.
    let from_elsewhere = browser.ask("GET", "/").header("sec-fetch-site", "cross-site");
    let from_elsewhere = from_elsewhere.send().await.unwrap();
    assert_eq!(from_elsewhere.status(), 200);
    assert!(from_elsewhere.text().await.unwrap().contains("content=\"0;url=/\""));

    browser.sign_in(READER).await;
    for path in ["/", "/incidents", "/notices", "/status", "/api/v1/checks"] {
        assert_eq!(browser.get(path).await.status(), 200, "{path}");
    }
    assert_eq!(place(&browser.get("/sign-in?next=//evil.example").await), "/");
}

#[tokio::test]
async fn a_forged_cut_or_ended_session_is_none() {
    let daemon = shop().await;
    set(&daemon, false, None);
    let mut browser = Browser::new(&daemon);
    browser.sign_in(OPERATOR).await;
    let good = browser.cookie.clone();
    let start = good.find('=').unwrap() + 1;
    for n in (start..good.len()).step_by(7) {
        let mut changed = good.clone().into_bytes();
        changed[n] = if changed[n] == b'A' { b'B' } else { b'A' };
        browser.cookie = String::from_utf8(changed).unwrap();
        assert_eq!(browser.get("/notices").await.status(), 303, "{n}");
        browser.cookie = good[..n].to_owned();
        assert_eq!(browser.get("/notices").await.status(), 303, "{n}");
    }
    browser.cookie = good.clone();
    let token = browser.token().await;
    assert_eq!(browser.post("/sign-out", "").await.status(), 403);
    assert_eq!(browser.get("/notices").await.status(), 200);
    let answer = browser.post("/sign-out", &format!("csrf={token}")).await;
    assert_eq!(answer.status(), 303);
    assert!(answer.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(browser.get("/notices").await.status(), 303, "the cookie was kept elsewhere");
}

#[tokio::test]
async fn a_session_ends_with_its_key_and_its_time() {
    let daemon = shop().await;
    set(&daemon, false, None);
    let mut browser = Browser::new(&daemon);
    browser.sign_in(OPERATOR).await;
    assert_eq!(browser.get("/notices").await.status(), 200);
    set(&daemon, false, Some(daemon.clock.wall()));
    assert_eq!(browser.get("/notices").await.status(), 303, "the key has expired");
    set(&daemon, false, None);
    assert_eq!(browser.get("/notices").await.status(), 200);
    daemon.settings.store(Arc::new(Settings::default()));
    assert_eq!(browser.get("/notices").await.status(), 303, "the key is gone");
    set(&daemon, false, None);
    daemon.clock.advance(Duration::from_secs(12 * 3600));
    assert_eq!(browser.get("/notices").await.status(), 303, "twelve hours are over");
}

#[tokio::test]
async fn a_form_acts_only_with_a_session_its_token_and_the_scope() {
    let daemon = shop().await;
    let mut browser = Browser::new(&daemon);
    let taken =
        || daemon.board.get("shop-api").unwrap().state.incident.clone().unwrap().acknowledged;
    let path = "/incidents/01INC/ack";
    let answer = browser.post(path, "note=x").await;
    assert_eq!(answer.status(), 401);
    let page = text(answer).await;
    assert!(page.contains("/sign-in?next=/incidents/01INC"), "{page}");
    // A key does not help: what programs do goes by the API.
    let with_key = browser.ask("POST", path).bearer_auth(OPERATOR).send().await.unwrap();
    assert_eq!(with_key.status(), 401);

    browser.sign_in(READER).await;
    let token = browser.token().await;
    assert_eq!(browser.post(path, &format!("csrf={token}")).await.status(), 403, "the scope");
    browser.sign_in(OPERATOR).await;
    assert_eq!(browser.post(path, &format!("csrf={token}")).await.status(), 403, "another's token");
    assert_eq!(browser.post(path, "note=x").await.status(), 403, "no token");
    let token = browser.token().await;
    let form = format!("csrf={token}&note=on+it");
    for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
        let foreign = browser.ask("POST", path).header(name, value).body(form.clone());
        assert_eq!(foreign.send().await.unwrap().status(), 403, "{name}");
    }
    assert_eq!(taken(), None);
    let answer = browser.ask("POST", path).header("origin", &daemon.url).body(form);
    let answer = answer.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), place(&answer)), (303, "/incidents/01INC"));
    let taken = taken().unwrap();
    assert_eq!((&*taken.by, taken.note.as_deref()), ("operator", Some("on it")));

    // The API does not take the cookie where something changes.
    let api = browser.ask("POST", "/api/v1/incidents/01INC/snooze").body(r#"{"for":"1h"}"#);
    assert_eq!(problem(api.send().await.unwrap()).await.0, 401);
}

#[tokio::test]
async fn every_deed_is_done_and_said() {
    let daemon = shop().await;
    let mut rejected = notice("01NOTICE", incident("01INC", "shop-api"));
    rejected.state = NoticeState::Rejected;
    daemon.store.notices.lock().unwrap().push(rejected.clone());
    daemon.control.owed.lock().unwrap().push(rejected);
    let mut browser = Browser::new(&daemon);
    browser.sign_in(OPERATOR).await;
    let token = browser.token().await;
    let session = browser.cookie.clone();
    for (path, fields, page, said) in [
        ("/checks/shop-api/run", "", "/checks/shop-api", "The check has run."),
        ("/checks/shop-api/pause", "", "/checks/shop-api", "The check is paused"),
        ("/checks/shop-api/resume", "back=/incidents", "/incidents", "The check runs again."),
        ("/checks/shop-api/silence", "for=30m", "/checks/shop-api", "Silenced"),
        ("/incidents/01INC/ack", "", "/incidents/01INC", "Acknowledged"),
        ("/incidents/01INC/unack", "back=//evil", "/", "Given back"),
        ("/incidents/01INC/snooze", "for=4h", "/incidents/01INC", "Snoozed"),
        ("/incidents/01INC/silence", "comment=a+move", "/incidents/01INC", "Silenced"),
        ("/notices/01NOTICE/retry", "", "/notices", "The notice is tried at once."),
    ] {
        let answer = browser.post(path, &format!("csrf={token}&{fields}")).await;
        assert_eq!((answer.status().as_u16(), place(&answer)), (303, page), "{path}");
        let cookie = answer.headers()["set-cookie"].to_str().unwrap();
        let word = cookie.split(';').next().unwrap();
        browser.cookie = format!("{session}; {word}");
        let page = browser.get("/incidents").await.text().await.unwrap();
        assert!(page.contains(said), "{path}: {said} in {page}");
        browser.cookie.clone_from(&session);
    }
    let silences = daemon.control.silences.lock().unwrap().clone();
    let ends: Vec<_> = silences.iter().map(|silence| silence.ends_at).collect();
    assert_eq!(ends, [at(3600 + 1800), at(3600 + 7200)]);
    assert_eq!(silences[1].comment, "a move");
    assert_eq!(silences[0].author, "operator");
    let path = format!("/silences/{}/expire", silences[0].id);
    assert_eq!(place(&browser.post(&path, &format!("csrf={token}")).await), "/notices");
    assert_eq!(daemon.control.silences.lock().unwrap()[0].ends_at, at(3600));
}

#[tokio::test]
async fn a_deed_that_cannot_be_done_says_why_on_a_page() {
    let daemon = shop().await;
    let mut browser = Browser::new(&daemon);
    browser.sign_in(OPERATOR).await;
    let token = browser.token().await;
    for (path, fields, status, said) in [
        ("/checks/shop-apj/run", "", 404, "Did you mean `shop-api`?"),
        ("/incidents/01NONE/ack", "", 404, "There is no incident `01NONE`."),
        ("/incidents/01INC/snooze", "for=soon", 400, "`for` is how long it counts"),
        ("/checks/shop-api/silence", "for=0s", 422, "The end is"),
    ] {
        let answer = browser.post(path, &format!("csrf={token}&{fields}")).await;
        assert_eq!(answer.status(), status, "{path}");
        let kind = answer.headers()["content-type"].to_str().unwrap();
        assert!(kind.starts_with("text/html"), "{kind}");
        let page = answer.text().await.unwrap();
        assert!(page.contains(said) && page.contains("<h1>"), "{said} in {page}");
    }
    let page = browser.get("/nothing/<script>").await;
    assert_eq!(page.status(), 404);
    assert!(!page.text().await.unwrap().contains("<script>/"));
}

#[tokio::test]
async fn the_page_of_an_incident_tells_its_story() {
    let daemon = shop().await;
    let mut told = notice("01NOTICE", incident("01INC", "shop-api"));
    told.recipient = "ops@shop.example".to_owned();
    daemon.store.notices.lock().unwrap().push(told);
    let browser = Browser::new(&daemon);
    let page = text(browser.get("/incidents/01INC").await).await;
    for part in [
        "shop-api is down, for 10 min",
        "Incident opened",
        "3 bad verdicts in a row",
        "https://wiki.example/shop-api",
        "team=shop",
        "sign-in?next=/incidents/01INC",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(!page.contains("ops@shop.example"), "a stranger learns who is told");
    let local = text(daemon.get("/incidents/01INC").await).await;
    for part in [
        "ops@shop.example",
        "429 Too Many Requests",
        "the channel has had its share",
        "<summary>2 tries</summary>",
        "connection refused",
    ] {
        assert!(local.contains(part), "{part} in {local}");
    }
    let text = daemon.get("/incidents/01INC/postmortem.md").await;
    assert_eq!(text.headers()["content-type"], "text/markdown; charset=utf-8");
    let name = text.headers()["content-disposition"].to_str().unwrap().to_owned();
    assert_eq!(name, "attachment; filename=\"postmortem-01INC.md\"");
    assert!(text.text().await.unwrap().contains("ops\\@shop.example"));
    assert_eq!(daemon.get("/incidents/01NONE").await.status(), 404);
}

#[tokio::test]
async fn lists_show_what_is_asked_for_and_go_on() {
    let daemon = shop().await;
    for n in 0..60 {
        let mut over =
            incident(&format!("02OLD{n:02}"), if n == 0 { "core-db" } else { "shop-api" });
        over.resolved_at = Some(at(3100));
        daemon.store.incidents.lock().unwrap().push(over);
        let owed = notice(&format!("03N{n:02}"), incident("01INC", "shop-api"));
        daemon.store.notices.lock().unwrap().push(owed);
    }
    let first = text(daemon.get("/incidents").await).await;
    assert!(first.contains("/incidents/01INC") && first.contains("/incidents/02OLD59"));
    assert!(!first.contains("02OLD09") && first.contains("/incidents?cursor=50"), "{first}");
    let second = text(daemon.get("/incidents?cursor=50").await).await;
    assert!(second.contains("02OLD09") && !second.contains("/incidents/01INC"), "{second}");
    let of_check = text(daemon.get("/incidents?check=core-db").await).await;
    assert!(of_check.contains("02OLD00") && !of_check.contains("02OLD01"));
    assert!(!of_check.contains("/incidents/01INC"));
    let open = text(daemon.get("/incidents?state=open").await).await;
    assert!(open.contains("/incidents/01INC") && !open.contains("02OLD"));
    let held = text(daemon.get("/notices?state=held").await).await;
    assert!(held.contains("/notices?state=held&cursor=50"), "{held}");
    daemon.store.broken.store(true, std::sync::atomic::Ordering::SeqCst);
    let page = text(daemon.get("/incidents").await).await;
    assert!(page.contains("/incidents/01INC") && page.contains("The store cannot be read"));
}
