//! The payloads of the log's events: the resulting state after each. Folds in `sql/projections/` read the same names.

use chrono::{DateTime, SecondsFormat, Utc};
use dpg_eventstore::{Stream, StreamType};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

/// ISO 8601, UTC, milliseconds, `Z`.
#[must_use]
pub fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Reads a payload, or a part of one. Bodies nest up to 128 deep, and stand in payloads some levels deeper, which is more
/// than serde_json reads unless it is told; how deep is bounded by what was let in.
///
/// # Errors
/// When the payload is not of this binary's making.
pub fn parse<'j, T: Deserialize<'j>>(raw: &'j RawValue) -> serde_json::Result<T> {
    let mut deserializer = serde_json::Deserializer::from_str(raw.get());
    deserializer.disable_recursion_limit();
    T::deserialize(&mut deserializer)
}

/// Both coordinates, or neither.
pub type Coordinates = Option<(f64, f64)>;

/// State of an item; its private half stands beside the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemPayload {
    /// Network of the item, and of the log.
    pub item_network: String,
    /// Domain within the network.
    pub item_domain: String,
    /// Type within the domain.
    pub item_type: String,
    /// The stream.
    pub item_id: Uuid,
    /// Our base URL as the contract registered it when the item was made.
    pub item_instance_url: String,
    /// The schema that the state was checked with.
    pub item_schema_url: String,
    /// The public half.
    pub item_state: Map<String, Value>,
    /// Degrees, −90 to 90.
    pub item_latitude: Option<f64>,
    /// Degrees, −180 to 180.
    pub item_longitude: Option<f64>,
    /// The owner's user id.
    pub created_by: String,
    /// When version 1 was recorded; absent in version 1 itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<String>,
    /// Position of version 1; absent in version 1 itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_position: Option<i64>,
}

/// What stays of an item in its last event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeletedPayload {
    /// Network of the item, and of the log.
    pub item_network: String,
    /// Domain within the network.
    pub item_domain: String,
    /// Type within the domain.
    pub item_type: String,
    /// The stream.
    pub item_id: Uuid,
    /// As it was.
    pub item_instance_url: String,
    /// The owner's user id: the owner may read the history after deletion.
    pub created_by: String,
}

/// A reference to an item on some instance (ItemRef+).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemRef {
    /// Network.
    pub item_network: String,
    /// Domain.
    pub item_domain: String,
    /// Type.
    pub item_type: String,
    /// The item.
    pub item_id: Uuid,
    /// Where it lives, in the registered spelling.
    pub item_instance_url: String,
}

/// One side of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// The item.
    pub item: ItemRef,
    /// Its owner's id on the instance where it lives.
    pub owner: Option<String>,
    /// Whether it lived here when the action was stored.
    pub here: bool,
}

/// State of an action: the row of `item_actions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "ActionRow", into = "ActionRow")]
pub struct ActionState {
    /// Type in the target network's contract.
    pub action_type: String,
    /// Network of the log that holds it.
    pub partition_network: String,
    /// The stream.
    pub action_id: Uuid,
    /// Present status.
    pub action_status: String,
    /// Accepted status changes so far.
    pub update_count: i32,
    /// Who asks.
    pub source: Party,
    /// Who is asked.
    pub target: Party,
    /// What the source handed over.
    pub requirements_snapshot: Map<String, Value>,
    /// The last remark that was made.
    pub remarks: Option<String>,
    /// Absent when it is this event's time.
    pub created_at: Option<String>,
    /// Absent when it is this event's time.
    pub updated_at: Option<String>,
}

/// One entry of an action's history: the row of `action_events`, but for the parties, which are the action's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// The uuid v5 of origin, action and count.
    pub event_id: Uuid,
    /// Base URL of the instance that holds the action.
    pub origin_instance_domain: String,
    /// Status that was set.
    pub action_status: String,
    /// Its number.
    pub update_count: i32,
    /// Coordinates of the source item, where they are known.
    pub source_item_latitude: Option<f64>,
    /// See above.
    pub source_item_longitude: Option<f64>,
    /// Coordinates of the target item, where they are known.
    pub target_item_latitude: Option<f64>,
    /// See above.
    pub target_item_longitude: Option<f64>,
    /// Structured outcome.
    pub event_payload: Map<String, Value>,
    /// What this change said.
    pub remarks: Option<String>,
    /// When the origin recorded it; absent when it is this event's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<String>,
}

/// Payload of every action event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionPayload {
    /// The state after it.
    pub action: ActionState,
    /// The entry that it adds to the history.
    pub event: HistoryRow,
    /// Mirrored actions only: the counts that were stored so far, as closed ranges in ascending order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Vec<(i32, i32)>>,
    /// Mirrored actions only: the count of the event that made the state's remark, so that whatever the order in which
    /// events arrive, the latest remark stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remarks_count: Option<i32>,
}

