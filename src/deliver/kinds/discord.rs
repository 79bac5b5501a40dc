use crate::config::Section;
use crate::deliver::support::{
    Answer, Conversation, SecretUrl, Veil, classify, converse, exchange, required_url,
};
use crate::deliver::{Channel, ChannelKind, Endpoint, Net, Outcome, Preview};
use crate::model::{Action, Format, Message, OptionDoc, Picture, What};
use crate::render::{Tone, clean, fit, length, link};
use async_trait::async_trait;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::time::Duration;
use tokio::sync::OnceCell;

/// Characters in an embed's title, description and footer; together far below its 6,000.
const TITLE: usize = 256;
const DESCRIPTION: usize = 4_096;
const FOOTER: usize = 200;
/// Characters of what a picture shows, of a label, and of a link; the most links of a message.
const ALT: usize = 1_024;
const LABEL: usize = 75;
const LINK: usize = 700;
const LINKS: usize = 5;
/// What a picture is called.
const FILE: &str = "recent.png";
/// How long asking for the server of the webhook may take: without it a message has no link.
const LOOK_UP: Duration = Duration::from_secs(2);

/// Discord, by a webhook.
pub const KIND: ChannelKind = ChannelKind {
    name: "discord",
    summary: "a Discord channel, by a webhook",
    options: &[
        OptionDoc::new(
            "webhook_url",
            "secret",
            "required",
            "address of the webhook, from the settings of the channel",
        ),
        OptionDoc::new(
            "update",
            "boolean",
            "false",
            "the message about an incident always shows its latest state; what people should \
             hear comes as a short message with a link to it, since webhooks cannot answer",
        ),
    ],
    example: r#"[[channel]]
name = "ops-discord"
[channel.discord]
# Keep it out of the file: webhook_url = "${DISCORD_WEBHOOK_URL}"
webhook_url = "https://discord.com/api/webhooks/ID/SECRET"
"#,
    format: Format::Discord,
    template: include_str!("../../../alert-templates/discord.jinja"),
    parse,
};

#[derive(Debug)]
struct Discord {
    url: SecretUrl,
    /// Whether messages are kept up to date.
    update: bool,
    /// The number of the server that the webhook is of, once it is known.
    server: OnceCell<String>,
    veil: Veil,
}

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Channel>> {
    let url = required_url(section, "webhook_url");
    let update = section.or("update", false);
    let url = SecretUrl::new(waiting(url?));
    let veil = Veil::over(url.secrets());
    Some(Box::new(Discord { url, update, server: OnceCell::new(), veil }))
}

/// The address that answers only once the message is posted, so that a refusal is seen, and with
/// the number of the message.
fn waiting(mut url: Url) -> Url {
    if !url.query_pairs().any(|(name, _)| name == "wait") {
        url.query_pairs_mut().append_pair("wait", "true");
    }
    url
}

