//! What the handlers of one process share.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use chrono::{DateTime, Utc};
use dpg_eventstore::{Appender, Database, Metadata, StreamLocks};
use dpg_mirror::PeerClient;
use dpg_projector::Readers;
use tokio_util::sync::CancellationToken;

use crate::auth::Authenticator;
use crate::cache::Redis;
use crate::config::Config;
use crate::contract::Contracts;
use crate::http::envelope::request_id;

/// The rooms that a handler may enter. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// Settings of this process.
    pub config: Arc<Config>,
    /// Connections for requests.
    pub database: Database,
    /// The write side of the log.
    pub log: Appender,
    /// Turns per stream, around load, decide and append.
    pub streams: StreamLocks,
    /// The contract in force.
    pub contracts: Arc<Contracts>,
    /// When it was loaded.
    pub loaded_at: DateTime<Utc>,
    /// How far the tables that clients read have come.
    pub readers: Readers,
    /// Who is calling.
    pub authenticator: Arc<Authenticator>,
    /// Calls to other instances.
    pub peers: PeerClient,
    /// Called when a peer has made contact: what waits for it may be sent again.
    pub contact: Contact,
    /// The page store, if one is configured.
    pub redis: Option<Redis>,
    /// Our public keys, for information.
    pub own_public_keys: Vec<String>,
    /// Whether this process folds the log.
    pub projects: bool,
    /// What `/metrics` prints.
    pub metrics: prometheus::Registry,
    /// Set once the process drains.
    pub stopping: CancellationToken,
}

/// Tells the mirror that a peer is there.
pub type Contact = Arc<dyn Fn(&str) + Send + Sync>;

impl App {
    /// How long a write waits for the tables, and a read for a position.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.config.read_your_writes_timeout
    }

    /// Who and what caused an event.
    #[must_use]
    pub fn metadata(&self, request: &HttpRequest, actor: Option<&str>) -> Metadata {
        Metadata { actor: actor.map(str::to_owned), request_id: request_id(request), origin: None }
    }
}
