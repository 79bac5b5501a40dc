//! Whether channels can be reached, without sending any message, and whether the clock is right.

use super::finding::Finding;
use crate::app::plan::Plan;
use crate::check::support::tls::{TlsOptions, client_config};
use crate::clock::{Clock, System};
use crate::config::PLACEHOLDER_HOST;
use crate::deliver::support::tls_problem;
use crate::deliver::{Endpoint, Net, Protocol};
use crate::process::{self, Call, Leftovers, Program};
use chrono::DateTime;
use futures_util::future::join_all;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::TcpStream;
use url::Url;

const CHANNELS: &str = "channels";
const CLOCK: &str = "clock";

/// How far the clock may be off before it is told, and before it is a problem, in milliseconds.
/// An HTTP date has whole seconds, and an answer takes its time.
const OFF: i64 = 5_000;
const FAR_OFF: i64 = 60_000;

/// What a server said the time is.
#[derive(Clone, Debug)]
pub struct Said {
    /// Who said it.
    host: String,
    /// How far this machine's clock is ahead of it, in milliseconds.
    ahead: i64,
}

/// Connects to each channel's servers, and says what they take the time for.
pub async fn channels(plan: &Plan, patience: Duration) -> (Vec<Finding>, Vec<Said>) {
    let clock: Arc<dyn Clock> = Arc::new(System::start());
    let net = match Net::new(Arc::clone(&clock)) {
        Ok(net) => net,
        Err(error) => {
            let what = format!("this machine has no usable TLS: {error}");
            let fix = "apt-get install ca-certificates";
            return (vec![Finding::problem(CHANNELS, what).fix(fix)], Vec::new());
        }
    };
    let tries = plan.channels.iter().map(|channel| {
        let net = &net;
        async move {
            let endpoints = channel.channel.endpoints();
            let name = &channel.name;
            if endpoints.is_empty() {
                let what = format!("{name}: a {} needs no network", channel.kind.name);
                return vec![(Finding::ok(CHANNELS, what), None)];
            }
            join_all(endpoints.iter().map(|endpoint| one(name, endpoint, net, patience))).await
        }
    });
    let (mut findings, mut clocks) = (Vec::new(), Vec::new());
    for (finding, said) in join_all(tries).await.into_iter().flatten() {
        findings.push(finding);
        clocks.extend(said);
    }
    (findings, clocks)
}

async fn one(
    channel: &str,
    endpoint: &Endpoint,
    net: &Net,
    patience: Duration,
) -> (Finding, Option<Said>) {
    let Endpoint { host, port, protocol } = endpoint;
    if host == PLACEHOLDER_HOST {
        let what = format!("{channel}: its address is not known here, so it was not tried");
        return (Finding::ok(CHANNELS, what), None);
    }
    let place = format!("{host}:{port}");
    let try_it = async {
        match protocol {
            Protocol::Http | Protocol::Https => knock(endpoint, net).await,
            Protocol::Smtp | Protocol::Smtps => greet(endpoint).await.map(|()| None),
        }
    };
    let command = match protocol {
        Protocol::Https => format!("curl -sSI -o /dev/null https://{place}/"),
        Protocol::Http => format!("curl -sSI -o /dev/null http://{place}/"),
        Protocol::Smtp | Protocol::Smtps => format!("nc -vz {host} {port}"),
    };
    let why = match tokio::time::timeout(patience, try_it).await {
        Ok(Ok(said)) => {
            let what = format!("{channel}: {place} answers; no message was sent");
            return (Finding::ok(CHANNELS, what), said);
        }
        Ok(Err(why)) => why,
        Err(_elapsed) => format!("no answer within {}", humantime::format_duration(patience)),
    };
    let finding = Finding::problem(CHANNELS, format!("{channel}: {place}: {why}"));
    (finding.fix(format!("see what is in the way (firewall, proxy, name): {command}")), None)
}

/// Asks for the head of the server's root: what it answers does not matter.
async fn knock(endpoint: &Endpoint, net: &Net) -> Result<Option<Said>, String> {
    let Endpoint { host, port, protocol } = endpoint;
    let scheme = if *protocol == Protocol::Https { "https" } else { "http" };
    let url = Url::parse(&format!("{scheme}://{host}:{port}/")).map_err(|e| e.to_string())?;
    let start = net.clock.now().mono;
    let asked = net.clock.wall();
    let answer = net.http.head(url).send().await.map_err(|error| {
        tls_problem(&error).unwrap_or_else(|| {
            // The innermost cause says it best, and names no address.
            let mut cause: &dyn std::error::Error = &error;
            while let Some(next) = cause.source() {
                cause = next;
            }
            cause.to_string()
        })
    })?;
    let took = net.clock.now().mono.saturating_sub(start).as_millis();
    let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok());
    let half = i64::try_from(took / 2).unwrap_or(0);
    Ok(date.map(|date| Said {
        host: host.clone(),
        ahead: asked.as_millis() + half - date.timestamp_millis(),
    }))
}

