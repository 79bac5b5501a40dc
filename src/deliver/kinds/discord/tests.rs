use super::{DESCRIPTION, KIND, TITLE};
use crate::deliver::Outcome;
use crate::deliver::support::testing::{Fake, channel, hostile_messages, messages, net, read};
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
