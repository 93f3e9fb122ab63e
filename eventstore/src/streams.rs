//! A keyed lock per stream around load, decide, append: within one process writers of a stream take turns, so that
//! conflicts arise only between processes.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};
use uuid::Uuid;

/// Two streams may share a lock; that costs a wait, never correctness. A caller holds one at a time.
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
        let slot = usize::try_from(self.hasher.hash_one(stream) % LOCKS_U64).unwrap_or(0);
        match self.locks.get(slot) {
            Some(lock) => lock.clone().lock_owned().await,
            None => unreachable!("the slot is below the number of locks"),
        }
    }
}
