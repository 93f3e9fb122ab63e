//! The contract in force in this process: read without a lock, exchanged in one step (CONTRACT 8.4).

use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::Contracts;

/// Holds the contract in force, and tells whoever follows it that there is another.
#[derive(Debug)]
pub struct InForce {
    current: ArcSwap<Contracts>,
    changes: watch::Sender<i64>,
    /// What was in force before and may be somebody's law still.
    replaced: Mutex<Vec<(i64, Weak<Contracts>)>>,
}

impl InForce {
    /// Starts with the contract that was loaded at boot.
    #[must_use]
    pub fn new(contracts: Contracts) -> Self {
        let changes = watch::Sender::new(contracts.version());
        Self { current: ArcSwap::from_pointee(contracts), changes, replaced: Mutex::default() }
    }

    /// The contract in force now. Whoever asks twice may get two.
    #[must_use]
    pub fn get(&self) -> Arc<Contracts> {
        self.current.load_full()
    }

    /// Puts another contract in force and tells the followers its version.
    pub fn put(&self, contracts: Contracts) {
        let version = contracts.version();
        let before = self.current.swap(Arc::new(contracts));
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        replaced.push((before.version(), Arc::downgrade(&before)));
        drop(replaced);
        self.changes.send_replace(version);
    }

    /// The oldest version that a request here may still be decided by.
    #[must_use]
    pub fn oldest_in_use(&self) -> i64 {
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        replaced.retain(|(_, contracts)| contracts.strong_count() > 0);
        let oldest = replaced.iter().map(|(version, _)| *version).min();
        oldest.map_or_else(|| self.get().version(), |oldest| oldest.min(self.get().version()))
    }

    /// Follows the versions.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<i64> {
        self.changes.subscribe()
    }
}

/// Which contract something was made from. It is only remembered: a contract that is held counts as one that still decides.
#[derive(Debug)]
pub struct MadeFrom(Weak<Contracts>);

impl MadeFrom {
    /// Remembers a contract.
    #[must_use]
    pub fn of(contracts: &Arc<Contracts>) -> Self {
        Self(Arc::downgrade(contracts))
    }

    /// Whether it was this one. As long as one is remembered, no other takes its place in memory.
    #[must_use]
    pub fn is(&self, contracts: &Arc<Contracts>) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(contracts))
    }
}
