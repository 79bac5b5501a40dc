//! Redis and what speaks like it (Valkey, DragonflyDB): a fresh connection each run, PING, INFO,
//! and a command of the user's choice.

#[cfg(test)]
mod tests;

use crate::check::support::hide::Hidden;
use crate::check::support::value::{excerpt, kept_fact_of};
use crate::check::{Check, Kind, Run};
use crate::config::Section;
use crate::model::{Fact, FactSpec, FactType, Facts, Observation, OptionDoc, Verdict};
use async_trait::async_trait;
use redis::aio::ConnectionLike;
use redis::cluster::ClusterClientBuilder;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError,
    ServerErrorKind, Value,
};
use serde_json::Value as Json;
use std::collections::HashMap;
use std::fmt;

/// Watches a Redis server.
pub const KIND: Kind = Kind {
    name: "redis",
    summary: "a Redis, Valkey or DragonflyDB server: PING, what INFO says, and a command",
    options: &[
        OptionDoc::new(
            "url",
            "secret",
            "required",
            "where it is: redis://user:password@host:6379/0, or rediss:// for TLS",
        ),
        OptionDoc::new(
            "cluster",
            "boolean",
            "false",
            "the server is a node of a cluster: watch `cluster_state`, and send `command` to the \
             node that has its key",
        ),
        OptionDoc::new(
            "command",
            "list",
            "",
            "what to ask beside PING and INFO, such as [\"LLEN\", \"jobs\"]; see the fact `value`",
        ),
    ],
    facts: &[
        FactSpec::kept("ping_ms", FactType::Double, "ms", "time from PING to PONG"),
        FactSpec::kept(
            "value",
            FactType::Any,
            "",
            "what `command` answered; texts stay texts (\"5\"), and are cut at 4 KiB",
        ),
        FactSpec::kept(
            "role",
            FactType::Text,
            "",
            "master or slave, in the server's own word (DragonflyDB says replica)",
        ),
        FactSpec::kept("version", FactType::Text, "", "the version of the server"),
        FactSpec::kept("uptime_seconds", FactType::Int, "s", "time since the server started"),
        FactSpec::kept("memory_used_bytes", FactType::Int, "B", "memory of the data set"),
        FactSpec::kept(
            "memory_used_percent",
            FactType::Double,
            "%",
            "memory of the data set, of maxmemory; of the machine's memory where that has no limit",
        ),
        FactSpec::kept("connected_clients", FactType::Int, "", "clients, without replicas"),
        FactSpec::kept(
            "blocked_clients",
            FactType::Int,
            "",
            "clients that wait in a call such as BLPOP",
        ),
        FactSpec::kept(
            "rejected_connections",
            FactType::Int,
            "",
            "connections refused over maxclients since the start",
        ),
        FactSpec::kept("evicted_keys", FactType::Int, "", "keys dropped over maxmemory, in all"),
        FactSpec::kept(
            "keyspace_hits_percent",
            FactType::Double,
            "%",
            "lookups that found their key, since the start; absent before the first lookup",
        ),
        FactSpec::kept("connected_replicas", FactType::Int, "", "replicas of this server"),
        FactSpec::kept(
            "replication_lag_bytes",
            FactType::Int,
            "B",
            "on a master: how far the worst of its replicas is behind, 0 without one; on a \
             replica: what it received and has not applied, absent while its master is away",
        ),
        FactSpec::kept(
            "master_link_up",
            FactType::Bool,
            "",
            "on a replica: whether it has its master",
        ),
        FactSpec::kept(
            "master_last_io_seconds",
            FactType::Int,
            "s",
            "on a replica: time since it heard of its master; absent while that is away",
        ),
        FactSpec::kept(
            "cluster_state",
            FactType::Text,
            "",
            "with `cluster`: ok, or fail where slots are not served",
        ),
    ],
    example: r#"[[check]]
name = "sessions-cache"
every = "30s"
expect = ["role == 'master'", "memory_used_percent < 90.0"]
degraded_if = ["connected_replicas < 1", "int(value) > 1000"]
[check.redis]
url = "redis://:secret@cache.example:6379/0"
command = ["LLEN", "jobs"]
"#,
    well: "an answer to PING and to the command, and a cluster whose state is ok",
    parse,
};

/// How much of a server's message goes into an error.
const MOST_WORDS: usize = 300;

/// Commands that turn the connection into a stream and never answer.
const STREAMS: &[&str] = &["MONITOR", "PSUBSCRIBE", "PSYNC", "SSUBSCRIBE", "SUBSCRIBE", "SYNC"];

