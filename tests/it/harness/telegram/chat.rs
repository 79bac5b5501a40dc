use super::super::inbox::{Inbox, Mood, Refusal};
use super::super::posts::Posts;
use super::{Telegram, parse_html, refusal};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;

/// What goes on in the chat, as Telegram knows it.
#[derive(Clone)]
pub(super) struct Chat {
    state: Arc<Mutex<Known>>,
    news: Arc<Notify>,
    inbox: Inbox,
    posts: Posts,
}

#[derive(Default)]
struct Known {
    /// Updates that nobody has confirmed.
    updates: Vec<Value>,
    next: i64,
    /// Counts the requests for updates: of two at a time the older one ends.
    polls: u64,
    /// Messages of the bot, by their ids from 1: as sent, with the keyboard that they have now.
    messages: Vec<Value>,
    /// Presses that were not answered yet.
    unanswered: Vec<String>,
    toasts: Vec<String>,
    refusals: Vec<String>,
}

impl Chat {
    pub(super) fn new(inbox: Inbox) -> Self {
        Self { state: Arc::default(), news: Arc::default(), inbox, posts: Posts::default() }
    }

    /// The methods other than `sendMessage`.
    pub(super) fn router(&self) -> Router {
        let path = |method: &str| format!("/bot{}/{method}", Telegram::TOKEN);
        Router::new()
            .route(&path("GetMe"), post(get_me))
            .route(&path("GetUpdates"), post(get_updates))
            .route(&path("AnswerCallbackQuery"), post(answer_callback_query))
            .route(&path("EditMessageReplyMarkup"), post(edit_message_reply_markup))
            .with_state(self.clone())
    }

    /// Takes a message of the bot that is otherwise in order; the id is its place.
    pub(super) fn sent(&self, body: &Value, seen: &str) -> Result<i64, Refusal> {
        let mut known = self.state.lock().unwrap();
        if let Some(topic) = body.get("message_thread_id")
            && topic != Telegram::TOPIC
        {
            return Err(refusal(400, "Bad Request: message thread not found"));
        }
        if let Some(markup) = body.get("reply_markup") {
            check_keyboard(markup).map_err(|why| refusal(400, &format!("Bad Request: {why}")))?;
        }
        let mut parent = None;
        if let Some(reply) = body.get("reply_parameters") {
            let id = reply["message_id"].as_i64().unwrap_or_default().to_string();
            parent = Some(id).filter(|id| self.posts.get(id).is_some());
            // What people wrote is not among the posts.
            let is_theirs = reply["message_id"].as_i64() >= Some(100_000);
            let may_be_gone = reply["allow_sending_without_reply"] == true;
            if parent.is_none() && !is_theirs && !may_be_gone {
                return Err(refusal(400, "Bad Request: message to be replied not found"));
            }
        }
        known.messages.push(body.clone());
        let id = known.messages.len() as i64;
        self.posts.add(&id.to_string(), parent.as_deref(), seen.to_owned(), body.clone());
        Ok(id)
    }

    /// Takes a new text for a message of the bot; without a keyboard it loses the one it has.
    pub(super) fn edited(&self, body: &Value, seen: &str) -> Result<i64, Refusal> {
        let mut known = self.state.lock().unwrap();
        let id = body["message_id"].as_i64().unwrap_or_default();
        let Some(post) = self.posts.get(&id.to_string()) else {
            return Err(refusal(400, "Bad Request: message to edit not found"));
        };
        if let Some(markup) = body.get("reply_markup") {
            check_keyboard(markup).map_err(|why| refusal(400, &format!("Bad Request: {why}")))?;
        }
        if let Some(key) = ["message_thread_id", "disable_notification", "reply_parameters"]
            .iter()
            .find(|key| body.get(**key).is_some())
        {
            return Err(refusal(400, &format!("Bad Request: {key} cannot be edited")));
        }
        let message = &mut known.messages[id as usize - 1];
        if post.text == seen && message.get("reply_markup") == body.get("reply_markup") {
            let why = "Bad Request: message is not modified: specified new message content and \
                       reply markup are exactly the same as a current content and reply markup of \
                       the message";
            return Err(refusal(400, why));
        }
        message["text"] = body["text"].clone();
        match body.get("reply_markup") {
            Some(markup) => message["reply_markup"] = markup.clone(),
            None => drop(message.as_object_mut().unwrap().remove("reply_markup")),
        }
        self.posts.edit(&id.to_string(), seen.to_owned(), message.clone());
        Ok(id)
    }

