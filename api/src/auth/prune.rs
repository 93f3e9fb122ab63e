//! Removes what has run out.

use dpg_eventstore::Database;

use super::error::StoreError;
use super::queries;

/// Deletes expired sessions and codes, closed rate windows and the counts of deleted API keys. To be called each minute;
/// any number of processes may. Returns how many rows went.
///
/// # Errors
/// As the database says.
pub async fn prune(database: &Database) -> Result<u64, StoreError> {
    let client = database.client().await?;
    let mut gone = 0;
    for statement in queries::PRUNE {
        gone += client.execute(statement, &[]).await?;
    }
    Ok(gone)
}
