//! Carries out what people ask for, and finds the words for the answer: HTML as Telegram reads it,
//! with everything from outside escaped, within its limit.

use super::Daemon;
use super::command::{HELP, Request, first_word};
use crate::deliver::support::Button;
use crate::model::{
    Board, CheckView, Format, Incident, Matcher, Silence, Status, Timestamp, did_you_mean,
};
use crate::record::Page;
use crate::render::{Tone, clean, escape, fit, span, time};
use crate::serve::OperateError;
use chrono_tz::Tz;
use std::sync::Arc;
use std::time::Duration;

/// The longest message, in UTF-16 units. <https://core.telegram.org/bots/api#sendmessage>
const TEXT: usize = 4_096;
/// The longest answer to a press on a button. <https://core.telegram.org/bots/api#answercallbackquery>
pub(super) const TOAST: usize = 200;
/// The most entries of a list in one answer.
const LISTED: usize = 15;
/// The results that `/check` shows.
const RESULTS: u32 = 5;
/// Characters of one reason.
const REASON: usize = 200;
/// Characters of a note or a comment.
const NOTE: usize = 1_000;

/// Who asks, and from where.
#[derive(Clone, Debug)]
pub(super) struct Person {
    /// As others know them: `@name`, or the first name and the number.
    pub name: String,
    /// Their number, which stays when the name changes.
    pub user: u64,
    /// The chat they ask in.
    pub chat: i64,
    /// The update that brought the request. The same update asks for the same silence, however
    /// often it comes.
    pub update: u32,
    /// When they asked.
    pub at: Timestamp,
    /// The zone of times in the answer.
    pub zone: Tz,
}

/// The message that somebody answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Replied {
    /// The incident that its buttons are about.
    pub incident: Option<String>,
    /// Its text.
    pub text: String,
}

/// Does what `person` asks for, and gives the answer.
pub(super) async fn carry_out(
    daemon: &Daemon,
    person: &Person,
    request: Request,
    replied: Option<&Replied>,
) -> String {
    let now = daemon.clock.wall();
    let done = match request {
        Request::Help => Ok(escape(Format::TelegramHtml, HELP).into_owned()),
        Request::Status => Ok(status(daemon, now)),
        Request::Incidents => Ok(incidents(&open_incidents(daemon), now)),
        Request::Check { name } => check(daemon, &name, person.zone, now).await,
        Request::Acknowledge { words } => {
            let open = open_incidents(daemon);
            match target(&open, &words, replied) {
                Ok((incident, note)) => acknowledge(daemon, person, incident, note).await,
                Err(why) => Err(why),
            }
        }
        Request::Silence { matcher, span, comment } => {
            match read_matcher(&matcher, &daemon.board, &open_incidents(daemon)) {
                Ok(matcher) => silence(daemon, person, matcher, span, &comment).await,
                Err(why) => Err(why),
            }
        }
        Request::Snooze { incident, span } => {
            let open = open_incidents(daemon);
            match find(&open, &incident) {
                Some(found) => snooze(daemon, person, found, span).await,
                None => Err(missing(&open, &incident)),
            }
        }
    };
    let html = done.unwrap_or_else(|why| outside(&why, NOTE));
    fit(Format::TelegramHtml, &html, TEXT)
}

/// What became of a press on a button.
#[derive(Debug)]
pub(super) struct Pressed {
    /// Plain text for whoever pressed it.
    pub toast: String,
    /// HTML for all in the chat, so that they know who has it; nothing if there was nothing to do.
    pub told: Option<String>,
}