/// How [`ActionState`] is laid out in JSON: flat, with the wire's names.
#[derive(Serialize, Deserialize)]
struct ActionRow {
    action_type: String,
    partition_network: String,
    action_id: Uuid,
    action_status: String,
    update_count: i32,
    source_item_network: String,
    source_item_domain: String,
    source_item_type: String,
    source_item_id: Uuid,
    source_item_instance_url: String,
    source_item_owner: Option<String>,
    source_here: bool,
    target_item_network: String,
    target_item_domain: String,
    target_item_type: String,
    target_item_id: Uuid,
    target_item_instance_url: String,
    target_item_owner: Option<String>,
    target_here: bool,
    requirements_snapshot: Map<String, Value>,
    remarks: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    updated_at: Option<String>,
}

impl From<ActionRow> for ActionState {
    fn from(row: ActionRow) -> Self {
        Self {
            action_type: row.action_type,
            partition_network: row.partition_network,
            action_id: row.action_id,
            action_status: row.action_status,
            update_count: row.update_count,
            source: Party {
                item: ItemRef {
                    item_network: row.source_item_network,
                    item_domain: row.source_item_domain,
                    item_type: row.source_item_type,
                    item_id: row.source_item_id,
                    item_instance_url: row.source_item_instance_url,
                },
                owner: row.source_item_owner,
                here: row.source_here,
            },
            target: Party {
                item: ItemRef {
                    item_network: row.target_item_network,
                    item_domain: row.target_item_domain,
                    item_type: row.target_item_type,
                    item_id: row.target_item_id,
                    item_instance_url: row.target_item_instance_url,
                },
                owner: row.target_item_owner,
                here: row.target_here,
            },
            requirements_snapshot: row.requirements_snapshot,
            remarks: row.remarks,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl From<ActionState> for ActionRow {
    fn from(state: ActionState) -> Self {
        let (source, target) = (state.source, state.target);
        Self {
            action_type: state.action_type,
            partition_network: state.partition_network,
            action_id: state.action_id,
            action_status: state.action_status,
            update_count: state.update_count,
            source_item_network: source.item.item_network,
            source_item_domain: source.item.item_domain,
            source_item_type: source.item.item_type,
            source_item_id: source.item.item_id,
            source_item_instance_url: source.item.item_instance_url,
            source_item_owner: source.owner,
            source_here: source.here,
            target_item_network: target.item.item_network,
            target_item_domain: target.item.item_domain,
            target_item_type: target.item.item_type,
            target_item_id: target.item.item_id,
            target_item_instance_url: target.item.item_instance_url,
            target_item_owner: target.owner,
            target_here: target.here,
            requirements_snapshot: state.requirements_snapshot,
            remarks: state.remarks,
            created_at: state.created_at,
            updated_at: state.updated_at,
        }
    }
}

/// A living item, as loaded from the log.
#[derive(Debug, Clone)]
pub struct LoadedItem {
    /// Its state.
    pub payload: ItemPayload,
    /// Its version.
    pub version: i32,
    /// When version 1 was recorded.
    pub created_at: String,
    /// Position of version 1.
    pub created_position: i64,
    /// Position of the last version.
    pub position: i64,
    /// When the last version was recorded.
    pub updated_at: DateTime<Utc>,
}

impl LoadedItem {
    /// Reads an item's state; `None` when the stream is no item, or has ended.
    ///
    /// # Errors
    /// When the payload is not of this binary's making.
    pub fn of(stream: &Stream) -> serde_json::Result<Option<Self>> {
        if stream.stream_type != StreamType::Item || !stream.open {
            return Ok(None);
        }
        let payload: ItemPayload = parse(&stream.payload)?;
        Ok(Some(Self {
            created_at: payload.created_at.clone().unwrap_or_else(|| timestamp(stream.recorded_at)),
            created_position: stream.first_position,
            version: stream.version,
            position: stream.position,
            updated_at: stream.recorded_at,
            payload,
        }))
    }

    /// Whether it is what a reference names, wherever the reference says that it lives.
    #[must_use]
    pub fn is(&self, network: &str, domain: &str, item_type: &str) -> bool {
        let item = &self.payload;
        item.item_network == network && item.item_domain == domain && item.item_type == item_type
    }
}

/// An action, as loaded from the log.
#[derive(Debug, Clone)]
pub struct LoadedAction {
    /// Its state, with its times filled in.
    pub state: ActionState,
    /// Mirrored actions: the counts that were stored so far.
    pub seen: Option<Vec<(i32, i32)>>,
    /// Mirrored actions: the count of the event that made the remark.
    pub remarks_count: Option<i32>,
    /// Number of events in the stream.
    pub version: i32,
    /// Position of the last event.
    pub position: i64,
}

impl LoadedAction {
    /// Reads an action's state; `None` when the stream is no action.
    ///
    /// # Errors
    /// When the payload is not of this binary's making.
    pub fn of(stream: &Stream) -> serde_json::Result<Option<Self>> {
        if stream.stream_type != StreamType::Action {
            return Ok(None);
        }
        let ActionPayload { action: mut state, seen, remarks_count, .. } = parse(&stream.payload)?;
        let recorded_at = timestamp(stream.recorded_at);
        state.created_at.get_or_insert_with(|| recorded_at.clone());
        state.updated_at.get_or_insert(recorded_at);
        Ok(Some(Self { state, seen, remarks_count, version: stream.version, position: stream.position }))
    }
}
