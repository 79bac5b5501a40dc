//! Nodes of blockchains: Hardhat as an EVM node, and a Solana node that is as strict as the
//! documentation of its API.

use crate::harness::{Daemon, Hardhat, PATIENCE, Setup, eventually, free_port};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

fn check(name: &str, keys: &str, table: &str) -> String {
    format!(
        "[[check]]\nname = \"{name}\"\nevery = \"1s\"\ntimeout = \"2s\"\nconfirm_after = 1\n\
         recover_after = 1\n{keys}\n{table}\n\n"
    )
}

/// Waits until the reasons of a check say `word`, and gives its status.
async fn says(daemon: &Daemon, check: &str, word: &str) -> Value {
    eventually(&format!("{check} to say `{word}`"), PATIENCE, async || {
        let found: Value = daemon.get(&format!("/api/v1/checks/{check}")).await;
        found["reasons"].to_string().contains(word).then(|| found["status"].clone())
    })
    .await
}

/// The facts of the latest result of a check. Results are written a moment after their run.
async fn facts(daemon: &Daemon, check: &str) -> Value {
    let path = format!("/api/v1/checks/{check}/results?limit=1");
    eventually(&format!("{check} to have a result"), PATIENCE, async || {
        daemon.list(&path).await.first().map(|result| result["facts"].clone())
    })
    .await
}

#[tokio::test]
async fn an_evm_node_is_watched_over_http_and_websocket() {
    let mut node = Hardhat::start().await;
    let other = Hardhat::start().await;
    let (url, gone) = (node.url(), free_port());
    let evm = |more: &str| format!("[check.rpc]\nurl = \"{url}\"\nchain = \"evm\"\n{more}");
    // A contract that answers 42 to everything: PUSH1 42, PUSH1 0, MSTORE, PUSH1 32, PUSH1 0, RETURN.
    let contract = "0x00000000000000000000000000000000000000aa";
    let code = json!([contract, "0x602a60005260206000f3"]);
    node.ask("hardhat_setCode", &code).await.expect("a contract");
    let references = format!("reference = [\"{}\", \"http://127.0.0.1:{gone}\"]", other.url());
    let checks = [
        check(
            "node",
            "expect = [\"block_age_seconds < 3600.0\", \"!syncing\"]\n\
             degraded_if = [\"blocks_behind > 50\"]",
            &evm(&format!("chain_id = 31337\narchive = true\n{references}")),
        ),
        check("other-chain", "", &evm("chain_id = 1")),
        check(
            "contract",
            "expect = [\"call_value == 0.42\"]",
            &evm(&format!("call = {{ to = \"{contract}\", data = \"0x01\", decimals = 2 }}")),
        ),
        check(
            "batch",
            "expect = [\"results[0] == '0x7a69'\"]",
            &format!(
                "[check.rpc]\nurl = \"{url}\"\n[[check.rpc.batch]]\nmethod = \"eth_chainId\"\n\
                 [[check.rpc.batch]]\nmethod = \"eth_blockNumber\""
            ),
        ),
        check(
            "socket",
            "expect = [\"json.result == '0x7a69'\"]",
            &format!(
                "[check.websocket]\nurl = \"ws://127.0.0.1:{}/\"\n\
                 send = '{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_chainId\"}}'",
                node.port
            ),
        ),
    ];
    let daemon = Setup::new().checks("all.toml", &checks.concat()).start().await;
    for up in ["node", "contract", "batch", "socket"] {
        daemon.wait_for_status(up, "up").await;
    }
    assert_eq!(says(&daemon, "other-chain", "serves chain 31337, not 1").await, "down");
    let found = facts(&daemon, "node").await;
    assert_eq!((&found["chain_id"], &found["archive"]), (&json!(31337), &json!(true)), "{found:#}");
    assert_eq!(found["references_failed"], 1, "{found:#}");
    assert!(found["gas_price_gwei"].as_f64().is_some_and(|gwei| gwei > 0.0), "{found:#}");
    assert!(found["finality_lag_blocks"].is_i64(), "{found:#}");
    assert!(found["version"].as_str().unwrap().contains("HardhatNetwork"), "{found:#}");
    assert!(found["references"].to_string().contains("refused"), "{found:#}");

    other.ask("hardhat_mine", &json!(["0x64"])).await.expect("blocks");
    assert_eq!(says(&daemon, "node", "blocks_behind > 50 holds").await, "degraded");
    node.ask("hardhat_mine", &json!(["0x80"])).await.expect("blocks");
    daemon.wait_for_status("node", "up").await;

    node.service.stall();
    assert_eq!(says(&daemon, "node", "no answer within 2s").await, "down");
    node.service.resume();
    daemon.wait_for_status("node", "up").await;
    node.service.stop();
    assert_eq!(says(&daemon, "node", "refused").await, "down");
    assert_eq!(says(&daemon, "socket", "refused").await, "down");
    // A new chain, which has to catch up.
    node.start_again().await;
    assert_eq!(says(&daemon, "node", "blocks_behind > 50 holds").await, "degraded");
    node.ask("hardhat_mine", &json!(["0x100"])).await.expect("blocks");
    daemon.wait_for_status("node", "up").await;
}

