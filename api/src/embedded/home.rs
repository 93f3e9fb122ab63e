//! Where a private Postgres keeps its things: one folder with the data, the password, the server's log and a lock.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use rand::Rng;
use rand::distr::Alphanumeric;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use super::account::Account;
use super::binaries::Binaries;
use super::error::{EmbeddedError, Told};

/// The superuser that `initdb` makes.
pub(super) const SUPERUSER: &str = "postgres";
/// A socket's path has to fit 108 bytes on Linux, 104 on a Mac, with the closing zero.
const LONGEST_SOCKET_FOLDER: usize = 103 - "/.s.PGSQL.5432".len();
const LOCK_WAIT: Duration = Duration::from_secs(120);

/// The folder of one private Postgres, and who owns it.
#[derive(Debug, Clone)]
pub(super) struct Home {
    pub(super) path: PathBuf,
    pub(super) account: Account,
}

impl Home {
    /// Finds the folder for `root`, an existing absolute path: where its data is already; else under `root`; else, when
    /// the server's user can't go there, in a folder under `/var/tmp` named after `root`. Makes nothing.
    pub(super) fn locate(root: &Path) -> Result<Self, EmbeddedError> {
        let inside = root.join("postgres");
        let outside = PathBuf::from(format!("/var/tmp/dpg-{}", short_hash(root)));
        if inside.exists() {
            let account = Account::for_data_at(&inside)?;
            // Never start empty elsewhere because a door was closed meanwhile.
            if !account.can_enter(&inside)? && inside.join("data").exists() {
                return Err(EmbeddedError::OutOfReach { user: account.name().to_owned(), path: inside });
            }
            if account.can_enter(root)? {
                return Ok(Self { path: inside, account });
            }
        }
        let account = Account::for_new_data()?;
        if account == Account::Own {
            return Ok(Self { path: inside, account });
        }
        // Beyond this only root comes, whose server is run by another account.
        let path = if outside.exists() || !account.can_enter(root)? { outside } else { inside };
        Ok(Self { path, account })
    }

    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    fn password_file(&self) -> PathBuf {
        self.path.join("password")
    }

    /// Where the socket goes: the folder itself, or a short one under `/tmp` when its path is long or odd.
    pub(super) fn socket_folder(&self) -> PathBuf {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
        let bytes = self.path.as_os_str().as_encoded_bytes();
        if bytes.len() <= LONGEST_SOCKET_FOLDER && bytes.iter().all(plain) {
            return self.path.clone();
        }
        PathBuf::from(format!("/tmp/dpg-{}", short_hash(&self.path)))
    }

    /// Makes the folders that are missing.
    pub(super) fn make(&self) -> Result<(), EmbeddedError> {
        self.account.make_private_folder(&self.path)?;
        let socket = self.socket_folder();
        if socket != self.path {
            self.account.make_private_folder(&socket)?;
        }
        Ok(())
    }

    /// A file of this folder that is there to be locked. It belongs to the account, so that its owner can lock it, too.
    pub(super) fn lock_file(&self, name: &str) -> Result<File, EmbeddedError> {
        let path = self.path.join(name);
        let file =
            File::options().create(true).truncate(false).write(true).mode(0o600).open(&path).told("open", &path)?;
        self.account.give(&path)?;
        Ok(file)
    }

