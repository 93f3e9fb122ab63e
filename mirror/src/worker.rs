//! The manager: finds lanes that have something due and runs one task for each, so that a dead or hung peer costs the
//! others nothing. Any number of managers in any number of processes may run at once; leases keep them apart.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use dpg_eventstore::{Chain, Database, Outage};
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

use crate::capability::Capabilities;
use crate::hold::Hold;
use crate::lane::State;
use crate::lane_task::{self, Means};
use crate::metrics::Fault;
use crate::queries::{self, DueLane, LaneKey, LaneStatus};
use crate::{Contacts, MirrorError, MirrorMetrics, PeerClient};

/// Where a destination is called.
pub trait Registry: Send + Sync {
    /// The first registered spelling of `destination` in the contract of `network`; none when it isn't in there.
    fn url(&self, network: &str, destination: &str) -> Option<Url>;
}

/// The numbers, the clock and the dice of a mirror.
#[derive(Clone)]
pub struct MirrorOptions {
    /// How long a lane stays ours without a renewal.
    pub lease: Duration,
    /// How often it is renewed; well under the lease.
    pub renew_every: Duration,
    /// How long an idle manager goes without looking, should every hint be lost.
    pub poll: Duration,
    /// The least time between two looks, so that a storm of hints doesn't become one of queries.
    pub spacing: Duration,
    /// How often metrics and registrations are looked through.
    pub refresh: Duration,
    /// Events read at once.
    pub chunk: usize,
    /// Deliveries after which the row is written.
    pub flush_every: i64,
    /// Time after which the row is written at the next delivery.
    pub flush_after: Duration,
    /// The clock of waits and of what operators see.
    pub now: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    /// A number in `[0, 1)` for jitter.
    pub random: Arc<dyn Fn() -> f64 + Send + Sync>,
}

impl Default for MirrorOptions {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            renew_every: Duration::from_secs(10),
            poll: Duration::from_millis(250),
            spacing: Duration::from_millis(10),
            refresh: Duration::from_secs(5),
            chunk: 100,
            flush_every: 64,
            flush_after: Duration::from_millis(100),
            now: Arc::new(Utc::now),
            random: Arc::new(rand::random),
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Lanes that were worked on.
    pub lanes: usize,
    /// Events delivered.
    pub delivered: usize,
    /// Events parked.
    pub parked: usize,
}

/// Delivers to peers. Cheap to clone.
#[derive(Clone)]
pub struct Mirror {
    means: Arc<Means>,
    contacts: Contacts,
    /// Leases whose task ended without giving them back: the next claim takes them over instead of waiting them out.
    orphans: Arc<Mutex<HashMap<LaneKey, Uuid>>>,
}

impl Mirror {
    /// A mirror over a database that is best opened with `durable = false`: only parking has to be, and sees to it itself.
    #[must_use]
    pub fn new(
        db: Database,
        client: PeerClient,
        registry: Arc<dyn Registry>,
        metrics: MirrorMetrics,
        options: MirrorOptions,
    ) -> Self {
        let contacts = Contacts::new(db.clone());
        let means = Arc::new(Means { db, client, registry, capabilities: Capabilities::default(), metrics, options });
        Self { means, contacts, orphans: Arc::default() }
    }

    /// For telling this mirror's lanes about contact.
    #[must_use]
    pub fn contacts(&self) -> &Contacts {
        &self.contacts
    }

    /// A registered peer made contact: its lanes try again at once.
    pub fn contact(&self, instance_url: &str) {
        self.contacts.contact(instance_url);
    }

    /// How every lane stands.
    ///
    /// # Errors
    /// As the database says.
    pub async fn lanes(&self) -> Result<Vec<LaneStatus>, MirrorError> {
        queries::lanes(&self.means.db, queries::Which::All).await
    }

    /// One round: works on every lane that is due now until it has to rest.
    ///
    /// # Errors
    /// The first fault on our own side; the other lanes are worked on all the same.
    pub async fn step(&self) -> Result<Progress, MirrorError> {
        let stop = CancellationToken::new();
        let due = self.due().await?;
        let mut total = Progress::default();
        let mut fault = None;
        for result in join_all(due.into_iter().map(|key| self.work(key, &stop))).await {
            match result {
                Ok(progress) => {
                    total.lanes += progress.lanes;
                    total.delivered += progress.delivered;
                    total.parked += progress.parked;
                }
                Err(error) => fault = fault.or(Some(error)),
            }
        }
        fault.map_or(Ok(total), Err)
    }

    /// Brings metrics and the registration of idle lanes up to date.
    ///
    /// # Errors
    /// As the database says.
    pub async fn refresh(&self) -> Result<(), MirrorError> {
        let lanes = self.lanes().await?;
        self.means.metrics.show(&lanes, (self.means.options.now)());
        for lane in lanes {
            let registered = self.registered(&lane.key, lane.moved_to.as_deref());
            if lane.state != State::Paused && registered == (lane.state == State::Unregistered) {
                queries::show_registered(&self.means.db, &lane.key, registered).await?;
            }
        }
        Ok(())
    }