    /// The messages of the bot as people see them by now.
    pub(super) fn posts(&self) -> Posts {
        self.posts.clone()
    }

    /// The id of the first message of the bot after the first `skip` ones that says `words`.
    pub(super) fn find(&self, words: &[&str]) -> Option<i64> {
        let known = self.state.lock().unwrap();
        let said = |body: &Value| {
            let text = parse_html(body["text"].as_str().unwrap()).unwrap_or_default();
            words.iter().all(|word| text.contains(word))
        };
        known.messages.iter().rposition(said).map(|place| place as i64 + 1)
    }

    pub(super) fn message(&self, id: i64) -> Value {
        self.state.lock().unwrap().messages[id as usize - 1].clone()
    }

    pub(super) fn toasts(&self) -> Vec<String> {
        self.state.lock().unwrap().toasts.clone()
    }

    pub(super) fn refusals(&self) -> Vec<String> {
        self.state.lock().unwrap().refusals.clone()
    }

    /// How many updates nobody has confirmed.
    pub(super) fn waiting(&self) -> usize {
        self.state.lock().unwrap().updates.len()
    }

    /// Somebody writes to the chat, in answer to a message of the bot if `to` is one.
    pub(super) fn write(&self, user: &Value, chat: i64, text: &str, to: Option<i64>) {
        let mut known = self.state.lock().unwrap();
        let mut message = json!({
            "message_id": 100_000 + known.next,
            "from": user,
            "chat": { "id": chat, "title": "Ops", "type": "supergroup", "is_forum": true },
            "date": now(),
            "text": text,
            "message_thread_id": Telegram::TOPIC,
            "is_topic_message": true,
        });
        if let Some(id) = to {
            message["reply_to_message"] = shown(&known.messages, id);
        }
        known.push("message", message);
        drop(known);
        self.news.notify_waiters();
    }

    /// Somebody presses a button below a message of the bot.
    pub(super) fn press(&self, user: &Value, id: i64, label: &str) {
        let mut known = self.state.lock().unwrap();
        let message = shown(&known.messages, id);
        let rows = message["reply_markup"]["inline_keyboard"].as_array().unwrap();
        let mut buttons = rows.iter().flat_map(|row| row.as_array().unwrap());
        let button = buttons.find(|button| button["text"] == label).unwrap();
        let data = button["callback_data"].clone();
        let query = format!("query-{}", known.next);
        known.unanswered.push(query.clone());
        known.push(
            "callback_query",
            json!({
                "id": query,
                "from": user,
                "message": message,
                "chat_instance": "1",
                "data": data,
            }),
        );
        drop(known);
        self.news.notify_waiters();
    }
}

