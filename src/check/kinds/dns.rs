//! `dns`: asks a name server about a name, and looks at what it answers.

#[cfg(test)]
mod tests;

use crate::check::support::dial::Target;
use crate::check::support::excerpt;
use crate::check::support::nameserver::{self, Heard, Question, Transport};
use crate::check::support::tls;
use crate::check::{Check, Kind, Run};
use crate::config::Section;
use crate::model::{Fact, FactSpec, FactType, Facts, Observation, OptionDoc, Verdict};
use async_trait::async_trait;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RData, RecordType};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use url::Host;

/// The kind `dns`.
pub const KIND: Kind = Kind {
    name: "dns",
    summary: "asks a name server about a name, and compares what it answers",
    options: &[
        OptionDoc::new(
            "name",
            "string",
            "required",
            "the name to ask about, never completed by a search domain; for PTR also an address",
        ),
        OptionDoc::new(
            "record",
            "string",
            "\"A\"",
            "A, AAAA, CAA, CNAME, HTTPS, MX, NAPTR, NS, PTR, SOA, SRV, SSHFP, SVCB, TLSA or TXT",
        ),
        OptionDoc::new(
            "server",
            "string",
            "",
            "host or address, with a port if you like; if absent, those of /etc/resolv.conf in turn",
        ),
        OptionDoc::new(
            "transport",
            "string",
            "\"udp\"",
            "udp (then tcp for what is too long), tcp, or tls (port 853; the server must be named)",
        )
        .words(&["udp", "tcp", "tls"]),
        OptionDoc::new(
            "expect_values",
            "list",
            "",
            "the records that must come and no others, in any order, written as in `answers`",
        ),
        tls::INSECURE_SKIP_VERIFY,
        tls::CA_FILE,
    ],
    facts: &[
        FactSpec::kept(
            "rcode",
            FactType::Text,
            "",
            "how the server answered: NOERROR, NXDOMAIN, SERVFAIL, REFUSED, …",
        ),
        FactSpec::kept(
            "answers",
            FactType::Any,
            "",
            "list of the records asked for, as sorted texts such as `192.0.2.1` or \
             `10 mail.example.org`, without final dots; as many as fit into 4 KiB",
        ),
        FactSpec::kept("count", FactType::Int, "", "how many records there are"),
        FactSpec::kept(
            "ttl",
            FactType::Int,
            "s",
            "how long the answer may be kept, by its shortest-lived record; absent without one",
        ),
        FactSpec::kept(
            "authoritative",
            FactType::Bool,
            "",
            "whether the server answered from a zone of its own (AA)",
        ),
        FactSpec::kept(
            "authenticated",
            FactType::Bool,
            "",
            "whether the server says that it validated the answer by DNSSEC (AD)",
        ),
        FactSpec::kept("server", FactType::Text, "", "who answered: address and port"),
        FactSpec::kept(
            "tries",
            FactType::Int,
            "",
            "how often the question was sent; more than 1 where one got lost or was answered late",
        ),
        FactSpec::kept(
            "truncated",
            FactType::Bool,
            "",
            "whether the answer was too long for UDP and was fetched by TCP",
        ),
        tls::CERT_DAYS_LEFT,
    ],
    example: r#"[[check]]
name = "shop-name"
every = "1m"
degraded_if = ["ttl < 60", "latency_ms > 200.0"]
[check.dns]
name = "shop.example.org"
record = "A"
server = "192.0.2.53"
expect_values = ["192.0.2.10", "192.0.2.11"]
"#,
    well: "the name resolves, and to `expect_values` where they are set",
    parse,
};

/// What `record` may say.
const RECORDS: [RecordType; 15] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::CAA,
    RecordType::CNAME,
    RecordType::HTTPS,
    RecordType::MX,
    RecordType::NAPTR,
    RecordType::NS,
    RecordType::PTR,
    RecordType::SOA,
    RecordType::SRV,
    RecordType::SSHFP,
    RecordType::SVCB,
    RecordType::TLSA,
    RecordType::TXT,
];

/// How much room the fact `answers` has, as JSON, in bytes.
const MOST_ANSWERS: usize = 4096;

