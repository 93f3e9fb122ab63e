//! Puts the rooms of a process together: configuration, contract, database, schema, then whichever rooms its role has.

mod error;
mod peering;
mod rooms;

use std::time::Duration;

use dpg_eventstore::{Chain, SessionOptions, read};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::contract::Source;
use crate::contract_versions;
use crate::embedded::EmbeddedError;
use crate::http::metrics::HttpMetrics;
use crate::store::Store;
use crate::{loading, server};
use error::clash;
use rooms::Rooms;

pub use error::StartError;
pub use peering::peer_client_of;
pub(crate) use {error::setting, peering::guard};

/// How long appends, folds and deliveries under way may take once the HTTP server has stopped.
const DRAIN: Duration = Duration::from_secs(20);

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// Answers HTTP.
    pub api: bool,
    /// Folds the log.
    pub projector: bool,
    /// Delivers to peers.
    pub mirror: bool,
}

impl Role {
    /// All in one process.
    pub const SERVE: Self = Self { api: true, projector: true, mirror: true };
    /// HTTP only.
    pub const API: Self = Self { api: true, projector: false, mirror: false };
    /// The projector only.
    pub const PROJECTOR: Self = Self { api: false, projector: true, mirror: false };
    /// The mirror only.
    pub const MIRROR: Self = Self { api: false, projector: false, mirror: true };
}

/// Runs a process until `stop`, then lets everything that is under way finish.
///
/// # Errors
/// [`StartError`].
pub async fn run(config: Config, role: Role, stop: CancellationToken) -> Result<(), StartError> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let source = loading::source_of(&config)?;
    let store = Store::open(&config).await?;
    let result = watched(run_on(&store, config, source, role, stop.clone()), store.died(), stop).await;
    store.close().await;
    result
}

/// Runs a process, and ends it when its private Postgres has died: nothing can be served any more, and the exit code has to
/// say so.
async fn watched(
    running: impl Future<Output = Result<(), StartError>>,
    died: impl Future<Output = EmbeddedError>,
    stop: CancellationToken,
) -> Result<(), StartError> {
    tokio::pin!(running);
    tokio::select! {
        result = &mut running => result,
        died = died => {
            tracing::error!(error = %Chain(&died), "stopping");
            stop.cancel();
            running.await.and(Err(StartError::Embedded(died)))
        }
    }
}

async fn run_on(
    store: &Store,
    config: Config,
    source: Source,
    role: Role,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let database = store.pool(&SessionOptions::new("dpg api", 16))?;
    let last_good = contract_versions::last_good(&database).await?;
    let loaded = loading::load_contracts(&source, last_good.as_ref()).await?;
    let key = peering::own_key(&config)?;
    // Before it is put in force: other processes would follow.
    peering::check_own_key(&loaded, key.as_deref())?;
    let (contracts, is_new) = contract_versions::settle(&database, source.options(), loaded).await?;
    loading::store_contracts(&source, &contracts).await;
    contract_versions::prepare_storage(&database, &contracts).await?;
    let logs = read::networks(&database).await?;
    let rooms = Rooms::new(store, config, contracts, key, database)?;
    if role.projector {
        rooms.start_projector(logs.len())?;
    }
    let contacts = rooms.contacts(role)?;
    let contract_versions = rooms.follow_contract(source, contacts.clone())?;
    if is_new {
        contract_versions.announce().await;
    }
    let log = rooms.appender()?;
    let app = rooms.app(role, contacts, contract_versions, log.clone(), stop.clone())?;
    let http = HttpMetrics::register(&app.metrics).map_err(clash)?;
    let served = server::run(app, http, role.api, stop.clone()).await;
    // A port that can't be had ends the rooms, too.
    stop.cancel();
    // The API has stopped first: what it has written is durable, gets folded and, if that is quick, delivered.
    let drained = tokio::time::timeout(DRAIN, async {
        log.drain().await;
        rooms.close().await;
    });
    if drained.await.is_err() {
        tracing::error!("what was under way did not end in time; the log has what was acknowledged");
    }
    served.map_err(StartError::Http)
}
