//! The shared probe: one query answers all requests that arrived before it started.
//!
//! Authentication must reach Postgres on every request, or a revoked session would live on; a cached page is good only
//! if Postgres says that nothing has changed since. One query per request would spend most of a small machine on it; one
//! query for all that wait costs the same for one and for a hundred. A request is never answered by a query that started
//! before the request arrived, so it sees everything that was acknowledged before it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use dpg_eventstore::{Client, Database, DatabaseError};
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait; beyond them the answer is 503.
const QUEUE: usize = 4096;
/// Requests that one query serves.
const BATCH: usize = 1024;

/// How a probe asks the store.
#[async_trait::async_trait]
pub(crate) trait Lookup: Send + Sync + 'static {
    /// What is asked for.
    type Key: Clone + Eq + Hash + Send + Sync + 'static;
    /// What is found.
    type Found: Clone + Send + 'static;
    /// Why the store could not be asked.
    type Error: Send + Sync + 'static;

    /// Answers all distinct keys with one statement; the number says how many requests ask for the key. A key without an
    /// entry in the answer is unknown.
    async fn look_up(&self, asked: &[(Self::Key, usize)]) -> Result<HashMap<Self::Key, Self::Found>, Self::Error>;
}

/// Why there was no answer.
#[derive(Debug)]
pub(crate) enum ProbeError<E> {
    /// More requests wait than the queue holds, or the server is going down.
    Queue,
    /// The query failed, for all who waited for it.
    Failed(Arc<E>),
}

/// The database did not answer in time.
#[derive(Debug)]
pub(crate) struct TimedOut;

/// Runs a query with a time-out of our own: a server that hangs ends no statement by itself, and everybody waits behind
/// the probe. A connection that did not answer is thrown away.
pub(crate) async fn within_time<T, E>(
    database: &Database,
    time_out: Duration,
    query: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
) -> Result<T, E>
where
    E: From<DatabaseError> + From<tokio_postgres::Error> + From<TimedOut>,
{
    let client = database.client().await?;
    match tokio::time::timeout(time_out, query(&client)).await {
        Ok(answer) => Ok(answer?),
        Err(_elapsed) => {
            drop(Client::take(client));
            Err(TimedOut.into())
        }
    }
}

/// An answer, and the asker's place among those who asked for the same key in the same query.
pub(crate) struct Answer<F> {
    pub(crate) found: Option<F>,
    pub(crate) place: usize,
}

type Outcome<L> = Result<Answer<<L as Lookup>::Found>, ProbeError<<L as Lookup>::Error>>;
type Reply<L> = oneshot::Sender<Outcome<L>>;

/// The asking side. Dropping it ends the task.
pub(crate) struct Probe<L: Lookup> {
    queue: mpsc::Sender<(L::Key, Reply<L>)>,
}

impl<L: Lookup> Probe<L> {
    /// Starts the task that asks, on the current runtime.
    pub(crate) fn start(lookup: L) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(serve(lookup, waiting));
        Self { queue }
    }

    /// Waits for the answer of a query that starts after this call.
    pub(crate) async fn ask(&self, key: L::Key) -> Outcome<L> {
        let (reply, answer) = oneshot::channel();
        self.queue.try_send((key, reply)).map_err(|_full_or_closed| ProbeError::Queue)?;
        answer.await.map_err(|_task_ended| ProbeError::Queue)?
    }
}

async fn serve<L: Lookup>(lookup: L, mut waiting: mpsc::Receiver<(L::Key, Reply<L>)>) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        let mut askers: HashMap<L::Key, Vec<Reply<L>>> = HashMap::new();
        for (key, reply) in batch.drain(..) {
            // Who has gone away is neither looked up nor counted.
            if !reply.is_closed() {
                askers.entry(key).or_default().push(reply);
            }
        }
        if askers.is_empty() {
            continue;
        }
        let asked: Vec<_> = askers.iter().map(|(key, replies)| (key.clone(), replies.len())).collect();
        match lookup.look_up(&asked).await {
            Ok(found) => deliver::<L>(askers, &found),
            Err(error) => refuse::<L>(askers, error),
        }
    }
}

