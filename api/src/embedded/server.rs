//! The server's process: started in a process group of its own (Ctrl-C reaches us, not it, so that we drain before it
//! stops), or found running and adopted.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

use super::binaries::Binaries;
use super::error::{EmbeddedError, Told};
use super::home::{Home, SUPERUSER};

const POLL: Duration = Duration::from_millis(25);
/// How often a running server is looked after.
const LOOK: Duration = Duration::from_secs(1);
const START_WAIT: Duration = Duration::from_secs(60);
const FAST_STOP: Duration = Duration::from_secs(30);
const IMMEDIATE_STOP: Duration = Duration::from_secs(10);
/// The port is only part of the socket's name: the server listens on no address.
const PORT: u16 = 5432;

/// Durability as in production, told outright: a fast development database that loses writes teaches the wrong thing.
const SETTINGS: &[&str] = &[
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "listen_addresses=",
    "max_connections=200",
    "unix_socket_permissions=0700",
    "logging_collector=off",
    "log_timezone=UTC",
];

/// How to reach the server.
#[derive(Clone)]
pub(super) struct Access {
    socket: PathBuf,
    password: String,
}

impl Access {
    pub(super) fn new(socket: PathBuf, password: String) -> Self {
        Self { socket, password }
    }

    pub(super) fn url(&self, database: &str) -> String {
        use percent_encoding::{NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};
        let host = percent_encode(self.socket.as_os_str().as_encoded_bytes(), NON_ALPHANUMERIC);
        let database = utf8_percent_encode(database, NON_ALPHANUMERIC);
        format!("postgres://{SUPERUSER}:{}@{host}:{PORT}/{database}?sslmode=disable", self.password)
    }

    /// A connection to the maintenance database.
    pub(super) async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        let mut config = Config::new();
        config.host_path(&self.socket).port(PORT).user(SUPERUSER).password(&self.password).dbname("postgres");
        config.application_name("dpg embedded").connect_timeout(Duration::from_secs(5));
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the private Postgres ended");
            }
        });
        Ok(client)
    }
}

/// What `postmaster.pid` says about a server on this data.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Running {
    /// No server: no file, or its process is gone. (A file that is left is Postgres's to judge: it also looks for
    /// backends that have outlived it.)
    No { left_over: bool },
    /// The number now belongs to another program.
    Reused,
    /// A server, perhaps still starting or already stopping.
    Yes { pid: Pid, socket: PathBuf },
}

impl Running {
    pub(super) fn of(home: &Home) -> Result<Self, EmbeddedError> {
        let path = pid_file(home);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::No { left_over: false }),
            Err(source) => return Err(EmbeddedError::Io { action: "read", path, source }),
        };
        let mut lines = text.lines();
        let pid = lines.next().and_then(|line| line.trim().parse().ok()).map(Pid::from_raw);
        let Some(pid) = pid.filter(|pid| is_alive(*pid)) else { return Ok(Self::No { left_over: true }) };
        if !works_in(pid, &home.data()) {
            return Ok(Self::Reused);
        }
        // Lines 2 to 5: data folder, start time, port, socket folder. The last comes a moment after the first.
        let socket = lines.nth(3).map(str::trim).filter(|line| !line.is_empty());
        Ok(Self::Yes { pid, socket: socket.map_or_else(|| home.socket_folder(), PathBuf::from) })
    }
}

fn pid_file(home: &Home) -> PathBuf {
    home.data().join("postmaster.pid")
}

fn is_alive(pid: Pid) -> bool {
    !matches!(kill(pid, None), Err(Errno::ESRCH))
}

