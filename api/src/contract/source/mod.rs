//! Where contracts come from (CONTRACT 7.9): a file or other servers, then what those documents name by URL. A load puts
//! everything together aside and says all that is wrong with it; nothing changes until somebody puts its result in force.

mod cache;
mod fetch;
mod gather;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use dpg_mirror::{Guard, PeerClientError};
use url::Url;

pub use cache::StoreError;

use cache::{Cache, Contents};
use fetch::Fetcher;
use gather::Gathering;

use super::entries::EntryFilter;
use super::report::{Problem, Warning};
use super::{Contracts, Documents, LoadOptions};

/// Where the network documents are.
#[derive(Debug, Clone)]
pub(super) enum Networks {
    /// In one file.
    File(PathBuf),
    /// At these URLs, by network id.
    Urls(Vec<(String, Url)>),
}

/// How to load contracts.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// What the instance brings to its contracts.
    pub load: LoadOptions,
    /// The network documents by id, or none for those in `file`.
    pub urls: Option<Vec<(String, Url)>>,
    /// `NETWORK_CONFIG_LOCAL_FILE`.
    pub file: PathBuf,
    /// `SCHEMA_CACHE_DIR`, which other instances may share: each has a directory of its own in it.
    pub cache_root: PathBuf,
    /// `INSTANCE_NAME`.
    pub instance_name: String,
    /// Bounds the fetching of each document.
    pub timeout: Duration,
    /// Which addresses a URL in a document may lead to.
    pub guard: Guard,
}

/// When a load happens: this decides what to do without a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The last good copy of whatever can't be fetched will do, from the contract in force or else from disk.
    Boot,
    /// Everything that this instance needs has to be fetched anew; other instances' schemas may be old copies.
    Refetch,
}

/// A contract that has been loaded and checked.
#[derive(Debug)]
pub struct Loaded {
    /// The contract; [`Contracts::documents`] is what it was made from.
    pub contracts: Contracts,
    /// What an operator should know.
    pub warnings: Vec<Warning>,
    /// URLs of documents that could not be had, and whose last good copy was taken; each has a warning.
    pub copies: Vec<String>,
}

/// Why a contract could not be loaded. Everything that is wrong is told, not only what decided.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A document that is needed can't be had: not reachable, not 2xx, not JSON. Messages may name local files.
    #[error("a document that the contract needs can't be had")]
    Fetch(Vec<Problem>),
    /// The documents are there and can't be used.
    #[error("the contract is not valid")]
    Invalid(Vec<Problem>),
}

impl LoadError {
    /// All problems.
    #[must_use]
    pub fn into_problems(self) -> Vec<Problem> {
        match self {
            Self::Fetch(problems) | Self::Invalid(problems) => problems,
        }
    }
}

/// Loads contracts.
#[derive(Debug, Clone)]
pub struct Source {
    options: LoadOptions,
    networks: Networks,
    fetcher: Fetcher,
    cache: Cache,
}

impl Source {
    /// Nothing is read or fetched yet.
    ///
    /// # Errors
    /// [`PeerClientError`] when the system has no certificate roots.
    pub fn new(options: SourceOptions) -> Result<Self, PeerClientError> {
        let base_url = options.load.own_url.as_str();
        Ok(Self {
            cache: Cache::new(&options.cache_root, &options.instance_name, base_url),
            networks: options.urls.map_or(Networks::File(options.file), Networks::Urls),
            fetcher: Fetcher::new(options.timeout, options.guard)?,
            options: options.load,
        })
    }

    /// What the instance brings to its contracts.
    #[must_use]
    pub fn options(&self) -> &LoadOptions {
        &self.options
    }

    /// Loads and checks everything aside: nothing in memory, Postgres or on disk changes.
    ///
    /// # Errors
    /// [`LoadError`] with every problem.
    pub async fn load(&self, last_good: Option<&Documents>, at: At) -> Result<Loaded, LoadError> {
        Gathering::new(self, last_good, at).load().await
    }

    /// Rewrites the copies on disk from what is in force now.
    ///
    /// # Errors
    /// [`StoreError`]; the copies that were there stay usable.
    pub async fn store(&self, contracts: &Contracts) -> Result<(), StoreError> {
        let contents = Contents::of(&contracts.entries(&EntryFilter::default()))?;
        let cache = self.cache.clone();
        tokio::task::spawn_blocking(move || cache.write(&contents)).await?
    }
}
