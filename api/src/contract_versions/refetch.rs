//! Refetching the contract because somebody asked (CONTRACT 4.21, 8.4): everything is loaded and checked aside; only when
//! all of it is good does it come into force. Runs are spaced out over the whole instance, and shared by those who wait.

use std::time::Duration;

use actix_web::http::StatusCode;
use chrono::{DateTime, Utc};
use dpg_eventstore::Chain;

use super::queries::{self, Stored, Turn};
use super::{ContractVersions, Encoded, VersionError, prepare_storage, propose, put_right};
use crate::contract::{At, Contracts, EntryFilter, LoadError, Loaded, Problem};
use crate::http::{ApiError, Fault};
use crate::loading::store_contracts;

/// Between the beginnings of two runs.
const SPACING: Duration = Duration::from_secs(10);
/// How long a version that another process has made may take to arrive here.
const ARRIVAL: Duration = Duration::from_secs(10);
/// A run that was overtaken reads its documents again so often.
const TRIES: u32 = 5;

/// The last run of this process, for those who were waiting when it began.
#[derive(Debug)]
pub(super) struct Run {
    began_at: DateTime<Utc>,
    outcome: Result<usize, ApiError>,
}

impl ContractVersions {
    /// Loads the contract again and returns how many documents it lists (CONTRACT 4.19). A call that comes too soon after
    /// the last run waits for the next one.
    ///
    /// # Errors
    /// 502 `REMOTE_SCHEMA_FETCH_FAILED`, `NETWORK_CONFIG_INVALID`; 503 when the database is away. Nothing has changed then.
    pub async fn refetch(&self) -> Result<usize, ApiError> {
        let came = queries::now(&self.inner.database).await?;
        let mut last_run = self.inner.last_run.lock().await;
        if let Some(run) = last_run.as_ref().filter(|run| run.began_at >= came) {
            return run.outcome.clone();
        }
        let mut changes = self.inner.in_force.changes();
        loop {
            match queries::take_turn(&self.inner.database, came, SPACING).await? {
                // The run that is waited for may be another process's.
                Turn::Wait(left) => tokio::select! {
                    () = tokio::time::sleep(left) => {}
                    changed = changes.changed() => changed.map_err(|_| ApiError::unavailable())?,
                },
                Turn::Served(version) => return self.arrival(version).await,
                Turn::Ours(began_at) => {
                    let versions = self.clone();
                    // Once begun it is finished, whether or not the caller stays.
                    let running = self.inner.runtime.spawn(async move { versions.run(began_at).await });
                    let outcome = running.await.unwrap_or_else(|error| Err(ApiError::internal(&error)));
                    *last_run = Some(Run { began_at, outcome: outcome.clone() });
                    return outcome;
                }
            }
        }
    }

    /// Waits until this process decides by a version that another one has made.
    async fn arrival(&self, version: i64) -> Result<usize, ApiError> {
        let mut changes = self.inner.in_force.changes();
        let arrived = tokio::time::timeout(ARRIVAL, changes.wait_for(|newest| *newest >= version)).await;
        match arrived {
            Ok(Ok(_)) => Ok(count(&self.inner.in_force.get())),
            Ok(Err(_)) | Err(_) => Err(ApiError::unavailable()),
        }
    }

    async fn run(&self, began_at: DateTime<Utc>) -> Result<usize, ApiError> {
        for _ in 0..TRIES {
            let before = queries::newest(&self.inner.database.client().await.map_err(VersionError::from)?).await?;
            let last_good = match before.as_ref().map(Stored::documents) {
                Some(Ok(documents)) => documents,
                // A newer binary's; comparing will tell.
                Some(Err(_)) | None => self.inner.in_force.get().documents().clone(),
            };
            let loaded = self.inner.source.load(Some(&last_good), At::Refetch).await.map_err(refused)?;
            let Loaded { contracts, warnings, .. } = loaded;
            for warning in warnings {
                tracing::warn!("{warning}");
            }
            self.check_key(&contracts)?;
            let encoded = Encoded::of(contracts.documents())?;
            let changed = before.as_ref().is_none_or(|before| before.digest != encoded.digest);
            let turn = self.inner.exchange.lock().await;
            let compared = (before.as_ref(), &contracts);
            let activated =
                propose(&self.inner.database, self.inner.source.options(), compared, &encoded, Some(began_at)).await?;
            // Another version came into force while documents were read: they may be older than its own.
            let Some(activated) = activated else { continue };
            self.inner.in_force.put(put_right(contracts, activated));
            drop(turn);
            self.settle_in(changed).await;
            return Ok(count(&self.inner.in_force.get()));
        }
        Err(ApiError::unavailable())
    }

    /// No process could start with a contract that does not know our key.
    fn check_key(&self, contracts: &Contracts) -> Result<(), ApiError> {
        let Some(network) = self.inner.key.as_ref().and_then(|key| contracts.disowning(key)) else { return Ok(()) };
        let message = format!("the contract of {network} gives this instance other keys than its own");
        Err(refused(LoadError::Invalid(vec![Problem { path: String::new(), message }])))
    }

    /// What follows from another contract, and what nobody has to wait for to be safe: tables are made at their first use
    /// too, and waits end by themselves.
    async fn settle_in(&self, changed: bool) {
        let contracts = self.inner.in_force.get();
        store_contracts(&self.inner.source, &contracts).await;
        if let Err(error) = prepare_storage(&self.inner.database, &contracts).await {
            tracing::warn!(error = %Chain(&error), "storage for the new contract is not ready yet");
        }
        if changed {
            self.announce().await;
        }
    }
}

fn count(contracts: &Contracts) -> usize {
    contracts.entries(&EntryFilter::default()).len()
}

/// A document that can't be had, or one that is refused. Where it was looked for goes to the log only.
fn refused(error: LoadError) -> ApiError {
    let tell = |problems: &[Problem]| {
        for problem in problems {
            tracing::warn!("the contract was not refetched: {problem}");
        }
    };
    match error {
        LoadError::Fetch(problems) => {
            tell(&problems);
            let message = "A document of the contract can't be had. The last good contract stays in force.";
            ApiError::new(StatusCode::BAD_GATEWAY, "REMOTE_SCHEMA_FETCH_FAILED", message)
        }
        LoadError::Invalid(problems) => {
            tell(&problems);
            let message = "The contract is not valid. The last good one stays in force.";
            let details = problems.into_iter().map(|Problem { path, message }| Fault::new(path, message));
            ApiError::new(StatusCode::BAD_GATEWAY, "NETWORK_CONFIG_INVALID", message).with_details(details.collect())
        }
    }
}