/// What the Solana node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    Behind,
    Limiting,
}

/// Answers as <https://solana.com/docs/rpc/http> shows them, and refuses what is not as it says.
async fn solana(
    State((mood, slot)): State<(Arc<Mutex<Mood>>, u64)>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let mood = *mood.lock().unwrap();
    if headers.get("content-type").is_none_or(|value| value != "application/json") {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "application/json is required")
            .into_response();
    }
    if mood == Mood::Limiting {
        let error = json!({"code": 429, "message": "Too many requests for a specific RPC call"});
        let answer = json!({"jsonrpc": "2.0", "error": error, "id": 1});
        return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "10")], Json(answer))
            .into_response();
    }
    let answer = match serde_json::from_str::<Value>(&body) {
        Ok(Value::Array(calls)) => calls.iter().map(|call| solana_one(mood, slot, call)).collect(),
        Ok(call) => solana_one(mood, slot, &call),
        Err(_) => json!({"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}}),
    };
    Json(answer).into_response()
}

fn solana_one(mood: Mood, slot: u64, call: &Value) -> Value {
    let id = &call["id"];
    let fail = |code: i64, message: &str, data: &Value| {
        let error = json!({"code": code, "message": message, "data": data});
        json!({"jsonrpc": "2.0", "error": error, "id": id})
    };
    let params = call["params"].as_array().cloned().unwrap_or_default();
    let commitment = params.first().and_then(|config| config["commitment"].as_str());
    let known = matches!(commitment, None | Some("processed" | "confirmed" | "finalized"));
    if call["jsonrpc"] != "2.0" || id.is_null() || !known || params.len() > 1 {
        return fail(-32602, "Invalid params", &Value::Null);
    }
    let result = match call["method"].as_str() {
        Some("getSlot") => json!(slot),
        Some("getHealth" | "getVersion") if !params.is_empty() => {
            return fail(-32602, "Invalid parameters: No parameters were expected", &Value::Null);
        }
        Some("getHealth") if mood == Mood::Behind => {
            let data = json!({"numSlotsBehind": 42});
            return fail(-32005, "Node is behind by 42 slots", &data);
        }
        Some("getHealth") => json!("ok"),
        Some("getVersion") => json!({"feature-set": 2_891_131_721_u64, "solana-core": "1.16.7"}),
        Some("getEpochInfo") => json!({
            "absoluteSlot": slot, "blockHeight": slot - 166_500, "epoch": 27, "slotIndex": 2790,
            "slotsInEpoch": 8192, "transactionCount": 22_661_093,
        }),
        _ => return fail(-32601, "Method not found", &Value::Null),
    };
    json!({"jsonrpc": "2.0", "result": result, "id": id})
}

async fn start_solana(slot: u64) -> (String, Arc<Mutex<Mood>>) {
    let mood = Arc::new(Mutex::new(Mood::Well));
    let router = Router::new().fallback(solana).with_state((Arc::clone(&mood), slot));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, mood)
}

#[tokio::test]
async fn a_solana_node_is_watched_and_a_rate_limit_pages_nobody() {
    let (url, mood) = start_solana(166_598).await;
    let (ahead, _) = start_solana(166_600).await;
    let solana =
        format!("[check.rpc]\nurl = \"{url}\"\nchain = \"solana\"\nreference = [\"{ahead}\"]");
    let keys = "expect = [\"health == 'ok'\", \"slots_behind < 50\", \"transaction_count > 0\"]";
    let checks = [check("sol", keys, &solana), check("plain", "", &solana)];
    let daemon = Setup::new().checks("all.toml", &checks.concat()).start().await;
    daemon.wait_for_status("sol", "up").await;
    let found = facts(&daemon, "sol").await;
    assert_eq!(found["slots_behind"], 2, "{found:#}");
    assert_eq!(found["transaction_count"], 22_661_093, "{found:#}");
    assert_eq!((&found["version"], &found["block_height"]), (&json!("1.16.7"), &json!(98)));

    *mood.lock().unwrap() = Mood::Limiting;
    for check in ["sol", "plain"] {
        assert_eq!(says(&daemon, check, "limits our rate").await, "unknown");
    }
    assert!(daemon.list("/api/v1/incidents?state=open").await.is_empty());
    *mood.lock().unwrap() = Mood::Behind;
    assert_eq!(says(&daemon, "plain", "behind by 2 slots").await, "down");
    *mood.lock().unwrap() = Mood::Well;
    daemon.wait_for_status("plain", "up").await;
}
