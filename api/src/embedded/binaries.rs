//! Where the server's programs are: Debian keeps them out of `PATH`, in one folder per major version.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::{EmbeddedError, Told};

/// Folders with one folder per installed version, and what lies under it.
const VERSIONED: &[(&str, &str)] = &[("/usr/lib/postgresql", "bin")];
/// Folders whose entries `postgresql@16`, `postgresql` hold a `bin` (Homebrew on both kinds of Mac, and on Linux).
const HOMEBREW: &[&str] = &["/opt/homebrew/opt", "/usr/local/opt", "/home/linuxbrew/.linuxbrew/opt"];
const PLAIN: &[&str] = &["/usr/local/pgsql/bin", "/usr/bin", "/usr/local/bin"];
const SUPPORTED: std::ops::RangeInclusive<u32> = 15..=18;

/// The programs of one installed server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    folder: PathBuf,
    major: u32,
}

/// Where to look.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// `PG_BIN`: when set, nothing else is looked at.
    pub(super) pg_bin: Option<PathBuf>,
    /// `PATH`.
    pub(super) path: Option<OsString>,
}

impl Places {
    /// `PG_BIN` as it was given, and this process's `PATH`.
    pub(super) fn new(pg_bin: Option<&Path>) -> Result<Self, EmbeddedError> {
        // The server is started elsewhere than where the setting was written.
        let absolute = |folder: &Path| std::path::absolute(folder).told("find", folder);
        Ok(Self { pg_bin: pg_bin.map(absolute).transpose()?, path: std::env::var_os("PATH") })
    }

    /// The server to use: of the version that made the data, else the one in `PATH`, else the newest.
    pub(super) fn choose(&self, home: &Path, made_by: Option<u32>) -> Result<Binaries, EmbeddedError> {
        let found = self.all();
        match (made_by, &self.pg_bin) {
            (_, Some(folder)) if found.is_empty() => Err(EmbeddedError::PgBin(folder.clone())),
            (None, _) => found.into_iter().next().ok_or(EmbeddedError::NoBinaries),
            (Some(_), _) if found.is_empty() => Err(EmbeddedError::NoBinaries),
            (Some(major), _) => found
                .into_iter()
                .find(|binaries| binaries.major == major)
                .ok_or_else(|| EmbeddedError::Version { home: home.to_owned(), major }),
        }
    }

    fn all(&self) -> Vec<Binaries> {
        if let Some(folder) = &self.pg_bin {
            return Binaries::within(folder).into_iter().collect();
        }
        let in_path = self.path.iter().flat_map(std::env::split_paths).filter(|folder| folder.is_absolute());
        let mut found: Vec<_> = in_path.filter_map(|folder| Binaries::within(&folder)).collect();
        let mut installed: Vec<_> = usual_folders().iter().filter_map(|folder| Binaries::within(folder)).collect();
        installed.sort_by_key(|binaries| std::cmp::Reverse(binaries.major));
        found.extend(installed);
        found
    }
}

fn usual_folders() -> Vec<PathBuf> {
    let versioned = VERSIONED.iter().flat_map(|(parent, bin)| entries(parent).into_iter().map(move |it| it.join(bin)));
    let homebrew = HOMEBREW.iter().flat_map(|parent| {
        let named = |folder: &PathBuf| {
            folder.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"postgresql"))
        };
        entries(parent).into_iter().filter(named).map(|folder| folder.join("bin"))
    });
    versioned.chain(homebrew).chain(PLAIN.iter().map(PathBuf::from)).collect()
}

/// What is in a folder; nothing when there is no such folder.
fn entries(folder: &str) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

impl Binaries {
    /// The server in this folder, if there is one of a version that we know.
    fn within(folder: &Path) -> Option<Self> {
        if !folder.join("initdb").is_file() {
            return None;
        }
        // A program that can't be run here (another machine's, a broken link) is as good as none.
        let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
        let major = major_version(&String::from_utf8_lossy(&output.stdout))?;
        SUPPORTED.contains(&major).then(|| Self { folder: folder.to_owned(), major })
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    pub(super) fn major(&self) -> u32 {
        self.major
    }
}

/// `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`, `18beta1`.
fn major_version(text: &str) -> Option<u32> {
    let version = text.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(major_version("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"), Some(15));
        assert_eq!(major_version("postgres (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_version("postgres"), None);
    }

    #[test]
    fn pg_bin_alone_decides() {
        let places = Places { pg_bin: Some(PathBuf::from("/nowhere")), path: std::env::var_os("PATH") };
        let error = places.choose(Path::new("/data"), None).unwrap_err();
        assert!(matches!(error, EmbeddedError::PgBin(_)), "{error}");
    }

    #[test]
    fn data_wants_the_version_that_made_it() {
        let pg_bin = std::env::var_os("PG_BIN").map(PathBuf::from);
        let places = Places::new(pg_bin.as_deref()).unwrap();
        let newest = places.choose(Path::new("/data"), None).expect("a Postgres server is installed: run `make test`");
        assert_eq!(places.choose(Path::new("/data"), Some(newest.major())).unwrap().major(), newest.major());
        let error = places.choose(Path::new("/data"), Some(9)).unwrap_err();
        assert!(error.to_string().contains("made by Postgres 9"), "{error}");
    }
}
