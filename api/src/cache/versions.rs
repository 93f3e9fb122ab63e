//! The version probe: how new the rows of a domain are.
//!
//! Ask for the version first and read the rows after it: then a page is at least as new as its key says, and whoever finds
//! it under a version that was asked for after a write sees that write.

use std::collections::HashMap;
use std::time::Duration;

use dpg_eventstore::Database;
use uuid::Uuid;

use super::pages::Keep;
use crate::probe::{Lookup, Probe, ProbeError};
use crate::queries::{QueryError, versions};

/// A little longer than the database's own `statement_timeout`, which is the better end.
const TIME_OUT: Duration = Duration::from_secs(6);

/// What the rows of a (network, domain) are as of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Version {
    /// The log's epoch; nil for a log that was never written to.
    pub epoch: Uuid,
    /// Grows with every change that a reader of the domain could see.
    pub rows: i64,
}

impl Version {
    /// How to keep a page of such rows that holds nothing private: without an epoch nothing tells this log from others.
    #[must_use]
    pub const fn keep(&self, lives: Duration) -> Keep {
        if self.epoch.is_nil() { Keep::InProcess(lives) } else { Keep::Everywhere(lives) }
    }
}

/// Asks Postgres for versions, with one query for all who wait.
pub struct Versions {
    probe: Probe<VersionLookup>,
}

impl Versions {
    /// Starts the probe on the current Tokio runtime, which has to outlive the server's workers.
    #[must_use]
    pub fn start(database: Database) -> Self {
        Self { probe: Probe::start(VersionLookup { database }) }
    }

    /// The version of a domain's rows, as of a moment after this call.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres gives no answer.
    pub async fn of(&self, network: &str, domain: &str) -> Result<Version, QueryError> {
        let answer = self.probe.ask((network.to_owned(), domain.to_owned())).await;
        Ok(answer.map_err(QueryError::from)?.found.unwrap_or_default())
    }
}

struct VersionLookup {
    database: Database,
}

#[async_trait::async_trait]
impl Lookup for VersionLookup {
    type Key = (String, String);
    type Found = Version;
    type Error = QueryError;

    async fn look_up(&self, asked: &[(Self::Key, usize)]) -> Result<HashMap<Self::Key, Version>, QueryError> {
        versions::of(&self.database, TIME_OUT, asked.iter().map(|(key, _)| key)).await
    }
}

impl From<ProbeError<Self>> for QueryError {
    fn from(error: ProbeError<Self>) -> Self {
        match error {
            ProbeError::Queue => Self::Queue,
            ProbeError::Failed(error) => Self::Shared(error),
        }
    }
}
