use super::{Certificates, Folder, Inbox, PATIENCE, Process, eventually, free_port, repository};
use std::path::PathBuf;
use std::process::Command;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// How an SMTP server protects its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpMode {
    /// Not at all.
    Plain,
    /// By STARTTLS, which it insists on.
    StartTls,
    /// From the first byte on.
    Implicit,
}

/// An SMTP server: aiosmtpd, in a Python that `scripts/test` prepares.
#[derive(Debug)]
pub struct Smtp {
    /// Where it listens.
    pub port: u16,
    /// What it was sent.
    pub inbox: Inbox,
    /// What its certificate comes from.
    pub certificates: Certificates,
    /// Runs as long as this lives.
    _process: Process,
    folder: Folder,
}

impl Smtp {
    /// The user that it knows, where it wants a login.
    pub const USER: &'static str = "watchbell";
    /// The user's password.
    pub const PASSWORD: &'static str = "an SMTP password that nobody guesses";

    /// A new one without TLS and login.
    pub async fn start() -> Self {
        Self::start_with(SmtpMode::Plain, false).await
    }

    /// A new one; with `login`, clients have to log in.
    pub async fn start_with(mode: SmtpMode, login: bool) -> Self {
        let folder = Folder::new();
        let certificates = Certificates::create(folder.path());
        if login {
            let words = format!("{}:{}", Self::USER, Self::PASSWORD);
            std::fs::write(folder.join("login"), words).unwrap();
        }
        let port = free_port();
        let mode_word = match mode {
            SmtpMode::Plain => "none",
            SmtpMode::StartTls => "starttls",
            SmtpMode::Implicit => "implicit",
        };
        let mut command = Command::new(python());
        command.arg(repository().join("tests/it/harness/smtp.py"));
        command.arg(port.to_string()).arg(mode_word).arg(folder.path());
        let mut process = Process::spawn("aiosmtpd", &mut command, &folder.join("smtp.log"));
        eventually("the SMTP server to greet", PATIENCE, async || {
            let over = process.wait(std::time::Duration::ZERO);
            assert!(over.is_none(), "aiosmtpd (prepared by `scripts/test`): {}", process.output());
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
            if mode != SmtpMode::Implicit {
                stream.read_u8().await.ok()?;
            }
            Some(())
        })
        .await;
        let inbox = Inbox::of_file(folder.join("messages.jsonl"));
        Self { port, inbox, certificates, _process: process, folder }
    }

    /// Lets it answer this line to each message, such as `451 later`; `hang` never answers, and
    /// an empty line is good again.
    pub fn set(&self, mood: &str) {
        std::fs::write(self.folder.join("mood"), mood).unwrap();
    }
}

/// The Python that has aiosmtpd and its like: as `scripts/test` says, or where it puts it.
pub fn python() -> PathBuf {
    if let Some(python) = std::env::var_os("WATCHBELL_TEST_PYTHON") {
        return python.into();
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| repository().join("target"), PathBuf::from);
    let prepared = target.join("test-python/bin/python");
    if prepared.exists() { prepared } else { "python3".into() }
}
