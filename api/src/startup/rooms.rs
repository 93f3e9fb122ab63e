//! The rooms of one process: their connections and counters, the tasks that run in them, and what of them the handlers see.

use std::sync::Arc;
use std::time::Duration;

use dpg_eventstore::append::AppendOptions;
use dpg_eventstore::{Appender, Database, SessionOptions, StreamLocks, Wake};
use dpg_mirror::signature::PeerKey;
use dpg_mirror::{Contacts, Mirror, MirrorMetrics, MirrorOptions, PeerClient};
use dpg_projector::{Projector, Readers};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use super::Role;
use super::error::{StartError, clash, setting};
use super::peering::{Registered, peer_client};
use crate::app::Shared;
use crate::auth::{AuthOptions, Authenticator, delivery};
use crate::cache::{CacheMetrics, Pages, Redis, Seal, Versions};
use crate::config::Config;
use crate::contract::{Contracts, InForce, Source};
use crate::contract_versions::{self, ContractVersions, Resplitter};
use crate::maintenance;
use crate::match_score::MatchScore;
use crate::network::fetch::peers::Peers as NetworkReads;
use crate::store::Store;

/// What the rooms of a process share, and the tasks that run in them.
pub(super) struct Rooms<'s> {
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
    /// Opens the rooms; nothing but the wake-up call runs yet.
    pub(super) fn new(
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

    /// Starts the projector; `logged` networks are in the log.
    pub(super) fn start_projector(&self, logged: usize) -> Result<(), StartError> {
        // One per projection of each network, those included that are in the log and no longer served.
        let folds = self.store.pool(&dpg_projector::session_options(3 * self.networks().max(logged) + 3))?;
        let counters = dpg_projector::Metrics::register(&self.metrics).map_err(clash)?;
        let projector = Projector::new(folds, self.readers.clone(), counters, self.wake.subscribe());
        let stop = self.stop.clone();
        self.tasks.spawn(async move { projector.run(stop).await });
        Ok(())
    }

    /// Starts the mirror, if this process has one, and gives what tells lanes about contact.
    pub(super) fn contacts(&self, role: Role) -> Result<Contacts, StartError> {
        let lanes = SessionOptions { durable: false, ..SessionOptions::new("dpg mirror", 8) };
        let lanes = self.store.pool(&lanes)?;
        if !role.mirror {
            return Ok(Contacts::new(lanes));
        }
        let counters = MirrorMetrics::new(&self.metrics).map_err(clash)?;
        let registry = Arc::new(Registered(self.in_force.clone()));
        let mirror = Mirror::new(lanes, self.peers.clone(), registry, counters, MirrorOptions::default());
        let contacts = mirror.contacts().clone();
        let (hints, stop) = (self.wake.subscribe(), self.stop.clone());
        self.tasks.spawn(async move { mirror.run(hints, stop).await });
        Ok(contacts)
    }

    /// Starts to follow the contract in force.
    pub(super) fn follow_contract(&self, source: Source, contacts: Contacts) -> Result<ContractVersions, StartError> {
        let key = self.key.as_ref().map(|key| key.public_key());
        let metrics = contract_versions::Metrics::register(&self.metrics).map_err(clash)?;
        let versions =
            ContractVersions::new(self.database.clone(), self.in_force.clone(), source, contacts, key, metrics);
        let sessions = self.store.pool(&SessionOptions::new("dpg contract", 1))?;
        self.tasks.spawn(versions.clone().follow(sessions, self.stop.clone()));
        Ok(versions)
    }

    /// The write side of the log.
    pub(super) fn appender(&self) -> Result<Appender, StartError> {
        let sessions = SessionOptions {
            lock_timeout: Duration::from_secs(5),
            ..SessionOptions::new("dpg append", 2 + 2 * self.networks())
        };
        let counters = dpg_eventstore::metrics::Metrics::register(&self.metrics).map_err(clash)?;
        Ok(Appender::new(self.store.pool(&sessions)?, self.wake.clone(), AppendOptions::default(), counters))
    }

    /// What the handlers see.
    pub(super) fn app(
        &self,
        role: Role,
        contacts: Contacts,
        contract_versions: ContractVersions,
        log: Appender,
        stopping: CancellationToken,
    ) -> Result<Shared, StartError> {
        let streams = StreamLocks::default();
        if role.api {
            self.start_upkeep(log.clone(), streams.clone(), stopping.clone());
        }
        let counters = CacheMetrics::register(&self.metrics).map_err(clash)?;
        let redis = match &self.config.redis {
            Some(url) => Some(Redis::open(url.expose(), counters.clone()).map_err(setting("REDIS_URL can't be used"))?),
            None => None,
        };
        let match_score =
            self.config.scoring.as_ref().map(|scoring| MatchScore::new(scoring, self.config.peer_timeout));
        let authenticator = authenticator(&self.config, self.database.clone())?;
        authenticator.register(&self.metrics).map_err(clash)?;
        let seal = Seal::new(&self.config.instance_name, self.config.auth_secret.expose())
            .map_err(setting("AUTH_SECRET can't be used"))?;
        let network_reads =
            NetworkReads::new(self.peers.clone(), self.config.peer_timeout, &self.metrics).map_err(clash)?;
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

    /// Starts what a process that may write does beside answering.
    fn start_upkeep(&self, log: Appender, streams: StreamLocks, stopping: CancellationToken) {
        self.tasks.spawn(maintenance::run(self.database.clone(), self.stop.clone()));
        let resplitter = Resplitter {
            database: self.database.clone(),
            in_force: self.in_force.clone(),
            log,
            streams,
            readers: self.readers.clone(),
        };
        // It ends before the log takes nothing more.
        self.tasks.spawn(resplitter.run(stopping));
    }

    /// Lets every task end what it has begun.
    pub(super) async fn close(self) {
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
