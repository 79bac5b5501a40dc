//! Asks Telegram what people wrote, and answers.

use super::command;
use super::desk::{self, Person, Replied, TOAST};
use super::strangers::Strangers;
use super::{Daemon, Rules};
use crate::deliver::support::Button;
use crate::model::{Secret, Timestamp};
use crate::render::{clean, short, span};
use arc_swap::ArcSwap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use teloxide::payloads::{
    AnswerCallbackQuerySetters, GetUpdatesSetters, SendMessage, SendMessageSetters,
};
use teloxide::requests::{JsonRequest, Request as _, Requester};
use teloxide::types::{
    AllowedUpdate, CallbackQuery, ChatId, InlineKeyboardButtonKind, LinkPreviewOptions, Message,
    ParseMode, ReplyParameters, Update, UpdateKind, User,
};
use teloxide::{ApiError, Bot, RequestError};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long Telegram holds a request for news open.
const POLL: Duration = Duration::from_secs(30);
/// How long any request may take on top of what it is meant to wait.
const REQUEST: Duration = Duration::from_secs(15);
/// How long telling Telegram at the end how far the bot got may take.
const LAST_WORD: Duration = Duration::from_secs(1);
/// The first and the longest wait after a failure.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The longest wait that Telegram can ask for before an answer is sent once more.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// What was written longer ago is not carried out: who wrote it has seen that nothing came of it.
const STALE: Duration = Duration::from_secs(10 * 60);
/// Characters of a person's name, and of what went wrong.
const NAME: usize = 64;
const WHY: usize = 300;

/// Polls until `stop` is cancelled.
pub(super) async fn run(daemon: Daemon, rules: Arc<ArcSwap<Rules>>, stop: CancellationToken) {
    let Some(mut poller) = Poller::new(daemon, rules) else { return };
    loop {
        let polled = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            polled = poller.poll() => polled,
        };
        match polled {
            Ok(updates) => {
                poller.trouble.is_over();
                for update in updates {
                    // Even one that cannot be read must not come again for ever.
                    let next = update.id.as_offset();
                    poller.handle(update).await;
                    poller.offset = Some(next);
                    if stop.is_cancelled() {
                        break;
                    }
                }
            }
            Err(failure) => {
                let wait = poller.trouble.is_met(failure);
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = sleep(wait) => {}
                }
            }
        }
    }
    poller.confirm().await;
}

struct Poller {
    daemon: Daemon,
    rules: Arc<ArcSwap<Rules>>,
    bot: Bot,
    token: Secret,
    /// The bot's own name, once it is known.
    name: Option<String>,
    /// The next update that is wanted; asking for it says that those before were dealt with.
    offset: Option<i32>,
    strangers: Strangers,
    trouble: Trouble,
}

impl Poller {
    fn new(daemon: Daemon, rules: Arc<ArcSwap<Rules>>) -> Option<Self> {
        let first = rules.load().operators.first().cloned()?;
        let mut api = first.api;
        api.path_segments_mut().ok()?.pop_if_empty();
        let bot = Bot::with_client(first.token.expose(), daemon.http.clone()).set_api_url(api);
        Some(Self {
            daemon,
            rules,
            bot,
            token: first.token,
            name: None,
            offset: None,
            strangers: Strangers::default(),
            trouble: Trouble::default(),
        })
    }

    /// Waits for news.
    async fn poll(&mut self) -> Result<Vec<Update>, Failure> {
        if self.name.is_none() {
            let me = self.within(REQUEST, self.bot.get_me().send()).await?;
            self.name = Some(me.username().to_owned());
            tracing::info!(bot = me.username(), "people can operate the daemon by Telegram");
        }
        let mut request = self
            .bot
            .get_updates()
            .timeout(u32::try_from(POLL.as_secs()).unwrap_or(30))
            .allowed_updates([AllowedUpdate::Message, AllowedUpdate::CallbackQuery]);
        request.offset = self.offset;
        self.within(POLL + REQUEST, request.send()).await
    }

    /// Tells Telegram how far the bot got, so that the next start does not answer again.
    async fn confirm(&self) {
        if let Some(offset) = self.offset {
            let request = self.bot.get_updates().offset(offset).limit(1).timeout(0);
            if let Err(failure) = self.within(LAST_WORD, request.send()).await {
                tracing::debug!(why = failure.why, "Telegram did not hear how far the bot got");
            }
        }
    }

