//! PostgreSQL: a fresh connection each run, so that a run finds whether people can log in; what
//! the server says of itself; and queries of the user's own.
//!
//! All statements go as simple queries inside short transactions. So nothing outlives the run in
//! a connection pooler such as PgBouncer: no prepared statement, and no changed setting.

mod address;
mod facts;
mod groups;
mod session;
mod statements;
#[cfg(test)]
mod tests;
mod trouble;
mod wire;

use crate::check::support::hide::Hidden;
use crate::check::support::millis;
use crate::check::support::value::kept_fact_of;
use crate::check::{Check, Kind, Run};
use crate::config::Section;
use crate::model::{Facts, Observation, OptionDoc};
use address::Address;
use async_trait::async_trait;
use groups::{GROUPS, Group, Memory};
use serde_json::{Map, Value as Json};
use session::{Answer, Columns, Session};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use trouble::Trouble;

/// Watches a PostgreSQL server.
pub const KIND: Kind = Kind {
    name: "postgres",
    summary: "a PostgreSQL server: connections, locks, replication, slots, vacuum, and queries",
    options: &[
        OptionDoc::new(
            "url",
            "secret",
            "required",
            "postgres://user:password@host:5432/database?sslmode=verify-full&sslrootcert=ca.pem; \
             sslmode is disable, prefer (the default), require, verify-ca or verify-full; sslcert \
             and sslkey name a client certificate; a role with pg_monitor sees everything",
        ),
        OptionDoc::new(
            "query",
            "string",
            "\"select 1\"",
            "what to ask; its first row and first column are facts",
        ),
        OptionDoc::new(
            "queries",
            "table",
            "",
            "more of them by name: with `backlog = \"select count(*) from jobs\"` there is \
             `queries.backlog`",
        ),
        OptionDoc::new(
            "read_only",
            "boolean",
            "true",
            "whether the queries run in read-only transactions",
        ),
        OptionDoc::new(
            "facts",
            "list",
            "",
            "the groups of facts to ask for, all unless told otherwise: connections, transactions, \
             locks, activity, replication, slots, vacuum, tables and size; the last two at most \
             every 5 minutes",
        )
        .words(&[
            "connections",
            "transactions",
            "locks",
            "activity",
            "replication",
            "slots",
            "vacuum",
            "tables",
            "size",
        ]),
    ],
    facts: facts::FACTS,
    example: r#"[[check]]
name = "orders-db"
every = "30s"
expect = ["connections_saturation_percent < 90.0", "queries.backlog < 1000"]
degraded_if = [
  "longest_transaction_seconds > 600.0",
  "longest_lock_wait_seconds > 30.0",
  "replication_lag_bytes > 100000000",
  "slots_retained_bytes > 10000000000",
  "wraparound_percent > 50.0",
]
[check.postgres]
# create role watchbell login password 'secret'; grant pg_monitor to watchbell;
url = "postgres://watchbell:secret@db.example/orders?sslmode=require"
[check.postgres.queries]
backlog = "select 17"          # such as: select count(*) from jobs where done_at is null
"#,
    well: "a session, and every query without an error",
    parse,
};

/// More named queries than these are refused.
const MOST_QUERIES: usize = 32;

struct Postgres {
    address: Address,
    /// Where it is, for messages: `host:port` or the path of a socket.
    target: String,
    query: Question,
    queries: Vec<(String, Question)>,
    read_only: bool,
    groups: Vec<&'static Group>,
    /// What must not show in an error.
    hidden: Hidden,
    memory: Mutex<Memory>,
}

/// A query of the user's.
struct Question {
    sql: String,
    /// Whether it is known to be one that cannot stand inside another, such as `show`.
    stands_alone: AtomicBool,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("target", &self.target).finish_non_exhaustive()
    }
}

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Check>> {
    let place = section.place_of("url");
    let url = if section.has("url") {
        section.url("url", &["postgres", "postgresql"])
    } else {
        section.required::<String>("url");
        None
    };
    let query = section.built("query", |query: String| Question::new(&query));
    let queries = read_queries(section);
    let read_only = section.or("read_only", true);
    let groups = section.built("facts", |names: Vec<String>| {
        let find = |name: &String| {
            let found = GROUPS.iter().find(|group| group.name == name);
            found.ok_or_else(|| {
                let known: Vec<&str> = GROUPS.iter().map(|group| group.name).collect();
                format!("there is no group `{name}` (the groups are {})", known.join(", "))
            })
        };
        names.iter().map(find).collect::<Result<Vec<_>, _>>()
    });
    let url = url?;
    let hidden = Hidden::of(&url);
    for path in address::files(&url) {
        section.reads(&section.base().join(path));
    }
    let (address, ignored) = match Address::read(&url, section.base()) {
        Ok(read) => read,
        Err(what) => {
            section.report(place.error(format!("is not usable: {}", hidden.clean(&what))));
            return None;
        }
    };
    for name in ignored {
        section.report(
            place
                .warning(format!("the parameter `{name}` is ignored"))
                .hint("the check's own `timeout` bounds each run"),
        );
    }
    Some(Box::new(Postgres {
        target: address.way.to_string(),
        address,
        query: query.unwrap_or_else(|| Question::as_it_stands("select 1")),
        queries: queries?,
        read_only,
        groups: groups.unwrap_or_else(|| GROUPS.iter().collect()),
        hidden,
        memory: Mutex::default(),
    }))
}

