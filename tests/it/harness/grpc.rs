use super::{
    Certificates, Folder, PATIENCE, Process, Service, eventually, free_port, python, repository,
};
use std::process::Command;
use std::time::Duration;
use tokio::net::TcpStream;

/// A gRPC server with the health service of grpcio-health-checking, in a Python that
/// `scripts/test` prepares.
#[derive(Debug)]
pub struct Grpc {
    /// Where it listens.
    pub port: u16,
    /// The server, to stop and to stall.
    pub service: Service,
    /// What its certificate comes from; it uses TLS only where it was started so.
    pub certificates: Certificates,
    folder: Folder,
    tls: Security,
}

/// Whom a server lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Security {
    Plain,
    Tls,
    /// Only those with a certificate of its own authority.
    Mutual,
}

impl Grpc {
    /// One without TLS, whose services have these statuses (JSON, by name); `none` registers no
    /// health service.
    pub async fn start(statuses: &str) -> Self {
        Self::start_with(statuses, Security::Plain).await
    }

    /// The same with TLS.
    pub async fn start_secure(statuses: &str) -> Self {
        Self::start_with(statuses, Security::Tls).await
    }

    /// The same with TLS, for those alone who show a certificate of its authority.
    pub async fn start_mutual(statuses: &str) -> Self {
        Self::start_with(statuses, Security::Mutual).await
    }

    async fn start_with(statuses: &str, tls: Security) -> Self {
        let folder = Folder::new();
        let certificates = Certificates::create(folder.path());
        write(&folder, statuses);
        let service = Service::default();
        let mut server = Self { port: free_port(), service, certificates, folder, tls };
        server.start_again().await;
        server
    }

    /// Changes what it says of its services.
    pub fn set(&self, statuses: &str) {
        write(&self.folder, statuses);
    }

    /// Starts it again after [`Service::stop`].
    pub async fn start_again(&mut self) {
        let mut command = Command::new(python());
        command.arg(repository().join("tests/it/harness/grpc.py"));
        command.arg(self.port.to_string()).arg(self.folder.path());
        if self.tls != Security::Plain {
            command.arg(&self.certificates.certificate).arg(&self.certificates.key);
        }
        if self.tls == Security::Mutual {
            command.arg(&self.certificates.ca);
        }
        let log = self.folder.join("grpc.log");
        let mut process = Process::spawn("grpcio", &mut command, &log);
        let port = self.port;
        eventually("the gRPC server to listen", PATIENCE, async || {
            let over = process.wait(Duration::ZERO);
            assert!(over.is_none(), "grpcio (prepared by `scripts/test`): {}", process.output());
            TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        self.service.run(process);
    }
}

fn write(folder: &Folder, statuses: &str) {
    // Aside and renamed, so that the server reads no half of it.
    std::fs::write(folder.join("statuses.new"), statuses).unwrap();
    std::fs::rename(folder.join("statuses.new"), folder.join("statuses")).unwrap();
}
