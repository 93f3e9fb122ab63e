//! A keyed lock per stream around load, decide, append: within one process writers of a stream take turns, so that
//! conflicts arise only between processes.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};
use uuid::Uuid;

/// Two streams may share a lock; that costs a wait, never correctness. A caller takes what it needs at once.
const LOCKS: usize = 1024;
const LOCKS_U64: u64 = 1024;

/// The locks of all streams of a process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StreamLocks {
    locks: Arc<[Arc<Mutex<()>>]>,
    hasher: RandomState,
}

impl Default for StreamLocks {
    fn default() -> Self {
        Self { locks: (0..LOCKS).map(|_| Arc::default()).collect(), hasher: RandomState::new() }
    }
}

impl StreamLocks {
    /// Waits for the stream's turn, which lasts as long as the guard.
    pub async fn lock(&self, stream: Uuid) -> OwnedMutexGuard<()> {
        self.lock_slot(self.slot(stream)).await
    }

    /// Waits for the turns of several streams. Taken in one order by everybody, so that no two callers wait for each other.
    pub async fn lock_all(&self, streams: impl IntoIterator<Item = Uuid>) -> Vec<OwnedMutexGuard<()>> {
        let slots: BTreeSet<usize> = streams.into_iter().map(|stream| self.slot(stream)).collect();
        let mut turns = Vec::with_capacity(slots.len());
        for slot in slots {
            turns.push(self.lock_slot(slot).await);
        }
        turns
    }

    fn slot(&self, stream: Uuid) -> usize {
        usize::try_from(self.hasher.hash_one(stream) % LOCKS_U64).unwrap_or(0)
    }

    async fn lock_slot(&self, slot: usize) -> OwnedMutexGuard<()> {
        match self.locks.get(slot) {
            Some(lock) => lock.clone().lock_owned().await,
            None => unreachable!("the slot is below the number of locks"),
        }
    }
}
