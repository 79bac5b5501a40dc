use crate::config::Section;
use crate::deliver::support::{Answer, Button, Veil, classify, exchange, is_placeholder};
use crate::deliver::{Channel, ChannelKind, Net, Operators, Outcome, Preview};
use crate::model::{Format, Message, OptionDoc, Secret, Severity, What};
use crate::render::{fit, length};
use async_trait::async_trait;
use reqwest::Url;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Visitor};
use std::fmt;
use std::time::Duration;
use teloxide::payloads::{SendMessage, SendMessageSetters};
use teloxide::types::{
    ChatId, InlineKeyboardButton, InlineKeyboardMarkup, LinkPreviewOptions, MessageId, ParseMode,
    Recipient, ThreadId,
};

/// Characters of a message after its entities are parsed, in UTF-16 units.
const TEXT: usize = 4_096;
/// Characters that the title may take of them.
const TITLE: usize = 1_000;
const API: &str = "https://api.telegram.org";

/// Telegram, as a bot.
pub const KIND: ChannelKind = ChannelKind {
    name: "telegram",
    summary: "a Telegram chat, group or channel, by a bot",
    options: &[
        OptionDoc::new("token", "secret", "required", "token of the bot, from @BotFather"),
        OptionDoc::new(
            "chat_id",
            "integer",
            "required",
            "number of the chat, or \"@name\" of a public channel; the bot must be in it",
        ),
        OptionDoc::new("api_url", "string", "\"https://api.telegram.org\"", "where the Bot API is"),
        OptionDoc::new(
            "message_thread_id",
            "integer",
            "none",
            "the topic of a group with topics; the last number of a link to it",
        ),
        OptionDoc::new(
            "silent_below",
            "string",
            "none",
            "what is less severe (`critical`, `warning`) comes without a sound",
        ),
        OptionDoc::new(
            "operate",
            "table",
            "nobody",
            "who may operate the daemon by the bot: `users`, the numbers of people, and `chats`, \
             the numbers of chats other than `chat_id` in which they may",
        ),
    ],
    example: r#"[[channel]]
name = "ops-telegram"
[channel.telegram]
token = "110201543:SECRET"      # keep it out of the file: token = "${TELEGRAM_TOKEN}"
chat_id = -1001234567890
"#,
    format: Format::TelegramHtml,
    template: include_str!("../../../alert-templates/telegram.jinja"),
    parse,
};

struct Telegram {
    chat: Recipient,
    /// The topic in it.
    topic: Option<ThreadId>,
    /// Less severe messages make no sound.
    silent_below: Option<Severity>,
    /// Who may press a button.
    operators: Option<Operators>,
    /// Holds the token.
    send_message: Url,
    veil: Veil,
}

impl fmt::Debug for Telegram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telegram").field("chat", &self.chat).finish_non_exhaustive()
    }
}

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Channel>> {
    let token = section.required_built("token", check_token);
    let chat = section.required::<Chat>("chat_id");
    let api = match section.has("api_url") {
        true => section.url("api_url", &["https", "http"]),
        false => section.url("api_url", &["https"]).or_else(|| Url::parse(API).ok()),
    };
    let topic = section.built("message_thread_id", |id: i32| match id {
        1.. => Ok(ThreadId(MessageId(id))),
        _ => Err("is not the number of a topic".to_owned()),
    });
    let silent_below = section.built("silent_below", |word: String| match &*word {
        "critical" => Ok(Severity::Critical),
        "warning" => Ok(Severity::Warning),
        _ => Err(format!("`{word}` is neither \"critical\" nor \"warning\"")),
    });
    let operate = read_operate(section, chat.as_ref());
    let (token, Chat(chat), api) = (token?, chat?, api?);
    let operators = operate.map(|(chats, users)| Operators {
        token: token.clone(),
        api: api.clone(),
        chats,
        users,
    });
    let mut send_message = api;
    send_message
        .path_segments_mut()
        .ok()?
        .pop_if_empty()
        .push(&format!("bot{}", token.expose()))
        .push("sendMessage");
    let path = Secret::new(send_message.path());
    let veil = Veil::over([token, path, Secret::new(send_message.as_str())]);
    Some(Box::new(Telegram { chat, topic, silent_below, operators, send_message, veil }))
}