/// Does what a button stands for.
///
/// # Errors
/// In plain words, why it was not done and may be tried again.
pub(super) async fn press(
    daemon: &Daemon,
    person: &Person,
    button: Button,
    incident: &str,
) -> Result<Pressed, String> {
    let open = open_incidents(daemon);
    let Some(incident) = open.iter().find(|known| known.id == incident) else {
        return Ok(Pressed { toast: "It is over already.".to_owned(), told: None });
    };
    let check = &incident.check;
    let (told, toast) = match button {
        Button::Acknowledge => (
            acknowledge(daemon, person, incident, "").await?,
            format!("You have taken {check} on."),
        ),
        Button::Silence => (
            silence(daemon, person, of_check(check), Button::SILENCE, "").await?,
            format!("{check} is silent for {}.", span(Button::SILENCE)),
        ),
    };
    Ok(Pressed { toast, told: Some(told) })
}

/// All open incidents, the worst first, and of equals the newest.
fn open_incidents(daemon: &Daemon) -> Vec<Incident> {
    let checks = daemon.board.all();
    let of_checks = checks.iter().filter_map(|check| check.state.incident.as_deref().cloned());
    let own = daemon.control.daemon().other_incidents;
    let mut open: Vec<Incident> =
        of_checks.chain(own.iter().map(|incident| (**incident).clone())).collect();
    open.sort_by(|a, b| (b.severity, b.opened_at, &b.id).cmp(&(a.severity, a.opened_at, &a.id)));
    open
}

fn status(daemon: &Daemon, now: Timestamp) -> String {
    let mut checks = daemon.board.all();
    checks.sort_by_key(|check| badness(check.state.status));
    let count = |status| checks.iter().filter(|check| check.state.status == status).count();
    let counts: Vec<String> = [Status::Down, Status::Degraded, Status::Unknown, Status::Up]
        .into_iter()
        .map(|status| (status, count(status)))
        .filter(|(status, count)| *count > 0 || *status == Status::Up)
        .map(|(status, count)| format!("{count} {status}"))
        .collect();
    let worst = checks.first().map_or(Status::Up, |check| check.state.status);
    let name = outside(&daemon.control.daemon().name, NOTE);
    let mut lines = vec![format!("{} <b>{name}</b>: {}", icon(worst), counts.join(", "))];
    let bad: Vec<&Arc<CheckView>> =
        checks.iter().filter(|check| check.state.status != Status::Up).collect();
    lines.extend(bad.iter().take(LISTED).map(|check| one_line(check, now)));
    if bad.len() > LISTED {
        lines.push(format!("… and {} more", bad.len() - LISTED));
    }
    let open = open_incidents(daemon);
    let taken = open.iter().filter(|incident| incident.acknowledged.is_some()).count();
    lines.push(match (open.len(), taken) {
        (0, _) => "No open incident.".to_owned(),
        (open, 0) => format!("Open incidents: {open} (/incidents)"),
        (open, taken) => format!("Open incidents: {open}, {taken} acknowledged (/incidents)"),
    });
    lines.join("\n")
}

fn one_line(check: &CheckView, now: Timestamp) -> String {
    let state = &check.state;
    let mut line = format!(
        "{} <b>{}</b> {} for {}",
        icon(state.status),
        outside(&check.name, NOTE),
        state.status,
        span(now.since(state.since)),
    );
    if let Some(paused) = &state.paused {
        line += &format!(", paused by {}", outside(&paused.by, REASON));
    }
    if let Some(reason) = state.reasons.first() {
        line += &format!(" — {}", outside(reason, REASON));
    }
    line
}

fn incidents(open: &[Incident], now: Timestamp) -> String {
    if open.is_empty() {
        return "No open incident.".to_owned();
    }
    let mut lines: Vec<String> = Vec::new();
    for incident in open.iter().take(LISTED) {
        let mut line = format!(
            "{} <b>{}</b> {} for {}",
            Tone::of_incident(incident).icon(),
            outside(&incident.check, NOTE),
            incident.status,
            span(incident.duration(now)),
        );
        if let Some(reason) = incident.reasons.first() {
            line += &format!(" — {}", outside(reason, REASON));
        }
        line += &format!("\n    <code>{}</code>{}", outside(&incident.id, NOTE), people(incident));
        lines.push(line);
    }
    if open.len() > LISTED {
        lines.push(format!("… and {} more", open.len() - LISTED));
    }
    lines.join("\n")
}

