//! What single keys and streams are like.

use super::router::Router;
use super::trouble::Trouble;
use super::wire::Reply;
use crate::check::support::value::{KEPT_BYTES, excerpt};
use crate::model::Facts;
use serde_json::{Map, Value as Json, json};

/// More consumer groups of a stream are not looked at.
const MOST_GROUPS: usize = 64;

/// What is known of `key`.
pub async fn key(router: &mut Router<'_>, key: &str, facts: &mut Facts) -> Result<(), Trouble> {
    let ty = router.ask(&["TYPE", key]).await?;
    let ty = excerpt(ty.text().unwrap_or("none"), 100);
    facts.set("key_exists", ty != "none");
    facts.set("key_length", 0);
    if ty == "none" {
        return Ok(());
    }
    facts.set("key_type", ty.as_str());
    let length = match ty.as_str() {
        "string" => Some("STRLEN"),
        "list" => Some("LLEN"),
        "set" => Some("SCARD"),
        "zset" => Some("ZCARD"),
        "hash" => Some("HLEN"),
        "stream" => Some("XLEN"),
        _ => None,
    };
    if let Some(command) = length
        && let Some(length) = router.ask(&[command, key]).await?.int()
    {
        facts.set("key_length", length);
    }
    if let Some(left) = router.ask(&["PTTL", key]).await?.int().filter(|left| *left >= 0) {
        facts.set("key_ttl_seconds", left as f64 / 1000.0);
    }
    if ty == "string" {
        let last = (KEPT_BYTES - 1).to_string();
        let value = router.ask(&["GETRANGE", key, "0", &last]).await?;
        if let Some(value) = value.text() {
            facts.set("key_value", &value[..value.floor_char_boundary(KEPT_BYTES)]);
        }
    }
    Ok(())
}

/// The worst of all streams and groups.
#[derive(Debug, Default)]
pub struct Worst {
    length: i64,
    last_age: Option<f64>,
    lag: Option<i64>,
    pending: Option<i64>,
    oldest_pending: Option<f64>,
    consumers: Option<i64>,
    streams: Map<String, Json>,
}

impl Worst {
    /// Looks at the stream `name`; `wall` is now, in milliseconds since 1970.
    pub async fn look(
        &mut self,
        router: &mut Router<'_>,
        name: &str,
        wall: i64,
    ) -> Result<(), Trouble> {
        let length = router.ask(&["XLEN", name]).await?.int().unwrap_or(0);
        self.length = self.length.max(length);
        let mut last_age = None;
        let mut groups = Map::new();
        match router.ask(&["XINFO", "STREAM", name]).await {
            Ok(reply) => {
                let fields = reply.fields();
                // The first part of an id is the time, unless the writer chose it otherwise.
                let last = fields.get("last-generated-id").and_then(|id| id.text());
                let last = last.and_then(|id| id.split('-').next()?.parse::<i64>().ok());
                last_age = last.filter(|at| *at > 0).map(|at| (wall - at).max(0) as f64 / 1000.0);
                self.groups(router, name, &mut groups).await?;
            }
            Err(Trouble::Refused(said)) if said.contains("no such key") => {}
            Err(trouble) => return Err(trouble),
        }
        if let Some(age) = last_age {
            self.last_age = Some(self.last_age.map_or(age, |worst| worst.max(age)));
        }
        let said = json!({"length": length, "last_age_seconds": last_age, "groups": groups});
        self.streams.insert(name.to_owned(), said);
        Ok(())
    }

    async fn groups(
        &mut self,
        router: &mut Router<'_>,
        stream: &str,
        said: &mut Map<String, Json>,
    ) -> Result<(), Trouble> {
        let reply = router.ask(&["XINFO", "GROUPS", stream]).await?;
        for group in reply.items().iter().take(MOST_GROUPS) {
            let fields = group.fields();
            let number = |name: &str| fields.get(name).and_then(|reply| reply.int());
            let Some(name) = fields.get("name").and_then(|name| name.text()) else { continue };
            let (lag, pending, consumers) = (number("lag"), number("pending"), number("consumers"));
            let oldest = match pending {
                Some(0) | None => 0.0,
                Some(_) => longest_idle(router, stream, name).await?,
            };
            self.lag = self.lag.max(lag);
            self.pending = self.pending.max(pending);
            self.oldest_pending = Some(self.oldest_pending.unwrap_or(0.0).max(oldest));
            if let Some(consumers) = consumers {
                self.consumers = Some(self.consumers.map_or(consumers, |few| few.min(consumers)));
            }
            let group = json!({"lag": lag, "pending": pending, "consumers": consumers,
                               "oldest_pending_seconds": oldest});
            said.insert(excerpt(name, 100), group);
        }
        Ok(())
    }

    /// Puts it among `facts`.
    pub fn note(self, facts: &mut Facts) {
        facts.set("stream_length", self.length);
        for (fact, number) in [
            ("stream_lag", self.lag),
            ("stream_pending", self.pending),
            ("stream_consumers", self.consumers),
        ] {
            if let Some(number) = number {
                facts.set(fact, number);
            }
        }
        for (fact, number) in [
            ("stream_last_age_seconds", self.last_age),
            ("stream_oldest_pending_seconds", self.oldest_pending),
        ] {
            if let Some(number) = number {
                facts.set(fact, number);
            }
        }
        facts.set("streams", Json::Object(self.streams));
    }
}

/// The longest time, in seconds, that nobody touched one of the oldest entries which are pending.
async fn longest_idle(router: &mut Router<'_>, stream: &str, group: &str) -> Result<f64, Trouble> {
    let reply = router.ask(&["XPENDING", stream, group, "-", "+", "100"]).await?;
    let idle = |entry: &Reply| entry.items().get(2).and_then(Reply::int);
    let longest = reply.items().iter().filter_map(idle).max().unwrap_or(0);
    Ok(longest as f64 / 1000.0)
}
