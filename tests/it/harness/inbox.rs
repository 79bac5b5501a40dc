use super::form;
use super::local::Local;
use super::{PATIENCE, eventually};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State as Handed;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// A message that a service accepted.
#[derive(Clone, Debug)]
pub struct Received {
    /// When it was there.
    pub at: SystemTime,
    /// The id of the notice, as the request's headers give it; empty where they do not.
    pub id: String,
    /// Whom it was for, where the service serves several (email).
    pub recipient: String,
    /// All that a person sees of it.
    pub text: String,
    /// The request's body as it came.
    pub body: Value,
}

impl Received {
    /// Whether a person sees all of these words.
    pub fn says(&self, words: &[&str]) -> bool {
        words.iter().all(|word| self.text.contains(word))
    }
}

/// How a service treats what it is sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Mood {
    /// As its documentation says.
    Working,
    /// It takes so long for each; the message is there after half of it.
    Slow(Duration),
    /// It answers this status to everything.
    Status(u16),
    /// It asks to be left alone for so many seconds.
    TooMany(u64),
    /// It takes the request and never answers.
    Hanging,
    /// It accepts, and answers something that is not its own format.
    Garbage,
    /// It accepts, and the connection breaks within the answer.
    HalfReply,
}

/// What a service was sent.
#[derive(Clone)]
pub struct Inbox {
    state: Arc<Mutex<State>>,
    /// Where another process writes its messages, one JSON object a line.
    file: Option<PathBuf>,
}

struct State {
    mood: Mood,
    messages: Vec<Received>,
    attempts: usize,
    refusals: Vec<String>,
}

impl Inbox {
    /// An empty one.
    pub fn new() -> Self {
        let state =
            State { mood: Mood::Working, messages: Vec::new(), attempts: 0, refusals: Vec::new() };
        Self { state: Arc::new(Mutex::new(state)), file: None }
    }

    /// One whose messages another process writes.
    pub fn of_file(file: PathBuf) -> Self {
        Self { file: Some(file), ..Self::new() }
    }

    /// Changes how it treats what comes.
    pub fn set(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    /// How it treats what comes.
    pub fn mood(&self) -> Mood {
        self.state.lock().unwrap().mood.clone()
    }

    /// What was accepted, in the order in which it came.
    pub fn messages(&self) -> Vec<Received> {
        match &self.file {
            None => self.state.lock().unwrap().messages.clone(),
            Some(file) => read_file(file),
        }
    }

    /// How many requests came, accepted or not.
    pub fn attempts(&self) -> usize {
        self.state.lock().unwrap().attempts
    }

    /// What the service's rules refused, and why. A daemon that knows the rules causes none.
    pub fn refusals(&self) -> Vec<String> {
        self.state.lock().unwrap().refusals.clone()
    }

    /// Those that say all of `words`.
    pub fn saying(&self, words: &[&str]) -> Vec<Received> {
        self.messages().into_iter().filter(|message| message.says(words)).collect()
    }

    /// The first message after the first `skip` ones that says all of `words`.
    pub async fn wait_for(&self, skip: usize, words: &[&str]) -> Received {
        let what = format!("a message that says {words:?}");
        let probe = async || self.messages().into_iter().skip(skip).find(|m| m.says(words));
        match tokio::time::timeout(PATIENCE, eventually(&what, PATIENCE * 2, probe)).await {
            Ok(message) => message,
            Err(_) => panic!(
                "waited in vain for {what}; there are {:#?}, and refusals {:#?}",
                self.messages().iter().map(|message| &message.text).collect::<Vec<_>>(),
                self.refusals()
            ),
        }
    }

    /// Waits until there are at least `count` messages, and gives them all.
    pub async fn wait_for_count(&self, count: usize) -> Vec<Received> {
        eventually(&format!("{count} messages"), PATIENCE, async || {
            let messages = self.messages();
            (messages.len() >= count).then_some(messages)
        })
        .await
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inbox({} messages)", self.messages().len())
    }
}

/// A request as the rules of a service see it.
#[derive(Debug)]
pub struct Incoming {
    /// Its method.
    pub method: Method,
    /// The path of its URL.
    pub path: String,
    /// What stands behind the `?`.
    pub query: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub raw: Bytes,
    /// Its body as JSON, or the JSON of its form that goes with files; null if there is none.
    pub json: Value,
    /// The parts of its form other than that JSON; empty if it is none.
    pub form: HashMap<String, Bytes>,
}

impl Incoming {
    fn read(method: Method, uri: &Uri, headers: HeaderMap, raw: Bytes) -> Self {
        let mut form = form::read(&headers, &raw);
        let json = match form.remove("payload_json") {
            Some(json) => serde_json::from_slice(&json).unwrap_or_default(),
            None => serde_json::from_slice(&raw).unwrap_or_default(),
        };
        let query = uri.query().unwrap_or_default().to_owned();
        Self { method, path: uri.path().to_owned(), query, headers, raw, json, form }
    }
}

/// What a request is for the people who read the messages of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A new message.
    Message,
    /// Something else: a change of one that is there, a question.
    Other,
}

