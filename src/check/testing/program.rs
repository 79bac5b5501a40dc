//! Servers that are programs of their own.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address").port()
}

/// A server from outside that ends with the test.
#[derive(Debug)]
pub struct Program {
    child: Child,
    /// The signal that ends it at once and tidily.
    signal: &'static str,
}

impl Program {
    /// Starts `command` with its output thrown away.
    pub fn start(command: &mut Command, signal: &'static str) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        Self { child, signal }
    }

    /// Stops it, and waits until it is gone.
    pub fn stop(&mut self) {
        let pid = self.child.id().to_string();
        if matches!(self.child.try_wait(), Ok(None)) {
            _ = Command::new("kill").args(["-s", self.signal, &pid]).status();
        }
        _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stop();
    }
}
