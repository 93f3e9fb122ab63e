//! A private Postgres for development: with no database configured, `dpg serve` runs one of its own, so that a first try
//! needs nothing but the installed server programs.
//!
//! It listens on a socket in a folder that only its owner may enter, wants a password there too, and is as durable as
//! one in production. The data stays in `.dpg/` between runs. Production never comes here: an instance that lost its
//! settings must not come up empty.

mod account;
mod binaries;
mod error;
mod home;
mod server;
#[cfg(test)]
mod tests;
mod users;

use std::path::{Path, PathBuf};

use dpg_eventstore::Chain;
use tokio_postgres::error::SqlState;

pub use error::EmbeddedError;

use account::Account;
use binaries::Places;
use error::Told;
use home::Home;
use server::{Access, Server};
use users::User;

/// A running private Postgres, and our use of it. It runs until its last user has left with [`Embedded::stop`];
/// dropping the last one tells the server to stop and does not wait.
pub struct Embedded {
    home: Home,
    access: Access,
    /// Both are there until [`Embedded::stop`] or the drop takes them.
    used: Option<(Server, User)>,
    adopted: bool,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The access holds a password.
        f.debug_struct("Embedded").field("home", &self.home).field("adopted", &self.adopted).finish_non_exhaustive()
    }
}

impl Embedded {
    /// Starts the server whose data is in `root` (`./.dpg`), making both when they are missing, and waits until it
    /// answers. One that runs on this data already is adopted. Under root another account runs the server; where that
    /// account can't reach `root`, the data is under `/var/tmp`, which the log then says. The programs are looked for
    /// where the environment's `PG_BIN` says.
    ///
    /// # Errors
    /// [`EmbeddedError`]; without server programs it says what to install or to set.
    pub async fn start(root: &Path) -> Result<Self, EmbeddedError> {
        let pg_bin = std::env::var_os("PG_BIN").filter(|value| !value.is_empty()).map(PathBuf::from);
        Self::start_from(root, pg_bin.as_deref()).await
    }

    /// As [`Embedded::start`], with the programs in this folder; without one, where they usually are.
    ///
    /// # Errors
    /// As [`Embedded::start`].
    pub async fn start_from(root: &Path, pg_bin: Option<&Path>) -> Result<Self, EmbeddedError> {
        std::fs::create_dir_all(root).told("make", root)?;
        let root = root.canonicalize().told("find", root)?;
        let home = Home::locate(&root)?;
        home.make()?;
        let _starting = home.lock().await?;
        let user = User::join(&home)?;
        let made_by = home.made_by()?;
        if made_by.is_some()
            && let Some((server, access)) = Server::adopt(&home, &home.password()?).await?
        {
            tracing::info!(folder = %home.path.display(), "the private Postgres runs already and is used as it is");
            return Ok(Self { home, access, used: Some((server, user)), adopted: true });
        }
        let binaries = Places::new(pg_bin)?.choose(&home.path, made_by)?;
        if !home.account.can_run(&binaries.postgres())? {
            let user = home.account.name().to_owned();
            return Err(EmbeddedError::OutOfReach { user, path: binaries.postgres() });
        }
        if made_by.is_none() {
            home.init(&binaries).await?;
        }
        let (server, access) = Server::start(&home, &binaries, &home.password()?).await?;
        let version = binaries.major();
        match &home.account {
            Account::Own => tracing::info!(folder = %home.path.display(), version, "started a private Postgres"),
            Account::Other { name, .. } => {
                tracing::info!(
                    folder = %home.path.display(), version, user = name,
                    "started a private Postgres, as another user because this one is root"
                );
            }
        }
        Ok(Self { home, access, used: Some((server, user)), adopted: false })
    }

    /// Stops a server that an earlier process left running on `root`, and deletes its data.
    ///
    /// # Errors
    /// [`EmbeddedError`], for instance when the server does not stop.
    pub async fn remove(root: &Path) -> Result<(), EmbeddedError> {
        let root = match root.canonicalize() {
            Ok(root) => root,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(EmbeddedError::Io { action: "find", path: root.to_owned(), source }),
        };
        let home = Home::locate(&root)?;
        if !home.path.exists() {
            return Ok(());
        }
        server::stop_running(&home).await?;
        let socket = home.socket_folder();
        if socket != home.path && socket.exists() {
            std::fs::remove_dir_all(&socket).told("remove", &socket)?;
        }
        std::fs::remove_dir_all(&home.path).told("remove", &home.path)
    }

    /// The URL of a database on this server, for us and for `psql` alike. It holds the password.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.access.url(database)
    }

    /// Makes a database unless it is there.
    ///
    /// # Errors
    /// [`EmbeddedError::Postgres`] when the server refuses.
    pub async fn ensure_database(&self, name: &str) -> Result<(), EmbeddedError> {
        let refused = |action| move |source| EmbeddedError::Postgres { action, source };
        let client = self.access.connect().await.map_err(refused("connect"))?;
        let found = client.query_opt("select 1 from pg_database where datname = $1", &[&name]).await;
        if found.map_err(refused("list the databases"))?.is_some() {
            return Ok(());
        }
        let statement = format!("create database \"{}\"", name.replace('"', "\"\""));
        match client.batch_execute(&statement).await {
            // Somebody else was faster.
            Err(error) if matches!(error.code(), Some(&SqlState::DUPLICATE_DATABASE | &SqlState::UNIQUE_VIOLATION)) => {
                Ok(())
            }
            outcome => outcome.map_err(refused("make a database")),
        }
    }

    /// Where the data, the server's log and the password are.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.home.path.clone()
    }

    /// Whether the server was running before.
    #[must_use]
    pub fn is_adopted(&self) -> bool {
        self.adopted
    }

    /// Waits until no server runs on the data any more, which it looks for every second, and tells what it found.
    /// Nobody but its users stops a server, so that its end means that something went wrong.
    pub fn died(&self) -> impl Future<Output = EmbeddedError> + Send + use<> {
        server::died(self.home.clone())
    }

    /// Leaves. The last user stops the server, whoever started it: sessions are ended, everything is written. While
    /// others use it, it goes on.
    ///
    /// # Errors
    /// [`EmbeddedError::Timeout`] when it does not end.
    pub async fn stop(mut self) -> Result<(), EmbeddedError> {
        // Who starts meanwhile waits for this lock, and finds a server that stays or none. Without the lock it is too
        // early to leave: the drop is tried instead.
        let _stopping = self.home.lock().await?;
        let Some((mut server, user)) = self.used.take() else { return Ok(()) };
        match user.leave() {
            Ok(Some(_last)) => server.stop(&self.home).await,
            Ok(None) => {
                server.leave();
                tracing::info!(folder = %self.home.path.display(), "the private Postgres goes on: others use it");
                Ok(())
            }
            Err(error) => {
                server.leave();
                Err(error)
            }
        }
    }

    /// What a drop can do: nothing that waits.
    fn leave_at_once(&self, server: &mut Server, user: User) -> Result<(), EmbeddedError> {
        // From here on the server is stopped by its data or by nobody.
        server.leave();
        // Somebody who starts or stops right now decides instead.
        let Some(_stopping) = self.home.try_lock()? else { return Ok(()) };
        let Some(_last) = user.leave()? else { return Ok(()) };
        server.tell_to_stop(&self.home)
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        let Some((mut server, user)) = self.used.take() else { return };
        if let Err(error) = self.leave_at_once(&mut server, user) {
            tracing::error!(error = %Chain(&error), "the private Postgres could not be stopped");
        }
    }
}
