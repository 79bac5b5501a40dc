use super::{BLOCKS, KIND, SECTION};
use crate::deliver::Outcome;
use crate::deliver::support::testing::{
    Fake, answering, channel, dressed, hostile_messages, messages, net, read,
};
use serde_json::{Value as Json, json};
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
    let hook =
        channel(&KIND, &format!("webhook_url = \"{}\"", fake.url("/services/T/B/SECRETSECRET")));
    let bot = channel(
        &KIND,
        &format!("token = \"xoxb-secret\"\nchannel = \"C1\"\napi_url = \"{}\"", fake.url("/api")),
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
        (&hook, 429, "30", "rate_limited", retry(Some(30), "429 Too Many Requests: rate_limited")),
        (&hook, 500, "", "", retry(None, "500 Internal Server Error")),
        (
            &bot,
            200,
            "",
            r#"{"ok":false,"error":"channel_not_found"}"#,
            rejected("channel_not_found"),
        ),
        (&bot, 200, "", r#"{"ok":false,"error":"bad xoxb-secret"}"#, rejected("bad [secret]")),
        (&bot, 200, "5", r#"{"ok":false,"error":"ratelimited"}"#, retry(Some(5), "ratelimited")),
        (
            &bot,
            429,
            "9",
            r#"{"ok":false}"#,
            retry(Some(9), r#"429 Too Many Requests: {"ok":false}"#),
        ),
        // The answer repeats the message, and may be too long to be read whole.
        (&bot, 200, "", r#"{"ok":true,"channel":"C1","ts":"1.2","mes"#, Outcome::accepted()),
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
        "webhook_url = \"https://hooks.example/x\"\nupdate = true",
    ]
    .map(|text| read(&KIND, text).1);
    insta::assert_snapshot!(problems.join("\n"), @r"
    daemon.toml:1:1: needs `webhook_url`, or `token` and `channel` (create an incoming webhook, or a bot with the scope chat:write)
    daemon.toml:1:1: channel: is missing
    daemon.toml:2:9: token: there is a `webhook_url` already; one of them is enough
    daemon.toml:1:15: webhook_url: is not a URL: relative URL without a base (it starts with https:// or http://)
    daemon.toml:2:10: update: an incoming webhook cannot change what it has posted (use a bot: `token` and `channel` in place of `webhook_url`)
    ");
}

const POSTED: &str = r#"{"ok":true,"channel":"C1","ts":"1700.0001"}"#;
const HANDLE: &str = "#ops/C1/1700.0001";

#[tokio::test]
async fn news_goes_into_the_thread_and_a_live_message_shows_the_latest_state() {
    let fake = Fake::start().await;
    fake.answer(200, &[], POSTED);
    let bot = |update: bool| {
        let keys = format!("token = \"xoxb-1\"\nchannel = \"#ops\"\nupdate = {update}");
        channel(&KIND, &format!("{keys}\napi_url = \"{}\"", fake.url("/api")))
    };
    let (live, plain) = (bot(true), bot(false));
    assert!(live.keeps_live() && !plain.keeps_live());
    let told = Outcome::Accepted { handle: Some(HANDLE.to_owned()) };
    let [opened, worsened, resolved, ..] = &messages(&KIND)[..] else { panic!() };
    assert_eq!(live.send(&net(), opened).await, told);
    assert_eq!(fake.last().json().get("thread_ts"), None);

    assert_eq!(live.send(&net(), &answering(worsened, HANDLE)).await, told);
    assert_eq!(live.send(&net(), &answering(resolved, HANDLE)).await, told);
    let [_, edit, answer, last_edit, last_answer] = &fake.requests()[..] else { panic!() };
    assert_eq!(edit.uri.path(), "/api/chat.update");
    assert_eq!((&edit.json()["channel"], &edit.json()["ts"]), (&json!("C1"), &json!("1700.0001")));
    assert_eq!(edit.json()["text"], worsened.title);
    assert_eq!(answer.uri.path(), "/api/chat.postMessage");
    assert_eq!(answer.json()["channel"], "#ops");
    assert_eq!(answer.json()["thread_ts"], "1700.0001");
    assert_eq!(answer.json()["reply_broadcast"], true, "bad news shows in the channel, too");
    assert_eq!(last_edit.json()["attachments"], json!([]), "those of before go away");
    assert_eq!(last_answer.json().get("reply_broadcast"), None, "the channel shows it already");

    // Without a live message, the channel would never show the end.
    let resolved = crate::model::Message { live: Vec::new(), ..answering(resolved, HANDLE) };
    assert_eq!(plain.send(&net(), &resolved).await, told);
    assert_eq!((fake.requests().len(), &fake.last().json()["reply_broadcast"]), (6, &json!(true)));
}

#[tokio::test]
async fn what_cannot_be_changed_any_more_is_posted_anew() {
    let fake = Fake::start().await;
    let keys = "token = \"xoxb-1\"\nchannel = \"#ops\"\nupdate = true";
    let bot = channel(&KIND, &format!("{keys}\napi_url = \"{}\"", fake.url("/api")));
    let worsened = &messages(&KIND)[1];
    for why in ["message_not_found", "cant_update_message", "edit_window_closed"] {
        fake.answer(200, &[], &format!(r#"{{"ok":false,"error":"{why}"}}"#));
        fake.then(200, &[], r#"{"ok":true,"channel":"C1","ts":"1700.0002"}"#);
        let outcome = bot.send(&net(), &answering(worsened, HANDLE)).await;
        let handle = Some("#ops/C1/1700.0002".to_owned());
        assert_eq!(outcome, Outcome::Accepted { handle }, "{why}");
        assert_eq!(fake.last().json().get("thread_ts"), None);
    }
    fake.answer(200, &[("retry-after", "3")], r#"{"ok":false,"error":"ratelimited"}"#);
    let before = fake.requests().len();
    let outcome = bot.send(&net(), &answering(worsened, HANDLE)).await;
    assert!(matches!(outcome, Outcome::Retry { after: Some(_), .. }), "{outcome:?}");
    assert_eq!(fake.requests().len(), before + 1, "nothing is posted before the edit");

    // The messages of another channel are left alone.
    fake.answer(200, &[], POSTED);
    bot.send(&net(), &answering(worsened, "#other/C2/1700.0001")).await;
    assert_eq!(fake.requests().len(), before + 2);
    assert_eq!(fake.last().json().get("thread_ts"), None);
}

#[tokio::test]
async fn what_a_person_may_do_stands_on_buttons() {
    let fake = Fake::start().await;
    fake.answer(200, &[], "ok");
    let slack = channel(&KIND, &format!("webhook_url = \"{}\"", fake.url("/services/T/B/X")));
    slack.send(&net(), &dressed(&messages(&KIND)[0])).await;
    let sent = fake.last().json();
    let blocks = sent["attachments"][0]["blocks"].as_array().unwrap();
    insta::assert_json_snapshot!(blocks.last().unwrap(), @r#"
    {
      "type": "actions",
      "elements": [
        {
          "type": "button",
          "action_id": "open-0",
          "text": {
            "type": "plain_text",
            "text": "Acknowledge"
          },
          "url": "https://status.example/do/1?a=(b)"
        },
        {
          "type": "button",
          "action_id": "open-1",
          "text": {
            "type": "plain_text",
            "text": "Silence 2h"
          },
          "url": "https://status.example/do/2"
        }
      ]
    }
    "#);
}
