//! Splits the items of a domain again after a contract has made something private (CONTRACT 8.6). The log is looked through
//! from its beginning: every item whose public state holds what is private now gets one more version. How far it has come
//! stands in Postgres, so that any process goes on after a kill; an item that was split already is left alone, so that it
//! does no harm when two do it at once. Until the end, readers hide what has become private.

use std::time::Duration;

use dpg_eventstore::append::AppendError;
use dpg_eventstore::read::{self, ReadError};
use dpg_eventstore::{Appended, Appender, Chain, Command, Database, Metadata, Outage, StreamLocks};
use dpg_projector::Readers;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::VersionError;
use super::queries::{self, Resplit};
use crate::commands::item::resplit;
use crate::commands::payload::{ItemPayload, LoadedItem, parse};
use crate::contract::{Contracts, InForce};
use crate::http::ApiError;
use crate::writes::OF_ITEMS;

/// Between two looks for work, and between two tries.
const POLL: Duration = Duration::from_millis(500);
/// How long a worker that says nothing is left alone.
const LEASE: Duration = Duration::from_secs(10);
/// Positions of the log at a time.
const BATCH: i64 = 1000;
/// Appends at a time: they share commits and leave room for clients.
const APPENDS: usize = 16;
/// How long an append may be under way after whoever decided it has gone (its statement and the look for its outcome).
const SETTLED: Duration = Duration::from_secs(20);
/// How long the projector is waited for before the lease is given back.
const FOLDED: Duration = Duration::from_secs(5);
/// Who wrote, in the item's history.
const ACTOR: &str = "system";

/// Why a domain was not split again to its end, this time.
#[derive(Debug, thiserror::Error)]
enum ResplitError {
    #[error(transparent)]
    Version(#[from] VersionError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("an item could not be written")]
    Append(#[from] AppendError),
    #[error("an item in the log can't be read")]
    Payload(#[from] serde_json::Error),
    #[error("an item could not be split again: {}", .0.message)]
    Decision(ApiError),
}

/// The worker of one process; its process answers HTTP, so it can append.
#[derive(Clone)]
pub struct Resplitter {
    /// Connections for requests.
    pub database: Database,
    /// The contract to split by.
    pub in_force: std::sync::Arc<InForce>,
    /// The write side of the log.
    pub log: Appender,
    /// Turns per item, shared with the routes.
    pub streams: StreamLocks,
    /// How far the tables are.
    pub readers: Readers,
}

impl Resplitter {
    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut outage = Outage::default();
        while !stop.is_cancelled() {
            match self.step(&stop).await {
                Ok(()) => {
                    if let Some(lasted) = outage.went_well() {
                        tracing::info!(seconds = lasted.as_secs(), "items can be split again");
                    }
                }
                Err(_) if stop.is_cancelled() => {}
                Err(error) => {
                    // What has become private stays hidden meanwhile.
                    if outage.failed() {
                        tracing::warn!(error = %Chain(&error), "items are not split again yet");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Takes one domain, if one is free, and goes through its part of the log up to the head.
    async fn step(&self, stop: &CancellationToken) -> Result<(), ResplitError> {
        let contracts = self.in_force.get();
        let claimed = queries::claim(&self.database, contracts.version(), LEASE, SETTLED).await?;
        let Some(work) = claimed else { return Ok(()) };
        let worked = self.work(&contracts, &work, stop).await;
        queries::let_go(&self.database, &work).await?;
        worked
    }

    async fn work(&self, contracts: &Contracts, work: &Resplit, stop: &CancellationToken) -> Result<(), ResplitError> {
        // Asked before the head: nothing that an older contract has split comes after it then.
        let last = work.settled && !queries::older_in_use(&self.database, work.version).await?;
        let network = &work.binding.network;
        let head = self.head(network).await?;
        let (mut swept, mut split) = (work.swept, 0);
        while swept < head {
            let to = head.min(swept + BATCH);
            split += self.sweep(contracts, work, swept, to).await?;
            swept = to;
            if !queries::advance(&self.database, work, swept, LEASE).await? || stop.is_cancelled() {
                return Ok(());
            }
        }
        if split > 0 {
            tracing::info!(domain = %work.binding, version = work.version, items = split, "items were split again");
        }
        // Readers see the tables, which have to hold what was just written.
        let folded = last && self.readers.wait(network, self.head(network).await?, OF_ITEMS, FOLDED).await;
        if folded && queries::finish(&self.database, work).await? {
            tracing::info!(domain = %work.binding, version = work.version, "every item is split by the new contract");
        }
        Ok(())
    }

    async fn head(&self, network: &str) -> Result<i64, ReadError> {
        Ok(read::head(&self.database, network).await?.map_or(0, |(position, _)| position))
    }

    /// Splits the items whose last event is in `(after, to]`; returns how many had to be.
    async fn sweep(&self, contracts: &Contracts, work: &Resplit, after: i64, to: i64) -> Result<u64, ResplitError> {
        let items = queries::items_of(&self.database, &work.binding, after, to).await?;
        let mut outdated = Vec::new();
        for (item, payload) in items {
            if is_outdated(contracts, &payload)? {
                outdated.push(item);
            }
        }
        let splits = stream::iter(outdated).map(|item| self.split(contracts, item));
        splits.buffer_unordered(APPENDS).try_fold(0, |sum, split| async move { Ok(sum + u64::from(split)) }).await
    }

    /// Gives an item the version that the contract asks for. One that was written meanwhile is met again further on in the
    /// log.
    async fn split(&self, contracts: &Contracts, item: Uuid) -> Result<bool, ResplitError> {
        let _turn = self.streams.lock(item).await;
        let Some(stream) = read::load(&self.database, item).await? else { return Ok(false) };
        let Some(loaded) = LoadedItem::of(&stream)? else { return Ok(false) };
        let private = match read::private_half(&self.database, item, loaded.version).await? {
            Some(half) => parse(&half)?,
            None => serde_json::Map::new(),
        };
        let metadata = Metadata { actor: Some(ACTOR.to_owned()), ..Metadata::default() };
        let decided = resplit(contracts, &loaded, &private, metadata).map_err(ResplitError::Decision)?;
        let Some(event) = decided else { return Ok(false) };
        Ok(matches!(self.log.append(&stream.network, Command::of(event)).await?, Appended::Won { .. }))
    }
}

fn is_outdated(contracts: &Contracts, payload: &RawValue) -> serde_json::Result<bool> {
    let item: ItemPayload = parse(payload)?;
    let kind = (item.item_network.as_str(), item.item_domain.as_str(), item.item_type.as_str());
    Ok(contracts.resplit(kind, &item.item_state, &serde_json::Map::new()).is_some())
}
