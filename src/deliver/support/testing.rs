//! A server that says what a test wants it to say, and messages to send to it.

use crate::clock::Manual;
use crate::config::{Interpolator, Problems, Section, SourceFile};
use crate::deliver::{Channel, ChannelKind, Net};
use crate::model::{Action, Incident, Live, Message, Picture, Timestamp, What};
use crate::render::{Background, Held, Letter, Renderer, sample};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// 2026-03-01 09:20:12 UTC.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_772_356_812_000);

/// The shared client, with the clock at [`NOW`].
pub(crate) fn net() -> Net {
    Net::new(Arc::new(Manual::at(NOW))).unwrap()
}

/// One request as the fake server got it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

type Reply = (StatusCode, HeaderMap, String);

#[derive(Debug, Default)]
struct Script {
    replies: Vec<Reply>,
    requests: Vec<Request>,
}

/// An HTTP server on a free port that repeats the last answer it was given.
#[derive(Debug)]
pub(crate) struct Fake {
    address: std::net::SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::<Mutex<Script>>::default();
        let router = Router::new().fallback(serve).with_state(Arc::clone(&script));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, script }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Forgets the answers so far and gives this one from now on.
    pub(crate) fn answer(&self, status: u16, headers: &[(&str, &str)], body: &str) {
        self.script.lock().unwrap().replies.clear();
        self.then(status, headers, body);
    }

    /// Gives this answer after those before, and from then on.
    pub(crate) fn then(&self, status: u16, headers: &[(&str, &str)], body: &str) {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
            })
            .collect();
        let reply = (StatusCode::from_u16(status).unwrap(), headers, body.to_owned());
        self.script.lock().unwrap().replies.push(reply);
    }

    /// What has arrived so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.script.lock().unwrap().requests.clone()
    }

    /// What arrived last.
    pub(crate) fn last(&self) -> Request {
        self.requests().pop().unwrap()
    }
}

async fn serve(
    State(script): State<Arc<Mutex<Script>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let mut script = script.lock().unwrap();
    script.requests.push(Request { method, uri, headers, body: body.to_vec() });
    if script.replies.len() > 1 { script.replies.remove(0) } else { script.replies[0].clone() }
}

/// Reads the table of a channel from TOML, and gives the problems, one a line.
pub(crate) fn read(kind: &ChannelKind, text: &str) -> (Option<Box<dyn Channel>>, String) {
    let file = SourceFile::in_memory("daemon.toml", text);
    let mut problems = Problems::default();
    let base = Path::new("/etc/watchbell");
    let interpolator = Interpolator::new(base).without_secrets();
    let mut section = Section::root(&file, base, &interpolator, &mut problems);
    let channel = (kind.parse)(&mut section);
    section.finish(&mut problems);
    let lines: Vec<String> = problems.sorted().iter().map(ToString::to_string).collect();
    (channel, lines.join("\n"))
}

/// The channel that `text` describes, which must be without problems.
pub(crate) fn channel(kind: &ChannelKind, text: &str) -> Box<dyn Channel> {
    let (channel, problems) = read(kind, text);
    assert_eq!(problems, "");
    channel.unwrap()
}

/// The message about `incidents`, in the words of the template that ships with `kind`.
pub(crate) fn message_about(kind: &ChannelKind, what: What, incidents: &[Incident]) -> Message {
    let renderer = Renderer::compile(kind.name, kind.template, kind.format).unwrap();
    let zone = chrono_tz::UTC;
    let held: Option<Held> = None;
    let background = Background::default();
    let letter =
        Letter { what, at: NOW, now: NOW, daemon: "prod", zone, incidents, held, background };
    let rendered = renderer.render(&letter);
    assert_eq!(rendered.fell_back, None);
    Message {
        id: "01JNA8Y8PK000000000000000N".to_owned(),
        what,
        at: NOW,
        daemon: "prod".into(),
        recipient: String::new(),
        incidents: incidents.to_vec(),
        title: rendered.title,
        text: rendered.text,
        html: rendered.html,
        picture: None,
        actions: Vec::new(),
        answers: None,
        live: Vec::new(),
    }
}

/// One message of each sort.
pub(crate) fn messages(kind: &ChannelKind) -> Vec<Message> {
    let incidents = sample::incidents();
    let (open, over) = (&incidents[..1], &incidents[2..]);
    [
        (What::Opened, open),
        (What::Worsened, open),
        (What::Resolved, over),
        (What::Digest, &incidents[..]),
        (What::Test, &[]),
    ]
    .map(|(what, incidents)| message_about(kind, what, incidents))
    .to_vec()
}

/// The same message, which answers `handle` and makes it out of date.
pub(crate) fn answering(message: &Message, handle: &str) -> Message {
    let live = vec![Live { handle: handle.to_owned(), now: None }];
    Message { answers: Some(handle.to_owned()), live, ..message.clone() }
}

/// The same message with a picture, and with what a person may do.
pub(crate) fn dressed(message: &Message) -> Message {
    let picture = Picture { png: Arc::from(*b"\x89PNG"), alt: "10 of 12 runs failed".to_owned() };
    let action = |label: &str, url: &str| Action { label: label.to_owned(), url: url.to_owned() };
    let acknowledge = action("Acknowledge", "https://status.example/do/1?a=(b)");
    let actions = vec![acknowledge, action("Silence 2h", "https://status.example/do/2")];
    Message { picture: Some(picture), actions, ..message.clone() }
}

/// Messages that are as long and as hostile as a template can make them.
pub(crate) fn hostile_messages(kind: &ChannelKind) -> Vec<Message> {
    let incident = sample::hostile();
    let digest: Vec<Incident> = vec![incident.clone(); 100];
    let mut messages = vec![
        message_about(kind, What::Opened, std::slice::from_ref(&incident)),
        message_about(kind, What::Digest, &digest),
    ];
    // A template of somebody's own may print anything.
    let mut wild = messages[0].clone();
    wild.title = "& <b>*🔥 ".repeat(5_000);
    wild.text = "<i>[a](b) \\* &amp; \n".repeat(5_000);
    messages.push(wild);
    messages
}