/// Who has it, and why nobody is told.
fn people(incident: &Incident) -> String {
    let mut words = String::new();
    if let Some(taken) = &incident.acknowledged {
        words += &format!(" · acknowledged by {}", outside(&taken.by, REASON));
        if let Some(note) = &taken.note {
            words += &format!(": {}", outside(note, REASON));
        }
    }
    if let Some(because) = incident.suppressed_by {
        words += &format!(" · nobody is told: {}", because.as_str().replace('_', " "));
    }
    words
}

async fn check(daemon: &Daemon, name: &str, zone: Tz, now: Timestamp) -> Result<String, String> {
    let Some(check) = daemon.board.get(name) else {
        return Err(no_check(name, &daemon.board, &[]));
    };
    let state = &check.state;
    let mut lines =
        vec![one_line(&check, now), format!("Since {} · {}", time(state.since, zone), check.kind)];
    lines.extend(
        state.reasons.iter().skip(1).take(4).map(|reason| format!("· {}", outside(reason, REASON))),
    );
    if let Some(incident) = &state.incident {
        let id = outside(&incident.id, NOTE);
        lines.push(format!("Incident <code>{id}</code>{}", people(incident)));
    }
    let page = Page { limit: RESULTS, cursor: None };
    match daemon.store.results(name, &page).await {
        Ok(latest) => {
            for result in latest.items {
                let reason = match result.reasons.first() {
                    Some(reason) => format!(" — {}", outside(reason, REASON)),
                    None => String::new(),
                };
                lines.push(format!(
                    "{} {} {} in {:.0} ms{reason}",
                    icon(result.status),
                    result.at.to_datetime().with_timezone(&zone).format("%H:%M:%S"),
                    result.status,
                    result.latency_ms,
                ));
            }
        }
        Err(error) => {
            tracing::warn!(%error, check = name, "the results for a chat cannot be read");
            lines.push("The history cannot be read now.".to_owned());
        }
    }
    Ok(lines.join("\n"))
}

/// The incident that `/ack` means, and the note that goes with it.
fn target<'a, 'w>(
    open: &'a [Incident],
    words: &'w str,
    replied: Option<&Replied>,
) -> Result<(&'a Incident, &'w str), String> {
    if let Some((word, note)) = first_word(words) {
        if let Some(named) = find(open, word) {
            return Ok((named, note));
        }
        if replied.is_none() {
            return Err(missing(open, word));
        }
    }
    if let Some(replied) = replied {
        return match meant(open, replied) {
            Some(incident) => Ok((incident, words)),
            None => {
                Err("That message does not name one open incident; say which: /ack NAME".to_owned())
            }
        };
    }
    let mut free = open.iter().filter(|incident| incident.acknowledged.is_none());
    match (free.next(), free.next()) {
        (Some(only), None) => Ok((only, "")),
        (None, _) => Err("Nothing is open that nobody has taken on.".to_owned()),
        _ => Err("Say which: /ack NAME; /incidents lists them.".to_owned()),
    }
}

