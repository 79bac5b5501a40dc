//! Where alerts go, as `init` knows it.

use crate::model::Secret;
use anyhow::bail;
use clap::Args;
use std::convert::Infallible;

/// Where alerts go. Without any of these they are printed.
#[derive(Args, Debug)]
pub struct ChannelArgs {
    /// Alert by an incoming webhook of Slack
    #[arg(long, value_name = "URL", value_parser = secret, help_heading = "Where alerts go")]
    slack: Option<Secret>,
    /// Alert by a webhook of Discord
    #[arg(long, value_name = "URL", value_parser = secret, help_heading = "Where alerts go")]
    discord: Option<Secret>,
    /// Alert by a bot of Telegram, with `--telegram-chat`
    #[arg(long, value_name = "TOKEN", value_parser = secret, help_heading = "Where alerts go", requires = "telegram_chat")]
    telegram: Option<Secret>,
    /// The number of the chat, or @name
    #[arg(long, value_name = "CHAT", help_heading = "Where alerts go", allow_hyphen_values = true)]
    telegram_chat: Option<String>,
    /// Alert by email to this address, by `--smtp`
    #[arg(long, value_name = "ADDRESS", help_heading = "Where alerts go", requires = "smtp")]
    email: Option<String>,
    /// The mail server: HOST, or HOST:PORT
    #[arg(long, value_name = "HOST", help_heading = "Where alerts go")]
    smtp: Option<String>,
    /// How the mail server is spoken to: starttls, implicit or none
    #[arg(
        long,
        value_name = "HOW",
        help_heading = "Where alerts go",
        default_value = "starttls",
        value_parser = ["starttls", "implicit", "none"]
    )]
    smtp_tls: String,
    /// The user of the mail server; the password is asked for, or taken from SMTP_PASSWORD
    #[arg(long, value_name = "USER", help_heading = "Where alerts go")]
    smtp_user: Option<String>,
    /// The password of the mail server
    #[arg(
        long,
        value_name = "PASSWORD",
        value_parser = secret,
        help_heading = "Where alerts go",
        env = "SMTP_PASSWORD",
        hide_env_values = true
    )]
    smtp_password: Option<Secret>,
    /// Alert by a request to this address
    #[arg(long, value_name = "URL", value_parser = secret, help_heading = "Where alerts go")]
    webhook: Option<Secret>,
    /// Only print alerts
    #[arg(long, help_heading = "Where alerts go")]
    console: bool,
}

fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

/// A channel that `init` can set up.
#[derive(Clone, Debug)]
pub enum Channel {
    /// The address of an incoming webhook.
    Slack(Secret),
    /// The address of a webhook.
    Discord(Secret),
    /// A bot's token, and a chat.
    Telegram {
        /// The bot's token.
        token: Secret,
        /// A number, or @name.
        chat: String,
    },
    /// A mail server.
    Email(Mail),
    /// An address that takes requests.
    Webhook(Secret),
    /// Standard output.
    Console,
}

/// How mails are sent.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The server, perhaps with its port.
    pub server: String,
    /// `starttls`, `implicit` or `none`.
    pub tls: String,
    /// User name and password.
    pub login: Option<(String, Secret)>,
    /// From whom.
    pub from: String,
    /// To whom.
    pub to: String,
}

impl ChannelArgs {
    /// The channel that the arguments name, if they name one.
    pub fn channel(&self) -> anyhow::Result<Option<Channel>> {
        let mut given = Vec::new();
        given.extend(self.slack.clone().map(Channel::Slack));
        given.extend(self.discord.clone().map(Channel::Discord));
        if let (Some(token), Some(chat)) = (&self.telegram, &self.telegram_chat) {
            given.push(Channel::Telegram { token: token.clone(), chat: chat.clone() });
        }
        if let (Some(to), Some(server)) = (&self.email, &self.smtp) {
            let login = match (&self.smtp_user, &self.smtp_password) {
                (Some(user), Some(password)) => Some((user.clone(), password.clone())),
                (Some(_), None) => bail!("--smtp-user needs a password, in SMTP_PASSWORD"),
                (None, _) => None,
            };
            let from = match &login {
                Some((user, _)) if user.contains('@') => user.clone(),
                _ => to.clone(),
            };
            given.push(Channel::Email(Mail {
                server: server.clone(),
                tls: self.smtp_tls.clone(),
                login,
                from,
                to: to.clone(),
            }));
        }
        given.extend(self.webhook.clone().map(Channel::Webhook));
        given.extend(self.console.then_some(Channel::Console));
        if given.len() > 1 {
            bail!("one channel is set up at a time; the others are easily added to daemon.toml");
        }
        Ok(given.pop())
    }
}

