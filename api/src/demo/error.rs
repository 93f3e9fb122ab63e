//! Why the demo failed. It is a check as much as a show, so every step that does not come out as told ends it.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::embedded::EmbeddedError;

/// Why the demo failed.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The private Postgres is not to be had.
    #[error("the demo's Postgres failed")]
    Postgres(#[from] EmbeddedError),
    /// A second one would wipe the first one's data.
    #[error("another demo runs in this folder ({} is locked)", .0.display())]
    Busy(PathBuf),
    /// A file could not be handled.
    #[error("can't {action} {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The system refused a lock or a signal.
    #[error("can't {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: Errno,
    },
    /// Nothing could be printed.
    #[error("the story could not be printed")]
    Output(#[source] io::Error),
    /// No HTTP client.
    #[error("the HTTP client could not be made")]
    Client(#[source] reqwest::Error),
    /// An instance ended although nobody asked it to, or not as it should.
    #[error("the {instance} instance ended with {status}")]
    Ended {
        /// Which one.
        instance: &'static str,
        /// How.
        status: std::process::ExitStatus,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {seconds} s; last seen: {seen}")]
    Late {
        /// What was waited for.
        what: String,
        /// For how long.
        seconds: u64,
        /// What was there instead.
        seen: String,
    },
    /// No answer.
    #[error("no answer to {call}")]
    NoAnswer {
        /// What was asked.
        call: String,
        /// Why there was none.
        source: reqwest::Error,
    },
    /// Another answer than the story needs.
    #[error("{call} was answered with {status}: {body}")]
    Refused {
        /// What was asked.
        call: String,
        /// The status.
        status: u16,
        /// The body.
        body: String,
    },
    /// An answer without something that the contract promises.
    #[error("the answer to {call} holds no {field}: {body}")]
    Missing {
        /// What was asked.
        call: String,
        /// A JSON Pointer.
        field: &'static str,
        /// The body.
        body: String,
    },
    /// The two instances don't tell the same.
    #[error("the two instances tell different things: {0}")]
    Differ(String),
    /// Ctrl-C before the end.
    #[error("interrupted before the end of the story")]
    Interrupted,
}

/// Names what was tried on which path.
pub(super) trait Told<T> {
    fn told(self, action: &'static str, path: &Path) -> Result<T, DemoError>;
}

impl<T> Told<T> for io::Result<T> {
    fn told(self, action: &'static str, path: &Path) -> Result<T, DemoError> {
        self.map_err(|source| DemoError::Io { action, path: path.to_owned(), source })
    }
}
