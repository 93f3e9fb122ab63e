//! Read your writes: a caller waits until the projections have passed the position of its write.
//!
//! A projector in the same process tells at once; for projectors elsewhere, one poll of the checkpoints every 20 ms serves
//! everybody who waits, and runs only while somebody does. A projector that is known to be far behind is not waited for.

use dpg_eventstore::Chain;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dpg_eventstore::{Database, DatabaseError};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use crate::projection::Projection;

const POLL: Duration = Duration::from_millis(20);
/// More than a projector folds while a client waits.
const FAR_BEHIND: i64 = 20_000;
/// A projection that somebody waited for and that has not moved for so long is not waited for any more.
const STUCK: Duration = Duration::from_secs(2);
/// What is known of a projection is good for this long; then somebody waits again, and so finds out.
const FRESH: Duration = Duration::from_secs(1);

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// The tables hold the write.
    Projected,
    /// The wait ended first, or the projector is known to be far behind.
    Behind,
    /// The stream is held back in the quarantine.
    Quarantined,
}

/// How far a projection is behind its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// Which projection.
    pub projection: Projection,
    /// Whose log.
    pub network: String,
    /// Everything up to here is in the tables.
    pub position: i64,
    /// Events in the log beyond it.
    pub events: i64,
    /// Age of the oldest of them; 0 without one.
    pub milliseconds: i64,
    /// Streams that are held back.
    pub quarantined: i64,
}

/// Waits for projections. Cheap to clone; give the same one to the local projector.
#[derive(Debug, Clone)]
pub struct Readers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    database: Database,
    /// Where the poll runs: the runtime of the HTTP worker that begins to wait may end before others have done waiting.
    runtime: Handle,
    state: Mutex<State>,
    /// Somebody waits for a projection that no worker here has taken on.
    unattended: Notify,
}

#[derive(Debug, Default)]
struct State {
    progress: HashMap<Key, Progress>,
    last_id: u64,
    waiting: usize,
    polling: bool,
}

type Key = (Projection, String);

#[derive(Debug, Default)]
struct Progress {
    position: i64,
    quarantined: i32,
    seen_at: Option<Instant>,
    /// Since when somebody has waited without the position moving.
    stuck_since: Option<Instant>,
    waiting: BTreeMap<(i64, u64), oneshot::Sender<()>>,
    asked: Arc<Notify>,
    attended: bool,
}

impl Progress {
    fn is_hopeless(&self, position: i64) -> bool {
        let fresh = self.seen_at.is_some_and(|at| at.elapsed() < FRESH);
        let stuck = self.stuck_since.is_some_and(|since| since.elapsed() > STUCK);
        fresh && (stuck || position - self.position > FAR_BEHIND)
    }

    /// Takes note of where the projection is, and returns those who waited for that. One that has caught up with its log
    /// is not stuck, whatever somebody waits for.
    fn reached(&mut self, position: i64, quarantined: i32, caught_up: bool) -> Vec<oneshot::Sender<()>> {
        let now = Instant::now();
        self.seen_at = Some(now);
        self.quarantined = quarantined;
        let moved = position > self.position;
        self.position = self.position.max(position);
        let later = self.waiting.split_off(&(self.position + 1, 0));
        let served = std::mem::replace(&mut self.waiting, later).into_values().collect();
        if moved || caught_up {
            self.stuck_since = None;
        } else if !self.waiting.is_empty() {
            self.stuck_since = self.stuck_since.or(Some(now));
        }
        served
    }
}

