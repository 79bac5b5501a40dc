//! The imitated services are as strict as the real ones, or the other stories prove nothing.

use crate::harness::{
    Certificates, Discord, Folder, Mood, Nginx, Node, PATIENCE, Postgres, Redis, Slack, Smtp,
    SmtpMode, Telegram, WebSocketServer, Webhook, client,
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};

async fn post(url: &str, body: &Value) -> (u16, String) {
    let answer = client().post(url).json(body).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn slack_keeps_its_documented_limits() {
    let slack = Slack::start();
    let section =
        |text: &str| json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } });
    let check = async |body: Value, expected: u16| {
        let (status, answer) = post(&slack.url(), &body).await;
        assert_eq!(status, expected, "{answer}: {body:.200}");
    };
    check(json!({ "blocks": [section("a &lt; b")] }), 200).await;
    check(json!({ "blocks": [section(&"x".repeat(3001))] }), 400).await;
    check(json!({ "blocks": vec![section("x"); 51] }), 400).await;
    check(json!({ "blocks": [section("<!channel> wake up")] }), 400).await;
    check(json!({}), 400).await;
    assert_eq!(slack.inbox.messages().len(), 1);
    assert_eq!(slack.inbox.messages()[0].text, "a < b");
}

#[tokio::test]
async fn slack_lets_a_bot_change_and_answer_only_what_is_there() {
    let slack = Slack::start();
    let call = async |method: &str, body: Value| {
        let url = format!("{}/{method}", slack.api());
        let request = client().post(url).bearer_auth(Slack::TOKEN).json(&body);
        let said: Value = request.send().await.unwrap().json().await.unwrap();
        said["error"].as_str().unwrap_or("ok").to_owned()
    };
    let (post, update) = ("chat.postMessage", "chat.update");
    let (name, id) = ("#ops", Slack::CHANNEL);
    assert_eq!(call(post, json!({ "channel": "#else", "text": "a" })).await, "channel_not_found");
    assert_eq!(call(post, json!({ "channel": name, "text": "a" })).await, "ok");
    let ts = slack.posts.all()[0].id.clone();
    let answer = |ts: &str| json!({ "channel": name, "text": "b", "thread_ts": ts });
    assert_eq!(call(post, answer(&ts)).await, "ok");
    let inner = slack.posts.all()[1].id.clone();
    for lost in [&inner, "1.2"] {
        assert_eq!(call(post, answer(lost)).await, "cannot_reply_to_message");
    }
    let change = |channel: &str, ts: &str| json!({ "channel": channel, "ts": ts, "text": "c", "attachments": [] });
    assert_eq!(call(update, change(name, &ts)).await, "channel_not_found");
    assert_eq!(call(update, change(id, "1.2")).await, "message_not_found");
    assert_eq!(call(update, change(id, &ts)).await, "ok");
    assert_eq!((slack.posts.get(&ts).unwrap().text, slack.inbox.messages().len()), ("c".into(), 2));
    let url = format!("{}/{post}", slack.api());
    assert!(self::post(&url, &json!({ "channel": name, "text": "a" })).await.1.contains("auth"));
}

#[tokio::test]
async fn discord_lets_a_webhook_change_only_what_it_has_posted() {
    let discord = Discord::start();
    let embed = json!({ "embeds": [{ "title": "a" }], "allowed_mentions": { "parse": [] } });
    let (status, said) = post(&format!("{}?wait=true", discord.url()), &embed).await;
    let said: Value = serde_json::from_str(&said).unwrap();
    let id = said["id"].as_str().unwrap();
    assert_eq!((status, &said["channel_id"]), (200, &Discord::CHANNEL.into()));
    let change = async |id: &str, body: &Value| {
        let url = format!("{}/messages/{id}", discord.url());
        client().patch(url).json(body).send().await.unwrap().status().as_u16()
    };
    let with_picture = json!({
        "embeds": [{ "title": "b", "image": { "url": "attachment://a.png" } }],
        "allowed_mentions": { "parse": [] },
    });
    assert_eq!(change(id, &embed).await, 200);
    assert_eq!(change("1", &embed).await, 404);
    assert_eq!(change(id, &with_picture).await, 400, "there is no such file");
    assert_eq!((discord.posts.get(id).unwrap().edits, discord.inbox.messages().len()), (1, 1));
}

