//! The shared probe: one query answers all requests that arrived before it started.
//!
//! Authentication must reach Postgres on every request, or a revoked session would live on. One query per request would
//! spend most of a small machine on it; one query for all that wait costs the same for one and for a hundred. A request
//! is never answered by a query that started before the request arrived, so it sees every revocation that was
//! acknowledged before it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use dpg_eventstore::{Client, Database};
use tokio::sync::{mpsc, oneshot};

use super::error::StoreError;

/// Requests that may wait; beyond them the answer is 503.
const QUEUE: usize = 4096;
/// Requests that one query serves.
const BATCH: usize = 1024;

/// How a probe asks the store.
#[async_trait::async_trait]
pub(super) trait Lookup: Send + Sync + 'static {
    /// What is asked for.
    type Key: Clone + Eq + Hash + Send + Sync + 'static;
    /// What is found.
    type Found: Clone + Send + 'static;

    /// Answers all distinct keys with one statement; the number says how many requests ask for the key. A key without an
    /// entry in the answer is unknown.
    async fn look_up(&self, asked: &[(Self::Key, usize)]) -> Result<HashMap<Self::Key, Self::Found>, StoreError>;
}

/// Runs a query with a time-out of our own: a server that hangs ends no statement by itself, and everybody waits behind
/// the probe. A connection that did not answer is thrown away.
pub(super) async fn within_time<T>(
    database: &Database,
    time_out: Duration,
    query: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
) -> Result<T, StoreError> {
    let client = database.client().await?;
    match tokio::time::timeout(time_out, query(&client)).await {
        Ok(answer) => Ok(answer?),
        Err(_elapsed) => {
            drop(Client::take(client));
            Err(StoreError::TimedOut)
        }
    }
}

/// An answer, and the asker's place among those who asked for the same key in the same query.
pub(super) struct Answer<F> {
    pub(super) found: Option<F>,
    pub(super) place: usize,
}

type Reply<F> = oneshot::Sender<Result<Answer<F>, StoreError>>;

/// The asking side. Dropping it ends the task.
pub(super) struct Probe<L: Lookup> {
    queue: mpsc::Sender<(L::Key, Reply<L::Found>)>,
}

impl<L: Lookup> Probe<L> {
    /// Starts the task that asks, on the current runtime.
    pub(super) fn start(lookup: L) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(serve(lookup, waiting));
        Self { queue }
    }

    /// Waits for the answer of a query that starts after this call.
    pub(super) async fn ask(&self, key: L::Key) -> Result<Answer<L::Found>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.queue.try_send((key, reply)).map_err(|_full_or_closed| StoreError::Queue)?;
        answer.await.map_err(|_task_ended| StoreError::Queue)?
    }
}

async fn serve<L: Lookup>(lookup: L, mut waiting: mpsc::Receiver<(L::Key, Reply<L::Found>)>) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        let mut askers: HashMap<L::Key, Vec<Reply<L::Found>>> = HashMap::new();
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
            Ok(found) => deliver(askers, &found),
            Err(error) => refuse(askers, error),
        }
    }
}

fn deliver<K: Eq + Hash, F: Clone>(askers: HashMap<K, Vec<Reply<F>>>, found: &HashMap<K, F>) {
    for (key, replies) in askers {
        let found = found.get(&key);
        for (place, reply) in replies.into_iter().enumerate() {
            tell(reply, Ok(Answer { found: found.cloned(), place }));
        }
    }
}

fn refuse<K, F>(askers: HashMap<K, Vec<Reply<F>>>, error: StoreError) {
    let error = Arc::new(error);
    for reply in askers.into_values().flatten() {
        tell(reply, Err(StoreError::Shared(Arc::clone(&error))));
    }
}

fn tell<F>(reply: Reply<F>, answer: Result<Answer<F>, StoreError>) {
    if reply.send(answer).is_err() {
        tracing::debug!("a request ended before its authentication was known");
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

        async fn look_up(&self, asked: &[(u8, usize)]) -> Result<HashMap<u8, u8>, StoreError> {
            let mut sorted = asked.to_vec();
            sorted.sort_unstable();
            self.calls.lock().unwrap().push(sorted);
            self.gate.acquire().await.unwrap().forget();
            if asked.iter().any(|(key, _)| *key == 99) {
                return Err(StoreError::TimedOut);
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
        assert!(failed.is_err_and(|error| error.is_unavailable()));
        assert_eq!(probe.ask(3).await.unwrap().found, Some(6));
    }
}
