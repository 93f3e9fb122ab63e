//! Group commit: one appender per process and network drains whatever queued up while the last batch was committing. One
//! client sees one commit's latency, a hundred share one fsync.
//!
//! Nothing is acknowledged before it is durable, and a client that goes away does not cancel a write in flight: the
//! appender is a task of its own. When the connection dies during the call, the outcome is unknown; the old backend is
//! then ended and the log asked, so that every command is answered with what really happened.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::error::SqlState;

use crate::chain::Chain;
use crate::database::Database;
use crate::event::{Appended, Command};
use crate::metrics::Metrics;
use crate::partitions::{self, PartitionError};
use crate::session::{Session, SessionError};
use crate::wake::Wake;

/// How an appender batches. The defaults are those of the performance budget.
#[derive(Debug, Clone)]
pub struct AppendOptions {
    /// Commands in one call.
    pub batch_commands: usize,
    /// Bytes of payload after which a batch is closed.
    pub batch_bytes: usize,
    /// Commands that may wait; beyond it [`AppendError::QueueFull`].
    pub queue: usize,
    /// How long a call may take before its connection counts as dead: the server's own limit (5 s), and a little.
    pub statement: Duration,
    /// How long to look for the outcome of a call whose connection died.
    pub settle: Duration,
    /// Positions per partition of the log; smaller ones are for tests.
    pub range: i64,
}

impl Default for AppendOptions {
    fn default() -> Self {
        Self {
            batch_commands: 256,
            batch_bytes: 4 << 20,
            queue: 4096,
            statement: Duration::from_secs(7),
            settle: Duration::from_secs(10),
            range: partitions::RANGE,
        }
    }
}

/// Why a command was not appended. Nothing was written, but for [`AppendError::Unknown`].
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Too many commands wait already.
    #[error("the write queue is full")]
    QueueFull,
    /// The database is away, or could not do it in time.
    #[error("the database is not available")]
    Unavailable,
    /// The connection died and the log could not be asked in time. It may be there, or not.
    #[error("the outcome of the write is not known")]
    Unknown,
    /// This command can't be stored, whatever its batch.
    #[error("the database refused the event")]
    Rejected(#[source] Arc<tokio_postgres::Error>),
    /// The network's tables could not be made.
    #[error("storage for the network could not be prepared")]
    Partition(#[source] Arc<PartitionError>),
    /// The process is shutting down.
    #[error("the appender has stopped")]
    Stopped,
}

type Reply = oneshot::Sender<Result<Appended, AppendError>>;

struct Job {
    command: Command,
    reply: Reply,
    queued_at: Instant,
}

/// The write side of the log. Cheap to clone; appenders start with the first write to a network.
#[derive(Clone)]
pub struct Appender {
    inner: Arc<Inner>,
}

struct Inner {
    database: Database,
    wake: Wake,
    options: AppendOptions,
    metrics: Metrics,
    /// `None` once the process drains.
    queues: Mutex<Option<HashMap<String, mpsc::Sender<Job>>>>,
    running: tokio_util::task::TaskTracker,
    /// Where appenders live: an HTTP worker's own runtime may end before their work does.
    runtime: Handle,
}

impl Appender {
    /// Makes an appender on the current runtime, which has to outlive the callers'; needs one connection of `database`
    /// per network.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn new(database: Database, wake: Wake, options: AppendOptions, metrics: Metrics) -> Self {
        let queues = Mutex::new(Some(HashMap::new()));
        let running = tokio_util::task::TaskTracker::new();
        let runtime = Handle::current();
        Self { inner: Arc::new(Inner { database, wake, options, metrics, queues, running, runtime }) }
    }

    /// Appends a command and returns when it is durable, or when it is certain that it is not.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was written, but for [`AppendError::Unknown`].
    pub async fn append(&self, network: &str, command: Command) -> Result<Appended, AppendError> {
        let (reply, answer) = oneshot::channel();
        let job = Job { command, reply, queued_at: Instant::now() };
        self.queue(network)?.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AppendError::QueueFull,
            mpsc::error::TrySendError::Closed(_) => AppendError::Stopped,
        })?;
        // It was queued, and nobody is left to tell what became of it.
        answer.await.map_err(|_| AppendError::Unknown)?
    }

    fn queue(&self, network: &str) -> Result<mpsc::Sender<Job>, AppendError> {
        let mut queues = self.inner.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queues = queues.as_mut().ok_or(AppendError::Stopped)?;
        Ok(match queues.entry(network.to_owned()) {
            Entry::Occupied(queue) => queue.get().clone(),
            Entry::Vacant(vacant) => {
                let (sender, jobs) = mpsc::channel(self.inner.options.queue);
                let appender =
                    NetworkAppender { network: network.to_owned(), inner: self.inner.clone(), session: None, range: 0 };
                self.inner.running.spawn_on(appender.run(jobs), &self.inner.runtime);
                vacant.insert(sender).clone()
            }
        })
    }

    /// Takes no new commands, and returns when everything that was queued has been answered.
    pub async fn drain(&self) {
        drop(self.inner.queues.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.inner.running.close();
        self.inner.running.wait().await;
    }
}