    /// Works until `shutdown`, then lets every lane finish the event that is on its way and give its lease back. `wake`
    /// hints that something was appended.
    pub async fn run(&self, mut wake: watch::Receiver<u64>, shutdown: CancellationToken) {
        let options = &self.means.options;
        let (mut lanes, mut outage) = (Lanes::default(), Outage::default());
        let mut next_refresh = Instant::now();
        let mut hinted = true;
        while !shutdown.is_cancelled() {
            let looked_at = Instant::now();
            if next_refresh <= looked_at {
                next_refresh = looked_at + options.refresh;
                self.tell(&mut outage, self.refresh().await);
            }
            let looked = self.due().await.map(|due| lanes.start(self, due, &shutdown));
            self.tell(&mut outage, looked);
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(ended) = lanes.ended() => self.tell(&mut outage, ended),
                changed = wake.changed(), if hinted => hinted = changed.is_ok(),
                () = self.contacts.changed() => {}
                () = tokio::time::sleep(options.poll) => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep_until(looked_at + options.spacing) => {}
            }
        }
        while let Some(ended) = lanes.ended().await {
            self.tell(&mut outage, ended);
        }
    }

    /// Lanes with something to send. Those that are known to be unregistered and still are have nothing to do.
    async fn due(&self) -> Result<Vec<LaneKey>, MirrorError> {
        let orphans: Vec<Uuid> = self.orphans().values().copied().collect();
        let asks = self.means.client.keyid().is_some();
        let due = queries::due_lanes(&self.means.db, (self.means.options.now)(), &orphans, asks).await?;
        let registered = |lane: &DueLane| self.registered(&lane.key, lane.moved_to.as_deref());
        let idle = |lane: &DueLane| lane.state == State::Unregistered && !registered(lane);
        Ok(due.into_iter().filter(|lane| !idle(lane)).map(|lane| lane.key).collect())
    }

    fn registered(&self, key: &LaneKey, moved_to: Option<&str>) -> bool {
        self.means.registry.url(&key.network, moved_to.unwrap_or(&key.destination)).is_some()
    }

    async fn work(&self, key: LaneKey, stop: &CancellationToken) -> Result<Progress, MirrorError> {
        let holder = Uuid::new_v4();
        let previous = self.orphans().get(&key).copied();
        let Some(hold) = Hold::claim(&self.means.db, &key, holder, previous, &self.means.options).await? else {
            return Ok(Progress::default());
        };
        // Ours now, under a new name; the old one opens nothing any more.
        self.orphans().remove(&key);
        let worked = lane_task::work(&self.means, hold, stop).await;
        if worked.is_err() {
            self.orphans().insert(key, holder);
        }
        worked
    }

    fn orphans(&self) -> MutexGuard<'_, HashMap<LaneKey, Uuid>> {
        self.orphans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the database is away, or a statement failed, what was due stays due, and the next look tries again.
    fn tell(&self, outage: &mut Outage, result: Result<(), MirrorError>) {
        match result {
            Ok(()) => {
                if let Some(lasted) = outage.went_well() {
                    tracing::info!(seconds = lasted.as_secs(), "the mirror reaches its own database again");
                }
            }
            Err(error) => {
                self.means.metrics.fault(Fault::Database);
                if outage.failed() {
                    tracing::warn!(error = %Chain(&error), "the mirror could not reach its own database");
                }
            }
        }
    }
}

/// The tasks under way, at most one per lane in this process.
#[derive(Default)]
struct Lanes {
    tasks: JoinSet<Result<Progress, MirrorError>>,
    keys: HashMap<Id, LaneKey>,
}

impl Lanes {
    fn start(&mut self, mirror: &Mirror, due: Vec<LaneKey>, stop: &CancellationToken) {
        for key in due {
            if self.keys.values().any(|running| *running == key) {
                continue;
            }
            let (mirror, stop, lane) = (mirror.clone(), stop.clone(), key.clone());
            let task = self.tasks.spawn(async move { mirror.work(lane, &stop).await });
            self.keys.insert(task.id(), key);
        }
    }

    /// None when no task is under way.
    async fn ended(&mut self) -> Option<Result<(), MirrorError>> {
        let ended: Result<(Id, Result<Progress, MirrorError>), JoinError> = self.tasks.join_next_with_id().await?;
        let (id, result) = match ended {
            Ok((id, result)) => (id, result.map(drop)),
            Err(error) => {
                tracing::error!(error = %Chain(&error), "a lane's task broke");
                (error.id(), Ok(()))
            }
        };
        self.keys.remove(&id);
        Some(result)
    }
}
