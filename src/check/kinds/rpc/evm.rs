//! Nodes of EVM chains.
//!
//! See <https://ethereum.org/developers/docs/apis/json-rpc/>.

use super::endpoint::{Ask, CallError};
use super::{Finding, MOST_WORDS, Rpc, quantity};
use crate::check::Run;
use crate::check::support::value::excerpt;
use crate::config::Section;
use crate::model::Facts;
use serde_json::{Value as Json, json};

/// Wei in a gwei.
const GWEI: f64 = 1e9;

/// How many decimals a token has at most.
const MOST_DECIMALS: u32 = 77;

/// The options that [`Evm::read`] takes.
pub const OPTIONS: [&str; 3] = ["chain_id", "archive", "call"];

/// What is asked of an EVM node beyond what every one is asked.
#[derive(Debug, Default)]
pub struct Evm {
    /// The chain that it must serve.
    pub chain_id: Option<i64>,
    /// A block whose state an archive node still has.
    pub archive: Option<u64>,
    /// A contract to ask for a number.
    pub contract: Option<Contract>,
}

/// A read-only call of a contract (`eth_call`), whose result is a number.
#[derive(Debug)]
pub struct Contract {
    to: String,
    data: String,
    decimals: u32,
    signed: bool,
}

impl Evm {
    /// Takes `chain_id`, `archive` and `call`.
    pub fn read(section: &mut Section<'_>) -> Self {
        let chain_id = section.built("chain_id", |id: i64| match id {
            1.. => Ok(id),
            _ => Err("must be a positive number (1 is Ethereum)".to_owned()),
        });
        let archive = section.built("archive", |value: toml::Value| match value {
            toml::Value::Boolean(yes) => Ok(yes.then_some(1)),
            toml::Value::Integer(block) if block >= 0 => Ok(u64::try_from(block).ok()),
            _ => Err("must be true, or the number of an old block".to_owned()),
        });
        let contract = section.table("call").and_then(|mut table| {
            let to = table.required_built("to", |text: String| hex(&text, Some(20)));
            let data = table.required_built("data", |text: String| hex(&text, None));
            let decimals = table.built("decimals", |count: u32| match count {
                0..=MOST_DECIMALS => Ok(count),
                _ => Err(format!("is more than {MOST_DECIMALS}")),
            });
            let signed = table.or("signed", false);
            section.finish_child(table);
            Some(Contract { to: to?, data: data?, decimals: decimals.unwrap_or(0), signed })
        });
        Self { chain_id, archive: archive.flatten(), contract }
    }
}

impl Rpc {
    /// Finds the facts of a node. What it does not offer is absent; without its latest block there
    /// is nothing to say.
    pub(super) async fn evm(&self, run: &Run, facts: &mut Facts) -> Result<(), Finding> {
        let none = || json!([]);
        let mut asks: Vec<Ask> = vec![
            ("eth_getBlockByNumber".into(), json!(["latest", false])),
            ("eth_syncing".into(), none()),
            ("eth_chainId".into(), none()),
            ("net_peerCount".into(), none()),
            ("eth_gasPrice".into(), none()),
            ("eth_getBlockByNumber".into(), json!(["finalized", false])),
            ("web3_clientVersion".into(), none()),
        ];
        if let Some(block) = self.evm.archive {
            let nobody = format!("0x{}", "0".repeat(40));
            asks.push(("eth_getBalance".into(), json!([nobody, format!("{block:#x}")])));
        }
        if let Some(contract) = &self.evm.contract {
            let call = json!({"to": contract.to, "data": contract.data});
            asks.push(("eth_call".into(), json!([call, "latest"])));
        }
        let mut answers = self.ask(run, asks, ("eth_blockNumber", none())).await?;

        let block = answers.next();
        answers.offer(self, "syncing", "eth_syncing", |json| {
            facts.set("syncing", *json != Json::Bool(false));
        });
        let mut served = None;
        answers.offer(self, "chain_id", "eth_chainId", |json| {
            served = number("chain_id", json, facts);
        });
        answers.offer(self, "peer_count", "net_peerCount", |json| {
            number("peer_count", json, facts);
        });
        answers.offer(self, "gas_price_gwei", "eth_gasPrice", |json| {
            if let Some(wei) = quantity(json) {
                facts.set("gas_price_gwei", wei as f64 / GWEI);
            }
        });
        let mut finalized = None;
        answers.offer(self, "finality_lag_blocks", "the block `finalized`", |json| {
            finalized = number("finalized_block", &json["number"], facts);
        });
        answers.offer(self, "version", "web3_clientVersion", |json| {
            if let Some(version) = json.as_str() {
                facts.set("version", excerpt(version, MOST_WORDS));
            }
        });
        if self.evm.archive.is_some() {
            match answers.next() {
                Ok(_) => facts.set("archive", true),
                // It knows the question, and does not have the state.
                Err(CallError::Answered { .. }) => facts.set("archive", false),
                Err(error) => answers.absent.because("archive", self.words(&error)),
            }
        }
        if let Some(contract) = &self.evm.contract {
            match answers.next().map(|json| contract.decode(&json)) {
                Ok(Ok(value)) => facts.set("call_value", value),
                Ok(Err(what)) => answers.failed(Finding::Failed(what)),
                Err(error) => {
                    let words = format!("eth_call: {}", self.words(&error));
                    answers.failed(Finding::Failed(words));
                }
            }
        }
        if let (Some(wanted), Some(id)) = (self.evm.chain_id, served)
            && wanted != id
        {
            answers.failed(Finding::Failed(format!("the node serves chain {id}, not {wanted}")));
        }
        let block = match block {
            Ok(block) => block,
            Err(error) => {
                answers.failed(self.finding(&error));
                return answers.end(facts, None);
            }
        };
        let (Some(height), Some(time)) =
            (quantity(&block["number"]), quantity(&block["timestamp"]))
        else {
            return answers.end(facts, Some("the node has no latest block".to_owned()));
        };
        facts.set("block_number", height);
        let age = run.shared.clock.wall().as_millis().saturating_sub(time.saturating_mul(1000));
        facts.set("block_age_seconds", age.max(0) as f64 / 1000.0);
        if let Some(best) = answers.best {
            facts.set("blocks_behind", best.saturating_sub(height).max(0));
        } else {
            answers.no_best("blocks_behind");
        }
        if let Some(finalized) = finalized {
            facts.set("finality_lag_blocks", height.saturating_sub(finalized).max(0));
        }
        let nameless = self.evm.chain_id.is_some() && served.is_none();
        let what = nameless.then(|| "the node does not tell which chain it serves".to_owned());
        answers.end(facts, what)
    }
}

