use crate::config::Section;
use crate::deliver::support::{Answer, SecretUrl, Veil, classify, exchange};
use crate::deliver::{Channel, ChannelKind, Net, Outcome, Preview};
use crate::model::{Format, Message, OptionDoc, Secret};
use crate::render::{Tone, fit, split};
use async_trait::async_trait;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// Characters in the text of a section.
const SECTION: usize = 3_000;
/// Blocks in a message; one of them holds the title.
const BLOCKS: usize = 50;

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
    Bot { token: Secret, channel: String, post_message: Url },
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
    let target = match (webhook, token) {
        (Some(url), None) => Target::Webhook(url),
        (None, Some(token)) => Target::Bot {
            token,
            channel: channel?,
            post_message: Url::parse(&format!(
                "{}/chat.postMessage",
                api?.as_str().trim_end_matches('/')
            ))
            .ok()?,
        },
        _ => return None,
    };
    let veil = match &target {
        Target::Webhook(url) => Veil::over(url.secrets()),
        Target::Bot { token, .. } => Veil::over([token.clone()]),
    };
    Some(Box::new(Slack { target, veil }))
}

const API: &str = "https://slack.com/api";

#[async_trait]
impl Channel for Slack {
    fn preview(&self, message: &Message) -> Result<Preview, String> {
        Preview::json(&self.payload(message))
    }

    async fn send(&self, net: &Net, message: &Message) -> Outcome {
        let request = match &self.target {
            Target::Webhook(url) => net.http.post(url.expose().clone()),
            Target::Bot { token, post_message, .. } => {
                net.http.post(post_message.clone()).bearer_auth(token.expose())
            }
        };
        let request = request.json(&self.payload(message));
        let answer = match exchange(net, request, &self.veil).await {
            Ok(answer) => answer,
            Err(outcome) => return outcome,
        };
        match &self.target {
            Target::Bot { .. } if answer.status.is_success() => judge(&answer, &self.veil),
            _ => classify(&answer, &self.veil),
        }
    }
}

impl Slack {
    /// The whole body: a bot also says where the message goes.
    fn payload(&self, message: &Message) -> Json {
        let mut body = body(message);
        if let Target::Bot { channel, .. } = &self.target {
            body["channel"] = json!(channel);
        }
        body
    }
}

/// The message as blocks: the title on its own, the text beside a bar of the state's colour.
///
/// `text` is what notifications show. See <https://docs.slack.dev/reference/block-kit/blocks>.
fn body(message: &Message) -> Json {
    let title = fit(Format::Slack, &message.title, SECTION);
    let parts = split(Format::Slack, &message.text, SECTION, BLOCKS - 1);
    let mut body = json!({
        "text": title,
        "blocks": [section(&title)],
        "unfurl_links": false,
        "unfurl_media": false,
    });
    if !parts.is_empty() {
        let color = Tone::of(message.what, &message.incidents).hex();
        let blocks: Vec<Json> = parts.iter().map(|part| section(part)).collect();
        body["attachments"] = json!([{ "color": color, "blocks": blocks }]);
    }
    body
}

/// `verbatim` keeps Slack from making channels and people out of plain words.
fn section(text: &str) -> Json {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": text, "verbatim": true } })
}

/// What the Web API says with status 200.
#[derive(Debug, Deserialize)]
struct Said {
    ok: bool,
    #[serde(default)]
    error: String,
}

/// The Web API answers 200 also to what it refuses; the body says which.
fn judge(answer: &Answer, veil: &Veil) -> Outcome {
    let said: Said = match serde_json::from_str(&answer.body) {
        Ok(said) => said,
        Err(_) => {
            let why = veil.clean(&format!("this is not Slack's answer: {}", answer.body));
            return Outcome::Retry { after: answer.retry_after, why };
        }
    };
    let why = veil.clean(&said.error);
    match &*said.error {
        _ if said.ok => Outcome::Accepted,
        "ratelimited"
        | "rate_limited"
        | "internal_error"
        | "fatal_error"
        | "request_timeout"
        | "service_unavailable"
        | "team_added_to_org" => Outcome::Retry { after: answer.retry_after, why },
        _ => Outcome::Rejected { why },
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCKS, KIND, SECTION};
    use crate::deliver::Outcome;
    use crate::deliver::support::testing::{Fake, channel, hostile_messages, messages, net, read};
    use serde_json::Value as Json;
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
            assert_eq!(slack.send(&net(), message).await, Outcome::Accepted);
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
        assert_eq!(slack.send(&net(), &messages(&KIND)[0]).await, Outcome::Accepted);
        let request = fake.last();
        assert_eq!(request.uri.path(), "/api/chat.postMessage");
        assert_eq!(request.headers["authorization"], "Bearer xoxb-1");
        assert_eq!(request.json()["channel"], "#ops");
    }

    #[tokio::test]
    async fn slacks_answers_say_what_to_do() {
        let fake = Fake::start().await;
        let hook = channel(
            &KIND,
            &format!("webhook_url = \"{}\"", fake.url("/services/T/B/SECRETSECRET")),
        );
        let bot = channel(
            &KIND,
            &format!(
                "token = \"xoxb-secret\"\nchannel = \"C1\"\napi_url = \"{}\"",
                fake.url("/api")
            ),
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
            (
                &hook,
                429,
                "30",
                "rate_limited",
                retry(Some(30), "429 Too Many Requests: rate_limited"),
            ),
            (&hook, 500, "", "", retry(None, "500 Internal Server Error")),
            (
                &bot,
                200,
                "",
                r#"{"ok":false,"error":"channel_not_found"}"#,
                rejected("channel_not_found"),
            ),
            (&bot, 200, "", r#"{"ok":false,"error":"bad xoxb-secret"}"#, rejected("bad [secret]")),
            (
                &bot,
                200,
                "5",
                r#"{"ok":false,"error":"ratelimited"}"#,
                retry(Some(5), "ratelimited"),
            ),
            (
                &bot,
                429,
                "9",
                r#"{"ok":false}"#,
                retry(Some(9), r#"429 Too Many Requests: {"ok":false}"#),
            ),
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
        ]
        .map(|text| read(&KIND, text).1);
        insta::assert_snapshot!(problems.join("\n"), @r"
        daemon.toml:1:1: needs `webhook_url`, or `token` and `channel` (create an incoming webhook, or a bot with the scope chat:write)
        daemon.toml:1:1: channel: is missing
        daemon.toml:2:9: token: there is a `webhook_url` already; one of them is enough
        daemon.toml:1:15: webhook_url: is not a URL: relative URL without a base (it starts with https:// or http://)
        ");
    }
}
