//! Puts the rooms of a process together: configuration, contract, database, schema, then whichever rooms its role has.

use std::sync::Arc;
use std::time::Duration;

use dpg_eventstore::append::AppendOptions;
use dpg_eventstore::migrate::MigrateError;
use dpg_eventstore::read::{self, ReadError};
use dpg_eventstore::{Appender, Chain, Database, DatabaseError, SessionOptions, StreamLocks, Wake};
use dpg_mirror::signature::PeerKey;
use dpg_mirror::{Contacts, Guard, Mirror, MirrorMetrics, MirrorOptions, PeerClient, PeerOptions, Signer};
use dpg_projector::{Projector, Readers, TablesError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::app::Shared;
use crate::auth::{AuthOptions, Authenticator, delivery};
use crate::cache::{CacheMetrics, Pages, Redis, Seal, Versions};
use crate::config::{Config, Problem};
use crate::contract::{Contracts, InForce, InstanceUrl, Source};
use crate::contract_versions::{self, ContractVersions, Resplitter, StorageError, VersionError};
use crate::embedded::EmbeddedError;
use crate::http::metrics::HttpMetrics;
use crate::match_score::MatchScore;
use crate::network::fetch::peers::Peers as NetworkReads;
use crate::store::Store;
use crate::{loading, maintenance, server};

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

/// Why a process did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Variables that are missing or do not fit.
    #[error("the configuration is not valid:{}", list(.0))]
    Config(Vec<Problem>),
    /// The contract can't be used.
    #[error("the network contract is not valid:{}", list(.0))]
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

fn list(problems: &[impl std::fmt::Display]) -> String {
    problems.iter().map(|problem| format!("\n  - {problem}")).collect()
}

pub(crate) fn setting<E: std::error::Error + Send + Sync + 'static>(
    what: &'static str,
) -> impl FnOnce(E) -> StartError {
    move |source| StartError::Setting { what, source: Box::new(source) }
}

/// Our key pair for peers: the private half, and the public one as it is shown.
fn peer_key(config: &Config) -> Result<Option<Arc<PeerKey>>, StartError> {
    match &config.peer_private_key {
        None => Ok(None),
        Some(text) => {
            let key = PeerKey::parse(text.expose()).map_err(setting("PEER_PRIVATE_KEY can't be used"))?;
            Ok(Some(Arc::new(key)))
        }
    }
}

/// A key that no contract knows as ours would make every peer refuse what we sign.
fn check_peer_key(contracts: &Contracts, key: Option<&PeerKey>) -> Result<(), StartError> {
    match key.and_then(|key| contracts.disowning(&key.public_key())) {
        Some(network) => Err(StartError::PeerKey { network: network.to_owned() }),
        None => Ok(()),
    }
}

/// Which addresses outgoing calls may reach (CONTRACT 2.6).
pub(crate) fn guard(config: &Config) -> Result<Guard, StartError> {
    if !config.production() {
        return Ok(Guard::open());
    }
    let allow = &config.peer_allow_private;
    let allowed: Vec<String> =
        allow.networks.iter().map(ToString::to_string).chain(allow.hosts.iter().cloned()).collect();
    Guard::public_only(allowed.iter().map(String::as_str)).map_err(setting("PEER_ALLOW_PRIVATE can't be used"))
}

/// The client for calling peers from the command line, signing as the instance does.
///
/// # Errors
/// A key or setting that can't be used.
pub fn peer_client_of(config: &Config, contracts: &Contracts) -> Result<PeerClient, StartError> {
    peer_client(config, peer_key(config)?, contracts.keyid())
}

fn peer_client(config: &Config, key: Option<Arc<PeerKey>>, keyid: String) -> Result<PeerClient, StartError> {
    let signer = key.map(|key| Signer { key, keyid });
    let options = PeerOptions { timeout: config.peer_timeout, guard: guard(config)?, signer };
    PeerClient::new(options).map_err(setting("the client for peers could not be made"))
}

