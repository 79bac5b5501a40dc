//! Nodes of Solana.
//!
//! See <https://solana.com/docs/rpc/http>.

use super::endpoint::{Ask, CallError};
use super::{Finding, MOST_WORDS, Rpc, quantity};
use crate::check::Run;
use crate::check::support::value::excerpt;
use crate::model::Facts;
use serde_json::{Value as Json, json};

/// The error code of a node that is not healthy.
///
/// See <https://solana.com/docs/rpc/http/gethealth>.
pub const UNHEALTHY: i64 = -32005;

impl Rpc {
    pub(super) async fn solana(&self, run: &Run, facts: &mut Facts) -> Result<(), Finding> {
        let confirmed = || json!([{"commitment": "confirmed"}]);
        let asks: Vec<Ask> = vec![
            ("getSlot".into(), confirmed()),
            ("getHealth".into(), json!([])),
            ("getEpochInfo".into(), confirmed()),
            ("getVersion".into(), json!([])),
        ];
        let mut answers = self.ask(run, asks, ("getSlot", confirmed())).await?;

        let slot = answers.next().map(|slot| quantity(&slot));
        if let Ok(Some(slot)) = slot {
            facts.set("slot", slot);
        }
        let own_word = match answers.next() {
            Ok(Json::String(health)) => {
                let healthy = health == "ok";
                facts.set("health", excerpt(&health, MOST_WORDS));
                healthy.then_some(0)
            }
            Err(CallError::Answered { code: UNHEALTHY, message, data }) => {
                let behind = data["numSlotsBehind"].as_i64();
                match behind {
                    Some(_) => facts.set("health", "behind"),
                    None => {
                        facts.set("health", self.endpoint.clean(&excerpt(&message, MOST_WORDS)))
                    }
                }
                behind
            }
            // A node may not offer the method; the slot shows that it lives.
            Ok(_) | Err(CallError::Answered { .. }) => {
                answers.absent.because("health", "the node does not offer getHealth");
                None
            }
            Err(error) => return Err(self.finding(&error)),
        };
        let epoch = answers.next();
        match epoch {
            Ok(epoch) => {
                for (fact, key) in [
                    ("block_height", "blockHeight"),
                    ("transaction_count", "transactionCount"),
                    ("epoch", "epoch"),
                ] {
                    match epoch[key].as_i64() {
                        Some(number) => facts.set(fact, number),
                        None => answers.absent.because(fact, "the node does not tell it"),
                    }
                }
            }
            Err(error) => {
                for fact in ["block_height", "transaction_count", "epoch"] {
                    answers.absent.because(fact, self.why_not(&error, "getEpochInfo"));
                }
            }
        }
        answers.offer(self, "version", "getVersion", |json| {
            if let Some(version) = json["solana-core"].as_str() {
                facts.set("version", excerpt(version, MOST_WORDS));
            }
        });

        let compared = match (answers.best, &slot) {
            (Some(best), Ok(Some(slot))) => Some(best.saturating_sub(*slot).max(0)),
            _ => None,
        };
        match compared.or(own_word) {
            Some(behind) => facts.set("slots_behind", behind),
            None => answers.no_best("slots_behind"),
        }
        let slot = slot.map_err(|error| self.finding(&error))?;
        let what = slot.is_none().then(|| "the node's slot is not a number".to_owned());
        answers.end(facts, what)
    }
}
