use super::KIND;
use crate::model::ActionName;
use crate::recover::actions::testing::{action, order, read, tools};
use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::net::UnixListener;

/// An imitation of the Docker Engine with one container, `shop-api`, which is stopped already.
struct Engine {
    folder: tempfile::TempDir,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Engine {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("docker.sock")).unwrap();
        let calls = Arc::<Mutex<Vec<String>>>::default();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&calls));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { folder, calls }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("docker.sock")
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

/// As the Engine's documentation has it.
async fn answer(
    State(calls): State<Arc<Mutex<Vec<String>>>>,
    method: Method,
    uri: Uri,
) -> (StatusCode, String) {
    calls.lock().unwrap().push(format!("{method} {uri}"));
    match uri.path() {
        "/containers/shop-api/stop" => (StatusCode::NOT_MODIFIED, String::new()),
        "/containers/shop-api/restart" | "/containers/shop-api/start" => {
            (StatusCode::NO_CONTENT, String::new())
        }
        "/containers/broken/restart" => {
            let message = "driver failed programming external connectivity";
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{{\"message\":\"{message}\"}}"))
        }
        other => {
            let name = other.split('/').nth(2).unwrap_or_default();
            let message = format!("{{\"message\":\"No such container: {name}\"}}");
            (StatusCode::NOT_FOUND, message)
        }
    }
}

async fn run(socket: &std::path::Path, name: &str, what: ActionName) -> Result<String, String> {
    let text = format!("docker = \"{name}\"\ndocker_socket = \"{}\"", socket.display());
    action(&KIND, &text).run(&tools(), &order(what)).await
}

#[tokio::test]
async fn a_container_is_restarted() {
    let engine = Engine::start();
    let said = run(&engine.socket(), "shop-api", ActionName::Restart).await;
    assert_eq!(said.as_deref(), Ok("restarted the container shop-api"));
    assert_eq!(engine.calls(), ["POST /containers/shop-api/restart?t=10"]);
}

#[tokio::test]
async fn a_container_is_stopped_and_started_also_if_it_was_stopped_already() {
    let engine = Engine::start();
    let said = run(&engine.socket(), "shop-api", ActionName::Recreate).await;
    assert_eq!(said.as_deref(), Ok("stopped and started the container shop-api"));
    let calls = ["POST /containers/shop-api/stop?t=10", "POST /containers/shop-api/start"];
    assert_eq!(engine.calls(), calls);
}

#[tokio::test]
async fn what_the_engine_does_not_do_is_told_in_its_words() {
    let engine = Engine::start();
    let failed = async |name, what| run(&engine.socket(), name, what).await.unwrap_err();
    assert_eq!(
        failed("shop", ActionName::Recreate).await,
        "cannot stop the container shop: 404 Not Found: No such container: shop"
    );
    assert_eq!(engine.calls().len(), 1, "what could not be stopped is not started");
    assert_eq!(
        failed("broken", ActionName::Restart).await,
        "cannot restart the container broken: 500 Internal Server Error: \
         driver failed programming external connectivity"
    );
}

#[tokio::test]
async fn a_socket_that_cannot_be_used_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let failed = async |socket: &str| {
        let socket = folder.path().join(socket);
        let said = run(&socket, "a", ActionName::Restart).await.unwrap_err();
        said.replace(&folder.path().display().to_string(), "FOLDER")
    };
    assert_eq!(
        failed("none.sock").await,
        "cannot restart the container a: there is no socket FOLDER/none.sock (is Docker running? \
         set `docker_socket`)"
    );
    drop(UnixListener::bind(folder.path().join("old.sock")).unwrap());
    assert_eq!(
        failed("old.sock").await,
        "cannot restart the container a: nobody listens on FOLDER/old.sock (is Docker running?)"
    );
    let listener = UnixListener::bind(folder.path().join("mute.sock")).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let mute = failed("mute.sock").await;
    assert!(mute.contains("FOLDER/mute.sock does not answer as Docker does: "), "{mute}");
}

#[test]
fn a_name_cannot_break_out_of_the_address() {
    for name in ["", "../volumes", "a/b", "a?b", "-a"] {
        let problems = read(&KIND, &format!("docker = \"{name}\"")).1;
        assert!(problems.contains("cannot be the name of a container"), "{name}: {problems}");
    }
}