fn deliver<L: Lookup>(askers: HashMap<L::Key, Vec<Reply<L>>>, found: &HashMap<L::Key, L::Found>) {
    for (key, replies) in askers {
        let found = found.get(&key);
        for (place, reply) in replies.into_iter().enumerate() {
            tell::<L>(reply, Ok(Answer { found: found.cloned(), place }));
        }
    }
}

fn refuse<L: Lookup>(askers: HashMap<L::Key, Vec<Reply<L>>>, error: L::Error) {
    let error = Arc::new(error);
    for reply in askers.into_values().flatten() {
        tell::<L>(reply, Err(ProbeError::Failed(Arc::clone(&error))));
    }
}

fn tell<L: Lookup>(reply: Reply<L>, answer: Outcome<L>) {
    if reply.send(answer).is_err() {
        tracing::debug!("a request ended before its answer was known");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    type Calls = Arc<Mutex<Vec<Vec<(u8, usize)>>>>;

    struct Recorder {
        calls: Calls,
        gate: Arc<tokio::sync::Semaphore>,
    }

    #[async_trait::async_trait]
    impl Lookup for Recorder {
        type Key = u8;
        type Found = u8;
        type Error = TimedOut;

        async fn look_up(&self, asked: &[(u8, usize)]) -> Result<HashMap<u8, u8>, TimedOut> {
            let mut sorted = asked.to_vec();
            sorted.sort_unstable();
            self.calls.lock().unwrap().push(sorted);
            self.gate.acquire().await.unwrap().forget();
            if asked.iter().any(|(key, _)| *key == 99) {
                return Err(TimedOut);
            }
            Ok(asked.iter().filter(|(key, _)| *key < 10).map(|(key, _)| (*key, key * 2)).collect())
        }
    }

    fn recorder(permits: usize) -> (Recorder, Calls, Arc<tokio::sync::Semaphore>) {
        let calls = Calls::default();
        let gate = Arc::new(tokio::sync::Semaphore::new(permits));
        (Recorder { calls: Arc::clone(&calls), gate: Arc::clone(&gate) }, calls, gate)
    }

    #[tokio::test]
    async fn those_who_wait_share_the_next_query() {
        let (lookup, calls, gate) = recorder(0);
        let probe = Arc::new(Probe::start(lookup));
        let first = tokio::spawn({
            let probe = Arc::clone(&probe);
            async move { probe.ask(1).await }
        });
        while calls.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        // The first query runs; these may not be answered by it.
        let later: Vec<_> = [1_u8, 2, 1, 50]
            .into_iter()
            .map(|key| {
                let probe = Arc::clone(&probe);
                tokio::spawn(async move { probe.ask(key).await })
            })
            .collect();
        while probe.queue.capacity() > QUEUE - 4 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(2);
        assert_eq!(first.await.unwrap().unwrap().found, Some(2));
        let mut answers = Vec::new();
        for task in later {
            let answer = task.await.unwrap().unwrap();
            answers.push((answer.found, answer.place));
        }
        assert_eq!(answers, [(Some(2), 0), (Some(4), 0), (Some(2), 1), (None, 0)]);
        assert_eq!(*calls.lock().unwrap(), [vec![(1, 1)], vec![(1, 2), (2, 1), (50, 1)]]);
    }

    #[tokio::test]
    async fn a_failed_query_fails_those_who_waited_and_nobody_else() {
        let (lookup, _calls, _gate) = recorder(2);
        let probe = Probe::start(lookup);
        let failed = probe.ask(99).await;
        assert!(matches!(failed, Err(ProbeError::Failed(_))));
        assert_eq!(probe.ask(3).await.unwrap().found, Some(6));
    }
}
