use crate::config::Section;
use crate::deliver::support::{Kept, Relay, Relays, Security, Veil, is_placeholder};
use crate::deliver::{Channel, ChannelKind, Endpoint, Net, Outcome, Preview};
use crate::model::{Format, Message, OptionDoc, Secret, What};
use crate::render::{PICTURE_ID, clean};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::Address;
use lettre::address::Envelope;
use lettre::error::Error as MailError;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::client::Certificate;
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, SystemTime};
use tokio::sync::OnceCell;

/// Characters of a subject.
const SUBJECT: usize = 250;

/// Email, by a mail server that takes it on.
pub const KIND: ChannelKind = ChannelKind {
    name: "email",
    summary: "email, by a mail server that takes it on",
    options: &[
        OptionDoc::new("host", "string", "required", "name of the mail server"),
        OptionDoc::new("port", "integer", "", "587 for starttls, 465 for implicit, 25 for none"),
        OptionDoc::new("tls", "string", "\"starttls\"", "starttls, implicit or none")
            .words(&["starttls", "implicit", "none"]),
        OptionDoc::new(
            "fallback_hosts",
            "list",
            "[]",
            "mail servers to use where the first cannot be reached, in this order, such as \
             mail2.example.org or mail2.example.org:587; all else is as for the first",
        ),
        OptionDoc::new("ca_file", "string", "", "PEM file of certificates to trust as well"),
        OptionDoc::new("username", "string", "", "user name; goes with a password"),
        OptionDoc::new("password", "secret", "", "password; goes with a user name"),
        OptionDoc::new("from", "string", "required", "address that it comes from"),
        OptionDoc::new("to", "list", "required", "addresses that it goes to, each on its own"),
    ],
    example: r#"[[channel]]
name = "ops-mail"
[channel.email]
host = "smtp.example.org"
username = "watchbell"
password = "SECRET"             # keep it out of the file: password = "${SMTP_PASSWORD}"
from = "Watchbell <alerts@example.org>"
to = ["ops@example.org", "Night shift <night@example.org>"]
"#,
    format: Format::Email,
    template: include_str!("../../../alert-templates/email.jinja"),
    parse,
};

#[derive(Debug)]
struct Email {
    relays: Relays,
    from: Mailbox,
    to: Vec<Mailbox>,
    /// The name of the channel: two channels may send to one address.
    channel: String,
}

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Channel>> {
    let host: Option<String> = section.required("host");
    let security = section
        .built("tls", |word: String| match &*word {
            "starttls" => Ok(Security::StartTls),
            "implicit" => Ok(Security::Implicit),
            "none" => Ok(Security::None),
            _ => Err(format!("`{word}` is not known here (use starttls, implicit or none)")),
        })
        .unwrap_or(Security::StartTls);
    let port = section.or("port", security.port());
    let others = parse_others(section, port);
    let ca_place = section.place_of("ca_file");
    let ca_file = section.path("ca_file").map(|path| read_certificates(&path));
    let login = parse_login(section, security, host.as_deref());
    let from = section.required_built("from", |text: String| mailbox(&text));
    let to = parse_recipients(section);
    let trusted = match ca_file {
        Some(Ok(certificates)) => Some(certificates),
        Some(Err(problem)) => {
            section.error_at(&ca_place, problem);
            return None;
        }
        None => None,
    };
    let relay = |(host, port)| Relay {
        host,
        port,
        security,
        trusted: trusted.clone(),
        login: login.clone(),
        veil: veil(login.as_ref()),
        tls: OnceCell::new(),
        kept: Kept::default(),
    };
    let relays = Relays::new(relay((host?, port)), others?.into_iter().map(relay).collect());
    let channel = section.owner().to_owned();
    Some(Box::new(Email { relays, from: from?, to: to?, channel }))
}

/// The servers to ask where the first one cannot be reached.
fn parse_others(section: &mut Section<'_>, port: u16) -> Option<Vec<(String, u16)>> {
    let mut others = Vec::new();
    let mut all_good = true;
    for (text, place) in section.strings("fallback_hosts") {
        match host_and_port(&text, port) {
            Some(other) => others.push(other),
            None => {
                all_good = false;
                let message = format!("`{text}` is not a mail server");
                let hint = "such as mail2.example.org, mail2.example.org:587 or [2001:db8::1]:25";
                section.report(place.error(message).hint(hint));
            }
        }
    }
    all_good.then_some(others)
}

