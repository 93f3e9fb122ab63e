//! An instance of the network and its processes: the real `dpg` binary, started as an operator would start it, with its
//! settings in the environment. What it wrote is printed when the test fails.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::network::NETWORK;
use crate::wait::eventually;
use crate::{Client, Contract, TestDatabase, User, port};

/// How long a process may take to become ready, or to end.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Which part of an instance a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything in one process.
    Serve,
    /// HTTP alone.
    Api,
    /// The log into tables.
    Projector,
    /// The outbox to peers.
    Mirror,
}

impl Role {
    const fn argument(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Api => "api",
            Self::Projector => "projector",
            Self::Mirror => "mirror",
        }
    }
}

/// An instance: its database, its contract and its settings. Processes are started from it.
pub struct Instance {
    /// Its public base URL, as peers know it.
    pub url: String,
    /// Its database.
    pub database: TestDatabase,
    name: String,
    environment: BTreeMap<String, String>,
    directory: Arc<TempDir>,
}

impl Instance {
    /// An instance that serves these domains of the tests' network under a public URL.
    ///
    /// # Panics
    /// When its files can't be written.
    pub fn new(name: &str, domains: &[&str], url: &str, database: TestDatabase, contract: &Contract) -> Self {
        let directory = Arc::new(TempDir::with_prefix("dpg-instance-").expect("a temporary directory"));
        let served: Vec<String> = domains.iter().map(|domain| format!("{NETWORK}/{domain}")).collect();
        let redis = crate::required("DPG_TEST_REDIS");
        let path = |file: &str| directory.path().join(file).display().to_string();
        let settings = [
            ("INSTANCE_NAME", name.to_owned()),
            ("INSTANCE_ENV", "development".to_owned()),
            ("API_DOMAIN", url.to_owned()),
            ("AUTH_SECRET", format!("secret of {name}")),
            ("CREATE_TEST_OTP", "true".to_owned()),
            ("ADMIN_DOMAINS", "admin.example".to_owned()),
            ("SERVED_DOMAINS", served.join(",")),
            ("NETWORK_CONFIG_LOCAL_FILE", path("network.json")),
            ("SCHEMA_CACHE_DIR", path("schema-cache")),
            ("POSTGRES_URL", database.url()),
            ("REDIS_URL", redis),
            ("RUST_LOG", "info".to_owned()),
            ("RUST_BACKTRACE", "1".to_owned()),
        ];
        let mut environment: BTreeMap<String, String> =
            settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        for name in ["PATH", "HOME", "LANG"] {
            environment.extend(std::env::var(name).map(|value| (name.to_owned(), value)));
        }
        let instance = Self { url: url.to_owned(), database, name: name.to_owned(), environment, directory };
        instance.write_contract(contract);
        instance
    }

    /// Sets a variable for processes that are started from now on.
    #[must_use]
    pub fn set(mut self, variable: &str, value: &str) -> Self {
        self.environment.insert(variable.to_owned(), value.to_owned());
        self
    }

    /// What network.json holds.
    ///
    /// # Panics
    /// When it is no JSON.
    #[must_use]
    pub fn contract(&self) -> Contract {
        let text = std::fs::read(self.directory.path().join("network.json")).expect("network.json is readable");
        Contract::from(serde_json::from_slice::<serde_json::Value>(&text).expect("network.json is JSON"))
    }

    /// Replaces network.json; processes that run have read theirs.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn write_contract(&self, contract: &Contract) {
        self.write_contract_text(&contract.document().to_string());
    }

    /// Replaces network.json by any text.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn write_contract_text(&self, text: &str) {
        let path = self.directory.path().join("network.json");
        std::fs::write(path, text).expect("network.json is written");
    }

    /// Starts a process on a port and waits until it is ready.
    pub async fn start(&self, role: Role, port: u16) -> Process {
        let mut process = self.spawn(role, port);
        process.wait_ready().await;
        process
    }

    /// Starts a process without waiting.
    #[must_use]
    pub fn spawn(&self, role: Role, port: u16) -> Process {
        let log = self.directory.path().join(format!("{}-{port}.log", role.argument()));
        let mut process = Process {
            label: format!("{} {}", self.name, role.argument()),
            role,
            port,
            environment: self.environment.clone(),
            directory: self.directory.clone(),
            log,
            child: None,
        };
        process.spawn();
        process
    }

    /// Runs an operator's command to its end.
    ///
    /// # Panics
    /// When the binary can't be started.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = tokio::process::Command::new(binary());
        command.args(arguments).env_clear().envs(&self.environment).env("API_PORT", port::free().to_string());
        command.current_dir(self.directory.path()).stdin(Stdio::null()).kill_on_drop(true);
        // One that should refuse and serves instead would hold the whole run up.
        let output = tokio::time::timeout(2 * PATIENCE, command.output()).await;
        output.unwrap_or_else(|_| panic!("{arguments:?} did not end")).expect("the dpg binary can be started")
    }

    /// Everything that its processes have written so far.
    ///
    /// # Panics
    /// When a file can't be read.
    #[must_use]
    pub fn logs(&self) -> String {
        let files = std::fs::read_dir(self.directory.path()).expect("the instance's directory");
        let logs =
            files.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "log"));
        logs.map(|path| String::from_utf8_lossy(&std::fs::read(path).expect("a log")).into_owned()).collect()
    }
}