/// What the mirror asks of the contract.
struct Registered(Arc<InForce>);

impl dpg_mirror::Registry for Registered {
    fn url(&self, network: &str, destination: &str) -> Option<Url> {
        let destination = InstanceUrl::parse(destination).ok()?;
        let contracts = self.0.get();
        contracts.called(network, &destination).and_then(|instance| Url::parse(instance.url.as_str()).ok())
    }
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
    let key = peer_key(&config)?;
    // Before it is put in force: other processes would follow.
    check_peer_key(&loaded, key.as_deref())?;
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
    let http = HttpMetrics::register(&app.metrics).map_err(setting("metrics clash"))?;
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

/// What the rooms of a process share, and the tasks that run in them.
struct Rooms<'s> {
    store: &'s Store,
    config: Arc<Config>,
    in_force: Arc<InForce>,
    database: Database,
    metrics: prometheus::Registry,
    key: Option<Arc<PeerKey>>,
    peers: PeerClient,
    wake: Wake,
    readers: Readers,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl<'s> Rooms<'s> {
    fn new(
        store: &'s Store,
        config: Config,
        contracts: Contracts,
        key: Option<Arc<PeerKey>>,
        database: Database,
    ) -> Result<Self, StartError> {
        let rooms = Self {
            store,
            peers: peer_client(&config, key.clone(), contracts.keyid())?,
            config: Arc::new(config),
            in_force: Arc::new(InForce::new(contracts)),
            metrics: prometheus::Registry::new(),
            key,
            wake: Wake::default(),
            readers: Readers::new(database.clone()),
            database,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        rooms.tasks.spawn(rooms.wake.clone().relay(rooms.database.clone(), rooms.stop.clone()));
        Ok(rooms)
    }

    fn networks(&self) -> usize {
        self.in_force.get().served_networks().len().max(1)
    }

    fn start_projector(&self, logged: usize) -> Result<(), StartError> {
        // One per projection of each network, those included that are in the log and no longer served.
        let folds = self.store.pool(&dpg_projector::session_options(3 * self.networks().max(logged) + 3))?;
        let counters = dpg_projector::Metrics::register(&self.metrics).map_err(setting("metrics clash"))?;
        let projector = Projector::new(folds, self.readers.clone(), counters, self.wake.subscribe());
        let stop = self.stop.clone();
        self.tasks.spawn(async move { projector.run(stop).await });
        Ok(())
    }

    /// Starts the mirror, if this process has one, and gives what tells lanes about contact.
    fn contacts(&self, role: Role) -> Result<Contacts, StartError> {
        let lanes = SessionOptions { durable: false, ..SessionOptions::new("dpg mirror", 8) };
        let lanes = self.store.pool(&lanes)?;
        if !role.mirror {
            return Ok(Contacts::new(lanes));
        }
        let counters = MirrorMetrics::new(&self.metrics).map_err(setting("metrics clash"))?;
        let registry = Arc::new(Registered(self.in_force.clone()));
        let mirror = Mirror::new(lanes, self.peers.clone(), registry, counters, MirrorOptions::default());
        let contacts = mirror.contacts().clone();
        let (hints, stop) = (self.wake.subscribe(), self.stop.clone());
        self.tasks.spawn(async move { mirror.run(hints, stop).await });
        Ok(contacts)
    }

    /// Starts to follow the contract in force.
    fn follow_contract(&self, source: Source, contacts: Contacts) -> Result<ContractVersions, StartError> {
        let key = self.key.as_ref().map(|key| key.public_key());
        let metrics = contract_versions::Metrics::register(&self.metrics).map_err(setting("metrics clash"))?;
        let versions =
            ContractVersions::new(self.database.clone(), self.in_force.clone(), source, contacts, key, metrics);
        let sessions = self.store.pool(&SessionOptions::new("dpg contract", 1))?;
        self.tasks.spawn(versions.clone().follow(sessions, self.stop.clone()));
        Ok(versions)
    }

    fn appender(&self) -> Result<Appender, StartError> {
        let sessions = SessionOptions {
            lock_timeout: Duration::from_secs(5),
            ..SessionOptions::new("dpg append", 2 + 2 * self.networks())
        };
        let counters = dpg_eventstore::metrics::Metrics::register(&self.metrics).map_err(setting("metrics clash"))?;
        Ok(Appender::new(self.store.pool(&sessions)?, self.wake.clone(), AppendOptions::default(), counters))
    }

    fn app(
        &self,
        role: Role,
        contacts: Contacts,
        contract_versions: ContractVersions,
        log: Appender,
        stopping: CancellationToken,
    ) -> Result<Shared, StartError> {
        let streams = StreamLocks::default();
        if role.api {
            self.tasks.spawn(maintenance::run(self.database.clone(), self.stop.clone()));
            let resplitter = Resplitter {
                database: self.database.clone(),
                in_force: self.in_force.clone(),
                log: log.clone(),
                streams: streams.clone(),
                readers: self.readers.clone(),
            };
            // It ends before the log takes nothing more.
            self.tasks.spawn(resplitter.run(stopping.clone()));
        }
        let counters = CacheMetrics::register(&self.metrics).map_err(setting("metrics clash"))?;
        let redis = match &self.config.redis {
            Some(url) => Some(Redis::open(url.expose(), counters.clone()).map_err(setting("REDIS_URL can't be used"))?),
            None => None,
        };
        let match_score =
            self.config.scoring.as_ref().map(|scoring| MatchScore::new(scoring, self.config.peer_timeout));
        let authenticator = authenticator(&self.config, self.database.clone())?;
        authenticator.register(&self.metrics).map_err(setting("metrics clash"))?;
        let seal = Seal::new(&self.config.instance_name, self.config.auth_secret.expose())
            .map_err(setting("AUTH_SECRET can't be used"))?;
        let network_reads = NetworkReads::new(self.peers.clone(), self.config.peer_timeout, &self.metrics)
            .map_err(setting("metrics clash"))?;
        Ok(Shared {
            config: self.config.clone(),
            database: self.database.clone(),
            log,
            streams,
            in_force: self.in_force.clone(),
            contract_versions,
            readers: self.readers.clone(),
            authenticator: Arc::new(authenticator),
            peers: self.peers.clone(),
            match_score: match_score.transpose().map_err(setting("DPG_SCORING_ENDPOINT can't be used"))?,
            contact: Arc::new(move |instance: &str| contacts.contact(instance)),
            pages: Pages::new(redis.clone(), seal, counters),
            versions: Versions::start(self.database.clone()),
            network_reads,
            redis,
            own_public_keys: self.key.iter().map(|key| key.public_key().to_string()).collect(),
            projects: role.projector,
            metrics: self.metrics.clone(),
            stopping,
        })
    }

    async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn authenticator(config: &Config, database: Database) -> Result<Authenticator, StartError> {
    let options = AuthOptions {
        instance_name: config.instance_name.clone(),
        production: config.production(),
        base_url: Url::parse(&config.base_url).map_err(setting("API_DOMAIN is no URL"))?,
        secret: config.auth_secret.clone(),
        auth_middleware_enabled: config.auth_middleware_enabled,
        test_codes: config.create_test_otp,
        admin_domains: config.admin_domains.clone(),
        allowed_origins: config.allowed_origins.clone(),
        localhost_origins: config.localhost_origins,
        trusted_proxies: config.trusted_proxies.clone(),
        delivery: delivery::choose(
            config.production(),
            config.notification.as_ref(),
            &config.instance_name,
            config.peer_timeout,
        )
        .map_err(setting("the client for one-time codes could not be made"))?,
    };
    Authenticator::start(database, options).map_err(setting("authentication could not be set up"))
}
