//! JSON-RPC 2.0 over HTTP: one call of the user's choice, or what the nodes of a chain say of
//! themselves.

mod endpoint;
#[cfg(test)]
mod tests;

use crate::check::support::value::{excerpt, fact_of};
use crate::check::{Check, Kind, Run};
use crate::config::Section;
use crate::model::{Fact, FactSpec, FactType, Facts, Observation, OptionDoc, Verdict};
use async_trait::async_trait;
use endpoint::{CallError, Endpoint};
use futures_util::future::join_all;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::time::Duration;
use url::Url;

/// Watches a server that speaks JSON-RPC.
pub const KIND: Kind = Kind {
    name: "rpc",
    summary: "a JSON-RPC 2.0 server over HTTP, among them nodes of EVM chains and of Solana",
    options: &[
        OptionDoc::new("url", "secret", "required", "where it is; messages show only its host"),
        OptionDoc::new("chain", "string", "", "`evm` or `solana`: also find the facts of a node"),
        OptionDoc::new("method", "string", "", "what to call; required without `chain`"),
        OptionDoc::new("params", "list", "[]", "its parameters: a list, or a table of names"),
        OptionDoc::new(
            "reference",
            "list",
            "[]",
            "URLs of other nodes of the same chain, at most 10, to compare with; `headers` do not \
             go there, and each has half of the timeout",
        ),
        OptionDoc::new("headers", "table", "", "headers of each request, such as a key"),
    ],
    facts: &[
        FactSpec::passing("result", FactType::Any, "what `method` answered"),
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
        FactSpec::kept("slot", FactType::Int, "", "solana: the latest confirmed slot"),
        FactSpec::kept("health", FactType::Text, "", "solana: ok, behind, or the node's own words"),
        FactSpec::kept(
            "slots_behind",
            FactType::Int,
            "",
            "solana: how far it is behind the best reference; without one, what the node says of \
             itself, 0 if it calls itself healthy",
        ),
    ],
    example: r#"[[check]]
name = "eth-node"
every = "15s"
expect = ["chain_id == 1", "!syncing", "block_age_seconds < 60.0"]
degraded_if = ["blocks_behind > 3"]
[check.rpc]
url = "https://node.example/v1/key"
chain = "evm"
reference = ["https://other.example/rpc"]
headers = { Authorization = "Bearer secret" }
"#,
    well: "answers without an error; a Solana node must call itself healthy",
    parse,
};

/// How many references are asked in each run.
const MOST_REFERENCES: usize = 10;

/// How much of a node's own words goes into a fact.
const MOST_WORDS: usize = 200;

/// The error code of a Solana node that is not healthy.
///
/// See <https://solana.com/docs/rpc/http/gethealth>.
const UNHEALTHY: i64 = -32005;

#[derive(Debug)]
struct Rpc {
    endpoint: Endpoint,
    chain: Option<Chain>,
    call: Option<Call>,
    references: Vec<Endpoint>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chain {
    Evm,
    Solana,
}

#[derive(Debug)]
struct Call {
    method: String,
    params: Json,
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
    let method_is_there = section.has("method");
    let method = section.built("method", |name: String| {
        if name.trim().is_empty() { Err("is empty".to_owned()) } else { Ok(name) }
    });
    let params = section.built("params", |params: Json| match params {
        Json::Array(_) | Json::Object(_) => Ok(params),
        _ => Err("must be a list, or a table of names".to_owned()),
    });
    if !method_is_there {
        if !has_chain {
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
    let reference_place = section.place_of("reference");
    let references = section.built("reference", reference_urls).unwrap_or_default();
    if !references.is_empty() && !has_chain {
        section.report(reference_place.error("does nothing without `chain`"));
    }
    let headers = section.built("headers", headers_of).unwrap_or_default();

    let call = method
        .map(|method| Call { method, params: params.unwrap_or_else(|| Json::Array(Vec::new())) });
    Some(Box::new(Rpc {
        endpoint: Endpoint::new(url?, headers),
        chain,
        call,
        references: references
            .into_iter()
            .map(|url| Endpoint::new(url, HeaderMap::new()))
            .collect(),
    }))
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
            None => self.own_call(run, &mut facts).await,
            Some(Chain::Evm) => self.evm(run, &mut facts).await,
            Some(Chain::Solana) => self.solana(run, &mut facts).await,
        };
        match found {
            Ok(()) => Observation::found(facts),
            Err(error) => {
                let words = self.words(&error);
                Observation::failed(facts, words)
            }
        }
    }

