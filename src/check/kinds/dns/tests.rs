use super::{KIND, nameserver};
use crate::check::testing::{
    Authority, Program, ask, check, error, fact, file, free_port, observe, observe_until, parse,
    problems, run,
};
use crate::check::{Check, Run};
use crate::model::{Fact, Status};
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, TXT};
use hickory_proto::rr::{Name, RData, Record};
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

/// A name server that answers as a test tells it.
struct Server {
    address: SocketAddr,
    /// How many questions came.
    asked: Arc<AtomicUsize>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Gives the answers to a question that came by UDP, or by TCP if the flag is set, the how many-th
/// it is counting from 1.
type Reply = dyn Fn(&Message, bool, usize) -> Vec<Vec<u8>> + Send + Sync;

impl Server {
    async fn start(
        reply: impl Fn(&Message, bool, usize) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let (stream, datagrams) = loop {
            let stream = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(socket) = UdpSocket::bind(stream.local_addr().unwrap()).await {
                break (stream, socket);
            }
        };
        let address = stream.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let reply: Arc<Reply> = Arc::new(reply);
        let (by_udp, counter) = (Arc::clone(&reply), Arc::clone(&asked));
        let udp = tokio::spawn(async move {
            let mut packet = [0; 4096];
            while let Ok((length, peer)) = datagrams.recv_from(&mut packet).await {
                let question = Message::from_vec(&packet[..length]).unwrap();
                let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
                for answer in by_udp(&question, false, number) {
                    datagrams.send_to(&answer, peer).await.unwrap();
                }
            }
        });
        let counter = Arc::clone(&asked);
        let tcp = tokio::spawn(async move {
            while let Ok((stream, _)) = stream.accept().await {
                serve(stream, &*reply, &counter).await;
            }
        });
        Self { address, asked, tasks: [udp, tcp] }
    }

    /// Answers each question in one way.
    async fn saying(change: impl Fn(&mut Message) + Send + Sync + 'static) -> Self {
        Self::start(move |question, _, _| vec![answer(question, &change)]).await
    }

    fn check(&self, more: &str) -> Box<dyn Check> {
        check(&KIND, &self.table(more))
    }

