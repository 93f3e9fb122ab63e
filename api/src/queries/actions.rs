//! Reads of `item_actions`.

use chrono::{DateTime, Utc};
use dpg_eventstore::Database;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::conditions::Conditions;
use super::cursor::KeyType;
use super::{Listing, Page, PageRequest, QueryError};
use crate::commands::payload::timestamp;

const ACTIONS: Listing = Listing {
    table: "item_actions_live.item_actions",
    projection: "item_actions",
    columns: "*",
    keys: &[("updated_at", KeyType::Time), ("created_at", KeyType::Time), ("action_id", KeyType::Uuid)],
    network: "partition_network",
    only_network: None,
    position: "position",
};

/// Sort keys of a cursor.
pub const KEYS: &[KeyType] = &[KeyType::Time, KeyType::Time, KeyType::Uuid];

/// Which side of an action is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ownership {
    /// The caller owns the source item or the target item.
    #[default]
    All,
    /// The caller owns the source item.
    Initiated,
    /// The caller owns the target item.
    Received,
}

/// Filters of CONTRACT 4.13 and 4.15.
#[derive(Debug, Clone, Default)]
pub struct ActionFilter {
    /// One action.
    pub action_id: Option<Uuid>,
    /// Its type.
    pub action_type: Option<String>,
    /// Its status.
    pub action_status: Option<String>,
    /// The item on the side that `ownership` asks for.
    pub item_id: Option<Uuid>,
    /// The side.
    pub ownership: Ownership,
    /// Events only: the number of the change.
    pub update_count: Option<i32>,
}

/// The two sides of an action as they go out.
#[derive(Debug, Clone, Serialize)]
pub struct Parties {
    source_item_network: String,
    source_item_domain: String,
    source_item_type: String,
    source_item_id: Uuid,
    source_item_instance_url: String,
    source_item_owner: Option<String>,
    target_item_network: String,
    target_item_domain: String,
    target_item_type: String,
    target_item_id: Uuid,
    target_item_instance_url: String,
    target_item_owner: Option<String>,
}

/// An action as it goes out (CONTRACT 3.3).
#[derive(Debug, Clone, Serialize)]
pub struct ActionRow {
    action_type: String,
    partition_network: String,
    action_id: Uuid,
    action_status: String,
    update_count: i32,
    #[serde(flatten)]
    parties: Parties,
    requirements_snapshot: Box<RawValue>,
    remarks: Option<String>,
    created_at: String,
    updated_at: String,
    ownership_roles: Vec<&'static str>,
}

/// A page of the actions that a user has a side in.
///
/// # Errors
/// [`QueryError`].
pub async fn of_user(
    database: &Database,
    user: &str,
    filter: &ActionFilter,
    page: &PageRequest,
) -> Result<Page<ActionRow>, QueryError> {
    let client = database.client().await?;
    let conditions = matching(user, filter);
    ACTIONS.page(&client, conditions, page, &(user, filter), |row| read(row, user)).await
}

/// The conditions that actions and events have in common. Whether a side is ours was decided when it was stored: an
/// owner's id that came with a peer's item never matches a user here.
pub(super) fn matching(user: &str, filter: &ActionFilter) -> Conditions {
    let mut conditions = Conditions::default();
    let user = conditions.parameter(user.to_owned());
    let owns = |side: &str| format!("({side}_item_owner = {user} and {side}_here)");
    let (owner, items): (String, &[&str]) = match filter.ownership {
        Ownership::All => (format!("({} or {})", owns("source"), owns("target")), &["source", "target"]),
        Ownership::Initiated => (owns("source"), &["source"]),
        Ownership::Received => (owns("target"), &["target"]),
    };
    conditions.clause(owner);
    if let Some(item_id) = filter.item_id {
        let item = conditions.parameter(item_id);
        let sides: Vec<String> = items.iter().map(|side| format!("{side}_item_id = {item}")).collect();
        conditions.clause(format!("({})", sides.join(" or ")));
    }
    conditions.equal("action_id", filter.action_id);
    conditions.equal("action_type", filter.action_type.clone());
    conditions.equal("action_status", filter.action_status.clone());
    conditions
}

/// The caller's roles in a row.
pub(super) fn roles(row: &Row, user: &str) -> Result<Vec<&'static str>, tokio_postgres::Error> {
    let owns = |owner: &str, here: &str| -> Result<bool, tokio_postgres::Error> {
        Ok(row.try_get::<_, Option<&str>>(owner)? == Some(user) && row.try_get(here)?)
    };
    let mut roles = Vec::new();
    if owns("source_item_owner", "source_here")? {
        roles.push("initiated");
    }
    if owns("target_item_owner", "target_here")? {
        roles.push("received");
    }
    Ok(roles)
}

pub(super) fn parties(row: &Row) -> Result<Parties, tokio_postgres::Error> {
    Ok(Parties {
        source_item_network: row.try_get("source_item_network")?,
        source_item_domain: row.try_get("source_item_domain")?,
        source_item_type: row.try_get("source_item_type")?,
        source_item_id: row.try_get("source_item_id")?,
        source_item_instance_url: row.try_get("source_item_instance_url")?,
        source_item_owner: row.try_get("source_item_owner")?,
        target_item_network: row.try_get("target_item_network")?,
        target_item_domain: row.try_get("target_item_domain")?,
        target_item_type: row.try_get("target_item_type")?,
        target_item_id: row.try_get("target_item_id")?,
        target_item_instance_url: row.try_get("target_item_instance_url")?,
        target_item_owner: row.try_get("target_item_owner")?,
    })
}

fn read(row: &Row, user: &str) -> Result<(ActionRow, Vec<String>), tokio_postgres::Error> {
    let created_at = timestamp(row.try_get::<_, DateTime<Utc>>("created_at")?);
    let updated_at = timestamp(row.try_get::<_, DateTime<Utc>>("updated_at")?);
    let action_id: Uuid = row.try_get("action_id")?;
    let key = vec![updated_at.clone(), created_at.clone(), action_id.to_string()];
    let action = ActionRow {
        action_type: row.try_get("action_type")?,
        partition_network: row.try_get("partition_network")?,
        action_id,
        action_status: row.try_get("action_status")?,
        update_count: row.try_get("update_count")?,
        parties: parties(row)?,
        requirements_snapshot: row.try_get::<_, Json<Box<RawValue>>>("requirements_snapshot")?.0,
        remarks: row.try_get("remarks")?,
        created_at,
        updated_at,
        ownership_roles: roles(row, user)?,
    };
    Ok((action, key))
}
