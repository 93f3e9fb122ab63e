//! Who uses a private Postgres: every user holds a shared lock on one file, and the last one to leave stops the server,
//! whoever started it. The system gives a dead process's lock back, so that a killed user counts no more.

use std::fs::File;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::error::EmbeddedError;
use super::home::Home;

/// One user of the server. Gone with the value, or with the process.
pub(super) struct User(Flock<File>);

impl User {
    /// Joins. The caller holds the start lock ([`Home::lock`]): whoever is stopping the server holds it, too.
    pub(super) fn join(home: &Home) -> Result<Self, EmbeddedError> {
        let failed = |(_, source)| EmbeddedError::System { action: "lock the file of the users", source };
        Flock::lock(home.lock_file("users")?, FlockArg::LockSharedNonblock).map(Self).map_err(failed)
    }

    /// Leaves. The last one holds the file to itself until the value that is returned is dropped; none when others stay.
    /// The caller holds the start lock, so that nobody joins between this answer and the server's end.
    pub(super) fn leave(self) -> Result<Option<Last>, EmbeddedError> {
        // Two that change a shared lock for an exclusive one would refuse each other; the start lock keeps them apart.
        match self.0.relock(FlockArg::LockExclusiveNonblock) {
            Ok(()) => Ok(Some(Last { _file: self.0 })),
            Err(Errno::EWOULDBLOCK) => Ok(None),
            Err(source) => Err(EmbeddedError::System { action: "lock the file of the users", source }),
        }
    }
}

/// The last user, whose turn it is to stop the server.
pub(super) struct Last {
    _file: Flock<File>,
}