struct NetworkAppender {
    network: String,
    inner: Arc<Inner>,
    session: Option<Session>,
    /// The range of positions that the last batch was in.
    range: i64,
}

/// What a failed call means for its batch.
enum Failure {
    /// The connection is gone: what became of the call must be looked up.
    Lost,
    /// Tables are missing: make them, then send again.
    Storage,
    /// Nothing was written, and the same call may succeed now.
    Again,
    /// Nothing was written, and it is no fault of the batch.
    Unavailable,
    /// One of the commands can't be stored.
    Bad,
}

fn classify(error: &tokio_postgres::Error) -> Failure {
    let Some(database) = error.as_db_error() else {
        // Not from the server: either the connection broke, or a parameter could not be encoded.
        return if error.is_closed() || std::error::Error::source(error).is_some_and(|e| e.is::<std::io::Error>()) {
            Failure::Lost
        } else {
            Failure::Bad
        };
    };
    let code = database.code();
    match code.code().get(..2) {
        _ if code.code() == "DP001" => Failure::Storage,
        _ if *code == SqlState::CHECK_VIOLATION && database.constraint().is_none() => Failure::Storage,
        _ if *code == SqlState::QUERY_CANCELED => Failure::Unavailable,
        Some("57") => Failure::Lost,
        Some("40") => Failure::Again,
        Some("08" | "25" | "53" | "55" | "58" | "XX") => Failure::Unavailable,
        _ => Failure::Bad,
    }
}

