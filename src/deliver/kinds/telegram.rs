mod answer;

use crate::config::Section;
use crate::deliver::support::{Button, Conversation, Veil, converse, exchange, is_placeholder};
use crate::deliver::{Channel, ChannelKind, Endpoint, Net, Operators, Outcome, Preview};
use crate::model::{Format, Message, OptionDoc, Picture, Secret, Severity, What};
use crate::render::{clean, fit, length};
use answer::{Said, judge};
use async_trait::async_trait;
use reqwest::Url;
use reqwest::multipart::{Form, Part};
use serde::de::{Deserializer, Error as _, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;
use teloxide::payloads::{EditMessageText, SendMessage};
use teloxide::types::{
    ChatId, InlineKeyboardButton, InlineKeyboardMarkup, LinkPreviewOptions, MessageId, ParseMode,
    Recipient, ReplyParameters, ThreadId,
};

/// Characters of a message after its entities are parsed, in UTF-16 units.
const TEXT: usize = 4_096;
/// Characters that the title may take of them.
const TITLE: usize = 1_000;
/// Characters below a picture, and of a button; buttons in a row, and in all.
const CAPTION: usize = 1_024;
const LABEL: usize = 60;
const ROW: usize = 2;
const BUTTONS: usize = 6;
/// How long sending a picture may take.
const PICTURE: Duration = Duration::from_secs(30);
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
        )
        .or("string"),
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
        )
        .words(&["critical", "warning"]),
        OptionDoc::new(
            "update",
            "boolean",
            "false",
            "the message about an incident always shows its latest state; news answers it",
        ),
        OptionDoc::new(
            "operate",
            "table",
            "nobody",
            "who may operate the daemon by the bot: `users`, the numbers of people, and `chats`, \
             the numbers of chats other than `chat_id` in which they may",
        )
        .keys(&[
            OptionDoc::new("users", "list", "required", "the numbers of the people").numbers(),
            OptionDoc::new("chats", "list", "[]", "the numbers of other chats in which they may")
                .numbers(),
        ]),
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
    /// Whether messages are kept up to date.
    update: bool,
    /// Who may press a button.
    operators: Option<Operators>,
    /// The bot's own address, to which the methods are added. Holds the token.
    bot: Url,
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
    let update = section.or("update", false);
    let operate = read_operate(section, chat.as_ref());
    let (token, Chat(chat), api) = (token?, chat?, api?);
    let operators = operate.map(|(chats, users)| Operators {
        token: token.clone(),
        api: api.clone(),
        chats,
        users,
    });
    let mut bot = api;
    bot.path_segments_mut().ok()?.pop_if_empty().push(&format!("bot{}", token.expose()));
    let veil = Veil::over([token, Secret::new(bot.path()), Secret::new(bot.as_str())]);
    Some(Box::new(Telegram { chat, topic, silent_below, update, operators, bot, veil }))
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
        let markup = self.keyboard(message, Place::New(None));
        Preview::json(&self.new_message(message, Words::html(message), markup, None))
    }

    fn operators(&self) -> Option<Operators> {
        self.operators.clone()
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        Endpoint::of(&self.bot).into_iter().collect()
    }

    fn keeps_live(&self) -> bool {
        self.update
    }

    fn shows_pictures(&self) -> bool {
        true
    }

    async fn send(&self, net: &Net, message: &Message) -> Outcome {
        converse(self, net, message).await
    }
}

#[async_trait]
impl Conversation for Telegram {
    fn is_own(&self, handle: &str) -> bool {
        self.read_handle(handle).is_some()
    }

    async fn post(&self, net: &Net, message: &Message, answers: Option<&str>) -> Outcome {
        let parent = answers.and_then(|handle| self.read_handle(handle));
        let (outcome, said) = self.deliver(net, message, Place::New(parent)).await;
        if !outcome.is_accepted() {
            return outcome;
        }
        if let Some(root) = answers {
            return Outcome::Accepted { handle: Some(root.to_owned()) };
        }
        if let (Some(picture), Some(id)) = (&message.picture, said) {
            self.send_picture(net, picture, id);
        }
        Outcome::Accepted { handle: said.map(|id| format!("{}/{}", self.place(), id.0)) }
    }

