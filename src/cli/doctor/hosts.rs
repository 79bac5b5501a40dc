//! Whether the names that checks and channels need can be resolved.

use super::finding::Finding;
use crate::app::plan::Plan;
use crate::clock::{Clock, System};
use crate::config::PLACEHOLDER_HOST;
use futures_util::stream::{self, StreamExt as _};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;
use url::Url;

const TOPIC: &str = "dns";

/// How many names are looked up, and how many of them together.
const MOST: usize = 64;
const TOGETHER: usize = 16;
/// How often the patience of one name, so that all of them may be silent, and a little is left.
pub const ROUNDS: u32 = 5;
/// How many names that fail are told one by one.
const TOLD: usize = 8;

/// The keys of a check's table under which hosts stand.
const KEYS: [&str; 12] = [
    "url",
    "address",
    "server",
    "reference",
    "nodes",
    "addresses",
    "token_url",
    "host",
    "ntp_server",
    "oauth2",
    "sentinel",
    "webhook",
];

/// Looks the names up as the daemon does.
pub async fn resolve(plan: &Plan, patience: Duration) -> Vec<Finding> {
    let names = names(plan);
    if names.is_empty() {
        return vec![Finding::ok(TOPIC, "no check and no channel needs a name to be looked up")];
    }
    let clock = System::start();
    let all = names.len();
    let looked_up: Vec<(String, Result<Duration, Option<String>>)> =
        stream::iter(names.into_iter().take(MOST))
            .map(|name| async {
                let start = clock.now().mono;
                let lookup = tokio::net::lookup_host((name.clone(), 0));
                let answer = match tokio::time::timeout(patience, lookup).await {
                    Ok(Ok(mut found)) => match found.next() {
                        Some(_) => Ok(clock.now().mono - start),
                        None => Err(Some("it has no address".to_owned())),
                    },
                    Ok(Err(error)) => Err(Some(error.to_string())),
                    Err(_elapsed) => Err(None),
                };
                (name, answer)
            })
            .buffer_unordered(TOGETHER)
            .collect()
            .await;
    let span = humantime::format_duration(patience);
    let silent = looked_up.iter().filter(|(_, answer)| matches!(answer, Err(None))).count();
    if silent == looked_up.len() {
        let servers = servers().await;
        let what = format!(
            "no name server answered within {span} ({silent} names, such as {}; {servers})",
            looked_up.first().map_or("", |(name, _)| name)
        );
        let fix = "name one that answers in /etc/resolv.conf; `resolvectl status` shows those of \
                   systemd";
        return vec![Finding::problem(TOPIC, what).fix(fix)];
    }
    let mut findings: Vec<Finding> = looked_up
        .iter()
        .filter_map(|(name, answer)| {
            let why = match answer {
                Ok(_) => return None,
                Err(Some(why)) => format!("{name} cannot be resolved: {why}"),
                Err(None) => format!("nothing was said about {name} within {span}"),
            };
            let fix = format!("is the name right? getent hosts {name}");
            Some(Finding::problem(TOPIC, why).fix(fix))
        })
        .collect();
    if findings.len() > TOLD {
        let more = findings.len() - TOLD;
        findings.truncate(TOLD);
        findings.push(Finding::problem(TOPIC, format!("so it is with {more} other names")));
    }
    let found: Vec<Duration> =
        looked_up.iter().filter_map(|(_, answer)| answer.as_ref().ok().copied()).collect();
    if let Some(slowest) = found.iter().max() {
        let of = if all > MOST { format!(" (of {all}; no more are tried)") } else { String::new() };
        let (count, slowest) = (found.len(), slowest.as_millis());
        let what = format!("names that resolve: {count}{of}, the slowest in {slowest} ms");
        findings.push(Finding::ok(TOPIC, what));
    }
    findings
}

