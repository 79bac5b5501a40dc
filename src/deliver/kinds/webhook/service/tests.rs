use super::super::KIND;
use crate::deliver::Outcome;
use crate::deliver::support::testing::{Fake, channel, hostile_messages, messages, net, read};

const KEY: &str = "fedcba9876543210fedcba9876543210";

fn pagerduty(fake: &Fake) -> String {
    let url = fake.url("/v2/enqueue");
    format!("preset = \"pagerduty\"\nrouting_key = \"{KEY}\"\nurl = \"{url}\"")
}

#[tokio::test]
async fn a_digest_goes_on_where_it_broke_off() {
    let fake = Fake::start().await;
    let good = r#"{"status":"success","message":"Event processed","dedup_key":"a"}"#;
    fake.answer(202, &[], good);
    fake.then(429, &[("retry-after", "3")], "");
    fake.then(202, &[], good);
    let service = channel(&KIND, &pagerduty(&fake));
    let digest = &messages(&KIND)[3];
    let outcome = service.send(&net(), digest).await;
    assert!(matches!(outcome, Outcome::Retry { after: Some(_), .. }), "{outcome:?}");
    assert_eq!(service.send(&net(), digest).await, Outcome::accepted());
    let keys: Vec<String> = fake
        .requests()
        .iter()
        .map(|request| request.json()["dedup_key"].as_str().unwrap().to_owned())
        .map(|key| key.chars().last().unwrap().to_string())
        .collect();
    assert_eq!(keys.join(" "), "0 1 1 2", "the first was not sent again");
    for message in hostile_messages(&KIND) {
        assert_eq!(service.send(&net(), &message).await, Outcome::accepted());
    }
}

