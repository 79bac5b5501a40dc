//! Mail servers that are away: another one takes the mail, or the outbox waits.

use super::{KIND, Server, to};
use crate::clock::{Clock, Manual};
use crate::deliver::mailbox::{Mailbox, Next, Terms};
use crate::deliver::support::testing::{NOW, channel, messages};
use crate::deliver::{Channel, Net, Outcome};
use crate::model::{Incident, Message, Notice, What};
use crate::render::sample;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

const TEN_MINUTES: Duration = Duration::from_secs(600);

/// A channel with these servers, the best first, and the clock that it goes by.
fn email(ports: &[u16]) -> (Box<dyn Channel>, Net, Arc<Manual>) {
    let (best, others) = ports.split_first().unwrap();
    let others: Vec<String> = others.iter().map(|port| format!("\"127.0.0.1:{port}\"")).collect();
    let others = others.join(", ");
    let text = format!(
        "host = \"127.0.0.1\"\nport = {best}\nfallback_hosts = [{others}]\ntls = \"none\"\n\
         from = \"a@example.org\"\nto = [\"ops@example.org\"]"
    );
    let clock = Arc::new(Manual::at(NOW));
    let net = Net::new(Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
    (channel(&KIND, &text), net, clock)
}

fn is_there(outcome: &Outcome) -> bool {
    outcome.is_accepted()
}

fn opened() -> Message {
    to("ops@example.org", &messages(&KIND)[0])
}

#[tokio::test]
async fn the_next_server_takes_what_the_first_cannot() {
    for (upon, reply) in [("EHLO", "421 busy"), ("EHLO", "554 no mail here"), ("MAIL", "421 bye")] {
        let (first, second) = (Server::start(upon, reply).await, Server::start("", "").await);
        let (email, net, clock) = email(&[first.port, second.port]);
        for mails in 1..=2 {
            assert!(is_there(&email.send(&net, &opened()).await), "{upon} {reply}");
            assert_eq!(second.count("DATA"), mails);
        }
        assert_eq!(first.count("(connected)"), 1, "the good one is remembered");
        assert_eq!(second.count("(connected)"), 1, "with its connection");
        clock.advance(TEN_MINUTES);
        assert!(is_there(&email.send(&net, &opened()).await));
        assert_eq!(first.count("(connected)"), 2, "the best is asked again");
    }
    let second = Server::start("", "").await;
    let (email, net, _) = email(&[1, second.port]);
    assert!(is_there(&email.send(&net, &opened()).await));
}

#[tokio::test]
async fn what_a_server_says_to_the_mail_itself_is_the_answer() {
    for (upon, reply, for_good) in [
        ("RCPT", "550 no such user", true),
        ("DATA", "554 spam", true),
        ("RCPT", "451 greylisted", false),
    ] {
        let (first, second) = (Server::start(upon, reply).await, Server::start("", "").await);
        let (email, net, _) = email(&[first.port, second.port]);
        let outcome = email.send(&net, &opened()).await;
        assert_eq!(matches!(outcome, Outcome::Rejected { .. }), for_good, "{outcome:?}");
        assert!(!is_there(&outcome));
        assert_eq!(second.count("(connected)"), 0);
    }
}

#[tokio::test]
async fn where_none_takes_it_each_has_its_say() {
    let busy = Server::start("EHLO", "421 busy").await;
    let shut = Server::start("EHLO", "554 no mail here").await;
    let (both, net, _) = email(&[busy.port, shut.port]);
    match both.send(&net, &opened()).await {
        Outcome::Retry { after: None, why } => {
            let (busy, shut) = (busy.port, shut.port);
            let expected = format!(
                "127.0.0.1:{busy}: transient error (421): busy; \
                 127.0.0.1:{shut}: permanent error (554): no mail here"
            );
            assert_eq!(why, expected);
        }
        other => panic!("{other:?}"),
    }
    let (shut_twice, net, _) = email(&[shut.port, shut.port]);
    let outcome = shut_twice.send(&net, &opened()).await;
    assert!(matches!(outcome, Outcome::Rejected { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_try_that_a_silent_server_used_up_is_followed_by_one_elsewhere() {
    // The system takes the connection, and nobody ever greets.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let good = Server::start("", "").await;
    let (email, net, _) = email(&[silent.local_addr().unwrap().port(), good.port]);
    // Cut off as the outbox does it where a channel's timeout is short.
    let message = opened();
    tokio::select! {
        outcome = email.send(&net, &message) => panic!("{outcome:?}"),
        connected = silent.accept() => drop(connected.unwrap()),
    }
    assert!(is_there(&email.send(&net, &message).await));
    assert_eq!(good.count("DATA"), 1);
}

#[tokio::test]
async fn after_an_hour_without_the_mail_server_all_mails_arrive_in_order() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let (email, net, clock) = email(&[port]);
    let secs = Duration::from_secs;
    let terms = Terms { count: 100, per: secs(3600), cooldown: secs(0), fallback_after: None };
    let (name, recipient) = ("mail".into(), "ops@example.org".to_owned());
    let none = HashMap::new();
    let mut mailbox = Mailbox::restore(name, recipient, terms, vec![], &none, clock.now());
    let message = opened();
    for n in 0..5 {
        let mut about: Incident = sample::incidents().remove(0);
        about.id = format!("incident-{n}");
        about.check = format!("check-{n}").into();
        let (channel, to) = ("mail".into(), "ops@example.org".to_owned());
        let (id, at) = (format!("notice-{n}"), clock.wall());
        let notice = Notice::new(id, What::Opened, channel, to, vec![about], at);
        mailbox.owe(notice, clock.now());
        clock.advance(Duration::from_millis(10));
    }
    let mut server = None;
    let mut tries = 0;
    while mailbox.depth() > 0 {
        if server.is_none() && clock.now().mono >= secs(3600) {
            server = Some(Server::start_on(port).await);
        }
        match mailbox.next(clock.now(), || "digest".to_owned()).1 {
            Next::Send(notice) => {
                tries += 1;
                let mail = Message {
                    id: notice.id.clone(),
                    incidents: notice.incidents.clone(),
                    ..message.clone()
                };
                let outcome = email.send(&net, &mail).await;
                // The store that would hear of it is not part of this.
                let _ = mailbox.settle(&notice.id, outcome, clock.now(), 0.5);
            }
            Next::Wait(until) => {
                let now = i64::try_from(clock.now().mono.as_millis()).unwrap();
                clock.advance(Duration::from_millis(u64::try_from(until - now).unwrap()));
            }
            Next::Idle => panic!("{} are owed", mailbox.depth()),
        }
    }
    assert!(tries > 20 && clock.now().mono < secs(3600 + 600), "{tries} tries");
    let log = server.unwrap().log();
    let ids = log.iter().filter_map(|line| line.strip_prefix("X-Watchbell-Notice: "));
    let expected: Vec<String> = (0..5).map(|n| format!("notice-{n}")).collect();
    assert_eq!(ids.collect::<Vec<_>>(), expected);
}
