//! How far each sender's lane has arrived here without a gap (CONTRACT 4.14a). Numbers of events move the mark with the
//! append ([`crate::InboxMark`]); numbers that come to no event, or to one that was here already, are marked here.

use uuid::Uuid;

use crate::database::Database;
use crate::read::ReadError;

/// A sender's lane, as the receiver keeps its mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxLane {
    /// The sending instance.
    pub origin: String,
    /// The lane's network.
    pub network: String,
    /// This instance, as the sender keys its lane.
    pub destination: String,
    /// Epoch of the sender's log.
    pub epoch: Uuid,
}

/// Marks numbers as arrived and gives the mark: every number up to it has arrived. Durable when it returns, as the
/// database's sessions are; without numbers nothing is written.
///
/// # Errors
/// As the database says.
pub async fn mark(database: &Database, lane: &InboxLane, seqs: &[i64]) -> Result<i64, ReadError> {
    let client = database.client().await?;
    let InboxLane { origin, network, destination, epoch } = lane;
    if seqs.is_empty() {
        let sql = "select high_water from inbox
                    where origin = $1 and network = $2 and destination = $3 and epoch = $4";
        let statement = client.prepare_cached(sql).await?;
        let row = client.query_opt(&statement, &[origin, network, destination, epoch]).await?;
        return Ok(row.map(|row| row.try_get(0)).transpose()?.unwrap_or(0));
    }
    let statement = client.prepare_cached("select mark_inbox($1, $2, $3, $4, $5)").await?;
    let row = client.query_one(&statement, &[network, origin, destination, epoch, &seqs]).await?;
    Ok(row.try_get(0)?)
}