#[tokio::test]
async fn an_answer_of_200_may_still_be_a_refusal() {
    let fake = Fake::start().await;
    let hook = fake.url("/hooks/0123456789abcdef");
    let service = channel(&KIND, &format!("preset = \"rocketchat\"\nurl = \"{hook}\""));
    let opened = &messages(&KIND)[0];
    for (status, answer, expected) in [
        (200, r#"{"success":true}"#, Outcome::accepted()),
        (
            200,
            r#"{"success":false,"error":"0123456789abcdef?"}"#,
            rejected("200 OK: {\"success\":false,\"error\":\"[secret]?\"}"),
        ),
        (200, "", rejected("200 OK")),
        (404, "no such hook", rejected("404 Not Found: no such hook")),
        (503, "", Outcome::Retry { after: None, why: "503 Service Unavailable".to_owned() }),
    ] {
        fake.answer(status, &[], answer);
        assert_eq!(service.send(&net(), opened).await, expected);
    }
}

#[tokio::test]
async fn each_service_is_spoken_to_as_it_wants() {
    let fake = Fake::start().await;
    let server = fake.url("/");
    let mut seen = Vec::new();
    for (answer, text) in [
        (r#"{"event_id":"$a"}"#, "preset = \"matrix\"\ntoken = \"TOKEN\"\nroom = \"!a:b.example\""),
        (
            r#"{"result":"success"}"#,
            "preset = \"zulip\"\nemail = \"bot@z\"\napi_key = \"KEY\"\nchannel = \"a&b\"",
        ),
        ("{}", "preset = \"opsgenie\"\napi_key = \"KEY\""),
        (r#"{"id":"a"}"#, "preset = \"ntfy\"\ntopic = \"alerts\"\nheaders = { X-Own = \"1\" }"),
        (r#"{"id":7}"#, "preset = \"gotify\"\ntoken = \"TOKEN\""),
        ("", "preset = \"generic\"\nmethod = \"put\""),
    ] {
        fake.answer(200, &[], answer);
        let service = channel(&KIND, &format!("{text}\nurl = \"{server}\""));
        assert_eq!(service.send(&net(), &messages(&KIND)[2]).await, Outcome::accepted(), "{text}");
        let request = fake.last();
        let header = |name: &str| {
            request.headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned()
        };
        seen.push(format!(
            "{} {} {} {} {} {}",
            request.method,
            request.uri,
            header("content-type"),
            header("authorization"),
            header("x-gotify-key"),
            header("x-own")
        ));
    }
    insta::assert_snapshot!(seen.join("\n"), @r"
    PUT /_matrix/client/v3/rooms/%21a%3Ab.example/send/m.room.message/01JNA8Y8PK000000000000000N application/json Bearer TOKEN - -
    POST /api/v1/messages application/x-www-form-urlencoded Basic Ym90QHo6S0VZ - -
    POST /v2/alerts/01JNA8Y8PK0000000000000002/close?identifierType=alias application/json GenieKey KEY - -
    POST / application/json - - 1
    POST /message application/json - TOKEN -
    PUT / application/json - - -
    ");
    let request = &fake.requests()[1];
    insta::assert_snapshot!(
        String::from_utf8_lossy(&request.body),
        @"type=stream&to=a%26b&topic=billing&content=**%F0%9F%9F%A2+UP+billing+%E2%80%94+was+down+for+5m+10s+%C2%B7+prod**"
    );
}

#[tokio::test]
async fn secrets_do_not_show() {
    let fake = Fake::start().await;
    fake.answer(400, &[], &format!("bad {KEY} at /v2/enqueue-here"));
    let service = channel(&KIND, &pagerduty(&fake));
    let why = "400 Bad Request: bad [secret] at /v2/enqueue-here".to_owned();
    assert_eq!(service.send(&net(), &messages(&KIND)[0]).await, Outcome::Rejected { why });
    let shown = format!("{service:?}");
    assert!(!shown.contains(KEY), "{shown}");
    let zulip = "preset = \"zulip\"\nemail = \"bot@z\"\napi_key = \"hunter2\"\nchannel = \"a\"";
    let service = channel(&KIND, &format!("{zulip}\nurl = \"{}\"", fake.url("")));
    fake.answer(401, &[], "no hunter2, no Ym90QHo6aHVudGVyMg==");
    let why = "401 Unauthorized: no [secret], no [secret]".to_owned();
    assert_eq!(service.send(&net(), &messages(&KIND)[0]).await, Outcome::Rejected { why });
    assert!(!format!("{service:?}").contains("hunter2"));
}

#[test]
fn problems_say_what_to_do() {
    let problems = [
        "preset = \"pagerdutty\"\nkey = 1",
        "preset = \"pagerduty\"\nrouting_kee = \"hunter2\"",
        "preset = \"matrix\"\nurl = \"matrix.example\"\ntoken = 5\nroom = \"a\"",
        "preset = \"pushover\"\ntoken = \"a\"\nuser = \"b\"\npriority = \"hunter2\"",
        "preset = \"gotify\"\nurl = \"ftp://x.example\"\ntoken = \"a\\nb\"",
        "preset = \"gotify\"\nurl = \"https://x.example\"\ntoken = \"a\\nb\"",
        "preset = \"generic\"\nurl = \"https://x.example\"\nmethod = \"GET\"",
        "preset = \"ntfy\"\ntopic = \"${TOPIC}\"\ntoken = \"${TOKEN}\"",
    ]
    .map(|text| read(&KIND, text).1);
    insta::assert_snapshot!(problems.join("\n"), @r"
    daemon.toml:1:10: preset: there is no preset `pagerdutty` (did you mean `pagerduty`?)
    daemon.toml:1:1: routing_key: is missing (PagerDuty shows it under Service > Integrations > Events API v2)
    daemon.toml:2:1: routing_kee: unknown key (did you mean `routing_key`?)
    daemon.toml:2:7: url: is not a URL: relative URL without a base
    daemon.toml:3:9: token: must be a string, not integer
    daemon.toml:4:12: priority: must be a whole number, not string
    daemon.toml:2:7: url: `ftp://` is not supported here (use https:// or http://)
    daemon.toml:1:1: headers: the value of `X-Gotify-Key` has characters that no header may have
    daemon.toml:1:10: preset: the preset cannot be used: `GET` does not carry a body (use POST, PUT or PATCH)
    ");
}

fn rejected(why: &str) -> Outcome {
    Outcome::Rejected { why: why.to_owned() }
}
