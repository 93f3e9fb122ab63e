//! What the handlers of one process share, and what of it one request sees.

use std::future::{Ready, ready};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};
use dpg_eventstore::{Appender, Database, Metadata, StreamLocks};
use dpg_mirror::PeerClient;
use dpg_projector::Readers;
use tokio_util::sync::CancellationToken;

use crate::auth::Authenticator;
use crate::cache::{Pages, Redis, Versions};
use crate::config::Config;
use crate::contract::{Contracts, InForce};
use crate::contract_versions::ContractVersions;
use crate::http::ApiError;
use crate::http::envelope::request_id;
use crate::match_score::MatchScore;
use crate::network::fetch::peers::Peers as NetworkReads;

/// The process as one request sees it: the contract that was in force when it came is its law to the end, whatever is
/// loaded meanwhile. Handlers take it as an argument. Cheap to clone.
#[derive(Clone)]
pub struct App {
    shared: Arc<Shared>,
    /// The contract of this request.
    pub contracts: Arc<Contracts>,
}

/// The rooms that a handler may enter.
pub struct Shared {
    /// Settings of this process.
    pub config: Arc<Config>,
    /// Connections for requests.
    pub database: Database,
    /// The write side of the log.
    pub log: Appender,
    /// Turns per stream, around load, decide and append.
    pub streams: StreamLocks,
    /// The contract in force, for what outlives a request.
    pub in_force: Arc<InForce>,
    /// Makes another contract the one in force.
    pub contract_versions: ContractVersions,
    /// How far the tables that clients read have come.
    pub readers: Readers,
    /// Who is calling.
    pub authenticator: Arc<Authenticator>,
    /// Calls to other instances.
    pub peers: PeerClient,
    /// Called when a peer has made contact: what waits for it may be sent again.
    pub contact: Contact,
    /// The scoring service, if one is configured.
    pub match_score: Option<MatchScore>,
    /// Answers that were made before.
    pub pages: Pages,
    /// How new the rows are that an answer is made from.
    pub versions: Versions,
    /// The lines to peers that network pages are read over.
    pub network_reads: NetworkReads,
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

impl Shared {
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

impl App {
    /// The process as it is now.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Self {
        let contracts = shared.in_force.get();
        Self { shared, contracts }
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl FromRequest for App {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let shared = request.app_data::<web::Data<Shared>>();
        ready(shared.map(|shared| Self::new(shared.clone().into_inner())).ok_or_else(ApiError::unavailable))
    }
}
