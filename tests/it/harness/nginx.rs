use super::{
    Certificates, Folder, PATIENCE, Process, Service, Signal, client, eventually, free_port,
};
use std::process::Command;

/// An nginx whose `/health` answers what a story wants, over plain HTTP and over TLS.
#[derive(Debug)]
pub struct Nginx {
    /// Plain HTTP.
    pub port: u16,
    /// HTTPS.
    pub tls_port: u16,
    /// What its certificate comes from.
    pub certificates: Certificates,
    /// The server itself, to stop and to stall.
    pub service: Service,
    folder: Folder,
}

impl Nginx {
    /// A new one, whose `/health` answers 200.
    pub async fn start() -> Self {
        let folder = Folder::new();
        let certificates = Certificates::create(folder.path());
        let mut server = Self {
            port: free_port(),
            tls_port: free_port(),
            certificates,
            service: Service::default(),
            folder,
        };
        server.configure(200, r#"{"db":"ok"}"#);
        server.start_again().await;
        server
    }

    /// Starts it on its ports after [`Service::stop`], as it was configured last.
    pub async fn start_again(&mut self) {
        let mut command = Command::new("nginx");
        command.arg("-e").arg(self.folder.join("error.log"));
        command.arg("-p").arg(self.folder.path()).arg("-c").arg(self.folder.join("nginx.conf"));
        let log = self.folder.join("nginx.log");
        let process = Process::spawn("nginx", &mut command, &log).ended_by(Signal::TERM);
        self.service.run(process);
        eventually("nginx to answer", PATIENCE, async || self.status().await).await;
    }

    /// Lets `/health` answer `status` with `body`, and waits until it does.
    pub async fn answer(&self, status: u16, body: &str) {
        let process = self.service.process();
        let old_workers = process.children();
        self.configure(status, body);
        process.signal(Signal::HUP);
        // An old worker may take connections for a moment beside the new one.
        eventually("nginx to reload", PATIENCE, async || {
            let workers = process.children();
            let replaced = !workers.iter().any(|worker| old_workers.contains(worker));
            (replaced && self.status().await? == status).then_some(())
        })
        .await;
    }

    /// Its health page.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/health", self.port)
    }

    /// Its health page over TLS.
    pub fn tls_url(&self) -> String {
        format!("https://localhost:{}/health", self.tls_port)
    }

    /// How many requests it has served so far.
    pub async fn requests(&self) -> u64 {
        let url = format!("http://127.0.0.1:{}/served", self.port);
        let text = client().get(url).send().await.unwrap().text().await.unwrap();
        text.split_whitespace().filter_map(|word| word.parse().ok()).nth(3).unwrap()
    }

    async fn status(&self) -> Option<u16> {
        Some(client().get(self.url()).send().await.ok()?.status().as_u16())
    }

    fn configure(&self, status: u16, body: &str) {
        let user = if super::is_root() { "user root;" } else { "" };
        let folder = self.folder.path().display();
        let (port, tls_port) = (self.port, self.tls_port);
        let certificate = self.certificates.certificate.display();
        let key = self.certificates.key.display();
        let text = format!(
            "{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 2000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        listen 127.0.0.1:{tls_port} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        location /health {{
            default_type application/json;
            return {status} '{body}';
        }}
        location /served {{ stub_status; }}
    }}
}}
"
        );
        std::fs::write(self.folder.join("nginx.conf"), text).unwrap();
    }
}
