//! What people write, read into requests. Pure.

use crate::config::parse_duration;
use std::time::Duration;
use teloxide::utils::command::{BotCommands, ParseError};

/// The furthest that a silence or a snooze may reach.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// What somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Help,
    Status,
    Incidents,
    Check {
        name: String,
    },
    /// All that stands behind the command: which words name the incident is only known where the
    /// open ones are.
    Acknowledge {
        words: String,
    },
    Silence {
        matcher: String,
        span: Duration,
        comment: String,
    },
    Snooze {
        incident: String,
        span: Duration,
    },
}

/// The commands as they are written. Telegram's clients show them while people type.
#[derive(BotCommands, Clone, Debug, PartialEq, Eq)]
#[command(rename_rule = "lowercase")]
enum Command {
    #[command(description = "how things are")]
    Status,
    #[command(description = "the open incidents")]
    Incidents,
    #[command(description = "one check with its last results")]
    Check(String),
    #[command(description = "take an incident on")]
    Ack(String),
    #[command(description = "tell nobody about a check for a while")]
    Silence(String),
    #[command(description = "no reminder for a while")]
    Snooze(String),
    #[command(description = "what the bot understands")]
    Help,
    #[command(hide)]
    Start,
}

/// What `text` asks of the bot called `bot`: nothing if it is no command, or one for another bot;
/// else the request, or in words what is wrong with it. Where the two are not `alone`, a command
/// that it does not know may be meant for another bot, unless it names this one.
pub(super) fn read(text: &str, bot: &str, alone: bool) -> Option<Result<Request, String>> {
    let (word, rest) = first_word(text)?;
    if !word.starts_with('/') {
        return None;
    }
    // The parser knows a blank after the command, and no other white space.
    let command = match Command::parse(&format!("{word} {rest}"), bot) {
        Ok(command) => command,
        Err(ParseError::WrongBotName(_)) => return None,
        Err(_) if !alone && !word.contains('@') => return None,
        Err(_) => return Some(Err("I do not know that command; /help lists them.".to_owned())),
    };
    Some(match command {
        Command::Status => Ok(Request::Status),
        Command::Incidents => Ok(Request::Incidents),
        Command::Help | Command::Start => Ok(Request::Help),
        Command::Check(rest) => match one_word(&rest) {
            Some(name) => Ok(Request::Check { name }),
            None => Err("Say which check: /check NAME".to_owned()),
        },
        Command::Ack(rest) => Ok(Request::Acknowledge { words: rest.trim().to_owned() }),
        Command::Silence(rest) => silence(&rest),
        Command::Snooze(rest) => snooze(&rest),
    })
}

fn one_word(rest: &str) -> Option<String> {
    let mut words = rest.split_whitespace();
    match (words.next(), words.next()) {
        (Some(word), None) => Some(word.to_owned()),
        _ => None,
    }
}

fn silence(rest: &str) -> Result<Request, String> {
    let (Some((matcher, rest)), usage) = (first_word(rest), "/silence NAME 2h [comment]") else {
        return Err("Say what, and for how long: /silence NAME 2h [comment]".to_owned());
    };
    let Some((span, comment)) = first_word(rest) else {
        return Err(format!("Say for how long: {usage}"));
    };
    let comment = comment.trim().to_owned();
    Ok(Request::Silence { matcher: matcher.to_owned(), span: read_span(span)?, comment })
}

fn snooze(rest: &str) -> Result<Request, String> {
    let usage = "Say which incident, and for how long: /snooze NAME 2h";
    let words: Vec<&str> = rest.split_whitespace().collect();
    let [incident, span] = *words else { return Err(usage.to_owned()) };
    Ok(Request::Snooze { incident: incident.to_owned(), span: read_span(span)? })
}

/// The first word of `text`, and what follows it.
pub(super) fn first_word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (!word.is_empty()).then_some((word, rest))
}

fn read_span(text: &str) -> Result<Duration, String> {
    let span = parse_duration(text)?;
    if span.is_zero() || span > LONGEST {
        return Err(format!("`{text}` is not a time between 1s and a year"));
    }
    Ok(span)
}

/// The commands for people, one a line.
pub(super) const HELP: &str = "\
/status — how things are, the worst first
/incidents — the open incidents
/check NAME — one check with its last results
/ack [NAME or ID] [note] — take an incident on; also as an answer to its alert
/silence NAME 2h [comment] — tell nobody about a check for a while; NAME can be a label, team=shop
/snooze NAME 2h — no reminder for a while";

#[cfg(test)]
mod tests {
    use super::{Request, read};
    use std::time::Duration;

    const HOURS: Duration = Duration::from_secs(7_200);

    fn check(text: &str, expected: Option<Result<Request, &str>>) {
        let found = read(text, "OpsBot", text.contains("alone"));
        let found = found.as_ref().map(|read| read.as_ref().map_err(|why| &**why).cloned());
        assert_eq!(found, expected, "{text}");
    }

    fn silence(matcher: &str, comment: &str) -> Option<Result<Request, &'static str>> {
        let (matcher, comment) = (matcher.to_owned(), comment.to_owned());
        Some(Ok(Request::Silence { matcher, span: HOURS, comment }))
    }

    fn acknowledge(words: &str) -> Option<Result<Request, &'static str>> {
        Some(Ok(Request::Acknowledge { words: words.to_owned() }))
    }

    #[test]
    fn commands_are_read() {
        check("/status", Some(Ok(Request::Status)));
        check("  /incidents please ", Some(Ok(Request::Incidents)));
        check("/help", Some(Ok(Request::Help)));
        check("/start", Some(Ok(Request::Help)));
        check("/check shop-api", Some(Ok(Request::Check { name: "shop-api".to_owned() })));
        check("/ack", acknowledge(""));
        check("/ack shop-api  on it\nnow", acknowledge("shop-api  on it\nnow"));
        check("/silence shop-api 2h", silence("shop-api", ""));
        check("/silence\nteam=shop  2h  moving house ", silence("team=shop", "moving house"));
        let incident = "shop-api".to_owned();
        check("/snooze shop-api 2h", Some(Ok(Request::Snooze { incident, span: HOURS })));
    }

    #[test]
    fn what_is_for_others_is_left_to_them() {
        check("/status@opsbot", Some(Ok(Request::Status)));
        check("/ack@OpsBot shop", acknowledge("shop"));
        check("/status@otherbot", None);
        check("/weather@otherbot alone", None);
        check("/weather", None);
        check("we should ask /status", None);
        check("", None);
    }

    #[test]
    fn a_mistake_is_said_with_what_is_right() {
        check("/statsu alone", Some(Err("I do not know that command; /help lists them.")));
        check("/statsu@opsbot", Some(Err("I do not know that command; /help lists them.")));
        check("/check", Some(Err("Say which check: /check NAME")));
        check("/check two words", Some(Err("Say which check: /check NAME")));
        let usage = "Say what, and for how long: /silence NAME 2h [comment]";
        check("/silence", Some(Err(usage)));
        check("/silence shop", Some(Err("Say for how long: /silence NAME 2h [comment]")));
        check("/silence shop 0s", Some(Err("`0s` is not a time between 1s and a year")));
        check("/silence shop 9y", Some(Err("`9y` is not a time between 1s and a year")));
        check(
            "/silence shop soon",
            Some(Err(
                "`soon` is not a duration: expected number at 0 (such as 500ms, 30s, 5m, 12h)",
            )),
        );
        let usage = "Say which incident, and for how long: /snooze NAME 2h";
        check("/snooze shop", Some(Err(usage)));
    }
}
