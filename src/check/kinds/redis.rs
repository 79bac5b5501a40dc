//! Redis and what speaks like it (Valkey, DragonflyDB): a fresh connection each run, PING, INFO,
//! and what the user wants to know of keys, streams, a cluster or sentinels.

mod cluster;
mod facts;
mod info;
mod keys;
mod router;
mod sentinel;
#[cfg(test)]
mod tests;
mod trouble;
mod wire;

use crate::check::support::dial::Target;
use crate::check::support::hide::{Hidden, decoded};
use crate::check::support::millis;
use crate::check::support::tls::{CA_FILE, CERT_FILE, INSECURE_SKIP_VERIFY, KEY_FILE, read_mutual};
use crate::check::support::value::kept_fact_of;
use crate::check::{Check, Kind, Run};
use crate::config::Section;
use crate::model::{Fact, Facts, Observation, OptionDoc, Verdict};
use async_trait::async_trait;
use info::Info;
use router::Router;
use sentinel::Sentinels;
use serde_json::{Map, Value as Json};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use trouble::Trouble;
use url::{Host, Url};
use wire::{Login, Place, Wire};

/// Watches a Redis server, a cluster of them, or a master and its sentinels.
pub const KIND: Kind = Kind {
    name: "redis",
    summary: "Redis, Valkey or DragonflyDB: a server, a whole cluster, sentinels, keys, streams",
    options: &[
        OptionDoc::new(
            "url",
            "secret",
            "required",
            "where it is: redis://user:password@host:6379/0, or rediss:// for TLS; any node of a \
             cluster; with `sentinel` the host does not count, but all else is the master's",
        ),
        OptionDoc::new(
            "cluster",
            "boolean",
            "false",
            "the server is a node of a cluster: ask all of its nodes, and send `command`, `key` \
             and `stream` to the node that has the key",
        ),
        OptionDoc::new(
            "nodes",
            "list",
            "",
            "with `cluster`: other nodes as host:port, to start from where that of `url` is away; \
             those of the last run are known anyway",
        ),
        OptionDoc::new(
            "sentinel",
            "table",
            "",
            "{master = \"mymaster\", addresses = [\"host:26379\", …]}, and `username` and \
             `password` of the sentinels: ask all of them where the master is; by TLS where `url` \
             is",
        )
        .keys(&[
            OptionDoc::new("master", "string", "required", "the name of the group"),
            OptionDoc::new("addresses", "list", "required", "all sentinels, as host:port"),
            OptionDoc::new("username", "string", "", "the user of the sentinels"),
            OptionDoc::new("password", "secret", "", "the password of the sentinels"),
        ]),
        OptionDoc::new(
            "command",
            "list",
            "",
            "what to ask beside PING and INFO, such as [\"LLEN\", \"jobs\"]; see the fact `value`",
        ),
        OptionDoc::new("key", "string", "", "a key to look at: see the facts `key_…`"),
        OptionDoc::new(
            "stream",
            "list",
            "",
            "a stream, or several, to look at with consumer groups: see the facts `stream_…`",
        )
        .or("string"),
        CA_FILE,
        CERT_FILE,
        KEY_FILE,
        INSECURE_SKIP_VERIFY,
    ],
    facts: facts::FACTS,
    example: r#"[[check]]
name = "sessions-cluster"
every = "30s"
expect = ["cluster_state == 'ok'", "slots_ok == 16384"]
degraded_if = [
  "nodes_failed > 0",
  "nodes_unreachable > 0",
  "nodes_disagreeing > 0",
  "memory_used_percent > 90.0",
  # "masters_without_replica > 0",     # where each master should have one
]
[check.redis]
url = "redis://127.0.0.1:7000"         # any node; with a login: redis://user:password@host:port
cluster = true                         # the others are found by themselves
"#,
    well: "an answer to PING and to the command, and a cluster whose state is ok",
    parse,
};

const SCHEMES: &[&str] = &["redis", "rediss", "valkey", "valkeys", "redis+unix", "unix"];

/// Commands that turn the connection into a stream and never answer.
const STREAMS: &[&str] = &["MONITOR", "PSUBSCRIBE", "PSYNC", "SSUBSCRIBE", "SUBSCRIBE", "SYNC"];

struct Redis {
    place: Place,
    login: Login,
    cluster: bool,
    nodes: Vec<Place>,
    sentinel: Option<Sentinels>,
    command: Option<Vec<String>>,
    key: Option<String>,
    streams: Vec<String>,
    hidden: Hidden,
    memory: Mutex<Memory>,
}

