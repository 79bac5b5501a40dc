use super::{KIND, TEXT, plain};
use crate::deliver::support::testing::{
    Fake, answering, channel, dressed, hostile_messages, messages, net, read,
};
use crate::deliver::{Channel, Outcome};
use crate::model::{Format, Message, Severity, What};
use crate::render::length;
use serde_json::json;
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
    check("chat_id = -1\noperate = { chats = [7] }", "daemon.toml:3:11: operate.users: is missing");
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
    let problems = ["", "token = \"bot1:x\"\nchat_id = \"ops\"", "token = \"1:x\"\nchat_id = 1.5"]
        .map(|text| read(&KIND, text).1);
    insta::assert_snapshot!(problems.join("\n"), @r#"
    daemon.toml:1:1: token: is missing
    daemon.toml:1:1: chat_id: is missing
    daemon.toml:1:9: token: is not the token of a bot (it looks like 110201543:AAHdqTcv…)
    daemon.toml:2:11: chat_id: `ops` is neither the number of a chat nor an @name
    daemon.toml:2:11: chat_id: invalid type: floating point `1.5`, expected the number of a chat or the "@name" of a channel
    "#);
}

const POSTED: &str = r#"{"ok":true,"result":{"message_id":5,"chat":{"id":-100}}}"#;
const HANDLE: &str = "-100/17/5";

/// One in a topic, whose buttons somebody may press.
fn in_topic(fake: &Fake, keys: &str) -> Box<dyn Channel> {
    let api = fake.url("/api");
    let place = format!("token = \"1:SECRET\"\nchat_id = -100\napi_url = \"{api}\"");
    let keys = format!("{place}\nmessage_thread_id = 17\n{keys}");
    channel(&KIND, &format!("{keys}\noperate = {{ users = [7] }}"))
}

fn told() -> Outcome {
    Outcome::Accepted { handle: Some(HANDLE.to_owned()) }
}

#[tokio::test]
async fn news_answers_and_a_live_message_has_its_buttons_until_it_is_over() {
    let fake = Fake::start().await;
    fake.answer(200, &[], POSTED);
    let (live, plain) = (in_topic(&fake, "update = true"), in_topic(&fake, ""));
    assert!(live.keeps_live() && !plain.keeps_live());
    let [opened, worsened, resolved, ..] = &messages(&KIND)[..] else { panic!() };
    assert_eq!(live.send(&net(), opened).await, told());
    assert!(fake.last().json().get("reply_markup").is_some());

    assert_eq!(live.send(&net(), &answering(worsened, HANDLE)).await, told());
    assert_eq!(live.send(&net(), &answering(resolved, HANDLE)).await, told());
    let [_, edit, answer, last_edit, _] = &fake.requests()[..] else { panic!() };
    assert_eq!(edit.uri.path(), "/api/bot1:SECRET/editMessageText");
    let id = &worsened.incidents[0].id;
    assert_eq!(
        edit.json(),
        json!({
            "chat_id": -100,
            "message_id": 5,
            "text": super::html(worsened),
            "parse_mode": "HTML",
            "link_preview_options": { "is_disabled": true },
            "reply_markup": { "inline_keyboard": [[
                { "text": "Acknowledge", "callback_data": format!("ack:{id}") },
                { "text": "Silence 2h", "callback_data": format!("silence:{id}") },
            ]] },
        })
    );
    assert_eq!(answer.uri.path(), "/api/bot1:SECRET/sendMessage");
    let reply = json!({ "message_id": 5, "allow_sending_without_reply": true });
    assert_eq!(answer.json()["reply_parameters"], reply);
    assert_eq!(answer.json().get("reply_markup"), None, "the live message has them");
    assert_eq!(last_edit.json().get("reply_markup"), None, "it is over");

    let news = Message { live: Vec::new(), ..answering(worsened, HANDLE) };
    assert_eq!(plain.send(&net(), &news).await, told());
    assert_eq!(fake.requests().len(), 6);
    assert_eq!(fake.last().json()["reply_parameters"], reply);
    assert!(fake.last().json().get("reply_markup").is_some());
}

#[tokio::test]
async fn what_cannot_be_changed_any_more_is_posted_anew() {
    let fake = Fake::start().await;
    let telegram = in_topic(&fake, "update = true");
    let worsened = &messages(&KIND)[1];
    let check = async |said: &str, expected: &[&str], handle: &str| {
        let before = fake.requests().len();
        let refused = json!({ "ok": false, "error_code": 400, "description": format!("Bad Request: {said}") });
        fake.answer(400, &[], &refused.to_string());
        fake.then(200, &[], r#"{"ok":true,"result":{"message_id":6}}"#);
        let outcome = telegram.send(&net(), &answering(worsened, HANDLE)).await;
        assert_eq!(outcome, Outcome::Accepted { handle: Some(handle.to_owned()) }, "{said}");
        let requests = &fake.requests()[before..];
        let methods: Vec<&str> =
            requests.iter().map(|it| it.uri.path().rsplit('/').next().unwrap()).collect();
        assert_eq!(methods, expected, "{said}");
    };
    let anew = ["editMessageText", "sendMessage"];
    check("message to edit not found", &anew, "-100/17/6").await;
    assert_eq!(fake.last().json().get("reply_parameters"), None);
    check("message can't be edited", &anew, "-100/17/6").await;
    check("message is not modified: specified new …", &anew, HANDLE).await;
    assert!(fake.last().json().get("reply_parameters").is_some());
    let again = ["editMessageText", "editMessageText", "sendMessage"];
    check("can't parse entities: …", &again, HANDLE).await;
    check("BUTTON_DATA_INVALID", &again, HANDLE).await;
    // The messages of another chat or topic are left alone.
    fake.answer(200, &[], POSTED);
    let before = fake.requests().len();
    telegram.send(&net(), &answering(worsened, "-100/0/5")).await;
    assert_eq!(fake.requests().len(), before + 1);
}

#[tokio::test]
async fn actions_are_buttons_where_there_are_no_others_and_a_picture_comes_below() {
    let fake = Fake::start().await;
    fake.answer(200, &[], POSTED);
    let opened = dressed(&messages(&KIND)[0]);
    assert!(telegram(&fake).send(&net(), &opened).await.is_accepted());
    let waiting = async {
        while fake.requests().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
    let [text, photo] = &fake.requests()[..] else { panic!() };
    let row = json!([
        { "text": "Acknowledge", "url": "https://status.example/do/1?a=(b)" },
        { "text": "Silence 2h", "url": "https://status.example/do/2" },
    ]);
    assert_eq!(text.json()["reply_markup"]["inline_keyboard"][0], row);
    assert_eq!(photo.uri.path(), "/api/bot1:SECRET/sendPhoto");
    let form = String::from_utf8_lossy(&photo.body).into_owned();
    for part in ["name=\"photo\"", "image/png", "10 of 12 runs failed", "\"message_id\":5", "-100"]
    {
        assert!(form.contains(part), "{part}: {form}");
    }
}
