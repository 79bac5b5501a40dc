//! A message is a handle on its incident: it shows the last hour, and its links let whoever reads it
//! act, once, without a key and from anywhere.

use crate::harness::{Daemon, PATIENCE, Received, Setup, Smtp, Target, client, eventually};
use serde_json::Value;

const PUBLIC: &str = "https://watch.shop.example/ops";

/// Two channels to one address, as for two teams that share a mailbox.
fn channels(smtp: &Smtp) -> String {
    let channel = |name: &str| {
        format!(
            "[[channel]]\nname = \"{name}\"\ncooldown = \"0s\"\n[channel.email]\n\
             host = \"127.0.0.1\"\nport = {}\ntls = \"none\"\n\
             from = \"Watchbell <watchbell@shop.example>\"\nto = [\"ops@shop.example\"]\n",
            smtp.port
        )
    };
    channel("day-mail") + &channel("night-mail")
}

/// The path of the link that a mail offers under this label.
fn link(mail: &Received, label: &str) -> String {
    let start = format!("{label}: {PUBLIC}");
    let mut links = mail.text.lines().filter_map(|line| line.strip_prefix(&*start));
    let path = links.next().unwrap_or_else(|| panic!("no {label} in {}", mail.text)).to_owned();
    // The HTML has it as a button.
    let html = mail.body["html"].as_str().unwrap();
    assert!(html.contains(&format!("href=\"{PUBLIC}{path}\"")), "{html}");
    path
}

/// A request from elsewhere, by the proxy before the daemon, without a key.
async fn visit(daemon: &Daemon, method: &str, path: &str, form: &str) -> (u16, String) {
    let request = client().request(method.parse().unwrap(), daemon.url(path));
    let request = request.header("x-forwarded-for", "203.0.113.9").body(form.to_owned());
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn incident(daemon: &Daemon, id: &str) -> Value {
    daemon.get(&format!("/api/v1/incidents/{id}")).await
}

#[tokio::test]
async fn a_mail_shows_the_last_hour_and_its_links_act_once() {
    let smtp = Smtp::start().await;
    let target = Target::start();
    let check = target.check("shop", "confirm_after = 1");
    let mut daemon = Setup::new()
        .daemon(&format!("public_url = \"{PUBLIC}\""))
        .tables(&channels(&smtp))
        .checks("shop.toml", &check)
        .start()
        .await;
    eventually("some history", PATIENCE, async || {
        (daemon.list("/api/v1/checks/shop/results?limit=4").await.len() == 4).then_some(())
    })
    .await;
    target.answer(500);
    let mails = smtp.inbox.wait_for_count(2).await;
    let ids: Vec<&Value> = mails.iter().map(|mail| &mail.body["headers"]["Message-ID"]).collect();
    assert_ne!(ids[0], ids[1], "two channels to one address");
    let mail = &mails[0];
    let picture = &mail.body["pictures"][0];
    assert_eq!((&picture[0], &picture[1]), (&"<last-hour@watchbell>".into(), &"image/png".into()));
    assert!((2_000..30_000).contains(&picture[2].as_u64().unwrap()), "{picture}");
    let html = mail.body["html"].as_str().unwrap();
    assert!(html.contains("src=\"cid:last-hour@watchbell\" alt=\"The last hour of shop"), "{html}");

    let opened = daemon.wait_for_incident("shop", "open", &[]).await;
    let id = opened["id"].as_str().unwrap().to_owned();
    let (take, silence) = (link(mail, "Acknowledge"), link(mail, "Silence 2h"));
    for method in ["GET", "HEAD", "GET"] {
        assert_eq!(visit(&daemon, method, &take, "").await.0, 200);
    }
    assert_eq!(incident(&daemon, &id).await["acknowledged"], Value::Null, "a look does nothing");
    let (status, page) = visit(&daemon, "POST", &take, "who=Anna").await;
    assert!(status == 200 && page.contains("Acknowledged by Anna"), "{status}: {page}");
    let taken = incident(&daemon, &id).await.to_string();
    assert!(taken.contains("Anna") && taken.contains("by a link of "), "{taken}");

    // It stays used, and the others stay good, whatever happens to the daemon.
    daemon.kill();
    daemon.start_again().await;
    daemon.wait_for_incident("shop", "open", &[]).await;
    let (status, page) = visit(&daemon, "POST", &take, "who=Bob").await;
    assert!(status == 410 && page.contains("used already"), "{status}: {page}");
    assert!(incident(&daemon, &id).await.to_string().contains("Anna"));
    let forged = format!("{}A", &silence[..silence.len() - 1]);
    if forged != silence {
        assert_eq!(visit(&daemon, "POST", &forged, "who=Eve").await.0, 403);
    }
    assert_eq!(visit(&daemon, "POST", &silence, "who=Bob").await.0, 200);
    let silences = daemon.list("/api/v1/silences").await;
    assert!(silences.len() == 1 && silences[0]["comment"].to_string().contains("by a link of"));

    // The other channel's link is another one; it ends with the incident.
    let other = link(&mails[1], "Acknowledge");
    assert_ne!(other, take);
    target.answer(200);
    daemon.wait_for_incident("shop", "resolved", &[]).await;
    let (status, page) = visit(&daemon, "POST", &other, "who=Anna").await;
    assert!(status == 410 && page.contains("no longer open"), "{status}: {page}");
    let over = smtp.inbox.wait_for(2, &["UP shop"]).await;
    assert!(!over.text.contains("/act/") && over.body["pictures"] == Value::Array(Vec::new()));
}

#[tokio::test]
async fn without_a_public_address_there_are_no_links() {
    let smtp = Smtp::start().await;
    let target = Target::start();
    let check = target.check("shop", "confirm_after = 1");
    let setup = Setup::new().tables(&channels(&smtp)).checks("shop.toml", &check);
    let daemon = setup.start().await;
    daemon.wait_for_status("shop", "up").await;
    target.answer(500);
    let mail = smtp.inbox.wait_for(0, &["DOWN shop"]).await;
    assert!(!mail.text.contains("Acknowledge") && !mail.text.contains("/act/"), "{}", mail.text);
}
