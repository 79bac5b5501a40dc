//! JSON-RPC 2.0 over HTTP: calls of the user's choice, or what the nodes of a chain say of
//! themselves.

mod answers;
mod endpoint;
mod evm;
mod solana;
#[cfg(test)]
mod tests;

use crate::check::support::absent::ABSENT;
use crate::check::support::value::fact_of;
use crate::check::support::{self, tls};
use crate::check::{Check, Kind, Run};
use crate::config::Section;
use crate::model::{Fact, FactSpec, FactType, Facts, Observation, OptionDoc, Verdict};
use answers::Finding;
use async_trait::async_trait;
use endpoint::{Ask, Endpoint};
use evm::Evm;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use url::Url;

/// Watches a server that speaks JSON-RPC.
pub const KIND: Kind = Kind {
    name: "rpc",
    summary: "a JSON-RPC 2.0 server over HTTP, among them nodes of EVM chains and of Solana",
    options: &[
        OptionDoc::new("url", "secret", "required", "where it is; messages show only its host"),
        OptionDoc::new("chain", "string", "", "`evm` or `solana`: also find the facts of a node")
            .words(&["evm", "solana"]),
        OptionDoc::new(
            "method",
            "string",
            "",
            "what to call; required without `chain` and `batch`",
        ),
        OptionDoc::new("params", "list", "[]", "its parameters: a list, or a table of names").any(),
        OptionDoc::new(
            "reference",
            "list",
            "[]",
            "URLs of other nodes of the same chain, at most 10, to compare with; neither `headers` nor \
             the options of TLS count there, and each has half of the timeout",
        ),
        OptionDoc::new("headers", "table", "", "headers of each request, such as a key"),
        OptionDoc::new(
            "batch",
            "list",
            "",
            "without `chain`: several calls, each a [[check.rpc.batch]] with `method` and \
             `params`, at most 100; sent as one batch where the server takes that",
        )
        .keys(&[
            OptionDoc::new("method", "string", "required", "what to call"),
            OptionDoc::new("params", "list", "[]", "its parameters: a list, or a table of names")
                .any(),
        ]),
        OptionDoc::new(
            "chain_id",
            "integer",
            "",
            "evm: the chain that it must serve, such as 1; on another it is down",
        ),
        OptionDoc::new(
            "archive",
            "boolean",
            "false",
            "evm: also ask for a balance at block 1, which only an archive node has; or the \
             number of another old block",
        )
        .or("integer"),
        OptionDoc::new(
            "call",
            "table",
            "",
            "evm: a contract to ask for a number (eth_call): `to`, `data`, `decimals` (default \
             0), `signed` (default false)",
        )
        .keys(&[
            OptionDoc::new("to", "string", "required", "the address of the contract"),
            OptionDoc::new(
                "data",
                "string",
                "required",
                "what it is called with, in hexadecimal digits",
            ),
            OptionDoc::new(
                "decimals",
                "integer",
                "0",
                "by how many powers of ten its answer is divided",
            ),
            OptionDoc::new("signed", "boolean", "false", "whether its answer may be negative"),
        ]),
        tls::INSECURE_SKIP_VERIFY,
        tls::CA_FILE,
        tls::CERT_FILE,
        tls::KEY_FILE,
    ],
    facts: &[
        FactSpec::passing("result", FactType::Any, "what `method` answered"),
        FactSpec::passing(
            "results",
            FactType::Any,
            "what each call of `batch` answered, as a list",
        ),
        FactSpec::kept(
            "rate_limited",
            FactType::Bool,
            "",
            "whether the server answered that it is asked too often; the check is unknown then, \
             and pages nobody, unless `expect` uses this fact or `error`",
        ),
        FactSpec::kept("block_number", FactType::Int, "", "evm: the latest block"),
        FactSpec::kept("block_age_seconds", FactType::Double, "s", "evm: the age of that block"),
        FactSpec::kept(
            "blocks_behind",
            FactType::Int,
            "",
            "evm: how far it is behind the best reference, 0 if ahead; absent where none answers",
        ),
        FactSpec::kept("syncing", FactType::Bool, "", "evm: whether the node is catching up"),
        FactSpec::kept("chain_id", FactType::Int, "", "evm: which chain it serves"),
        FactSpec::kept(
            "peer_count",
            FactType::Int,
            "",
            "evm: its peers; absent where the node does not tell",
        ),
        FactSpec::kept("gas_price_gwei", FactType::Double, "gwei", "evm: the price of gas"),
        FactSpec::kept("finalized_block", FactType::Int, "", "evm: the latest final block"),
        FactSpec::kept(
            "finality_lag_blocks",
            FactType::Int,
            "",
            "evm: how far the latest final block is behind the latest",
        ),
        FactSpec::kept(
            "archive",
            FactType::Bool,
            "",
            "evm, with `archive`: whether the node has the state of the old block",
        ),
        FactSpec::kept("call_value", FactType::Double, "", "evm: the number that `call` gave"),
        FactSpec::kept("version", FactType::Text, "", "evm, solana: the software of the node"),
        FactSpec::kept(
            "references",
            FactType::Map,
            "",
            "by server: the height that each reference gave, or why it gave none",
        ),
        FactSpec::kept("references_failed", FactType::Int, "", "references that gave no height"),
        FactSpec::kept("slot", FactType::Int, "", "solana: the latest confirmed slot"),
        FactSpec::kept("health", FactType::Text, "", "solana: ok, behind, or the node's own words"),
        FactSpec::kept(
            "slots_behind",
            FactType::Int,
            "",
            "solana: how far it is behind the best reference; without one, what the node says of \
             itself, 0 if it calls itself healthy",
        ),
        FactSpec::kept("block_height", FactType::Int, "", "solana: blocks below the slot"),
        FactSpec::kept(
            "transaction_count",
            FactType::Int,
            "",
            "solana: transactions since the chain began",
        ),
        FactSpec::kept("epoch", FactType::Int, "", "solana: the present epoch"),
        ABSENT,
    ],
    example: r#"[[check]]
name = "eth-node"
every = "15s"
expect = ["!syncing", "block_age_seconds < 60.0"]
degraded_if = ["blocks_behind > 3", "finality_lag_blocks > 100"]
[check.rpc]
url = "https://node.example/v1/key"
chain = "evm"
chain_id = 1
reference = ["https://other.example/rpc"]
headers = { Authorization = "Bearer secret" }
"#,
    well: "answers without an error, from the chain of `chain_id` where that is set; a Solana node must call itself healthy. Where the server limits our rate the check is unknown",
    parse,
};

