//! Reads of `action_events`.

use chrono::{DateTime, Utc};
use dpg_eventstore::Database;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::actions::{ActionFilter, Parties, matching, parties, roles};
use super::cursor::KeyType;
use super::{Listing, Page, PageRequest, QueryError};
use crate::commands::payload::timestamp;

const EVENTS: Listing = Listing {
    table: "action_events_live.action_events",
    projection: "action_events",
    columns: "*",
    keys: &[("created_at", KeyType::Time), ("update_count", KeyType::Integer), ("event_id", KeyType::Uuid)],
    network: "partition_network",
    only_network: None,
    position: "position",
};

/// Sort keys of a cursor.
pub const KEYS: &[KeyType] = &[KeyType::Time, KeyType::Integer, KeyType::Uuid];

/// An event as it goes out (CONTRACT 3.4).
#[derive(Debug, Clone, Serialize)]
pub struct EventRow {
    action_type: String,
    partition_network: String,
    event_id: Uuid,
    origin_instance_domain: String,
    action_id: Uuid,
    action_status: String,
    update_count: i32,
    #[serde(flatten)]
    parties: Parties,
    source_item_latitude: Option<f64>,
    source_item_longitude: Option<f64>,
    target_item_latitude: Option<f64>,
    target_item_longitude: Option<f64>,
    event_payload: Box<RawValue>,
    remarks: Option<String>,
    created_at: String,
    ownership_roles: Vec<&'static str>,
}

/// A page of the events of actions that a user has a side in.
///
/// # Errors
/// [`QueryError`].
pub async fn of_user(
    database: &Database,
    user: &str,
    filter: &ActionFilter,
    page: &PageRequest,
) -> Result<Page<EventRow>, QueryError> {
    let client = database.client().await?;
    let mut conditions = matching(user, filter);
    conditions.equal("update_count", filter.update_count);
    EVENTS.page(&client, conditions, page, &(user, filter), |row| read(row, user)).await
}

fn read(row: &Row, user: &str) -> Result<(EventRow, Vec<String>), tokio_postgres::Error> {
    let created_at = timestamp(row.try_get::<_, DateTime<Utc>>("created_at")?);
    let event_id: Uuid = row.try_get("event_id")?;
    let update_count: i32 = row.try_get("update_count")?;
    let key = vec![created_at.clone(), update_count.to_string(), event_id.to_string()];
    let event = EventRow {
        action_type: row.try_get("action_type")?,
        partition_network: row.try_get("partition_network")?,
        event_id,
        origin_instance_domain: row.try_get("origin_instance_domain")?,
        action_id: row.try_get("action_id")?,
        action_status: row.try_get("action_status")?,
        update_count,
        parties: parties(row)?,
        source_item_latitude: row.try_get("source_item_latitude")?,
        source_item_longitude: row.try_get("source_item_longitude")?,
        target_item_latitude: row.try_get("target_item_latitude")?,
        target_item_longitude: row.try_get("target_item_longitude")?,
        event_payload: row.try_get::<_, Json<Box<RawValue>>>("event_payload")?.0,
        remarks: row.try_get("remarks")?,
        created_at,
        ownership_roles: roles(row, user)?,
    };
    Ok((event, key))
}
