use super::{KIND, signature};
use crate::model::{ActionName, Secret};
use crate::recover::actions::testing::{NOW, action, order, read, tools};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use std::sync::{Arc, Mutex};

#[derive(Clone, Debug)]
struct Request {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
}

/// A service that answers everything with one status, and quotes what it was sent.
struct Service {
    address: std::net::SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Service {
    async fn start(status: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let status = StatusCode::from_u16(status).unwrap();
        let router = Router::new().fallback(answer).with_state((status, Arc::clone(&requests)));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, requests }
    }

    fn last(&self) -> Request {
        self.requests.lock().unwrap().pop().unwrap()
    }

    async fn order(&self, rest: &str) -> Result<String, String> {
        let text =
            format!("webhook = {{ url = \"http://{}/in?key=hunter2\"{rest} }}", self.address);
        let said = action(&KIND, &text).run(&tools(), &order(ActionName::ScaleUp)).await;
        let host = self.address.to_string();
        let plain = |words: String| words.replace(&host, "HOST");
        said.map(plain).map_err(plain)
    }
}

async fn answer(
    State((status, requests)): State<(StatusCode, Arc<Mutex<Vec<Request>>>)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, String) {
    let said = format!("{uri} {headers:?}");
    requests.lock().unwrap().push(Request { method, uri, headers, body });
    (status, said)
}

#[tokio::test]
async fn the_body_says_what_to_do_and_for_whom() {
    let service = Service::start(202).await;
    let said = service.order("").await;
    assert_eq!(said.as_deref(), Ok("HOST answered the POST with 202 Accepted"));
    let request = service.last();
    assert_eq!((request.method.as_str(), request.uri.query()), ("POST", Some("key=hunter2")));
    assert_eq!(request.headers["content-type"], "application/json");
    assert!(!request.headers.contains_key("x-watchbell-signature"));
    let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
    insta::assert_json_snapshot!(body, @r#"
    {
      "check": "shop-api",
      "incident": "01JNA8Y8PK0000000000000000",
      "action": "scale_up",
      "attempt": 2,
      "of": 3,
      "reasons": [
        "status == 200 failed: status is 503",
        "slow"
      ]
    }
    "#);
}

#[tokio::test]
async fn a_receiver_can_check_the_signature() {
    let service = Service::start(200).await;
    service.order(", secret = \"hunter2\"").await.unwrap();
    let request = service.last();
    let secret = Secret::new("hunter2");
    let expected = signature(&secret, NOW.as_millis() / 1000, request.body.as_bytes());
    assert_eq!(request.headers["x-watchbell-signature"], *expected);
    // printf '1772356812.{"a":1}' | openssl dgst -sha256 -hmac hunter2
    assert_eq!(
        signature(&secret, 1_772_356_812, br#"{"a":1}"#),
        "t=1772356812,v1=6e97f7f3cb81b007f478e06497eac76e05fd70aa0d2bf5b263e49d7d5090df4d"
    );
}

#[tokio::test]
async fn method_headers_and_body_are_as_configured() {
    let service = Service::start(200).await;
    let patch = ", method = \"patch\", body = '{\"replicas\":4}', \
                 headers = { Content-Type = \"application/merge-patch+json\", X-Key = \"k\" }";
    service.order(patch).await.unwrap();
    let request = service.last();
    assert_eq!((request.method.as_str(), &*request.body), ("PATCH", "{\"replicas\":4}"));
    assert_eq!(request.headers["content-type"], "application/merge-patch+json");
    assert_eq!(request.headers["x-key"], "k");
    service.order(", method = \"DELETE\"").await.unwrap();
    let request = service.last();
    assert_eq!((request.method.as_str(), &*request.body), ("DELETE", ""));
}

#[tokio::test]
async fn a_refusal_is_told_without_secrets() {
    let service = Service::start(403).await;
    let said = service.order(", headers = { X-Key = \"topsecret\" }").await;
    assert_eq!(said, Err("HOST answered the POST with 403 Forbidden".to_owned()));
    let text = "webhook = { url = \"http://127.0.0.1:1/hunter2\", secret = \"topsecret\" }";
    let webhook = action(&KIND, text);
    let order = order(ActionName::Restart);
    let said = webhook.run(&tools(), &order).await.unwrap_err();
    assert!(said.starts_with("127.0.0.1:1 could not be told: "), "{said}");
    assert!(said.contains("refused"), "{said}");
    for shown in [said, format!("{webhook:?}"), webhook.describe(&order)] {
        assert!(!shown.contains("hunter2") && !shown.contains("topsecret"), "{shown}");
    }
}

#[test]
fn problems_say_what_to_do() {
    let problems = [
        "webhook = {}",
        "webhook = { url = \"https://a.example\", method = \"GET\" }",
        "webhook = { url = \"https://a.example\", headers = { \"a b\" = \"c\" } }",
        "webhook = { url = \"https://a.example\", hedaers = {} }",
    ]
    .map(|text| read(&KIND, text).1);
    insta::assert_snapshot!(problems.join("\n"), @r"
    a.toml:1:11: webhook.url: is missing
    a.toml:1:49: webhook.method: `GET` does not order anything (use POST, PUT, PATCH or DELETE)
    a.toml:1:50: webhook.headers: `a b` is not the name of a header
    a.toml:1:40: webhook.hedaers: unknown key (did you mean `headers`?)
    ");
}
