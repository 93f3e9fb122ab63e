//! One instance of the demo: a process of this very program with a folder of its own that holds its settings (`.env`, so
//! that an operator's commands work there too) and its log.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::Rng;
use rand::distr::Alphanumeric;
use reqwest::Client;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::call::Call;
use super::error::{DemoError, Told};
use super::network::NETWORK;

const READY_WAIT: Duration = Duration::from_secs(60);
/// Longer than an instance gives its own requests to finish.
const STOP_WAIT: Duration = Duration::from_secs(40);
/// The program finds what it needs by these; nothing else of our environment reaches it.
const KEPT_VARIABLES: &[&str] = &["PATH", "HOME", "LANG", "TZ", "RUST_LOG", "RUST_BACKTRACE"];

/// One instance; its process is killed when it is dropped.
pub(super) struct Instance {
    /// The domain that it serves, and its name.
    pub(super) domain: &'static str,
    /// Its base URL.
    pub(super) url: String,
    pub(super) folder: PathBuf,
    child: Option<Child>,
}

impl Instance {
    /// Writes the settings. The process is not started yet.
    pub(super) fn prepare(root: &Path, domain: &'static str, port: u16, postgres_url: &str) -> Result<Self, DemoError> {
        let folder = root.join(domain);
        std::fs::create_dir_all(&folder).told("make", &folder)?;
        let url = url_of(port);
        let secret: String = rand::rng().sample_iter(Alphanumeric).take(32).map(char::from).collect();
        let settings = [
            ("INSTANCE_NAME", domain.to_owned()),
            ("INSTANCE_ENV", "development".to_owned()),
            ("API_DOMAIN", url.clone()),
            ("API_PORT", port.to_string()),
            ("AUTH_SECRET", secret),
            ("CREATE_TEST_OTP", "true".to_owned()),
            ("SERVED_DOMAINS", format!("{NETWORK}/{domain}")),
            ("NETWORK_CONFIG_LOCAL_FILE", "../network.json".to_owned()),
            ("SCHEMA_CACHE_DIR", "./schema-cache".to_owned()),
            ("POSTGRES_URL", postgres_url.to_owned()),
        ];
        let path = folder.join(".env");
        // Single quotes: taken as it is. The file holds secrets.
        let text: String = settings.iter().map(|(name, value)| format!("{name}='{value}'\n")).collect();
        let mut file =
            File::options().create(true).truncate(true).write(true).mode(0o600).open(&path).told("write", &path)?;
        file.write_all(text.as_bytes()).told("write", &path)?;
        Ok(Self { domain, url, folder, child: None })
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Starts the process and waits until it says that it is ready.
    pub(super) async fn start(&mut self, client: &Client) -> Result<(), DemoError> {
        let program = std::env::current_exe().told("find", Path::new("this program"))?;
        let path = self.log();
        let log = File::options().create(true).append(true).open(&path).told("open", &path)?;
        let errors = log.try_clone().told("open", &path)?;
        let mut command = Command::new(&program);
        command.arg("serve").current_dir(&self.folder).stdin(Stdio::null()).stdout(log).stderr(errors);
        command.env_clear().envs(KEPT_VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        // A group of its own: Ctrl-C reaches the demo alone, which then stops things in order.
        command.process_group(0).kill_on_drop(true);
        let child = command.spawn().told("run", &program)?;
        let pid_file = pid_file(&self.folder);
        if let Some(pid) = child.id() {
            std::fs::write(&pid_file, pid.to_string()).told("write", &pid_file)?;
        }
        self.child = Some(child);
        self.until_ready(client).await
    }

    async fn until_ready(&mut self, client: &Client) -> Result<(), DemoError> {
        let call = Call::get(format!("{}/health/ready", self.url));
        let deadline = Instant::now() + READY_WAIT;
        loop {
            self.check_running()?;
            let error = match call.send(client).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            if Instant::now() > deadline {
                let what = format!("a start of the {} instance", self.domain);
                return Err(DemoError::Late { what, seconds: READY_WAIT.as_secs(), seen: error.to_string() });
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// An error when the process has ended by itself.
    pub(super) fn check_running(&mut self) -> Result<(), DemoError> {
        let Some(child) = &mut self.child else { return Ok(()) };
        let ended = child.try_wait().told("look after", &self.folder)?;
        match ended {
            None => Ok(()),
            Some(status) => {
                self.child = None;
                Err(DemoError::Ended { instance: self.domain, status })
            }
        }
    }

    /// Returns when the process has ended by itself; never, when there is none.
    pub(super) async fn ended(&mut self) -> DemoError {
        let Some(child) = &mut self.child else { return std::future::pending().await };
        match child.wait().await {
            Ok(status) => DemoError::Ended { instance: self.domain, status },
            Err(source) => DemoError::Io { action: "wait for", path: self.folder.clone(), source },
        }
    }

    /// Asks it to stop, and insists on the exit code 0. One that does not stop is killed.
    pub(super) async fn stop(&mut self) -> Result<(), DemoError> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) {
            send(Pid::from_raw(pid), Signal::SIGTERM)?;
        }
        let Ok(ended) = timeout(STOP_WAIT, child.wait()).await else {
            child.kill().await.told("kill", &self.folder)?;
            let what = format!("the stop of the {} instance", self.domain);
            return Err(DemoError::Late { what, seconds: STOP_WAIT.as_secs(), seen: "a running process".to_owned() });
        };
        let status = ended.told("wait for", &self.folder)?;
        if status.success() { Ok(()) } else { Err(DemoError::Ended { instance: self.domain, status }) }
    }

    /// The last lines of its log.
    pub(super) fn log_tail(&self) -> Result<Vec<String>, DemoError> {
        let path = self.log();
        let text = match std::fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(DemoError::Io { action: "read", path, source }),
        };
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        Ok(lines.iter().skip(lines.len().saturating_sub(20)).cloned().collect())
    }
}

/// Ends the process that a killed demo left behind in this folder, if it is still there.
pub(super) async fn end_left_over(folder: &Path) -> Result<(), DemoError> {
    let Ok(text) = std::fs::read_to_string(pid_file(folder)) else { return Ok(()) };
    let Some(pid) = text.trim().parse().ok().map(Pid::from_raw) else { return Ok(()) };
    let deadline = Instant::now() + STOP_WAIT;
    // The number may be another program's by now: ours works in this folder.
    while std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder) {
        send(pid, if Instant::now() < deadline { Signal::SIGTERM } else { Signal::SIGKILL })?;
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn send(pid: Pid, signal: Signal) -> Result<(), DemoError> {
    match kill(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(source) => Err(DemoError::System { action: "signal an instance", source }),
    }
}

fn pid_file(folder: &Path) -> PathBuf {
    folder.join("pid")
}

pub(super) fn url_of(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