/// Sets the fact `name` to a whole number, and gives it.
fn number(name: &'static str, json: &Json, facts: &mut Facts) -> Option<i64> {
    let number = quantity(json)?;
    facts.set(name, number);
    Some(number)
}

impl Contract {
    /// The first word of the result as a number, with its decimals. A double has about 16 digits,
    /// so that the last ones of a large number are rounded.
    fn decode(&self, result: &Json) -> Result<f64, String> {
        let text = result.as_str().unwrap_or_default();
        let digits = text.strip_prefix("0x").unwrap_or_default();
        if digits.is_empty() {
            return Err("eth_call gave nothing: is there a contract at that address, and does it \
                        have that function?"
                .to_owned());
        }
        let word = digits.get(..64).unwrap_or(digits);
        let mut value = 0.0;
        for digit in word.chars() {
            let digit = digit.to_digit(16).ok_or("eth_call gave something that is no number")?;
            value = value * 16.0 + f64::from(digit);
        }
        let top = word.chars().next().and_then(|digit| digit.to_digit(16)).unwrap_or(0);
        let negative = self.signed && word.len() == 64 && top >= 8;
        if negative {
            value = -complement(word);
        }
        Ok(value / 10f64.powi(i32::try_from(self.decimals).unwrap_or(0)))
    }
}

/// What two's complement makes of a negative word: its size. By its digits, since the difference
/// of two large doubles would lose all of a small number.
fn complement(word: &str) -> f64 {
    let inverted = word.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| 15 - digit);
    inverted.fold(0.0, |value, digit| value * 16.0 + f64::from(digit)) + 1.0
}

/// A text as hexadecimal bytes with `0x`.
fn hex(text: &str, bytes: Option<usize>) -> Result<String, String> {
    let digits = text.strip_prefix("0x").filter(|digits| {
        digits.len() % 2 == 0 && digits.chars().all(|digit| digit.is_ascii_hexdigit())
    });
    match (digits, bytes) {
        (Some(digits), Some(bytes)) if digits.len() != bytes * 2 => {
            Err(format!("must have {bytes} bytes after 0x, and has {}", digits.len() / 2))
        }
        (Some(_), _) => Ok(text.to_owned()),
        (None, _) => Err("must be hexadecimal bytes after 0x".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Contract, hex};
    use serde_json::json;

    fn check(result: &str, decimals: u32, signed: bool, expected: f64) {
        let contract = Contract { to: String::new(), data: String::new(), decimals, signed };
        assert_eq!(contract.decode(&json!(result)), Ok(expected), "{result}");
    }

    #[test]
    fn the_result_of_a_contract_is_a_number() {
        check("0x0000000000000000000000000000000000000000000000000de0b6b3a7640000", 18, false, 1.0);
        check(
            "0x00000000000000000000000000000000000000000000000000000000000000ff",
            0,
            false,
            255.0,
        );
        check(&format!("0x{}", "f".repeat(64)), 0, true, -1.0);
        check(&format!("0x{}9c", "f".repeat(62)), 2, true, -1.0);
        check(&format!("0x{}{}", "0".repeat(63), "7"), 0, true, 7.0);
        let none = Contract { to: String::new(), data: String::new(), decimals: 0, signed: false };
        assert!(none.decode(&json!("0x")).is_err_and(|what| what.contains("gave nothing")));
        assert!(none.decode(&json!("0xzz")).is_err());
    }

    #[test]
    fn hexadecimal_bytes_are_whole() {
        assert_eq!(hex("0x18160ddd", None), Ok("0x18160ddd".to_owned()));
        for bad in ["18160ddd", "0x1", "0xgg", ""] {
            assert!(hex(bad, None).is_err(), "{bad}");
        }
        assert_eq!(hex("0x18", Some(20)), Err("must have 20 bytes after 0x, and has 1".to_owned()));
    }
}
