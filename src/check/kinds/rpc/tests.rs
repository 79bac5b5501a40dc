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
use std::sync::atomic::{AtomicUsize, Ordering};
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
            if request.is_array() {
                return error(-32600, "batch requests are not supported", &Json::Null);
            }
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
        "the endpoint limits our rate, so nothing is known of the node: error -32005: daily request \
         count exceeded"
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
        "the endpoint limits our rate, so nothing is known of the node: HTTP 429, to be asked again \
         after 30"
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

/// A node that takes batches, and single calls only in a batch; it counts its requests.
async fn batching(
    answer: impl Fn(&str, &Json) -> Json + Send + Sync + 'static,
) -> (String, Arc<AtomicUsize>) {
    let answer = Arc::new(answer);
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let handler = move |body: String| {
        count.fetch_add(1, Ordering::SeqCst);
        let answer = Arc::clone(&answer);
        async move {
            let calls: Vec<Json> = serde_json::from_str(&body).expect("a batch");
            let one = |call: &Json| {
                let mut answer =
                    answer(call["method"].as_str().expect("a method"), &call["params"]);
                answer["jsonrpc"] = json!("2.0");
                answer["id"] = call["id"].clone();
                answer
            };
            // In another order, as the specification allows.
            Json::from(calls.iter().rev().map(one).collect::<Vec<_>>()).to_string()
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let app = Router::new().fallback(post(handler));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}/"), requests)
}

/// An Ethereum node at block 0x64 with everything that can be asked.
fn whole_evm(method: &str, params: &Json) -> Json {
    let result = match (method, &params[0]) {
        ("eth_getBlockByNumber", tag) => {
            let number = if *tag == "latest" { "0x64" } else { "0x24" };
            json!({"number": number, "timestamp": "0x55ba467c"})
        }
        ("eth_syncing", _) => json!(false),
        ("eth_chainId", _) => json!("0x1"),
        ("net_peerCount", _) => json!("0x19"),
        ("eth_gasPrice", _) => json!("0x37e11d600"),
        ("web3_clientVersion", _) => json!("Geth/v1.14.0"),
        ("eth_getBalance", _) if params[1] == "0x1" => json!("0x0"),
        ("eth_call", call) if call["data"] == "0x18160ddd" => {
            json!(format!("0x{:064x}", 2_500_000_000_000_000_000_u64))
        }
        _ => return json!({"error": {"code": -32601, "message": "no such method"}}),
    };
    json!({"result": result})
}

#[tokio::test]
async fn an_evm_node_is_asked_everything_in_one_request() {
    let (url, requests) = batching(whole_evm).await;
    let more = "chain = 'evm'\nchain_id = 1\narchive = true\n\
                [call]\nto = '0xdac17f958d2ee523a2206206994597c13d831ec7'\n\
                data = '0x18160ddd'\ndecimals = 18";
    let check = check(&url, more);
    let facts = facts(&*check).await;
    assert_eq!(requests.load(Ordering::SeqCst), 1);
    assert_eq!(facts.get("block_number"), Some(&Fact::Int(100)));
    assert_eq!(facts.get("finality_lag_blocks"), Some(&Fact::Int(64)));
    assert_eq!(facts.get("peer_count"), Some(&Fact::Int(25)));
    assert_eq!(number(&facts, "gas_price_gwei"), 15.0);
    assert_eq!(number(&facts, "call_value"), 2.5);
    assert_eq!(facts.get("archive"), Some(&Fact::Bool(true)));
    assert_eq!(facts.get("version"), Some(&Fact::from("Geth/v1.14.0")));
    assert_eq!(facts.get("rate_limited"), Some(&Fact::Bool(false)));
    let absent = json!({"blocks_behind": "there is no `reference` to compare with"});
    assert_eq!(facts.get("absent"), Some(&Fact::from(absent)));
}

#[tokio::test]
async fn what_a_provider_does_not_offer_is_absent_with_the_reason() {
    let (url, _) = batching(|method, params| match method {
        "net_peerCount" => json!({"error": {"code": -32601, "message": "not here"}}),
        "eth_gasPrice" => json!({"error": {"code": -32000, "message": "not today"}}),
        "web3_clientVersion" => json!({"result": null}),
        "eth_getBalance" => json!({"error": {"code": -32000, "message": "missing trie node"}}),
        _ => whole_evm(method, params),
    })
    .await;
    let check = check(&url, "chain = 'evm'\narchive = true");
    let seen = observe(&*check).await;
    assert_eq!(seen.error, None);
    let Some(Fact::Json(absent)) = seen.facts.get("absent") else { panic!("{seen:?}") };
    assert_eq!(absent["peer_count"], "the node does not offer net_peerCount");
    assert_eq!(absent["gas_price_gwei"], "the node answered error -32000: not today");
    assert_eq!(absent["version"], "the answer to web3_clientVersion does not tell it");
    assert_eq!(seen.facts.get("archive"), Some(&Fact::Bool(false)));
    let reason = "the node is no archive node: it has not the state of that block";
    assert_eq!(check.sense(&seen).reasons, [reason]);
}

#[tokio::test]
async fn a_node_on_another_chain_is_down_whatever_it_says_else() {
    let (url, _) = batching(whole_evm).await;
    let seen = observe(&*check(&url, "chain = 'evm'\nchain_id = 10")).await;
    assert_eq!(seen.error.as_deref(), Some("the node serves chain 1, not 10"));
    assert_eq!(seen.facts.get("block_number"), Some(&Fact::Int(100)));
}

#[tokio::test]
async fn a_rate_limit_says_nothing_of_the_node() {
    for limit in [
        json!({"error": {"code": -32005, "message": "limit exceeded"}}),
        json!({"error": {"code": -32029, "message": "Too many requests"}}),
        json!({"error": {"code": -32000, "message": "rate limit reached, upgrade your plan"}}),
    ] {
        let (url, _) = batching(move |method, params| match method {
            "eth_chainId" => limit.clone(),
            _ => whole_evm(method, params),
        })
        .await;
        let seen = observe(&*check(&url, "chain = 'evm'")).await;
        assert_eq!(seen.undecided, Some("rate_limited"), "{seen:?}");
        assert_eq!(seen.facts.get("rate_limited"), Some(&Fact::Bool(true)));
    }
    let (url, _) = batching(|_, _| {
        json!({"error": {"code": -32005, "message": "query returned more than 10000 results"}})
    })
    .await;
    let seen = observe(&*check(&url, "chain = 'evm'")).await;
    assert_eq!(seen.undecided, None, "{seen:?}");
}

#[tokio::test]
async fn references_that_fail_are_told_and_do_no_harm() {
    let (url, _) = batching(whole_evm).await;
    let gone = format!("http://127.0.0.1:{}", free_port());
    let facts = facts(&*check(&url, &format!("chain = 'evm'\nreference = ['{gone}']"))).await;
    assert_eq!(facts.get("references_failed"), Some(&Fact::Int(1)));
    let Some(Fact::Json(told)) = facts.get("references") else { panic!("{facts:?}") };
    assert!(told[&gone].as_str().is_some_and(|words| words.contains("refused")), "{told}");
}

#[tokio::test]
async fn calls_of_ones_own_go_in_one_batch() {
    let (url, requests) = batching(|method, params| match method {
        "sum" => json!({"result": params}),
        _ => json!({"error": {"code": 7, "message": "no"}}),
    })
    .await;
    let calls = "[[batch]]\nmethod = 'sum'\nparams = [1]\n[[batch]]\nmethod = 'sum'";
    let facts = facts(&*check(&url, calls)).await;
    assert_eq!(facts.get("results"), Some(&Fact::from(json!([[1], []]))));
    assert_eq!(requests.load(Ordering::SeqCst), 1);

    let seen = observe(&*check(&url, &format!("{calls}\n[[batch]]\nmethod = 'other'"))).await;
    assert_eq!(seen.error.as_deref(), Some("call 3 (other): the node answered error 7: no"));
    assert_eq!(seen.facts.get("results"), Some(&Fact::from(json!([[1], [], null]))));
}

#[tokio::test]
async fn a_node_without_batches_is_asked_singly_from_then_on() {
    let refusals = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&refusals);
    let handler = move |body: String| {
        let counted = Arc::clone(&counted);
        async move {
            let request: Json = serde_json::from_str(&body).expect("JSON");
            if request.is_array() {
                counted.fetch_add(1, Ordering::SeqCst);
                return (axum::http::StatusCode::BAD_REQUEST, "no batches").into_response();
            }
            evm(5, request["method"].as_str().expect("a method"))
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    let app = Router::new().fallback(post(handler));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let check = check(&url, "chain = 'evm'");
    for _ in 0..3 {
        assert_eq!(facts(&*check).await.get("block_number"), Some(&Fact::Int(5)));
    }
    assert_eq!(refusals.load(Ordering::SeqCst), 1);
}

#[test]
fn options_of_one_chain_are_refused_elsewhere() {
    let told = |text: &str, expected: &[&str]| {
        let told = problems(&KIND, &format!("url = 'http://h'\n{text}"));
        let all = expected.iter().all(|problem| told.contains(problem));
        assert!(all && told.lines().count() == expected.len(), "{told}");
    };
    told(
        "chain = 'solana'\nchain_id = 0\n[call]\nto = '0x1'\nwith = 1",
        &[
            "`chain_id`, `archive` and `call` do nothing without chain = \"evm\"",
            "a.toml:3:12: chain_id: must be a positive number (1 is Ethereum)",
            "call.data: is missing",
            "call.to: must be hexadecimal bytes after 0x",
            "call.with: unknown key",
        ],
    );
    told(
        "method = 'a'\narchive = 'x'\n[[batch]]\nparams = [1]",
        &[
            "`call` do nothing without",
            "archive: must be true, or the number of an old block",
            "batch: does not go together with `method`",
            "method: is missing",
        ],
    );
}
