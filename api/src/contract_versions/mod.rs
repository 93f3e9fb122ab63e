//! The contract in force is a row in Postgres that every process of the instance follows (CONTRACT 8.4). Here a contract
//! that was loaded comes into force, in one commit; other processes take it over; and items that an older contract has
//! split are split again.

mod follow;
mod queries;
mod refetch;
mod resplit;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use dpg_eventstore::partitions::{PartitionError, ensure_network};
use dpg_eventstore::{Chain, Database, DatabaseError};
use dpg_mirror::Contacts;
use dpg_mirror::signature::PublicKey;
use dpg_projector::tables::{Tables, TablesError};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use crate::contract::{Binding, Contracts, Documents, InForce, LoadOptions, Problem, Source, listed};
use queries::{Activated, Proposal, Stored};

pub use follow::Metrics;
pub use resplit::Resplitter;

/// Why a version of the contract can't be read, made or used.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// No connection.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A statement failed.
    #[error("the versions of the contract could not be read or written")]
    Sql(#[from] tokio_postgres::Error),
    /// The documents are not of a kind that this binary knows.
    #[error("the documents of the contract can't be read or written")]
    Documents(#[from] serde_json::Error),
    /// The documents are refused, which they were not where the version was made.
    #[error("the documents of the contract are refused:{}", listed(.0))]
    Refused(Vec<Problem>),
    /// Building it has panicked.
    #[error("the contract could not be built")]
    Build(#[source] tokio::task::JoinError),
}

/// Why the tables that a contract names are not there.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The log's.
    #[error(transparent)]
    Log(#[from] PartitionError),
    /// The projected ones.
    #[error(transparent)]
    Tables(#[from] TablesError),
}

/// The documents of a contract as they are stored.
struct Encoded {
    text: String,
    digest: Vec<u8>,
}

impl Encoded {
    fn of(documents: &Documents) -> Result<Self, VersionError> {
        let text = serde_json::to_string(documents)?;
        let digest = Sha256::digest(&text).to_vec();
        Ok(Self { text, digest })
    }
}

impl Stored {
    fn documents(&self) -> Result<Documents, VersionError> {
        // What was read from a file nests as deep as a file may, and stands some levels deeper here.
        let mut deserializer = serde_json::Deserializer::from_str(&self.documents);
        deserializer.disable_recursion_limit();
        Ok(serde::Deserialize::deserialize(&mut deserializer)?)
    }

    /// The contract as it was made, without its list of unsplit domains.
    fn build(&self, options: &LoadOptions) -> Result<Contracts, VersionError> {
        let (contracts, _) = Contracts::build(self.documents()?, options).map_err(VersionError::Refused)?;
        Ok(contracts.of_version(self.version, self.created_at))
    }
}

/// The documents of the version in force: what a boot falls back to. Those of a newer binary are of no use.
///
/// # Errors
/// As the database says.
pub async fn last_good(database: &Database) -> Result<Option<Documents>, VersionError> {
    let newest = queries::newest(&database.client().await?).await?;
    Ok(newest.and_then(|stored| match stored.documents() {
        Ok(documents) => Some(documents),
        Err(error) => {
            tracing::warn!(error = %Chain(&error), version = stored.version, "the last good contract can't be read");
            None
        }
    }))
}

/// The contract of a process that starts, as the version that it is; and whether it is a new one. Documents that are in
/// force already make no new version.
///
/// # Errors
/// [`VersionError`].
pub async fn settle(
    database: &Database,
    options: &LoadOptions,
    loaded: Contracts,
) -> Result<(Contracts, bool), VersionError> {
    let encoded = Encoded::of(loaded.documents())?;
    loop {
        let client = database.client().await?;
        let newest = queries::newest(&client).await?;
        if let Some(newest) = newest.as_ref().filter(|newest| newest.digest == encoded.digest) {
            let seen = queries::seen(&client).await?;
            loaded.set_unsplit(seen.unsplit);
            return Ok((loaded.of_version(newest.version, newest.created_at), false));
        }
        drop(client);
        let compared = (newest.as_ref(), &loaded);
        if let Some(activated) = propose(database, options, compared, &encoded, None).await? {
            return Ok((put_right(loaded, activated), true));
        }
    }
}

/// Puts a contract in force after the one that it is compared with; `None` when another one was faster.
async fn propose(
    database: &Database,
    options: &LoadOptions,
    (before, contracts): (Option<&Stored>, &Contracts),
    encoded: &Encoded,
    read_at: Option<DateTime<Utc>>,
) -> Result<Option<Activated>, VersionError> {
    let older = match before.map(|stored| stored.build(options)) {
        Some(Ok(older)) => Some(older),
        None => None,
        Some(Err(error)) => {
            tracing::warn!(error = %Chain(&error), "the contract before can't be compared: all items are split again");
            None
        }
    };
    let unsplit = contracts.splits_otherwise(older.as_ref());
    let after = before.map_or(0, |before| before.version);
    let proposal = Proposal { documents: &encoded.text, digest: &encoded.digest, after, read_at, unsplit: &unsplit };
    let activated = queries::activate(database, &proposal).await?;
    if let Some(Activated { version, .. }) = &activated {
        tracing::info!(version, "a new contract is in force");
        if before.is_some() && !unsplit.is_empty() {
            tracing::info!(version, domains = %names(&unsplit), "items of other privacy are split again");
        }
    }
    Ok(activated)
}

fn names(bindings: &[Binding]) -> String {
    bindings.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn put_right(contracts: Contracts, activated: Activated) -> Contracts {
    contracts.set_unsplit(activated.unsplit);
    contracts.of_version(activated.version, activated.created_at)
}

/// Makes the partitions that the contract names, so that no write has to.
///
/// # Errors
/// [`StorageError`].
pub async fn prepare_storage(database: &Database, contracts: &Contracts) -> Result<(), StorageError> {
    let tables = Tables::new(database.clone());
    for network in contracts.served_networks() {
        ensure_network(database, &network).await?;
        for action in contracts.network(&network).into_iter().flat_map(|network| network.actions()) {
            tables.ensure_action_partition(&network, &action.action_type).await?;
        }
    }
    for Binding { network, domain } in contracts.served() {
        tables.ensure_item_partition(network, domain).await?;
    }
    Ok(())
}

/// The versions of the contract, as one process sees and makes them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ContractVersions {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    database: Database,
    in_force: Arc<InForce>,
    source: Source,
    contacts: Contacts,
    key: Option<PublicKey>,
    /// Outlives the HTTP worker that somebody asked for a refetch.
    runtime: Handle,
    metrics: Metrics,
    /// Held from the look at Postgres to the exchange in memory, so that an older look never undoes a newer one.
    exchange: Mutex<()>,
    last_run: Mutex<Option<refetch::Run>>,
}

impl ContractVersions {
    /// Follows and makes versions for this process. A contract that gives us keys, and not `key`, is refused.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn new(
        database: Database,
        in_force: Arc<InForce>,
        source: Source,
        contacts: Contacts,
        key: Option<PublicKey>,
        metrics: Metrics,
    ) -> Self {
        let (runtime, exchange, last_run) = (Handle::current(), Mutex::default(), Mutex::default());
        let inner = Inner { database, in_force, source, contacts, key, runtime, metrics, exchange, last_run };
        Self { inner: Arc::new(inner) }
    }

    /// Tells who has to know that another contract is in force: lanes try again at once (CONTRACT 5.5).
    pub async fn announce(&self) {
        let contracts = self.inner.in_force.get();
        for network in contracts.networks() {
            if let Err(error) = self.inner.contacts.contract_changed(network.id()).await {
                // The waits end by themselves.
                tracing::warn!(error = %Chain(&error), network = network.id(), "lanes were not told of the new contract");
            }
        }
    }
}
