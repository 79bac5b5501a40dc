//! What a server says of itself, in groups of facts that one statement finds together.
//!
//! A group that the role may not ask for, or that the server's version does not know, leaves its
//! facts absent and says why; the others are not the worse for it.

use super::facts::FACTS;
use super::session::Session;
use super::statements;
use super::trouble::{Refusal, Trouble};
use crate::check::support::value::{fact_of, kept_fact_of};
use crate::model::{Fact, FactType, Facts};
use serde_json::{Map, Value as Json};
use std::collections::HashMap;
use std::time::Duration;

/// Facts that one statement finds.
#[derive(Debug)]
pub struct Group {
    /// Its name in the option `facts`.
    pub name: &'static str,
    /// The statement, for a version such as 150014.
    sql: fn(u32) -> String,
    /// What a role sees only if it may see what others do.
    monitored: &'static [&'static str],
    /// Whether the answer costs so much that it is asked for only every [`SLOW_EVERY`].
    slow: bool,
}

/// A map that is larger than this as JSON is not kept.
const MOST_MAP: usize = 32 << 10;

/// How long the answer of a slow group is good for.
const SLOW_EVERY: Duration = Duration::from_secs(300);

/// What is always asked.
const SERVER: Group =
    Group { name: "server", sql: |_| statements::server(), monitored: &[], slow: false };

/// Every group that may be left out, in the order of the documentation.
pub const GROUPS: &[Group] = &[
    Group {
        name: "connections",
        sql: |_| statements::connections(),
        monitored: &[
            "connections_active",
            "connections_idle",
            "connections_idle_in_transaction",
            "connections_by_state",
        ],
        slow: false,
    },
    Group {
        name: "transactions",
        sql: |_| statements::transactions(),
        monitored: &[
            "longest_transaction_seconds",
            "longest_query_seconds",
            "longest_idle_in_transaction_seconds",
        ],
        slow: false,
    },
    Group { name: "locks", sql: statements::locks, monitored: &[], slow: false },
    Group { name: "activity", sql: |_| statements::activity(), monitored: &[], slow: false },
    Group {
        name: "replication",
        sql: |_| statements::replication(),
        monitored: &["standbys", "wal_receiver_status", "wal_receiver_silent_seconds"],
        slow: false,
    },
    Group { name: "slots", sql: statements::slots, monitored: &[], slow: false },
    Group {
        name: "vacuum",
        sql: |_| statements::vacuum(),
        monitored: &["autovacuum_workers"],
        slow: false,
    },
    Group { name: "tables", sql: |_| statements::tables(), monitored: &[], slow: true },
    Group { name: "size", sql: |_| statements::size(), monitored: &[], slow: true },
];

/// What one check remembers from run to run.
#[derive(Debug, Default)]
pub struct Memory {
    /// The totals of the last run, and when it was.
    totals: Option<(Duration, Totals)>,
    cache_hit_percent: Option<f64>,
    /// The answers of slow groups, and when they came.
    slow: HashMap<&'static str, (Duration, Map<String, Json>)>,
}

/// Counters that only grow, until somebody resets the statistics.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    deadlocks: i64,
    commits: i64,
    rollbacks: i64,
    temp_bytes: i64,
    blocks_hit: i64,
    blocks_read: i64,
}

/// What the groups found.
#[derive(Debug, Default)]
pub struct Found {
    values: Map<String, Json>,
    unavailable: Map<String, Json>,
}

impl Memory {
    /// What is still good of what is known, and which of `groups` have to be asked.
    pub fn fresh(&self, groups: &[&'static Group], now: Duration) -> (Found, Vec<&'static Group>) {
        let mut found = Found::default();
        let mut waiting = vec![&SERVER];
        for &group in groups {
            let known = self.slow.get(group.name);
            match known.filter(|(at, _)| now.saturating_sub(*at) < SLOW_EVERY) {
                Some((_, values)) => found.values.extend(values.clone()),
                None => waiting.push(group),
            }
        }
        (found, waiting)
    }
}

/// Asks for the groups that are `waiting`, all at once, and goes on without those that the server
/// refuses. Gives those that it answered.
///
/// # Errors
///
/// The connection broke, or there is no time left.
pub async fn ask(
    session: &mut Session,
    mut waiting: Vec<&'static Group>,
    found: &mut Found,
) -> Result<Vec<&'static Group>, Trouble> {
    let version = version_number(session.version());
    let mut asked = Vec::new();
    while !waiting.is_empty() {
        let statements: Vec<String> = waiting.iter().map(|group| (group.sql)(version)).collect();
        let (texts, refusal) = session.texts(&statements).await?;
        let count = texts.len().min(waiting.len());
        for (group, text) in waiting.drain(..count).zip(texts) {
            let values = text.map(|text| serde_json::from_str::<Map<String, Json>>(&text));
            let values = values.transpose().map_err(Trouble::Json)?;
            found.values.extend(values.unwrap_or_default());
            asked.push(group);
        }
        match refusal {
            Some(refusal) if refusal.is_about_time() => return Err(Trouble::Refused(refusal)),
            Some(refusal) if !waiting.is_empty() => {
                let group = waiting.remove(0);
                found.refuse(group, &refusal);
            }
            Some(refusal) => return Err(Trouble::Refused(refusal)),
            None => break,
        }
    }
    Ok(asked)
}