#[tokio::test]
async fn telegram_lets_a_bot_change_only_what_is_there_and_other_than_before() {
    let telegram = Telegram::start();
    let call = async |method: &str, body: Value| {
        let url = format!("{}/bot{}/{method}", telegram.url(), Telegram::TOKEN);
        let (_, said) = post(&url, &body).await;
        let said: Value = serde_json::from_str(&said).unwrap();
        said["description"].as_str().unwrap_or("ok").to_owned()
    };
    let chat = Telegram::CHAT;
    assert_eq!(call("sendMessage", json!({ "chat_id": chat, "text": "a" })).await, "ok");
    let change = |id: u32, text: &str| json!({ "chat_id": chat, "message_id": id, "text": text });
    let edit = "editMessageText";
    assert!(call(edit, change(1, "a")).await.contains("message is not modified"));
    assert!(call(edit, change(2, "b")).await.contains("message to edit not found"));
    assert_eq!(call(edit, change(1, "b")).await, "ok");
    let answer = |sure: bool| {
        let reply = json!({ "message_id": 7, "allow_sending_without_reply": sure });
        json!({ "chat_id": chat, "text": "c", "reply_parameters": reply })
    };
    assert!(call("sendMessage", answer(false)).await.contains("message to be replied not found"));
    assert_eq!(call("sendMessage", answer(true)).await, "ok");
    let keyboard = json!({ "inline_keyboard": [[{ "text": "a", "url": "http://localhost/" }]] });
    let body = json!({ "chat_id": chat, "text": "d", "reply_markup": keyboard });
    assert!(call("sendMessage", body).await.contains("button URL"));
    assert_eq!(telegram.posts().all().len(), 2);
}

#[tokio::test]
async fn discord_keeps_its_documented_limits() {
    let discord = Discord::start();
    let check = async |embed: Value, expected: u16| {
        let body = json!({ "embeds": [embed], "allowed_mentions": { "parse": [] } });
        let (status, answer) = post(&discord.url(), &body).await;
        assert_eq!(status, expected, "{answer}: {body:.200}");
    };
    check(json!({ "title": "a\\*b" }), 204).await;
    check(json!({ "description": "x".repeat(4097) }), 400).await;
    check(json!({ "fields": vec![json!({ "name": "a", "value": "b" }); 26] }), 400).await;
    let long = vec![json!({ "name": "a", "value": "b".repeat(1000) }); 7];
    check(json!({ "fields": long }), 400).await;
    let (status, _) = post(&discord.url(), &json!({ "content": "@everyone" })).await;
    assert_eq!((status, discord.inbox.messages().len()), (400, 1));
    assert_eq!(discord.inbox.messages()[0].text, "a*b");
}

#[tokio::test]
async fn telegram_keeps_its_documented_limits() {
    let telegram = Telegram::start();
    let url = format!("{}/bot{}/SendMessage", telegram.url(), Telegram::TOKEN);
    let check = async |text: &str, expected: u16| {
        let body = json!({ "chat_id": Telegram::CHAT, "text": text, "parse_mode": "HTML" });
        let (status, answer) = post(&url, &body).await;
        assert_eq!(status, expected, "{answer}: {text:.200}");
    };
    check("<b>a &lt; b</b>", 200).await;
    check("<b>a < b</b>", 400).await;
    check("<b>a", 400).await;
    check("<h1>a</h1>", 400).await;
    check("a & b", 400).await;
    check(&"x".repeat(4097), 400).await;
    check(&"&lt;".repeat(4096), 200).await;
    assert_eq!(telegram.inbox.messages()[0].text, "a < b");
}

#[tokio::test]
async fn an_unsigned_webhook_is_refused() {
    let webhook = Webhook::start();
    assert_eq!(post(&webhook.url(), &json!({ "text": "x" })).await.0, 401);
    assert_eq!(webhook.inbox.refusals().len(), 1);
}

