use super::{KIND, TEXT, plain};
use crate::deliver::support::testing::{Fake, channel, hostile_messages, messages, net, read};
use crate::deliver::{Channel, Outcome};
use crate::model::{Format, Severity, What};
use crate::render::length;
use std::time::Duration;

const OK: &str = r#"{"ok":true,"result":{"message_id":1}}"#;

fn telegram(fake: &Fake) -> Box<dyn Channel> {
    let api = fake.url("/api/");
    channel(&KIND, &format!("token = \"1:SECRET\"\nchat_id = -100\napi_url = \"{api}\""))
}

/// Reads HTML as Telegram does: tags closed in order, no bare `<`, four entities.
fn assert_parses(html: &str) {
    let mut open = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>').expect("an unclosed tag");
        let tag = &rest[start + 1..end];
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{html}"),
            None => open.push(tag.split(' ').next().unwrap()),
        }
        rest = &rest[end + 1..];
    }
    assert_eq!(open, [""; 0], "{html}");
    assert!((1..=TEXT).contains(&length(Format::TelegramHtml, html)));
}

#[tokio::test]
async fn a_message_is_html_that_telegram_reads() {
    let fake = Fake::start().await;
    fake.answer(200, &[], OK);
    let telegram = telegram(&fake);
    let hostile = hostile_messages(&KIND);
    for message in messages(&KIND).iter().chain(&hostile[..2]) {
        assert!(telegram.send(&net(), message).await.is_accepted());
        assert_parses(fake.last().json()["text"].as_str().unwrap());
    }
    assert_eq!(fake.last().uri.path(), "/api/bot1:SECRET/sendMessage");
    insta::assert_json_snapshot!(fake.requests()[0].json(), @r#"
    {
      "chat_id": -100,
      "text": "🔴 <b>DOWN shop-api</b> — status == 200 failed: status is 503\nSince 2026-03-01 09:15:02 UTC\ncritical · http · team=shop · tier=1 · prod\n<a href=\"https://wiki.example/shop-api\">Runbook</a>",
      "parse_mode": "HTML",
      "link_preview_options": {
        "is_disabled": true
      }
    }
    "#);
    insta::assert_json_snapshot!(fake.requests()[2].json(), @r#"
    {
      "chat_id": -100,
      "text": "🟢 <b>UP billing</b> — was down for 5m 10s · prod",
      "parse_mode": "HTML",
      "link_preview_options": {
        "is_disabled": true
      }
    }
    "#);
}

#[tokio::test]
async fn html_that_telegram_cannot_read_goes_as_plain_text() {
    let fake = Fake::start().await;
    fake.answer(
        400,
        &[],
        r#"{"ok":false,"error_code":400,"description":"Bad Request: can't parse entities: …"}"#,
    );
    fake.then(200, &[], OK);
    let message = &hostile_messages(&KIND)[2];
    assert!(telegram(&fake).send(&net(), message).await.is_accepted());
    let sent = fake.last().json();
    assert!(sent.get("parse_mode").is_none());
    assert!(sent["text"].as_str().unwrap().encode_utf16().count() <= TEXT);
    assert_eq!(plain("<b>a &amp;lt; b</b> <c"), "a &lt; b <c");
}

#[tokio::test]
async fn telegrams_answers_say_what_to_do() {
    let fake = Fake::start().await;
    let telegram = telegram(&fake);
    let message = &messages(&KIND)[0];
    let rejected = |why: &str| Outcome::Rejected { why: why.to_owned() };
    let retry = |after: Option<u64>, why: &str| Outcome::Retry {
        after: after.map(Duration::from_secs),
        why: why.to_owned(),
    };
    for (status, body, expected) in [
        (200, r#"{"ok":true,"result":{"broken"#, Outcome::accepted()),
        (
            429,
            r#"{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 5","parameters":{"retry_after":5}}"#,
            retry(Some(5), "429 Too Many Requests: Too Many Requests: retry after 5"),
        ),
        (
            400,
            r#"{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}"#,
            rejected("400 Bad Request: Bad Request: chat not found"),
        ),
        (
            400,
            r#"{"ok":false,"error_code":400,"description":"upgraded","parameters":{"migrate_to_chat_id":-1005}}"#,
            rejected("400 Bad Request: upgraded: set chat_id = -1005"),
        ),
        (
            401,
            r#"{"ok":false,"error_code":401,"description":"Unauthorized 1:SECRET"}"#,
            rejected("401 Unauthorized: Unauthorized [secret]"),
        ),
        (502, "<html>", retry(None, "502 Bad Gateway: <html>")),
        (200, "<html>", retry(None, "this is not Telegram's answer: <html>")),
    ] {
        fake.answer(status, &[], body);
        assert_eq!(telegram.send(&net(), message).await, expected);
    }
    assert!(!format!("{telegram:?}").contains("SECRET"));
}

#[tokio::test]
async fn only_what_wants_hands_has_buttons_and_only_where_somebody_may_press_them() {
    let fake = Fake::start().await;
    fake.answer(200, &[], OK);
    let api = fake.url("");
    let keys = format!("token = \"1:SECRET\"\nchat_id = -100\napi_url = \"{api}\"\n");
    let more = "message_thread_id = 17\nsilent_below = \"critical\"\noperate = { users = [7] }";
    let operated = channel(&KIND, &format!("{keys}{more}"));
    let rules = operated.operators().unwrap();
    assert_eq!((rules.chats, rules.users), (vec![-100], vec![7]));
    assert!(channel(&KIND, &keys).operators().is_none());
    for message in messages(&KIND) {
        assert!(operated.send(&net(), &message).await.is_accepted());
        let sent = fake.last().json();
        assert_eq!(sent["message_thread_id"], 17);
        let quiet = message.incidents.iter().all(|it| it.severity != Severity::Critical)
            && !message.incidents.is_empty();
        assert_eq!(sent.get("disable_notification").is_some(), quiet, "{}", message.what);
        let buttons = matches!(message.what, What::Opened | What::Worsened);
        assert_eq!(sent.get("reply_markup").is_some(), buttons, "{}", message.what);
    }
    let opened = &messages(&KIND)[0];
    operated.send(&net(), opened).await;
    let id = &opened.incidents[0].id;
    let row = serde_json::json!([
        { "text": "Acknowledge", "callback_data": format!("ack:{id}") },
        { "text": "Silence 2h", "callback_data": format!("silence:{id}") },
    ]);
    assert_eq!(fake.last().json()["reply_markup"]["inline_keyboard"][0], row);
}

#[test]
fn whoever_may_operate_is_named_in_full() {
    let check = |keys: &str, expected: &str| {
        assert_eq!(read(&KIND, &format!("token = \"1:x\"\n{keys}")).1, expected);
    };
    check("chat_id = -1\noperate = { users = [7], chats = [7] }", "");
    check("chat_id = \"${C}\"\noperate = { users = [7] }", "");
    check(
        "chat_id = -1\noperate = { users = [] }",
        "daemon.toml:3:21: operate.users: names nobody; without `operate` nobody may operate",
    );
    check(
        "chat_id = -1\noperate = { chats = [7] }",
        "daemon.toml:3:11: operate.users: is missing",
    );
    check(
        "chat_id = \"@ops\"\noperate = { users = [7] }",
        "daemon.toml:3:11: operate: needs a `chat_id` that is a number",
    );
    check(
        "chat_id = -1\nmessage_thread_id = 0\nsilent_below = \"info\"",
        "daemon.toml:3:21: message_thread_id: is not the number of a topic\n\
         daemon.toml:4:16: silent_below: `info` is neither \"critical\" nor \"warning\"",
    );
}

#[tokio::test]
async fn the_token_is_not_in_the_words_about_a_connection_that_failed() {
    let text = "token = \"1:SECRET\"\nchat_id = \"@ops\"\napi_url = \"http://127.0.0.1:1\"";
    match channel(&KIND, text).send(&net(), &messages(&KIND)[0]).await {
        Outcome::Retry { why, .. } => assert!(!why.contains("SECRET"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_chat_is_a_number_or_a_name() {
    for (chat, expected) in [
        ("-1001", r"Telegram { chat: Id(ChatId(-1001)), .. }"),
        ("\"-1001\"", r"Telegram { chat: Id(ChatId(-1001)), .. }"),
        ("\"@ops\"", r#"Telegram { chat: ChannelUsername("@ops"), .. }"#),
    ] {
        let text = format!("token = \"1:x\"\nchat_id = {chat}");
        assert_eq!(format!("{:?}", channel(&KIND, &text)), expected);
    }
    assert_eq!(read(&KIND, "token = \"${T}\"\nchat_id = \"${C}\"").1, "");
    let problems =
        ["", "token = \"bot1:x\"\nchat_id = \"ops\"", "token = \"1:x\"\nchat_id = 1.5"]
            .map(|text| read(&KIND, text).1);
    insta::assert_snapshot!(problems.join("\n"), @r#"
    daemon.toml:1:1: token: is missing
    daemon.toml:1:1: chat_id: is missing
    daemon.toml:1:9: token: is not the token of a bot (it looks like 110201543:AAHdqTcv…)
    daemon.toml:2:11: chat_id: `ops` is neither the number of a chat nor an @name
    daemon.toml:2:11: chat_id: invalid type: floating point `1.5`, expected the number of a chat or the "@name" of a channel
    "#);
}