/// Takes `queries`, whose keys are the user's. `None` means that something is wrong.
fn read_queries(section: &mut Section<'_>) -> Option<Vec<(String, Question)>> {
    let Some(mut table) = section.table("queries") else { return Some(Vec::new()) };
    let mut queries = Vec::new();
    let mut sound = true;
    for loose in table.rest() {
        let problem = if !is_plain_name(&loose.key) {
            let message = "is no name for a condition: use small letters, digits and _";
            loose.at.error(message)
        } else if queries.len() >= MOST_QUERIES {
            loose.at.error(format!("is one too many: a check has at most {MOST_QUERIES} queries"))
        } else {
            match loose.value {
                toml::Value::String(text) => match Question::new(&text) {
                    Ok(question) => {
                        queries.push((loose.key, question));
                        continue;
                    }
                    Err(message) => loose.value_at.error(message),
                },
                other => {
                    let message = format!("must be a query in quotes, not {}", other.type_str());
                    loose.value_at.error(message)
                }
            }
        };
        sound = false;
        table.report(problem);
    }
    section.finish_child(table);
    sound.then_some(queries)
}

/// Whether conditions can say `queries.NAME`.
fn is_plain_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

impl Question {
    fn new(query: &str) -> Result<Self, String> {
        match query.trim().trim_end_matches(';').trim_end() {
            "" => Err("is empty".to_owned()),
            query if query.contains('\0') => Err("holds a zero byte".to_owned()),
            query => Ok(Self::as_it_stands(query)),
        }
    }

    fn as_it_stands(query: &str) -> Self {
        Self { sql: query.to_owned(), stands_alone: AtomicBool::new(false) }
    }

    async fn ask(&self, session: &mut Session) -> Result<Answer, Trouble> {
        if !self.stands_alone.load(Ordering::Relaxed) {
            match session.ask_inside(&self.sql).await {
                Err(Trouble::Refused(refusal)) if refusal.is_about_its_place() => {}
                other => return other,
            }
        }
        let answer = session.ask_alone(&self.sql).await?;
        self.stands_alone.store(true, Ordering::Relaxed);
        Ok(answer)
    }
}

#[async_trait]
impl Check for Postgres {
    async fn run(&self, run: &Run) -> Observation {
        let mut facts = Facts::default();
        match self.observe(run, &mut facts).await {
            Ok(()) => Observation::found(facts),
            Err(words) => Observation::failed(facts, self.hidden.clean(&words)),
        }
    }
}

impl Postgres {
    async fn observe(&self, run: &Run, facts: &mut Facts) -> Result<(), String> {
        let clock = &run.shared.clock;
        let start = clock.now().mono;
        let deadline = start.saturating_add(run.timeout);
        let words = |trouble: &Trouble| trouble.words(&self.target, "lost the connection");

        let mut session = self.connect(run, deadline).await?;
        facts.set("connect_ms", millis(clock.now().mono.saturating_sub(start)));
        if let Some(chain) = session.chain() {
            chain.note_days(clock.wall(), facts);
        }
        self.ask_the_server(&mut session, start, facts).await.map_err(|it| words(&it))?;

        let mut failed = None;
        match self.query.ask(&mut session).await {
            Ok(answer) => note_answer(answer, facts),
            Err(trouble) => failed = Some((words(&trouble), trouble)),
        }
        let (mut values, mut counts, mut times) = (Map::new(), Map::new(), Map::new());
        for (name, question) in &self.queries {
            if matches!(&failed, Some((_, trouble)) if !matches!(trouble, Trouble::Refused(_))) {
                break;
            }
            if session.is_spent() {
                session = self.connect(run, deadline).await?;
            }
            let before = clock.now().mono;
            match question.ask(&mut session).await {
                Ok(answer) => {
                    counts.insert(name.clone(), answer.rows.into());
                    values.extend(value_of(answer.first).map(|value| (name.clone(), value)));
                }
                Err(trouble) => {
                    let said = format!("query `{name}`: {}", words(&trouble));
                    failed.get_or_insert((said, trouble));
                }
            }
            let taken = clock.now().mono.saturating_sub(before);
            times.insert(name.clone(), millis(taken).into());
        }
        // Whatever the answers were, the server hears a goodbye; it logs a line otherwise.
        session.close().await;

        if !self.queries.is_empty() {
            facts.set("queries", Json::Object(values));
            facts.set("query_rows", Json::Object(counts));
            facts.set("query_ms", Json::Object(times));
        }
        match failed {
            Some((words, _)) => Err(words),
            None => Ok(()),
        }
    }

    async fn connect(&self, run: &Run, deadline: Duration) -> Result<Session, String> {
        let clock = &run.shared.clock;
        let opened = Session::open(&self.address, clock, deadline, self.read_only).await;
        opened.map_err(|trouble| trouble.words(&self.target, "cannot connect"))
    }

    /// What the server says of itself.
    async fn ask_the_server(
        &self,
        session: &mut Session,
        now: Duration,
        facts: &mut Facts,
    ) -> Result<(), Trouble> {
        let memory = || self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut found, waiting) = memory().fresh(&self.groups, now);
        let asked = groups::ask(session, waiting, &mut found).await?;
        found.note(&self.groups, &asked, &mut memory(), now, facts);
        Ok(())
    }
}

fn note_answer(answer: Answer, facts: &mut Facts) {
    facts.set("rows", answer.rows);
    if let Some(Columns(columns)) = answer.first {
        if let Some(value) = columns.first().and_then(|(_, value)| kept_fact_of(value.clone())) {
            facts.set("value", value);
        }
        facts.set("row", Json::Object(columns.into_iter().collect::<Map<_, _>>()));
    }
}

/// The first column of a row, as far as the history keeps it.
fn value_of(row: Option<Columns>) -> Option<Json> {
    let Columns(columns) = row?;
    let (_, value) = columns.into_iter().next()?;
    kept_fact_of(value).map(|fact| fact.to_json())
}