/// The incident that a message tells of: the one of its buttons, else the only one whose check
/// stands in its text.
fn meant<'a>(open: &'a [Incident], replied: &Replied) -> Option<&'a Incident> {
    if let Some(id) = &replied.incident {
        return open.iter().find(|incident| incident.id == *id);
    }
    let of_name = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
    let words: Vec<&str> = replied.text.split(|c| !of_name(c)).collect();
    let mut named = open.iter().filter(|incident| words.contains(&&*incident.check));
    match (named.next(), named.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// The incident of that check or with that id, of which the beginning is enough.
fn find<'a>(open: &'a [Incident], word: &str) -> Option<&'a Incident> {
    /// Of the beginning of an id: the time to a few seconds.
    const SHORTEST: usize = 8;
    if let Some(found) = open.iter().find(|incident| *incident.check == *word) {
        return Some(found);
    }
    let id = word.to_ascii_uppercase();
    let mut begins =
        open.iter().filter(|incident| id.len() >= SHORTEST && incident.id.starts_with(&id));
    match (begins.next(), begins.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

fn missing(open: &[Incident], word: &str) -> String {
    let hint = did_you_mean(word, open.iter().map(|incident| &*incident.check))
        .unwrap_or_else(|| "/incidents lists them".to_owned());
    format!("There is no open incident `{word}`: {hint}")
}

fn no_check(name: &str, board: &Board, open: &[Incident]) -> String {
    let checks = board.all();
    let known = checks.iter().map(|check| &*check.name);
    let known = known.chain(open.iter().map(|incident| &*incident.check));
    match did_you_mean(name, known) {
        Some(question) => format!("There is no check `{name}`: {question}"),
        None => format!("There is no check `{name}`."),
    }
}

/// What a silence is about: a check that there is, or a label.
fn read_matcher(text: &str, board: &Board, open: &[Incident]) -> Result<Matcher, String> {
    let matcher = Matcher::parse(text)?;
    let exact = matcher.name == "name" && matcher.is_equal && !matcher.is_regex;
    let known = board.get(&matcher.value).is_some()
        || open.iter().any(|incident| *incident.check == *matcher.value);
    if exact && !known {
        return Err(no_check(&matcher.value, board, open));
    }
    Ok(matcher)
}

fn of_check(check: &str) -> Matcher {
    Matcher { name: "name".to_owned(), value: check.to_owned(), is_regex: false, is_equal: true }
}

async fn acknowledge(
    daemon: &Daemon,
    person: &Person,
    incident: &Incident,
    note: &str,
) -> Result<String, String> {
    let note = clean(note, NOTE);
    let note = (!note.is_empty()).then_some(&*note);
    audit(person, "an acknowledgement was asked for", &incident.id);
    let done = daemon.control.acknowledge(&incident.id, &person.name, note, None).await;
    done.map_err(refused)?;
    let (check, by) = (outside(&incident.check, NOTE), outside(&person.name, NOTE));
    Ok(format!("✅ <b>{check}</b>: acknowledged by {by}"))
}

async fn snooze(
    daemon: &Daemon,
    person: &Person,
    incident: &Incident,
    span: Duration,
) -> Result<String, String> {
    let until = daemon.clock.wall().after(span);
    audit(person, "a snooze was asked for", &incident.id);
    let done = daemon.control.snooze(&incident.id, &person.name, until).await;
    done.map_err(refused)?;
    let check = outside(&incident.check, NOTE);
    Ok(format!("💤 <b>{check}</b>: no reminder until {}", time(until, person.zone)))
}

async fn silence(
    daemon: &Daemon,
    person: &Person,
    matcher: Matcher,
    span: Duration,
    comment: &str,
) -> Result<String, String> {
    let now = daemon.clock.wall();
    let millis = u64::try_from(person.at.as_millis()).unwrap_or(0);
    let place = u128::from(person.chat.unsigned_abs()) << 32 | u128::from(person.update);
    let what = outside(&matcher.to_string(), NOTE);
    let silence = Silence {
        id: ulid::Ulid::from_parts(millis, place).to_string(),
        matchers: vec![matcher],
        starts_at: now,
        ends_at: now.after(span),
        author: person.name.clone(),
        comment: match clean(comment, NOTE) {
            empty if empty.is_empty() => "by Telegram".to_owned(),
            comment => comment,
        },
        created_at: now,
    };
    audit(person, "a silence was asked for", &silence.id);
    let set = daemon.control.silence(silence).await.map_err(refused)?;
    let by = outside(&set.author, NOTE);
    Ok(format!("🔕 {what} is silent until {}, by {by}", time(set.ends_at, person.zone)))
}

/// Who wants what, for the log.
fn audit(person: &Person, what: &'static str, about: &str) {
    let (by, user, chat) = (&person.name, person.user, person.chat);
    tracing::info!(about, by, user, chat, "{what} in Telegram");
}

fn refused(error: OperateError) -> String {
    match error {
        OperateError::NotFound => "It is over already.".to_owned(),
        error => error.to_string(),
    }
}

/// Text from outside, on one line, for HTML.
fn outside(text: &str, limit: usize) -> String {
    escape(Format::TelegramHtml, &clean(text, limit)).into_owned()
}

const fn badness(status: Status) -> u8 {
    match status {
        Status::Down => 0,
        Status::Degraded => 1,
        Status::Unknown => 2,
        Status::Up => 3,
    }
}

const fn icon(status: Status) -> &'static str {
    match status {
        Status::Down => Tone::Bad.icon(),
        Status::Degraded | Status::Unknown => Tone::Warning.icon(),
        Status::Up => Tone::Good.icon(),
    }
}

