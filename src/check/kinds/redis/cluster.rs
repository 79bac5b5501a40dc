//! A cluster as each of its nodes sees it.
//!
//! See <https://redis.io/docs/latest/commands/cluster-nodes/>.

use super::info::Info;
use super::router::place_of;
use super::trouble::Trouble;
use super::wire::{Login, Place, Wire};
use crate::check::support::millis;
use crate::check::support::value::excerpt;
use crate::clock::Clock;
use crate::model::Facts;
use futures_util::stream::{self, StreamExt};
use serde_json::{Map, Value as Json, json};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// More nodes are not asked.
const MOST_NODES: usize = 256;

/// How many are asked at one time.
const AT_ONCE: usize = 16;

/// The fact `nodes` names so many.
const MOST_SHOWN: usize = 64;

/// One line of `CLUSTER NODES`.
#[derive(Clone, Debug, PartialEq)]
struct Node {
    id: String,
    address: String,
    is_master: bool,
    /// The master that a replica stands by.
    master: Option<String>,
    health: Health,
    slots: Vec<(u16, u16)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Ok,
    /// The node that was asked has no answer from it.
    Doubtful,
    /// Most masters agree that it is down.
    Failed,
}

/// What a node answered.
struct Seen {
    /// What its view comes to. The view itself is let go: a large cluster has many large ones.
    shape: u64,
    state: Option<String>,
    ping_ms: f64,
    memory_used_percent: Option<f64>,
}

