//! Hints that something was appended. They go out after the commit and never inside it (a `NOTIFY` in the append would
//! serialise commits across the cluster), coalesced, and every consumer also polls: a lost hint costs milliseconds, never
//! an event.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::watch;
use tokio_postgres::AsyncMessage;
use tokio_util::sync::CancellationToken;

use crate::chain::Chain;
use crate::database::Database;

const CHANNEL: &str = "dpg_appended";
/// Notifications to other processes, at most one per this time.
const COALESCE: Duration = Duration::from_millis(5);

/// A hint that travels inside the process at once, and between processes through [`Wake::relay`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Wake {
    /// Counts appends of this process.
    own: watch::Sender<u64>,
    /// Counts every reason to look, those of other processes included.
    any: watch::Sender<u64>,
}

impl Default for Wake {
    fn default() -> Self {
        Self { own: watch::Sender::new(0), any: watch::Sender::new(0) }
    }
}

impl Wake {
    /// Something was appended by this process.
    pub fn appended(&self) {
        self.own.send_modify(|count| *count = count.wrapping_add(1));
        self.nudge();
    }

    /// Something may have been appended.
    pub fn nudge(&self) {
        self.any.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// A counter that changes when there may be something new.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.any.subscribe()
    }

    /// Passes hints on to other processes of this database, and theirs to this one, until `stop`. Its connection is its
    /// own; while it is away, pollers do without.
    pub async fn relay(self, database: Database, stop: CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                result = self.relay_once(&database) => {
                    if let Err(error) = result {
                        tracing::debug!(error = %Chain(&error), "the wake-up connection was lost");
                    }
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(Duration::from_secs(1)) => {}
                    }
                }
            }
        }
    }

    async fn relay_once(&self, database: &Database) -> Result<(), tokio_postgres::Error> {
        let (client, mut messages) = database.connect_alone().await?;
        let nudge = self.clone();
        let listening = async move {
            while let Some(message) = messages.next().await {
                if let AsyncMessage::Notification(_) = message? {
                    nudge.nudge();
                }
            }
            Ok(())
        };
        let notifying = async {
            client.batch_execute(&format!("listen {CHANNEL}")).await?;
            let mut own = self.own.subscribe();
            while own.changed().await.is_ok() {
                own.mark_unchanged();
                client.batch_execute(&format!("notify {CHANNEL}")).await?;
                tokio::time::sleep(COALESCE).await;
            }
            Ok(())
        };
        tokio::select! { result = listening => result, result = notifying => result }
    }
}