#[async_trait]
impl Channel for Discord {
    fn preview(&self, message: &Message) -> Result<Preview, String> {
        Preview::json(&body(message))
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        Endpoint::of(self.url.expose()).into_iter().collect()
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
impl Conversation for Discord {
    fn is_own(&self, handle: &str) -> bool {
        Handle::read(handle).is_some_and(|handle| handle.place == self.place())
    }

    async fn post(&self, net: &Net, message: &Message, answers: Option<&str>) -> Outcome {
        let kept = |root: &str| Outcome::Accepted { handle: Some(root.to_owned()) };
        let (body, picture) = match answers {
            // The live message says it; nobody has to hear it.
            Some(root) if self.update && message.what == What::FlappingEnded => return kept(root),
            Some(root) if self.update => (short(message, self.link(net, root).await), None),
            _ => (body(message), message.picture.as_ref()),
        };
        let (outcome, said) = self.call(net, Method::POST, self.url.expose(), body, picture).await;
        match (outcome, answers) {
            (Outcome::Accepted { .. }, Some(root)) => kept(root),
            (Outcome::Accepted { .. }, None) => {
                Outcome::Accepted { handle: said.and_then(|said| said.handle(&self.place())) }
            }
            (outcome, _) => outcome,
        }
    }

    /// See <https://discord.com/developers/docs/resources/webhook#edit-webhook-message>.
    async fn edit(&self, net: &Net, handle: &str, message: &Message) -> Outcome {
        let address = Handle::read(handle).and_then(|handle| self.address_of(handle.message));
        let Some(address) = address else {
            return Outcome::Rejected { why: "it is elsewhere".to_owned() };
        };
        let mut body = body(message);
        if message.picture.is_none() {
            // Those that are not named go away: an old picture beside a new state would lie.
            body["attachments"] = json!([]);
        }
        self.call(net, Method::PATCH, &address, body, message.picture.as_ref()).await.0
    }
}

impl Discord {
    /// Which webhook it is, and which thread it posts to.
    fn place(&self) -> String {
        let segments = self.url.expose().path_segments().into_iter().flatten();
        let webhook = segments.skip_while(|segment| *segment != "webhooks").nth(1);
        // What is no number may be a secret.
        let webhook = webhook.filter(|webhook| is_number(webhook)).unwrap_or_default();
        format!("{webhook}.{}", self.thread().unwrap_or_default())
    }

    /// The thread that it posts to, if it is not the channel itself.
    fn thread(&self) -> Option<String> {
        let mut pairs = self.url.expose().query_pairs();
        let (_, thread) = pairs.find(|(name, _)| name == "thread_id")?;
        is_number(&thread).then(|| thread.into_owned())
    }

    /// The address of a message that the webhook posted.
    fn address_of(&self, message: &str) -> Option<Url> {
        let mut url = self.url.expose().clone();
        url.path_segments_mut().ok()?.pop_if_empty().extend(["messages", message]);
        url.set_query(None);
        if let Some(thread) = self.thread() {
            url.query_pairs_mut().append_pair("thread_id", &thread);
        }
        Some(url)
    }

    /// The link to a message, if its server can be found out.
    async fn link(&self, net: &Net, handle: &str) -> Option<String> {
        let handle = Handle::read(handle)?;
        let ask = self.server.get_or_try_init(|| self.ask_for_server(net));
        let server = tokio::time::timeout(LOOK_UP, ask).await.ok()?.ok()?;
        Some(format!("https://discord.com/channels/{server}/{}/{}", handle.channel, handle.message))
    }

    /// See <https://discord.com/developers/docs/resources/webhook#get-webhook-with-token>.
    async fn ask_for_server(&self, net: &Net) -> Result<String, ()> {
        let mut url = self.url.expose().clone();
        url.set_query(None);
        let answer = exchange(net, net.http.get(url), &self.veil).await.map_err(drop)?;
        let webhook: Webhook = serde_json::from_str(&answer.body).map_err(drop)?;
        if is_number(&webhook.guild_id) { Ok(webhook.guild_id) } else { Err(()) }
    }

    async fn call(
        &self,
        net: &Net,
        method: Method,
        address: &Url,
        mut body: Json,
        picture: Option<&Picture>,
    ) -> (Outcome, Option<Said>) {
        let request = net.http.request(method, address.clone());
        let request = match picture {
            None => request.json(&body),
            Some(picture) => {
                let alt = clean(&picture.alt, ALT);
                body["attachments"] = json!([{ "id": 0, "filename": FILE, "description": alt }]);
                body["embeds"][0]["image"] = json!({ "url": format!("attachment://{FILE}") });
                let file = Part::bytes(picture.png.to_vec()).file_name(FILE);
                let Ok(file) = file.mime_str("image/png") else {
                    return (Outcome::Rejected { why: "no picture".to_owned() }, None);
                };
                let form = Form::new().text("payload_json", body.to_string());
                request.multipart(form.part("files[0]", file))
            }
        };
        match exchange(net, request, &self.veil).await {
            Ok(answer) => {
                let said = serde_json::from_str(&answer.body).ok();
                (judge(answer, &self.veil), said)
            }
            Err(outcome) => (outcome, None),
        }
    }
}

/// How a message is named: where it was posted to, the channel or thread that it is in, and its
/// number.
struct Handle<'h> {
    place: &'h str,
    channel: &'h str,
    message: &'h str,
}

impl<'h> Handle<'h> {
    fn read(handle: &'h str) -> Option<Self> {
        let (rest, message) = handle.rsplit_once('/')?;
        let (place, channel) = rest.rsplit_once('/')?;
        (is_number(channel) && is_number(message)).then_some(Self { place, channel, message })
    }
}

/// What Discord says of a message that it took.
#[derive(Debug, Deserialize)]
struct Said {
    id: String,
    channel_id: String,
}

impl Said {
    fn handle(&self, place: &str) -> Option<String> {
        let Self { id, channel_id } = self;
        (is_number(id) && is_number(channel_id)).then(|| format!("{place}/{channel_id}/{id}"))
    }
}

/// What Discord says of a webhook.
#[derive(Debug, Deserialize)]
struct Webhook {
    guild_id: String,
}

/// Whether it is one of Discord's numbers.
fn is_number(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.chars().all(|c| c.is_ascii_digit())
}

/// One embed in the colour of the state, which can mention nobody.
///
/// See <https://discord.com/developers/docs/resources/message#embed-object-embed-limits>.
fn body(message: &Message) -> Json {
    let links = links(&message.actions);
    let room = DESCRIPTION.saturating_sub(length(Format::Discord, &links) + 1);
    let mut text = fit(Format::Discord, &message.text, room);
    if !text.is_empty() && !links.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    embed(message, &(text + &links))
}

/// What is to be heard, with a link to the message that says all.
fn short(message: &Message, link: Option<String>) -> Json {
    let link = link.map(|link| format!("[The whole message]({link})"));
    embed(message, &link.unwrap_or_default())
}

fn embed(message: &Message, description: &str) -> Json {
    let tone = Tone::of(message.what, &message.incidents);
    let mut embed = json!({
        "title": fit(Format::Discord, &message.title, TITLE),
        "color": tone.rgb(),
        "timestamp": message.at,
        "footer": { "text": clean(&message.daemon, FOOTER) },
    });
    if !description.is_empty() {
        embed["description"] = json!(description);
    }
    json!({ "embeds": [embed], "allowed_mentions": { "parse": [] } })
}

/// What a person may do, as links: a webhook of no application has no buttons.
fn links(actions: &[Action]) -> String {
    let links = actions
        .iter()
        .map(|action| link(Format::Discord, &action.url, &clean(&action.label, LABEL)));
    let fitting: Vec<String> =
        links.filter(|link| length(Format::Discord, link) <= LINK).take(LINKS).collect();
    fitting.join(" · ")
}

/// The wait in the body of a 429: finer than the header.
#[derive(Debug, Deserialize)]
struct Limited {
    retry_after: f64,
}

fn judge(mut answer: Answer, veil: &Veil) -> Outcome {
    if answer.status == StatusCode::TOO_MANY_REQUESTS {
        let limited: Option<Limited> = serde_json::from_str(&answer.body).ok();
        let wait = limited.and_then(|said| Duration::try_from_secs_f64(said.retry_after).ok());
        answer.retry_after = wait.or(answer.retry_after);
    }
    classify(&answer, veil)
}

#[cfg(test)]
mod tests;
