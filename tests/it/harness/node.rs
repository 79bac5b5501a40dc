use super::local::Local;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

/// A blockchain node that answers JSON-RPC 2.0 as Ethereum's and Solana's nodes document it.
///
/// <https://ethereum.org/en/developers/docs/apis/json-rpc/>, <https://solana.com/docs/rpc/http>
#[derive(Debug)]
pub struct Node {
    /// The server itself, to stop and to stall.
    pub local: Local,
    state: Arc<Mutex<Chain>>,
}

/// What the node says.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The height of its head, as block number and as slot.
    pub height: u64,
    /// How old its newest block is, in seconds.
    pub age: u64,
    /// Whether it is still catching up.
    pub syncing: bool,
    /// An error that it answers to everything: code and message.
    pub error: Option<(i64, String)>,
    /// The status of its HTTP answers.
    pub http_status: u16,
}

impl Node {
    /// A healthy one.
    pub fn start() -> Self {
        let chain =
            Chain { height: 21_000_000, age: 4, syncing: false, error: None, http_status: 200 };
        let state = Arc::new(Mutex::new(chain));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&state));
        Self { local: Local::router(router), state }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.local.port)
    }

    /// Changes what it says.
    pub fn change(&self, change: impl FnOnce(&mut Chain)) {
        change(&mut self.state.lock().unwrap());
    }
}

async fn answer(
    State(state): State<Arc<Mutex<Chain>>>,
    Json(request): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let chain = state.lock().unwrap().clone();
    let answer = match request {
        Value::Array(calls) => calls.iter().map(|call| one(&chain, call)).collect(),
        call => one(&chain, &call),
    };
    (StatusCode::from_u16(chain.http_status).unwrap(), Json(answer))
}

fn one(chain: &Chain, call: &Value) -> Value {
    let id = call["id"].clone();
    let fail = |code: i64, message: &str| json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } });
    if call["jsonrpc"] != "2.0" || !call["method"].is_string() {
        return fail(-32600, "Invalid Request");
    }
    if let Some((code, message)) = &chain.error {
        return fail(*code, message);
    }
    let hex = |number: u64| json!(format!("0x{number:x}"));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let result = match call["method"].as_str().unwrap() {
        "eth_blockNumber" => hex(chain.height),
        "eth_chainId" => hex(1),
        "net_version" => json!("1"),
        "net_peerCount" => hex(25),
        "web3_clientVersion" => json!("Geth/v1.14.0-stable/linux-amd64/go1.22"),
        "eth_syncing" if chain.syncing => json!({
            "startingBlock": "0x0",
            "currentBlock": hex(chain.height),
            "highestBlock": hex(chain.height + 500),
        }),
        "eth_syncing" => json!(false),
        "eth_getBlockByNumber" => json!({
            "number": hex(chain.height),
            "hash": format!("0x{:064x}", chain.height),
            "parentHash": format!("0x{:064x}", chain.height - 1),
            "timestamp": hex(now - chain.age),
            "transactions": [],
        }),
        "getSlot" | "getBlockHeight" => json!(chain.height),
        "getHealth" if chain.syncing => {
            let mut answer = fail(-32005, "Node is behind by 500 slots");
            answer["error"]["data"] = json!({ "numSlotsBehind": 500 });
            return answer;
        }
        "getHealth" => json!("ok"),
        "getVersion" => json!({ "solana-core": "2.0.0", "feature-set": 1 }),
        "getBlockTime" => json!(now - chain.age),
        "getEpochInfo" => json!({
            "absoluteSlot": chain.height,
            "blockHeight": chain.height - 100,
            "epoch": 600,
            "slotIndex": 1000,
            "slotsInEpoch": 432_000,
        }),
        other => {
            return fail(-32601, &format!("the method {other} does not exist/is not available"));
        }
    };
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}
