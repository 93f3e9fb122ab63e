//! What is forgotten in time: idempotency records, nonces, sessions and codes. Each minute, by every process that serves;
//! deleting what is gone already does no harm.

use dpg_eventstore::Chain;
use std::time::Duration;

use dpg_eventstore::{Database, idempotency};
use tokio_util::sync::CancellationToken;

use crate::auth;
use crate::queries::nonces;

const EVERY: Duration = Duration::from_secs(60);

/// Prunes until `stop`.
pub async fn run(database: Database, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        if let Err(error) = idempotency::prune(&database).await {
            tracing::warn!(error = %Chain(&error), "old idempotency records could not be forgotten");
        }
        if let Err(error) = nonces::prune(&database).await {
            tracing::warn!(error = %Chain(&error), "old nonces could not be forgotten");
        }
        if let Err(error) = auth::prune(&database).await {
            tracing::warn!(error = %Chain(&error), "old sessions and codes could not be forgotten");
        }
    }
}
