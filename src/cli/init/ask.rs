//! The questions.

use super::channel::{Channel, Mail};
use super::draft::{self, Offer};
use crate::model::Secret;
use inquire::validator::Validation;
use inquire::{Confirm, MultiSelect, Password, PasswordDisplayMode, Select, Text};

/// Which of what was found shall be watched.
pub fn offers(found: Vec<Offer>) -> anyhow::Result<Vec<Offer>> {
    if found.is_empty() {
        return Ok(found);
    }
    let all: Vec<usize> = (0..found.len()).collect();
    Ok(MultiSelect::new("This is here. What shall be watched?", found)
        .with_default(&all)
        .with_help_message("space takes one away, enter goes on")
        .prompt()?)
}

/// What else shall be watched.
pub fn targets() -> anyhow::Result<Vec<Offer>> {
    let mut offers = Vec::new();
    loop {
        let target = Text::new("What else? A URL or host:port (nothing goes on):")
            .with_validator(|text: &str| {
                Ok(match draft::target(text) {
                    Err(why) if !text.trim().is_empty() => Validation::Invalid(why.into()),
                    _ => Validation::Valid,
                })
            })
            .prompt()?;
        match draft::target(&target) {
            Ok(offer) => offers.push(offer),
            Err(_) => return Ok(offers),
        }
    }
}

/// Where alerts shall go.
pub fn channel() -> anyhow::Result<Channel> {
    const SLACK: &str = "Slack (an incoming webhook)";
    const DISCORD: &str = "Discord (a webhook)";
    const TELEGRAM: &str = "Telegram (a bot)";
    const EMAIL: &str = "email";
    const WEBHOOK: &str = "a webhook of my own";
    const CONSOLE: &str = "nowhere yet: print them";
    let all = vec![SLACK, DISCORD, TELEGRAM, EMAIL, WEBHOOK, CONSOLE];
    Ok(match Select::new("Where shall alerts go?", all).prompt()? {
        SLACK => {
            Channel::Slack(address("The address of the webhook (https://hooks.slack.com/…):")?)
        }
        DISCORD => Channel::Discord(address("The address of the webhook:")?),
        TELEGRAM => Channel::Telegram {
            token: secret("The token of the bot, from @BotFather:")?,
            chat: needed("The number of the chat, or @name of a channel:")?,
        },
        EMAIL => mail()?,
        WEBHOOK => Channel::Webhook(address("Its address:")?),
        _ => Channel::Console,
    })
}

/// Whether a test alert shall go now.
pub fn test(channel: &Channel) -> anyhow::Result<bool> {
    let question = format!("Send a test alert to {} once the files are written?", channel.name());
    Ok(Confirm::new(&question).with_default(true).prompt()?)
}

fn mail() -> anyhow::Result<Channel> {
    let server = needed("The mail server (host, or host:port):")?;
    let tls = Select::new("How is it spoken to?", vec!["starttls", "implicit", "none"]).prompt()?;
    let user = Text::new("The user name there (nothing: none):").prompt()?;
    let login = match user.trim() {
        "" => None,
        user => Some((user.to_owned(), secret("The password:")?)),
    };
    let to = needed("To whom do alerts go?")?;
    let from = Text::new("From whom do they come?").with_default(&to).prompt()?;
    Ok(Channel::Email(Mail { server, tls: tls.to_owned(), login, from, to }))
}

fn needed(question: &str) -> anyhow::Result<String> {
    let answer = Text::new(question)
        .with_validator(|text: &str| {
            Ok(match text.trim() {
                "" => Validation::Invalid("it is needed".into()),
                _ => Validation::Valid,
            })
        })
        .prompt()?;
    Ok(answer.trim().to_owned())
}

fn secret(question: &str) -> anyhow::Result<Secret> {
    let answer = Password::new(question)
        .with_display_mode(PasswordDisplayMode::Masked)
        .without_confirmation()
        .prompt()?;
    Ok(Secret::new(answer.trim()))
}

/// An address that is a secret, too: whoever knows it can write there.
fn address(question: &str) -> anyhow::Result<Secret> {
    let answer = Password::new(question)
        .with_display_mode(PasswordDisplayMode::Masked)
        .without_confirmation()
        .with_validator(|text: &str| {
            Ok(match url::Url::parse(text.trim()) {
                Ok(url) if matches!(url.scheme(), "http" | "https") => Validation::Valid,
                _ => Validation::Invalid("it is an address that begins with https://".into()),
            })
        })
        .prompt()?;
    Ok(Secret::new(answer.trim()))
}
