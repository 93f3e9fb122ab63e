//! Why a process does not come up. Whoever starts it reads these: every problem of the settings and of the contract at once,
//! by the names under which they are set.

use dpg_eventstore::DatabaseError;
use dpg_eventstore::migrate::MigrateError;
use dpg_eventstore::read::ReadError;
use dpg_projector::TablesError;

use crate::config::Problem;
use crate::contract::listed;
use crate::contract_versions::{StorageError, VersionError};
use crate::embedded::EmbeddedError;

/// Why a process did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Variables that are missing or do not fit.
    #[error("the configuration is not valid:{}", listed(.0))]
    Config(Vec<Problem>),
    /// The contract can't be used.
    #[error("the network contract is not valid:{}", listed(.0))]
    Contract(Vec<crate::contract::Problem>),
    /// The private Postgres did not start.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The database is away.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The schema is not what it should be.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// The log can't be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// The projected tables could not be made.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// The tables that the contract names could not be made.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The contract in force can't be read, or made.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// Something that only a wrong setting can cause.
    #[error("{what}")]
    Setting {
        /// What it was for.
        what: &'static str,
        /// What was wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Our key is not the one that a contract gives for us.
    #[error("the contract of {network} gives this instance other keys than that of PEER_PRIVATE_KEY")]
    PeerKey {
        /// The network.
        network: String,
    },
    /// The port could not be had.
    #[error("the HTTP server failed")]
    Http(#[source] std::io::Error),
}

/// For errors that only a wrong setting can cause; `what` is the whole message, the error its source.
pub(crate) fn setting<E: std::error::Error + Send + Sync + 'static>(
    what: &'static str,
) -> impl FnOnce(E) -> StartError {
    move |source| StartError::Setting { what, source: Box::new(source) }
}

/// Two metrics have one name, which is a mistake of ours.
pub(super) fn clash(error: prometheus::Error) -> StartError {
    setting("metrics clash")(error)
}
