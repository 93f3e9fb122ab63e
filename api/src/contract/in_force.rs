//! The contract in force in this process: read without a lock, exchanged in one step (CONTRACT 8.4).

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::Contracts;

/// Holds the contract in force, and tells whoever follows it that there is another.
#[derive(Debug)]
pub struct InForce {
    current: ArcSwap<Contracts>,
    changes: watch::Sender<i64>,
}

impl InForce {
    /// Starts with the contract that was loaded at boot.
    #[must_use]
    pub fn new(contracts: Contracts) -> Self {
        let changes = watch::Sender::new(contracts.version());
        Self { current: ArcSwap::from_pointee(contracts), changes }
    }

    /// The contract in force now. Whoever asks twice may get two.
    #[must_use]
    pub fn get(&self) -> Arc<Contracts> {
        self.current.load_full()
    }

    /// Puts another contract in force and tells the followers its version.
    pub fn put(&self, contracts: Contracts) {
        let version = contracts.version();
        self.current.store(Arc::new(contracts));
        self.changes.send_replace(version);
    }

    /// Follows the versions.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<i64> {
        self.changes.subscribe()
    }
}
