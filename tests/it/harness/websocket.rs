use super::local::Local;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;

/// A WebSocket server that sends back what it is sent, and answers pings.
#[derive(Debug)]
pub struct WebSocketServer {
    local: Local,
}

impl WebSocketServer {
    /// A new one.
    pub fn start() -> Self {
        Self { local: Local::start(echo) }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/", self.local.port)
    }

    /// Closes its port and all its connections.
    pub fn stop(&mut self) {
        self.local.stop();
    }

    /// Opens it again.
    pub fn start_again(&mut self) {
        self.local.start_again();
    }

    /// Lets it take connections and never answer.
    pub fn stall(&self) {
        self.local.stall();
    }

    /// Undoes [`WebSocketServer::stall`].
    pub fn resume(&self) {
        self.local.resume();
    }
}

async fn echo(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
            while let Some(Ok(message)) = socket.next().await {
                let again = message.is_text() || message.is_binary();
                if again && socket.send(message).await.is_err() {
                    return;
                }
            }
        });
    }
}
