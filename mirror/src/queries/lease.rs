//! Leasing a lane, and what its holder writes back. Every statement of a holder is fenced by the lease.

use std::time::Duration;

use chrono::{DateTime, Utc};
use dpg_eventstore::Database;
use serde_json::Value;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use super::{LaneKey, query, state};
use crate::MirrorError;
use crate::lane::{Lane, State};
use crate::mark::Mark;

/// What a claim got.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    /// Every number up to it is settled.
    pub(crate) acknowledged_seq: i64,
    /// The state machine's part.
    pub(crate) lane: Lane,
    /// How often a wait was ended so far.
    pub(crate) nudges: i32,
    /// What the peer said of itself.
    pub(crate) mark: Mark,
    /// Where the destination is now, if it has moved.
    pub(crate) moved_to: Option<String>,
    /// The log's epoch.
    pub(crate) epoch: Uuid,
}

/// What a lane's holder writes back.
#[derive(Debug)]
pub(crate) struct Settlement<'a> {
    /// Every number up to it is settled.
    pub(crate) acknowledged_seq: i64,
    /// The state after the last attempt.
    pub(crate) lane: &'a Lane,
    /// What the peer said of itself.
    pub(crate) mark: &'a Mark,
    /// Replaces the last error when there is a new one.
    pub(crate) last_error: Option<Value>,
    /// The nudges that were known when the attempt began.
    pub(crate) nudges: i32,
    /// The lease from now on; none gives the lane back.
    pub(crate) lease: Option<Duration>,
    /// What happens to parked events with it, if anything does.
    pub(crate) parking: Option<Parking<'a>>,
}

/// What an attempt changed about parked events.
#[derive(Debug)]
pub(crate) struct Parking<'a> {
    /// Events that the peer's application spoke against.
    pub(crate) parked: Vec<Parked<'a>>,
    /// Events that were parked once and have now been delivered.
    pub(crate) delivered: Vec<i64>,
    /// The worker's clock.
    pub(crate) now: DateTime<Utc>,
}

/// What the row says after a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    /// `paused` when an operator was faster.
    pub(crate) state: State,
    /// Nudges so far.
    pub(crate) nudges: i32,
}

/// An event that the peer's application spoke against.
#[derive(Debug)]
pub(crate) struct Parked<'a> {
    /// Its number in the lane.
    pub(crate) seq: i64,
    /// Whose event it is.
    pub(crate) action_id: Uuid,
    /// Which of its events.
    pub(crate) update_count: i32,
    /// The peer holds another content for it.
    pub(crate) conflict: bool,
    /// The peer's status.
    pub(crate) status: Option<u16>,
    /// The peer's code.
    pub(crate) error: Option<&'a str>,
    /// The peer's message.
    pub(crate) message: Option<&'a str>,
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
         returning l.acknowledged_seq, l.state, l.failures, l.parked_in_row, l.next_attempt_at, l.nudges,
                   l.high_water, l.marked_at, l.refilled_at, l.refilled_mark, l.moved_to,
                   (select h.epoch from log_head h where h.network = l.network)",
        &[&key.network, &key.destination, &holder, &lease.as_secs_f64(), &now, &previous],
    )
    .await?;
    rows.first().map(claimed).transpose()
}

fn claimed(row: &Row) -> Result<Claim, MirrorError> {
    let count = |index: usize| -> Result<u32, MirrorError> {
        Ok(u32::try_from(row.try_get::<_, i32>(index)?).unwrap_or_default())
    };
    let refilled_at: Option<DateTime<Utc>> = row.try_get(8)?;
    Ok(Claim {
        acknowledged_seq: row.try_get(0)?,
        lane: Lane {
            state: state(row, 1)?,
            failures: count(2)?,
            parked_in_row: count(3)?,
            next_attempt_at: row.try_get(4)?,
        },
        nudges: row.try_get(5)?,
        mark: Mark {
            high_water: row.try_get(6)?,
            asked_at: row.try_get(7)?,
            refilled: refilled_at.zip(row.try_get::<_, Option<i64>>(9)?),
        },
        moved_to: row.try_get(10)?,
        epoch: row.try_get(11)?,
    })
}

/// Extends a lease that is still ours, and tells the log's epoch, which may have been renewed. None: it is lost.
pub(crate) async fn renew(
    db: &Database,
    key: &LaneKey,
    holder: Uuid,
    lease: Duration,
) -> Result<Option<Uuid>, MirrorError> {
    let rows = query(
        db,
        "update lanes l set lease_until = clock_timestamp() + $4 * interval '1 second'
          where network = $1 and destination = $2 and lease_holder = $3 and lease_until > clock_timestamp()
         returning (select h.epoch from log_head h where h.network = l.network)",
        &[&key.network, &key.destination, &holder, &lease.as_secs_f64()],
    )
    .await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
}

