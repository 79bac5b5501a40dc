use crate::config::Section;
use crate::deliver::support::{
    Answer, Conversation, SecretUrl, Veil, classify, converse, exchange, is_loud,
};
use crate::deliver::{Channel, ChannelKind, Endpoint, Net, Outcome, Preview};
use crate::model::{Action, Format, Message, OptionDoc, Secret};
use crate::render::{Tone, clean, fit, split};
use async_trait::async_trait;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// Characters in the text of a section.
const SECTION: usize = 3_000;
/// Blocks in a message; one of them holds the title.
const BLOCKS: usize = 50;

/// Characters of a button, and of its address; the most buttons of a message.
const LABEL: usize = 75;
const ADDRESS: usize = 3_000;
const BUTTONS: usize = 5;
/// The most characters of a name that Slack gives to a channel or a message.
const NAME: usize = 64;

/// Slack, by an incoming webhook or as a bot.
pub const KIND: ChannelKind = ChannelKind {
    name: "slack",
    summary: "a Slack channel, by an incoming webhook or by a bot token",
    options: &[
        OptionDoc::new("webhook_url", "secret", "", "address of an incoming webhook"),
        OptionDoc::new("token", "secret", "", "token of a bot (xoxb-…) with the scope chat:write"),
        OptionDoc::new("channel", "string", "", "with a token: the id or #name of the channel"),
        OptionDoc::new(
            "api_url",
            "string",
            "\"https://slack.com/api\"",
            "with a token: where the Web API is",
        ),
        OptionDoc::new(
            "update",
            "boolean",
            "false",
            "with a token: the message about an incident always shows its latest state; news \
             answers in its thread, and shows in the channel as well unless it is good",
        ),
    ],
    example: r##"[[channel]]
name = "ops-slack"
[channel.slack]
# Keep it out of the file: webhook_url = "${SLACK_WEBHOOK_URL}"
webhook_url = "https://hooks.slack.com/services/TEAM/APP/SECRET"
"##,
    format: Format::Slack,
    template: include_str!("../../../alert-templates/slack.jinja"),
    parse,
};

#[derive(Debug)]
struct Slack {
    target: Target,
    veil: Veil,
}

#[derive(Debug)]
enum Target {
    Webhook(SecretUrl),
    Bot(Bot),
}

#[derive(Debug)]
struct Bot {
    token: Secret,
    channel: String,
    post_message: Url,
    update_message: Url,
    /// Whether messages are kept up to date.
    update: bool,
}

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Channel>> {
    let token_place = section.place_of("token");
    let hooked = section.has("webhook_url");
    let with_token = section.has("token");
    let webhook = section.url("webhook_url", &["https", "http"]).map(SecretUrl::new);
    let token = section.secret("token");
    if hooked && with_token {
        section.error_at(&token_place, "there is a `webhook_url` already; one of them is enough");
    }
    if !hooked && !with_token {
        let place = section.place().clone();
        let hint = "create an incoming webhook, or a bot with the scope chat:write";
        section.report(place.error("needs `webhook_url`, or `token` and `channel`").hint(hint));
    }
    let channel: Option<String> =
        if with_token { section.required("channel") } else { section.optional("channel") };
    let api = match section.has("api_url") {
        true => section.url("api_url", &["https", "http"]),
        false => section.url("api_url", &["https"]).or_else(|| Url::parse(API).ok()),
    };
    let update_place = section.place_of("update");
    let update = section.or("update", false);
    if update && hooked && !with_token {
        let hint = "use a bot: `token` and `channel` in place of `webhook_url`";
        let why = "an incoming webhook cannot change what it has posted";
        section.report(update_place.error(why).hint(hint));
        return None;
    }
    let target = match (webhook, token) {
        (Some(url), None) => Target::Webhook(url),
        (None, Some(token)) => {
            let api = api?;
            let method = |name: &str| {
                Url::parse(&format!("{}/{name}", api.as_str().trim_end_matches('/'))).ok()
            };
            Target::Bot(Bot {
                token,
                channel: channel?,
                post_message: method("chat.postMessage")?,
                update_message: method("chat.update")?,
                update,
            })
        }
        _ => return None,
    };
    let veil = match &target {
        Target::Webhook(url) => Veil::over(url.secrets()),
        Target::Bot(bot) => Veil::over([bot.token.clone()]),
    };
    Some(Box::new(Slack { target, veil }))
}

