use super::local::Local;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;

/// A WebSocket server that sends back what it is sent, and answers pings.
#[derive(Debug)]
pub struct WebSocketServer {
    /// The server itself, to stop and to stall.
    pub local: Local,
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