    /// One start or stop at a time: the lock is held until the server answers, or is gone.
    pub(super) async fn lock(&self) -> Result<Flock<File>, EmbeddedError> {
        let mut file = self.lock_file("lock")?;
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(lock),
                Err((file, Errno::EWOULDBLOCK)) if Instant::now() < deadline => file,
                Err((_, Errno::EWOULDBLOCK)) => {
                    let what = "for another process that is starting or stopping the same Postgres";
                    return Err(EmbeddedError::Timeout { what, seconds: LOCK_WAIT.as_secs() });
                }
                Err((_, source)) => return Err(EmbeddedError::System { action: "lock the data folder", source }),
            };
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The lock of [`Home::lock`], unless somebody holds it.
    pub(super) fn try_lock(&self) -> Result<Option<Flock<File>>, EmbeddedError> {
        match Flock::lock(self.lock_file("lock")?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, source)) => Err(EmbeddedError::System { action: "lock the data folder", source }),
        }
    }

    /// The major version that made the data; none when there is no data yet.
    pub(super) fn made_by(&self) -> Result<Option<u32>, EmbeddedError> {
        let path = self.data().join("PG_VERSION");
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(EmbeddedError::Io { action: "read", path, source }),
        }
    }

    pub(super) fn password(&self) -> Result<String, EmbeddedError> {
        let path = self.password_file();
        match std::fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
            Ok(_) => Err(EmbeddedError::NoPassword(self.path.clone())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(EmbeddedError::NoPassword(self.path.clone()))
            }
            Err(source) => Err(EmbeddedError::Io { action: "read", path, source }),
        }
    }

    /// Makes the cluster beside its place and moves it there at the end, so that half a cluster is never taken for one.
    pub(super) async fn init(&self, binaries: &Binaries) -> Result<(), EmbeddedError> {
        let unfinished = self.path.join("data.new");
        if unfinished.exists() {
            std::fs::remove_dir_all(&unfinished).told("remove", &unfinished)?;
        }
        self.make_password()?;
        let mut command = self.account.command(&binaries.initdb(), &self.path);
        command.args([
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--data-checksums",
            "--no-instructions",
        ]);
        command.arg("--username").arg(SUPERUSER).arg("--pwfile").arg(self.password_file());
        command.arg("--pgdata").arg(&unfinished);
        let mut command = tokio::process::Command::from(command);
        let output = command.kill_on_drop(true).output().await.told("run", &binaries.initdb())?;
        if !output.status.success() {
            return Err(EmbeddedError::Initdb(last_lines(&String::from_utf8_lossy(&output.stderr))));
        }
        std::fs::rename(&unfinished, self.data()).told("move into place", &unfinished)
    }

    fn make_password(&self) -> Result<(), EmbeddedError> {
        let path = self.password_file();
        let password: String = rand::rng().sample_iter(Alphanumeric).take(32).map(char::from).collect();
        // One that a failed first start left behind opens nothing yet.
        if path.exists() {
            std::fs::remove_file(&path).told("remove", &path)?;
        }
        let mut file = File::options().create_new(true).write(true).mode(0o600).open(&path).told("write", &path)?;
        file.write_all(password.as_bytes()).and_then(|()| file.sync_all()).told("write", &path)?;
        self.account.give(&path)
    }

    /// The server's log, open at its end, and how long it is now.
    pub(super) fn open_log(&self) -> Result<(File, u64), EmbeddedError> {
        let path = self.log();
        let file = File::options().create(true).append(true).mode(0o600).open(&path).told("open", &path)?;
        let length = file.metadata().told("look at", &path)?.len();
        Ok((file, length))
    }

    /// The last lines that were logged after `from`.
    pub(super) fn log_tail(&self, from: u64) -> Result<String, EmbeddedError> {
        let path = self.log();
        let mut file = File::open(&path).told("open", &path)?;
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(from)).and_then(|_| file.read_to_end(&mut text)).told("read", &path)?;
        Ok(last_lines(&String::from_utf8_lossy(&text)))
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.iter().skip(lines.len().saturating_sub(5)).copied().collect::<Vec<_>>().join(" | ")
}

fn short_hash(path: &Path) -> String {
    format!("{:.8x}", Sha256::digest(path.as_os_str().as_encoded_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(path: &str) -> Home {
        Home { path: PathBuf::from(path), account: Account::Own }
    }

    #[test]
    fn a_long_or_odd_path_puts_the_socket_elsewhere() {
        assert_eq!(home("/srv/app/.dpg/postgres").socket_folder(), Path::new("/srv/app/.dpg/postgres"));
        for odd in ["/srv/a,b/postgres".to_owned(), "/srv/a b".to_owned(), format!("/srv/{}", "x".repeat(100))] {
            let socket = home(&odd).socket_folder();
            assert!(socket.starts_with("/tmp") && socket.as_os_str().len() < 20, "{}", socket.display());
        }
    }

    #[test]
    fn the_end_of_a_log_is_told() {
        assert_eq!(last_lines("a\n\nb\n"), "a | b");
        assert_eq!(last_lines("1\n2\n3\n4\n5\n6"), "2 | 3 | 4 | 5 | 6");
    }
}
