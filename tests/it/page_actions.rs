//! People sign in to the page with a key and act by its forms; everybody else sees the public page.

use crate::harness::{Daemon, KEY, PATIENCE, Setup, Target, eventually};
use reqwest::Response;
use reqwest::redirect::Policy;
use serde_json::json;

/// A browser elsewhere, behind the proxy before the daemon.
struct Browser {
    client: reqwest::Client,
    cookie: String,
}

impl Browser {
    fn new() -> Self {
        let client = reqwest::Client::builder().no_proxy().redirect(Policy::none());
        Self { client: client.build().unwrap(), cookie: String::new() }
    }

    async fn ask(&self, daemon: &Daemon, method: &str, path: &str, form: String) -> Response {
        let request = self.client.request(method.parse().unwrap(), daemon.url(path));
        let request =
            request.header("x-forwarded-for", "203.0.113.9").header("accept", "text/html");
        request.header("cookie", &self.cookie).body(form).send().await.unwrap()
    }

    async fn get(&self, daemon: &Daemon, path: &str) -> Response {
        self.ask(daemon, "GET", path, String::new()).await
    }

    async fn page(&self, daemon: &Daemon, path: &str) -> String {
        self.get(daemon, path).await.text().await.unwrap()
    }

    async fn sign_in(&mut self, daemon: &Daemon, key: &str) -> u16 {
        let answer =
            self.ask(daemon, "POST", "/sign-in", format!("key={key}&next=/incidents")).await;
        if let Some(cookie) = answer.headers().get("set-cookie") {
            self.cookie = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        }
        answer.status().as_u16()
    }

    /// Sends a form as the page at `on` would.
    async fn act(&self, daemon: &Daemon, on: &str, path: &str, fields: &str) -> u16 {
        let page = self.page(daemon, on).await;
        let token = page.split("name=\"csrf\" value=\"").nth(1).unwrap_or_else(|| panic!("{page}"));
        let token = token.split('"').next().unwrap();
        let answer = self.ask(daemon, "POST", path, format!("csrf={token}&{fields}")).await;
        answer.status().as_u16()
    }
}

fn tables() -> &'static str {
    "[[channel]]\nname = \"hook\"\n[channel.webhook]\nurl = \"http://127.0.0.1:9/nothing\"\n\
     [status_page]\ntitle = \"Shop status\"\ngroup_by = \"team\"\n"
}

#[tokio::test]
async fn people_act_on_an_incident_by_the_forms_of_the_page() {
    let target = Target::start();
    let check = target.check("shop", "confirm_after = 1");
    let mut daemon = Setup::new()
        .api("public_status = false\n[[api.key]]\nname = \"old\"\nkey = \"wb_old_0123456789abcdefg\"\n\
              scopes = [\"read\", \"operate\"]\nexpires = \"2001-01-01\"")
        .tables(tables())
        .checks("shop.toml", &check)
        .start()
        .await;
    daemon.wait_for_status("shop", "up").await;
    target.answer(500);
    let incident = daemon.wait_for_incident("shop", "open", &[]).await;
    let id = incident["id"].as_str().unwrap();
    let page = format!("/incidents/{id}");

    let mut browser = Browser::new();
    let stranger = browser.get(&daemon, &page).await;
    assert_eq!(stranger.status(), 303);
    assert!(stranger.headers()["location"].to_str().unwrap().starts_with("/sign-in?next="));
    assert_eq!(browser.sign_in(&daemon, "wb_wrong_0123456789abcdef").await, 403);
    assert_eq!(browser.sign_in(&daemon, "wb_old_0123456789abcdefg").await, 403);
    assert_eq!(browser.sign_in(&daemon, KEY).await, 303);
    assert!(browser.page(&daemon, &page).await.contains("shop is down"));

    let ack = format!("{page}/ack");
    let bare = browser.ask(&daemon, "POST", &ack, "note=x".to_owned()).await;
    assert_eq!(bare.status(), 403, "a form without its token");
    let forged = Browser { client: browser.client.clone(), cookie: format!("{}A", browser.cookie) };
    let forged = forged.ask(&daemon, "POST", &ack, "note=x".to_owned()).await;
    assert_eq!(forged.status(), 401, "a forged cookie");
    assert!(daemon.get(&format!("/api/v1{page}")).await["acknowledged"].is_null());
    assert_eq!(browser.act(&daemon, &page, &ack, "note=on+it").await, 303);
    let taken = daemon.get(&format!("/api/v1{page}")).await["acknowledged"].clone();
    assert_eq!((&taken["by"], &taken["note"]), (&json!("test"), &json!("on it")));

    assert_eq!(browser.act(&daemon, &page, "/checks/shop/pause", "").await, 303);
    assert_eq!(daemon.get("/api/v1/checks/shop").await["paused"], true);
    assert_eq!(browser.act(&daemon, &page, "/checks/shop/resume", "").await, 303);
    assert_eq!(daemon.get("/api/v1/checks/shop").await["paused"], false);
    assert_eq!(browser.act(&daemon, &page, "/checks/shop/run", "").await, 303);
    assert_eq!(browser.act(&daemon, &page, "/checks/shop/silence", "for=2h").await, 303);
    let silence = daemon.list("/api/v1/silences?state=active").await[0]["id"].clone();
    let end = format!("/silences/{}/expire", silence.as_str().unwrap());
    assert_eq!(browser.act(&daemon, "/notices", &end, "").await, 303);
    assert!(daemon.list("/api/v1/silences?state=active").await.is_empty());
    let waiting = eventually("a notice that waits for its next try", PATIENCE, async || {
        let found = daemon.list("/api/v1/notices?state=pending").await;
        found.into_iter().find(|notice| notice["attempts"].as_u64() > Some(0))
    })
    .await;
    let retry = format!("/notices/{}/retry", waiting["id"].as_str().unwrap());
    assert_eq!(browser.act(&daemon, "/notices", &retry, "").await, 303);

    // A session outlives a restart, and ends where somebody ends it.
    daemon.kill();
    daemon.start_again().await;
    daemon.wait_for_incident("shop", "open", &[]).await;
    let told = browser.page(&daemon, &page).await;
    assert!(told.contains("Acknowledged") && told.contains("on it"), "{told}");
    let markdown = browser.page(&daemon, &format!("{page}/postmortem.md")).await;
    assert!(markdown.starts_with("# Post-mortem: shop is down"), "{markdown}");
    assert_eq!(browser.act(&daemon, &page, "/sign-out", "").await, 303);
    assert_eq!(browser.get(&daemon, &page).await.status(), 303);
}

