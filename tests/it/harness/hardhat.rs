use super::{Folder, PATIENCE, Process, Service, client, eventually, free_port, repository};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// What the node is: a chain that makes a block each second, and one when it is asked to.
const CONFIG: &str = "module.exports = { networks: { hardhat: { chainId: 31337, \
                      mining: { auto: false, interval: 1000 } } } };\n";

/// A node of an EVM chain: Hardhat, which `scripts/test` installs from npm. It speaks HTTP and
/// WebSocket on one port.
#[derive(Debug)]
pub struct Hardhat {
    /// Where it listens.
    pub port: u16,
    /// The node, to stop and to stall.
    pub service: Service,
    /// Holds its configuration and what it writes in its home.
    folder: Folder,
}

impl Hardhat {
    /// A new chain.
    pub async fn start() -> Self {
        let folder = Folder::new();
        std::fs::write(folder.join("hardhat.config.js"), CONFIG).unwrap();
        std::fs::write(folder.join("package.json"), "{ \"private\": true }\n").unwrap();
        // Hardhat wants to be found from the folder of its configuration.
        std::os::unix::fs::symlink(modules(), folder.join("node_modules")).unwrap();
        let mut node = Self { port: free_port(), service: Service::default(), folder };
        node.start_again().await;
        node
    }

    /// Where it is, over HTTP.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Starts a new chain on its port after [`Service::stop`].
    pub async fn start_again(&mut self) {
        let mut command = Command::new("node");
        command.arg("node_modules/hardhat/internal/cli/bootstrap.js").arg("node");
        command.args(["--hostname", "127.0.0.1", "--port", &self.port.to_string()]);
        command.current_dir(self.folder.path()).env("HOME", self.folder.path());
        command.env("HARDHAT_DISABLE_TELEMETRY_PROMPT", "true");
        let log = self.folder.join("hardhat.log");
        let mut process = Process::spawn("hardhat", &mut command, &log);
        eventually("Hardhat to answer", PATIENCE, async || {
            let over = process.wait(Duration::ZERO);
            assert!(over.is_none(), "Hardhat (from `scripts/test`): {}", process.output());
            self.ask("eth_chainId", &json!([])).await
        })
        .await;
        self.service.run(process);
    }

    /// What it answers to a call, if it does.
    pub async fn ask(&self, method: &str, params: &Value) -> Option<Value> {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer = client().post(self.url()).json(&call).send().await.ok()?;
        answer.json::<Value>().await.ok()?.get("result").cloned()
    }
}

/// Where npm has put it: as `scripts/test` says, or where that puts it.
fn modules() -> PathBuf {
    let folder = std::env::var_os("WATCHBELL_TEST_NODE").map_or_else(
        || {
            std::env::var_os("CARGO_TARGET_DIR")
                .map_or_else(|| repository().join("target"), PathBuf::from)
                .join("test-node")
        },
        PathBuf::from,
    );
    let modules = folder.join("node_modules");
    let there = modules.join("hardhat").exists();
    assert!(there, "no Hardhat in {}; `scripts/test` installs it", modules.display());
    modules
}