/// What a check knows from its last run.
#[derive(Default)]
struct Memory {
    info: info::Memory,
    nodes: Vec<Place>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("target", &self.place.to_string()).finish_non_exhaustive()
    }
}

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Check>> {
    let place = section.place_of("url");
    let url = if section.has("url") {
        section.url("url", SCHEMES)
    } else {
        section.required::<String>("url");
        None
    };
    let cluster = section.or("cluster", false);
    let nodes = section.built("nodes", |texts: Vec<String>| {
        let parse = |text: &String| {
            let target = Target::parse(text).ok_or_else(|| format!("`{text}` is not host:port"))?;
            Ok(Place::Tcp(target))
        };
        texts.iter().map(parse).collect::<Result<Vec<_>, String>>()
    });
    let sentinel_place = section.place_of("sentinel");
    let (sentinel, sentinel_is_wrong) = match section.table("sentinel") {
        Some(mut table) => {
            let sentinel = sentinel::parse(&mut table);
            section.finish_child(table);
            let wrong = sentinel.is_none();
            (sentinel, wrong)
        }
        None => (None, false),
    };
    if cluster && sentinel.is_some() {
        section.error_at(&sentinel_place, "does not go with `cluster`: a cluster has none");
    }
    let command = section.built("command", |words: Vec<String>| {
        let Some(name) = words.first().filter(|name| !name.trim().is_empty()) else {
            return Err("is empty (such as [\"LLEN\", \"jobs\"])".to_owned());
        };
        if STREAMS.contains(&name.to_ascii_uppercase().as_str()) {
            return Err(format!("`{name}` never answers: use a command that does"));
        }
        Ok(words)
    });
    let key = section.optional::<String>("key");
    let streams = section.built("stream", |value: toml::Value| match value {
        toml::Value::String(one) => Ok(vec![one]),
        toml::Value::Array(all) => {
            let texts = all.iter().map(|one| one.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().ok_or_else(|| "is a list of names".to_owned())
        }
        _ => Err("is a name, or a list of names".to_owned()),
    });
    let tls = read_mutual(section, &[]);
    let url = url?;
    let mut hidden = Hidden::of(&url);
    let read = read_url(&url).map_err(|what| {
        section.report(place.error(format!("is not usable: {}", hidden.clean(&what))));
    });
    let (at, mut login, secure) = read.ok()?;
    if secure {
        login.tls = Some(tls?);
    }
    if let Some(password) = sentinel.as_ref().and_then(Sentinels::password) {
        hidden.add(password);
    }
    if sentinel_is_wrong {
        return None;
    }
    Some(Box::new(Redis {
        place: at,
        login,
        cluster,
        nodes: nodes.unwrap_or_default(),
        sentinel,
        command,
        key,
        streams: streams.unwrap_or_default(),
        hidden,
        memory: Mutex::default(),
    }))
}

/// Where a URL leads, how to log in there, and whether by TLS.
fn read_url(url: &Url) -> Result<(Place, Login, bool), String> {
    let part = |text: &str| Some(decoded(text)).filter(|text| !text.is_empty());
    let query = |name: &str| {
        let mut pairs = url.query_pairs();
        pairs.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    };
    let is_socket = url.scheme().ends_with("unix");
    let database = match is_socket {
        true => query("db"),
        false => Some(url.path().trim_start_matches('/').to_owned()),
    };
    let database = match database.as_deref() {
        None | Some("") => 0,
        Some(text) => text.parse().map_err(|_| "Invalid database number".to_owned())?,
    };
    let login = Login {
        user: part(url.username()).or_else(|| query("user")),
        password: url.password().and_then(part).or_else(|| query("pass")),
        database,
        tls: None,
    };
    if is_socket {
        return Ok((Place::Socket(decoded(url.path()).into()), login, false));
    }
    let host = match url.host_str() {
        None | Some("") => "127.0.0.1",
        Some(host) => host,
    };
    let host = Host::parse(host).map_err(|_| "the host is none".to_owned())?;
    let target = Target { host, port: url.port().unwrap_or(6379) };
    Ok((Place::Tcp(target), login, matches!(url.scheme(), "rediss" | "valkeys")))
}

#[async_trait]
impl Check for Redis {
    async fn run(&self, run: &Run) -> Observation {
        let mut facts = Facts::default();
        let observed = self.observe(run, &mut facts).await;
        // What single nodes and sentinels said: a server may repeat what it was asked.
        for told in ["nodes", "sentinels"] {
            self.hidden.clean_fact(&mut facts, told);
        }
        match observed {
            Ok(()) => Observation::found(facts),
            Err(words) => Observation::failed(facts, self.hidden.clean(&words)),
        }
    }

    fn sense(&self, observation: &Observation) -> Verdict {
        if let Some(Fact::Text(state)) = observation.facts.get("cluster_state")
            && &**state != "ok"
        {
            return Verdict::down(format!("the state of the cluster is {state}"));
        }
        match observation.facts.get("sentinel_quorum_ok") {
            Some(Fact::Bool(false)) => Verdict::down("the sentinels could not fail over"),
            _ => Verdict::UP,
        }
    }
}

impl Redis {
    async fn observe(&self, run: &Run, facts: &mut Facts) -> Result<(), String> {
        let clock = &*run.shared.clock;
        // One that hangs leaves time for the others.
        let patience = run.timeout.mul_f64(0.4);
        let places = match &self.sentinel {
            Some(sentinel) => {
                vec![sentinel.observe(&self.login, clock, patience, facts).await?]
            }
            None => self.seeds(),
        };
        let mut wire = self.connect(&places, run, facts).await?;
        let target = wire.place.to_string();
        let words = |trouble: Trouble| trouble.words(&target);
        if let Some(chain) = &wire.chain {
            chain.note_days(clock.wall(), facts);
        }
        let start = clock.now().mono;
        wire.ask(&["PING"]).await.map_err(words)?;
        facts.set("ping_ms", millis(clock.now().mono.saturating_sub(start)));

        let mut unavailable = Map::new();
        let result = self.look(wire, run, facts, &mut unavailable).await.map_err(words);
        facts.set("unavailable", Json::Object(unavailable));
        result
    }

    /// Where to start: what the user said, and what the last run knew.
    fn seeds(&self) -> Vec<Place> {
        let mut places = vec![self.place.clone()];
        if self.cluster {
            let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            for place in self.nodes.iter().chain(&memory.nodes) {
                if !places.contains(place) {
                    places.push(place.clone());
                }
            }
        }
        places
    }

    /// Connects to the first of `places` that answers.
    async fn connect(
        &self,
        places: &[Place],
        run: &Run,
        facts: &mut Facts,
    ) -> Result<Wire, String> {
        let clock = &*run.shared.clock;
        let mut first = None;
        for place in places {
            let connecting = Wire::connect(place, &self.login, clock);
            let connected = match places {
                // Nobody else wants the time.
                [_] => connecting.await,
                _ => tokio::time::timeout(run.timeout / 5, connecting)
                    .await
                    .unwrap_or(Err(Trouble::Late)),
            };
            match connected {
                Ok(wire) => return Ok(wire),
                Err(trouble) => {
                    if let Trouble::Dial { chain: Some(chain), .. } = &trouble {
                        chain.note_days(clock.wall(), facts);
                    }
                    first.get_or_insert(trouble.words(&place.to_string()));
                }
            }
        }
        Err(first.unwrap_or_default())
    }

    /// All that is asked once the server answers.
    async fn look(
        &self,
        mut wire: Wire,
        run: &Run,
        facts: &mut Facts,
        unavailable: &mut Map<String, Json>,
    ) -> Result<(), Trouble> {
        let clock = &*run.shared.clock;
        let wall = clock.wall().as_millis();
        // What the user may not do is left out and said; what else goes wrong ends the run.
        let mut allowed = |what: &str, result: Result<(), Trouble>| match result {
            Err(trouble) if trouble.is_about_rights() => {
                unavailable.insert(what.to_owned(), trouble.words("").into());
                Ok(())
            }
            other => other,
        };
        let said = wire.ask(&["INFO"]).await;
        allowed(
            "INFO",
            said.map(|reply| {
                let info = Info::read(reply.text().unwrap_or_default());
                info::note(&info, self.login.database, wall / 1000, facts);
                let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
                info::note_since(&info, &mut memory.info, clock.now().mono, facts);
            }),
        )?;
        if self.cluster {
            let patience = run.timeout.mul_f64(0.4);
            let seen = cluster::observe(&mut wire, &self.login, clock, patience, facts).await;
            let seen = seen.map(|nodes| {
                self.memory.lock().unwrap_or_else(PoisonError::into_inner).nodes = nodes;
            });
            allowed("CLUSTER", seen)?;
        }
        let mut router = Router::new(wire, &self.login, clock);
        if let Some(command) = &self.command {
            let words: Vec<&str> = command.iter().map(String::as_str).collect();
            let answer = if self.cluster {
                router.ask(&words).await?
            } else {
                router.ask_here(&words).await?
            };
            if let Some(value) = kept_fact_of(answer.into_json()) {
                facts.set("value", value);
            }
        }
        if let Some(key) = &self.key {
            allowed("key", keys::key(&mut router, key, facts).await)?;
        }
        if !self.streams.is_empty() {
            let mut worst = keys::Worst::default();
            for stream in &self.streams {
                allowed(stream, worst.look(&mut router, stream, wall).await)?;
            }
            worst.note(facts);
        }
        Ok(())
    }
}