/// One place in the queue; gives it up when dropped.
struct Place {
    inner: Arc<Inner>,
    key: Key,
    at: (i64, u64),
    reached: oneshot::Receiver<()>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.inner.lock();
        state.waiting = state.waiting.saturating_sub(1);
        if let Some(progress) = state.progress.get_mut(&self.key) {
            progress.waiting.remove(&self.at);
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readers {
    /// Readers that ask `database` where other processes' projectors are.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn new(database: Database) -> Self {
        let (state, unattended) = (Mutex::default(), Notify::new());
        Self { inner: Arc::new(Inner { database, runtime: Handle::current(), state, unattended }) }
    }

    /// Waits until all of `projections` have passed `position` of the network's log. `false` when `timeout` ended first,
    /// or at once when a projector is known to be far behind.
    pub async fn wait(&self, network: &str, position: i64, projections: &[Projection], timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut places = Vec::with_capacity(projections.len());
        for projection in projections {
            match self.queue(network, position, *projection, timeout) {
                Queued::Reached => {}
                Queued::Hopeless => return false,
                Queued::Waits(place) => places.push(place),
            }
        }
        for place in &mut places {
            match tokio::time::timeout_at(deadline, &mut place.reached).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return false,
            }
        }
        true
    }

    /// As [`Readers::wait`], and then tells whether the stream itself is there or is held back.
    pub async fn wait_for_stream(
        &self,
        network: &str,
        position: i64,
        stream_id: Uuid,
        projections: &[Projection],
        timeout: Duration,
    ) -> Waited {
        if !self.wait(network, position, projections, timeout).await {
            return Waited::Behind;
        }
        match self.is_quarantined(network, stream_id, projections).await {
            Ok(false) => Waited::Projected,
            Ok(true) => Waited::Quarantined,
            Err(error) => {
                tracing::debug!(network, error = %Chain(&error), "the quarantine could not be asked");
                Waited::Behind
            }
        }
    }

    /// Whether one of `projections` holds the stream back, as of the positions that were waited for. Costs nothing while
    /// the quarantine is empty.
    ///
    /// # Errors
    /// As the database says.
    pub async fn is_quarantined(
        &self,
        network: &str,
        stream_id: Uuid,
        projections: &[Projection],
    ) -> Result<bool, ReadersError> {
        let concerned: Vec<&str> = {
            let state = self.inner.lock();
            let held = |projection: &Projection| {
                let known = state.progress.get(&(*projection, network.to_owned()));
                known.is_none_or(|progress| progress.seen_at.is_none() || progress.quarantined > 0)
            };
            projections.iter().filter(|projection| held(projection)).map(|projection| projection.as_str()).collect()
        };
        if concerned.is_empty() {
            return Ok(false);
        }
        let client = self.inner.database.client().await?;
        let statement = client
            .prepare_cached(
                "select exists (select from quarantine
                                 where network = $1 and stream_id = $2 and projection = any ($3))",
            )
            .await?;
        Ok(client.query_one(&statement, &[&network, &stream_id, &concerned]).await?.try_get(0)?)
    }

    /// How far each projection of a network is behind.
    ///
    /// # Errors
    /// As the database says.
    pub async fn behind(&self, network: &str) -> Result<Vec<Lag>, ReadersError> {
        Ok(lags(&self.inner.database).await?.into_iter().filter(|lag| lag.network == network).collect())
    }

    fn queue(&self, network: &str, position: i64, projection: Projection, timeout: Duration) -> Queued {
        let key = (projection, network.to_owned());
        let mut guard = self.inner.lock();
        let state = &mut *guard;
        let progress = state.progress.entry(key.clone()).or_default();
        if progress.position >= position {
            return Queued::Reached;
        }
        if timeout.is_zero() || progress.is_hopeless(position) {
            return Queued::Hopeless;
        }
        let (sender, reached) = oneshot::channel();
        state.last_id += 1;
        state.waiting += 1;
        let at = (position, state.last_id);
        progress.waiting.insert(at, sender);
        if progress.attended {
            progress.asked.notify_one();
        } else {
            self.inner.unattended.notify_one();
        }
        if !std::mem::replace(&mut state.polling, true) {
            self.inner.runtime.spawn(self.clone().poll());
        }
        Queued::Waits(Place { inner: Arc::clone(&self.inner), key, at, reached })
    }

    /// Asks for all checkpoints as long as somebody waits.
    async fn poll(self) {
        loop {
            tokio::time::sleep(POLL).await;
            {
                let mut state = self.inner.lock();
                if state.waiting == 0 {
                    state.polling = false;
                    return;
                }
            }
            if let Err(error) = self.poll_once().await {
                tracing::debug!(error = %Chain(&error), "the checkpoints could not be asked");
            }
        }
    }

    async fn poll_once(&self) -> Result<(), ReadersError> {
        let client = self.inner.database.client().await?;
        let statement = client
            .prepare_cached(
                "select c.projection, c.network, c.position, c.quarantined, c.position >= h.position
                   from projection_checkpoints c join log_head h on h.network = c.network",
            )
            .await?;
        for row in client.query(&statement, &[]).await? {
            if let Some(projection) = Projection::parse(row.try_get(0)?) {
                self.reached(projection, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
            }
        }
        Ok(())
    }

    /// The projection has committed everything up to `position`.
    pub(crate) fn reached(
        &self,
        projection: Projection,
        network: &str,
        position: i64,
        quarantined: i32,
        caught_up: bool,
    ) {
        let served = {
            let mut state = self.inner.lock();
            state.progress.entry((projection, network.to_owned())).or_default().reached(
                position,
                quarantined,
                caught_up,
            )
        };
        for reader in served {
            if reader.send(()).is_err() {
                tracing::trace!(%projection, network, "a reader has given up in this very moment");
            }
        }
    }

    /// A worker of this process takes the projection on; the returned hint fires when somebody begins to wait.
    pub(crate) fn attend(&self, projection: Projection, network: &str) -> Arc<Notify> {
        let mut state = self.inner.lock();
        let progress = state.progress.entry((projection, network.to_owned())).or_default();
        progress.attended = true;
        Arc::clone(&progress.asked)
    }

    /// Whether somebody waits for more of the projection.
    pub(crate) fn somebody_waits(&self, projection: Projection, network: &str) -> bool {
        let state = self.inner.lock();
        state.progress.get(&(projection, network.to_owned())).is_some_and(|progress| !progress.waiting.is_empty())
    }

    /// Returns when somebody waits for a projection that no worker here has taken on.
    pub(crate) async fn unattended(&self) {
        self.inner.unattended.notified().await;
    }
}

