//! Parked events, as an operator sees and settles them.

use chrono::{DateTime, Utc};
use dpg_eventstore::Database;
use tokio_postgres::{Row, Transaction};
use uuid::Uuid;

use super::{LaneKey, key, query};
use crate::MirrorError;

/// An event that the peer's application spoke against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedEvent {
    /// Its lane.
    pub key: LaneKey,
    /// Its own id.
    pub id: Uuid,
    /// Its number in the lane.
    pub seq: i64,
    /// Whose event it is.
    pub action_id: Uuid,
    /// Which of its events.
    pub update_count: i32,
    /// When it was last parked.
    pub parked_at: DateTime<Utc>,
    /// How often it was sent.
    pub attempts: i32,
    /// The peer holds another content for it.
    pub conflict: bool,
    /// The peer's status.
    pub status: Option<i32>,
    /// The peer's code.
    pub error: Option<String>,
    /// The peer's message.
    pub message: Option<String>,
}

/// Which parked events to list.
#[derive(Debug, Clone, Default)]
pub struct ParkedQuery {
    /// Of one peer, in any spelling.
    pub instance_url: Option<String>,
    /// Of one network.
    pub network: Option<String>,
    /// At most so many.
    pub limit: i64,
    /// Skipping so many.
    pub offset: i64,
    /// Only what comes after this time and id in the order of the list.
    pub after: Option<(DateTime<Utc>, Uuid)>,
}

/// A page of parked events and how many there are, from one snapshot.
#[derive(Debug, Clone, Default)]
pub struct ParkedPage {
    /// All that the query finds, whatever the page.
    pub total: i64,
    /// Newest first, then by id.
    pub events: Vec<ParkedEvent>,
    /// Whether others follow.
    pub more: bool,
}

const COLUMNS: &str =
    "network, destination, id, seq, action_id, update_count, parked_at, attempts, conflict, status, error, message";

fn parked(row: &Row) -> Result<ParkedEvent, MirrorError> {
    Ok(ParkedEvent {
        key: key(row)?,
        id: row.try_get(2)?,
        seq: row.try_get(3)?,
        action_id: row.try_get(4)?,
        update_count: row.try_get(5)?,
        parked_at: row.try_get(6)?,
        attempts: row.try_get(7)?,
        conflict: row.try_get(8)?,
        status: row.try_get(9)?,
        error: row.try_get(10)?,
        message: row.try_get(11)?,
    })
}

pub(crate) async fn list(
    db: &Database,
    destination: Option<&str>,
    asked: &ParkedQuery,
) -> Result<ParkedPage, MirrorError> {
    let (after_at, after_id) = asked.after.unzip();
    let sql = format!(
        "with page as (
             select {COLUMNS} from parked_events
              where resolution is null and ($1::text is null or destination = $1) and ($2::text is null or network = $2)
                and ($3::timestamptz is null or (parked_at, id) < ($3, $4))
              order by parked_at desc, id desc limit $5 offset $6
         ), counted as (
             select count(*) as total from parked_events
              where resolution is null and ($1::text is null or destination = $1) and ($2::text is null or network = $2)
         )
         select page.*, counted.total from counted left join page on true order by parked_at desc, id desc"
    );
    let rows = query(
        db,
        &sql,
        &[&destination, &asked.network, &after_at, &after_id, &asked.limit.saturating_add(1), &asked.offset],
    )
    .await?;
    let mut page = ParkedPage::default();
    for row in &rows {
        page.total = row.try_get(12)?;
        if row.try_get::<_, Option<Uuid>>(2)?.is_some() {
            page.events.push(parked(row)?);
        }
    }
    let limit = usize::try_from(asked.limit).unwrap_or_default();
    page.more = page.events.len() > limit;
    page.events.truncate(limit);
    Ok(page)
}

/// An event that is parked now.
pub(crate) async fn find(db: &Database, id: Uuid) -> Result<Option<ParkedEvent>, MirrorError> {
    let sql = format!("select {COLUMNS} from parked_events where id = $1 and resolution is null");
    query(db, &sql, &[&id]).await?.first().map(parked).transpose()
}

/// The event behind a lane's number, and where its destination is now, if it has moved.
pub(crate) struct EventAt {
    pub(crate) payload: String,
    pub(crate) recorded_at: DateTime<Utc>,
    pub(crate) moved_to: Option<String>,
}

pub(crate) async fn event_at(db: &Database, key: &LaneKey, seq: i64) -> Result<Option<EventAt>, MirrorError> {
    let owed = query(
        db,
        "select o.position, l.moved_to from outbox o left join lanes l using (network, destination)
          where o.network = $1 and o.destination = $2 and o.seq = $3",
        &[&key.network, &key.destination, &seq],
    )
    .await?;
    let Some(row) = owed.first() else { return Ok(None) };
    let (position, moved_to): (i64, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
    let rows = query(
        db,
        "select payload::text, recorded_at from event_log where network = $1 and position = $2",
        &[&key.network, &position],
    )
    .await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(EventAt { payload: row.try_get(0)?, recorded_at: row.try_get(1)?, moved_to }))
}

/// Queues a parked event to be sent again, and ends its lane's wait. False: it is not parked any more.
pub(crate) async fn retry(
    transaction: &Transaction<'_>,
    id: Uuid,
    by: &str,
    now: DateTime<Utc>,
) -> Result<bool, MirrorError> {
    let rows = transaction
        .query(
            "with queued as (
             update parked_events set resolution = 'retry', resolved_at = $2, resolved_by = $3
              where id = $1 and resolution is null
             returning network, destination
         ), nudged as (
             update lanes l set next_attempt_at = null, nudges = nudges + 1
               from queued q where (l.network, l.destination) = (q.network, q.destination)
         )
         select from queued",
            &[&id, &now, &by],
        )
        .await?;
    Ok(!rows.is_empty())
}

/// Gives a parked event up for ever. False: it is not parked any more.
pub(crate) async fn drop_parked(
    db: &Database,
    id: Uuid,
    reason: &str,
    by: &str,
    now: DateTime<Utc>,
) -> Result<bool, MirrorError> {
    let rows = query(
        db,
        "update parked_events set resolution = 'dropped', resolved_at = $2, resolved_by = $3, reason = $4
          where id = $1 and resolution is null returning true",
        &[&id, &now, &by, &reason],
    )
    .await?;
    Ok(!rows.is_empty())
}
