use super::local::Local;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// An HTTP server that notes when it answered what, for stories that measure.
#[derive(Debug)]
pub struct Target {
    local: Local,
    state: Arc<Mutex<Shown>>,
}

#[derive(Debug)]
struct Shown {
    status: u16,
    delay: Duration,
    answers: Vec<(SystemTime, u16)>,
}

impl Target {
    /// One that answers 200.
    pub fn start() -> Self {
        let shown = Shown { status: 200, delay: Duration::ZERO, answers: Vec::new() };
        let state = Arc::new(Mutex::new(shown));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&state));
        Self { local: Local::router(router), state }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.local.port)
    }

    /// A check of it every second that resolves at once, with more keys.
    pub fn check(&self, name: &str, keys: &str) -> String {
        let url = self.url();
        format!(
            "[[check]]\nname = \"{name}\"\nevery = \"1s\"\nrecover_after = 1\n{keys}\n\
             [check.http]\nurl = \"{url}\"\n\n"
        )
    }

    /// Lets it answer `status` from now on.
    pub fn answer(&self, status: u16) {
        self.state.lock().unwrap().status = status;
    }

    /// Lets it take so long for each answer.
    pub fn delay(&self, delay: Duration) {
        self.state.lock().unwrap().delay = delay;
    }

    /// When it answered what.
    pub fn answers(&self) -> Vec<(SystemTime, u16)> {
        self.state.lock().unwrap().answers.clone()
    }

    /// How many requests it has answered.
    pub fn count(&self) -> usize {
        self.state.lock().unwrap().answers.len()
    }
}

async fn answer(State(state): State<Arc<Mutex<Shown>>>) -> (StatusCode, &'static str) {
    let delay = state.lock().unwrap().delay;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let mut state = state.lock().unwrap();
    let status = state.status;
    state.answers.push((SystemTime::now(), status));
    (StatusCode::from_u16(status).unwrap(), "{}")
}