struct Redis {
    info: ConnectionInfo,
    client: Client,
    cluster: bool,
    command: Option<Vec<String>>,
    hidden: Hidden,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("target", &self.info.addr()).finish_non_exhaustive()
    }
}

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Check>> {
    let place = section.place_of("url");
    let url = if section.has("url") {
        section.url("url", &["redis", "rediss", "valkey", "valkeys", "redis+unix", "unix"])
    } else {
        section.required::<String>("url");
        None
    };
    let cluster = section.or("cluster", false);
    let command = section.built("command", |words: Vec<String>| {
        let Some(name) = words.first().filter(|name| !name.trim().is_empty()) else {
            return Err("is empty (such as [\"LLEN\", \"jobs\"])".to_owned());
        };
        if STREAMS.contains(&name.to_ascii_uppercase().as_str()) {
            return Err(format!("`{name}` never answers: use a command that does"));
        }
        Ok(words)
    });
    let url = url?;
    let hidden = Hidden::of(&url);
    let client = url.into_connection_info().and_then(|info| {
        let settings = info.redis_settings().clone().set_lib_name("watchbell", VERSION);
        let info = info.set_redis_settings(settings);
        Ok((Client::open(info.clone())?, info))
    });
    match client {
        Ok((client, info)) => Some(Box::new(Redis { info, client, cluster, command, hidden })),
        Err(error) => {
            let text = hidden.clean(&error.to_string().replace(" - InvalidClientConfig", ""));
            section.report(place.error(format!("is not usable: {text}")));
            None
        }
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[async_trait]
impl Check for Redis {
    async fn run(&self, run: &Run) -> Observation {
        let mut facts = Facts::default();
        match self.observe(run, &mut facts).await {
            Ok(()) => Observation::found(facts),
            Err(error) => {
                let words = self.hidden.clean(&self.words(&error, &facts));
                Observation::failed(facts, words)
            }
        }
    }

    fn sense(&self, observation: &Observation) -> Verdict {
        match observation.facts.get("cluster_state") {
            Some(Fact::Text(state)) if &**state != "ok" => {
                Verdict::down(format!("the state of the cluster is {state}"))
            }
            _ => Verdict::UP,
        }
    }
}

impl Redis {
    async fn observe(&self, run: &Run, facts: &mut Facts) -> Result<(), RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(run.timeout))
            .set_response_timeout(Some(run.timeout));
        let mut connection =
            self.client.get_multiplexed_async_connection_with_config(&config).await?;

        let clock = &run.shared.clock;
        let start = clock.now().mono;
        ask(&mut connection, &["PING"]).await?;
        let taken = clock.now().mono.saturating_sub(start);
        facts.set("ping_ms", taken.as_secs_f64() * 1000.0);

        if let Some(info) = text_if_allowed(ask(&mut connection, &["INFO"]).await)? {
            info_facts(&Info::read(&info), facts);
        }
        if self.cluster {
            let answer = ask(&mut connection, &["CLUSTER", "INFO"]).await;
            if let Some(info) = text_if_allowed(answer)?
                && let Some(state) = Info::read(&info).text("cluster_state")
            {
                facts.set("cluster_state", state);
            }
        }
        if let Some(command) = &self.command {
            let answer = if self.cluster {
                ask(&mut self.whole_cluster(run).await?, command).await?
            } else {
                ask(&mut connection, command).await?
            };
            if let Some(value) = kept_fact_of(json_of(answer)) {
                facts.set("value", value);
            }
        }
        Ok(())
    }

    /// A connection that finds the node of each key.
    async fn whole_cluster(&self, run: &Run) -> Result<impl ConnectionLike + use<>, RedisError> {
        let client = ClusterClientBuilder::new([self.info.clone()])
            .connection_timeout(run.timeout)
            .response_timeout(run.timeout)
            .retries(2)
            .build()?;
        client.get_async_connection().await
    }

    /// An error in words. What was found before tells how far the run came.
    fn words(&self, error: &RedisError, facts: &Facts) -> String {
        let target = self.info.addr();
        let said = excerpt(error.detail().unwrap_or_default(), MOST_WORDS);
        match (error.kind(), error.code()) {
            (ErrorKind::AuthenticationFailed, _) => {
                "authentication failed: the server refused the user or the password".to_owned()
            }
            (_, Some("NOAUTH")) => "authentication failed: the server wants a password".to_owned(),
            (_, Some("WRONGPASS")) => format!("authentication failed: {said}"),
            (ErrorKind::Server(ServerErrorKind::NoPerm), _) => format!("permission denied: {said}"),
            (ErrorKind::Server(ServerErrorKind::BusyLoading), _) => {
                format!("the server is not ready: {said}")
            }
            (_, Some(code)) => format!("the server answered error {code}: {said}"),
            (ErrorKind::Parse, _) => {
                format!("{target} does not speak as Redis does: {said}")
            }
            _ if error.is_connection_refusal() => {
                format!("connection refused by {target}: no server listens there")
            }
            _ if error.is_timeout() => format!("timeout: {target} did not answer"),
            _ => {
                let doing = match facts.iter().next() {
                    Some(_) => "lost the connection",
                    None => "cannot connect",
                };
                format!("{doing} ({target}): {}", excerpt(&error.to_string(), MOST_WORDS))
            }
        }
    }
}