    fn sense(&self, observation: &Observation) -> Verdict {
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
    async fn own_call(&self, run: &Run, facts: &mut Facts) -> Result<(), CallError> {
        let Some(call) = &self.call else { return Ok(()) };
        let result = self.endpoint.call(&run.shared.http, &call.method, &call.params).await?;
        facts.set("result", fact_of(result));
        Ok(())
    }

    /// See <https://ethereum.org/developers/docs/apis/json-rpc/>. Single requests at the same
    /// time: public nodes often refuse batches.
    async fn evm(&self, run: &Run, facts: &mut Facts) -> Result<(), CallError> {
        let (node, http) = (&self.endpoint, &run.shared.http);
        let (latest, none) = (json!(["latest", false]), json!([]));
        let mut own = Facts::default();
        let (block, syncing, chain, peers, called, best) = tokio::join!(
            node.call(http, "eth_getBlockByNumber", &latest),
            node.call(http, "eth_syncing", &none),
            node.call(http, "eth_chainId", &none),
            node.call(http, "net_peerCount", &none),
            self.own_call(run, &mut own),
            self.best_reference(run, "eth_blockNumber", &none),
        );
        // Many nodes do not offer some of these; only the block is the heart of the matter.
        if let Ok(syncing) = &syncing {
            facts.set("syncing", *syncing != Json::Bool(false));
        }
        for (name, answer) in [("chain_id", &chain), ("peer_count", &peers)] {
            if let Some(number) = answer.as_ref().ok().and_then(quantity) {
                facts.set(name, number);
            }
        }
        if let Some(result) = own.get("result") {
            facts.set("result", result.clone());
        }

        let block = block?;
        let number = quantity(&block["number"]);
        let (Some(number), Some(time)) = (number, quantity(&block["timestamp"])) else {
            return Err(CallError::Odd("the node has no latest block".to_owned()));
        };
        facts.set("block_number", number);
        let age = run.shared.clock.wall().as_millis().saturating_sub(time.saturating_mul(1000));
        facts.set("block_age_seconds", age.max(0) as f64 / 1000.0);
        if let Some(best) = best {
            facts.set("blocks_behind", best.saturating_sub(number).max(0));
        }
        called
    }

    /// See <https://solana.com/docs/rpc/http>.
    async fn solana(&self, run: &Run, facts: &mut Facts) -> Result<(), CallError> {
        let (node, http) = (&self.endpoint, &run.shared.http);
        let (confirmed, none) = (json!([{"commitment": "confirmed"}]), json!([]));
        let mut own = Facts::default();
        let (slot, health, called, best) = tokio::join!(
            node.call(http, "getSlot", &confirmed),
            node.call(http, "getHealth", &none),
            self.own_call(run, &mut own),
            self.best_reference(run, "getSlot", &confirmed),
        );
        if let Some(result) = own.get("result") {
            facts.set("result", result.clone());
        }
        let slot = slot.map(|slot| quantity(&slot));
        if let Ok(Some(slot)) = slot {
            facts.set("slot", slot);
        }
        let own_word = match health {
            Ok(Json::String(health)) => {
                let healthy = health == "ok";
                facts.set("health", excerpt(&health, MOST_WORDS));
                healthy.then_some(0)
            }
            Ok(_) => None,
            Err(CallError::Answered { code: UNHEALTHY, message, data }) => {
                let behind = data["numSlotsBehind"].as_i64();
                match behind {
                    Some(_) => facts.set("health", "behind"),
                    None => facts.set("health", node.clean(&excerpt(&message, MOST_WORDS))),
                }
                behind
            }
            // A node may not offer the method; the slot shows that it lives.
            Err(CallError::Answered { .. }) => None,
            Err(error) => return Err(error),
        };
        let compared = match (best, &slot) {
            (Some(best), Ok(Some(slot))) => Some(best.saturating_sub(*slot).max(0)),
            _ => None,
        };
        if let Some(behind) = compared.or(own_word) {
            facts.set("slots_behind", behind);
        }
        if slot?.is_none() {
            return Err(CallError::Odd("the node's slot is not a number".to_owned()));
        }
        called
    }

    /// The highest number that a reference answers within half of the run's time, so that one
    /// that hangs does not make the node look bad.
    async fn best_reference(&self, run: &Run, method: &str, params: &Json) -> Option<i64> {
        let patience: Duration = run.timeout / 2;
        let ask = |reference| async move {
            let call = Endpoint::call(reference, &run.shared.http, method, params);
            let answer = tokio::time::timeout(patience, call).await.ok()?.ok()?;
            quantity(&answer)
        };
        join_all(self.references.iter().map(ask)).await.into_iter().flatten().max()
    }

    fn words(&self, error: &CallError) -> String {
        let solana = self.chain == Some(Chain::Solana);
        let words = match error {
            // The code for "limit exceeded" of EIP-1474, which other servers use as well.
            CallError::Answered { code: -32005, message, .. } if !solana => {
                format!("rate limited: the node answered error -32005: {message}")
            }
            CallError::Answered { code, message, .. } => {
                format!("the node answered error {code}: {message}")
            }
            CallError::Odd(words) => words.clone(),
        };
        self.endpoint.clean(&words)
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
