//! The events that two instances should both hold, read on either side: on the target's side those of actions whose
//! source item lives with the peer, on the source's side those that the peer has mirrored here.

use std::collections::BTreeMap;

use dpg_eventstore::Database;
use futures_util::TryStreamExt;
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::QueryError;

/// On which side of the actions we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The target items live here: we are the origin.
    Origin,
    /// The source items live here: the events came from the peer.
    Mirror,
}

/// An event as far as both sides must agree on it.
#[derive(Debug)]
pub struct SharedEvent {
    /// Its action's type.
    pub action_type: String,
    /// Its action.
    pub action_id: Uuid,
    /// Which of the action's events.
    pub update_count: i32,
    /// The status that it set.
    pub action_status: String,
    /// Its payload.
    pub payload: Box<RawValue>,
    /// What was remarked.
    pub remarks: Option<String>,
    /// Its position in our log.
    pub position: i64,
    /// The other instance's URL, as stored.
    pub peer: String,
}

/// Gives every shared event of a network's actions to `take`, ordered by action and count. `bucket` keeps those whose
/// action id ends with these two hexadecimal digits.
///
/// # Errors
/// As the database says.
pub async fn each(
    database: &Database,
    network: &str,
    side: Side,
    bucket: Option<&str>,
    mut take: impl FnMut(SharedEvent),
) -> Result<(), QueryError> {
    let client = database.client().await?;
    let statement = client
        .prepare_cached(
            "select action_type, action_id, update_count, action_status, event_payload, remarks, position,
                    case when $2 then source_item_instance_url else origin_instance_domain end
               from action_events_live.action_events
              where target_item_network = $1 and target_here = $2 and source_here = not $2
                and ($3::text is null or right(action_id::text, 2) = $3)
              order by action_id, update_count",
        )
        .await?;
    let here = side == Side::Origin;
    let parameters: [&(dyn ToSql + Sync); 3] = [&network, &here, &bucket];
    let rows = client.query_raw(&statement, parameters).await?;
    tokio::pin!(rows);
    while let Some(row) = rows.try_next().await? {
        take(SharedEvent {
            action_type: row.try_get(0)?,
            action_id: row.try_get(1)?,
            update_count: row.try_get(2)?,
            action_status: row.try_get(3)?,
            payload: row.try_get::<_, Json<Box<RawValue>>>(4)?.0,
            remarks: row.try_get(5)?,
            position: row.try_get(6)?,
            peer: row.try_get(7)?,
        });
    }
    Ok(())
}

/// What our books say of an event that a peer is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its lane's destination.
    pub destination: String,
    /// Its number in the lane.
    pub seq: i64,
    /// `delivered`, `parked` or `dropped`; none while it waits.
    pub settled: Option<String>,
}

/// How events stand in the lanes of a network to these destinations, by their positions in the log.
///
/// # Errors
/// As the database says.
pub async fn standings(
    database: &Database,
    network: &str,
    destinations: &[&str],
    positions: &[i64],
) -> Result<BTreeMap<i64, Standing>, QueryError> {
    let client = database.client().await?;
    let rows = client
        .query(
            "select o.position, o.destination, o.seq,
                    case when p.seq is not null and p.resolution is null then 'parked'
                         when p.resolution = 'dropped' then 'dropped'
                         when p.resolution = 'retry' then null
                         when o.seq <= coalesce(l.acknowledged_seq, 0) then 'delivered' end
               from outbox o
               left join lanes l using (network, destination)
               left join parked_events p using (network, destination, seq)
              where o.network = $1 and o.destination = any ($2) and o.position = any ($3)",
            &[&network, &destinations, &positions],
        )
        .await?;
    let standing = |row: &Row| {
        Ok((row.try_get(0)?, Standing { destination: row.try_get(1)?, seq: row.try_get(2)?, settled: row.try_get(3)? }))
    };
    rows.iter().map(standing).collect()
}
