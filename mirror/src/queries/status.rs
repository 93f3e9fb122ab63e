//! How lanes stand, for operators, peers and metrics.

use chrono::{DateTime, Utc};
use dpg_eventstore::Database;
use serde_json::Value;

use super::{LaneKey, key, query, state};
use crate::MirrorError;
use crate::lane::State;

/// How a lane stands, for operators, peers and metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneStatus {
    /// Which lane.
    pub key: LaneKey,
    /// Its state.
    pub state: State,
    /// An event is parked because the peer holds another content for it.
    pub diverged: bool,
    /// The last number given out.
    pub last_seq: i64,
    /// Every number up to it is settled.
    pub acknowledged_seq: i64,
    /// When the oldest waiting event was recorded.
    pub oldest_recorded_at: Option<DateTime<Utc>>,
    /// Parked events.
    pub parked: i64,
    /// Failed attempts in a row.
    pub failures: i32,
    /// No attempt before.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// `{"at", "status", "error", "message"}`.
    pub last_error: Option<Value>,
}

impl LaneStatus {
    /// Events neither delivered, parked nor dropped.
    #[must_use]
    pub fn waiting(&self) -> i64 {
        (self.last_seq - self.acknowledged_seq).max(0)
    }
}

/// How every lane stands, by network and destination.
pub(crate) async fn lanes(db: &Database) -> Result<Vec<LaneStatus>, MirrorError> {
    let rows = query(
        db,
        "select network, destination, coalesce(l.state, 'ready'), coalesce(h.seq, 0), coalesce(l.acknowledged_seq, 0),
                coalesce(l.failures, 0), l.next_attempt_at, l.last_error,
                (select count(*) from parked_events p
                  where p.network = coalesce(h.network, l.network)
                    and p.destination = coalesce(h.destination, l.destination)
                    and p.resolution is null) as parked,
                exists (select from parked_events p
                         where p.network = coalesce(h.network, l.network)
                           and p.destination = coalesce(h.destination, l.destination)
                           and p.resolution is null and p.conflict) as diverged,
                (select o.position from outbox o
                  where o.network = h.network and o.destination = h.destination
                    and o.seq = coalesce(l.acknowledged_seq, 0) + 1) as oldest
           from outbox_heads h full join lanes l using (network, destination)
          order by 1, 2",
        &[],
    )
    .await?;
    let mut lanes = Vec::with_capacity(rows.len());
    for row in &rows {
        let key = key(row)?;
        let oldest_recorded_at = match row.try_get::<_, Option<i64>>(10)? {
            Some(position) => recorded_at(db, &key.network, position).await?,
            None => None,
        };
        lanes.push(LaneStatus {
            state: state(row, 2)?,
            last_seq: row.try_get(3)?,
            acknowledged_seq: row.try_get(4)?,
            failures: row.try_get(5)?,
            next_attempt_at: row.try_get(6)?,
            last_error: row.try_get(7)?,
            parked: row.try_get(8)?,
            diverged: row.try_get(9)?,
            oldest_recorded_at,
            key,
        });
    }
    Ok(lanes)
}

async fn recorded_at(db: &Database, network: &str, position: i64) -> Result<Option<DateTime<Utc>>, MirrorError> {
    let rows =
        query(db, "select recorded_at from event_log where network = $1 and position = $2", &[&network, &position])
            .await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
}