/// A process of an instance. It is killed when it is dropped.
pub struct Process {
    label: String,
    role: Role,
    port: u16,
    environment: BTreeMap<String, String>,
    directory: Arc<TempDir>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// Where this process itself listens, whatever its instance's public URL is.
    #[must_use]
    pub fn url(&self) -> String {
        port::url(self.port)
    }

    /// A client without credentials.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::anonymous(&self.url())
    }

    /// Signs a new person in.
    pub async fn sign_up(&self, name: &str) -> User {
        Client::sign_up(&self.url(), name).await
    }

    /// The value of a metric, summed over the label sets whose text holds all of `labels`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let answer = self.client().get("/metrics").send().await.expect(200);
        let values = answer.text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let ours = series == name || series.starts_with(&format!("{name}{{"));
            (ours && labels.iter().all(|label| series.contains(label))).then(|| value.parse::<f64>().ok())?
        });
        values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }

    fn spawn(&mut self) {
        let open = |path: &Path| -> File {
            OpenOptions::new().create(true).append(true).open(path).expect("a log can be written")
        };
        let mut command = Command::new(binary());
        command.arg(self.role.argument()).env_clear().envs(&self.environment).env("API_PORT", self.port.to_string());
        command.current_dir(self.directory.path()).stdin(Stdio::null());
        command.stdout(open(&self.log)).stderr(open(&self.log));
        self.child =
            Some(command.spawn().unwrap_or_else(|error| panic!("{} can't be started: {error}", binary().display())));
    }

    /// Waits until `/health/ready` says so.
    ///
    /// # Panics
    /// When the process ends instead, or takes too long.
    pub async fn wait_ready(&mut self) {
        let (client, label) = (self.client(), self.label.clone());
        let child = self.child.as_mut().expect("a started process");
        eventually(&format!("{label} is ready"), PATIENCE, || {
            if let Some(status) = child.try_wait().expect("a process of ours") {
                panic!("{label} ended instead of starting: {status}");
            }
            let asked = client.get("/health/ready").try_send();
            async move {
                let answer = asked.await?;
                if answer.status == 200 { Ok(()) } else { Err(answer.to_string()) }
            }
        })
        .await;
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process is not running.
    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("a started process");
        let pid = i32::try_from(child.id()).expect("a process number");
        kill(Pid::from_raw(pid), signal).expect("a process of ours");
    }

    /// Ends it with SIGKILL and takes its remains away.
    ///
    /// # Panics
    /// When it was not running.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("a started process");
        child.kill().expect("a process of ours");
        let _status: ExitStatus = child.wait().expect("a process of ours");
    }

    /// Asks it to end with SIGTERM and waits for its exit status.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.ended().await
    }

    /// Waits for its end, which a signal has asked for.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("a started process");
        let what = format!("{} ends after SIGTERM", self.label);
        eventually(&what, PATIENCE, || {
            let status = child.try_wait().expect("a process of ours");
            async move { status.ok_or("it still runs") }
        })
        .await
    }

    /// Starts it again on the same port, ready.
    pub async fn restart(&mut self) {
        self.spawn();
        self.wait_ready().await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; then there is nothing to kill.
            if child.kill().and_then(|()| child.wait()).is_err() {
                eprintln!("{} had ended already", self.label);
            }
        }
        if std::thread::panicking() {
            let text = std::fs::read(&self.log).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(150)..];
            eprintln!("--- last lines of {} (port {}) ---\n{}\n---", self.label, self.port, last.join("\n"));
        }
    }
}

/// `DPG_BIN`, else the `dpg` beside the test binary's directory.
fn binary() -> PathBuf {
    if let Ok(path) = std::env::var("DPG_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("the test binary's path");
    let directory = test.ancestors().nth(2).expect("target/<profile>/deps/<test>");
    let path = directory.join("dpg");
    assert!(path.exists(), "{} is missing: run these tests with `make test`, which builds it", path.display());
    path
}

/// A key pair for signing towards peers, made as an operator makes one.
#[derive(Debug, Clone)]
pub struct PeerKey {
    /// For `PEER_PRIVATE_KEY`.
    pub private: String,
    /// For the contract.
    pub public: String,
}

impl PeerKey {
    /// Makes a pair with `dpg keys peer`.
    ///
    /// # Panics
    /// When the command doesn't print one.
    #[must_use]
    pub fn make() -> Self {
        let output = Command::new(binary()).args(["keys", "peer"]).output().expect("the dpg binary can be started");
        let text = String::from_utf8(output.stdout).expect("text");
        let private = text.lines().find_map(|line| line.strip_prefix("PEER_PRIVATE_KEY=")).expect("a private key");
        let line = text.lines().find_map(|line| line.strip_prefix("\"public_key\": ")).expect("a public key");
        Self { private: private.to_owned(), public: line.trim_matches('"').to_owned() }
    }
}
