//! Mail goes over protected connections, with a login, and each recipient for itself.

use crate::harness::{PATIENCE, Setup, Smtp, SmtpMode, Target, eventually};
use serde_json::json;

fn channel(smtp: &Smtp, keys: &str) -> String {
    format!(
        "[[channel]]\nname = \"mail\"\n[channel.email]\nhost = \"127.0.0.1\"\nport = {}\n\
         from = \"Watchbell <watchbell@shop.example>\"\n{keys}\n",
        smtp.port
    )
}

#[tokio::test]
async fn mail_goes_over_tls_with_a_login() {
    for (mode, word) in [(SmtpMode::StartTls, "starttls"), (SmtpMode::Implicit, "implicit")] {
        let smtp = Smtp::start_with(mode, true).await;
        let ca = smtp.certificates.ca.display();
        let (user, password) = (Smtp::USER, Smtp::PASSWORD);
        let keys = |password: &str, trust: &str| {
            format!(
                "tls = \"{word}\"\nusername = \"{user}\"\npassword = \"{password}\"\n\
                 to = [\"ops@shop.example\"]\n{trust}"
            )
        };
        let trust = format!("ca_file = \"{ca}\"");
        let test = async |keys: &str| {
            Setup::new().tables(&channel(&smtp, keys)).command(&["notify", "test", "mail"]).await
        };
        let done = test(&keys(password, &trust)).await;
        assert_eq!(done.code, 0, "{word}: {}", done.all());
        let mail = smtp.inbox.wait_for(0, &["TEST"]).await;
        assert_eq!((&mail.body["tls"], &mail.body["login"]), (&json!(true), &json!(true)));
        assert!(mail.body["html"].as_str().unwrap().contains("<"), "{mail:#?}");

        let done = test(&keys("a wrong password", &trust)).await;
        assert_ne!(done.code, 0, "{word}: {}", done.all());
        assert!(!done.all().contains("a wrong password"), "{}", done.all());
        // An authority that is not trusted is not talked to.
        let done = test(&keys(password, "")).await;
        assert_ne!(done.code, 0, "{word}: {}", done.all());
        assert!(done.all().contains("certificate"), "{}", done.all());
        assert_eq!(smtp.inbox.messages().len(), 1);
    }
}

#[tokio::test]
async fn a_refused_recipient_keeps_no_mail_from_the_others() {
    let smtp = Smtp::start().await;
    let target = Target::start();
    let keys = "tls = \"none\"\nto = [\"refused@shop.example\", \"ops@shop.example\"]";
    let check = target.check("shop", "confirm_after = 1");
    let daemon =
        Setup::new().tables(&channel(&smtp, keys)).checks("shop.toml", &check).start().await;
    daemon.wait_for_status("shop", "up").await;
    target.answer(500);
    let mail = smtp.inbox.wait_for(0, &["DOWN shop"]).await;
    assert_eq!(mail.recipient, "ops@shop.example");
    eventually("the other mail to be rejected", PATIENCE, async || {
        let notices = daemon.notices().await;
        notices.iter().any(|notice| notice["state"] == "rejected").then_some(())
    })
    .await;
}