impl Found {
    fn refuse(&mut self, group: &Group, refusal: &Refusal) {
        let reason = refusal.words();
        for fact in group.facts() {
            self.unavailable.insert(fact.to_owned(), Json::from(reason.as_str()));
        }
    }

    /// Takes away what the role sees only in part, or not at all.
    fn hide(&mut self, groups: &[&'static Group]) {
        let is = |found: &Self, name: &str| found.values.get(name).and_then(Json::as_bool);
        if is(self, "sees_all") != Some(false) {
            return;
        }
        let mut hidden: Vec<&str> =
            groups.iter().flat_map(|group| group.monitored).copied().collect();
        let standbys = self.values.get("standbys_connected").and_then(Json::as_i64);
        if is(self, "is_replica") == Some(false) && standbys != Some(0) {
            hidden.extend(["replication_lag_seconds", "replication_lag_bytes"]);
        }
        for name in hidden {
            self.values.remove(name);
            let why = "the role may not see what others do: grant it pg_monitor";
            self.unavailable.insert(name.to_owned(), Json::from(why));
        }
    }

    /// Puts what was found among `facts`, and what the next run has to know into `memory`.
    pub fn note(
        mut self,
        groups: &[&'static Group],
        asked: &[&'static Group],
        memory: &mut Memory,
        now: Duration,
        facts: &mut Facts,
    ) {
        for group in asked.iter().filter(|group| group.slow) {
            let names: Vec<&str> = group.facts().collect();
            let values = self.values.iter().filter(|(name, _)| names.contains(&name.as_str()));
            let values = values.map(|(name, value)| (name.clone(), value.clone())).collect();
            memory.slow.insert(group.name, (now, values));
        }
        self.hide(groups);
        self.since_the_last_run(memory, now);
        for spec in FACTS {
            let Some(value) = self.values.remove(spec.name) else { continue };
            if let Some(fact) = of_type(value, spec.ty) {
                facts.set(spec.name, fact);
            }
        }
        facts.set("unavailable", Json::Object(self.unavailable));
    }

    fn since_the_last_run(&mut self, memory: &mut Memory, now: Duration) {
        let total = |name: &str| self.values.get(name).and_then(Json::as_i64);
        let Some(deadlocks) = total("deadlocks_total") else { return };
        let of = |name| total(name).unwrap_or(0);
        let totals = Totals {
            deadlocks,
            commits: of("commits"),
            rollbacks: of("rollbacks"),
            temp_bytes: of("temp_bytes_total"),
            blocks_hit: of("blocks_hit"),
            blocks_read: of("blocks_read"),
        };
        let counted = self.values.get("counted_seconds").and_then(Json::as_f64);
        let last = memory.totals.replace((now, totals));
        let (seconds, before) = match last {
            Some((then, before)) => (now.saturating_sub(then).as_secs_f64(), before),
            None => (counted.unwrap_or(0.0), Totals { commits: 0, rollbacks: 0, ..totals }),
        };
        let since = |now: i64, then: i64| if now >= then { now - then } else { now };
        let mut set = |name: &str, value: Json| self.values.insert(name.to_owned(), value);
        set("deadlocks", since(totals.deadlocks, before.deadlocks).into());
        set("temp_bytes", since(totals.temp_bytes, before.temp_bytes).into());
        if seconds > 0.0 {
            let rate = |now, then| since(now, then) as f64 / seconds;
            set("commits_per_second", rate(totals.commits, before.commits).into());
            set("rollbacks_per_second", rate(totals.rollbacks, before.rollbacks).into());
        }
        let (hit, read) = match memory.cache_hit_percent {
            None => (totals.blocks_hit, totals.blocks_read),
            Some(_) => (
                since(totals.blocks_hit, before.blocks_hit),
                since(totals.blocks_read, before.blocks_read),
            ),
        };
        if hit + read > 0 {
            memory.cache_hit_percent = Some(hit as f64 * 100.0 / (hit + read) as f64);
        }
        if let Some(percent) = memory.cache_hit_percent {
            set("cache_hit_percent", percent.into());
        }
    }
}

impl Group {
    /// The facts that it finds, by the documentation, which names the group in brackets.
    fn facts(&self) -> impl Iterator<Item = &'static str> {
        let mark = format!("[{}]", self.name);
        FACTS.iter().filter(move |spec| spec.summary.ends_with(&mark)).map(|spec| spec.name)
    }
}

fn of_type(value: Json, ty: FactType) -> Option<Fact> {
    match (ty, &value) {
        (_, Json::Null) => None,
        (FactType::Double, _) => value.as_f64().map(Fact::Double),
        // Sums come as numeric, which has a point where it is large.
        (FactType::Int, _) => {
            value.as_i64().or_else(|| value.as_f64().map(|number| number as i64)).map(Fact::Int)
        }
        // The server's own words are bounded by what it is asked for; a liar's are bounded here.
        (FactType::Map, _) if value.to_string().len() > MOST_MAP => None,
        (FactType::Map, _) => Some(fact_of(value)),
        _ => kept_fact_of(value),
    }
}

/// `15.14 (Debian …)` as 150000: what decides about columns is the first number.
fn version_number(version: &str) -> u32 {
    let first: String = version.chars().take_while(char::is_ascii_digit).collect();
    first.parse::<u32>().map_or(0, |first| first.saturating_mul(10_000))
}

#[cfg(test)]
mod tests {
    use super::{Found, GROUPS, Group, Memory, SERVER, version_number};
    use crate::check::kinds::postgres::facts::FACTS;
    use crate::model::{Fact, Facts};
    use serde_json::{Value as Json, json};
    use std::time::Duration;

    /// What a run at `second` makes of what the server said.
    fn note(memory: &mut Memory, second: u64, said: Json) -> Facts {
        let Json::Object(values) = said else { panic!("an object") };
        let groups: Vec<&'static Group> = GROUPS.iter().collect();
        let found = Found { values, ..Found::default() };
        let mut facts = Facts::default();
        found.note(&groups, &[&SERVER], memory, Duration::from_secs(second), &mut facts);
        facts
    }

    #[test]
    fn every_group_has_facts_and_every_mark_is_a_group() {
        for group in GROUPS {
            assert!(group.facts().count() > 0, "{}", group.name);
            for hidden in group.monitored {
                assert!(group.facts().any(|fact| fact == *hidden), "{hidden}");
            }
        }
        for spec in FACTS.iter().filter(|spec| spec.summary.ends_with(']')) {
            let mark = spec.summary.rsplit('[').next().expect("a mark").trim_end_matches(']');
            assert!(GROUPS.iter().any(|group| group.name == mark), "{}: {mark}", spec.name);
        }
    }

    #[test]
    fn totals_become_what_happened_since_the_last_run() {
        let mut memory = Memory::default();
        let said = |deadlocks, commits, hit, read| {
            json!({"deadlocks_total": deadlocks, "commits": commits, "blocks_hit": hit,
                   "blocks_read": read, "counted_seconds": 50.0})
        };
        let facts = note(&mut memory, 10, said(5, 100, 90, 10));
        assert_eq!(facts.get("deadlocks"), Some(&Fact::Int(0)));
        assert_eq!(facts.get("deadlocks_total"), Some(&Fact::Int(5)));
        assert_eq!(facts.get("commits_per_second"), Some(&Fact::Double(2.0)));
        assert_eq!(facts.get("cache_hit_percent"), Some(&Fact::Double(90.0)));
        let facts = note(&mut memory, 20, said(7, 150, 100, 30));
        assert_eq!(facts.get("deadlocks"), Some(&Fact::Int(2)));
        assert_eq!(facts.get("commits_per_second"), Some(&Fact::Double(5.0)));
        let third = Some(100.0 / 3.0);
        assert_eq!(facts.get("cache_hit_percent").and_then(Fact::as_number), third);
        // Nothing was read: what was last known stands. Somebody reset the deadlocks.
        let facts = note(&mut memory, 30, said(1, 150, 100, 30));
        assert_eq!(facts.get("deadlocks"), Some(&Fact::Int(1)));
        assert_eq!(facts.get("cache_hit_percent").and_then(Fact::as_number), third);
    }

    #[test]
    fn what_a_plain_role_sees_in_part_is_absent_with_a_reason() {
        let said = json!({"sees_all": false, "is_replica": false, "standbys_connected": 1,
                          "replication_lag_bytes": 0, "connections_active": 1,
                          "connections_used": 3});
        let facts = note(&mut Memory::default(), 1, said);
        assert_eq!(facts.get("connections_used"), Some(&Fact::Int(3)));
        for hidden in ["connections_active", "replication_lag_bytes"] {
            assert_eq!(facts.get(hidden), None, "{hidden}");
            let Some(Fact::Json(why)) = facts.get("unavailable") else { panic!("{facts:?}") };
            assert!(why[hidden].as_str().expect("a reason").contains("pg_monitor"), "{why}");
        }
    }

    #[test]
    fn a_version_is_known_by_its_first_number() {
        assert_eq!(version_number("15.14 (Debian 15.14-0+deb12u1)"), 150_000);
        assert_eq!(version_number("17beta2"), 170_000);
        assert_eq!(version_number(""), 0);
    }
}