enum Queued {
    Reached,
    Hopeless,
    Waits(Place),
}

/// Why a question to the checkpoints failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadersError {
    /// No connection.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The statement failed.
    #[error("the checkpoints could not be read")]
    Sql(#[from] tokio_postgres::Error),
}

/// How far every projection is behind every log.
pub(crate) async fn lags(database: &Database) -> Result<Vec<Lag>, ReadersError> {
    let client = database.client().await?;
    let statement = client
        .prepare_cached(
            "select p.name, h.network, coalesce(c.position, 0), h.position - coalesce(c.position, 0),
                    coalesce((select ceil(extract(epoch from clock_timestamp() - e.recorded_at) * 1000)
                                from event_log e
                               where e.network = h.network and e.position = coalesce(c.position, 0) + 1), 0)::bigint,
                    coalesce(c.quarantined, 0)::bigint
               from log_head h
              cross join unnest($1::text[]) as p (name)
               left join projection_checkpoints c on c.projection = p.name and c.network = h.network",
        )
        .await?;
    let names: Vec<&str> = Projection::ALL.iter().map(|projection| projection.as_str()).collect();
    let rows = client.query(&statement, &[&names]).await?;
    let mut lags = Vec::with_capacity(rows.len());
    for row in rows {
        if let Some(projection) = Projection::parse(row.try_get(0)?) {
            lags.push(Lag {
                projection,
                network: row.try_get(1)?,
                position: row.try_get(2)?,
                events: row.try_get(3)?,
                milliseconds: row.try_get(4)?,
                quarantined: row.try_get(5)?,
            });
        }
    }
    Ok(lags)
}