/// How many records a reason names, and how much of each, in characters.
const NAMED: (usize, usize) = (5, 100);

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Check>> {
    let record = section.built("record", |text: String| read_record(&text));
    let record = record.unwrap_or(RecordType::A);
    let mut shown = String::new();
    let name = section.required_built("name", |text: String| {
        text.trim_end_matches('.').clone_into(&mut shown);
        read_name(&text, record)
    });
    let place = section.place_of("transport");
    let transport = section.or("transport", "udp".to_owned());
    let tls = tls::read_config(section, &[]);
    let (port, transport) = match transport.as_str() {
        "udp" => (53, Some(Transport::Udp)),
        "tcp" => (53, Some(Transport::Tcp)),
        "tls" => (853, tls.map(Transport::Tls)),
        _ => {
            section.error_at(&place, format!("`{transport}` is none of udp, tcp and tls"));
            (53, None)
        }
    };
    let is_named = section.has("server");
    let server = section.built("server", |text: String| {
        read_server(&text, port).ok_or_else(|| {
            format!("`{text}` is no server (such as 192.0.2.53, [2001:db8::53]:5353 or ns.example)")
        })
    });
    if matches!(transport, Some(Transport::Tls(_))) && !is_named {
        section.error_at(&place, "needs `server`: those of /etc/resolv.conf speak no TLS");
        return None;
    }
    let expected = section.built("expect_values", |texts: Vec<String>| {
        if texts.is_empty() {
            return Err("is empty; `expect = [\"count == 0\"]` expects no record".to_owned());
        }
        texts.iter().map(|text| canonical(text, record)).collect()
    });
    if is_named && server.is_none() {
        return None;
    }
    let question = Question { name: name?, record };
    Some(Box::new(Dns { question, shown, server, transport: transport?, expected }))
}

fn read_record(text: &str) -> Result<RecordType, String> {
    let found = RECORDS.into_iter().find(|known| known.to_string().eq_ignore_ascii_case(text));
    found.ok_or_else(|| {
        let known: Vec<String> = RECORDS.iter().map(ToString::to_string).collect();
        format!("`{text}` is none of {}", known.join(", "))
    })
}

fn read_name(text: &str, record: RecordType) -> Result<Name, String> {
    let mut name = match text.parse::<IpAddr>() {
        Ok(address) if record == RecordType::PTR => Name::from(address),
        Ok(_) => return Err("is an address; `record = \"PTR\"` asks for its name".to_owned()),
        Err(_) if text.is_empty() => return Err("is empty".to_owned()),
        Err(_) => Name::from_str_relaxed(text)
            .map_err(|error| format!("`{text}` cannot be a name in the DNS: {error}"))?,
    };
    name.set_fqdn(true);
    Ok(name)
}

fn read_server(text: &str, port: u16) -> Option<Target> {
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Some(Target { host: Host::Ipv6(address), port });
    }
    let host = || Some(Target { host: Host::parse(text).ok()?, port });
    Target::parse(text).or_else(host)
}

/// A record as it is compared: case and final dots of names make no difference.
fn canonical(text: &str, record: RecordType) -> Result<String, String> {
    let wrong = |what: &str| format!("`{text}` is no {what} address");
    Ok(match record {
        RecordType::A => text.parse::<Ipv4Addr>().map_err(|_| wrong("IPv4"))?.to_string(),
        RecordType::AAAA => text.parse::<Ipv6Addr>().map_err(|_| wrong("IPv6"))?.to_string(),
        RecordType::CNAME
        | RecordType::MX
        | RecordType::NS
        | RecordType::PTR
        | RecordType::SOA
        | RecordType::SRV => {
            let words = text.split_whitespace().map(|word| match word.strip_suffix('.') {
                Some("") | None => word.to_ascii_lowercase(),
                Some(name) => name.to_ascii_lowercase(),
            });
            words.collect::<Vec<_>>().join(" ")
        }
        _ => text.to_owned(),
    })
}

#[derive(Debug)]
struct Dns {
    question: Question,
    /// The name as the user wrote it.
    shown: String,
    server: Option<Target>,
    transport: Transport,
    expected: Option<BTreeSet<String>>,
}

#[async_trait]
impl Check for Dns {
    async fn run(&self, run: &Run) -> Observation {
        let mut facts = Facts::default();
        let servers = match &self.server {
            Some(server) => Ok(vec![server.clone()]),
            None => nameserver::system_servers(Path::new("/etc/resolv.conf")).await,
        };
        let asked = match servers {
            Ok(servers) => {
                let clock = &*run.shared.clock;
                let way = &self.transport;
                nameserver::ask(clock, &self.question, &servers, way, run.timeout, &mut facts).await
            }
            Err(what) => Err(what),
        };
        let heard = match asked {
            Ok(heard) => heard,
            Err(what) => return Observation::failed(facts, what),
        };
        let answers = self.note(&heard, &mut facts);
        match self.expected.as_ref().and_then(|expected| self.differs(expected, &answers, &facts)) {
            Some(what) => Observation::failed(facts, what),
            None => Observation::found(facts),
        }
    }

    fn sense(&self, observation: &Observation) -> Verdict {
        self.trouble(&observation.facts).map_or(Verdict::UP, Verdict::down)
    }
}