impl Known {
    fn push(&mut self, kind: &str, what: Value) {
        self.next += 1;
        self.updates.push(json!({ "update_id": 1000 + self.next, kind: what }));
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn bot() -> Value {
    json!({
        "id": 123_456,
        "is_bot": true,
        "first_name": "Ops",
        "username": Telegram::BOT,
        "can_join_groups": true,
        "can_read_all_group_messages": false,
        "supports_inline_queries": false,
        "can_connect_to_business": false,
        "has_main_web_app": false,
    })
}

/// A message of the bot as others are shown it.
fn shown(messages: &[Value], id: i64) -> Value {
    let sent = &messages[id as usize - 1];
    let mut message = json!({
        "message_id": id,
        "from": bot(),
        "chat": { "id": Telegram::CHAT, "title": "Ops", "type": "supergroup", "is_forum": true },
        "date": now(),
        "text": parse_html(sent["text"].as_str().unwrap()).unwrap(),
    });
    if let Some(markup) = sent.get("reply_markup") {
        message["reply_markup"] = markup.clone();
    }
    message
}

/// <https://core.telegram.org/bots/api#inlinekeyboardbutton>
fn check_keyboard(markup: &Value) -> Result<(), String> {
    let rows = markup["inline_keyboard"].as_array().ok_or("object expected as reply markup")?;
    for row in rows {
        for button in row.as_array().ok_or("inline keyboard row expected to be an Array")? {
            let label = button["text"].as_str().unwrap_or_default();
            if label.is_empty() {
                return Err("inline keyboard button text must be non-empty".to_owned());
            }
            if let Some(url) = button["url"].as_str() {
                let host = url.split("//").nth(1).and_then(|rest| rest.split('/').next());
                if host.is_none_or(|host| !host.contains('.')) {
                    return Err(format!("inline keyboard button URL '{url}' is invalid"));
                }
                continue;
            }
            match button["callback_data"].as_str().map(str::len) {
                Some(1..=64) if button.as_object().is_some_and(|keys| keys.len() == 2) => {}
                Some(_) => return Err("BUTTON_DATA_INVALID".to_owned()),
                None => return Err("text buttons are unallowed in the inline keyboard".to_owned()),
            }
        }
    }
    Ok(())
}

fn ok(result: &Value) -> Response {
    (StatusCode::OK, json!({ "ok": true, "result": result }).to_string()).into_response()
}

impl Chat {
    fn refuse(&self, status: u16, why: &str) -> Response {
        self.state.lock().unwrap().refusals.push(why.to_owned());
        let refused = refusal(status, why);
        (StatusCode::from_u16(status).unwrap(), refused.body).into_response()
    }

    /// The answer of a service that is not working.
    fn upset(&self) -> Option<Response> {
        match self.inbox.mood() {
            Mood::Status(status) => {
                Some((StatusCode::from_u16(status).unwrap(), "upset").into_response())
            }
            _ => None,
        }
    }
}

async fn get_me(State(chat): State<Chat>) -> Response {
    chat.upset().unwrap_or_else(|| ok(&bot()))
}

async fn get_updates(State(chat): State<Chat>, body: String) -> Response {
    if let Some(upset) = chat.upset() {
        return upset;
    }
    let body: Value = serde_json::from_str(&body).unwrap();
    let wait = Duration::from_secs(body["timeout"].as_u64().unwrap_or(0));
    let mine = {
        let mut known = chat.state.lock().unwrap();
        if let Some(offset) = body["offset"].as_i64() {
            known.updates.retain(|update| update["update_id"].as_i64().unwrap() >= offset);
        }
        known.polls += 1;
        known.polls
    };
    chat.news.notify_waiters();
    let answer = async {
        loop {
            let news = chat.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            {
                let known = chat.state.lock().unwrap();
                if known.polls != mine {
                    let why = "Conflict: terminated by other getUpdates request; make sure that \
                               only one bot instance is running";
                    return (StatusCode::CONFLICT, refusal(409, why).body).into_response();
                }
                if !known.updates.is_empty() {
                    return ok(&json!(known.updates));
                }
            }
            news.await;
        }
    };
    tokio::time::timeout(wait, answer).await.unwrap_or_else(|_| ok(&json!([])))
}

async fn answer_callback_query(State(chat): State<Chat>, body: String) -> Response {
    let body: Value = serde_json::from_str(&body).unwrap();
    let text = body["text"].as_str().unwrap_or_default().to_owned();
    if text.chars().count() > 200 {
        return chat.refuse(400, "Bad Request: MESSAGE_TOO_LONG");
    }
    let answered = {
        let mut known = chat.state.lock().unwrap();
        let query = body["callback_query_id"].as_str().unwrap_or_default();
        let place = known.unanswered.iter().position(|open| open == query);
        if let Some(place) = place {
            known.unanswered.remove(place);
            known.toasts.push(text);
        }
        place.is_some()
    };
    if answered {
        ok(&json!(true))
    } else {
        chat.refuse(400, "Bad Request: query is too old and response timeout expired")
    }
}

async fn edit_message_reply_markup(State(chat): State<Chat>, body: String) -> Response {
    let body: Value = serde_json::from_str(&body).unwrap();
    let edited = {
        let mut known = chat.state.lock().unwrap();
        let id = body["message_id"].as_i64().unwrap_or(0);
        let place = usize::try_from(id - 1).unwrap_or(usize::MAX);
        match known.messages.get_mut(place) {
            None => Err("Bad Request: message to edit not found"),
            Some(message) if message.get("reply_markup") == body.get("reply_markup") => {
                Err("Bad Request: message is not modified")
            }
            Some(message) => {
                match body.get("reply_markup") {
                    Some(markup) => message["reply_markup"] = markup.clone(),
                    None => drop(message.as_object_mut().unwrap().remove("reply_markup")),
                }
                Ok(shown(&known.messages, id))
            }
        }
    };
    match edited {
        Ok(message) => ok(&message),
        Err(why) => chat.refuse(400, why),
    }
}
