//! `tcp`: connects, and may say something and listen for an answer.

use crate::check::support::dial::{self, Aim, Dialled, Route, Stream, Target, route};
use crate::check::support::tls::{self, Tls};
use crate::check::support::{excerpt, millis};
use crate::check::{Check, Kind, Run};
use crate::clock::Clock;
use crate::config::Section;
use crate::model::{FactSpec, FactType, Facts, Observation, OptionDoc};
use async_trait::async_trait;
use std::fmt;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The kind `tcp`.
pub const KIND: Kind = Kind {
    name: "tcp",
    summary: "connects to a port, with TLS or without, and may talk to what listens there",
    options: &[
        OptionDoc::new("address", "string", "required", "host and port, such as db.example:5432"),
        OptionDoc::new(
            "send",
            "string",
            "",
            "what to send; without `expect_text` some answer is waited for",
        ),
        OptionDoc::new("expect_text", "string", "", "what must come; until then the check listens"),
        OptionDoc::new("tls", "boolean", "false", "whether the port speaks TLS from the start"),
        tls::INSECURE_SKIP_VERIFY,
        tls::CA_FILE,
        tls::CERT_FILE,
        tls::KEY_FILE,
        tls::SERVER_NAME,
        route::IP_VERSION,
        route::RESOLVER,
        route::PROXY,
    ],
    facts: &[
        dial::DNS_MS,
        dial::CONNECT_MS,
        dial::TLS_MS,
        FactSpec::kept(
            "first_byte_ms",
            FactType::Double,
            "ms",
            "from the open connection to the first byte; absent where none is waited for",
        ),
        tls::CERT_DAYS_LEFT,
        tls::CERT_CHAIN_DAYS_LEFT,
        tls::CERT_CHAIN_LENGTH,
        tls::CERT_SUBJECT,
        tls::CERT_ISSUER,
        tls::CERT_NAMES,
        tls::CLIENT_CERT_DAYS_LEFT,
        FactSpec::passing("text", FactType::Text, "what came; absent where nothing is waited for"),
    ],
    example: r#"[[check]]
name = "cache-port"
every = "15s"
degraded_if = ["connect_ms > 50.0"]
[check.tcp]
address = "cache.example.org:6379"
send = "PING\r\n"
expect_text = "PONG"
"#,
    well: "a connection, and `expect_text` in what comes, where it is set",
    parse,
};

/// The bytes that are looked at for `expect_text`.
const MAX_TEXT: usize = 64 * 1024;

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Check>> {
    let target = section.required_built("address", |text: String| read_address(&text));
    let send = section.optional::<String>("send");
    let expected = section.built("expect_text", |text: String| match text.is_empty() {
        true => Err("is empty, which says nothing about what comes".to_owned()),
        false => Ok(text),
    });
    let secure = section.or("tls", false);
    let tls = tls::read(section, &[]);
    let route = Route::read(section);
    let (target, tls) = (target?, tls?);
    Some(Box::new(Tcp { target, tls: secure.then_some(tls), route, send, expected }))
}

fn read_address(text: &str) -> Result<Target, String> {
    Target::parse(text)
        .ok_or_else(|| format!("`{text}` is not an address (such as db.example:5432 or [::1]:22)"))
}

struct Tcp {
    target: Target,
    tls: Option<Tls>,
    route: Route,
    send: Option<String>,
    expected: Option<String>,
}

impl fmt::Debug for Tcp {
    /// Leaves out what is sent: a password may stand in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tcp").field("target", &self.target).finish_non_exhaustive()
    }
}

#[async_trait]
impl Check for Tcp {
    async fn run(&self, run: &Run) -> Observation {
        let mut facts = Facts::default();
        match self.talk(&*run.shared.clock, &mut facts).await {
            Ok(()) => Observation::found(facts),
            Err(what) => Observation::failed(facts, what),
        }
    }
}

impl Tcp {
    async fn talk(&self, clock: &dyn Clock, facts: &mut Facts) -> Result<(), String> {
        let tls = self.tls.as_ref().map(Into::into);
        let dialled = dial::dial_by(clock, &self.target, tls, &self.route, Aim::Tunnel).await;
        dial::note(&dialled, clock, facts);
        if let Some(end) = self.tls.as_ref().and_then(|tls| tls.identity_ends) {
            facts.set(tls::CLIENT_CERT_DAYS_LEFT.name, tls::days_left(end, clock.wall()));
        }
        let Dialled { mut stream, peer, .. } = dialled.map_err(|failed| failed.what)?;
        let start = clock.now().mono;
        if let Some(text) = &self.send {
            let sent = stream.write_all(text.as_bytes()).await;
            sent.map_err(|error| dial::explain_io(&error, peer))?;
            stream.flush().await.map_err(|error| dial::explain_io(&error, peer))?;
        }
        if self.send.is_none() && self.expected.is_none() {
            return Ok(());
        }
        let mut heard = Vec::new();
        let listened = self.listen(&mut stream, peer, &mut heard, || {
            facts.set("first_byte_ms", millis(clock.now().mono.saturating_sub(start)));
        });
        let outcome = listened.await;
        facts.set("text", &*String::from_utf8_lossy(&heard));
        outcome
    }

