use super::{Certificates, Folder, PATIENCE, Process, Service, Signal, eventually, free_port};
use std::process::Command;

/// A Redis server, or a sentinel, with settings of a story's own.
#[derive(Debug)]
pub struct RedisNode {
    /// Where it listens.
    pub port: u16,
    /// The server itself, to stop and to stall.
    pub service: Service,
    arguments: Vec<String>,
    folder: Folder,
}

impl RedisNode {
    /// A server with more `arguments`, up and answering.
    pub async fn start(arguments: &[&str]) -> Self {
        let folder = Folder::new();
        Self::in_folder(folder, free_port(), arguments.iter().map(ToString::to_string)).await
    }

    /// A server that speaks only TLS on its port, and a plain one beside it for the test.
    pub async fn tls(arguments: &[&str]) -> (Self, u16, Certificates) {
        let folder = Folder::new();
        let certificates = Certificates::create(folder.path());
        let port = free_port();
        let file = |path: &std::path::Path| path.display().to_string();
        let more = [
            "--tls-port",
            &port.to_string(),
            "--tls-cert-file",
            &file(&certificates.certificate),
            "--tls-key-file",
            &file(&certificates.key),
            "--tls-ca-cert-file",
            &file(&certificates.ca),
        ];
        let all = more.iter().chain(arguments).map(ToString::to_string).collect::<Vec<_>>();
        (Self::in_folder(folder, free_port(), all.into_iter()).await, port, certificates)
    }

    /// A sentinel that watches the master at `port` under the name `mymaster`.
    pub async fn sentinel(port: u16) -> Self {
        let folder = Folder::new();
        let text = format!(
            "sentinel monitor mymaster 127.0.0.1 {port} 2\n\
             sentinel down-after-milliseconds mymaster 1500\n\
             sentinel failover-timeout mymaster 3000\n"
        );
        let file = folder.join("sentinel.conf");
        std::fs::write(&file, text).unwrap();
        let arguments = [file.display().to_string(), "--sentinel".to_owned()];
        Self::in_folder(folder, free_port(), arguments.into_iter()).await
    }

    /// Three masters, each with a third of the slots; with `replicas` for each of them.
    pub async fn cluster(replicas: usize) -> Vec<Self> {
        let mut nodes = Vec::new();
        for _ in 0..3 * (1 + replicas) {
            let more = [
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "1500",
                "--cluster-port",
                &free_port().to_string(),
                "--repl-diskless-sync-delay",
                "0",
            ];
            nodes.push(Self::start(&more).await);
        }
        let mut command = Command::new("redis-cli");
        command.args(["--cluster", "create"]);
        command.args(nodes.iter().map(Self::address));
        command.args(["--cluster-replicas", &replicas.to_string(), "--cluster-yes"]);
        run(&mut command);
        eventually("the cluster to be whole", PATIENCE, async || {
            let whole = nodes.iter().all(|node| {
                let count = node.cli(&["cluster", "nodes"]).lines().count();
                node.cli(&["cluster", "info"]).contains("cluster_state:ok") && count == nodes.len()
            });
            whole.then_some(())
        })
        .await;
        nodes
    }

    /// Where it listens, as `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it answers to a command.
    pub fn cli(&self, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        run(command.args(["-p", &self.port.to_string()]).args(words))
    }

    async fn in_folder(folder: Folder, port: u16, arguments: impl Iterator<Item = String>) -> Self {
        let (service, arguments) = (Service::default(), arguments.collect());
        let mut server = Self { port, service, arguments, folder };
        server.start_again().await;
        server
    }

    /// Starts it on its port after [`Service::stop`].
    pub async fn start_again(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(&self.arguments).args(["--bind", "127.0.0.1", "--save", ""]);
        command.arg("--port").arg(self.port.to_string());
        command.arg("--dir").arg(self.folder.path());
        let log = self.folder.join("redis.log");
        let process = Process::spawn("redis-server", &mut command, &log).ended_by(Signal::KILL);
        self.service.run(process);
        let port = self.port.to_string();
        eventually("Redis to answer", PATIENCE, async || {
            let done = Command::new("redis-cli").args(["-p", &port, "ping"]).output();
            let done = done.expect("redis-cli; `scripts/test` finds or installs Redis");
            (done.stdout.starts_with(b"PONG") || done.stdout.starts_with(b"NOAUTH")).then_some(())
        })
        .await;
    }
}

fn run(command: &mut Command) -> String {
    let done = command.output().expect("redis-cli; `scripts/test` finds or installs Redis");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{command:?}: {said}");
    said
}
