use super::{KIND, quantity};
use crate::check::testing::{facts, free_port, number, observe, parse, problems, run};
use crate::check::{Check, Run};
use crate::model::{Fact, Status};
use axum::Router;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;

/// A node that answers by a function of method and headers; it ends with the test's runtime.
async fn node(
    answer: impl Fn(&str, &Json, &HeaderMap) -> Response + Send + Sync + 'static,
) -> String {
    let answer = Arc::new(answer);
    let handler = move |headers: HeaderMap, body: String| {
        let answer = Arc::clone(&answer);
        async move {
            let request: Json = serde_json::from_str(&body).expect("JSON");
            assert_eq!(request["jsonrpc"], "2.0");
            answer(request["method"].as_str().expect("method"), &request["params"], &headers)
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let app = Router::new().route("/v1/{key}", post(handler));
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/v1/0123456789abcdef0123")
}

fn result(result: &Json) -> Response {
    json!({"jsonrpc": "2.0", "id": 1, "result": result}).to_string().into_response()
}

fn error(code: i64, message: &str, data: &Json) -> Response {
    let error = json!({"code": code, "message": message, "data": data});
    json!({"jsonrpc": "2.0", "id": 1, "error": error}).to_string().into_response()
}

/// An Ethereum node, with answers as its documentation shows them.
fn evm(block: u64, method: &str) -> Response {
    match method {
        "eth_getBlockByNumber" => result(&json!({
            "number": format!("{block:#x}"), "timestamp": "0x55ba467c", "transactions": []
        })),
        "eth_blockNumber" => result(&json!(format!("{block:#x}"))),
        "eth_syncing" => result(&json!(false)),
        "eth_chainId" => result(&json!("0x1")),
        "net_peerCount" => result(&json!("0x2")),
        _ => error(-32601, "the method does not exist/is not available", &Json::Null),
    }
}

fn check(url: &str, more: &str) -> Box<dyn Check> {
    parse(&KIND, &format!("url = '{url}'\n{more}")).expect("valid")
}

#[test]
fn problems_of_the_table_are_all_told_without_the_key() {
    let text = "url = 'ftp://h/key'\nchain = 'etherium'\nparams = 5\nheaders = { 'a b' = 'c' }";
    insta::assert_snapshot!(problems(&KIND, text), @"
    a.toml:1:7: url: `ftp://` is not supported here (use http:// or https://)
    a.toml:2:9: chain: `etherium` is not known (evm, solana, or no `chain` for any other)
    a.toml:3:10: params: must be a list, or a table of names
    a.toml:4:11: headers: `a b` is not the name of a header
    ");
    let text = "url = 'http://h/key'\nparams = [1]\nreference = ['x']\nheaders = { a = \"b\\n\" }";
    insta::assert_snapshot!(problems(&KIND, text), @"
    a.toml:1:1: has neither `chain` nor `method` (name the `method` to call, or set `chain` to evm or solana)
    a.toml:2:10: params: does nothing without `method`
    a.toml:3:13: reference: number 1 is not a URL that can be used: relative URL without a base
    a.toml:4:11: headers: the value of `a` holds what a header cannot hold
    ");
    insta::assert_snapshot!(problems(&KIND, ""), @"
    a.toml:1:1: url: is missing
    a.toml:1:1: has neither `chain` nor `method` (name the `method` to call, or set `chain` to evm or solana)
    ");
}

#[test]
fn keys_show_in_no_debug_output() {
    let check =
        check("https://me:pw@node.example/v1/key?k=key", "chain = 'evm'\nheaders = { X = 'key' }");
    let debug = format!("{check:?}");
    assert!(debug.contains("https://node.example\""), "{debug}");
    assert!(!debug.contains("key") && !debug.contains("pw"), "{debug}");
}

#[test]
fn numbers_are_read_as_nodes_write_them() {
    for (json, expected) in [
        (json!("0x1b4"), Some(436)),
        (json!(436), Some(436)),
        (json!("1b4"), None),
        (json!("0x"), None),
        (json!(null), None),
        (json!("0xffffffffffffffffff"), None),
    ] {
        assert_eq!(quantity(&json), expected, "{json}");
    }
}

#[tokio::test]
async fn a_generic_call_gives_its_result_with_params_and_headers_sent() {
    let url = node(|method, params, headers| {
        assert_eq!(headers["authorization"], "Bearer abc");
        result(&json!({"method": method, "params": params}))
    })
    .await;
    let more = "method = 'sum'\nparams = { a = [1, 2.5, true], b = 'x' }\n\
                headers = { Authorization = 'Bearer abc' }";
    let facts = facts(&*check(&url, more)).await;
    let expected = json!({"method": "sum", "params": {"a": [1, 2.5, true], "b": "x"}});
    assert_eq!(facts.get("result"), Some(&Fact::from(expected)));
}

#[tokio::test]
async fn a_plain_result_is_a_plain_fact_and_null_is_a_result() {
    let url = node(|_, params, _| {
        assert_eq!(*params, json!([]));
        result(&json!(7))
    })
    .await;
    assert_eq!(facts(&*check(&url, "method = 'a'")).await.get("result"), Some(&Fact::Int(7)));
    let url = node(|_, _, _| result(&Json::Null)).await;
    assert_eq!(
        facts(&*check(&url, "method = 'a'")).await.get("result"),
        Some(&Fact::from(Json::Null))
    );
}

/// What a node that always answers so is said to have done.
async fn words(answer: impl Fn() -> Response + Send + Sync + 'static) -> String {
    let url = node(move |_, _, _| answer()).await;
    let shown = url.split("/v1").next().expect("host").to_owned();
    let words = observe(&*check(&url, "method = 'a'")).await.error.expect("an error");
    assert!(!words.contains("0123456789abcdef0123"), "{words}");
    words.replace(&shown, "NODE")
}

#[tokio::test]
async fn whatever_a_server_does_wrong_is_told_in_words_without_the_key() {
    let null = &Json::Null;
    assert_eq!(
        words(|| error(-32000, "bad\nkey 0123456789abcdef0123", null)).await,
        "the node answered error -32000: bad key [secret]"
    );
    assert_eq!(
        words(|| error(-32005, "daily request count exceeded", null)).await,
        "rate limited: the node answered error -32005: daily request count exceeded"
    );
    assert_eq!(
        words(|| (axum::http::StatusCode::BAD_REQUEST, error(-32602, "no", null)).into_response())
            .await,
        "the node answered error -32602: no"
    );
    assert_eq!(
        words(|| json!({"error": "plain words"}).to_string().into_response()).await,
        "the node answered error 0: plain words"
    );
    let status = |code: u16| axum::http::StatusCode::from_u16(code).expect("status");
    assert_eq!(
        words(move || (status(429), [("retry-after", "30")], "slow down").into_response()).await,
        "rate limited by NODE (HTTP 429), to be asked again after 30"
    );
    assert_eq!(
        words(move || (status(503), "<html>").into_response()).await,
        "NODE answered HTTP 503 Service Unavailable"
    );
    assert_eq!(
        words(move || (status(401), "no").into_response()).await,
        "NODE answered HTTP 401 Unauthorized: check the key"
    );
    let odd = "NODE does not speak JSON-RPC: its answer";
    assert_eq!(words(|| "<html>".into_response()).await, format!("{odd} is not JSON"));
    assert_eq!(words(|| "[]".into_response()).await, format!("{odd} is not a JSON object"));
    assert_eq!(
        words(|| "{}".into_response()).await,
        format!("{odd} has neither a result nor an error")
    );
    assert_eq!(
        words(|| result(&json!("x".repeat(2 << 20)))).await,
        "the answer of NODE exceeds 1 MiB"
    );
}

#[tokio::test]
async fn a_stopped_server_refuses() {
    let host = format!("http://127.0.0.1:{}", free_port());
    let seen = observe(&*check(&format!("{host}/key"), "chain = 'evm'")).await;
    assert_eq!(seen.error, Some(format!("connection refused by {host}: no server listens there")));
}

#[tokio::test]
async fn an_evm_node_tells_its_block_its_chain_and_its_peers() {
    let url = node(|method, _, _| evm(0x1b4, method)).await;
    let check = check(&url, "chain = 'evm'\nmethod = 'eth_blockNumber'");
    let facts = facts(&*check).await;
    assert_eq!(facts.get("block_number"), Some(&Fact::Int(436)));
    assert_eq!(facts.get("chain_id"), Some(&Fact::Int(1)));
    assert_eq!(facts.get("peer_count"), Some(&Fact::Int(2)));
    assert_eq!(facts.get("syncing"), Some(&Fact::Bool(false)));
    assert_eq!(facts.get("result"), Some(&Fact::from("0x1b4")));
    assert_eq!(facts.get("blocks_behind"), None);
    let now = run().shared.clock.wall().as_millis() as f64 / 1000.0;
    let age = number(&facts, "block_age_seconds");
    assert!((age - (now - 1_438_271_100.0)).abs() < 60.0, "{age}");
}

#[tokio::test]
async fn an_evm_node_that_offers_only_blocks_is_well() {
    let url = node(|method, _, _| match method {
        "eth_getBlockByNumber" => evm(5, method),
        _ => evm(5, "unknown"),
    })
    .await;
    let facts = facts(&*check(&url, "chain = 'evm'")).await;
    assert_eq!(facts.get("block_number"), Some(&Fact::Int(5)));
    for absent in ["peer_count", "chain_id", "syncing"] {
        assert_eq!(facts.get(absent), None, "{absent}");
    }
}

#[tokio::test]
async fn an_evm_node_is_measured_against_the_best_reference_that_answers() {
    let own = node(|method, _, headers| {
        assert_eq!(headers["x-key"], "k");
        evm(100, method)
    })
    .await;
    let ahead = node(|method, _, headers| {
        assert!(!headers.contains_key("x-key"), "a key goes only where it belongs");
        evm(130, method)
    })
    .await;
    let behind = node(|method, _, _| evm(90, method)).await;
    let broken = format!("http://127.0.0.1:{}", free_port());
    let head = "chain = 'evm'\nheaders = { X-Key = 'k' }";
    let with = |list: &str| format!("{head}\nreference = [{list}]");
    let behind_of =
        async |list: String| facts(&*check(&own, &with(&list))).await.get("blocks_behind").cloned();
    let all = format!("'{behind}', '{broken}', '{ahead}'");
    assert_eq!(behind_of(all).await, Some(Fact::Int(30)));
    assert_eq!(behind_of(format!("'{behind}'")).await, Some(Fact::Int(0)));
    assert_eq!(behind_of(format!("'{broken}'")).await, None);
}

#[tokio::test]
async fn a_reference_that_hangs_does_not_make_the_node_look_bad() {
    let own = node(|method, _, _| evm(100, method)).await;
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = hanging.local_addr().expect("address").port();
    let more = format!("chain = 'evm'\nreference = ['http://127.0.0.1:{port}']");
    let run = Run { timeout: Duration::from_millis(600), ..run() };
    let check = check(&own, &more);
    let seen = tokio::time::timeout(run.timeout, check.run(&run)).await.expect("in time");
    assert_eq!((seen.error, seen.facts.get("blocks_behind")), (None, None));
    assert_eq!(seen.facts.get("block_number"), Some(&Fact::Int(100)));
}

#[tokio::test]
async fn a_syncing_evm_node_without_a_block_says_so() {
    let url = node(|method, _, _| match method {
        "eth_syncing" => result(&json!({"currentBlock": "0x386", "highestBlock": "0x454"})),
        "eth_getBlockByNumber" => result(&Json::Null),
        other => evm(0, other),
    })
    .await;
    let seen = observe(&*check(&url, "chain = 'evm'")).await;
    assert_eq!(seen.error.as_deref(), Some("the node has no latest block"));
    assert_eq!(seen.facts.get("syncing"), Some(&Fact::Bool(true)));
}

#[tokio::test]
async fn a_healthy_solana_node_is_up() {
    let url = node(|method, params, _| match method {
        "getSlot" => {
            assert_eq!(*params, json!([{"commitment": "confirmed"}]));
            result(&json!(1234))
        }
        _ => result(&json!("ok")),
    })
    .await;
    let alone = check(&url, "chain = 'solana'");
    let seen = observe(&*alone).await;
    assert_eq!(seen.facts.get("slot"), Some(&Fact::Int(1234)));
    assert_eq!(seen.facts.get("health"), Some(&Fact::from("ok")));
    assert_eq!(seen.facts.get("slots_behind"), Some(&Fact::Int(0)));
    assert_eq!(alone.sense(&seen).status, Status::Up);

    let other = node(|_, _, _| result(&json!(1250))).await;
    let compared = check(&url, &format!("chain = 'solana'\nreference = ['{other}']"));
    assert_eq!(facts(&*compared).await.get("slots_behind"), Some(&Fact::Int(16)));
}

#[tokio::test]
async fn a_solana_node_that_is_behind_is_down_with_the_reason() {
    for (data, health, behind, reason) in [
        (
            json!({"numSlotsBehind": 42}),
            "behind",
            Some(Fact::Int(42)),
            "the node is behind by 42 slots",
        ),
        (json!({}), "Node is unhealthy", None, "the node is not healthy: Node is unhealthy"),
    ] {
        let url = node(move |method, _, _| match method {
            "getSlot" => result(&json!(1234)),
            _ => error(-32005, "Node is unhealthy", &data),
        })
        .await;
        let check = check(&url, "chain = 'solana'");
        let seen = observe(&*check).await;
        assert_eq!(seen.error, None);
        assert_eq!(seen.facts.get("health"), Some(&Fact::from(health)));
        assert_eq!(seen.facts.get("slots_behind"), behind.as_ref());
        assert_eq!(check.sense(&seen).reasons, [reason]);
    }
}
