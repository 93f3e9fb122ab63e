//! An instance under load: the release binary beside this one, with a database of its own and an API key.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::figures::{connect, fresh_database};

/// The contract's network.
pub const NETWORK: &str = "bench";
/// The domain of the items that are read and written.
pub const DOMAIN: &str = "seeker";
/// The contract's only item type.
pub const ITEM_TYPE: &str = "profile_1.0";

const FIRST_PORT: u16 = 27_420;

/// What an instance is to be.
pub struct Settings {
    pub port: u16,
    /// The text of network.json.
    pub contract: String,
    /// The one domain that it serves.
    pub domain: &'static str,
    /// Variables beside the usual ones.
    pub environment: Vec<(&'static str, String)>,
}

/// An instance with a database and an API key; its process is killed when it is dropped.
pub struct Instance {
    pub port: u16,
    pub key: String,
    /// The URL of its database.
    pub database: String,
    settings: Settings,
    directory: tempfile::TempDir,
    child: Option<Child>,
}

impl Instance {
    /// As many instances of one domain as asked for, each with a fresh database.
    pub async fn start_network(admin: &str, count: u16) -> Vec<Self> {
        let ports: Vec<u16> = (0..count).map(|number| FIRST_PORT + number).collect();
        let mut instances = Vec::new();
        for port in ports.iter().copied() {
            let settings = Settings { port, contract: contract(&ports), domain: DOMAIN, environment: Vec::new() };
            instances.push(Self::start(admin, settings).await);
        }
        instances
    }

    /// An instance that runs, with a fresh database.
    pub async fn start(admin: &str, settings: Settings) -> Self {
        let database = fresh_database(admin, &format!("dpg_bench_{}", settings.port)).await;
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("network.json"), &settings.contract).unwrap();
        let mut instance = Self { port: settings.port, key: String::new(), database, settings, directory, child: None };
        let arguments = ["keys", "create", "--user", "bench@example.org", "--create-user"];
        let key = instance.command().args(arguments).output().unwrap();
        assert!(key.status.success(), "{}", String::from_utf8_lossy(&key.stderr));
        instance.key = String::from_utf8(key.stdout).unwrap().trim().lines().last().unwrap().to_owned();
        let client = connect(&instance.database).await;
        client.batch_execute("update api_keys set rate_limit_max = 2000000000").await.unwrap();
        instance.serve().await;
        instance
    }

    /// Starts its process.
    pub async fn serve(&mut self) {
        self.child = Some(self.command().arg("serve").stderr(Stdio::null()).spawn().unwrap());
        listening(self.port).await;
    }

    /// Ends its process as an operator would, so that it gives back what it holds.
    pub async fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
        let status = tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
    }

    /// Its public base URL.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// What the process holds in memory now.
    pub fn resident_mib(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most that the process has held in memory so far.
    pub fn peak_mib(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, which: &str) -> u64 {
        let pid = self.child.as_ref().map(Child::id).unwrap_or_default();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(which)).unwrap_or_default();
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1024
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command.env_clear().current_dir(self.directory.path()).envs([
            ("INSTANCE_NAME", "bench"),
            ("INSTANCE_ENV", "development"),
            ("API_DOMAIN", "http://127.0.0.1"),
            ("AUTH_SECRET", "only for the benchmark"),
            ("RUST_LOG", "warn"),
            ("POSTGRES_URL", &self.database),
        ]);
        command.env("SERVED_DOMAINS", format!("{NETWORK}/{}", self.settings.domain));
        command.env("API_PORT", self.port.to_string());
        command.envs(self.settings.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take()
            && child.kill().and_then(|()| child.wait()).is_err()
        {
            eprintln!("the instance in {} could not be stopped", self.directory.path().display());
        }
    }
}

/// The URL of a port of this machine.
pub fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
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
pub fn binary() -> PathBuf {
    std::env::current_exe().unwrap().with_file_name("dpg")
}

fn contract(ports: &[u16]) -> String {
    let instance = |port: &u16| json!({"domain_id": DOMAIN, "instance_url": url(*port)});
    json!({
        "id": NETWORK,
        "domains": [{"id": DOMAIN, "item_schemas": {ITEM_TYPE: profile()}}],
        "instances": ports.iter().map(instance).collect::<Vec<_>>(),
    })
    .to_string()
}

/// The schema of every item.
pub fn profile() -> Value {
    json!({
        "type": "object", "required": ["name"],
        "properties": {"name": {"type": "string"}, "text": {"type": "string"}, "phone": {"type": "string", "private": true}},
    })
}
