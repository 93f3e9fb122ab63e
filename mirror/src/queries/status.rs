//! How lanes stand, for operators, peers and metrics.

use chrono::{DateTime, SecondsFormat, Utc};
use dpg_eventstore::Database;
use serde_json::{Value, json};
use tokio_postgres::Row;
use uuid::Uuid;

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
    /// Epoch of the log that it delivers; none while the network has no log.
    pub epoch: Option<Uuid>,
    /// The last number given out.
    pub last_seq: i64,
    /// Every number up to it is delivered, parked or dropped.
    pub acknowledged_seq: i64,
    /// Events neither delivered, parked nor dropped.
    pub waiting: i64,
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
    /// The mark that the peer last told; 0 for a peer that tells none.
    pub high_water: i64,
    /// Where the destination is now, if an operator said that it has changed its address.
    pub moved_to: Option<String>,
    /// What an operator last did to it: what, who, when.
    pub operation: Option<Operation>,
}

/// What an operator did to a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// `pause`, `resume`, `probe`, `resend`, `move`.
    pub what: String,
    /// Who.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
}

impl LaneStatus {
    /// A lane that has never had an event, in a network whose log has this epoch.
    #[must_use]
    pub fn untouched(key: LaneKey, epoch: Option<Uuid>) -> Self {
        Self {
            key,
            state: State::Ready,
            diverged: false,
            epoch,
            last_seq: 0,
            acknowledged_seq: 0,
            waiting: 0,
            oldest_recorded_at: None,
            parked: 0,
            failures: 0,
            next_attempt_at: None,
            last_error: None,
            high_water: 0,
            moved_to: None,
            operation: None,
        }
    }

    /// Age of the oldest waiting event in whole seconds, 0 without one.
    #[must_use]
    pub fn oldest_waiting_seconds(&self, now: DateTime<Utc>) -> i64 {
        self.oldest_recorded_at.map_or(0, |at| (now - at).num_seconds().max(0))
    }

    /// The object of CONTRACT 4.23. `instance_url` is the destination's registered spelling, where it has one.
    #[must_use]
    pub fn to_json(&self, instance_url: &str, now: DateTime<Utc>) -> Value {
        json!({
            "network": self.key.network,
            "instance_url": instance_url,
            "state": self.state.as_str(),
            "diverged": self.diverged,
            "epoch": self.epoch,
            "last_seq": self.last_seq,
            "acknowledged_seq": self.acknowledged_seq,
            "waiting": self.waiting,
            "oldest_waiting_seconds": self.oldest_waiting_seconds(now),
            "parked": self.parked,
            "failures": self.failures,
            "next_attempt_at": self.next_attempt_at.map(|at| at.to_rfc3339_opts(SecondsFormat::Millis, true)),
            "last_error": self.last_error,
        })
    }
}

/// Which lanes are asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which<'a> {
    /// Every one.
    All,
    /// Those that are kept under a destination.
    Of(&'a str),
    /// Those that are called at an address: kept under it and not moved, or moved to it.
    CalledAt(&'a str),
}

/// How lanes stand, by network and destination.
pub(crate) async fn lanes(db: &Database, which: Which<'_>) -> Result<Vec<LaneStatus>, MirrorError> {
    let (destination, moved) = match which {
        Which::All => (None, false),
        Which::Of(destination) => (Some(destination), false),
        Which::CalledAt(address) => (Some(address), true),
    };
    let rows = query(
        db,
        "with lane as (
             select network, destination, coalesce(h.seq, 0) as last_seq, coalesce(l.acknowledged_seq, 0) as acknowledged,
                    l.state, l.failures, l.next_attempt_at, l.last_error, l.high_water, l.moved_to,
                    l.operation, l.operated_by, l.operated_at
               from outbox_heads h full join lanes l using (network, destination)
              where $1::text is null or $1 = case when $2 then coalesce(l.moved_to, destination) else destination end
         ), counted as (
             select lane.network, lane.destination,
                    count(*) filter (where p.resolution is null) as parked,
                    coalesce(bool_or(p.conflict) filter (where p.resolution is null), false) as diverged,
                    count(*) filter (where p.seq > lane.acknowledged and coalesce(p.resolution, 'dropped') = 'dropped')
                        as skipped,
                    count(*) filter (where p.seq <= lane.acknowledged and p.resolution = 'retry') as again,
                    min(p.seq) filter (where p.seq <= lane.acknowledged and p.resolution = 'retry') as first_again
               from lane join parked_events p using (network, destination)
              where p.resolution is distinct from 'delivered'
              group by 1, 2
         )
         select network, destination, coalesce(lane.state, 'ready'), lane.last_seq,
                least(lane.acknowledged, c.first_again - 1), coalesce(lane.failures, 0), lane.next_attempt_at,
                lane.last_error, coalesce(c.parked, 0), coalesce(c.diverged, false),
                lane.last_seq - lane.acknowledged - coalesce(c.skipped, 0) + coalesce(c.again, 0),
                coalesce(lane.high_water, 0), lane.moved_to, lane.operation, lane.operated_by, lane.operated_at,
                h.epoch,
                (select o.position from outbox o
                  where o.network = lane.network and o.destination = lane.destination
                    and o.seq > least(lane.acknowledged, c.first_again - 1)
                    and not exists (select from parked_events p
                                     where p.network = o.network and p.destination = o.destination and p.seq = o.seq
                                       and (p.resolution is null or p.resolution = 'dropped'))
                  order by o.seq limit 1)
           from lane left join counted c using (network, destination) join log_head h using (network)
          order by 1, 2",
        &[&destination, &moved],
    )
    .await?;
    let mut lanes = Vec::with_capacity(rows.len());
    for row in &rows {
        let key = key(row)?;
        let oldest: Option<i64> = row.try_get(17)?;
        let waiting: i64 = row.try_get(10)?;
        let oldest_recorded_at = match oldest.filter(|_| waiting > 0) {
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
            waiting: waiting.max(0),
            high_water: row.try_get(11)?,
            moved_to: row.try_get(12)?,
            operation: operation(row)?,
            epoch: row.try_get(16)?,
            oldest_recorded_at,
            key,
        });
    }
    Ok(lanes)
}

/// The lanes that were moved to an address.
pub(crate) async fn moved_to(db: &Database, address: &str) -> Result<Vec<LaneKey>, MirrorError> {
    let rows = query(db, "select network, destination from lanes where moved_to = $1", &[&address]).await?;
    rows.iter().map(key).collect()
}

/// What an operator did last, if one ever did anything.
fn operation(row: &Row) -> Result<Option<Operation>, MirrorError> {
    let (what, by, at): (Option<String>, Option<String>, Option<DateTime<Utc>>) =
        (row.try_get(13)?, row.try_get(14)?, row.try_get(15)?);
    Ok(match (what, by, at) {
        (Some(what), Some(by), Some(at)) => Some(Operation { what, by, at }),
        _ => None,
    })
}

async fn recorded_at(db: &Database, network: &str, position: i64) -> Result<Option<DateTime<Utc>>, MirrorError> {
    let rows =
        query(db, "select recorded_at from event_log where network = $1 and position = $2", &[&network, &position])
            .await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
}
