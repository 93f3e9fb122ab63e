//! A private Postgres cluster with durable settings, for tests that kill the database. The server refuses to run as root,
//! so under root it runs as `postgres` or `nobody`.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::unistd::{Gid, Pid, Uid, User};
use tempfile::TempDir;

use crate::wait::eventually;
use crate::{TestDatabase, port};

/// A cluster that is stopped and removed when it is dropped.
pub struct Cluster {
    binaries: PathBuf,
    directory: TempDir,
    port: u16,
    owner: Option<User>,
}

impl Cluster {
    /// Makes a cluster and starts it.
    ///
    /// # Panics
    /// When no server binaries are found (`PG_BIN`, then `/usr/lib/postgresql`), or they fail.
    pub async fn start() -> Self {
        let owner = Uid::effective().is_root().then(unprivileged);
        let directory = TempDir::with_prefix_in("dpg-cluster-", "/var/tmp").expect("a directory under /var/tmp");
        if let Some(owner) = &owner {
            nix::unistd::chown(directory.path(), Some(owner.uid), Some(owner.gid))
                .expect("the directory is ours to give");
        }
        let cluster = Self { binaries: binaries(), directory, port: port::free(), owner };
        cluster.run("initdb", &["-D", &cluster.data(), "-U", "postgres", "--auth=trust", "-E", "UTF8", "--no-sync"]);
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\nfsync = on\nrecovery_init_sync_method = syncfs\nmax_connections = 200\n",
            cluster.port,
            cluster.directory.path().display()
        );
        std::fs::write(Path::new(&cluster.data()).join("postgresql.auto.conf"), settings)
            .expect("settings are written");
        cluster.resume().await;
        cluster
    }

    /// The URL of an administrator.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// A database on this cluster.
    pub async fn database(&self) -> TestDatabase {
        TestDatabase::create_on(&self.url()).await
    }

    /// Stops it as a power cut would: nothing is flushed, clients are cut off.
    pub fn stop_immediately(&self) {
        self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "-w", "stop"]);
    }

    /// Ends its postmaster with SIGKILL.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&self) {
        let file =
            std::fs::read_to_string(Path::new(&self.data()).join("postmaster.pid")).expect("a running postmaster");
        let pid = file.lines().next().and_then(|line| line.trim().parse().ok()).expect("a process number");
        nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).expect("our own process");
    }

    /// Starts it again. Back ends of a killed postmaster may hold on for a moment.
    ///
    /// # Panics
    /// When it does not come up.
    pub async fn resume(&self) {
        let log = self.directory.path().join("log").display().to_string();
        eventually("the private cluster starts", Duration::from_secs(60), || async {
            let output = self.command("pg_ctl", &["-D", &self.data(), "-l", &log, "-w", "start"]).status();
            match output {
                Ok(status) if status.success() => Ok(()),
                other => Err(format!("pg_ctl start: {other:?}")),
            }
        })
        .await;
    }

    /// Takes a base backup of it as it runs, with the log that makes the backup whole: what was committed when this returns
    /// may or may not be in it.
    pub fn back_up(&self) {
        let connection = format!("host=127.0.0.1 port={} user=postgres", self.port);
        self.run(
            "pg_basebackup",
            &["-D", &self.backup(), "-d", &connection, "-X", "stream", "-c", "fast", "--no-sync"],
        );
    }

    /// Stops it and puts the backup in its place: all that was written since is gone.
    pub async fn restore(&self) {
        self.stop_immediately();
        std::fs::remove_dir_all(self.data()).expect("the data directory is ours");
        std::fs::rename(self.backup(), self.data()).expect("a backup was taken");
        self.resume().await;
    }

    fn backup(&self) -> String {
        self.directory.path().join("backup").display().to_string()
    }

    fn data(&self) -> String {
        self.directory.path().join("data").display().to_string()
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        command.args(arguments).current_dir(self.directory.path()).env_remove("PGDATA").env("LC_ALL", "C");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(owner) = &self.owner {
            command.uid(owner.uid.as_raw()).gid(owner.gid.as_raw());
        }
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = self.command(program, arguments);
        let output = command.stderr(Stdio::piped()).output().expect("the server's binaries can be started");
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It may be down already: what counts is that nothing is left running.
        if !self
            .command("pg_ctl", &["-D", &self.data(), "-m", "immediate", "-w", "stop"])
            .status()
            .is_ok_and(|s| s.success())
        {
            eprintln!("a private cluster was not running at the end");
        }
    }
}

fn unprivileged() -> User {
    let named = |name| User::from_name(name).expect("the user database can be read");
    named("postgres").or_else(|| named("nobody")).unwrap_or_else(|| User {
        uid: Uid::from_raw(65534),
        gid: Gid::from_raw(65534),
        ..named("root").expect("root exists")
    })
}

fn binaries() -> PathBuf {
    if let Ok(named) = std::env::var("PG_BIN") {
        return named.into();
    }
    let version = |path: &Path| path.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    found.retain(|path| path.join("initdb").exists());
    found.sort_by_key(|path| version(path));
    found.pop().expect("no Postgres server binaries: run these tests with `make test`, or set PG_BIN")
}