/// A text in TOML.
pub fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

impl Channel {
    /// The name that it gets.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Slack(_) => "ops-slack",
            Self::Discord(_) => "ops-discord",
            Self::Telegram { .. } => "ops-telegram",
            Self::Email(_) => "ops-mail",
            Self::Webhook(_) => "ops-webhook",
            Self::Console => "console",
        }
    }

    /// What must not stand in `daemon.toml`, by the names of variables.
    pub fn secrets(&self) -> Vec<(String, Secret)> {
        let one = |name: &str, secret: &Secret| vec![(name.to_owned(), secret.clone())];
        match self {
            Self::Slack(url) => one("SLACK_WEBHOOK_URL", url),
            Self::Discord(url) => one("DISCORD_WEBHOOK_URL", url),
            Self::Telegram { token, .. } => one("TELEGRAM_TOKEN", token),
            Self::Email(mail) => match &mail.login {
                Some((_, password)) => one("SMTP_PASSWORD", password),
                None => Vec::new(),
            },
            Self::Webhook(url) => one("WEBHOOK_URL", url),
            Self::Console => Vec::new(),
        }
    }

    /// Its table. `reference` says how the file refers to a secret of this name.
    pub fn table(&self, reference: impl Fn(&str) -> String) -> String {
        let name = self.name();
        let head = format!("[[channel]]\nname = \"{name}\"\n");
        let rest = match self {
            Self::Slack(_) => format!(
                "[channel.slack]\nwebhook_url = {}\n",
                quoted(&reference("SLACK_WEBHOOK_URL"))
            ),
            Self::Discord(_) => format!(
                "[channel.discord]\nwebhook_url = {}\n# update = true                # one live \
                 message an incident\n",
                quoted(&reference("DISCORD_WEBHOOK_URL"))
            ),
            Self::Telegram { chat, .. } => {
                let chat = match chat.parse::<i64>() {
                    Ok(number) => number.to_string(),
                    Err(_) => quoted(chat),
                };
                format!(
                    "[channel.telegram]\ntoken = {}\nchat_id = {chat}\n# update = true            \
                         # one live message an incident\n",
                    quoted(&reference("TELEGRAM_TOKEN"))
                )
            }
            Self::Email(mail) => {
                let (host, port) = match mail.server.rsplit_once(':') {
                    Some((host, port)) if port.parse::<u16>().is_ok() => {
                        (host, format!("port = {port}\n"))
                    }
                    _ => (mail.server.as_str(), String::new()),
                };
                let login = mail.login.as_ref().map_or_else(String::new, |(user, _)| {
                    let password = quoted(&reference("SMTP_PASSWORD"));
                    format!("username = {}\npassword = {password}\n", quoted(user))
                });
                format!(
                    "[channel.email]\nhost = {}\n{port}tls = \"{}\"\n{login}from = {}\nto = [{}]\n",
                    quoted(host),
                    mail.tls,
                    quoted(&mail.from),
                    quoted(&mail.to)
                )
            }
            Self::Webhook(_) => format!(
                "[channel.webhook]\nurl = {}\n# secret = \"…\"               # signs each request\n",
                quoted(&reference("WEBHOOK_URL"))
            ),
            Self::Console => "[channel.console]\n".to_owned(),
        };
        head + &rest
    }
}