/// The fact that says that nothing is known of the server.
const RATE_LIMITED: &str = "rate_limited";

/// How many references are asked in each run.
const MOST_REFERENCES: usize = 10;

/// How many calls one batch has.
const MOST_CALLS: usize = 100;

/// How much of a node's own words goes into a fact.
const MOST_WORDS: usize = 200;

#[derive(Debug)]
struct Rpc {
    endpoint: Endpoint,
    chain: Option<Chain>,
    call: Option<Ask>,
    batch: Vec<Ask>,
    evm: Evm,
    references: Vec<Endpoint>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chain {
    Evm,
    Solana,
}

impl Chain {
    /// The code by which a node says that it is not well.
    fn unhealthy(self) -> Option<i64> {
        (self == Self::Solana).then_some(solana::UNHEALTHY)
    }
}

fn parse(section: &mut Section<'_>) -> Option<Box<dyn Check>> {
    let url = if section.has("url") {
        section.url("url", &["http", "https"])
    } else {
        section.required::<String>("url");
        None
    };
    let table = section.place().clone();
    let has_chain = section.has("chain");
    let chain = section.built("chain", |word: String| match word.as_str() {
        "evm" => Ok(Chain::Evm),
        "solana" => Ok(Chain::Solana),
        _ => Err(format!("`{word}` is not known (evm, solana, or no `chain` for any other)")),
    });
    let params_place = section.place_of("params");
    let has_method = section.has("method");
    let (method, params) = read_call(section);
    let (batch_place, has_batch) = (section.place_of("batch"), section.has("batch"));
    let batch = read_batch(section);
    if has_batch && (has_chain || has_method) {
        let other = if has_chain { "chain" } else { "method" };
        section.error_at(&batch_place, format!("does not go together with `{other}`"));
    }
    if !has_method {
        if !has_chain && !has_batch {
            section.report(
                table
                    .error("has neither `chain` nor `method`")
                    .hint("name the `method` to call, or set `chain` to evm or solana"),
            );
        }
        if params.is_some() {
            section.report(params_place.error("does nothing without `method`"));
        }
    }
    let of_evm = evm::OPTIONS.iter().any(|key| section.has(key));
    let evm_place = section.place().clone();
    let evm = Evm::read(section);
    if of_evm && chain != Some(Chain::Evm) && (chain.is_some() || !has_chain) {
        let what = "`chain_id`, `archive` and `call` do nothing without chain = \"evm\"";
        section.report(evm_place.error(what));
    }
    let reference_place = section.place_of("reference");
    let references = section.built("reference", reference_urls).unwrap_or_default();
    if !references.is_empty() && !has_chain {
        section.report(reference_place.error("does nothing without `chain`"));
    }
    let headers = section.built("headers", headers_of).unwrap_or_default();

    let client = read_client(section);

    let unhealthy = chain.and_then(Chain::unhealthy);
    let endpoint = |url, headers| Endpoint::new(url, headers, unhealthy);
    Some(Box::new(Rpc {
        endpoint: endpoint(url?, headers).with_client(client?),
        chain,
        call: method.map(|method| (method, params.unwrap_or_else(no_params))),
        batch,
        evm,
        references: references.into_iter().map(|url| endpoint(url, HeaderMap::new())).collect(),
    }))
}

/// Takes the options of TLS, and gives a client of the check's own where there are some.
#[expect(clippy::option_option, reason = "the outer one says that there are no problems")]
fn read_client(section: &mut Section<'_>) -> Option<Option<reqwest::Client>> {
    let options = [tls::INSECURE_SKIP_VERIFY, tls::CA_FILE, tls::CERT_FILE, tls::KEY_FILE];
    let any = options.iter().any(|option| section.has(option.name));
    let place = section.place().clone();
    let config = tls::read_mutual(section, &[b"h2", b"http/1.1"])?;
    if !any {
        return Some(None);
    }
    let client = support::http_client(&config).map_err(|what| section.error_at(&place, what));
    client.ok().map(Some)
}

fn no_params() -> Json {
    Json::Array(Vec::new())
}

/// Takes `method` and `params`.
fn read_call(section: &mut Section<'_>) -> (Option<String>, Option<Json>) {
    let method = section.built("method", |name: String| {
        if name.trim().is_empty() { Err("is empty".to_owned()) } else { Ok(name) }
    });
    let params = section.built("params", |params: Json| match params {
        Json::Array(_) | Json::Object(_) => Ok(params),
        _ => Err("must be a list, or a table of names".to_owned()),
    });
    (method, params)
}

fn read_batch(section: &mut Section<'_>) -> Vec<Ask> {
    let place = section.place_of("batch");
    let mut batch = Vec::new();
    for mut table in section.tables("batch") {
        if !table.has("method") {
            table.required::<String>("method");
        }
        let (method, params) = read_call(&mut table);
        section.finish_child(table);
        batch.extend(method.map(|method| (method, params.unwrap_or_else(no_params))));
    }
    if batch.len() > MOST_CALLS {
        section.error_at(&place, format!("has more than {MOST_CALLS} calls"));
    }
    batch
}

fn reference_urls(texts: Vec<String>) -> Result<Vec<Url>, String> {
    if texts.len() > MOST_REFERENCES {
        return Err(format!("has more than {MOST_REFERENCES} URLs"));
    }
    let parse = |(index, text): (usize, &String)| {
        let wrong =
            |why: &str| format!("number {} is not a URL that can be used: {why}", index + 1);
        let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
        match url.scheme() {
            "http" | "https" => Ok(url),
            _ => Err(wrong("it starts with http:// or https://")),
        }
    };
    texts.iter().enumerate().map(parse).collect()
}

fn headers_of(pairs: BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let known: HeaderName =
            name.parse().map_err(|_| format!("`{name}` is not the name of a header"))?;
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| format!("the value of `{name}` holds what a header cannot hold"))?;
        value.set_sensitive(true);
        headers.insert(known, value);
    }
    Ok(headers)
}

