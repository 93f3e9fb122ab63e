//! Why the private Postgres is not to be had. Messages name the thing to install, to set or to remove.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// Why the private Postgres did not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// Nothing to start.
    #[error(
        "no Postgres server (15 to 18) found: install it (Debian: apt-get install postgresql), name its folder in \
         PG_BIN, or set POSTGRES_URL to a database that runs already"
    )]
    NoBinaries,
    /// `PG_BIN` is set and does not hold what is needed.
    #[error("PG_BIN={} holds no Postgres server (15 to 18): initdb and postgres are needed", .0.display())]
    PgBin(PathBuf),
    /// The data was made by a version whose server is not here.
    #[error(
        "the data in {} was made by Postgres {major}, whose server is not installed: install it, or remove the \
         folder to start anew", .home.display()
    )]
    Version {
        /// Where the data is.
        home: PathBuf,
        /// The major version that made it.
        major: u32,
    },
    /// Started by root on a machine without an account to run the server.
    #[error("Postgres refuses to run as root, and there is neither a user `postgres` nor `nobody` to run it")]
    NoAccount,
    /// The server's user can't go where the data or the program is.
    #[error("the user {user} can't reach {}: open the folders above it to that user", .path.display())]
    OutOfReach {
        /// The server's user.
        user: String,
        /// What it can't reach.
        path: PathBuf,
    },
    /// A folder that should be ours belongs to somebody else.
    #[error("{} is there and belongs to another user: remove it, or start as its owner", .0.display())]
    Foreign(PathBuf),
    /// The cluster is there, the password that opens it is not.
    #[error("the password file of {} is missing: put it back, or remove the folder to start anew", .0.display())]
    NoPassword(PathBuf),
    /// `initdb` failed.
    #[error("initdb failed: {0}")]
    Initdb(String),
    /// The server ended instead of starting.
    #[error("Postgres did not start; the end of {} says: {tail}", .log.display())]
    NotStarted {
        /// The server's log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The server was there, and is no more.
    #[error("the private Postgres has ended; {} may say why", .0.display())]
    Died(PathBuf),
    /// A wait took longer than it ever should.
    #[error("gave up after {seconds} s of waiting {what}")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        seconds: u64,
    },
    /// A file or process could not be handled.
    #[error("can't {action} {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The system would not tell about a user, or take a signal.
    #[error("can't {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: Errno,
    },
    /// The running server refused.
    #[error("the private Postgres refused: {action}")]
    Postgres {
        /// What was asked.
        action: &'static str,
        /// Its answer.
        source: tokio_postgres::Error,
    },
}

/// Names what was tried on which path.
pub(super) trait Told<T> {
    fn told(self, action: &'static str, path: &Path) -> Result<T, EmbeddedError>;
}

impl<T> Told<T> for io::Result<T> {
    fn told(self, action: &'static str, path: &Path) -> Result<T, EmbeddedError> {
        self.map_err(|source| EmbeddedError::Io { action, path: path.to_owned(), source })
    }
}