/// Whether the process is a server on this data: it works inside its data folder. Where the system does not tell, the
/// file is believed.
fn works_in(pid: Pid, data: &Path) -> bool {
    if !Path::new("/proc/self/cwd").exists() {
        return true;
    }
    match std::fs::read_link(format!("/proc/{pid}/cwd")) {
        Ok(folder) => folder == data,
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

/// A server that answers.
pub(super) struct Server {
    /// None: another process started it.
    child: Option<Child>,
}

impl Server {
    /// Takes over a server that runs already, once it answers. None when there is none, or it went away meanwhile.
    pub(super) async fn adopt(home: &Home, password: &str) -> Result<Option<(Self, Access)>, EmbeddedError> {
        let deadline = Instant::now() + START_WAIT;
        loop {
            let Running::Yes { socket, .. } = Running::of(home)? else { return Ok(None) };
            let access = Access::new(socket, password.to_owned());
            match access.connect().await {
                Ok(_) => return Ok(Some((Self { child: None }, access))),
                Err(error) if Instant::now() > deadline && !is_recovering(&error) => {
                    return Err(EmbeddedError::Postgres {
                        action: "connect to the server that runs already",
                        source: error,
                    });
                }
                Err(_) => sleep(POLL).await,
            }
        }
    }

    /// Starts a server and waits until it answers.
    pub(super) async fn start(
        home: &Home,
        binaries: &Binaries,
        password: &str,
    ) -> Result<(Self, Access), EmbeddedError> {
        let left_over = match Running::of(home)? {
            Running::No { left_over } => left_over,
            Running::Reused => {
                let path = pid_file(home);
                std::fs::remove_file(&path).told("remove the stale", &path)?;
                false
            }
            Running::Yes { .. } => true,
        };
        let access = Access::new(home.socket_folder(), password.to_owned());
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match Self::start_once(home, binaries, &access).await {
                // Backends of a killed server need a moment to notice; until then Postgres refuses the data.
                Err(EmbeddedError::NotStarted { .. }) if left_over && Instant::now() < deadline => {
                    sleep(Duration::from_millis(200)).await;
                }
                outcome => return outcome.map(|server| (server, access)),
            }
        }
    }

    async fn start_once(home: &Home, binaries: &Binaries, access: &Access) -> Result<Self, EmbeddedError> {
        let (log, log_start) = home.open_log()?;
        let errors = log.try_clone().told("open", &home.log())?;
        let mut command = home.account.command(&binaries.postgres(), &home.path);
        command.arg("-D").arg(home.data()).arg("-p").arg(PORT.to_string()).arg("-k").arg(home.socket_folder());
        for setting in SETTINGS {
            command.arg("-c").arg(setting);
        }
        command.process_group(0).stdout(log).stderr(errors);
        let child = tokio::process::Command::from(command).spawn().told("run", &binaries.postgres())?;
        // From here on a dropped future stops the server again.
        let mut server = Self { child: Some(child) };
        let deadline = Instant::now() + START_WAIT;
        loop {
            if server.has_ended(home)?.is_some() {
                server.child = None;
                return Err(EmbeddedError::NotStarted { log: home.log(), tail: home.log_tail(log_start)? });
            }
            match access.connect().await {
                Ok(_) => return Ok(server),
                // Recovery after a crash takes as long as it takes.
                Err(error) if is_recovering(&error) || Instant::now() < deadline => sleep(POLL).await,
                Err(source) => return Err(EmbeddedError::Postgres { action: "connect to the started server", source }),
            }
        }
    }

    fn has_ended(&mut self, home: &Home) -> Result<Option<ExitStatus>, EmbeddedError> {
        self.child.as_mut().map_or(Ok(None), Child::try_wait).told("look after the server on", &home.data())
    }

    /// Stops the server that runs on this data, whoever started it, and waits until it is gone.
    pub(super) async fn stop(mut self, home: &Home) -> Result<(), EmbeddedError> {
        if let Some(child) = self.child.take() {
            stop_child(child).await?;
        }
        stop_running(home).await
    }

    /// Lets the server go on without us.
    pub(super) fn leave(&mut self) {
        self.child = None;
    }

    /// Tells the server on this data to stop, and does not wait.
    pub(super) fn tell_to_stop(&self, home: &Home) -> Result<(), EmbeddedError> {
        match Running::of(home)? {
            Running::Yes { pid, .. } => send(pid, Signal::SIGINT),
            Running::No { .. } | Running::Reused => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(pid) = self.child.as_ref().and_then(pid_of) else { return };
        if let Err(error) = send(pid, Signal::SIGINT) {
            tracing::error!(%error, "the private Postgres could not be stopped");
        }
    }
}

/// Fast shutdown: sessions are ended, everything is written, then the process is gone.
async fn stop_child(mut child: Child) -> Result<(), EmbeddedError> {
    for (signal, patience) in [(Signal::SIGINT, FAST_STOP), (Signal::SIGQUIT, IMMEDIATE_STOP)] {
        let Some(pid) = pid_of(&child) else { return Ok(()) };
        send(pid, signal)?;
        if let Ok(ended) = timeout(patience, child.wait()).await {
            return ended.map(|_| ()).told("wait for", Path::new("postgres"));
        }
    }
    Err(not_stopped())
}

/// The same for a server that is no child of ours: adopted, or left over by a process that is gone.
pub(super) async fn stop_running(home: &Home) -> Result<(), EmbeddedError> {
    for (signal, patience) in [(Signal::SIGINT, FAST_STOP), (Signal::SIGQUIT, IMMEDIATE_STOP)] {
        let deadline = Instant::now() + patience;
        let Running::Yes { pid, .. } = Running::of(home)? else { return Ok(()) };
        send(pid, signal)?;
        while Instant::now() < deadline {
            if !matches!(Running::of(home)?, Running::Yes { .. }) {
                return Ok(());
            }
            sleep(POLL).await;
        }
    }
    Err(not_stopped())
}

fn not_stopped() -> EmbeddedError {
    EmbeddedError::Timeout { what: "for Postgres to stop", seconds: (FAST_STOP + IMMEDIATE_STOP).as_secs() }
}

/// Waits until no server runs on this data any more, and tells why that is known. A server that ends between two looks
/// and is started anew by another user is not missed: it answers at the same place.
pub(super) async fn died(home: Home) -> EmbeddedError {
    loop {
        match Running::of(&home) {
            Ok(Running::Yes { .. }) => sleep(LOOK).await,
            Ok(Running::No { .. } | Running::Reused) => return EmbeddedError::Died(home.log()),
            Err(error) => return error,
        }
    }
}

fn send(pid: Pid, signal: Signal) -> Result<(), EmbeddedError> {
    match kill(pid, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(source) => Err(EmbeddedError::System { action: "signal Postgres", source }),
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw)
}

fn is_recovering(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::CANNOT_CONNECT_NOW)
}
