//! Who runs the server. Postgres refuses to run as root, so under root another account takes it: `postgres` where
//! there is one, else `nobody`.

use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{Gid, Uid, User, geteuid};

use super::error::{EmbeddedError, Told};

/// The account that runs the server and owns its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Account {
    /// The one that runs this process.
    Own,
    /// Another one, taken because this process is root.
    Other { name: String, uid: Uid, gid: Gid },
}

impl Account {
    /// The account for a new cluster.
    pub(super) fn for_new_data() -> Result<Self, EmbeddedError> {
        if !geteuid().is_root() {
            return Ok(Self::Own);
        }
        for name in ["postgres", "nobody"] {
            let user = User::from_name(name)
                .map_err(|source| EmbeddedError::System { action: "look up the server's user", source })?;
            if let Some(user) = user {
                return Ok(Self::Other { name: user.name, uid: user.uid, gid: user.gid });
            }
        }
        Err(EmbeddedError::NoAccount)
    }

    /// The account for data that is there: under root whoever owns it, so that files never change hands.
    pub(super) fn for_data_at(home: &Path) -> Result<Self, EmbeddedError> {
        let metadata = std::fs::symlink_metadata(home).told("look at", home)?;
        let (uid, gid) = (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()));
        if !metadata.is_dir() {
            return Err(EmbeddedError::Foreign(home.to_owned()));
        }
        if uid == geteuid() {
            // Root's own folder is what an interrupted first start leaves.
            return if uid.is_root() { Self::for_new_data() } else { Ok(Self::Own) };
        }
        if !geteuid().is_root() {
            return Err(EmbeddedError::Foreign(home.to_owned()));
        }
        let user =
            User::from_uid(uid).map_err(|source| EmbeddedError::System { action: "look up the owner", source })?;
        let name = user.map_or_else(|| uid.to_string(), |user| user.name);
        Ok(Self::Other { name, uid, gid })
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Own => "this one",
            Self::Other { name, .. } => name,
        }
    }

    /// A command that this account runs: nothing of our environment (`PGPORT`, `PGDATA`), nothing to read.
    pub(super) fn command(&self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C").env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command.current_dir(folder).stdin(Stdio::null());
        if let Self::Other { uid, gid, .. } = self {
            // Groups of root are given up with it.
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
        command
    }

    /// Whether the account may enter a folder. Asked of the system: modes alone don't tell of mounts and lists.
    pub(super) fn can_enter(&self, folder: &Path) -> Result<bool, EmbeddedError> {
        self.probe("cd \"$1\"", folder)
    }

    /// Whether the account may run a program.
    pub(super) fn can_run(&self, program: &Path) -> Result<bool, EmbeddedError> {
        self.probe("test -x \"$1\"", program)
    }

    fn probe(&self, script: &str, path: &Path) -> Result<bool, EmbeddedError> {
        let shell = Path::new("/bin/sh");
        let mut command = self.command(shell, Path::new("/"));
        command.arg("-c").arg(script).arg("sh").arg(path).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(command.status().told("run", shell)?.success())
    }

    /// Makes a folder that only this account may enter. One that is there must be just that: in a shared place such
    /// as `/tmp` somebody else may have been faster.
    pub(super) fn make_private_folder(&self, folder: &Path) -> Result<(), EmbeddedError> {
        match std::fs::DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => self.give(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => self.check_private_folder(folder),
            Err(source) => Err(EmbeddedError::Io { action: "make", path: folder.to_owned(), source }),
        }
    }

    fn check_private_folder(&self, folder: &Path) -> Result<(), EmbeddedError> {
        let metadata = std::fs::symlink_metadata(folder).told("look at", folder)?;
        let owner = Uid::from_raw(metadata.uid());
        if !metadata.is_dir() || metadata.mode() & 0o077 != 0 {
            return Err(EmbeddedError::Foreign(folder.to_owned()));
        }
        match self {
            Self::Own if owner == geteuid() => Ok(()),
            Self::Other { uid, .. } if owner == *uid => Ok(()),
            // A start that was interrupted between making and giving.
            Self::Other { .. } if owner.is_root() => self.give(folder),
            _ => Err(EmbeddedError::Foreign(folder.to_owned())),
        }
    }

    /// Hands a file or folder of ours to the account.
    pub(super) fn give(&self, path: &Path) -> Result<(), EmbeddedError> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid, .. } => {
                std::os::unix::fs::lchown(path, Some(uid.as_raw()), Some(gid.as_raw())).told("hand over", path)
            }
        }
    }
}
