//! What operators do to lanes. Each verb is one transaction over all lanes concerned, whose rows it holds from the check
//! to the commit.

use chrono::{DateTime, Utc};
use tokio_postgres::Transaction;

use super::{LaneKey, key, state};
use crate::MirrorError;
use crate::lane::State;

/// A lane that a verb is about, locked.
#[derive(Debug)]
pub(crate) struct Concerned {
    pub(crate) key: LaneKey,
    pub(crate) state: State,
}

/// The lanes to a destination, or its lane of one network; with `moved` also those that were moved to it. Lanes that no
/// worker has seen yet get their row here.
pub(crate) async fn concerned(
    transaction: &Transaction<'_>,
    destination: &str,
    network: Option<&str>,
    moved: bool,
) -> Result<Vec<Concerned>, MirrorError> {
    transaction
        .execute(
            "insert into lanes (network, destination)
             select network, destination from outbox_heads
              where destination = $1 and ($2::text is null or network = $2)
             on conflict do nothing",
            &[&destination, &network],
        )
        .await?;
    let rows = transaction
        .query(
            "select network, destination, state from lanes
              where (destination = $1 or ($3 and moved_to = $1)) and ($2::text is null or network = $2)
              order by network, destination for update",
            &[&destination, &network, &moved],
        )
        .await?;
    rows.iter().map(|row| Ok(Concerned { key: key(row)?, state: state(row, 2)? })).collect()
}

/// Pauses, resumes or probes a lane, and keeps who did it and when.
pub(crate) async fn act(
    transaction: &Transaction<'_>,
    key: &LaneKey,
    operation: &str,
    by: &str,
    now: DateTime<Utc>,
) -> Result<(), MirrorError> {
    transaction
        .execute(
            "update lanes
                set state = case $3 when 'pause' then 'paused' when 'resume' then 'ready' else state end,
                    failures = case when $3 = 'resume' then 0 else failures end,
                    parked_in_row = case when $3 = 'resume' then 0 else parked_in_row end,
                    -- An idle lane asks its peer for its mark: that is its probe.
                    marked_at = case when $3 = 'probe' then null else marked_at end,
                    next_attempt_at = null, nudges = nudges + 1,
                    operation = $3, operated_by = $4, operated_at = $5
              where network = $1 and destination = $2",
            &[&key.network, &key.destination, &operation, &by, &now],
        )
        .await?;
    Ok(())
}

/// Moves a lane back so that `since` is the next number; how many events go out from there. Parked and dropped ones don't.
/// Whoever holds the lane loses it: what it acknowledges next must not count. None: the lane has no such number.
pub(crate) async fn resend(
    transaction: &Transaction<'_>,
    key: &LaneKey,
    since: i64,
    by: &str,
    now: DateTime<Utc>,
) -> Result<Option<i64>, MirrorError> {
    let row = transaction
        .query_one(
            // Numbers are dense, so that a million that go again need not be counted.
            "select coalesce((select seq from outbox_heads where network = $1 and destination = $2), 0),
                    (select count(*) from parked_events
                      where network = $1 and destination = $2 and seq >= $3
                        and coalesce(resolution, 'dropped') = 'dropped')",
            &[&key.network, &key.destination, &since],
        )
        .await?;
    let (last_seq, stay): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    if !(1..=last_seq).contains(&since) {
        return Ok(None);
    }
    transaction
        .execute(
            "update lanes set acknowledged_seq = least(acknowledged_seq, $3::bigint - 1), next_attempt_at = null,
                              nudges = nudges + 1, lease_holder = null, lease_until = null,
                              operation = 'resend', operated_by = $4, operated_at = $5
              where network = $1 and destination = $2",
            &[&key.network, &key.destination, &since, &by, &now],
        )
        .await?;
    Ok(Some(last_seq - since + 1 - stay))
}

/// Sends a lane to another address from now on; to its own, it is as it was before.
pub(crate) async fn move_lane(
    transaction: &Transaction<'_>,
    key: &LaneKey,
    to: &str,
    by: &str,
    now: DateTime<Utc>,
) -> Result<(), MirrorError> {
    transaction
        .execute(
            "update lanes set moved_to = nullif($3, destination), next_attempt_at = null, nudges = nudges + 1,
                              lease_holder = null, lease_until = null,
                              operation = 'move', operated_by = $4, operated_at = $5
              where network = $1 and destination = $2",
            &[&key.network, &key.destination, &to, &by, &now],
        )
        .await?;
    Ok(())
}