    async fn within<T>(
        &self,
        bound: Duration,
        request: impl Future<Output = Result<T, RequestError>>,
    ) -> Result<T, Failure> {
        match timeout(bound, request).await {
            Ok(done) => done.map_err(|error| Failure::of(&error, &self.token)),
            Err(_) => {
                Err(Failure { what: Kind::Other, why: "no answer in time".to_owned(), after: None })
            }
        }
    }

    async fn handle(&mut self, update: Update) {
        match update.kind {
            UpdateKind::Message(message) => self.message(update.id.0, &message).await,
            UpdateKind::CallbackQuery(query) => self.pressed(update.id.0, &query).await,
            _ => {}
        }
    }

    async fn message(&mut self, update: u32, message: &Message) {
        let (Some(from), Some(text)) = (&message.from, message.text()) else { return };
        let bot = self.name.as_deref().unwrap_or_default();
        let Some(request) = command::read(text, bot, message.chat.is_private()) else { return };
        let at = Timestamp::from(message.date);
        let Some(person) = self.person(from, message.chat.id, update, at) else { return };
        let age = self.daemon.clock.wall().since(at);
        let html = match request {
            _ if age > STALE => format!(
                "That was sent {} ago, and is not carried out; send it again if it still counts.",
                span(age)
            ),
            Ok(request) => {
                let replied = message.reply_to_message().map(replied);
                desk::carry_out(&self.daemon, &person, request, replied.as_ref()).await
            }
            Err(why) => crate::render::html(&why).into_owned(),
        };
        self.answer(message, &html, false).await;
    }

    async fn pressed(&mut self, update: u32, query: &CallbackQuery) {
        let message = query.message.as_ref();
        let chat = message.map(|message| message.chat().id);
        let regular = message.and_then(|message| message.regular_message());
        let at = regular.map_or_else(|| self.daemon.clock.wall(), |it| Timestamp::from(it.date));
        // A message in no chat is nobody's to operate in.
        let person = self.person(&query.from, chat.unwrap_or(ChatId(0)), update, at);
        let data = query.data.as_deref().unwrap_or_default();
        let (Some(person), Some(message)) = (person, message) else {
            return self.toast(query, "You are not allowed to do this.").await;
        };
        let Some((button, incident)) = Button::read(data) else {
            return self.toast(query, "This button is not known any more.").await;
        };
        match desk::press(&self.daemon, &person, button, incident).await {
            Ok(pressed) => {
                self.toast(query, &pressed.toast).await;
                let bare = self.bot.edit_message_reply_markup(message.chat().id, message.id());
                if let Err(failure) = self.within(REQUEST, bare.send()).await {
                    tracing::debug!(why = failure.why, "the buttons of an alert stay");
                }
                if let (Some(told), Some(alert)) = (pressed.told, regular) {
                    self.answer(alert, &told, true).await;
                }
            }
            Err(why) => self.toast(query, &why).await,
        }
    }

    /// Who it is, if their word counts; else they are named in the log.
    fn person(
        &mut self,
        user: &User,
        ChatId(chat): ChatId,
        update: u32,
        at: Timestamp,
    ) -> Option<Person> {
        let rules = self.rules.load();
        let name = name_of(user);
        if !rules.allow(user.id.0, chat) {
            if self.strangers.is_news(user.id.0, self.daemon.clock.now().mono) {
                tracing::warn!(
                    name,
                    user = user.id.0,
                    chat,
                    "somebody who may not operate the daemon tried to, by Telegram"
                );
            }
            return None;
        }
        Some(Person { name, user: user.id.0, chat, update, at, zone: rules.zone })
    }

    /// Answers `to` in its topic.
    async fn answer(&self, to: &Message, html: &str, quietly: bool) {
        let mut request = self
            .bot
            .send_message(to.chat.id, html)
            .parse_mode(ParseMode::Html)
            .disable_notification(quietly)
            .reply_parameters(ReplyParameters::new(to.id).allow_sending_without_reply())
            .link_preview_options(LinkPreviewOptions {
                is_disabled: true,
                url: None,
                prefer_small_media: false,
                prefer_large_media: false,
                show_above_text: false,
            });
        request.message_thread_id = to.thread_id.filter(|_| to.is_topic_message);
        if let Err(failure) = self.send(request).await {
            tracing::warn!(why = failure.why, "an answer in Telegram did not go out");
        }
    }

