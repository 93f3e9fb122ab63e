//! Items and actions as this instance holds them, and how answers tell of them.

use actix_web::http::StatusCode;
use dpg_eventstore::idempotency::{Progress, Record};
use dpg_eventstore::{Stream, read};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::app::App;
use crate::commands::payload::{ActionPayload, ActionState, ItemRef, LoadedAction, LoadedItem, parse};
use crate::contract::InstanceUrl;
use crate::http::ApiError;
use crate::http::references::ItemRef as ItemKey;
use crate::writes::{Answer, Tried};

/// The six fields that answer a perform.
#[derive(Debug, Serialize, Deserialize)]
pub struct Performed {
    action_id: Uuid,
    #[serde(alias = "action_name")]
    action_type: String,
    action_status: String,
    update_count: i64,
    source_item_id: Uuid,
    target_item_id: Uuid,
}

impl From<&ActionState> for Performed {
    fn from(state: &ActionState) -> Self {
        Self {
            action_id: state.action_id,
            action_type: state.action_type.clone(),
            action_status: state.action_status.clone(),
            update_count: state.update_count.into(),
            source_item_id: state.source.item.item_id,
            target_item_id: state.target.item.item_id,
        }
    }
}

/// The four fields that answer a status change.
#[derive(Debug, Serialize, Deserialize)]
pub struct StatusSet {
    action_id: Uuid,
    #[serde(alias = "action_name")]
    action_type: String,
    action_status: String,
    update_count: i64,
}

impl From<&ActionState> for StatusSet {
    fn from(state: &ActionState) -> Self {
        Self {
            action_id: state.action_id,
            action_type: state.action_type.clone(),
            action_status: state.action_status.clone(),
            update_count: state.update_count.into(),
        }
    }
}

/// An item that a reference names, if it is in this instance's log and alive (CONTRACT 5.4).
///
/// # Errors
/// When the log can't be read.
pub async fn local_item(app: &App, key: &ItemKey) -> Result<Option<LoadedItem>, ApiError> {
    let Some(stream) = read::load(&app.database, key.id).await? else { return Ok(None) };
    let item = LoadedItem::of(&stream).map_err(|error| ApiError::internal(&error))?;
    Ok(item.filter(|item| item.is(&key.network, &key.domain, &key.item_type)))
}

/// The private half of an item's version; empty when it has none, or the item is deleted.
///
/// # Errors
/// When the log can't be read.
pub async fn private_half(app: &App, item: Uuid, version: i32) -> Result<Map<String, Value>, ApiError> {
    match read::private_half(&app.database, item, version).await? {
        Some(half) => parse(&half).map_err(|error| ApiError::internal(&error)),
        None => Ok(Map::new()),
    }
}

/// An action's state as of its stream's last event.
///
/// # Errors
/// When the log can't be read.
pub fn loaded_action(stream: Option<&Stream>) -> Result<Option<LoadedAction>, ApiError> {
    match stream {
        Some(stream) => LoadedAction::of(stream).map_err(|error| ApiError::internal(&error)),
        None => Ok(None),
    }
}

/// A reference as it is stored.
#[must_use]
pub fn stored_ref(key: &ItemKey, instance_url: &str) -> ItemRef {
    ItemRef {
        item_network: key.network.clone(),
        item_domain: key.domain.clone(),
        item_type: key.item_type.clone(),
        item_id: key.id,
        item_instance_url: instance_url.to_owned(),
    }
}

/// Reads an instance's URL; the field readers have made sure that it is one.
///
/// # Errors
/// Only when they have not.
pub fn instance_url(text: &str) -> Result<InstanceUrl, ApiError> {
    InstanceUrl::parse(text).map_err(|error| ApiError::internal(&error))
}

/// Goes on from where an earlier call with the same key has come to. `B` is the body of the route's answers and `status`
/// their status; `again` is for a call that may still be on its way, or that came to nothing certain.
///
/// # Errors
/// Those of `again`; when the log can't be read.
pub async fn resume<B, W>(
    app: &App,
    record: Record,
    status: StatusCode,
    again: impl FnOnce() -> W,
) -> Result<Answer, ApiError>
where
    B: Serialize + for<'state> From<&'state ActionState>,
    W: Future<Output = Result<Tried, ApiError>>,
{
    match &record.progress {
        Progress::Here { network, stream_id, version } => {
            replay::<B>(app, &record, network, (*stream_id, *version)).await
        }
        Progress::Elsewhere { answer } => Answer::of(status, answer),
        Progress::Sending | Progress::Unknown => match again().await? {
            Tried::Done(answer) => Ok(answer),
            Tried::Replayed => Err(ApiError::unavailable()),
        },
    }
}

/// The first answer again, made from the log.
async fn replay<B: Serialize + for<'state> From<&'state ActionState>>(
    app: &App,
    record: &Record,
    network: &str,
    (stream_id, version): (Uuid, i32),
) -> Result<Answer, ApiError> {
    let event = read::version(&app.database, network, stream_id, version).await?;
    let Some(event) = event else { return Err(ApiError::unavailable()) };
    let payload: ActionPayload = parse(&event.payload).map_err(|error| ApiError::internal(&error))?;
    let status = record.status.and_then(|status| u16::try_from(status).ok());
    let status = status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::OK);
    Ok(Answer::of(status, &B::from(&payload.action))?.at(network, event.position, stream_id))
}