const API: &str = "https://slack.com/api";

#[async_trait]
impl Channel for Slack {
    fn preview(&self, message: &Message) -> Result<Preview, String> {
        Preview::json(&self.payload(message))
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        let url = match &self.target {
            Target::Webhook(url) => url.expose(),
            Target::Bot(bot) => &bot.post_message,
        };
        Endpoint::of(url).into_iter().collect()
    }

    fn keeps_live(&self) -> bool {
        matches!(&self.target, Target::Bot(bot) if bot.update)
    }

    async fn send(&self, net: &Net, message: &Message) -> Outcome {
        match &self.target {
            Target::Bot(bot) => converse(&Chat { bot, veil: &self.veil }, net, message).await,
            Target::Webhook(url) => {
                let request = net.http.post(url.expose().clone()).json(&body(message));
                match exchange(net, request, &self.veil).await {
                    Ok(answer) => classify(&answer, &self.veil),
                    Err(outcome) => outcome,
                }
            }
        }
    }
}

impl Slack {
    /// The whole body: a bot also says where the message goes.
    fn payload(&self, message: &Message) -> Json {
        match &self.target {
            Target::Bot(bot) => bot.payload(message, None),
            Target::Webhook(_) => body(message),
        }
    }
}

impl Bot {
    /// A new message, in the thread of `parent` if there is one.
    fn payload(&self, message: &Message, parent: Option<&str>) -> Json {
        let mut body = body(message);
        body["channel"] = json!(self.channel);
        if let Some(parent) = parent {
            body["thread_ts"] = json!(parent);
            // Nobody follows a thread of alerts: what a person must not miss shows outside, too.
            if is_loud(message.what) || !self.update {
                body["reply_broadcast"] = json!(true);
            }
        }
        body
    }

    /// How a message is named: the channel of the settings, its id, and the time of the message.
    fn handle(&self, channel: &str, ts: &str) -> Option<String> {
        let is_plain = |name: &str| {
            (1..=NAME).contains(&name.len())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '.')
        };
        let is_known = is_plain(channel) && is_plain(ts);
        is_known.then(|| format!("{}/{channel}/{ts}", self.channel))
    }

    /// The id of the channel and the time of a message that was posted by the same settings.
    fn read_handle<'h>(&self, handle: &'h str) -> Option<(&'h str, &'h str)> {
        let (place, ts) = handle.rsplit_once('/')?;
        let (channel, id) = place.rsplit_once('/')?;
        (channel == self.channel).then_some((id, ts))
    }
}

/// A bot in its channel.
struct Chat<'s> {
    bot: &'s Bot,
    veil: &'s Veil,
}

#[async_trait]
impl Conversation for Chat<'_> {
    fn is_own(&self, handle: &str) -> bool {
        self.bot.read_handle(handle).is_some()
    }

    async fn post(&self, net: &Net, message: &Message, answers: Option<&str>) -> Outcome {
        let parent = answers.and_then(|handle| Some(self.bot.read_handle(handle)?.1));
        let body = self.bot.payload(message, parent);
        let (outcome, said) = self.call(net, &self.bot.post_message, &body).await;
        match (outcome, answers) {
            (Outcome::Accepted { .. }, Some(root)) => {
                Outcome::Accepted { handle: Some(root.to_owned()) }
            }
            (Outcome::Accepted { .. }, None) => {
                Outcome::Accepted { handle: self.bot.handle(&said.channel, &said.ts) }
            }
            (outcome, _) => outcome,
        }
    }

    /// See <https://docs.slack.dev/reference/methods/chat.update>.
    async fn edit(&self, net: &Net, handle: &str, message: &Message) -> Outcome {
        let Some((channel, ts)) = self.bot.read_handle(handle) else {
            return Outcome::Rejected { why: "it is elsewhere".to_owned() };
        };
        let mut body = body(message);
        if let Some(fields) = body.as_object_mut() {
            fields.retain(|key, _| !key.starts_with("unfurl"));
            // Those that are not named stay as they were.
            fields.entry("attachments").or_insert_with(|| json!([]));
        }
        body["channel"] = json!(channel);
        body["ts"] = json!(ts);
        self.call(net, &self.bot.update_message, &body).await.0
    }
}