#[cfg(test)]
mod tests {
    use super::{LISTED, Replied, TEXT, incidents, target};
    use crate::model::{Format, Incident, Status, Timestamp};
    use crate::render::{fit, length};

    const IDS: [&str; 2] = ["01JNA8Y8PK000000000000000A", "01JNB8Y8PK000000000000000B"];

    fn open() -> Vec<Incident> {
        ["shop-api", "shop"]
            .iter()
            .zip(IDS)
            .map(|(check, id)| {
                let at = Timestamp::from_millis(0);
                Incident::new(id.to_owned(), (*check).into(), "http", Status::Down, at)
            })
            .collect()
    }

    fn check(words: &str, replied: Option<(&str, &str)>, expected: Result<(&str, &str), &str>) {
        let replied = replied.map(|(incident, text)| Replied {
            incident: (!incident.is_empty()).then(|| incident.to_owned()),
            text: text.to_owned(),
        });
        let open = open();
        let found = target(&open, words, replied.as_ref());
        let found = found.map(|(incident, note)| (&*incident.check, note));
        assert_eq!(found.as_ref().map_err(|why| &**why).copied(), expected, "{words}");
    }

    #[test]
    fn an_incident_is_named_by_check_id_or_the_message_that_is_answered() {
        check("shop on it", None, Ok(("shop", "on it")));
        check(IDS[0], None, Ok(("shop-api", "")));
        check("01jnb8y8 mine", None, Ok(("shop", "mine")));
        check("01", None, Err("There is no open incident `01`: /incidents lists them"));
        check("shup", None, Err("There is no open incident `shup`: did you mean `shop`?"));
        check("", None, Err("Say which: /ack NAME; /incidents lists them."));
        check("on it", Some((IDS[1], "")), Ok(("shop", "on it")));
        check("", Some(("", "🔴 DOWN shop-api — status is 503")), Ok(("shop-api", "")));
        check("shop mine", Some((IDS[0], "")), Ok(("shop", "mine")));
        let none = "That message does not name one open incident; say which: /ack NAME";
        check("", Some(("01OVER", "DOWN shop")), Err(none));
        check("", Some(("", "shop and shop-api")), Err(none));
        check("", Some(("", "shopping")), Err(none));
    }

    #[test]
    fn a_long_list_with_hostile_text_is_bounded_and_escaped() {
        let mut many = Vec::new();
        for _ in 0..LISTED + 5 {
            let mut incident = open().remove(0);
            incident.reasons = vec!["</b>&<script>".repeat(1_000)];
            many.push(incident);
        }
        let html = incidents(&many, Timestamp::from_millis(5_000));
        assert!(html.contains("&lt;/b&gt;&amp;&lt;script&gt;") && !html.contains("<script"));
        assert!(html.ends_with("… and 5 more"), "{html}");
        assert!(length(Format::TelegramHtml, &fit(Format::TelegramHtml, &html, TEXT)) <= TEXT);
    }
}