/// Puts what all nodes see among `facts`; `seed` is the node that was asked first. Gives where the
/// nodes are.
pub async fn observe(
    seed: &mut Wire,
    login: &Login,
    clock: &dyn Clock,
    patience: Duration,
    facts: &mut Facts,
) -> Result<Vec<Place>, Trouble> {
    let said = text(seed, &["CLUSTER", "INFO"]).await?;
    let info = Info::read(&said);
    for (fact, name) in [
        ("slots_covered", "cluster_slots_assigned"),
        ("slots_ok", "cluster_slots_ok"),
        ("slots_pfail", "cluster_slots_pfail"),
        ("slots_fail", "cluster_slots_fail"),
    ] {
        if let Some(number) = info.int(name) {
            facts.set(fact, number);
        }
    }
    let mut state = excerpt(info.text("cluster_state").unwrap_or("unknown"), 100);
    facts.set("cluster_state", state.as_str());

    let nodes = read(&text(seed, &["CLUSTER", "NODES"]).await?);
    let asked = nodes.iter().take(MOST_NODES).filter_map(|node| {
        let place = place_of(&node.address, &seed.place)?;
        Some((node, place))
    });
    let asked: Vec<(&Node, Place)> = asked.collect();
    let login = Login { database: 0, ..login.clone() };
    // Futures of references need their types named; indices do not.
    let answers: HashMap<usize, Result<Seen, String>> = stream::iter(0..asked.len())
        .map(|index| {
            let (place, login) = (asked.get(index).map(|(_, place)| place.clone()), &login);
            async move {
                let Some(place) = place else { return (index, Err(String::new())) };
                let look = look(&place, login, clock);
                let answer = tokio::time::timeout(patience, look).await;
                let answer = answer.unwrap_or(Err(Trouble::Late));
                (index, answer.map_err(|trouble| trouble.words(&place.to_string())))
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;

    let views: Vec<u64> =
        answers.values().filter_map(|answer| answer.as_ref().ok()).map(|seen| seen.shape).collect();
    let most = most_common(&views).copied().unwrap_or_else(|| shape(&nodes));
    let (mut unreachable, mut disagreeing) = (0_i64, 0_i64);
    let mut shown = Vec::new();
    for (index, (node, _)) in asked.iter().enumerate() {
        let mut disagrees = false;
        let mut said = json!({
            "role": if node.is_master { "master" } else { "replica" },
            "health": node.health.word(),
            "slots": node.slot_count(),
        });
        match answers.get(&index) {
            Some(Ok(seen)) => {
                said["reachable"] = true.into();
                said["ping_ms"] = seen.ping_ms.into();
                said["state"] = seen.state.clone().into();
                said["memory_used_percent"] = seen.memory_used_percent.into();
                if seen.state.as_deref().is_some_and(|state| state != "ok") {
                    "fail".clone_into(&mut state);
                }
                disagrees = seen.shape != most;
                disagreeing += i64::from(disagrees);
            }
            other => {
                let error = other.and_then(|answer| answer.as_ref().err());
                said["reachable"] = false.into();
                said["error"] = error.cloned().into();
                unreachable += 1;
            }
        }
        let is_well = said["reachable"] == true
            && said["state"] == "ok"
            && node.health == Health::Ok
            && !disagrees;
        shown.push((is_well, node.address.clone(), said));
    }
    shown.sort_by_key(|(is_well, ..)| *is_well);
    shown.truncate(MOST_SHOWN);
    let map: Map<String, Json> =
        shown.into_iter().map(|(_, address, said)| (address, said)).collect();
    facts.set("cluster_state", state.as_str());
    facts.set("nodes_unreachable", unreachable);
    facts.set("nodes_disagreeing", disagreeing);
    note_nodes(&nodes, facts);
    facts.set("nodes", Json::Object(map));
    Ok(asked.into_iter().map(|(_, place)| place).collect())
}

fn note_nodes(nodes: &[Node], facts: &mut Facts) {
    let alive = |node: &&Node| node.health != Health::Failed;
    let masters: Vec<&Node> = nodes
        .iter()
        .filter(alive)
        .filter(|node| node.is_master && !node.slots.is_empty())
        .collect();
    let stands_by = |master: &Node| {
        nodes.iter().filter(alive).any(|node| node.master.as_ref() == Some(&master.id))
    };
    let alone = masters.iter().filter(|master| !stands_by(master)).count();
    let failed = nodes.iter().filter(|node| node.health == Health::Failed).count();
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    facts.set("cluster_masters", count(masters.len()));
    facts.set("masters_without_replica", count(alone));
    facts.set("nodes_failed", count(failed));
}

/// Asks one node.
async fn look(place: &Place, login: &Login, clock: &dyn Clock) -> Result<Seen, Trouble> {
    let mut wire = Wire::connect(place, login, clock).await?;
    let start = clock.now().mono;
    wire.ask(&["PING"]).await?;
    let ping_ms = millis(clock.now().mono.saturating_sub(start));
    let shape = shape(&read(&text(&mut wire, &["CLUSTER", "NODES"]).await?));
    let said = text(&mut wire, &["CLUSTER", "INFO"]).await?;
    let state = Info::read(&said).text("cluster_state").map(|state| excerpt(state, 100));
    let memory_used_percent = match text(&mut wire, &["INFO", "memory"]).await {
        Ok(said) => Info::read(&said).memory_used_percent(),
        Err(trouble) if trouble.is_an_answer() => None,
        Err(trouble) => return Err(trouble),
    };
    Ok(Seen { shape, state, ping_ms, memory_used_percent })
}

async fn text(wire: &mut Wire, words: &[&str]) -> Result<String, Trouble> {
    let reply = wire.ask(words).await?;
    reply.text().map(str::to_owned).ok_or_else(|| Trouble::garbage("no text where one belongs"))
}

/// Reads `CLUSTER NODES`; nodes that are not met yet, or have no address, are left out.
fn read(text: &str) -> Vec<Node> {
    text.lines().filter_map(read_line).collect()
}

/// `<id> <ip:port@cport[,hostname]> <flags> <master> <ping> <pong> <epoch> <link> <slot> …`
fn read_line(line: &str) -> Option<Node> {
    let mut words = line.split(' ');
    let (id, address, flags) = (words.next()?, words.next()?, words.next()?);
    let flags: Vec<&str> = flags.split(',').collect();
    if flags.contains(&"handshake") || flags.contains(&"noaddr") {
        return None;
    }
    let master = words.next().filter(|id| *id != "-");
    let slots = words.skip(4).filter_map(|range| {
        // `[93-<-…]` is a slot on its way, which its old master still has.
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        Some((from.parse().ok()?, to.parse().ok()?))
    });
    Some(Node {
        id: id.to_owned(),
        address: address.split(['@', ',']).next().unwrap_or(address).to_owned(),
        is_master: flags.contains(&"master"),
        master: master.map(str::to_owned),
        health: if flags.contains(&"fail") {
            Health::Failed
        } else if flags.contains(&"fail?") {
            Health::Doubtful
        } else {
            Health::Ok
        },
        slots: slots.collect(),
    })
}

impl Node {
    fn slot_count(&self) -> u32 {
        self.slots.iter().map(|(from, to)| u32::from(to.saturating_sub(*from)) + 1).sum()
    }
}

impl Health {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Doubtful => "pfail",
            Self::Failed => "fail",
        }
    }
}

/// What nodes have to agree about: who is there as what, with which slots, and who is down. That
/// one node has no answer from another is no disagreement yet.
fn shape(view: &[Node]) -> u64 {
    let mut nodes: Vec<_> = view
        .iter()
        .map(|node| {
            let failed = node.health == Health::Failed;
            (&node.id, node.is_master, &node.master, &node.slots, failed)
        })
        .collect();
    nodes.sort();
    let mut hasher = DefaultHasher::new();
    nodes.hash(&mut hasher);
    hasher.finish()
}

fn most_common<T: PartialEq>(all: &[T]) -> Option<&T> {
    all.iter().max_by_key(|one| all.iter().filter(|other| one == other).count())
}

#[cfg(test)]
mod tests {
    use super::{Health, most_common, note_nodes, read, shape};
    use crate::model::{Fact, Facts};

    /// As the documentation of the command has it, shortened; one node is being met.
    const NODES: &str = "\
07c3 127.0.0.1:30004@31004,host4 slave e7d1 0 1426238317239 4 connected
67ed 127.0.0.1:30002@31002,host2 master - 0 1426238316232 2 connected 5461-10922
292f 127.0.0.1:30003@31003,host3 master,fail - 0 1426238318243 3 connected 10923-16383
6ec2 127.0.0.1:30005@31005,host5 slave,fail? 67ed 0 1426238316232 5 connected
824f 127.0.0.1:30006@31006,host6 handshake - 0 1426238317741 6 connected
e7d1 127.0.0.1:30001@31001,host1 myself,master - 0 0 1 connected 0-5459 5460 [93-<-292f]
";

    #[test]
    fn the_lines_of_nodes_are_understood() {
        let nodes = read(NODES);
        let addresses: Vec<&str> = nodes.iter().map(|node| node.address.as_str()).collect();
        assert_eq!(addresses.len(), 5, "{addresses:?}");
        assert!(addresses.contains(&"127.0.0.1:30001"), "{addresses:?}");
        let slots: Vec<u32> = nodes.iter().map(super::Node::slot_count).collect();
        assert_eq!(slots, [0, 5462, 5461, 0, 5461]);
        let health: Vec<Health> = nodes.iter().map(|node| node.health).collect();
        assert_eq!(health, [Health::Ok, Health::Ok, Health::Failed, Health::Doubtful, Health::Ok]);
        let mut facts = Facts::default();
        note_nodes(&nodes, &mut facts);
        assert_eq!(facts.get("cluster_masters"), Some(&Fact::Int(2)));
        assert_eq!(facts.get("masters_without_replica"), Some(&Fact::Int(0)));
        assert_eq!(facts.get("nodes_failed"), Some(&Fact::Int(1)));
    }

    #[test]
    fn who_asks_and_who_is_only_doubted_makes_no_other_view() {
        let other = NODES.replace("myself,", "").replace("slave,fail?", "slave");
        assert_eq!(shape(&read(NODES)), shape(&read(&other)));
        let other = NODES.replace("master,fail", "master");
        assert_ne!(shape(&read(NODES)), shape(&read(&other)));
        assert_eq!(most_common(&[1, 2, 2, 3]), Some(&2));
    }
}