#[async_trait]
impl Check for Rpc {
    async fn run(&self, run: &Run) -> Observation {
        let mut facts = Facts::default();
        let found = match self.chain {
            None if !self.batch.is_empty() => self.batch(run, &mut facts).await,
            None => self.one(run, &mut facts).await,
            Some(Chain::Evm) => self.evm(run, &mut facts).await,
            Some(Chain::Solana) => self.solana(run, &mut facts).await,
        };
        facts.set(RATE_LIMITED, matches!(found, Err(Finding::RateLimited(_))));
        match found {
            Ok(()) => Observation::found(facts),
            Err(Finding::RateLimited(words)) => Observation::undecided(facts, RATE_LIMITED, words),
            Err(Finding::Failed(words)) => Observation::failed(facts, words),
        }
    }

    fn sense(&self, observation: &Observation) -> Verdict {
        if let Some(Fact::Bool(false)) = observation.facts.get("archive") {
            return Verdict::down(
                "the node is no archive node: it has not the state of that block",
            );
        }
        match observation.facts.get("health") {
            Some(Fact::Text(health)) if &**health == "behind" => {
                let behind = observation.facts.get("slots_behind").and_then(Fact::as_number);
                Verdict::down(match behind {
                    Some(slots) => format!("the node is behind by {slots} slots"),
                    None => "the node says that it is behind".to_owned(),
                })
            }
            Some(Fact::Text(health)) if &**health != "ok" => {
                Verdict::down(format!("the node is not healthy: {health}"))
            }
            _ => Verdict::UP,
        }
    }
}

impl Rpc {
    /// The one call of the user's choice.
    async fn one(&self, run: &Run, facts: &mut Facts) -> Result<(), Finding> {
        let Some((method, params)) = &self.call else { return Ok(()) };
        let answer = self.endpoint.call(&run.shared.http, method, params).await;
        facts.set("result", fact_of(answer.map_err(|error| self.finding(&error))?));
        Ok(())
    }
}

/// A number, plain or as EVM nodes write it: `"0x1b4"`.
fn quantity(json: &Json) -> Option<i64> {
    match json {
        Json::Number(number) => number.as_i64(),
        Json::String(text) => i64::from_str_radix(text.strip_prefix("0x")?, 16).ok(),
        _ => None,
    }
}