async fn ask<C: ConnectionLike, W: AsRef<str>>(
    connection: &mut C,
    words: &[W],
) -> Result<Value, RedisError> {
    let mut command = Cmd::new();
    for word in words {
        command.arg(word.as_ref());
    }
    command.query_async(connection).await
}

/// The text of an answer; none where the user may not ask for it.
fn text_if_allowed(answer: Result<Value, RedisError>) -> Result<Option<String>, RedisError> {
    match answer {
        Ok(value) => match json_of(value) {
            Json::String(text) => Ok(Some(text)),
            _ => Ok(None),
        },
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An answer as JSON. Bytes that are no text lose what is odd about them.
fn json_of(value: Value) -> Json {
    match value {
        Value::Nil => Json::Null,
        Value::Int(number) => Json::from(number),
        Value::Double(number) => Json::from(number),
        Value::Boolean(yes) => Json::from(yes),
        Value::Okay => Json::from("OK"),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Json::from(text),
        Value::BulkString(bytes) | Value::BigNumber(bytes) => {
            Json::from(String::from_utf8_lossy(&bytes).into_owned())
        }
        Value::Array(items) | Value::Set(items) | Value::Push { data: items, .. } => {
            items.into_iter().map(json_of).collect()
        }
        Value::Map(pairs) => pairs
            .into_iter()
            .map(|(name, value)| match json_of(name) {
                Json::String(name) => (name, json_of(value)),
                other => (other.to_string(), json_of(value)),
            })
            .collect(),
        Value::Attribute { data, .. } => json_of(*data),
        Value::ServerError(error) => Json::from(error.to_string()),
        _ => Json::Null,
    }
}

/// The lines `name:value` of INFO.
///
/// See <https://redis.io/docs/latest/commands/info/>; other servers leave lines out.
#[derive(Debug)]
struct Info<'a>(HashMap<&'a str, &'a str>);

impl<'a> Info<'a> {
    fn read(text: &'a str) -> Self {
        Self(text.lines().filter_map(|line| line.trim_end().split_once(':')).collect())
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied()
    }

    fn int(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// The number called `part` in each line of a replica:
    /// `slave0:ip=…,port=…,state=online,offset=…,lag=…`.
    fn of_replicas(&self, part: &str) -> Vec<i64> {
        let replicas = self.0.iter().filter(|(name, _)| {
            name.strip_prefix("slave").is_some_and(|rest| rest.parse::<u32>().is_ok())
        });
        replicas
            .flat_map(|(_, line)| line.split(','))
            .filter_map(|field| field.split_once('='))
            .filter_map(|(name, value)| if name == part { value.parse().ok() } else { None })
            .collect()
    }
}

fn info_facts(info: &Info<'_>, facts: &mut Facts) {
    for name in ["valkey_version", "dragonfly_version", "redis_version"] {
        if let Some(version) = info.text(name) {
            facts.set("version", version);
            break;
        }
    }
    if let Some(role) = info.text("role") {
        facts.set("role", role);
    }
    for (fact, name) in [
        ("uptime_seconds", "uptime_in_seconds"),
        ("memory_used_bytes", "used_memory"),
        ("connected_clients", "connected_clients"),
        ("blocked_clients", "blocked_clients"),
        ("rejected_connections", "rejected_connections"),
        ("evicted_keys", "evicted_keys"),
        ("connected_replicas", "connected_slaves"),
    ] {
        if let Some(number) = info.int(name) {
            facts.set(fact, number);
        }
    }
    let limit = ["maxmemory", "total_system_memory"]
        .into_iter()
        .find_map(|name| info.int(name).filter(|bytes| *bytes > 0));
    if let (Some(used), Some(limit)) = (info.int("used_memory"), limit) {
        facts.set("memory_used_percent", used as f64 * 100.0 / limit as f64);
    }
    if let (Some(hits), Some(misses)) = (info.int("keyspace_hits"), info.int("keyspace_misses"))
        && hits + misses > 0
    {
        facts.set("keyspace_hits_percent", hits as f64 * 100.0 / (hits + misses) as f64);
    }
    if let Some(link) = info.text("master_link_status") {
        facts.set("master_link_up", link == "up");
    }
    if let Some(seconds) = info.int("master_last_io_seconds_ago").filter(|seconds| *seconds >= 0) {
        facts.set("master_last_io_seconds", seconds);
    }
    if let Some(lag) = replication_lag(info) {
        facts.set("replication_lag_bytes", lag);
    }
}

fn replication_lag(info: &Info<'_>) -> Option<i64> {
    if info.text("role")? == "master" {
        if info.int("connected_slaves")? == 0 {
            return Some(0);
        }
        let slowest = info.of_replicas("offset").into_iter().min()?;
        return Some((info.int("master_repl_offset")? - slowest).max(0));
    }
    // A replica that lost its master cannot know what it misses.
    if info.text("master_link_status")? != "up" {
        return None;
    }
    let applied = info.int("slave_repl_offset")?;
    let received = info.int("slave_read_repl_offset").max(info.int("master_repl_offset"))?;
    Some((received - applied).max(0))
}
