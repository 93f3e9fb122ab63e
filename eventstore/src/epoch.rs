//! The epoch of a log. Positions are given out again after a restore from a backup, so the operator renews it then:
//! cursors, cached pages and the marks of lanes that were made before belong to another log.

use uuid::Uuid;

use crate::database::Database;
use crate::read::ReadError;

/// Renews the epoch of every log; gives each network with its new epoch.
///
/// # Errors
/// As the database says.
pub async fn renew(database: &Database) -> Result<Vec<(String, Uuid)>, ReadError> {
    let client = database.client().await?;
    let renewed = "update log_head set epoch = gen_random_uuid() returning network, epoch";
    let rows = client.query(renewed, &[]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}
