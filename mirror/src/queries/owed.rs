//! What is owed: which lanes have something to send, and which events a lane sends next.

use chrono::{DateTime, Utc};
use dpg_eventstore::Database;
use uuid::Uuid;

use super::{LaneKey, key, query, state};
use crate::MirrorError;
use crate::lane::State;
use crate::mark;

/// A lane with something to do, that nobody works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueLane {
    /// Which.
    pub key: LaneKey,
    /// Its state before it is claimed.
    pub state: State,
    /// Where its destination is now, if it has moved.
    pub moved_to: Option<String>,
}

/// An event that a lane owes.
#[derive(Debug, Clone)]
pub struct DueEvent {
    /// Its number in the lane.
    pub seq: i64,
    /// It was parked before.
    pub again: bool,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
    /// The log's payload, as text.
    pub payload: String,
}

/// What a lane does next.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Events to send, in order.
    pub(crate) events: Vec<DueEvent>,
    /// Once they are settled, so is every number up to here: those in between are parked or dropped.
    pub(crate) up_to: i64,
}

/// Lanes that have something to send now and that nobody holds, but for holders who are `ours` and have gone. With `asks`
/// also those that are idle and have to ask their peer for its mark.
pub(crate) async fn due_lanes(
    db: &Database,
    now: DateTime<Utc>,
    ours: &[Uuid],
    asks: bool,
) -> Result<Vec<DueLane>, MirrorError> {
    let asked_before = asks.then(|| now - mark::EVERY);
    let rows = query(
        db,
        "select h.network, h.destination, coalesce(l.state, 'ready'), l.moved_to
           from outbox_heads h left join lanes l using (network, destination)
          where coalesce(l.state, 'ready') <> 'paused'
            and (l.next_attempt_at is null or l.next_attempt_at <= $1)
            and (l.lease_until is null or l.lease_until <= clock_timestamp() or l.lease_holder = any ($2))
            and (h.seq > coalesce(l.acknowledged_seq, 0)
                 or (coalesce(l.state, 'ready') in ('ready', 'backing_off') and coalesce(l.marked_at, '-infinity') <= $3)
                 or exists (select from parked_events p
                             where p.network = h.network and p.destination = h.destination
                               and p.resolution = 'retry'))",
        &[&now, &ours, &asked_before],
    )
    .await?;
    let lane = |row| Ok(DueLane { key: key(row)?, state: state(row, 2)?, moved_to: row.try_get(3)? });
    rows.iter().map(lane).collect()
}

/// A number in the outbox that has to be sent.
struct Owed {
    seq: i64,
    position: i64,
    again: bool,
}

/// What a lane owes after `after`, in order: at most `limit` events and about `max_bytes` of them, but at least one.
/// Events that an operator wants sent again come at their number, so before what the lane has not reached yet.
pub(crate) async fn due_events(
    db: &Database,
    key: &LaneKey,
    after: i64,
    limit: usize,
    max_bytes: i64,
) -> Result<Due, MirrorError> {
    let mut owed = again(db, key, after, limit).await?;
    let mut up_to = after;
    if owed.len() < limit {
        let scanned = not_reached(db, key, after, limit).await?;
        up_to = scanned.up_to;
        owed.extend(scanned.owed);
        if let Some(cut) = owed.get(limit) {
            up_to = cut.seq - 1;
        }
        owed.truncate(limit);
    }
    let events = from_log(db, key, &owed, max_bytes).await?;
    // Cut short by their size: the lane has then come no further than the last of them.
    if let (true, Some(last)) = (events.len() < owed.len(), events.last()) {
        up_to = up_to.min(last.seq.max(after));
    }
    Ok(Due { events, up_to })
}

/// Events behind the acknowledged number that are to be sent again.
async fn again(db: &Database, key: &LaneKey, after: i64, limit: usize) -> Result<Vec<Owed>, MirrorError> {
    let rows = query(
        db,
        "select o.seq, o.position from parked_events p join outbox o using (network, destination, seq)
          where p.network = $1 and p.destination = $2 and p.resolution = 'retry' and p.seq <= $3
          order by o.seq limit $4",
        &[&key.network, &key.destination, &after, &rows_of(limit)],
    )
    .await?;
    rows.iter().map(|row| Ok(Owed { seq: row.try_get(0)?, position: row.try_get(1)?, again: true })).collect()
}

struct Scanned {
    owed: Vec<Owed>,
    up_to: i64,
}

/// Numbers beyond the acknowledged one, but for those that are parked or dropped. They are dense by construction.
async fn not_reached(db: &Database, key: &LaneKey, after: i64, limit: usize) -> Result<Scanned, MirrorError> {
    let rows = query(
        db,
        "select o.seq, o.position, p.resolution is not distinct from 'retry',
                p.id is not null and (p.resolution is null or p.resolution = 'dropped')
           from outbox o left join parked_events p using (network, destination, seq)
          where o.network = $1 and o.destination = $2 and o.seq > $3 order by o.seq limit $4",
        &[&key.network, &key.destination, &after, &rows_of(limit)],
    )
    .await?;
    let mut scanned = Scanned { owed: Vec::with_capacity(rows.len()), up_to: after };
    for (expected, row) in (after + 1..).zip(&rows) {
        let seq: i64 = row.try_get(0)?;
        if seq != expected {
            let (network, destination) = (key.network.clone(), key.destination.clone());
            return Err(MirrorError::Gap { network, destination, expected, found: seq });
        }
        scanned.up_to = seq;
        if !row.try_get::<_, bool>(3)? {
            scanned.owed.push(Owed { seq, position: row.try_get(1)?, again: row.try_get(2)? });
        }
    }
    Ok(scanned)
}

/// The events themselves. The log is asked by constants, so that only the partitions concerned are opened.
async fn from_log(db: &Database, key: &LaneKey, owed: &[Owed], max_bytes: i64) -> Result<Vec<DueEvent>, MirrorError> {
    let positions: Vec<i64> = owed.iter().map(|owed| owed.position).collect();
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
    for (Owed { seq, position, again }, row) in owed.iter().zip(&rows) {
        if row.try_get::<_, i64>(0)? != *position {
            return Err(missing(key, *position));
        }
        events.push(DueEvent { seq: *seq, again: *again, recorded_at: row.try_get(1)?, payload: row.try_get(2)? });
    }
    if events.is_empty() { Err(missing(key, *first)) } else { Ok(events) }
}

/// The last number that a lane has given out; 0 before the first.
pub(crate) async fn last_seq(db: &Database, key: &LaneKey) -> Result<i64, MirrorError> {
    let sql = "select seq from outbox_heads where network = $1 and destination = $2";
    let rows = query(db, sql, &[&key.network, &key.destination]).await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(0))
}

/// Numbers that an operator dropped and that the peer's mark has not passed yet, the lowest first.
pub(crate) async fn withdrawn(
    db: &Database,
    key: &LaneKey,
    high_water: i64,
    limit: usize,
) -> Result<Vec<i64>, MirrorError> {
    let rows = query(
        db,
        "select seq from parked_events
          where network = $1 and destination = $2 and resolution = 'dropped' and seq > $3 order by seq limit $4",
        &[&key.network, &key.destination, &high_water, &rows_of(limit)],
    )
    .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

fn rows_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn missing(key: &LaneKey, position: i64) -> MirrorError {
    MirrorError::MissingEvent { network: key.network.clone(), position }
}
