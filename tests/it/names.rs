//! A name in the DNS, as a real server tells it: changed, lost and found again.

use crate::harness::{Setup, Unbound, watchbell};

const ADDRESSES: &[&str] = &["192.0.2.10", "192.0.2.11"];

#[tokio::test]
async fn a_name_that_leads_elsewhere_or_nowhere_is_told() {
    let mut server = Unbound::start(ADDRESSES).await;
    let check = format!(
        "[[check]]\nname = \"shop\"\nevery = \"1s\"\ntimeout = \"800ms\"\nconfirm_after = 1\n\
         recover_after = 1\ndegraded_if = [\"ttl < 30\", \"!authoritative\"]\n[check.dns]\n\
         name = \"shop.test\"\nserver = \"127.0.0.1:{}\"\n\
         expect_values = [\"192.0.2.11\", \"192.0.2.10\"]\n",
        server.port
    );
    let daemon = Setup::new().checks("a.toml", &check).start().await;
    let up = daemon.wait_for_status("shop", "up").await;
    assert_eq!(up["facts"]["rcode"], "NOERROR", "{up:#}");
    assert_eq!(up["facts"]["answers"], serde_json::json!(ADDRESSES), "{up:#}");

    let mut known = Vec::new();
    let mut told = async |word: &str| {
        let incident = daemon.wait_for_incident("shop", "open", &known).await;
        let reasons = incident["reasons"].to_string();
        assert!(reasons.contains(word), "no `{word}` in {reasons}");
        known.push(incident["id"].as_str().unwrap().to_owned());
    };
    server.start_again(&["192.0.2.10", "192.0.2.66"]).await;
    told("with unexpected `192.0.2.66`").await;
    server.start_again(ADDRESSES).await;
    daemon.wait_for_status("shop", "up").await;

    server.start_again(&[]).await;
    told("NXDOMAIN: there is no name shop.test").await;
    server.start_again(ADDRESSES).await;
    daemon.wait_for_status("shop", "up").await;

    server.service.stall();
    told(&format!("no answer from 127.0.0.1:{} within 800ms", server.port)).await;
    server.service.resume();
    daemon.wait_for_status("shop", "up").await;
}

#[tokio::test]
async fn what_dns_and_exec_offer_is_printed() {
    for (kind, words) in [
        ("dns", ["name", "server", "expect_values", "answers", "authenticated", "[check.dns]"]),
        ("exec", ["command", "env", "max_output", "perf", "exit_code", "[check.exec]"]),
    ] {
        let done = watchbell(&["kinds", kind]).await;
        assert_eq!(done.code, 0, "{}", done.all());
        for word in words {
            assert!(done.out.contains(word), "no `{word}` in {}", done.out);
        }
    }
}