/// The name servers, in words.
async fn servers() -> String {
    let text = tokio::fs::read_to_string("/etc/resolv.conf").await.unwrap_or_default();
    let servers: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .map(str::trim)
        .collect();
    match servers.as_slice() {
        [] => "/etc/resolv.conf names none".to_owned(),
        servers => format!("/etc/resolv.conf names {}", servers.join(", ")),
    }
}

/// The names that channels and checks need, each once.
fn names(plan: &Plan) -> BTreeSet<String> {
    let endpoints = plan.channels.iter().flat_map(|channel| channel.channel.endpoints());
    let mut names: BTreeSet<String> = endpoints.map(|endpoint| endpoint.host).collect();
    let mut files: Vec<&str> = plan
        .checks
        .iter()
        .filter_map(|check| check.source.as_deref().map(|file| file.text.as_str()))
        .collect();
    files.sort_unstable();
    files.dedup();
    for text in files {
        let Ok(file) = toml::from_str::<toml::Table>(text) else { continue };
        let checks = file.get("check").and_then(toml::Value::as_array).into_iter().flatten();
        for table in checks.filter_map(toml::Value::as_table).flatten() {
            let Some(table) = table.1.as_table() else { continue };
            // Who asks another server, or has a proxy ask, does not need ours.
            if !table.contains_key("resolver") && !table.contains_key("proxy") {
                gather(table, &mut names);
            }
        }
    }
    names.retain(|name| is_name(name));
    names
}

fn gather(table: &toml::Table, names: &mut BTreeSet<String>) {
    for (key, value) in table.iter().filter(|(key, _)| KEYS.contains(&key.as_str())) {
        match value {
            toml::Value::String(text) => names.extend(host_of(text)),
            toml::Value::Array(texts) => {
                names.extend(texts.iter().filter_map(toml::Value::as_str).filter_map(host_of));
            }
            toml::Value::Table(table) if key != "url" => gather(table, names),
            _ => {}
        }
    }
}

/// The host of a URL, of `host:port`, or of a host alone.
fn host_of(text: &str) -> Option<String> {
    if text.contains("://") {
        return Url::parse(text).ok()?.host_str().map(str::to_owned);
    }
    let host = match text.rsplit_once(':') {
        Some((host, port)) if port.chars().all(|c| c.is_ascii_digit()) => host,
        _ => text,
    };
    Some(host.to_owned())
}

/// Whether it is a name at all: not an address, not this machine, not a secret.
fn is_name(name: &str) -> bool {
    let plain = name.trim_matches(['[', ']']);
    plain.parse::<IpAddr>().is_err()
        && plain != "localhost"
        && plain != PLACEHOLDER_HOST
        && !plain.is_empty()
        && plain.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
}

#[cfg(test)]
mod tests {
    use super::{gather, is_name};
    use std::collections::BTreeSet;

    #[test]
    fn the_names_of_a_check_are_those_that_it_connects_to() {
        let check = |text: &str, expected: &[&str]| {
            let mut names = BTreeSet::new();
            gather(&toml::from_str(text).unwrap(), &mut names);
            names.retain(|name| is_name(name));
            let found: Vec<&str> = names.iter().map(String::as_str).collect();
            assert_eq!(found, expected, "{text}");
        };
        check(
            "url = \"https://shop.example/a\"\nbody = \"https://not.example\"",
            &["shop.example"],
        );
        check("url = \"postgres://a:${PASSWORD}@db.example/b\"", &["db.example"]);
        check("address = \"db.example:5432\"", &["db.example"]);
        check("address = \"[::1]:5432\"", &[]);
        check("url = \"http://127.0.0.1:1\"", &[]);
        check("url = \"${SHOP_URL}\"", &[]);
        check(
            "reference = [\"https://a.example\", \"https://b.example\"]",
            &["a.example", "b.example"],
        );
        check("oauth2 = { token_url = \"https://id.example\" }", &["id.example"]);
        check("name = \"asked.example\"\nserver = \"ns.example\"", &["ns.example"]);
    }
}
