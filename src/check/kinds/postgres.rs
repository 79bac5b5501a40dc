//! PostgreSQL: a fresh connection each run, one query, and what the server says of itself.
//!
//! All statements go as simple queries inside one short transaction. So nothing outlives the run
//! in a connection pooler such as PgBouncer: no prepared statement, and no changed setting.

mod session;
#[cfg(test)]
mod tests;
mod trouble;

use crate::check::support::hide::Hidden;
use crate::check::support::value::kept_fact_of;
use crate::check::{Check, Kind, Run};
use crate::config::Section;
use crate::model::{FactSpec, FactType, Facts, Observation, OptionDoc};
use async_trait::async_trait;
use serde_json::{Map, Value as Json};
use session::{Answer, Columns, Session};
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use trouble::Trouble;
use url::Url;

/// Watches a PostgreSQL server.
pub const KIND: Kind = Kind {
    name: "postgres",
    summary: "a PostgreSQL server: connects, runs a query, and reads its connections and lag",
    options: &[
        OptionDoc::new(
            "url",
            "secret",
            "required",
            "where it is: postgres://user:password@host:5432/database?sslmode=verify-full",
        ),
        OptionDoc::new(
            "query",
            "string",
            "\"select 1\"",
            "what to ask; its first row and first column are facts",
        ),
    ],
    facts: &[
        FactSpec::kept("connect_ms", FactType::Double, "ms", "time to connect and log in"),
        FactSpec::kept("rows", FactType::Int, "", "rows that the query gave, counted to 10,000"),
        FactSpec::kept(
            "value",
            FactType::Any,
            "",
            "the first column of the first row; absent without a row, a text is cut at 4 KiB",
        ),
        FactSpec::passing("row", FactType::Map, "the first row: each column by its name"),
        FactSpec::kept(
            "connections_used_percent",
            FactType::Double,
            "%",
            "client connections, of max_connections",
        ),
        FactSpec::kept("is_replica", FactType::Bool, "", "whether the server is a standby"),
        FactSpec::kept(
            "replication_lag_seconds",
            FactType::Double,
            "s",
            "how far a standby is behind: 0 while it streams and has replayed all, else the age \
             of the last transaction that it replayed; 0 on a primary",
        ),
    ],
    example: r#"[[check]]
name = "orders-db"
every = "30s"
expect = ["value == 1", "connections_used_percent < 90.0"]
degraded_if = ["replication_lag_seconds > 30.0"]
[check.postgres]
url = "postgres://watchbell:secret@db.example/orders?sslmode=require"
query = "select 1"
"#,
    well: "a session, and every query without an error",
    parse,
};

/// The parameters of a URL that sqlx reads; it would log the others with their values.
const URL_PARAMETERS: &[&str] = &[
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// Those of them that name files.
const PATH_PARAMETERS: &[&str] =
    &["ssl-ca", "ssl-cert", "ssl-key", "ssl-root-cert", "sslcert", "sslkey", "sslrootcert"];

struct Postgres {
    options: PgConnectOptions,
    /// Where it is, for messages: `host:port` or the path of a socket.
    target: String,
    query: String,
    /// What must not show in an error.
    hidden: Hidden,
    /// Whether the query is known to be one that cannot stand inside another, such as `show`.
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
    let query = section.built("query", |query: String| {
        let query = query.trim().trim_end_matches(';').trim_end();
        if query.is_empty() { Err("is empty".to_owned()) } else { Ok(query.to_owned()) }
    });
    let mut url = url?;
    for name in keep_known_parameters(&mut url, section.base()) {
        section.report(
            place
                .warning(format!("the parameter `{name}` is ignored"))
                .hint("the check's own `timeout` bounds each run"),
        );
    }
    let hidden = Hidden::of(&url);
    let options = match PgConnectOptions::from_url(&url) {
        Ok(options) => options,
        Err(error) => {
            // sqlx says it once or twice.
            let text = error.to_string().replace("error with configuration: ", "");
            let text = hidden.clean(&text);
            section.report(place.error(format!("is not usable: {text}")));
            return None;
        }
    };
    let options = options
        .application_name("watchbell")
        // Poolers refuse this one at the start of a connection.
        .extra_float_digits(None)
        .disable_statement_logging();
    let target = match options.get_socket() {
        Some(folder) => folder.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    Some(Box::new(Postgres {
        options,
        target,
        query: query.unwrap_or_else(|| "select 1".to_owned()),
        hidden,
        stands_alone: AtomicBool::new(false),
    }))
}

/// Drops the parameters that would be ignored, and gives their names. Paths of certificates
/// become relative to `base`.
fn keep_known_parameters(url: &mut Url, base: &Path) -> Vec<String> {
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    url.set_query(None);
    let mut ignored = Vec::new();
    for (name, mut value) in pairs {
        if !URL_PARAMETERS.contains(&name.as_str()) && !name.starts_with("options[") {
            ignored.push(name);
            continue;
        }
        if PATH_PARAMETERS.contains(&name.as_str()) && !value.starts_with("-----BEGIN") {
            value = base.join(&value).display().to_string();
        }
        url.query_pairs_mut().append_pair(&name, &value);
    }
    ignored
}

#[async_trait]
impl Check for Postgres {
    async fn run(&self, run: &Run) -> Observation {
        let mut facts = Facts::default();
        match self.observe(run, &mut facts).await {
            Ok(()) => Observation::found(facts),
            Err(trouble) => {
                let words = self.hidden.clean(&trouble.words(&self.target));
                Observation::failed(facts, words)
            }
        }
    }
}

impl Postgres {
    async fn observe(&self, run: &Run, facts: &mut Facts) -> Result<(), Trouble> {
        let start = run.shared.clock.now().mono;
        let connection = self.options.connect().await.map_err(Trouble::Connect)?;
        let taken = run.shared.clock.now().mono.saturating_sub(start);
        facts.set("connect_ms", taken.as_secs_f64() * 1000.0);

        let mut session = Session::new(connection, run.timeout);
        session.built_in(facts).await?;
        let answer = self.ask(&mut session).await;
        // Whatever the answer was, the server hears a goodbye; it logs a line otherwise.
        session.close().await;

        let answer = answer?;
        facts.set("rows", answer.rows);
        if let Some(Columns(columns)) = answer.first {
            if let Some(value) = columns.first().and_then(|(_, value)| kept_fact_of(value.clone()))
            {
                facts.set("value", value);
            }
            facts.set("row", Json::Object(columns.into_iter().collect::<Map<_, _>>()));
        }
        Ok(())
    }

    async fn ask(&self, session: &mut Session) -> Result<Answer, Trouble> {
        if !self.stands_alone.load(Ordering::Relaxed) {
            match session.ask_inside(&self.query).await {
                Err(trouble) if trouble.is_about_its_place() => {}
                other => return other,
            }
        }
        let answer = session.ask_alone(&self.query).await?;
        self.stands_alone.store(true, Ordering::Relaxed);
        Ok(answer)
    }
}
