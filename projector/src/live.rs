//! The live fold. A step takes the checkpoint of (projection, network), folds the next positions into the table and moves
//! the checkpoint in the same transaction: exactly once in effect, however many projectors there are and wherever one of
//! them is killed. The row lock is the fence, the session's time-outs are the lease.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use dpg_eventstore::{Client, Database, SessionOptions};
use tokio::sync::watch;

use crate::error::ProjectError;
use crate::metrics::Metrics;
use crate::poison::{self, Verdict};
use crate::projection::Projection;
use crate::tables::Tables;
use crate::wait::Readers;

/// Positions that one fold covers at most.
pub(crate) const BATCH: i32 = 2_000;

/// Takes the checkpoint and pins the plans of its transaction.
const RANGE: &str = "select low, high, events, own, quarantined, oldest from projection_range($1, $2, $3, $4)";

/// How the projector's sessions behave: a lost commit is folded again, so commits need not wait for the disk.
#[must_use]
pub fn session_options(max_connections: usize) -> SessionOptions {
    SessionOptions {
        statement_timeout: std::time::Duration::from_secs(20),
        lock_timeout: std::time::Duration::from_secs(5),
        durable: false,
        ..SessionOptions::new("dpg projector", max_connections)
    }
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The tables hold everything up to this position.
    Idle {
        /// The log's last position.
        position: i64,
    },
    /// Another projector holds the checkpoint.
    Busy,
    /// `(low, high]` is in the tables now.
    Folded {
        /// Where the checkpoint stood.
        low: i64,
        /// Where it stands.
        high: i64,
        /// Events among them that concern this projection.
        own: i64,
    },
    /// The event at this position can't be folded; its stream is held back from now on.
    Quarantined {
        /// The event.
        position: i64,
    },
}

/// Folds logs into tables. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Projector {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) database: Database,
    pub(crate) tables: Tables,
    pub(crate) readers: Readers,
    pub(crate) metrics: Metrics,
    /// Changes when something may have been appended.
    pub(crate) wake: watch::Receiver<u64>,
    live_sql: [(Projection, String); 3],
    /// Projections whose last range held events of their own: the next probably does too.
    hot: Mutex<HashSet<(Projection, String)>>,
}

/// A fold that failed, with the range that it was about.
struct Failure {
    low: i64,
    high: i64,
    error: tokio_postgres::Error,
}

enum Attempt {
    Done(Step),
    Failed(Failure),
    /// The checkpoint has only now been made.
    Begun,
}

struct Range {
    low: i64,
    high: i64,
    events: i64,
    own: i64,
    quarantined: i32,
    oldest: Option<DateTime<Utc>>,
}

impl Range {
    fn of(row: &tokio_postgres::Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            low: row.try_get(0)?,
            high: row.try_get(1)?,
            events: row.try_get(2)?,
            own: row.try_get(3)?,
            quarantined: row.try_get(4)?,
            oldest: row.try_get(5)?,
        })
    }
}

impl Projector {
    /// A projector on `database` (opened with [`session_options`]), which tells `readers` how far it is. `wake` is any
    /// counter that changes when something was appended; polling makes good what it misses.
    #[must_use]
    pub fn new(database: Database, readers: Readers, metrics: Metrics, wake: watch::Receiver<u64>) -> Self {
        let tables = Tables::new(database.clone());
        let live_sql = Projection::ALL.map(|projection| (projection, projection.live_sql()));
        let hot = Mutex::default();
        Self { inner: Arc::new(Inner { database, tables, readers, metrics, wake, live_sql, hot }) }
    }

    /// Folds the next positions of one projection and network, up to 2,000. A failing range is halved until the event
    /// stands alone; a partition that is missing is made.
    ///
    /// # Errors
    /// [`ProjectError`] for what is not an event's fault; nothing has moved then.
    pub async fn step(&self, projection: Projection, network: &str) -> Result<Step, ProjectError> {
        let mut limit = BATCH;
        loop {
            let Failure { low, high, error } = match self.attempt(projection, network, limit).await? {
                Attempt::Done(step) => return Ok(step),
                Attempt::Failed(failure) => failure,
                Attempt::Begun => continue,
            };
            let verdict = poison::judge(&error);
            if verdict == Verdict::Again {
                return Err(error.into());
            }
            if verdict == Verdict::MissingPartition
                && self.inner.tables.ensure_for_range(projection, network, low, high).await?
            {
                continue;
            }
            if high - low == 1 {
                return self.quarantine(projection, network, high, error).await;
            }
            limit = i32::try_from((high - low) / 2).unwrap_or(BATCH);
        }
    }

    async fn attempt(&self, projection: Projection, network: &str, limit: i32) -> Result<Attempt, ProjectError> {
        let mut client = self.inner.database.client().await?;
        if !self.hot().contains(&(projection, network.to_owned())) {
            // On its own first: a range without events of this projection is passed by this one statement.
            let statement = client.prepare_cached(RANGE).await?;
            let row = client
                .query_opt(&statement, &[&projection.as_str(), &network, &limit, &projection.event_types()])
                .await?;
            let Some(range) = row.as_ref().map(Range::of).transpose()? else {
                return self.begin(&client, projection, network).await;
            };
            if let Some(step) = self.without_fold(projection, network, &range)? {
                return Ok(Attempt::Done(step));
            }
        }
        self.fold(&mut client, projection, network, limit).await
    }

