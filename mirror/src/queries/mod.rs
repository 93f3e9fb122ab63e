//! All SQL of the mirror. Claims, renewals and acknowledgements may commit asynchronously, as the pool is set: losing one
//! repeats work. Parking and what an operator sees of it is durable whatever the pool says.
//!
//! Leases run on the database's clock, the one that all workers share; waits run on the worker's, which tests can move.

use std::time::Duration;

use chrono::{DateTime, Utc};
use dpg_eventstore::Database;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::MirrorError;
use crate::lane::{Lane, State};

mod owed;
mod status;

pub use owed::{DueEvent, DueLane};
pub(crate) use owed::{due_events, due_lanes};
pub use status::LaneStatus;
pub(crate) use status::lanes;

/// Which lane: a network and a normalised destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneKey {
    /// The target items' network, whose log the events are in.
    pub network: String,
    /// The peer, as CONTRACT 5.3 writes it.
    pub destination: String,
}

/// What a claim got.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Every number up to it is settled.
    pub acknowledged_seq: i64,
    /// The state machine's part.
    pub lane: Lane,
    /// How often a wait was ended so far.
    pub nudges: i32,
}

/// What a lane's holder writes back.
#[derive(Debug)]
pub struct Settlement<'a> {
    /// Every number up to it is settled.
    pub acknowledged_seq: i64,
    /// The state after the last attempt.
    pub lane: &'a Lane,
    /// Replaces the last error when there is a new one.
    pub last_error: Option<Value>,
    /// The nudges that were known when the attempt began.
    pub nudges: i32,
    /// The lease from now on; none gives the lane back.
    pub lease: Option<Duration>,
}

/// What the row says after a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// `paused` when an operator was faster.
    pub state: State,
    /// Nudges so far.
    pub nudges: i32,
}

/// An event that the peer's application spoke against.
#[derive(Debug)]
pub struct Parked<'a> {
    /// Its number in the lane.
    pub seq: i64,
    /// Whose event it is.
    pub action_id: Uuid,
    /// Which of its events.
    pub update_count: i32,
    /// The peer holds another content for it.
    pub conflict: bool,
    /// The peer's status.
    pub status: Option<u16>,
    /// The peer's code.
    pub error: Option<&'a str>,
    /// The peer's message.
    pub message: Option<&'a str>,
}

/// Takes the lease of a lane that is free, due and not paused. `previous` is a lease that this worker may still have from
/// a task that failed.
pub(crate) async fn claim(
    db: &Database,
    key: &LaneKey,
    holder: Uuid,
    previous: Option<Uuid>,
    lease: Duration,
    now: DateTime<Utc>,
) -> Result<Option<Claim>, MirrorError> {
    let rows = query(
        db,
        "insert into lanes as l (network, destination, lease_holder, lease_until)
         values ($1, $2, $3, clock_timestamp() + $4 * interval '1 second')
         on conflict (network, destination) do update
            set lease_holder = excluded.lease_holder, lease_until = excluded.lease_until
          where l.state <> 'paused'
            and (l.next_attempt_at is null or l.next_attempt_at <= $5)
            and (l.lease_until is null or l.lease_until <= clock_timestamp() or l.lease_holder = $6)
         returning l.acknowledged_seq, l.state, l.failures, l.parked_in_row, l.next_attempt_at, l.nudges",
        &[&key.network, &key.destination, &holder, &lease.as_secs_f64(), &now, &previous],
    )
    .await?;
    rows.first().map(claimed).transpose()
}

fn claimed(row: &Row) -> Result<Claim, MirrorError> {
    let count = |index: usize| -> Result<u32, MirrorError> {
        Ok(u32::try_from(row.try_get::<_, i32>(index)?).unwrap_or_default())
    };
    Ok(Claim {
        acknowledged_seq: row.try_get(0)?,
        lane: Lane {
            state: state(row, 1)?,
            failures: count(2)?,
            parked_in_row: count(3)?,
            next_attempt_at: row.try_get(4)?,
        },
        nudges: row.try_get(5)?,
    })
}

/// Extends a lease that is still ours. False: it is lost.
pub(crate) async fn renew(db: &Database, key: &LaneKey, holder: Uuid, lease: Duration) -> Result<bool, MirrorError> {
    let rows = query(
        db,
        "update lanes set lease_until = clock_timestamp() + $4 * interval '1 second'
          where network = $1 and destination = $2 and lease_holder = $3 and lease_until > clock_timestamp()
         returning true",
        &[&key.network, &key.destination, &holder, &lease.as_secs_f64()],
    )
    .await?;
    Ok(!rows.is_empty())
}

/// A pause outlasts what was under way; a nudge since the attempt began outlasts the wait that the attempt earned.
const SETTLE: &str = "update lanes
    set acknowledged_seq = greatest(acknowledged_seq, $4),
        state = case when state = 'paused' then state else $5::text end,
        failures = $6,
        parked_in_row = $7,
        next_attempt_at = case when nudges <> $8 or state = 'paused' then null else $9::timestamptz end,
        last_error = coalesce($10::jsonb, last_error),
        lease_until = case when $11::float8 is null then null else clock_timestamp() + $11 * interval '1 second' end,
        lease_holder = case when $11::float8 is null then null else lease_holder end
  where network = $1 and destination = $2 and lease_holder = $3 and lease_until > clock_timestamp()
 returning state, nudges";

/// Writes back how a lane stands. None: the lease is lost and nothing was written.
pub(crate) async fn settle(
    db: &Database,
    key: &LaneKey,
    holder: Uuid,
    settlement: &Settlement<'_>,
) -> Result<Option<Settled>, MirrorError> {
    let client = db.client().await?;
    let statement = client.prepare_cached(SETTLE).await?;
    let values = SettleValues::of(settlement);
    let row = client.query_opt(&statement, &values.parameters(key, &holder)).await?;
    row.as_ref().map(settled).transpose()
}

