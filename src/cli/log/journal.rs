//! What the journal is told: a line for people, with its level, and each field on its own for those who
//! search, such as `journalctl WATCHBELL_CHECK=shop-api`.
//!
//! By journald's own protocol, <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>.

use std::fmt::{self, Write as _};
use std::io;
use std::os::unix::net::UnixDatagram;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Whether standard error leads to the journal, as systemd says in `JOURNAL_STREAM` (systemd.exec(5)).
pub fn is_there() -> bool {
    let Ok(found) = rustix::fs::fstat(io::stderr()) else { return false };
    let stream = format!("{}:{}", found.st_dev, found.st_ino);
    std::env::var_os("JOURNAL_STREAM").is_some_and(|named| named == *stream)
}

/// Sends what happens to the journal; where that takes none, by standard error, which leads there too.
#[derive(Debug)]
pub struct Journal(Option<UnixDatagram>);

impl Journal {
    /// Finds journald.
    pub fn open() -> Self {
        let connected = UnixDatagram::unbound().and_then(|socket| {
            socket.connect(SOCKET)?;
            Ok(socket)
        });
        Self(connected.ok())
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let priority = priority(event.metadata().level());
        let sent = self.0.as_ref().and_then(|it| it.send(&said.entry(priority)).ok());
        if sent.is_none() {
            eprintln!("<{priority}>{}", said.line());
        }
    }
}

/// A level as syslog(3) numbers it.
const fn priority(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// The parts of one event.
#[derive(Default)]
struct Said {
    message: String,
    /// Each with its value as it is, and as the line has it.
    fields: Vec<(&'static str, String, String)>,
}

impl Said {
    fn line(&self) -> String {
        let mut line = self.message.clone();
        for (name, _, shown) in &self.fields {
            // Writing into a string does not fail.
            let _ = write!(line, " {name}={shown}");
        }
        line
    }

    fn entry(&self, priority: u8) -> Vec<u8> {
        let mut entry = Vec::with_capacity(256);
        put(&mut entry, "PRIORITY", &priority.to_string());
        put(&mut entry, "SYSLOG_IDENTIFIER", "watchbell");
        put(&mut entry, "MESSAGE", &self.line());
        for (name, value, _) in &self.fields {
            let usual =
                |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
            let name: String = name.chars().map(usual).collect();
            put(&mut entry, &format!("WATCHBELL_{name}"), value);
        }
        entry
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.fields.push((name, value.to_owned(), format!("{value:?}"))),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            name => self.fields.push((name, text.clone(), text)),
        }
    }
}

/// Adds a field; one of several lines says how long it is.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::Journal;
    use std::os::unix::net::UnixDatagram;
    use tracing_subscriber::layer::SubscriberExt as _;

    /// What the journal is sent while `say` runs.
    fn check(say: impl FnOnce(), expected: &[u8]) {
        let (ours, journal) = UnixDatagram::pair().unwrap();
        let subscriber = tracing_subscriber::registry().with(Journal(Some(ours)));
        tracing::subscriber::with_default(subscriber, say);
        let mut entry = [0; 4096];
        let length = journal.recv(&mut entry).unwrap();
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(shown(&entry[..length]), shown(expected));
    }

    #[test]
    fn a_line_has_its_level_and_each_field_its_own_name() {
        let name = "shop-api";
        check(
            || tracing::warn!(check = %name, swept.results = 3, why = "a \"b\"", "status changed"),
            b"PRIORITY=4\nSYSLOG_IDENTIFIER=watchbell\n\
              MESSAGE=status changed check=shop-api swept.results=3 why=\"a \\\"b\\\"\"\n\
              WATCHBELL_CHECK=shop-api\nWATCHBELL_SWEPT_RESULTS=3\nWATCHBELL_WHY=a \"b\"\n",
        );
    }

    #[test]
    fn what_has_several_lines_cannot_add_a_field() {
        let body = "one\nPRIORITY=0";
        check(
            || tracing::info!("{body}"),
            b"PRIORITY=6\nSYSLOG_IDENTIFIER=watchbell\nMESSAGE\n\x0e\0\0\0\0\0\0\0one\nPRIORITY=0\n",
        );
    }
}