/// Waits for the greeting of a mail server.
async fn greet(endpoint: &Endpoint) -> Result<(), String> {
    let Endpoint { host, port, protocol } = endpoint;
    let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|e| e.to_string())?;
    if *protocol == Protocol::Smtp {
        return greeting(stream).await;
    }
    // Whether the certificate can be trusted the first mail tells: the channel may name an
    // authority of its own.
    let options = TlsOptions { insecure_skip_verify: true, ..TlsOptions::default() };
    let connector = tokio_rustls::TlsConnector::from(client_config(&options, &[])?);
    let name = rustls_pki_types::ServerName::try_from(host.clone()).map_err(|e| e.to_string())?;
    let stream = connector.connect(name, stream).await.map_err(|error| {
        tls_problem(&error).unwrap_or_else(|| format!("no TLS connection: {error}"))
    })?;
    greeting(stream).await
}

async fn greeting(mut stream: impl AsyncRead + Unpin) -> Result<(), String> {
    let mut start = [0_u8; 3];
    stream.read_exact(&mut start).await.map_err(|error| error.to_string())?;
    match &start {
        b"220" => Ok(()),
        other => Err(format!(
            "it does not greet as a mail server does (220), but with `{}`",
            String::from_utf8_lossy(other).escape_default()
        )),
    }
}

/// Compares the clock with what servers said, and asks whether it is kept in time.
pub async fn clock(plan: &Plan, mut said: Vec<Said>, patience: Duration) -> Vec<Finding> {
    if said.is_empty() {
        let asked = tokio::time::timeout(patience, ask_a_check(plan)).await;
        said.extend(asked.ok().flatten());
    }
    let mut findings = Vec::new();
    let ntp = tokio::time::timeout(patience, synchronised()).await.ok().flatten();
    // Who is nearest to us is right: one of them may be wrong itself.
    match said.iter().min_by_key(|said| said.ahead.abs()) {
        Some(said) => findings.push(offset(said)),
        None if ntp.is_none() => {
            let what = "there is nobody to compare it with: no server of a channel or check said \
                        what time it is, and timedatectl does not answer";
            findings.push(Finding::warning(CLOCK, what).fix("compare it by hand: date -u"));
        }
        None => {}
    }
    findings.extend(match ntp {
        Some(true) => Some(Finding::ok(CLOCK, "timedatectl: it is synchronised")),
        Some(false) => {
            let what = "timedatectl: it is not synchronised, so it may drift";
            let fix = "timedatectl set-ntp true (on a container: do it on its host)";
            Some(Finding::warning(CLOCK, what).fix(fix))
        }
        None => None,
    });
    findings
}

fn offset(said: &Said) -> Finding {
    let Said { host, ahead } = said;
    #[expect(clippy::cast_precision_loss, reason = "it is shown with one digit")]
    let seconds = ahead.unsigned_abs() as f64 / 1000.0;
    let way = if *ahead >= 0 { "ahead of" } else { "behind" };
    let what = format!("it is {seconds:.1} s {way} what {host} says (Date header)");
    let fix = "timedatectl set-ntp true, or start chrony";
    match ahead.abs() {
        FAR_OFF.. => Finding::problem(CLOCK, what).fix(fix),
        OFF.. => Finding::warning(CLOCK, what).fix(fix),
        _ => Finding::ok(CLOCK, what),
    }
}

/// Asks the server of a check of the kind `http`.
async fn ask_a_check(plan: &Plan) -> Option<Said> {
    let net = Net::new(Arc::new(System::start())).ok()?;
    let texts = plan.checks.iter().filter_map(|check| {
        let table = check.source.as_deref().filter(|_| check.kind.name == "http")?;
        toml::from_str::<toml::Table>(&table.text).ok()
    });
    let urls = texts.flat_map(|file| {
        let checks = file.get("check").and_then(toml::Value::as_array).cloned();
        let url = |check: toml::Value| check.get("http")?.get("url")?.as_str().map(str::to_owned);
        checks.into_iter().flatten().filter_map(url).collect::<Vec<String>>()
    });
    for url in urls {
        let endpoint = Url::parse(&url).ok().and_then(|url| Endpoint::of(&url));
        let Some(endpoint) = endpoint else { continue };
        if let Ok(Some(said)) = knock(&endpoint, &net).await {
            return Some(said);
        }
    }
    None
}

/// Whether the system keeps the clock in time; none where it does not say.
async fn synchronised() -> Option<bool> {
    let words = ["timedatectl", "show", "--property=NTPSynchronized", "--value"];
    let said = output(&words).await?;
    match said.trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// What a program of the system prints; none if it fails or is not there.
pub async fn output(words: &[&str]) -> Option<String> {
    const MOST: usize = 65_536;
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    let program = Program::new(words, Path::new("/")).ok()?;
    let call = Call {
        stdin: b"",
        environment: &[("LC_ALL", "C")],
        max_stdout: MOST,
        max_stderr: 0,
        leftovers: Leftovers::Kill,
    };
    let ended = process::run(&program, call).await.ok()?;
    ended.status.success().then(|| ended.stdout.text())
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::{Said, offset};

    #[test]
    fn a_clock_that_is_far_off_is_a_problem() {
        let check = |ahead: i64, level: Level, words: &str| {
            let found = offset(&Said { host: "a.example".to_owned(), ahead });
            assert_eq!((found.level, found.what.contains(words)), (level, true), "{found:?}");
            assert_eq!(found.fixes.is_empty(), level == Level::Ok);
        };
        check(800, Level::Ok, "0.8 s ahead of what a.example says");
        check(-4_900, Level::Ok, "4.9 s behind");
        check(-20_000, Level::Warning, "20.0 s behind");
        check(3_600_000, Level::Problem, "3600.0 s ahead of");
    }
}