#[tokio::test]
async fn the_public_page_tells_what_is_public_and_nothing_else() {
    let target = Target::start();
    let checks = [
        target.check(
            "shop-inside",
            "confirm_after = 1\npublic = true\npublic_name = \"Checkout\"\n\
             labels = { team = \"shop\", owner = \"private-owner\" }\n\
             runbook = \"https://private-wiki.example\"",
        ),
        target.check("private-db", "confirm_after = 1\nlabels = { team = \"private-team\" }"),
    ];
    let tables = format!(
        "{}[[maintenance]]\nname = \"private-window\"\nwhen = \"name == 'shop-inside'\"\n\
         cron = \"0 3 1 1 *\"\nduration = \"1h\"\n",
        tables()
    );
    let mut daemon =
        Setup::new().tables(&tables).checks("shop.toml", &checks.join("\n")).start().await;
    daemon.wait_for_status("shop-inside", "up").await;
    let browser = Browser::new();
    assert!(browser.page(&daemon, "/status").await.contains("All systems operational"));
    target.answer(500);
    daemon.wait_for_incident("shop-inside", "open", &[]).await;
    let said = json!({
        "title": "Payments fail",
        "body": "We look.",
        "kind": "identified",
        "checks": ["shop-inside", "private-db"],
        "by": "private-ann",
    });
    let (status, made) = daemon.post_json("/api/v1/announcements", &said).await;
    assert_eq!(status, 201, "{made}");
    daemon.kill();
    daemon.start_again().await;
    daemon.wait_for_incident("shop-inside", "open", &[]).await;
    for path in ["/status", "/status.json", "/status.atom", "/status.rss"] {
        let text = browser.page(&daemon, path).await;
        for public in ["Payments fail", "Checkout", "We look."] {
            assert!(text.contains(public), "{public} in {path}: {text}");
        }
        for private in ["private", "shop-inside", "status is 500", &target_address(&checks[0])] {
            assert!(!text.contains(private), "{private} in {path}: {text}");
        }
    }
    assert!(browser.page(&daemon, "/status").await.contains("Major outage"));
    target.answer(200);
    daemon.wait_for_incident("shop-inside", "resolved", &[]).await;
    eventually("the end of the outage to be told", PATIENCE, async || {
        let page = browser.page(&daemon, "/status").await;
        (page.contains("Some disruption") && page.contains("is well again")).then_some(())
    })
    .await;
}

/// Where the check looks.
fn target_address(check: &str) -> String {
    let url = check.split("url = \"").nth(1).unwrap_or_else(|| panic!("{check}"));
    url.split('"').next().unwrap().trim_start_matches("http://").to_owned()
}