impl Chat<'_> {
    async fn call(&self, net: &Net, method: &Url, body: &Json) -> (Outcome, Said) {
        let request = net.http.post(method.clone()).bearer_auth(self.bot.token.expose());
        match exchange(net, request.json(body), self.veil).await {
            Ok(answer) if answer.status.is_success() => judge(&answer, self.veil),
            Ok(answer) => (classify(&answer, self.veil), Said::default()),
            Err(outcome) => (outcome, Said::default()),
        }
    }
}

/// The message as blocks: the title on its own, the text beside a bar of the state's colour.
///
/// `text` is what notifications show. See <https://docs.slack.dev/reference/block-kit/blocks>.
fn body(message: &Message) -> Json {
    let title = fit(Format::Slack, &message.title, SECTION);
    let buttons = buttons(&message.actions);
    let parts = split(Format::Slack, &message.text, SECTION, BLOCKS - 2);
    let mut body = json!({
        "text": title,
        "blocks": [section(&title)],
        "unfurl_links": false,
        "unfurl_media": false,
    });
    let blocks: Vec<Json> = parts.iter().map(|part| section(part)).chain(buttons).collect();
    if !blocks.is_empty() {
        let color = Tone::of(message.what, &message.incidents).hex();
        body["attachments"] = json!([{ "color": color, "blocks": blocks }]);
    }
    body
}

/// `verbatim` keeps Slack from making channels and people out of plain words.
fn section(text: &str) -> Json {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": text, "verbatim": true } })
}

/// What a person may do, as buttons that open a page.
fn buttons(actions: &[Action]) -> Option<Json> {
    let fitting = actions.iter().filter(|action| action.url.len() <= ADDRESS).take(BUTTONS);
    let elements: Vec<Json> = fitting
        .enumerate()
        .map(|(index, action)| {
            let label = clean(&action.label, LABEL);
            json!({
                "type": "button",
                "action_id": format!("open-{index}"),
                "text": { "type": "plain_text", "text": label },
                "url": action.url,
            })
        })
        .collect();
    (!elements.is_empty()).then(|| json!({ "type": "actions", "elements": elements }))
}

/// What the Web API says with status 200.
#[derive(Debug, Default, Deserialize)]
struct Said {
    ok: bool,
    #[serde(default)]
    error: String,
    /// The id of the channel that a message was posted to.
    #[serde(default)]
    channel: String,
    /// The time of the message, by which it is named.
    #[serde(default)]
    ts: String,
}

/// The Web API answers 200 also to what it refuses; the body says which.
fn judge(answer: &Answer, veil: &Veil) -> (Outcome, Said) {
    let said: Said = match serde_json::from_str(&answer.body) {
        Ok(said) => said,
        // The answer repeats the message, and may be longer than what is read of it.
        Err(_) if answer.body.starts_with("{\"ok\":true,") => {
            return (Outcome::accepted(), Said::default());
        }
        Err(_) => {
            let why = veil.clean(&format!("this is not Slack's answer: {}", answer.body));
            let outcome = Outcome::Retry { after: answer.retry_after, why };
            return (outcome, Said::default());
        }
    };
    let why = veil.clean(&said.error);
    let outcome = match &*said.error {
        _ if said.ok => Outcome::accepted(),
        "ratelimited"
        | "rate_limited"
        | "internal_error"
        | "fatal_error"
        | "request_timeout"
        | "service_unavailable"
        | "team_added_to_org" => Outcome::Retry { after: answer.retry_after, why },
        _ => Outcome::Rejected { why },
    };
    (outcome, said)
}

#[cfg(test)]
mod tests;
