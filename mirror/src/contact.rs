//! What ends a lane's wait early: the peer made contact, or a contract changed (CONTRACT 5.5).
//!
//! A peer may make contact a thousand times a second, and each could cost it and us a probe. So a destination's wait is
//! ended at most once a second, and a contact that comes sooner is not lost but stands until the second is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dpg_eventstore::{Chain, Database};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::{MirrorError, destination, queries};

/// Between two ends of one destination's wait.
const SPACING: Duration = Duration::from_secs(1);

/// Tells lanes about contact, whichever process works on them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Contacts {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    db: Database,
    /// Outlives the HTTP worker that heard of the contact.
    runtime: Handle,
    seen: Mutex<HashMap<String, Seen>>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Seen {
    /// When the wait was last ended.
    last: Option<Instant>,
    /// A task is about to end it (again).
    pending: bool,
}

impl Contacts {
    /// For a process without a mirror of its own; a [`Mirror`](crate::Mirror) has one.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn new(db: Database) -> Self {
        let runtime = Handle::current();
        Self { inner: Arc::new(Inner { db, runtime, seen: Mutex::default(), wake: Notify::new() }) }
    }

    /// A **registered** peer made contact: its lanes try again at once. Returns immediately.
    pub fn contact(&self, instance_url: &str) {
        let Some(destination) = destination::normalise(instance_url) else { return };
        let due = {
            let mut seen = self.seen();
            let seen = seen.entry(destination.clone()).or_default();
            if std::mem::replace(&mut seen.pending, true) {
                return;
            }
            seen.last.map_or_else(Instant::now, |last| last + SPACING)
        };
        let contacts = self.clone();
        self.inner.runtime.spawn(async move {
            tokio::time::sleep_until(due).await;
            contacts.begin(&destination);
            if let Err(error) = contacts.end_waits_to(&destination).await {
                // A hint: the wait ends by itself.
                tracing::warn!(%destination, error = %Chain(&error), "a contact went unheard");
            }
        });
    }

    /// The contract of a network changed: all its lanes try again at once.
    ///
    /// # Errors
    /// As the database says.
    pub async fn contract_changed(&self, network: &str) -> Result<(), MirrorError> {
        let lanes = queries::end_waits_in(&self.inner.db, network).await?;
        tracing::debug!(network, lanes, "a new contract ended waits");
        self.inner.wake.notify_one();
        Ok(())
    }

    /// Ready when a wait was ended in this process.
    pub(crate) async fn changed(&self) {
        self.inner.wake.notified().await;
    }

    /// From here on another contact counts anew: it may come from a peer that this probe still finds away.
    fn begin(&self, destination: &str) {
        if let Some(seen) = self.seen().get_mut(destination) {
            *seen = Seen { last: Some(Instant::now()), pending: false };
        }
    }

    async fn end_waits_to(&self, destination: &str) -> Result<(), MirrorError> {
        if queries::end_waits_to(&self.inner.db, destination).await? > 0 {
            self.inner.wake.notify_one();
        }
        Ok(())
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        self.inner.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
