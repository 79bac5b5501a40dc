//! The pages behind the links of an alert.

use super::super::{Deed, LINKS_LAST, Permit};
use super::fake::{Daemon, check, incident};
use crate::clock::Clock;
use crate::model::Status;
use std::sync::atomic::Ordering::SeqCst;

/// A daemon with one open incident, reached as if from elsewhere.
async fn shop() -> Daemon {
    let daemon = Daemon::start().await;
    let mut down = check("shop-api", "http", Status::Down);
    down.state.incident = Some(Box::new(incident("01INC", "shop-api")));
    daemon.board.put(down);
    daemon
}

fn link(daemon: &Daemon, deed: Deed) -> String {
    let permit = Permit {
        deed,
        incident: "01INC".to_owned(),
        channel: "ops-<slack>".into(),
        until: daemon.clock.wall().after(LINKS_LAST),
    };
    format!("/act/{}", daemon.links.sign(&permit).unwrap())
}

/// A request from another machine, without a key: its status and page.
async fn page(daemon: &Daemon, method: &str, path: &str, form: &str) -> (u16, String) {
    let request = daemon.request(method, path).header("x-forwarded-for", "203.0.113.7");
    let answer = request.body(form.to_owned()).send().await.unwrap();
    let headers = answer.headers();
    for (name, value) in [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-robots-tag", "noindex, nofollow"),
        ("content-type", "text/html; charset=utf-8"),
    ] {
        assert_eq!(headers[name], value);
    }
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn acknowledged(daemon: &Daemon) -> Option<String> {
    let view = daemon.board.get("shop-api").unwrap();
    let taken = view.state.incident.as_ref()?.acknowledged.clone()?;
    Some(format!("{}: {}", taken.by, taken.note.unwrap_or_default()))
}

#[tokio::test]
async fn a_look_at_a_link_does_nothing_and_a_press_does_it_once() {
    let daemon = shop().await;
    let path = link(&daemon, Deed::Acknowledge);
    for _ in 0..2 {
        let (status, page) = page(&daemon, "GET", &path, "").await;
        assert_eq!(status, 200);
        assert!(page.contains("Take shop-api on?") && page.contains("<button>Acknowledge"));
        assert!(page.contains("status is 503") && page.contains("ops-&lt;slack&gt;"), "{page}");
        assert!(!page.contains("<script"));
        assert_eq!(acknowledged(&daemon), None);
    }
    let (status, answer) = page(&daemon, "POST", &path, "who=++").await;
    assert!(status == 422 && answer.contains("Please say who you are."), "{status}");
    let (status, answer) = page(&daemon, "POST", &path, "x=1&who=Anna+%3Cb%3E%0d%0aM.").await;
    assert!(status == 200 && answer.contains("Acknowledged by Anna &lt;b&gt; M."), "{answer}");
    assert_eq!(acknowledged(&daemon).unwrap(), "Anna <b> M.: by a link of ops-<slack>");
    for method in ["GET", "POST"] {
        let (status, answer) = page(&daemon, method, &path, "who=Bob").await;
        assert!(status == 410 && answer.contains("This link was used already"), "{status}");
        assert!(answer.contains("Anna"), "who has it");
    }
    assert!(acknowledged(&daemon).unwrap().starts_with("Anna"));
}

#[tokio::test]
async fn a_check_is_silenced_for_two_hours() {
    let daemon = shop().await;
    let path = link(&daemon, Deed::Silence);
    let (status, asked) = page(&daemon, "GET", &path, "").await;
    assert!(status == 200 && asked.contains("Silence shop-api for two hours?"), "{asked}");
    let (status, answer) = page(&daemon, "POST", &path, "who=Anna").await;
    assert!(status == 200 && answer.contains("until 2025-01-01 03:00Z"), "{answer}");
    let silences = daemon.control.silences.lock().unwrap().clone();
    let [silence] = &silences[..] else { panic!("{silences:?}") };
    assert_eq!((&*silence.author, &*silence.comment), ("Anna", "by a link of ops-<slack>"));
    assert_eq!(silence.matchers[0].to_string(), "name=\"shop-api\"");
    assert_eq!(silence.ends_at.since(silence.starts_at), Deed::SILENCE);
}

#[tokio::test]
async fn a_link_that_is_void_says_why() {
    let daemon = shop().await;
    let path = link(&daemon, Deed::Acknowledge);
    for method in ["GET", "POST"] {
        let cut = &path[..path.len() - 1];
        for changed in [cut, "/act/x", "/act/%ff", "/act/AWE"] {
            let (status, answer) = page(&daemon, method, changed, "who=Anna").await;
            assert!(status == 403 && answer.contains("This link is not valid"), "{changed}");
        }
    }
    let whole = daemon.board.get("shop-api").unwrap();
    daemon.board.put(check("shop-api", "http", Status::Up));
    let (status, answer) = page(&daemon, "POST", &path, "who=Anna").await;
    assert!(status == 410 && answer.contains("no longer open"), "{answer}");
    daemon.board.put((*whole).clone());
    daemon.clock.advance(LINKS_LAST + std::time::Duration::from_secs(1));
    let (status, answer) = page(&daemon, "POST", &path, "who=Anna").await;
    assert!(status == 410 && answer.contains("This link is too old"), "{answer}");
    assert_eq!(acknowledged(&daemon), None);
}

#[tokio::test]
async fn a_link_with_which_nothing_was_done_still_works() {
    let daemon = shop().await;
    let path = link(&daemon, Deed::Acknowledge);
    daemon.control.stopping.store(true, SeqCst);
    let answer = daemon.request("POST", &path).body("who=Anna").send().await.unwrap();
    assert_eq!(answer.status(), 503);
    daemon.control.stopping.store(false, SeqCst);
    let (status, _) = page(&daemon, "POST", &path, "who=Anna").await;
    assert_eq!(status, 200);
    assert!(acknowledged(&daemon).unwrap().starts_with("Anna"));
}

#[tokio::test]
async fn of_many_who_press_at_once_one_gets_through() {
    let daemon = shop().await;
    let path = link(&daemon, Deed::Silence);
    let presses = (0..10).map(|_| page(&daemon, "POST", &path, "who=Anna"));
    let answers = futures_util::future::join_all(presses).await;
    assert_eq!(answers.iter().filter(|answer| answer.0 == 200).count(), 1);
    assert_eq!(daemon.control.silences.lock().unwrap().len(), 1);
    let large = format!("who={}", "x".repeat(100_000));
    let other = link(&daemon, Deed::Acknowledge);
    let answer = daemon.request("POST", &other).body(large).send().await.unwrap();
    assert_eq!(answer.status(), 413);
}
