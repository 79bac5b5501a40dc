use super::{Folder, PATIENCE, Process, Service, eventually, free_port};
use std::process::Command;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A Redis server that keeps nothing on disk.
#[derive(Debug)]
pub struct Redis {
    /// Where it listens.
    pub port: u16,
    /// The server itself, to stop and to stall.
    pub service: Service,
    folder: Folder,
}

impl Redis {
    /// A new one, up and answering.
    pub async fn start() -> Self {
        let mut server =
            Self { port: free_port(), service: Service::default(), folder: Folder::new() };
        server.start_again().await;
        server
    }

    /// Starts it on its port after [`Service::stop`].
    pub async fn start_again(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.arg("--port").arg(self.port.to_string());
        command.arg("--dir").arg(self.folder.path());
        let log = self.folder.join("redis.log");
        self.service.run(Process::spawn("redis-server", &mut command, &log));
        eventually("Redis to answer", PATIENCE, async || {
            (self.command("PING").await.ok()? == "+PONG\r\n").then_some(())
        })
        .await;
    }

    /// Sends an inline command and gives the first piece of the answer.
    pub async fn command(&self, command: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.write_all(format!("{command}\r\n").as_bytes()).await?;
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    }
}
