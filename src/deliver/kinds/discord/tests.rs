use super::{DESCRIPTION, KIND, TITLE};
use crate::deliver::Outcome;
use crate::deliver::support::testing::{
    Fake, answering, channel, dressed, hostile_messages, message_about, messages, net, read,
};
use crate::model::{Message, What};
use crate::render::sample;
use serde_json::{Value as Json, json};
use std::time::Duration;

/// Holds a body against Discord's limits.
fn assert_takes(body: &Json) {
    assert_eq!(body["allowed_mentions"], json!({ "parse": [] }));
    let embed = &body["embeds"][0];
    let length = |part: &Json| part.as_str().unwrap_or_default().chars().count();
    let (title, text) = (length(&embed["title"]), length(&embed["description"]));
    assert!((1..=TITLE).contains(&title) && text <= DESCRIPTION, "{title} {text}");
    assert!(title + text + length(&embed["footer"]["text"]) <= 6_000);
    let dangling = embed["description"].as_str().unwrap_or_default();
    assert!(!dangling.trim_end_matches('…').ends_with("\\"), "{dangling}");
}

#[tokio::test]
async fn a_message_is_an_embed_in_the_colour_of_the_state() {
    let fake = Fake::start().await;
    fake.answer(200, &[], "{}");
    let url = fake.url("/api/webhooks/1/x?thread_id=7");
    let discord = channel(&KIND, &format!("webhook_url = \"{url}\""));
    for message in messages(&KIND).iter().chain(&hostile_messages(&KIND)) {
        assert_eq!(discord.send(&net(), message).await, Outcome::accepted());
        assert_takes(&fake.last().json());
    }
    assert_eq!(fake.last().uri.query(), Some("thread_id=7&wait=true"));
    insta::assert_json_snapshot!(fake.requests()[0].json(), @r#"
    {
      "embeds": [
        {
          "title": "🔴 DOWN shop-api — status == 200 failed: status is 503",
          "color": 14105161,
          "timestamp": "2026-03-01T09:20:12.000Z",
          "footer": {
            "text": "prod"
          },
          "description": "Since 2026-03-01 09:15:02 UTC\ncritical · http · team=shop · tier=1\n[Runbook](https://wiki.example/shop-api)"
        }
      ],
      "allowed_mentions": {
        "parse": []
      }
    }
    "#);
    insta::assert_json_snapshot!(fake.requests()[2].json(), @r#"
    {
      "embeds": [
        {
          "title": "🟢 UP billing — was down for 5m 10s",
          "color": 3055683,
          "timestamp": "2026-03-01T09:20:12.000Z",
          "footer": {
            "text": "prod"
          }
        }
      ],
      "allowed_mentions": {
        "parse": []
      }
    }
    "#);
}

#[tokio::test]
async fn discords_answers_say_what_to_do() {
    let fake = Fake::start().await;
    let url = fake.url("/api/webhooks/1/SECRETSECRET");
    let discord = channel(&KIND, &format!("webhook_url = \"{url}\""));
    let message = &messages(&KIND)[0];
    let limited = r#"{"message":"slow down","retry_after":0.25}"#;
    for (status, headers, body, expected) in [
        (204, vec![], "", Outcome::accepted()),
        (
            429,
            vec![("retry-after", "1")],
            limited,
            Outcome::Retry {
                after: Some(Duration::from_millis(250)),
                why: format!("429 Too Many Requests: {limited}"),
            },
        ),
        (
            429,
            vec![("retry-after", "65")],
            "banned",
            Outcome::Retry {
                after: Some(Duration::from_secs(65)),
                why: "429 Too Many Requests: banned".to_owned(),
            },
        ),
        (
            404,
            vec![],
            r#"{"message":"Unknown SECRETSECRET"}"#,
            Outcome::Rejected {
                why: r#"404 Not Found: {"message":"Unknown [secret]"}"#.to_owned(),
            },
        ),
    ] {
        fake.answer(status, &headers, body);
        assert_eq!(discord.send(&net(), message).await, expected);
    }
    assert!(!format!("{discord:?}").contains("SECRET"));
}

#[test]
fn the_address_must_be_there() {
    assert_eq!(read(&KIND, "").1, "daemon.toml:1:1: webhook_url: is missing");
}

const POSTED: &str = r#"{"type":0,"id":"9001","channel_id":"697"}"#;
const HANDLE: &str = "42.7/697/9001";

fn told() -> Outcome {
    Outcome::Accepted { handle: Some(HANDLE.to_owned()) }
}

#[tokio::test]
async fn a_live_message_is_changed_and_what_people_should_hear_links_to_it() {
    let fake = Fake::start().await;
    fake.answer(200, &[], POSTED);
    let url = fake.url("/api/webhooks/42/SECRETSECRET?thread_id=7");
    let discord = channel(&KIND, &format!("webhook_url = \"{url}\"\nupdate = true"));
    assert!(discord.keeps_live());
    let [opened, worsened, resolved, ..] = &messages(&KIND)[..] else { panic!() };
    assert_eq!(discord.send(&net(), opened).await, told());

    fake.then(200, &[], r#"{"id":"42","guild_id":"613"}"#);
    fake.then(200, &[], POSTED);
    assert_eq!(discord.send(&net(), &answering(worsened, HANDLE)).await, told());
    assert_eq!(discord.send(&net(), &answering(resolved, HANDLE)).await, told());
    let asked: Vec<String> =
        fake.requests().iter().map(|it| format!("{} {}", it.method, it.uri)).collect();
    insta::assert_snapshot!(asked.join("\n"), @r"
    POST /api/webhooks/42/SECRETSECRET?thread_id=7&wait=true
    PATCH /api/webhooks/42/SECRETSECRET/messages/9001?thread_id=7
    GET /api/webhooks/42/SECRETSECRET
    POST /api/webhooks/42/SECRETSECRET?thread_id=7&wait=true
    PATCH /api/webhooks/42/SECRETSECRET/messages/9001?thread_id=7
    POST /api/webhooks/42/SECRETSECRET?thread_id=7&wait=true
    ");
    let [_, edit, _, heard, last_edit, end] = &fake.requests()[..] else { panic!() };
    assert_eq!(edit.json()["embeds"][0]["title"], worsened.title);
    assert_eq!(edit.json()["attachments"], json!([]), "an old picture would lie");
    let heard = &heard.json()["embeds"][0];
    assert_eq!(heard["title"], worsened.title);
    let link = "[The whole message](https://discord.com/channels/613/697/9001)";
    assert_eq!(heard["description"], link);
    assert_eq!(last_edit.json()["embeds"][0].get("description"), None);
    assert_eq!(end.json()["embeds"][0]["title"], resolved.title);

    let ended = message_about(&KIND, What::FlappingEnded, &sample::incidents()[..1]);
    let before = fake.requests().len();
    assert_eq!(discord.send(&net(), &answering(&ended, HANDLE)).await, told());
    assert_eq!(fake.requests().len(), before + 1, "nobody has to hear that");
}

#[tokio::test]
async fn what_cannot_be_changed_any_more_is_posted_anew() {
    let fake = Fake::start().await;
    fake.answer(404, &[], r#"{"message":"Unknown Message","code":10008}"#);
    fake.then(200, &[], r#"{"id":"9002","channel_id":"697"}"#);
    let url = fake.url("/api/webhooks/42/SECRETSECRET");
    let discord = channel(&KIND, &format!("webhook_url = \"{url}\"\nupdate = true"));
    let worsened = &messages(&KIND)[1];
    let handle = Some("42./697/9002".to_owned());
    let outcome = discord.send(&net(), &answering(worsened, "42./697/9001")).await;
    assert_eq!(outcome, Outcome::Accepted { handle });
    assert!(fake.last().json()["embeds"][0]["description"].is_string(), "it says all");
    // That of another webhook, or of a thread, is left alone.
    discord.send(&net(), &answering(worsened, HANDLE)).await;
    assert_eq!(fake.requests().len(), 3);
    // Without a live message each stands for itself.
    let plain = channel(&KIND, &format!("webhook_url = \"{url}\""));
    let news = Message { live: Vec::new(), ..answering(worsened, "42./697/9001") };
    let outcome = plain.send(&net(), &news).await;
    assert_eq!(outcome, Outcome::Accepted { handle: Some("42./697/9001".to_owned()) });
    assert_eq!(fake.last().json()["embeds"][0]["title"], worsened.title);
}

#[tokio::test]
async fn a_picture_goes_with_the_message_and_actions_are_links() {
    let fake = Fake::start().await;
    fake.answer(200, &[], POSTED);
    let url = fake.url("/api/webhooks/42/SECRETSECRET?thread_id=7");
    let discord = channel(&KIND, &format!("webhook_url = \"{url}\""));
    assert_eq!(discord.send(&net(), &dressed(&messages(&KIND)[0])).await, told());
    let kind = fake.last().headers["content-type"].to_str().unwrap().to_owned();
    assert!(kind.starts_with("multipart/form-data"), "{kind}");
    let form = String::from_utf8_lossy(&fake.last().body).into_owned();
    for part in [
        r#"name="payload_json""#,
        r#"name="files[0]"; filename="recent.png""#,
        "Content-Type: image/png",
        r#""attachments":[{"id":0,"filename":"recent.png","description":"10 of 12 runs failed"}]"#,
        r#""image":{"url":"attachment://recent.png"}"#,
        "\\n[Acknowledge](https://status.example/do/1?a=%28b%29) · \
         [Silence 2h](https://status.example/do/2)\"",
    ] {
        assert!(form.contains(part), "{part}: {form}");
    }
    for message in hostile_messages(&KIND) {
        let actions = dressed(&message).actions;
        discord.send(&net(), &Message { actions, ..message }).await;
        assert_takes(&fake.last().json());
    }
}
