//! Every process follows the contract in force: it looks a few times a second, and exchanges its own in one step.

use std::time::{Duration, Instant};

use dpg_eventstore::{Chain, Client, Database, Outage};
use prometheus::{IntGauge, Registry};
use tokio_util::sync::CancellationToken;

use super::{ContractVersions, VersionError, queries};

/// Between two looks: a contract is everywhere within a second, on a loaded machine too.
const POLL: Duration = Duration::from_millis(200);
/// How often a version that can't be used is tried and told of again.
const RETRY: Duration = Duration::from_secs(60);

/// What `/metrics` says about the contract.
#[derive(Debug)]
pub struct Metrics {
    version: IntGauge,
    refused: IntGauge,
}

impl Metrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When they have been registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let version = IntGauge::new("dpg_contract_version", "Version of the contract that this process decides by.")?;
        let refused = IntGauge::new(
            "dpg_contract_refused_version",
            "Version of the contract that is in force and that this process can't use; 0 when there is none.",
        )?;
        registry.register(Box::new(version.clone()))?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Self { version, refused })
    }
}

/// A version that this process can't use.
#[derive(Clone, Copy)]
struct Refused {
    version: i64,
    at: Instant,
}

/// The connection of a follower. It is its own, because it holds the mark of the oldest version in use.
#[derive(Default)]
struct Line {
    client: Option<Client>,
    held: Option<i32>,
    refused: Option<Refused>,
}

impl Line {
    /// Ends the connection, and with it the mark.
    fn cut(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Client::take(client));
        }
        self.held = None;
    }
}

impl ContractVersions {
    /// Follows until `stop`, on a connection of `sessions`.
    pub async fn follow(self, sessions: Database, stop: CancellationToken) {
        let (mut line, mut outage) = (Line::default(), Outage::default());
        while !stop.is_cancelled() {
            match self.look(&sessions, &mut line).await {
                Ok(()) => {
                    if let Some(lasted) = outage.went_well() {
                        tracing::info!(seconds = lasted.as_secs(), "the contract in force is followed again");
                    }
                }
                Err(error) => {
                    line.cut();
                    if outage.failed() {
                        tracing::warn!(error = %Chain(&error), "the contract in force can't be looked up");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
        line.cut();
    }

    async fn look(&self, sessions: &Database, line: &mut Line) -> Result<(), VersionError> {
        let client = match line.client.take() {
            Some(client) => client,
            None => sessions.client().await?,
        };
        let client = line.client.insert(client);
        let turn = self.inner.exchange.lock().await;
        let seen = queries::seen(client).await?;
        let mine = self.inner.in_force.get().version();
        if seen.version == mine {
            line.refused = None;
            self.inner.metrics.refused.set(0);
            self.inner.in_force.get().set_unsplit(seen.unsplit);
        } else if line.refused.is_none_or(|refused| refused.version != seen.version || refused.at.elapsed() > RETRY) {
            match self.take_over(client).await {
                Ok(()) => {}
                // That is about the connection, not about the contract.
                Err(error @ (VersionError::Database(_) | VersionError::Sql(_))) => return Err(error),
                Err(error) => {
                    line.refused = Some(Refused { version: seen.version, at: Instant::now() });
                    self.inner.metrics.refused.set(seen.version);
                    tracing::error!(
                        error = %Chain(&error), refused = seen.version, keeping = mine,
                        "this process can't use the contract in force and goes on with its own: start a newer binary"
                    );
                }
            }
        }
        drop(turn);
        self.inner.metrics.version.set(self.inner.in_force.get().version());
        self.hold_oldest(line).await
    }

    /// Builds the version in force from its row.
    async fn take_over(&self, client: &Client) -> Result<(), VersionError> {
        let Some(stored) = queries::newest(client).await? else { return Ok(()) };
        let options = self.inner.source.options().clone();
        let building = tokio::task::spawn_blocking(move || stored.build(&options));
        let contracts = building.await.map_err(VersionError::Build)??;
        // What is unsplit has to be known before the first reader, and is asked after the version: rows come with one.
        contracts.set_unsplit(queries::seen(client).await?.unsplit);
        tracing::info!(version = contracts.version(), "took over the contract in force");
        self.inner.in_force.put(contracts);
        Ok(())
    }

    /// Shows the other processes the oldest version that a request here may still be decided by.
    async fn hold_oldest(&self, line: &mut Line) -> Result<(), VersionError> {
        let oldest = i32::try_from(self.inner.in_force.oldest_in_use()).unwrap_or(i32::MAX);
        if line.held == Some(oldest) {
            return Ok(());
        }
        let Some(client) = &line.client else { return Ok(()) };
        queries::hold(client, oldest).await?;
        if let Some(before) = line.held.replace(oldest) {
            queries::release(client, before).await?;
        }
        Ok(())
    }
}
