//! Sentinels, and the master that they watch.
//!
//! See <https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/>.

use super::trouble::Trouble;
use super::wire::{Login, Place, Wire};
use crate::check::support::dial::Target;
use crate::check::support::value::excerpt;
use crate::clock::Clock;
use crate::config::Section;
use crate::model::Facts;
use futures_util::future::join_all;
use serde_json::{Map, Value as Json, json};
use std::time::Duration;
use url::Host;

/// The port of a sentinel whose address names none.
const PORT: u16 = 26379;

/// The table `sentinel`.
pub struct Sentinels {
    /// The name of the master.
    master: String,
    addresses: Vec<Target>,
    login: Login,
}

/// What one sentinel says.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    master: Place,
    flags: String,
    quorum: i64,
    others: i64,
    replicas: i64,
    /// Whether enough of them could agree, and could have one do the failover.
    quorum_ok: bool,
}

/// Reads the table.
pub fn parse(section: &mut Section<'_>) -> Option<Sentinels> {
    let master = section.required::<String>("master");
    let addresses = section.required_built("addresses", |texts: Vec<String>| {
        if texts.is_empty() {
            return Err("is empty: name all sentinels, such as [\"10.0.0.1:26379\"]".to_owned());
        }
        texts.iter().map(|text| address(text)).collect::<Result<Vec<_>, _>>()
    });
    let user = section.optional::<String>("username");
    let password = section.secret("password").map(|secret| secret.expose().to_owned());
    let login = Login { user, password, ..Login::default() };
    Some(Sentinels { master: master?, addresses: addresses?, login })
}

/// Reads `host` or `host:port`.
fn address(text: &str) -> Result<Target, String> {
    let bare = || Target::parse(&format!("{text}:{PORT}"));
    Target::parse(text).or_else(bare).ok_or_else(|| format!("`{text}` is not host:port"))
}

impl Sentinels {
    /// What must not show in an error.
    pub fn password(&self) -> Option<&str> {
        self.login.password.as_deref()
    }

    /// Puts what the sentinels say among `facts`, and gives where the master is. `tls` is that of
    /// the master.
    ///
    /// # Errors
    ///
    /// No sentinel knows it, in words.
    pub async fn observe(
        &self,
        master: &Login,
        clock: &dyn Clock,
        patience: Duration,
        facts: &mut Facts,
    ) -> Result<Place, String> {
        let login = Login { tls: master.tls.clone(), ..self.login.clone() };
        let answers = join_all(self.addresses.iter().map(|target| {
            let place = Place::Tcp(target.clone());
            let login = &login;
            async move {
                let asked = tokio::time::timeout(patience, self.ask(&place, login, clock)).await;
                asked.unwrap_or(Err(Trouble::Late)).map_err(|it| it.words(&place.to_string()))
            }
        }))
        .await;

        let mut map = Map::new();
        for (target, answer) in self.addresses.iter().zip(&answers) {
            let said = match answer {
                Ok(said) => json!({"reachable": true, "master": said.master.to_string(),
                                   "flags": said.flags, "quorum": said.quorum}),
                Err(error) => json!({"reachable": false, "error": error}),
            };
            map.insert(target.to_string(), said);
        }
        facts.set("sentinels", Json::Object(map));
        let said: Vec<&Said> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
        facts.set("sentinels_reachable", i64::try_from(said.len()).unwrap_or(i64::MAX));
        // The most common answer; of two that are as common, the first.
        let agreeing = |one: &Said| said.iter().filter(|it| it.master == one.master).count();
        let Some(most) = said.iter().rev().max_by_key(|one| agreeing(one)) else {
            facts.set("sentinel_quorum_ok", false);
            let why: Vec<String> = answers.into_iter().filter_map(Result::err).collect();
            return Err(format!("no sentinel tells of `{}`: {}", self.master, why.join("; ")));
        };
        facts.set("sentinel_master", most.master.to_string());
        facts.set("sentinels_agree", agreeing(most) == said.len());
        // The one that has seen most of a trouble says most of it.
        let flags = said.iter().map(|it| it.flags.as_str()).max_by_key(|flags| flags.len());
        facts.set("sentinel_flags", flags.unwrap_or_default());
        let failing = said.iter().any(|it| it.flags.contains("failover_in_progress"));
        facts.set("failover_in_progress", failing);
        facts.set("sentinel_quorum", most.quorum);
        facts.set("sentinel_quorum_ok", said.iter().any(|it| it.quorum_ok));
        facts.set("sentinels_known", most.others.saturating_add(1));
        facts.set("sentinel_replicas", most.replicas);
        Ok(most.master.clone())
    }

    async fn ask(&self, place: &Place, login: &Login, clock: &dyn Clock) -> Result<Said, Trouble> {
        let mut wire = Wire::connect(place, login, clock).await?;
        let reply = wire.ask(&["SENTINEL", "MASTER", &self.master]).await?;
        let fields = reply.fields();
        let text = |name: &str| fields.get(name).and_then(|reply| reply.text());
        let number = |name: &str| fields.get(name).and_then(|reply| reply.int()).unwrap_or(0);
        let port = u16::try_from(number("port")).ok();
        let host = text("ip").and_then(|ip| match ip.parse() {
            Ok(address) => Some(Host::Ipv6(address)),
            Err(_) => Host::parse(ip).ok(),
        });
        let (Some(host), Some(port)) = (host, port) else {
            return Err(Trouble::garbage("a master without an address"));
        };
        let quorum_ok = match wire.ask(&["SENTINEL", "CKQUORUM", &self.master]).await {
            Ok(_) => true,
            Err(trouble) if trouble.is_an_answer() => false,
            Err(trouble) => return Err(trouble),
        };
        Ok(Said {
            master: Place::Tcp(Target { host, port }),
            flags: excerpt(text("flags").unwrap_or_default(), 200),
            quorum: number("quorum"),
            others: number("num-other-sentinels"),
            replicas: number("num-slaves"),
            quorum_ok,
        })
    }
}