/// A pause outlasts what was under way; a nudge since the attempt began outlasts the wait that the attempt earned.
const SETTLE: &str = "update lanes
    set acknowledged_seq = $4,
        state = case when state = 'paused' then state else $5::text end,
        failures = $6,
        parked_in_row = $7,
        next_attempt_at = case when nudges <> $8 or state = 'paused' then null else $9::timestamptz end,
        last_error = coalesce($10::jsonb, last_error),
        lease_until = case when $11::float8 is null then null else clock_timestamp() + $11 * interval '1 second' end,
        lease_holder = case when $11::float8 is null then null else lease_holder end,
        high_water = $12,
        marked_at = $13
  where network = $1 and destination = $2 and lease_holder = $3 and lease_until > clock_timestamp()
 returning state, nudges";

/// Writes back how a lane stands, parked events in the same transaction, which is then durable. None: the lease is lost
/// and nothing was written.
pub(crate) async fn settle(
    db: &Database,
    key: &LaneKey,
    holder: Uuid,
    settlement: &Settlement<'_>,
) -> Result<Option<Settled>, MirrorError> {
    let mut client = db.client().await?;
    let values = SettleValues::of(settlement);
    let Some(Parking { parked, delivered, now }) = &settlement.parking else {
        let statement = client.prepare_cached(SETTLE).await?;
        let row = client.query_opt(&statement, &values.parameters(key, &holder)).await?;
        return row.as_ref().map(settled).transpose();
    };
    let transaction = client.transaction().await?;
    transaction.batch_execute("set local synchronous_commit = on").await?;
    let statement = transaction.prepare_cached(SETTLE).await?;
    let Some(row) = transaction.query_opt(&statement, &values.parameters(key, &holder)).await? else {
        return Ok(None);
    };
    for parked in parked {
        park(&transaction, key, parked, *now).await?;
    }
    let statement = transaction
        .prepare_cached(
            "update parked_events set resolution = 'delivered', resolved_at = $4
              where network = $1 and destination = $2 and seq = any ($3) and resolution = 'retry'",
        )
        .await?;
    transaction.execute(&statement, &[&key.network, &key.destination, delivered, now]).await?;
    let settled = settled(&row)?;
    transaction.commit().await?;
    Ok(Some(settled))
}

async fn park(
    transaction: &Transaction<'_>,
    key: &LaneKey,
    parked: &Parked<'_>,
    now: DateTime<Utc>,
) -> Result<(), MirrorError> {
    let statement = transaction
        .prepare(
            "insert into parked_events as p (id, network, destination, seq, action_id, update_count, parked_at,
                                             conflict, status, error, message)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
             on conflict (network, destination, seq) do update
                set parked_at = excluded.parked_at, attempts = p.attempts + 1, conflict = excluded.conflict,
                    status = excluded.status, error = excluded.error, message = excluded.message,
                    -- Who had it sent again, and when, is kept.
                    resolution = null",
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
    Ok(())
}

/// Where a lane goes back to, because the peer lost what was settled.
#[derive(Debug)]
pub(crate) struct Refill {
    /// The peer's mark.
    pub(crate) mark: i64,
    /// The worker's clock.
    pub(crate) now: DateTime<Utc>,
}

/// Moves a lane back to the peer's mark. What is parked behind the mark goes again too: the peer has forgotten that it
/// spoke against it, and without an answer its mark could not pass. False: the lease is lost.
pub(crate) async fn refill(db: &Database, key: &LaneKey, holder: Uuid, refill: &Refill) -> Result<bool, MirrorError> {
    let mut client = db.client().await?;
    let transaction = client.transaction().await?;
    let moved = transaction
        .query_opt(
            "update lanes set acknowledged_seq = least(acknowledged_seq, $4), high_water = $4, refilled_mark = $4,
                              marked_at = $5, refilled_at = $5
              where network = $1 and destination = $2 and lease_holder = $3 and lease_until > clock_timestamp()
             returning true",
            &[&key.network, &key.destination, &holder, &refill.mark, &refill.now],
        )
        .await?;
    if moved.is_none() {
        return Ok(false);
    }
    transaction
        .execute(
            "update parked_events set resolution = 'retry', resolved_at = $4, resolved_by = 'mark'
              where network = $1 and destination = $2 and seq > $3 and resolution is null",
            &[&key.network, &key.destination, &refill.mark, &refill.now],
        )
        .await?;
    transaction.commit().await?;
    Ok(true)
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
    mark: &'a Mark,
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
            mark: settlement.mark,
        }
    }

    fn parameters<'b>(&'b self, key: &'b LaneKey, holder: &'b Uuid) -> [&'b (dyn ToSql + Sync); 13] {
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
            &self.mark.high_water,
            &self.mark.asked_at,
        ]
    }
}

fn settled(row: &Row) -> Result<Settled, MirrorError> {
    Ok(Settled { state: state(row, 0)?, nudges: row.try_get(1)? })
}

/// Ends the waits of every lane to a destination, moved ones included. How many there were.
pub(crate) async fn end_waits_to(db: &Database, destination: &str) -> Result<u64, MirrorError> {
    let rows = query(
        db,
        "update lanes set next_attempt_at = null, nudges = nudges + 1
          where (destination = $1 or moved_to = $1) and state in ('ready', 'backing_off', 'refused') returning true",
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
