//! The health protocol against grpcio, and against what is no gRPC.

use crate::harness::{Grpc, PATIENCE, Setup, Target, eventually};
use serde_json::Value;

fn check(name: &str, keys: &str) -> String {
    format!(
        "[[check]]\nname = \"{name}\"\nevery = \"1s\"\ntimeout = \"900ms\"\nconfirm_after = 1\n\
         recover_after = 1\n[check.grpc]\n{keys}\n\n"
    )
}

#[tokio::test]
async fn a_grpc_server_is_asked_for_its_health_and_each_trouble_is_told() {
    let mut shop = Grpc::start(r#"{"": "SERVING", "shop.Orders": "SERVING"}"#).await;
    let secure = Grpc::start_with(r#"{"": "SERVING"}"#, true).await;
    let without = Grpc::start("none").await;
    let web = Target::start();
    let web = web.url().replace("http://", "").trim_end_matches('/').to_owned();
    let port = shop.port;
    let checks = [
        check(
            "shop",
            &format!("address = \"127.0.0.1:{port}\"\nservices = [\"\", \"shop.Orders\"]"),
        ),
        check("typo", &format!("address = \"127.0.0.1:{port}\"\nservice = \"shop.Ordres\"")),
        check(
            "secure",
            &format!(
                "address = \"https://localhost:{}\"\nca_file = \"{}\"",
                secure.port,
                secure.certificates.ca.display()
            ),
        ),
        check("no-tls", &format!("address = \"127.0.0.1:{}\"", secure.port)),
        check("without", &format!("address = \"127.0.0.1:{}\"", without.port)),
        check("web", &format!("address = \"{web}\"")),
    ];
    let daemon = Setup::new().checks("all.toml", &checks.concat()).start().await;
    let reasons = async |check: &str, word: &str| {
        let found = eventually(&format!("{check} to say `{word}`"), PATIENCE, async || {
            let found: Value = daemon.get(&format!("/api/v1/checks/{check}")).await;
            found["reasons"].to_string().contains(word).then_some(found)
        })
        .await;
        assert_eq!(found["status"], "down", "{found:#}");
    };
    daemon.wait_for_status("shop", "up").await;
    daemon.wait_for_status("secure", "up").await;
    reasons("typo", "the server knows no service `shop.Ordres`").await;
    reasons("no-tls", "want").await;
    reasons("without", "does not offer the health protocol").await;
    reasons("web", "is a web server that does not speak gRPC here").await;

    shop.set(r#"{"": "SERVING", "shop.Orders": "NOT_SERVING"}"#);
    reasons("shop", "service `shop.Orders` is NOT_SERVING").await;
    shop.set(r#"{"": "SERVING", "shop.Orders": "SERVING"}"#);
    daemon.wait_for_status("shop", "up").await;
    shop.service.stall();
    reasons("shop", "no answer within 900ms").await;
    shop.service.resume();
    daemon.wait_for_status("shop", "up").await;
    shop.service.stop();
    reasons("shop", "refused").await;
    shop.start_again().await;
    daemon.wait_for_status("shop", "up").await;
}
