mod servers;

use super::KIND;
use crate::config::{Interpolator, Problems, Section, SourceFile};
use crate::deliver::support::testing::{channel, hostile_messages, messages, net, read};
use crate::deliver::{Channel, Net, Outcome};
use crate::model::{Message, Picture, What};
use crate::render::PICTURE_ID;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::PrivatePkcs8KeyDer;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A mail server for one test: it keeps what it was told, and answers `reply` (nothing at all if
/// that is empty) to commands that start with `upon`.
#[derive(Clone, Debug)]
struct Server {
    port: u16,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(upon: &'static str, reply: &'static str) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), upon, reply)
    }

    /// One that takes everything, on this port.
    async fn start_on(port: u16) -> Self {
        Self::on(TcpListener::bind(("127.0.0.1", port)).await.unwrap(), "", "")
    }

    fn on(listener: TcpListener, upon: &'static str, reply: &'static str) -> Self {
        let port = listener.local_addr().unwrap().port();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let server = Self { port, log: Arc::clone(&log) };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                log.lock().unwrap().push("(connected)".to_owned());
                tokio::spawn(talk(stream, upon, reply, Arc::clone(&log)));
            }
        });
        server
    }

    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    fn count(&self, start: &str) -> usize {
        self.log().iter().filter(|line| line.starts_with(start)).count()
    }
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    upon: &str,
    reply: &str,
    log: Arc<Mutex<Vec<String>>>,
) {
    let mut stream = BufReader::new(stream);
    let mut in_data = false;
    stream.write_all(b"220 fake ESMTP\r\n").await.unwrap();
    let mut line = String::new();
    while matches!(stream.read_line(&mut line).await, Ok(1..)) {
        let said = line.trim_end_matches(['\r', '\n']).to_owned();
        line.clear();
        log.lock().unwrap().push(said.clone());
        let answer = match said.split(' ').next().unwrap_or_default() {
            "." if in_data => {
                in_data = false;
                "250 queued"
            }
            _ if in_data => continue,
            _ if !upon.is_empty() && said.starts_with(upon) => reply,
            "EHLO" => "250-fake\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME",
            "AUTH" => "235 welcome",
            "DATA" => {
                in_data = true;
                "354 go on"
            }
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        if answer.is_empty() {
            continue;
        }
        if stream.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

fn email(port: u16) -> Box<dyn Channel> {
    channel(
        &KIND,
        &format!(
            "host = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\nusername = \"u\"\n\
             password = \"hunter2\"\nfrom = \"Watchbell <alerts@example.org>\"\n\
             to = [\"Ops <ops@example.org>\", \"b@example.org\", \"ops@example.org\"]"
        ),
    )
}

fn to(recipient: &str, message: &Message) -> Message {
    Message { recipient: recipient.to_owned(), ..message.clone() }
}

/// The mail itself, without its boundary, which is new each time.
fn mail_of(log: &[String]) -> String {
    let start = log.iter().rposition(|line| line == "DATA").unwrap() + 1;
    let lines: Vec<&str> = log[start..].iter().take_while(|l| *l != ".").map(|l| &**l).collect();
    let text = lines.join("\n");
    let boundary = text.split("boundary=\"").nth(1).and_then(|rest| rest.split('"').next());
    text.replace(boundary.unwrap_or("\0"), "BOUNDARY")
}

#[tokio::test]
async fn a_mail_has_a_text_and_an_html_part_and_stands_in_the_thread_of_its_incident() {
    let server = Server::start("", "").await;
    let email = email(server.port);
    assert_eq!(email.recipients(), ["ops@example.org", "b@example.org"]);
    let messages = messages(&KIND);
    let opened = to("ops@example.org", &messages[0]);
    assert_eq!(email.send(&net(), &opened).await, Outcome::accepted());
    insta::assert_snapshot!(mail_of(&server.log()), @r#"
    From: Watchbell <alerts@example.org>
    To: Ops <ops@example.org>
    Subject: [prod] =?utf-8?b?8J+UtA==?= DOWN shop-api =?utf-8?b?4oCU?= status
     == 200 failed: status is 503
    Date: Sun, 01 Mar 2026 09:20:12 +0000
    Message-ID: <incident.01JNA8Y8PK0000000000000000.19ab8d68@example.org>
    List-Id: Watchbell prod <prod.watchbell.example.org>
    Auto-Submitted: auto-generated
    X-Auto-Response-Suppress: All
    X-Watchbell-Notice: 01JNA8Y8PK000000000000000N
    MIME-Version: 1.0
    Content-Type: multipart/alternative;
     boundary="BOUNDARY"

    --BOUNDARY
    Content-Type: text/plain; charset=utf-8
    Content-Transfer-Encoding: quoted-printable

    shop-api is down:
    =E2=80=A2 status =3D=3D 200 failed: status is 503

    Since 2026-03-01 09:15:02 UTC
    critical =C2=B7 http =C2=B7 team=3Dshop =C2=B7 tier=3D1

    Runbook: https://wiki.example/shop-api

    watchbell =C2=B7 prod =C2=B7 2026-03-01 09:20:12 UTC
    --BOUNDARY
    Content-Type: text/html; charset=utf-8
    Content-Transfer-Encoding: quoted-printable

    <div style=3D"font-family: system-ui, -apple-system, 'Segoe UI', Roboto, sa=
    ns-serif; font-size: 15px; line-height: 1.5; max-width: 40em">
    <div style=3D"border-left: 4px solid #d73a49; padding: 2px 0 2px 14px">
    <p style=3D"margin: 0"><strong>=F0=9F=94=B4 DOWN shop-api</strong> =E2=80=
    =94 status =3D=3D 200 failed: status is 503</p>
    <p style=3D"margin: 8px 0 0">Since 2026-03-01 09:15:02 UTC</p>
    <p style=3D"margin: 0">critical =C2=B7 http =C2=B7 team=3Dshop =C2=B7 tier=
    =3D1</p>
    <p style=3D"margin: 8px 0 0"><a href=3D"https://wiki.example/shop-api">Runb=
    ook</a></p>
    </div>
    <p style=3D"margin: 8px 0 0 18px; color: #777; font-size: 12px">watchbell =
    =C2=B7 prod =C2=B7 2026-03-01 09:20:12 UTC</p>
    </div>
    --BOUNDARY--
    "#);
    let mut resolved = to("ops@example.org", &messages[2]);
    resolved.incidents[0].id.clone_from(&opened.incidents[0].id);
    assert_eq!(resolved.what, What::Resolved);
    assert_eq!(email.send(&net(), &resolved).await, Outcome::accepted());
    let log = server.log();
    let headers: Vec<&str> = log.iter().map(|line| &**line).collect();
    let thread = "<incident.01JNA8Y8PK0000000000000000.19ab8d68@example.org>";
    for header in ["Message-ID", "In-Reply-To", "References"] {
        let found = headers.iter().filter(|line| **line == format!("{header}: {thread}"));
        assert_eq!(found.count(), 1, "{header}: {headers:#?}");
    }
    assert_eq!((server.count("(connected)"), server.count("RCPT")), (1, 2), "one connection");
}

#[tokio::test]
async fn a_mail_has_the_same_id_on_each_try_and_another_for_each_recipient() {
    let server = Server::start("", "").await;
    let email = email(server.port);
    for recipient in ["ops@example.org", "ops@example.org", "b@example.org"] {
        let message = to(recipient, &messages(&KIND)[0]);
        assert_eq!(email.send(&net(), &message).await, Outcome::accepted());
    }
    let log = server.log();
    let ids: Vec<&String> = log.iter().filter(|line| line.starts_with("Message-ID")).collect();
    assert!(ids.len() == 3 && ids[0] == ids[1] && ids[1] != ids[2], "{ids:?}");
}

#[tokio::test]
async fn hostile_text_adds_no_header_and_no_recipient() {
    let server = Server::start("", "").await;
    let email = email(server.port);
    for message in hostile_messages(&KIND) {
        let mut message = to("ops@example.org", &message);
        message.title.push_str("\r\nBcc: all@example.org\r\n\r\n.\r\nRCPT TO:<x@example.org>");
        assert_eq!(email.send(&net(), &message).await, Outcome::accepted());
        let log = server.log();
        assert_eq!(server.count("RCPT"), server.count("MAIL"));
        let data = log.iter().rposition(|line| line == "DATA").unwrap();
        let mut headers = log[data + 1..].iter().take_while(|line| !line.is_empty());
        assert!(!headers.any(|line| line.starts_with("Bcc") || line.starts_with("RCPT")));
        assert!(log.iter().all(|line| line.len() <= 998 && line.is_ascii()));
    }
}

#[tokio::test]
async fn the_servers_answers_say_what_to_do() {
    for (upon, reply, expected) in [
        ("RCPT", "550 no such user", Err("permanent error (550): no such user")),
        ("RCPT", "451 greylisted", Ok("transient error (451): greylisted")),
        (
            "AUTH",
            "535 bad AHUAaHVudGVyMg== hunter2",
            Err("permanent error (535): bad [secret] [secret]"),
        ),
        ("EHLO", "421 busy", Ok("transient error (421): busy")),
        ("DATA", "554 spam\r\n", Err("permanent error (554): spam")),
    ] {
        let server = Server::start(upon, reply).await;
        let outcome = email(server.port).send(&net(), &messages(&KIND)[0]).await;
        let expected = match expected {
            Ok(why) => Outcome::Retry { after: None, why: why.to_owned() },
            Err(why) => Outcome::Rejected { why: why.to_owned() },
        };
        assert_eq!(outcome, expected);
    }
}

#[tokio::test]
async fn nobody_there_means_try_again() {
    match email(1).send(&net(), &messages(&KIND)[0]).await {
        Outcome::Retry { after: None, why } => assert!(why.contains("refused"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_try_that_was_cut_off_leaves_no_connection_to_the_next() {
    // The answer to DATA never comes.
    let server = Server::start("DATA", "").await;
    let email = email(server.port);
    let message = &messages(&KIND)[0];
    for tries in 1..3 {
        let net: Net = net();
        tokio::select! {
            outcome = email.send(&net, message) => panic!("{outcome:?}"),
            () = async {
                while server.count("DATA") < tries {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            } => {}
        }
    }
    assert_eq!(server.count("(connected)"), 2);
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_is_replaced() {
    let server = Server::start("NOOP", "421 too late").await;
    let email = email(server.port);
    for _ in 0..2 {
        assert_eq!(email.send(&net(), &messages(&KIND)[0]).await, Outcome::accepted());
    }
    assert_eq!(server.count("(connected)"), 2);
}

#[tokio::test]
async fn a_server_without_starttls_gets_neither_password_nor_mail() {
    let server = Server::start("", "").await;
    let email = channel(
        &KIND,
        &format!(
            "host = \"127.0.0.1\"\nport = {}\nusername = \"u\"\npassword = \"hunter2\"\n\
             from = \"a@example.org\"\nto = [\"b@example.org\"]",
            server.port
        ),
    );
    match email.send(&net(), &messages(&KIND)[0]).await {
        Outcome::Retry { why, .. } => assert!(why.contains("STARTTLS"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!((server.count("AUTH"), server.count("MAIL")), (0, 0));
}

#[tokio::test]
async fn a_private_authority_is_trusted_if_its_certificate_is_named() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, made.cert.pem()).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let log = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&log);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                talk(stream, "", "", Arc::clone(&kept)).await;
            }
        }
    });
    let settings = format!(
        "host = \"localhost\"\nport = {port}\ntls = \"implicit\"\nfrom = \"a@example.org\"\n\
         to = [\"b@example.org\"]"
    );
    let message = &messages(&KIND)[0];
    match channel(&KIND, &settings).send(&net(), message).await {
        Outcome::Retry { why, .. } => assert!(why.ends_with("file with `ca_file`"), "{why}"),
        other => panic!("{other:?}"),
    }
    let trusting = format!("{settings}\nca_file = \"{}\"", ca_file.display());
    let by_another_name = trusting.replace("\"localhost\"", "\"127.0.0.1\"");
    match channel(&KIND, &by_another_name).send(&net(), message).await {
        Outcome::Retry { why, .. } => {
            assert!(why.contains("is for localhost, not for 127.0.0.1: set `host`"), "{why}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(channel(&KIND, &trusting).send(&net(), message).await, Outcome::accepted());
    assert!(log.lock().unwrap().iter().any(|line| line.starts_with("RCPT")));
}

#[test]
fn problems_say_what_to_do() {
    let rest = "from = \"a@example.org\"\nto = [\"b@example.org\"]";
    let problems = [
        String::new(),
        "host = \"mail.example\"\nfrom = \"nobody\"\nto = [\"a@example.org\", \"b\"]".to_owned(),
        format!("host = \"mail.example\"\ntls = \"ssl\"\nusername = \"u\"\n{rest}"),
        format!("host = \"m.example\"\ntls = \"none\"\nusername = \"u\"\npassword = \"p\"\n{rest}"),
        format!("host = \"mail.example\"\nca_file = \"/nowhere/ca.pem\"\n{rest}"),
        "host = \"mail.example\"\nfrom = \"${FROM}\"\nto = []".to_owned(),
        format!(
            "host = \"m.example\"\nfallback_hosts = [\"n.example:25\", \"a b\", \"c:x\"]\n{rest}"
        ),
    ]
    .map(|text| read(&KIND, &text).1);
    insta::assert_snapshot!(problems.join("\n"), @r"
    daemon.toml:1:1: host: is missing
    daemon.toml:1:1: from: is missing
    daemon.toml:1:1: to: is missing
    daemon.toml:2:8: from: `nobody` is not an address (such as ops@example.org or Ops <ops@example.org>)
    daemon.toml:3:24: to: `b` is not an address (such as ops@example.org or Ops <ops@example.org>)
    daemon.toml:2:7: tls: `ssl` is not known here (use starttls, implicit or none)
    daemon.toml:3:12: username: goes with a `password`, which is missing
    daemon.toml:4:12: warning: password: is sent in the open, since `tls` is none
    daemon.toml:2:11: ca_file: /nowhere/ca.pem: No such file or directory (os error 2)
    daemon.toml:3:6: to: names nobody
    daemon.toml:2:35: fallback_hosts: `a b` is not a mail server (such as mail2.example.org, mail2.example.org:587 or [2001:db8::1]:25)
    daemon.toml:2:42: fallback_hosts: `c:x` is not a mail server (such as mail2.example.org, mail2.example.org:587 or [2001:db8::1]:25)
    ");
}

#[test]
fn the_password_does_not_show() {
    assert!(!format!("{:?}", email(25)).contains("hunter2"));
}

#[tokio::test]
async fn a_picture_stands_within_the_html_that_shows_it() {
    let server = Server::start("", "").await;
    let email = email(server.port);
    assert!(email.shows_pictures());
    let mut message = to("ops@example.org", &messages(&KIND)[0]);
    let png: &[u8] = b"\x89PNG";
    message.picture = Some(Picture { png: png.into(), alt: "The last hour".to_owned() });
    assert!(email.send(&net(), &message).await.is_accepted());
    assert!(!server.log().concat().contains("image/png"), "nothing shows it");
    message.html = format!("<img src=\"cid:{PICTURE_ID}\" alt=\"The last hour\">");
    assert!(email.send(&net(), &message).await.is_accepted());
    let log = server.log();
    for line in [
        "Content-Type: multipart/alternative;",
        "Content-Type: multipart/related;",
        "Content-Type: image/png",
        "Content-ID: <last-hour@watchbell>",
        "iVBORw==",
    ] {
        assert!(log.iter().any(|said| said == line), "{line}: {log:#?}");
    }
}

#[test]
fn two_channels_to_one_address_have_threads_of_their_own() {
    let message = to("ops@example.org", &messages(&KIND)[0]);
    let id = |name: &str| {
        let text = "host = \"m.example\"\nfrom = \"a@example.org\"\nto = [\"ops@example.org\"]";
        let (file, base) = (SourceFile::in_memory("daemon.toml", text), Path::new("."));
        let mut problems = Problems::default();
        let mut section = Section::root(&file, base, &Interpolator::new(base), &mut problems);
        section.set_owner(name);
        let email = (KIND.parse)(&mut section).unwrap();
        let body = email.preview(&message).unwrap().body;
        body.lines().find(|line| line.starts_with("Message-ID")).unwrap().to_owned()
    };
    assert_eq!(id("day-mail"), id("day-mail"));
    assert_ne!(id("day-mail"), id("night-mail"));
}
