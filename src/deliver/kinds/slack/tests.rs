use super::{BLOCKS, KIND, SECTION};
use crate::deliver::Outcome;
use crate::deliver::support::testing::{Fake, channel, hostile_messages, messages, net, read};
use serde_json::Value as Json;
use std::time::Duration;

/// Holds a body against the limits of Block Kit.
fn assert_takes(body: &Json) {
    let blocks = body["blocks"].as_array().unwrap();
    let attached = body["attachments"][0]["blocks"].as_array();
    let all: Vec<&Json> = blocks.iter().chain(attached.into_iter().flatten()).collect();
    assert!(all.len() <= BLOCKS, "{}", all.len());
    for block in all {
        let text = block["text"]["text"].as_str().unwrap();
        assert!((1..=SECTION).contains(&text.chars().count()), "{}", text.len());
        for entity in text.split('&').skip(1) {
            assert!(
                entity.starts_with("amp;")
                    || entity.starts_with("lt;")
                    || entity.starts_with("gt;")
                    || entity.starts_with([' ', '…']),
                "{entity}"
            );
        }
    }
}

#[tokio::test]
async fn a_webhook_gets_the_title_and_the_text_beside_a_coloured_bar() {
    let fake = Fake::start().await;
    fake.answer(200, &[], "ok");
    let slack = channel(&KIND, &format!("webhook_url = \"{}\"", fake.url("/services/T/B/X")));
    for message in messages(&KIND).iter().chain(&hostile_messages(&KIND)) {
        assert_eq!(slack.send(&net(), message).await, Outcome::accepted());
        assert_takes(&fake.last().json());
    }
    insta::assert_json_snapshot!(fake.requests()[0].json(), @r##"
    {
      "text": "🔴 *DOWN shop-api* — status == 200 failed: status is 503",
      "blocks": [
        {
          "type": "section",
          "text": {
            "type": "mrkdwn",
            "text": "🔴 *DOWN shop-api* — status == 200 failed: status is 503",
            "verbatim": true
          }
        }
      ],
      "unfurl_links": false,
      "unfurl_media": false,
      "attachments": [
        {
          "color": "#d73a49",
          "blocks": [
            {
              "type": "section",
              "text": {
                "type": "mrkdwn",
                "text": "Since 2026-03-01 09:15:02 UTC\ncritical · http · team=shop · tier=1 · prod\n<https://wiki.example/shop-api|Runbook>",
                "verbatim": true
              }
            }
          ]
        }
      ]
    }
    "##);
    insta::assert_json_snapshot!(fake.requests()[2].json(), @r#"
    {
      "text": "🟢 *UP billing* — was down for 5m 10s · prod",
      "blocks": [
        {
          "type": "section",
          "text": {
            "type": "mrkdwn",
            "text": "🟢 *UP billing* — was down for 5m 10s · prod",
            "verbatim": true
          }
        }
      ],
      "unfurl_links": false,
      "unfurl_media": false
    }
    "#);
}

#[tokio::test]
async fn a_bot_posts_to_its_channel() {
    let fake = Fake::start().await;
    fake.answer(200, &[], r#"{"ok":true,"ts":"1.2"}"#);
    let slack = channel(
        &KIND,
        &format!("token = \"xoxb-1\"\nchannel = \"#ops\"\napi_url = \"{}\"", fake.url("/api/")),
    );
    assert_eq!(slack.send(&net(), &messages(&KIND)[0]).await, Outcome::accepted());
    let request = fake.last();
    assert_eq!(request.uri.path(), "/api/chat.postMessage");
    assert_eq!(request.headers["authorization"], "Bearer xoxb-1");
    assert_eq!(request.json()["channel"], "#ops");
}

#[tokio::test]
async fn slacks_answers_say_what_to_do() {
    let fake = Fake::start().await;
    let hook = channel(
        &KIND,
        &format!("webhook_url = \"{}\"", fake.url("/services/T/B/SECRETSECRET")),
    );
    let bot = channel(
        &KIND,
        &format!(
            "token = \"xoxb-secret\"\nchannel = \"C1\"\napi_url = \"{}\"",
            fake.url("/api")
        ),
    );
    let rejected = |why: &str| Outcome::Rejected { why: why.to_owned() };
    let retry = |after: Option<u64>, why: &str| Outcome::Retry {
        after: after.map(Duration::from_secs),
        why: why.to_owned(),
    };
    let message = &messages(&KIND)[0];
    for (channel, status, wait, body, expected) in [
        (&hook, 404, "", "no_service", rejected("404 Not Found: no_service")),
        (&hook, 400, "", "invalid_payload", rejected("400 Bad Request: invalid_payload")),
        (&hook, 404, "", "no SECRETSECRET", rejected("404 Not Found: no [secret]")),
        (
            &hook,
            429,
            "30",
            "rate_limited",
            retry(Some(30), "429 Too Many Requests: rate_limited"),
        ),
        (&hook, 500, "", "", retry(None, "500 Internal Server Error")),
        (
            &bot,
            200,
            "",
            r#"{"ok":false,"error":"channel_not_found"}"#,
            rejected("channel_not_found"),
        ),
        (&bot, 200, "", r#"{"ok":false,"error":"bad xoxb-secret"}"#, rejected("bad [secret]")),
        (
            &bot,
            200,
            "5",
            r#"{"ok":false,"error":"ratelimited"}"#,
            retry(Some(5), "ratelimited"),
        ),
        (
            &bot,
            429,
            "9",
            r#"{"ok":false}"#,
            retry(Some(9), r#"429 Too Many Requests: {"ok":false}"#),
        ),
        (&bot, 200, "", "<html>", retry(None, "this is not Slack's answer: <html>")),
    ] {
        let headers = [("retry-after", wait)];
        fake.answer(status, if wait.is_empty() { &[] } else { &headers }, body);
        assert_eq!(channel.send(&net(), message).await, expected);
    }
    assert!(!format!("{hook:?}{bot:?}").to_lowercase().contains("secretsecret"));
    assert!(!format!("{bot:?}").contains("xoxb"));
}

#[test]
fn problems_say_what_to_do() {
    let problems = [
        "",
        "token = \"xoxb-1\"",
        "webhook_url = \"https://hooks.example/x\"\ntoken = \"xoxb-1\"\nchannel = \"C1\"",
        "webhook_url = \"hooks.example\"",
    ]
    .map(|text| read(&KIND, text).1);
    insta::assert_snapshot!(problems.join("\n"), @r"
    daemon.toml:1:1: needs `webhook_url`, or `token` and `channel` (create an incoming webhook, or a bot with the scope chat:write)
    daemon.toml:1:1: channel: is missing
    daemon.toml:2:9: token: there is a `webhook_url` already; one of them is enough
    daemon.toml:1:15: webhook_url: is not a URL: relative URL without a base (it starts with https:// or http://)
    ");
}