impl NetworkAppender {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(self.inner.options.batch_commands);
        while let Some(first) = jobs.recv().await {
            let mut bytes = size(&first.command);
            batch.push(first);
            while batch.len() < self.inner.options.batch_commands && bytes < self.inner.options.batch_bytes {
                let Ok(job) = jobs.try_recv() else { break };
                bytes += size(&job.command);
                batch.push(job);
            }
            self.inner.metrics.queue(&self.network, jobs.len());
            self.commit(std::mem::take(&mut batch)).await;
        }
    }

    /// Sends a batch and answers each of its commands.
    async fn commit(&mut self, batch: Vec<Job>) {
        let commands: Vec<&Command> = batch.iter().map(|job| &job.command).collect();
        let results = self.append(&commands).await;
        let appended = results.iter().any(|result| matches!(result, Ok(Appended::Won { position: Some(_), .. })));
        self.inner.metrics.batch(&self.network, &results);
        if appended {
            self.inner.wake.appended();
            self.stay_ahead(&results);
        }
        for (job, result) in batch.into_iter().zip(results) {
            self.inner.metrics.latency(&self.network, job.queued_at.elapsed());
            if job.reply.send(result).is_err() {
                tracing::debug!(network = self.network, "the client of a write is gone");
            }
        }
    }

    /// Makes the next ranges when a batch has entered a new one.
    fn stay_ahead(&mut self, results: &[Result<Appended, AppendError>]) {
        let last = results.iter().filter_map(|result| match result {
            Ok(Appended::Won { position, .. }) => *position,
            _ => None,
        });
        let range = last.max().unwrap_or(0) / self.inner.options.range;
        if range > self.range {
            self.range = range;
            let (inner, network) = (self.inner.clone(), self.network.clone());
            self.inner.running.spawn(async move {
                if let Err(error) = partitions::ensure_ranges(&inner.database, &network, inner.options.range).await {
                    // The append makes them itself when it comes to that.
                    tracing::warn!(network, error = %Chain(&error), "the log's next partitions could not be made");
                }
            });
        }
    }

    async fn append(&mut self, commands: &[&Command]) -> Vec<Result<Appended, AppendError>> {
        const TRIES: u32 = 5;
        for attempt in 1..=TRIES {
            let network = self.network.clone();
            let limit = self.inner.options.statement;
            let called = match self.session().await {
                Ok(session) => match tokio::time::timeout(limit, session.append(&network, commands)).await {
                    Ok(called) => called,
                    Err(_) => return self.settle(commands, "the database does not answer").await,
                },
                Err(error) => {
                    tracing::warn!(network, error = %Chain(&error), "no session to append with");
                    return all(commands, || AppendError::Unavailable);
                }
            };
            let error = match called {
                Ok(outcomes) => return outcomes.into_iter().map(Ok).collect(),
                Err(error) => error,
            };
            match classify(&error) {
                Failure::Lost => return self.settle(commands, DbMessage(&error).to_string()).await,
                Failure::Storage if attempt < TRIES => {
                    if let Err(error) = self.make_storage().await {
                        let error = Arc::new(error);
                        return all(commands, || AppendError::Partition(error.clone()));
                    }
                }
                Failure::Again if attempt < TRIES => {}
                Failure::Bad if commands.len() > 1 => return self.one_by_one(commands).await,
                Failure::Bad => {
                    let error = Arc::new(error);
                    return all(commands, || AppendError::Rejected(error.clone()));
                }
                Failure::Storage | Failure::Again | Failure::Unavailable => {
                    tracing::warn!(network = self.network, error = %DbMessage(&error), "an append failed");
                    return all(commands, || AppendError::Unavailable);
                }
            }
        }
        all(commands, || AppendError::Unavailable)
    }

    async fn session(&mut self) -> Result<&Session, SessionError> {
        if self.session.as_ref().is_none_or(Session::is_closed) {
            self.session = Some(Session::open(&self.inner.database).await?);
        }
        self.session.as_ref().ok_or(SessionError::Database(crate::database::DatabaseError::Closed))
    }

    async fn make_storage(&self) -> Result<(), PartitionError> {
        partitions::ensure_ranges(&self.inner.database, &self.network, self.inner.options.range).await
    }

    /// One bad payload costs one client an error, not its whole batch.
    async fn one_by_one(&mut self, commands: &[&Command]) -> Vec<Result<Appended, AppendError>> {
        let mut results = Vec::with_capacity(commands.len());
        for command in commands {
            results.extend(Box::pin(self.append(&[command])).await);
        }
        results
    }

    /// The connection died during the call. Ends its backend, then asks the log what was written.
    async fn settle(
        &mut self,
        commands: &[&Command],
        reason: impl std::fmt::Display,
    ) -> Vec<Result<Appended, AppendError>> {
        tracing::warn!(network = self.network, error = %reason, "the connection died during an append");
        self.inner.metrics.lost_connection(&self.network);
        let Some(lost) = self.session.take() else {
            return all(commands, || AppendError::Unknown);
        };
        let lost = lost.discard();
        let deadline = Instant::now() + self.inner.options.settle;
        while Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.outcomes(lost, commands)).await {
                Ok(Ok(outcomes)) => return outcomes,
                Err(_) => break,
                Ok(Err(error)) => {
                    tracing::debug!(network = self.network, error = %Chain(&error), "the log can't be asked yet");
                    self.session = None;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        self.session = None;
        all(commands, || AppendError::Unknown)
    }

    async fn outcomes(
        &mut self,
        lost: crate::session::Backend,
        commands: &[&Command],
    ) -> Result<Vec<Result<Appended, AppendError>>, SessionError> {
        let network = self.network.clone();
        let session = self.session().await?;
        session.end(lost).await?;
        let mut outcomes = Vec::with_capacity(commands.len());
        for command in commands {
            let found = match command.events.last() {
                Some(event) => session.find(&network, event).await?,
                None => None,
            };
            outcomes.push(match found {
                Some((position, recorded_at)) => Ok(Appended::Won { position: Some(position), recorded_at }),
                None => Err(AppendError::Unavailable),
            });
        }
        Ok(outcomes)
    }
}

fn all(commands: &[&Command], error: impl Fn() -> AppendError) -> Vec<Result<Appended, AppendError>> {
    commands.iter().map(|_| Err(error())).collect()
}

fn size(command: &Command) -> usize {
    command.events.iter().map(|e| e.payload.get().len() + e.private.as_ref().map_or(0, |p| p.get().len())).sum()
}

/// A database error for the log: code and message, never the detail, which may quote values.
pub(crate) struct DbMessage<'a>(pub(crate) &'a tokio_postgres::Error);

impl std::fmt::Display for DbMessage<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_db_error() {
            Some(error) => write!(f, "{} {}", error.code().code(), error.message()),
            None => write!(f, "{}", self.0),
        }
    }
}