/// The chats and the people of `operate`. The channel's own chat is always among the chats, so
/// that the buttons in it work.
fn read_operate(section: &mut Section<'_>, chat: Option<&Chat>) -> Option<(Vec<i64>, Vec<u64>)> {
    let mut table = section.table("operate")?;
    let users = table.required_built("users", |users: Vec<u64>| match users.is_empty() {
        true => Err("names nobody; without `operate` nobody may operate".to_owned()),
        false => Ok(users),
    });
    let mut chats = table.or::<Vec<i64>>("chats", Vec::new());
    let place = table.place().clone();
    section.finish_child(table);
    match chat {
        Some(Chat(Recipient::Id(ChatId(id)))) if !chats.contains(id) => chats.push(*id),
        Some(Chat(Recipient::ChannelUsername(name))) if !is_placeholder(name) => {
            section.error_at(&place, "needs a `chat_id` that is a number");
        }
        _ => {}
    }
    Some((chats, users?))
}

/// The mistakes that are made with a token; the token itself is not quoted.
fn check_token(token: Secret) -> Result<Secret, String> {
    let text = token.expose();
    if is_placeholder(text) {
        return Ok(token);
    }
    match text.split_once(':') {
        Some((id, secret)) if id.chars().all(|c| c.is_ascii_digit()) && !secret.is_empty() => {
            Ok(token)
        }
        _ => Err("is not the token of a bot (it looks like 110201543:AAHdqTcv…)".to_owned()),
    }
}

/// A chat as it stands in TOML: a number, a number as text, or `@name`.
struct Chat(Recipient);

impl<'de> Deserialize<'de> for Chat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ChatVisitor;
        impl Visitor<'_> for ChatVisitor {
            type Value = Chat;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the number of a chat or the \"@name\" of a channel")
            }

            fn visit_i64<E: serde::de::Error>(self, id: i64) -> Result<Chat, E> {
                Ok(Chat(Recipient::Id(ChatId(id))))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Chat, E> {
                if let Ok(id) = text.trim().parse() {
                    return self.visit_i64(id);
                }
                let name = text.strip_prefix('@').is_some_and(|name| {
                    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                });
                if name || is_placeholder(text) {
                    return Ok(Chat(Recipient::ChannelUsername(text.to_owned())));
                }
                Err(E::custom(format!("`{text}` is neither the number of a chat nor an @name")))
            }
        }
        deserializer.deserialize_any(ChatVisitor).map_err(D::Error::custom)
    }
}

#[async_trait]
impl Channel for Telegram {
    fn preview(&self, message: &Message) -> Result<Preview, String> {
        Preview::json(&self.formatted(message, html(message)))
    }

    fn operators(&self) -> Option<Operators> {
        self.operators.clone()
    }

    async fn send(&self, net: &Net, message: &Message) -> Outcome {
        let html = html(message);
        let outcome = self.post(net, &self.formatted(message, html.clone())).await;
        match outcome {
            // A template of somebody's own may print what Telegram does not read. The alert still
            // goes, as plain text.
            Outcome::Rejected { why } if why.contains("can't parse entities") => {
                tracing::warn!(%why, "Telegram cannot read the template's HTML; sent as plain text");
                let text = fit(Format::Plain, &plain(&html), TEXT);
                self.post(net, &self.payload(message, text)).await
            }
            outcome => outcome,
        }
    }
}

impl Telegram {
    fn formatted(&self, message: &Message, html: String) -> SendMessage {
        self.payload(message, html).parse_mode(ParseMode::Html)
    }

    fn payload(&self, message: &Message, text: String) -> SendMessage {
        let mut payload = SendMessage::new(self.chat.clone(), text);
        payload.message_thread_id = self.topic;
        payload.disable_notification = self.is_silent(message).then_some(true);
        payload.reply_markup = self.buttons(message).map(Into::into);
        payload.link_preview_options(LinkPreviewOptions {
            is_disabled: true,
            url: None,
            prefer_small_media: false,
            prefer_large_media: false,
            show_above_text: false,
        })
    }