    /// The step, if nothing in the range is to be folded. The checkpoint stands behind the range then.
    fn without_fold(&self, projection: Projection, network: &str, range: &Range) -> Result<Option<Step>, ProjectError> {
        if range.low == range.high {
            self.inner.readers.reached(projection, network, range.low, range.quarantined, true);
            return Ok(Some(Step::Idle { position: range.low }));
        }
        self.assert_dense(projection, network, range)?;
        Ok((range.own == 0).then(|| self.passed(projection, network, range)))
    }

    fn hot(&self) -> MutexGuard<'_, HashSet<(Projection, String)>> {
        self.inner.hot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No checkpoint was to be had: it does not exist yet, or another projector holds it. (`on conflict` alone would wait
    /// for that one to commit.)
    async fn begin(&self, client: &Client, projection: Projection, network: &str) -> Result<Attempt, ProjectError> {
        let statement = client
            .prepare_cached(
                "insert into projection_checkpoints (projection, network)
                 select $1, $2 where not exists (
                        select from projection_checkpoints where projection = $1 and network = $2)
                 on conflict do nothing",
            )
            .await?;
        let made = client.execute(&statement, &[&projection.as_str(), &network]).await?;
        Ok(if made == 0 { Attempt::Done(Step::Busy) } else { Attempt::Begun })
    }

    async fn fold(
        &self,
        client: &mut Client,
        projection: Projection,
        network: &str,
        limit: i32,
    ) -> Result<Attempt, ProjectError> {
        let range_statement = client.prepare_cached(RANGE).await?;
        let fold_statement = client.prepare_cached(self.live_sql(projection)).await?;
        let transaction = client.transaction().await?;
        let row = transaction
            .query_opt(&range_statement, &[&projection.as_str(), &network, &limit, &projection.event_types()])
            .await?;
        let Some(mut range) = row.as_ref().map(Range::of).transpose()? else {
            transaction.rollback().await?;
            return self.begin(client, projection, network).await;
        };
        if range.own == 0 {
            // It may have moved the checkpoint; readers are told only after the commit.
            transaction.commit().await?;
            let step = self.without_fold(projection, network, &range)?;
            return Ok(Attempt::Done(step.unwrap_or(Step::Idle { position: range.low })));
        }
        self.assert_dense(projection, network, &range)?;
        match transaction.query_one(&fold_statement, &[&network, &range.low, &range.high]).await {
            Ok(row) => range.quarantined = row.try_get(0)?,
            Err(error) => return Ok(Attempt::Failed(Failure { low: range.low, high: range.high, error })),
        }
        transaction.commit().await?;
        Ok(Attempt::Done(self.passed(projection, network, &range)))
    }

    /// The checkpoint has moved: tells whoever waits.
    fn passed(&self, projection: Projection, network: &str, range: &Range) -> Step {
        self.inner.readers.reached(projection, network, range.high, range.quarantined, false);
        let key = (projection, network.to_owned());
        if range.own == 0 {
            self.hot().remove(&key)
        } else {
            self.hot().insert(key)
        };
        let lag = range.oldest.map_or(0.0, |oldest| (Utc::now() - oldest).as_seconds_f64().max(0.0));
        self.inner.metrics.folded(projection, network, range.high - range.low, lag);
        Step::Folded { low: range.low, high: range.high, own: range.own }
    }

    fn assert_dense(&self, projection: Projection, network: &str, range: &Range) -> Result<(), ProjectError> {
        let Range { low, high, events, .. } = *range;
        if events == high - low {
            return Ok(());
        }
        self.inner.metrics.gap(projection, network);
        Err(ProjectError::Gap { projection, network: network.to_owned(), low, high, found: events })
    }

    /// Holds back the stream of one event. The checkpoint stays: the next step passes the event without it.
    async fn quarantine(
        &self,
        projection: Projection,
        network: &str,
        position: i64,
        error: tokio_postgres::Error,
    ) -> Result<Step, ProjectError> {
        let (sqlstate, message) = poison::describe(&error);
        let client = self.inner.database.client().await?;
        // One statement, and only if nobody has passed the event meanwhile.
        let statement = client
            .prepare_cached(
                "with checkpoint as (
                     select c.projection, c.network from projection_checkpoints c
                      where c.projection = $1 and c.network = $2 and c.position = $3::bigint - 1 for update
                 ), held as (
                     insert into quarantine (projection, network, stream_id, position, sqlstate, error)
                     select c.projection, c.network, e.stream_id, e.position, $4, $5
                       from checkpoint c join event_log e on e.network = $2 and e.position = $3
                     on conflict do nothing
                     returning projection, network, stream_id
                 ), counted as (
                     update projection_checkpoints c set quarantined = c.quarantined + 1
                       from held h where c.projection = h.projection and c.network = h.network
                 )
                 select (select count(*) from checkpoint), (select h.stream_id from held h)",
            )
            .await?;
        let row =
            client.query_one(&statement, &[&projection.as_str(), &network, &position, &sqlstate, &message]).await?;
        let (at_checkpoint, stream): (i64, Option<uuid::Uuid>) = (row.try_get(0)?, row.try_get(1)?);
        match stream {
            Some(stream) => {
                tracing::error!(%projection, network, position, %stream, sqlstate, error = message,
                    "an event can't be folded: its stream is held back");
                Ok(Step::Quarantined { position })
            }
            None if at_checkpoint == 0 => Ok(Step::Busy),
            None => Err(ProjectError::Stuck { projection, network: network.to_owned(), position, source: error }),
        }
    }

    fn live_sql(&self, projection: Projection) -> &str {
        self.inner.live_sql.iter().find(|(of, _)| *of == projection).map_or("", |(_, sql)| sql)
    }
}
