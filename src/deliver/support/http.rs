use super::Veil;
use crate::deliver::{Net, Outcome};
use crate::model::Timestamp;
use chrono::DateTime;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, StatusCode};
use std::error::Error;
use std::time::Duration;

/// How much of an answer is read, in bytes: services repeat the whole message that they took.
const BODY: usize = 256 * 1024;
/// The longest wait that a server is believed.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// How long the server wants to be left alone.
    pub retry_after: Option<Duration>,
    /// The start of the body, as text.
    pub body: String,
}

/// Sends a request and reads the start of its answer. Without an answer there is an outcome
/// already: try again, or never if the request cannot even be made.
pub async fn exchange(net: &Net, request: RequestBuilder, veil: &Veil) -> Result<Answer, Outcome> {
    let mut response = request.send().await.map_err(|error| unanswered(error, veil))?;
    let mut body = Vec::new();
    // The status says what became of the message; a body that breaks off does not change that.
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = BODY - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == BODY {
            break;
        }
    }
    Ok(Answer {
        status: response.status(),
        retry_after: retry_after(response.headers(), net.clock.wall()),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// What an answer means where its status tells: 2xx is accepted; 408, 425, 429 and 5xx may pass;
/// everything else will be the same next time.
pub fn classify(answer: &Answer, veil: &Veil) -> Outcome {
    let status = answer.status;
    if status.is_success() {
        return Outcome::accepted();
    }
    let why = match answer.body.trim() {
        "" => status.to_string(),
        body => veil.clean(&format!("{status}: {body}")),
    };
    let may_pass = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    if may_pass {
        Outcome::Retry { after: answer.retry_after, why }
    } else {
        Outcome::Rejected { why }
    }
}

/// The wait that `Retry-After` asks for, in seconds or as a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
        Err(_) => Timestamp::from(DateTime::parse_from_rfc2822(value).ok()?.to_utc()).since(now),
    };
    Some(wait.min(LONGEST_WAIT))
}

fn unanswered(error: reqwest::Error, veil: &Veil) -> Outcome {
    // The address may be a secret.
    let error = error.without_url();
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    let why = veil.clean(&why);
    if error.is_builder() { Outcome::Rejected { why } } else { Outcome::Retry { after: None, why } }
}

#[cfg(test)]
mod tests {
    use super::{classify, exchange, retry_after};
    use crate::deliver::Outcome;
    use crate::deliver::support::Veil;
    use crate::deliver::support::testing::{Fake, net};
    use crate::model::{Secret, Timestamp};
    use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
    use std::time::Duration;

    #[test]
    fn a_wait_is_read_in_seconds_and_as_a_date() {
        let now = Timestamp::from_millis(1_772_356_502_000);
        for (value, expected) in [
            ("30", Some(30)),
            ("1.0", Some(1)),
            ("Sun, 01 Mar 2026 09:16:02 GMT", Some(60)),
            ("Sun, 01 Mar 2026 09:00:00 GMT", Some(0)),
            ("99999999999", Some(86_400)),
            ("-5", None),
            ("soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{value}");
        }
    }

    #[tokio::test]
    async fn the_status_says_whether_to_try_again() {
        let fake = Fake::start().await;
        let net = net();
        let veil = Veil::over([Secret::new("hunter2")]);
        for (status, headers, body, expected) in [
            (204, vec![], "", Outcome::accepted()),
            (200, vec![], "fine", Outcome::accepted()),
            (302, vec![("location", "/elsewhere")], "", rejected("302 Found")),
            (404, vec![], "no_service", rejected("404 Not Found: no_service")),
            (403, vec![], "hunter2 is bad\r\n", rejected("403 Forbidden: [secret] is bad")),
            (408, vec![], "", retry(None, "408 Request Timeout")),
            (429, vec![("retry-after", "7")], "", retry(Some(7), "429 Too Many Requests")),
            (503, vec![], "later", retry(None, "503 Service Unavailable: later")),
        ] {
            fake.answer(status, &headers, body);
            let request = net.http.post(fake.url("/"));
            let answer = exchange(&net, request, &veil).await.unwrap();
            assert_eq!(classify(&answer, &veil), expected);
        }
        assert_eq!(fake.requests().len(), 8, "no redirect was followed");
    }

    #[tokio::test]
    async fn an_endless_answer_is_not_read_to_its_end() {
        let fake = Fake::start().await;
        fake.answer(400, &[], &"x".repeat(10 << 20));
        let net = net();
        let answer = exchange(&net, net.http.post(fake.url("/")), &Veil::default()).await.unwrap();
        assert_eq!(answer.body.len(), super::BODY);
    }

    #[tokio::test]
    async fn nobody_there_means_try_again_and_the_address_is_not_told() {
        let net = net();
        let request = net.http.post("http://127.0.0.1:1/services/SECRETSECRET");
        match exchange(&net, request, &Veil::default()).await {
            Err(Outcome::Retry { after: None, why }) => {
                assert!(why.contains("refused") && !why.contains("SECRET"), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }

    fn rejected(why: &str) -> Outcome {
        Outcome::Rejected { why: why.to_owned() }
    }

    fn retry(after: Option<u64>, why: &str) -> Outcome {
        Outcome::Retry { after: after.map(Duration::from_secs), why: why.to_owned() }
    }
}
