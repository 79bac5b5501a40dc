use super::{Folder, PATIENCE, Process, Service, eventually, free_port};
use std::process::Command;
use std::time::Duration;
use tokio::net::UdpSocket;

/// A name server, unbound, that knows one name: `shop.test`.
#[derive(Debug)]
pub struct Unbound {
    /// Where it listens, by UDP and TCP.
    pub port: u16,
    /// The server itself, to stop and to stall.
    pub service: Service,
    folder: Folder,
}

impl Unbound {
    /// One that knows these addresses, up and answering.
    pub async fn start(addresses: &[&str]) -> Self {
        let mut server =
            Self { port: free_port(), service: Service::default(), folder: Folder::new() };
        server.start_again(addresses).await;
        server
    }

    /// Starts it on its port with other addresses, after [`Service::stop`] if it runs.
    pub async fn start_again(&mut self, addresses: &[&str]) {
        self.service.stop();
        let records: String = addresses
            .iter()
            .map(|address| format!("  local-data: 'shop.test. 60 IN A {address}'\n"))
            .collect();
        let config = self.folder.join("unbound.conf");
        let text = format!(
            "server:\n  interface: 127.0.0.1\n  port: {}\n  do-daemonize: no\n  username: ''\n  \
             chroot: ''\n  pidfile: ''\n  use-syslog: no\n  directory: '{}'\n  num-threads: 1\n  \
             module-config: 'iterator'\n  local-zone: 'test.' static\n{records}\
             remote-control:\n  control-enable: no\n",
            self.port,
            self.folder.path().display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("unbound");
        command.arg("-d").arg("-c").arg(&config);
        let log = self.folder.join("unbound.log");
        self.service.run(Process::spawn("unbound", &mut command, &log));
        eventually("unbound to answer", PATIENCE, async || self.ask().await.ok()).await;
    }

    /// Asks it something, and waits a little for an answer.
    async fn ask(&self) -> std::io::Result<()> {
        // The id, flags, one question: the name, A, IN.
        let question = b"\x07\x07\x01\0\0\x01\0\0\0\0\0\0\x04shop\x04test\0\0\x01\0\x01";
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        socket.connect(("127.0.0.1", self.port)).await?;
        socket.send(question).await?;
        tokio::time::timeout(Duration::from_millis(200), socket.recv(&mut [0; 512])).await??;
        Ok(())
    }
}
