//! The health protocol against grpcio, and against what is no gRPC.

use crate::harness::{Grpc, PATIENCE, Setup, Target, eventually, reasons};
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
    let secure = Grpc::start_secure(r#"{"": "SERVING"}"#).await;
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
    let told = async |check: &str, word: &str| {
        let found = eventually(&format!("{check} to say `{word}`"), PATIENCE, async || {
            let found: Value = daemon.get(&format!("/api/v1/checks/{check}")).await;
            found["reasons"].to_string().contains(word).then_some(found)
        })
        .await;
        assert_eq!(found["status"], "down", "{found:#}");
    };
    daemon.wait_for_status("shop", "up").await;
    daemon.wait_for_status("secure", "up").await;
    told("typo", "the server knows no service `shop.Ordres`").await;
    told("no-tls", "want").await;
    told("without", "does not offer the health protocol").await;
    told("web", "is a web server that does not speak gRPC here").await;

    shop.set(r#"{"": "SERVING", "shop.Orders": "NOT_SERVING"}"#);
    told("shop", "service `shop.Orders` is NOT_SERVING").await;
    shop.set(r#"{"": "SERVING", "shop.Orders": "SERVING"}"#);
    daemon.wait_for_status("shop", "up").await;
    shop.service.stall();
    told("shop", "no answer within 900ms").await;
    shop.service.resume();
    daemon.wait_for_status("shop", "up").await;
    shop.service.stop();
    told("shop", "refused").await;
    shop.start_again().await;
    daemon.wait_for_status("shop", "up").await;
}

#[tokio::test]
async fn a_grpc_server_that_wants_a_certificate_is_shown_one_and_a_name_is_verified() {
    let server = Grpc::start_mutual(r#"{"": "SERVING"}"#).await;
    let papers = &server.certificates;
    let trust = format!(
        "address = \"https://127.0.0.1:{}\"\nca_file = \"{}\"",
        server.port,
        papers.ca.display()
    );
    // The server's own certificate does for a client as well: it is of the same authority.
    let shown = format!(
        "cert_file = \"{}\"\nkey_file = \"{}\"",
        papers.certificate.display(),
        papers.key.display()
    );
    let checks = [
        check("known", &format!("{trust}\n{shown}")),
        check("named", &format!("{trust}\n{shown}\nserver_name = \"localhost\"")),
        check("misnamed", &format!("{trust}\n{shown}\nserver_name = \"shop.example\"")),
        check("unknown", &trust),
    ];
    let daemon = Setup::new().checks("all.toml", &checks.concat()).start().await;
    let known = daemon.wait_for_status("known", "up").await;
    assert!(known["facts"]["client_cert_days_left"].is_i64(), "{known:#}");
    daemon.wait_for_status("named", "up").await;
    let told = reasons(&daemon.wait_for_status("misnamed", "down").await);
    assert!(told.contains("not shop.example"), "{told}");
    let told = reasons(&daemon.wait_for_status("unknown", "down").await);
    // A reset may overtake what the server says.
    let words = ["wants a client certificate", "connection reset", "connection closed"];
    assert!(words.iter().any(|word| told.contains(word)), "{told}");
}