    async fn edit(&self, net: &Net, handle: &str, message: &Message) -> Outcome {
        let Some(id) = self.read_handle(handle) else {
            return Outcome::Rejected { why: "it is elsewhere".to_owned() };
        };
        match self.deliver(net, message, Place::Old(id)).await.0 {
            Outcome::Rejected { why } if why.contains("message is not modified") => {
                Outcome::accepted()
            }
            outcome => outcome,
        }
    }
}

/// Where a text goes.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Into a new message, which may answer another.
    New(Option<MessageId>),
    /// In the place of what that message says.
    Old(MessageId),
}

/// A text, and how it is to be read.
#[derive(Clone, Debug)]
struct Words {
    text: String,
    mode: Option<ParseMode>,
}

impl Words {
    fn html(message: &Message) -> Self {
        Self { text: html(message), mode: Some(ParseMode::Html) }
    }

    fn without_tags(&self) -> Self {
        Self { text: fit(Format::Plain, &plain(&self.text), TEXT), mode: None }
    }
}

impl Telegram {
    /// Hands a message over, without what Telegram does not take of it: an alert without its
    /// colours and buttons is worth more than none.
    async fn deliver(
        &self,
        net: &Net,
        message: &Message,
        place: Place,
    ) -> (Outcome, Option<MessageId>) {
        let mut words = Words::html(message);
        let mut keyboard = self.keyboard(message, place);
        loop {
            let (text, buttons) = (words.clone(), keyboard.clone());
            let (outcome, said) = match place {
                Place::New(parent) => {
                    let payload = self.new_message(message, text, buttons, parent);
                    self.call(net, "sendMessage", &payload).await
                }
                Place::Old(id) => {
                    let payload = self.new_text(id, text, buttons);
                    self.call(net, "editMessageText", &payload).await
                }
            };
            match &outcome {
                // A template of somebody's own may print what Telegram does not read.
                Outcome::Rejected { why }
                    if words.mode.is_some() && why.contains("can't parse entities") =>
                {
                    tracing::warn!(%why, "Telegram cannot read the template's HTML; sent as plain text");
                    words = words.without_tags();
                }
                // It takes no address that only an own network knows.
                Outcome::Rejected { why }
                    if keyboard.is_some() && why.to_lowercase().contains("button") =>
                {
                    tracing::warn!(%why, "Telegram does not take the buttons; sent without them");
                    keyboard = None;
                }
                _ => return (outcome, said),
            }
        }
    }

    fn new_message(
        &self,
        message: &Message,
        words: Words,
        keyboard: Option<InlineKeyboardMarkup>,
        parent: Option<MessageId>,
    ) -> SendMessage {
        let mut payload = SendMessage::new(self.chat.clone(), words.text);
        payload.message_thread_id = self.topic;
        payload.parse_mode = words.mode;
        payload.disable_notification = self.is_silent(message).then_some(true);
        payload.reply_markup = keyboard.map(Into::into);
        payload.link_preview_options = Some(no_preview());
        payload.reply_parameters =
            parent.map(|id| ReplyParameters::new(id).allow_sending_without_reply());
        payload
    }

    /// Without a keyboard, the one that the message has goes away.
    fn new_text(
        &self,
        id: MessageId,
        words: Words,
        keyboard: Option<InlineKeyboardMarkup>,
    ) -> EditMessageText {
        let mut payload = EditMessageText::new(self.chat.clone(), id, words.text);
        payload.parse_mode = words.mode;
        payload.link_preview_options = Some(no_preview());
        payload.reply_markup = keyboard;
        payload
    }

    /// Whether all that the message is about is less severe than what should make a sound. A test
    /// is about nothing, and should be heard.
    fn is_silent(&self, message: &Message) -> bool {
        let worst = message.incidents.iter().map(|incident| incident.severity).max();
        matches!((worst, self.silent_below), (Some(worst), Some(least)) if worst < least)
    }

    /// The buttons below a message. An answer to one that is kept up to date has none: those of
    /// that one go away once they are of no use.
    fn keyboard(&self, message: &Message, place: Place) -> Option<InlineKeyboardMarkup> {
        let is_answer = matches!(place, Place::New(Some(_)));
        if is_answer && self.update {
            return None;
        }
        self.operations(message).or_else(|| links(message))
    }