impl Dns {
    /// Writes down what was heard, and gives all records of the type that was asked for.
    fn note(&self, heard: &Heard, facts: &mut Facts) -> BTreeSet<String> {
        let message = &heard.message;
        let wanted = message.answers.iter().filter(|it| it.record_type() == self.question.record);
        let answers: BTreeSet<String> = wanted.map(|record| present(&record.data)).collect();
        let mut room = MOST_ANSWERS;
        let fitting = answers.iter().map(|text| Json::from(text.as_str())).take_while(|text| {
            let left = room.checked_sub(text.to_string().len() + 1);
            room = left.unwrap_or_default();
            left.is_some()
        });
        facts.set("rcode", rcode(message.metadata.response_code));
        facts.set("answers", fitting.collect::<Json>());
        facts.set("count", i64::try_from(answers.len()).unwrap_or(i64::MAX));
        if let Some(ttl) = message.answers.iter().map(|record| record.ttl).min() {
            facts.set("ttl", i64::from(ttl));
        }
        facts.set("authoritative", message.metadata.authoritative);
        facts.set("authenticated", message.metadata.authentic_data);
        facts.set("server", heard.server.to_string());
        facts.set("tries", heard.tries);
        facts.set("truncated", heard.truncated);
        answers
    }

    /// What is wrong with an answer, whatever is expected of it.
    fn trouble(&self, facts: &Facts) -> Option<String> {
        let text = |name| match facts.get(name) {
            Some(Fact::Text(text)) => &**text,
            _ => "",
        };
        let (name, server) = (&self.shown, text("server"));
        match text("rcode") {
            "NOERROR" if facts.get("count") == Some(&Fact::Int(0)) => {
                Some(format!("{name} has no {} record, says {server}", self.question.record))
            }
            "NOERROR" => None,
            "NXDOMAIN" => Some(format!("NXDOMAIN: there is no name {name}, says {server}")),
            "SERVFAIL" => Some(format!("SERVFAIL: {server} could not find out about {name}")),
            "REFUSED" => Some(format!("REFUSED: {server} answers no questions about {name}")),
            other => Some(format!("{other} from {server} about {name}")),
        }
    }

    /// How the answer differs from what is expected.
    fn differs(
        &self,
        expected: &BTreeSet<String>,
        answers: &BTreeSet<String>,
        facts: &Facts,
    ) -> Option<String> {
        let record = self.question.record;
        let found: BTreeSet<String> = answers
            .iter()
            .map(|text| canonical(text, record).unwrap_or_else(|_| text.clone()))
            .collect();
        if found == *expected {
            return None;
        }
        if let Some(trouble) = self.trouble(facts) {
            return Some(trouble);
        }
        let list = |these: &BTreeSet<String>, others: &BTreeSet<String>, what: &str| {
            let (most, length) = NAMED;
            let mut names: Vec<String> = these
                .difference(others)
                .map(|text| format!("`{}`", excerpt(text, length)))
                .collect();
            let more = names.len().saturating_sub(most);
            names.truncate(most);
            if more > 0 {
                names.push(format!("{more} more"));
            }
            (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")))
        };
        let differences =
            [list(expected, &found, "without"), list(&found, expected, "with unexpected")];
        let differences: Vec<String> = differences.into_iter().flatten().collect();
        Some(format!("{} has {record} records {}", self.shown, differences.join(", and ")))
    }
}

/// A record as people write it, with names that have no final dot.
fn present(data: &RData) -> String {
    let plain = |name: &Name| {
        let text = name.to_ascii();
        match text.strip_suffix('.') {
            Some("") | None => text,
            Some(short) => short.to_owned(),
        }
    };
    match data {
        RData::CNAME(name) => plain(name),
        RData::NS(name) => plain(name),
        RData::PTR(name) => plain(name),
        RData::MX(mx) => format!("{} {}", mx.preference, plain(&mx.exchange)),
        RData::SRV(srv) => {
            format!("{} {} {} {}", srv.priority, srv.weight, srv.port, plain(&srv.target))
        }
        RData::SOA(soa) => format!(
            "{} {} {} {} {} {} {}",
            plain(&soa.mname),
            plain(&soa.rname),
            soa.serial,
            soa.refresh,
            soa.retry,
            soa.expire,
            soa.minimum
        ),
        other => other.to_string(),
    }
}

/// The name of a response code in the registry of the IANA, as `dig` shows it.
fn rcode(code: ResponseCode) -> String {
    match code {
        ResponseCode::NoError => "NOERROR".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::YXDomain => "YXDOMAIN".to_owned(),
        ResponseCode::YXRRSet => "YXRRSET".to_owned(),
        ResponseCode::NXRRSet => "NXRRSET".to_owned(),
        ResponseCode::NotAuth => "NOTAUTH".to_owned(),
        ResponseCode::NotZone => "NOTZONE".to_owned(),
        ResponseCode::BADVERS => "BADVERS".to_owned(),
        ResponseCode::BADCOOKIE => "BADCOOKIE".to_owned(),
        other => format!("RCODE{}", u16::from(other)),
    }
}
