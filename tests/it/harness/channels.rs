use super::{Discord, Inbox, Slack, Smtp, Telegram, Webhook};

/// The five channels, each with a service of its own behind it.
#[derive(Debug)]
pub struct FiveChannels {
    /// `slack`
    pub slack: Slack,
    /// `discord`
    pub discord: Discord,
    /// `telegram`
    pub telegram: Telegram,
    /// `email`
    pub smtp: Smtp,
    /// `webhook`
    pub webhook: Webhook,
}

impl FiveChannels {
    /// The address that mail goes to.
    pub const ADDRESS: &'static str = "ops@shop.example";

    /// Five working services.
    pub async fn start() -> Self {
        Self {
            slack: Slack::start(),
            discord: Discord::start(),
            telegram: Telegram::start(),
            smtp: Smtp::start().await,
            webhook: Webhook::start(),
        }
    }

    /// The `[[channel]]` tables, each with the keys `common`, such as `rate_limit = "10/h"`.
    pub fn toml(&self, common: &str) -> String {
        let (slack, discord, webhook) = (self.slack.url(), self.discord.url(), self.webhook.url());
        let (telegram, token, chat) = (self.telegram.url(), Telegram::TOKEN, Telegram::CHAT);
        let (port, address, secret) = (self.smtp.port, Self::ADDRESS, Webhook::SECRET);
        format!(
            r#"
[[channel]]
name = "slack"
{common}
[channel.slack]
webhook_url = "{slack}"

[[channel]]
name = "discord"
{common}
[channel.discord]
webhook_url = "{discord}"

[[channel]]
name = "telegram"
{common}
[channel.telegram]
token = "{token}"
chat_id = {chat}
api_url = "{telegram}"

[[channel]]
name = "email"
{common}
[channel.email]
host = "127.0.0.1"
port = {port}
tls = "none"
from = "Watchbell <watchbell@shop.example>"
to = ["{address}"]

[[channel]]
name = "webhook"
{common}
[channel.webhook]
url = "{webhook}"
secret = "{secret}"
"#
        )
    }

    /// Their names and what they were sent.
    pub fn each(&self) -> [(&'static str, &Inbox); 5] {
        [
            ("slack", &self.slack.inbox),
            ("discord", &self.discord.inbox),
            ("telegram", &self.telegram.inbox),
            ("email", &self.smtp.inbox),
            ("webhook", &self.webhook.inbox),
        ]
    }

    /// How many messages each has by now, to skip them in a later wait.
    pub fn counts(&self) -> [usize; 5] {
        self.each().map(|(_, inbox)| inbox.messages().len())
    }

    /// Waits until each has a message that says `words`, after the `skip` first ones.
    pub async fn all_hear(&self, skip: [usize; 5], words: &[&str]) {
        for ((name, inbox), skip) in self.each().into_iter().zip(skip) {
            println!("  {name}: waiting for {words:?}");
            inbox.wait_for(skip, words).await;
        }
    }

    /// Fails if one of the services had to refuse something.
    pub fn assert_nothing_was_refused(&self) {
        for (name, inbox) in self.each() {
            assert_eq!(inbox.refusals(), Vec::<String>::new(), "{name} refused");
        }
    }
}
