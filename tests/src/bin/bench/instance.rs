//! An instance under load: the release binary beside this one, with a database of its own and an API key.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpStream;

use crate::figures::{connect, fresh_database};

/// The contract's network.
pub const NETWORK: &str = "bench";
/// The contract's only domain.
pub const DOMAIN: &str = "seeker";
/// The contract's only item type.
pub const ITEM_TYPE: &str = "profile_1.0";

const FIRST_PORT: u16 = 27_420;

/// A running instance; it is killed when it is dropped.
pub struct Instance {
    pub port: u16,
    pub key: String,
    child: Child,
    directory: tempfile::TempDir,
}

impl Instance {
    /// As many instances of one domain as asked for, each with a fresh database.
    pub async fn start_network(admin: &str, count: u16) -> Vec<Self> {
        let ports: Vec<u16> = (0..count).map(|number| FIRST_PORT + number).collect();
        let mut instances = Vec::new();
        for port in &ports {
            let url = fresh_database(admin, &format!("dpg_bench_{port}")).await;
            instances.push(Self::start(&url, *port, &contract(&ports)).await);
        }
        instances
    }

    async fn start(url: &str, port: u16, contract: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("network.json");
        std::fs::write(&file, contract).unwrap();
        let command = || command(&file, url, port);
        let key = command().args(["keys", "create", "--user", "bench@example.org", "--create-user"]).output().unwrap();
        assert!(key.status.success(), "{}", String::from_utf8_lossy(&key.stderr));
        let key = String::from_utf8(key.stdout).unwrap().trim().lines().last().unwrap().to_owned();
        let client = connect(url).await;
        client.batch_execute("update api_keys set rate_limit_max = 2000000000").await.unwrap();
        let child = command().arg("serve").stderr(Stdio::null()).spawn().unwrap();
        listening(port).await;
        Self { port, key, child, directory }
    }

    pub fn resident_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1024
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if self.child.kill().and_then(|()| self.child.wait()).is_err() {
            eprintln!("the instance in {} could not be stopped", self.directory.path().display());
        }
    }
}

/// Waits until something listens on the port.
pub async fn listening(port: u16) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(Instant::now() < deadline, "nothing listens on {port}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The `dpg` binary beside this one.
fn binary() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("dpg")
}

fn command(contract: &Path, url: &str, port: u16) -> Command {
    let mut command = Command::new(binary());
    command.env_clear().current_dir(contract.parent().unwrap()).envs([
        ("INSTANCE_NAME", "bench"),
        ("INSTANCE_ENV", "development"),
        ("API_DOMAIN", "http://127.0.0.1"),
        ("AUTH_SECRET", "only for the benchmark"),
        ("RUST_LOG", "warn"),
        ("POSTGRES_URL", url),
    ]);
    command.env("SERVED_DOMAINS", format!("{NETWORK}/{DOMAIN}"));
    command.env("API_PORT", port.to_string()).env("NETWORK_CONFIG_LOCAL_FILE", contract);
    command
}

fn contract(ports: &[u16]) -> String {
    let instance = |port: &u16| json!({"domain_id": DOMAIN, "instance_url": format!("http://127.0.0.1:{port}")});
    let schema = json!({
        "type": "object", "required": ["name"],
        "properties": {"name": {"type": "string"}, "text": {"type": "string"}, "phone": {"type": "string", "private": true}},
    });
    json!({
        "id": NETWORK,
        "domains": [{"id": DOMAIN, "item_schemas": {ITEM_TYPE: schema}}],
        "instances": ports.iter().map(instance).collect::<Vec<_>>(),
    })
    .to_string()
}