    /// Reads until what is expected has come; without an expectation, until anything has.
    async fn listen(
        &self,
        stream: &mut Stream,
        peer: SocketAddr,
        heard: &mut Vec<u8>,
        mut on_first: impl FnMut(),
    ) -> Result<(), String> {
        let wanted = self.expected.as_deref();
        loop {
            let before = heard.len();
            let room = MAX_TEXT - before;
            let read = (&mut *stream).take(room as u64).read_buf(heard).await;
            let read = read.map_err(|error| dial::explain_io(&error, peer))?;
            if before == 0 && read > 0 {
                on_first();
            }
            match wanted {
                None if read > 0 => return Ok(()),
                None => return Err(format!("connection closed by {peer} before anything came")),
                Some(wanted) if contains_since(heard, before, wanted.as_bytes()) => return Ok(()),
                Some(wanted) if read == 0 => {
                    let text = excerpt(&String::from_utf8_lossy(heard), 200);
                    let wanted = excerpt(wanted, 200);
                    return Err(format!("`{wanted}` did not come; {peer} said `{text}`"));
                }
                Some(_) => {}
            }
        }
    }
}

/// Whether `wanted` stands in `heard`, of which all before `before` was searched already.
fn contains_since(heard: &[u8], before: usize, wanted: &[u8]) -> bool {
    let from = before.saturating_sub(wanted.len());
    heard[from..].windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::check::testing::{
        Authority, Reply, Server, ask, error, fact, file, parse, problems,
    };
    use serde_json::json;

    /// Answers what ends in an empty line, as HTTP requests do.
    async fn echo() -> Server {
        Server::plain(|request, _| Reply::Close(format!("you said {request}"))).await
    }

    #[tokio::test]
    async fn an_open_port_is_well() {
        let server = echo().await;
        let seen = ask(&KIND, &format!("address = '{}'", server.address)).await;
        assert_eq!(error(&seen), "no error");
        assert!(fact(&seen, "connect_ms").is_f64());
        assert_eq!(
            (fact(&seen, "text"), fact(&seen, "tls_ms")),
            (json!("absent"), json!("absent"))
        );
    }

    #[tokio::test]
    async fn what_comes_is_compared_with_what_is_expected() {
        let server = echo().await;
        let table = format!("address = '{}'\nsend = \"hello\\r\\n\\r\\n\"", server.address);
        let seen = ask(&KIND, &table).await;
        assert_eq!(
            (error(&seen), fact(&seen, "text")),
            ("no error", json!("you said hello\r\n\r\n"))
        );
        assert!(fact(&seen, "first_byte_ms").is_f64());
        let seen = ask(&KIND, &format!("{table}\nexpect_text = 'hello'")).await;
        assert_eq!(error(&seen), "no error");
        let seen = ask(&KIND, &format!("{table}\nexpect_text = 'goodbye'")).await;
        let expected =
            format!("`goodbye` did not come; {} said `you said hello    `", server.address);
        assert_eq!(error(&seen), expected);
    }

    #[tokio::test]
    async fn an_endless_answer_is_read_up_to_a_bound() {
        let server = Server::plain(|_, _| Reply::Endless("start".into())).await;
        let table = format!("address = '{}'\nsend = \"a\\r\\n\\r\\n\"", server.address);
        let seen = ask(&KIND, &format!("{table}\nexpect_text = 'never'")).await;
        assert!(error(&seen).starts_with("`never` did not come"), "{}", error(&seen));
        assert_eq!(fact(&seen, "text").as_str().map(str::len), Some(super::MAX_TEXT));
    }

    #[tokio::test]
    async fn a_port_with_tls_shows_its_certificate() {
        let authority = Authority::new();
        let ca = file(&authority.pem);
        let config = authority.server("localhost", 2000, 2090);
        let server = Server::tls(config, |_, _| Reply::Close("fine".into())).await;
        let seen = ask(
            &KIND,
            &format!(
                "address = 'localhost:{}'\ntls = true\nca_file = '{}'",
                server.address.port(),
                ca.path().display()
            ),
        )
        .await;
        assert_eq!(error(&seen), "no error");
        assert!(fact(&seen, "cert_days_left").is_i64());
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for fine in ["a.example:1", "127.0.0.1:65535", "[::1]:22"] {
            assert!(parse(&KIND, &format!("address = '{fine}'")).is_ok(), "{fine}");
        }
        for bad in ["a.example", "a.example:0", "a.example:99999", "::1", ":80", "http://a:80"] {
            let problems = problems(&KIND, &format!("address = '{bad}'"));
            assert!(problems.contains("is not an address"), "{problems}");
        }
    }

    #[test]
    fn what_is_found_may_come_in_pieces() {
        assert!(super::contains_since(b"PONG", 2, b"PONG"));
        assert!(super::contains_since(b"xPONGx", 4, b"PONG"));
        assert!(!super::contains_since(b"PON", 0, b"PONG"));
    }
}