#[tokio::test]
async fn a_service_can_be_in_any_mood() {
    let slack = Slack::start();
    let send = async || {
        let request = client().post(slack.url()).json(&json!({ "text": "x" }));
        match tokio::time::timeout(std::time::Duration::from_secs(1), request.send()).await {
            Err(_) => Err("timeout"),
            Ok(Err(_)) => Err("no answer"),
            Ok(Ok(answer)) => {
                let status = answer.status().as_u16();
                answer.text().await.map(|_| status).map_err(|_| "half an answer")
            }
        }
    };
    for (mood, expected) in [
        (Mood::Working, Ok(200)),
        (Mood::Status(500), Ok(500)),
        (Mood::TooMany(7), Ok(429)),
        (Mood::Hanging, Err("timeout")),
        (Mood::Garbage, Ok(200)),
        (Mood::HalfReply, Err("half an answer")),
    ] {
        slack.inbox.set(mood.clone());
        assert_eq!(send().await, expected, "{mood:?}");
    }
    assert_eq!((slack.inbox.attempts(), slack.inbox.messages().len()), (6, 3));
}

#[tokio::test]
async fn the_servers_stop_stall_and_start_again() {
    let mut postgres = Postgres::start().await;
    postgres.run("postgres", "create database shop").await;
    postgres.service.stop();
    postgres.start_again().await;
    postgres.run("shop", "select 1").await;

    let redis = Redis::start().await;
    redis.service.stall();
    let answer = redis.command("PING");
    let stalled = tokio::time::timeout(std::time::Duration::from_millis(300), answer).await;
    assert!(stalled.is_err(), "a stalled server answered");
    redis.service.resume();
    assert_eq!(redis.command("PING").await.unwrap(), "+PONG\r\n");

    let nginx = Nginx::start().await;
    nginx.answer(503, "no").await;
    assert_eq!(client().get(nginx.url()).send().await.unwrap().status(), 503);
    assert!(nginx.requests().await >= 2);
    let ca = std::fs::read(&nginx.certificates.ca).unwrap();
    let trusting = reqwest::Client::builder()
        .no_proxy()
        .add_root_certificate(reqwest::Certificate::from_pem(&ca).unwrap())
        .build()
        .unwrap();
    assert_eq!(trusting.get(nginx.tls_url()).send().await.unwrap().status(), 503);

    let mut node = Node::start();
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": [] });
    assert!(post(&node.url(), &call).await.1.contains("0x1"));
    node.local.stop();
    assert!(client().post(node.url()).json(&call).send().await.is_err());
    node.local.start_again();
    assert!(post(&node.url(), &call).await.1.contains("0x1"));

    let socket = WebSocketServer::start();
    let (mut stream, _) = tokio_tungstenite::connect_async(socket.url()).await.unwrap();
    stream.send("hello".into()).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().into_text().unwrap(), "hello");
}

#[tokio::test]
async fn the_smtp_server_insists_on_what_it_was_told_to() {
    use lettre::message::{Message, header::ContentType};
    use lettre::transport::smtp::authentication::Credentials;
    use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
    use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

    let message = Message::builder()
        .from("watchbell@shop.example".parse().unwrap())
        .to("ops@shop.example".parse().unwrap())
        .subject("Down")
        .header(ContentType::TEXT_PLAIN)
        .body("It is down".to_owned())
        .unwrap();
    let smtp = Smtp::start_with(SmtpMode::StartTls, true).await;
    let transport = |login: bool| {
        let ca = std::fs::read(&smtp.certificates.ca).unwrap();
        let tls = TlsParameters::builder("localhost".to_owned())
            .add_root_certificate(Certificate::from_pem(&ca).unwrap())
            .build()
            .unwrap();
        let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1")
            .port(smtp.port)
            .tls(Tls::Required(tls))
            .timeout(Some(PATIENCE));
        let login = login.then(|| Credentials::new(Smtp::USER.into(), Smtp::PASSWORD.into()));
        match login {
            Some(login) => builder.credentials(login).build(),
            None => builder.build(),
        }
    };
    assert!(transport(false).send(message.clone()).await.is_err());
    transport(true).send(message).await.unwrap();
    let received = smtp.inbox.wait_for(0, &["Down", "It is down"]).await;
    assert_eq!(received.recipient, "ops@shop.example");
    assert_eq!((&received.body["tls"], &received.body["login"]), (&json!(true), &json!(true)));
}

#[test]
fn certificates_are_made_anew_for_each_server() {
    let folder = Folder::new();
    let certificates = Certificates::create(folder.path());
    assert!(std::fs::read_to_string(certificates.key).unwrap().contains("PRIVATE KEY"));
}