    /// Whether all that the message is about is less severe than what should make a sound. A test
    /// is about nothing, and should be heard.
    fn is_silent(&self, message: &Message) -> bool {
        let worst = message.incidents.iter().map(|incident| incident.severity).max();
        matches!((worst, self.silent_below), (Some(worst), Some(least)) if worst < least)
    }

    /// What can be done about the message at once, by those who may.
    fn buttons(&self, message: &Message) -> Option<InlineKeyboardMarkup> {
        self.operators.as_ref()?;
        let [incident] = &*message.incidents else { return None };
        let wants_hands = matches!(
            message.what,
            What::Opened
                | What::Worsened
                | What::Reminder
                | What::Escalated
                | What::Flapping
                | What::FlappingEnded
                | What::RecoveryStopped
        );
        if !wants_hands || incident.resolved_at.is_some() {
            return None;
        }
        let buttons = Button::ALL.into_iter().filter_map(|button| {
            Some(InlineKeyboardButton::callback(button.label(), button.data(&incident.id)?))
        });
        let row: Vec<_> = buttons.collect();
        (!row.is_empty()).then(|| InlineKeyboardMarkup::new([row]))
    }

    async fn post(&self, net: &Net, payload: &SendMessage) -> Outcome {
        let request = net.http.post(self.send_message.clone()).json(payload);
        match exchange(net, request, &self.veil).await {
            Ok(answer) => judge(answer, &self.veil),
            Err(outcome) => outcome,
        }
    }
}

/// Title and text, within Telegram's limit.
fn html(message: &Message) -> String {
    let title = fit(Format::TelegramHtml, &message.title, TITLE);
    if message.text.is_empty() {
        return title;
    }
    let room = TEXT - length(Format::TelegramHtml, &title) - 1;
    format!("{title}\n{}", fit(Format::TelegramHtml, &message.text, room))
}

/// The text of `html` without its tags.
fn plain(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        out.push_str(&rest[..start]);
        match rest[start..].find('>') {
            Some(end) => rest = &rest[start + end + 1..],
            None => {
                out.push('<');
                rest = &rest[start + 1..];
            }
        }
    }
    out.push_str(rest);
    out.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// What the Bot API says: <https://core.telegram.org/bots/api#making-requests>.
#[derive(Debug, Deserialize)]
struct Said {
    ok: bool,
    error_code: Option<u16>,
    description: Option<String>,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Debug, Default, Deserialize)]
struct Parameters {
    retry_after: Option<u64>,
    migrate_to_chat_id: Option<i64>,
}

fn judge(mut answer: Answer, veil: &Veil) -> Outcome {
    let said: Option<Said> = serde_json::from_str(&answer.body).ok();
    let Some(said) = said else {
        if answer.status.is_success() {
            // The body of a message that was accepted says so in its first bytes, however long
            // it is.
            if answer.body.trim_start().starts_with("{\"ok\":true") {
                return Outcome::Accepted;
            }
            let why = veil.clean(&format!("this is not Telegram's answer: {}", answer.body));
            return Outcome::Retry { after: answer.retry_after, why };
        }
        return classify(&answer, veil);
    };
    if said.ok {
        return Outcome::Accepted;
    }
    // The code in the body is the one that counts; a relay may answer with another status.
    if let Some(code) = said.error_code.and_then(|code| reqwest::StatusCode::from_u16(code).ok()) {
        answer.status = code;
    }
    answer.retry_after =
        said.parameters.retry_after.map(Duration::from_secs).or(answer.retry_after);
    let mut why = said.description.unwrap_or_else(|| answer.body.clone());
    if let Some(id) = said.parameters.migrate_to_chat_id {
        why = format!("{why}: set chat_id = {id}");
    }
    answer.body = why;
    if answer.status.is_success() {
        return Outcome::Rejected { why: veil.clean(&answer.body) };
    }
    classify(&answer, veil)
}

#[cfg(test)]
mod tests {
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
            assert_eq!(telegram.send(&net(), message).await, Outcome::Accepted);
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
        assert_eq!(telegram(&fake).send(&net(), message).await, Outcome::Accepted);
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
            (200, r#"{"ok":true,"result":{"broken"#, Outcome::Accepted),
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
            assert_eq!(operated.send(&net(), &message).await, Outcome::Accepted);
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
}