/// A server by its name or address, with its port if it has one of its own.
fn host_and_port(text: &str, port: u16) -> Option<(String, u16)> {
    let text = if is_placeholder(text) { "secret.invalid" } else { text };
    let (host, port) = match text.rsplit_once(':') {
        _ if text.parse::<Ipv6Addr>().is_ok() => (text, port),
        Some((host, own)) => (host, own.parse().ok().filter(|port| *port != 0)?),
        None => (text, port),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_address = host.parse::<IpAddr>().is_ok();
    let named = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let is_name = !host.is_empty() && host.chars().all(named);
    (is_address || is_name).then(|| (host.to_owned(), port))
}

fn parse_login(
    section: &mut Section<'_>,
    security: Security,
    host: Option<&str>,
) -> Option<(String, Secret)> {
    let (user_place, password_place) = (section.place_of("username"), section.place_of("password"));
    let user: Option<String> = section.optional("username");
    let password = section.secret("password");
    match (&user, &password) {
        (Some(_), None) => {
            section.error_at(&user_place, "goes with a `password`, which is missing")
        }
        (None, Some(_)) => {
            section.error_at(&password_place, "goes with a `username`, which is missing")
        }
        (Some(_), Some(_)) if security == Security::None && !host.is_some_and(is_local) => {
            let message = "is sent in the open, since `tls` is none";
            section.report(password_place.warning(message));
        }
        _ => {}
    }
    user.zip(password)
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn parse_recipients(section: &mut Section<'_>) -> Option<Vec<Mailbox>> {
    let place = section.place_of("to");
    let there = section.has("to");
    let listed = section.strings("to");
    let mut to: Vec<Mailbox> = Vec::new();
    for (text, place) in &listed {
        match mailbox(text) {
            Ok(known) if to.iter().any(|other| other.email == known.email) => {}
            Ok(new) => to.push(new),
            Err(problem) => section.error_at(place, problem),
        }
    }
    if !there {
        section.error_at(&place, "is missing");
    } else if listed.is_empty() {
        section.error_at(&place, "names nobody");
    }
    (!to.is_empty()).then_some(to)
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    let text = if is_placeholder(text) { "secret@secret.invalid" } else { text };
    text.parse().map_err(|_| {
        format!("`{text}` is not an address (such as ops@example.org or Ops <ops@example.org>)")
    })
}

fn read_certificates(path: &Path) -> Result<Certificate, String> {
    let pem = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let none = || format!("{} holds no certificate in PEM form", path.display());
    let certificate = Certificate::from_pem(&pem).map_err(|_| none())?;
    let begins = b"-----BEGIN CERTIFICATE-----";
    pem.windows(begins.len()).any(|window| window == begins).then_some(certificate).ok_or_else(none)
}

/// The password as it is, and as the commands AUTH PLAIN and AUTH LOGIN carry it.
fn veil(login: Option<&(String, Secret)>) -> Veil {
    let Some((user, password)) = login else { return Veil::default() };
    let plain = STANDARD.encode(format!("\0{user}\0{}", password.expose()));
    let alone = STANDARD.encode(password.expose());
    Veil::over([password.clone(), Secret::new(plain), Secret::new(alone)])
}

#[async_trait]
impl Channel for Email {
    fn recipients(&self) -> Vec<String> {
        self.to.iter().map(|mailbox| mailbox.email.to_string()).collect()
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        self.relays.endpoints()
    }

    fn shows_pictures(&self) -> bool {
        true
    }

    fn preview(&self, message: &Message) -> Result<Preview, String> {
        let (_, body) = self.written(message)?;
        Ok(Preview { content_type: "message/rfc822".to_owned(), body })
    }

    async fn send(&self, net: &Net, message: &Message) -> Outcome {
        match self.written(message) {
            Ok((envelope, text)) => self.relays.send(&*net.clock, &envelope, &text).await,
            Err(why) => Outcome::Rejected { why },
        }
    }
}

impl Email {
    /// The mail that tells `message`, and for whom it is.
    fn written(&self, message: &Message) -> Result<(Envelope, String), String> {
        let Some(to) = self.recipient(&message.recipient) else {
            return Err(format!("`{}` is not an address", clean(&message.recipient, 200)));
        };
        let mail = self.mail(message, to);
        let mail = mail.map_err(|error| format!("cannot make a mail of it: {error}"))?;
        let text = String::from_utf8_lossy(&mail.formatted()).into_owned();
        Ok((mail.envelope().clone(), text))
    }

    /// The mailbox of an address: with its name if it is still listed. A notice that is still owed
    /// to an address that no longer is, goes there all the same.
    fn recipient(&self, address: &str) -> Option<Mailbox> {
        if address.is_empty() {
            return self.to.first().cloned();
        }
        let address: Address = address.parse().ok()?;
        let listed = self.to.iter().find(|mailbox| mailbox.email == address).cloned();
        Some(listed.unwrap_or_else(|| Mailbox::new(None, address)))
    }

    /// The mail itself. Its Message-ID is the same on each try. That of an opening is made from the
    /// incident, so that all later mails about it can answer to it, and stand with it as one thread.
    fn mail(&self, message: &Message, to: Mailbox) -> Result<lettre::Message, MailError> {
        let domain = self.from.email.domain();
        let owed = Duration::from_millis(u64::try_from(message.at.as_millis()).unwrap_or(0));
        let tag = tag(&self.channel, &to.email);
        let opening = match &message.incidents[..] {
            [incident] => Some(format!("<incident.{}.{tag}@{domain}>", incident.id)),
            _ => None,
        };
        let id = match &opening {
            Some(opening) if message.what == What::Opened => opening.clone(),
            _ => format!("<{}.{tag}@{domain}>", message.id),
        };
        let daemon = clean(&message.daemon, 100);
        let list = format!("Watchbell {daemon} <{}.watchbell.{domain}>", list_name(&daemon));
        let mut builder = lettre::Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(clean(&message.title, SUBJECT))
            .date(SystemTime::UNIX_EPOCH + owed)
            .message_id(Some(id))
            .raw_header(header("List-Id", &list))
            .raw_header(header("Auto-Submitted", "auto-generated"))
            .raw_header(header("X-Auto-Response-Suppress", "All"))
            .raw_header(header("X-Watchbell-Notice", &message.id));
        if let Some(opening) = opening
            && message.what != What::Opened
        {
            builder = builder.in_reply_to(opening.clone()).references(opening);
        }
        let text = if message.text.is_empty() { &message.title } else { &message.text };
        if message.html.is_empty() {
            return builder.singlepart(SinglePart::plain(text.clone()));
        }
        let (text, html) =
            (SinglePart::plain(text.clone()), SinglePart::html(message.html.clone()));
        let parts = MultiPart::alternative().singlepart(text);
        builder.multipart(match picture(message) {
            Some(picture) => {
                parts.multipart(MultiPart::related().singlepart(html).singlepart(picture))
            }
            None => parts.singlepart(html),
        })
    }
}

/// The picture of a message as the part of a mail that its HTML refers to. A template of one's own
/// that does not mention it gets none: as a file beside the mail it would say little.
fn picture(message: &Message) -> Option<SinglePart> {
    let is_shown = message.html.contains(&format!("cid:{PICTURE_ID}"));
    let picture = message.picture.as_ref().filter(|_| is_shown)?;
    let kind = ContentType::parse("image/png").ok()?;
    let part = Attachment::new_inline_with_name(PICTURE_ID.to_owned(), "last-hour.png".to_owned());
    Some(part.body(picture.png.to_vec(), kind))
}

/// The name of a daemon as a part of a list's id (RFC 2919), which knows letters, digits and signs.
fn list_name(daemon: &str) -> String {
    let sign = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    daemon.chars().map(sign).collect()
}

/// A short tag that tells the recipients of one incident apart, over all channels.
fn tag(channel: &str, address: &Address) -> String {
    let hash = Sha256::new().chain_update(channel).chain_update(address.to_string()).finalize();
    hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

#[cfg(test)]
mod tests;
