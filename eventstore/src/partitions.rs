//! Partitions of the log: one list partition per network, ranges of positions below it, made ahead of need.
//!
//! A table is built detached and then attached. `PARTITION OF` behind one long reader stalls every append; attaching takes
//! a lock that appends and readers don't mind. All of it happens outside the append, under one advisory lock, with a
//! short `lock_timeout` and another try, so that this never queues in front of anybody.

use std::time::Duration;

use deadpool_postgres::{GenericClient, Transaction};
use sha2::{Digest, Sha256};
use tokio_postgres::error::SqlState;

use crate::database::{Database, DatabaseError};

/// Positions per range.
pub const RANGE: i64 = 4_000_000;
/// Ranges that exist beyond the one in use.
const AHEAD: i64 = 2;
const PARTITION_LOCK: i64 = 0x0044_5047_5041_5254; // "DPGPART"
const TRIES: u32 = 100;

/// Why a partition could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// No connection.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A statement failed, or a lock was not to be had after many tries.
    #[error("a partition of the log could not be made")]
    Sql(#[from] tokio_postgres::Error),
}

/// Makes sure that a network has a head, a partition, and ranges ahead of its position. Cheap when all is there.
///
/// # Errors
/// [`PartitionError`] when the database refuses, or a lock could not be had for many seconds.
pub async fn ensure_network(database: &Database, network: &str) -> Result<(), PartitionError> {
    ensure_ranges(database, network, RANGE).await
}

/// As [`ensure_network`], with ranges of `size` positions. All callers of one database must use one size.
///
/// # Errors
/// As [`ensure_network`].
pub async fn ensure_ranges(database: &Database, network: &str, size: i64) -> Result<(), PartitionError> {
    for attempt in 1.. {
        match try_ensure(database, network, size).await {
            Err(PartitionError::Sql(error)) if attempt < TRIES && is_transient(&error) => {
                tracing::debug!(network, attempt, "the log is busy, trying again to attach a partition");
                tokio::time::sleep(Duration::from_millis(50 + rand::random_range(0..100))).await;
            }
            result => return result,
        }
    }
    Ok(())
}

fn is_transient(error: &tokio_postgres::Error) -> bool {
    matches!(error.code(), Some(&SqlState::LOCK_NOT_AVAILABLE | &SqlState::T_R_DEADLOCK_DETECTED))
}

async fn try_ensure(database: &Database, network: &str, size: i64) -> Result<(), PartitionError> {
    let mut client = database.client().await?;
    if next_missing(&client, network, size).await?.is_none() {
        return Ok(());
    }
    let transaction = client.transaction().await?;
    transaction.batch_execute("set local lock_timeout = '200ms'").await?;
    transaction.execute("select pg_advisory_xact_lock($1)", &[&PARTITION_LOCK]).await?;
    let Some(mut range) = next_missing(&transaction, network, size).await? else {
        return Ok(());
    };
    let parent = network_partition(&transaction, network).await?;
    transaction.execute("insert into log_head (network) values ($1) on conflict do nothing", &[&network]).await?;
    let position: i64 =
        transaction.query_one("select position from log_head where network = $1", &[&network]).await?.try_get(0)?;
    while range <= position / size + AHEAD {
        attach_range(&transaction, &parent, range, size).await?;
        range += 1;
    }
    transaction.commit().await?;
    Ok(())
}

/// The first range that is wanted and not there; `None` when nothing is missing.
async fn next_missing(
    client: &impl GenericClient,
    network: &str,
    size: i64,
) -> Result<Option<i64>, tokio_postgres::Error> {
    let row = client
        .query_one(
            "select (select position from log_head where network = $1),
                    (select count(*) from partition_names r
                      join partition_names n on n.name = r.parent
                     where n.parent = 'event_log' and n.key = $1)",
            &[&network],
        )
        .await?;
    let (position, ranges): (Option<i64>, i64) = (row.try_get(0)?, row.try_get(1)?);
    // Ranges are made in order from 0, so their number is the next one's.
    let wanted = position.map_or(0, |position| position / size) + AHEAD;
    Ok((position.is_none() || ranges <= wanted).then_some(ranges))
}

/// The network's list partition, made if it is missing. Named by digits of the key's hash alone.
async fn network_partition(transaction: &Transaction<'_>, network: &str) -> Result<String, tokio_postgres::Error> {
    let found = transaction
        .query_opt("select name from partition_names where parent = 'event_log' and key = $1", &[&network])
        .await?;
    if let Some(row) = found {
        return row.try_get(0);
    }
    let digest = format!("{:x}", Sha256::digest(network));
    let mut name = String::new();
    // Eight digits, and more of them should another network have the same eight.
    for digits in 8..=40 {
        name = format!("l_p_{}", digest.get(..digits).unwrap_or(&digest));
        let taken = transaction.query_opt("select from partition_names where name = $1", &[&name]).await?;
        if taken.is_none() {
            break;
        }
    }
    transaction
        .batch_execute(&format!(
            "create table {name} (like event_log including defaults) partition by range (position);
             alter table event_log attach partition {name} for values in ({});",
            literal(network)
        ))
        .await?;
    register(transaction, "event_log", network, &name).await?;
    Ok(name)
}

async fn attach_range(
    transaction: &Transaction<'_>,
    parent: &str,
    range: i64,
    size: i64,
) -> Result<(), tokio_postgres::Error> {
    let name = format!("{parent}_{range}");
    let (from, to) = (range * size, (range + 1) * size);
    transaction
        .batch_execute(&format!(
            "create table {name} (like {parent} including defaults);
             alter table {parent} attach partition {name} for values from ({from}) to ({to});
             create trigger no_truncate before truncate on {name} for each statement execute function refuse_change();"
        ))
        .await?;
    register(transaction, parent, &range.to_string(), &name).await
}

async fn register(
    transaction: &Transaction<'_>,
    parent: &str,
    key: &str,
    name: &str,
) -> Result<(), tokio_postgres::Error> {
    transaction
        .execute("insert into partition_names (parent, key, name) values ($1, $2, $3)", &[&parent, &key, &name])
        .await?;
    Ok(())
}

/// A string as an SQL literal: partition bounds can't be parameters.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
