use crate::config::Section;
use crate::deliver::support::{Answer, SecretUrl, Veil, classify, exchange, required_url};
use crate::deliver::{Channel, ChannelKind, Net, Outcome, Preview};
use crate::model::{Format, Message, OptionDoc};
use crate::render::{Tone, clean, fit};
use async_trait::async_trait;
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::time::Duration;

/// Characters in an embed's title, description and footer; together far below its 6,000.
const TITLE: usize = 256;
const DESCRIPTION: usize = 4_096;
const FOOTER: usize = 200;

/// Discord, by a webhook.
pub const KIND: ChannelKind = ChannelKind {
    name: "discord",
    summary: "a Discord channel, by a webhook",
    options: &[OptionDoc::new(
        "webhook_url",
        "secret",
        "required",
        "address of the webhook, from the settings of the channel",
    )],
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
    veil: Veil,
}

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Channel>> {
    let url = SecretUrl::new(waiting(required_url(section, "webhook_url")?));
    let veil = Veil::over(url.secrets());
    Some(Box::new(Discord { url, veil }))
}

/// The address that answers only once the message is posted, so that a refusal is seen.
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

    async fn send(&self, net: &Net, message: &Message) -> Outcome {
        let request = net.http.post(self.url.expose().clone()).json(&body(message));
        match exchange(net, request, &self.veil).await {
            Ok(answer) => judge(answer, &self.veil),
            Err(outcome) => outcome,
        }
    }
}

/// One embed in the colour of the state, which can mention nobody.
///
/// See <https://discord.com/developers/docs/resources/message#embed-object-embed-limits>.
fn body(message: &Message) -> Json {
    let tone = Tone::of(message.what, &message.incidents);
    let mut embed = json!({
        "title": fit(Format::Discord, &message.title, TITLE),
        "color": tone.rgb(),
        "timestamp": message.at,
        "footer": { "text": clean(&message.daemon, FOOTER) },
    });
    if !message.text.is_empty() {
        embed["description"] = json!(fit(Format::Discord, &message.text, DESCRIPTION));
    }
    json!({ "embeds": [embed], "allowed_mentions": { "parse": [] } })
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
mod tests {
    use super::{DESCRIPTION, KIND, TITLE};
    use crate::deliver::Outcome;
    use crate::deliver::support::testing::{Fake, channel, hostile_messages, messages, net, read};
    use serde_json::{Value as Json, json};
    use std::time::Duration;

    /// Holds a body against Discord's limits.
    fn assert_takes(body: &Json) {
        assert_eq!(body["allowed_mentions"], json!({ "parse": [] }));
        let embed = &body["embeds"][0];
        let length = |part: &Json| part.as_str().unwrap_or_default().chars().count();
        let (title, text) = (length(&embed["title"]), length(&embed["description"]));
        assert!((1..=TITLE).contains(&title) && text <= DESCRIPTION, "{title} {text}");
        assert!(title + text + length(&embed["footer"]["text"]) <= 6_000);
        let dangling = embed["description"].as_str().unwrap_or_default();
        assert!(!dangling.trim_end_matches('…').ends_with("\\"), "{dangling}");
    }

    #[tokio::test]
    async fn a_message_is_an_embed_in_the_colour_of_the_state() {
        let fake = Fake::start().await;
        fake.answer(200, &[], "{}");
        let url = fake.url("/api/webhooks/1/x?thread_id=7");
        let discord = channel(&KIND, &format!("webhook_url = \"{url}\""));
        for message in messages(&KIND).iter().chain(&hostile_messages(&KIND)) {
            assert_eq!(discord.send(&net(), message).await, Outcome::Accepted);
            assert_takes(&fake.last().json());
        }
        assert_eq!(fake.last().uri.query(), Some("thread_id=7&wait=true"));
        insta::assert_json_snapshot!(fake.requests()[0].json(), @r#"
        {
          "embeds": [
            {
              "title": "🔴 DOWN shop-api — status == 200 failed: status is 503",
              "color": 14105161,
              "timestamp": "2026-03-01T09:20:12.000Z",
              "footer": {
                "text": "prod"
              },
              "description": "Since 2026-03-01 09:15:02 UTC\ncritical · http · team=shop · tier=1\n[Runbook](https://wiki.example/shop-api)"
            }
          ],
          "allowed_mentions": {
            "parse": []
          }
        }
        "#);
        insta::assert_json_snapshot!(fake.requests()[2].json(), @r#"
        {
          "embeds": [
            {
              "title": "🟢 UP billing — was down for 5m 10s",
              "color": 3055683,
              "timestamp": "2026-03-01T09:20:12.000Z",
              "footer": {
                "text": "prod"
              }
            }
          ],
          "allowed_mentions": {
            "parse": []
          }
        }
        "#);
    }

    #[tokio::test]
    async fn discords_answers_say_what_to_do() {
        let fake = Fake::start().await;
        let url = fake.url("/api/webhooks/1/SECRETSECRET");
        let discord = channel(&KIND, &format!("webhook_url = \"{url}\""));
        let message = &messages(&KIND)[0];
        let limited = r#"{"message":"slow down","retry_after":0.25}"#;
        for (status, headers, body, expected) in [
            (204, vec![], "", Outcome::Accepted),
            (
                429,
                vec![("retry-after", "1")],
                limited,
                Outcome::Retry {
                    after: Some(Duration::from_millis(250)),
                    why: format!("429 Too Many Requests: {limited}"),
                },
            ),
            (
                429,
                vec![("retry-after", "65")],
                "banned",
                Outcome::Retry {
                    after: Some(Duration::from_secs(65)),
                    why: "429 Too Many Requests: banned".to_owned(),
                },
            ),
            (
                404,
                vec![],
                r#"{"message":"Unknown SECRETSECRET"}"#,
                Outcome::Rejected {
                    why: r#"404 Not Found: {"message":"Unknown [secret]"}"#.to_owned(),
                },
            ),
        ] {
            fake.answer(status, &headers, body);
            assert_eq!(discord.send(&net(), message).await, expected);
        }
        assert!(!format!("{discord:?}").contains("SECRET"));
    }

    #[test]
    fn the_address_must_be_there() {
        assert_eq!(read(&KIND, "").1, "daemon.toml:1:1: webhook_url: is missing");
    }
}
