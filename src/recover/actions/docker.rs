use super::quoted;
use crate::config::Section;
use crate::model::{ActionName, OptionDoc};
use crate::recover::{Action, ActionKind, Order, Tools};
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use std::io::{Error, ErrorKind};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use tokio::net::UnixStream;

/// How long a container may take to stop by itself, in seconds.
const GRACE: u32 = 10;
/// How much of an answer is read, in bytes.
const BODY: usize = 64 * 1024;

/// A container of the Docker Engine, or of what speaks its API, as Podman does.
pub const KIND: ActionKind = ActionKind {
    name: "docker",
    summary: "a container, over the socket of the Docker Engine",
    options: &[
        OptionDoc::new(
            "docker",
            "string",
            "required",
            "the container; restart restarts it, recreate stops and then starts the same one",
        ),
        OptionDoc::new(
            "docker_socket",
            "string",
            "\"/var/run/docker.sock\"",
            "the socket of the Docker Engine, which the daemon's user must be able to write to",
        ),
    ],
    actions: &[ActionName::Restart, ActionName::Recreate],
    example: r#"[check.recover]
action = "restart"
docker = "shop-api"
"#,
    parse,
};

#[derive(Debug)]
struct Container {
    name: String,
    socket: PathBuf,
}

fn parse(section: &mut Section<'_>) -> Option<Arc<dyn Action>> {
    let name = section.required_built("docker", |name: String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if first && name.chars().all(plain) {
            Ok(name)
        } else {
            Err(format!("`{name}` cannot be the name of a container"))
        }
    });
    let socket = section.path("docker_socket");
    let socket = socket.unwrap_or_else(|| PathBuf::from("/var/run/docker.sock"));
    Some(Arc::new(Container { name: name?, socket }))
}

#[async_trait]
impl Action for Container {
    fn describe(&self, order: &Order) -> String {
        let way = match order.action {
            ActionName::Recreate => "stop and start",
            _ => "restart",
        };
        format!("{way} the container {}", self.name)
    }

    async fn run(&self, _tools: &Tools, order: &Order) -> Result<String, String> {
        let name = &self.name;
        match order.action {
            ActionName::Recreate => {
                self.order("stop", &format!("?t={GRACE}")).await?;
                self.order("start", "").await?;
                Ok(format!("stopped and started the container {name}"))
            }
            _ => {
                self.order("restart", &format!("?t={GRACE}")).await?;
                Ok(format!("restarted the container {name}"))
            }
        }
    }
}

/// What the Engine says where it does not do what it was told.
#[derive(Debug, Deserialize)]
struct Complaint {
    message: String,
}

impl Container {
    /// Has the Engine do one thing with the container (Docker Engine API, `ContainerRestart`,
    /// `ContainerStop` and `ContainerStart`).
    async fn order(&self, what: &str, query: &str) -> Result<(), String> {
        let failed = |why: String| format!("cannot {what} the container {}: {why}", self.name);
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| failed(self.unreachable(&error)))?;
        let path = format!("/containers/{}/{what}{query}", self.name);
        let (status, body) = post(stream, &path).await.map_err(|error| {
            failed(format!("{} does not answer as Docker does: {error}", self.socket.display()))
        })?;
        match status {
            // 304: it was stopped, or started, already.
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Ok(()),
            status => {
                let said = match serde_json::from_slice::<Complaint>(&body) {
                    Ok(complaint) => complaint.message,
                    Err(_) => String::from_utf8_lossy(&body).into_owned(),
                };
                Err(failed(match quoted(&said) {
                    said if said.is_empty() => status.to_string(),
                    said => format!("{status}: {said}"),
                }))
            }
        }
    }

    fn unreachable(&self, error: &Error) -> String {
        let socket = self.socket.display();
        match error.kind() {
            ErrorKind::NotFound => {
                format!("there is no socket {socket} (is Docker running? set `docker_socket`)")
            }
            ErrorKind::PermissionDenied => {
                format!("the daemon's user may not use {socket} (add it to the group of Docker)")
            }
            ErrorKind::ConnectionRefused => {
                format!("nobody listens on {socket} (is Docker running?)")
            }
            _ => format!("{socket}: {error}"),
        }
    }
}

/// Sends an empty POST over `stream`, and gives the status and the body of the answer.
async fn post(stream: UnixStream, path: &str) -> Result<(StatusCode, Bytes), String> {
    let words = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(words)?;
    let request = Request::post(path)
        .header("Host", "docker")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(words)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), BODY).collect().await;
        // What the Engine says beside the status is for people; the status is what counts.
        Ok((status, body.map(|body| body.to_bytes()).unwrap_or_default()))
    };
    // The connection has no task of its own, so that it ends with this future.
    let (mut exchange, mut connection) = (pin!(exchange), pin!(connection));
    tokio::select! {
        answer = &mut exchange => answer,
        _ = &mut connection => exchange.await,
    }
}

#[cfg(test)]
mod tests;
