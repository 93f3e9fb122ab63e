//! Reading the log: one stream's state, its history, a range of positions. Decisions read here, never a projection.

use std::collections::HashMap;

use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::database::{Database, DatabaseError};
use crate::event::{StoredEvent, Stream};

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No connection.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The statement failed.
    #[error("the log could not be read")]
    Sql(#[from] tokio_postgres::Error),
}

const EVENT_COLUMNS: &str =
    "position, stream_id, version, event_id, event_type, recorded_at::timestamptz, payload, metadata";

/// A stream's last state; `None` when there is no such stream.
///
/// # Errors
/// As the database says.
pub async fn load(database: &Database, stream_id: Uuid) -> Result<Option<Stream>, ReadError> {
    let client = database.client().await?;
    let statement = client.prepare_cached("select * from load_stream($1)").await?;
    let row = client.query_opt(&statement, &[&stream_id]).await?;
    row.as_ref().map(stream_of).transpose()
}

/// The last states of several streams in one round trip; those that don't exist are left out.
///
/// # Errors
/// As the database says.
pub async fn load_all(database: &Database, stream_ids: &[Uuid]) -> Result<HashMap<Uuid, Stream>, ReadError> {
    let client = database.client().await?;
    let sql = "select s.id, l.* from unnest($1::uuid[]) as s (id), lateral load_stream(s.id) as l";
    let statement = client.prepare_cached(sql).await?;
    let rows = client.query(&statement, &[&stream_ids]).await?;
    rows.iter().map(|row| Ok((row.try_get("id")?, stream_of(row)?))).collect()
}

fn stream_of(row: &Row) -> Result<Stream, ReadError> {
    Ok(Stream {
        network: row.try_get("network")?,
        stream_type: row.try_get("type")?,
        version: row.try_get("version")?,
        position: row.try_get("position")?,
        first_position: row.try_get("first_position")?,
        open: row.try_get("open")?,
        recorded_at: row.try_get("recorded_at")?,
        payload: raw(row, "payload")?,
    })
}

/// A column of JSON as text, not parsed.
fn raw(row: &Row, column: &str) -> Result<Box<RawValue>, ReadError> {
    Ok(row.try_get::<_, Json<Box<RawValue>>>(column)?.0)
}

/// One version of a stream; `None` when the stream does not reach it.
///
/// # Errors
/// As the database says.
pub async fn version(
    database: &Database,
    network: &str,
    stream_id: Uuid,
    version: i32,
) -> Result<Option<StoredEvent>, ReadError> {
    let client = database.client().await?;
    let sql = format!("select {EVENT_COLUMNS} from event_log where network = $1 and stream_id = $2 and version = $3");
    let statement = client.prepare_cached(&sql).await?;
    client.query_opt(&statement, &[&network, &stream_id, &version]).await?.as_ref().map(event_of).transpose()
}

/// The event of a stream with this identity: how a duplicate is told from another content.
///
/// # Errors
/// As the database says.
pub async fn by_event_id(
    database: &Database,
    network: &str,
    stream_id: Uuid,
    event_id: Uuid,
) -> Result<Option<StoredEvent>, ReadError> {
    let client = database.client().await?;
    let sql = format!("select {EVENT_COLUMNS} from event_log where network = $1 and stream_id = $2 and event_id = $3");
    let statement = client.prepare_cached(&sql).await?;
    client.query_opt(&statement, &[&network, &stream_id, &event_id]).await?.as_ref().map(event_of).transpose()
}

/// A stream's versions after `after`, oldest first, with the private half that goes with each while the item lives.
///
/// # Errors
/// As the database says.
pub async fn history(
    database: &Database,
    network: &str,
    stream_id: Uuid,
    after: i32,
    limit: i64,
) -> Result<Vec<(StoredEvent, Option<Box<RawValue>>)>, ReadError> {
    let client = database.client().await?;
    let sql = format!(
        "select {EVENT_COLUMNS},
                (select p.state from item_private p where p.stream_id = e.stream_id and p.version = e.version) as private
           from event_log e
          where network = $1 and stream_id = $2 and version > $3 order by version limit $4"
    );
    let statement = client.prepare_cached(&sql).await?;
    let rows = client.query(&statement, &[&network, &stream_id, &after, &limit]).await?;
    let private = |row: &Row| row.try_get::<_, Option<Json<Box<RawValue>>>>("private");
    rows.iter().map(|row| Ok((event_of(row)?, private(row)?.map(|json| json.0)))).collect()
}

/// The private half that belongs to one version of an item; `None` when it has none, or the item is deleted.
///
/// # Errors
/// As the database says.
pub async fn private_half(
    database: &Database,
    stream_id: Uuid,
    version: i32,
) -> Result<Option<Box<RawValue>>, ReadError> {
    let client = database.client().await?;
    let statement =
        client.prepare_cached("select state from item_private where stream_id = $1 and version = $2").await?;
    let row = client.query_opt(&statement, &[&stream_id, &version]).await?;
    row.map(|row| raw(&row, "state")).transpose()
}

/// Events after `after` in commit order. What is returned is dense: a reader may go on from the last position.
///
/// # Errors
/// As the database says.
pub async fn range(database: &Database, network: &str, after: i64, limit: i64) -> Result<Vec<StoredEvent>, ReadError> {
    let client = database.client().await?;
    let sql = format!(
        "select {EVENT_COLUMNS} from event_log where network = $1 and position > $2 order by position limit $3"
    );
    let statement = client.prepare_cached(&sql).await?;
    let rows = client.query(&statement, &[&network, &after, &limit]).await?;
    rows.iter().map(event_of).collect()
}

/// The networks that have a log.
///
/// # Errors
/// As the database says.
pub async fn networks(database: &Database) -> Result<Vec<String>, ReadError> {
    let client = database.client().await?;
    let statement = client.prepare_cached("select network from log_head").await?;
    let rows = client.query(&statement, &[]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// The last position of a network's log and the log's epoch; `None` for a network that was never written to.
///
/// # Errors
/// As the database says.
pub async fn head(database: &Database, network: &str) -> Result<Option<(i64, Uuid)>, ReadError> {
    let client = database.client().await?;
    let statement = client.prepare_cached("select position, epoch from log_head where network = $1").await?;
    let row = client.query_opt(&statement, &[&network]).await?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

fn event_of(row: &Row) -> Result<StoredEvent, ReadError> {
    Ok(StoredEvent {
        position: row.try_get("position")?,
        stream_id: row.try_get("stream_id")?,
        version: row.try_get("version")?,
        event_id: row.try_get("event_id")?,
        event_type: row.try_get("event_type")?,
        recorded_at: row.try_get("recorded_at")?,
        payload: raw(row, "payload")?,
        metadata: raw(row, "metadata")?,
    })
}