    fn table(&self, more: &str) -> String {
        format!("name = 'shop.test'\nserver = '{}'\n{more}", self.address)
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    reply: &Reply,
    asked: &AtomicUsize,
) {
    let Ok(length) = stream.read_u16().await else { return };
    let mut question = vec![0; usize::from(length)];
    stream.read_exact(&mut question).await.unwrap();
    let question = Message::from_vec(&question).unwrap();
    for answer in reply(&question, true, asked.fetch_add(1, Ordering::SeqCst) + 1) {
        stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
        stream.write_all(&answer).await.unwrap();
    }
    stream.shutdown().await.unwrap();
}

fn answer(question: &Message, change: &dyn Fn(&mut Message)) -> Vec<u8> {
    let mut message = question.clone().into_response();
    message.metadata.message_type = MessageType::Response;
    message.metadata.authentic_data = false;
    message.edns = None;
    change(&mut message);
    message.to_vec().unwrap()
}

fn address(ttl: u32, last: u8) -> Record {
    let name = Name::from_ascii("shop.test.").unwrap();
    Record::from_rdata(name, ttl, RData::A(A(Ipv4Addr::new(192, 0, 2, last))))
}

/// What a run is given that may last no longer than `timeout`.
fn brief(timeout: Duration) -> Run {
    Run { timeout, ..run() }
}

#[tokio::test]
async fn the_answer_is_found_with_what_the_server_says_of_it() {
    let server = Server::saying(|message| {
        message.metadata.authoritative = true;
        message.metadata.authentic_data = true;
        let alias = Name::from_ascii("web.test.").unwrap();
        let name = Name::from_ascii("shop.test.").unwrap();
        message.add_answer(Record::from_rdata(name, 20, RData::CNAME(CNAME(alias))));
        message.add_answer(address(300, 9)).add_answer(address(200, 1));
    })
    .await;
    let dns = server.check("");
    let seen = observe(&*dns).await;
    assert_eq!(error(&seen), "no error");
    assert_eq!(fact(&seen, "rcode"), json!("NOERROR"));
    assert_eq!(fact(&seen, "answers"), json!(["192.0.2.1", "192.0.2.9"]));
    assert_eq!((fact(&seen, "count"), fact(&seen, "ttl")), (json!(2), json!(20)));
    assert_eq!(fact(&seen, "authoritative"), json!(true));
    assert_eq!(fact(&seen, "authenticated"), json!(true));
    assert_eq!(fact(&seen, "server"), json!(server.address.to_string()));
    assert_eq!((fact(&seen, "tries"), fact(&seen, "truncated")), (json!(1), json!(false)));
    assert_eq!(dns.sense(&seen).status, Status::Up);
}

#[tokio::test]
async fn a_question_asks_for_recursion_and_validation() {
    let server = Server::saying(|message| {
        assert!(message.metadata.recursion_desired && message.queries.len() == 1);
        assert_eq!(message.queries[0].name.to_ascii(), "shop.test.");
        message.add_answer(address(1, 1));
    })
    .await;
    assert_eq!(error(&observe(&*server.check("")).await), "no error");
}

#[tokio::test]
async fn an_answer_without_what_was_asked_for_is_down_by_its_own_sense() {
    for (code, words) in [
        (ResponseCode::NXDomain, "NXDOMAIN: there is no name shop.test, says SERVER"),
        (ResponseCode::ServFail, "SERVFAIL: SERVER could not find out about shop.test"),
        (ResponseCode::Refused, "REFUSED: SERVER answers no questions about shop.test"),
        (ResponseCode::NotImp, "NOTIMP from SERVER about shop.test"),
        (ResponseCode::NoError, "shop.test has no A record, says SERVER"),
    ] {
        let server = Server::saying(move |message| message.metadata.response_code = code).await;
        let words = words.replace("SERVER", &server.address.to_string());
        let dns = server.check("");
        let seen = observe(&*dns).await;
        assert_eq!(error(&seen), "no error", "an answer is an observation");
        let verdict = dns.sense(&seen);
        assert_eq!((verdict.status, verdict.reasons.join("")), (Status::Down, words.clone()));
        assert_eq!((fact(&seen, "count"), fact(&seen, "ttl")), (json!(0), json!("absent")));
        let seen = observe(&*server.check("expect_values = ['192.0.2.1']")).await;
        assert_eq!(error(&seen), words);
    }
}

#[tokio::test]
async fn what_is_expected_must_come_in_any_order_and_nothing_else() {
    let server = Server::saying(|message| {
        message.add_answer(address(1, 9)).add_answer(address(1, 1));
    })
    .await;
    let differs = async |values: &str| {
        let seen = observe(&*server.check(&format!("expect_values = {values}"))).await;
        assert_eq!(fact(&seen, "count"), json!(2));
        error(&seen).to_owned()
    };
    assert_eq!(differs("['192.0.2.1', '192.0.2.9']").await, "no error");
    assert_eq!(differs("['192.0.2.9', '192.0.2.1', '192.0.2.1']").await, "no error");
    assert_eq!(
        differs("['192.0.2.1']").await,
        "shop.test has A records with unexpected `192.0.2.9`"
    );
    assert_eq!(
        differs("['192.0.2.1', '192.0.2.2']").await,
        "shop.test has A records without `192.0.2.2`, and with unexpected `192.0.2.9`"
    );
}

#[tokio::test]
async fn a_lost_packet_is_asked_for_again() {
    let server = Server::start(|question, _, number| match number {
        1 | 2 => Vec::new(),
        _ => vec![answer(question, &|message| _ = message.add_answer(address(1, 1)))],
    })
    .await;
    let seen = server.check("").run(&brief(Duration::from_secs(2))).await;
    assert_eq!((error(&seen), fact(&seen, "tries")), ("no error", json!(3)));
    assert_eq!(server.asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn what_answers_another_question_is_not_heard() {
    let server = Server::start(|question, _, _| {
        let right = |message: &mut Message| _ = message.add_answer(address(1, 1));
        let other_id = |message: &mut Message| message.metadata.id = !question.metadata.id;
        let other_name = |message: &mut Message| {
            message.queries[0].name = Name::from_ascii("bank.test.").unwrap();
        };
        let no_answer = |message: &mut Message| message.metadata.message_type = MessageType::Query;
        vec![
            Vec::new(),
            b"x".to_vec(),
            answer(question, &other_id),
            answer(question, &other_name),
            answer(question, &no_answer),
            answer(question, &right),
        ]
    })
    .await;
    let seen = observe(&*server.check("")).await;
    assert_eq!((error(&seen), fact(&seen, "answers")), ("no error", json!(["192.0.2.1"])));
}

#[tokio::test]
async fn garbage_is_told_as_such() {
    let server = Server::start(|question, _, _| {
        let mut garbage = question.metadata.id.to_be_bytes().to_vec();
        garbage.extend([0x84, 0x00, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xc0, 0x0c]);
        vec![garbage]
    })
    .await;
    for transport in ["udp", "tcp"] {
        let seen = observe(&*server.check(&format!("transport = '{transport}'"))).await;
        let start = format!("the answer of {} cannot be read: ", server.address);
        assert!(error(&seen).starts_with(&start), "{}", error(&seen));
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_for_udp_comes_by_tcp() {
    let server = Server::start(|question, by_tcp, _| {
        let long = |message: &mut Message| {
            for index in 0..100 {
                let text = TXT::new(vec![format!("{index}-{}", "x".repeat(200)), "end".into()]);
                let name = Name::from_ascii("shop.test.").unwrap();
                message.add_answer(Record::from_rdata(name, 5, RData::TXT(text)));
            }
        };
        let cut = |message: &mut Message| message.metadata.truncation = true;
        vec![if by_tcp { answer(question, &long) } else { answer(question, &cut) }]
    })
    .await;
    let seen = observe(&*server.check("record = 'TXT'")).await;
    assert_eq!((error(&seen), fact(&seen, "truncated")), ("no error", json!(true)));
    assert_eq!(fact(&seen, "count"), json!(100));
    let kept = fact(&seen, "answers");
    assert!(kept.to_string().len() <= 4096 && kept.as_array().unwrap().len() > 10);
    assert!(kept[0].as_str().unwrap().ends_with("xend"), "the parts of a text are one");
}

#[tokio::test]
async fn a_server_that_never_answers_is_named_before_the_time_is_over() {
    let server = Server::start(|_, _, _| Vec::new()).await;
    let limit = Duration::from_millis(400);
    let seen = tokio::time::timeout(limit, server.check("").run(&brief(limit))).await.unwrap();
    assert_eq!(error(&seen), format!("no answer from {} within 400ms", server.address));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let tcp = check(&KIND, &format!("name = 'a'\nserver = '{silent}'\ntransport = 'tcp'"));
    let seen = tokio::time::timeout(limit, tcp.run(&brief(limit))).await.unwrap();
    assert_eq!(error(&seen), format!("no answer from {silent} within 400ms"));
    drop(listener);
    let seen = observe(&*tcp).await;
    assert_eq!(error(&seen), format!("connection refused by {silent}"));
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told_at_once() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let closed = socket.local_addr().unwrap();
    drop(socket);
    let seen = ask(&KIND, &format!("name = 'a'\nserver = '{closed}'")).await;
    assert_eq!(error(&seen), format!("connection refused by {closed}"));
    let seen = ask(&KIND, "name = 'a'\nserver = 'nobody.invalid'").await;
    assert!(error(&seen).starts_with("DNS: no "), "{}", error(&seen));
}

#[tokio::test]
async fn a_connection_that_ends_early_is_told() {
    let server = Server::start(|_, _, _| Vec::new()).await;
    let seen = observe(&*server.check("transport = 'tcp'")).await;
    assert_eq!(error(&seen), format!("connection closed by {}", server.address));
}

#[tokio::test]
async fn a_question_over_tls_checks_the_certificate() {
    let authority = Authority::new();
    let ca = file(&authority.pem);
    let acceptor = tokio_rustls::TlsAcceptor::from(authority.server("localhost", 2000, 2090));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let reply = |question: &Message, _: bool, _: usize| {
                vec![answer(question, &|message| _ = message.add_answer(address(1, 1)))]
            };
            serve(stream, &reply, &AtomicUsize::new(0)).await;
        }
    });
    let table = format!("name = 'shop.test'\nserver = 'localhost:{port}'\ntransport = 'tls'");
    let trusted = format!("{table}\nca_file = '{}'", ca.path().display());
    let seen = ask(&KIND, &trusted).await;
    assert_eq!((error(&seen), fact(&seen, "answers")), ("no error", json!(["192.0.2.1"])));
    assert!(fact(&seen, "cert_days_left").is_i64());
    let seen = ask(&KIND, &table).await;
    assert!(error(&seen).starts_with("TLS: "), "{}", error(&seen));
    server.abort();
}

#[tokio::test]
async fn the_systems_servers_are_those_of_its_file() {
    async fn check(text: &str, expected: &[&str]) {
        let file = file(text);
        let servers = nameserver::system_servers(file.path()).await.unwrap();
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, expected, "{text}");
    }
    check("nameserver 192.0.2.1\nsearch a.test\nnameserver ::1\n", &["192.0.2.1:53", "[::1]:53"])
        .await;
    check("# nothing\noptions edns0 no-such-option\n", &["127.0.0.1:53"]).await;
    check("nameserver junk\nnameserver 192.0.2.1\n", &["192.0.2.1:53"]).await;
    let many = "nameserver 192.0.2.1\n".repeat(9);
    check(&many, &["192.0.2.1:53"; 3]).await;
    let none = nameserver::system_servers(std::path::Path::new("/nowhere/resolv.conf")).await;
    assert_eq!(none.unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_gone_leaves_the_others() {
    let server = Server::saying(|message| _ = message.add_answer(address(1, 1))).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let closed = socket.local_addr().unwrap();
    drop(socket);
    let silent = Server::start(|_, _, _| Vec::new()).await;
    let target = |address: SocketAddr| {
        crate::check::support::dial::Target::parse(&address.to_string()).unwrap()
    };
    let name = Name::from_ascii("shop.test.").unwrap();
    let question = nameserver::Question { name, record: hickory_proto::rr::RecordType::A };
    let servers = [target(closed), target(silent.address), target(server.address)];
    let mut facts = crate::model::Facts::default();
    let clock = crate::clock::System::start();
    let udp = nameserver::Transport::Udp;
    let within = Duration::from_millis(900);
    let heard =
        nameserver::ask(&clock, &question, &servers, &udp, within, &mut facts).await.unwrap();
    assert_eq!(heard.server, server.address);
    let failed = nameserver::ask(&clock, &question, &servers[..2], &udp, within, &mut facts).await;
    assert_eq!(
        failed.unwrap_err(),
        format!("connection refused by {closed}; no answer from {} within 450ms", silent.address)
    );
}

/// An unbound that answers for `example.test` itself.
struct Unbound {
    port: u16,
    _server: Program,
    _folder: tempfile::TempDir,
}

impl Unbound {
    async fn start() -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let long = "x".repeat(250);
        let mut records = String::new();
        for record in [
            "www.example.test. 300 IN A 192.0.2.10",
            "www.example.test. 300 IN A 192.0.2.11",
            "www.example.test. 300 IN AAAA 2001:db8::10",
            "alias.example.test. 300 IN CNAME www.example.test.",
            "example.test. 300 IN MX 10 Mail.example.test.",
            "example.test. 300 IN MX 20 mail2.example.test.",
            "example.test. 300 IN NS ns1.example.test.",
            "example.test. 300 IN TXT \"v=spf1\" \" -all\"",
            "example.test. 300 IN CAA 0 issue \"ca.example\"",
            "example.test. 300 IN SOA ns1.example.test. admin.example.test. 7 3600 600 86400 60",
            "_sip._tcp.example.test. 300 IN SRV 1 2 5060 sip.example.test.",
            "10.2.0.192.in-addr.arpa. 300 IN PTR www.example.test.",
        ] {
            records.push_str(&format!("  local-data: '{record}'\n"));
        }
        for index in 0..20 {
            records.push_str(&format!(
                "  local-data: 'long.example.test. 300 IN TXT \"{index}{long}\"'\n"
            ));
        }
        let config = format!(
            "server:\n  interface: 127.0.0.1\n  port: {port}\n  do-daemonize: no\n  username: ''\n  \
             chroot: ''\n  pidfile: ''\n  use-syslog: no\n  directory: '{0}'\n  num-threads: 1\n  \
             module-config: 'iterator'\n  \
             local-zone: 'example.test.' static\n  local-zone: 'refused.test.' refuse\n{records}\
             remote-control:\n  control-enable: no\n",
            folder.path().display()
        );
        let file = folder.path().join("unbound.conf");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("unbound");
        command.arg("-d").arg("-c").arg(&file);
        let unbound = Self { port, _server: Program::start(&mut command, "KILL"), _folder: folder };
        let ready = unbound.check("name = 'www.example.test'");
        observe_until(&*ready, |seen| seen.error.is_none()).await;
        unbound
    }

    fn check(&self, table: &str) -> Box<dyn Check> {
        check(&KIND, &format!("{table}\nserver = '127.0.0.1:{}'", self.port))
    }
}

#[tokio::test]
async fn a_real_server_is_understood() {
    let server = Unbound::start().await;
    let check = async |table: &str, answers: &[&str]| {
        for transport in ["udp", "tcp"] {
            let dns = server.check(&format!("{table}\ntransport = '{transport}'"));
            let seen = observe(&*dns).await;
            assert_eq!(error(&seen), "no error", "{table}");
            assert_eq!(fact(&seen, "answers"), json!(answers), "{table}");
            assert_eq!(fact(&seen, "authoritative"), json!(true), "{table}");
            assert_eq!((fact(&seen, "ttl"), fact(&seen, "truncated")), (json!(300), json!(false)));
            assert_eq!(dns.sense(&seen).status, Status::Up, "{table}");
        }
    };
    check("name = 'www.example.test'", &["192.0.2.10", "192.0.2.11"]).await;
    check("name = 'WWW.Example.Test.'\nrecord = 'aaaa'", &["2001:db8::10"]).await;
    check("name = 'alias.example.test'\nrecord = 'CNAME'", &["www.example.test"]).await;
    check(
        "name = 'example.test'\nrecord = 'MX'\n\
         expect_values = ['20 mail2.example.test', '10 mail.example.test.']",
        &["10 Mail.example.test", "20 mail2.example.test"],
    )
    .await;
    check("name = 'example.test'\nrecord = 'NS'", &["ns1.example.test"]).await;
    check("name = 'example.test'\nrecord = 'TXT'", &["v=spf1 -all"]).await;
    check("name = 'example.test'\nrecord = 'CAA'", &["0 issue \"ca.example\""]).await;
    let soa = "ns1.example.test admin.example.test 7 3600 600 86400 60";
    check("name = 'example.test'\nrecord = 'SOA'", &[soa]).await;
    check("name = '_sip._tcp.example.test'\nrecord = 'SRV'", &["1 2 5060 sip.example.test"]).await;
    check("name = '192.0.2.10'\nrecord = 'PTR'", &["www.example.test"]).await;

    let rcode = async |name: &str| {
        let seen = observe(&*server.check(&format!("name = '{name}'"))).await;
        seen.facts.get("rcode").cloned()
    };
    assert_eq!(rcode("nobody.example.test").await, Some(Fact::from("NXDOMAIN")));
    assert_eq!(rcode("www.refused.test").await, Some(Fact::from("REFUSED")));
    let seen = observe(&*server.check("name = 'long.example.test'\nrecord = 'TXT'")).await;
    assert_eq!((error(&seen), fact(&seen, "truncated")), ("no error", json!(true)));
    assert_eq!(fact(&seen, "count"), json!(20));
}

#[test]
fn what_is_wrong_with_a_table_is_told() {
    for (table, problem) in [
        ("", "name: is missing"),
        ("name = ''", "name: is empty"),
        ("name = 'a..b'", "name: `a..b` cannot be a name in the DNS"),
        ("name = '192.0.2.1'", "name: is an address; `record = \"PTR\"` asks for its name"),
        ("name = 'a'\nrecord = 'ANY'", "record: `ANY` is none of A, AAAA, CAA,"),
        ("name = 'a'\nserver = 'a b'", "server: `a b` is no server"),
        ("name = 'a'\nserver = '192.0.2.1:0'", "server: `192.0.2.1:0` is no server"),
        ("name = 'a'\ntransport = 'quic'", "transport: `quic` is none of udp, tcp and tls"),
        ("name = 'a'\ntransport = 'tls'", "transport: needs `server`"),
        ("name = 'a'\nexpect_values = []", "expect_values: is empty"),
        ("name = 'a'\nexpect_values = ['b']", "expect_values: `b` is no IPv4 address"),
        (
            "name = 'a'\nrecord = 'AAAA'\nexpect_values = ['1.2.3.4']",
            "`1.2.3.4` is no IPv6 address",
        ),
        ("name = 'a'\nquery = 'b'", "query: unknown key"),
    ] {
        let found = problems(&KIND, table);
        assert!(found.contains(problem), "{table}: {found}");
    }
    for server in ["192.0.2.1", "192.0.2.1:5353", "::1", "[::1]", "[::1]:5353", "ns.test:53", "ns"]
    {
        assert!(parse(&KIND, &format!("name = 'a'\nserver = '{server}'")).is_ok(), "{server}");
    }
    assert!(parse(&KIND, "name = 'bücher.example'\nrecord = 'mx'").is_ok());
}
