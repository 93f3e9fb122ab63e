//! What is owed: which lanes have something to send, and which events a lane sends next.

use chrono::{DateTime, Utc};
use dpg_eventstore::Database;
use uuid::Uuid;

use super::{LaneKey, key, query, state};
use crate::MirrorError;
use crate::lane::State;

/// A lane with something to send, that nobody works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueLane {
    /// Which.
    pub key: LaneKey,
    /// Its state before it is claimed.
    pub state: State,
}

/// An event that a lane owes.
#[derive(Debug, Clone)]
pub struct DueEvent {
    /// Its number in the lane.
    pub seq: i64,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
    /// The log's payload, as text.
    pub payload: String,
}

/// Lanes that have something to send now and that nobody holds, but for holders who are `ours` and have gone.
pub(crate) async fn due_lanes(db: &Database, now: DateTime<Utc>, ours: &[Uuid]) -> Result<Vec<DueLane>, MirrorError> {
    let rows = query(
        db,
        "select h.network, h.destination, coalesce(l.state, 'ready')
           from outbox_heads h left join lanes l using (network, destination)
          where h.seq > coalesce(l.acknowledged_seq, 0)
            and coalesce(l.state, 'ready') <> 'paused'
            and (l.next_attempt_at is null or l.next_attempt_at <= $1)
            and (l.lease_until is null or l.lease_until <= clock_timestamp() or l.lease_holder = any ($2))",
        &[&now, &ours],
    )
    .await?;
    rows.iter().map(|row| Ok(DueLane { key: key(row)?, state: state(row, 2)? })).collect()
}

/// What a lane owes after `after`, in order: at most `limit` events and about `max_bytes` of them, but at least one.
/// The outbox first and the log by constants then, so that only the partitions concerned are opened.
pub(crate) async fn due_events(
    db: &Database,
    key: &LaneKey,
    after: i64,
    limit: i64,
    max_bytes: i64,
) -> Result<Vec<DueEvent>, MirrorError> {
    let owed = query(
        db,
        "select seq, position from outbox where network = $1 and destination = $2 and seq > $3 order by seq limit $4",
        &[&key.network, &key.destination, &after, &limit],
    )
    .await?;
    let mut positions: Vec<i64> = Vec::with_capacity(owed.len());
    for (expected, row) in (after + 1..).zip(&owed) {
        let found: i64 = row.try_get(0)?;
        if found != expected {
            return Err(MirrorError::Gap {
                network: key.network.clone(),
                destination: key.destination.clone(),
                expected,
                found,
            });
        }
        positions.push(row.try_get(1)?);
    }
    let (Some(first), Some(last)) = (positions.first(), positions.last()) else { return Ok(Vec::new()) };
    let rows = query(
        db,
        "select position, recorded_at, payload::text
           from (select e.position, e.recorded_at, e.payload,
                        sum(pg_column_size(e.payload)) over (order by e.position) - pg_column_size(e.payload) as before
                   from event_log e
                  where e.network = $1 and e.position between $2 and $3 and e.position = any ($4)) as sized
          where before < $5 order by position",
        &[&key.network, first, last, &positions, &max_bytes],
    )
    .await?;
    let mut events = Vec::with_capacity(rows.len());
    for ((seq, position), row) in (after + 1..).zip(&positions).zip(&rows) {
        if row.try_get::<_, i64>(0)? != *position {
            return Err(missing(key, *position));
        }
        events.push(DueEvent { seq, recorded_at: row.try_get(1)?, payload: row.try_get(2)? });
    }
    if events.is_empty() { Err(missing(key, *first)) } else { Ok(events) }
}

fn missing(key: &LaneKey, position: i64) -> MirrorError {
    MirrorError::MissingEvent { network: key.network.clone(), position }
}