    /// Sends an answer, and once more where Telegram asks for a little patience.
    async fn send(&self, request: JsonRequest<SendMessage>) -> Result<Message, Failure> {
        match self.within(REQUEST, request.send_ref()).await {
            Err(Failure { after: Some(after), .. }) if after <= ANSWER_WAIT => {
                sleep(after).await;
                self.within(REQUEST, request.send()).await
            }
            done => done,
        }
    }

    /// Shows whoever pressed a button what became of it.
    async fn toast(&self, query: &CallbackQuery, text: &str) {
        let request = self.bot.answer_callback_query(query.id.clone()).text(short(text, TOAST));
        if let Err(failure) = self.within(REQUEST, request.send()).await {
            tracing::debug!(why = failure.why, "a press on a button in Telegram stays unanswered");
        }
    }
}

/// What is known about a message that somebody answers.
fn replied(message: &Message) -> Replied {
    let buttons = message.reply_markup().into_iter().flat_map(|it| it.inline_keyboard.iter());
    let incident = buttons.flatten().find_map(|button| match &button.kind {
        InlineKeyboardButtonKind::CallbackData(data) => Some(Button::read(data)?.1.to_owned()),
        _ => None,
    });
    Replied { incident, text: message.text().unwrap_or_default().to_owned() }
}

/// `@name`, or the first name and the number.
fn name_of(user: &User) -> String {
    match &user.username {
        Some(name) => format!("@{}", clean(name, NAME)),
        None => format!("{} ({})", clean(&user.first_name, NAME), user.id.0),
    }
}

/// Why Telegram did not do what it was asked for.
#[derive(Debug)]
struct Failure {
    what: Kind,
    /// Without the token.
    why: String,
    /// How long it wants to be left alone.
    after: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Somebody else polls with the same token.
    Contested,
    /// The bot sends its updates elsewhere.
    Webhook,
    Other,
}

impl Failure {
    fn of(error: &RequestError, token: &Secret) -> Self {
        let mut why = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            why = format!("{why}: {cause}");
            source = cause.source();
        }
        let what = match error {
            RequestError::Api(ApiError::TerminatedByOtherGetUpdates) => Kind::Contested,
            RequestError::Api(api) if api.to_string().contains("webhook is active") => {
                Kind::Webhook
            }
            _ => Kind::Other,
        };
        let after = match error {
            RequestError::RetryAfter(wait) => Some(wait.duration()),
            _ => None,
        };
        Self { what, why: clean(&token.redact(&why), WHY), after }
    }
}

/// Failures in a row, each sort of which is told once.
#[derive(Debug, Default)]
struct Trouble {
    told: Vec<Kind>,
    wait: Duration,
}

impl Trouble {
    /// Gives how long to wait before the next try.
    fn is_met(&mut self, failure: Failure) -> Duration {
        if !self.told.contains(&failure.what) {
            self.told.push(failure.what);
            let why = failure.why;
            match failure.what {
                Kind::Contested => tracing::error!(
                    why,
                    "another program polls Telegram with the token of this bot, perhaps a second \
                     watchbell: only one can, so give each daemon a bot of its own"
                ),
                Kind::Webhook => tracing::error!(
                    why,
                    "this bot has a webhook, so that it cannot be polled: delete the webhook \
                     (deleteWebhook), or use a bot of its own"
                ),
                Kind::Other => tracing::warn!(
                    why,
                    "Telegram does not say what people wrote to the bot; it is asked again"
                ),
            }
        }
        self.wait = (self.wait * 2).clamp(WAITS.0, WAITS.1);
        self.wait.max(failure.after.unwrap_or_default())
    }

    fn is_over(&mut self) {
        if !self.told.is_empty() {
            tracing::info!("Telegram says again what people wrote to the bot");
        }
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, Kind, Trouble};
    use std::time::Duration;

    #[test]
    fn the_waits_double_up_to_a_minute_and_telegrams_own_wish_counts() {
        let mut trouble = Trouble::default();
        let mut check = |after: Option<u64>, expected| {
            let after = after.map(Duration::from_secs);
            let failure = Failure { what: Kind::Other, why: String::new(), after };
            assert_eq!(trouble.is_met(failure), Duration::from_secs(expected));
        };
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            check(None, expected);
        }
        check(Some(90), 90);
        trouble.is_over();
        assert_eq!(trouble.wait, Duration::ZERO);
    }
}