/// What a service documents.
pub trait Rules: Send + Sync + 'static {
    /// What a person sees of the message, or the answer that refuses it.
    fn read(&self, request: &Incoming) -> Result<String, Refusal>;

    /// Whether it takes requests of this method.
    fn takes(&self, method: &Method) -> bool {
        method == Method::POST
    }

    /// What the request is.
    fn sort(&self, _request: &Incoming) -> Sort {
        Sort::Message
    }

    /// The answer to a request that was accepted.
    fn accepted(&self, request: &Incoming) -> (StatusCode, String);

    /// The body of a 429.
    fn too_many(&self, seconds: u64) -> String {
        format!("retry after {seconds} s")
    }
}

/// How a service says no.
#[derive(Debug)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into() }
    }
}

/// Starts a service that follows `rules`.
pub fn imitate(rules: impl Rules) -> (Local, Inbox) {
    let inbox = Inbox::new();
    (imitate_beside(rules, inbox.clone(), Router::new()), inbox)
}

/// The same beside other routes, with what is sent in `inbox`.
pub fn imitate_beside(rules: impl Rules, inbox: Inbox, other: Router) -> Local {
    let service: Service = (Arc::new(rules), inbox);
    Local::router(other.merge(Router::new().fallback(receive).with_state(service)))
}

type Service = (Arc<dyn Rules>, Inbox);

async fn receive(
    Handed((rules, inbox)): Handed<Service>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    raw: Bytes,
) -> Response {
    let mood = {
        let mut state = inbox.state.lock().unwrap();
        state.attempts += 1;
        state.mood.clone()
    };
    match mood {
        Mood::Hanging => return std::future::pending().await,
        Mood::Status(status) => {
            return (StatusCode::from_u16(status).unwrap(), "upset").into_response();
        }
        Mood::TooMany(seconds) => {
            let wait = [("retry-after", seconds.to_string())];
            return (StatusCode::TOO_MANY_REQUESTS, wait, rules.too_many(seconds)).into_response();
        }
        Mood::Slow(span) => tokio::time::sleep(span / 2).await,
        Mood::Working | Mood::Garbage | Mood::HalfReply => {}
    }
    let request = Incoming::read(method, &uri, headers, raw);
    let read = if rules.takes(&request.method) {
        rules.read(&request)
    } else {
        Err(Refusal::new(405, format!("{} is not allowed", request.method)))
    };
    let text = match read {
        Ok(text) => text,
        Err(refusal) => {
            inbox.state.lock().unwrap().refusals.push(format!("{refusal:?}: {}", request.json));
            return (StatusCode::from_u16(refusal.status).unwrap(), refusal.body).into_response();
        }
    };
    let (status, body) = rules.accepted(&request);
    if rules.sort(&request) == Sort::Message {
        inbox.state.lock().unwrap().messages.push(Received {
            at: SystemTime::now(),
            id: notice_id(&request.headers),
            recipient: String::new(),
            text,
            body: request.json,
        });
    }
    match mood {
        Mood::Garbage => (status, "<html>\u{0}not what you expect").into_response(),
        Mood::HalfReply => half_reply(),
        Mood::Slow(span) => {
            tokio::time::sleep(span / 2).await;
            (status, body).into_response()
        }
        _ => (status, body).into_response(),
    }
}

/// An answer that promises more bytes than come before the connection breaks.
fn half_reply() -> Response {
    let pieces = futures_util::stream::unfold(0, async |piece| {
        // What was written has to be on its way before the break, or nothing of it arrives.
        tokio::time::sleep(Duration::from_millis(50 * piece)).await;
        let piece_or_break = match piece {
            0 => Ok(Bytes::from_static(b"{\"ok\":tr")),
            _ => Err(std::io::Error::other("cut")),
        };
        Some((piece_or_break, piece + 1))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    response.headers_mut().insert("content-length", 400.into());
    response
}

fn notice_id(headers: &HeaderMap) -> String {
    ["x-watchbell-notice", "idempotency-key"]
        .iter()
        .find_map(|name| headers.get(*name)?.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

fn read_file(file: &PathBuf) -> Vec<Received> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let whole_lines = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
    whole_lines
        .lines()
        .map(|line| {
            let body: Value = serde_json::from_str(line).unwrap();
            let word = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
            Received {
                at: SystemTime::UNIX_EPOCH + Duration::from_secs_f64(body["at"].as_f64().unwrap()),
                id: word("id"),
                recipient: word("recipient"),
                text: word("text"),
                body,
            }
        })
        .collect()
}
