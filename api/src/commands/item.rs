//! Decisions about items: create, update, delete.

use actix_web::http::StatusCode;
use dpg_eventstore::{EventType, Metadata, NewEvent};
use serde_json::value::to_raw_value;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::payload::{Coordinates, DeletedPayload, ItemPayload, LoadedItem};
use crate::contract::Contracts;
use crate::http::{ApiError, Fault};

/// What a client wants to make.
#[derive(Debug, Clone)]
pub struct NewItem {
    /// Network.
    pub network: String,
    /// Domain.
    pub domain: String,
    /// Type.
    pub item_type: String,
    /// The whole state, public and private, which has to be an object.
    pub state: Value,
    /// Where it is.
    pub coordinates: Coordinates,
    /// The owner's user id.
    pub owner: String,
}

/// What a client wants to change; `None` leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct ItemChange {
    /// Replaces the whole state, public and private; it has to be an object.
    pub state: Option<Value>,
    /// Replaces the coordinates; `Some(None)` removes them.
    pub coordinates: Option<Coordinates>,
}

impl ItemChange {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.is_none() && self.coordinates.is_none()
    }
}

/// An item as it will be after the append, private half included.
#[derive(Debug, Clone)]
pub struct Written {
    /// Its public state.
    pub payload: ItemPayload,
    /// Its private half.
    pub private: Map<String, Value>,
    /// Its version.
    pub version: i32,
}

/// Makes an item under `id`.
///
/// # Errors
/// 403 unserved; 400 `INVALID_ITEM_STATE`.
pub fn create(
    contracts: &Contracts,
    new: NewItem,
    id: Uuid,
    metadata: Metadata,
) -> Result<(NewEvent, Written), ApiError> {
    if !contracts.serves(&new.network, &new.domain) {
        return Err(contracts.unserved(&new.network, &new.domain));
    }
    let checked = check_state(contracts, &new.network, &new.domain, &new.item_type, &new.state)?;
    let payload = ItemPayload {
        item_instance_url: contracts.own_instance_url(&new.network, &new.domain),
        item_network: new.network,
        item_domain: new.domain,
        item_type: new.item_type,
        item_id: id,
        item_schema_url: checked.schema_url,
        item_state: checked.public,
        item_latitude: new.coordinates.map(|(latitude, _)| latitude),
        item_longitude: new.coordinates.map(|(_, longitude)| longitude),
        created_by: new.owner,
        created_at: None,
        created_position: None,
    };
    let written = Written { payload, private: checked.private, version: 1 };
    Ok((event_of(&written, EventType::ItemCreated, metadata)?, written))
}

/// Changes an item whose private half is `private` now.
///
/// # Errors
/// 400 `INVALID_ITEM_STATE`.
pub fn update(
    contracts: &Contracts,
    item: &LoadedItem,
    private: Map<String, Value>,
    change: ItemChange,
    metadata: Metadata,
) -> Result<(NewEvent, Written), ApiError> {
    let mut payload = item.payload.clone();
    payload.created_at = Some(item.created_at.clone());
    payload.created_position = Some(item.created_position);
    let mut private = private;
    if let Some(state) = change.state {
        let checked = check_state(contracts, &payload.item_network, &payload.item_domain, &payload.item_type, &state)?;
        payload.item_schema_url = checked.schema_url;
        payload.item_state = checked.public;
        private = checked.private;
    } else if let Some(halves) = contracts.resplit(kind_of(&payload), &payload.item_state, &private) {
        // An older contract has split it, and what is private by now must not enter the log once more.
        (payload.item_state, private) = halves;
    }
    if let Some(coordinates) = change.coordinates {
        payload.item_latitude = coordinates.map(|(latitude, _)| latitude);
        payload.item_longitude = coordinates.map(|(_, longitude)| longitude);
    }
    let written = Written { payload, private, version: item.version + 1 };
    Ok((event_of(&written, EventType::ItemUpdated, metadata)?, written))
}

/// Splits an item again whose public state holds what the contract has made private since; `None` when there is nothing of
/// the kind. The state as a whole stays, and so does the schema that it was checked with.
///
/// # Errors
/// Only when the payload can't be written as JSON.
pub fn resplit(
    contracts: &Contracts,
    item: &LoadedItem,
    private: &Map<String, Value>,
    metadata: Metadata,
) -> Result<Option<NewEvent>, ApiError> {
    let payload = &item.payload;
    let halves = contracts.resplit(kind_of(payload), &payload.item_state, private);
    let Some((item_state, private)) = halves else { return Ok(None) };
    let payload = ItemPayload {
        item_state,
        created_at: Some(item.created_at.clone()),
        created_position: Some(item.created_position),
        ..payload.clone()
    };
    let written = Written { payload, private, version: item.version + 1 };
    event_of(&written, EventType::ItemUpdated, metadata).map(Some)
}

fn kind_of(payload: &ItemPayload) -> (&str, &str, &str) {
    (&payload.item_network, &payload.item_domain, &payload.item_type)
}

/// Ends an item's stream.
///
/// # Errors
/// Only when the payload can't be written as JSON.
pub fn delete(item: &LoadedItem, metadata: Metadata) -> Result<NewEvent, ApiError> {
    let payload = &item.payload;
    let payload = DeletedPayload {
        item_network: payload.item_network.clone(),
        item_domain: payload.item_domain.clone(),
        item_type: payload.item_type.clone(),
        item_id: payload.item_id,
        item_instance_url: payload.item_instance_url.clone(),
        created_by: payload.created_by.clone(),
    };
    Ok(NewEvent {
        stream_id: payload.item_id,
        version: item.version + 1,
        event_id: Uuid::now_v7(),
        event_type: EventType::ItemDeleted,
        payload: to_raw_value(&payload).map_err(|error| ApiError::internal(&error))?,
        metadata,
        private: None,
        destination: None,
    })
}

struct Checked {
    schema_url: String,
    public: Map<String, Value>,
    private: Map<String, Value>,
}

fn check_state(
    contracts: &Contracts,
    network: &str,
    domain: &str,
    item_type: &str,
    state: &Value,
) -> Result<Checked, ApiError> {
    let kind = contracts.item_type(network, domain, item_type).map_err(|problem| {
        invalid_state(network, domain, item_type, vec![Fault::new("/item_type", problem.to_string())])
    })?;
    let faults = kind.validate(state);
    if !faults.is_empty() {
        return Err(invalid_state(network, domain, item_type, faults));
    }
    let (public, private) = match state {
        Value::Object(state) => kind.split(state),
        _ => (Map::new(), Map::new()),
    };
    Ok(Checked { schema_url: kind.schema_url().to_owned(), public, private })
}

fn invalid_state(network: &str, domain: &str, item_type: &str, faults: Vec<Fault>) -> ApiError {
    let message = format!("item_state does not fit {network}/{domain}/{item_type}.");
    ApiError::new(StatusCode::BAD_REQUEST, "INVALID_ITEM_STATE", message).with_details(faults)
}

fn event_of(written: &Written, event_type: EventType, metadata: Metadata) -> Result<NewEvent, ApiError> {
    let private = match written.private.is_empty() {
        true => None,
        false => Some(to_raw_value(&written.private).map_err(|error| ApiError::internal(&error))?),
    };
    Ok(NewEvent {
        stream_id: written.payload.item_id,
        version: written.version,
        event_id: Uuid::now_v7(),
        event_type,
        payload: to_raw_value(&written.payload).map_err(|error| ApiError::internal(&error))?,
        metadata,
        private,
        destination: None,
    })
}