/// Parks an event and moves the lane over it, in one durable transaction. None: the lease is lost, nothing was written.
pub(crate) async fn park(
    db: &Database,
    key: &LaneKey,
    holder: Uuid,
    settlement: &Settlement<'_>,
    parked: &Parked<'_>,
    now: DateTime<Utc>,
) -> Result<Option<Settled>, MirrorError> {
    let mut client = db.client().await?;
    let transaction = client.transaction().await?;
    transaction.batch_execute("set local synchronous_commit = on").await?;
    let statement = transaction.prepare_cached(SETTLE).await?;
    let values = SettleValues::of(settlement);
    let Some(row) = transaction.query_opt(&statement, &values.parameters(key, &holder)).await? else {
        return Ok(None);
    };
    let statement = transaction
        .prepare_cached(
            "insert into parked_events as p (id, network, destination, seq, action_id, update_count, parked_at,
                                             conflict, status, error, message)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             on conflict (network, destination, seq) do update
                set parked_at = excluded.parked_at, attempts = p.attempts + 1, conflict = excluded.conflict,
                    status = excluded.status, error = excluded.error, message = excluded.message,
                    resolution = null, resolved_at = null, resolved_by = null, reason = null",
        )
        .await?;
    transaction
        .execute(
            &statement,
            &[
                &Uuid::now_v7(),
                &key.network,
                &key.destination,
                &parked.seq,
                &parked.action_id,
                &parked.update_count,
                &now,
                &parked.conflict,
                &parked.status.map(i32::from),
                &parked.error,
                &parked.message,
            ],
        )
        .await?;
    let settled = settled(&row)?;
    transaction.commit().await?;
    Ok(Some(settled))
}

/// A settlement in the types of its columns.
struct SettleValues<'a> {
    acknowledged_seq: i64,
    state: &'static str,
    failures: i32,
    parked_in_row: i32,
    nudges: i32,
    next_attempt_at: Option<DateTime<Utc>>,
    last_error: Option<&'a Value>,
    lease: Option<f64>,
}

impl<'a> SettleValues<'a> {
    fn of(settlement: &'a Settlement<'_>) -> Self {
        Self {
            acknowledged_seq: settlement.acknowledged_seq,
            state: settlement.lane.state.as_str(),
            failures: i32::try_from(settlement.lane.failures).unwrap_or(i32::MAX),
            parked_in_row: i32::try_from(settlement.lane.parked_in_row).unwrap_or(i32::MAX),
            nudges: settlement.nudges,
            next_attempt_at: settlement.lane.next_attempt_at,
            last_error: settlement.last_error.as_ref(),
            lease: settlement.lease.map(|lease| lease.as_secs_f64()),
        }
    }

    fn parameters<'b>(&'b self, key: &'b LaneKey, holder: &'b Uuid) -> [&'b (dyn ToSql + Sync); 11] {
        [
            &key.network,
            &key.destination,
            holder,
            &self.acknowledged_seq,
            &self.state,
            &self.failures,
            &self.parked_in_row,
            &self.nudges,
            &self.next_attempt_at,
            &self.last_error,
            &self.lease,
        ]
    }
}

fn settled(row: &Row) -> Result<Settled, MirrorError> {
    Ok(Settled { state: state(row, 0)?, nudges: row.try_get(1)? })
}

/// Ends the waits of every lane to a destination. How many there were.
pub(crate) async fn end_waits_to(db: &Database, destination: &str) -> Result<u64, MirrorError> {
    let rows = query(
        db,
        "update lanes set next_attempt_at = null, nudges = nudges + 1
          where destination = $1 and state in ('ready', 'backing_off', 'refused') returning true",
        &[&destination],
    )
    .await?;
    Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX))
}

/// Ends the waits of every lane of a network. How many there were.
pub(crate) async fn end_waits_in(db: &Database, network: &str) -> Result<u64, MirrorError> {
    let rows = query(
        db,
        "update lanes set next_attempt_at = null, nudges = nudges + 1
          where network = $1 and state in ('ready', 'backing_off', 'refused') returning true",
        &[&network],
    )
    .await?;
    Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX))
}

/// Shows whether an idle lane's destination is in the contract. Lanes that are paused or worked on stay as they are.
pub(crate) async fn show_registered(db: &Database, key: &LaneKey, registered: bool) -> Result<(), MirrorError> {
    let (from, to): (&[&str], &str) =
        if registered { (&["unregistered"], "ready") } else { (&["ready", "backing_off", "refused"], "unregistered") };
    query(
        db,
        "insert into lanes as l (network, destination, state) values ($1, $2, $4)
         on conflict (network, destination) do update
            set state = $4, failures = 0, parked_in_row = 0, next_attempt_at = null
          where l.state = any ($3) and (l.lease_until is null or l.lease_until <= clock_timestamp())
         returning true",
        &[&key.network, &key.destination, &from, &to],
    )
    .await?;
    Ok(())
}

async fn query(db: &Database, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, MirrorError> {
    let client = db.client().await?;
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query(&statement, parameters).await?)
}

fn key(row: &Row) -> Result<LaneKey, MirrorError> {
    Ok(LaneKey { network: row.try_get(0)?, destination: row.try_get(1)? })
}

fn state(row: &Row, index: usize) -> Result<State, MirrorError> {
    let name: String = row.try_get(index)?;
    State::parse(&name).ok_or(MirrorError::UnknownState(name))
}