    /// What can be done about the message at once, by those who may.
    fn operations(&self, message: &Message) -> Option<InlineKeyboardMarkup> {
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
        // Whoever has it cannot be asked to take it on.
        let taken = incident.acknowledged.is_some();
        let useful = Button::ALL.into_iter().filter(|it| !taken || *it != Button::Acknowledge);
        let buttons = useful.filter_map(|button| {
            Some(InlineKeyboardButton::callback(button.label(), button.data(&incident.id)?))
        });
        let row: Vec<_> = buttons.collect();
        (!row.is_empty()).then(|| InlineKeyboardMarkup::new([row]))
    }

    /// Sends a picture below a message that is there already. Nobody waits for it: the message
    /// counts, and must not be repeated because a picture takes long.
    fn send_picture(&self, net: &Net, picture: &Picture, below: MessageId) {
        let Some(form) = self.picture_form(picture, below) else { return };
        let request = net.http.post(self.method("sendPhoto")).multipart(form).timeout(PICTURE);
        tokio::spawn(async move {
            let failure = match request.send().await {
                Ok(answer) => answer.error_for_status().err(),
                Err(error) => Some(error),
            };
            if let Some(error) = failure {
                let why = error.without_url();
                tracing::info!(%why, "a picture in Telegram did not go out");
            }
        });
    }

    /// See <https://core.telegram.org/bots/api#sendphoto>.
    fn picture_form(&self, picture: &Picture, below: MessageId) -> Option<Form> {
        let reply = ReplyParameters::new(below).allow_sending_without_reply();
        let file = Part::bytes(picture.png.to_vec()).file_name("recent.png");
        let mut form = Form::new()
            .text("chat_id", chat_name(&self.chat))
            .text("caption", fit(Format::Plain, &clean(&picture.alt, CAPTION), CAPTION))
            .text("disable_notification", "true")
            .text("reply_parameters", serde_json::to_string(&reply).ok()?)
            .part("photo", file.mime_str("image/png").ok()?);
        if let Some(topic) = self.topic {
            form = form.text("message_thread_id", topic.0.0.to_string());
        }
        Some(form)
    }

    fn method(&self, name: &str) -> Url {
        let mut url = self.bot.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(name);
        }
        url
    }

    async fn call(
        &self,
        net: &Net,
        method: &str,
        payload: &(impl Serialize + Sync),
    ) -> (Outcome, Option<MessageId>) {
        let request = net.http.post(self.method(method)).json(payload);
        match exchange(net, request, &self.veil).await {
            Ok(answer) => {
                let said = Said::message_id(&answer.body);
                (judge(answer, &self.veil), said)
            }
            Err(outcome) => (outcome, None),
        }
    }

    /// The chat and the topic in it, which are a part of what messages are named.
    fn place(&self) -> String {
        let topic = self.topic.map_or(0, |topic| topic.0.0);
        format!("{}/{topic}", chat_name(&self.chat))
    }

    /// The number of a message in this chat and topic.
    fn read_handle(&self, handle: &str) -> Option<MessageId> {
        let (place, id) = handle.rsplit_once('/')?;
        (place == self.place()).then(|| id.parse().ok().map(MessageId)).flatten()
    }
}

fn chat_name(chat: &Recipient) -> String {
    match chat {
        Recipient::Id(ChatId(id)) => id.to_string(),
        Recipient::ChannelUsername(name) => name.clone(),
    }
}

fn no_preview() -> LinkPreviewOptions {
    LinkPreviewOptions {
        is_disabled: true,
        url: None,
        prefer_small_media: false,
        prefer_large_media: false,
        show_above_text: false,
    }
}

/// What a person may do about a message on the daemon's pages.
fn links(message: &Message) -> Option<InlineKeyboardMarkup> {
    let buttons = message.actions.iter().filter_map(|action| {
        let url = Url::parse(&action.url).ok().filter(|url| url.scheme().starts_with("http"))?;
        Some(InlineKeyboardButton::url(clean(&action.label, LABEL), url))
    });
    let buttons: Vec<_> = buttons.take(BUTTONS).collect();
    let rows: Vec<Vec<_>> = buttons.chunks(ROW).map(<[_]>::to_vec).collect();
    (!rows.is_empty()).then(|| InlineKeyboardMarkup::new(rows))
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

#[cfg(test)]
mod tests;
